//! Which containers there are, by id and by name.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use spec::{ContainerId, ContainerName, Resolution};
use tokio::sync::{mpsc, watch};

use super::command::Command;
use crate::container::Container;
use crate::{Error, Result};

/// The way to a container: its driver's queue and its latest snapshot.
#[derive(Debug, Clone)]
pub(super) struct Handle {
    /// Identity.
    pub(super) id: ContainerId,
    /// Commands to the driver.
    pub(super) commands: mpsc::Sender<Command>,
    /// What readers see.
    pub(super) view: watch::Receiver<Arc<Container>>,
}

impl Handle {
    /// The latest snapshot.
    pub(super) fn container(&self) -> Arc<Container> {
        Arc::clone(&self.view.borrow())
    }
}

/// All containers and names; guarded by one mutex, never held across an await.
#[derive(Debug, Default)]
pub(super) struct Table {
    containers: BTreeMap<ContainerId, Handle>,
    names: HashMap<String, ContainerId>,
}

impl Table {
    /// Takes a name for a container that is being created or renamed.
    ///
    /// # Errors
    ///
    /// Docker's text when another container has it.
    pub(super) fn reserve(&mut self, name: &ContainerName, id: ContainerId) -> Result<()> {
        match self.names.get(name.as_str()) {
            Some(owner) if *owner != id => Err(Error::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{owner}\". \
                 You have to remove (or rename) that container to be able to reuse that name."
            ))),
            _ => {
                self.names.insert(name.as_str().to_owned(), id);
                Ok(())
            }
        }
    }

    /// Whether a name is taken.
    pub(super) fn has_name(&self, name: &ContainerName) -> bool {
        self.names.contains_key(name.as_str())
    }

    /// Gives a name back if this container has it.
    pub(super) fn release(&mut self, name: &ContainerName, id: ContainerId) {
        if self.names.get(name.as_str()) == Some(&id) {
            self.names.remove(name.as_str());
        }
    }

    /// Makes a container visible.
    pub(super) fn insert(&mut self, handle: Handle) {
        self.containers.insert(handle.id, handle);
    }

    /// Takes a container and its name out.
    pub(super) fn remove(&mut self, id: ContainerId) {
        self.containers.remove(&id);
        self.names.retain(|_, owner| *owner != id);
    }

    /// All containers.
    pub(super) fn all(&self) -> Vec<Handle> {
        self.containers.values().cloned().collect()
    }

    /// What a user's text stands for: a whole id, a name, or the beginning of an id.
    pub(super) fn resolve(&self, key: &str) -> Resolution<Handle> {
        if let Ok(id) = key.parse::<ContainerId>()
            && let Some(handle) = self.containers.get(&id)
        {
            return Resolution::One(handle.clone());
        }
        let name = key.strip_prefix('/').unwrap_or(key);
        if let Some(handle) = self.names.get(name).and_then(|id| self.containers.get(id)) {
            return Resolution::One(handle.clone());
        }
        if let Some(handle) = self.by_link(name) {
            return Resolution::One(handle.clone());
        }
        let mut found: Vec<Handle> = self.by_prefix(key).cloned().collect();
        match (found.pop(), found.is_empty()) {
            (None, _) => Resolution::None,
            (Some(one), true) => Resolution::One(one),
            (Some(last), false) => {
                found.push(last);
                Resolution::Ambiguous(found)
            }
        }
    }

    /// The container that another one calls by a name of its own: `caller/alias`.
    fn by_link(&self, path: &str) -> Option<&Handle> {
        let (caller, alias) = path.rsplit_once('/')?;
        let caller = self.containers.get(self.names.get(caller)?)?.container();
        let link = caller.links.iter().find(|link| link.alias == alias)?;
        self.containers.get(&link.target)
    }

    /// At most two containers whose ids begin with a prefix.
    fn by_prefix(&self, prefix: &str) -> impl Iterator<Item = &Handle> {
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        let good = (1..=64).contains(&prefix.len()) && prefix.bytes().all(hex);
        let first = if good {
            format!("{prefix:0<64}").parse::<ContainerId>().ok()
        } else {
            None
        };
        first
            .into_iter()
            .flat_map(|first| self.containers.range(first..))
            .take_while(move |(id, _)| id.to_string().starts_with(prefix))
            .map(|(_, handle)| handle)
            .take(2)
    }

    /// The one container that a user's text stands for.
    ///
    /// # Errors
    ///
    /// Docker's texts for none and for several.
    pub(super) fn find(&self, key: &str) -> Result<Handle> {
        match self.resolve(key) {
            Resolution::One(handle) => Ok(handle),
            Resolution::None => Err(Error::NoSuchContainer {
                key: key.to_owned(),
            }),
            Resolution::Ambiguous(_) => Err(Error::invalid(format!(
                "multiple IDs found with provided prefix: {key}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::containers::record::sample;

    fn handle(bytes: [u8; 2], name: &str) -> (Handle, ContainerName) {
        let mut id = [0; 32];
        id[..2].copy_from_slice(&bytes);
        let id = ContainerId::from_bytes(id);
        let name: ContainerName = name.parse().unwrap();
        let container = Container {
            id,
            name: name.clone(),
            ..sample()
        };
        let (_, view) = watch::channel(Arc::new(container));
        let (commands, _) = mpsc::channel(1);
        (Handle { id, commands, view }, name)
    }

    fn table() -> Table {
        let mut table = Table::default();
        for (bytes, name) in [
            ([0xab, 0xcd], "web"),
            ([0xab, 0xce], "db"),
            ([0xff, 0], "abcd"),
        ] {
            let (handle, name) = handle(bytes, name);
            table.reserve(&name, handle.id).unwrap();
            table.insert(handle);
        }
        table
    }

    #[test]
    fn names_win_over_prefixes_and_ambiguity_is_told() {
        let table = table();
        let found = |key: &str| table.find(key).map(|h| h.container().name.to_string());
        assert_eq!(found("/web").unwrap(), "web");
        assert_eq!(found("abcd").unwrap(), "abcd");
        assert_eq!(found("abce").unwrap(), "db");
        assert_eq!(found("f").unwrap(), "abcd");
        assert_eq!(
            found("abc").unwrap_err().to_string(),
            "multiple IDs found with provided prefix: abc"
        );
        for missing in ["", "zz", "AB", &"a".repeat(65)] {
            assert_eq!(
                found(missing).unwrap_err().to_string(),
                format!("No such container: {missing}")
            );
        }
    }

    #[test]
    fn links_are_names_too() {
        let mut table = table();
        let db = table.find("db").unwrap().id;
        let caller = Container {
            id: ContainerId::from_bytes([7; 32]),
            links: Arc::new(vec![crate::containers::Link {
                target: db,
                alias: "store".to_owned(),
            }]),
            ..sample()
        };
        let name: ContainerName = "caller".parse().unwrap();
        table.reserve(&name, caller.id).unwrap();
        let (commands, _) = mpsc::channel(1);
        let id = caller.id;
        let (_, view) = watch::channel(Arc::new(caller));
        table.insert(Handle { id, commands, view });
        assert_eq!(table.find("/caller/store").unwrap().id, db);
        assert!(table.find("caller/other").is_err() && table.find("db/store").is_err());
    }

    #[test]
    fn a_name_belongs_to_one() {
        let mut table = table();
        let (other, _) = handle([1, 1], "other");
        let web: ContainerName = "web".parse().unwrap();
        let refused = table.reserve(&web, other.id).unwrap_err().to_string();
        assert!(refused.starts_with("Conflict. The container name \"/web\" is already in use by"));
        let owner = table.find("web").unwrap().id;
        table.remove(owner);
        assert!(table.reserve(&web, other.id).is_ok());
    }
}
