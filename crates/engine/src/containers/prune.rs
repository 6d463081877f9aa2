//! Removing what does not run.

use std::sync::Arc;

use spec::{ContainerId, Timestamp};

use super::command::Command;
use super::request::{Pruned, RemoveOptions};
use super::shared::Shared;
use super::{ask, list};
use crate::container::State;
use crate::filters::Filters;
use crate::{Error, Result, clock};

/// Removes containers that do not run and match.
pub(super) async fn prune(shared: &Arc<Shared>, filters: &Filters) -> Result<Pruned<ContainerId>> {
    filters.only(&["label", "label!", "until"])?;
    let until = until(filters)?;
    let mut pruned = Pruned {
        deleted: Vec::new(),
        reclaimed: 0,
    };
    for handle in shared.all() {
        let container = handle.container();
        let idle = matches!(
            container.state,
            State::Created | State::Exited | State::Dead
        );
        let wanted = until.is_none_or(|t| container.created < t)
            && filters.allows_labels("label", &container.config.labels)
            && filters.allows_without_labels("label!", &container.config.labels);
        if !(idle && wanted) {
            continue;
        }
        let (size, _) = list::sizes(shared, &container).await?;
        let key = container.id.to_string();
        let remove = |reply| Command::Remove(RemoveOptions::default(), reply);
        match ask(&handle, &key, remove).await {
            Ok(()) => {
                pruned.deleted.push(container.id);
                pruned.reclaimed += size.unwrap_or(0);
            }
            // Started or removed by somebody else in between.
            Err(error) => tracing::debug!(error = spec::error::chain(&error), "not pruned"),
        }
    }
    let attributes = [("reclaimed".to_owned(), pruned.reclaimed.to_string())].into();
    shared.events.emit("container", "prune", "", attributes);
    Ok(pruned)
}

/// Reads the filter `until`: a moment, Unix seconds, or a length of time before now.
///
/// # Errors
///
/// Neither, or several.
pub(crate) fn until(filters: &Filters) -> Result<Option<Timestamp>> {
    let Some(values) = filters.get("until") else {
        return Ok(None);
    };
    let bad = |text: &str| {
        Error::invalid(format!(
            "failed to parse value as time or duration: {text:?}"
        ))
    };
    let mut values = values.iter();
    match (values.next(), values.next()) {
        (Some(text), None) => moment(text, clock::now())
            .map(Some)
            .ok_or_else(|| bad(text)),
        _ => Err(Error::invalid("more than one until filter specified")),
    }
}

/// A moment as Docker's clients write it: RFC 3339, `seconds[.nanos]`, or `1h30m` before now.
fn moment(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if let Ok(seconds) = whole.parse::<i64>()
        && fraction.bytes().all(|c| c.is_ascii_digit())
    {
        let digits: String = fraction
            .chars()
            .chain("000000000".chars())
            .take(9)
            .collect();
        return Some(Timestamp::from_unix(seconds, digits.parse().ok()?));
    }
    let nanos = duration(text)?;
    let then = now.unix_nanos().checked_sub(nanos)?;
    let seconds = then.div_euclid(1_000_000_000);
    let rest = u32::try_from(then.rem_euclid(1_000_000_000)).ok()?;
    Some(Timestamp::from_unix(seconds, rest))
}

/// Nanoseconds of Go's `1h30m`, `10s`, `1.5h`.
fn duration(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        let unit = match &rest[..letters] {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number * unit;
        rest = &rest[letters..];
    }
    // Rounding a length of time to the nanosecond is all the cast does; it saturates.
    (total > 0.0).then_some(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_in_every_spelling() {
        let now = Timestamp::from_unix(1_000_000, 0);
        let read = |text: &str| moment(text, now).map(|t| t.unix_seconds());
        assert_eq!(read("1970-01-01T00:00:10Z"), Some(10));
        assert_eq!(read("10"), Some(10));
        assert_eq!(read("10.5"), Some(10));
        assert_eq!(read("1h30m"), Some(1_000_000 - 5400));
        assert_eq!(read("1.5s"), Some(999_998));
        for bad in ["", "x", "1x", "h", "-"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
