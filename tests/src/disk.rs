//! A small disk of a test's own, which can be full and whose power can be cut.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::wait::{SETTLE, poll};

/// A file system, ext4 by default, on a loop device over a file in memory. Dropping it unmounts it; the
/// device frees itself with that.
#[derive(Debug)]
pub struct Disk {
    dir: TempDir,
    options: &'static str,
}

impl Disk {
    /// Makes and mounts one of so many megabytes.
    pub fn new(megabytes: u64) -> Result<Self> {
        // No blocks are kept for root: who fills the disk here is root.
        let args = ["-q", "-F", "-m", "0", "-b", "4096", "-O", "^resize_inode"];
        Self::made_by("mkfs.ext4", &args, "loop,commit=30", megabytes)
    }

    /// The same with btrfs.
    pub fn btrfs(megabytes: u64) -> Result<Self> {
        Self::made_by("mkfs.btrfs", &["-q"], "loop", megabytes)
    }

    /// The same with xfs, where files can share their bytes.
    pub fn xfs(megabytes: u64) -> Result<Self> {
        Self::made_by("mkfs.xfs", &["-q", "-m", "reflink=1"], "loop", megabytes)
    }

    fn made_by(tool: &str, args: &[&str], options: &'static str, megabytes: u64) -> Result<Self> {
        let parent = crate::daemon::root_parent();
        let dir = tempfile::Builder::new().prefix("ce-disk-").tempdir_in(parent)?;
        let disk = Self { dir, options };
        File::create(disk.image())?.set_len(megabytes << 20)?;
        std::fs::create_dir(disk.path())?;
        let image = disk.image();
        run(Command::new(tool).args(args).arg(image))?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("m")
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    /// Mounts it; it writes back seldom, so that only what is synced is surely there.
    pub fn mount(&self) -> Result<()> {
        let attempt = || {
            let mut mount = Command::new("mount");
            run(mount.args(["-o", self.options]).arg(self.image()).arg(self.path()))?;
            // A mount namespace that is being made elsewhere may hold the one without power.
            let probe = self.path().join(".probe");
            File::create(&probe).and_then(|_| std::fs::remove_file(&probe)).inspect_err(|_| {
                let flags = rustix::mount::UnmountFlags::DETACH;
                let _ = rustix::mount::unmount(self.path(), flags);
            })?;
            Ok(())
        };
        let mut last = None;
        poll(SETTLE, || attempt().map_err(|error| last = Some(error)).ok())
            .ok_or_else(|| last.unwrap_or_else(|| anyhow::anyhow!("it was never tried")))
    }

    /// Unmounts it, once nobody uses it any more.
    pub fn unmount(&self) -> Result<()> {
        let free =
            || rustix::mount::unmount(self.path(), rustix::mount::UnmountFlags::empty()).ok();
        poll(SETTLE, free).with_context(|| format!("{} stays busy", self.path().display()))
    }

    /// Cuts the power: nothing more reaches the disk, not even what the kernel was about to write.
    pub fn cut_power(&self) {
        sys::power::cut(&self.path()).expect("ext4 has a switch, and this is root");
    }

    /// Checks the file system, which must have been unmounted in order.
    ///
    /// A mount namespace that is being made elsewhere has a copy of the mount for a moment, and the
    /// file system is written back with the last one.
    pub fn check(&self) -> Result<()> {
        let mut last = None;
        let check = || run(Command::new("e2fsck").args(["-f", "-n"]).arg(self.image()));
        poll(SETTLE, || check().map_err(|error| last = Some(error)).ok())
            .ok_or_else(|| last.unwrap_or_else(|| anyhow::anyhow!("it was never tried")))
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.path()).expect("it is mounted");
        (stat.f_blocks - stat.f_bfree) * stat.f_frsize
    }

    /// Bytes free.
    pub fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.path()).expect("it is mounted");
        stat.f_bavail * stat.f_frsize
    }

    /// Inodes in use.
    pub fn inodes(&self) -> u64 {
        let stat = rustix::fs::statvfs(self.path()).expect("it is mounted");
        stat.f_files - stat.f_ffree
    }

    /// Fills it until at most so many bytes are free; [`Disk::empty`] takes that back.
    pub fn fill(&self, free: u64) {
        let mut file =
            File::options().create(true).append(true).open(self.filler()).expect("a free inode");
        let block = vec![0x5a; 64 << 10];
        loop {
            file.sync_all().expect("the disk works");
            let left = self.free().saturating_sub(free);
            if left == 0 {
                return;
            }
            let mut todo = usize::try_from(left).unwrap_or(usize::MAX);
            while todo > 0 {
                match file.write(&block[..todo.min(block.len())]) {
                    Ok(written) => todo -= written,
                    // The last blocks went to what the kernel keeps about the file itself.
                    Err(_) => return,
                }
            }
        }
    }

    /// Removes what [`Disk::fill`] wrote.
    pub fn empty(&self) {
        std::fs::remove_file(self.filler()).expect("it was filled");
    }

    fn filler(&self) -> PathBuf {
        self.path().join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if is_mount_point(&self.path()) && self.unmount().is_err() {
            // Somebody holds it: it goes when they do.
            let lazy = rustix::mount::UnmountFlags::DETACH;
            let _ = rustix::mount::unmount(self.path(), lazy);
            eprintln!("{} was still busy at the end", self.path().display());
        }
    }
}

fn is_mount_point(path: &Path) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let path = path.display().to_string();
    table.lines().any(|line| line.split(' ').nth(4) == Some(&path))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("{command:?} cannot be run"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    bail!("{command:?}: {}", String::from_utf8_lossy(&text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_synced_survives() {
        let disk = Disk::new(16).expect("root, with loop devices");
        let (kept, lost) = (disk.path().join("kept"), disk.path().join("lost"));
        std::fs::write(&kept, "k").expect("room");
        File::open(&kept).and_then(|file| file.sync_all()).expect("the disk works");
        std::fs::write(&lost, "l").expect("room");
        disk.cut_power();
        disk.unmount().expect("nobody uses it");
        disk.mount().expect("it is whole");
        assert_eq!(std::fs::read(&kept).expect("it was synced"), b"k");
        assert_ne!(std::fs::read(&lost).unwrap_or_default(), b"l");
        disk.unmount().expect("nobody uses it");
        disk.check().expect("the journal made it whole");
    }

    #[test]
    fn a_filled_disk_has_so_much_left() {
        let disk = Disk::new(16).expect("root, with loop devices");
        disk.fill(1 << 20);
        assert!(disk.free() <= 1 << 20 && disk.free() > 900 << 10, "{}", disk.free());
        disk.fill(0);
        assert_eq!(disk.free(), 0);
        disk.empty();
        assert!(disk.free() > 4 << 20);
    }
}
