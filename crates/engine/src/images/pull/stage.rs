//! How far a layer is, and the lines in which Docker's clients hear of it.
//!
//! ```text
//! Queued ─► Waiting ─► Downloading ◄─► Retrying
//!                           └─► Extracting ─► Done
//! ```
//!
//! A reader may miss stages, a report never does: what was skipped is said before what follows.

use std::sync::Arc;

use store::{Lease, StagedLayer};

use crate::Error;

/// How far a layer is.
#[derive(Debug, Clone)]
pub(super) enum Stage {
    /// Nobody looked at it yet.
    Queued,
    /// Others are downloaded first.
    Waiting,
    /// An attempt failed; the next begins after so many seconds.
    Retrying(u64),
    /// So many bytes are here.
    Downloading(u64),
    /// All bytes are here; of so many the content is unpacked.
    Extracting(u64),
    /// It is complete and verified.
    Done(Arc<Fetched>),
    /// It cannot be had.
    Failed(Arc<Error>),
}

/// A layer that arrived, held until it is published.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) layer: StagedLayer,
    pub(super) _lease: Lease,
}

/// A line about a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) action: String,
    pub(super) current: u64,
    pub(super) total: u64,
}

/// What one client was told about one layer.
#[derive(Debug)]
pub(super) struct Report {
    total: u64,
    told: Told,
    last: Option<Line>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Nothing,
    Arriving,
    Arrived,
    Unpacked,
}

impl Stage {
    /// Whether two stages differ in their numbers at most.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl Report {
    /// Nothing was told of a layer of so many compressed bytes.
    pub(super) fn new(total: u64) -> Self {
        Self {
            total,
            told: Told::Nothing,
            last: None,
        }
    }

    /// The lines that a stage adds.
    pub(super) fn lines(&mut self, stage: &Stage) -> Vec<Line> {
        let mut lines = Vec::new();
        match stage {
            Stage::Queued | Stage::Failed(_) => {}
            Stage::Waiting => lines.push(Self::plain("Waiting")),
            Stage::Retrying(seconds) => {
                let plural = if *seconds == 1 { "" } else { "s" };
                lines.push(Self::plain(&format!(
                    "Retrying in {seconds} second{plural}"
                )));
                self.told = Told::Arriving;
            }
            Stage::Downloading(current) => {
                lines.push(self.counted("Downloading", *current));
                self.told = Told::Arriving;
            }
            Stage::Extracting(current) => {
                self.arrived(&mut lines);
                lines.push(self.counted("Extracting", *current));
                if *current == self.total {
                    self.told = Told::Unpacked;
                }
            }
            Stage::Done(_) => {
                self.arrived(&mut lines);
                if self.told < Told::Unpacked {
                    lines.push(self.counted("Extracting", self.total));
                }
                lines.push(Self::plain("Pull complete"));
            }
        }
        // The same sentence twice says nothing.
        lines.retain(|line| self.last.replace(line.clone()).as_ref() != Some(line));
        lines
    }

    fn arrived(&mut self, lines: &mut Vec<Line>) {
        if self.told < Told::Arrived {
            lines.push(Self::plain("Verifying Checksum"));
            lines.push(Self::plain("Download complete"));
            self.told = Told::Arrived;
        }
    }

    fn plain(action: &str) -> Line {
        Line {
            action: action.to_owned(),
            current: 0,
            total: 0,
        }
    }

    fn counted(&self, action: &str, current: u64) -> Line {
        Line {
            action: action.to_owned(),
            current: current.min(self.total),
            total: self.total,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(report: &mut Report, stage: &Stage) -> Vec<String> {
        let lines = report.lines(stage);
        lines.into_iter().map(|line| line.action).collect()
    }

    #[test]
    fn skipped_stages_are_told_and_none_twice() {
        let mut report = Report::new(10);
        assert!(actions(&mut report, &Stage::Queued).is_empty());
        assert_eq!(actions(&mut report, &Stage::Waiting), ["Waiting"]);
        assert!(actions(&mut report, &Stage::Waiting).is_empty());
        assert_eq!(
            actions(&mut report, &Stage::Extracting(4)),
            ["Verifying Checksum", "Download complete", "Extracting"]
        );
        assert_eq!(actions(&mut report, &Stage::Extracting(10)), ["Extracting"]);
        assert!(actions(&mut report, &Stage::Extracting(10)).is_empty());
    }

    #[test]
    fn numbers_never_pass_the_total_and_retries_count_down() {
        let mut report = Report::new(10);
        let line = report.lines(&Stage::Downloading(12)).remove(0);
        assert_eq!((line.current, line.total), (10, 10));
        assert_eq!(
            actions(&mut report, &Stage::Retrying(2)),
            ["Retrying in 2 seconds"]
        );
        assert_eq!(
            actions(&mut report, &Stage::Retrying(1)),
            ["Retrying in 1 second"]
        );
    }
}
