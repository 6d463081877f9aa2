//! Which device nodes the processes of a group may open.

use std::fmt;

use rustix::io::Errno;

use super::{Cgroup, write};
use crate::{Error, Result};

/// Kind of device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Both kinds, every number.
    All,
    /// Character device.
    Char,
    /// Block device.
    Block,
}

/// One rule; later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceRule {
    /// Allow or deny.
    pub allow: bool,
    /// Kind of node.
    pub kind: DeviceKind,
    /// Major number, all when absent.
    pub major: Option<u32>,
    /// Minor number, all when absent.
    pub minor: Option<u32>,
    /// Opening for reading.
    pub read: bool,
    /// Opening for writing.
    pub write: bool,
    /// Making the node.
    pub mknod: bool,
}

impl fmt::Display for DeviceRule {
    /// Writes the form of the v1 files: `c 1:3 rwm`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
        let kind = match self.kind {
            DeviceKind::All => return f.write_str("a"),
            DeviceKind::Char => 'c',
            DeviceKind::Block => 'b',
        };
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        for (letter, wanted) in [('r', self.read), ('w', self.write), ('m', self.mknod)] {
            if wanted {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

impl Cgroup {
    /// Denies every device, then applies the rules in order.
    pub fn set_devices(&self, rules: &[DeviceRule]) -> Result<()> {
        let Some(dir) = self.controller("devices") else {
            return Err(Error::new("find the cgroup controller `devices`", Errno::NODEV));
        };
        write(dir, "devices.deny", "a")?;
        for rule in rules {
            let file = if rule.allow { "devices.allow" } else { "devices.deny" };
            write(dir, file, &rule.to_string())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_text() {
        let rule = DeviceRule {
            allow: true,
            kind: DeviceKind::Char,
            major: Some(1),
            minor: None,
            read: true,
            write: false,
            mknod: true,
        };
        assert_eq!(rule.to_string(), "c 1:* rm");
    }
}
