//! Device nodes of the host that a container asks for.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use crate::container::{DeviceMapping, HostConfig};
use crate::oci::HostDevice;
use crate::{Error, Result};

/// Directories of /dev that are the container's own or no devices.
const OWN: [&str; 7] = ["pts", "shm", "fd", "mqueue", ".udev", "lxc", "char"];
/// Most nodes of a privileged container: /dev of a large host has a few thousand.
const MOST: usize = 16_384;

/// Looks the devices up.
///
/// # Errors
///
/// One does not exist or is no device, in Docker's words.
pub(super) fn of(host: &HostConfig) -> Result<Vec<HostDevice>> {
    let mut devices = Vec::new();
    if host.privileged {
        walk(Path::new("/dev"), &mut devices);
    }
    for mapping in &host.resources.devices {
        gather(mapping, &mut devices)?;
    }
    Ok(devices)
}

fn gather(mapping: &DeviceMapping, devices: &mut Vec<HostDevice>) -> Result<()> {
    let path = &mapping.path_on_host;
    let failed = |why: String| {
        Error::invalid(format!(
            "error gathering device information while adding custom device \"{path}\": {why}"
        ))
    };
    let access = if mapping.permissions.is_empty() {
        "rwm"
    } else {
        &mapping.permissions
    };
    if !access.bytes().all(|c| b"rwm".contains(&c)) {
        return Err(failed(format!("invalid permissions {access}")));
    }
    let inside = if mapping.path_in_container.is_empty() {
        path
    } else {
        &mapping.path_in_container
    };
    if !inside.starts_with('/') || inside.split('/').any(|p| p == "..") {
        return Err(failed(format!("{inside} is not an absolute path")));
    }
    let metadata =
        std::fs::metadata(path).map_err(|_| failed("no such file or directory".into()))?;
    if metadata.is_dir() {
        let mut found = Vec::new();
        walk(Path::new(path), &mut found);
        for mut device in found {
            let rest = device
                .path
                .strip_prefix(path.as_str())
                .unwrap_or("")
                .to_owned();
            device.path = format!("{inside}{rest}");
            access.clone_into(&mut device.access);
            devices.push(device);
        }
        return Ok(());
    }
    let device =
        node(&metadata, inside, access).ok_or_else(|| failed("not a device node".into()))?;
    devices.retain(|d| d.path != device.path);
    devices.push(device);
    Ok(())
}

/// All device nodes below a directory; what cannot be read is left out.
fn walk(dir: &Path, found: &mut Vec<HostDevice>) {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return;
    };
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        // A link is not followed: what it leads to is found by its own name.
        let Ok(metadata) = std::fs::symlink_metadata(&path) else {
            continue;
        };
        let own = dir == Path::new("/dev") && OWN.iter().any(|o| *o == name);
        if metadata.is_dir() && !own {
            walk(&path, found);
        } else if path != Path::new("/dev/console")
            && found.len() < MOST
            && let Some(device) = path.to_str().and_then(|p| node(&metadata, p, "rwm"))
        {
            found.push(device);
        }
    }
}

fn node(metadata: &std::fs::Metadata, path: &str, access: &str) -> Option<HostDevice> {
    let kind = metadata.file_type();
    let kind = match (kind.is_char_device(), kind.is_block_device()) {
        (true, _) => "c",
        (_, true) => "b",
        _ => return None,
    };
    Some(HostDevice {
        path: path.to_owned(),
        kind,
        major: i64::from(rustix::fs::major(metadata.rdev())),
        minor: i64::from(rustix::fs::minor(metadata.rdev())),
        mode: metadata.mode() & 0o777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        access: access.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(path: &str, access: &str) -> Result<Vec<HostDevice>> {
        let mut host = HostConfig::default();
        host.resources.devices = vec![DeviceMapping {
            path_on_host: path.to_owned(),
            path_in_container: "/dev/x".to_owned(),
            permissions: access.to_owned(),
        }];
        of(&host)
    }

    #[test]
    fn nodes_are_looked_up_and_others_refused() {
        let found = ask("/dev/null", "r").unwrap();
        assert_eq!((found[0].kind, found[0].major, found[0].minor), ("c", 1, 3));
        assert_eq!(
            (found[0].path.as_str(), found[0].access.as_str()),
            ("/dev/x", "r")
        );
        for (path, access) in [
            ("/dev/nothing", ""),
            ("/etc/passwd", ""),
            ("/dev/null", "x"),
        ] {
            assert!(ask(path, access).is_err(), "{path} {access}");
        }
    }
}
