//! The text of `--help`.

use super::{Kind, TABLE};

/// Column at which the descriptions begin.
const COLUMN: usize = 44;

/// Usage, in dockerd's layout.
pub fn help(program: &str) -> String {
    let mut text = format!(
        "\nUsage:\t{program} [OPTIONS]\n\nA self-sufficient runtime for containers.\n\nOptions:\n"
    );
    for flag in TABLE.iter() {
        let letter = flag
            .letter
            .map_or_else(|| "    ".to_owned(), |l| format!("-{l}, "));
        let word = if flag.kind == Kind::Bool {
            ""
        } else {
            flag.kind.word()
        };
        let left = format!("  {letter}--{} {word}", flag.name);
        text.push_str(&format!("{:<COLUMN$}  {}\n", left.trim_end(), flag.help));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_letters_and_words() {
        let text = help("cortend");
        assert!(
            text.contains("\n  -D, --debug                                 Enable debug mode\n"),
            "{text}"
        );
        assert!(text.contains("\n      --mtu int"), "{text}");
    }
}
