//! `top`

use api::client::{Query, Request, escape};
use serde_json::Value;

use crate::app::App;
use crate::flags::Parsed;
use crate::output::list;
use crate::table::{Layout, align};
use crate::tree::Run;

/// `top`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let (name, options) = flags
            .args
            .split_first()
            .map_or(("", &[][..]), |(n, o)| (n.as_str(), o));
        let mut query = Query::new();
        query.add_some("ps_args", options.join(" "));
        let path = format!("/containers/{}/top", escape(name));
        let answer = app.client.json(Request::get(path).query(&query)).await?;
        app.put(table(&answer))
    })
}

fn table(answer: &Value) -> String {
    let line = |cells: &[Value]| {
        let cells: Vec<&str> = cells.iter().filter_map(Value::as_str).collect();
        cells.join("\t") + "\n"
    };
    let mut out = line(list(answer, "Titles"));
    for process in list(answer, "Processes") {
        out.push_str(&line(process.as_array().map_or(&[], Vec::as_slice)));
    }
    align(
        &out,
        Layout {
            min_width: 20,
            padding: 3,
        },
    )
}
