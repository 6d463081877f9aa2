//! Images on their way in and out: pull, import, push, save, load.

use api::message::{JsonMessage, ProgressDetail};
use engine::images::{
    ImportImage, LoadProgress, LoadRequest, PullRequest, PushRequest, SaveRequest, pull_reference,
};
use futures_util::stream;
use hyper::StatusCode;
use spec::Reference;
use spec::reference::InvalidReference;

use crate::call::Call;
use crate::convert::registry;
use crate::error::ApiError;
use crate::platform;
use crate::progress::{self, Early, line};
use crate::reply::{self, Reply};

/// The name of what is no image.
const RESERVED: &str = "scratch";

/// `POST /images/create`
pub async fn create(call: Call) -> Result<Reply, ApiError> {
    let platform = match call.at_least("1.32") {
        true => platform::from_text(call.query.text("platform"))?,
        false => None,
    };
    if call.query.text("fromImage").is_empty() {
        import(call, platform).await
    } else {
        pull(call, platform).await
    }
}

/// Pulls; a client that goes away leaves the pull.
async fn pull(call: Call, platform: Option<spec::Platform>) -> Result<Reply, ApiError> {
    let image = call.query.text("fromImage");
    // `pull -a` of some clients sends a colon without a tag.
    let image = image.strip_suffix(':').unwrap_or(image);
    let reference = pull_reference(image, call.query.text("tag"))?;
    let name = reference.familiar_repository();
    if name == RESERVED {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            format!("'{name}' is a reserved name"),
        ));
    }
    let request = PullRequest {
        reference,
        platform,
        auth: call.registry_auth(),
        headers: call.meta_headers(),
    };
    let engine = call.engine();
    let work = move |lines| async move { engine.images.pull(request, lines).await };
    progress::answer(Early::Status, work, |line| Some(registry::progress(line))).await
}

/// Imports a root file system: the body, or what an address leads to.
async fn import(call: Call, platform: Option<spec::Platform>) -> Result<Reply, ApiError> {
    let query = &call.query;
    let reference = repository_and_tag(query.text("repo"), query.text("tag"))?;
    let source = query.text("fromSrc").to_owned();
    if source.is_empty() {
        return Err(ApiError::bad_request(
            "one of fromImage and fromSrc must be given",
        ));
    }
    let options = ImportImage {
        reference: reference.map(|r| r.familiar()).unwrap_or_default(),
        message: match query.text("message") {
            "" => format!("Imported from {source}"),
            message => message.to_owned(),
        },
        changes: query.all("changes").to_vec(),
        platform,
    };
    let engine = call.engine();
    if source != "-" {
        let work =
            move |lines| async move { engine.images.import_from(&source, options, lines).await };
        return progress::answer(Early::Status, work, |line| Some(registry::progress(line))).await;
    }
    let id = engine.images.import(call.upload_reader(), options).await?;
    let done = line(&JsonMessage::status("", id.to_string()));
    Ok(reply::stream("application/json", stream::iter([Ok(done)])))
}

/// The name that `repo` and `tag` make; `None` without a repository.
pub fn repository_and_tag(repo: &str, tag: &str) -> Result<Option<Reference>, ApiError> {
    if repo.is_empty() {
        return Ok(None);
    }
    let refuse = |error: InvalidReference| ApiError::bad_request(error.to_string());
    let bare = Reference::parse_bare(repo).map_err(refuse)?;
    if bare.digest().is_some() {
        return Err(ApiError::bad_request("cannot import digest reference"));
    }
    match tag {
        "" => Ok(Some(bare.or_latest())),
        tag => bare.with_tag(tag).map(Some).map_err(refuse),
    }
}

/// `POST /images/{name}/push`
pub async fn push(call: Call) -> Result<Reply, ApiError> {
    let (name, tag) = (call.key(), call.query.text("tag"));
    let reference = match tag {
        "" => {
            Reference::parse_bare(name).map_err(|error| ApiError::bad_request(error.to_string()))?
        }
        tag => match repository_and_tag(name, tag)? {
            Some(reference) => reference,
            None => return Err(ApiError::bad_request("invalid reference format")),
        },
    };
    let platform = match call.at_least("1.46") {
        true => platform::from_json(call.query.text("platform"))?,
        false => None,
    };
    let request = PushRequest {
        name: reference.familiar(),
        tag: String::new(),
        platform,
        auth: call.registry_auth(),
        headers: call.meta_headers(),
    };
    let engine = call.engine();
    let work = move |lines| async move { engine.images.push(request, lines).await };
    progress::answer(Early::Status, work, |line| Some(registry::progress(line))).await
}

/// `GET /images/{name}/get`
pub async fn save_one(call: Call) -> Result<Reply, ApiError> {
    let names = vec![call.key().to_owned()];
    save(call, names).await
}

/// `GET /images/get`
pub async fn save_many(call: Call) -> Result<Reply, ApiError> {
    let names = call.query.all("names").to_vec();
    save(call, names).await
}

async fn save(call: Call, names: Vec<String>) -> Result<Reply, ApiError> {
    let request = SaveRequest {
        names,
        platforms: platforms(&call, "1.48")?,
    };
    let archive = call.engine().images.save(request).await?;
    progress::archive("application/x-tar", archive).await
}

/// The platforms of a save or a load, which are a parameter since some version.
fn platforms(call: &Call, since: &str) -> Result<Vec<spec::Platform>, ApiError> {
    match call.at_least(since) {
        true => platform::list_from_json(call.query.all("platform")),
        false => Ok(Vec::new()),
    }
}

/// `POST /images/load`: Docker has sent the head before it looks at the archive.
pub async fn load(call: Call) -> Result<Reply, ApiError> {
    let quiet = call.query.flag_or_true("quiet");
    let request = LoadRequest {
        platforms: platforms(&call, "1.48")?,
    };
    let (engine, reader) = (call.engine(), call.upload_reader());
    let work = move |lines| async move { engine.images.load(reader, request, lines).await };
    let shown = move |step: &LoadProgress| {
        let line = load_line(step);
        (!quiet || line.status.is_empty()).then_some(line)
    };
    progress::answer(Early::Line, work, shown).await
}

fn load_line(progress: &LoadProgress) -> JsonMessage {
    match progress {
        LoadProgress::Layer { id, current, total } => {
            let detail = ProgressDetail::bytes(*current, total.unwrap_or(0));
            JsonMessage::progress(id, "Loading layer", detail)
        }
        LoadProgress::Loaded(name) => JsonMessage::text(format!("Loaded image: {name}\n")),
        LoadProgress::LoadedId(id) => JsonMessage::text(format!("Loaded image ID: {id}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_lines() {
        let step = load_line(&LoadProgress::Layer {
            id: "ab".to_owned(),
            current: 500,
            total: Some(1000),
        });
        let text = String::from_utf8(line(&step).to_vec()).unwrap();
        assert!(text.starts_with(r#"{"status":"Loading layer","progressDetail":{"current":500,"total":1000},"progress":"[====="#), "{text}");
        assert!(step.progress.ends_with("500B/1kB"), "{}", step.progress);
        let done = load_line(&LoadProgress::Loaded("busybox:latest".to_owned()));
        assert_eq!(
            line(&done),
            "{\"stream\":\"Loaded image: busybox:latest\\n\"}\r\n"
        );
    }

    #[test]
    fn names_of_repository_and_tag() {
        let read = |repo: &str, tag: &str| {
            repository_and_tag(repo, tag)
                .map(|r| r.map(|r| r.familiar()))
                .map_err(|e| e.message)
        };
        assert_eq!(read("", "x"), Ok(None));
        assert_eq!(read("a", ""), Ok(Some("a:latest".to_owned())));
        assert_eq!(read("a:1", ""), Ok(Some("a:1".to_owned())));
        assert_eq!(read("a:1", "2"), Ok(Some("a:2".to_owned())));
        assert_eq!(
            read(&format!("a@sha256:{}", "0".repeat(64)), ""),
            Err("cannot import digest reference".to_owned())
        );
        assert_eq!(read("a", "x:y"), Err("invalid tag format".to_owned()));
        assert_eq!(
            read("UP", ""),
            Err(
                "invalid reference format: repository name (library/UP) must be lowercase"
                    .to_owned()
            )
        );
    }
}
