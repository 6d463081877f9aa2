//! The one place that reads the wall clock.

use spec::Timestamp;

/// Now.
pub(crate) fn now() -> Timestamp {
    Timestamp::from(std::time::SystemTime::now())
}
