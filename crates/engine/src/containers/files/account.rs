//! Who a container's user is, by the container's own account files.

use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};
use sys::root::Root;

use super::super::record::Record;
use super::super::shared::Shared;
use super::view::{Failure, guest, mount_root};
use crate::{Error, Result};

/// Longest passwd or group file that is read.
const MAX_ACCOUNTS: u64 = 1024 * 1024;

/// User and group of a container that does not run, by number.
///
/// # Errors
///
/// A name that the container's files do not know.
pub(in super::super) fn user(shared: &Shared, record: &Record) -> Result<(u32, u32)> {
    let text = record.config.user.as_str();
    let (who, group) = text.split_once(':').unwrap_or((text, ""));
    if let (Ok(uid), Ok(gid)) = (who.parse(), group.parse()) {
        return Ok((uid, gid));
    }
    if text.is_empty() {
        return Ok((0, 0));
    }
    let rootfs = shared.store.snapshot(&record.id.to_string())?.rootfs;
    let found = sys::mntns::private(|| -> std::result::Result<_, Failure> {
        let files = mount_root(&rootfs)?;
        Ok(owner(&files.root, text)?)
    });
    found
        .map(Option::unwrap_or_default)
        .map_err(|failure| failure.into_error("failed to look up the container's user"))
}

/// Owner and group that a container's user stands for; `None` for root by default.
///
/// # Errors
///
/// A name that the container's files do not know.
pub(super) fn owner(root: &Root, user: &str) -> Result<Option<(u32, u32)>> {
    if user.is_empty() {
        return Ok(None);
    }
    let (who, group) = user.split_once(':').unwrap_or((user, ""));
    let unknown =
        |what: &str| Error::invalid(format!("unable to find {what}: no matching entries"));
    let passwd = lines(root, "/etc/passwd")?;
    let account = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let (name, uid, gid) = (fields.first()?, fields.get(2)?, fields.get(3)?);
        (*name == who || *uid == who)
            .then(|| Some((uid.parse::<u32>().ok()?, gid.parse::<u32>().ok()?)))?
    });
    // Digits are always a number, whatever names the image invents.
    let uid = match who.parse::<u32>() {
        Ok(uid) => uid,
        Err(_) => account.ok_or_else(|| unknown(&format!("user {who}")))?.0,
    };
    let gid = match group.parse::<u32>() {
        Ok(gid) => gid,
        Err(_) if group.is_empty() => account.filter(|a| a.0 == uid).map_or(0, |a| a.1),
        Err(_) => lines(root, "/etc/group")?
            .lines()
            .find_map(|line| {
                let fields: Vec<&str> = line.split(':').collect();
                (*fields.first()? == group).then(|| fields.get(2)?.parse().ok())?
            })
            .ok_or_else(|| unknown(&format!("group {group}")))?,
    };
    Ok(Some((uid, gid)))
}

/// Reads a small file of a container; nothing else than a regular file is opened for reading.
fn lines(root: &Root, path: &str) -> Result<String> {
    let failed = |source| Error::System {
        what: format!("failed to read the container's {path}"),
        source,
    };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = match root.open_at(&guest(path).map_err(failed)?, flags, Mode::empty()) {
        Ok(file) => file,
        Err(error) if error.errno() == rustix::io::Errno::NOENT => return Ok(String::new()),
        Err(error) => return Err(failed(error)),
    };
    if sys::root::metadata(file.as_fd()).map_err(failed)?.kind != sys::root::Kind::File {
        return Ok(String::new());
    }
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(
        &mut std::io::Read::take(std::fs::File::from(file), MAX_ACCOUNTS),
        &mut bytes,
    )
    .map_err(|e| Error::io(format!("failed to read the container's {path}"), e))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers_or_names_of_the_container() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        let passwd = "root:x:0:0::/:\nweb:x:33:34::/:\n77:x:0:0::/:\n";
        std::fs::write(dir.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(dir.path().join("etc/group"), "adm:x:4:\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let of = |user: &str| owner(&root, user);
        assert_eq!(of("").unwrap(), None);
        assert_eq!(of("web").unwrap(), Some((33, 34)));
        assert_eq!(of("33").unwrap(), Some((33, 34)));
        assert_eq!(of("1234:5").unwrap(), Some((1234, 5)));
        assert_eq!(of("web:adm").unwrap(), Some((33, 4)));
        assert_eq!(of("77").unwrap(), Some((77, 0)));
        assert!(of("nobody").is_err());
        assert!(of("web:nope").is_err());
    }
}
