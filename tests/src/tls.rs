//! A private certificate authority, made with `openssl`: good certificates, and bad ones.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// An authority of a test's own.
#[derive(Debug)]
pub struct Authority {
    dir: TempDir,
}

/// A certificate of an authority with its key.
#[derive(Debug, Clone)]
pub struct Identity {
    stem: PathBuf,
}

impl Identity {
    /// The certificate, PEM.
    pub fn certificate(&self) -> PathBuf {
        self.stem.with_extension("crt")
    }

    /// The key, PEM.
    pub fn key(&self) -> PathBuf {
        self.stem.with_extension("key")
    }
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("ce-ca-")
            .tempdir_in(crate::daemon::root_parent())
            .expect("a temporary directory can be made");
        let authority = Self { dir };
        let (key, certificate) = (authority.path("ca.key"), authority.certificate());
        let mut words = vec!["req", "-x509", "-days", "30", "-subj", "/CN=e2e authority"];
        words.extend(NEW_KEY);
        openssl(
            Command::new("openssl")
                .args(words)
                .arg("-keyout")
                .arg(key)
                .arg("-out")
                .arg(certificate),
        );
        authority
    }

    /// Its own certificate, PEM.
    pub fn certificate(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// A certificate for a name, as `IP:127.0.0.1` or `DNS:localhost`.
    pub fn issue(&self, name: &str) -> Identity {
        self.issue_for(name, 20)
    }

    /// A certificate that has ended yesterday.
    pub fn issue_expired(&self, name: &str) -> Identity {
        self.issue_for(name, -1)
    }

    fn issue_for(&self, name: &str, days: i32) -> Identity {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let stem = self.path(&format!("{number}"));
        let identity = Identity { stem: stem.clone() };
        let (request, extensions) = (stem.with_extension("csr"), stem.with_extension("ext"));
        std::fs::write(&extensions, format!("subjectAltName={name}\n")).expect("ours");
        let mut words = vec!["req", "-subj", "/CN=e2e"];
        words.extend(NEW_KEY);
        openssl(
            Command::new("openssl")
                .args(words)
                .arg("-keyout")
                .arg(identity.key())
                .arg("-out")
                .arg(&request),
        );
        openssl(
            Command::new("openssl")
                .args(["x509", "-req", "-days", &days.to_string(), "-set_serial"])
                .arg((number + 2).to_string())
                .arg("-in")
                .arg(request)
                .arg("-CA")
                .arg(self.certificate())
                .arg("-CAkey")
                .arg(self.path("ca.key"))
                .arg("-extfile")
                .arg(extensions)
                .arg("-out")
                .arg(identity.certificate()),
        );
        identity
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// Arguments for a key without a password.
const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

fn openssl(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("openssl is installed");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
}

/// What `certs.d/<host>` holds: the authority, and perhaps the certificate of a client.
pub fn certificates_for(dir: &Path, authority: Option<&Path>, client: Option<&Identity>) {
    std::fs::create_dir_all(dir).expect("the directory is ours");
    let copy = |from: &Path, name: &str| {
        std::fs::copy(from, dir.join(name)).map(drop).expect("the directory is ours");
    };
    if let Some(authority) = authority {
        copy(authority, "ca.crt");
    }
    if let Some(client) = client {
        copy(&client.certificate(), "client.cert");
        copy(&client.key(), "client.key");
    }
}
