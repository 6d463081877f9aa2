//! Which of all that is asked for is seen at each path.
//!
//! Docker's order: what comes from other containers gives way to `-v` and `--mount`, which must not
//! meet each other or a `--tmpfs` at one path; what the image declares comes last, where nothing else is.

use std::collections::{BTreeMap, BTreeSet};

use super::{Kind, Mode, Point, Wanted, clean, duplicate, long, raw};
use crate::container::HostConfig;
use crate::{Error, Result};

/// Everything that points can come from.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    /// The container's settings.
    pub(crate) host: &'a HostConfig,
    /// Paths that image and user declare to be volumes.
    pub(crate) volumes: &'a BTreeSet<String>,
    /// Points of the containers that `--volumes-from` names, already changed by its mode.
    pub(crate) from: Vec<Point>,
}

/// All points of a container, in the order of their paths.
///
/// # Errors
///
/// Malformed or doubled mounts, in Docker's words.
pub(crate) fn plan(sources: Sources<'_>) -> Result<Vec<Wanted>> {
    let host = sources.host;
    // Empty means: that of the volume which is there.
    let driver = host.volume_driver.as_str();
    let mut points: BTreeMap<String, Wanted> = BTreeMap::new();
    for point in sources.from {
        points.insert(point.target.clone(), point.into());
    }
    let tmpfs: BTreeSet<String> = host.tmpfs.keys().map(|target| clean(target)).collect();
    let raws = host.binds.iter().map(|text| raw::parse(text, driver));
    let longs = host.mounts.iter().map(|mount| long::parse(mount, driver));
    let mut own = BTreeSet::new();
    for wanted in raws.chain(longs) {
        let wanted = wanted?;
        let target = wanted.point.target.clone();
        if tmpfs.contains(&target) || !own.insert(target.clone()) {
            return Err(duplicate(&target));
        }
        points.insert(target, wanted);
    }
    for target in tmpfs {
        points.remove(&target);
        own.insert(target);
    }
    for text in sources.volumes {
        let target = clean(text);
        // A root of its own is nothing that a volume can be mounted on.
        if target == "/" || own.contains(&target) || points.contains_key(&target) {
            continue;
        }
        let mut point = Point::new(Kind::Volume, &target);
        driver.clone_into(&mut point.driver);
        point.anonymous = true;
        points.insert(target, point.into());
    }
    Ok(points.into_values().collect())
}

/// Reads `container[:mode]`; returns the container and how its points are changed.
///
/// # Errors
///
/// Empty, or a mode that is none.
pub(crate) fn parse_volumes_from(text: &str) -> Result<(&str, impl Fn(Point) -> Point)> {
    if text.is_empty() {
        return Err(Error::invalid(
            "volumes-from specification cannot be an empty string",
        ));
    }
    let (name, words) = text.split_once(':').unwrap_or((text, ""));
    let mode = Mode::parse(words)?;
    if mode.no_copy || mode.owners.is_some() {
        return Err(Error::invalid(format!("invalid mode: {words}")));
    }
    let change = move |mut point: Point| {
        point.writable &= !mode.read_only;
        if let Some(propagation) = mode
            .propagation
            .as_ref()
            .filter(|_| point.kind == Kind::Bind)
        {
            point.propagation.clone_from(propagation);
        }
        // Its content is there already, and it goes with the container it came with.
        point.no_copy = true;
        point.anonymous = false;
        point.mode.clear();
        point
    };
    Ok((name, change))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::Mount;

    fn targets(host: &HostConfig, volumes: &[&str], from: Vec<Point>) -> Result<Vec<String>> {
        let volumes = volumes.iter().map(|v| (*v).to_owned()).collect();
        let sources = Sources {
            host,
            volumes: &volumes,
            from,
        };
        let shown = |wanted: Wanted| {
            let point = wanted.point;
            format!("{} {}", point.target, point.name)
        };
        Ok(plan(sources)?.into_iter().map(shown).collect())
    }

    fn host(binds: &[&str], tmpfs: &[&str]) -> HostConfig {
        HostConfig {
            binds: binds.iter().map(|b| (*b).to_owned()).collect(),
            tmpfs: tmpfs
                .iter()
                .map(|t| ((*t).to_owned(), String::new()))
                .collect(),
            ..HostConfig::default()
        }
    }

    #[test]
    fn the_users_own_wins_over_others_and_the_image_comes_last() {
        let from = |name: &str, target: &str| Point {
            name: name.to_owned(),
            ..Point::new(Kind::Volume, target)
        };
        let got = targets(
            &host(&["mine:/v"], &["/t"]),
            &["/v", "/t", "/w/../new", "/"],
            vec![from("theirs", "/v"), from("kept", "/k"), from("lost", "/t")],
        );
        assert_eq!(got.unwrap(), ["/k kept", "/new ", "/v mine"]);
    }

    #[test]
    fn two_at_one_path_are_refused() {
        let twice = |host: &HostConfig| targets(host, &[], Vec::new()).unwrap_err().to_string();
        assert_eq!(
            twice(&host(&["aa:/x", "bb:/x/"], &[])),
            "Duplicate mount point: /x"
        );
        assert_eq!(
            twice(&host(&["aa:/x"], &["/x"])),
            "Duplicate mount point: /x"
        );
        let mut both = host(&["aa:/x"], &[]);
        both.mounts.push(Mount {
            kind: "volume".into(),
            target: "/x".into(),
            ..Mount::default()
        });
        assert_eq!(twice(&both), "Duplicate mount point: /x");
    }

    #[test]
    fn volumes_from_can_only_take_rights_away() {
        let point = Point {
            mode: "z".to_owned(),
            anonymous: true,
            ..Point::new(Kind::Volume, "/v")
        };
        let (name, change) = parse_volumes_from("web:ro").unwrap();
        let changed = change(point.clone());
        assert_eq!((name, changed.writable), ("web", false));
        assert!(changed.no_copy && !changed.anonymous && changed.mode.is_empty());
        let (_, change) = parse_volumes_from("web:rw").unwrap();
        assert!(!change(changed).writable);
        let error = |text: &str| {
            parse_volumes_from(text)
                .map(|_| ())
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            error(""),
            "volumes-from specification cannot be an empty string"
        );
        assert_eq!(error("web:foo"), "invalid mode: foo");
        assert_eq!(error("web:ro:x"), "invalid mode: ro:x");
        assert_eq!(error("web:nocopy"), "invalid mode: nocopy");
    }
}
