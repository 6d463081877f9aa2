//! Making the sockets that `-H` names.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnix, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{TcpListener, UnixListener};
use tracing::{info, warn};

use crate::server::Listener;

/// Owner and group read and write, as Docker's socket.
const SOCKET_MODE: u32 = 0o660;
/// Groups to which a socket is given where no group is named.
const DEFAULT_GROUPS: [&str; 2] = ["corten", "docker"];

/// An address of `-H`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// `unix:///path`
    Unix(PathBuf),
    /// `tcp://host:port`
    Tcp(String),
    /// `fd://`: sockets handed over by the service manager.
    Fd(String),
}

/// A socket that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The text is no address.
    #[error("invalid bind address ({0})")]
    Invalid(String),
    /// The scheme is unknown.
    #[error("invalid bind address ({text}): unsupported proto '{scheme}'")]
    Scheme {
        /// The whole address.
        text: String,
        /// Its scheme.
        scheme: String,
    },
    /// Another process listens there.
    #[error("another process listens at `{path}`")]
    InUse {
        /// The socket.
        path: String,
    },
    /// The group does not exist.
    #[error("group `{group}` not found")]
    NoGroup {
        /// Its name.
        group: String,
    },
    /// No socket was handed over.
    #[error("no sockets found via socket activation: make sure the service was started by systemd")]
    NotActivated,
    /// The system refused.
    #[error("cannot listen at `{address}`")]
    Io {
        /// The address.
        address: String,
        /// The system's answer.
        source: io::Error,
    },
}

impl std::str::FromStr for Host {
    type Err = ListenError;

    /// Reads an address; a bare one is TCP, an empty TCP host is this machine only.
    fn from_str(text: &str) -> Result<Self, ListenError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        match scheme {
            "unix" if rest.is_empty() => Ok(Self::Unix(PathBuf::from("/run/corten/corten.sock"))),
            "unix" => Ok(Self::Unix(PathBuf::from(rest))),
            "fd" => Ok(Self::Fd(rest.to_owned())),
            "tcp" => {
                let rest = rest.trim_end_matches('/');
                let has_port = rest
                    .rsplit_once(':')
                    .is_some_and(|(_, p)| p.parse::<u16>().is_ok());
                match (rest, has_port) {
                    ("", _) => Ok(Self::Tcp("127.0.0.1:2375".to_owned())),
                    (rest, true) if rest.starts_with(':') => {
                        Ok(Self::Tcp(format!("127.0.0.1{rest}")))
                    }
                    (rest, true) => Ok(Self::Tcp(rest.to_owned())),
                    (rest, false) if text.contains("://") && !rest.contains(':') => {
                        Ok(Self::Tcp(format!("{rest}:2375")))
                    }
                    _ => Err(ListenError::Invalid(text.to_owned())),
                }
            }
            other => Err(ListenError::Scheme {
                text: text.to_owned(),
                scheme: other.to_owned(),
            }),
        }
    }
}

/// Binds one address; a name may stand for several sockets.
pub async fn bind(host: &Host, group: Option<&str>) -> Result<Vec<Listener>, ListenError> {
    match host {
        Host::Unix(path) => Ok(vec![Listener::Unix(bind_unix(path, group)?)]),
        Host::Tcp(address) => bind_tcp(address).await,
        Host::Fd(_) => inherited(),
    }
}

fn bind_unix(path: &Path, group: Option<&str>) -> Result<UnixListener, ListenError> {
    let failed = |source| ListenError::Io {
        address: path.display().to_string(),
        source,
    };
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).map_err(failed)?;
    }
    remove_stale(path)?;
    let gid = socket_group(group)?;
    // The socket exists with its final mode from the first moment.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o777 & !SOCKET_MODE));
    let bound = StdUnix::bind(path);
    rustix::process::umask(before);
    let listener = bound.map_err(failed)?;
    if let Some(gid) = gid {
        std::os::unix::fs::chown(path, None, Some(gid)).map_err(failed)?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(SOCKET_MODE)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    info!(address = %format!("unix://{}", path.display()), "API listens");
    UnixListener::from_std(listener).map_err(failed)
}

/// Removes a socket that nobody listens at; anything else there is left alone.
fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let Ok(found) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    let in_use = || ListenError::InUse {
        path: path.display().to_string(),
    };
    if !found.file_type().is_socket() || UnixStream::connect(path).is_ok() {
        return Err(in_use());
    }
    std::fs::remove_file(path).map_err(|source| ListenError::Io {
        address: path.display().to_string(),
        source,
    })
}

/// The group of a socket: the one named, or the first default one that exists.
fn socket_group(named: Option<&str>) -> Result<Option<u32>, ListenError> {
    let table = std::fs::read_to_string("/etc/group").unwrap_or_default();
    match named {
        Some("") => Ok(None),
        Some(name) => match find_group(&table, name).or_else(|| name.parse().ok()) {
            Some(gid) => Ok(Some(gid)),
            None => Err(ListenError::NoGroup {
                group: name.to_owned(),
            }),
        },
        None => Ok(DEFAULT_GROUPS
            .iter()
            .find_map(|name| find_group(&table, name))),
    }
}

fn find_group(table: &str, name: &str) -> Option<u32> {
    table.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then_some(())?;
        fields.nth(1)?.parse().ok()
    })
}

async fn bind_tcp(address: &str) -> Result<Vec<Listener>, ListenError> {
    let failed = |source| ListenError::Io {
        address: format!("tcp://{address}"),
        source,
    };
    warn!(
        address,
        "[DEPRECATION NOTICE] API is accessible without encryption: whoever reaches this port is root on this host"
    );
    let name = address
        .rsplit_once(':')
        .map_or(address, |(name, _)| name)
        .to_owned();
    let names = Arc::new(vec![
        name,
        rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
    ]);
    let addresses = tokio::net::lookup_host(address).await.map_err(failed)?;
    let mut listeners = Vec::new();
    for one in addresses {
        let listener = TcpListener::bind(one).await.map_err(failed)?;
        info!(address = %format!("tcp://{one}"), "API listens");
        listeners.push(Listener::Tcp(listener, Arc::clone(&names)));
    }
    Ok(listeners)
}

/// Sockets handed over by the service manager; see
/// [sd_listen_fds(3)](https://man7.org/linux/man-pages/man3/sd_listen_fds.3.html).
fn inherited() -> Result<Vec<Listener>, ListenError> {
    let fds: Vec<OwnedFd> = sys::activation::listen_fds();
    if fds.is_empty() {
        return Err(ListenError::NotActivated);
    }
    fds.into_iter().map(adopt).collect()
}

fn adopt(fd: OwnedFd) -> Result<Listener, ListenError> {
    let failed = |source| ListenError::Io {
        address: "fd://".to_owned(),
        source,
    };
    let family = rustix::net::sockopt::socket_domain(&fd).map_err(|e| failed(e.into()))?;
    if family == rustix::net::AddressFamily::UNIX {
        let listener = StdUnix::from(fd);
        listener.set_nonblocking(true).map_err(failed)?;
        return Ok(Listener::Unix(
            UnixListener::from_std(listener).map_err(failed)?,
        ));
    }
    let listener = std::net::TcpListener::from(fd);
    listener.set_nonblocking(true).map_err(failed)?;
    let names = vec![
        rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
    ];
    Ok(Listener::Tcp(
        TcpListener::from_std(listener).map_err(failed)?,
        Arc::new(names),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let tcp = |a: &str| Host::Tcp(a.to_owned());
        for (text, want) in [
            ("unix:///run/x.sock", Host::Unix("/run/x.sock".into())),
            ("tcp://127.0.0.1:2375", tcp("127.0.0.1:2375")),
            ("tcp://:2375", tcp("127.0.0.1:2375")),
            ("tcp://box", tcp("box:2375")),
            ("tcp://", tcp("127.0.0.1:2375")),
            ("127.0.0.1:99", tcp("127.0.0.1:99")),
            ("tcp://[::1]:2375", tcp("[::1]:2375")),
            ("fd://", Host::Fd(String::new())),
        ] {
            assert_eq!(text.parse::<Host>().unwrap(), want, "{text}");
        }
        let error = "foo://x".parse::<Host>().unwrap_err().to_string();
        assert_eq!(
            error,
            "invalid bind address (foo://x): unsupported proto 'foo'"
        );
        assert!("nonsense".parse::<Host>().is_err());
    }

    #[test]
    fn groups() {
        let table = "root:x:0:\ndocker:x:998:me\n";
        assert_eq!(find_group(table, "docker"), Some(998));
        assert_eq!(find_group(table, "corten"), None);
    }

    #[tokio::test]
    async fn stale_sockets_go_and_live_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/x.sock");
        drop(bind_unix(&path, Some("")).unwrap());
        let live = bind_unix(&path, Some("")).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SOCKET_MODE);
        assert!(matches!(
            bind_unix(&path, Some("")),
            Err(ListenError::InUse { .. })
        ));
        drop(live);
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        assert!(matches!(
            bind_unix(&file, Some("")),
            Err(ListenError::InUse { .. })
        ));
        assert_eq!(std::fs::read(&file).unwrap(), b"x");
    }
}
