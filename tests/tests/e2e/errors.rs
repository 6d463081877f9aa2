//! What goes wrong at a start, and the exit codes 125, 126 and 127.

use tests::{IMAGE, clients};

clients! {
    fn an_unknown_flag_is_125(case) {
        case.cmd(&["run", "--no-such-flag", IMAGE, "true"])
            .exits(125)
            .complains("unknown flag: --no-such-flag");
    }

    fn a_missing_program_is_127(case) {
        let output = case.cmd(&["run", "--rm", IMAGE, "no-such-program"]).exits(127);
        output.complains("exec: \"no-such-program\": executable file not found in $PATH");
    }

    fn a_missing_path_is_127(case) {
        let output = case.cmd(&["run", "--rm", IMAGE, "/no/such/program"]).exits(127);
        output.complains("/no/such/program").complains("no such file or directory");
    }

    fn a_program_without_permission_is_126(case) {
        let output = case.cmd(&["run", "--rm", IMAGE, "/bin/not-executable"]).exits(126);
        output.complains("permission denied");
    }

    fn a_directory_is_126(case) {
        let output = case.cmd(&["run", "--rm", IMAGE, "/etc"]);
        // Older `docker` clients do not know this error by its text.
        let codes: &[i32] = if case.client() == tests::Client::Docker {
            &[125, 126]
        } else {
            &[126]
        };
        assert!(codes.contains(&output.code), "{output:?}");
        assert!(
            output.stderr.contains("is a directory") || output.stderr.contains("permission denied"),
            "{output:?}"
        );
    }

    fn a_missing_interpreter_is_told(case) {
        let output = case.cmd(&["run", "--rm", IMAGE, "/bin/no-interpreter"]);
        if case.is_reference() {
            assert_ne!(output.code, 0);
        } else {
            output.exits(127).complains("/no/such/interpreter");
        }
    }

    fn a_carriage_return_in_the_shebang_is_told(case) {
        let output = case.cmd(&["run", "--rm", IMAGE, "/bin/crlf"]);
        if case.is_reference() {
            assert_ne!(output.code, 0);
        } else {
            assert!(matches!(output.code, 125..=127), "{output:?}");
            let text = output.stderr.to_lowercase();
            assert!(text.contains("crlf") || text.contains("carriage return"), "{output:?}");
        }
    }

    fn a_foreign_architecture_is_told(case) {
        let output = case.cmd(&["run", "--rm", IMAGE, "/bin/wrong-architecture"]);
        if case.is_reference() {
            assert_ne!(output.code, 0);
        } else {
            // `docker` knows no code for it, so it is one of those of a failed start.
            assert!(matches!(output.code, 125..=127), "{output:?}");
            output.complains("exec format error").complains("the program is for ");
        }
    }

    fn a_file_that_is_no_program(case) {
        let output = case.cmd(&["run", "--rm", IMAGE, "/bin/garbage"]);
        let codes: &[i32] = if case.is_reference() {
            &[1, 126, 255]
        } else {
            &[125, 126]
        };
        assert!(codes.contains(&output.code), "{output:?}");
        output.complains("exec format error");
    }

    fn a_failed_start_leaves_a_created_container(case) {
        let name = case.name("a");
        case.cmd(&["run", "--name", &name, IMAGE, "no-such-program"]).exits(127);
        let state = &case.inspect(&name)["State"];
        assert_eq!(state["Status"], "created");
        assert_eq!(state["ExitCode"], 127);
        assert!(state["Error"].as_str().is_some_and(|text| text.contains("no-such-program")));
    }

    fn a_failed_start_with_rm_leaves_nothing(case) {
        let name = case.name("a");
        case.cmd(&["run", "--rm", "--name", &name, IMAGE, "no-such-program"]).exits(127);
        tests::wait_for("it is gone", std::time::Duration::from_secs(10), || {
            case.api("GET", &format!("/containers/{name}/json"), None).status == 404
        });
    }

    fn no_arguments_is_an_error(case) {
        let output = case.cmd(&["run"]);
        assert!(matches!(output.code, 1 | 125), "{output:?}");
        output.complains("requires at least 1 argument");
    }

    fn an_unknown_command_is_an_error(case) {
        case.cmd(&["no-such-command"]).exits(1).complains("no-such-command");
    }

    fn an_engine_that_is_not_there(case) {
        let mut command = case.command(&["ps"]);
        command.env("DOCKER_HOST", "unix:///no/such/socket");
        let output = tests::Spawned::start(command).finish().exits(1);
        assert!(output.stderr.to_lowercase().contains("connect"), "{output:?}");
        let mut command = case.command(&["run", IMAGE, "true"]);
        command.env("DOCKER_HOST", "unix:///no/such/socket");
        tests::Spawned::start(command).finish().exits(125);
    }

    fn bad_names_are_refused(case) {
        for name in ["-x", "a/b", "a b", "é", "x!"] {
            let output = case.cmd(&["run", "--name", name, IMAGE, "true"]).exits(125);
            assert!(output.stderr.contains("nvalid container name"), "{output:?}");
        }
    }

    fn bad_limits_are_refused(case) {
        for flags in
            [["--cpus", "1000"], ["-m", "1k"], ["--log-driver", "nosuch"], ["--restart", "odd"]]
        {
            case.cmd(&["run", "--rm", flags[0], flags[1], IMAGE, "true"]).exits(125);
        }
    }
}
