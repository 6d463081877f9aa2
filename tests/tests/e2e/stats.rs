//! `stats` and `top`.

use tests::{IMAGE, api, clients};

clients! {
    fn stats_once(case) {
        let name = case.name("a");
        let id =
            case.cmd(&["run", "-d", "-m", "64m", "--name", &name, IMAGE, "sleep", "1000"]).ok();
        let output = case.cmd(&["stats", "--no-stream", &name]).ok();
        let header: Vec<&str> =
            output.lines()[0].split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
        let columns = [
            "CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O",
            "PIDS",
        ];
        assert_eq!(header, columns);
        output.shows(&id.text()[..12]).shows(&name).shows("/ 64MiB");
    }

    fn stats_format(case) {
        let name = case.name("a");
        case.sleeper(&name);
        let args = ["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", &name];
        case.cmd(&args).ok().prints(&format!("{name} 1"));
    }

    fn stats_of_an_unknown_container(case) {
        case.cmd(&["stats", "--no-stream", "no-such"])
            .exits(1)
            .complains("No such container: no-such");
    }

    fn top_lists_the_processes(case) {
        let name = case.name("a");
        case.cmd(&[
            "run", "-d", "--name", &name, IMAGE, "sh", "-c", "sleep 1001 & sleep 1002; true",
        ])
        .ok();
        tests::wait_for("both run", std::time::Duration::from_secs(20), || {
            case.cmd(&["top", &name]).ok().stdout.contains("sleep 1002")
        });
        let output = case.cmd(&["top", &name]).ok().shows("sleep 1001").shows("UID");
        assert_eq!(output.lines().len(), 4, "{output:?}");
    }

    fn top_takes_columns(case) {
        let name = case.name("a");
        case.sleeper(&name);
        let output = case.cmd(&["top", &name, "-o", "pid,comm"]).ok().shows("PID").shows("sleep");
        output.hides("UID");
        let output = case.cmd(&["top", &name, "-eo", "pid,comm"]).ok().shows("COMMAND");
        output.hides("TTY");
    }

    fn top_of_a_stopped_container_is_refused(case) {
        let name = case.name("a");
        case.cmd(&["run", "--name", &name, IMAGE, "true"]).ok();
        case.cmd(&["top", &name]).exits(1).complains("is not running");
    }
}

api! {
    fn one_shot_stats_have_the_figures(case) {
        let id = case.sleeper(&case.name("a"));
        let path = format!("/containers/{id}/stats?stream=false&one-shot=true");
        let stats = case.api("GET", &path, None).json();
        assert!(stats["memory_stats"]["usage"].as_u64().is_some_and(|n| n > 0), "{stats}");
        assert!(stats["cpu_stats"]["cpu_usage"]["total_usage"].as_u64().is_some_and(|n| n > 0));
        assert!(stats["cpu_stats"]["system_cpu_usage"].as_u64().is_some_and(|n| n > 0));
        assert_eq!(stats["pids_stats"]["current"], 1);
        assert!(stats["networks"]["eth0"]["rx_bytes"].is_u64(), "{stats}");
    }
}
