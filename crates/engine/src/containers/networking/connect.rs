//! Connecting containers to networks and disconnecting them, running or not.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use spec::{ErrorKind, NetworkId};

use super::super::Containers;
use super::super::command::Command;
use super::super::driver::Driver;
use super::super::endpoint::{self, Place};
use super::super::record::Record;
use super::super::shared::Shared;
use super::super::{etc, mounting};
use super::links::{self, Link};
use super::{Attachment, Mode, around, place, roster, view, wishes};
use crate::container::{EndpointSettings, State};
use crate::{Error, Result};

impl Containers {
    /// Gives it a place in another network.
    pub(crate) async fn connect(
        &self,
        key: &str,
        network: &str,
        settings: EndpointSettings,
    ) -> Result<()> {
        let (network, settings) = (network.to_owned(), Box::new(settings));
        self.ask(key, |reply| Command::Connect(network, settings, reply))
            .await
    }

    /// Takes it out of a network.
    pub(crate) async fn disconnect(&self, key: &str, network: &str, force: bool) -> Result<()> {
        let network = network.to_owned();
        self.ask(key, |reply| Command::Disconnect(network, force, reply))
            .await
    }
}

impl Driver {
    /// Gives it a place in another network.
    pub(in super::super) async fn connect(
        &mut self,
        key: &str,
        settings: EndpointSettings,
    ) -> Result<()> {
        match self.container.state.running().map(|running| running.pid) {
            None => self.connect_at_rest(key, settings).await,
            Some(pid) => self.connect_running(key, settings, pid).await,
        }
    }

    /// Takes it out of a network.
    pub(in super::super) async fn disconnect(&mut self, key: &str, force: bool) -> Result<()> {
        let found = place::find(&self.shared, key);
        let running = self.container.state.running().map(|running| running.pid);
        match (running, found) {
            (Some(pid), Ok(id)) => self.disconnect_running(id, pid).await,
            (Some(_), Err(error)) if !force => Err(error),
            (_, found) => {
                self.not_leaving()?;
                let name = match found {
                    Ok(id) => name_of(&self.shared, &id),
                    Err(_) => key.to_owned(),
                };
                if !self.record.networks().contains_key(&name) {
                    let id = self.record.id;
                    return Err(Error::internal(format!(
                        "container {id} is not connected to the network {name}"
                    )));
                }
                self.change(|record| {
                    record.networks_mut().remove(&name);
                })
                .await
            }
        }
    }

    fn not_leaving(&self) -> Result<()> {
        if matches!(self.container.state, State::Removing | State::Dead) {
            let id = self.record.id;
            return Err(Error::internal(format!(
                "Container {id} is marked for removal and cannot be connected or disconnected to \
                 the network"
            )));
        }
        Ok(())
    }

    /// Changes the record so that it lasts, and shows the change.
    async fn change(&mut self, change: impl FnOnce(&mut Record)) -> Result<()> {
        let old = self.record.clone();
        change(&mut self.record);
        if let Err(error) = self.save_change().await {
            self.record = old;
            self.save().await;
            return Err(error);
        }
        self.show_networks();
        self.publish();
        Ok(())
    }

    async fn connect_at_rest(&mut self, key: &str, settings: EndpointSettings) -> Result<()> {
        self.not_leaving()?;
        // As in Docker, a network may be made later, under the name that it was given here.
        let name = match place::find(&self.shared, key) {
            Ok(id) => {
                let name = name_of(&self.shared, &id);
                place::check(&self.shared, &name, &id, &settings)?;
                self.fits(&name)?;
                name
            }
            Err(Error::NoSuchNetwork { .. }) => key.to_owned(),
            Err(error) => return Err(error),
        };
        if self.record.networks().contains_key(&name) {
            return Ok(());
        }
        self.change(|record| {
            let network_id = String::new();
            let attachment = Attachment {
                network_id,
                settings,
            };
            record.networks_mut().insert(name, attachment);
        })
        .await
    }

    fn fits(&self, name: &str) -> Result<()> {
        let mode = Mode::of(&self.record.host.network_mode);
        let has = self.record.networks().keys().map(String::as_str);
        wishes::compatible(mode, has, name)
    }

    async fn connect_running(
        &mut self,
        key: &str,
        settings: EndpointSettings,
        pid: i32,
    ) -> Result<()> {
        // Nothing goes with the network of another container, whether the network exists or not.
        let mode = Mode::of(&self.record.host.network_mode);
        if matches!(mode, Mode::Container(_)) {
            wishes::compatible(mode, std::iter::empty(), key)?;
        }
        let id = place::find(&self.shared, key)?;
        let name = name_of(&self.shared, &id);
        place::check(&self.shared, &name, &id, &settings)?;
        self.fits(&name)?;
        if self.record.networks().contains_key(&name) {
            return Err(Error::refused(
                ErrorKind::Forbidden,
                format!(
                    "endpoint with name {} already exists in network {name}",
                    self.record.name
                ),
            ));
        }
        let mut record = self.record.clone();
        let network_id = id.to_string();
        record.networks_mut().insert(
            name.clone(),
            Attachment {
                network_id,
                settings,
            },
        );
        let job = {
            let (shared, record) = (Arc::clone(&self.shared), record.clone());
            move || connect(&shared, &record, &name, id, pid)
        };
        let asks_plugins = place::plugged(&self.shared, &record);
        let blocking = &self.shared.blocking;
        self.place = blocking.quick_or_plugin(asks_plugins, job).await?;
        self.record = record;
        if let Err(error) = self.save_change().await {
            let error = spec::error::chain(&error);
            tracing::error!(container = %self.record.id, error, "a connection is not kept on disk");
        }
        self.show_networks();
        self.publish();
        self.emit_network_of("connect", &id);
        Ok(())
    }

    async fn disconnect_running(&mut self, id: NetworkId, pid: i32) -> Result<()> {
        let name = name_of(&self.shared, &id);
        if name == "host" && Mode::of(&self.record.host.network_mode) == Mode::Host {
            return Err(Error::invalid(
                "cannot disconnect container from host network - container was created in host \
                 network mode",
            ));
        }
        let container = self.record.id;
        if !self.record.networks().contains_key(&name) {
            return Err(Error::internal(format!(
                "container {container} is not connected to network {name}"
            )));
        }
        if name == "none" {
            // There is nothing to leave.
            self.change(|record| {
                record.networks_mut().remove(&name);
            })
            .await?;
            self.emit_network_of("disconnect", &id);
            return Ok(());
        }
        // First on disk: if the engine is killed now, the next one finishes the disconnection.
        let asks_plugins = self.asks_plugins();
        let old = self.record.clone();
        self.record.networks_mut().remove(&name);
        let left = match self.save_change().await {
            Ok(()) => {
                let (shared, record) = (Arc::clone(&self.shared), self.record.clone());
                let before = self.place.clone();
                let job = move || disconnect(&shared, &record, before, id, pid);
                let blocking = &self.shared.blocking;
                blocking.quick_or_plugin(asks_plugins, job).await
            }
            Err(error) => Err(error),
        };
        match left {
            Ok(place) => self.place = place,
            Err(error) => {
                self.record = old;
                self.save().await;
                return Err(error);
            }
        }
        self.show_networks();
        self.publish();
        self.emit_network_of("disconnect", &id);
        Ok(())
    }

    /// Forgets a link and what it opened; what the container was told at its start stays in its
    /// environment.
    pub(in super::super) async fn unlink(&mut self, link: &Link) -> Result<()> {
        let mut links = (*self.record.links).clone();
        links.retain(|one| one != link);
        let links = Arc::new(links);
        self.change(|record| {
            record.links = Arc::clone(&links);
            let host = Arc::make_mut(&mut record.host);
            let other =
                |text: &String| links::parse(text).is_ok_and(|(_, alias)| alias != link.alias);
            host.links.retain(other);
        })
        .await?;
        self.shared.callers.set(self.record.id, &links);
        self.container.host = Arc::clone(&self.record.host);
        self.container.links = links;
        self.publish();
        if self.container.state.running().is_some() {
            let (shared, record) = (Arc::clone(&self.shared), self.record.clone());
            let place = self.place.clone();
            let target = link.target;
            let job = move || {
                if record.links.iter().all(|link| link.target != target) {
                    shared.network.forbid_link(&record.id, &target)?;
                }
                around::write_etc(&shared, &record, &place)
            };
            self.shared.blocking.quick(job).await?;
        }
        Ok(())
    }

    /// Its name has changed: others find it under the new one from now on.
    pub(in super::super) async fn renamed(&mut self) {
        self.show_networks();
        if roster::has_names(&self.place) {
            let (shared, record) = (Arc::clone(&self.shared), self.record.clone());
            let place = self.place.clone();
            let job = move || {
                roster::rename(&shared, &record, &place);
                Ok(())
            };
            // Only the door can fail, when the engine is being torn down.
            let _closing = self.shared.blocking.quick(job).await;
        }
    }

    /// Whether its volumes or networks are a plugin's, which may take its time.
    pub(in super::super) fn asks_plugins(&self) -> bool {
        mounting::has_plugged(&self.record) || place::plugged(&self.shared, &self.record)
    }

    /// Puts the networks into the picture that readers see next.
    pub(in super::super) fn show_networks(&mut self) {
        let run = self.container.state.running().map(|r| (&self.place, r.pid));
        self.container.networking = Arc::new(view::networking(&self.record, run));
    }

    /// Tells that it entered or left all its networks.
    pub(in super::super) fn emit_networks(&self, action: &'static str) {
        for attachment in self.record.networks().values() {
            if let Ok(id) = attachment.network_id.parse() {
                self.emit_network_of(action, &id);
            }
        }
    }

    fn emit_network_of(&self, action: &'static str, id: &NetworkId) {
        let (name, kind) = if self.shared.default_network == Some(*id) {
            ("bridge".to_owned(), "bridge".to_owned())
        } else {
            match self.shared.network.spec(id) {
                Some(spec) => (spec.name.clone(), spec.driver.clone()),
                None => return,
            }
        };
        let attributes = [
            ("container", self.record.id.to_string()),
            ("name", name),
            ("type", kind),
        ];
        let attributes = attributes.map(|(k, v)| (k.to_owned(), v)).into();
        let events = &self.shared.events;
        events.emit("network", action, id.to_string(), attributes);
    }
}

fn name_of(shared: &Shared, id: &NetworkId) -> String {
    let spec = shared.network.spec(id);
    spec.map_or_else(|| id.to_string(), |spec| spec.name.clone())
}

fn netns(pid: i32) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/net");
    let file = std::fs::File::open(&path);
    Ok(file
        .map_err(|e| Error::io(format!("failed to open `{path}`"), e))?
        .into())
}

/// Connects a running container; on failure everything is as before.
fn connect(shared: &Shared, record: &Record, name: &str, id: NetworkId, pid: i32) -> Result<Place> {
    let netns = netns(pid)?;
    let settings = &record.networks()[name].settings;
    let request = wishes::request(id, settings);
    let endpoint = shared
        .network
        .connect(&record.id, netns.as_fd(), &request)?;
    let finished = settle(shared, record, (&netns, false), |files, host, domain| {
        etc::add_hosts(files, host, domain, &around::addresses(&endpoint))
    });
    if finished.is_err() {
        roster::withdraw_from(shared, &endpoint);
        if let Err(error) = shared
            .network
            .disconnect(&record.id, &id, Some(netns.as_fd()))
        {
            let error = spec::error::chain(&error);
            tracing::warn!(container = %record.id, error, "failed to take back a connection");
        }
    }
    finished
}

/// Disconnects a running container.
fn disconnect(
    shared: &Shared,
    record: &Record,
    before: Place,
    id: NetworkId,
    pid: i32,
) -> Result<Place> {
    let netns = netns(pid)?;
    shared
        .network
        .disconnect(&record.id, &id, Some(netns.as_fd()))?;
    let gone = before.endpoints.iter().find(|e| e.network_id == id);
    if let Some(endpoint) = gone {
        roster::withdraw_from(shared, endpoint);
    }
    let addresses = gone.map(around::addresses).unwrap_or_default();
    let had_names = roster::has_names(&before);
    settle(
        shared,
        record,
        (&netns, had_names),
        |files, host, domain| etc::delete_hosts(files, host, domain, &addresses),
    )
}

/// Keeps the new place, and tells the resolver and the files under `/etc`; it is known whether
/// there were names before.
fn settle(
    shared: &Shared,
    record: &Record,
    (netns, had_names): (&OwnedFd, bool),
    hosts: impl FnOnce(&crate::container::Files, &str, &str) -> Result<()>,
) -> Result<Place> {
    let (endpoints, ports) = shared.network.sandbox(&record.id).unwrap_or_default();
    let place = Place { endpoints, ports };
    endpoint::save(&shared.run_dir(record.id), &place)?;
    let files = shared.files(record);
    hosts(&files, &record.config.hostname, &record.config.domainname)?;
    let has_names = roster::has_names(&place);
    if has_names {
        roster::announce(shared, record, &place, netns.as_fd())?;
    }
    if has_names || had_names {
        around::write_resolv_conf(shared, record, &place)?;
    }
    if had_names && !has_names {
        roster::close(shared, record);
    }
    Ok(place)
}
