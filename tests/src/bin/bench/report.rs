//! The table: medians and 95th percentiles of each engine, and the ratio between them.

use std::io::Write;

use crate::engine::Engine;

/// Values of one measurement, engine by engine, and where they are printed.
pub(crate) struct Report {
    names: Vec<&'static str>,
    current: String,
    values: Vec<Vec<f64>>,
}

impl Report {
    /// Prints the header.
    pub(crate) fn new(engines: &[Engine]) -> Self {
        let names: Vec<&'static str> = engines.iter().map(|engine| engine.name).collect();
        let mut line = format!("{:<32} {:>5}", "", "");
        for name in &names {
            line += &format!(" {:>12} {:>9}", format!("{name} p50"), "p95");
        }
        if names.len() == 2 {
            line += &format!(" {:>9}", "ratio");
        }
        print(&line);
        Self {
            names,
            current: String::new(),
            values: Vec::new(),
        }
    }

    /// Begins a measurement.
    pub(crate) fn begin(&mut self, name: &str) {
        self.current = name.to_owned();
        self.values = vec![Vec::new(); self.names.len()];
    }

    /// Adds values of one engine.
    pub(crate) fn add(&mut self, engine: usize, values: Vec<f64>) {
        self.values[engine].extend(values);
    }

    /// Prints the line of the measurement.
    pub(crate) fn end(&mut self, unit: &str) {
        let mut line = format!("{:<32} {unit:>5}", self.current);
        for values in &mut self.values {
            values.sort_by(f64::total_cmp);
            // A rate is bad when it is low, a time when it is high.
            let bad = if unit == "MB/s" { 0.05 } else { 0.95 };
            line += &format!(" {:>12} {:>9}", show(at(values, 0.5)), show(at(values, bad)));
        }
        if let [ours, theirs] = self.values.as_slice()
            && let (Some(ours), Some(theirs)) = (at(ours, 0.5), at(theirs, 0.5))
        {
            let ratio = if unit == "MB/s" {
                ours / theirs
            } else {
                theirs / ours
            };
            line += &format!(" {:>9}", format!("{ratio:.1}x"));
        }
        print(&line);
    }
}

/// The value at a quantile of sorted values.
fn at(sorted: &[f64], quantile: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index between 0 and last"
    )]
    let index = (last as f64 * quantile).round() as usize;
    sorted.get(index).copied()
}

fn show(value: Option<f64>) -> String {
    match value {
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.2}"),
        None => "-".to_owned(),
    }
}

fn print(line: &str) {
    // A reader that went away is no reason to leave the engines running.
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_few_values() {
        assert_eq!(at(&[], 0.5), None);
        assert_eq!(at(&[1.0], 0.95), Some(1.0));
        assert_eq!(at(&[1.0, 2.0, 3.0], 0.5), Some(2.0));
    }
}
