//! Storage drivers, each on a data root of its own: what containers are used for works alike with
//! all of them, and several lie in one data root.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use tests::{Case, Daemon, Disk, IMAGE, Own, clients, wait_for};

/// Far longer than anything here takes.
const SOON: Duration = Duration::from_secs(30);

/// A driver, and what makes a disk that it works on.
type Ground = (&'static str, fn() -> Disk);

/// The drivers, each on a file system that it can have.
const ALL: [Ground; 4] = [
    ("overlay2", || Disk::new(400).expect("a disk")),
    ("btrfs", || Disk::btrfs(400).expect("a disk")),
    ("vfs", || Disk::xfs(400).expect("a disk")),
    ("erofs", || Disk::new(400).expect("a disk")),
];

/// A daemon with a driver; none against another engine.
fn daemon(case: &Case, disk: &Disk, driver: &str) -> Option<Own> {
    let mut own = Own::start_on(case.client(), disk, &["--storage-driver", driver])?;
    own.warm_up();
    Some(own)
}

fn format(own: &Own, container: &str, template: &str) -> String {
    let output = own.cmd(&["inspect", "--format", template, container]).ok();
    output.text().trim().to_owned()
}

/// What `diff` tells, in any order.
fn diff(own: &Own, container: &str) -> BTreeSet<String> {
    let output = own.cmd(&["diff", container]).ok();
    output.lines().into_iter().map(str::to_owned).collect()
}

fn lines(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|&line| line.to_owned()).collect()
}

/// No mount and no loop device is left of anything below a directory.
fn is_unused(path: &Path) -> bool {
    let text = path.display().to_string();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let devices = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let backing = |device: std::fs::DirEntry| {
        std::fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default()
    };
    !mounts.contains(&format!("{text}/")) && !devices.map(backing).any(|b| b.starts_with(&text))
}

clients! {
    fn every_driver_serves_containers_alike(case) {
        for (driver, disk) in ALL {
            let disk = disk();
            let Some(mut own) = daemon(case, &disk, driver) else {
                return;
            };
            own.cmd(&["info", "--format", "{{.Driver}}"]).ok().prints(driver);
            let script = "echo one > /etc/new; rm /etc/group; mkdir /d; echo x > /d/x; exec sleep 1000";
            own.cmd(&["run", "-d", "--name", "con", IMAGE, "sh", "-c", script]).ok();
            let done = || own.cmd(&["exec", "con", "cat", "/d/x"]).text() == "x";
            wait_for(driver, SOON, done);
            own.cmd(&["run", "--rm", IMAGE, "ls", "/d"]).exits(1);
            let changes = ["C /etc", "A /etc/new", "D /etc/group", "A /d", "A /d/x"];
            assert_eq!(diff(&own, "con"), lines(&changes), "{driver}");
            assert_eq!(format(&own, "con", "{{.GraphDriver.Name}} {{.Driver}}"), format!("{driver} {driver}"));
            let data = format(&own, "con", "{{json .GraphDriver.Data}}");
            assert_eq!(data.contains("UpperDir"), matches!(driver, "overlay2" | "erofs"), "{data}");
            assert_eq!(data.contains("layer.erofs"), driver == "erofs", "{data}");
            // In and out, running.
            let file = own.dir().join("file");
            std::fs::write(&file, driver).expect("ours");
            own.cmd(&["cp", &file.display().to_string(), "con:/d/copied"]).ok();
            own.cmd(&["exec", "con", "cat", "/d/copied"]).ok().prints(driver);
            own.cmd(&["cp", "con:/d", &own.dir().join("out").display().to_string()]).ok();
            let out = std::fs::read_to_string(own.dir().join("out/copied")).expect("it was copied");
            assert_eq!(out, driver);
            // A new image has what the container has, and nothing else is in its layer.
            own.cmd(&["commit", "con", "made"]).ok();
            let script = "cat /etc/new /d/x /d/copied; ls /etc/group";
            let output = own.cmd(&["run", "--name", "of-it", "made", "sh", "-c", script]);
            output.exits(1).prints(&format!("one\nx\n{driver}")).complains("No such file");
            assert_eq!(diff(&own, "of-it"), lines(&[]), "{driver}");
            let history = own.cmd(&["history", "--format", "{{.Size}}", "made"]).ok();
            let size = history.lines()[0].to_owned();
            assert!(size.ends_with('B') && !size.contains("kB") && !size.contains("MB"), "{driver}: {size}");
            // Sizes.
            let sizes = own.cmd(&["ps", "-s", "--filter", "name=^con$", "--format", "{{.Size}}"]).ok();
            assert!(sizes.text().starts_with(&format!("{}B ", 6 + driver.len())), "{driver}: {}", sizes.text());
            own.cmd(&["system", "df"]).ok().shows("Containers");
            // The daemon dies, comes back, and finds it; it stops and starts, and has its files.
            own.daemon_mut().crash().expect("it comes back");
            own.cmd(&["exec", "con", "cat", "/d/copied"]).ok().prints(driver);
            own.cmd(&["stop", "-t", "0", "con"]).ok();
            own.cmd(&["cp", &file.display().to_string(), "con:/d/at-rest"]).ok();
            own.cmd(&["start", "con"]).ok();
            own.cmd(&["exec", "con", "cat", "/d/at-rest", "/etc/new"]).ok().prints(&format!("{driver}one"));
            // Volumes are filled from the image whatever it is kept in.
            let args = ["run", "--rm", "-v", "filled:/etc", IMAGE, "cat", "/etc/passwd"];
            own.cmd(&args).ok().shows("root:");
            let args = ["run", "--rm", "--mount", "type=image,src=made,dst=/i", IMAGE, "cat", "/i/d/x"];
            own.cmd(&args).ok().prints("x");
            let args = ["run", "--rm", "--read-only", IMAGE, "touch", "/x"];
            own.cmd(&args).exits(1).complains("Read-only file system");
            own.cmd(&["export", "-o", &own.dir().join("tar").display().to_string(), "con"]).ok();
            own.cmd(&["rm", "-f", "con", "of-it"]).ok();
            own.cmd(&["volume", "rm", "filled"]).ok();
            own.cmd(&["rmi", "made"]).ok();
            own.retire();
            wait_for(driver, SOON, || is_unused(&disk.path()));
        }
    }

    fn several_drivers_live_in_one_data_root(case) {
        let disk = Disk::btrfs(400).expect("a disk");
        let Some(mut own) = daemon(case, &disk, "overlay2") else {
            return;
        };
        let drivers = ["overlay2", "btrfs", "vfs", "erofs"];
        for driver in drivers {
            own.daemon_mut().stop();
            own.daemon_mut().set_flags(&["--storage-driver", driver]);
            own.daemon_mut().launch().expect("it starts");
            let script = "test -e /kept || echo $HOSTNAME > /kept; cat /kept";
            own.cmd(&["run", "--name", driver, "-h", driver, IMAGE, "sh", "-c", script]).ok().prints(driver);
        }
        // What was there first keeps on, whatever is asked for now.
        own.daemon_mut().stop();
        own.daemon_mut().set_flags(&[]);
        own.daemon_mut().launch().expect("it starts");
        own.cmd(&["info", "--format", "{{.Driver}}"]).ok().prints("overlay2");
        assert!(own.daemon().log().contains("overlayfs works on the data root"));
        for driver in drivers {
            own.cmd(&["start", "-a", driver]).ok().prints(driver);
            assert_eq!(format(&own, driver, "{{.GraphDriver.Name}}"), driver);
            assert_eq!(diff(&own, driver), lines(&["A /kept"]), "{driver}");
            own.cmd(&["rm", driver]).ok();
        }
        // What containers of an image share goes with it.
        own.remove_images();
        own.retire();
        wait_for("nothing is left", SOON, || is_unused(&disk.path()));
    }

    fn a_layer_in_memory_goes_with_the_run(case) {
        for (driver, disk) in ALL {
            let disk = disk();
            let Some(own) = daemon(case, &disk, driver) else {
                return;
            };
            let options = ["--storage-opt", "tmpfs=true", "--storage-opt", "size=16M"];
            let args = ["run", "-d", "--name", "con", IMAGE, "sleep", "1000"];
            let args = [&args[..4], &options, &args[4..]].concat();
            if matches!(driver, "btrfs" | "vfs") {
                own.cmd(&args).exits(125).complains("needs storage driver overlay2 or erofs");
                own.retire();
                continue;
            }
            own.cmd(&args).ok();
            own.cmd(&["exec", "con", "sh", "-c", "echo x > /x; dd if=/dev/zero of=/full bs=1M count=17"])
                .exits(1)
                .complains("No space left");
            own.cmd(&["exec", "con", "rm", "/full"]).ok();
            // While it runs all is there.
            assert_eq!(diff(&own, "con"), lines(&["A /x"]));
            own.cmd(&["cp", "con:/x", &own.dir().join("x").display().to_string()]).ok();
            own.cmd(&["commit", "con", "made"]).ok();
            own.cmd(&["run", "--rm", "made", "cat", "/x"]).ok().prints("x");
            own.cmd(&["rmi", "made"]).ok();
            own.cmd(&["restart", "-t", "0", "con"]).ok();
            own.cmd(&["exec", "con", "cat", "/x"]).exits(1);
            own.cmd(&["stop", "-t", "0", "con"]).ok();
            assert_eq!(diff(&own, "con"), lines(&[]));
            // What is put into it at rest is there when it starts.
            own.cmd(&["cp", &own.dir().join("x").display().to_string(), "con:/y"]).ok();
            own.cmd(&["start", "con"]).ok();
            own.cmd(&["exec", "con", "cat", "/y"]).ok().prints("x");
            own.cmd(&["rm", "-f", "con"]).ok();
            own.cmd(&["run", "--rm", "--storage-opt", "tmpfs=perhaps", IMAGE, "true"])
                .exits(125)
                .complains("invalid tmpfs: 'perhaps'");
            own.retire();
            wait_for(driver, SOON, || is_unused(&disk.path()));
        }
    }
}

#[test]
fn drivers_that_are_not_there_are_refused_at_the_start() {
    for (driver, hint) in [
        ("aufs", "AUFS never became part of Linux"),
        ("devicemapper", "removed from Docker 25; use overlay2"),
        ("nope", "use overlay2, btrfs, erofs or vfs"),
        ("btrfs", "the data root is not on a btrfs"),
    ] {
        let error = Daemon::start_with(&["--storage-driver", driver]).expect_err(driver);
        let error = format!("{error:#}");
        assert!(error.contains(hint), "{driver}: {error}");
    }
}
