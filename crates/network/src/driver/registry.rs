//! Drivers by their names.

use std::sync::Arc;

use super::Driver;
use super::bridge::Bridge;
use super::cni::Cni;
use super::parent::Users;
use super::plain::Plain;
use super::remote::Remotes;
use super::stacked::Stacking;
use crate::firewall::Firewall;
use crate::{Result, Settings};

/// All drivers of a daemon.
#[derive(Debug)]
pub(crate) struct Drivers {
    /// The driver of bridges, whose links others have to know of.
    pub bridge: Arc<Bridge>,
    macvlan: Arc<Stacking>,
    ipvlan: Arc<Stacking>,
    cni: Arc<Cni>,
    host: Arc<Plain>,
    null: Arc<Plain>,
    /// Plugins, for networks and for addresses.
    pub remotes: Remotes,
}

impl Drivers {
    /// Makes them; touches nothing.
    pub(crate) fn open(settings: &Settings, firewall: Arc<Firewall>) -> Self {
        let users = Users::default();
        Self {
            bridge: Arc::new(Bridge::open(settings, firewall)),
            macvlan: Arc::new(Stacking::macvlan(settings, &users)),
            ipvlan: Arc::new(Stacking::ipvlan(settings, &users)),
            cni: Arc::new(Cni::open(settings)),
            host: Arc::new(Plain { name: "host" }),
            null: Arc::new(Plain { name: "null" }),
            remotes: Remotes::open(settings),
        }
    }

    /// Finds a driver; an unknown name is that of a plugin.
    pub(crate) fn find(&self, name: &str) -> Result<Arc<dyn Driver>> {
        Ok(match name {
            "bridge" => self.bridge.clone(),
            "macvlan" => self.macvlan.clone(),
            "ipvlan" => self.ipvlan.clone(),
            "cni" => self.cni.clone(),
            "host" => self.host.clone(),
            "null" => self.null.clone(),
            plugin => self.remotes.network(plugin),
        })
    }
}
