//! Pulls that are cut, stalled, cancelled, shared or killed: what arrived is kept and used.

use std::time::{Duration, Instant};

use tests::content::{self, Builder, Compression, Family, Image};
use tests::tarball::Tarball;
use tests::{Case, Hostile, Own, Reply, Spawned, audit, clients, host, wait_for};

const SOON: Duration = Duration::from_secs(30);

/// What one pull may take at most when it waits for a server.
const PATIENCE: Duration = Duration::from_secs(150);

/// Size of the layer that is cut.
const SIZE: usize = 8 << 20;

/// An image of one large layer and a small one.
fn large(seed: usize) -> Image {
    let how = Compression::Gzip(1);
    Builder::new(Family::Oci)
        .file("etc/large", &content::noise(seed + std::process::id() as usize * 16, SIZE), how)
        .file("etc/small", b"small", how)
        .build()
}

/// The line of the requests for the large layer, and its size as it travels.
fn line(image: &Image) -> (String, u64) {
    let blob = &image.layers[0].blob;
    (format!("/blobs/{}", blob.digest()), blob.bytes.len() as u64)
}

fn part(size: u64, percent: u64) -> u64 {
    size * percent / 100
}

#[track_caller]
fn pulls(own: &Own, reference: &str, image: &Image) {
    own.spawn(&["pull", reference])
        .finish_within(PATIENCE)
        .ok()
        .shows(&image.manifest.digest());
    own.cmd(&["inspect", "-f", "{{.Id}}", reference]).ok().prints(&image.id());
}

/// Bytes of what is kept of downloads.
fn kept(own: &Own) -> u64 {
    let root = own.store().join("partial");
    let sizes = host::tree(&root).into_iter().filter_map(|path| {
        std::fs::metadata(root.join(path)).ok().filter(std::fs::Metadata::is_file)
    });
    sizes.map(|meta| meta.len()).sum()
}

/// Starts a pull of a layer that stops at `percent`, and waits until that much was taken.
#[track_caller]
fn stopped_at(
    own: &Own,
    hostile: &Hostile,
    image: &Image,
    reference: &str,
    percent: u64,
) -> Spawned {
    let (line, size) = line(image);
    hostile.on(&line, Reply::real().stall_after(part(size, percent)));
    let pull = own.spawn(&["pull", reference]);
    hostile.wait_for_bytes(part(size, percent));
    // Some of it may still be on its way through the daemon.
    wait_for("it was taken", SOON, || kept(own) >= part(size, percent - 4));
    pull
}

#[track_caller]
fn machine(case: &Case) -> Option<(Own, Hostile)> {
    let own = Own::start(case.client(), &[])?;
    Some((own, Hostile::start()))
}

#[track_caller]
fn end(own: Own) {
    own.remove_images();
    own.retire();
}

clients! {
    fn a_cut_is_resumed_in_the_same_pull(case) {
        let hostile = case.hostile();
        let image = large(1);
        let (line, size) = line(&image);
        hostile.serve("e2e/cut", "one", &image.content());
        hostile.on_times(&line, 1, Reply::real().cut_after(part(size, 60)));
        let reference = hostile.reference("e2e/cut:one");
        let pull = case.spawn(&["pull", &reference]);
        pull.finish_within(PATIENCE).ok().shows(&image.manifest.digest());
        case.cmd(&["inspect", "-f", "{{.Id}}", &reference]).ok().prints(&image.id());
        assert!(hostile.sent() < part(size, 115), "{} of {size}", hostile.sent());
    }

    fn a_second_pull_goes_on_where_the_first_was_cut(case) {
        let Some((own, hostile)) = machine(case) else {
            return;
        };
        let image = large(2);
        let (line, size) = line(&image);
        hostile.serve("e2e/cut", "one", &image.content());
        // Always at the same place: no attempt gets further.
        hostile.on(&line, Reply::real().cut_after(part(size, 60)));
        let reference = hostile.reference("e2e/cut:one");
        own.spawn(&["pull", &reference]).finish_within(PATIENCE).exits(1);
        own.cmd(&["image", "inspect", &reference]).exits(1);
        assert!(hostile.sent() < part(size, 75), "{} of {size}", hostile.sent());
        hostile.behave();
        hostile.forget();
        pulls(&own, &reference, &image);
        assert!(hostile.sent() <= part(size, 45), "{} of {size}", hostile.sent());
        wait_for("nothing is kept of it", SOON, || kept(&own) == 0);
        end(own);
    }

    fn twenty_cuts_are_one_download_in_the_end(case) {
        let Some((own, hostile)) = machine(case) else {
            return;
        };
        let image = large(3);
        let (line, size) = line(&image);
        hostile.serve("e2e/cuts", "one", &image.content());
        for cut in 1..=20 {
            hostile.on_times(&line, 1, Reply::real().cut_after(part(size, cut * 19 / 4)));
        }
        let reference = hostile.reference("e2e/cuts:one");
        let mut pulls_needed = 1;
        while own.spawn(&["pull", &reference]).finish_within(PATIENCE).code != 0 {
            pulls_needed += 1;
            assert!(pulls_needed < 8, "{pulls_needed} pulls");
        }
        own.cmd(&["inspect", "-f", "{{.Id}}", &reference]).ok().prints(&image.id());
        assert!(hostile.sent() < part(size, 125), "{} of {size}", hostile.sent());
        end(own);
    }

    fn a_server_that_cannot_resume_costs_a_whole_download(case) {
        let Some((own, hostile)) = machine(case) else {
            return;
        };
        let image = large(4);
        let (line, size) = line(&image);
        hostile.serve("e2e/whole", "one", &image.content());
        hostile.on_times(&line, 1, Reply::real().cut_after(part(size, 50)));
        hostile.on(&line, Reply::real().ignore_range());
        pulls(&own, &hostile.reference("e2e/whole:one"), &image);
        end(own);
    }

    fn a_resumed_half_that_does_not_fit_is_found_out(case) {
        let Some((own, hostile)) = machine(case) else {
            return;
        };
        let image = large(5);
        let (line, size) = line(&image);
        hostile.serve("e2e/halves", "one", &image.content());
        let reference = hostile.reference("e2e/halves:one");
        hostile.on_times(&line, 1, Reply::real().cut_after(part(size, 50)));
        hostile.on(&line, Reply::real().body(content::noise(99, image.layers[0].blob.bytes.len())));
        let pull = own.spawn(&["pull", &reference]).finish_within(PATIENCE).exits(1);
        assert!(pull.stderr.contains(&image.layers[0].blob.digest()), "{pull:?}");
        own.cmd(&["image", "inspect", &reference]).exits(1);
        hostile.behave();
        pulls(&own, &reference, &image);
        end(own);
    }

    fn a_killed_daemon_goes_on_where_it_was(case) {
        let Some((mut own, hostile)) = machine(case) else {
            return;
        };
        for (seed, percent) in [(6, 60), (7, 90)] {
            let image = large(seed);
            let (_, size) = line(&image);
            let tag = format!("t{seed}");
            hostile.serve("e2e/killed", &tag, &image.content());
            let reference = hostile.reference(&format!("e2e/killed:{tag}"));
            let pull = stopped_at(&own, &hostile, &image, &reference, percent);
            own.daemon_mut().crash().unwrap_or_else(|error| panic!("{error:#}"));
            assert_ne!(pull.finish().code, 0);
            own.cmd(&["image", "inspect", &reference]).exits(1);
            hostile.behave();
            hostile.forget();
            pulls(&own, &reference, &image);
            assert!(hostile.sent() <= part(size, 105 - percent), "{} of {size}", hostile.sent());
        }
        end(own);
    }

    fn a_stopped_daemon_goes_on_where_it_was(case) {
        let Some((mut own, hostile)) = machine(case) else {
            return;
        };
        let image = large(8);
        let (_, size) = line(&image);
        hostile.serve("e2e/stopped", "one", &image.content());
        let reference = hostile.reference("e2e/stopped:one");
        let pull = stopped_at(&own, &hostile, &image, &reference, 60);
        assert!(own.daemon_mut().stop(), "it did not end in time");
        own.daemon_mut().launch().unwrap_or_else(|error| panic!("{error:#}"));
        assert_ne!(pull.finish().code, 0);
        hostile.behave();
        hostile.forget();
        pulls(&own, &reference, &image);
        assert!(hostile.sent() <= part(size, 45), "{} of {size}", hostile.sent());
        end(own);
    }

    fn a_client_that_leaves_ends_the_pull(case) {
        let Some((mut own, hostile)) = machine(case) else {
            return;
        };
        own.warm_up();
        let image = large(9);
        let (_, size) = line(&image);
        hostile.serve("e2e/left", "one", &image.content());
        let reference = hostile.reference("e2e/left:one");
        drop(stopped_at(&own, &hostile, &image, &reference, 60));
        wait_for("the daemon hangs up", SOON, || hostile.stalled() == 0);
        // Connections that are kept for the next request are no leak.
        hostile.hang_up();
        // Nothing goes on: no connection, no task that holds a file.
        let left = audit::settled(|| {
            let found = audit::of_idle_daemon(own.daemon());
            found.into_iter().filter(|line| !line.contains("/partial/")).collect()
        });
        assert!(left.is_empty(), "{left:#?}");
        own.cmd(&["image", "inspect", &reference]).exits(1);
        hostile.behave();
        hostile.forget();
        pulls(&own, &reference, &image);
        assert!(hostile.sent() <= part(size, 45), "{} of {size}", hostile.sent());
        drop(hostile);
        end(own);
    }

    fn a_server_that_stalls_is_left(case) {
        if case.is_reference() {
            return;
        }
        let hostile = case.hostile();
        let image = large(10);
        let (line, size) = line(&image);
        hostile.serve("e2e/stall", "one", &image.content());
        hostile.on_times(&line, 1, Reply::real().stall_after(part(size, 60)));
        let reference = hostile.reference("e2e/stall:one");
        let begin = Instant::now();
        let pull = case.spawn(&["pull", &reference]);
        pull.finish_within(PATIENCE).ok().shows(&image.manifest.digest());
        assert!(begin.elapsed() < Duration::from_secs(90), "{:?}", begin.elapsed());
        assert!(hostile.sent() < part(size, 115), "{} of {size}", hostile.sent());
    }

    fn errors_that_pass_are_tried_again(case) {
        let hostile = case.hostile();
        let image = large(11);
        let (line, _) = line(&image);
        hostile.serve("e2e/retry", "one", &image.content());
        hostile.on_times(&line, 2, Reply::error(503, "UNAVAILABLE", "busy"));
        let reference = hostile.reference("e2e/retry:one");
        let pull = case.spawn(&["pull", &reference]);
        pull.finish_within(PATIENCE).ok().shows(&image.manifest.digest());
    }
}

/// Images that share their lowest layer, and the digest of that.
fn sharing(hostile: &Hostile, count: usize) -> (Vec<String>, String, u64) {
    let number = hostile.socket_address().port();
    let shared = content::noise(usize::from(number) * 64 + std::process::id() as usize, 3 << 20);
    let shared = Tarball::default().file("shared", 0o644, &shared).finish();
    let mut references = Vec::new();
    let (mut digest, mut size) = (String::new(), 0);
    for tag in 0..count {
        let how = Compression::Gzip(1);
        let own = format!("{number} {tag}");
        let image =
            Builder::new(Family::Oci).layer(&shared, how).file("own", own.as_bytes(), how).build();
        hostile.serve("e2e/shared", &format!("t{tag}"), &image.content());
        references.push(hostile.reference(&format!("e2e/shared:t{tag}")));
        digest = image.layers[0].blob.digest();
        size = image.layers[0].blob.bytes.len() as u64;
    }
    (references, digest, size)
}

clients! {
    fn what_eight_pulls_share_is_fetched_once(case) {
        let hostile = case.hostile();
        let (references, digest, size) = sharing(&hostile, 4);
        hostile.on(&digest, Reply::real().rate(size / 2));
        let pulls: Vec<Spawned> = references
            .iter()
            .chain(&references)
            .map(|reference| case.spawn(&["pull", reference]))
            .collect();
        for pull in pulls {
            pull.finish().ok();
        }
        assert_eq!(hostile.count(&format!("GET /v2/e2e/shared/blobs/{digest}")), 1);
        for reference in &references {
            case.cmd(&["image", "inspect", reference]).ok();
        }
    }

    fn the_first_of_several_may_leave(case) {
        let hostile = case.hostile();
        let (references, digest, size) = sharing(&hostile, 3);
        hostile.on(&digest, Reply::real().rate(size / 2));
        let line = format!("GET /v2/e2e/shared/blobs/{digest}");
        let first = case.spawn(&["pull", &references[0]]);
        hostile.wait_for_bytes(size / 8);
        let others: Vec<Spawned> =
            references[1..].iter().map(|reference| case.spawn(&["pull", reference])).collect();
        wait_for("the others have begun", SOON, || {
            references[1..].iter().all(|r| {
                let tag = r.rsplit(':').next().expect("a tag");
                hostile.count(&format!("/manifests/{tag}")) > 0
            }) && others.iter().all(|pull| pull.stdout().contains("Pulling fs layer"))
        });
        drop(first);
        for pull in others {
            pull.finish().ok();
        }
        assert_eq!(hostile.count(&line), 1);
        case.cmd(&["image", "inspect", &references[0]]).exits(1);
        case.cmd(&["image", "inspect", &references[1]]).ok();
    }
}
