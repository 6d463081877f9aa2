//! Creating: everything is checked first, then record and snapshot are made, last it is visible.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustix::rand::GetRandomFlags;
use spec::{ContainerId, ContainerName, ExecId};
use store::{Image, PrepareOptions};
use sys::fs::Durability;

use super::driver::Driver;
use super::networking::{self, Attachments, links, place, wishes};
use super::record::{Belongings, Record};
use super::remove::remove_files;
use super::request::{CreateContainer, Created};
use super::shared::Shared;
use super::{merge, mounting, name, validate};
use crate::container::{Config, EndpointSettings, HostConfig};
use crate::{Error, Result, clock};

/// Tries for a free invented name before digits are added.
const PLAIN_TRIES: u32 = 3;

/// Creates a container.
pub(super) async fn create(shared: &Arc<Shared>, request: CreateContainer) -> Result<Created> {
    let CreateContainer {
        name,
        platform,
        mut config,
        mut host,
        networks,
    } = request;
    wishes::check_mode(&config, &host)?;
    if config.image.is_empty() {
        return Err(Error::invalid("invalid reference format"));
    }
    let image = crate::images::platform::find(&shared.store, &config.image, platform.as_ref())?;
    merge::merge(&mut config, &image.config.config)?;
    join_by_id(shared, &mut config, &mut host)?;
    let mut warnings = validate::check(&mut config, &mut host, &shared.config, &shared.facts)?;
    let networks = attach(shared, &mut config, &mut host, networks)?;
    let links = links::resolve(shared, &host)?;
    let wanted = mounting::plan(shared, &config, &host)?;
    if platform.is_none() {
        warnings.extend(platform_warning(&image));
    }
    let id = ContainerId::from_bytes(random()?);
    fill_hostname(&mut config, &host, id);
    let name = reserve(shared, name, id)?;
    let settings = (id, name.clone(), clock::now(), image.id, (config, host));
    let made = {
        let shared = Arc::clone(shared);
        let blocking = shared.blocking.clone();
        let asks_plugins = mounting::asks_plugins(&shared, &wanted);
        let job = move || {
            let made = mounting::make(&shared, wanted)?;
            let (id, name, created, image, merged) = settings;
            let belongings = Belongings {
                points: made.points.clone(),
                networks,
                links,
            };
            let record = Record::new(id, name, created, image, merged, belongings);
            match write(&shared, &record) {
                Ok(()) => Ok((record, made)),
                Err(error) => {
                    made.undo(&shared);
                    Err(error)
                }
            }
        };
        blocking.quick_or_plugin(asks_plugins, job).await
    };
    let (record, made) = match made {
        Ok(made) => made,
        Err(error) => {
            shared.table().release(&name, id);
            return Err(error);
        }
    };
    let driver = Driver::new(Arc::clone(shared), record);
    driver.emit("create", &[]);
    driver.launch();
    // From here on the table tells who uses its volumes.
    drop(made);
    tracing::info!(container = %id, "created");
    Ok(Created { id, warnings })
}

/// Draws random bytes from the kernel.
fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let drawn = rustix::rand::getrandom(&mut bytes, GetRandomFlags::empty())
        .map_err(|e| Error::io("failed to draw random bytes", e.into()))?;
    // The kernel fills up to 256 bytes in one go.
    if drawn == N {
        Ok(bytes)
    } else {
        Err(Error::internal("the kernel gave too few random bytes"))
    }
}

/// Draws the id of an exec.
pub(crate) fn exec_id() -> Result<ExecId> {
    random().map(ExecId::from_bytes)
}

/// Namespaces of other containers are kept by id, so that a rename does not change the meaning.
fn join_by_id(shared: &Shared, config: &mut Config, host: &mut HostConfig) -> Result<()> {
    for (mode, what) in [
        (
            &mut host.network_mode,
            "joining network namespace of container: ",
        ),
        (&mut host.pid_mode, ""),
        (&mut host.ipc_mode, ""),
    ] {
        if let Some(key) = mode.strip_prefix("container:") {
            // Not the class "not found": clients would take the image to be what is missing.
            let found = shared
                .table()
                .find(key)
                .map_err(|e| Error::invalid(format!("{what}{e}")));
            let id = found?.id;
            *mode = format!("container:{id}");
        }
    }
    if let Some(key) = host.network_mode.strip_prefix("container:") {
        // Filled in after validation: a name of one's own contradicts a shared network.
        let other = shared.table().find(key)?.container();
        config
            .rest
            .insert(HOSTNAME_OF.to_owned(), other.config.hostname.clone().into());
    }
    Ok(())
}

/// The networks of a new container, checked; those that exist go by their names.
fn attach(
    shared: &Shared,
    config: &mut Config,
    host: &mut HostConfig,
    asked: BTreeMap<String, EndpointSettings>,
) -> Result<Attachments> {
    let mut wrong = Vec::new();
    if host.network_mode.starts_with("container:") {
        // The other one's networks are not asked; what contradicts sharing is told all the same.
        wrong.extend(asked.iter().filter_map(|(key, settings)| {
            let text = wishes::check(key, None, settings).err()?;
            Some(format!("invalid config for network {key}: {text}"))
        }));
    }
    let mut networks = if asked.is_empty() {
        networking::of_old_record(config, host)
    } else {
        networking::attachments(config, host, asked)
    };
    host.endpoints.clear();
    let mut named = Attachments::new();
    for (key, attachment) in std::mem::take(&mut networks) {
        // A network that does not exist yet may do so when the container starts.
        let id = place::find(shared, &key).ok();
        let spec = id.and_then(|id| shared.network.spec(&id));
        let subnets = spec.as_deref().map(crate::networks::given_subnets);
        if let Err(text) = wishes::check(&key, subnets.as_deref(), &attachment.settings) {
            wrong.push(format!("invalid config for network {key}: {text}"));
        }
        named.insert(spec.map_or(key, |spec| spec.name.clone()), attachment);
    }
    match wrong.is_empty() {
        true => Ok(named),
        false => Err(Error::invalid(wishes::joined(&wrong))),
    }
}

/// Where the name that goes with a shared network waits for validation to be over.
const HOSTNAME_OF: &str = "corten.hostname";

fn fill_hostname(config: &mut Config, host: &HostConfig, id: ContainerId) {
    let of_other = config.rest.remove(HOSTNAME_OF);
    if !config.hostname.is_empty() {
        return;
    }
    let of_host = || {
        rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned()
    };
    config.hostname = match of_other.as_ref().and_then(|v| v.as_str()) {
        Some(name) => name.to_owned(),
        // With the host's name but a network of one's own, Docker's is the container's id.
        None if host.network_mode == "host" => of_host(),
        None => id.short(),
    };
}

fn platform_warning(image: &Image) -> Option<String> {
    let config = &image.config;
    let host = if cfg!(target_arch = "x86_64") {
        "amd64"
    } else {
        "arm64"
    };
    let (have, want) = (
        format!("{}/{}", config.os, config.architecture),
        format!("linux/{host}"),
    );
    (!config.architecture.is_empty() && have != want).then(|| {
        format!(
            "The requested image's platform ({have}) does not match the detected host platform ({want}) and no specific platform was requested"
        )
    })
}

fn reserve(
    shared: &Shared,
    wanted: Option<ContainerName>,
    id: ContainerId,
) -> Result<ContainerName> {
    if let Some(name) = wanted {
        shared.table().reserve(&name, id)?;
        return Ok(name);
    }
    let mut attempt = 0;
    loop {
        let digits = attempt.max(PLAIN_TRIES) - PLAIN_TRIES;
        let name = name::invent(u64::from_ne_bytes(random()?), digits);
        let mut table = shared.table();
        if !table.has_name(&name) {
            table.reserve(&name, id)?;
            return Ok(name);
        }
        attempt += 1;
    }
}

/// Makes directory, snapshot and record; on failure nothing is left.
fn write(shared: &Shared, record: &Record) -> Result<()> {
    let dir = shared.data_dir(record.id);
    let made = write_all(shared, record, &dir);
    if made.is_err()
        && let Err(error) = remove_files(shared, record.id)
    {
        let error = spec::error::chain(&error);
        tracing::warn!(container = %record.id, error, "failed to undo a creation");
    }
    made
}

fn write_all(shared: &Shared, record: &Record, dir: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let auto_remove = record.host.auto_remove;
    let lease = shared.store.lease("create");
    std::fs::DirBuilder::new()
        .mode(0o710)
        .create(dir)
        .map_err(|e| Error::io(format!("failed to make `{}`", dir.display()), e))?;
    let storage = validate::storage(&record.host)?;
    let options = PrepareOptions {
        volatile: auto_remove,
        size: storage.size,
        memory: storage.memory,
        view: false,
    };
    let rootfs = shared
        .store
        .prepare(&lease, &record.id.to_string(), record.image, &options)?;
    mounting::keep_images(shared, &lease, record.id, record.points(), auto_remove)?;
    mounting::fill(shared, record.id, &rootfs, record.points())?;
    // From here on the record keeps the image's layers alive, through the snapshot.
    let durability = if auto_remove {
        Durability::Unsynced
    } else {
        Durability::Synced
    };
    record.save(dir, durability)?;
    match (durability, dir.parent()) {
        (Durability::Synced, Some(all)) => sys::fs::sync_dir(all).map_err(|source| Error::System {
            what: "failed to make a container durable".to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}
