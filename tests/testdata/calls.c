/* Asks the system call filter about every call, without making any.
 *
 * A filter of its own sends each call that the container's filter lets pass to a tracer, which
 * skips it; a call that the container's filter refuses never gets there. So the answer is the
 * filter's alone, whatever the kernel would say to such arguments, and nothing is changed.
 *
 *   DOOR CALL [ARGUMENT=VALUE] errno     refused with this error
 *   DOOR CALL kill                       the caller is killed
 *
 * Only refusals are printed, as ranges of numbers. Build: gcc -static -O1 calls.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NATIVE, X32, INT80 };
static const char *const DOORS[] = {"native", "x32", "int80"};

struct question {
    int door;
    long number;
    int argument; /* which one has the value; -1 for a plain call */
    unsigned long value;
    long answer; /* 0 passed, errno refused, -1 killed, -2 not asked */
};

#define MOST 8192
#define PASSED (-3999)
static struct question *asked;
static int count;
static volatile int *now;

static void ask(int door, long number, int argument, unsigned long value) {
    struct question q = {door, number, argument, value, -2};
    if (count == MOST) exit(3);
    asked[count++] = q;
}

static long call(const struct question *q) {
    unsigned long a[6] = {0, 0, 0, 0, 0, 0};
    long ret, number = q->number;
    if (q->argument >= 0) a[q->argument] = q->value;
    if (q->door == INT80) {
        __asm__ volatile("int $0x80"
                         : "=a"(ret)
                         : "a"(number), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
                         : "memory", "r8", "r9", "r10", "r11");
        return (int)ret;
    }
    if (q->door == X32) number |= 0x40000000;
    register unsigned long r10 __asm__("r10") = a[3];
    register unsigned long r8 __asm__("r8") = a[4];
    register unsigned long r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "memory", "rcx", "r11");
    return ret;
}

/* Asks from the first question without an answer; ends by exit_group, which the tracer knows. */
static void child(void) {
    struct sock_filter code[] = {{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_TRACE}};
    struct sock_fprog filter = {1, code};
    ptrace(PTRACE_TRACEME, 0, 0, 0);
    raise(SIGSTOP);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, 2, &filter)) _exit(2);
    while (*now < count) {
        struct question *q = &asked[*now];
        long ret = call(q);
        q->answer = ret == PASSED ? 0 : -ret;
        *now += 1;
    }
    for (;;) syscall(SYS_exit_group, 0, 0, 0, 0, 0, 0x5ca1e);
}

static void trace(void) {
    int status;
    pid_t pid = fork();
    if (pid == 0) child();
    waitpid(pid, &status, 0);
    ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL);
    ptrace(PTRACE_CONT, pid, 0, 0);
    while (waitpid(pid, &status, 0) == pid && WIFSTOPPED(status)) {
        int signal = 0;
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_SECCOMP << 8)) {
            struct user_regs_struct regs;
            ptrace(PTRACE_GETREGS, pid, 0, &regs);
            if (!(regs.orig_rax == SYS_exit_group && regs.r9 == 0x5ca1e)) {
                regs.orig_rax = -1;
                regs.rax = PASSED;
                ptrace(PTRACE_SETREGS, pid, 0, &regs);
            }
        } else {
            signal = WSTOPSIG(status);
        }
        ptrace(PTRACE_CONT, pid, 0, signal);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2) {
        puts("no filter can be added");
        exit(2);
    }
    if (*now < count) {
        asked[*now].answer = -1;
        *now += 1;
    }
}

static void questions(void) {
    for (int door = NATIVE; door <= INT80; door++) {
        for (long number = 0; number < 520; number++) {
            /* Kernels that have uretprobe and uprobe never ask a filter about them. */
            if (door == NATIVE && (number == 335 || number == 336)) continue;
            ask(door, number, -1, 0);
        }
        /* Far away: what no kernel has. */
        ask(door, 1000, -1, 0);
        ask(door, 0x3fffffff, -1, 0);
    }
    ask(NATIVE, 0xffffffff, -1, 0);
    for (int bit = 0; bit < 33; bit++) {
        ask(NATIVE, SYS_clone, 0, 1ul << bit);
        ask(INT80, 120, 0, 1ul << bit);
    }
    ask(NATIVE, SYS_clone, 0, 0x7e020000);
    ask(NATIVE, SYS_clone, 0, 0x3d0f00); /* a thread of a C library */
    ask(NATIVE, SYS_clone, 0, 0xffffffff);
    static const unsigned long personalities[] = {
        0, 1, 4, 8, 9, 0x10, 0x20000, 0x20008, 0x40000, 0x400000, 0x800000, 0xffffffff, 0x100000000, 0xffffffffffffffff};
    for (unsigned i = 0; i < sizeof personalities / sizeof *personalities; i++) {
        ask(NATIVE, SYS_personality, 0, personalities[i]);
        ask(INT80, 136, 0, personalities[i]);
    }
    for (unsigned long family = 0; family < 50; family++) {
        ask(NATIVE, SYS_socket, 0, family);
        ask(INT80, 359, 0, family);
    }
    ask(NATIVE, SYS_socket, 0, 0xffffffff);
    ask(NATIVE, SYS_socket, 0, 0x100000026);
    for (unsigned long what = 0; what < 22; what++) ask(INT80, 102, 0, what);
}

static void tell(int from, int to) {
    const struct question *q = &asked[from];
    if (q->answer == 0) return;
    printf("%s %ld", DOORS[q->door], q->number);
    if (q->argument >= 0) printf(" %d=0x%lx", q->argument, q->value);
    if (to > from) printf("-%ld", asked[to].number);
    if (q->answer == -1) puts(" kill");
    else if (q->answer == EPERM) puts(" EPERM");
    else if (q->answer == ENOSYS) puts(" ENOSYS");
    else printf(" %ld\n", q->answer);
}

int main(void) {
    size_t size = MOST * sizeof *asked + 4096;
    char *shared = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return 1;
    now = (int *)shared;
    asked = (struct question *)(shared + 4096);
    questions();
    while (*now < count) trace();
    for (int from = 0, to; from < count; from = to + 1) {
        for (to = from; to + 1 < count; to++) {
            const struct question *a = &asked[to], *b = &asked[to + 1];
            if (a->argument >= 0 || b->argument >= 0 || a->door != b->door || a->answer != b->answer ||
                b->number != a->number + 1)
                break;
        }
        tell(from, to);
    }
    return 0;
}
