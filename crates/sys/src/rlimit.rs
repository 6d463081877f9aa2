//! Resource limits by name.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::{Error, Result};

/// The kernel's number for "no limit".
const UNLIMITED: u64 = u64::MAX;

/// Finds a limit by its name, `RLIMIT_NOFILE` and so on.
pub fn by_name(name: &str) -> Option<Resource> {
    let upper = name.to_ascii_uppercase();
    Some(match upper.strip_prefix("RLIMIT_")? {
        "AS" => Resource::As,
        "CORE" => Resource::Core,
        "CPU" => Resource::Cpu,
        "DATA" => Resource::Data,
        "FSIZE" => Resource::Fsize,
        "LOCKS" => Resource::Locks,
        "MEMLOCK" => Resource::Memlock,
        "MSGQUEUE" => Resource::Msgqueue,
        "NICE" => Resource::Nice,
        "NOFILE" => Resource::Nofile,
        "NPROC" => Resource::Nproc,
        "RSS" => Resource::Rss,
        "RTPRIO" => Resource::Rtprio,
        "RTTIME" => Resource::Rttime,
        "SIGPENDING" => Resource::Sigpending,
        "STACK" => Resource::Stack,
        _ => return None,
    })
}

/// What [`set`] could do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The limit is as asked for.
    Exact,
    /// The caller may not raise the hard limit: it is this instead.
    Clamped(Option<u64>),
}

/// Sets a limit of this process; where the hard limit may not be raised, sets the nearest possible.
pub fn set(resource: Resource, soft: u64, hard: u64) -> Result<Outcome> {
    let some = |value: u64| (value != UNLIMITED).then_some(value);
    let wanted = Rlimit {
        current: some(soft),
        maximum: some(hard),
    };
    match setrlimit(resource, wanted) {
        Ok(()) => return Ok(Outcome::Exact),
        Err(Errno::PERM) => {}
        Err(e) => {
            return Err(Error::new(
                format!("setrlimit({resource:?}, {soft}, {hard})"),
                e,
            ));
        }
    }
    let most = getrlimit(resource).maximum;
    let lower = |a: Option<u64>| [a, most].into_iter().flatten().min();
    let clamped = Rlimit {
        current: lower(some(soft)),
        maximum: lower(some(hard)),
    };
    setrlimit(resource, clamped)
        .map_err(|e| Error::new(format!("setrlimit({resource:?}, clamped)"), e))?;
    Ok(Outcome::Clamped(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(by_name("RLIMIT_NOFILE"), Some(Resource::Nofile));
        assert_eq!(by_name("rlimit_core"), Some(Resource::Core));
        assert_eq!(by_name("NOFILE"), None);
        assert_eq!(by_name("RLIMIT_X"), None);
    }
}
