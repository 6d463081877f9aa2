//! How far a step is, and Docker's bar that shows it.

use serde::{Deserialize, Serialize};

/// Steps of a bar.
const BAR: u64 = 50;

/// How far a step is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProgressDetail {
    /// Bytes so far.
    #[serde(skip_serializing_if = "is_zero")]
    pub current: i64,
    /// Bytes in all.
    #[serde(skip_serializing_if = "is_zero")]
    pub total: i64,
    /// When the step began, in seconds since 1970.
    #[serde(skip_serializing_if = "is_zero")]
    pub start: i64,
    /// Show the bar without numbers.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hidecounts: bool,
    /// What is counted, where it is not bytes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub units: String,
}

fn is_zero(n: &i64) -> bool {
    *n == 0
}

impl ProgressDetail {
    /// Columns of a terminal that dockerd assumes where there is none.
    pub const WIDE: u16 = 200;

    /// So many of so many bytes.
    pub fn bytes(current: u64, total: u64) -> Self {
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        Self {
            current: count(current),
            total: count(total),
            ..Self::default()
        }
    }

    /// Docker's bar for a terminal of so many columns; empty when nothing is known.
    pub fn bar(&self, columns: u16) -> String {
        if self.current <= 0 && self.total <= 0 {
            return String::new();
        }
        let (current, total) = (self.current.unsigned_abs(), self.total.unsigned_abs());
        if self.total <= 0 {
            return match self.units.as_str() {
                "" => format!("{:>8}", human_size(current)),
                units => format!("{current} {units}"),
            };
        }
        let current = if self.current < 0 { 0 } else { current };
        let mut out = String::new();
        if columns > 110 {
            let part = u128::from(current) * 100 / u128::from(total) / 2;
            let full = usize::try_from(part.min(u128::from(BAR))).unwrap_or(0);
            let empty = usize::try_from(BAR).unwrap_or(0) - full;
            out = format!("[{}>{}] ", "=".repeat(full), " ".repeat(empty));
        }
        if self.hidecounts {
            return out;
        }
        out + &match (self.units.as_str(), current > total) {
            ("", true) => format!("{:>8}", human_size(current)),
            ("", false) => format!("{:>8}/{}", human_size(current), human_size(total)),
            (units, true) => format!("{current} {units}"),
            (units, false) => format!("{current}/{total} {units}"),
        }
    }
}

/// A number of bytes as Docker prints it: four digits and a decimal unit.
fn human_size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    #[expect(clippy::cast_precision_loss, reason = "four digits are shown")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let whole = if value >= 1000.0 {
        4
    } else if value >= 100.0 {
        3
    } else if value >= 10.0 {
        2
    } else {
        1
    };
    let text = format!("{value:.*}", 4 - whole);
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_four_digits() {
        for (bytes, want) in [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1024, "1.024kB"),
            (12_345, "12.35kB"),
            (123_456, "123.5kB"),
            (100_000, "100kB"),
            (1_234_567_890, "1.235GB"),
        ] {
            assert_eq!(human_size(bytes), want);
        }
    }

    #[test]
    fn bars_are_dockers() {
        let half = ProgressDetail::bytes(500, 1000);
        assert_eq!(
            half.bar(ProgressDetail::WIDE),
            format!("[{}>{}]     500B/1kB", "=".repeat(25), " ".repeat(25))
        );
        assert_eq!(half.bar(80), "    500B/1kB");
        assert_eq!(ProgressDetail::bytes(0, 0).bar(200), "");
        assert_eq!(ProgressDetail::bytes(2000, 0).bar(200), "     2kB");
        let over = ProgressDetail::bytes(2000, 1000).bar(200);
        assert_eq!(over, format!("[{}>]      2kB", "=".repeat(50)));
        let counted = ProgressDetail {
            units: "s".to_owned(),
            ..ProgressDetail::bytes(1, 2)
        };
        assert_eq!(counted.bar(80), "1/2 s");
    }
}
