//! Who a process runs as: Docker's `user[:group]`, resolved against the container's own files.
//!
//! Nothing of the container is executed or loaded for it (no name service modules). A text of digits
//! only is always a number, so that an image cannot make `--user 1000` mean root by a line of that
//! name. The files are untrusted: regular files only, bounded in size.

use std::io::Read;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use spec::runtime::User;
use spec::{ErrorKind, WireError};
use sys::root::Root;

use crate::rootfs::guest;
use crate::step::{Stage, Step, invalid};

/// Longest passwd or group file that is read; what lies beyond is not seen.
const MAX_FILE: u64 = 1024 * 1024;

/// Highest user or group id.
const MAX_ID: u32 = 0x7fff_ffff;

/// Who a process runs as, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// All groups, the primary one included.
    pub groups: Vec<u32>,
    pub home: String,
}

/// Resolves a user of the specification inside a root.
pub(crate) fn resolve(root: &Root, user: &User) -> Step<Identity> {
    // Read only when needed: most containers run as a number or as root.
    let passwd = read(root, "/etc/passwd")?;
    let named = !user.username.is_empty() || !user.additional_group_names.is_empty();
    let group = if named {
        read(root, "/etc/group")?
    } else {
        String::new()
    };
    identity(user, &passwd, &group).map_err(|text| WireError::new(ErrorKind::InvalidArgument, text))
}

/// Reads a small text file inside the root; a missing one is empty.
fn read(root: &Root, path: &str) -> Step<String> {
    let text = || format!("failed to read `{path}`");
    // Opening a pipe or a terminal of the image must not block or have effects.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let fd = match root.open_at(&guest(path)?, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(e) if matches!(e.errno(), Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        Err(e) => return Err(e).stage(text),
    };
    let stat = rustix::fs::fstat(&fd).stage(text)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(invalid(format!("`{path}` is not a regular file")));
    }
    let mut bytes = Vec::new();
    std::fs::File::from(fd)
        .take(MAX_FILE)
        .read_to_end(&mut bytes)
        .stage(text)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// One line of /etc/passwd.
struct Account<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

fn accounts(passwd: &str) -> impl Iterator<Item = Account<'_>> {
    passwd.lines().filter_map(|line| {
        let fields: Vec<&str> = line.trim().split(':').collect();
        Some(Account {
            name: fields.first().filter(|name| !name.is_empty())?,
            uid: fields.get(2)?.parse().ok()?,
            gid: fields.get(3)?.parse().ok()?,
            home: fields.get(5).copied().unwrap_or(""),
        })
    })
}

/// Name, id and members of one line of /etc/group.
fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or("")))
    })
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit())
}

fn number(text: &str) -> Result<u32, String> {
    let range = || format!("uids and gids must be in range 0-{MAX_ID}");
    text.parse::<u32>()
        .ok()
        .filter(|id| *id <= MAX_ID)
        .ok_or_else(range)
}

fn identity(user: &User, passwd: &str, group: &str) -> Result<Identity, String> {
    let mut found = Identity {
        uid: user.uid,
        gid: user.gid,
        groups: Vec::new(),
        home: String::new(),
    };
    if !user.username.is_empty() {
        let (who, wanted_group) = match user.username.split_once(':') {
            Some((who, group)) => (who, Some(group).filter(|g| !g.is_empty())),
            None => (user.username.as_str(), None),
        };
        let account = find_account(who, passwd)?;
        found.uid = account.uid;
        found.gid = account.gid;
        match wanted_group {
            Some(text) => found.gid = find_group(text, group)?,
            None => {
                let member =
                    |list: &str| list.split(',').any(|m| !m.is_empty() && m == account.name);
                let others = groups(group).filter(|(_, _, list)| member(list));
                found.groups.extend(others.map(|(_, gid, _)| gid));
            }
        }
    }
    if found.uid > MAX_ID || found.gid > MAX_ID {
        return Err(format!("uids and gids must be in range 0-{MAX_ID}"));
    }
    found.groups.extend(&user.additional_gids);
    for name in &user.additional_group_names {
        found.groups.push(find_group(name, group)?);
    }
    // Leaving the primary group out would let "denied to the group" be passed by dropping it.
    found.groups.insert(0, found.gid);
    let mut seen = std::collections::BTreeSet::new();
    found.groups.retain(|gid| seen.insert(*gid));
    let home = accounts(passwd)
        .find(|a| a.uid == found.uid)
        .map_or("/", |a| a.home);
    found.home = if home.is_empty() {
        "/".to_owned()
    } else {
        home.to_owned()
    };
    Ok(found)
}

fn find_account<'a>(who: &'a str, passwd: &'a str) -> Result<Account<'a>, String> {
    if who.is_empty() {
        // `:group` means root with another group, as in Docker.
        return Ok(Account {
            name: "",
            uid: 0,
            gid: 0,
            home: "/",
        });
    }
    if is_number(who) {
        let uid = number(who)?;
        let known = accounts(passwd).find(|a| a.uid == uid);
        return Ok(known.unwrap_or(Account {
            name: "",
            uid,
            gid: 0,
            home: "/",
        }));
    }
    accounts(passwd)
        .find(|a| a.name == who)
        .ok_or_else(|| format!("unable to find user {who}: no matching entries in passwd file"))
}

fn find_group(text: &str, group: &str) -> Result<u32, String> {
    if is_number(text) {
        return number(text);
    }
    groups(group)
        .find(|(name, _, _)| *name == text)
        .map(|(_, gid, _)| gid)
        .ok_or_else(|| format!("unable to find group {text}: no matching entries in group file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "\
root:x:0:0:root:/root:/bin/sh
www:x:33:33::/var/www:
99999999999:x:0:0::/root:
1000:x:0:0::/root:
short:x
dev:x:1000:100::/home/dev:/bin/sh
";
    const GROUP: &str =
        "root:x:0:\nwww:x:33:\nusers:x:100:\naudio:x:29:dev,www\nbad\nvideo:x:44:dev\n";

    fn of(username: &str) -> Result<Identity, String> {
        let user = User {
            username: username.to_owned(),
            ..User::default()
        };
        identity(&user, PASSWD, GROUP)
    }

    #[test]
    fn names_numbers_and_groups() {
        for (text, uid, gid, groups, home) in [
            ("root", 0, 0, vec![0], "/root"),
            ("dev", 1000, 100, vec![100, 29, 44], "/home/dev"),
            ("1000", 1000, 100, vec![100, 29, 44], "/home/dev"),
            ("dev:audio", 1000, 29, vec![29], "/home/dev"),
            ("dev:7", 1000, 7, vec![7], "/home/dev"),
            ("4242", 4242, 0, vec![0], "/"),
            (":audio", 0, 29, vec![29], "/root"),
            ("dev:", 1000, 100, vec![100, 29, 44], "/home/dev"),
        ] {
            let found = of(text).unwrap();
            let expected = Identity {
                uid,
                gid,
                groups,
                home: home.to_owned(),
            };
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn numbers_are_never_names_and_never_wrap() {
        for text in [
            "2147483648",
            "4294967295",
            "4294967296",
            "99999999999",
            "-1",
            "0:-1",
        ] {
            let error = of(text).unwrap_err();
            assert_eq!(
                error, "uids and gids must be in range 0-2147483647",
                "{text}"
            );
        }
        for text in ["nobody", "0x0", "root:nosuch", " root", "1000 "] {
            assert!(of(text).is_err(), "{text}");
        }
        let missing = of("nobody").unwrap_err();
        assert_eq!(
            missing,
            "unable to find user nobody: no matching entries in passwd file"
        );
    }

    #[test]
    fn extra_groups_by_name_and_number() {
        let user = User {
            uid: 5,
            gid: 6,
            additional_gids: vec![7, 6],
            additional_group_names: vec!["video".to_owned(), "9".to_owned()],
            ..User::default()
        };
        let found = identity(&user, PASSWD, GROUP).unwrap();
        assert_eq!(found.groups, [6, 7, 44, 9]);
        assert_eq!(found.home, "/");
    }
}
