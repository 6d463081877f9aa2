//! Docker's default system call filter as data.
//!
//! Everything not named fails with `EPERM`. What depends on capabilities is decided when the filter
//! is made, so that a compiled filter can be cached per set of capabilities. The facts are those of
//! the default profile that Docker Engine publishes; conditions on other architectures than x86 and
//! Arm are left out until those are built.

//!
//! Stricter than Docker in one call: 32-bit programs get `ENOSYS` from `socketcall`. It takes its
//! arguments from memory, where a filter cannot look, so it opens the address families that the
//! rules of `socket` close (AF_ALG was the way of a kernel hole, CVE-2026-31431); Docker leaves that
//! to AppArmor, which many hosts do not have. 32-bit programs of C libraries that know the direct
//! calls (musl; glibc built for Linux 4.3 and newer) do not notice. Others need a profile of their
//! own that allows `socketcall`.

use crate::runtime::{LinuxSeccomp, SeccompArg, SeccompRule};

/// Allowed whatever the process may do.
const ALWAYS: &str = "\
    _llseek _newselect accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir \
    chmod chown chown32 clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 \
    clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close close_range connect \
    copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old \
    epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit \
    exit_group faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod \
    fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock \
    fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate \
    ftruncate64 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake futimesat \
    get_robust_list get_thread_area getcpu getcwd getdents getdents64 getegid getegid32 geteuid \
    geteuid32 getgid getgid32 getgroups getgroups32 getitimer getpeername getpgid getpgrp getpid \
    getppid getpriority getrandom getresgid getresgid32 getresuid getresuid32 getrlimit getrusage \
    getsid getsockname getsockopt gettid gettimeofday getuid getuid32 getxattr getxattrat \
    inotify_add_watch inotify_init inotify_init1 inotify_rm_watch io_cancel io_destroy \
    io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit ioctl ioprio_get ioprio_set \
    ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lchown32 \
    lgetxattr link linkat listen listmount listxattr listxattrat llistxattr lremovexattr lseek \
    lsetxattr lstat lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore \
    mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect mq_getsetattr mq_notify \
    mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink \
    mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap name_to_handle_at \
    nanosleep newfstatat open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 \
    pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2 \
    prlimit64 process_mrelease pselect6 pselect6_time64 pwrite64 pwritev pwritev2 read readahead \
    readlink readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages \
    removexattr removexattrat rename renameat renameat2 restart_syscall riscv_hwprobe rmdir rseq \
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend \
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_get_priority_max \
    sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler \
    sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr \
    sched_setparam sched_setscheduler sched_yield seccomp select semctl semget semop semtimedop \
    semtimedop_time64 send sendfile sendfile64 sendmmsg sendmsg sendto set_robust_list \
    set_thread_area set_tid_address setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 \
    setgroups setgroups32 setitimer setpgid setpriority setregid setregid32 setresgid setresgid32 \
    setresuid setresuid32 setreuid setreuid32 setrlimit setsid setsockopt setuid setuid32 setxattr \
    setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 sigprocmask \
    sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statmount statx symlink \
    symlinkat sync sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete \
    timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create \
    timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64 times tkill truncate \
    truncate64 ugetrlimit umask uname unlink unlinkat uretprobe utime utimensat utimensat_time64 \
    utimes vfork vmsplice wait4 waitid waitpid write writev";

/// Allowed to whoever has the capability before the colon.
const WITH_CAPABILITY: [(&str, &str); 13] = [
    ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
    (
        "CAP_SYS_ADMIN",
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie \
         lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount \
         open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog \
         umount umount2 unshare",
    ),
    ("CAP_SYS_BOOT", "reboot"),
    ("CAP_SYS_CHROOT", "chroot"),
    ("CAP_SYS_MODULE", "delete_module finit_module init_module"),
    ("CAP_SYS_PACCT", "acct"),
    (
        "CAP_SYS_PTRACE",
        "kcmp pidfd_getfd process_madvise process_vm_readv process_vm_writev ptrace",
    ),
    ("CAP_SYS_RAWIO", "ioperm iopl"),
    (
        "CAP_SYS_TIME",
        "clock_settime clock_settime64 settimeofday stime",
    ),
    ("CAP_SYS_TTY_CONFIG", "vhangup"),
    (
        "CAP_SYS_NICE",
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    ("CAP_SYSLOG", "syslog"),
    ("CAP_BPF", "bpf"),
];

/// Allowed to whoever has the capability, apart from the table for its length.
const PERFMON: (&str, &str) = ("CAP_PERFMON", "perf_event_open");

/// Allowed on the architectures this build can run on.
#[cfg(target_arch = "x86_64")]
const OF_THIS_MACHINE: &str = "arch_prctl modify_ldt";
#[cfg(not(target_arch = "x86_64"))]
const OF_THIS_MACHINE: &str =
    "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2";

/// Since Linux 4.8 a tracer can no longer change a call after the filter has seen it.
const TRACING: &str = "process_vm_readv process_vm_writev ptrace";

/// `CLONE_NEW*`: what `clone` may not ask for without `CAP_SYS_ADMIN`.
const NAMESPACE_FLAGS: u64 = 0x7E02_0000;

/// `personality` values that change nothing a neighbour could notice: Linux, 32-bit address layout,
/// `UNAME26`, both, and the query.
const PERSONALITIES: [u64; 5] = [0x0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Address families that `socket` may be asked for, as mask and value: 0 to 37, 39, and 41 to 63.
/// AF_ALG (38) and AF_VSOCK (40) stay closed.
///
/// The masks leave the upper half of the argument out, because the kernel does: a comparison of all
/// 64 bits, as Docker has it, takes 2^32 + 38 for a family above 40, and the kernel for AF_ALG.
const FAMILIES: [(u64, u64); 8] = [
    (0xffff_ffe0, 0),
    (0xffff_fffc, 32),
    (0xffff_fffe, 36),
    (0xffff_ffff, 39),
    (0xffff_ffff, 41),
    (0xffff_fffe, 42),
    (0xffff_fffc, 44),
    (0xffff_fff0, 48),
];

/// `ENOSYS`: what a C library takes as "use `clone` instead".
const ENOSYS: u32 = 38;

/// The 32-bit door to all socket calls; see the head of this file.
const SOCKETCALL: &str = "socketcall";

/// Returns the default filter for a process whose bounding set has these capabilities.
pub fn default_profile<S: AsRef<str>>(caps: &[S]) -> LinuxSeccomp {
    let has = |name: &str| caps.iter().any(|cap| cap.as_ref() == name);
    let mut syscalls = vec![allow(ALWAYS), allow(TRACING), allow(OF_THIS_MACHINE)];
    for (mask, value) in FAMILIES {
        syscalls.push(allow_if("socket", mask, value, "SCMP_CMP_MASKED_EQ"));
    }
    for value in PERSONALITIES {
        syscalls.push(allow_if("personality", value, 0, "SCMP_CMP_EQ"));
    }
    for (cap, names) in WITH_CAPABILITY.iter().chain([&PERFMON]) {
        if has(cap) {
            syscalls.push(allow(names));
        }
    }
    for rule in &mut syscalls {
        rule.names.retain(|name| name != SOCKETCALL);
    }
    syscalls.push(missing(SOCKETCALL));
    if !has("CAP_SYS_ADMIN") {
        syscalls.push(allow_if("clone", NAMESPACE_FLAGS, 0, "SCMP_CMP_MASKED_EQ"));
        syscalls.push(missing("clone3"));
    }
    LinuxSeccomp {
        default_action: "SCMP_ACT_ERRNO".to_owned(),
        default_errno_ret: Some(1),
        architectures: architectures(),
        syscalls,
        ..LinuxSeccomp::default()
    }
}

#[cfg(target_arch = "x86_64")]
fn architectures() -> Vec<String> {
    ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
        .map(str::to_owned)
        .to_vec()
}

#[cfg(not(target_arch = "x86_64"))]
fn architectures() -> Vec<String> {
    ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
        .map(str::to_owned)
        .to_vec()
}

fn allow(names: &str) -> SeccompRule {
    SeccompRule {
        names: names.split_ascii_whitespace().map(str::to_owned).collect(),
        action: "SCMP_ACT_ALLOW".to_owned(),
        ..SeccompRule::default()
    }
}

/// Makes a call look as if the kernel did not have it.
fn missing(name: &str) -> SeccompRule {
    SeccompRule {
        names: vec![name.to_owned()],
        action: "SCMP_ACT_ERRNO".to_owned(),
        errno_ret: Some(ENOSYS),
        ..SeccompRule::default()
    }
}

fn allow_if(name: &str, value: u64, value_two: u64, op: &str) -> SeccompRule {
    let arg = SeccompArg {
        index: 0,
        value,
        value_two,
        op: op.to_owned(),
    };
    SeccompRule {
        args: vec![arg],
        ..allow(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(caps: &[&str]) -> Vec<String> {
        let rules = default_profile(caps).syscalls;
        rules
            .into_iter()
            .filter(|r| r.args.is_empty())
            .flat_map(|r| r.names)
            .collect()
    }

    #[test]
    fn counts_are_those_of_the_published_profile() {
        assert_eq!(allow(ALWAYS).names.len(), 361);
        assert_eq!(allow(WITH_CAPABILITY[1].1).names.len(), 26);
        let mut sorted = allow(ALWAYS).names;
        sorted.dedup();
        assert_eq!(sorted.len(), 361);
    }

    #[test]
    fn socketcall_is_missing_not_allowed() {
        let rules = default_profile(&["CAP_SYS_ADMIN"]).syscalls;
        let of: Vec<_> = rules
            .iter()
            .filter(|r| r.names.iter().any(|n| n == SOCKETCALL))
            .collect();
        assert_eq!((of.len(), of[0].errno_ret), (1, Some(38)));
    }

    #[test]
    fn capabilities_open_what_they_stand_for() {
        for (cap, name) in [("CAP_SYS_CHROOT", "chroot"), ("CAP_SYS_ADMIN", "mount")] {
            assert!(!names(&[]).contains(&name.to_owned()), "{name}");
            assert!(names(&[cap]).contains(&name.to_owned()), "{name}");
        }
        for never in [
            "io_uring_setup",
            "keyctl",
            "userfaultfd",
            "kexec_load",
            "pivot_root",
        ] {
            assert!(
                !names(&["CAP_SYS_ADMIN"]).contains(&never.to_owned()),
                "{never}"
            );
        }
    }
}
