//! Registries beside the engine: Debian's `docker-registry`, plain, with a password, with TLS.
//!
//! Each has its storage in a temporary directory and a port that the kernel chose; it is ended by
//! its pid. [`put`] and [`Registry::manifest`] speak the protocol by hand, so that what lies there
//! is exactly what a test wants, whatever the engine under test thinks of it.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::content::{Blob, Content, Image};
use crate::http::{Connection, Response};
use crate::tls::Identity;
use crate::wait::poll;

/// The account of registries that ask for one.
pub const USER: &str = "e2e-user";
/// Its password: the leak audit looks for it wherever the daemon writes.
pub const PASSWORD: &str = "e2e-secret-4f1d9c";
/// What a registry with tokens gives in place of the password: looked for just so.
pub const IDENTITY: &str = "e2e-identity-77ab31";
/// The line of the password file: bcrypt with the smallest cost.
const HTPASSWD: &str = "$2b$04$Uvrm5nqA/fwWkHG7uw79Z.3iumAaotX3H6xV5O65SZBw74InDe4XW";

/// How long the program may take until it listens.
const SOON: Duration = Duration::from_secs(15);

/// How a registry is to be.
#[derive(Debug, Default)]
pub struct Options<'a> {
    /// The address it listens on; 127.0.0.1 otherwise.
    pub host: Option<String>,
    /// Whether it asks for [`USER`] and [`PASSWORD`].
    pub password: bool,
    /// Its certificate.
    pub tls: Option<&'a Identity>,
    /// The authority that clients need a certificate of.
    pub client_authority: Option<&'a Path>,
    /// The registry it is a cache of, as a URL.
    pub mirror_of: Option<String>,
    /// The process in whose network namespace it listens.
    pub beside: Option<i32>,
    /// The storage of another registry, to be read.
    pub storage: Option<PathBuf>,
}

/// A running `docker-registry`. Dropping it ends it.
#[derive(Debug)]
pub struct Registry {
    child: Child,
    dir: TempDir,
    address: SocketAddr,
}

impl Registry {
    /// One on loopback that asks for nothing.
    pub fn plain() -> Self {
        Self::start(&Options::default())
    }

    /// One on loopback that asks for a password.
    pub fn with_password() -> Self {
        Self::start(&Options {
            password: true,
            ..Options::default()
        })
    }

    /// Starts one.
    pub fn start(options: &Options<'_>) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("ce-reg-")
            .tempdir_in(crate::daemon::root_parent())
            .expect("a temporary directory can be made");
        fs::write(dir.path().join("config.yml"), configuration(dir.path(), options))
            .and_then(|()| fs::write(dir.path().join("htpasswd"), format!("{USER}:{HTPASSWD}\n")))
            .expect("the directory is ours");
        let log = fs::File::create(dir.path().join("log")).expect("the directory is ours");
        let mut command = match options.beside {
            None => Command::new(program()),
            Some(pid) => {
                let mut command = Command::new("nsenter");
                command.args(["--net", "--target", &pid.to_string()]).arg(program());
                command
            }
        };
        let mut child = command
            .arg("serve")
            .arg(dir.path().join("config.yml"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("descriptors are left"))
            .stderr(log)
            .spawn()
            .expect("docker-registry is there: `cargo xtask test` gets it");
        let address = poll(SOON, || {
            let ended = matches!(child.try_wait(), Ok(Some(_)));
            listening(&log_of(dir.path())).map(Some).or(ended.then_some(None))
        });
        let Some(Some(address)) = address else {
            // It is of no use: whatever it does, it ends here.
            let _ = child.kill();
            let _ = child.wait();
            panic!("docker-registry does not listen:\n{}", log_of(dir.path()));
        };
        Self {
            child,
            dir,
            address,
        }
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// A reference on it.
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Where its blobs lie.
    pub fn storage(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        log_of(self.dir.path())
    }

    /// Puts something there by hand; only for registries without TLS and password.
    pub fn put(&self, repository: &str, tag: &str, content: &Content) {
        put(self.address, repository, tag, content);
    }

    /// Puts an image there by hand and returns the reference.
    pub fn put_image(&self, name: &str, image: &Image) -> String {
        let (repository, tag) = name.split_once(':').unwrap_or((name, "latest"));
        self.put(repository, tag, &image.content());
        self.reference(&format!("{repository}:{tag}"))
    }

    /// The manifest of a tag or digest, with its media type.
    pub fn manifest(&self, repository: &str, tag: &str) -> Option<Blob> {
        let answer = ask(self.address, "GET", &format!("/v2/{repository}/manifests/{tag}"), b"");
        let media_type = answer.header("content-type").unwrap_or_default().to_owned();
        (answer.status == 200).then(|| Blob::new(&media_type, answer.body))
    }

    /// The bytes of a blob.
    pub fn blob(&self, repository: &str, digest: &str) -> Option<Vec<u8>> {
        let answer = ask(self.address, "GET", &format!("/v2/{repository}/blobs/{digest}"), b"");
        (answer.status == 200).then_some(answer.body)
    }

    /// The tags of a repository.
    pub fn tags(&self, repository: &str) -> Value {
        ask(self.address, "GET", &format!("/v2/{repository}/tags/list"), b"").json()["tags"].clone()
    }

    /// Deletes a manifest by its digest.
    pub fn delete(&self, repository: &str, digest: &str) {
        let path = format!("/v2/{repository}/manifests/{digest}");
        let answer = ask(self.address, "DELETE", &path, b"");
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // Both fail when it has ended already, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts blobs and manifests on any registry without TLS and password.
pub fn put(address: SocketAddr, repository: &str, tag: &str, content: &Content) {
    for blob in &content.blobs {
        let begun = ask(address, "POST", &format!("/v2/{repository}/blobs/uploads/"), b"");
        assert_eq!(begun.status, 202, "{}", begun.text());
        let location = begun.header("location").expect("an upload has a place");
        let place = location.split_once("/v2/").map_or("", |(_, rest)| rest);
        let path = format!("/v2/{place}&digest={}", blob.digest());
        let ended = ask(address, "PUT", &path, &blob.bytes);
        assert_eq!(ended.status, 201, "{}", ended.text());
    }
    for manifest in &content.manifests {
        put_manifest(address, repository, &manifest.digest(), manifest);
    }
    put_manifest(address, repository, tag, content.top());
}

fn put_manifest(address: SocketAddr, repository: &str, tag: &str, manifest: &Blob) {
    let path = format!("/v2/{repository}/manifests/{tag}");
    let headers = [("Content-Type", manifest.media_type.as_str())];
    let answer = Connection::<TcpStream>::connect(address)
        .and_then(|mut connection| connection.exchange("PUT", &path, &headers, &manifest.bytes))
        .expect("the registry answers");
    assert_eq!(answer.status, 201, "{path}: {}", answer.text());
}

/// One request to a registry.
pub fn ask(address: SocketAddr, method: &str, path: &str, body: &[u8]) -> Response {
    let accept = [
        crate::content::media::OCI_INDEX,
        crate::content::media::OCI_MANIFEST,
        crate::content::media::DOCKER_LIST,
        crate::content::media::DOCKER_MANIFEST,
    ]
    .join(", ");
    let headers = [("Accept", accept.as_str()), ("Content-Type", "application/octet-stream")];
    Connection::<TcpStream>::connect(address)
        .and_then(|mut connection| connection.exchange(method, path, &headers, body))
        .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// The program: `CORTEN_E2E_REGISTRY`, or that of the machine.
fn program() -> PathBuf {
    std::env::var_os("CORTEN_E2E_REGISTRY").map_or("docker-registry".into(), Into::into)
}

fn log_of(dir: &Path) -> String {
    fs::read_to_string(dir.join("log")).unwrap_or_default()
}

/// The address in the line `listening on 127.0.0.1:41233` of the log.
fn listening(log: &str) -> Option<SocketAddr> {
    let rest = log.split("listening on ").nth(1)?;
    let end = rest.find(|c: char| !(c.is_ascii_hexdigit() || ".:[]".contains(c)))?;
    rest[..end].parse().ok()
}

fn configuration(dir: &Path, options: &Options<'_>) -> String {
    let root = options.storage.clone().unwrap_or_else(|| dir.join("data"));
    let host = options.host.as_deref().unwrap_or("127.0.0.1");
    let mut text = format!(
        "version: 0.1\nlog:\n  level: info\n  accesslog:\n    disabled: false\nstorage:\n  \
         filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\n  maintenance:\n    \
         uploadpurging:\n      enabled: false\nhttp:\n  addr: {host}:0\n",
        root.display()
    );
    if let Some(identity) = options.tls {
        text += &format!(
            "  tls:\n    certificate: {}\n    key: {}\n",
            identity.certificate().display(),
            identity.key().display()
        );
        if let Some(authority) = options.client_authority {
            text += &format!("    clientcas:\n      - {}\n", authority.display());
        }
    }
    if options.password {
        text += &format!(
            "auth:\n  htpasswd:\n    realm: e2e\n    path: {}\n",
            dir.join("htpasswd").display()
        );
    }
    if let Some(url) = &options.mirror_of {
        text += &format!("proxy:\n  remoteurl: {url}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_found_in_the_log() {
        let line = "time=\"2024\" level=info msg=\"listening on 127.0.0.1:41233\" go.version=x";
        assert_eq!(listening(line), Some(SocketAddr::from(([127, 0, 0, 1], 41233))));
        assert_eq!(listening("level=info msg=\"restarting\""), None);
    }
}
