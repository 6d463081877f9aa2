//! What a container may not see or do by default.

use std::fs;

use tests::{IMAGE, api, clients};

clients! {
    fn default_capabilities_are_dockers_fourteen(case) {
        let args = ["run", "--rm", IMAGE, "grep", "Cap", "/proc/self/status"];
        let output = case.cmd(&args).ok();
        let output = output.shows("CapPrm:\t00000000a80425fb").shows("CapEff:\t00000000a80425fb");
        output.shows("CapBnd:\t00000000a80425fb").shows("CapAmb:\t0000000000000000");
    }

    fn capabilities_are_added_and_dropped(case) {
        let flags = ["run", "--rm", "--cap-drop", "ALL", "--cap-add", "NET_ADMIN"];
        let args = [&flags[..], &[IMAGE, "grep", "CapEff", "/proc/self/status"]].concat();
        case.cmd(&args).ok().shows("CapEff:\t0000000000001000");
    }

    fn another_user_has_no_capabilities(case) {
        let args = ["run", "--rm", "-u", "1000", IMAGE, "grep", "CapEff", "/proc/self/status"];
        case.cmd(&args).ok().shows("CapEff:\t0000000000000000");
    }

    fn seccomp_filters_by_default(case) {
        let args = ["run", "--rm", IMAGE, "grep", "^Seccomp:", "/proc/self/status"];
        case.cmd(&args).ok().shows("2");
    }

    fn seccomp_can_be_switched_off(case) {
        let args = [
            "run", "--rm", "--security-opt", "seccomp=unconfined", IMAGE, "grep", "^Seccomp:",
            "/proc/self/status",
        ];
        case.cmd(&args).ok().shows("0");
    }

    fn seccomp_profiles_have_dockers_conditions(case) {
        let profile = case.dir().join("profile.json");
        let text = r#"{"defaultAction":"SCMP_ACT_ALLOW",
            "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}],
            "syscalls":[
                {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":13,
                 "excludes":{"caps":["CAP_SYS_ADMIN"]}},
                {"names":["link","linkat"],"action":"SCMP_ACT_ERRNO","errnoRet":13,
                 "includes":{"minKernel":"4.8"}},
                {"names":["rename","renameat","renameat2"],"action":"SCMP_ACT_ERRNO",
                 "includes":{"arches":["s390x"]}}]}"#;
        fs::write(&profile, text).expect("a file");
        let option = format!("seccomp={}", profile.display());
        let script = "echo >a; mkdir d && echo made; ln a b && echo linked; mv a c && echo moved";
        let tries = [IMAGE, "sh", "-c", script];
        let run = ["run", "--rm", "--security-opt", &option];
        let output = case.cmd(&[&run[..], &tries].concat()).ok();
        output.prints("moved").complains("Permission denied");
        for more in [&["--cap-add", "SYS_ADMIN"][..], &["--privileged"]] {
            case.cmd(&[&run[..], more, &tries].concat()).ok().prints("made\nmoved");
        }
    }

    fn an_empty_seccomp_profile_filters_nothing(case) {
        let profile = case.dir().join("profile.json");
        fs::write(&profile, "{}").expect("a file");
        let option = format!("seccomp={}", profile.display());
        let args = [
            "run", "--rm", "--security-opt", &option, IMAGE, "grep", "^Seccomp:",
            "/proc/self/status",
        ];
        case.cmd(&args).ok().shows("0");
    }

    fn control_groups_are_writable_on_request(case) {
        let count = "grep -c '/sys/fs/cgroup.* rw' /proc/mounts; true";
        let run = |option: &str| {
            case.cmd(&["run", "--rm", "--security-opt", option, IMAGE, "sh", "-c", count]).ok()
        };
        assert_ne!(run("writable-cgroups=true").text(), "0");
        case.cmd(&["run", "--rm", "--security-opt", "writable-cgroups=x", IMAGE, "true"])
            .exits(125)
            .complains("invalid --security-opt 2: \"writable-cgroups=x\"");
    }

    fn mounting_is_forbidden(case) {
        let args = ["run", "--rm", IMAGE, "mount", "-t", "tmpfs", "none", "/tmp"];
        let output = case.cmd(&args);
        assert_ne!(output.code, 0, "{output:?}");
        output.complains("denied");
    }

    fn no_new_privileges_is_set_on_request(case) {
        let args = [
            "run", "--rm", "--security-opt", "no-new-privileges", IMAGE, "grep", "NoNewPrivs",
            "/proc/self/status",
        ];
        case.cmd(&args).ok().shows("1");
    }

    fn processes_of_the_host_are_not_seen(case) {
        let args = ["run", "--rm", IMAGE, "sh", "-c", "echo $$; ls /proc | grep -c '^[0-9]'"];
        let output = case.cmd(&args).ok();
        assert_eq!(output.lines()[0], "1");
        assert!(output.lines()[1].parse::<u32>().is_ok_and(|count| count <= 4), "{output:?}");
    }

    fn kernel_files_are_masked_and_read_only(case) {
        let script = "cat /proc/kcore | wc -c; ls /proc/acpi /sys/firmware | grep -v : ; \
            echo x > /proc/sys/kernel/hostname || echo read-only; \
            cat /proc/timer_list | wc -c";
        let output = case.cmd(&["run", "--rm", IMAGE, "sh", "-c", script]).ok();
        let lines: Vec<&str> = output.lines().into_iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(lines, ["0", "read-only", "0"], "{output:?}");
    }

    fn privileged_lifts_the_limits(case) {
        let script = "grep ^Seccomp: /proc/self/status; mount -t tmpfs none /tmp && echo mounted";
        let output = case.cmd(&["run", "--rm", "--privileged", IMAGE, "sh", "-c", script]);
        output.ok().shows("0").shows("mounted");
    }

    fn devices_are_dockers(case) {
        let args = ["run", "--rm", IMAGE, "ls", "/dev"];
        let output = case.cmd(&args).ok();
        let found: Vec<&str> = output.lines().into_iter().filter(|name| *name != "core").collect();
        let expected = [
            "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
            "stdout", "tty", "urandom", "zero",
        ];
        assert_eq!(found, expected);
    }

    fn no_descriptor_leaks_into_the_container(case) {
        // The three streams and the directory that ls itself has open.
        let args = ["run", "--rm", IMAGE, "ls", "/proc/self/fd"];
        case.cmd(&args).ok().prints("0\n1\n2\n3");
    }

    fn keys_of_the_daemon_are_out_of_reach(case) {
        let name = case.name("a");
        let args = ["run", "-d", "--name", &name, "--privileged", IMAGE, "sleep", "1000"];
        let id = case.cmd(&args).ok().text().to_owned();
        let own = format!("_ses.{id}");
        let keys = ["grep", own.as_str(), "/proc/keys"];
        let of_exec = case.cmd(&[&["exec", &name], &keys[..]].concat()).ok();
        let serial = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        // One of its own, and the same for all of its processes.
        assert_eq!(of_exec.lines().len(), 1, "{of_exec:?}");
        let again = case.cmd(&[&["exec", "-u", "1000", &name], &keys[..]].concat()).ok();
        assert_eq!(serial(again.text()), serial(of_exec.text()));
    }

    fn limits_can_be_read_by_every_user(case) {
        let script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || \
            cat /sys/fs/cgroup/memory.max";
        let args = ["run", "--rm", "-u", "1000", "-m", "32m", IMAGE, "sh", "-c", script];
        case.cmd(&args).ok().prints("33554432");
    }

    fn more_capabilities_for_an_exec_open_no_more_calls(case) {
        let name = case.name("a");
        case.cmd(&["run", "-d", "--name", &name, IMAGE, "sleep", "1000"]).ok();
        let args = ["exec", "--privileged", &name, "mount", "-t", "tmpfs", "none", "/tmp"];
        let output = case.cmd(&args);
        assert_ne!(output.code, 0, "{output:?}");
    }

    fn file_mode_mask_is_the_usual_one(case) {
        case.cmd(&["run", "--rm", IMAGE, "sh", "-c", "umask"]).ok().prints("0022");
    }
}

api! {
    fn the_root_file_system_is_in_no_host_mount_table(case) {
        let Some(daemon) = case.target().daemon() else {
            return;
        };
        let id = case.sleeper(&case.name("a"));
        let pid = case.inspect(&id)["State"]["Pid"].as_i64().expect("it runs").to_string();
        for process in daemon.processes().iter().map(|p| p.pid.to_string()).chain(["self".into()]) {
            // The container itself of course has it.
            if fs::read_link(format!("/proc/{process}/ns/mnt")).ok()
                == fs::read_link(format!("/proc/{pid}/ns/mnt")).ok()
            {
                continue;
            }
            let mounts = tests::host::mounts_below(&process, daemon.roots());
            assert!(mounts.is_empty(), "in the table of {process}: {mounts:#?}");
        }
    }

    fn the_helper_is_not_reachable_through_the_container(case) {
        let Some(daemon) = case.target().daemon() else {
            return;
        };
        case.sleeper(&case.name("a"));
        let bins = tests::command::bin_dir();
        for process in daemon.processes().iter().filter(|p| Some(p.pid) != daemon.pid()) {
            let exe = fs::read_link(format!("/proc/{}/exe", process.pid)).unwrap_or_default();
            assert!(!exe.starts_with(&bins), "{} runs {}", process.command, exe.display());
        }
    }
}
