/* Builds a filter with libseccomp from lines on stdin and writes its BPF to stdout.
   A line: action errno name [index op a b]. Names libseccomp does not know are told on stderr. */
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
	char action[32], name[64], op[32];
	unsigned error, index, line = 0;
	unsigned long long a, b;
	char text[256];
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(1));

	seccomp_arch_add(ctx, SCMP_ARCH_X86);
	while (fgets(text, sizeof text, stdin)) {
		int n = sscanf(text, "%31s %u %63s %u %31s %llu %llu", action, &error, name, &index, op, &a, &b);
		uint32_t act = strcmp(action, "SCMP_ACT_ALLOW") ? SCMP_ACT_ERRNO(error) : SCMP_ACT_ALLOW;
		int nr = seccomp_syscall_resolve_name(name), done;

		line++;
		if (nr == __NR_SCMP_ERROR) {
			fprintf(stderr, "%s\n", name);
			continue;
		}
		if (n < 7) {
			done = seccomp_rule_add(ctx, act, nr, 0);
		} else {
			struct scmp_arg_cmp cmp = { index, SCMP_CMP_EQ, a, b };
			if (!strcmp(op, "SCMP_CMP_LT"))
				cmp.op = SCMP_CMP_LT;
			else if (!strcmp(op, "SCMP_CMP_GT"))
				cmp.op = SCMP_CMP_GT;
			else if (!strcmp(op, "SCMP_CMP_MASKED_EQ"))
				cmp.op = SCMP_CMP_MASKED_EQ;
			else if (strcmp(op, "SCMP_CMP_EQ"))
				return 3;
			done = seccomp_rule_add_array(ctx, act, nr, 1, &cmp);
		}
		if (done)
			return 4;
	}
	return line && seccomp_export_bpf(ctx, STDOUT_FILENO) == 0 ? 0 : 5;
}
