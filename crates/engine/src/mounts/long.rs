//! Mounts in their long form, as `--mount` sends them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    DEFAULT_MODE, IdMap, Kind, Owners, PROPAGATIONS, Point, VolumeSettings, Wanted, absolute,
    bad_config, check_target, clean,
};
use crate::container::Mount;
use crate::{Error, Result, oci};

/// `VolumeOptions` of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VolumeOptions {
    no_copy: bool,
    labels: Option<BTreeMap<String, String>>,
    subpath: String,
    driver_config: Option<DriverConfig>,
}

/// The driver in it.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DriverConfig {
    name: String,
    options: Option<BTreeMap<String, String>>,
}

/// `ImageOptions` of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ImageOptions {
    subpath: String,
}

/// Reads a mount; `driver` is that of volumes which name none.
///
/// # Errors
///
/// Malformed, in Docker's words.
pub(crate) fn parse(mount: &Mount, driver: &str) -> Result<Wanted> {
    let kind = mount.kind.as_str();
    let refuse = |why: String| Error::invalid(bad_config(kind, &why));
    let kind = match kind {
        "bind" => Kind::Bind,
        "volume" => Kind::Volume,
        "tmpfs" => Kind::Tmpfs,
        "image" => Kind::Image,
        _ => {
            // As dockerd outside a swarm says it of `cluster` too.
            return Err(refuse("mount type unknown".to_owned()));
        }
    };
    check_target(&mount.target).map_err(&refuse)?;
    for (key, of) in [
        ("VolumeOptions", Kind::Volume),
        ("ImageOptions", Kind::Image),
    ] {
        if kind != of && mount.rest.contains_key(key) {
            let kind = kind.as_str();
            return Err(Error::invalid(format!(
                "{key} must not be specified on mount type \"{kind}\""
            )));
        }
    }
    let sized = (mount.tmpfs_size, mount.tmpfs_mode) != (0, 0);
    if kind != Kind::Tmpfs && (sized || !mount.tmpfs_options.is_empty()) {
        return Err(Error::invalid(format!(
            "TmpfsOptions must not be specified on mount type \"{}\"",
            kind.as_str()
        )));
    }
    let mut point = Point::new(kind, &mount.target);
    point.writable = !mount.read_only;
    match kind {
        Kind::Bind => bind(mount, &mut point).map_err(refuse)?,
        Kind::Volume => return volume(mount, point, driver, &refuse),
        Kind::Tmpfs => tmpfs(mount, &mut point).map_err(refuse)?,
        Kind::Image => {
            let options: ImageOptions = read(mount, "ImageOptions")?;
            source(mount).map_err(&refuse)?;
            point.subpath = within(options.subpath).map_err(refuse)?;
            mount.source.clone_into(&mut point.name);
            point.writable = false;
            "rprivate".clone_into(&mut point.propagation);
        }
    }
    Ok(point.into())
}

fn source(mount: &Mount) -> std::result::Result<(), String> {
    if mount.source.is_empty() {
        return Err("field Source must not be empty".to_owned());
    }
    Ok(())
}

fn bind(mount: &Mount, point: &mut Point) -> std::result::Result<(), String> {
    source(mount)?;
    absolute(&mount.source)?;
    point.source = clean(&mount.source);
    point.propagation = match mount.propagation.as_str() {
        "" => "rprivate".to_owned(),
        word if PROPAGATIONS.contains(&word) => word.to_owned(),
        word => return Err(format!("invalid propagation mode: {word}")),
    };
    if mount.read_only_non_recursive && mount.read_only_force_recursive {
        return Err(
            "ReadOnlyNonRecursive and ReadOnlyForceRecursive must not both be set".to_owned(),
        );
    }
    point.non_recursive = mount.non_recursive;
    point.shallow_read_only = mount.read_only_non_recursive;
    point.create_source = mount.create_mountpoint;
    point.owners = match (mount.id_map.as_str(), mount.match_user) {
        ("", false) => None,
        ("", true) => Some(Owners::Match),
        (map, false) => Some(Owners::Map(IdMap::parse(map)?)),
        (_, true) => return Err("IDMap and MatchUser must not both be set".to_owned()),
    };
    Ok(())
}

fn volume(
    mount: &Mount,
    mut point: Point,
    driver: &str,
    refuse: &dyn Fn(String) -> Error,
) -> Result<Wanted> {
    let options: VolumeOptions = read(mount, "VolumeOptions")?;
    point.anonymous = mount.source.is_empty();
    if point.anonymous && mount.read_only {
        return Err(refuse(
            "must not set ReadOnly mode when using anonymous volumes".to_owned(),
        ));
    }
    if point.anonymous && !options.subpath.is_empty() {
        return Err(refuse(
            "must not set Subpath when using anonymous volumes".to_owned(),
        ));
    }
    point.subpath = within(options.subpath).map_err(refuse)?;
    mount.source.clone_into(&mut point.name);
    let config = options.driver_config.unwrap_or_default();
    point.driver = if config.name.is_empty() {
        driver.to_owned()
    } else {
        config.name
    };
    point.no_copy = options.no_copy;
    DEFAULT_MODE.clone_into(&mut point.mode);
    let volume = VolumeSettings {
        labels: options.labels.unwrap_or_default(),
        options: config.options,
    };
    Ok(Wanted { point, volume })
}

fn tmpfs(mount: &Mount, point: &mut Point) -> std::result::Result<(), String> {
    if !mount.source.is_empty() {
        return Err("field Source must not be specified".to_owned());
    }
    point.options = oci::tmpfs_of(mount).map_err(|error| error.to_string())?;
    Ok(())
}

/// Accepts a path that stays below the place it starts from.
fn within(subpath: String) -> std::result::Result<String, String> {
    let mut depth = 0usize;
    for part in subpath.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => {
                return Err("subpath must be a relative path within the volume".to_owned());
            }
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    if subpath.starts_with('/') || subpath.contains('\0') {
        return Err("subpath must be a relative path within the volume".to_owned());
    }
    Ok(subpath)
}

fn read<T: Default + for<'de> Deserialize<'de>>(mount: &Mount, key: &str) -> Result<T> {
    match mount.rest.get(key) {
        None | Some(serde_json::Value::Null) => Ok(T::default()),
        Some(value) => T::deserialize(value).map_err(|source| Error::Decode {
            what: format!("failed to read {key} of the mount at {}", mount.target),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, source: &str, target: &str) -> Mount {
        Mount {
            kind: kind.to_owned(),
            source: source.to_owned(),
            target: target.to_owned(),
            ..Mount::default()
        }
    }

    fn with(mut mount: Mount, key: &str, value: serde_json::Value) -> Mount {
        mount.rest.insert(key.to_owned(), value);
        mount
    }

    #[test]
    fn a_volume_brings_what_it_is_made_with() {
        let options = serde_json::json!({
            "NoCopy": true, "Labels": {"q": "r"}, "Subpath": "a/b",
            "DriverConfig": {"Options": {"type": "tmpfs", "device": "tmpfs"}}
        });
        let wanted = parse(
            &with(of("volume", "aa", "/x"), "VolumeOptions", options),
            "local",
        )
        .unwrap();
        let point = wanted.point;
        assert_eq!(
            (point.name.as_str(), point.driver.as_str()),
            ("aa", "local")
        );
        assert_eq!((point.no_copy, point.subpath.as_str()), (true, "a/b"));
        assert_eq!(wanted.volume.labels["q"], "r");
        assert_eq!(wanted.volume.options.unwrap()["type"], "tmpfs");
    }

    #[test]
    fn options_of_a_tmpfs_are_asked_for_by_name() {
        let of = |kind: &str, options: &[&[&str]]| {
            let words = |option: &&[&str]| option.iter().map(|w| (*w).to_owned()).collect();
            let mount = Mount {
                tmpfs_options: options.iter().map(words).collect(),
                ..of(kind, "", "/x")
            };
            parse(&mount, "").map_err(|error| error.to_string())
        };
        let options = |options: &[&[&str]]| of("tmpfs", options).unwrap().point.options;
        assert_eq!(options(&[]), ["noexec", "nosuid", "nodev"]);
        assert_eq!(options(&[&["exec"]]), ["nosuid", "nodev", "exec"]);
        assert_eq!(options(&[&["noexec"]]), ["nosuid", "nodev", "noexec"]);
        for (bad, want) in [
            (&["uid", "5"][..], "invalid option: uid"),
            (&["ro"], "invalid option: ro"),
            (&[], "invalid option array length"),
            (&["a", "b", "c"], "invalid option array length"),
        ] {
            let want = format!("invalid mount config for type \"tmpfs\": {want}");
            assert_eq!(of("tmpfs", &[bad]).unwrap_err(), want);
        }
        assert_eq!(
            of("volume", &[&["exec"]]).unwrap_err(),
            "TmpfsOptions must not be specified on mount type \"volume\""
        );
    }

    #[test]
    fn refusals_are_dockers() {
        let read_only = |mount: Mount| Mount {
            read_only: true,
            ..mount
        };
        let subpath = serde_json::json!({"Subpath": "../s"});
        for (mount, want) in [
            (
                of("bind", "tmp", "/x"),
                "invalid mount config for type \"bind\": invalid mount path: 'tmp' mount path must be absolute",
            ),
            (
                of("bind", "", "/x"),
                "invalid mount config for type \"bind\": field Source must not be empty",
            ),
            (
                of("bind", "/tmp", "x"),
                "invalid mount config for type \"bind\": invalid mount path: 'x' mount path must be absolute",
            ),
            (
                of("bind", "/tmp", "/"),
                "invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
            ),
            (
                of("bind", "/tmp", ""),
                "invalid mount config for type \"bind\": field Target must not be empty",
            ),
            (
                with(
                    of("bind", "/tmp", "/x"),
                    "VolumeOptions",
                    serde_json::json!({}),
                ),
                "VolumeOptions must not be specified on mount type \"bind\"",
            ),
            (
                of("tmpfs", "q", "/x"),
                "invalid mount config for type \"tmpfs\": field Source must not be specified",
            ),
            (
                of("image", "", "/x"),
                "invalid mount config for type \"image\": field Source must not be empty",
            ),
            (
                of("npipe", "a", "/x"),
                "invalid mount config for type \"npipe\": mount type unknown",
            ),
            (
                of("cluster", "a", "/x"),
                "invalid mount config for type \"cluster\": mount type unknown",
            ),
            (
                of("", "a", "/x"),
                "invalid mount config for type \"\": mount type unknown",
            ),
            (
                read_only(of("volume", "", "/x")),
                "invalid mount config for type \"volume\": must not set ReadOnly mode when using anonymous volumes",
            ),
            (
                with(of("volume", "aa", "/x"), "VolumeOptions", subpath),
                "invalid mount config for type \"volume\": subpath must be a relative path within the volume",
            ),
            (
                with(
                    of("volume", "", "/x"),
                    "VolumeOptions",
                    serde_json::json!({"Subpath": "s"}),
                ),
                "invalid mount config for type \"volume\": must not set Subpath when using anonymous volumes",
            ),
        ] {
            assert_eq!(parse(&mount, "local").unwrap_err().to_string(), want);
        }
    }

    #[test]
    fn subpaths_stay_below() {
        for good in ["", "a", "a/../b", "./a", "a//b"] {
            assert!(within(good.to_owned()).is_ok(), "{good}");
        }
        for bad in ["..", "/a", "a/../../b", "../a", "a/../.."] {
            assert!(within(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
