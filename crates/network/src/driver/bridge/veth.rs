//! The pair of interfaces between a bridge and a sandbox, and the name of its near end.

use std::net::{IpAddr, Ipv4Addr};

/// Near ends of endpoints with an IPv4 address.
const PREFIX: &str = "cv";
/// Near ends of endpoints without one.
const PREFIX6: &str = "cw";

/// Names the near end after the address: `cv`, 8 hex digits of it, 5 random ones.
///
/// The kernel's list of links is thereby the record of the addresses in use, which no crash can
/// make wrong. The random part keeps a new pair apart from a dying one with the same address. An
/// IPv6 address does not fit: of an endpoint that has no other, the name has 8 digits of a digest.
pub(crate) fn host_interface(address: Option<IpAddr>, nonce: u32) -> String {
    let nonce = nonce & 0xf_ffff;
    match address {
        Some(IpAddr::V4(v4)) => format!("{PREFIX}{:08x}{nonce:05x}", u32::from(v4)),
        Some(IpAddr::V6(v6)) => {
            use sha2::Digest as _;
            let digest = sha2::Sha256::digest(v6.octets());
            let short = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
            format!("{PREFIX6}{short:08x}{nonce:05x}")
        }
        None => format!("{PREFIX6}{:08x}{nonce:05x}", 0),
    }
}

/// The address that a link's name stands for, if the name is one of ours with an address in it.
pub(crate) fn address_of(name: &str) -> Option<Ipv4Addr> {
    let hex = digits(name, PREFIX)?;
    u32::from_str_radix(&hex[..8], 16).ok().map(Ipv4Addr::from)
}

/// Tells whether a link has a name of ours.
pub(crate) fn is_ours(name: &str) -> bool {
    digits(name, PREFIX).is_some() || digits(name, PREFIX6).is_some()
}

fn digits<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let hex = name.strip_prefix(prefix)?;
    let plain = hex
        .bytes()
        .all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
    (hex.len() == 13 && plain).then_some(hex)
}

/// Random bits for an interface name; a constant if there are none, which a retry tells.
pub(crate) fn nonce() -> u32 {
    let mut bytes = [0; 4];
    let flags = rustix::rand::GetRandomFlags::empty();
    match rustix::rand::getrandom(&mut bytes, flags) {
        Ok(_) => u32::from_ne_bytes(bytes),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_the_address_and_only_ours_do() {
        let address = Ipv4Addr::new(172, 17, 0, 2);
        let name = host_interface(Some(address.into()), 0xfff_1234);
        assert_eq!(name, "cvac110002f1234");
        assert_eq!(name.len(), 15);
        assert_eq!(address_of(&name), Some(address));
        let six = host_interface(Some("fd00::2".parse().unwrap()), 1);
        assert_eq!((six.len(), address_of(&six)), (15, None));
        assert!(is_ours(&six) && is_ours(&name));
        for foreign in [
            "",
            "cv",
            "cvac110002",
            "cvAC110002f1234",
            "veth1234567890a",
            "cv+c110002f1234",
            "cvüüüüüüé",
        ] {
            assert_eq!(address_of(foreign), None, "{foreign}");
            assert!(!is_ours(foreign), "{foreign}");
        }
    }
}
