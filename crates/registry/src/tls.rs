//! Whom to trust and who to be: certificates and how they are checked.
//!
//! [`Material`] is what files say about one registry, [`Profile`] is what a connection is made
//! with. The provider of cryptography is named here and nowhere else.

mod verify;

use std::path::Path;
use std::sync::{Arc, Mutex};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use spec::Digest;

use crate::Result;
use crate::origin::invalid;

/// Certificates of one registry, besides the system's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Material {
    authorities: Vec<CertificateDer<'static>>,
    client: Option<Arc<Client>>,
}

/// Who we are to a registry.
#[derive(Debug)]
struct Client {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// What a connection is made with.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    material: Material,
    pub(crate) verify: bool,
    /// Identity of all of the above, for the table of clients.
    pub(crate) id: Digest,
}

/// The system's authorities, read when the first one is needed.
#[derive(Debug, Default)]
pub(crate) struct System {
    roots: Mutex<Option<Arc<Vec<CertificateDer<'static>>>>>,
}

impl Material {
    /// Adds all certificates of a PEM text.
    pub(crate) fn add_authorities(&mut self, pem: &[u8], path: &Path) -> Result<()> {
        let before = self.authorities.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            self.authorities.push(certificate.map_err(|error| {
                invalid(format!("`{}` cannot be read: {error}", path.display()))
            })?);
        }
        if self.authorities.len() == before {
            return Err(invalid(format!(
                "`{}` holds no certificate",
                path.display()
            )));
        }
        Ok(())
    }

    /// Takes a client's certificate chain and key.
    pub(crate) fn set_client(&mut self, cert: &[u8], key: &[u8], path: &Path) -> Result<()> {
        let bad = |what: String| {
            invalid(format!(
                "client certificate `{}` cannot be used: {what}",
                path.display()
            ))
        };
        let chain = CertificateDer::pem_slice_iter(cert)
            .collect::<std::result::Result<Vec<_>, _>>()
            .map_err(|error| bad(error.to_string()))?;
        if chain.is_empty() {
            return Err(bad("it holds no certificate".to_owned()));
        }
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| bad(format!("its key: {error}")))?;
        self.client = Some(Arc::new(Client { chain, key }));
        Ok(())
    }

    /// Adds the authorities, but not the client, of another one.
    pub(crate) fn trust(&mut self, other: &Self) {
        for authority in &other.authorities {
            if !self.authorities.contains(authority) {
                self.authorities.push(authority.clone());
            }
        }
    }

    /// Takes over the client of another one, if this has none.
    pub(crate) fn be(&mut self, other: &Self) {
        if self.client.is_none() {
            self.client.clone_from(&other.client);
        }
    }
}

impl Profile {
    /// Makes a profile; without `verify` every certificate is taken.
    pub(crate) fn new(material: Material, verify: bool) -> Self {
        let mut all = vec![u8::from(verify)];
        for authority in &material.authorities {
            all.extend_from_slice(Digest::of(authority).hex().as_bytes());
        }
        if let Some(client) = &material.client {
            all.push(b'|');
            for certificate in &client.chain {
                all.extend_from_slice(Digest::of(certificate).hex().as_bytes());
            }
            all.extend_from_slice(Digest::of(client.key.secret_der()).hex().as_bytes());
        }
        Self {
            material,
            verify,
            id: Digest::of(&all),
        }
    }

    /// The configuration for `https`.
    pub(crate) fn config(&self, system: &System) -> Result<ClientConfig> {
        let provider = provider();
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid(format!("TLS cannot be set up: {error}")))?
            .dangerous();
        let builder = if self.verify {
            let authorities = &self.material.authorities;
            let store = store(&system.roots(), authorities);
            let verifier = verify::Verifier::new(store, authorities.clone(), provider)
                .map_err(|what| invalid(format!("TLS cannot be set up: {what}")))?;
            builder.with_custom_certificate_verifier(Arc::new(verifier))
        } else {
            builder.with_custom_certificate_verifier(Arc::new(verify::Anything::new(provider)))
        };
        let mut config = match &self.material.client {
            None => builder.with_no_client_auth(),
            Some(client) => builder
                .with_client_auth_cert(client.chain.clone(), client.key.clone_key())
                .map_err(|error| {
                    invalid(format!("the client certificate cannot be used: {error}"))
                })?,
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// A configuration for clients that only speak `http`: it trusts nobody and costs nothing.
pub(crate) fn nobody() -> Result<ClientConfig> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| invalid(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    Ok(config)
}

impl System {
    /// The system's authorities; a system without any has none, which verification then says.
    fn roots(&self) -> Arc<Vec<CertificateDer<'static>>> {
        let mut roots = self.roots.lock().expect("nothing panics while it holds");
        let roots = roots.get_or_insert_with(|| {
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "cannot read the system's certificates");
            }
            Arc::new(found.certs)
        });
        Arc::clone(roots)
    }
}

fn store(
    system: &[CertificateDer<'static>],
    more: &[CertificateDer<'static>],
) -> Arc<RootCertStore> {
    let mut store = RootCertStore::empty();
    // Some certificates of old systems are not of the form; Go also leaves those out.
    store.add_parsable_certificates(system.iter().chain(more).cloned());
    Arc::new(store)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
