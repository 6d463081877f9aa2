//! `diff`

use api::client::{Request, escape};
use serde_json::Value;

use crate::app::App;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::{int, text};
use crate::tree::Run;

/// `diff`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let name = flags.args.first().map_or("", String::as_str);
        if name.trim().is_empty() {
            return Err(Failure::new("invalid container name or ID: value is empty"));
        }
        let path = format!("/containers/{}/changes", escape(name));
        let changes = app.client.json(Request::get(path)).await?;
        let lines = changes.as_array().into_iter().flatten().map(line);
        app.put(lines.collect::<String>())
    })
}

fn line(change: &Value) -> String {
    let kind = match int(change, "Kind") {
        0 => 'C',
        1 => 'A',
        2 => 'D',
        _ => '?',
    };
    format!("{kind} {}\n", text(change, "Path"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines() {
        assert_eq!(line(&json!({"Path": "/a", "Kind": 1})), "A /a\n");
        assert_eq!(line(&json!({"Path": "/b", "Kind": 0})), "C /b\n");
        assert_eq!(line(&json!({"Path": "/c", "Kind": 2})), "D /c\n");
    }
}
