//! Taking up what an earlier engine left: running tasks, ends nobody saw, and halves.
//!
//! ```text
//! record, task answers        → running as before
//! record, exit.json           → exited with that code
//! record, run directory only  → its supervisor crashed: killed, 137
//! record alone                → at rest
//! run directory, snapshot or control group without a record → removed
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

use shim::protocol::{self, Request, SOCKET_FILE, Status};
use spec::ContainerId;
use tokio::sync::mpsc;

use super::driver::{Driver, Live};
use super::ended::{kill_group, remove_group};
use super::endpoint::Place;
use super::networking::{Mode, links, place, ports, roster};
use super::policy;
use super::record::Record;
use super::shared::Shared;
use super::start::remove_run_dir;
use super::{endpoint, mounting, remove};
use crate::container::{Running, State};
use crate::mounts::Kind;
use crate::shim_client::Task;
use crate::{Error, Result};

/// What was found of a container's task.
enum Found {
    /// It runs.
    Live(Live, Box<protocol::State>),
    /// It ended; `None` if nobody knows how.
    Ended(Option<protocol::Exit>),
    /// There was none, or it never got to run.
    Nothing,
}

/// Takes everything up; when it returns, every container has its driver and nothing is left over.
pub(super) async fn recover(shared: &Arc<Shared>) -> Result<()> {
    let records = load_records(shared).await?;
    let known: BTreeSet<ContainerId> = records.iter().map(|r| r.id).collect();
    sweep(shared, known).await?;
    let mut taken_up = Vec::new();
    for record in records {
        let found = find_task(shared, record.id).await;
        taken_up.push((record, found));
    }
    reconcile_network(shared, &taken_up).await?;
    reconcile_volumes(shared, &taken_up).await?;
    for (record, found) in in_order(taken_up) {
        if let Err(error) = shared.table().reserve(&record.name, record.id) {
            tracing::error!(container = %record.id, %error, "two containers have one name");
        }
        take_up(shared, record, found).await;
    }
    shared.roster.settle();
    Ok(())
}

async fn load_records(shared: &Arc<Shared>) -> Result<Vec<Record>> {
    let root = shared.config.data_root.join("containers");
    let store = shared.store.clone();
    let job = move || {
        let mut records = Vec::new();
        for (id, dir) in ids_in(&root)? {
            remove_temporary(&dir);
            match Record::load(&dir) {
                Ok(Some(record)) if record.id == id => records.push(record),
                // A creation or removal that was interrupted; swept below.
                Ok(_) => {}
                Err(_) if store.is_expendable(&id.to_string()) => {}
                Err(error) => {
                    let error = spec::error::chain(&error);
                    tracing::error!(container = %id, error, "a container cannot be read: left alone");
                }
            }
        }
        Ok(records)
    };
    shared.blocking.quick(job).await
}

/// Removes what an interrupted replacement of a file left; the old file is whole.
fn remove_temporary(dir: &Path) {
    let names = std::fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in names.filter(|entry| is_temporary(&entry.file_name())) {
        if let Err(error) = std::fs::remove_file(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "failed to remove a left-over");
        }
    }
}

fn is_temporary(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes()
        .starts_with(sys::fs::TEMPORARY.as_bytes())
}

fn ids_in(dir: &Path) -> Result<Vec<(ContainerId, std::path::PathBuf)>> {
    let failed = |e| Error::io(format!("failed to read `{}`", dir.display()), e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        {
            found.push((id, entry.path()));
        }
    }
    Ok(found)
}

/// Removes what belongs to no record: first processes, then files.
async fn sweep(shared: &Arc<Shared>, known: BTreeSet<ContainerId>) -> Result<()> {
    let shared_of_job = Arc::clone(shared);
    let job = move || {
        let shared = shared_of_job;
        // Where nothing is lost, an unreadable record is that of a creation that was not synced.
        let unreadable = |id: ContainerId| {
            shared.data_dir(id).join(super::record::FILE).exists()
                && !shared.store.is_expendable(&id.to_string())
        };
        let mut strangers = BTreeSet::new();
        let exec = shared.config.exec_root.join("containers");
        let data = shared.config.data_root.join("containers");
        for root in [&exec, &data] {
            strangers.extend(ids_in(root)?.into_iter().map(|(id, _)| id));
        }
        strangers.extend(
            shared
                .store
                .snapshots()
                .iter()
                .filter_map(|key| mounting::owner_of(key)),
        );
        let groups = shared
            .cgroups
            .children(&shared.cgroup_parent)
            .unwrap_or_default();
        strangers.extend(
            groups
                .iter()
                .filter_map(|name| name.parse::<ContainerId>().ok()),
        );
        strangers.retain(|id| !known.contains(id) && !unreadable(*id));
        for id in strangers {
            tracing::info!(container = %id, "removing what was left of a container");
            let task = protocol::read_task(&shared.run_dir(id)).ok().flatten();
            let own = task
                .and_then(|t| t.cgroup)
                .map(|p| p.to_string_lossy().into_owned());
            let path =
                own.unwrap_or_else(|| format!("/{}/{id}", shared.cgroup_parent.trim_matches('/')));
            for result in [
                remove_group(&shared, &path),
                remove::remove_files(&shared, id),
            ] {
                if let Err(error) = result {
                    let error = spec::error::chain(&error);
                    tracing::warn!(container = %id, error, "failed to remove a left-over");
                }
            }
        }
        Ok(())
    };
    shared.blocking.heavy(job).await
}

/// Connects to a container's supervisor, or finds out how its task ended.
async fn find_task(shared: &Arc<Shared>, id: ContainerId) -> Found {
    let run_dir = shared.run_dir(id);
    if !run_dir.exists() {
        return Found::Nothing;
    }
    if let Some((live, state)) = connect(&run_dir).await {
        match state.status {
            Status::Running | Status::Paused => return Found::Live(live, Box::new(state)),
            Status::Exited => {
                let _gone = live.task.send(Request::Delete, Vec::new()).await;
                return Found::Ended(state.exit);
            }
            // A start that was interrupted: it is taken back.
            Status::Empty | Status::Created => {
                let _gone = live.task.call(Request::Delete, Vec::new()).await;
                return Found::Nothing;
            }
        }
    }
    match protocol::read_exit(&run_dir) {
        Ok(Some(exit)) => Found::Ended(Some(exit)),
        // With a task on file something was made; without one the start had hardly begun.
        _ => match protocol::read_task(&run_dir) {
            Ok(None) => Found::Nothing,
            _ => Found::Ended(None),
        },
    }
}

async fn connect(run_dir: &Path) -> Option<(Live, protocol::State)> {
    let socket = sys::fdpass::connect(run_dir, SOCKET_FILE).ok()?;
    let (reports, events) = mpsc::unbounded_channel();
    let task = Task::new(socket, reports).ok()?;
    match task.hello().await {
        Ok(state) => Some((Live { task, events }, state)),
        Err(error) => {
            let error = spec::error::chain(&error);
            tracing::warn!(path = %run_dir.display(), error, "a supervisor does not answer");
            None
        }
    }
}

/// Tells the network which addresses and ports are in use, all others become free; and tells the
/// resolver who is found by which names.
async fn reconcile_network(shared: &Arc<Shared>, list: &[(Record, Found)]) -> Result<()> {
    let mut named = Vec::new();
    let mut live = Vec::new();
    for (record, found) in list {
        let Found::Live(_, state) = found else {
            continue;
        };
        let place = taken_up_place(shared, record);
        let netns = || {
            let path = format!("/proc/{}/ns/net", state.pid?);
            std::fs::File::open(path)
                .ok()
                .map(std::os::fd::OwnedFd::from)
        };
        if place.endpoints.is_empty() {
            continue;
        }
        if roster::has_names(&place)
            && let Some(netns) = netns()
        {
            named.push((record.clone(), place.clone(), netns));
        }
        let requests = match place.ports.is_empty() {
            true => ports::requests(&record.config, &record.host).unwrap_or_default(),
            false => Vec::new(),
        };
        live.push(network::LiveSandbox {
            container: record.id,
            name: record.name.to_string(),
            netns: netns(),
            endpoints: place.endpoints,
            ports: place.ports,
            requests,
        });
    }
    let linked = match shared.config.inter_container {
        true => Vec::new(),
        false => linked(list),
    };
    let job = {
        let shared = Arc::clone(shared);
        move || {
            let lost = shared.network.reconcile(live);
            for (caller, target, ports) in &linked {
                if let Err(error) = shared.network.allow_link(caller, target, ports) {
                    let error = spec::error::chain(&error);
                    tracing::error!(container = %caller, error, "a link could not be kept");
                }
            }
            for (record, place, netns) in &named {
                if let Err(error) = roster::announce(&shared, record, place, netns.as_fd()) {
                    let error = spec::error::chain(&error);
                    tracing::error!(container = %record.id, error, "its names could not be kept");
                }
            }
            Ok(lost)
        }
    };
    for lost in shared.blocking.heavy(job).await? {
        let reason = lost.reason;
        tracing::error!(container = %lost.container, reason, "a place in a network was lost");
    }
    Ok(())
}

/// What a running container has of its networks. An endpoint that its record does not know of is
/// that of a connection or disconnection which was interrupted: it goes.
fn taken_up_place(shared: &Shared, record: &Record) -> Place {
    let mut place = endpoint::load(&shared.run_dir(record.id)).unwrap_or_default();
    let networks = record.networks();
    place
        .endpoints
        .retain(|e| networks.contains_key(&e.network));
    place
}

/// Ports that callers were allowed by their links, where both run.
fn linked(list: &[(Record, Found)]) -> Vec<(ContainerId, ContainerId, links::Ports)> {
    let running: BTreeMap<ContainerId, &Record> = list
        .iter()
        .filter(|(_, found)| matches!(found, Found::Live(..)))
        .map(|(record, _)| (record.id, record))
        .collect();
    let allowed = running.values().flat_map(|caller| {
        let targets = caller.links.iter().filter_map(|l| running.get(&l.target));
        targets.map(|target| (caller.id, target.id, links::exposed(&target.config)))
    });
    allowed.collect()
}

/// Puts containers after those whose network they join or that they have links to, so that these
/// run when it is their turn to be started again.
fn in_order(mut list: Vec<(Record, Found)>) -> Vec<(Record, Found)> {
    let mut needs: BTreeMap<ContainerId, Vec<ContainerId>> = BTreeMap::new();
    for (record, _) in &list {
        let joined = match Mode::of(&record.host.network_mode) {
            Mode::Container(key) => key.parse().ok(),
            _ => None,
        };
        let linked = record.links.iter().map(|link| link.target);
        needs.insert(record.id, joined.into_iter().chain(linked).collect());
    }
    let places = places(&needs);
    list.sort_by_key(|(record, _)| places.get(&record.id).copied());
    list
}

/// Numbers so that everybody's number is higher than those of whom he needs.
fn places(needs: &BTreeMap<ContainerId, Vec<ContainerId>>) -> BTreeMap<ContainerId, usize> {
    let mut places = BTreeMap::new();
    for id in needs.keys() {
        number(*id, needs, &mut places, &mut BTreeSet::new());
    }
    places
}

fn number(
    id: ContainerId,
    needs: &BTreeMap<ContainerId, Vec<ContainerId>>,
    places: &mut BTreeMap<ContainerId, usize>,
    above: &mut BTreeSet<ContainerId>,
) {
    // A circle has no order; it cannot be made by creating containers one after the other.
    if places.contains_key(&id) || !above.insert(id) {
        return;
    }
    for need in needs.get(&id).into_iter().flatten() {
        if needs.contains_key(need) {
            number(*need, needs, places, above);
        }
    }
    places.insert(id, places.len());
}

/// Keeps mounted what running containers use, and unmounts the rest.
async fn reconcile_volumes(shared: &Arc<Shared>, list: &[(Record, Found)]) -> Result<()> {
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // Those that ended meanwhile let go of their volumes when they are taken up.
    let live = list.iter().filter(|(record, found)| {
        matches!(found, Found::Live(..) | Found::Ended(..)) || record.running
    });
    for (record, _) in live {
        for point in record
            .points()
            .iter()
            .filter(|point| point.kind == Kind::Volume)
        {
            let users = users.entry(point.name.clone()).or_default();
            users.push(record.id.to_string());
        }
    }
    let volumes = shared.volumes.clone();
    let job = move || {
        let users =
            |name: &volume::VolumeName| users.get(name.as_str()).cloned().unwrap_or_default();
        Ok(volumes.reconcile(&users)?)
    };
    shared.blocking.heavy(job).await
}

async fn take_up(shared: &Arc<Shared>, record: Record, found: Found) {
    let id = record.id;
    let was_running = record.running;
    let mut driver = Driver::new(Arc::clone(shared), record);
    match found {
        Found::Live(live, state) => {
            driver.place = taken_up_place(shared, &driver.record);
            resume(&mut driver, live, &state);
            return driver.launch();
        }
        Found::Ended(exit) => {
            let container = driver.container.clone();
            let job = {
                let shared = Arc::clone(shared);
                move || kill_group(&shared, &container)
            };
            if let Err(error) = shared.blocking.heavy(job).await {
                let error = spec::error::chain(&error);
                tracing::warn!(container = %id, error, "failed to end what was left");
            }
            let started_at = driver
                .record
                .last
                .started_at
                .unwrap_or(driver.record.created);
            driver.container.state = State::Running(Running { pid: 0, started_at });
            driver.take_exit(exit).await;
        }
        Found::Nothing => {
            let asks_plugins = mounting::has_plugged(&driver.record);
            let job = {
                let (shared, container) = (Arc::clone(shared), driver.container.clone());
                let record = driver.record.clone();
                move || {
                    let done = kill_group(&shared, &container);
                    mounting::release_for(&shared, &record, &id.to_string());
                    remove_run_dir(&shared.run_dir(id));
                    done
                }
            };
            if let Err(error) = shared.blocking.heavy_or_plugin(asks_plugins, job).await {
                let error = spec::error::chain(&error);
                tracing::warn!(container = %id, error, "failed to take back a start");
            }
            if was_running {
                // The host went down with it.
                driver.record.running = false;
                driver.record.last.exit_code = 255;
                driver.record.last.finished_at = Some(crate::clock::now());
                driver.container.state = State::Exited;
                driver.publish();
                driver.save().await;
            }
            start_by_policy(&mut driver, was_running).await;
            if driver.record.host.auto_remove && driver.live.is_none() && !driver.removed {
                driver.after_start().await;
            }
        }
    }
    if !driver.removed {
        driver.launch();
    }
}

async fn start_by_policy(driver: &mut Driver, ran: bool) {
    let policy = driver.record.host.restart_policy.clone();
    if policy::starts_with_engine(&policy, driver.record.stopped_by_user, ran)
        && let Err(error) = driver.start().await
    {
        let error = spec::error::chain(&error);
        tracing::warn!(container = %driver.record.id, error, "failed to restart");
    }
}

/// Goes on with a task that never stopped.
fn resume(driver: &mut Driver, live: Live, state: &protocol::State) {
    let started_at = state.started_at.unwrap_or(driver.record.created);
    let running = Running {
        pid: state.pid.unwrap_or(0),
        started_at,
    };
    driver.record.running = true;
    driver.record.last = crate::container::LastRun {
        started_at: Some(started_at),
        finished_at: driver.record.last.finished_at,
        oom_killed: state.oom_killed,
        ..Default::default()
    };
    driver.container.state = match state.status {
        Status::Paused => State::Paused(running),
        _ => State::Running(running),
    };
    place::keep_ids(&driver.shared, &mut driver.record, &driver.place);
    driver.show_networks();
    driver.live = Some(live);
    driver.publish();
    tracing::info!(container = %driver.record.id, "found running");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_others_need_comes_first() {
        let id = |n: u8| ContainerId::from_bytes([n; 32]);
        let needs = BTreeMap::from([
            (id(1), vec![id(3)]),
            (id(2), vec![id(9)]),
            (id(3), vec![id(2)]),
            (id(4), vec![id(5)]),
            (id(5), vec![id(4)]),
        ]);
        let places = places(&needs);
        assert!(places[&id(2)] < places[&id(3)] && places[&id(3)] < places[&id(1)]);
        assert_eq!(places.len(), 5, "a circle ends");
    }
}
