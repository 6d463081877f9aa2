//! `volume export` and `volume import`: a volume's data as an archive.

use std::fs::File;
use std::io;

use api::client::{Request, escape};

use crate::app::{App, is_terminal};
use crate::commands::image::body;
use crate::config::go_text;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::text;
use crate::output_file::Output;
use crate::tree::Run;

/// `volume export`
pub(super) fn export(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let output = Output::open(flags.str("output"), "failed to export volume")?;
        let name = flags.args.first().map_or("", String::as_str);
        let request = Request::get(format!("/volumes/{}/export", escape(name)));
        output.fill(app.client.send(request).await?).await
    })
}

/// `volume import`
pub(super) fn import(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let name = flags.args.first().map_or("", String::as_str);
        let archive = match flags.args.get(1).map_or("-", String::as_str) {
            "-" if is_terminal(io::stdin()) => {
                return Err(Failure::new(
                    "requested import from stdin, but stdin is a terminal",
                ));
            }
            "-" => body(io::stdin()),
            path => body(
                File::open(path)
                    .map_err(|error| Failure::new(format!("open {path}: {}", go_text(&error))))?,
            ),
        };
        let request = Request::post(format!("/volumes/{}/import", escape(name)))
            .body("application/x-tar", archive);
        let filled = app.client.json(request).await?;
        app.line(text(&filled, "Name"))
    })
}
