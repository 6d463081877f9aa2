//! The image that the tests run: the static busybox of the distribution with a few traps.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::json;
use spec::Digest;

use crate::Case;
use crate::http::Connection;
use crate::tarball::Tarball;

/// The reference under which every target has the image.
pub const IMAGE: &str = "e2e/busybox:latest";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
    user:x:1000:1000:user:/home/user:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n";
const GROUP: &str = "root:x:0:\nwheel:x:10:user\nuser:x:1000:\naudio:x:29:user\nnogroup:x:65534:\n";

/// The root file system as a tar archive.
pub fn rootfs() -> Result<Vec<u8>> {
    Ok(base("")?.finish())
}

/// The root file system as an archive that can be added to, with further lines of /etc/passwd.
pub fn base(users: &str) -> Result<Tarball> {
    let busybox = find_busybox()?;
    let program = std::fs::read(&busybox).context("reading busybox")?;
    let listing = Command::new(&busybox).arg("--list").output().context("busybox --list")?;
    let mut tar = Tarball::default();
    for dir in ["bin/", "etc/", "home/", "home/user/", "root/", "usr/", "usr/bin/", "var/"] {
        tar = tar.dir(dir, 0o755);
    }
    tar = tar.dir("tmp/", 0o1777).file("bin/busybox", 0o755, &program);
    for applet in String::from_utf8(listing.stdout)?.lines().filter(|name| *name != "busybox") {
        tar = tar.symlink(&format!("bin/{applet}"), "busybox");
    }
    Ok(tar
        .file("etc/passwd", 0o644, (PASSWD.to_owned() + users).as_bytes())
        .file("etc/group", 0o644, GROUP.as_bytes())
        .file("bin/not-executable", 0o644, b"#!/bin/sh\necho ran\n")
        .file("bin/no-interpreter", 0o755, b"#!/no/such/interpreter\n")
        .file("bin/crlf", 0o755, b"#!/bin/sh\r\necho ran\r\n")
        .file("bin/wrong-architecture", 0o755, &foreign_elf(&program))
        .file("bin/garbage", 0o755, b"\x01\x02\x03\x04 no program at all"))
}

/// A program for another processor: the header of a real one with the machine changed.
fn foreign_elf(program: &[u8]) -> Vec<u8> {
    const AARCH64: u16 = 183;
    const X86_64: u16 = 62;
    let mut elf = program[..program.len().min(4096)].to_vec();
    let machine = if cfg!(target_arch = "x86_64") {
        AARCH64
    } else {
        X86_64
    };
    elf[18..20].copy_from_slice(&machine.to_le_bytes());
    elf
}

fn find_busybox() -> Result<PathBuf> {
    for path in ["/bin/busybox", "/usr/bin/busybox"] {
        if Path::new(path).exists() {
            return Ok(path.into());
        }
    }
    bail!("no busybox here: `apt-get install busybox-static`, or `cargo xtask test`")
}

/// A `docker save` archive of one image with these layers, lowest first.
pub fn saved(reference: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let diffs: Vec<String> =
        layers.iter().map(|layer| format!("sha256:{}", Digest::of(layer).hex())).collect();
    let names: Vec<String> = (0..layers.len()).map(|number| format!("{number}.tar")).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": diffs},
    });
    let manifest = json!([{"Config": "config.json", "RepoTags": [reference], "Layers": names}]);
    let mut tar = Tarball::default();
    for (name, layer) in names.iter().zip(layers) {
        tar = tar.file(name, 0o644, layer);
    }
    tar.file("config.json", 0o644, config.to_string().as_bytes())
        .file("manifest.json", 0o644, manifest.to_string().as_bytes())
        .finish()
}

/// An image of a test's own, removed with it; its containers are to be removed before.
#[derive(Debug)]
pub struct Image<'a> {
    case: &'a Case,
    tag: String,
}

impl<'a> Image<'a> {
    /// The usual image with something added.
    #[track_caller]
    pub fn with(case: &'a Case, name: &str, add: impl FnOnce(Tarball) -> Tarball) -> Self {
        Self::of(case, name, add(base("").expect("there is a busybox")))
    }

    /// An image of this root file system.
    #[track_caller]
    pub fn of(case: &'a Case, name: &str, rootfs: Tarball) -> Self {
        let repository = format!("e2e-{}/{name}", case.name("t").to_lowercase());
        let path = format!("/images/create?fromSrc=-&repo={repository}&tag=latest");
        let archive = rootfs.finish();
        let answer = Connection::open(case.target().socket())
            .and_then(|mut connection| connection.upload("POST", &path, archive.as_slice()))
            .expect("the engine answers");
        let text = answer.text();
        assert!(answer.status == 200 && !text.contains("\"error\""), "{} {text}", answer.status);
        Self {
            case,
            tag: format!("{repository}:latest"),
        }
    }

    /// The reference to run it by.
    pub fn tag(&self) -> &str {
        &self.tag
    }
}

impl Drop for Image<'_> {
    fn drop(&mut self) {
        self.case.api("DELETE", &format!("/images/{}?force=1", self.tag), None);
    }
}

/// Imports the image, unless the engine has it.
pub fn ensure(socket: &Path) -> Result<()> {
    let mut connection = Connection::open(socket).context("connecting")?;
    if connection.request("GET", &format!("/images/{IMAGE}/json"), None)?.status == 200 {
        return Ok(());
    }
    let path = "/images/create?fromSrc=-&repo=e2e/busybox&tag=latest&changes=CMD%20%5B%22sh%22%5D";
    let answer = connection.upload("POST", path, rootfs()?.as_slice())?;
    if answer.status != 200 || answer.text().contains("\"error\"") {
        bail!("import of the test image: {} {}", answer.status, answer.text());
    }
    Ok(())
}
