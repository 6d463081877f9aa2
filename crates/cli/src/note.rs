//! Notes and colours: what Docker's client adds for people on a terminal.

use std::io::{self, Write};

use crate::app::is_terminal;

/// One look of a text on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint(&'static [&'static str]);

/// As it is.
pub const PLAIN: Paint = Paint(&[]);
/// The terminal's own colour.
pub const NORMAL: Paint = Paint(&["39"]);
/// The terminal's own colour, faint.
pub const FAINT: Paint = Paint(&["39", "2"]);
/// Bold in the terminal's own colour.
pub const TITLE: Paint = Paint(&["39", "1"]);
/// Bold blue.
pub const NAME: Paint = Paint(&["34", "1"]);
/// Light yellow.
pub const WARNING: Paint = Paint(&["93"]);
/// Red.
pub const RED: Paint = Paint(&["31"]);
/// Green.
pub const GREEN: Paint = Paint(&["32"]);
/// Underlined.
pub const UNDERLINE: Paint = Paint(&["4"]);
const BOLD: Paint = Paint(&["1"]);
const ITALIC: Paint = Paint(&["3"]);

impl Paint {
    /// The text in this look.
    pub fn on(self, text: &str) -> String {
        if self.0.is_empty() {
            return text.to_owned();
        }
        format!("\x1b[{}m{text}\x1b[0m", self.0.join("m\x1b["))
    }
}

/// What stands before a note.
pub fn info(terminal: bool) -> &'static str {
    match terminal {
        false => " Info -> ",
        true => "\x1b[1m\x1b[106m\x1b[30mi\x1b[0m\x1b[0m \x1b[96mInfo → \x1b[0m\x1b[0m",
    }
}

/// How many columns a text takes, without its escape sequences.
pub fn width(text: &str) -> usize {
    let mut plain = 0;
    let mut escaped = false;
    for c in text.chars() {
        match (escaped, c) {
            (true, 'm') => escaped = false,
            (true, _) => {}
            (false, '\x1b') => escaped = true,
            (false, _) => plain += 1,
        }
    }
    plain
}

/// A note as it is shown: a line before it, and its lines indented alike.
pub fn text(note: &str, terminal: bool) -> String {
    let header = info(terminal);
    let note = match terminal {
        true => note.replace("--platform", &BOLD.on("--platform")),
        false => note.to_owned(),
    };
    let mut out = format!("\n{header}");
    for (index, line) in note.split('\n').enumerate() {
        if index > 0 {
            out.push_str(&" ".repeat(width(header)));
        }
        match terminal {
            true => out.push_str(&ITALIC.on(line)),
            false => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// Shows a note on stderr.
pub fn warn(note: &str) {
    let text = text(note, is_terminal(io::stderr()));
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes() {
        assert_eq!(
            text("one\ntwo\n", false),
            "\n Info -> one\n         two\n         \n"
        );
        let fancy = text("use --platform", true);
        assert!(
            fancy.contains("\x1b[3muse \x1b[1m--platform\x1b[0m\x1b[0m\n"),
            "{fancy:?}"
        );
        assert_eq!(width(info(true)), 9);
    }
}
