//! `save`

use api::client::{Query, Request};

use crate::app::App;
use crate::flags::Parsed;
use crate::output_file::Output;
use crate::tree::Run;

/// `save`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let platform = super::variant(&flags, "invalid platform: ")?;
        let output = Output::open(flags.str("output"), "failed to save image")?;
        let mut query = Query::new();
        for name in &flags.args {
            query.add("names", name);
        }
        if let Some(platform) = platform {
            query.add("platform", platform.json());
        }
        let request = Request::get("/images/get").query(&query);
        output.fill(app.client.send(request).await?).await
    })
}
