//! Our filter compiler against libseccomp: both compile Docker's default profile, and both programs
//! are asked about every call that libseccomp knows.
//!
//! Needs gcc and libseccomp-dev to build the helper; without them the test says so and does nothing.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use spec::runtime::LinuxSeccomp;

const HELPER: &str = r#"
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Reads rules as lines, writes the numbers it knows and then the program. */
int main(void) {
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(1));
    char name[128], op[32];
    unsigned allow, error, count;
    seccomp_arch_add(ctx, SCMP_ARCH_X86);
    while (scanf("%127s %u %u %u", name, &allow, &error, &count) == 4) {
        struct scmp_arg_cmp args[6];
        for (unsigned i = 0; i < count; i++) {
            unsigned index;
            unsigned long long a, b;
            if (scanf("%u %31s %llu %llu", &index, op, &a, &b) != 4) return 2;
            enum scmp_compare how = !strcmp(op, "LT") ? SCMP_CMP_LT
                : !strcmp(op, "GT") ? SCMP_CMP_GT
                : !strcmp(op, "EQ") ? SCMP_CMP_EQ : SCMP_CMP_MASKED_EQ;
            args[i] = (struct scmp_arg_cmp){ index, how, a, b };
        }
        int number = seccomp_syscall_resolve_name(name);
        if (number == __NR_SCMP_ERROR) continue;
        int r = seccomp_rule_add_array(ctx, allow ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(error),
                                       number, count, args);
        if (r != 0) { fprintf(stderr, "%s: %d\n", name, r); return 1; }
    }
    for (int arch = 0; arch < 2; arch++)
        for (int n = 0; n < 600; n++) {
            char *known = seccomp_syscall_resolve_num_arch(arch ? SCMP_ARCH_X86 : SCMP_ARCH_X86_64, n);
            if (known) { printf("%d %d %s\n", arch, n, known); free(known); }
        }
    printf("program\n");
    fflush(stdout);
    return seccomp_export_bpf(ctx, 1) ? 3 : 0;
}
"#;

/// One instruction as the kernel takes it.
type Instruction = (u16, u8, u8, u32);

/// What a program answers.
fn run(program: &[Instruction], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let mut data = vec![number, arch, 0, 0];
    for arg in args {
        data.extend([(arg & 0xffff_ffff) as u32, (arg >> 32) as u32]);
    }
    let (mut at, mut a) = (0usize, 0u32);
    loop {
        let (code, jt, jf, k) = program[at];
        let jump = |yes: bool| usize::from(if yes { jt } else { jf });
        at += 1;
        match code {
            0x20 => a = data[k as usize / 4],
            0x54 => a &= k,
            0x05 => at += k as usize,
            0x15 => at += jump(a == k),
            0x25 => at += jump(a > k),
            0x35 => at += jump(a >= k),
            0x06 => return k,
            other => panic!("opcode {other:#x}"),
        }
    }
}

fn build(dir: &Path) -> Option<std::path::PathBuf> {
    let source = dir.join("helper.c");
    let binary = dir.join("helper");
    std::fs::write(&source, HELPER).unwrap();
    let gcc = Command::new("gcc")
        .arg(&source)
        .arg("-lseccomp")
        .arg("-o")
        .arg(&binary)
        .output();
    match gcc {
        Ok(output) if output.status.success() => Some(binary),
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(text.contains("seccomp"), "gcc: {text}");
            println!("skipped: libseccomp-dev is not installed");
            None
        }
        Err(_) => {
            println!("skipped: gcc is not installed");
            None
        }
    }
}

fn rules_text(profile: &LinuxSeccomp) -> String {
    let mut text = String::new();
    for rule in &profile.syscalls {
        for name in &rule.names {
            let allow = u32::from(rule.action == "SCMP_ACT_ALLOW");
            let errno = rule.errno_ret.unwrap_or(1);
            text.push_str(&format!("{name} {allow} {errno} {}", rule.args.len()));
            for arg in &rule.args {
                let op = arg.op.strip_prefix("SCMP_CMP_").unwrap();
                text.push_str(&format!(
                    " {} {op} {} {}",
                    arg.index, arg.value, arg.value_two
                ));
            }
            text.push('\n');
        }
    }
    text
}

#[test]
fn same_decisions_as_libseccomp() {
    let dir = tempfile::tempdir().unwrap();
    let Some(helper) = build(dir.path()) else {
        return;
    };
    for caps in [
        &[][..],
        &["CAP_SYS_ADMIN", "CAP_SYS_PTRACE", "CAP_SYS_TIME", "CAP_BPF"][..],
    ] {
        compare(&helper, &spec::seccomp::default_profile(caps));
    }
}

fn compare(helper: &Path, profile: &LinuxSeccomp) {
    let mut child = Command::new(helper)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(rules_text(profile).as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let mark = b"program\n";
    let at = output
        .stdout
        .windows(mark.len())
        .position(|w| w == mark)
        .unwrap();
    let theirs: Vec<Instruction> = output.stdout[at + mark.len()..]
        .chunks_exact(8)
        .map(|b| {
            let k = u32::from_ne_bytes([b[4], b[5], b[6], b[7]]);
            (u16::from_ne_bytes([b[0], b[1]]), b[2], b[3], k)
        })
        .collect();
    let ours: Vec<Instruction> = runtime::seccomp::compile(profile)
        .unwrap()
        .iter()
        .map(|i| (i.code, i.jt, i.jf, i.k))
        .collect();
    let known = String::from_utf8(output.stdout[..at].to_vec()).unwrap();
    let mut asked = 0;
    for line in known.lines() {
        let mut fields = line.split(' ');
        let x86 = fields.next() == Some("1");
        let number: u32 = fields.next().unwrap().parse().unwrap();
        let name = fields.next().unwrap();
        // libseccomp translates calls to these, which takes arguments from memory, by guessing.
        if x86 && matches!(name, "socketcall" | "ipc") {
            continue;
        }
        let arch = if x86 { 0x4000_0003 } else { 0xc000_003e };
        for args in arguments(x86) {
            let (a, b) = (
                run(&ours, arch, number, args),
                run(&theirs, arch, number, args),
            );
            assert_eq!(
                a, b,
                "{name} ({number}, arch {arch:#x}) with {args:x?}: {a:#x} / {b:#x}"
            );
            asked += 1;
        }
    }
    println!(
        "{asked} questions, {} and {} instructions",
        ours.len(),
        theirs.len()
    );
    assert!(asked > 5000, "{asked}");
}

/// Arguments that the rules distinguish; 32-bit calls have no high halves.
fn arguments(x86: bool) -> Vec<[u64; 6]> {
    let mut first = vec![
        0,
        1,
        8,
        9,
        37,
        38,
        39,
        40,
        41,
        0x2_0000,
        0x2_0008,
        0xffff_ffff,
        0x0200_0000,
        0x1000_0000,
        0x7e02_0000,
        0x4000_0000,
        0x80,
        0x11,
    ];
    if !x86 {
        first.extend([
            0x1_0000_0000,
            0x1_0000_0008,
            0xffff_ffff_0000_0026,
            u64::MAX,
        ]);
    }
    first.into_iter().map(|a| [a, 0, 0, 0, 0, 0]).collect()
}
