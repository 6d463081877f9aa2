//! Names to addresses.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Names whose last address is remembered, for error texts.
const MAX_REMEMBERED: usize = 256;

/// Looks names up and remembers the first address of each.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    last: Mutex<HashMap<String, IpAddr>>,
}

/// A name that has no address; the text is Go's.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(crate) struct NoSuchHost {
    pub(crate) text: String,
}

impl Resolver {
    /// The addresses of a host, which may be an address itself.
    pub(crate) async fn lookup(&self, host: &str) -> Result<Vec<IpAddr>, NoSuchHost> {
        if let Ok(address) = host.parse() {
            return Ok(vec![address]);
        }
        let found = tokio::net::lookup_host((host, 0)).await;
        let addresses: Vec<IpAddr> = found
            .map(|all| all.map(|address| address.ip()).collect())
            .unwrap_or_default();
        let Some(first) = addresses.first() else {
            return Err(NoSuchHost {
                text: format!("lookup {host}: no such host"),
            });
        };
        let mut last = self.last.lock().expect("nothing panics while it holds");
        if last.len() >= MAX_REMEMBERED {
            last.clear();
        }
        last.insert(host.to_owned(), *first);
        Ok(addresses)
    }

    /// The address that a name had last.
    pub(crate) fn last(&self, host: &str) -> Option<IpAddr> {
        let last = self.last.lock().expect("nothing panics while it holds");
        last.get(host).copied()
    }
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
