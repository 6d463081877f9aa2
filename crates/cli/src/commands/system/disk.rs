//! `system df`

use api::client::Request;
use serde_json::Value;
use spec::Reference;

use crate::app::App;
use crate::exit::Failure;
use crate::flags::Parsed;
use crate::output::disk::{CACHE, CACHE_TABLE, CONTAINERS_TABLE, IMAGES_TABLE, KIND, TABLE, rows};
use crate::output::{container, image, int, list, render, volume};
use crate::template::{Template, Val};
use crate::tree::Run;
use crate::units::human_size;
use crate::zone::Zone;

/// `system df`
pub(super) fn run(app: &App, flags: Parsed) -> Run<'_> {
    Box::pin(async move {
        let usage = app.client.json(Request::get("/system/df")).await?;
        let format = flags.str("format");
        let is_table = matches!(format, "" | "table");
        match (flags.bool("verbose"), is_table) {
            (false, true) => app.put(render(&KIND, TABLE, &rows(&usage))?),
            (false, false) => app.put(render(&KIND, format, &rows(&usage))?),
            (true, true) => app.put(verbose(&usage)?),
            (true, false) => app.put(custom(&usage, format)?),
        }
    })
}

struct Things {
    images: Vec<Val>,
    containers: Vec<Val>,
    volumes: Vec<Val>,
}

fn things(usage: &Value, trunc: bool) -> Things {
    let zone = Zone::local();
    let name = |image: &Value| -> (String, String) {
        let first = list(image, "RepoTags").first().and_then(Value::as_str);
        match first.and_then(|text| Reference::parse_bare(text).ok()) {
            Some(name) => (
                name.familiar_repository(),
                name.tag().unwrap_or("<none>").to_owned(),
            ),
            None => ("<none>".to_owned(), "<none>".to_owned()),
        }
    };
    let images = list(usage, "Images").iter().map(|i| {
        let (repository, tag) = name(i);
        image::row(i, &repository, &tag, "", trunc, &zone)
    });
    let containers = list(usage, "Containers").iter().map(|c| {
        let mut c = c.clone();
        // The size of the image is told with the image.
        c["SizeRootFs"] = 0.into();
        container::row(&c, trunc, &zone)
    });
    Things {
        images: images.collect(),
        containers: containers.collect(),
        volumes: list(usage, "Volumes").iter().map(volume::row).collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
fn verbose(usage: &Value) -> Result<String, Failure> {
    let all = things(usage, true);
    Ok(format!(
        "Images space usage:\n\n{}\nContainers space usage:\n\n{}\nLocal Volumes space usage:\n\n{}\nBuild cache usage: {}\n\n{}",
        render(&image::KIND, IMAGES_TABLE, &all.images)?,
        render(&container::KIND, CONTAINERS_TABLE, &all.containers)?,
        render(&volume::KIND, volume::USAGE_TABLE, &all.volumes)?,
        human_size(int(usage, "BuilderSize") as f64),
        render(&CACHE, CACHE_TABLE, &[])?,
    ))
}

fn custom(usage: &Value, format: &str) -> Result<String, Failure> {
    let format = if format == "json" {
        "{{json .}}"
    } else {
        format
    };
    let parsing = |error| Failure::new(format!("template parsing error: {error}"));
    let template =
        Template::parse(&format.replace("\\t", "\t").replace("\\n", "\n")).map_err(parsing)?;
    let all = things(usage, false);
    let list = |items: Vec<Val>| Val::List(std::rc::Rc::new(items));
    let fields = vec![
        ("Images".to_owned(), list(all.images)),
        ("Containers".to_owned(), list(all.containers)),
        ("Volumes".to_owned(), list(all.volumes)),
        ("BuildCache".to_owned(), list(Vec::new())),
    ];
    template
        .render(&Val::object("*formatter.diskUsageContext", fields))
        .map_err(parsing)
}
