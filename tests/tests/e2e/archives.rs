//! Hostile archives through `load` and `import`: nothing outside, no hang, no half image.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use spec::Digest;
use tests::http::{Connection, Response};
use tests::tarball::{Kind, Tarball};
use tests::{Case, IMAGE, api};

/// A directory on the host that no archive may reach.
struct Canary(PathBuf);

impl Canary {
    fn new(case: &Case) -> Self {
        let dir = case.dir().join("canary");
        std::fs::create_dir(&dir)
            .and_then(|()| std::fs::write(dir.join("file"), "intact"))
            .expect("ours");
        Self(dir)
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }

    #[track_caller]
    fn check(&self) {
        let entries = std::fs::read_dir(&self.0).expect("it exists").count();
        assert_eq!(entries, 1, "something was written into the canary");
        let file = self.0.join("file");
        assert_eq!(std::fs::read_to_string(&file).expect("it exists"), "intact");
        let meta = file.metadata().expect("it exists");
        assert_eq!((meta.nlink(), meta.mode() & 0o7777, meta.uid()), (1, 0o644, 0));
    }
}

/// A number of levels up that reaches the root from wherever layers are kept.
const UP: &str = "../../../../../../../../../../../../../../../..";

fn import(case: &Case, tag: &str, archive: &[u8]) -> Response {
    let mut connection = Connection::open(case.target().socket()).expect("it listens");
    let path = format!("/images/create?fromSrc=-&repo={tag}&tag=latest");
    connection.upload("POST", &path, archive).expect("an answer")
}

fn load(case: &Case, archive: &[u8]) -> Response {
    let mut connection = Connection::open(case.target().socket()).expect("it listens");
    connection.upload("POST", "/images/load?quiet=1", archive).expect("an answer")
}

/// A `docker save` archive whose only layer is this one.
fn saved(tag: &str, layer: &[u8]) -> Vec<u8> {
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["x"]},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", Digest::of(layer).hex())]},
    })
    .to_string();
    let tag = format!("{tag}:latest");
    let manifest = json!([{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]);
    Tarball::default()
        .file("layer.tar", 0o644, layer)
        .file("config.json", 0o644, config.as_bytes())
        .file("manifest.json", 0o644, manifest.to_string().as_bytes())
        .finish()
}

/// Whether an answer is a refusal: by status, or as an error in the stream of progress.
fn refused(answer: &Response) -> bool {
    answer.status >= 400 || answer.text().contains("\"error\"")
}

fn tag(case: &Case, name: &str) -> String {
    format!("e2e-{}/{name}", case.name("t").to_lowercase())
}

/// Sends an archive through both doors and cleans up; the answers are for the test to judge.
fn both_doors(case: &Case, name: &str, layer: &[u8]) -> [Response; 2] {
    let begin = Instant::now();
    let (one, two) = (tag(case, &format!("{name}-i")), tag(case, &format!("{name}-l")));
    let answers = [import(case, &one, layer), load(case, &saved(&two, layer))];
    for tag in [one, two] {
        case.api("DELETE", &format!("/images/{tag}:latest"), None);
    }
    assert!(begin.elapsed() < Duration::from_secs(60), "{name} took {:?}", begin.elapsed());
    for answer in &answers {
        assert!(answer.status < 500 || refused(answer), "{name}: {}", answer.text());
    }
    assert_eq!(case.api("GET", "/_ping", None).status, 200, "{name}");
    answers
}

api! {
    fn names_that_climb_out_write_nothing_outside(case) {
        let canary = Canary::new(case);
        let target = canary.path();
        for (name, path) in [
            ("climb", format!("{UP}{target}/new")),
            ("absolute", format!("{target}/new")),
            ("middle", format!("a/{UP}{target}/new")),
            ("over", format!("{UP}{target}/file")),
        ] {
            let path = &path[..path.len().min(100)];
            both_doors(case, name, &Tarball::default().file(path, 0o600, b"evil").finish());
            canary.check();
        }
    }

    fn links_lead_nothing_outside(case) {
        let canary = Canary::new(case);
        let target = canary.path();
        let file = format!("{target}/file");
        let archives = [
            (
                "through",
                Tarball::default().symlink("out", &target).file("out/new", 0o600, b"evil"),
            ),
            (
                "chain",
                Tarball::default()
                    .symlink("a", "/")
                    .symlink("out", &format!("a{target}"))
                    .file("out/new", 0o600, b"evil"),
            ),
            (
                "relative",
                Tarball::default().symlink("out", &format!("{UP}{target}")).dir("out/sub", 0o777),
            ),
            ("replace", Tarball::default().symlink("out", &file).file("out", 0o600, b"evil")),
            ("hard", Tarball::default().hardlink("out", &file).file("out", 0o600, b"evil")),
            ("hard-climb", Tarball::default().hardlink("out", &format!("{UP}{file}"))),
            (
                "hard-through",
                Tarball::default().symlink("d", &target).hardlink("out", "d/file"),
            ),
            (
                "whiteout",
                Tarball::default().symlink("out", &target).file("out/.wh.file", 0o600, b""),
            ),
            (
                "opaque",
                Tarball::default().symlink("out", &target).file("out/.wh..wh..opq", 0o600, b""),
            ),
        ];
        for (name, archive) in archives {
            both_doors(case, name, &archive.finish());
            canary.check();
        }
    }

    fn the_root_of_a_layer_stays_a_directory(case) {
        for (name, path) in [("dot", "."), ("slash", "/"), ("dotslash", "./"), ("up", "..")] {
            for kind in [Kind::SymLink, Kind::File, Kind::HardLink, Kind::Fifo] {
                let archive = Tarball::default().entry(path, kind, 0o644, "/etc", b"").finish();
                both_doors(case, &format!("{name}{kind:?}").to_lowercase(), &archive);
            }
        }
    }

    fn special_files_do_not_block(case) {
        let archive = Tarball::default()
            .entry("fifo", Kind::Fifo, 0o644, "", b"")
            .entry("mem", Kind::CharDevice(1, 1), 0o666, "", b"")
            .entry("fuse", Kind::CharDevice(10, 229), 0o666, "", b"")
            .finish();
        both_doors(case, "special", &archive);
    }

    fn a_device_of_the_image_cannot_be_opened(case) {
        let tag = tag(case, "device");
        let layer =
            Tarball::default().entry("mem", Kind::CharDevice(1, 1), 0o666, "", b"").finish();
        let all = [tests::image::rootfs().expect("busybox"), layer]
            .map(|mut tar| {
                tar.truncate(tar.len() - 1024);
                tar
            })
            .concat();
        let all = Tarball::default().raw(&all).finish();
        let answer = import(case, &tag, &all);
        if !refused(&answer) {
            let output = case.cmd(&["run", "--rm", &tag, "head", "-c", "1", "/mem"]);
            assert_ne!(output.code, 0, "{output:?}");
            output.complains("not permitted");
        }
        case.api("DELETE", &format!("/images/{tag}:latest"), None);
    }

    fn damaged_archives_are_errors_or_fine_but_end(case) {
        let good = Tarball::default()
            .dir("d/", 0o755)
            .file("d/f", 0o644, &[7; 3000])
            .symlink("s", "d/f")
            .finish();
        for cut in (256..good.len()).step_by(700) {
            both_doors(case, &format!("cut{cut}"), &good[..cut]);
        }
        for position in (0..1536).step_by(97) {
            let mut bytes = good.clone();
            bytes[position] ^= 0x55;
            both_doors(case, &format!("flip{position}"), &bytes);
        }
        for size in [
            *b"77777777777\0", *b"-0000000001\0",
            *b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            let mut bytes = good.clone();
            bytes[512 + 124..512 + 136].copy_from_slice(&size);
            let mut header: [u8; 512] = bytes[512..1024].try_into().expect("a block");
            tests::tarball::seal(&mut header);
            bytes[512..1024].copy_from_slice(&header);
            let answers = both_doors(case, "size", &bytes);
            assert!(answers.iter().all(refused), "{}", answers[0].text());
        }
    }

    fn a_layer_that_is_not_what_the_config_says_is_refused(case) {
        let tag = tag(case, "lie");
        // New content each time: an engine that has a layer already need not read it.
        let unique = case.name("honest");
        let honest = Tarball::default().file("a", 0o644, unique.as_bytes()).finish();
        let other = Tarball::default().file("b", 0o644, b"b").finish();
        let mut archive = saved(&tag, &honest);
        let position = archive
            .windows(512)
            .position(|window| window == &honest[..512])
            .expect("it is in there");
        archive[position..position + other.len()].copy_from_slice(&other);
        let answer = load(case, &archive);
        assert!(refused(&answer), "{}", answer.text());
        assert_eq!(case.api("GET", &format!("/images/{tag}:latest/json"), None).status, 404);
    }

    fn manifests_that_lie_are_refused(case) {
        let unique = case.name("layer");
        let layer = Tarball::default().file("a", 0o644, unique.as_bytes()).finish();
        let diff = format!("sha256:{}", Digest::of(&layer).hex());
        let config = |rootfs: serde_json::Value| {
            json!({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).to_string()
        };
        let good = config(json!({"type": "layers", "diff_ids": [diff.clone()]}));
        let lists =
            |layers: &[&str]| json!([{"Config": "config.json", "Layers": layers}]).to_string();
        let plain = lists(&["layer.tar"]);
        let outside = json!([{"Config": "../../../../etc/passwd", "Layers": ["layer.tar"]}]);
        let wrong_tag = json!([
            {"Config": "config.json", "RepoTags": ["../../UPPER:x"], "Layers": ["layer.tar"]}
        ]);
        let wrong_diff = config(json!({"type": "layers", "diff_ids": ["sha256:../../x"]}));
        let cases = [
            ("notjson", good.clone(), "not json".to_owned()),
            ("missing", good.clone(), lists(&["gone.tar"])),
            ("climbing", good.clone(), outside.to_string()),
            ("absolute", good.clone(), lists(&["/etc/passwd"])),
            ("toomany", good.clone(), lists(&["layer.tar", "layer.tar"])),
            ("badconfig", "[]".to_owned(), plain.clone()),
            ("nullroot", config(json!(null)), plain.clone()),
            ("baddiff", wrong_diff, plain),
            ("badtag", good, wrong_tag.to_string()),
        ];
        let before = case.api("GET", "/images/json?all=1", None).json().as_array().map(Vec::len);
        for (name, config, manifest) in cases {
            let archive = Tarball::default()
                .file("layer.tar", 0o644, &layer)
                .file("config.json", 0o644, config.as_bytes())
                .file("manifest.json", 0o644, manifest.as_bytes())
                .finish();
            let answer = load(case, &archive);
            assert!(refused(&answer), "{name}: {} {}", answer.status, answer.text());
        }
        // Other tests load images at the same time: the count may rise, the daemon must live.
        assert!(before.is_some());
        assert_eq!(case.api("GET", "/_ping", None).status, 200);
    }

    fn a_bomb_ends_with_the_daemon_alive(case) {
        if case.is_reference() {
            return;
        }
        // A sparse promise of 1 TiB: the header says so, the data does not come.
        let mut archive = Tarball::default().file("big", 0o644, b"").finish();
        archive[124..136].copy_from_slice(b"\x80\0\0\0\0\0\x01\0\0\0\0\0");
        let mut header: [u8; 512] = archive[..512].try_into().expect("a block");
        tests::tarball::seal(&mut header);
        archive[..512].copy_from_slice(&header);
        let answers = both_doors(case, "promise", &archive);
        assert!(answers.iter().all(refused), "{}", answers[0].text());
        let deep = format!("{}x", "d/".repeat(45));
        let mut tar = Tarball::default();
        for _ in 0..200 {
            tar = tar.file(&deep, 0o644, b"again");
        }
        both_doors(case, "again", &tar.finish());
    }

    fn references_out_of_the_grammar_are_refused(case) {
        for tag in ["UPPER", "a//b", "..%2Fx", "a%20b", "-a", &"a".repeat(300)] {
            let answer = import(case, tag, &Tarball::default().finish());
            assert!(refused(&answer), "{tag}: {}", answer.text());
        }
        let answer = case.api("POST", &format!("/images/{IMAGE}/tag?repo=UPPER&tag=x"), None);
        assert_eq!(answer.status, 400, "{}", answer.text());
    }
}

#[test]
fn the_canary_notices() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let canary = Canary(dir.path().join("canary"));
    std::fs::create_dir(&canary.0)
        .and_then(|()| std::fs::write(canary.0.join("file"), "intact"))
        .expect("ours");
    canary.check();
    std::fs::write(Path::new(&canary.0).join("new"), "").expect("ours");
    assert!(std::panic::catch_unwind(|| canary.check()).is_err());
}
