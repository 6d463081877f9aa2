//! Cutting a template into tokens.

use super::TemplateError;

/// A token with its place, a byte offset.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) kind: Tok,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tok {
    Text(String),
    Open,
    Close,
    /// `.Name`; empty for a lone dot.
    Field(String),
    /// `$name`, with the dollar.
    Variable(String),
    Word(String),
    Str(String),
    Char(i64),
    Number(String),
    Pipe,
    Comma,
    ParenOpen,
    ParenClose,
    Declare,
    Assign,
    Space,
    Other(char),
    /// What could not be cut; the last token. What is wrong before it is told first.
    Error(TemplateError),
}

/// The 1-based line of a byte offset.
pub(super) fn line(text: &str, at: usize) -> usize {
    text[..at.min(text.len())].matches('\n').count() + 1
}

fn error(text: &str, at: usize, what: &str) -> TemplateError {
    TemplateError(format!(":{}: {what}", line(text, at)))
}

pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    if let Err(error) = cut(text, &mut out) {
        out.push(Token {
            at: text.len(),
            kind: Tok::Error(error),
        });
    }
    out
}

fn cut(text: &str, out: &mut Vec<Token>) -> Result<(), TemplateError> {
    let mut at = 0;
    let mut trim_next = false;
    loop {
        let open = text[at..].find("{{").map(|i| at + i);
        let mut piece = &text[at..open.unwrap_or(text.len())];
        if trim_next {
            piece = piece.trim_start_matches(SPACES);
        }
        let Some(open) = open else {
            push_text(out, piece, at);
            return Ok(());
        };
        let mut inside = open + 2;
        let trims = text[inside..].starts_with('-') && text[inside + 1..].starts_with(SPACES);
        if trims {
            piece = piece.trim_end_matches(SPACES);
            inside += 2;
        }
        push_text(out, piece, at);
        if text[inside..].starts_with("/*") {
            (at, trim_next) = comment(text, inside, open)?;
            continue;
        }
        out.push(Token {
            at: open,
            kind: Tok::Open,
        });
        (at, trim_next) = action(text, inside, out)?;
    }
}

const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

fn push_text(out: &mut Vec<Token>, piece: &str, at: usize) {
    if !piece.is_empty() {
        out.push(Token {
            at,
            kind: Tok::Text(piece.to_owned()),
        });
    }
}

fn comment(text: &str, inside: usize, open: usize) -> Result<(usize, bool), TemplateError> {
    let end = text[inside..]
        .find("*/")
        .map(|i| inside + i + 2)
        .ok_or_else(|| error(text, open, "unclosed comment"))?;
    close(text, end).ok_or_else(|| error(text, open, "comment ends before closing delimiter"))
}

// The place behind a closing mark at `at`, and whether it trims.
fn close(text: &str, at: usize) -> Option<(usize, bool)> {
    if text[at..].starts_with("}}") {
        return Some((at + 2, false));
    }
    let rest = text[at..].strip_prefix(SPACES)?;
    rest.starts_with("-}}").then_some((at + 4, true))
}

fn action(text: &str, mut at: usize, out: &mut Vec<Token>) -> Result<(usize, bool), TemplateError> {
    let mut parens = 0_usize;
    let start = at;
    loop {
        if let Some((after, trims)) = close(text, at) {
            if parens > 0 {
                return Err(error(text, at, "unclosed left paren"));
            }
            out.push(Token {
                at,
                kind: Tok::Close,
            });
            return Ok((after, trims));
        }
        let Some(c) = text[at..].chars().next() else {
            return Err(error(text, start, "unclosed action"));
        };
        let (kind, next) = token(text, at, c)?;
        match kind {
            Tok::ParenOpen => parens += 1,
            Tok::ParenClose => {
                parens = parens
                    .checked_sub(1)
                    .ok_or_else(|| error(text, at, "unexpected right paren"))?;
            }
            _ => {}
        }
        out.push(Token { at, kind });
        at = next;
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

fn word_end(text: &str, at: usize) -> usize {
    text[at..]
        .find(|c| !is_word(c))
        .map_or(text.len(), |i| at + i)
}

// What may stand right behind a name.
fn terminated(text: &str, end: usize) -> Result<usize, TemplateError> {
    match text[end..].chars().next() {
        None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | '(' | ')' | '=') => Ok(end),
        Some(_) if text[end..].starts_with("}}") => Ok(end),
        Some(c) => Err(error(
            text,
            end,
            &format!("bad character U+{:04X} {c:?}", u32::from(c)),
        )),
    }
}

fn token(text: &str, at: usize, c: char) -> Result<(Tok, usize), TemplateError> {
    let rest = &text[at..];
    let next = rest.chars().nth(1).unwrap_or('\0');
    Ok(match c {
        ' ' | '\t' | '\r' | '\n' => {
            // The blank before a trimming close belongs to the close.
            let blanks = rest.len() - rest.trim_start_matches(SPACES).len();
            let trims = rest[blanks..].starts_with("-}}");
            let end = at + blanks - usize::from(trims && blanks > 1);
            (Tok::Space, end.max(at + 1))
        }
        '.' if !next.is_ascii_digit() => {
            let end = terminated(text, word_end(text, at + 1))?;
            (Tok::Field(text[at + 1..end].to_owned()), end)
        }
        '$' => {
            let end = terminated(text, word_end(text, at + 1))?;
            (Tok::Variable(text[at..end].to_owned()), end)
        }
        '"' => quoted(text, at)?,
        '`' => {
            let end = rest[1..]
                .find('`')
                .ok_or_else(|| error(text, at, "unterminated raw quoted string"))?;
            (Tok::Str(rest[1..=end].to_owned()), at + end + 2)
        }
        '\'' => char_constant(text, at)?,
        '|' => (Tok::Pipe, at + 1),
        ',' => (Tok::Comma, at + 1),
        '(' => (Tok::ParenOpen, at + 1),
        ')' => (Tok::ParenClose, at + 1),
        '=' => (Tok::Assign, at + 1),
        ':' if next == '=' => (Tok::Declare, at + 2),
        ':' => return Err(error(text, at, "expected :=")),
        '0'..='9' | '+' | '-' | '.' => {
            let body = at + 1;
            let end = text[body..]
                .find(|c: char| !(c.is_alphanumeric() || c == '.' || c == '_'))
                .map_or(text.len(), |i| body + i);
            let number = &text[at..end];
            if number.parse::<f64>().is_err() && crate::flags::parse_int(number).is_err() {
                return Err(error(text, at, &format!("bad number syntax: {number:?}")));
            }
            (Tok::Number(number.to_owned()), end)
        }
        c if is_word(c) => {
            let end = terminated(text, word_end(text, at))?;
            (Tok::Word(text[at..end].to_owned()), end)
        }
        c if c.is_ascii_graphic() => (Tok::Other(c), at + c.len_utf8()),
        c => {
            let what = format!(
                "unrecognized character in action: U+{:04X} {c:?}",
                u32::from(c)
            );
            return Err(error(text, at, &what));
        }
    })
}

fn quoted(text: &str, at: usize) -> Result<(Tok, usize), TemplateError> {
    let unterminated = || error(text, at, "unterminated quoted string");
    let mut out = String::new();
    let mut chars = text[at + 1..].char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Ok((Tok::Str(out), at + 1 + i + 1)),
            '\n' => return Err(unterminated()),
            '\\' => out.push(escape(&mut chars).ok_or_else(|| error(text, at, "invalid syntax"))?),
            c => out.push(c),
        }
    }
    Err(unterminated())
}

fn escape(chars: &mut std::str::CharIndices<'_>) -> Option<char> {
    let (_, c) = chars.next()?;
    let digits = match c {
        'n' => return Some('\n'),
        't' => return Some('\t'),
        'r' => return Some('\r'),
        'a' => return Some('\x07'),
        'b' => return Some('\x08'),
        'f' => return Some('\x0c'),
        'v' => return Some('\x0b'),
        '\\' | '"' | '\'' => return Some(c),
        'x' => 2,
        'u' => 4,
        'U' => 8,
        _ => return None,
    };
    let mut code = 0;
    for _ in 0..digits {
        code = code * 16 + chars.next()?.1.to_digit(16)?;
    }
    char::from_u32(code)
}

fn char_constant(text: &str, at: usize) -> Result<(Tok, usize), TemplateError> {
    let malformed = || error(text, at, "malformed character constant");
    let mut chars = text[at + 1..].char_indices();
    let (_, first) = chars.next().ok_or_else(malformed)?;
    let c = match first {
        '\\' => escape(&mut chars).ok_or_else(malformed)?,
        c => c,
    };
    match chars.next() {
        Some((i, '\'')) => Ok((Tok::Char(i64::from(u32::from(c))), at + 1 + i + 1)),
        _ => Err(malformed()),
    }
}
