//! The compiled program is run by a small interpreter and asked about every call.

use spec::runtime::{LinuxSeccomp, SeccompArg, SeccompRule};

use super::*;

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const NO_SUCH_CALL: u32 = 0x0005_0026;
const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;

/// What the filter answers to a call.
fn run(program: &[Instruction], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let mut data = [0u32; 16];
    data[0] = number;
    data[1] = arch;
    for (i, arg) in args.iter().enumerate() {
        data[4 + 2 * i] = *arg as u32;
        data[5 + 2 * i] = (*arg >> 32) as u32;
    }
    let (mut at, mut a) = (0usize, 0u32);
    loop {
        let i = &program[at];
        let jump = |yes: bool| usize::from(if yes { i.jt } else { i.jf });
        at += 1 + match i.code {
            0x20 => {
                a = data[i.k as usize / 4];
                0
            }
            0x54 => {
                a &= i.k;
                0
            }
            0x05 => i.k as usize,
            0x15 => jump(a == i.k),
            0x25 => jump(a > i.k),
            0x35 => jump(a >= i.k),
            0x06 => return i.k,
            other => panic!("opcode {other:#x}"),
        };
    }
}

fn default_for(caps: &[&str]) -> Vec<Instruction> {
    compile(&spec::seccomp::default_profile(caps)).unwrap()
}

fn ask(program: &[Instruction], name: &str, args: [u64; 6]) -> u32 {
    run(
        program,
        X86_64,
        Architecture::X86_64.number(name).unwrap(),
        args,
    )
}

#[test]
fn every_call_of_the_default_profile_is_decided_as_its_list_says() {
    let profile = spec::seccomp::default_profile::<&str>(&[]);
    let program = compile(&profile).unwrap();
    let simple: Vec<&String> = profile
        .syscalls
        .iter()
        .filter(|r| r.args.is_empty() && r.action == "SCMP_ACT_ALLOW")
        .flat_map(|r| &r.names)
        .collect();
    let conditional = ["socket", "socketcall", "personality", "clone", "clone3"];
    for (audit, arch) in [(X86_64, Architecture::X86_64), (I386, Architecture::X86)] {
        let allowed: Vec<u32> = simple.iter().filter_map(|n| arch.number(n)).collect();
        let skip: Vec<u32> = conditional.iter().filter_map(|n| arch.number(n)).collect();
        let newest = allowed.iter().chain(&skip).copied().max().unwrap();
        for number in (0..600).filter(|n| !skip.contains(n)) {
            let want = match number {
                n if allowed.contains(&n) => ALLOW,
                n if n > newest => NO_SUCH_CALL,
                _ => EPERM,
            };
            assert_eq!(
                run(&program, audit, number, [0; 6]),
                want,
                "{arch:?} {number}"
            );
        }
    }
}

#[test]
fn conditions_of_the_default_profile_hold() {
    let p = default_for(&[]);
    for (family, want) in [
        (1, ALLOW),
        (2, ALLOW),
        (16, ALLOW),
        (38, EPERM),
        (39, ALLOW),
    ] {
        assert_eq!(
            ask(&p, "socket", [family, 0, 0, 0, 0, 0]),
            want,
            "family {family}"
        );
    }
    assert_eq!(ask(&p, "socket", [40, 0, 0, 0, 0, 0]), EPERM);
    assert_eq!(ask(&p, "socket", [41, 0, 0, 0, 0, 0]), ALLOW);
    // The kernel takes the lower half of the argument, whatever is in the upper one.
    for family in [38, 40] {
        let dressed = [1 << 32 | family, 0, 0, 0, 0, 0];
        assert_eq!(ask(&p, "socket", dressed), EPERM, "family {family}");
        let direct = Architecture::X86.number("socket").unwrap();
        assert_eq!(run(&p, I386, direct, dressed), EPERM, "family {family}");
    }
    for (persona, want) in [
        (0, ALLOW),
        (8, ALLOW),
        (0x0004_0000, EPERM),
        (0xffff_ffff, ALLOW),
    ] {
        assert_eq!(
            ask(&p, "personality", [persona, 0, 0, 0, 0, 0]),
            want,
            "{persona:#x}"
        );
    }
    assert_eq!(ask(&p, "clone", [0x0001_0900, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(ask(&p, "clone", [0x1000_0000, 0, 0, 0, 0, 0]), EPERM);
    assert_eq!(ask(&p, "clone3", [0; 6]), NO_SUCH_CALL);
    let socketcall = Architecture::X86.number("socketcall").unwrap();
    assert_eq!(run(&p, I386, socketcall, [1, 0, 0, 0, 0, 0]), NO_SUCH_CALL);
    let admin = default_for(&["CAP_SYS_ADMIN"]);
    assert_eq!(ask(&admin, "clone", [0x1000_0000, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(ask(&admin, "clone3", [0; 6]), ALLOW);
}

#[test]
fn upper_halves_do_not_count_in_32_bit_programs() {
    for (op, value, given, holds) in [
        ("SCMP_CMP_EQ", 7, 7, true),
        ("SCMP_CMP_EQ", 7, 8, false),
        ("SCMP_CMP_NE", 7, 7, false),
        ("SCMP_CMP_NE", 7, 8, true),
        ("SCMP_CMP_GT", 7, 7, false),
        ("SCMP_CMP_GT", 7, 8, true),
        ("SCMP_CMP_GE", 7, 6, false),
        ("SCMP_CMP_GE", 7, 7, true),
        ("SCMP_CMP_LT", 7, 6, true),
        ("SCMP_CMP_LT", 7, 7, false),
        ("SCMP_CMP_LE", 7, 7, true),
        ("SCMP_CMP_LE", 7, 8, false),
        ("SCMP_CMP_MASKED_EQ", 3, 7, true),
        ("SCMP_CMP_MASKED_EQ", 3, 6, false),
    ] {
        let mut profile = spec::seccomp::default_profile::<&str>(&[]);
        let value_two = if op == "SCMP_CMP_MASKED_EQ" { 3 } else { 0 };
        let arg = SeccompArg {
            index: 0,
            value,
            value_two,
            op: op.to_owned(),
        };
        profile.syscalls = vec![SeccompRule {
            names: vec!["getpid".to_owned()],
            action: "SCMP_ACT_ALLOW".to_owned(),
            args: vec![arg],
            ..SeccompRule::default()
        }];
        let program = compile(&profile).unwrap();
        let number = Architecture::X86.number("getpid").unwrap();
        let answer = run(
            &program,
            I386,
            number,
            [0xdead << 32 | given, 0, 0, 0, 0, 0],
        );
        assert_eq!(answer == ALLOW, holds, "{op} {value} with {given}");
    }
}

#[test]
fn other_conventions_are_closed() {
    let p = default_for(&[]);
    assert_eq!(run(&p, X86_64, 0x4000_0000, [0; 6]), NO_SUCH_CALL, "x32");
    assert_eq!(
        run(&p, 0xc000_00b7, 0, [0; 6]),
        0x8000_0000,
        "foreign machine"
    );
}

#[test]
fn every_operator_compares_all_64_bits() {
    const BIG: u64 = 0x1_0000_0005;
    /// Operator, value, second value, and arguments with what is expected.
    type Case = (&'static str, u64, u64, &'static [(u64, bool)]);
    let cases: [Case; 7] = [
        (
            "SCMP_CMP_EQ",
            BIG,
            0,
            &[(BIG, true), (5, false), (BIG + 1, false)],
        ),
        (
            "SCMP_CMP_NE",
            BIG,
            0,
            &[(BIG, false), (5, true), (BIG + 1, true)],
        ),
        (
            "SCMP_CMP_LT",
            BIG,
            0,
            &[
                (BIG, false),
                (BIG - 1, true),
                (0xffff_ffff, true),
                (2 * BIG, false),
            ],
        ),
        (
            "SCMP_CMP_LE",
            BIG,
            0,
            &[(BIG, true), (BIG + 1, false), (6, true)],
        ),
        (
            "SCMP_CMP_GT",
            BIG,
            0,
            &[(BIG, false), (BIG + 1, true), (6, false), (2 * BIG, true)],
        ),
        (
            "SCMP_CMP_GE",
            BIG,
            0,
            &[(BIG, true), (BIG - 1, false), (2 * BIG, true)],
        ),
        (
            "SCMP_CMP_MASKED_EQ",
            0xff_0000_00ff,
            0x01_0000_0005,
            &[(0x7701_5566_7705, true), (5, false)],
        ),
    ];
    for (op, value, value_two, asked) in cases {
        let arg = SeccompArg {
            index: 3,
            value,
            value_two,
            op: op.to_owned(),
        };
        let rule = SeccompRule {
            names: vec!["read".to_owned()],
            action: "SCMP_ACT_ALLOW".to_owned(),
            args: vec![arg],
            ..SeccompRule::default()
        };
        let profile = LinuxSeccomp {
            default_action: "SCMP_ACT_ERRNO".to_owned(),
            syscalls: vec![rule],
            ..LinuxSeccomp::default()
        };
        let program = compile(&profile).unwrap();
        for (number, holds) in asked {
            let want = if *holds { ALLOW } else { EPERM };
            assert_eq!(
                ask(&program, "read", [0, 0, 0, *number, 0, 0]),
                want,
                "{op} {number:#x}"
            );
        }
    }
}

#[test]
fn nonsense_is_refused_by_name() {
    let mut profile = spec::seccomp::default_profile::<&str>(&[]);
    profile.syscalls[0].action = "SCMP_ACT_MAYBE".to_owned();
    assert_eq!(
        compile(&profile).unwrap_err().to_string(),
        "unknown seccomp action `SCMP_ACT_MAYBE`"
    );
    profile.syscalls[0].action = "SCMP_ACT_NOTIFY".to_owned();
    assert!(matches!(
        compile(&profile),
        Err(SeccompError::Unsupported { .. })
    ));
}

/// Builds the profile with libseccomp; gives its program and the names it does not know.
fn with_libseccomp(profile: &LinuxSeccomp) -> Option<(Vec<Instruction>, Vec<String>)> {
    use std::io::Write;
    use std::process::{Command, Stdio};
    if !std::path::Path::new("/usr/include/seccomp.h").exists() {
        eprintln!("skipped: libseccomp-dev is not installed");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let binary = dir.path().join("libseccomp");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/libseccomp.c");
    let built = Command::new("cc")
        .args([source, "-lseccomp", "-o"])
        .arg(&binary)
        .status()
        .unwrap();
    assert!(built.success());
    let mut child = Command::new(&binary)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = String::new();
    for rule in &profile.syscalls {
        for name in &rule.names {
            lines += &format!("{} {} {name}", rule.action, rule.errno_ret.unwrap_or(1));
            for arg in &rule.args {
                lines += &format!(" {} {} {} {}", arg.index, arg.op, arg.value, arg.value_two);
            }
            lines += "\n";
        }
    }
    child
        .stdin
        .take()
        .unwrap()
        .write_all(lines.as_bytes())
        .unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let half = |c: &[u8], at: usize| u16::from_ne_bytes([c[at], c[at + 1]]);
    let program = out
        .stdout
        .chunks_exact(8)
        .map(|c| Instruction {
            code: half(c, 0),
            jt: c[2],
            jf: c[3],
            k: u32::from_ne_bytes([c[4], c[5], c[6], c[7]]),
        })
        .collect();
    let unknown = String::from_utf8(out.stderr)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    Some((program, unknown))
}

#[test]
fn decides_as_libseccomp_does() {
    for caps in [
        &[][..],
        &["CAP_SYS_ADMIN"],
        &["CAP_SYS_CHROOT", "CAP_SYSLOG", "CAP_SYS_PTRACE"],
    ] {
        let profile = spec::seccomp::default_profile(caps);
        let ours = compile(&profile).unwrap();
        let Some((theirs, unknown)) = with_libseccomp(&profile) else {
            return;
        };
        let arguments = [
            0,
            1,
            2,
            5,
            8,
            16,
            37,
            38,
            39,
            40,
            41,
            0x2_0000,
            0x2_0008,
            0x1000_0000,
        ]
        .into_iter()
        .chain([
            0x0200_0000,
            0x4000_0000,
            0x7e02_0000,
            0xffff_ffff,
            0x1_0000_0026,
        ]);
        for argument in arguments {
            for (audit, arch) in [(X86_64, Architecture::X86_64), (I386, Architecture::X86)] {
                // A 32-bit call has no high halves.
                if audit == I386 && argument > u64::from(u32::MAX) {
                    continue;
                }
                let skip: Vec<u32> = unknown.iter().filter_map(|n| arch.number(n)).collect();
                // Above the newest call we answer "no such call", libseccomp the default.
                for number in (0..450).filter(|n| !skip.contains(n)) {
                    let args = [argument, 0, 0, 0, 0, 0];
                    assert_eq!(
                        run(&ours, audit, number, args),
                        run(&theirs, audit, number, args),
                        "{arch:?} call {number} argument {argument:#x} with {caps:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn far_targets_are_reached() {
    // A condition for every other call makes a program of thousands of instructions.
    let names = spec::seccomp::default_profile::<&str>(&[]).syscalls[0]
        .names
        .clone();
    let rule = |(index, name): (usize, &String)| {
        let arg = SeccompArg {
            index: 3,
            value: index as u64,
            op: "SCMP_CMP_GE".to_owned(),
            ..SeccompArg::default()
        };
        SeccompRule {
            names: vec![name.clone()],
            action: "SCMP_ACT_ALLOW".to_owned(),
            args: if index % 2 == 0 {
                vec![arg]
            } else {
                Vec::new()
            },
            ..SeccompRule::default()
        }
    };
    let profile = LinuxSeccomp {
        default_action: "SCMP_ACT_ERRNO".to_owned(),
        syscalls: names.iter().enumerate().map(rule).collect(),
        ..LinuxSeccomp::default()
    };
    let program = compile(&profile).unwrap();
    assert!(program.len() > 1000, "{}", program.len());
    for (index, name) in names.iter().enumerate() {
        let Some(number) = Architecture::NATIVE.number(name) else {
            continue;
        };
        for (value, allowed) in [
            (index as u64, true),
            (u64::MAX, true),
            (0, index % 2 == 1 || index == 0),
        ] {
            let want = if allowed { ALLOW } else { EPERM };
            let args = [0, 0, 0, value, 0, 0];
            assert_eq!(run(&program, X86_64, number, args), want, "{name} {value}");
        }
    }
}
