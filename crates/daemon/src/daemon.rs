//! The daemon's life: locks, engine, sockets, signals, and the order in which it ends.
//!
//! Start: data root and pid file are taken, the engine is opened (every container's state is known
//! when it returns), then the sockets are bound. End, at SIGTERM or SIGINT: no more connections,
//! those there are may finish for a moment, then the engine lets go. Containers go on unless
//! `live-restore` is false. A second signal ends the process at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::Engine;
use engine::engine::AtShutdown;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;
use tracing::{error, info, warn};

use crate::call::Context;
use crate::flags::Values;
use crate::listen::{self, Host};
use crate::lock::{PidFile, RootLock};
use crate::logging::Level;
use crate::server;
use crate::settings::{Name, Settings};

/// What a reload reads again.
#[derive(Debug, Clone)]
pub struct Reload {
    /// Name of the program.
    pub name: Name,
    /// The command line.
    pub flags: Values,
    /// The level of the log.
    pub level: Level,
}

/// Runs until a signal ends it.
pub async fn run(settings: Settings, reload: Reload) -> anyhow::Result<()> {
    settings.log_without_effect();
    let _root = RootLock::take(&settings.engine.data_root)?;
    let _pid = match settings.pidfile.as_os_str().is_empty() {
        true => None,
        false => Some(PidFile::write(&settings.pidfile)?),
    };
    raise_file_limit();
    let mut signals = Signals::new()?;
    let engine = Engine::open(settings.engine.clone()).await?;
    let context = Arc::new(Context {
        engine: engine.clone(),
        experimental: settings.engine.experimental,
        debug: AtomicBool::new(settings.level >= LevelFilter::DEBUG),
    });
    let mut listeners = Vec::new();
    for host in &settings.hosts {
        listeners.extend(listen::bind(host, settings.group.as_deref()).await?);
    }
    info!(version = %settings.engine.version, data_root = %settings.engine.data_root.display(), "daemon is ready");
    notify_ready();
    let closing = CancellationToken::new();
    let serving = tokio::spawn(server::run(
        listeners,
        Arc::clone(&context),
        closing.clone(),
    ));
    signals.until_end(&context, &reload).await;
    info!("daemon is ending");
    closing.cancel();
    let force = tokio::spawn(async move {
        signals.end().await;
        warn!("second signal: ending at once");
        std::process::exit(1);
    });
    if let Err(error) = serving.await {
        error!(%error, "the server failed");
    }
    remove_sockets(&settings.hosts);
    let running = if settings.containers_survive {
        AtShutdown::KeepRunning
    } else {
        AtShutdown::Stop
    };
    engine.shutdown(running).await;
    force.abort();
    info!("daemon has ended");
    Ok(())
}

struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal that ends the daemon. Cancel-safe.
    async fn end(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }

    async fn until_end(&mut self, context: &Context, reload: &Reload) {
        loop {
            tokio::select! {
                _ = self.term.recv() => return,
                _ = self.int.recv() => return,
                _ = self.hup.recv() => reload.again(context),
            }
        }
    }
}

impl Reload {
    /// Reads the configuration file again: the level of the log and all about registries and the
    /// space of images change while running.
    fn again(&self, context: &Context) {
        match Settings::load(self.name, &self.flags) {
            Ok(settings) => {
                self.level.set(settings.level);
                context
                    .debug
                    .store(settings.level >= LevelFilter::DEBUG, Ordering::Relaxed);
                let images = settings.engine.images;
                info!(
                    level = %settings.level,
                    mirrors = ?images.registry_mirrors,
                    insecure = ?images.insecure_registries,
                    "configuration read again: log level, registries and collection"
                );
                if let Err(error) = context.engine.images.reload(images) {
                    let error = spec::error::chain(&error);
                    error!(error, "the settings of registries stay as they were");
                }
            }
            Err(error) => error!(%error, "configuration not read again"),
        }
    }
}

/// Each container costs a few descriptors; the soft limit is for programs that use `select`.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        warn!(%error, "cannot raise the limit of open files");
    }
}

/// Tells the service manager; see [sd_notify(3)](https://man7.org/linux/man-pages/man3/sd_notify.3.html).
fn notify_ready() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let send = || -> std::io::Result<()> {
        use std::os::linux::net::SocketAddrExt;
        use std::os::unix::net::{SocketAddr, UnixDatagram};
        let text = path.to_string_lossy();
        let address = match text.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&*text)?,
        };
        UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address)?;
        Ok(())
    };
    if let Err(error) = send() {
        warn!(%error, "cannot tell the service manager that the daemon is ready");
    }
}

fn remove_sockets(hosts: &[Host]) {
    for host in hosts {
        if let Host::Unix(path) = host {
            // A socket that is gone already is as good.
            std::fs::remove_file(path).ok();
        }
    }
}
