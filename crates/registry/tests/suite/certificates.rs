//! Whom the client believes to be the registry.

use std::path::Path;
use std::sync::Arc;

use hyper::Method;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};
use registry::{Registry, Result, Version};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use spec::manifest::Descriptor;

use crate::fake::{Fake, client, manifest, manifest_reply, text};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for names, with changes.
fn leaf(
    by: &Authority,
    names: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> (rcgen::Certificate, KeyPair) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, by).unwrap(), key)
}

fn server(cert: &rcgen::Certificate, key: &KeyPair, clients: Option<&Authority>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = builder
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}

async fn serving(config: ServerConfig) -> Fake {
    Fake::tls(config, |seen| manifest_reply(seen, &manifest())).await
}

/// Asks the server by a host name, with these files in its directory. A named server in
/// `hosts.toml` is verified also on this machine.
async fn ask(fake: &Fake, host: &str, files: &[(&str, String)]) -> Result<Descriptor> {
    let dir = tempfile::tempdir().unwrap();
    let name = format!("{host}:{}", fake.address.port());
    let below = dir.path().join(&name);
    std::fs::create_dir_all(&below).unwrap();
    let hosts = format!("server = \"https://{name}\"\n");
    std::fs::write(below.join("hosts.toml"), hosts).unwrap();
    for (file, text) in files {
        std::fs::write(below.join(file), text).unwrap();
    }
    let registry = with_files(dir.path());
    let reference = format!("{name}/team/app:1").parse().unwrap();
    let repository = registry.repository(&reference, None);
    repository.resolve(&Version::Tag("1".to_owned())).await
}

fn with_files(dir: &Path) -> Registry {
    let dir = dir.to_owned();
    client(move |settings| settings.certs_dirs = vec![dir])
}

#[tokio::test]
async fn a_private_authority_is_believed_where_it_was_put() {
    let authority = authority();
    let (cert, key) = leaf(&authority, &["localhost"], |_| {});
    let fake = serving(server(&cert, &key, None)).await;
    let ca = [("ca.crt", authority.pem())];
    ask(&fake, "localhost", &ca).await.unwrap();
    let error = ask(&fake, "localhost", &[]).await.unwrap_err();
    assert_eq!(
        text(&error),
        format!(
            "Get \"https://localhost:{}/v2/\": tls: failed to verify certificate: x509: \
             certificate signed by unknown authority",
            fake.address.port()
        )
    );
    assert!(!error.is_transient());
    let stranger = [("ca.crt", self::authority().pem())];
    assert!(ask(&fake, "localhost", &stranger).await.is_err());
}

#[tokio::test]
async fn names_and_dates_count() {
    let authority = authority();
    let ca = [("ca.crt", authority.pem())];
    let (cert, key) = leaf(&authority, &["registry.example", "other.example"], |_| {});
    let fake = serving(server(&cert, &key, None)).await;
    let error = text(&ask(&fake, "localhost", &ca).await.unwrap_err());
    let want = "x509: certificate is valid for registry.example, other.example, not localhost";
    assert!(error.ends_with(want), "{error}");
    let error = text(&ask(&fake, "127.0.0.1", &ca).await.unwrap_err());
    let want = "cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs";
    assert!(error.ends_with(want), "{error}");
    let (cert, key) = leaf(&authority, &["localhost"], |params| {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    });
    let fake = serving(server(&cert, &key, None)).await;
    let error = text(&ask(&fake, "localhost", &ca).await.unwrap_err());
    assert!(
        error.contains("x509: certificate has expired or is not yet valid"),
        "{error}"
    );
    assert!(error.contains("is after 2002-01-01T00:00:00Z"), "{error}");
    let (cert, key) = leaf(&authority, &["localhost"], |params| {
        params.not_before = date_time_ymd(3001, 1, 1);
    });
    let fake = serving(server(&cert, &key, None)).await;
    let error = text(&ask(&fake, "localhost", &ca).await.unwrap_err());
    assert!(error.contains("is before 3001-01-01T00:00:00Z"), "{error}");
}

/// What `openssl req -x509` makes: its own authority and the server's certificate at once.
fn own_authority(
    names: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> (rcgen::Certificate, KeyPair) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap(), key)
}

#[tokio::test]
async fn a_self_signed_certificate_is_believed_if_it_was_put_there() {
    let (cert, key) = own_authority(&["localhost"], |_| {});
    let fake = serving(server(&cert, &key, None)).await;
    ask(&fake, "localhost", &[("ca.crt", cert.pem())])
        .await
        .unwrap();
    let error = text(&ask(&fake, "localhost", &[]).await.unwrap_err());
    assert!(
        error.ends_with("certificate signed by unknown authority"),
        "{error}"
    );
    // Its name and its dates count all the same.
    let (cert, key) = own_authority(&["registry.example"], |_| {});
    let fake = serving(server(&cert, &key, None)).await;
    let error = text(
        &ask(&fake, "localhost", &[("ca.crt", cert.pem())])
            .await
            .unwrap_err(),
    );
    assert!(error.contains("not localhost"), "{error}");
    let (cert, key) = own_authority(&["localhost"], |params| {
        params.not_after = date_time_ymd(2002, 1, 1);
        params.not_before = date_time_ymd(2001, 1, 1);
    });
    let fake = serving(server(&cert, &key, None)).await;
    let error = text(
        &ask(&fake, "localhost", &[("ca.crt", cert.pem())])
            .await
            .unwrap_err(),
    );
    assert!(error.contains("has expired"), "{error}");
}

#[tokio::test]
async fn a_client_shows_its_certificate() {
    let authority = authority();
    let (cert, key) = leaf(&authority, &["localhost"], |_| {});
    let fake = serving(server(&cert, &key, Some(&authority))).await;
    let (own, own_key) = leaf(&authority, &["client"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let files = [
        ("ca.crt", authority.pem()),
        ("client.cert", own.pem()),
        ("client.key", own_key.serialize_pem()),
    ];
    ask(&fake, "localhost", &files).await.unwrap();
    let error = text(&ask(&fake, "localhost", &files[..1]).await.unwrap_err());
    assert!(
        error.contains("remote error: tls: certificate required"),
        "{error}"
    );
}

#[tokio::test]
async fn this_machine_may_have_any_certificate_as_docker_allows() {
    let (cert, key) = leaf(&authority(), &["registry.example"], |_| {});
    let fake = serving(server(&cert, &key, None)).await;
    let repository = fake.repository(None);
    repository
        .resolve(&Version::Tag("1".to_owned()))
        .await
        .unwrap();
    assert_eq!(fake.count(&Method::HEAD, "/v2/team/app/manifests/1"), 1);
}

#[tokio::test]
async fn who_speaks_tls_is_never_asked_without() {
    let (cert, key) = leaf(&authority(), &["registry.example"], |_| {});
    // It answers, and badly; plain http to the same port must not even be tried.
    let fake = Fake::tls(server(&cert, &key, None), |_| crate::fake::Reply::new(502)).await;
    let repository = fake.repository(None);
    let error = repository
        .resolve(&Version::Tag("1".to_owned()))
        .await
        .unwrap_err();
    assert_eq!(
        text(&error),
        "received unexpected HTTP status: 502 Bad Gateway"
    );
}

#[tokio::test]
async fn a_plain_server_behind_https_is_named() {
    let fake = Fake::start(|seen| manifest_reply(seen, &manifest())).await;
    let error = text(&ask(&fake, "localhost", &[]).await.unwrap_err());
    assert!(
        error.ends_with("http: server gave HTTP response to HTTPS client"),
        "{error}"
    );
    assert!(fake.seen().is_empty());
}
