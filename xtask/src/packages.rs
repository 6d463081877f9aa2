//! The Debian packages that tests need: which, and their installation.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run;

/// A package, and a file by which its presence is known without asking the package manager.
pub(crate) struct Package {
    name: &'static str,
    witnesses: &'static [&'static str],
    why: &'static str,
}

/// What the tests need.
pub(crate) const TESTS: &[Package] = &[
    Package {
        name: "busybox-static",
        witnesses: &["/bin/busybox", "/usr/bin/busybox"],
        why: "the test image",
    },
    Package {
        name: "e2fsprogs",
        witnesses: &["/usr/sbin/mkfs.ext4", "/sbin/mkfs.ext4"],
        why: "disks whose power is cut and which are full",
    },
    Package {
        name: "gcc",
        witnesses: &["/usr/bin/gcc"],
        why: "checking against libseccomp",
    },
    Package {
        name: "iproute2",
        witnesses: &["/usr/bin/ip", "/usr/sbin/ip", "/sbin/ip"],
        why: "removing links",
    },
    Package {
        name: "libseccomp-dev",
        witnesses: &["/usr/include/seccomp.h"],
        why: "the oracle of the seccomp compiler",
    },
    Package {
        name: "nftables",
        witnesses: &["/usr/sbin/nft"],
        why: "auditing the firewall",
    },
    Package {
        name: "openssl",
        witnesses: &["/usr/bin/openssl"],
        why: "certificates of a private authority",
    },
    Package {
        name: "skopeo",
        witnesses: &["/usr/bin/skopeo"],
        why: "the other side of archives and registries",
    },
    Package {
        name: "strace",
        witnesses: &["/usr/bin/strace"],
        why: "killing the daemon at chosen calls",
    },
    Package {
        name: "util-linux",
        witnesses: &["/usr/bin/setsid"],
        why: "a controlling terminal",
    },
];

/// What the benchmarks need.
pub(crate) const BENCH: &[Package] = &[Package {
    name: "busybox-static",
    witnesses: &["/bin/busybox", "/usr/bin/busybox"],
    why: "the image that is measured",
}];

/// What the virtual machine needs.
pub(crate) const VM: &[Package] = &[
    Package {
        name: "busybox-static",
        witnesses: &["/bin/busybox", "/usr/bin/busybox"],
        why: "all programs of the guest",
    },
    Package {
        name: "e2fsprogs",
        witnesses: &["/usr/sbin/mkfs.ext4"],
        why: "a disk of the guest with project quotas",
    },
    Package {
        name: "kmod",
        witnesses: &["/sbin/depmod", "/usr/sbin/depmod"],
        why: "the order of the guest's modules",
    },
    Package {
        name: "qemu-system-x86",
        witnesses: &["/usr/bin/qemu-system-x86_64"],
        why: "the virtual machine",
    },
    Package {
        name: "xfsprogs",
        witnesses: &["/usr/sbin/mkfs.xfs"],
        why: "another disk of the guest with project quotas",
    },
];

/// Installs those that are missing, and says which and why.
pub(crate) fn install(packages: &[Package]) -> Result<()> {
    let missing: Vec<&Package> = packages
        .iter()
        .filter(|p| !p.witnesses.iter().any(|path| Path::new(path).exists()))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    for package in &missing {
        run::say(&format!(
            "needs the Debian package {}: {}\n",
            package.name, package.why
        ));
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    apt_install(&names)
}

/// The `docker` client to test with: that of the machine, or one unpacked beside our binaries.
pub(crate) fn docker_client() -> Result<PathBuf> {
    let name = if candidate("docker-cli") {
        "docker-cli"
    } else {
        "docker.io"
    };
    program("docker", name)
}

/// The registry to test with: that of the machine, or one unpacked beside our binaries.
pub(crate) fn registry() -> Result<PathBuf> {
    program("docker-registry", "docker-registry")
}

/// Servers and what they need to run, for an image with real ones in it.
const SERVERS: &[&str] = &[
    "iperf3",
    "libatomic1",
    "libc6",
    "libcap2",
    "libcrypt1",
    "libgcc-s1",
    "libgcrypt20",
    "libgpg-error0",
    "libiperf0",
    "libjemalloc2",
    "liblz4-1",
    "liblzf1",
    "liblzma5",
    "libpcre2-8-0",
    "libsctp1",
    "libssl3",
    "libstdc++6",
    "libsystemd0",
    "libzstd1",
    "nginx",
    "redis-server",
    "redis-tools",
    "zlib1g",
];

/// A root file system with nginx, redis and iperf3, unpacked beside our binaries.
pub(crate) fn servers() -> Result<PathBuf> {
    let dir = run::bin_dir(false)?.join("servers-package");
    let (root, done) = (dir.join("root"), dir.join("done"));
    if done.exists() {
        return Ok(root);
    }
    std::fs::create_dir_all(&root)?;
    run::say("needs nginx, redis and iperf3: unpacked from Debian's packages, not installed\n");
    let download = || {
        let mut command = Command::new("apt-get");
        command
            .args(["--quiet", "--quiet", "download"])
            .args(SERVERS);
        run::must(command.current_dir(&dir))
    };
    // The lists may be old or absent: then once more after getting them.
    if download().is_err() {
        apt_update()?;
        download()?;
    }
    for entry in std::fs::read_dir(&dir)?.flatten() {
        if entry.path().extension().is_some_and(|ext| ext == "deb") {
            let archive = entry.path();
            run::must(
                Command::new("dpkg-deb")
                    .arg("--extract")
                    .arg(archive)
                    .arg(&root),
            )?;
        }
    }
    std::fs::write(done, "")?;
    Ok(root)
}

/// A program of the machine, or out of a package that is unpacked beside our binaries.
///
/// Installing such packages would start their servers: so the program is only taken out.
fn program(name: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Some(found) = std::env::split_paths(&path)
        .map(|dir| dir.join(name))
        .find(|p| p.is_file())
    {
        return Ok(found);
    }
    let dir = run::bin_dir(false)?.join(format!("{name}-package"));
    let unpacked = dir.join("usr/bin").join(name);
    if unpacked.exists() {
        return Ok(unpacked);
    }
    std::fs::create_dir_all(&dir)?;
    run::say(&format!(
        "needs {name}: unpacked from the Debian package {package}, not installed\n"
    ));
    apt_update()?;
    run::must(
        Command::new("apt-get")
            .args(["download", package])
            .current_dir(&dir),
    )?;
    let archive = std::fs::read_dir(&dir)?.flatten().map(|entry| entry.path());
    let archive = archive
        .into_iter()
        .find(|path| path.extension().is_some_and(|ext| ext == "deb"));
    let archive = archive.context("apt-get download left no package")?;
    run::must(
        Command::new("dpkg-deb")
            .arg("--extract")
            .arg(archive)
            .arg(&dir),
    )?;
    Ok(unpacked)
}

/// Whether the package manager knows where to get a package.
fn candidate(name: &str) -> bool {
    let policy = run::read(Command::new("apt-cache").args(["policy", name])).unwrap_or_default();
    policy.contains("Candidate:") && !policy.contains("Candidate: (none)")
}

fn apt_install(names: &[&str]) -> Result<()> {
    let install = |names: &[&str]| {
        let flags = ["install", "--yes", "--no-install-recommends"];
        let mut command = Command::new("apt-get");
        command
            .args(flags)
            .args(names)
            .env("DEBIAN_FRONTEND", "noninteractive");
        command.stdin(std::process::Stdio::null());
        run::must(&mut command)
    };
    // The lists may be old or absent: then once more after getting them.
    if install(names).is_ok() {
        return Ok(());
    }
    apt_update()?;
    if install(names).is_err() {
        bail!(
            "not installed: {}. On another system, install their equivalents",
            names.join(" ")
        );
    }
    Ok(())
}

fn apt_update() -> Result<()> {
    run::must(Command::new("apt-get").args(["--quiet", "--quiet", "update"]))
}
