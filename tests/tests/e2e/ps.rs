//! `ps` with its filters, columns and formats.

use tests::{IMAGE, clients};

clients! {
    fn ps_lists_what_runs_and_all_with_a(case) {
        let (up, down) = (case.name("up"), case.name("down"));
        case.sleeper(&up);
        case.cmd(&["run", "--name", &down, IMAGE, "true"]).ok();
        let output = case.cmd(&["ps"]).ok().shows(&up).hides(&down);
        let columns = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];
        let header = output.lines()[0].to_owned();
        let found: Vec<&str> =
            header.split("  ").map(str::trim).filter(|c| !c.is_empty()).collect();
        assert_eq!(found, columns);
        case.cmd(&["ps", "-a"]).ok().shows(&up).shows(&down).shows("Exited (0)");
    }

    fn ps_columns_hold_the_facts(case) {
        let name = case.name("a");
        let id = case.sleeper(&name);
        let filter = format!("name=^/{name}$");
        let output = case.cmd(&["ps", "--filter", &filter]).ok().shows(&id[..12]).shows(IMAGE);
        let output = output.shows("\"sleep 1000\"").shows("Up ").shows(&name);
        output.hides(&id[..13]);
        case.cmd(&["ps", "--no-trunc", "--filter", &filter]).ok().shows(&id);
    }

    fn ps_filters(case) {
        let (up, down, new) = (case.name("up"), case.name("down"), case.name("new"));
        let id = case.sleeper(&up);
        case.cmd(&["run", "--name", &down, "-l", "role=x", IMAGE, "sh", "-c", "exit 3"]).exits(3);
        case.cmd(&["create", "--name", &new, "-l", "role=y", IMAGE]).ok();
        let mine = format!("label={}", case.label());
        let names = |filters: &[&str]| {
            let mut args = vec!["ps", "-a", "--format", "{{.Names}}", "--filter", &mine];
            for filter in filters {
                args.extend(["--filter", filter]);
            }
            let output = case.cmd(&args).ok();
            let mut names: Vec<String> = output.lines().into_iter().map(str::to_owned).collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(names(&[]).split(" ").count(), 3);
        assert_eq!(names(&["status=running"]), up);
        assert_eq!(names(&["status=exited"]), down);
        assert_eq!(names(&["status=created"]), new);
        assert_eq!(names(&["status=created", "status=running"]), format!("{new} {up}"));
        assert_eq!(names(&["exited=3"]), down);
        assert_eq!(names(&["exited=4"]), "");
        assert_eq!(names(&["label=role"]), format!("{down} {new}"));
        assert_eq!(names(&["label=role=x"]), down);
        assert_eq!(names(&[&format!("name={down}")]), down);
        assert_eq!(names(&[&format!("id={}", &id[..12])]), up);
        assert_eq!(names(&[&format!("before={down}")]), up);
        assert_eq!(names(&[&format!("since={down}")]), new);
        assert_eq!(names(&[&format!("ancestor={IMAGE}")]).split(" ").count(), 3);
        assert_eq!(names(&["network=bridge", "status=running"]), up);
        assert_eq!(names(&["ancestor=no-such-image"]), "");
        case.cmd(&["ps", "--filter", "nosuch=x"]).exits(1).complains("nvalid filter");
        case.cmd(&["ps", "--filter", "status=odd"]).exits(1).complains("nvalid filter");
    }

    fn ps_quiet_last_and_newest(case) {
        let id = case.sleeper(&case.name("a"));
        let mine = format!("label={}", case.label());
        case.cmd(&["ps", "-q", "--filter", &mine]).ok().prints(&id[..12]);
        case.cmd(&["ps", "-q", "--no-trunc", "--filter", &mine]).ok().prints(&id);
        assert_eq!(case.cmd(&["ps", "-n", "1", "-q"]).ok().lines().len(), 1);
        assert_eq!(case.cmd(&["ps", "-l", "-q"]).ok().lines().len(), 1);
    }

    fn ps_formats(case) {
        let name = case.name("a");
        let id = case.sleeper(&name);
        let mine = format!("label={}", case.label());
        let format = |format: &str| case.cmd(&["ps", "--filter", &mine, "--format", format]).ok();
        format("{{.ID}}|{{.Names}}|{{.Image}}|{{.State}}")
            .prints(&format!("{}|{name}|{IMAGE}|running", &id[..12]));
        let table = format("table {{.Names}}\t{{.State}}");
        let words: Vec<&str> = table.stdout.split_whitespace().collect();
        assert_eq!(words, ["NAMES", "STATE", &name, "running"]);
        let json: serde_json::Value =
            serde_json::from_str(format("{{json .}}").text()).expect("JSON");
        assert_eq!(json["Names"], name.as_str());
        assert_eq!(json["ID"], &id[..12]);
        format("{{.Label \"corten.e2e\"}}").prints(case.label().split_once('=').expect("k=v").1);
        format("{{upper .State}} {{.Names | len}}").prints(&format!("RUNNING {}", name.len()));
    }

    fn ps_size_counts_what_was_written(case) {
        let name = case.name("a");
        let script = "head -c 1000000 /dev/zero > /file; sleep 1000";
        case.cmd(&["run", "-d", "--name", &name, IMAGE, "sh", "-c", script]).ok();
        let mine = format!("label={}", case.label());
        tests::wait_for("the size is told", std::time::Duration::from_secs(20), || {
            let output = case.cmd(&["ps", "-s", "--filter", &mine, "--format", "{{.Size}}"]).ok();
            output.text().starts_with("1MB (virtual ")
        });
    }
}
