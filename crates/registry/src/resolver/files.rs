//! `/etc/hosts` and `/etc/resolv.conf`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// Longest file that is read.
const MAX_FILE: u64 = 1 << 20;
const MAX_SERVERS: usize = 3;
const MAX_SEARCH: usize = 6;

/// Whom to ask, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Servers {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) search: Vec<String>,
    /// Names with fewer dots are tried below the search domains first.
    pub(super) ndots: usize,
    pub(super) timeout: Duration,
    pub(super) attempts: usize,
}

/// Both files, read again when they changed.
#[derive(Debug)]
pub(super) struct Files {
    hosts: Watched<Vec<(IpAddr, Vec<String>)>>,
    resolv: Watched<Servers>,
}

#[derive(Debug)]
struct Watched<T> {
    path: PathBuf,
    known: Mutex<Option<(Stamp, Arc<T>)>>,
}

type Stamp = Option<(u64, SystemTime)>;

impl<T> Watched<T> {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            known: Mutex::new(None),
        }
    }

    fn get(&self, parse: impl FnOnce(&str) -> T) -> Arc<T> {
        let stamp = stamp(&self.path);
        let mut known = self.known.lock().expect("nothing panics while it holds");
        if let Some((at, value)) = &*known
            && *at == stamp
        {
            return Arc::clone(value);
        }
        let text = stamp
            .filter(|(length, _)| *length <= MAX_FILE)
            .and_then(|_| std::fs::read(&self.path).ok())
            .unwrap_or_default();
        let value = Arc::new(parse(&String::from_utf8_lossy(&text)));
        *known = Some((stamp, Arc::clone(&value)));
        value
    }
}

fn stamp(path: &Path) -> Stamp {
    let about = std::fs::metadata(path).ok()?;
    Some((about.len(), about.modified().ok()?))
}

impl Files {
    pub(super) fn new(hosts: PathBuf, resolv: PathBuf) -> Self {
        Self {
            hosts: Watched::new(hosts),
            resolv: Watched::new(resolv),
        }
    }

    /// The addresses that are written down for a name in lower case.
    pub(super) fn hosts(&self, name: &str) -> Vec<IpAddr> {
        let lines = self.hosts.get(parse_hosts);
        let of = |(_, names): &&(IpAddr, Vec<String>)| names.iter().any(|known| known == name);
        lines
            .iter()
            .filter(of)
            .map(|(address, _)| *address)
            .collect()
    }

    pub(super) fn servers(&self) -> Arc<Servers> {
        self.resolv.get(Servers::parse)
    }
}

fn parse_hosts(text: &str) -> Vec<(IpAddr, Vec<String>)> {
    let line = |line: &str| {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let address = words.next()?.parse().ok()?;
        let names = words.map(|name| name.trim_end_matches('.').to_lowercase());
        Some((address, names.collect()))
    };
    text.lines().filter_map(line).collect()
}

impl Servers {
    pub(super) fn parse(text: &str) -> Self {
        let mut this = Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        };
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    // Link-local servers carry their interface, which std does not read.
                    let address = words.next().and_then(|word| word.parse().ok());
                    if let Some(address) = address.filter(|_| this.servers.len() < MAX_SERVERS) {
                        this.servers.push(SocketAddr::new(address, 53));
                    }
                }
                Some("search" | "domain") => {
                    this.search = words
                        .map(|word| word.trim_matches('.').to_lowercase())
                        .filter(|word| !word.is_empty())
                        .take(MAX_SEARCH)
                        .collect();
                }
                Some("options") => words.for_each(|word| this.option(word)),
                _ => {}
            }
        }
        if this.servers.is_empty() {
            this.servers
                .push(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53));
        }
        this
    }

    fn option(&mut self, word: &str) {
        let number = |text: &str| text.parse::<u64>().ok();
        match word.split_once(':') {
            Some(("ndots", n)) => self.ndots = number(n).unwrap_or(1).min(15) as usize,
            Some(("timeout", n)) => {
                self.timeout = Duration::from_secs(number(n).unwrap_or(5).clamp(1, 30));
            }
            Some(("attempts", n)) => self.attempts = number(n).unwrap_or(2).clamp(1, 5) as usize,
            _ => {}
        }
    }

    /// The full names to ask for, in order.
    pub(super) fn candidates(&self, name: &str, is_absolute: bool) -> Vec<String> {
        if is_absolute {
            return vec![name.to_owned()];
        }
        let below = self.search.iter().map(|domain| format!("{name}.{domain}"));
        let mut all: Vec<String> = below.collect();
        if name.matches('.').count() >= self.ndots {
            all.insert(0, name.to_owned());
        } else {
            all.push(name.to_owned());
        }
        all
    }
}
