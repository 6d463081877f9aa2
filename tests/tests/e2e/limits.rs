//! Resource limits, as the kernel sees them.

use tests::{IMAGE, clients};

/// Prints a control file of the container's own cgroup, whichever version the host has.
fn control(v1: &str, v2: &str) -> String {
    format!("cat /sys/fs/cgroup/{v1} 2>/dev/null || cat /sys/fs/cgroup/{v2}")
}

clients! {
    fn memory_limit_is_in_the_kernel(case) {
        let name = case.name("a");
        let script = control("memory/memory.limit_in_bytes", "memory.max");
        let args = ["run", "--name", &name, "-m", "64m", IMAGE, "sh", "-c", &script];
        case.cmd(&args).ok().prints("67108864");
        assert_eq!(case.inspect(&name)["HostConfig"]["Memory"], 67_108_864);
    }

    fn memory_limit_kills_and_says_so(case) {
        let name = case.name("a");
        let script = "x=0123456789abcdef; while :; do x=$x$x; done";
        let args = [
            "run", "--name", &name, "-m", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", script,
        ];
        case.cmd(&args).exits(137);
        assert_eq!(case.inspect(&name)["State"]["OOMKilled"], true);
    }

    fn memory_limit_below_the_minimum_is_refused(case) {
        let output = case.cmd(&["run", "--rm", "-m", "1m", IMAGE, "true"]).exits(125);
        output.complains("Minimum memory limit allowed is 6MB");
    }

    fn cpus_become_a_quota(case) {
        let name = case.name("a");
        let v1 = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us";
        let script = format!("({v1} 2>/dev/null || cat /sys/fs/cgroup/cpu.max) | tr '\\n' ' '");
        let args = ["run", "--name", &name, "--cpus", "0.5", IMAGE, "sh", "-c", &script];
        case.cmd(&args).ok().prints("50000 100000");
        assert_eq!(case.inspect(&name)["HostConfig"]["NanoCpus"], 500_000_000);
    }

    fn limits_that_contradict_earlier_ones_are_refused(case) {
        let name = case.name("a");
        let id = case.sleeper(&name);
        case.cmd(&["update", "--cpus", "1", &name]).ok();
        let output = case.cmd(&["update", "--cpu-period", "50000", &name]).exits(1);
        output.complains(&format!(
            "Cannot update container {id}: Conflicting options: CPU Period cannot be updated as \
             NanoCPUs has already been set"
        ));
    }

    fn what_a_limit_needs_is_said(case) {
        let name = case.name("a");
        let args = ["create", "--name", &name, "--oom-kill-disable", IMAGE];
        let output = case.cmd(&args).ok();
        let discarded = output.stderr.contains("OomKillDisable discarded");
        assert!(discarded || output.stderr.contains("no memory limit is set"), "{output:?}");
    }

    fn cpu_shares_are_set(case) {
        let script = control("cpu/cpu.shares", "cpu.weight");
        let output = case.cmd(&["run", "--rm", "-c", "512", IMAGE, "sh", "-c", &script]).ok();
        assert!(matches!(output.text(), "512" | "20" | "59"), "{output:?}");
    }

    fn pids_limit_stops_forks(case) {
        let script = control("pids/pids.max", "pids.max");
        let args = ["run", "--rm", "--pids-limit", "20", IMAGE, "sh", "-c", &script];
        case.cmd(&args).ok().prints("20");
        let bomb = "for i in $(seq 50); do sleep 5 & done; echo reached";
        let output = case.cmd(&["run", "--rm", "--pids-limit", "20", IMAGE, "sh", "-c", bomb]);
        output.complains("fork");
    }

    fn ulimit_is_set(case) {
        let args = [
            "run", "--rm", "--ulimit", "nofile=512:1024", IMAGE, "sh", "-c",
            "ulimit -Sn; ulimit -Hn",
        ];
        case.cmd(&args).ok().prints("512\n1024");
    }

    fn shm_size_is_set(case) {
        let args = ["run", "--rm", "--shm-size", "8m", IMAGE, "grep", " /dev/shm ", "/proc/mounts"];
        case.cmd(&args).ok().shows("size=8192k");
    }

    fn shm_size_defaults_to_64_mb(case) {
        let args = ["run", "--rm", IMAGE, "grep", " /dev/shm ", "/proc/mounts"];
        case.cmd(&args).ok().shows("size=65536k");
    }
}
