//! Where the space goes and how it comes back: `rmi`, `prune`, `system df`, one copy on disk, the
//! collection in the background.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::content::{self, Builder, Compression, Family, Image};
use tests::{Case, Disk, Hostile, IMAGE, Own, Reply, clients, host, wait_for};

/// What happens in the background happens when nothing else does.
const SOON: Duration = Duration::from_secs(180);

/// Names of this test, removed at its end.
fn own_names(case: &Case) -> String {
    let names = format!("e2e-{}", case.name("t").to_lowercase());
    case.owns_images(&names);
    names
}

/// Loads a small image of its own under these names; returns its id.
#[track_caller]
fn loaded(case: &Case, names: &[&str], labels: &Value) -> String {
    let layer = tests::tarball::Tarball::default().file("of", 0o644, names[0].as_bytes()).finish();
    let id = content::digest(&layer);
    let config = json!({
        "architecture": content::architecture(), "os": "linux", "created": "2024-01-02T03:04:05Z",
        "config": {"Cmd": ["/bin/true"], "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [id]},
    });
    let config = config.to_string().into_bytes();
    let manifest = json!([{"Config": "c.json", "RepoTags": names, "Layers": ["l.tar"]}]);
    let archive = tests::tarball::Tarball::default()
        .file("l.tar", 0o644, &layer)
        .file("c.json", 0o644, &config)
        .file("manifest.json", 0o644, manifest.to_string().as_bytes())
        .finish();
    case.cmd_with_input(&["load", "-q"], &archive).ok();
    content::digest(&config)
}

clients! {
    fn rmi_of_one_name_of_several(case) {
        let names = own_names(case);
        let [a, b] = ["a", "b"].map(|name| format!("{names}/{name}:v"));
        let id = loaded(case, &[&a, &b], &json!({}));
        case.cmd(&["rmi", &id])
            .exits(1)
            .complains("must be forced")
            .complains("referenced in multiple repositories");
        case.cmd(&["rmi", &a]).ok().prints(&format!("Untagged: {a}"));
        case.cmd(&["rmi", &id[7..19]])
            .ok()
            .shows(&format!("Untagged: {b}"))
            .shows(&format!("Deleted: {id}"));
        let id = loaded(case, &[&a, &b], &json!({}));
        let output = case.cmd(&["rmi", "-f", &id]).ok();
        output.shows(&format!("Untagged: {a}")).shows(&format!("Untagged: {b}"));
    }

    fn rmi_of_several_goes_on_after_an_error(case) {
        let names = own_names(case);
        let [a, b] = ["a", "b"].map(|name| format!("{names}/{name}:v"));
        loaded(case, &[&a], &json!({}));
        loaded(case, &[&b], &json!({}));
        let missing = format!("{names}/none:v");
        case.cmd(&["rmi", &a, &missing, &b])
            .exits(1)
            .shows(&format!("Untagged: {a}"))
            .shows(&format!("Untagged: {b}"))
            .complains(&format!("No such image: {missing}"));
        case.cmd(&["rmi", "-f", &missing]).complains("No such image");
    }

    fn rmi_of_what_a_container_needs(case) {
        let names = own_names(case);
        let image = format!("{names}/used:v");
        let (running, stopped) = (case.name("r"), case.name("s"));
        case.cmd(&["tag", IMAGE, &image]).ok();
        case.cmd(&["run", "--name", &case.name("c"), &image, "touch", "/x"]).ok();
        let used = format!("{names}/made:v");
        case.cmd(&["commit", &case.name("c"), &used]).ok();
        case.cmd(&["create", "--name", &stopped, &used, "true"]).ok();
        let output = case.cmd(&["rmi", &used]).exits(1);
        assert!(output.stderr.contains("must force"), "{output:?}");
        assert!(output.stderr.contains("container"), "{output:?}");
        case.cmd(&["rm", &stopped]).ok();
        case.cmd(&["run", "-d", "--name", &running, &used, "sleep", "1000"]).ok();
        let output = case.cmd(&["rmi", &used]).exits(1);
        assert!(output.stderr.contains("container"), "{output:?}");
        case.cmd(&["rmi", "-f", &used]).ok();
        let exec = case.cmd(&["exec", &running, "ls", "/x"]);
        exec.ok().prints("/x");
        case.cmd(&["rm", "-f", &running]).ok();
    }

    fn the_parent_of_a_committed_image_stays(case) {
        let names = own_names(case);
        let [parent, child] = ["parent", "child"].map(|name| format!("{names}/{name}:v"));
        let (one, two) = (case.name("one"), case.name("two"));
        case.cmd(&["run", "--name", &one, IMAGE, "touch", "/one"]).ok();
        case.cmd(&["commit", &one, &parent]).ok();
        case.cmd(&["run", "--name", &two, &parent, "touch", "/two"]).ok();
        case.cmd(&["commit", &two, &child]).ok();
        case.cmd(&["rm", &one, &two]).ok();
        let id = case.cmd(&["inspect", "-f", "{{.Id}}", &parent]).ok().text().to_owned();
        let output = case.cmd(&["rmi", &parent]).ok();
        output.shows(&format!("Untagged: {parent}")).hides("Deleted:");
        case.cmd(&["run", "--rm", &child, "ls", "/one", "/two"]).ok().prints("/one\n/two");
        // The child takes its parent along, which has no name any more.
        case.cmd(&["rmi", &child]).ok().shows("Deleted:").shows(&format!("Deleted: {id}"));
        case.cmd(&["image", "inspect", &id]).exits(1);
    }

    fn prune_takes_what_the_filters_leave(case) {
        let names = own_names(case);
        let [a, b, c] = ["a", "b", "c"].map(|name| format!("{names}/{name}:v"));
        let of = case.name("p");
        let ids = [
            loaded(case, &[&a], &json!({"of": of, "keep": "no"})),
            loaded(case, &[&b], &json!({"of": of, "keep": "yes"})),
            loaded(case, &[&c], &json!({"of": of, "keep": "no"})),
        ];
        let user = case.name("user");
        case.cmd(&["create", "--name", &user, &c, "/bin/true"]).ok();
        let label = format!("label=of={of}");
        // Those with a name are no garbage.
        case.cmd(&["image", "prune", "-f", "--filter", &label]).ok().hides("deleted:");
        let args = ["image", "prune", "-af", "--filter", &label, "--filter", "until=2020-01-01"];
        case.cmd(&args).ok().shows("Total reclaimed space: 0B");
        let args = ["image", "prune", "-af", "--filter", &label, "--filter", "label!=keep=yes"];
        let output = case.cmd(&args).ok();
        output
            .shows("Deleted Images:")
            .shows(&format!("untagged: {a}"))
            .shows(&format!("deleted: {}", ids[0]))
            .shows("Total reclaimed space: ")
            .hides(&b)
            .hides(&c);
        case.cmd(&["image", "inspect", &a]).exits(1);
        case.cmd(&["image", "inspect", &b, &c]).ok();
        // What has lost its name is.
        loaded(case, &[&b], &json!({"of": of, "keep": "later"}));
        let dangling = case
            .cmd(&["images", "-q", "--no-trunc", "--filter", "dangling=true", "--filter", &label]);
        dangling.ok().prints(&ids[1]);
        case.cmd(&["image", "prune", "-f", "--filter", &label]).ok().shows(&ids[1]);
        case.cmd(&["image", "prune", "-f", "--filter", "nonsense=1"]).exits(1);
    }

    fn two_names_and_a_digest_of_what_was_pulled(case) {
        let registry = case.registry();
        let image = content::simple("names");
        let reference = registry.put_image("e2e/names:one", &image);
        let repository = registry.reference("e2e/names");
        let exact = format!("{repository}@{}", image.manifest.digest());
        case.cmd(&["pull", &reference]).ok();
        case.cmd(&["tag", &reference, &format!("{repository}:two")]).ok();
        case.cmd(&["rmi", &reference]).ok().prints(&format!("Untagged: {reference}"));
        case.cmd(&["image", "inspect", &exact]).ok();
        case.cmd(&["rmi", &format!("{repository}:two")])
            .ok()
            .shows(&format!("Untagged: {repository}:two"))
            .shows(&format!("Untagged: {exact}"))
            .shows(&format!("Deleted: {}", image.id()));
        case.cmd(&["image", "inspect", &exact]).exits(1);
    }
}

/// Bytes of a directory on disk, links counted once, as `du` counts.
fn du(path: &Path) -> u64 {
    let output = std::process::Command::new("du").args(["-s", "-B1"]).arg(path).output();
    let output = output.expect("du of coreutils");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}

/// What a layer needs on disk: its files, whole blocks.
fn prose_image(seed: usize, how: Compression) -> (Image, u64) {
    let mut builder = Builder::new(Family::Oci);
    let mut unpacked = 0;
    for layer in 0..4 {
        let mut tar = tests::tarball::Tarball::default();
        for file in 0..40 {
            let data = content::prose(seed * 1000 + layer * 50 + file, 100_000);
            tar = tar.file(&format!("d{layer}-{file}"), 0o644, &data);
            unpacked += (data.len() as u64).next_multiple_of(4096);
        }
        builder = builder.layer(&tar.finish(), how);
    }
    (builder.build(), unpacked)
}

clients! {
    fn there_is_one_copy_on_disk(case) {
        let Some(mut own) = Own::start(case.client(), &[]) else {
            return;
        };
        own.warm_up();
        let hostile = Hostile::start();
        let base = du(&own.store());
        let (image, unpacked) = prose_image(1, Compression::Go);
        hostile.serve("e2e/once", "one", &image.content());
        let reference = hostile.reference("e2e/once:one");
        own.cmd(&["pull", &reference]).ok();
        let mut more = 0;
        let settled = tests::poll(SOON, || {
            more = du(&own.store()).saturating_sub(base);
            (more <= unpacked * 11 / 10).then_some(())
        });
        assert!(settled.is_some(), "{more} bytes on disk for {unpacked} unpacked");
        // And yet it is given on as it came.
        let other = Hostile::start();
        let target = other.reference("e2e/given:one");
        own.cmd(&["tag", &reference, &target]).ok();
        own.cmd(&["push", &target]).ok().shows(&image.manifest.digest());
        let there = other.manifest("e2e/given", "one").expect("it was pushed");
        assert_eq!(there.digest(), image.manifest.digest(), "{}", there.value());
        for layer in &image.layers {
            assert!(other.blob(&layer.blob.digest()).is_some_and(|b| b == layer.blob.bytes));
        }
        own.remove_images();
        drop((hostile, other));
        own.retire();
    }

    fn what_cannot_be_made_again_is_kept_or_dropped_as_told(case) {
        for (flag, copies) in [("keep", true), ("auto", true), ("drop", false)] {
            let config = case.dir().join("daemon.json");
            std::fs::write(&config, format!("{{\"layer-blobs\": \"{flag}\"}}")).expect("ours");
            let path = config.display().to_string();
            let Some(own) = Own::start(case.client(), &["--config-file", &path]) else {
                return;
            };
            let hostile = Hostile::start();
            let (image, unpacked) = prose_image(2, Compression::Zstd);
            hostile.serve("e2e/zstd", "one", &image.content());
            let reference = hostile.reference("e2e/zstd:one");
            own.cmd(&["pull", &reference]).ok();
            if !copies {
                wait_for("the compressed layers are gone", SOON, || {
                    du(&own.store()) <= unpacked * 11 / 10 + (1 << 20)
                });
            } else {
                let archive = own.dir().join("saved.tar").display().to_string();
                own.cmd(&["save", "-o", &archive, &reference]).ok();
                let there = Hostile::start();
                let target = there.reference("e2e/given:one");
                own.cmd(&["tag", &reference, &target]).ok();
                own.cmd(&["push", &target]).ok().shows(&image.manifest.digest());
            }
            own.remove_images();
            own.retire();
        }
    }

    fn df_says_what_du_says(case) {
        let Some(mut own) = Own::start(case.client(), &[]) else {
            return;
        };
        own.warm_up();
        let hostile = Hostile::start();
        for (seed, how) in [(3, Compression::Go), (4, Compression::Zstd)] {
            let (image, _) = prose_image(seed, how);
            hostile.serve("e2e/df", &format!("t{seed}"), &image.content());
            own.cmd(&["pull", &hostile.reference(&format!("e2e/df:t{seed}"))]).ok();
        }
        let script = "dd if=/dev/urandom of=/grown bs=1M count=5 2>/dev/null";
        own.cmd(&["run", "--name", "grown", IMAGE, "sh", "-c", script]).ok();
        let close = |told: u64, found: u64| told.abs_diff(found) * 100 <= found;
        let mut last = (0, 0);
        let agreed = tests::poll(SOON, || {
            let df = own.api("GET", "/system/df", None).json();
            let images = df["LayersSize"].as_u64().expect("a number");
            last = (images, du(&own.store()) - snapshots(&own));
            close(last.0, last.1).then_some(())
        });
        assert!(agreed.is_some(), "df tells {} and du {} bytes", last.0, last.1);
        let df = own.api("GET", "/system/df", None).json();
        let told = df["Containers"][0]["SizeRw"].as_u64().expect("a number");
        assert!(told.abs_diff(5 << 20) * 100 <= 5 << 20, "{told}");
        own.cmd(&["system", "df"]).ok().shows("RECLAIMABLE");
        let verbose = own.cmd(&["system", "df", "-v"]).ok();
        verbose.shows("SHARED SIZE").shows("e2e/df").shows("grown");
        own.cmd(&["rm", "-f", "grown"]).ok();
        own.remove_images();
        drop(hostile);
        own.retire();
    }

    fn prune_can_tell_what_it_would_do(case) {
        let Some(own) = Own::start(case.client(), &[]) else {
            return;
        };
        let hostile = Hostile::start();
        let image = content::simple("dry");
        hostile.serve("e2e/dry", "one", &image.content());
        let reference = hostile.reference("e2e/dry:one");
        own.cmd(&["pull", &reference]).ok();
        let path = "/images/prune?dry-run=1&filters=%7B%22dangling%22%3A%5B%22false%22%5D%7D";
        let told = own.api("POST", path, None).json();
        assert!(told.to_string().contains(&image.id()), "{told}");
        let space = told["SpaceReclaimed"].as_u64().expect("a number");
        own.cmd(&["image", "inspect", &reference]).ok();
        let path = path.replace("dry-run=1&", "");
        let done = own.api("POST", &path, None).json();
        assert_eq!(done["ImagesDeleted"], told["ImagesDeleted"]);
        let freed = done["SpaceReclaimed"].as_u64().expect("a number");
        assert!(freed.abs_diff(space) * 100 <= freed, "told {space}, freed {freed}");
        assert_eq!(own.images(), Vec::<String>::new());
        own.retire();
    }

    fn removed_images_leave_no_space(case) {
        let Some(mut own) = Own::start(case.client(), &[]) else {
            return;
        };
        own.warm_up();
        let hostile = Hostile::start();
        let base = (du(&own.store()), host::tree(&own.store()).len());
        for seed in 0..3 {
            let (image, _) = prose_image(10 + seed, Compression::Gzip(6));
            hostile.serve("e2e/gone", "one", &image.content());
            let reference = hostile.reference("e2e/gone:one");
            own.cmd(&["pull", &reference]).ok();
            own.cmd(&["rmi", &reference]).ok();
        }
        let mut now = (0, 0);
        let back = tests::poll(SOON, || {
            now = (du(&own.store()), host::tree(&own.store()).len());
            (now.0 <= base.0 + (64 << 10) && now.1 <= base.1).then_some(())
        });
        assert!(back.is_some(), "{base:?} before, {now:?} now: {:#?}", host::tree(&own.store()));
        drop(hostile);
        own.retire();
    }
}

/// Bytes of interrupted downloads.
fn partial(own: &Own) -> u64 {
    let root = own.store().join("partial");
    let files = host::tree(&root).into_iter().filter_map(|path| root.join(path).metadata().ok());
    files.filter(std::fs::Metadata::is_file).map(|meta| meta.len()).sum()
}

/// Leaves a download of so many bytes behind.
#[track_caller]
fn interrupted(own: &Own, hostile: &Hostile, image: &Image, tag: &str, bytes: u64) {
    hostile.serve("e2e/broken", tag, &image.content());
    hostile.on(&image.layers[0].blob.digest(), Reply::real().stall_after(bytes));
    let pull = own.spawn(&["pull", &hostile.reference(&format!("e2e/broken:{tag}"))]);
    wait_for("it has begun", SOON, || partial(own) >= bytes * 9 / 10);
    drop(pull);
    hostile.behave();
}

clients! {
    fn old_downloads_are_collected_and_running_ones_are_not(case) {
        let flags =
            ["--gc-interval", "1s", "--gc-partial-age", "1s", "--gc-unreferenced-age", "1s"];
        let Some(own) = Own::start(case.client(), &flags) else {
            return;
        };
        let hostile = Hostile::start();
        let seed = 100 + usize::from(hostile.socket_address().port()) * 8;
        let (old, new) = (content::bulky(seed, 1, 4 << 20), content::bulky(seed + 1, 2, 4 << 20));
        interrupted(&own, &hostile, &old, "old", 2 << 20);
        // A pull that waits: a layer whole already, another half.
        hostile.serve("e2e/running", "one", &new.content());
        let (line, size) = (new.layers[1].blob.digest(), new.layers[1].blob.bytes.len() as u64);
        hostile.on_times(&line, 1, Reply::real().stall_after(size / 2));
        let reference = hostile.reference("e2e/running:one");
        let pull = own.spawn(&["pull", &reference]);
        hostile.wait_for_bytes(size + size / 2);
        let hex = old.layers[0].blob.digest()[7..].to_owned();
        let is_there = || host::tree(&own.store()).iter().any(|path| path.contains(&hex));
        wait_for("the old one is collected", SOON, || !is_there());
        // Several collections later the new one still has what it needs.
        tests::poll(Duration::from_secs(4), || None::<()>);
        assert!(partial(&own) > size * 4 / 10, "{}", partial(&own));
        hostile.forget();
        hostile.hang_up();
        pull.finish().ok();
        assert!(hostile.sent() < size * 7 / 10, "{} of {size}", hostile.sent());
        own.cmd(&["image", "inspect", &reference]).ok();
        tests::poll(Duration::from_secs(3), || None::<()>);
        let archive = own.dir().join("saved.tar").display().to_string();
        own.cmd(&["save", "-o", &archive, &reference]).ok();
        own.remove_images();
        own.retire();
    }

    fn downloads_give_way_when_space_is_short(case) {
        if tests::target::reference_socket().is_some() {
            return;
        }
        let disk = Disk::new(96).unwrap_or_else(|error| panic!("{error:#}"));
        let flags = ["--gc-interval", "1s", "--gc-free-space", "40MB"];
        let Some(own) = Own::start_on(case.client(), &disk, &flags) else {
            return;
        };
        let hostile = Hostile::start();
        let seed = 100 + usize::from(hostile.socket_address().port()) * 8;
        interrupted(&own, &hostile, &content::bulky(seed, 1, 8 << 20), "one", 6 << 20);
        tests::poll(Duration::from_secs(3), || None::<()>);
        assert!(partial(&own) > 5 << 20, "{}: it was collected with room enough", partial(&own));
        disk.fill(20 << 20);
        wait_for("it is collected", SOON, || partial(&own) == 0);
        disk.empty();
        own.retire();
        disk.unmount().and_then(|()| disk.check()).unwrap_or_else(|error| panic!("{error:#}"));
    }
}

/// Bytes of the writable layers of containers.
fn snapshots(own: &Own) -> u64 {
    let dir = own.store().join("snapshots");
    if dir.is_dir() { du(&dir) } else { 0 }
}
