//! Progress of long requests: a stream of messages, drawn as Docker's client draws it.
//!
//! On a terminal every id has a line of its own, which is found by moving the cursor up and down.
//! Elsewhere only what is final is printed, a line each.

use std::io::{self, Write};

use api::client::Response;
use serde_json::Value;

use crate::app::is_terminal;
use crate::clock;
use crate::exit::Failure;
use crate::output::{int, text};
use crate::terminal;
use crate::units::human_size;

/// The width that is assumed where there is none.
const NO_TERMINAL: u16 = 200;
/// Terminals narrower than this get no bar.
const BAR_WIDTH: u16 = 110;
/// Terminals narrower than this get no estimate of the time left.
const TIME_WIDTH: u16 = 50;

/// Where progress goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// Stdout.
    Out,
    /// Stderr.
    Err,
    /// Nowhere; errors are still found.
    Nowhere,
}

/// Shows a stream of messages until it ends.
pub async fn show(response: Response, to: To) -> Result<(), Failure> {
    show_with(response, to, &mut |_| {}).await
}

/// Like [`show`]; `aux` is told of what is not for the eyes, such as the digest of a push.
pub async fn show_with(
    response: Response,
    to: To,
    aux: &mut dyn FnMut(&Value),
) -> Result<(), Failure> {
    let mut display = match to {
        To::Out => Display::new(is_terminal(io::stdout()), || terminal::size(io::stdout())),
        To::Err => Display::new(is_terminal(io::stderr()), || terminal::size(io::stderr())),
        To::Nowhere => Display::new(false, || None),
    };
    let mut messages = response.json_stream();
    while let Some(message) = messages.next().await? {
        if let Some(value) = message.get("aux").filter(|aux| !aux.is_null()) {
            aux(value);
            continue;
        }
        let mut drawn = Vec::new();
        let drawing = display.draw(&message, &mut drawn);
        // Each message is written at once: half a cursor movement is none.
        match to {
            To::Out => write(io::stdout().lock(), &drawn)?,
            To::Err => write(io::stderr().lock(), &drawn)?,
            To::Nowhere => {}
        }
        drawing?;
    }
    Ok(())
}

fn write(mut out: impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes)?;
    out.flush()
}

struct Display {
    terminal: bool,
    size: fn() -> Option<(u16, u16)>,
    ids: Vec<String>,
}

impl Display {
    fn new(terminal: bool, size: fn() -> Option<(u16, u16)>) -> Self {
        Self {
            terminal,
            size,
            ids: Vec::new(),
        }
    }

    fn draw(&mut self, message: &Value, out: &mut Vec<u8>) -> Result<(), Failure> {
        let id = text(message, "id");
        let detail = message.get("progressDetail").filter(|d| !d.is_null());
        let moves = detail.is_some() || !text(message, "progress").is_empty();
        let mut up = 0;
        if !id.is_empty() && moves {
            let line = self.ids.iter().position(|known| known == id);
            let line = line.unwrap_or_else(|| {
                self.ids.push(id.to_owned());
                if self.terminal {
                    out.push(b'\n');
                }
                self.ids.len() - 1
            });
            up = self.ids.len() - line;
            if self.terminal {
                out.extend(format!("\x1b[{up}A").bytes());
            }
        } else {
            // What is not progress scrolls the lines of before out of reach.
            self.ids.clear();
        }
        let drawn = self.line(message, detail, out);
        if self.terminal && !id.is_empty() && up > 0 {
            out.extend(format!("\x1b[{up}B").bytes());
        }
        drawn
    }

    fn line(
        &self,
        message: &Value,
        detail: Option<&Value>,
        out: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        if let Some(error) = message.get("errorDetail").filter(|e| !e.is_null()) {
            return Err(Failure::new(text(error, "message")));
        }
        if let Some(error) = message.get("error").and_then(Value::as_str) {
            return Err(Failure::new(error));
        }
        let (status, stream) = (text(message, "status"), text(message, "stream"));
        let width = (self.size)().map_or(NO_TERMINAL, |(width, _)| width);
        let bar = detail.map_or_else(String::new, |detail| bar(detail, width, clock::now()));
        let mut end = "";
        if self.terminal && stream.is_empty() && detail.is_some() {
            end = "\r";
            out.extend(b"\x1b[2K\r");
        } else if !bar.is_empty() {
            return Ok(());
        }
        for (name, before, after) in [("id", "", ": "), ("from", "(from ", ") ")] {
            match text(message, name) {
                "" => {}
                value => out.extend(format!("{before}{value}{after}").bytes()),
            }
        }
        let shown = match (detail, text(message, "progress")) {
            (Some(_), _) if self.terminal => format!("{status} {bar}{end}"),
            (_, progress) if !progress.is_empty() => format!("{status} {progress}{end}"),
            _ if !stream.is_empty() => format!("{stream}{end}"),
            _ => format!("{status}{end}\n"),
        };
        out.extend(shown.bytes());
        Ok(())
    }
}

// How far something has come, as a bar where there is room, and in numbers.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a bar of fifty characters and four digits are shown"
)]
fn bar(detail: &Value, width: u16, now: i64) -> String {
    let (current, total, start) = (
        int(detail, "current"),
        int(detail, "total"),
        int(detail, "start"),
    );
    let units = text(detail, "units");
    let size = |bytes: i64| human_size(bytes as f64);
    if current <= 0 && total <= 0 {
        return String::new();
    }
    if total <= 0 {
        return match units {
            "" => format!("{:>8}", size(current)),
            units => format!("{current} {units}"),
        };
    }
    let half = ((current as f64 / total as f64 * 100.0) as i64 / 2).clamp(0, 50) as usize;
    let mut out = String::new();
    if width > BAR_WIDTH {
        out = format!("[{}>{}] ", "=".repeat(half), " ".repeat(50 - half));
    }
    let hidden = detail.get("hidecounts").and_then(Value::as_bool) == Some(true);
    // A total that has been passed is no total.
    let numbers = match (units, current > total) {
        _ if hidden => String::new(),
        ("", true) => format!("{:>8}", size(current)),
        ("", false) => format!("{:>8}/{}", size(current), size(total)),
        (units, true) => format!("{current} {units}"),
        (units, false) => format!("{current}/{total} {units}"),
    };
    out.push_str(&numbers);
    if width > TIME_WIDTH && current > 0 && start > 0 && half < 50 {
        let each = (now - start) as f64 / current as f64;
        out.push(' ');
        out.push_str(&seconds(((total - current) as f64 * each).round() as i64));
    }
    out
}

// Whole seconds as Go prints a duration.
fn seconds(all: i64) -> String {
    let (hours, minutes, seconds) = (all / 3600, all / 60 % 60, all % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn drawn(messages: &[Value], terminal: bool) -> String {
        let mut display = Display::new(terminal, || Some((120, 40)));
        let mut out = Vec::new();
        for message in messages {
            display.draw(message, &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    fn pull() -> Vec<Value> {
        vec![
            json!({"status": "Pulling from team/g", "id": "1"}),
            json!({"status": "Pulling fs layer", "progressDetail": {}, "id": "b0"}),
            json!({"status": "Downloading", "progressDetail": {"current": 32_770, "total": 2_226_000},
                "progress": "[>   ]  32.77kB/2.226MB", "id": "b0"}),
            json!({"status": "Pull complete", "progressDetail": {}, "id": "b0"}),
            json!({"status": "Digest: sha256:1c"}),
        ]
    }

    #[test]
    fn a_terminal_shows_one_line_for_each_layer() {
        let bar = " ".repeat(50);
        assert_eq!(
            drawn(&pull(), true),
            format!(
                "1: Pulling from team/g\n\
                 \n\x1b[1A\x1b[2K\rb0: Pulling fs layer \r\x1b[1B\
                 \x1b[1A\x1b[2K\rb0: Downloading [>{bar}]  32.77kB/2.226MB\r\x1b[1B\
                 \x1b[1A\x1b[2K\rb0: Pull complete \r\x1b[1B\
                 Digest: sha256:1c\n"
            )
        );
    }

    #[test]
    fn a_file_gets_what_is_final() {
        assert_eq!(
            drawn(&pull(), false),
            "1: Pulling from team/g\nb0: Pulling fs layer\nb0: Pull complete\nDigest: sha256:1c\n"
        );
        assert_eq!(
            drawn(&[json!({"stream": "Loaded image: x\n"})], false),
            "Loaded image: x\n"
        );
    }

    #[test]
    fn lines_are_counted_from_the_last_text() {
        let layer = |id: &str| json!({"status": "Waiting", "progressDetail": {}, "id": id});
        let shown = drawn(
            &[
                layer("a"),
                layer("b"),
                layer("a"),
                json!({"status": "x"}),
                layer("a"),
            ],
            true,
        );
        let moves: Vec<&str> = shown.matches(['A', 'B']).collect();
        assert_eq!(moves.len(), 8);
        assert!(
            shown.contains("\x1b[2A\x1b[2K\ra: Waiting \r\x1b[2Bx\n\n\x1b[1A"),
            "{shown:?}"
        );
    }

    #[test]
    fn errors_end_it() {
        let mut display = Display::new(false, || None);
        let error = json!({"errorDetail": {"message": "no basic auth credentials"}, "error": "x"});
        let failure = display.draw(&error, &mut Vec::new()).unwrap_err();
        assert_eq!(failure, Failure::new("no basic auth credentials"));
    }

    #[test]
    fn bars() {
        let of = |detail: Value, width| bar(&detail, width, 1_000);
        assert_eq!(of(json!({}), 200), "");
        assert_eq!(of(json!({"current": 1}), 200), "      1B");
        assert_eq!(
            of(json!({"current": 50, "total": 100}), 80),
            "     50B/100B"
        );
        assert_eq!(of(json!({"current": 200, "total": 100}), 80), "    200B");
        assert_eq!(
            of(json!({"current": 2, "total": 4, "units": "x"}), 80),
            "2/4 x"
        );
        assert_eq!(
            of(json!({"current": 20, "total": 100, "start": 900}), 111),
            format!(
                "[{}>{}]      20B/100B 6m40s",
                "=".repeat(10),
                " ".repeat(40)
            )
        );
        assert_eq!(
            of(json!({"current": 1, "total": 2, "hidecounts": true}), 80),
            ""
        );
    }
}
