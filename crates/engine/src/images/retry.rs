//! When to try again: a decision over counts, without clock.
//!
//! A failure after which new bytes are there is no reason to wait: the next attempt goes on where
//! that one ended. Failures in a row without any wait longer each time. Both kinds are bounded, so
//! that neither a dead registry nor one that hands out single bytes holds a client for ever.

use std::time::Duration;

/// Attempts that brought something and failed nevertheless, in all.
const MAX_RESUMES: u32 = 100;
/// Wait after the first failure without progress; doubled with each further one.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// Longest wait.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// What the failures so far were.
#[derive(Debug, Clone)]
pub(super) struct Retry {
    attempts: u32,
    fruitless: u32,
    resumes: u32,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Try again now.
    Now,
    /// Try again after a while.
    After(Duration),
    /// The failure stands.
    GiveUp,
}

/// Whether an attempt that failed brought anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progressed {
    /// New bytes are there.
    Yes,
    /// Nothing new.
    No,
}

impl Retry {
    /// Allows so many attempts in a row without progress; at least one.
    pub(super) fn new(attempts: u32) -> Self {
        Self {
            attempts: attempts.max(1),
            fruitless: 0,
            resumes: 0,
        }
    }

    /// Notes a failure that another attempt may mend, and decides.
    pub(super) fn failed(&mut self, progressed: Progressed) -> Next {
        if progressed == Progressed::Yes {
            self.fruitless = 0;
            self.resumes += 1;
            return match self.resumes > MAX_RESUMES {
                true => Next::GiveUp,
                false => Next::Now,
            };
        }
        self.fruitless += 1;
        if self.fruitless >= self.attempts {
            return Next::GiveUp;
        }
        let doubled = FIRST_DELAY.saturating_mul(1 << (self.fruitless - 1).min(10));
        Next::After(doubled.min(MAX_DELAY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let mut retry = Retry::new(5);
        let waits: Vec<Next> = (0..5).map(|_| retry.failed(Progressed::No)).collect();
        let after = |s| Next::After(Duration::from_secs(s));
        assert_eq!(
            waits,
            [after(1), after(2), after(4), after(8), Next::GiveUp]
        );
    }

    #[test]
    fn progress_resets_the_row_but_not_for_ever() {
        let mut retry = Retry::new(2);
        assert_eq!(
            retry.failed(Progressed::No),
            Next::After(Duration::from_secs(1))
        );
        assert_eq!(retry.failed(Progressed::Yes), Next::Now);
        assert_eq!(
            retry.failed(Progressed::No),
            Next::After(Duration::from_secs(1))
        );
        assert_eq!(retry.failed(Progressed::No), Next::GiveUp);
        let mut retry = Retry::new(2);
        let tries = std::iter::repeat_with(|| retry.failed(Progressed::Yes))
            .take_while(|next| *next == Next::Now)
            .count();
        assert_eq!(tries, MAX_RESUMES as usize);
    }

    #[test]
    fn one_attempt_is_one_attempt() {
        assert_eq!(Retry::new(1).failed(Progressed::No), Next::GiveUp);
        assert_eq!(Retry::new(0).failed(Progressed::No), Next::GiveUp);
    }
}
