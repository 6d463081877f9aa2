//! The same with Debian's `docker-registry`, with passwords and over TLS.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rcgen::{CertificateParams, KeyPair};
use registry::{Body, Credentials, Mount, Registry, Repository, Version};
use spec::manifest::{Descriptor, media, oci_index, oci_manifest};
use spec::{Digest, Reference};

use crate::fake::{client, descriptor, payload, text};

/// `user:hush` in bcrypt, the only form that the server reads.
const HTPASSWD: &str = "user:$2y$05$abcdefghijklmnopqrstuulzd.YqjLDl8lvpSmVj3De/fioSBHnUa\n";

/// A running server; ends with the test.
struct Server {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(settings: impl FnOnce(&Path) -> String) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        let config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: \
             {}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n{}",
            dir.path().join("data").display(),
            settings(dir.path())
        );
        let path = dir.path().join("config.yml");
        std::fs::write(&path, config).unwrap();
        // `cargo xtask` names one that it unpacked, where the machine has none.
        let program = std::env::var_os("CORTEN_E2E_REGISTRY");
        let child = Command::new(program.unwrap_or_else(|| "docker-registry".into()))
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the package docker-registry is installed");
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the server does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { child, port, dir }
    }

    fn name(&self, host: &str) -> Reference {
        format!("{host}:{}/team/app:1", self.port).parse().unwrap()
    }
}

fn whole(bytes: &Bytes) -> impl Fn() -> Body + use<> {
    let bytes = bytes.clone();
    move || {
        let bytes = bytes.clone();
        Box::pin(futures_util::stream::once(async move { Ok(bytes) }))
    }
}

async fn push(repository: &Repository, bytes: &Bytes) -> Descriptor {
    let blob = descriptor(bytes);
    repository
        .upload(&blob, None, &whole(bytes), Arc::new(|_| {}))
        .await
        .unwrap();
    blob
}

/// Pushes an image and an index, fetches all of it, mounts, lists and deletes.
async fn round_trip(registry: &Registry, name: &Reference, auth: Option<Credentials>) {
    let repository = registry.repository(name, auth.clone());
    let layer = payload(3_000_000);
    let config = Bytes::from_static(b"{\"rootfs\":{\"type\":\"layers\"}}");
    assert_eq!(repository.has_blob(Digest::of(&layer)).await.unwrap(), None);
    let layers = [push(&repository, &layer).await];
    let mut config = push(&repository, &config).await;
    config.media_type = media::OCI_CONFIG.to_owned();
    assert_eq!(
        repository.has_blob(layers[0].digest).await.unwrap(),
        Some(3_000_000)
    );
    let manifest = oci_manifest(&config, &layers);
    let tag = Version::Tag("1".to_owned());
    repository.put_manifest(&tag, &manifest).await.unwrap();
    let index = oci_index(&[manifest.descriptor()]);
    repository
        .put_manifest(&Version::Tag("all".to_owned()), &index)
        .await
        .unwrap();
    assert_eq!(
        repository.resolve(&tag).await.unwrap(),
        manifest.descriptor()
    );
    assert_eq!(repository.manifest(&tag, None).await.unwrap(), manifest);
    let by_digest = Version::Digest(index.digest);
    assert_eq!(repository.manifest(&by_digest, None).await.unwrap(), index);
    let mut blob = repository.blob(&layers[0], 1_234_567).await.unwrap();
    assert_eq!(blob.offset(), 1_234_567);
    let mut got = Vec::new();
    while let Some(chunk) = blob.next().await {
        got.extend_from_slice(&chunk.unwrap());
    }
    assert_eq!(got, layer.slice(1_234_567..));
    let mut tags = repository.tags().await.unwrap();
    tags.sort();
    assert_eq!(tags, ["1", "all"]);
    let other: Reference = format!("{}/other:1", name.domain()).parse().unwrap();
    let other = registry.repository(&other, auth);
    let mounted = other.mount(layers[0].digest, "team/app").await.unwrap();
    assert!(matches!(mounted, Mount::Mounted));
    let streamed = payload(100_000);
    let digest = Digest::of(&streamed);
    other
        .upload_stream(whole(&streamed)(), move || digest)
        .await
        .unwrap();
    assert_eq!(other.has_blob(digest).await.unwrap(), Some(100_000));
    assert!(
        repository
            .referrers(manifest.digest, None)
            .await
            .unwrap()
            .manifests
            .is_empty()
    );
    repository
        .delete_manifest(&Version::Digest(index.digest))
        .await
        .unwrap();
    let error = repository.manifest(&by_digest, None).await.unwrap_err();
    assert!(error.is_not_found(), "{}", text(&error));
}

#[tokio::test]
async fn an_open_registry() {
    let server = Server::start(|_| String::new());
    round_trip(&client(|_| {}), &server.name("127.0.0.1"), None).await;
    let repository = client(|_| {}).repository(&server.name("127.0.0.1"), None);
    let error = repository
        .resolve(&Version::Tag("missing".to_owned()))
        .await
        .unwrap_err();
    assert_eq!(
        text(&error),
        format!(
            "manifest for 127.0.0.1:{}/team/app:missing not found: manifest unknown: manifest \
             unknown",
            server.port
        )
    );
}

#[tokio::test]
async fn a_registry_with_passwords() {
    let server = Server::start(|dir| {
        std::fs::write(dir.join("htpasswd"), HTPASSWD).unwrap();
        format!(
            "auth:\n  htpasswd:\n    realm: r\n    path: {}\n",
            dir.join("htpasswd").display()
        )
    });
    let registry = client(|_| {});
    let auth = Credentials::new("user", "hush".to_owned());
    let host = format!("127.0.0.1:{}", server.port);
    registry.login(&host, &auth).await.unwrap();
    round_trip(&registry, &server.name("127.0.0.1"), Some(auth)).await;
    let wrong = Credentials::new("user", "wrong".to_owned());
    assert!(registry.login(&host, &wrong).await.is_err());
    let repository = registry.repository(&server.name("127.0.0.1"), Some(wrong));
    let error = repository
        .resolve(&Version::Tag("1".to_owned()))
        .await
        .unwrap_err();
    assert_eq!(text(&error), "unauthorized: authentication required");
}

#[tokio::test]
async fn a_registry_with_tls_of_its_own() {
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let server = Server::start(|dir| {
        let (cert_path, key_path) = (dir.join("cert.pem"), dir.join("key.pem"));
        std::fs::write(&cert_path, cert.pem()).unwrap();
        std::fs::write(&key_path, key.serialize_pem()).unwrap();
        format!(
            "  tls:\n    certificate: {}\n    key: {}\n",
            cert_path.display(),
            key_path.display()
        )
    });
    let host = format!("localhost:{}", server.port);
    let below = server.dir.path().join("certs.d").join(&host);
    std::fs::create_dir_all(&below).unwrap();
    std::fs::write(
        below.join("hosts.toml"),
        format!("server = \"https://{host}\""),
    )
    .unwrap();
    let dir = server.dir.path().join("certs.d");
    let registry = client(move |settings| settings.certs_dirs = vec![dir]);
    let name = server.name("localhost");
    let tag = Version::Tag("1".to_owned());
    let error = registry
        .repository(&name, None)
        .resolve(&tag)
        .await
        .unwrap_err();
    assert!(text(&error).contains("x509: certificate signed by unknown authority"));
    // The same client believes it as soon as the file is there.
    std::fs::write(below.join("ca.crt"), cert.pem()).unwrap();
    round_trip(&registry, &name, None).await;
}
