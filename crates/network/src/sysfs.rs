//! What sysfs tells of links: the same as netlink, without the kernel's lock for links.
//!
//! A question over netlink waits for whoever makes or removes a link or a network namespace anywhere on
//! the machine: tens of milliseconds where containers come and go. sysfs answers at once. The
//! mount is our own and nobody else sees it: `/sys` may be another namespace's, or not be there.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

/// A number of 32 bits and the end of its line.
const NUMBER_BYTES: usize = 16;

/// The links of one network namespace.
#[derive(Debug)]
pub(crate) struct Links {
    root: OwnedFd,
}

impl Links {
    /// Mounts sysfs for the calling thread's network namespace; none where that is not possible.
    pub(crate) fn open() -> Option<Self> {
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        sys::mount::create("sysfs", &[], attributes)
            .inspect_err(|error| {
                let error = spec::error::chain(error);
                tracing::debug!(error, "no sysfs: links are asked for over netlink");
            })
            .ok()
            .map(|root| Self { root })
    }

    /// The index of what a link is a port of; none if the link is gone or a port of nothing.
    pub(crate) fn master(&self, name: &str) -> Result<Option<u32>, Errno> {
        let path = format!("class/net/{name}/master/ifindex");
        let file = match openat(
            &self.root,
            path,
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        ) {
            Err(Errno::NOENT) => return Ok(None),
            other => other?,
        };
        let mut buffer = [0; NUMBER_BYTES];
        let length = rustix::io::read(&file, &mut buffer)?;
        let text = std::str::from_utf8(&buffer[..length]).ok();
        let index = text.and_then(|text| text.trim_end().parse().ok());
        index.map(Some).ok_or(Errno::INVAL)
    }
}

#[cfg(test)]
mod tests {
    use sys::netlink::{Protocol, Socket};

    use super::*;

    #[test]
    fn the_master_is_told_as_netlink_tells_it() {
        let checked = sys::netns::create(|_| {
            check();
            Ok::<_, sys::Error>(())
        });
        checked.expect("this test needs root");
    }

    fn check() {
        let run = |arguments: &str| {
            let done = std::process::Command::new("ip")
                .args(arguments.split(' '))
                .status();
            assert!(done.unwrap().success(), "{arguments}");
        };
        run("link add br0 type bridge");
        run("link add one type veth peer name two");
        let links = Links::open().expect("the kernel has sysfs");
        assert_eq!(links.master("one"), Ok(None));
        assert_eq!(links.master("nobody"), Ok(None));
        run("link set one master br0");
        let mut socket = Socket::open(Protocol::Route).unwrap();
        let bridge = socket.link("br0").unwrap().unwrap().index;
        assert_eq!(links.master("one"), Ok(Some(bridge)));
        run("link delete br0");
        assert_eq!(links.master("one"), Ok(None));
        run("link delete two");
        assert_eq!(links.master("one"), Ok(None));
    }
}
