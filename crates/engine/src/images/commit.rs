//! An image of a container: its settings, changed, over a layer of what it wrote.

use std::sync::Arc;

use serde_json::Value;
use spec::{ImageId, Reference};
use store::CommitOptions;

use super::{CommitRequest, Images, PauseDuringCommit, reference};
use crate::container::{Config, Container, State};
use crate::containers::{fill, to_image};
use crate::{Error, Result};

/// Makes an image of a container.
pub(super) async fn commit(images: &Images, request: CommitRequest) -> Result<ImageId> {
    let container = images.containers.get(&request.container)?;
    match container.state {
        State::Dead => {
            return Err(Error::conflict(format!(
                "You cannot commit container {} which is Dead",
                container.id
            )));
        }
        State::Removing => {
            return Err(Error::conflict(format!(
                "You cannot commit container {} which is being removed",
                container.id
            )));
        }
        _ => {}
    }
    let name = match request.repository.as_str() {
        "" => None,
        text => Some(reference(text, &request.tag)?),
    };
    let options = CommitOptions {
        config: config(&request, &container)?,
        container_config: as_docker(&container.config),
        author: request.author.clone(),
        comment: request.comment.clone(),
        container: container.id.to_string(),
        created_by: container.config.cmd.clone().unwrap_or_default().join(" "),
        created: None,
        docker_version: images.containers.shared().config.version.clone(),
        reference: name.clone(),
    };
    let paused = match request.pause {
        PauseDuringCommit::Pause => Paused::new(images, &container).await,
        PauseDuringCommit::Run => None,
    };
    let (store, key) = (images.store().clone(), container.id.to_string());
    let job = move || {
        let lease = store.lease("commit");
        Ok(store.commit(&lease, &key, &options)?)
    };
    let committed = images.heavy(job).await;
    if let Some(paused) = paused {
        paused.end().await;
    }
    let id = committed?.id;
    tell(images, &container, &request, id, name.as_ref());
    Ok(id)
}

/// Events in Docker's order: the image, its name, then the container.
fn tell(
    images: &Images,
    container: &Container,
    request: &CommitRequest,
    id: ImageId,
    name: Option<&Reference>,
) {
    images.emit(id, "create", &id.to_string());
    if let Some(name) = name {
        images.emit(id, "tag", &name.familiar());
    }
    let mut attributes = container.config.labels.clone();
    for (key, value) in [
        ("comment", request.comment.clone()),
        ("image", container.config.image.clone()),
        ("imageID", id.to_string()),
        (
            "imageRef",
            name.map(Reference::familiar).unwrap_or_default(),
        ),
        ("name", container.name.to_string()),
    ] {
        attributes.insert(key.to_owned(), value);
    }
    let events = &images.containers.shared().events;
    events.emit("container", "commit", container.id.to_string(), attributes);
}

/// The new image's settings: the given ones, changed, over the container's.
fn config(request: &CommitRequest, container: &Container) -> Result<Value> {
    let given = request.config.as_ref().unwrap_or(&*container.config);
    let mut changed = to_image(given);
    store::changes::apply(&mut changed, &request.changes)
        .map_err(|error| Error::invalid(error.to_string()))?;
    let mut merged = crate::containers::of_image(&changed);
    fill(&mut merged, (*container.config).clone());
    // What only containers have comes from the given settings.
    Ok(as_docker(&Config {
        hostname: given.hostname.clone(),
        domainname: given.domainname.clone(),
        attach_stdin: given.attach_stdin,
        attach_stdout: given.attach_stdout,
        attach_stderr: given.attach_stderr,
        tty: given.tty,
        open_stdin: given.open_stdin,
        stdin_once: given.stdin_once,
        image: given.image.clone(),
        ..merged
    }))
}

/// Settings of a container as Docker writes them into an image.
fn as_docker(config: &Config) -> Value {
    let mut value = store::docker_config(&to_image(config));
    if let Some(seconds) = config.stop_timeout {
        value["StopTimeout"] = seconds.into();
    }
    for (key, own) in of_container(config) {
        value[key] = own;
    }
    value
}

/// What Docker keeps of a container beside what images have.
fn of_container(config: &Config) -> [(&'static str, Value); 9] {
    [
        ("Hostname", config.hostname.as_str().into()),
        ("Domainname", config.domainname.as_str().into()),
        ("AttachStdin", config.attach_stdin.into()),
        ("AttachStdout", config.attach_stdout.into()),
        ("AttachStderr", config.attach_stderr.into()),
        ("Tty", config.tty.into()),
        ("OpenStdin", config.open_stdin.into()),
        ("StdinOnce", config.stdin_once.into()),
        ("Image", config.image.as_str().into()),
    ]
}

/// A container that was halted for a commit; it goes on whatever happens to the request.
struct Paused {
    images: Images,
    container: Arc<Container>,
    done: bool,
}

impl Paused {
    /// Halts a running container; one that cannot be is committed as it is, as Docker does.
    async fn new(images: &Images, container: &Arc<Container>) -> Option<Self> {
        if !matches!(container.state, State::Running(_)) {
            return None;
        }
        let paused = images.containers.pause(&container.id.to_string()).await;
        if let Err(error) = &paused {
            let error = spec::error::chain(error);
            tracing::debug!(container = %container.id, error, "not paused for a commit");
        }
        paused.ok().map(|()| Self {
            images: images.clone(),
            container: Arc::clone(container),
            done: false,
        })
    }

    async fn end(mut self) {
        self.done = true;
        go_on(&self.images, &self.container).await;
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // The request was dropped meanwhile; nobody else would let the container go on.
        let (images, container) = (self.images.clone(), Arc::clone(&self.container));
        tokio::spawn(async move { go_on(&images, &container).await });
    }
}

async fn go_on(images: &Images, container: &Container) {
    let resumed = images.containers.unpause(&container.id.to_string()).await;
    if let Err(error) = resumed {
        let error = spec::error::chain(&error);
        tracing::warn!(container = %container.id, error, "failed to go on after a commit");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::sample;

    fn request(changes: &[&str], config: Option<Config>) -> CommitRequest {
        CommitRequest {
            container: "c".to_owned(),
            repository: String::new(),
            tag: String::new(),
            comment: String::new(),
            author: String::new(),
            pause: PauseDuringCommit::Run,
            changes: changes.iter().map(|&c| c.to_owned()).collect(),
            config,
        }
    }

    #[test]
    fn given_settings_are_changed_and_filled_from_the_container() {
        let settings = Config {
            env: vec!["A=1".to_owned(), "B=1".to_owned()],
            working_dir: "/w".to_owned(),
            hostname: "host".to_owned(),
            ..(*sample().config).clone()
        };
        let container = Container {
            config: settings.into(),
            ..sample()
        };
        let own = config(&request(&["CMD [\"x\"]"], None), &container).unwrap();
        assert_eq!(own["Cmd"], serde_json::json!(["x"]));
        assert_eq!(own["Hostname"], "host");
        assert_eq!(own["WorkingDir"], "/w");
        let given = Config {
            env: vec!["A=2".to_owned()],
            ..Config::default()
        };
        let given = config(&request(&["LABEL k=v"], Some(given)), &container).unwrap();
        assert_eq!(given["Env"], serde_json::json!(["A=2", "B=1"]));
        assert_eq!(given["Labels"]["k"], "v");
        assert_eq!(given["Hostname"], "");
    }

    #[test]
    fn a_change_that_is_none_is_refused() {
        let error = config(&request(&["RUN x"], None), &sample()).unwrap_err();
        assert!(error.to_string().contains("not a valid change command"));
    }
}
