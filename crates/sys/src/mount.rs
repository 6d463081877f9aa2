//! Mounts as descriptors: made detached, configured, then attached to a descriptor of a directory.
//!
//! A path is never used as a mount point, so that nobody can swap it for a link in between. See
//! fsopen(2), fsmount(2), open_tree(2), move_mount(2), mount_setattr(2) (Linux 5.12).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags,
};

pub use rustix::mount::MountAttrFlags as Attributes;

use crate::{Error, Result};

/// Longest value that fsconfig(2) takes as a string, its end included.
const MAX_VALUE: usize = 256;

/// Whether a call concerns one mount or the tree below it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// One mount.
    Single,
    /// The mount and all below it.
    Tree,
}

/// How mounts and unmounts travel between copies of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Not at all.
    Private,
    /// From the original only.
    Slave,
    /// Both ways.
    Shared,
    /// Not at all, and the mount cannot be bound elsewhere.
    Unbindable,
}

/// Changes to the attributes of a mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// To be set.
    pub set: Attributes,
    /// To be cleared first.
    pub clear: Attributes,
    /// New propagation.
    pub propagation: Option<Propagation>,
}

impl Change {
    /// No change.
    pub const NONE: Self = Self {
        set: Attributes::empty(),
        clear: Attributes::empty(),
        propagation: None,
    };

    /// Sets attributes.
    pub fn set(set: Attributes) -> Self {
        Self { set, ..Self::NONE }
    }

    /// Sets the propagation.
    pub fn propagate(propagation: Propagation) -> Self {
        Self {
            propagation: Some(propagation),
            ..Self::NONE
        }
    }
}

/// `struct mount_attr`, first version. See mount_setattr(2).
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

const _: () = assert!(size_of::<MountAttr>() == 32);

/// Changes the attributes of the mount that a descriptor is the root of.
pub fn change(mount: BorrowedFd<'_>, change: Change, reach: Reach) -> Result<()> {
    if change == Change::NONE {
        return Ok(());
    }
    let mut clear = change.clear;
    if change.set.intersects(
        Attributes::MOUNT_ATTR_NOATIME
            | Attributes::MOUNT_ATTR_STRICTATIME
            | Attributes::MOUNT_ATTR__ATIME,
    ) {
        // Access time is an enumeration in these bits: the old value has to be cleared as a whole.
        clear |= Attributes::MOUNT_ATTR__ATIME;
    }
    let attr = MountAttr {
        attr_set: u64::from(change.set.bits()),
        attr_clr: u64::from(clear.bits()),
        propagation: match change.propagation {
            None => 0,
            Some(Propagation::Private) => libc::MS_PRIVATE,
            Some(Propagation::Slave) => libc::MS_SLAVE,
            Some(Propagation::Shared) => libc::MS_SHARED,
            Some(Propagation::Unbindable) => libc::MS_UNBINDABLE,
        },
        userns_fd: 0,
    };
    set_attr(mount, &attr, reach, || format!("{change:?}"))
}

/// Maps the owners of what a mount shows by the tables of a user namespace.
///
/// The mount must be attached nowhere yet.
///
/// # Errors
///
/// `EINVAL` for a file system that cannot be mapped, `EPERM` for a mount that is mapped already.
pub fn map_ids(mount: BorrowedFd<'_>, userns: BorrowedFd<'_>, reach: Reach) -> Result<()> {
    let attr = MountAttr {
        attr_set: u64::from(Attributes::MOUNT_ATTR_IDMAP.bits()),
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(userns.as_raw_fd().unsigned_abs()),
    };
    set_attr(mount, &attr, reach, || "IDMAP".to_owned())
}

fn set_attr(
    mount: BorrowedFd<'_>,
    attr: &MountAttr,
    reach: Reach,
    what: impl FnOnce() -> String,
) -> Result<()> {
    let mut flags = libc::AT_EMPTY_PATH;
    if reach == Reach::Tree {
        flags |= libc::AT_RECURSIVE;
    }
    // SAFETY: the path is an empty C string, `attr` is a mount_attr of the size given, and both
    // outlive the call.
    let status = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<MountAttr>(),
        )
    };
    if status != 0 {
        let errno = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
        let call = format!(
            "mount_setattr({}, {}, {reach:?})",
            mount.as_raw_fd(),
            what()
        );
        return Err(Error::new(call, errno));
    }
    Ok(())
}

/// One option of a new file system: a flag, or a key with a value.
pub type FsOption = (String, Option<String>);

/// Makes a new file system, mounted nowhere yet.
///
/// # Errors
/// The text ends with what the file system itself said, where it said something.
pub fn create(kind: &str, options: &[FsOption], attributes: Attributes) -> Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|e| Error::new(format!("fsopen(`{kind}`)"), e))?;
    for (key, value) in options {
        let result = match value {
            None => rustix::mount::fsconfig_set_flag(&context, key.as_str()),
            Some(value) => {
                rustix::mount::fsconfig_set_string(&context, key.as_str(), value.as_str())
            }
        };
        result.map_err(|e| {
            let value = value.as_deref().unwrap_or("");
            let call = format!("fsconfig(`{kind}`, `{key}`, `{value}`){}", said(&context));
            Error::new(call, e)
        })?;
    }
    finish(kind, &context, attributes)
}

fn finish(kind: &str, context: &OwnedFd, attributes: Attributes) -> Result<OwnedFd> {
    rustix::mount::fsconfig_create(context)
        .map_err(|e| Error::new(format!("fsconfig(`{kind}`, CREATE){}", said(context)), e))?;
    rustix::mount::fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
        .map_err(|e| Error::new(format!("fsmount(`{kind}`){}", said(context)), e))
}

/// What a file system wrote into its context about a failure.
fn said(context: &OwnedFd) -> String {
    let mut text = String::new();
    let mut buffer = [0u8; 512];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut buffer) {
        let line = String::from_utf8_lossy(&buffer[..length]);
        // Lines begin with a letter for their severity.
        text.push_str(": ");
        text.push_str(line.trim_end().get(2..).unwrap_or(""));
        if text.len() > 2000 {
            break;
        }
    }
    text
}

/// Copies the mount at a host path, links followed, mounted nowhere yet.
pub fn copy_path(path: &Path, reach: Reach) -> Result<OwnedFd> {
    rustix::mount::open_tree(rustix::fs::CWD, path, tree_flags(reach))
        .map_err(|e| Error::new(format!("open_tree(`{}`, {reach:?})", path.display()), e))
}

/// Copies the mount that a descriptor is on, from the descriptor's place on, mounted nowhere yet.
pub fn copy_fd(fd: BorrowedFd<'_>, reach: Reach) -> Result<OwnedFd> {
    rustix::mount::open_tree(fd, "", tree_flags(reach) | OpenTreeFlags::AT_EMPTY_PATH)
        .map_err(|e| Error::new(format!("open_tree({}, {reach:?})", fd.as_raw_fd()), e))
}

fn tree_flags(reach: Reach) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    match reach {
        Reach::Single => flags,
        Reach::Tree => flags | OpenTreeFlags::AT_RECURSIVE,
    }
}

/// Attaches a mount to a file or directory.
pub fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", target, "", flags).map_err(|e| {
        Error::new(
            format!("move_mount({}, {})", mount.as_raw_fd(), target.as_raw_fd()),
            e,
        )
    })
}

/// What an overlay is made of.
#[derive(Debug)]
pub struct Overlay<'a> {
    /// Read-only layers, topmost first.
    pub lowers: &'a [PathBuf],
    /// The writable layer.
    pub upper: &'a Path,
    /// Overlay's work directory.
    pub work: &'a Path,
    /// Data need not survive a crash.
    pub volatile: bool,
}

/// Mounts an overlay, hidden under its own upper directory, and returns its root.
///
/// To be called in a mount namespace of its own. Any number of layers (500 on kernels of today) of
/// any length of path.
///
/// # Errors
///
/// `ENOSPC` where there is no room for what the overlay itself needs; the kernel failed.
pub fn overlay(layers: &Overlay<'_>) -> Result<OwnedFd> {
    if layers.volatile {
        // The kernel refuses to mount a volatile overlay a second time while this mark stands.
        let mark = layers.work.join("work/incompat/volatile");
        let _ = rustix::fs::unlink(mark.join("dirty"));
        let _ = rustix::fs::rmdir(mark);
    }
    if layers.lowers.is_empty() {
        let mount = copy_path(layers.upper, Reach::Single)?;
        attach(mount.as_fd(), open_path(layers.upper)?.as_fd())?;
        return Ok(mount);
    }
    let mut holders = Vec::new();
    let mut options = vec![("source".to_owned(), Some("overlay".to_owned()))];
    let mut name = |path: &Path| -> Result<String> {
        match path.to_str() {
            Some(text) if text.len() < MAX_VALUE => Ok(text.to_owned()),
            _ => {
                let holder = open_path(path)?;
                let text = format!("/proc/self/fd/{}", holder.as_raw_fd());
                holders.push(holder);
                Ok(text)
            }
        }
    };
    for lower in layers.lowers {
        options.push(("lowerdir+".to_owned(), Some(name(lower)?)));
    }
    options.push(("upperdir".to_owned(), Some(name(layers.upper)?)));
    options.push(("workdir".to_owned(), Some(name(layers.work)?)));
    if layers.volatile {
        options.push(("volatile".to_owned(), None));
    }
    let mount = match create("overlay", &options, Attributes::empty()) {
        // Kernels before 6.5 do not know `lowerdir+`.
        Err(e) if e.errno() == Errno::INVAL => {
            let upper = open_path(layers.upper)?;
            let mount = old_overlay(layers).map_err(|_| e)?;
            return refuse_read_only(mount, &upper);
        }
        other => other?,
    };
    let upper = open_path(layers.upper)?;
    let mount = refuse_read_only(mount, &upper)?;
    attach(mount.as_fd(), upper.as_fd())?;
    Ok(mount)
}

/// An overlay that cannot make its work directory is mounted all the same, read-only, and the
/// kernel's log alone says why: most of the time the disk is full.
fn refuse_read_only(mount: OwnedFd, upper: &OwnedFd) -> Result<OwnedFd> {
    let is_read_only = |fd: &OwnedFd| {
        rustix::fs::fstatvfs(fd)
            .map(|found| found.f_flag.contains(StatVfsMountFlags::RDONLY))
            .map_err(|errno| Error::new("fstatvfs", errno))
    };
    if is_read_only(&mount)? && !is_read_only(upper)? {
        return Err(Error::new(
            "make the overlay's work directory",
            Errno::NOSPC,
        ));
    }
    Ok(mount)
}

/// Mounts an overlay by mount(2), whose options end at one page: layers are named by descriptor.
fn old_overlay(layers: &Overlay<'_>) -> Result<OwnedFd> {
    let holders: Vec<OwnedFd> = layers
        .lowers
        .iter()
        .map(|path| open_path(path))
        .collect::<Result<_>>()?;
    let (upper, work) = (open_path(layers.upper)?, open_path(layers.work)?);
    let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let lowers = holders.iter().map(name).collect::<Vec<_>>().join(":");
    let mut data = format!(
        "lowerdir={lowers},upperdir={},workdir={}",
        name(&upper),
        name(&work)
    );
    if layers.volatile {
        data.push_str(",volatile");
    }
    let data = std::ffi::CString::new(data).map_err(|_| Error::new("mount data", Errno::INVAL))?;
    rustix::mount::mount(
        "overlay",
        layers.upper,
        "overlay",
        MountFlags::empty(),
        data.as_c_str(),
    )
    .map_err(|e| Error::new(format!("mount(overlay, `{}`)", layers.upper.display()), e))?;
    open_path(layers.upper)
}

/// Mounts an EROFS image over a directory, read-only.
///
/// To be called in a mount namespace of its own. Mounted from its file (Linux 6.12); where the
/// kernel cannot, through a loop device, which goes with the mount.
///
/// # Errors
///
/// The kernel has no EROFS, or the file is no image of it.
pub fn cover_with_erofs(image: &Path, place: &Path) -> Result<()> {
    let target = open_path(place)?;
    let mounted = match erofs_from_file(image) {
        // "Block device required": the kernel takes no files; or none of this file system, as of
        // tmpfs. What is no image is none on a device either.
        Err(error) if matches!(error.errno(), Errno::NOTBLK | Errno::INVAL) => {
            erofs_from_device(image).map_err(|_| error)?
        }
        mounted => mounted?,
    };
    attach(mounted.as_fd(), target.as_fd())
}

fn erofs_from_file(image: &Path) -> Result<OwnedFd> {
    let (source, _holder) = match image.to_str() {
        Some(text) if text.len() < MAX_VALUE => (text.to_owned(), None),
        _ => {
            let file = open_image(image)?;
            (format!("/proc/self/fd/{}", file.as_raw_fd()), Some(file))
        }
    };
    erofs(source)
}

/// Mounts an EROFS image through a loop device, mounted nowhere.
///
/// # Errors
///
/// No loop devices, or the file is no image.
pub fn erofs_from_device(image: &Path) -> Result<OwnedFd> {
    let device = crate::loopdev::attach(&open_image(image)?)?;
    erofs(device.path.to_string_lossy().into_owned())
}

fn open_image(image: &Path) -> Result<std::fs::File> {
    rustix::fs::open(image, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map(Into::into)
        .map_err(|e| Error::new(format!("open(`{}`)", image.display()), e))
}

fn erofs(source: String) -> Result<OwnedFd> {
    let options = [("source".to_owned(), Some(source)), ("ro".to_owned(), None)];
    create("erofs", &options, Attributes::MOUNT_ATTR_RDONLY)
}

/// Takes away what was mounted over a directory last.
///
/// # Errors
///
/// Nothing is mounted there.
pub fn uncover(place: &Path) -> Result<()> {
    let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
    rustix::mount::unmount(place, flags)
        .map_err(|e| Error::new(format!("umount2(`{}`)", place.display()), e))
}

/// Makes a read-only overlay of directories, topmost first, mounted nowhere.
///
/// # Errors
///
/// No directory, or one that overlayfs refuses.
pub fn overlay_read_only(lowers: &[PathBuf]) -> Result<OwnedFd> {
    match lowers {
        [] => Err(Error::new("an overlay of nothing", Errno::INVAL)),
        // Overlayfs wants two layers at least.
        [only] => {
            let copy = copy_path(only, Reach::Single)?;
            change(
                copy.as_fd(),
                Change::set(Attributes::MOUNT_ATTR_RDONLY),
                Reach::Single,
            )?;
            Ok(copy)
        }
        _ => {
            let holders: Vec<OwnedFd> = lowers
                .iter()
                .map(|path| open_path(path))
                .collect::<Result<_>>()?;
            let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
            let mut options = vec![("source".to_owned(), Some("overlay".to_owned()))];
            options.extend(
                holders
                    .iter()
                    .map(|fd| ("lowerdir+".to_owned(), Some(name(fd)))),
            );
            match create("overlay", &options, Attributes::MOUNT_ATTR_RDONLY) {
                // Kernels before 6.5 do not know `lowerdir+`, and the old call wants a place.
                Err(e) if e.errno() == Errno::INVAL => {
                    let names = holders.iter().map(name).collect::<Vec<_>>().join(":");
                    crate::mntns::private(|| old_read_only(&lowers[0], &names)).map_err(|_| e)
                }
                made => made,
            }
        }
    }
}

fn old_read_only(place: &Path, lowers: &str) -> Result<OwnedFd> {
    let data = std::ffi::CString::new(format!("lowerdir={lowers}"))
        .map_err(|_| Error::new("mount data", Errno::INVAL))?;
    rustix::mount::mount(
        "overlay",
        place,
        "overlay",
        MountFlags::RDONLY,
        data.as_c_str(),
    )
    .map_err(|e| Error::new(format!("mount(overlay, `{}`)", place.display()), e))?;
    copy_path(place, Reach::Single)
}

/// Opens a host directory as a place, links followed.
pub fn open_path(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::new(format!("open(`{}`, O_PATH)", path.display()), e))
}

/// Sets the propagation of all mounts of this mount namespace.
pub fn propagate_all(propagation: Propagation) -> Result<()> {
    let flag = match propagation {
        Propagation::Private => MountPropagationFlags::PRIVATE,
        Propagation::Slave => MountPropagationFlags::DOWNSTREAM,
        Propagation::Shared => MountPropagationFlags::SHARED,
        Propagation::Unbindable => MountPropagationFlags::UNBINDABLE,
    };
    rustix::mount::mount_change("/", flag | MountPropagationFlags::REC)
        .map_err(|e| Error::new(format!("mount(`/`, {propagation:?})"), e))
}

/// Makes a mount the root of this process's mount namespace and drops all other mounts.
pub fn change_root(root: BorrowedFd<'_>) -> Result<()> {
    let old = rustix::fs::open(
        "/",
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|e| Error::new("open(`/`)", e))?;
    let enter = |fd: BorrowedFd<'_>| {
        rustix::process::fchdir(fd).map_err(|e| Error::new("fchdir to a root", e))
    };
    enter(root)?;
    // The old root is stacked on the new one: no directory for it is needed in the container.
    rustix::process::pivot_root(".", ".").map_err(|e| Error::new("pivot_root(`.`, `.`)", e))?;
    enter(old.as_fd())?;
    // Unmounting must not travel to the host's mounts.
    let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    rustix::mount::mount_change(".", flags).map_err(|e| Error::new("mount(`.`, slave)", e))?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)
        .map_err(|e| Error::new("umount2(`.`, MNT_DETACH)", e))?;
    rustix::process::chdir("/").map_err(|e| Error::new("chdir(`/`)", e))
}
