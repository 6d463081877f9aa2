//! The report of a pull or push on its way to a client.

use spec::ErrorKind;

use super::{Progress, ProgressSender, PushAux};
use crate::{Error, Result};

/// Says things to one client, who may leave at any time.
#[derive(Debug, Clone)]
pub(super) struct Sayer {
    to: ProgressSender,
}

impl Sayer {
    pub(super) fn new(to: ProgressSender) -> Self {
        Self { to }
    }

    /// A sentence, about a tag where there is one.
    pub(super) async fn message(&self, id: Option<&str>, text: impl Into<String>) -> Result<()> {
        self.send(Progress::Message {
            id: id.map(str::to_owned),
            text: text.into(),
        })
        .await
    }

    /// A state of a layer.
    pub(super) async fn step(&self, id: &str, action: &str) -> Result<()> {
        self.count(id, action, 0, 0).await
    }

    /// A state of a layer with bytes.
    pub(super) async fn count(
        &self,
        id: &str,
        action: &str,
        current: u64,
        total: u64,
    ) -> Result<()> {
        self.send(Progress::Step {
            id: id.to_owned(),
            action: action.to_owned(),
            current,
            total,
        })
        .await
    }

    /// Something for programs.
    pub(super) async fn aux(&self, aux: PushAux) -> Result<()> {
        self.send(Progress::Aux(aux)).await
    }

    /// Fails when the client is gone: there is nobody to work for.
    async fn send(&self, progress: Progress) -> Result<()> {
        let sent = self.to.send(progress).await;
        sent.map_err(|_| Error::refused(ErrorKind::Cancelled, "context canceled"))
    }
}
