//! What all pulls and pushes of a daemon share: the client of registries, the downloads under way,
//! the upkeep behind them, and the settings in force.

use std::sync::{Arc, Mutex};

use registry::{Credentials, Registry, Repository, Settings};
use spec::Reference;
use store::Store;
use tokio::sync::Semaphore;

use super::RegistryAuth;
use super::pull::Downloads;
use crate::Result;
use crate::collector::Upkeep;
use crate::config::ImagesConfig;

/// Shared by all services of images.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(super) registry: Registry,
    pub(super) downloads: Downloads,
    pub(super) upkeep: Upkeep,
    version: String,
    settings: Mutex<InForce>,
}

#[derive(Debug)]
struct InForce {
    config: ImagesConfig,
    uploads: Arc<Semaphore>,
}

impl Hub {
    /// Opens the client and begins the upkeep; must be called inside a tokio runtime.
    ///
    /// # Errors
    ///
    /// A setting that is no URL, host or network.
    pub(crate) fn open(store: &Store, config: &ImagesConfig, version: &str) -> Result<Self> {
        Ok(Self {
            registry: Registry::new(settings(config, version))?,
            downloads: Downloads::new(
                store,
                config.max_concurrent_downloads,
                config.max_download_attempts,
            ),
            upkeep: Upkeep::start(store, config),
            version: version.to_owned(),
            settings: Mutex::new(InForce {
                config: config.clone(),
                uploads: Arc::new(Semaphore::new(config.max_concurrent_uploads.max(1))),
            }),
        })
    }

    /// Takes new settings; what runs goes on with the old ones.
    pub(super) fn reload(&self, config: ImagesConfig) -> Result<()> {
        self.registry.reload(settings(&config, &self.version))?;
        self.downloads.limit(
            config.max_concurrent_downloads,
            config.max_download_attempts,
        );
        self.upkeep.configure(&config);
        let mut in_force = self.in_force();
        in_force.uploads = Arc::new(Semaphore::new(config.max_concurrent_uploads.max(1)));
        in_force.config = config;
        Ok(())
    }

    /// The settings in force.
    pub(super) fn config(&self) -> ImagesConfig {
        self.in_force().config.clone()
    }

    /// Places for uploads.
    pub(super) fn uploads(&self) -> Arc<Semaphore> {
        Arc::clone(&self.in_force().uploads)
    }

    /// A repository as somebody sees it.
    pub(super) fn repository(
        &self,
        name: &Reference,
        auth: &Option<RegistryAuth>,
        headers: &[(String, String)],
    ) -> Repository {
        self.registry
            .repository(name, auth.as_ref().map(credentials))
            .with_headers(headers.to_vec())
    }

    /// Ends the background work.
    pub(crate) async fn close(&self) {
        self.upkeep.close().await;
        self.downloads.close().await;
    }

    fn in_force(&self) -> std::sync::MutexGuard<'_, InForce> {
        self.settings.lock().expect("no panics while held")
    }
}

/// What the client of registries takes of a user's secrets.
pub(super) fn credentials(auth: &RegistryAuth) -> Credentials {
    Credentials {
        username: auth.username.clone(),
        password: auth.password.clone().into(),
        identity_token: auth.identity_token.clone().into(),
        registry_token: auth.registry_token.clone().into(),
        server_address: auth.server_address.clone(),
    }
}

fn settings(config: &ImagesConfig, version: &str) -> Settings {
    Settings {
        user_agent: format!("corten/{version} (linux)"),
        mirrors: config.registry_mirrors.clone(),
        insecure: config.insecure_registries.clone(),
        certs_dirs: config.certs_dirs.clone(),
        http_proxy: config.http_proxy.clone(),
        https_proxy: config.https_proxy.clone(),
        no_proxy: config.no_proxy.clone(),
        ..Settings::default()
    }
}
