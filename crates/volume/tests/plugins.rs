//! Volumes of a plugin of our own: one that is good, one that hangs, lies, dies, or is gone.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "support/plugin.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use spec::{Classify, ErrorKind};
use support::{Mode, TestPlugin};
use volume::{Error, NewVolume, PluginSettings, VolumeName, Volumes};

fn name(text: &str) -> VolumeName {
    text.parse().unwrap()
}

fn of(driver: &str, text: &str) -> NewVolume {
    NewVolume {
        name: Some(name(text)),
        driver: driver.to_owned(),
        ..NewVolume::default()
    }
}

fn nobody(_: &VolumeName) -> Vec<String> {
    Vec::new()
}

/// Directories of a daemon: its volumes and its plugins.
struct Host {
    dir: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("plugins")).unwrap();
        Self { dir }
    }

    fn plugins(&self) -> std::path::PathBuf {
        self.dir.path().join("plugins")
    }

    fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("volumes")
    }

    /// What a daemon does at its start.
    fn open(&self) -> Volumes {
        self.open_within(Duration::from_secs(60))
    }

    fn open_within(&self, limit: Duration) -> Volumes {
        let settings = PluginSettings {
            dirs: vec![self.plugins()],
            long: limit,
            short: limit,
            probe: limit,
            patience: Duration::ZERO,
        };
        Volumes::open_with(&self.root(), settings).unwrap()
    }

    fn plugin(&self, name: &str, mode: Mode) -> TestPlugin {
        TestPlugin::listen(&self.plugins().join(format!("{name}.sock")), mode)
    }

    fn kept(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.root()).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn said(error: &Error) -> String {
    spec::error::chain(error)
}

#[test]
fn a_volume_of_a_plugin_lives_as_a_local_one_does() {
    let host = Host::new();
    let plugin = host.plugin("good", Mode::Good);
    let volumes = host.open();
    let options = BTreeMap::from([("size".to_owned(), "1".to_owned())]);
    let wanted = NewVolume {
        options: Some(options),
        labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        ..of("good", "data")
    };
    assert!(volumes.create(wanted).unwrap().is_new);
    assert!(plugin.heard(r#"VolumeDriver.Create {"Name":"data","Opts":{"size":"1"}}"#));
    let again = volumes.create(of("good", "data")).unwrap();
    assert!(!again.is_new);
    drop(again);
    let seen = volumes.inspect("data").unwrap();
    assert_eq!((seen.driver.as_str(), seen.scope), ("good", "global"));
    assert_eq!(seen.status.unwrap()["color"], "red");
    assert_eq!(seen.labels["a"], "b");
    assert_eq!(seen.created.unix_seconds(), 1_577_836_800);
    assert_eq!(volumes.mountpoint(&name("data")), Path::new(""));

    // Each user once, by its id; what is mounted is the plugin's directory.
    let opened = volumes.mount(&name("data"), "c1").unwrap();
    drop(volumes.mount(&name("data"), "c1").unwrap());
    drop(volumes.mount(&name("data"), "copy of c2").unwrap());
    assert_eq!(plugin.count("VolumeDriver.Mount"), 2);
    assert!(plugin.heard(r#"VolumeDriver.Mount {"Name":"data","ID":"c1"}"#));
    assert!(plugin.heard(r#"VolumeDriver.Mount {"Name":"data","ID":"copy-of-c2"}"#));
    let place = volumes.mountpoint(&name("data"));
    assert!(place.starts_with(plugin.data()), "{place:?}");
    let stat = rustix::fs::fstat(&opened).unwrap();
    let found = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&place).unwrap());
    assert_eq!(stat.st_ino, found);
    volumes.unmount(&name("data"), "c1").unwrap();
    volumes.unmount(&name("data"), "c1").unwrap();
    volumes.unmount(&name("data"), "copy of c2").unwrap();
    assert_eq!(plugin.count("VolumeDriver.Unmount"), 2);
    assert_eq!(volumes.mountpoint(&name("data")), Path::new(""));

    volumes.remove("data", &nobody).unwrap();
    assert_eq!(plugin.volumes(), Vec::<String>::new());
    assert_eq!(host.kept(), Vec::<String>::new());
    assert_eq!(plugin.count("Plugin.Activate"), 1);
}

#[test]
fn the_record_survives_and_the_volume_is_mounted_again() {
    let host = Host::new();
    let plugin = host.plugin("good", Mode::Good);
    let volumes = host.open();
    drop(volumes.create(of("good", "data")).unwrap());
    drop(volumes.mount(&name("data"), "c1").unwrap());
    drop(volumes);

    let volumes = host.open();
    assert_eq!(volumes.problems(), []);
    assert_eq!(volumes.get("data").unwrap().driver, "good");
    volumes.reconcile(&|_| vec!["c1".to_owned()]).unwrap();
    // c1 ended while nobody looked: its going is told all the same.
    volumes.unmount(&name("data"), "c1").unwrap();
    assert!(plugin.heard(r#"VolumeDriver.Unmount {"Name":"data","ID":"c1"}"#));
    drop(volumes.mount(&name("data"), "c1").unwrap());
    assert_eq!(plugin.count("VolumeDriver.Mount"), 2);
}

#[test]
fn volumes_that_only_the_plugin_knows_are_there_too() {
    let host = Host::new();
    let plugin = host.plugin("good", Mode::Good);
    plugin.add("theirs");
    plugin.add("also");
    plugin.add("../evil");
    let volumes = host.open();
    drop(volumes.create(of("", "mine")).unwrap());
    let (all, warnings) = volumes.list_all();
    let names: Vec<(&str, &str)> = all
        .iter()
        .map(|volume| (volume.name.as_str(), volume.driver.as_str()))
        .collect();
    assert_eq!(
        names,
        [("also", "good"), ("mine", "local"), ("theirs", "good")]
    );
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(volumes.inspect("theirs").unwrap().driver, "good");
    // Without a driver the volume that is there is meant.
    let found = volumes.create(of("", "theirs")).unwrap();
    assert_eq!(
        (found.is_new, found.volume.driver.as_str()),
        (false, "good")
    );
    drop(found);
    assert_eq!(plugin.count("VolumeDriver.Create"), 0);
    volumes.remove("theirs", &nobody).unwrap();
    volumes.remove("also", &nobody).unwrap();
    assert_eq!(plugin.volumes(), ["../evil"]);
    let gone = volumes.inspect("also").unwrap_err();
    assert_eq!(gone.to_string(), "get also: no such volume");
    assert_eq!(host.kept(), ["mine"]);
}

#[test]
fn one_name_is_one_volume() {
    let host = Host::new();
    let _plugin = host.plugin("good", Mode::Good);
    let volumes = host.open();
    drop(volumes.create(of("good", "data")).unwrap());
    drop(volumes.create(of("local", "mine")).unwrap());
    let conflict = volumes.create(of("local", "data")).unwrap_err();
    assert_eq!(conflict.kind(), ErrorKind::Conflict);
    assert_eq!(
        conflict.to_string(),
        "create data: driver 'good' already has volume 'data': volume name must be unique"
    );
    let conflict = volumes.create(of("good", "mine")).unwrap_err();
    assert_eq!(
        conflict.to_string(),
        "create mine: driver 'local' already has volume 'mine': volume name must be unique"
    );
    let used = volumes
        .remove("data", &|_| vec!["c1".to_owned()])
        .unwrap_err();
    assert_eq!(used.kind(), ErrorKind::Conflict);
    let renamed = volumes.rename("data", &name("other"), &nobody).unwrap_err();
    assert_eq!(renamed.kind(), ErrorKind::Unsupported);
}

#[test]
fn a_plugin_that_is_not_there_is_told_in_dockers_words() {
    let host = Host::new();
    let other = host.plugin("other", Mode::OtherKind);
    let volumes = host.open();
    let missing = volumes.create(of("nope", "data")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert_eq!(
        said(&missing),
        r#"create data: error looking up volume plugin nope: plugin "nope" not found"#
    );
    let other_kind = volumes.create(of("other", "data")).unwrap_err();
    assert_eq!(
        said(&other_kind),
        "create data: error looking up volume plugin other: legacy plugin: Plugin does not implement the requested driver"
    );
    // One for something else is no volume plugin that failed.
    assert_eq!(volumes.list_all(), (Vec::new(), Vec::new()));
    assert_eq!(host.kept(), Vec::<String>::new());
    drop(other);
    let socket = host.plugins().join("other.sock");
    let dead = volumes.create(of("other", "data")).unwrap_err();
    assert_eq!(
        said(&dead),
        format!(
            "create data: error looking up volume plugin other: legacy plugin: Post \"http://plugin.moby.localhost/Plugin.Activate\": dial unix {}: connect: connection refused",
            socket.display()
        )
    );
}

#[test]
fn refusals_are_told_on_and_leave_nothing() {
    let host = Host::new();
    let plugin = host.plugin("p", Mode::Good);
    let volumes = host.open();
    let create = |mode: Mode| {
        plugin.set(mode);
        let error = volumes.create(of("p", "data")).unwrap_err();
        assert_eq!(host.kept(), Vec::<String>::new(), "{mode:?}");
        said(&error)
    };
    assert_eq!(create(Mode::Refuse), "create data: I refuse");
    assert_eq!(
        create(Mode::Status500),
        "create data: VolumeDriver.Create: five hundred"
    );
    let post = "create data: Post \"http://plugin.moby.localhost/VolumeDriver.Create\": ";
    assert_eq!(create(Mode::Die), format!("{post}EOF"));
    assert_eq!(
        create(Mode::Garbage),
        format!(
            "{post}net/http: HTTP/1.x transport connection broken: malformed HTTP response \"garbage here\""
        )
    );
    assert!(
        create(Mode::NotJson)
            .starts_with("create data: VolumeDriver.Create: the plugin's answer cannot be used: ")
    );
    assert!(create(Mode::Endless).ends_with("its answer is too large"));
    plugin.set(Mode::Good);
    drop(volumes.create(of("p", "data")).unwrap());

    plugin.set(Mode::Refuse);
    let kept = volumes.remove("data", &nobody).unwrap_err();
    assert_eq!(said(&kept), "remove data: I refuse");
    assert_eq!(host.kept(), ["data"]);
    let mount = volumes.mount(&name("data"), "c1").unwrap_err();
    assert_eq!(said(&mount), "error while mounting volume '': I refuse");
    // Docker's word: the volume is forgotten, the refusal told.
    let forced = volumes.remove_forced("data", &nobody).unwrap_err();
    assert_eq!(said(&forced), "remove data: I refuse");
    assert_eq!(host.kept(), Vec::<String>::new());
}

#[test]
fn a_plugin_that_lies_is_not_believed() {
    let host = Host::new();
    let plugin = host.plugin("p", Mode::Good);
    let volumes = host.open();
    drop(volumes.create(of("p", "data")).unwrap());
    for (mode, want) in [
        (Mode::Mountpoint("relative/x"), "is no absolute path"),
        (Mode::Mountpoint(""), "is no absolute path"),
        (Mode::Mountpoint("/nonexistent/x"), "cannot be opened"),
        (Mode::Mountpoint("/etc/hostname"), "cannot be opened"),
    ] {
        plugin.set(mode);
        let error = said(&volumes.mount(&name("data"), "c1").unwrap_err());
        assert!(error.contains(want), "{error}");
        assert_eq!(volumes.mountpoint(&name("data")), Path::new(""));
    }
    assert_eq!(plugin.count("VolumeDriver.Unmount"), 4);
    plugin.set(Mode::Good);
    drop(volumes.mount(&name("data"), "c1").unwrap());
}

#[test]
fn a_plugin_that_hangs_is_left_in_time_and_holds_up_nobody_else() {
    let host = Host::new();
    let plugin = host.plugin("p", Mode::Good);
    let patient = host.open();
    drop(patient.create(of("p", "data")).unwrap());
    drop(patient);
    plugin.set(Mode::Hang);
    let limit = Duration::from_millis(300);
    let volumes = host.open_within(limit);
    // Far less than for ever, far more than a busy machine needs.
    let within = Duration::from_secs(60);
    let begun = Instant::now();
    let error = said(&volumes.mount(&name("data"), "c1").unwrap_err());
    assert!(error.ends_with("context deadline exceeded"), "{error}");
    let error = volumes.create(of("p", "other")).unwrap_err();
    assert!(said(&error).ends_with("context deadline exceeded"));
    let (all, warnings) = volumes.list_all();
    assert_eq!(all.len(), 1, "the record tells of it");
    assert!(warnings[0].starts_with("list p: "), "{warnings:?}");
    assert!(begun.elapsed() < within);
    assert_eq!(host.kept(), ["data"]);

    // While one waits, others go on.
    let slow = host.open_within(within * 10);
    let waits = {
        let slow = slow.clone();
        std::thread::spawn(move || slow.mount(&name("data"), "c1").map(drop))
    };
    plugin.wait_for("Plugin.Activate", 2);
    drop(slow.create(of("local", "mine")).unwrap());
    assert_eq!(slow.list().len(), 2);
    slow.remove("mine", &nobody).unwrap();
    assert!(!waits.is_finished());
    drop(plugin);
    assert!(waits.join().unwrap().is_err());
}

#[test]
fn a_plugin_that_is_gone_leaves_its_volumes_removable_by_force() {
    let host = Host::new();
    let plugin = host.plugin("p", Mode::Good);
    let volumes = host.open();
    drop(volumes.create(of("p", "data")).unwrap());
    drop(plugin);
    std::fs::remove_file(host.plugins().join("p.sock")).unwrap();
    let (all, _) = volumes.list_all();
    assert_eq!(all.len(), 1);
    let error = volumes.inspect("data").unwrap_err();
    assert_eq!(
        said(&error),
        r#"get data: error while checking if volume "data" exists in driver "p": error looking up volume plugin p: plugin "p" not found"#
    );
    let error = volumes.create(of("", "data")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(
        error
            .to_string()
            .contains("got an error while checking the driver")
    );
    assert!(volumes.remove("data", &nobody).is_err());
    volumes.remove_forced("data", &nobody).unwrap();
    assert_eq!(host.kept(), Vec::<String>::new());
}
