//! Traffic control: token buckets, and sending what comes in through another link.
//!
//! See [tc(8)](https://man7.org/linux/man-pages/man8/tc.8.html). A link shapes what leaves it; to
//! shape what arrives, it is redirected through an `ifb` link, which a bucket can sit on.

use super::wire::{Attributes, Messages, NLM_F_CREATE, NLM_F_REPLACE};

const RTM_NEWQDISC: u16 = 36;
const RTM_NEWTFILTER: u16 = 44;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const TC_H_ROOT: u32 = 0xffff_ffff;
const TC_H_INGRESS: u32 = 0xffff_fff1;
/// Handles of our own: `1:` and, as it must be, `ffff:`.
const ROOT_HANDLE: u32 = 0x1_0000;
const INGRESS_HANDLE: u32 = 0xffff_0000;
const TC_LINKLAYER_ETHERNET: u8 = 1;
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
const TC_U32_TERMINAL: u8 = 1;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;
const TCA_EGRESS_REDIR: u32 = 1;
const TC_ACT_STOLEN: u32 = 4;
const ETH_P_ALL: u16 = 3;

/// A token bucket: how fast it fills, how much it holds, how much may wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Bytes a second, at least 1.
    pub rate: u64,
    /// Bytes that may pass at once; at least a frame.
    pub burst: u32,
    /// Bytes that may wait; what comes on top of them is dropped.
    pub queue: u32,
}

/// The header of traffic control messages: link, handle, parent, and what filters add.
fn header(index: u32, handle: u32, parent: u32, info: u32) -> [u8; 20] {
    let mut header = [0; 20];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&handle.to_ne_bytes());
    header[12..16].copy_from_slice(&parent.to_ne_bytes());
    header[16..20].copy_from_slice(&info.to_ne_bytes());
    header
}

impl Bucket {
    /// `struct tc_tbf_qopt`: two rates of 12 bytes each (the second, of peaks, is none), the queue
    /// and two sizes in ticks, of which the attribute of the burst takes the place.
    fn parameters(&self) -> [u8; 36] {
        let mut bytes = [0; 36];
        bytes[1] = TC_LINKLAYER_ETHERNET;
        let rate = u32::try_from(self.rate).unwrap_or(u32::MAX);
        bytes[8..12].copy_from_slice(&rate.to_ne_bytes());
        bytes[24..28].copy_from_slice(&self.queue.to_ne_bytes());
        bytes
    }

    fn put(&self, m: &mut Attributes<'_>) {
        m.put(TCA_TBF_PARMS, &self.parameters());
        m.put(TCA_TBF_BURST, &self.burst.to_ne_bytes());
        if u32::try_from(self.rate).is_err() {
            m.put(TCA_TBF_RATE64, &self.rate.to_ne_bytes());
        }
    }
}

impl Messages {
    /// Lets what leaves a link pass a token bucket; replaces whatever shaped it before.
    pub fn shape(&mut self, index: u32, bucket: &Bucket) {
        let label = format!("RTM_NEWQDISC({index}, tbf {bucket:?})");
        let header = header(index, ROOT_HANDLE, TC_H_ROOT, 0);
        let kind = (RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE);
        self.push(label, kind, &header, |m| {
            m.text(TCA_KIND, "tbf");
            m.nest(TCA_OPTIONS, |m| bucket.put(m));
        });
    }

    /// Sends everything that arrives on a link through another one, which hands it back.
    pub fn redirect_arriving(&mut self, index: u32, through: u32) {
        let create = |kind| (kind, NLM_F_CREATE);
        let label = format!("RTM_NEWQDISC({index}, ingress)");
        let ingress = header(index, INGRESS_HANDLE, TC_H_INGRESS, 0);
        self.push(label, create(RTM_NEWQDISC), &ingress, |m| {
            m.text(TCA_KIND, "ingress");
        });
        let label = format!("RTM_NEWTFILTER({index}, redirect to {through})");
        let info = 1 << 16 | u32::from(ETH_P_ALL.to_be());
        let filter = header(index, 0, INGRESS_HANDLE, info);
        self.push(label, create(RTM_NEWTFILTER), &filter, |m| {
            m.text(TCA_KIND, "u32");
            m.nest(TCA_OPTIONS, |m| {
                m.put(TCA_U32_SEL, &match_all());
                m.nest(TCA_U32_ACT, |m| {
                    m.nest(1, |m| {
                        m.text(TCA_ACT_KIND, "mirred");
                        m.nest(TCA_ACT_OPTIONS, |m| {
                            m.put(TCA_MIRRED_PARMS, &redirection(through));
                        });
                    });
                });
            });
        });
    }
}

/// `struct tc_u32_sel` with one key, whose mask is 0: it matches every packet.
fn match_all() -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[0] = TC_U32_TERMINAL;
    bytes[2] = 1;
    bytes
}

/// `struct tc_mirred`: index, capabilities, action, two counters; then what to do, and where.
fn redirection(through: u32) -> [u8; 28] {
    let mut bytes = [0; 28];
    bytes[8..12].copy_from_slice(&TC_ACT_STOLEN.to_ne_bytes());
    bytes[20..24].copy_from_slice(&TCA_EGRESS_REDIR.to_ne_bytes());
    bytes[24..28].copy_from_slice(&through.to_ne_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::Attribute;
    use super::super::wire::u32_at;
    use super::*;

    #[test]
    fn rates_beyond_32_bits_get_an_attribute_of_their_own() {
        let bucket = |rate| {
            let mut messages = Messages::new();
            let (burst, queue) = (20_000, 40_000);
            messages.shape(3, &Bucket { rate, burst, queue });
            let options = Attribute::find(&messages.bytes()[36..], TCA_OPTIONS).unwrap();
            let parameters = Attribute::find(options, TCA_TBF_PARMS).unwrap();
            let wide = Attribute::find(options, TCA_TBF_RATE64).map(<[u8]>::to_vec);
            assert_eq!(u32_at(parameters, 24), Some(40_000));
            (u32_at(parameters, 8), wide)
        };
        assert_eq!(bucket(125_000), (Some(125_000), None));
        let huge = 12_500_000_000u64;
        let wide = Some(huge.to_ne_bytes().to_vec());
        assert_eq!(bucket(huge), (Some(u32::MAX), wide));
    }
}
