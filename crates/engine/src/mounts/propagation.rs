//! Whether mounts can travel as a bind asks for: decided from the host's table of mounts.

use std::path::Path;

use spec::ErrorKind;

use super::{Kind, Mode, Point, clean};
use crate::container::HostConfig;
use crate::{Error, Result};

/// Refuses a bind whose source's mount has not the propagation that the bind wants to have.
///
/// `source` is the bind's source without links; `mounts` is the text of `/proc/self/mountinfo`.
///
/// # Errors
///
/// In Docker's words.
pub(crate) fn check(point: &Point, source: &str, mounts: &str) -> Result<()> {
    let (wanted, name): (&[&str], _) = match point.propagation.as_str() {
        "shared" | "rshared" => (&["shared:"], "shared"),
        "slave" | "rslave" => (&["shared:", "master:"], "shared or slave"),
        _ => return Ok(()),
    };
    let refuse = |why: String| Err(Error::refused(ErrorKind::Internal, why));
    let Some(mount) = mount_of(source, mounts) else {
        return refuse(format!("Could not find source mount of {}", point.source));
    };
    let travels = |field: &&str| wanted.iter().any(|prefix| field.starts_with(prefix));
    if mount.optional.iter().any(travels) {
        return Ok(());
    }
    refuse(format!(
        "path {} is mounted on {} but it is not a {name} mount",
        point.source, mount.place
    ))
}

/// Lets a bind follow the host where its source holds the daemon's data or lies in it: what is
/// unmounted there would otherwise stay in use in the container.
///
/// `host` is what the user wants, `root` the directory of the data.
///
/// # Errors
///
/// In Docker's words, where the user wants another propagation.
pub(crate) fn follow_data(point: &mut Point, host: &HostConfig, root: &Path) -> Result<()> {
    if !is_of_data(point, root) {
        return Ok(());
    }
    match asked(point, host).as_deref() {
        None if point.propagation == "rprivate" => "rslave".clone_into(&mut point.propagation),
        None | Some("rslave" | "rshared") => {}
        Some(asked) => {
            return Err(Error::invalid(format!(
                "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" \
                 when mount source is within the daemon root, daemon root: {root:?}, bind mount \
                 source: {:?}, propagation: \"{asked}\"",
                point.source
            )));
        }
    }
    Ok(())
}

/// Tells whether it was [`follow_data`] that chose a bind's propagation, not the user.
pub(crate) fn follows_data(point: &Point, host: &HostConfig, root: &Path) -> bool {
    is_of_data(point, root) && asked(point, host).is_none()
}

fn is_of_data(point: &Point, root: &Path) -> bool {
    let source = Path::new(&point.source);
    point.kind == Kind::Bind && (source.starts_with(root) || root.starts_with(source))
}

/// The propagation that the user wants a point to have.
fn asked(point: &Point, host: &HostConfig) -> Option<String> {
    let mode = Mode::parse(&point.mode).unwrap_or_default();
    mode.propagation.or_else(|| {
        let mut mounts = host.mounts.iter();
        let mount = mounts.find(|mount| clean(&mount.target) == point.target)?;
        Some(mount.propagation.clone()).filter(|asked| !asked.is_empty())
    })
}

/// Tells whether a point needs [`check`].
pub(crate) fn needs_check(point: &Point) -> bool {
    let words = ["shared", "rshared", "slave", "rslave"];
    point.kind == Kind::Bind && words.contains(&point.propagation.as_str())
}

struct Line<'t> {
    place: String,
    optional: Vec<&'t str>,
}

/// The mount that a path is on: the last one at the longest place above it.
fn mount_of<'t>(path: &str, mounts: &'t str) -> Option<Line<'t>> {
    let mut found: Option<Line<'t>> = None;
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(4);
        let (Some(place), Some(_options)) = (fields.next(), fields.next()) else {
            continue;
        };
        let place = unescape(place);
        let above = place == "/"
            || path
                .strip_prefix(&place)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let longest = found
            .as_ref()
            .is_none_or(|found| found.place.len() <= place.len());
        if above && longest {
            found = Some(Line {
                place,
                optional: fields.take_while(|field| *field != "-").collect(),
            });
        }
    }
    found
}

/// Takes back how the kernel writes blanks and backslashes: `\040`.
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..3).filter(|_| *first == b'\\');
        let code = code.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &tail[3..];
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 27 0:30 / /p rw - tmpfs tmpfs rw
41 40 0:31 / /p/in\\040side rw master:7 - tmpfs tmpfs rw
42 27 0:32 / /twice rw shared:9 - tmpfs tmpfs rw
43 42 0:33 / /twice rw - tmpfs tmpfs rw
44 27 0:34 / /both rw shared:4 master:2 - tmpfs tmpfs rw
";

    #[test]
    fn binds_of_the_data_follow_the_host() {
        let root = Path::new("/var/lib/d");
        let of = |source: &str, mode: &str| {
            let mut point = Point::new(Kind::Bind, "/t");
            source.clone_into(&mut point.source);
            mode.clone_into(&mut point.mode);
            let given = asked(&point, &HostConfig::default());
            point.propagation = given.unwrap_or_else(|| "rprivate".to_owned());
            follow_data(&mut point, &HostConfig::default(), root)
                .map_err(|error| error.to_string())
                .map(|()| {
                    let chosen = follows_data(&point, &HostConfig::default(), root);
                    (point.propagation, chosen)
                })
        };
        for source in ["/", "/var", "/var/lib/d", "/var/lib/d/volumes"] {
            assert_eq!(of(source, "ro").unwrap(), ("rslave".to_owned(), true));
            let asked = ("rshared".to_owned(), false);
            assert_eq!(of(source, "ro,rshared").unwrap(), asked);
            assert!(of(source, "private").is_err());
        }
        for source in ["/va", "/var/lib/data", "/home"] {
            assert_eq!(of(source, "").unwrap(), ("rprivate".to_owned(), false));
            assert_eq!(of(source, "shared").unwrap().0, "shared");
        }
        assert_eq!(
            of("/var", "shared").unwrap_err(),
            "invalid mount config: must use either propagation mode \"rslave\" or \"rshared\" when \
             mount source is within the daemon root, daemon root: \"/var/lib/d\", bind mount source: \
             \"/var\", propagation: \"shared\""
        );
        let mount = |propagation: &str| crate::container::Mount {
            target: "/t/".to_owned(),
            propagation: propagation.to_owned(),
            ..crate::container::Mount::default()
        };
        for (propagation, want) in [("", None), ("rshared", Some("rshared".to_owned()))] {
            let host = HostConfig {
                mounts: vec![mount(propagation)],
                ..HostConfig::default()
            };
            assert_eq!(asked(&Point::new(Kind::Bind, "/t"), &host), want);
        }
    }

    #[test]
    fn sources_have_what_binds_want() {
        for (source, propagation, want) in [
            ("/x", "rshared", Ok(())),
            ("/pp", "shared", Ok(())),
            ("/p", "private", Ok(())),
            (
                "/p/x",
                "shared",
                Err("path /p/x is mounted on /p but it is not a shared mount"),
            ),
            (
                "/p",
                "rslave",
                Err("path /p is mounted on /p but it is not a shared or slave mount"),
            ),
            ("/p/in side/y", "slave", Ok(())),
            (
                "/p/in side/y",
                "shared",
                Err("path /p/in side/y is mounted on /p/in side but it is not a shared mount"),
            ),
            (
                "/twice",
                "slave",
                Err("path /twice is mounted on /twice but it is not a shared or slave mount"),
            ),
            ("/both/x", "shared", Ok(())),
        ] {
            let mut point = Point::new(Kind::Bind, "/t");
            source.clone_into(&mut point.source);
            propagation.clone_into(&mut point.propagation);
            let got = check(&point, source, TABLE).map_err(|error| error.to_string());
            assert_eq!(got, want.map_err(str::to_owned), "{source} {propagation}");
        }
    }
}
