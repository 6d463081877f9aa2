//! Builds the container's file system tree in the init process's own mount namespace.
//!
//! ```text
//! 1 all mounts become slaves of the host's    nothing done here can be seen outside
//! 2 root mounted, held by descriptor          overlay, or a copy of a directory's mounts
//! 3 mounts of the specification, in order     by descriptor, targets looked up inside the root
//! 4 /dev                                      nodes, links, console
//! 5 working directory made
//! 6 read-only and masked paths
//! 7 pivot_root, all else is dropped
//! 8 the root becomes read-only if asked for
//! ```
//!
//! A process of another container may share a volume and swap names while this runs: every target is
//! a descriptor from a lookup that cannot leave the root, and is mounted on by descriptor.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use spec::Rootfs;
use spec::runtime::{IdMapping, Mount};
use sys::mount::{Attributes, Change, Propagation, Reach};
use sys::root::{Dir, GuestPath, Root};
use sys::userns::IdRange;

use crate::mounts::{self, Kind, Plan};
use crate::step::{Stage, Step, invalid};

/// Mode of directories made as mount points.
const DIR_MODE: Mode = Mode::from_raw_mode(0o755);

/// Most links to nothing that are followed for one path.
const MAX_LINKS: usize = 40;

/// File system types as statfs(2) tells them.
const PROC_MAGIC: i64 = 0x9fa0;
const SYSFS_MAGIC: i64 = 0x6265_6572;

/// Reads a path of the specification.
pub(crate) fn guest(path: &str) -> Step<GuestPath> {
    GuestPath::new(path).stage(|| format!("invalid path `{path}`"))
}

/// Steps 1 and 2: mounts the root and returns it.
pub(crate) fn mount_root(rootfs: &Rootfs, propagation: &str) -> Step<Root> {
    let (propagation, _) = match propagation {
        "" => (Propagation::Slave, Reach::Tree),
        other => mounts::propagation(other)
            .ok_or_else(|| invalid(format!("unknown root propagation `{other}`")))?,
    };
    // Only a container that shares mounts with the host leaves the tree as it is.
    if propagation != Propagation::Shared {
        sys::mount::propagate_all(Propagation::Slave)
            .stage(|| "failed to leave the host's mounts")?;
    }
    let mount = match rootfs {
        Rootfs::Directory { path } => {
            let target = sys::mount::open_path(path).stage(|| "failed to open the root")?;
            let mount =
                sys::mount::copy_path(path, Reach::Tree).stage(|| "failed to mount the root")?;
            sys::mount::attach(mount.as_fd(), target.as_fd())
                .stage(|| "failed to mount the root")?;
            mount
        }
        Rootfs::Overlay {
            lowers,
            upper,
            work,
            volatile,
            images,
        } => {
            for image in images {
                sys::mount::cover_with_erofs(&image.file, &image.place)
                    .stage(|| "failed to mount a layer")?;
            }
            let layers = sys::mount::Overlay {
                lowers,
                upper,
                work,
                volatile: *volatile,
            };
            let root =
                sys::mount::overlay(&layers).stage(|| "failed to mount the root file system")?;
            // The overlay has its own hold on them; in the host's own tree they would stay.
            if propagation == Propagation::Shared {
                for image in images {
                    sys::mount::uncover(&image.place).stage(|| "failed to let a layer go")?;
                }
            }
            root
        }
    };
    if propagation != Propagation::Shared {
        // Otherwise the copy would hold on to what the host unmounts.
        sys::mount::change(mount.as_fd(), Change::propagate(propagation), Reach::Single)
            .stage(|| "failed to set the propagation of the root")?;
    }
    // A directory descriptor that can be read, beside the place that it stands for.
    let dir = rustix::fs::openat(
        &mount,
        ".",
        OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .stage(|| "failed to open the root")?;
    Ok(Root::from_fd(dir))
}

/// Step 3: all mounts but those of control groups, which are returned with their plans.
pub(crate) fn mount_all<'a>(
    root: &Root,
    bundle: &Path,
    list: &'a [Mount],
    ids: &[Option<OwnedFd>],
) -> Step<Vec<(&'a Mount, Plan)>> {
    let mut later = Vec::new();
    let mut proc = None;
    for (index, mount) in list.iter().enumerate() {
        let plan = mounts::plan(mount).map_err(invalid)?;
        let text = || {
            format!(
                "failed to mount `{}` at `{}`",
                mount.source, mount.destination
            )
        };
        match plan.kind {
            // They need the process to be in its group, which is being made at this time.
            Kind::Cgroup => later.push((mount, plan)),
            Kind::New => {
                mount_new(root, mount, &plan).stage(text)?;
                proc = None;
            }
            Kind::Bind(reach) => {
                let copy = open_source(bundle, mount, reach).stage(text)?;
                if let (Some(reach), Some(Some(ids))) = (plan.map_ids, ids.get(index)) {
                    map_ids(&copy, ids, reach).stage(text)?;
                }
                mount_bind(root, mount, &plan, copy, &mut proc).stage(text)?;
            }
        }
    }
    Ok(later)
}

fn mount_new(root: &Root, mount: &Mount, plan: &Plan) -> Step<()> {
    let path = guest(&mount.destination)?;
    let kernel_view = matches!(mount.kind.as_str(), "proc" | "sysfs");
    if kernel_view {
        refuse_link(root, &path)?;
    }
    let known = root.resolve(&path).ok();
    let mut data = plan.data.clone();
    if mount.kind == "tmpfs" && !data.iter().any(|(key, _)| key == "mode") {
        // As runc: a tmpfs over an existing directory looks like it.
        if let Some(stat) = known.as_ref().and_then(|fd| rustix::fs::fstat(fd).ok()) {
            data.push((
                "mode".to_owned(),
                Some(format!("{:o}", stat.st_mode & 0o7777)),
            ));
        }
    }
    if !mount.source.is_empty() {
        data.push(("source".to_owned(), Some(mount.source.clone())));
    }
    let made = sys::mount::create(&mount.kind, &data, plan.set).stage(|| "failed to make it")?;
    if plan.copy_up
        && let Some(old) = &known
    {
        crate::copy::contents(old.as_fd(), made.as_fd())
            .stage(|| "failed to copy what it hides")?;
    }
    let target = root
        .mkdir_all(&path, DIR_MODE)
        .stage(|| "failed to make the mount point")?;
    sys::mount::attach(made.as_fd(), target.as_fd()).stage(|| "failed to attach it")?;
    for (propagation, reach) in &plan.propagation {
        sys::mount::change(made.as_fd(), Change::propagate(*propagation), *reach)
            .stage(|| "failed to set its propagation")?;
    }
    if kernel_view {
        verify_kernel_view(root, &path, &mount.kind)?;
    }
    Ok(())
}

/// An image must not choose where /proc and /sys are: masks and limits would miss them.
fn refuse_link(root: &Root, path: &GuestPath) -> Step<()> {
    let Ok(fd) = root.resolve_no_follow(path) else {
        return Ok(());
    };
    let stat = rustix::fs::fstat(&fd).stage(|| "failed to look at the mount point")?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Ok(()),
        _ => Err(invalid(format!("`{path}` of the image is not a directory"))),
    }
}

fn verify_kernel_view(root: &Root, path: &GuestPath, kind: &str) -> Step<()> {
    let fd = root
        .resolve_no_follow(path)
        .stage(|| "failed to look at the mount")?;
    let stat = rustix::fs::fstatfs(&fd).stage(|| "failed to look at the mount")?;
    let wanted = if kind == "proc" {
        PROC_MAGIC
    } else {
        SYSFS_MAGIC
    };
    if stat.f_type != wanted {
        return Err(invalid(format!("`{path}` is not a {kind} after mounting")));
    }
    Ok(())
}

/// The user namespaces whose tables map the owners of mounts; made where /proc is the caller's own.
pub(crate) fn id_maps(list: &[Mount]) -> sys::Result<Vec<Option<OwnedFd>>> {
    let ranges = |mappings: &[IdMapping]| -> Vec<IdRange> {
        let range = |mapping: &IdMapping| IdRange {
            inside: mapping.container_id,
            outside: mapping.host_id,
            count: mapping.size,
        };
        mappings.iter().map(range).collect()
    };
    let namespace = |mount: &Mount| {
        // What is wrong with half a table is told by the plan.
        if mount.uid_mappings.is_empty() || mount.gid_mappings.is_empty() {
            return Ok(None);
        }
        sys::userns::with_ids(&ranges(&mount.uid_mappings), &ranges(&mount.gid_mappings)).map(Some)
    };
    list.iter().map(namespace).collect()
}

fn map_ids(copy: &OwnedFd, ids: &OwnedFd, reach: Reach) -> Step<()> {
    sys::mount::map_ids(copy.as_fd(), ids.as_fd(), reach).stage(|| {
        let kind = rustix::fs::fstatfs(copy).map_or(0, |stat| stat.f_type);
        format!(
            "cannot map the owners of the source: its file system (type {kind:#x}) or one mounted \
             below it does not support id-mapped mounts"
        )
    })
}

/// Docker's words, which users and programs know.
const NOT_ALIKE: &str = "not a directory: Are you trying to mount a directory onto a file (or \
    vice-versa)? Check if the specified host path exists and is the expected type";

fn mount_bind(
    root: &Root,
    mount: &Mount,
    plan: &Plan,
    copy: OwnedFd,
    proc: &mut Option<Id>,
) -> Step<()> {
    let single = Change {
        set: plan.set,
        clear: plan.clear,
        propagation: None,
    };
    let tree = Change {
        set: plan.set_tree,
        clear: plan.clear_tree,
        propagation: None,
    };
    sys::mount::change(copy.as_fd(), single, Reach::Single)
        .stage(|| "failed to set its options")?;
    sys::mount::change(copy.as_fd(), tree, Reach::Tree).stage(|| "failed to set its options")?;
    for (propagation, reach) in &plan.propagation {
        sys::mount::change(copy.as_fd(), Change::propagate(*propagation), *reach)
            .stage(|| "failed to set its propagation")?;
    }
    let stat = rustix::fs::fstat(&copy).stage(|| "failed to look at the source")?;
    let path = guest(&mount.destination)?;
    let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let target = if is_dir {
        ensure_dir(root, &path)?
    } else {
        ensure_file(root, &path)?
    };
    let there = rustix::fs::fstat(&target).stage(|| "failed to look at the mount point")?;
    if is_dir != (FileType::from_raw_mode(there.st_mode) == FileType::Directory) {
        return Err(invalid(NOT_ALIKE));
    }
    check_proc(root, &path, &target, &copy, proc)?;
    sys::mount::attach(copy.as_fd(), target.as_fd()).stage(|| "failed to attach it")
}

/// Files of /proc that may show something else, as with runc: lxcfs binds them.
const PROC_FILES: [&str; 10] = [
    "proc/cpuinfo",
    "proc/diskstats",
    "proc/meminfo",
    "proc/stat",
    "proc/swaps",
    "proc/uptime",
    "proc/loadavg",
    "proc/slabinfo",
    "proc/net/dev",
    "proc/sys/kernel/ns_last_pid",
];

/// Device and inode.
type Id = (u64, u64);

/// Nothing pretends to be /proc, by whatever links: masks and limits would miss the real one.
fn check_proc(
    root: &Root,
    path: &GuestPath,
    target: &OwnedFd,
    source: &OwnedFd,
    proc: &mut Option<Id>,
) -> Step<()> {
    let text = || "failed to look at the mount point";
    let id = |fd: &OwnedFd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
    let kind = |fd: &OwnedFd| rustix::fs::fstatfs(fd).map(|stat| stat.f_type).stage(text);
    let own = match *proc {
        Some(own) => own,
        None => match root.resolve_no_follow(&guest("/proc")?) {
            Ok(own) => *proc.insert(id(&own).stage(text)?),
            Err(_) => return Ok(()),
        },
    };
    let there = id(target).stage(text)?;
    if own == there {
        // What is mounted there is what the next bind finds.
        *proc = None;
        return match kind(source)? {
            PROC_MAGIC => Ok(()),
            _ => Err(invalid(format!(
                "`{path}` cannot be mounted because it is not of type proc"
            ))),
        };
    }
    let name = path.relative();
    let is_inside = own.0 == there.0 && kind(target)? == PROC_MAGIC;
    if is_inside && !PROC_FILES.iter().any(|file| name == OsStr::new(file)) {
        return Err(invalid(format!(
            "`{path}` cannot be mounted because it is inside /proc"
        )));
    }
    Ok(())
}

/// A detached copy of what a bind shows: the source, or the part of it that is asked for.
fn open_source(bundle: &Path, mount: &Mount, reach: Reach) -> Step<OwnedFd> {
    let text = || "failed to open the source";
    let root = if !mount.layers.is_empty() {
        let layers: Vec<PathBuf> = mount.layers.iter().map(PathBuf::from).collect();
        let whole = sys::mount::overlay_read_only(&layers).stage(text)?;
        if mount.subpath.is_empty() {
            return Ok(whole);
        }
        Root::from_fd(whole)
    } else if mount.source.is_empty() {
        return Err(invalid("a bind mount without a source"));
    } else {
        let source = bundle.join(&mount.source);
        if mount.subpath.is_empty() {
            return sys::mount::copy_path(&source, reach).stage(text);
        }
        Root::open(&source).stage(text)?
    };
    let part = guest(&mount.subpath)?;
    // Whoever can write to the source may have put links there: they end in it.
    let part = root
        .resolve(&part)
        .stage(|| format!("cannot access `{}` in `{}`", mount.subpath, mount.source))?;
    sys::mount::copy_fd(part.as_fd(), reach).stage(text)
}

/// Makes a directory inside the root and opens it. Where a link of the image leads nowhere, as
/// `/var/run -> /run` without a `/run`, the place it leads to is made.
pub(crate) fn make_dir(root: &Root, path: &GuestPath) -> Step<Dir> {
    let text = || format!("failed to make the directory `{path}`");
    let mut path = path.clone();
    for _ in 0..MAX_LINKS {
        match root.mkdir_all(&path, DIR_MODE) {
            Ok(dir) => return Ok(dir),
            Err(e) if matches!(e.errno(), Errno::NOENT | Errno::NOTDIR | Errno::EXIST) => {
                match lead_on(root, &path).stage(text)? {
                    Some(next) => path = next,
                    None => return Err(e).stage(text),
                }
            }
            Err(e) => return Err(e).stage(text),
        }
    }
    Err(invalid("too many levels of symbolic links")).stage(text)
}

/// Replaces the first name of a path that is a link to nothing by what the link says.
fn lead_on(root: &Root, path: &GuestPath) -> Step<Option<GuestPath>> {
    let names: Vec<_> = path.relative().as_bytes().split(|c| *c == b'/').collect();
    for count in 1..=names.len() {
        let prefix = guest_bytes(&names[..count])?;
        if root.resolve(&prefix).is_ok() {
            continue;
        }
        let (Some((parent, _)), Ok(link)) = (prefix.split(), root.resolve_no_follow(&prefix))
        else {
            return Ok(None);
        };
        let target = match rustix::fs::readlinkat(&link, "", Vec::new()) {
            Ok(target) => target.into_bytes(),
            Err(_) => return Ok(None),
        };
        let start = if target.starts_with(b"/") {
            Vec::new()
        } else {
            vec![parent.relative().as_bytes()]
        };
        let parts: Vec<&[u8]> = start
            .into_iter()
            .chain([target.as_slice()])
            .chain(names[count..].iter().copied())
            .collect();
        return guest_bytes(&parts).map(Some);
    }
    Ok(None)
}

fn guest_bytes(parts: &[&[u8]]) -> Step<GuestPath> {
    GuestPath::new(OsStr::from_bytes(&parts.join(&b'/'))).stage(|| "invalid path")
}

/// Finds a directory inside the root, making what is missing.
pub(crate) fn ensure_dir(root: &Root, path: &GuestPath) -> Step<OwnedFd> {
    match root.resolve(path) {
        Ok(fd) => return Ok(fd),
        Err(e) if e.errno() == Errno::NOENT => {}
        Err(e) => return Err(e).stage(|| "failed to look for the mount point"),
    }
    make_dir(root, path)?;
    root.resolve(path)
        .stage(|| "failed to look for the mount point")
}

/// Finds a file inside the root, making an empty one and its directories if there is none.
pub(crate) fn ensure_file(root: &Root, path: &GuestPath) -> Step<OwnedFd> {
    match root.resolve(path) {
        Ok(fd) => return Ok(fd),
        Err(e) if e.errno() == Errno::NOENT => {}
        Err(e) => return Err(e).stage(|| "failed to look for the mount point"),
    }
    let Some((parent, name)) = path.split() else {
        return Err(invalid("a file cannot be mounted at `/`"));
    };
    let dir = make_dir(root, &parent)?;
    // mknod never follows a link in the last name, as opening with O_CREAT would.
    match rustix::fs::mknodat(
        dir.as_fd(),
        name,
        FileType::RegularFile,
        Mode::from_raw_mode(0o644),
        0,
    ) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(e).stage(|| format!("failed to make the file `{path}`")),
    }
    root.resolve(path)
        .stage(|| "failed to look for the mount point")
}

/// Step 6, first half: paths that can be read but not written; missing ones are skipped.
pub(crate) fn protect(root: &Root, paths: &[String]) -> Step<()> {
    for path in paths {
        let text = || format!("failed to make `{path}` read-only");
        let Some(target) = find(root, path).stage(text)? else {
            continue;
        };
        let copy = sys::mount::copy_fd(target.as_fd(), Reach::Tree).stage(text)?;
        let change = Change::set(Attributes::MOUNT_ATTR_RDONLY);
        sys::mount::change(copy.as_fd(), change, Reach::Tree).stage(text)?;
        sys::mount::attach(copy.as_fd(), target.as_fd()).stage(text)?;
    }
    Ok(())
}

/// Step 6, second half: paths that cannot be read; missing ones are skipped.
pub(crate) fn mask(root: &Root, paths: &[String]) -> Step<()> {
    let mut empty: Option<OwnedFd> = None;
    for path in paths {
        let text = || format!("failed to mask `{path}`");
        let Some(target) = find(root, path).stage(text)? else {
            continue;
        };
        let stat = rustix::fs::fstat(&target).stage(text)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            let cover = null_cover(root).stage(text)?;
            sys::mount::attach(cover.as_fd(), target.as_fd()).stage(text)?;
            continue;
        }
        // One empty file system covers all directories; it cannot be written, so it stays empty. The
        // first place gets the mount itself: dropping one that was never attached costs the wait for
        // an RCU grace period.
        let cover = match &empty {
            Some(first) => sys::mount::copy_fd(first.as_fd(), Reach::Single).stage(text)?,
            None => {
                let attributes = Attributes::MOUNT_ATTR_RDONLY | Attributes::MOUNT_ATTR_NOSUID;
                let source = ("source".to_owned(), Some("tmpfs".to_owned()));
                let options = [source, ("ro".to_owned(), None)];
                sys::mount::create("tmpfs", &options, attributes).stage(text)?
            }
        };
        sys::mount::attach(cover.as_fd(), target.as_fd()).stage(text)?;
        empty.get_or_insert(cover);
    }
    Ok(())
}

/// A read-only mount of a /dev/null that is proven to be it: a mask by anything else would open what
/// it should hide. The container's own comes first: its owner and mode are nobody else's business.
fn null_cover(root: &Root) -> Result<OwnedFd, sys::Error> {
    let own = GuestPath::new("/dev/null")
        .ok()
        .and_then(|path| root.resolve_no_follow(&path).ok());
    let node = match own.filter(is_null) {
        Some(node) => node,
        None => sys::mount::open_path(Path::new("/dev/null"))?,
    };
    if !is_null(&node) {
        return Err(sys::Error::new("verify `/dev/null`", Errno::NODEV));
    }
    let copy = sys::mount::copy_fd(node.as_fd(), Reach::Single)?;
    let change = Change::set(Attributes::MOUNT_ATTR_RDONLY);
    sys::mount::change(copy.as_fd(), change, Reach::Single)?;
    Ok(copy)
}

fn is_null(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| {
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && stat.st_rdev == rustix::fs::makedev(1, 3)
    })
}

/// Looks for a path; only its absence is no error.
fn find(root: &Root, path: &str) -> Step<Option<OwnedFd>> {
    match root.resolve(&guest(path)?) {
        Ok(fd) => Ok(Some(fd)),
        Err(e) if matches!(e.errno(), Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(e) => Err(e).stage(|| "failed to look for it"),
    }
}

/// Step 5: the working directory, made inside the root if missing.
pub(crate) fn ensure_cwd(root: &Root, cwd: &str) -> Step<()> {
    let text = || format!("failed to make the working directory `{cwd}`");
    let path = guest(cwd).stage(text)?;
    match root.resolve(&path) {
        Ok(_) => Ok(()),
        // What is wrong with it otherwise is told when it is entered.
        Err(e) if e.errno() != Errno::NOENT => Ok(()),
        Err(_) => make_dir(root, &path).map(drop).stage(text),
    }
}

/// Steps 7 and 8: enters the new root for good.
pub(crate) fn enter(root: &Root, readonly: bool, propagation: &str) -> Step<()> {
    sys::mount::change_root(root.as_fd()).stage(|| "failed to change the root")?;
    if readonly {
        let change = Change::set(Attributes::MOUNT_ATTR_RDONLY);
        sys::mount::change(root.as_fd(), change, Reach::Single)
            .stage(|| "failed to make the root read-only")?;
    }
    if let Some((propagation, reach)) = mounts::propagation(propagation) {
        sys::mount::change(root.as_fd(), Change::propagate(propagation), reach)
            .stage(|| "failed to set the propagation of the root")?;
    }
    Ok(())
}

/// Removes a name in a directory if it is there.
pub(crate) fn unlink_if_there(dir: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e),
    }
}
