//! Networks: what there is, who is in it, and what nobody is in.

mod ipam;
mod request;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use network::{Description, NetworkSpec};
use spec::{Classify, ErrorKind, NetworkId};

use crate::container::EndpointSettings;
use crate::containers::{Containers, find_network, until};
use crate::events::Events;
use crate::{Error, Filters, Result};

pub use request::*;
pub(crate) use view::{gateways, given_subnets};
use view::{kind, member, view};

/// The networks of an engine; cheap to clone.
#[derive(Debug, Clone)]
pub struct Networks {
    containers: Containers,
}

/// Filters of a list.
const LIST: [&str; 7] = ["dangling", "driver", "id", "label", "name", "scope", "type"];
/// Filters of a prune.
const PRUNE: [&str; 3] = ["label", "label!", "until"];
/// Options that say what the request may say itself.
const ENABLE_IPV4: &str = "com.docker.network.enable_ipv4";
const ENABLE_IPV6: &str = "com.docker.network.enable_ipv6";

impl Networks {
    /// Makes the service.
    pub(crate) fn new(containers: Containers) -> Self {
        Self { containers }
    }

    /// Networks that match, by name; without their containers.
    ///
    /// # Errors
    ///
    /// An unknown filter, or a value that it cannot have.
    pub async fn list(&self, filters: &Filters) -> Result<Vec<NetworkView>> {
        filters.only(&LIST)?;
        let dangling = dangling(filters)?;
        if let Some(bad) = filters.get("type").and_then(|types| {
            types
                .iter()
                .find(|t| !matches!(t.as_str(), "builtin" | "custom"))
        }) {
            return Err(Error::internal(format!("invalid filter: 'type'='{bad}'")));
        }
        let matches = |n: &NetworkView, predefined: bool| {
            let kind = if predefined { "builtin" } else { "custom" };
            filters.matches("name", &n.name)
                && filters.matches("id", &n.id)
                && filters.allows("driver", &n.driver)
                && filters.allows("scope", &n.scope)
                && filters.allows("type", kind)
                && filters.allows_labels("label", &n.labels)
                // As in Docker, a list knows of no containers, so that all but the three given
                // ones are without use.
                && dangling.is_none_or(|wanted| wanted != predefined)
        };
        let shared = self.containers.shared();
        let all = shared.network.list();
        let views = all.iter().map(|about| (about.predefined, view(about)));
        let found = views.filter(|(predefined, view)| matches(view, *predefined));
        let mut found: Vec<NetworkView> = found.map(|(_, view)| view).collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// One network by name, id or prefix, with the containers in it.
    ///
    /// # Errors
    ///
    /// There is none, or there are several.
    pub async fn inspect(&self, key: &str, options: &InspectNetwork) -> Result<NetworkView> {
        let shared = self.containers.shared();
        let gone = || Error::NoSuchNetwork {
            key: key.to_owned(),
        };
        let id = find_network(shared, key)?;
        let about = shared.network.describe(&id).ok_or_else(gone)?;
        let mut view = view(&about);
        if !(options.scope.is_empty() || options.scope == view.scope) {
            return Err(gone());
        }
        let containers = self.containers.all();
        let members = containers.iter().filter_map(|c| member(c, &view.name));
        view.containers = members.collect();
        Ok(view)
    }

    /// Makes a network.
    ///
    /// # Errors
    ///
    /// A name, driver, address or option that cannot be, in Docker's words.
    pub async fn create(&self, request: NetworkCreate) -> Result<NetworkCreated> {
        let shared = Arc::clone(self.containers.shared());
        let spec = specification(request, &shared.config.network.default_network_options)?;
        let job = move || {
            let created = shared.network.create(spec)?;
            if let Some(about) = shared.network.describe(&created.id) {
                emit(&shared.events, &about, "create");
            }
            Ok(NetworkCreated {
                id: created.id.to_string(),
                warning: created.warnings.join("; "),
            })
        };
        self.containers.shared().blocking.plugin(job).await
    }

    /// Gives a container a place in a network.
    ///
    /// # Errors
    ///
    /// Either does not exist, or they do not go together, in Docker's words.
    pub async fn connect(
        &self,
        network: &str,
        container: &str,
        settings: EndpointSettings,
    ) -> Result<()> {
        refuse_empty(container)?;
        self.containers.connect(container, network, settings).await
    }

    /// Takes a container out of a network; with force out of one that is gone too.
    ///
    /// # Errors
    ///
    /// Either does not exist, or the container is not in the network.
    pub async fn disconnect(&self, network: &str, container: &str, force: bool) -> Result<()> {
        refuse_empty(container)?;
        let done = self.containers.disconnect(container, network, force).await;
        match done {
            Err(Error::NoSuchContainer { key }) if force => {
                // Docker looks for an endpoint that a lost container left; here none is left.
                find_network(self.containers.shared(), network)?;
                Err(Error::refused(
                    ErrorKind::NotFound,
                    format!("endpoint {key} not found"),
                ))
            }
            done => done,
        }
    }

    /// Removes a network that nobody is in.
    ///
    /// # Errors
    ///
    /// There is none, it is one of the three that are always there, or it is in use.
    pub async fn remove(&self, key: &str) -> Result<()> {
        let shared = self.containers.shared();
        let id = find_network(shared, key)?;
        self.remove_this(id).await
    }

    /// Removes networks that nobody is in; tells their names.
    ///
    /// # Errors
    ///
    /// An unknown filter, or a moment that is none.
    pub async fn prune(&self, filters: &Filters) -> Result<Vec<String>> {
        filters.only(&PRUNE)?;
        let until = until(filters)?;
        let all = self.containers.shared().network.list();
        let doomed = all.into_iter().filter(|about| {
            !about.predefined
                && !about.spec.config_only
                && about.endpoints.is_empty()
                && until.is_none_or(|t| about.created <= t)
                && filters.allows_labels("label", &about.spec.labels)
                && filters.allows_without_labels("label!", &about.spec.labels)
        });
        let mut pruned = Vec::new();
        for about in doomed {
            match self.remove_this(about.id).await {
                Ok(()) => pruned.push(about.spec.name),
                // Taken into use, or removed, by somebody else in between.
                Err(error) => {
                    let error = spec::error::chain(&error);
                    tracing::debug!(network = about.spec.name, error, "not pruned");
                }
            }
        }
        let attributes = [("reclaimed".to_owned(), "0".to_owned())].into();
        let events = &self.containers.shared().events;
        events.emit("network", "prune", "", attributes);
        Ok(pruned)
    }

    /// What an operator should know of the networks, a text each.
    pub fn warnings(&self) -> Vec<String> {
        self.containers.shared().network.warnings()
    }

    async fn remove_this(&self, id: NetworkId) -> Result<()> {
        let shared = Arc::clone(self.containers.shared());
        let gone = || Error::NoSuchNetwork {
            key: id.to_string(),
        };
        let about = shared.network.describe(&id).ok_or_else(gone)?;
        if about.predefined {
            let name = about.spec.name;
            return Err(Error::refused(
                ErrorKind::Forbidden,
                format!("{name} is a pre-defined network and cannot be removed"),
            ));
        }
        let users = self.users(&about);
        if !users.is_empty() {
            let name = about.spec.name;
            return Err(Error::refused(
                ErrorKind::Forbidden,
                format!(
                    "error while removing network: network {name} has active endpoints ({users})"
                ),
            ));
        }
        let job = move || {
            shared.network.remove(&id).map_err(removing)?;
            shared.roster.drop_network(&id);
            if !about.spec.config_only {
                emit(&shared.events, &about, "destroy");
            }
            Ok(())
        };
        self.containers.shared().blocking.plugin(job).await
    }

    /// Who is in a network, as Docker words it.
    fn users(&self, about: &Description) -> String {
        let users = about.endpoints.iter().map(|endpoint| {
            let id = endpoint.container.to_string();
            let name = self.containers.get(&id).map(|c| c.name.to_string());
            let endpoint = endpoint.endpoint_id.to_string();
            let short = endpoint.get(..12).unwrap_or(&endpoint).to_owned();
            format!("name:\"{}\" id:\"{short}\"", name.unwrap_or(id))
        });
        users.collect::<Vec<_>>().join(", ")
    }
}

/// The way Docker words why a network stays.
fn removing(error: network::Error) -> Error {
    let kind = error.kind();
    let text = spec::error::chain(&error);
    Error::refused(kind, format!("error while removing network: {text}"))
}

fn refuse_empty(container: &str) -> Result<()> {
    match container {
        "" => Err(Error::invalid("invalid name or ID supplied: \"\"")),
        _ => Ok(()),
    }
}

/// Docker's own reading of this filter, which is not that of others.
fn dangling(filters: &Filters) -> Result<Option<bool>> {
    let Some(values) = filters.get("dangling") else {
        return Ok(None);
    };
    let mut values = values.iter();
    match (values.next().map(String::as_str), values.next()) {
        (_, Some(_)) => Err(Error::invalid(
            "got more than one value for filter key \"dangling\"",
        )),
        (Some("0" | "false"), None) => Ok(Some(false)),
        (Some("1" | "true"), None) => Ok(Some(true)),
        _ => Err(Error::invalid(
            "invalid value for filter 'dangling', must be \"true\" (or \"1\"), or \"false\" (or \"0\")",
        )),
    }
}

fn emit(events: &Events, about: &Description, action: &str) {
    let attributes = [
        ("name".to_owned(), about.spec.name.clone()),
        ("type".to_owned(), kind(&about.spec).to_owned()),
    ];
    events.emit("network", action, about.id.to_string(), attributes.into());
}

/// A request as a definition.
///
/// # Errors
///
/// What Docker refuses before it asks a driver.
fn specification(
    request: NetworkCreate,
    defaults: &BTreeMap<String, BTreeMap<String, String>>,
) -> Result<NetworkSpec> {
    let forbidden = |text: String| Err(Error::refused(ErrorKind::Forbidden, text));
    if matches!(
        request.name.as_str(),
        "bridge" | "host" | "none" | "default"
    ) {
        let name = request.name;
        return forbidden(format!(
            "operation is not permitted on predefined {name} network "
        ));
    }
    let driver = match request.driver.as_str() {
        "" => "bridge".to_owned(),
        other => other.to_owned(),
    };
    if driver == "overlay" {
        return forbidden(
            "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" \
             to connect this node to swarm and try again."
                .to_owned(),
        );
    }
    if request.scope == "swarm" {
        return forbidden(
            "cannot create a swarm scoped network when swarm is not active".to_owned(),
        );
    }
    if request.ingress {
        return forbidden("Ingress network can only be global scope network".to_owned());
    }
    let mut options = request.options;
    if request.config_from.is_none() {
        for (key, value) in defaults.get(&driver).into_iter().flatten() {
            options.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    let enable_ipv4 = enabled(request.enable_ipv4, &mut options, ENABLE_IPV4, true)?;
    let enable_ipv6 = enabled(request.enable_ipv6, &mut options, ENABLE_IPV6, false)?;
    let ipam = ipam::read(&request.ipam.unwrap_or_default(), enable_ipv6)?;
    if request.name.trim().is_empty() {
        return Err(Error::invalid("invalid name: name is empty"));
    }
    Ok(NetworkSpec {
        driver,
        scope: match request.scope.as_str() {
            "" => "local".to_owned(),
            other => other.to_owned(),
        },
        internal: request.internal,
        attachable: request.attachable,
        enable_ipv4,
        enable_ipv6,
        ipam,
        options,
        labels: request.labels,
        config_only: request.config_only,
        config_from: request.config_from,
        ..NetworkSpec::new(request.name)
    })
}

/// Whether a family is on: as asked for, or as an option says.
fn enabled(
    asked: Option<bool>,
    options: &mut BTreeMap<String, String>,
    key: &str,
    default: bool,
) -> Result<bool> {
    if let Some(asked) = asked {
        options.remove(key);
        return Ok(asked);
    }
    match options.get(key).map(String::as_str) {
        None => Ok(default),
        Some("1" | "t" | "T" | "true" | "True" | "TRUE") => Ok(true),
        Some("0" | "f" | "F" | "false" | "False" | "FALSE") => Ok(false),
        Some(_) => Err(Error::invalid(format!(
            "driver-opt \"{key}\" is not a valid bool"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: fn(&mut NetworkCreate)) -> String {
        let mut request = NetworkCreate {
            name: "mine".to_owned(),
            ..NetworkCreate::default()
        };
        change(&mut request);
        specification(request, &BTreeMap::new())
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_needs_a_swarm_or_is_given_is_refused() {
        assert_eq!(
            refusal(|r| r.name = "bridge".into()),
            "operation is not permitted on predefined bridge network "
        );
        assert_eq!(
            refusal(|r| r.name = " ".into()),
            "invalid name: name is empty"
        );
        assert!(refusal(|r| r.driver = "overlay".into()).starts_with("This node is not a swarm"));
        assert!(refusal(|r| r.scope = "swarm".into()).contains("swarm is not active"));
        assert!(refusal(|r| r.ingress = true).starts_with("Ingress network"));
        assert_eq!(
            refusal(|r| {
                r.options.insert(ENABLE_IPV6.into(), "maybe".into());
            }),
            "driver-opt \"com.docker.network.enable_ipv6\" is not a valid bool"
        );
    }

    #[test]
    fn families_and_options_come_from_the_request_first() {
        let defaults = BTreeMap::from([(
            "bridge".to_owned(),
            BTreeMap::from([
                ("a".to_owned(), "default".to_owned()),
                (ENABLE_IPV6.to_owned(), "true".to_owned()),
            ]),
        )]);
        let create = |ipv6: Option<bool>, driver: &str| {
            let request = NetworkCreate {
                name: "mine".to_owned(),
                driver: driver.to_owned(),
                enable_ipv6: ipv6,
                ..NetworkCreate::default()
            };
            specification(request, &defaults).unwrap()
        };
        let spec = create(None, "");
        assert_eq!((spec.driver.as_str(), spec.enable_ipv6), ("bridge", true));
        assert_eq!(spec.options["a"], "default");
        let spec = create(Some(false), "bridge");
        assert!(!spec.enable_ipv6 && !spec.options.contains_key(ENABLE_IPV6));
        assert!(create(None, "macvlan").options.is_empty());
    }

    #[test]
    fn dangling_has_its_own_words() {
        let read = |values: &[&str]| {
            let mut filters = Filters::new();
            for value in values {
                filters.add("dangling", *value);
            }
            dangling(&filters).map_err(|e| e.to_string())
        };
        assert_eq!(read(&["1"]), Ok(Some(true)));
        assert_eq!(read(&[]), Ok(None));
        assert!(
            read(&["1", "0"])
                .unwrap_err()
                .starts_with("got more than one")
        );
        assert!(
            read(&["True"])
                .unwrap_err()
                .starts_with("invalid value for filter")
        );
    }
}
