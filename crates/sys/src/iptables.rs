//! The legacy iptables, which nf_tables does not show: read by its socket options.
//!
//! `linux/netfilter_ipv4/ip_tables.h`. Only what is needed to know whether forwarding is dropped and
//! whether a rule is there; rules are changed by the program that owns them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

use crate::nft::Family;
use crate::{Error, Result};

const SO_GET_INFO: libc::c_int = 64;
const SO_GET_ENTRIES: libc::c_int = 65;
const FORWARD: usize = 2;
const NAME_BYTES: usize = 32;
/// Offsets in the table's description: places where hooks end, and the size of all rules.
const UNDERFLOWS: usize = 56;
const SIZE: usize = 80;
const INFO_BYTES: usize = 84;
/// The rules begin here, aligned to their counters.
const ENTRIES: usize = 40;
/// Where a rule says how far away its target is, after the addresses of either family.
const TARGET_OFFSET4: usize = 88;
const TARGET_OFFSET6: usize = 140;
/// A target begins with its size and name; the standard one, without a name, goes on with a verdict.
const TARGET_NAME: usize = 2;
const TARGET_VERDICT: usize = 32;
/// `-NF_DROP - 1`.
const DROP: i32 = -1;

/// The filter table of the legacy iptables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterTable {
    /// Packets that no rule of `FORWARD` decides about are dropped.
    pub forward_drops: bool,
    rules: Vec<u8>,
}

impl FilterTable {
    /// The comments of rules that begin with a text, in order.
    pub fn comments(&self, beginning: &str) -> Vec<String> {
        let wanted = beginning.as_bytes();
        let starts = self.rules.windows(wanted.len()).enumerate();
        let starts = starts.filter(|(_, part)| *part == wanted);
        let comment = |(start, _): (usize, &[u8])| {
            let text = std::ffi::CStr::from_bytes_until_nul(&self.rules[start..]).ok()?;
            Some(text.to_str().ok()?.to_owned())
        };
        starts.filter_map(comment).collect()
    }

    fn parse(info: &[u8], answer: Vec<u8>, target_offset: usize) -> Option<Self> {
        let number = |bytes: &[u8], at: usize| {
            let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
            Some(u32::from_ne_bytes(bytes))
        };
        let rules = answer.get(ENTRIES..)?.to_vec();
        let last = usize::try_from(number(info, UNDERFLOWS + 4 * FORWARD)?).ok()?;
        let target = rules.get(last + target_offset..last + target_offset + 2)?;
        let target = last + usize::from(u16::from_ne_bytes(target.try_into().ok()?));
        let standard = *rules.get(target + TARGET_NAME)? == 0;
        let verdict = number(&rules, target + TARGET_VERDICT)?.cast_signed();
        Some(Self {
            forward_drops: standard && verdict == DROP,
            rules,
        })
    }
}

/// Reads the filter table, if somebody uses it in the calling thread's network namespace.
pub fn filter_table(family: Family) -> Result<Option<FilterTable>> {
    let ipv6 = family == Family::Ip6;
    let names = format!(
        "/proc/thread-self/net/ip{}_tables_names",
        if ipv6 { "6" } else { "" }
    );
    // Asking the kernel for a table makes it: so the list of those in use comes first.
    let used = std::fs::read_to_string(names).unwrap_or_default();
    if !used.lines().any(|line| line == "filter") {
        return Ok(None);
    }
    let socket = open(ipv6)?;
    let mut info = vec![0; INFO_BYTES];
    info[..6].copy_from_slice(b"filter");
    ask(socket.as_fd(), (ipv6, SO_GET_INFO), &mut info)?;
    let size: [u8; 4] = info[SIZE..SIZE + 4].try_into().expect("it is four bytes");
    let length = usize::try_from(u32::from_ne_bytes(size)).unwrap_or(0);
    let mut answer = vec![0; ENTRIES + length];
    answer[..6].copy_from_slice(b"filter");
    answer[NAME_BYTES..NAME_BYTES + 4].copy_from_slice(&size);
    match ask(socket.as_fd(), (ipv6, SO_GET_ENTRIES), &mut answer) {
        // It changed between the two questions; there will be a next time.
        Err(error) if error.errno() == Errno::AGAIN || error.errno() == Errno::INVAL => {
            return Ok(None);
        }
        other => other?,
    }
    let offset = if ipv6 { TARGET_OFFSET6 } else { TARGET_OFFSET4 };
    Ok(FilterTable::parse(&info, answer, offset))
}

fn open(ipv6: bool) -> Result<OwnedFd> {
    let family = if ipv6 {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let flags = SocketFlags::CLOEXEC;
    socket_with(family, SocketType::RAW, flags, Some(ipproto::RAW))
        .map_err(|e| Error::new("socket(SOCK_RAW)", e))
}

/// Asks a question whose answer takes the place of the question.
fn ask(
    socket: BorrowedFd<'_>,
    (ipv6, option): (bool, libc::c_int),
    buffer: &mut [u8],
) -> Result<()> {
    let level = if ipv6 {
        libc::IPPROTO_IPV6
    } else {
        libc::IPPROTO_IP
    };
    let mut length = libc::socklen_t::try_from(buffer.len())
        .map_err(|_| Error::new("getsockopt(IPT_SO_GET)", Errno::MSGSIZE))?;
    // SAFETY: the kernel reads and writes at most `length` bytes of `buffer`, which is that long and
    // borrowed mutably for the call; `length` is a local.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            buffer.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if done == 0 {
        return Ok(());
    }
    let errno = Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
    Err(Error::new(
        format!("getsockopt(IPT_SO_GET, {option})"),
        errno,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One rule of `FORWARD`: its policy.
    fn table(verdict: i32) -> (Vec<u8>, Vec<u8>) {
        let info = vec![0; INFO_BYTES];
        let mut answer = vec![0; ENTRIES + 112 + 40];
        answer[ENTRIES + TARGET_OFFSET4] = 112;
        let at = ENTRIES + 112 + TARGET_VERDICT;
        answer[at..at + 4].copy_from_slice(&verdict.to_ne_bytes());
        (info, answer)
    }

    #[test]
    fn the_policy_is_the_last_rule_of_the_hook() {
        for (verdict, drops) in [(-1, true), (-2, false)] {
            let (info, answer) = table(verdict);
            let parsed = FilterTable::parse(&info, answer, TARGET_OFFSET4).unwrap();
            assert_eq!(parsed.forward_drops, drops);
        }
        let (info, answer) = table(-1);
        for cut in 0..answer.len() - 4 {
            let parsed = FilterTable::parse(&info, answer[..cut].to_vec(), TARGET_OFFSET4);
            assert_eq!(parsed, None, "{cut}");
        }
    }

    #[test]
    fn comments_are_whole() {
        let table = FilterTable {
            forward_drops: true,
            rules: b"\0corten: to br1\0\0".to_vec(),
        };
        assert_eq!(table.comments("corten: to "), ["corten: to br1"]);
        assert!(table.comments("corten: from ").is_empty());
    }
}
