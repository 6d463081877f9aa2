//! Commands that neither start nor end a container.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use shim::protocol::{Reply as TaskReply, Request, Streams};
use spec::{Classify, ContainerName, ExecId};

use super::command::{Command, ExecStart};
use super::driver::{Driver, EARLY, answer};
use super::policy::Verb;
use super::request::TerminalSize;
use super::{limits, start, update, validate};
use crate::container::{Resources, RestartPolicy, State};
use crate::execs::ExecConfig;
use crate::shim_client::unexpected;
use crate::{Error, Result};

impl Driver {
    /// Commands that neither start nor end anything.
    pub(super) async fn on_minor(&mut self, command: Command) {
        match command {
            Command::Pause(reply) => answer(reply, self.pause().await),
            Command::Unpause(reply) => answer(reply, self.unpause().await),
            Command::Rename(name, reply) => answer(reply, self.rename(name).await),
            Command::Connect(network, settings, reply) => {
                answer(reply, self.connect(&network, *settings).await);
            }
            Command::Disconnect(network, force, reply) => {
                answer(reply, self.disconnect(&network, force).await);
            }
            Command::Unlink(link, reply) => answer(reply, self.unlink(&link).await),
            Command::Update(resources, policy, reply) => {
                answer(reply, self.update(*resources, policy).await);
            }
            Command::Resize(exec, size, reply) => answer(reply, self.resize(exec, size).await),
            Command::Attach(stream, streams, reply) => {
                answer(reply, self.attach(stream, streams).await);
            }
            Command::ExecCreate(id, config, reply) => answer(reply, self.exec_create(id, config)),
            Command::Lend(purpose, reply) => self.lend(purpose, reply),
            Command::ExecStart(exec, reply) => answer(reply, self.exec_start(*exec).await),
            Command::Start(_)
            | Command::Stop(..)
            | Command::Restart(..)
            | Command::Kill(..)
            | Command::Remove(..)
            | Command::Wait(..) => {}
        }
    }

    async fn pause(&mut self) -> Result<()> {
        self.admit(Verb::Pause)?;
        self.call("cannot pause container", Request::Pause).await?;
        if let State::Running(running) = self.container.state.clone() {
            self.container.state = State::Paused(running);
            self.publish();
        }
        self.emit("pause", &[]);
        Ok(())
    }

    async fn unpause(&mut self) -> Result<()> {
        self.admit(Verb::Unpause)?;
        self.call("cannot unpause container", Request::Resume)
            .await?;
        self.thawed();
        Ok(())
    }

    /// Its processes run again.
    pub(super) fn thawed(&mut self) {
        if let State::Paused(running) = self.container.state.clone() {
            self.container.state = State::Running(running);
            self.publish();
            self.emit("unpause", &[]);
        }
    }

    async fn rename(&mut self, name: ContainerName) -> Result<()> {
        self.admit(Verb::Change)?;
        let old = std::mem::replace(&mut self.record.name, name);
        if let Err(error) = self.save_change().await {
            self.record.name = old;
            self.save().await;
            return Err(error);
        }
        self.shared.table().release(&old, self.record.id);
        self.renamed().await;
        self.publish();
        self.emit("rename", &[("oldName", format!("/{old}"))]);
        Ok(())
    }

    async fn update(
        &mut self,
        resources: Resources,
        policy: Option<RestartPolicy>,
    ) -> Result<Vec<String>> {
        self.admit(Verb::Change)?;
        let mut host = (*self.record.host).clone();
        update::merge(&mut host, resources, policy).map_err(|error| {
            let text = format!("Cannot update container {}: {error}", self.record.id);
            Error::refused(error.kind(), text)
        })?;
        let warnings = limits::check(&mut host.resources, &self.shared.facts)?;
        validate::restart(&host.restart_policy, host.auto_remove)?;
        if self.container.state.running().is_some() {
            let group = self.shared.cgroup(&self.container)?;
            let limits = update::limits(&host.resources);
            let apply = move || {
                group.set_limits(&limits).map_err(|source| Error::System {
                    what: "cannot update container".to_owned(),
                    source,
                })
            };
            self.shared.blocking.quick(apply).await?;
        }
        let old = std::mem::replace(&mut self.record.host, Arc::new(host));
        if let Err(error) = self.save_change().await {
            self.record.host = old;
            self.save().await;
            return Err(error);
        }
        self.container.host = Arc::clone(&self.record.host);
        self.publish();
        self.emit("update", &[]);
        Ok(warnings)
    }

    async fn resize(&mut self, exec: Option<ExecId>, size: TerminalSize) -> Result<()> {
        self.admit(Verb::Touch)?;
        if exec.is_none() && !self.record.config.tty {
            // As in Docker, the size of a terminal that is not there may be set.
            return Ok(());
        }
        let size_of_shim = shim::protocol::ConsoleSize {
            width: size.width,
            height: size.height,
        };
        let request = Request::Resize {
            exec,
            size: size_of_shim,
        };
        self.call("cannot resize the terminal", request).await?;
        if exec.is_none() {
            let (height, width) = (size.height.to_string(), size.width.to_string());
            self.emit("resize", &[("height", height), ("width", width)]);
        }
        Ok(())
    }

    async fn attach(&mut self, stream: OwnedFd, streams: Streams) -> Result<()> {
        self.admit(Verb::Attach)?;
        match &self.live {
            Some(live) => {
                let attach = shim::protocol::Attach {
                    exec: None,
                    streams,
                };
                live.task
                    .call(Request::Attach(attach), vec![stream])
                    .await
                    .map_err(|source| Error::Task {
                        what: "cannot attach to container".to_owned(),
                        source,
                    })?;
            }
            None if self.early.len() < EARLY => self.early.push((stream, streams)),
            None => {
                return Err(Error::refused(
                    spec::ErrorKind::Exhausted,
                    "too many clients are attached to a container that does not run",
                ));
            }
        }
        self.emit("attach", &[]);
        Ok(())
    }

    fn exec_create(&mut self, id: ExecId, config: Arc<ExecConfig>) -> Result<()> {
        self.admit(Verb::Exec)?;
        self.shared
            .execs
            .insert(id, self.record.id, Arc::clone(&config))?;
        let action = exec_action("exec_create", &config.cmd);
        self.emit(action, &[("execID", id.to_string())]);
        Ok(())
    }

    async fn exec_start(&mut self, exec: ExecStart) -> Result<()> {
        self.admit(Verb::Exec)?;
        self.shared.execs.claim(exec.id)?;
        let done = self.exec_run(&exec.config, exec.id, exec.stream).await;
        match &done {
            Ok(pid) => {
                self.shared.execs.running(exec.id, *pid);
                let action = exec_action("exec_start", &exec.config.cmd);
                self.emit(action, &[("execID", exec.id.to_string())]);
            }
            Err(error) => {
                self.shared
                    .execs
                    .ended(exec.id, error.exit_code().unwrap_or(126));
            }
        }
        done.map(|_| ())
    }

    async fn exec_run(
        &self,
        config: &ExecConfig,
        id: ExecId,
        stream: Option<(OwnedFd, Streams)>,
    ) -> Result<i32> {
        let process = start::exec_process(&self.shared, &self.record, config)?;
        let (fds, attach) = match stream {
            Some((fd, streams)) => (vec![fd], Some(streams)),
            None => (Vec::new(), None),
        };
        let Some(live) = &self.live else {
            let id = self.record.id;
            return Err(Error::conflict(format!("container {id} is not running")));
        };
        let request = shim::protocol::Exec {
            id,
            process: Box::new(process),
            attach,
        };
        match live.task.call(Request::Exec(request), fds).await {
            Ok(TaskReply::ExecStarted { pid }) => Ok(pid),
            Ok(other) => Err(Error::Task {
                what: "OCI runtime exec failed".to_owned(),
                source: unexpected(&other),
            }),
            Err(source) => Err(Error::Task {
                what: "OCI runtime exec failed".to_owned(),
                source,
            }),
        }
    }
}

/// What is told of an exec: Docker puts the program and its arguments together with a space, and
/// keeps it where there are no arguments.
fn exec_action(what: &str, command: &[String]) -> String {
    let (program, arguments) = command
        .split_first()
        .map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    format!("{what}: {program} {}", arguments.join(" "))
}
