//! Query strings and filters, read as Docker reads them.

use std::collections::BTreeMap;

use engine::Filters;

use crate::error::ApiError;

/// Longest query accepted; filters of a few hundred names fit.
const MAX_QUERY: usize = 256 * 1024;

/// The parameters of a request; the first value of a name counts, as in Go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(BTreeMap<String, Vec<String>>);

impl Query {
    /// Parses the text after the question mark.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        if text.len() > MAX_QUERY {
            return Err(ApiError::bad_request("query is too long"));
        }
        let mut map: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for part in text.split('&').filter(|p| !p.is_empty()) {
            if part.contains(';') {
                return Err(ApiError::bad_request(
                    "invalid semicolon separator in query",
                ));
            }
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            map.entry(unescape(name, Plus::IsSpace)?)
                .or_default()
                .push(unescape(value, Plus::IsSpace)?);
        }
        Ok(Self(map))
    }

    /// Whether a name is there, even without a value.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The value of a name; empty when absent.
    pub fn text(&self, name: &str) -> &str {
        self.0
            .get(name)
            .and_then(|v| v.first())
            .map_or("", String::as_str)
    }

    /// All values of a name.
    pub fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Docker's boolean: false is empty, `0`, `no`, `false` and `none`, all else is true.
    pub fn flag(&self, name: &str) -> bool {
        let value = self.text(name).trim().to_lowercase();
        !matches!(value.as_str(), "" | "0" | "no" | "false" | "none")
    }

    /// Like [`Query::flag`], but true when absent.
    pub fn flag_or_true(&self, name: &str) -> bool {
        !self.has(name) || self.flag(name)
    }

    /// A whole number; `None` when absent or empty.
    ///
    /// # Errors
    ///
    /// The value is no number; the text is Go's.
    pub fn number(&self, name: &str) -> Result<Option<i64>, ApiError> {
        match self.text(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                ApiError::bad_request(format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
            }),
        }
    }

    /// The `filters` parameter, in its form of lists or its older form of maps.
    ///
    /// # Errors
    ///
    /// It is no JSON of either form: `invalid filter`.
    pub fn filters(&self) -> Result<Filters, ApiError> {
        let text = self.text("filters");
        let mut filters = Filters::new();
        if text.is_empty() {
            return Ok(filters);
        }
        let invalid = || ApiError::bad_request("invalid filter");
        let value: serde_json::Value = serde_json::from_str(text).map_err(|_| invalid())?;
        if value.is_null() {
            return Ok(filters);
        }
        for (key, wanted) in value.as_object().ok_or_else(invalid)? {
            filters.0.entry(key.clone()).or_default();
            match wanted {
                serde_json::Value::Array(items) => {
                    for item in items {
                        filters.add(key, item.as_str().ok_or_else(invalid)?);
                    }
                }
                serde_json::Value::Object(items) => {
                    for (item, on) in items {
                        on.as_bool().ok_or_else(invalid)?;
                        filters.add(key, item);
                    }
                }
                _ => return Err(invalid()),
            }
        }
        Ok(filters)
    }
}

/// What a plus sign means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plus {
    /// A space, as in queries.
    IsSpace,
    /// Itself, as in paths.
    IsPlus,
}

/// Undoes percent escapes; what results must be UTF-8 without NUL.
pub fn unescape(text: &str, plus: Plus) -> Result<String, ApiError> {
    if !text.contains(['%', '+']) {
        return Ok(text.to_owned());
    }
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).and_then(|c| char::from(*c).to_digit(16));
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
                    let bad: String = text.chars().skip(at).take(3).collect();
                    return Err(ApiError::bad_request(format!("invalid URL escape {bad:?}")));
                };
                out.push(u8::try_from(high * 16 + low).expect("two hex digits are a byte"));
                at += 3;
            }
            b'+' if plus == Plus::IsSpace => {
                out.push(b' ');
                at += 1;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    match String::from_utf8(out) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(ApiError::bad_request("invalid characters in URL")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_dockers() {
        let query = Query::parse("a=1&b=true&c=True&d=0&e=False&f=&g&h=none&i=x&j=no").unwrap();
        for name in ["a", "b", "c", "i"] {
            assert!(query.flag(name), "{name}");
        }
        for name in ["d", "e", "f", "g", "h", "j", "absent"] {
            assert!(!query.flag(name), "{name}");
        }
        assert!(query.flag_or_true("absent"));
        assert!(!query.flag_or_true("g"));
    }

    #[test]
    fn escapes() {
        let query = Query::parse("n=a%2Fb+c&n=2&x=%C3%BC").unwrap();
        assert_eq!(query.text("n"), "a/b c");
        assert_eq!(query.all("n").len(), 2);
        assert_eq!(query.text("x"), "ü");
        for bad in ["a=%", "a=%2", "a=%zz", "a=%00", "a=%ff", "a;b"] {
            assert!(Query::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(unescape("a+b%20c", Plus::IsPlus).unwrap(), "a+b c");
    }

    #[test]
    fn numbers() {
        let query = Query::parse("a=5&b=-1&c=x&d=").unwrap();
        assert_eq!(query.number("a").unwrap(), Some(5));
        assert_eq!(query.number("b").unwrap(), Some(-1));
        assert_eq!(query.number("d").unwrap(), None);
        let error = query.number("c").unwrap_err();
        assert_eq!(error.message, "strconv.Atoi: parsing \"x\": invalid syntax");
    }

    #[test]
    fn filters_of_both_forms() {
        let read = |text: &str| {
            Query(BTreeMap::from([(
                "filters".to_owned(),
                vec![text.to_owned()],
            )]))
            .filters()
        };
        let lists = read(r#"{"label":["a","b=1"],"status":["running"]}"#).unwrap();
        let maps = read(r#"{"label":{"a":true,"b=1":true},"status":{"running":true}}"#).unwrap();
        assert_eq!(lists, maps);
        assert!(lists.get("label").unwrap().contains("b=1"));
        assert_eq!(read("null").unwrap(), Filters::new());
        for bad in [
            "{",
            "[1]",
            "1",
            r#"{"a":1}"#,
            r#"{"a":[1]}"#,
            r#"{"a":{"b":1}}"#,
        ] {
            assert_eq!(read(bad).unwrap_err().message, "invalid filter", "{bad}");
        }
    }
}
