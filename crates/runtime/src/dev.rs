//! /dev of a container: nodes, links and the console, all by descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::OpenptFlags;
use spec::runtime::{Device, Mount, Process};
use sys::mount::Reach;
use sys::root::Root;

use crate::rootfs::{ensure_file, guest, unlink_if_there};
use crate::step::{Stage, Step, invalid};

/// File system type of devpts as statfs(2) tells it.
const DEVPTS_MAGIC: i64 = 0x1cd1;

/// Nodes that every container has: name, major and minor number.
const NODES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Links that every container has: name and target.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Fills /dev, unless the specification brings a whole one from elsewhere.
pub(crate) fn populate(root: &Root, mounts: &[Mount], devices: &[Device]) -> Step<()> {
    let is_bound = |m: &Mount| {
        let bind = m.kind == "bind" || m.options.iter().any(|o| o == "bind" || o == "rbind");
        m.destination.trim_end_matches('/') == "/dev" && bind
    };
    if mounts.iter().any(is_bound) {
        return Ok(());
    }
    let dir = root
        .mkdir_all(&guest("/dev")?, Mode::from_raw_mode(0o755))
        .stage(|| "failed to open `/dev`")?;
    for (name, major, minor) in NODES {
        let number = rustix::fs::makedev(major, minor);
        node(dir.as_fd(), name, FileType::CharacterDevice, 0o666, number)
            .stage(|| format!("failed to make `/dev/{name}`"))?;
    }
    for device in devices {
        extra(root, device).stage(|| format!("failed to make `{}`", device.path))?;
    }
    for (name, target) in LINKS {
        let text = || format!("failed to make the link `/dev/{name}`");
        if name == "ptmx" && !mounts.iter().any(|m| m.kind == "devpts") {
            continue;
        }
        if name == "ptmx" {
            // An image's own node would be the host's multiplexer.
            unlink_if_there(dir.as_fd(), name).stage(text)?;
        }
        match rustix::fs::symlinkat(target, dir.as_fd(), name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e).stage(text),
        }
    }
    Ok(())
}

/// Makes one node; one of the same numbers that is there already is left.
fn node(
    dir: BorrowedFd<'_>,
    name: &str,
    kind: FileType,
    mode: u32,
    number: u64,
) -> Result<(), Errno> {
    let permissions = Mode::from_raw_mode(mode & 0o7777);
    match rustix::fs::mknodat(dir, name, kind, permissions, number) {
        Err(Errno::EXIST) => {
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            let stat = rustix::fs::statat(dir, name, flags)?;
            if FileType::from_raw_mode(stat.st_mode) == kind && stat.st_rdev == number {
                return Ok(());
            }
            unlink_if_there(dir, name)?;
            rustix::fs::mknodat(dir, name, kind, permissions, number)
        }
        other => other,
    }
}

/// Makes a node of the specification.
fn extra(root: &Root, device: &Device) -> Step<()> {
    let kind = match device.kind.as_str() {
        "c" | "u" => FileType::CharacterDevice,
        "b" => FileType::BlockDevice,
        "p" => FileType::Fifo,
        other => return Err(invalid(format!("unknown kind of device `{other}`"))),
    };
    let number = |n: i64| {
        let fifo = kind == FileType::Fifo;
        u32::try_from(n).or_else(|e| if fifo { Ok(0) } else { Err(e) })
    };
    let major = number(device.major).stage(|| "the major number is out of range")?;
    let minor = number(device.minor).stage(|| "the minor number is out of range")?;
    let path = guest(&device.path)?;
    let Some((parent, name)) = path.split() else {
        return Err(invalid("a device cannot be at `/`"));
    };
    let name = name
        .to_str()
        .ok_or_else(|| invalid("the name is not UTF-8"))?;
    let dir = root
        .mkdir_all(&parent, Mode::from_raw_mode(0o755))
        .stage(|| "failed to make its directory")?;
    let mode = device.file_mode.unwrap_or(0o666);
    node(
        dir.as_fd(),
        name,
        kind,
        mode,
        rustix::fs::makedev(major, minor),
    )
    .stage(|| "failed to make the node")?;
    let owner = rustix::fs::Uid::from_raw(device.uid.unwrap_or(0));
    let group = rustix::fs::Gid::from_raw(device.gid.unwrap_or(0));
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::chownat(dir.as_fd(), name, Some(owner), Some(group), flags)
        .stage(|| "failed to give it to its owner")
}

/// Both ends of a terminal.
#[derive(Debug)]
pub(crate) struct Console {
    pub master: OwnedFd,
    pub slave: OwnedFd,
}

/// Makes a terminal in the container's own devpts.
pub(crate) fn console(root: &Root, process: &Process) -> Step<Console> {
    let text = || "failed to make a terminal";
    let flags = OFlags::RDWR | OFlags::NONBLOCK;
    let master = root
        .open_at(&guest("/dev/pts/ptmx")?, flags, Mode::empty())
        .stage(text)?;
    // The image may have put something else there.
    let stat = rustix::fs::fstatfs(&master).stage(text)?;
    if stat.f_type != DEVPTS_MAGIC {
        return Err(invalid("`/dev/pts/ptmx` is not on a devpts file system")).stage(text);
    }
    rustix::fs::fcntl_setfl(&master, OFlags::empty()).stage(text)?;
    rustix::pty::unlockpt(&master).stage(text)?;
    // By the master's own descriptor, not by the name /dev/pts/N, which the container can replace.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).stage(text)?;
    // Afterwards: this call would keep the flag in the file, where the container sees it.
    rustix::io::fcntl_setfd(&slave, rustix::io::FdFlags::CLOEXEC).stage(text)?;
    if let Some(size) = process.console_size
        && (size.width, size.height) != (0, 0)
    {
        sys::pty::resize(master.as_fd(), size.width, size.height).stage(text)?;
    }
    Ok(Console { master, slave })
}

/// Makes the terminal appear as /dev/console.
pub(crate) fn attach_console(root: &Root, console: &Console) -> Step<()> {
    let text = || "failed to mount the terminal at `/dev/console`";
    let target = ensure_file(root, &guest("/dev/console")?).stage(text)?;
    let copy = sys::mount::copy_fd(console.slave.as_fd(), Reach::Single).stage(text)?;
    sys::mount::attach(copy.as_fd(), target.as_fd()).stage(text)
}

/// Gives the three standard files of this process.
pub(crate) fn place_stdio(files: [OwnedFd; 3]) -> Step<()> {
    let text = || "failed to set up the standard files";
    // They may have each other's numbers: lift them all before putting any down.
    let mut lifted = Vec::with_capacity(3);
    for file in files {
        lifted.push(crate::sync::above_stdio(file).stage(text)?);
    }
    for (number, file) in lifted.into_iter().enumerate() {
        let number = i32::try_from(number).expect("three files");
        sys::signal::place(file, number).stage(text)?;
    }
    Ok(())
}

/// Makes the terminal the controlling one of this new session and its standard files.
pub(crate) fn use_terminal(slave: &OwnedFd) -> Step<()> {
    let text = || "failed to set up the terminal";
    rustix::process::ioctl_tiocsctty(slave).stage(text)?;
    let copy = || rustix::io::fcntl_dupfd_cloexec(slave, 3).stage(text);
    place_stdio([copy()?, copy()?, copy()?])
}

/// Lets the user open its own standard files again by name (`/dev/stdout`).
pub(crate) fn own_stdio(uid: u32) {
    for number in 0..3 {
        let Some(fd) = stdio(number) else {
            continue;
        };
        let Ok(stat) = rustix::fs::fstat(fd) else {
            continue;
        };
        let kind = FileType::from_raw_mode(stat.st_mode);
        let null = kind == FileType::CharacterDevice && stat.st_rdev == rustix::fs::makedev(1, 3);
        // Files are somebody's property; pipes, sockets and terminals were made for this process.
        let ours = matches!(
            kind,
            FileType::Fifo | FileType::Socket | FileType::CharacterDevice
        );
        if stat.st_uid == uid || null || !ours {
            continue;
        }
        // Not vital: some descriptors (of other user namespaces, read-only mounts) cannot be given.
        let _ = rustix::fs::fchown(fd, Some(rustix::fs::Uid::from_raw(uid)), None);
    }
}

/// The standard file of a number.
fn stdio(number: i32) -> Option<BorrowedFd<'static>> {
    match number {
        0 => Some(rustix::stdio::stdin()),
        1 => Some(rustix::stdio::stdout()),
        2 => Some(rustix::stdio::stderr()),
        _ => None,
    }
}
