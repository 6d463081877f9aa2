//! The bytes of netlink: building messages, reading answers.

use std::ffi::CStr;

use rustix::io::Errno;

pub(crate) const NLM_F_REQUEST: u16 = 0x001;
pub(crate) const NLM_F_ACK: u16 = 0x004;
pub(crate) const NLM_F_DUMP_INTR: u16 = 0x010;
pub(crate) const NLM_F_REPLACE: u16 = 0x100;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
pub(crate) const NLM_F_APPEND: u16 = 0x800;
/// Create it, or make the one that is there so.
pub(crate) const FLAG_REPLACE: u16 = NLM_F_CREATE | 0x100;
pub(crate) const NLMSG_ERROR: u16 = 2;
pub(crate) const NLMSG_DONE: u16 = 3;

const NLA_F_NESTED: u16 = 1 << 15;
const NLA_TYPE_MASK: u16 = 0x3fff;
const HEADER_BYTES: usize = 16;
const ATTRIBUTE_BYTES: usize = 4;

/// Requests under construction, each with a label that an error will carry.
#[derive(Debug, Clone, Default)]
pub struct Messages {
    bytes: Vec<u8>,
    /// Where each message begins, and what it is called.
    starts: Vec<(usize, String)>,
}

impl Messages {
    /// Makes an empty sequence.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Tells whether there is no message.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The messages as they are sent; sequence numbers are 0 until then.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds a message: its type, flags, family header, and attributes written by `fill`.
    pub(crate) fn push(
        &mut self,
        label: impl Into<String>,
        (kind, flags): (u16, u16),
        family_header: &[u8],
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        let start = self.bytes.len();
        self.starts.push((start, label.into()));
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes
            .extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.extend_from_slice(family_header);
        pad(&mut self.bytes);
        fill(&mut Attributes {
            bytes: &mut self.bytes,
        });
        let length = u32::try_from(self.bytes.len() - start).expect("a message is far below 4 GiB");
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// What the message with this index is called.
    pub(crate) fn label(&self, index: usize) -> String {
        self.starts
            .get(index)
            .map_or_else(String::new, |(_, label)| label.clone())
    }

    /// Numbers the messages, adds flags to each, and returns the last number.
    pub(crate) fn number_from(&mut self, first: u32, flags: u16) -> u32 {
        let mut sequence = first.wrapping_sub(1);
        for index in 0..self.starts.len() {
            self.add_flags(index, flags);
            sequence = sequence.wrapping_add(1);
            let at = self.starts[index].0 + 8;
            self.bytes[at..at + 4].copy_from_slice(&sequence.to_ne_bytes());
        }
        sequence
    }

    /// Adds flags to one message.
    pub(crate) fn add_flags(&mut self, index: usize, flags: u16) {
        let Some(&(start, _)) = self.starts.get(index) else {
            return;
        };
        let at = start + 6;
        let old = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]);
        self.bytes[at..at + 2].copy_from_slice(&(old | flags).to_ne_bytes());
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// Writes attributes to the end of a message.
#[derive(Debug)]
pub struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    /// Writes plain bytes.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        self.wrap(kind, |out| out.extend_from_slice(value));
    }

    /// Writes a text with its terminating zero.
    pub fn text(&mut self, kind: u16, value: &str) {
        self.wrap(kind, |out| {
            out.extend_from_slice(value.as_bytes());
            out.push(0);
        });
    }

    /// Writes a number in the machine's byte order, as rtnetlink has it.
    pub fn u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// Writes a number in network byte order, as netfilter has it.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Writes an attribute that holds attributes.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        self.wrap(kind | NLA_F_NESTED, |bytes| fill(&mut Attributes { bytes }));
    }

    /// Like [`nest`](Self::nest) with bytes before the inner attributes.
    pub(crate) fn nest_after(
        &mut self,
        kind: u16,
        header: &[u8],
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        self.wrap(kind | NLA_F_NESTED, |bytes| {
            bytes.extend_from_slice(header);
            fill(&mut Attributes { bytes });
        });
    }

    fn wrap(&mut self, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; ATTRIBUTE_BYTES]);
        fill(self.bytes);
        let length = u16::try_from(self.bytes.len() - start)
            .expect("attributes are built of short names and numbers");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes[start + 2..start + 4].copy_from_slice(&kind.to_ne_bytes());
        pad(self.bytes);
    }
}

/// One message of a received datagram.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    /// The socket whose request caused it; 0 is the kernel itself.
    pub port: u32,
    pub body: &'a [u8],
}

impl Received<'_> {
    /// The refusal that an error or end-of-dump message carries, if it carries one.
    pub(crate) fn errno(&self) -> Option<Errno> {
        let code = i32::from_ne_bytes(self.body.get(..4)?.try_into().ok()?);
        match code {
            0 => None,
            code => Some(Errno::from_raw_os_error(code.saturating_neg())),
        }
    }
}

/// Iterates over the messages of a datagram; stops at the first that is cut off.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Received<'a>;

    fn next(&mut self) -> Option<Received<'a>> {
        let length = usize::try_from(u32_at(self.rest, 0)?).ok()?;
        let body = self.rest.get(HEADER_BYTES..length)?;
        let message = Received {
            kind: u16_at(self.rest, 4)?,
            flags: u16_at(self.rest, 6)?,
            sequence: u32_at(self.rest, 8)?,
            port: u32_at(self.rest, 12)?,
            body,
        };
        self.rest = self
            .rest
            .get(length.next_multiple_of(4)..)
            .unwrap_or_default();
        Some(message)
    }
}

/// One attribute of an answer, its flag bits removed from the type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Type.
    pub kind: u16,
    /// Value without padding.
    pub value: &'a [u8],
}

impl<'a> Attribute<'a> {
    /// Iterates over the attributes in a region; stops at the first that is cut off.
    pub fn all(mut rest: &'a [u8]) -> impl Iterator<Item = Attribute<'a>> {
        std::iter::from_fn(move || {
            let length = usize::from(u16_at(rest, 0)?);
            let value = rest.get(ATTRIBUTE_BYTES..length)?;
            let kind = u16_at(rest, 2)? & NLA_TYPE_MASK;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some(Attribute { kind, value })
        })
    }

    /// The first attribute of a type.
    pub fn find(region: &'a [u8], kind: u16) -> Option<&'a [u8]> {
        Self::all(region).find(|a| a.kind == kind).map(|a| a.value)
    }

    /// The value as a number in the machine's byte order.
    pub fn as_u32(&self) -> Option<u32> {
        u32_at(self.value, 0)
    }

    /// The value as a text up to its terminating zero.
    pub fn as_text(&self) -> Option<String> {
        let text = match CStr::from_bytes_until_nul(self.value) {
            Ok(text) => text.to_bytes(),
            Err(_) => self.value,
        };
        String::from_utf8(text.to_vec()).ok()
    }
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_laid_out_padded_and_numbered() {
        let mut messages = Messages::new();
        messages.push("one", (16, NLM_F_CREATE), &[7, 0, 0, 0], |m| {
            m.text(3, "lo");
            m.nest(18, |m| m.u32(1, 5));
        });
        messages.push("two", (17, 0), &[9], |_| {});
        assert_eq!(messages.number_from(5, NLM_F_ACK), 6);
        let mut want = vec![];
        want.extend_from_slice(&40u32.to_ne_bytes());
        want.extend_from_slice(&16u16.to_ne_bytes());
        want.extend_from_slice(&0x405u16.to_ne_bytes());
        want.extend_from_slice(&5u32.to_ne_bytes());
        want.extend_from_slice(&[0; 4]);
        want.extend_from_slice(&[7, 0, 0, 0]);
        want.extend_from_slice(&[7, 0, 3, 0, b'l', b'o', 0, 0]);
        want.extend_from_slice(&[12, 0, 18, 0x80, 8, 0, 1, 0, 5, 0, 0, 0]);
        want.extend_from_slice(&20u32.to_ne_bytes());
        want.extend_from_slice(&[17, 0, 5, 0, 6, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0]);
        assert_eq!(messages.bytes(), want);
        assert_eq!(messages.label(1), "two");
    }

    #[test]
    fn answers_are_read_back_and_cut_ones_end_the_reading() {
        let mut messages = Messages::new();
        messages.push("a", (16, 0), &[0; 4], |m| {
            m.text(3, "corten0");
            m.u32(4, 1500);
        });
        messages.push("b", (17, 0), &[0; 4], |_| {});
        messages.number_from(1, 0);
        let bytes = messages.bytes();
        let all: Vec<_> = Reader::new(bytes).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[1].kind, all[1].sequence), (17, 2));
        let attributes: Vec<_> = Attribute::all(&all[0].body[4..]).collect();
        assert_eq!(attributes[0].as_text().as_deref(), Some("corten0"));
        assert_eq!(attributes[1].as_u32(), Some(1500));
        for cut in 0..bytes.len() {
            let whole = Reader::new(&bytes[..cut]).count();
            assert!(whole <= usize::from(cut >= 40), "{cut}: {whole}");
        }
        for cut in 4..all[0].body.len() {
            for attribute in Attribute::all(&all[0].body[4..cut]) {
                assert!(attribute.value.len() <= 8);
            }
        }
    }

    #[test]
    fn lengths_that_lie_do_no_harm() {
        assert_eq!(Reader::new(&[0; 64]).count(), 0);
        assert_eq!(Reader::new(&[255; 64]).count(), 0);
        assert_eq!(Attribute::all(&[0; 64]).count(), 0);
        assert_eq!(Attribute::all(&[255; 64]).count(), 0);
        assert_eq!(Attribute::all(&[3, 0, 1, 0]).count(), 0);
    }

    #[test]
    fn refusals_carry_their_number() {
        let refusal = |code: i32| {
            let body = code.to_ne_bytes();
            Received {
                kind: NLMSG_ERROR,
                flags: 0,
                sequence: 1,
                port: 0,
                body: &body,
            }
            .errno()
        };
        assert_eq!(refusal(0), None);
        assert_eq!(refusal(-17), Some(Errno::EXIST));
    }
}
