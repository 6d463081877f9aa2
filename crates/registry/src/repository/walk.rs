//! Going over the endpoints of a repository.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::{EndpointId, Repository};
use crate::hosts::Capabilities;
use crate::session::Session;
use crate::{Error, Result, TransportError};

/// What an operation needs an endpoint for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    Pull,
    Resolve,
    Push,
}

/// The endpoints that are left for one operation.
#[derive(Debug)]
pub(super) struct Walk<'r> {
    repository: &'r Repository,
    left: VecDeque<(EndpointId, Arc<Session>)>,
    /// Hosts that answered over TLS.
    confirmed: HashSet<String>,
    last: Option<Error>,
}

impl Need {
    fn is_met(self, capabilities: Capabilities) -> bool {
        match self {
            Self::Pull => capabilities.pull,
            Self::Resolve => capabilities.resolve,
            Self::Push => capabilities.push,
        }
    }
}

impl Repository {
    pub(super) async fn walk(&self, need: Need) -> Result<Walk<'_>> {
        let sessions = self.sessions().await?;
        let bad = self
            .inner
            .bad
            .lock()
            .expect("nothing panics while it holds")
            .clone();
        let fit = sessions
            .iter()
            .enumerate()
            .filter(|(_, session)| need.is_met(session.endpoint.capabilities));
        let (last, first): (Vec<_>, Vec<_>) = fit.partition(|(id, _)| bad.contains(id));
        let all = first.into_iter().chain(last);
        let confirmed = sessions
            .iter()
            .filter(|session| session.is_reached() && session.endpoint.origin.is_https())
            .map(|session| session.endpoint.authority())
            .collect();
        Ok(Walk {
            repository: self,
            left: all
                .map(|(id, session)| (EndpointId(id), Arc::clone(session)))
                .collect(),
            confirmed,
            last: None,
        })
    }
}

impl Walk<'_> {
    /// The next endpoint to ask.
    pub(super) fn next(&mut self) -> Option<(EndpointId, Arc<Session>)> {
        loop {
            let (id, session) = self.left.pop_front()?;
            let is_plain = !session.endpoint.origin.is_https();
            // Who speaks TLS is never spoken to without.
            if is_plain && self.confirmed.contains(&session.endpoint.authority()) {
                continue;
            }
            return Some((id, session));
        }
    }

    /// Notes a failure; gives the error back where it is final.
    pub(super) fn failed(&mut self, id: EndpointId, session: &Session, error: Error) -> Result<()> {
        if session.is_reached() && session.endpoint.origin.is_https() {
            self.confirmed.insert(session.endpoint.authority());
        }
        let answered = match &error {
            // A redirect that is not followed is an answer, and the next time it is the same.
            Error::Request { source, .. } => matches!(source, TransportError::Redirect { .. }),
            Error::Status { .. } | Error::Protocol { .. } | Error::Unreadable { .. } => false,
            _ => true,
        };
        if answered && !session.endpoint.is_mirror {
            return Err(error);
        }
        tracing::info!(
            endpoint = %session.endpoint.authority(),
            error = %spec::error::chain(&error),
            "trying the next endpoint of a registry"
        );
        if !answered {
            self.repository.blame(id);
        }
        // Of several failures the one counts that another attempt may mend.
        let mendable = self.last.as_ref().is_some_and(Error::is_transient);
        if error.is_transient() || !mendable {
            self.last = Some(error);
        }
        Ok(())
    }

    /// The error when all endpoints failed.
    pub(super) fn end(self) -> Error {
        self.last.unwrap_or_else(|| Error::Invalid {
            what: format!(
                "no endpoints found for {}",
                self.repository.reference().familiar()
            ),
        })
    }
}
