//! What containers see at their mount points: copy-up, `-v`, `--mount`, `--tmpfs`, bounds.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tests::image::Image;
use tests::tarball::Kind;
use tests::{Case, IMAGE, api, clients};

/// Rounds of every race.
const ROUNDS: usize = 200;
/// `cap_net_raw` in its permitted set, as the kernel keeps it.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// One record of an extended header.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = rest + (rest + 2).to_string().len();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// A tmpfs of the host below a directory of the test, until this is dropped.
struct Submount(PathBuf);

impl Submount {
    fn new(at: &Path) -> Self {
        fs::create_dir_all(at).expect("ours");
        let done = Command::new("mount").args(["-t", "tmpfs", "sub"]).arg(at).status();
        assert!(done.expect("mount can be started").success());
        Self(at.to_owned())
    }
}

impl Drop for Submount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn host_dir(case: &Case, name: &str) -> String {
    let dir = case.dir().join(name);
    fs::create_dir_all(&dir).expect("ours");
    dir.display().to_string()
}

clients! {
    fn empty_volumes_are_filled_from_the_image(case) {
        let image = Image::with(case, "up", |tar| {
            let capability = record("SCHILY.xattr.security.capability", &CAPABILITY);
            tar.dir("data/", 0o1770)
                .entry("pax", Kind::Extended, 0o644, "", &capability)
                .file("data/cap", 0o755, b"program")
                .file("data/f", 0o4711, b"from the image")
                .entry("data/h", Kind::HardLink, 0o4711, "data/f", b"")
                .symlink("data/l", "/etc/passwd")
                .dir("data/sub/", 0o700)
                .file("data/sub/deep", 0o600, b"deep")
                .entry("data/null", Kind::CharDevice(1, 3), 0o600, "", b"")
                .entry("data/pipe", Kind::Fifo, 0o620, "", b"")
        });
        let (name, container) = (case.name("v"), case.name("c"));
        let script = "cd /data; stat -c '%n %a %u:%g %h %F' . cap f h l null pipe sub sub/deep; \
            cat f; readlink l; [ f -ef h ] && echo same";
        let args = ["run", "--name", &container, "-v", &format!("{name}:/data"), image.tag(), "sh", "-c", script];
        case.cmd(&args).ok().prints(
            ". 1770 0:0 3 directory\ncap 755 0:0 1 regular file\nf 4711 0:0 2 regular file\n\
             h 4711 0:0 2 regular file\nl 777 0:0 1 symbolic link\n\
             null 600 0:0 1 character special file\npipe 620 0:0 1 fifo\n\
             sub 700 0:0 2 directory\nsub/deep 600 0:0 1 regular file\n\
             from the image/etc/passwd\nsame",
        );
        let path = format!("/containers/{container}/archive?path=/data/cap");
        let archive = case.api("GET", &path, None).body;
        let found = archive.windows(CAPABILITY.len()).any(|bytes| bytes == CAPABILITY);
        assert!(found, "the capability of the file is kept");
        // What is in the volume now stays.
        let args = ["run", "--rm", "-v", &format!("{name}:/etc"), IMAGE, "ls", "/etc/sub"];
        case.cmd(&args).ok().prints("deep");
        let empty = case.name("nocopy");
        let args = ["run", "--rm", "-v", &format!("{empty}:/data:nocopy"), image.tag(), "ls", "/data"];
        case.cmd(&args).ok().prints("");
        case.cmd(&["rm", &container]).ok();
    }

    fn volumes_of_the_image(case) {
        let (made, tag, container) = (case.name("made"), case.name("img").to_lowercase(), case.name("c"));
        case.owns_images(&tag);
        case.cmd(&["run", "--name", &made, IMAGE, "sh", "-c", "mkdir /data; echo up > /data/f"]).ok();
        case.cmd(&["commit", "--change", "VOLUME /data", &made, &tag]).ok();
        case.cmd(&["run", "--name", &container, &tag, "cat", "/data/f"]).ok().prints("up");
        let mounts = case.inspect(&container)["Mounts"].clone();
        assert_eq!((&mounts[0]["Type"], &mounts[0]["Destination"]), (&"volume".into(), &"/data".into()));
        // The user's own mount wins.
        let args = ["run", "--rm", "--tmpfs", "/data", &tag, "ls", "/data"];
        case.cmd(&args).ok().prints("");
        case.cmd(&["rm", "-v", &container, &made]).ok();
    }

    fn volumes_from_other_containers(case) {
        let (source, name) = (case.name("source"), case.name("v"));
        let host = host_dir(case, "bind");
        case.cmd(&[
            "create", "--name", &source, "-v", &format!("{name}:/v"), "-v", &format!("{host}:/b:ro"), "-v", "/anon", IMAGE,
        ])
        .ok();
        let script = "echo x > /v/f && echo x > /anon/f && touch /b/f";
        case.cmd(&["run", "--rm", "--volumes-from", &source, IMAGE, "sh", "-c", script])
            .exits(1)
            .complains("/b/f: Read-only file system");
        // What belongs to the other container stays with it.
        let args = ["run", "--rm", "--volumes-from", &format!("{source}:ro"), IMAGE, "sh", "-c", "cat /v/f /anon/f; touch /v/g"];
        case.cmd(&args).exits(1).prints("x\nx").complains("/v/g: Read-only file system");
        let args = ["run", "--rm", "--volumes-from", "no-such-container", IMAGE, "true"];
        case.cmd(&args).exits(125).complains("No such container: no-such-container");
        let args = ["run", "--rm", "--volumes-from", &format!("{source}:bad"), IMAGE, "true"];
        case.cmd(&args).exits(125).complains("invalid mode: bad");
        case.cmd(&["rm", "-v", &source]).ok();
    }

    fn parts_of_volumes(case) {
        let name = case.name("v");
        let script = "mkdir -p /v/a/b; echo in > /v/a/b/f; ln -s /etc /v/out; ln -s a/b /v/in";
        case.cmd(&["run", "--rm", "-v", &format!("{name}:/v"), IMAGE, "sh", "-c", script]).ok();
        let run = |subpath: &str, command: &[&str]| {
            let mount = format!("type=volume,src={name},dst=/d,volume-subpath={subpath}");
            case.cmd(&[&["run", "--rm", "--mount", &mount, IMAGE], command].concat())
        };
        run("a/b", &["ls", "/d"]).ok().prints("f");
        run("a/b/f", &["cat", "/d"]).ok().prints("in");
        run("nope", &["true"]).exits(127).complains("cannot access path").complains("nope: no such file or directory");
        run("../x", &["true"]).exits(125).complains("subpath must be a relative path within the volume");
        run("/a", &["true"]).exits(125).complains("subpath must be a relative path within the volume");
        // A link never leads out of the volume.
        let output = run("out", &["ls", "/d"]);
        assert!(output.code != 0 || !output.stdout.contains("hostname"), "{output:?}");
    }

    fn images_as_read_only_volumes(case) {
        let image = Image::with(case, "data", |tar| tar.file("payload", 0o644, b"of the image"));
        let run = |more: &str, script: &str| {
            let mount = format!("type=image,src={},dst=/m{more}", image.tag());
            case.cmd(&["run", "--rm", "--mount", &mount, IMAGE, "sh", "-c", script])
        };
        run("", "cat /m/payload; ls -a /m | grep -c dockerenv").prints("of the image0");
        run("", "touch /m/x").exits(1).complains("Read-only file system");
        run(",image-subpath=etc", "ls /m").ok().prints("group\npasswd");
        assert!(run(",image-subpath=nope", "true").code >= 125);
        let args = ["run", "--rm", "--mount", "type=image,dst=/m", IMAGE, "true"];
        case.cmd(&args).exits(125).complains("field Source must not be empty");
    }

    fn tmpfs_mounts(case) {
        let run = |args: &[&str], script: &str| {
            case.cmd(&[&["run", "--rm"], args, &[IMAGE, "sh", "-c", script]].concat())
        };
        run(&["--mount", "type=tmpfs,dst=/t,tmpfs-size=64k,tmpfs-mode=710"], "stat -c %a /t; dd if=/dev/zero of=/t/f bs=99999 count=1")
            .exits(1)
            .prints("710")
            .complains("No space left on device");
        run(&["--tmpfs", "/t:size=64k,mode=700,uid=5,exec"], "stat -c %a:%u /t; cp /bin/busybox /t/f")
            .exits(1)
            .prints("700:5")
            .complains("No space left on device");
        run(&["--tmpfs", "/t"], "grep ' /t ' /proc/mounts").ok().shows("noexec").shows("nosuid").shows("nodev");
        run(&["--tmpfs", "rel"], "true").exits(125).complains("invalid mount path: 'rel' mount path must be absolute");
        run(&["--tmpfs", "/t:foo=bar"], "true").exits(125).complains("invalid tmpfs option \"foo\"");
    }

    fn binds(case) {
        let dir = host_dir(case, "dir");
        fs::write(format!("{dir}/f"), "of the host").expect("ours");
        let run = |args: &[&str], script: &str| {
            case.cmd(&[&["run", "--rm"], args, &[IMAGE, "sh", "-c", script]].concat())
        };
        run(&["-v", &format!("{dir}:/d")], "cat /d/f; echo back > /d/g").ok().prints("of the host");
        assert_eq!(fs::read_to_string(format!("{dir}/g")).expect("written"), "back\n");
        run(&["-v", "./dir:/d"], "cat /d/f").ok().prints("of the host");
        run(&["-v", &format!("{dir}/f:/etc/passwd:ro")], "cat /etc/passwd; echo x > /etc/passwd")
            .exits(1)
            .prints("of the host")
            .complains("Read-only file system");
        // -v makes what is missing, --mount does not.
        run(&["-v", &format!("{dir}/new/deep:/d")], "ls /d").ok();
        assert!(Path::new(&dir).join("new/deep").is_dir());
        run(&["--mount", &format!("type=bind,src={dir}/gone,dst=/d")], "true")
            .exits(125)
            .complains(&format!("invalid mount config for type \"bind\": bind source path does not exist: {dir}/gone"));
        assert!(!Path::new(&dir).join("gone").exists());
    }

    fn read_only_binds_are_so_all_the_way_down(case) {
        // Another engine may live in a mount namespace that sees no new mounts.
        if case.is_reference() {
            return;
        }
        let dir = host_dir(case, "dir");
        let _sub = Submount::new(&Path::new(&dir).join("sub"));
        let run = |more: &str, script: &str| {
            let mount = format!("type=bind,src={dir},dst=/d{more}");
            case.cmd(&["run", "--rm", "--mount", &mount, IMAGE, "sh", "-c", script])
        };
        run("", "touch /d/f /d/sub/f && ls /d/sub").ok().prints("f");
        run(",readonly", "touch /d/sub/g").exits(1).complains("Read-only file system");
        run(",readonly,bind-recursive=writable", "touch /d/sub/g; touch /d/g").exits(1).complains("/d/g: Read-only");
        assert!(Path::new(&dir).join("sub/g").exists());
        run(",bind-recursive=disabled", "ls /d/sub").ok().prints("");
        run(",readonly,bind-recursive=readonly,bind-propagation=rprivate", "touch /d/sub/h").exits(1).complains("Read-only");
        run(",bind-recursive=readonly", "true").exits(125).complains("requires 'readonly' to be specified in conjunction");
    }

    fn binds_of_what_holds_the_data_root_follow_the_host(case) {
        let container = case.name("c");
        let shown = "{{range .Mounts}}{{.Propagation}}{{end}}";
        case.cmd(&["create", "--name", &container, "-v", "/:/host:ro", IMAGE, "ls", "/host/proc/self"]).ok();
        case.cmd(&["inspect", "-f", shown, &container]).ok().prints("rslave");
        // Also where the host does not share it.
        case.cmd(&["start", "-a", &container]).ok();
        case.cmd(&["run", "--rm", "-v", "/:/host:private", IMAGE, "true"])
            .exits(125)
            .complains("must use either propagation mode \"rslave\" or \"rshared\" when mount source is within the daemon root");
    }

    fn a_bind_of_another_kind_than_its_place_is_told(case) {
        let dir = host_dir(case, "dir");
        for bind in ["/etc/passwd:/tmp".to_owned(), format!("{dir}:/etc/passwd")] {
            case.cmd(&["run", "--rm", "-v", &bind, IMAGE, "true"])
                .exits(125)
                .complains("Are you trying to mount a directory onto a file (or vice-versa)?");
        }
    }

    fn mounts_of_the_host_reach_a_slave(case) {
        if case.is_reference() {
            return;
        }
        let (dir, container) = (host_dir(case, "dir"), case.name("c"));
        let _top = Submount::new(Path::new(&dir));
        let done = Command::new("mount").args(["--make-shared"]).arg(&dir).status();
        assert!(done.expect("mount can be started").success());
        for (mode, seen) in [("rslave", "sub"), ("rprivate", "")] {
            let bind = format!("{dir}:/d:{mode}");
            case.cmd(&["run", "-d", "--name", &container, "-v", &bind, IMAGE, "sleep", "1000"]).ok();
            let sub = Submount::new(&Path::new(&dir).join("sub"));
            fs::write(sub.0.join("f"), "").expect("ours");
            let script = "grep -q ' /d/sub ' /proc/mounts && echo sub; true";
            case.cmd(&["exec", &container, "sh", "-c", script]).ok().prints(seen);
            drop(sub);
            case.cmd(&["rm", "-f", &container]).ok();
        }
    }

    fn owners_of_binds_can_be_mapped(case) {
        // Docker has neither.
        if case.is_reference() {
            return;
        }
        let dir = host_dir(case, "dir");
        let owned = |name: &str, uid, gid| {
            let path = format!("{dir}/{name}");
            fs::write(&path, name).expect("ours");
            std::os::unix::fs::chown(&path, Some(uid), Some(gid)).expect("root may");
        };
        owned("mine", 1234, 1235);
        owned("foreign", 77, 77);
        std::os::unix::fs::chown(&dir, Some(1234), Some(1235)).expect("root may");
        let owner = |name: &str| {
            let metadata = fs::metadata(format!("{dir}/{name}")).expect("it is there");
            (metadata.uid(), metadata.gid())
        };
        let run = |args: &[&str], script: &str| {
            case.cmd(&[&["run", "--rm"], args, &[IMAGE, "sh", "-c", script]].concat())
        };
        let matched = format!("{dir}:/d:matchuser");
        let script = "cd /d; stat -c '%n %u:%g' . mine foreign; echo x > new; chown 5:5 new";
        run(&["-v", &matched], script)
            .exits(1)
            .prints(". 0:0\nmine 0:0\nforeign 65534:65534")
            .complains("Value too large");
        assert_eq!(owner("new"), (1234, 1235), "what a container writes is the directory's owner's");
        assert_eq!(owner("foreign"), (77, 77));
        // Whoever the container's user is, by name or number.
        let script = "stat -c '%u:%g' /d/mine; mkdir /d/$0; id -u";
        for (user, seen) in [("5:6", "5:6"), ("nobody", "65534:65534")] {
            let name = format!("by-{}", user.len());
            let args = ["run", "--rm", "-u", user, "-v", &matched, IMAGE, "sh", "-c", script, &name];
            let id = seen.split(':').next().expect("two parts");
            case.cmd(&args).ok().prints(&format!("{seen}\n{id}"));
            assert_eq!(owner(&name), (1234, 1235), "{user}");
        }
        if case.client() == tests::Client::Corten {
            let long = format!("type=bind,src={dir},dst=/d,bind-match-user");
            run(&["--mount", &long], "echo x > /d/long").ok();
            assert_eq!(owner("long"), (1234, 1235));
            let long = format!("type=bind,src={dir},dst=/d,bind-idmap=uids=77-0-1;gids=77-9-1");
            run(&["--mount", &long], "stat -c %u:%g /d/foreign").ok().prints("0:9");
        }
        let several = format!("{dir}:/d:ro,idmap=uids=1234-0-1#77-8-1;gids=1235-3-1#77-4-1");
        run(&["-v", &several], "cd /d; stat -c '%n %u:%g' mine foreign; touch x")
            .exits(1)
            .prints("mine 0:3\nforeign 8:4")
            .complains("Read-only file system");
        // Copies see what the container sees.
        let container = case.name("c");
        case.cmd(&["create", "--name", &container, "-v", &matched, IMAGE]).ok();
        fs::write(case.dir().join("copied"), "x").expect("ours");
        case.cmd(&["cp", "copied", &format!("{container}:/d/copied")]).ok();
        assert_eq!(owner("copied"), (1234, 1235));
        // The process table has no owners that could be others.
        run(&["-v", "/proc:/d:idmap=0-1-1"], "true")
            .exits(125)
            .complains("does not support id-mapped mounts");
        for (mode, text) in [
            ("idmap", "invalid mode: idmap"),
            ("idmap=1-2", "invalid idmap range '1-2'"),
            ("matchuser,idmap=0-0-1", "invalid mode: matchuser,idmap=0-0-1"),
        ] {
            run(&["-v", &format!("{dir}:/d:{mode}")], "true").exits(125).complains(text);
        }
        run(&["-v", "some-volume:/d:matchuser"], "true").exits(125).complains("for binds only");
    }

    fn propagation_needs_a_source_that_has_it(case) {
        // Another engine may live in a mount namespace that sees no new mounts.
        if case.is_reference() {
            return;
        }
        let dir = host_dir(case, "dir");
        let _top = Submount::new(Path::new(&dir));
        fs::create_dir(format!("{dir}/below")).expect("ours");
        let make = |how: &str| {
            let done = Command::new("mount").arg(how).arg(&dir).status();
            assert!(done.expect("mount can be started").success());
        };
        let run = |mode: &str| {
            let bind = format!("{dir}/below:/d:{mode}");
            case.cmd(&["run", "--rm", "-v", &bind, IMAGE, "true"])
        };
        make("--make-private");
        for mode in ["shared", "rshared"] {
            let text = format!("path {dir}/below is mounted on {dir} but it is not a shared mount");
            run(mode).exits(125).complains(&text);
        }
        for mode in ["slave", "rslave"] {
            let text = format!("path {dir}/below is mounted on {dir} but it is not a shared or slave mount");
            run(mode).exits(125).complains(&text);
        }
        for mode in ["private", "rprivate"] {
            run(mode).ok();
        }
        make("--make-shared");
        for mode in ["shared", "rshared", "slave", "rslave"] {
            run(mode).ok();
        }
        // What the container mounts in a shared place is there for the host.
        let container = case.name("c");
        let bind = format!("{dir}/below:/d:rshared");
        let script = "mount -t tmpfs ours /d && touch /d/f && sleep 1000";
        case.cmd(&["run", "-d", "--privileged", "--name", &container, "-v", &bind, IMAGE, "sh", "-c", script]).ok();
        let file = Path::new(&dir).join("below/f");
        tests::wait_for("the mount is seen", std::time::Duration::from_secs(20), || file.exists());
        case.cmd(&["rm", "-f", &container]).ok();
        let done = Command::new("umount").arg(format!("{dir}/below")).status();
        assert!(done.expect("umount can be started").success());
    }

    fn nothing_else_pretends_to_be_proc(case) {
        let dir = host_dir(case, "dir");
        fs::write(format!("{dir}/f"), "of the host").expect("ours");
        let run = |bind: &str, script: &str| {
            case.cmd(&["run", "--rm", "-v", bind, IMAGE, "sh", "-c", script])
        };
        let whole = run(&format!("{dir}:/proc"), "true");
        whole.exits(125).complains("cannot be mounted because it is not of type proc");
        let inside = run(&format!("{dir}/f:/proc/version"), "true");
        inside.exits(125).complains("cannot be mounted because it is inside /proc");
        run(&format!("{dir}/f:/proc/uptime"), "cat /proc/uptime").ok().prints("of the host");
        run("/proc:/proc", "test -e /proc/self/status").ok();
    }

    fn labels_mean_nothing_without_selinux(case) {
        if Path::new("/sys/fs/selinux/enforce").exists() {
            return;
        }
        let dir = host_dir(case, "dir");
        for mode in ["z", "Z", "ro,Z"] {
            let container = case.name(&format!("c{}", mode.len()));
            let bind = format!("{dir}:/d:{mode}");
            case.cmd(&["run", "--name", &container, "-v", &bind, IMAGE, "ls", "/d"]).ok();
            assert_eq!(case.inspect(&container)["Mounts"][0]["Mode"], mode);
            case.cmd(&["rm", &container]).ok();
        }
    }

    fn the_writable_layer_can_be_bounded(case) {
        if case.is_reference() {
            return;
        }
        let script = "dd if=/dev/zero of=/f bs=1M count=60";
        case.cmd(&["run", "--rm", "--storage-opt", "size=32M", IMAGE, "sh", "-c", script])
            .exits(1)
            .complains("No space left on device");
        let name = case.name("c");
        let args = ["run", "-d", "--name", &name, "--storage-opt", "size=32M", IMAGE, "sh", "-c", "echo kept > /f; sleep 1000"];
        case.cmd(&args).ok();
        case.cmd(&["restart", "-t", "0", &name]).ok();
        case.cmd(&["exec", &name, "cat", "/f"]).ok().prints("kept");
        case.cmd(&["rm", "-f", &name]).ok();
        case.cmd(&["run", "--rm", "--storage-opt", "foo=1", IMAGE, "true"]).exits(125).complains("nknown option foo");
    }

    fn bad_mounts_are_refused(case) {
        let volume = case.name("v");
        let plain = format!("{volume}:/y");
        for (args, text) in [
            (&["-v", "rel/x:/y"][..], "create rel/x: \"rel/x\" includes invalid characters for a local volume name"),
            (&["-v", "/x:rel"], "invalid volume specification: '/x:rel': invalid mount config for type \"bind\": invalid mount path: 'rel' mount path must be absolute"),
            (&["-v", "/x:/"], "invalid volume specification: '/x:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'"),
            (&["-v", "/a:/y", "-v", "/b:/y"], "Duplicate mount point: /y"),
            (&["-v", "/a:/y:foo"], "invalid mode: foo"),
            (&["-v", "a:/y:ro,rw"], "invalid mode: ro,rw"),
            (&["-v", "/a::ro"], "invalid spec: /a::ro: empty section between colons"),
            (&["--mount", "type=bind,src=rel,dst=/y"], "invalid mount path: 'rel' mount path must be absolute"),
            (&["--mount", "type=volume,src=/abs,dst=/y"], "create /abs: \"/abs\" includes invalid characters"),
            (&["--mount", "type=cluster,src=a,dst=/y"], "invalid mount config for type \"cluster\": mount type unknown"),
            (&["--mount", "type=nope,src=a,dst=/y"], "invalid mount config for type \"nope\": mount type unknown"),
            (&["--mount", "type=tmpfs,src=a,dst=/y"], "invalid mount config for type \"tmpfs\": field Source must not be specified"),
            (&["--mount", "type=bind,src=/tmp,dst=/y,bind-propagation=foo"], "invalid propagation mode: foo"),
            (&["--mount", "type=volume,dst=/y,foo=bar"], "unexpected key 'foo' in 'foo=bar'"),
            (&["--mount", "type=bind,src=/tmp,dst=/y,volume-nocopy"], "cannot mix 'volume-*' options with mount type 'bind'"),
            (&["--mount", "type=bind,src=/tmp"], "target is required"),
            (&["-v", &plain, "--mount", "type=tmpfs,dst=/y"], "Duplicate mount point: /y"),
        ] {
            let args = [&["create"], args, &[IMAGE]].concat();
            let output = case.cmd(&args);
            assert!(output.code != 0, "{output:?}");
            output.complains(text);
        }
        // Docker leaves a volume behind.
        let answer = case.api("GET", &format!("/volumes/{volume}"), None);
        assert!(case.is_reference() || answer.status == 404, "left of a refused creation");
    }
}

api! {
    fn a_tmpfs_takes_its_options_from_the_long_form(case) {
        let create = |kind: &str, option: serde_json::Value| {
            let mount = json!({ "Type": kind, "Target": "/x", "TmpfsOptions": { "Options": [option] } });
            let label = case.label();
            let (key, value) = label.split_once('=').expect("key=value");
            let body = json!({
                "Image": IMAGE, "Cmd": ["sh", "-c", "cp /bin/busybox /x/ls && /x/ls /x"],
                "Labels": { key: value }, "HostConfig": { "Mounts": [mount] },
            });
            case.api("POST", "/containers/create", Some(&body))
        };
        for (option, code) in [("exec", 0), ("noexec", 126)] {
            let made = create("tmpfs", json!([option]));
            assert_eq!(made.status, 201, "{}", made.text());
            let id = made.json()["Id"].as_str().expect("an id").to_owned();
            let shown = &case.inspect(&id)["HostConfig"]["Mounts"][0]["TmpfsOptions"];
            assert_eq!(shown["Options"], json!([[option]]));
            case.api("POST", &format!("/containers/{id}/start"), None);
            let ended = case.api("POST", &format!("/containers/{id}/wait"), None).json();
            assert_eq!(ended["StatusCode"], code, "{option}");
        }
        for (kind, option, why) in [
            ("tmpfs", json!(["uid", "5"]), "invalid mount config for type \"tmpfs\": invalid option: uid"),
            ("tmpfs", json!([]), "invalid mount config for type \"tmpfs\": invalid option array length"),
            ("volume", json!(["exec"]), "TmpfsOptions must not be specified on mount type \"volume\""),
        ] {
            let refused = create(kind, option);
            assert_eq!((refused.status, refused.message()), (400, why.to_owned()));
        }
    }

    // RUN-05: a place for a mount inside a volume that turns into a link while containers start.
    fn places_that_become_links_stay_inside(case) {
        // The runtime of older engines makes the directory outside.
        if case.is_reference() {
            return;
        }
        let canary = case.dir().join("canary");
        fs::create_dir(&canary).expect("ours");
        fs::write(canary.join("file"), "as it was").expect("ours");
        let (name, shared, data) = (case.name("swap"), case.name("shared"), case.name("data"));
        let target = format!("/{}{}", "../".repeat(20), canary.display());
        let script = format!(
            "while :; do rm -rf /v/a; ln -s {target} /v/a; rm -f /v/a; mkdir /v/a; ln -s /proc/1/root{} /v/a/b; done",
            canary.display()
        );
        let volume = format!("{shared}:/v");
        case.cmd(&["run", "-d", "--name", &name, "-v", &volume, IMAGE, "sh", "-c", &script]).ok();
        let binds = [volume, format!("{data}:/v/a/b"), format!("{data}:/v/a/new")];
        let mut started = 0;
        for _ in 0..ROUNDS {
            let id = case.create(json!({"Image": IMAGE, "Cmd": ["touch", "/v/a/b/x"], "HostConfig": {"Binds": binds, "NetworkMode": "none"}}));
            let answer = case.api("POST", &format!("/containers/{id}/start"), None);
            started += usize::from(answer.status == 204);
            let removed = case.api("DELETE", &format!("/containers/{id}?force=1"), None);
            assert_eq!(removed.status, 204, "{}", removed.text());
            let names: Vec<_> = fs::read_dir(&canary).expect("it exists").flatten().collect();
            assert_eq!(names.len(), 1, "the canary was changed: {names:?}");
        }
        assert_eq!(fs::read_to_string(canary.join("file")).expect("it exists"), "as it was");
        assert!(started > 0, "not one of {ROUNDS} containers started");
    }
}
