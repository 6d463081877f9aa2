//! `-v` texts: `[source:]target[:mode]`.

use super::{DEFAULT_MODE, Kind, Mode, Point, Wanted, absolute, bad_config, check_target, clean};
use crate::{Error, Result};

/// Reads a text; `driver` is that of volumes made on the way.
///
/// # Errors
///
/// Malformed, in Docker's words.
pub(crate) fn parse(text: &str, driver: &str) -> Result<Wanted> {
    let malformed = || Error::invalid(format!("invalid volume specification: '{text}'"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, words) = match parts.as_slice() {
        [target] if !target.is_empty() => ("", *target, ""),
        [source, target] if !source.is_empty() => {
            // `/x:ro` is a slip of the pen, not a mount of `/x` at `ro`.
            if Mode::parse(target).is_ok_and(|_| !target.is_empty()) {
                return Err(malformed());
            }
            (*source, *target, "")
        }
        [source, target, words] if !source.is_empty() => (*source, *target, *words),
        _ => return Err(malformed()),
    };
    let mode = Mode::parse(words)?;
    let kind = if source.starts_with('/') {
        Kind::Bind
    } else {
        Kind::Volume
    };
    let refuse = |why: &str| {
        let why = bad_config(kind.as_str(), why);
        Error::invalid(format!("invalid volume specification: '{text}': {why}"))
    };
    check_target(target).map_err(|why| refuse(&why))?;
    let mut point = Point::new(kind, target);
    words.clone_into(&mut point.mode);
    point.writable = !mode.read_only;
    match kind {
        Kind::Bind => {
            if mode.no_copy {
                return Err(refuse("field VolumeOptions must not be specified"));
            }
            absolute(source).map_err(|why| refuse(&why))?;
            point.source = clean(source);
            point.propagation = mode.propagation.unwrap_or_else(|| "rprivate".to_owned());
            point.create_source = true;
            point.owners = mode.owners;
        }
        _ => {
            if mode.propagation.is_some() {
                return Err(refuse("field BindOptions must not be specified"));
            }
            if mode.owners.is_some() {
                return Err(refuse("owners can be mapped for binds only"));
            }
            if source.is_empty() && mode.read_only {
                return Err(refuse(
                    "must not set ReadOnly mode when using anonymous volumes",
                ));
            }
            source.clone_into(&mut point.name);
            driver.clone_into(&mut point.driver);
            point.no_copy = mode.no_copy;
            point.anonymous = source.is_empty();
            if point.mode.is_empty() {
                DEFAULT_MODE.clone_into(&mut point.mode);
            }
        }
    }
    Ok(point.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Point {
        parse(text, "local").unwrap().point
    }

    #[test]
    fn three_forms_and_three_kinds() {
        let bind = of("/tmp:/x:ro,Z,rslave");
        assert_eq!((bind.kind, bind.source.as_str()), (Kind::Bind, "/tmp"));
        assert_eq!(
            (bind.writable, bind.mode.as_str(), bind.propagation.as_str()),
            (false, "ro,Z,rslave", "rslave")
        );
        assert!(bind.create_source);
        let named = of("aa:/x/../y/:ro,nocopy");
        assert_eq!((named.kind, named.name.as_str()), (Kind::Volume, "aa"));
        assert_eq!((named.target.as_str(), named.no_copy), ("/y", true));
        assert_eq!(of("aa:/x").mode, "z");
        let anonymous = of("/data");
        assert!(anonymous.anonymous && anonymous.name.is_empty());
        assert_eq!(anonymous.kind, Kind::Volume);
    }

    #[test]
    fn refusals_are_dockers() {
        for (text, want) in [
            ("", "invalid volume specification: ''"),
            (":/x", "invalid volume specification: ':/x'"),
            ("/x:ro", "invalid volume specification: '/x:ro'"),
            ("aa:/x:foo", "invalid mode: foo"),
            ("aa:/x:ro:rw", "invalid volume specification: 'aa:/x:ro:rw'"),
            (
                "aa:x",
                "invalid volume specification: 'aa:x': invalid mount config for type \"volume\": invalid mount path: 'x' mount path must be absolute",
            ),
            (
                "/tmp:/",
                "invalid volume specification: '/tmp:/': invalid mount config for type \"bind\": invalid specification: destination can't be '/'",
            ),
            (
                "aa:/x:ro,rshared",
                "invalid volume specification: 'aa:/x:ro,rshared': invalid mount config for type \"volume\": field BindOptions must not be specified",
            ),
            (
                "/tmp:/x:nocopy",
                "invalid volume specification: '/tmp:/x:nocopy': invalid mount config for type \"bind\": field VolumeOptions must not be specified",
            ),
        ] {
            assert_eq!(parse(text, "local").unwrap_err().to_string(), want);
        }
    }
}
