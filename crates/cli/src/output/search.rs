//! What a search for images found.

use serde_json::Value;

use super::{Kind, ellipsis, int, text};
use crate::template::Val;

/// The columns of `search`.
pub const TABLE: &str = "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";

/// How much of a description is shown.
const DESCRIPTION: usize = 45;

/// Results of a search.
pub const KIND: Kind = Kind {
    titles: &[
        ("Name", "NAME"),
        ("Description", "DESCRIPTION"),
        ("StarCount", "STARS"),
        ("IsOfficial", "OFFICIAL"),
    ],
    type_name: "*registry.searchContext",
};

/// One result; JSON says `true` where a table has a mark.
pub fn row(result: &Value, trunc: bool, as_json: bool) -> Val {
    let description = text(result, "description").replace(['\n', '\r'], " ");
    let official = result.get("is_official").and_then(Value::as_bool) == Some(true);
    let official = match (official, as_json) {
        (true, true) => "true",
        (true, false) => "[OK]",
        (false, true) => "false",
        (false, false) => "",
    };
    KIND.row(vec![
        ("Name", text(result, "name").into()),
        (
            "Description",
            if trunc {
                ellipsis(&description, DESCRIPTION)
            } else {
                description
            }
            .into(),
        ),
        ("StarCount", int(result, "star_count").to_string().into()),
        ("IsOfficial", official.into()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::render;
    use serde_json::json;

    #[test]
    fn tables_and_json() {
        let long = "A description that goes on for longer than a table has room for";
        let found = [
            json!({"name": "busybox", "description": "Busybox\nbase image.", "star_count": 316, "is_official": true}),
            json!({"name": "team/x", "description": long, "star_count": 0, "is_official": false}),
        ];
        let rows = |as_json| {
            found
                .iter()
                .map(|r| row(r, true, as_json))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            render(&KIND, TABLE, &rows(false)).unwrap(),
            "NAME      DESCRIPTION                                     STARS     OFFICIAL\n\
             busybox   Busybox base image.                             316       [OK]\n\
             team/x    A description that goes on for longer than a…   0         \n"
        );
        assert_eq!(
            render(&KIND, "json", &rows(true)).unwrap().lines().next(),
            Some(
                r#"{"Description":"Busybox base image.","IsOfficial":"true","Name":"busybox","StarCount":"316"}"#
            )
        );
    }
}
