//! Rate limits of endpoints of bridge networks.
//!
//! ```text
//! com.corten.network.endpoint.rate.ingress    to the container, bits a second: 10mbit, 1.5gbit
//! com.corten.network.endpoint.burst.ingress   bytes at once: 64kb
//! com.corten.network.endpoint.rate.egress     from the container
//! com.corten.network.endpoint.burst.egress
//! ```
//!
//! Options of an endpoint (`--network name=n,driver-opt=…`) come before those of its network. Both
//! directions are shaped in the host's namespace, where a container cannot change them:
//!
//! ```text
//!  container ── veth ──► arriving at the near end ──► cb… (ifb, bucket) ──► bridge     egress
//!  container ◄── veth ── leaving the near end (bucket) ◄── bridge                      ingress
//! ```

use std::collections::BTreeMap;

use rustix::io::Errno;
use sys::netlink::{Bucket, Endless, Messages, Socket};

use super::DriverFailure;
use crate::{Error, Result};

const PREFIX: &str = "com.corten.network.endpoint.";
/// What the names of the links begin with that arriving packets are sent through.
const THROUGH: &str = "cb";
/// The near end of a pair that ends at a container, whoever's daemon made it.
const NEAR: &str = "cv";
/// A bucket holds what passes in this part of a second, if nobody says more.
const PARTS: u64 = 100;
/// The smallest bucket: some frames, so that the kernel need not take every large packet apart.
const MIN_BURST: u64 = 16 * 1024;
/// A bucket that holds less than a frame lets nothing pass.
const FRAME: u64 = 2048;
/// What may wait, as a part of a second: more would be delay, less would be loss.
const QUEUE_PARTS: u64 = 20;
/// Slowest rate: below, a frame takes seconds.
const MIN_BITS: u64 = 8_000;

/// What limits an endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// To the container.
    pub ingress: Option<Bucket>,
    /// From the container.
    pub egress: Option<Bucket>,
}

impl Limits {
    /// Reads the options of a network and of an endpoint.
    pub(crate) fn parse(
        network: &BTreeMap<String, String>,
        endpoint: &BTreeMap<String, String>,
    ) -> Result<Self> {
        for option in network.keys().chain(endpoint.keys()) {
            let what = option.strip_prefix(PREFIX).unwrap_or_default();
            let mine = what.starts_with("rate") || what.starts_with("burst");
            let known = [
                "rate.ingress",
                "rate.egress",
                "burst.ingress",
                "burst.egress",
            ];
            if mine && !known.contains(&what) {
                return Err(invalid(option, "there is no such option"));
            }
        }
        let value = |what: &str, direction: &str| {
            let option = format!("{PREFIX}{what}.{direction}");
            let value = endpoint.get(&option).or_else(|| network.get(&option));
            value.map(|value| (option, value.clone()))
        };
        let bucket = |direction| {
            let burst = value("burst", direction);
            match (value("rate", direction), burst) {
                (Some((option, rate)), burst) => read_bucket((&option, &rate), burst).map(Some),
                (None, Some((option, _))) => Err(invalid(&option, "there is no rate for it")),
                (None, None) => Ok(None),
            }
        };
        Ok(Self {
            ingress: bucket("ingress")?,
            egress: bucket("egress")?,
        })
    }

    /// Puts the limits on an endpoint, of which the near end is in the host.
    pub(crate) fn apply(&self, socket: &mut Socket, host_interface: &str) -> Result<()> {
        if *self == Self::default() {
            return Ok(());
        }
        let near = find(socket, host_interface)?;
        let mut requests = Messages::new();
        if let Some(bucket) = &self.ingress {
            requests.shape(near, bucket);
        }
        if let Some(bucket) = &self.egress {
            let through = link_through(socket, host_interface)?;
            requests.shape(through, bucket);
            requests.redirect_arriving(near, through);
        }
        let done = socket.execute(requests);
        if done.is_err() {
            release(socket, host_interface);
        }
        done.map_err(missing(
            "failed to limit the rate of an endpoint",
            "CONFIG_NET_SCH_TBF, CONFIG_NET_SCH_INGRESS, CONFIG_NET_CLS_U32 and CONFIG_NET_ACT_MIRRED",
        ))
    }
}

fn find(socket: &mut Socket, name: &str) -> Result<u32> {
    let step = || Error::kernel(format!("look for interface {name}"));
    let gone = || sys::Error::new(format!("RTM_GETLINK(`{name}`)"), Errno::NODEV);
    let link = socket.link(name).map_err(step())?;
    Ok(link.ok_or_else(gone).map_err(step())?.index)
}

fn link_through(socket: &mut Socket, host_interface: &str) -> Result<u32> {
    let name = through(host_interface);
    let made = socket.execute_one(|m| m.add_endless(&name, 0, Endless::Ifb));
    match made {
        Err(error) if error.errno() != Errno::EXIST => Err(missing(
            "failed to limit what an endpoint sends",
            "CONFIG_IFB",
        )(error)),
        _ => find(socket, &name),
    }
}

fn missing(what: &'static str, option: &'static str) -> impl FnOnce(sys::Error) -> Error {
    move |error| match error.errno() {
        Errno::OPNOTSUPP | Errno::NOENT => {
            let what = what.to_owned();
            DriverFailure::NoKernel { what, option }.into()
        }
        _ => Error::kernel(what.trim_start_matches("failed to "))(error),
    }
}

/// Name of the link that goes with a near end.
fn through(host_interface: &str) -> String {
    let rest = host_interface.strip_prefix(NEAR).unwrap_or(host_interface);
    format!("{THROUGH}{rest}")
}

/// Removes what an endpoint's limits need in the host; most need nothing.
pub(crate) fn release(socket: &mut Socket, host_interface: &str) {
    let name = through(host_interface);
    let removed = match socket.link(&name) {
        Ok(Some(link)) if link.kind == Endless::Ifb.kind() => {
            socket.execute_one(|m| m.delete_link(link.index))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.errno() != Errno::NODEV => {
            let error = spec::error::chain(&error);
            tracing::warn!(link = name, error, "could not remove a rate limit");
        }
        _ => {}
    }
}

/// Removes the links of endpoints that are gone: a crash may have left some.
///
/// Those of other daemons, too: without its near end, such a link is of no use to anybody.
pub(crate) fn sweep(socket: &mut Socket) -> Result<()> {
    let links = socket
        .links()
        .map_err(Error::kernel("list the host's interfaces"))?;
    for link in links.iter().filter(|link| link.kind == Endless::Ifb.kind()) {
        let Some(rest) = link.name.strip_prefix(THROUGH) else {
            continue;
        };
        let near = format!("{NEAR}{rest}");
        if rest.len() == 13 && !links.iter().any(|other| other.name == near) {
            release(socket, &near);
        }
    }
    Ok(())
}

fn invalid(option: &str, what: &str) -> Error {
    DriverFailure::Option {
        option: option.to_owned(),
        what: what.to_owned(),
    }
    .into()
}

fn read_bucket((option, rate): (&str, &str), burst: Option<(String, String)>) -> Result<Bucket> {
    let bits = read(rate, RATES)
        .filter(|bits| *bits >= MIN_BITS)
        .ok_or_else(|| {
            invalid(
                option,
                &format!("{rate:?} is no rate such as 10mbit (at least 8kbit)"),
            )
        })?;
    let bytes = bits / 8;
    let burst = match burst {
        None => (bytes / PARTS).max(MIN_BURST),
        Some((option, text)) => read(&text, SIZES)
            .filter(|burst| *burst >= FRAME)
            .ok_or_else(|| {
                invalid(
                    &option,
                    &format!("{text:?} is no size such as 64kb (at least 2kb)"),
                )
            })?,
    };
    let limited = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    Ok(Bucket {
        rate: bytes,
        burst: limited(burst),
        queue: limited(burst.saturating_add((bytes / QUEUE_PARTS).max(FRAME))),
    })
}

/// Units of rates as tc(8) has them, in bits a second.
const RATES: &[(&str, u64)] = &[
    ("", 1),
    ("bit", 1),
    ("kbit", 1000),
    ("mbit", 1_000_000),
    ("gbit", 1_000_000_000),
    ("kibit", 1 << 10),
    ("mibit", 1 << 20),
    ("gibit", 1 << 30),
    ("bps", 8),
    ("kbps", 8000),
    ("mbps", 8_000_000),
    ("gbps", 8_000_000_000),
];

/// Units of sizes as tc(8) has them, in bytes.
const SIZES: &[(&str, u64)] = &[
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kb", 1 << 10),
    ("m", 1 << 20),
    ("mb", 1 << 20),
];

/// Reads a number with up to three decimals and a unit.
fn read(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    if part.is_empty() || part.len() > 3 {
        return None;
    }
    let thousandths: u64 = format!("{part:0<3}").parse().ok()?;
    let whole: u64 = whole.parse().ok()?;
    let parts = u128::from(whole) * 1000 + u128::from(thousandths);
    u64::try_from(parts * u128::from(*factor) / 1000).ok()
}

#[cfg(test)]
mod tests;
