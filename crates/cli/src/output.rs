//! Lists of things: rows of fields, filled into templates and aligned into columns.

pub mod container;
pub mod disk;
pub mod image;
pub mod network;
pub mod search;
pub mod stats;
pub mod tree;
pub mod volume;

use crate::exit::Failure;
use crate::table;
use crate::template::{Template, Val};

/// The format that shows nothing but ids.
pub const QUIET: &str = "{{.ID}}";

/// A kind of thing that lists show: its column titles and the type that messages name.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Field and title.
    pub titles: &'static [(&'static str, &'static str)],
    /// Go's name of its type.
    pub type_name: &'static str,
}

impl Kind {
    /// A row of this kind; fields are shown by `json` in alphabetical order.
    pub fn row(&self, fields: Vec<(&str, Val)>) -> Val {
        let mut fields: Vec<(String, Val)> = fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        Val::object(self.type_name, fields)
    }

    fn header(&self) -> Val {
        let mut fields: Vec<(String, Val)> = self
            .titles
            .iter()
            .map(|(name, title)| ((*name).to_owned(), Val::str(title)))
            .collect();
        let label = |args: &[Val]| {
            let name = args.first().map(Val::print).unwrap_or_default();
            let last = name.rsplit('.').next().unwrap_or_default();
            Ok(Val::str(last.replace(['-', '_'], " ")))
        };
        fields.push(("Label".to_owned(), Val::Method(std::rc::Rc::new(label))));
        Val::Map(std::rc::Rc::new(fields), None)
    }
}

/// Fills rows into a format: `table …`, `json`, or a template.
pub fn render(kind: &Kind, format: &str, rows: &[Val]) -> Result<String, Failure> {
    let is_table = format.starts_with("table");
    let body = match format {
        "json" => "{{json .}}",
        _ if is_table => &format["table".len()..],
        _ => format,
    };
    let body = body
        .trim_matches(' ')
        .replace("\\t", "\t")
        .replace("\\n", "\n");
    let parsing = |error: crate::template::TemplateError| {
        Failure::new(format!("template parsing error: {error}"))
    };
    let template = Template::parse(&body).map_err(parsing)?;
    let mut out = String::new();
    if is_table {
        out.push_str(&template.render_header(&kind.header()).unwrap_or_default());
        out.push('\n');
    }
    for row in rows {
        out.push_str(&template.render(row).map_err(parsing)?);
        out.push('\n');
    }
    Ok(if is_table {
        table::align(&out, table::LIST)
    } else {
        out
    })
}

/// The first twelve digits of an id, without `sha256:`.
pub fn short_id(id: &str) -> &str {
    let digits = id.split_once(':').map_or(id, |(_, digits)| digits);
    digits.get(..12).unwrap_or(digits)
}

/// The id as wanted: short or whole.
pub fn id(id: &str, trunc: bool) -> &str {
    if trunc { short_id(id) } else { id }
}

/// Cuts a text to so many characters, with a mark at the end.
pub fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// A text of a JSON object; empty where there is none.
pub fn text<'v>(value: &'v serde_json::Value, key: &str) -> &'v str {
    value
        .get(key)
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default()
}

/// A number of a JSON object; 0 where there is none.
pub fn int(value: &serde_json::Value, key: &str) -> i64 {
    value
        .get(key)
        .and_then(serde_json::Value::as_i64)
        .unwrap_or_default()
}

/// A list of a JSON object; empty where there is none.
pub fn list<'v>(value: &'v serde_json::Value, key: &str) -> &'v [serde_json::Value] {
    value
        .get(key)
        .and_then(serde_json::Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// `k=v,k=v` of a map of texts, sorted.
pub fn pairs(value: &serde_json::Value, key: &str) -> String {
    let map = value.get(key).and_then(serde_json::Value::as_object);
    let mut pairs: Vec<String> = map
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    pairs.sort();
    pairs.join(",")
}

/// The method `.Label "name"` over a map of labels.
pub fn label_method(value: &serde_json::Value) -> Val {
    let labels = Val::from(value.get("Labels").unwrap_or(&serde_json::Value::Null));
    let method = move |args: &[Val]| {
        let name = args.first().map(Val::print).unwrap_or_default();
        Ok(labels.get(&name).cloned().unwrap_or_else(|| Val::str("")))
    };
    Val::Method(std::rc::Rc::new(method))
}

/// A key that sorts the numbers in a text by their value.
pub fn natural(text: &str) -> Vec<(String, u64)> {
    let mut out = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let digits_at = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(digits_at);
        let end = after
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(after.len());
        out.push((word.to_owned(), after[..end].parse().unwrap_or(0)));
        rest = &after[end..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const THINGS: Kind = Kind {
        titles: &[("ID", "THING ID"), ("Name", "NAME")],
        type_name: "*formatter.thing",
    };

    fn rows() -> Vec<Val> {
        vec![
            THINGS.row(vec![("Name", "one".into()), ("ID", "1".into())]),
            THINGS.row(vec![
                ("Name", "<two>".into()),
                ("ID", "2222222222222".into()),
            ]),
        ]
    }

    #[test]
    fn tables_and_templates() {
        let table = render(&THINGS, "table {{.ID}}\\t{{.Name}}", &rows()).unwrap();
        assert_eq!(
            table,
            "THING ID        NAME\n1               one\n2222222222222   <two>\n"
        );
        assert_eq!(
            render(&THINGS, "{{.Name}}", &rows()).unwrap(),
            "one\n<two>\n"
        );
        let json = render(&THINGS, "json", &rows()).unwrap();
        assert!(
            json.starts_with("{\"ID\":\"1\",\"Name\":\"one\"}\n{\"ID\""),
            "{json}"
        );
        assert!(json.contains("\\u003ctwo\\u003e"), "{json}");
    }

    #[test]
    fn errors_name_the_type() {
        let error = render(&THINGS, "{{.Nope}}", &rows()).unwrap_err();
        assert_eq!(
            error.message,
            "template parsing error: template: :1:2: executing \"\" at <.Nope>: can't evaluate field Nope in type *formatter.thing"
        );
    }

    #[test]
    fn cut_texts() {
        assert_eq!(ellipsis("0123456789", 10), "0123456789");
        assert_eq!(ellipsis("0123456789x", 10), "012345678…");
        assert_eq!(short_id("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_id("short"), "short");
    }
}
