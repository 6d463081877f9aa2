//! JSON with Go's manners, as clients of the Engine API expect it.
//!
//! Reading ([`decode`]): keys match whatever their case, the last of equal keys wins, `null` leaves
//! a field at its zero value, unknown keys are passed over, wrong types are told in the words of
//! Go's `encoding/json`. Writing ([`encode`]): `<`, `>` and `&` are escaped, so that an answer
//! shown in a browser stays text.

mod de;
mod ser;
mod syntax;

pub use de::{DecodeError, Names, decode, decode_value, named, parse, unmarshal};
pub use ser::{encode, encode_line, encode_plain_line};
