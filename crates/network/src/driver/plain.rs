//! `host` and `null`: networks without links or addresses of ours.

use std::os::fd::BorrowedFd;

use spec::error::ErrorKind;

use super::{Addressing, Driver, DriverNetwork, EndpointPlan, Ethernet, Joined, Traits};
use crate::{Endpoint, Error, NetworkSpec, Result};

/// The driver `host` or the driver `null`.
#[derive(Debug)]
pub(crate) struct Plain {
    /// Its name.
    pub name: &'static str,
}

impl Driver for Plain {
    fn traits(&self, _network: &NetworkSpec) -> Traits {
        Traits {
            addressing: Addressing::Nothing,
            ethernet: Ethernet::Driver,
            publishes: false,
        }
    }

    fn check(&self, _spec: &mut NetworkSpec) -> Result<()> {
        let text = format!("only one instance of \"{}\" network is allowed", self.name);
        Err(Error::refused(ErrorKind::Forbidden, text))
    }

    fn create(&self, _network: &DriverNetwork) -> Result<()> {
        Ok(())
    }

    fn remove(&self, _network: &DriverNetwork) -> Result<()> {
        Ok(())
    }

    fn join(
        &self,
        _network: &DriverNetwork,
        _netns: BorrowedFd<'_>,
        _plan: &EndpointPlan<'_>,
    ) -> Result<Joined> {
        Ok(Joined::default())
    }

    fn leave(
        &self,
        _network: &DriverNetwork,
        _netns: Option<BorrowedFd<'_>>,
        _endpoint: &Endpoint,
    ) -> Result<()> {
        Ok(())
    }

    fn has_gateway(&self, _network: &NetworkSpec) -> bool {
        false
    }
}
