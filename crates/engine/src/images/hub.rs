//! What all pulls and pushes of a daemon share: the client of registries, the downloads under way,
//! the upkeep behind them, and the settings in force.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use registry::{Credentials, Registry, Repository, Settings};
use spec::{ImageId, Reference};
use store::Store;
use tokio::sync::Semaphore;

use super::RegistryAuth;
use super::pull::Downloads;
use crate::Result;
use crate::blocking::Blocking;
use crate::collector::Upkeep;
use crate::config::{EngineConfig, ImagesConfig};
use crate::events::Events;

/// Shared by all services of images.
#[derive(Debug)]
pub(crate) struct Hub {
    store: Store,
    events: Events,
    blocking: Blocking,
    root: PathBuf,
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
    pub(crate) fn open(
        store: &Store,
        events: &Events,
        blocking: &Blocking,
        config: &EngineConfig,
    ) -> Result<Self> {
        let images = &config.images;
        Ok(Self {
            store: store.clone(),
            events: events.clone(),
            blocking: blocking.clone(),
            root: config.data_root.clone(),
            registry: Registry::new(settings(images, &config.version))?,
            downloads: Downloads::new(
                store,
                images.max_concurrent_downloads,
                images.max_download_attempts,
            ),
            upkeep: Upkeep::start(store, images),
            version: config.version.clone(),
            settings: Mutex::new(InForce {
                config: images.clone(),
                uploads: Arc::new(Semaphore::new(images.max_concurrent_uploads.max(1))),
            }),
        })
    }

    /// Content and names.
    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// A directory on the disk of the store.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Runs a short job that reads files.
    pub(super) async fn quick<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.blocking.quick(job).await
    }

    /// Runs a job of any length.
    pub(super) async fn heavy<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.blocking.heavy(job).await
    }

    /// Tells that something happened to an image, under texts of Docker's.
    pub(super) fn emit(&self, image: Option<ImageId>, action: &str, actor: &str, name: &str) {
        let mut attributes = image
            .and_then(|id| self.store.image(id))
            .map(|image| image.config.config.labels.clone())
            .unwrap_or_default();
        attributes.insert("name".to_owned(), name.to_owned());
        self.events.emit("image", action, actor, attributes);
    }

    /// Tells that something happened to what a reference names.
    pub(super) fn emit_named(&self, reference: &Reference, action: &str) {
        let image = self.store.image_of(reference);
        let (actor, name) = (reference.familiar(), reference.familiar_repository());
        self.emit(image, action, &actor, &name);
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
