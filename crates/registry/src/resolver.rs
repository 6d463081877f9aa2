//! Names to addresses, without the C library.
//!
//! The program is static, and a static C library would load the host's name service modules into
//! itself, whatever their version. So this does what Go's own resolver does: `/etc/hosts`, then
//! the servers of `/etc/resolv.conf`, both read again when they changed.

mod files;
mod message;
mod query;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::time::Instant;

use files::Files;
use query::{Failure, lookup_at};

/// Names whose addresses are remembered.
const MAX_REMEMBERED: usize = 256;
/// How long addresses are used without asking again: a pull asks several times in a row.
const FRESH: Duration = Duration::from_secs(10);

/// Looks names up and remembers them for a moment.
#[derive(Debug)]
pub(crate) struct Resolver {
    files: Files,
    known: Mutex<HashMap<String, (Vec<IpAddr>, Instant)>>,
}

/// A name that has no address; the text is Go's.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct NoSuchHost {
    pub(crate) text: String,
}

impl Default for Resolver {
    fn default() -> Self {
        Self::with_files("/etc/hosts".into(), "/etc/resolv.conf".into())
    }
}

impl Resolver {
    fn with_files(hosts: PathBuf, resolv: PathBuf) -> Self {
        Self {
            files: Files::new(hosts, resolv),
            known: Mutex::default(),
        }
    }

    /// The addresses of a host, which may be an address itself; best first.
    pub(crate) async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, NoSuchHost> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let name = host.trim_end_matches('.').to_lowercase();
        if let Some((known, since)) = self.table().get(&name)
            && since.elapsed() < FRESH
        {
            return Ok(known.clone());
        }
        let found = self.ask(&name, host).await?;
        let mut known = self.table();
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(name, (found.clone(), Instant::now()));
        Ok(found)
    }

    /// The first address that a name had last.
    pub(crate) fn last(&self, host: &str) -> Option<IpAddr> {
        let known = self.table();
        known
            .get(host)
            .and_then(|(found, _)| found.first().copied())
    }

    fn table(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Vec<IpAddr>, Instant)>> {
        self.known.lock().expect("nothing panics while it holds")
    }

    async fn ask(&self, name: &str, host: &str) -> Result<Vec<IpAddr>, NoSuchHost> {
        let written = self.files.hosts(name);
        if !written.is_empty() {
            return Ok(written);
        }
        // RFC 6761: this name is never asked of a server.
        if name == "localhost" || name.ends_with(".localhost") {
            return Ok(vec![
                [127, 0, 0, 1].into(),
                [0, 0, 0, 0, 0, 0, 0, 1_u16].into(),
            ]);
        }
        // Nor is this one, which has no address anywhere.
        if name == "invalid" || name.ends_with(".invalid") {
            return Err(NoSuchHost {
                text: Failure::NoSuchHost { server: None }.text(host),
            });
        }
        let settings = self.files.servers();
        let is_absolute = host.ends_with('.');
        let mut first = None;
        for candidate in settings.candidates(name, is_absolute) {
            match lookup_at(&settings, &candidate).await {
                Ok(found) => return Ok(order(found)),
                Err(failure) => first = Some(first.unwrap_or(failure)),
            }
        }
        let failure = first.unwrap_or(Failure::NoSuchHost { server: None });
        Err(NoSuchHost {
            text: failure.text(host),
        })
    }
}

/// IPv6 first where there is a way to it, else last.
fn order(mut found: Vec<IpAddr>) -> Vec<IpAddr> {
    found.dedup();
    let v6 = found.iter().find(|address| address.is_ipv6()).copied();
    let is_reachable = v6.is_some_and(|address| {
        // Connecting a datagram socket sends nothing: it only looks for a route.
        UdpSocket::bind("[::]:0")
            .and_then(|socket| socket.connect(SocketAddr::new(address, 9)))
            .is_ok()
    });
    found.sort_by_key(|address| address.is_ipv6() != is_reachable);
    found
}

/// The resolver as the HTTP library wants it.
#[derive(Debug)]
pub(crate) struct Shared(pub(crate) Arc<Resolver>);

impl Resolve for Shared {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses = resolver.lookup(name.as_str()).await?;
            let all = addresses.into_iter().map(|ip| SocketAddr::new(ip, 0));
            Ok(Box::new(all) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests;
