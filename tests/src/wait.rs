//! Waiting for conditions: level-triggered, with a deadline, never a bare sleep.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(5);

/// How long clean-up that the kernel does in the background may take.
pub const SETTLE: Duration = Duration::from_secs(5);

/// Looks at `probe` until it answers or `deadline` has passed.
pub fn poll<T>(deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(INTERVAL);
    }
}

/// Waits until `holds`; panics with `what` after `deadline`.
#[track_caller]
pub fn wait_for(what: &str, deadline: Duration, mut holds: impl FnMut() -> bool) {
    let end = poll(deadline, || holds().then_some(()));
    assert!(end.is_some(), "not within {deadline:?}: {what}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_becomes_true_is_seen() {
        let mut left = 3;
        assert_eq!(
            poll(SETTLE, || {
                left -= 1;
                (left == 0).then_some(7)
            }),
            Some(7)
        );
    }

    #[test]
    fn a_condition_that_never_holds_ends() {
        assert_eq!(poll(Duration::from_millis(20), || None::<()>), None);
    }
}
