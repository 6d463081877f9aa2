//! `cargo xtask vm-test`: Corten in a virtual machine with the distribution's kernel and cgroup v2.
//!
//! ```text
//! Debian's cloud kernel ──unpacked──► vmlinuz, modules ─┐
//! our static binaries, busybox ─────────────────────────┼─► initrd ─► QEMU ─► serial line ─► verdict
//! tests/vm/{*.sh, modules} ─────────────────────────────┘
//! ```
//!
//! Nothing of the machine that it runs on is seen in there, and nothing has to be right about it: no
//! root, no KVM, no network but for the packages.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cpio::Archive;
use crate::{packages, run};

/// The programs that the guest runs.
const PROGRAMS: &[&str] = &[
    "corten",
    "cortend",
    "corten-shim",
    "corten-runtime",
    "corten-init",
];

/// What the guest runs, and what that reads.
const SCRIPTS: &[&str] = &["guest.sh", "lan.sh", "nfs.sh"];

/// The package that names the newest kernel for virtual machines.
const KERNEL: &str = "linux-image-cloud-amd64";

/// The most that a run may take, on an emulated processor.
const LIMIT: Duration = Duration::from_secs(1500);

/// Bytes of each disk; mkfs.xfs refuses less than 300 MB. They are sparse files.
const DISK: u64 = 384 << 20;

/// How the guest's last line begins.
const VERDICT: &str = "vm-test: ";

/// Builds, boots, runs the guest's script, and fails when one of its checks failed.
pub(crate) fn test(args: &[&str]) -> Result<()> {
    let (mut release, mut given, mut only) = (true, None, "");
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match *arg {
            "--debug" => release = false,
            "--bin-dir" => given = Some(rest.next().context("--bin-dir needs a directory")?),
            section => only = section,
        }
    }
    packages::install(packages::VM)?;
    let ours = run::bin_dir(release)?;
    let binaries = match given {
        Some(dir) => PathBuf::from(dir),
        None => {
            run::build(run::PRODUCT, release)?;
            ours.clone()
        }
    };
    let dir = ours.parent().unwrap_or(&ours).join("vm");
    let kernel = Kernel::get(&dir)?;
    let initrd = dir.join("initrd");
    fs::write(&initrd, initial_files(&kernel, &binaries)?)?;
    let disks = disks(&dir)?;
    let started = Instant::now();
    let verdict = boot(&kernel, &initrd, &disks, only)?;
    let took = started.elapsed().as_secs();
    run::say(&format!(
        "{verdict} (kernel {}, {took} s)\n",
        kernel.version
    ));
    if !verdict.ends_with(" 0 failed") {
        bail!("the guest found failures");
    }
    Ok(())
}

/// An unpacked kernel package.
struct Kernel {
    image: PathBuf,
    version: String,
    modules: PathBuf,
}

impl Kernel {
    /// Gets the kernel below a directory, unless it is there.
    fn get(dir: &Path) -> Result<Self> {
        let root = dir.join("kernel");
        if !root.join("boot").exists() {
            fs::create_dir_all(dir)?;
            let facts = run::read(Command::new("apt-cache").args(["depends", KERNEL]))?;
            let package = facts
                .lines()
                .find_map(|line| line.trim().strip_prefix("Depends: linux-image-"));
            let package = package.with_context(|| format!("{KERNEL} depends on no kernel"))?;
            let package = format!("linux-image-{package}");
            run::say(&format!(
                "needs a kernel: unpacked from the Debian package {package}, not installed\n"
            ));
            // As root the package manager would want to give up its rights for a directory of ours.
            let download = ["-o", "APT::Sandbox::User=root", "download", &package];
            run::must(Command::new("apt-get").args(download).current_dir(dir))?;
            let archive = entries(dir)?
                .into_iter()
                .find(|path| path.extension().is_some_and(|ext| ext == "deb"));
            let archive = archive.context("apt-get download left no package")?;
            run::must(
                Command::new("dpkg-deb")
                    .arg("--extract")
                    .args([&archive, &root]),
            )?;
            fs::remove_file(archive)?;
        }
        let image = entries(&root.join("boot"))?
            .into_iter()
            .find(|path| name_of(path).starts_with("vmlinuz-"));
        let image = image.context("the kernel package has no kernel")?;
        let version = name_of(&image).trim_start_matches("vmlinuz-").to_owned();
        let libs = [root.join("lib/modules"), root.join("usr/lib/modules")];
        let modules = libs.iter().map(|dir| dir.join(&version));
        let modules = modules.into_iter().find(|dir| dir.exists());
        let modules = modules.context("the kernel package has no modules")?;
        if !modules.join("modules.dep").exists() {
            let base = if modules.starts_with(root.join("usr")) {
                root.join("usr")
            } else {
                root
            };
            run::must(
                Command::new("/sbin/depmod")
                    .arg("--basedir")
                    .arg(base)
                    .arg(&version),
            )?;
        }
        Ok(Self {
            image,
            version,
            modules,
        })
    }

    /// The files of the wanted modules and of all that they need, in the order of loading.
    fn modules(&self, wanted: &str) -> Result<Vec<PathBuf>> {
        let needs = fs::read_to_string(self.modules.join("modules.dep"))?;
        let builtin = fs::read_to_string(self.modules.join("modules.builtin")).unwrap_or_default();
        let order = load_order(wanted, &needs, &builtin)?;
        Ok(order
            .into_iter()
            .map(|path| self.modules.join(path))
            .collect())
    }
}

/// The modules to load, from the list of names and the table of needs (`a.ko: b.ko c.ko`, what is
/// needed first stands last).
fn load_order(wanted: &str, needs: &str, builtin: &str) -> Result<Vec<String>> {
    let table: BTreeMap<String, (&str, &str)> = needs
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(path, needs)| (module_name(path), (path, needs)))
        .collect();
    let mut order: Vec<String> = Vec::new();
    let names = wanted.lines().map(str::trim);
    for name in names.filter(|name| !name.is_empty() && !name.starts_with('#')) {
        let Some((path, needs)) = table.get(name) else {
            if builtin.lines().any(|path| module_name(path) == name) {
                continue;
            }
            bail!("this kernel has no module `{name}`");
        };
        for path in needs.split_whitespace().rev().chain([*path]) {
            if !order.iter().any(|known| known == path) {
                order.push(path.to_owned());
            }
        }
    }
    Ok(order)
}

/// `kernel/net/bridge/br_netfilter.ko.xz` is `br_netfilter`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.split('.').next().unwrap_or(file);
    name.replace('-', "_")
}

/// Packs the initial file system.
fn initial_files(kernel: &Kernel, binaries: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    let source = |name: &str| {
        let path = run::root().join("tests/vm").join(name);
        fs::read(&path).with_context(|| path.display().to_string())
    };
    archive.file("init", 0o755, &source("init.sh")?);
    for name in SCRIPTS {
        archive.file(&format!("vm/{name}"), 0o755, &source(name)?);
    }
    archive.device("dev/console", 5, 1);
    archive.device("dev/null", 1, 3);
    let busybox = ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .find_map(|path| fs::read(path).ok());
    let busybox = busybox.context("there is no busybox")?;
    archive.file("bin/busybox", 0o755, &busybox);
    archive.link("bin/sh", "busybox");
    for name in PROGRAMS {
        let path = binaries.join(name);
        let content = fs::read(&path).with_context(|| path.display().to_string())?;
        archive.file(&format!("vm/bin/{name}"), 0o755, &content);
    }
    let wanted = String::from_utf8(source("modules")?)?;
    for (index, path) in kernel.modules(&wanted)?.iter().enumerate() {
        let name = module_name(&path.display().to_string());
        let file = format!("vm/modules/{index:02}-{name}.ko");
        archive.file(&file, 0o644, &module(path)?);
    }
    Ok(archive.finish())
}

/// Reads a module, unpacked.
fn module(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_some_and(|ext| ext == "ko") {
        return Ok(fs::read(path)?);
    }
    let output = Command::new("xz").arg("-dc").arg(path).output();
    let output = output.with_context(|| format!("unpacking {}", path.display()))?;
    if !output.status.success() {
        bail!("xz -dc {}: {}", path.display(), output.status);
    }
    Ok(output.stdout)
}

/// Empty disks whose file systems can keep quotas by project: ext4, then xfs.
fn disks(dir: &Path) -> Result<Vec<PathBuf>> {
    let tools: [(&str, &[&str]); 2] = [
        ("mkfs.ext4", &["-q", "-F", "-O", "quota,project"]),
        ("mkfs.xfs", &["-q", "-f"]),
    ];
    tools
        .iter()
        .map(|(tool, options)| {
            let path = dir.join(tool.replace("mkfs", "disk"));
            fs::File::create(&path)?.set_len(DISK)?;
            let sbin = Path::new("/usr/sbin").join(tool);
            run::must(Command::new(sbin).args(*options).arg(&path))?;
            Ok(path)
        })
        .collect()
}

/// Runs the machine until it powers itself off; returns its verdict.
fn boot(kernel: &Kernel, initrd: &Path, disks: &[PathBuf], only: &str) -> Result<String> {
    // The machine must not outlive this task, however that ends.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "qemu-system-x86_64"])
        // Emulated: KVM is absent or flawed where a virtual machine is what this runs in.
        .args(["-accel", "tcg,thread=multi", "-cpu", "max"])
        .args(["-smp", "2", "-m", "1536"])
        .args(["-display", "none", "-monitor", "none", "-no-reboot"])
        .args(["-serial", "stdio"])
        .args(["-netdev", "user,id=net,restrict=on"])
        .args(["-device", "virtio-net-pci,netdev=net,romfile="])
        .args(disks.iter().flat_map(|path| {
            let drive = format!("file={},format=raw,if=virtio,cache=unsafe", path.display());
            ["-drive".to_owned(), drive]
        }))
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initrd)
        .arg("-append")
        .arg(format!(
            "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off only={only}"
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut machine = Machine(command.spawn().context("starting qemu-system-x86_64")?);
    let output = machine.0.stdout.take().context("no output")?;
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&line)
                .trim_end_matches('\r')
                .to_owned();
            if sender.send(text).is_err() {
                break;
            }
        }
    });
    let deadline = Instant::now() + LIMIT;
    let mut verdict = None;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => match line.strip_prefix(VERDICT) {
                Some(text) => verdict = Some(text.to_owned()),
                None => run::say(&format!("{line}\n")),
            },
            Err(RecvTimeoutError::Timeout) => bail!("the machine ran longer than {LIMIT:?}"),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    verdict.context("the machine ended without a verdict")
}

/// A running QEMU; killed when dropped.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only for a process that is gone.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_come_after_what_they_need() {
        let needs = "kernel/a-b.ko: kernel/c.ko.xz kernel/d.ko\nkernel/c.ko.xz: kernel/d.ko\n\
            kernel/d.ko:\n";
        let order = load_order(
            "# text\n\nc\na_b\nbuilt_in\n",
            needs,
            "kernel/built-in.ko\n",
        );
        let expected = ["kernel/d.ko", "kernel/c.ko.xz", "kernel/a-b.ko"];
        assert_eq!(order.unwrap(), expected);
        assert!(load_order("missing\n", needs, "").is_err());
    }
}
