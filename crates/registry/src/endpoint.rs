//! Where a repository is had from, in which order, and with which certificates.
//!
//! ```text
//! docker.io      hosts.toml hosts, registry-mirrors, https://registry-1.docker.io
//! any other      hosts.toml hosts, its server; else https, and for insecure ones then http
//! ```

use std::net::IpAddr;
use std::sync::Arc;

use reqwest::header::HeaderMap;
use tokio::time::timeout;
use url::Url;

use crate::Result;
use crate::hosts::{Capabilities, Directory, Host};
use crate::insecure::Insecure;
use crate::origin::{Origin, authority, invalid, literal, split_host};
use crate::registry::Shared;
use crate::tls::{Material, Profile};
use crate::transport::Trust;

const HUB: &str = "docker.io";
const HUB_SERVER: &str = "https://registry-1.docker.io";

/// One place.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Ends in `/v2` or what replaces it, without a slash.
    base: Url,
    pub(crate) origin: Origin,
    pub(crate) capabilities: Capabilities,
    /// Stands in for the registry: errors lead to the next place, credentials stay here.
    pub(crate) is_mirror: bool,
    /// From `hosts.toml`; goes to this origin only.
    pub(crate) headers: HeaderMap,
    /// Token servers elsewhere that may get the registry's credentials.
    pub(crate) token_hosts: Vec<String>,
    /// The registry that a mirror is asked for, as containerd tells it.
    namespace: Option<String>,
    profile: Arc<Profile>,
    material: Material,
    others: Others,
}

/// What is needed to judge servers that an endpoint leads to.
#[derive(Debug, Clone)]
struct Others {
    insecure: Arc<Insecure>,
    directory: Arc<Directory>,
    certs_dirs: Vec<std::path::PathBuf>,
}

impl Endpoint {
    /// A server that is no registry: the index that searches go to.
    pub(crate) async fn at(shared: &Shared, base: &str) -> Result<Self> {
        let base: Url = base
            .parse()
            .map_err(|error| invalid(format!("invalid index `{base}`: {error}")))?;
        mirror_of_hub(shared, &base).await
    }

    /// The URL of something below the base: `library/debian/manifests/latest`.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!(
            "{}/{path}",
            self.base.path().trim_end_matches('/')
        ));
        if let Some(namespace) = &self.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        url
    }

    /// The URL that only asks who is there: `https://host/v2/`.
    pub(crate) fn ping(&self) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/", self.base.path().trim_end_matches('/')));
        url
    }

    /// The URL as the registry's own, without path.
    pub(crate) fn root(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(path);
        url
    }

    /// `host[:port]`, by which an operator knows it.
    pub(crate) fn authority(&self) -> String {
        authority(&self.base)
    }
}

impl Trust for Endpoint {
    fn profile(&self, url: &Url) -> Arc<Profile> {
        let same_host = url.host_str() == self.base.host_str();
        if same_host && url.port_or_known_default() == self.base.port_or_known_default() {
            return Arc::clone(&self.profile);
        }
        let name = authority(url);
        // What the operator says about the other server itself comes first.
        let files = self.others.directory.of(&self.others.certs_dirs, &name);
        let mut material = files
            .map(|files| files.material.clone())
            .unwrap_or_default();
        material.trust(&self.material);
        let mut verify = !is_listed(&self.others.insecure, &name, literal(url));
        if same_host {
            // A token server beside its registry, which Docker treats alike.
            material.be(&self.material);
            verify &= self.profile.verify;
        }
        Arc::new(Profile::new(material, verify))
    }
}

/// All places for a registry (`docker.io`, `localhost:5000`), in order.
pub(crate) async fn endpoints(shared: &Shared, domain: &str) -> Result<Vec<Arc<Endpoint>>> {
    let settings = &shared.transport.settings;
    let files = shared.directory.of(&settings.certs_dirs, domain)?;
    let mut all = Vec::new();
    let hosts = files.hosts.as_ref();
    for host in hosts.iter().flat_map(|hosts| &hosts.hosts) {
        all.push(from_host(shared, host, domain, &files.material, true)?);
    }
    if domain == HUB {
        for mirror in &shared.mirrors {
            all.push(mirror_of_hub(shared, mirror).await?);
        }
    }
    match hosts {
        Some(hosts) if hosts.is_server_named => {
            all.push(from_host(
                shared,
                &hosts.server,
                domain,
                &files.material,
                false,
            )?);
        }
        _ => all.extend(own(shared, domain, &files.material, hosts.map(|h| &h.server)).await?),
    }
    for endpoint in &mut all {
        let named = hosts.iter().flat_map(|hosts| &hosts.token_hosts);
        endpoint.token_hosts.extend(named.cloned());
    }
    Ok(all.into_iter().map(Arc::new).collect())
}

/// The places of the registry itself, without mirrors.
pub(crate) async fn own_endpoints(shared: &Shared, domain: &str) -> Result<Vec<Arc<Endpoint>>> {
    let all = endpoints(shared, domain).await?;
    Ok(all
        .into_iter()
        .filter(|endpoint| !endpoint.is_mirror)
        .collect())
}

/// https, and http where that is allowed.
async fn own(
    shared: &Shared,
    domain: &str,
    material: &Material,
    settings: Option<&Host>,
) -> Result<Vec<Endpoint>> {
    let mut material = material.clone();
    let mut headers = HeaderMap::new();
    let mut capabilities = Capabilities::ALL;
    let mut insecure = false;
    if let Some(host) = settings {
        material.trust(&host.material);
        material.be(&host.material);
        headers = host.headers.clone();
        capabilities = host.capabilities;
        insecure = host.skip_verify;
    }
    let insecure_by_rule = domain != HUB && is_insecure(shared, domain).await;
    let make = |base: &str| {
        let base: Url = base
            .parse()
            .map_err(|error| invalid(format!("invalid registry \"{domain}\": {error}")))?;
        endpoint(
            shared,
            base,
            Draft {
                material: material.clone(),
                verify: !(insecure || insecure_by_rule),
                capabilities,
                headers: headers.clone(),
                is_mirror: false,
                override_path: false,
                namespace: None,
            },
        )
    };
    if domain == HUB {
        return Ok(vec![make(HUB_SERVER)?]);
    }
    let mut all = vec![make(&format!("https://{domain}"))?];
    if insecure_by_rule {
        all.push(make(&format!("http://{domain}"))?);
    }
    Ok(all)
}

async fn mirror_of_hub(shared: &Shared, mirror: &Url) -> Result<Endpoint> {
    let name = authority(mirror);
    let files = shared
        .directory
        .of(&shared.transport.settings.certs_dirs, &name)?;
    let verify = !is_insecure(shared, &name).await;
    endpoint(
        shared,
        mirror.clone(),
        Draft {
            material: files.material.clone(),
            verify,
            capabilities: Capabilities {
                push: false,
                ..Capabilities::ALL
            },
            headers: HeaderMap::new(),
            is_mirror: true,
            override_path: false,
            namespace: None,
        },
    )
}

fn from_host(
    shared: &Shared,
    host: &Host,
    domain: &str,
    of_registry: &Material,
    is_mirror: bool,
) -> Result<Endpoint> {
    let name = authority(&host.url);
    let directories = &shared.transport.settings.certs_dirs;
    let mut material = host.material.clone();
    let files = shared.directory.of(directories, &name)?;
    material.trust(&files.material);
    material.be(&files.material);
    if !is_mirror || name == domain {
        material.trust(of_registry);
        material.be(of_registry);
    }
    // Scheme and trust are written down here, so an address alone makes nothing insecure.
    let verify = !(host.skip_verify || shared.insecure.lists(&name));
    let is_own = name == domain || (domain == HUB && name == "registry-1.docker.io");
    endpoint(
        shared,
        host.url.clone(),
        Draft {
            material,
            verify,
            capabilities: host.capabilities,
            headers: host.headers.clone(),
            is_mirror: is_mirror && !is_own,
            override_path: host.override_path,
            namespace: (!is_own).then(|| domain.to_owned()),
        },
    )
}

struct Draft {
    material: Material,
    verify: bool,
    capabilities: Capabilities,
    headers: HeaderMap,
    is_mirror: bool,
    override_path: bool,
    namespace: Option<String>,
}

fn endpoint(shared: &Shared, mut base: Url, draft: Draft) -> Result<Endpoint> {
    let path = base.path().trim_end_matches('/').to_owned();
    let path = if draft.override_path || path.ends_with("/v2") {
        path
    } else {
        format!("{path}/v2")
    };
    base.set_path(&path);
    Ok(Endpoint {
        origin: Origin::of(&base)?,
        base,
        capabilities: draft.capabilities,
        is_mirror: draft.is_mirror,
        headers: draft.headers,
        token_hosts: shared.transport.settings.token_hosts.clone(),
        namespace: draft.namespace,
        profile: Arc::new(Profile::new(draft.material.clone(), draft.verify)),
        material: draft.material,
        others: Others {
            insecure: Arc::clone(&shared.insecure),
            directory: Arc::clone(&shared.directory),
            certs_dirs: shared.transport.settings.certs_dirs.clone(),
        },
    })
}

/// Docker's rule: listed by name, or one of its addresses is in a listed network.
async fn is_insecure(shared: &Shared, name: &str) -> bool {
    let (host, _) = split_host(name);
    if is_listed(&shared.insecure, name, host.parse().ok()) {
        return true;
    }
    // Behind a proxy this machine may know no names at all, and its addresses would not count.
    if shared.transport.is_proxied(name) {
        return false;
    }
    let wait = shared.transport.settings.timeouts.connect;
    match timeout(wait, shared.resolver.lookup(host)).await {
        Ok(Ok(addresses)) => addresses
            .into_iter()
            .any(|address| shared.insecure.covers(address)),
        _ => false,
    }
}

fn is_listed(insecure: &Insecure, name: &str, address: Option<IpAddr>) -> bool {
    insecure.lists(name) || address.is_some_and(|address| insecure.covers(address))
}
