//! Reading JSON into wire types as Go's `encoding/json` reads it into structs.
//!
//! A document is parsed into a [`Value`] once (depth bounded by the parser), then a deserializer
//! walks it. `deserialize_struct` is handed the field names by serde, which is what makes matching
//! keys without regard to case possible.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use serde_json::{Map, Value};

use super::syntax;

/// How a type is called in Docker's error texts.
#[derive(Debug, Clone, Copy)]
pub struct Names {
    /// The whole value: `container.CreateRequest`.
    pub whole: &'static str,
    /// What stands before the path of a field: `ExecStartOptions`, or nothing.
    pub field_root: &'static str,
}

/// A text that is not the JSON wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// Nothing but white space.
    Empty,
    /// It ends in the middle.
    Truncated,
    /// It is no JSON.
    Syntax(String),
    /// Something follows the first document.
    Trailing,
    /// A value has the wrong type, in Go's words.
    Type(String),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("invalid JSON: got EOF while reading request body"),
            Self::Truncated => f.write_str("invalid JSON: unexpected EOF"),
            Self::Syntax(why) | Self::Type(why) => write!(f, "invalid JSON: {why}"),
            Self::Trailing => f.write_str("unexpected content after JSON"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Parses exactly one JSON document.
pub fn parse(text: &[u8]) -> Result<Value, DecodeError> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(DecodeError::Empty);
    }
    let mut parser = serde_json::Deserializer::from_slice(text);
    let value: Value =
        serde::Deserialize::deserialize(&mut parser).map_err(|e: serde_json::Error| {
            if e.is_eof() {
                DecodeError::Truncated
            } else {
                DecodeError::Syntax(syntax::complaint(text).unwrap_or_else(|| e.to_string()))
            }
        })?;
    parser.end().map_err(|_| DecodeError::Trailing)?;
    Ok(value)
}

/// Parses exactly one JSON document into a wire type.
pub fn decode<T: DeserializeOwned>(text: &[u8], names: Names) -> Result<T, DecodeError> {
    decode_value(&parse(text)?, names)
}

/// Reads a parsed document into a wire type.
pub fn decode_value<T: DeserializeOwned>(value: &Value, names: Names) -> Result<T, DecodeError> {
    T::deserialize(Node(value)).map_err(|e| DecodeError::Type(e.text(names)))
}

/// Reads a text as Go's `Unmarshal` does, whose words for syntax differ from those of a body.
///
/// # Errors
///
/// Go's words alone, without any prefix.
pub fn unmarshal<T: DeserializeOwned>(text: &[u8], names: Names) -> Result<T, String> {
    decode(text, names).map_err(|error| match error {
        DecodeError::Empty | DecodeError::Truncated => "unexpected end of JSON input".to_owned(),
        DecodeError::Trailing => syntax::trailing(text).unwrap_or_else(|| error.to_string()),
        DecodeError::Syntax(why) | DecodeError::Type(why) => why,
    })
}

/// Reads a list or a map for which Go has a name of its own, so that errors tell it.
pub fn named<'de, T, D>(name: &'static str, deserializer: D) -> Result<T, D::Error>
where
    T: de::Deserialize<'de>,
    D: de::Deserializer<'de>,
{
    struct Inner<T>(PhantomData<T>);
    impl<'de, T: de::Deserialize<'de>> Visitor<'de> for Inner<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a value of a named type")
        }
        fn visit_newtype_struct<D: de::Deserializer<'de>>(self, inner: D) -> Result<T, D::Error> {
            T::deserialize(inner)
        }
    }
    deserializer.deserialize_newtype_struct(name, Inner(PhantomData))
}

struct Node<'de>(&'de Value);

#[derive(Debug)]
enum Failure {
    /// A value of the wrong type: where, what it is, what is wanted.
    Mismatch {
        path: Vec<String>,
        found: String,
        want: String,
    },
    /// A type's own complaint, without a place, as Go's `UnmarshalJSON` methods do.
    Custom(String),
}

impl Failure {
    fn at(mut self, key: &str) -> Self {
        if let Self::Mismatch { path, .. } = &mut self {
            path.push(key.to_owned());
        }
        self
    }

    /// The value itself is wrong, and Go has a name for its type.
    fn wanting(mut self, name: &str) -> Self {
        if let Self::Mismatch { path, want, .. } = &mut self
            && path.is_empty()
        {
            name.clone_into(want);
        }
        self
    }

    fn text(self, names: Names) -> String {
        match self {
            Self::Custom(text) => text,
            Self::Mismatch { path, found, .. } if path.is_empty() => {
                format!(
                    "json: cannot unmarshal {found} into Go value of type {}",
                    names.whole
                )
            }
            Self::Mismatch { path, found, want } => {
                let root = names.field_root;
                let keys: Vec<String> = path.into_iter().rev().collect();
                let keys = keys.join(".");
                format!(
                    "json: cannot unmarshal {found} into Go struct field {root}.{keys} of type {want}"
                )
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Custom(text) => f.write_str(text),
            Self::Mismatch { found, want, .. } => write!(f, "{found} where {want} is wanted"),
        }
    }
}

impl std::error::Error for Failure {}

impl de::Error for Failure {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::Custom(text.to_string())
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

impl<'de> Node<'de> {
    fn mismatch(&self, want: &str) -> Failure {
        Failure::Mismatch {
            path: Vec::new(),
            found: kind(self.0).to_owned(),
            want: want.to_owned(),
        }
    }

    /// A number that is there but does not fit is named.
    fn number_mismatch(&self, want: &str) -> Failure {
        let found = match self.0 {
            Value::Number(n) => format!("number {n}"),
            other => kind(other).to_owned(),
        };
        Failure::Mismatch {
            path: Vec::new(),
            found,
            want: want.to_owned(),
        }
    }

    fn signed(&self, want: &str, min: i64, max: i64) -> Result<i64, Failure> {
        match self.0 {
            Value::Null => Some(0),
            Value::Number(n) => n.as_i64().filter(|n| (min..=max).contains(n)),
            _ => None,
        }
        .ok_or_else(|| self.number_mismatch(want))
    }

    fn unsigned(&self, want: &str, max: u64) -> Result<u64, Failure> {
        match self.0 {
            Value::Null => Some(0),
            Value::Number(n) => n.as_u64().filter(|n| *n <= max),
            _ => None,
        }
        .ok_or_else(|| self.number_mismatch(want))
    }
}

static NO_ITEMS: &[Value] = &[];

impl<'de> de::Deserializer<'de> for Node<'de> {
    type Error = Failure;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(*b),
            Value::Number(n) => match (n.as_i64(), n.as_u64(), n.as_f64()) {
                (Some(n), _, _) => visitor.visit_i64(n),
                (_, Some(n), _) => visitor.visit_u64(n),
                (_, _, Some(n)) => visitor.visit_f64(n),
                _ => Err(self.number_mismatch("float64")),
            },
            Value::String(s) => visitor.visit_borrowed_str(s),
            Value::Array(items) => visitor.visit_seq(Items::new(items)),
            Value::Object(map) => visitor.visit_map(Entries::new(map)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.0 {
            Value::Null => visitor.visit_bool(false),
            Value::Bool(b) => visitor.visit_bool(*b),
            _ => Err(self.mismatch("bool")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.0 {
            Value::Null => visitor.visit_str(""),
            Value::String(s) => visitor.visit_borrowed_str(s),
            _ => Err(self.mismatch("string")),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_string(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_i64(self.signed("int64", i64::MIN, i64::MAX)?)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_i64(self.signed("int", i64::from(i32::MIN), i64::from(i32::MAX))?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_u64(self.unsigned("uint64", u64::MAX)?)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_u64(self.unsigned("uint", u64::from(u32::MAX))?)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_u64(self.unsigned("uint16", u64::from(u16::MAX))?)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.0 {
            Value::Null => visitor.visit_seq(Items::new(NO_ITEMS)),
            Value::Array(items) => visitor.visit_seq(Items::new(items)),
            _ => Err(self.mismatch("[]string")),
        }
    }

    /// Go fills an array of fixed length as far as items go and drops the rest.
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let items = match self.0 {
            Value::Null => NO_ITEMS,
            Value::Array(items) => items.as_slice(),
            _ => return Err(self.mismatch(&format!("[{len}]uint"))),
        };
        visitor.visit_seq(Items {
            items: items.iter(),
            at: 0,
            pad_to: len,
        })
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match self.0 {
            Value::Null => visitor.visit_map(Entries::none()),
            Value::Object(map) => visitor.visit_map(Entries::new(map)),
            _ => Err(self.mismatch("map[string]string")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        match self.0 {
            Value::Null => visitor.visit_map(Entries::none()),
            Value::Object(map) => visitor.visit_map(Entries::of_struct(map, fields)),
            _ => Err(self.mismatch(name)),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let read = visitor.visit_newtype_struct(self);
        read.map_err(|failure| failure.wanting(name))
    }

    serde::forward_to_deserialize_any! {
        i8 i16 i128 u8 u128 f32 f64 char bytes byte_buf unit unit_struct tuple_struct enum
        identifier ignored_any
    }
}

struct Items<'de> {
    items: std::slice::Iter<'de, Value>,
    at: usize,
    pad_to: usize,
}

impl<'de> Items<'de> {
    fn new(items: &'de [Value]) -> Self {
        Self {
            items: items.iter(),
            at: 0,
            pad_to: 0,
        }
    }
}

impl<'de> de::SeqAccess<'de> for Items<'de> {
    type Error = Failure;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Failure> {
        let item = match self.items.next() {
            Some(item) => item,
            None if self.at < self.pad_to => &Value::Null,
            None => return Ok(None),
        };
        let at = self.at;
        self.at += 1;
        seed.deserialize(Node(item))
            .map(Some)
            .map_err(|e| e.at(&at.to_string()))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries<'de> {
    entries: std::vec::IntoIter<(&'de str, &'de Value)>,
    value: Option<(&'de str, &'de Value)>,
}

impl<'de> Entries<'de> {
    fn none() -> Self {
        Self {
            entries: Vec::new().into_iter(),
            value: None,
        }
    }

    fn new(map: &'de Map<String, Value>) -> Self {
        let entries: Vec<_> = map.iter().map(|(k, v)| (k.as_str(), v)).collect();
        Self {
            entries: entries.into_iter(),
            value: None,
        }
    }

    /// Entries under the names of the fields they belong to; `null` and unknown ones are dropped.
    fn of_struct(map: &'de Map<String, Value>, fields: &'static [&'static str]) -> Self {
        let mut entries: Vec<(&'de str, &'de Value)> =
            Vec::with_capacity(map.len().min(fields.len()));
        for (key, value) in map {
            let exact = fields.iter().find(|f| *f == key);
            let field = exact.or_else(|| fields.iter().find(|f| f.eq_ignore_ascii_case(key)));
            let Some(field) = field else { continue };
            if value.is_null() {
                continue;
            }
            match entries.iter_mut().find(|(have, _)| have == field) {
                Some(entry) => entry.1 = value,
                None => entries.push((field, value)),
            }
        }
        Self {
            entries: entries.into_iter(),
            value: None,
        }
    }
}

impl<'de> de::MapAccess<'de> for Entries<'de> {
    type Error = Failure;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Failure> {
        let Some((key, value)) = self.entries.next() else {
            return Ok(None);
        };
        self.value = Some((key, value));
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Failure> {
        let (key, value) = self
            .value
            .take()
            .expect("serde asks for a value after its key");
        // Go prints keys of maps as JSON pointers, in which `/` is `~1`.
        seed.deserialize(Node(value))
            .map_err(|e| e.at(&key.replace('/', "~1")))
    }
}

#[cfg(test)]
mod tests;
