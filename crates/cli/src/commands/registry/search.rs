//! `search`

use api::client::{Query, Request};

use super::with_login;
use crate::app::App;
use crate::commands::{filters, put_filters};
use crate::flags::Parsed;
use crate::output::render;
use crate::output::search::{KIND, TABLE, row};
use crate::tree::Run;

/// `search`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let term = flags.args.first().map_or("", String::as_str);
        let wanted = filters(&flags);
        if wanted.contains_key("is-automated") {
            app.warn("WARNING: the \"is-automated\" filter is deprecated, and searching for \"is-automated=true\" will not yield any results in future.");
        }
        let mut query = Query::new().with("term", term);
        if flags.int("limit") > 0 {
            query.add("limit", flags.int("limit").to_string());
        }
        put_filters(&mut query, wanted);
        let request = || Request::get("/images/search").query(&query);
        let response = with_login(app, "search", index(term), &request).await?;
        let results = response.json().await?;
        let format = match flags.str("format") {
            "" | "table" => TABLE,
            format => format,
        };
        let (trunc, as_json) = (!flags.bool("no-trunc"), format.contains("json"));
        let rows: Vec<_> = results
            .as_array()
            .into_iter()
            .flatten()
            .map(|result| row(result, trunc, as_json))
            .collect();
        app.put(render(&KIND, format, &rows)?)
    })
}

// The registry that a term names, which only private ones do.
fn index(term: &str) -> &str {
    match term.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_term_is_looked_for() {
        for (term, want) in [
            ("busybox", "docker.io"),
            ("team/app", "docker.io"),
            ("quay.io/app", "quay.io"),
            ("localhost/app", "localhost"),
            ("h:5000/a/b", "h:5000"),
        ] {
            assert_eq!(index(term), want);
        }
    }
}
