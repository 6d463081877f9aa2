//! What a container's process is and is not allowed to see and do.

use super::bundle::{Bundle, seen};
use super::probe::Seen;

const EPERM: i32 = 1;
const EROFS: i32 = 30;

/// Dockers default for run and exec alike.
fn assert_confined(seen: &Seen) {
    for (name, value) in [
        ("CapInh", "0000000000000000"),
        ("CapPrm", "00000000a80425fb"),
        ("CapEff", "00000000a80425fb"),
        ("CapBnd", "00000000a80425fb"),
        ("CapAmb", "0000000000000000"),
        ("Seccomp", "2"),
        ("NoNewPrivs", "0"),
    ] {
        assert_eq!(seen.status[name], value, "{name}");
    }
    assert_eq!(seen.fds, [0, 1, 2]);
    for (call, errno) in [
        ("socket inet", 0),
        ("socket alg", EPERM),
        ("socket vsock", EPERM),
        ("mount", EPERM),
        ("sethostname", EPERM),
        ("chroot", 0),
    ] {
        assert_eq!(seen.calls[call], errno, "{call}");
    }
    assert!(
        seen.cgroup.lines().all(|line| line.ends_with(":/")),
        "{}",
        seen.cgroup
    );
}

#[test]
fn the_first_process_is_confined_as_dockers() {
    let mut bundle = Bundle::new();
    bundle.env("PROBE_PATHS=/proc/kcore:/proc/timer_list:/proc/sys/kernel/core_pattern:/proc/acpi:/sys/firmware:/sys/fs/cgroup/pids:/sys:/tmp:/proc/sysrq-trigger");
    bundle.spec.hostname = "box".to_owned();
    let seen = bundle.run();
    assert_confined(&seen);
    assert_eq!(seen.pid, 1);
    assert_eq!(seen.hostname, "box");
    assert_eq!(seen.env["HOME"], "/root");
    for masked in [
        "/proc/kcore",
        "/proc/timer_list",
        "/proc/acpi",
        "/sys/firmware",
    ] {
        if let Some(access) = seen.paths.get(masked).filter(|a| a.read != -2) {
            assert_eq!(access.read, 0, "{masked}: {access:?}");
        }
    }
    for readonly in [
        "/proc/sys/kernel/core_pattern",
        "/sys",
        "/proc/sysrq-trigger",
    ] {
        let access = &seen.paths[readonly];
        assert!(
            access.write == EROFS || access.read == -2,
            "{readonly}: {access:?}"
        );
    }
    assert_ne!(seen.paths["/sys/fs/cgroup/pids"].write, 0);
    assert_eq!(seen.paths["/tmp"].write, 0);
    bundle.assert_nothing_left();
}

#[test]
fn descriptors_of_the_caller_do_not_leak() {
    let bundle = Bundle::new();
    bundle.write();
    let line = format!(
        "exec 7</ 9</etc; exec {} --root {}/state run {}",
        env!("CARGO_BIN_EXE_corten-runtime"),
        bundle.dir.path().display(),
        bundle.id
    );
    let mut shell = std::process::Command::new("sh");
    let output = shell
        .arg("-c")
        .arg(line)
        .current_dir(bundle.dir.path())
        .output()
        .unwrap();
    assert_confined(&seen(&output));
}

#[test]
fn added_processes_are_confined_alike() {
    let mut bundle = Bundle::new();
    bundle.env("PROBE_SLEEP=60");
    bundle.write();
    assert!(
        bundle
            .command(&["run", "--detach", &bundle.id])
            .status()
            .unwrap()
            .success()
    );
    let mut args = vec![
        "exec",
        "--env",
        "PROBE_SLEEP=0",
        "--cwd",
        "/tmp",
        &bundle.id,
    ];
    let command = super::bundle::probe_command();
    args.extend(command.iter().map(String::as_str));
    let seen = seen(&bundle.call(&args));
    assert_confined(&seen);
    assert_eq!(seen.cwd, "/tmp");
    assert!(seen.pid > 1);
    let missing = bundle.call(&["exec", &bundle.id, "/no/such"]);
    let text = String::from_utf8(missing.stderr).unwrap();
    assert!(
        text.contains("exec: \"/no/such\": stat /no/such: no such file or directory"),
        "{text}"
    );
    assert!(
        bundle
            .call(&["delete", "--force", &bundle.id])
            .status
            .success()
    );
    bundle.assert_nothing_left();
}

#[test]
fn users_groups_and_what_they_lose() {
    let mut bundle = Bundle::new();
    bundle.spec.process.as_mut().unwrap().user.username = "dev".to_owned();
    let seen = bundle.run();
    assert_eq!(seen.status["Uid"], "1000\t1000\t1000\t1000");
    assert_eq!(seen.status["Gid"], "100\t100\t100\t100");
    assert_eq!(seen.status["Groups"], "29 100");
    assert_eq!(seen.env["HOME"], "/home/dev");
    assert_eq!(seen.status["CapEff"], "0000000000000000");
    assert_eq!(seen.status["CapBnd"], "00000000a80425fb");

    for (name, text) in [
        (
            "nobody",
            "unable to find user nobody: no matching entries in passwd file",
        ),
        ("4294967296", "uids and gids must be in range 0-2147483647"),
        (
            "1:nogroup",
            "unable to find group nogroup: no matching entries in group file",
        ),
    ] {
        bundle.spec.process.as_mut().unwrap().user.username = name.to_owned();
        let message = bundle.fails();
        assert!(message.contains(text), "{message}");
    }
}

#[test]
fn a_user_file_that_never_ends_is_no_trouble() {
    let mut bundle = Bundle::new();
    std::fs::remove_file(bundle.rootfs().join("etc/passwd")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", bundle.rootfs().join("etc/passwd")).unwrap();
    bundle.spec.process.as_mut().unwrap().user.username = "dev".to_owned();
    let message = bundle.fails();
    assert!(message.contains("not a regular file"), "{message}");
}

#[test]
fn no_capabilities_at_all_and_no_new_privileges() {
    let mut bundle = Bundle::new();
    let process = bundle.spec.process.as_mut().unwrap();
    process.capabilities = None;
    process.no_new_privileges = true;
    let seen = bundle.run();
    for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(seen.status[name], "0000000000000000", "{name}");
    }
    assert_eq!(seen.status["NoNewPrivs"], "1");
    assert_eq!(seen.status["Seccomp"], "2");
}

#[test]
fn limits_are_set_or_clamped() {
    let mut bundle = Bundle::new();
    let process = bundle.spec.process.as_mut().unwrap();
    let limit = |soft, hard| spec::runtime::Rlimit {
        kind: "RLIMIT_NOFILE".to_owned(),
        soft,
        hard,
    };
    process.rlimits = vec![limit(100, 200)];
    process.oom_score_adj = Some(500);
    let seen = bundle.run();
    let fields: Vec<&str> = seen.nofile.split_whitespace().collect();
    assert_eq!(fields[3..5], ["100", "200"]);
    assert_eq!(seen.oom_score_adj, "500");
    // Neither may be allowed here, and neither may hinder the start.
    let process = bundle.spec.process.as_mut().unwrap();
    process.rlimits = vec![limit(1 << 40, 1 << 40)];
    process.oom_score_adj = Some(-900);
    bundle.run();
    bundle.spec.process.as_mut().unwrap().rlimits = vec![limit(2, 1)];
    assert!(
        bundle
            .fails()
            .contains("the soft limit is above the hard limit")
    );
}

#[test]
fn only_parameters_of_own_namespaces_can_be_set() {
    let mut bundle = Bundle::new();
    bundle.env("PROBE_PATHS=/proc/sys/kernel/msgmax:/proc/sys/net/ipv4/ip_forward");
    let sysctl = &mut bundle.spec.linux.as_mut().unwrap().sysctl;
    sysctl.insert("kernel.msgmax".to_owned(), "12345".to_owned());
    sysctl.insert("net.ipv4.ip_forward".to_owned(), "1".to_owned());
    let seen = bundle.run();
    assert_eq!(seen.paths["/proc/sys/kernel/msgmax"].content, "12345\n");
    assert_eq!(seen.paths["/proc/sys/net/ipv4/ip_forward"].content, "1\n");
    let sysctl = &mut bundle.spec.linux.as_mut().unwrap().sysctl;
    sysctl.insert("kernel.core_pattern".to_owned(), "|/tmp/x".to_owned());
    assert!(
        bundle
            .fails()
            .contains("is not in a separate kernel namespace")
    );
}
