//! Words, quotes and variables of a Dockerfile line.

/// A JSON list of texts.
pub(super) fn list(text: &str) -> Option<Vec<String>> {
    if !text.starts_with('[') {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// Words between spaces.
pub(super) fn split(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// `name=value …` with quotes, or the old form `name value`.
pub(super) fn pairs(text: &str, env: &[String]) -> Result<Vec<(String, String)>, &'static str> {
    let words = quoted_words(text)?;
    let first = words.first().ok_or("requires at least one argument")?;
    if !first.contains('=') {
        let (name, value) = text
            .split_once(char::is_whitespace)
            .ok_or("must have two arguments")?;
        return Ok(vec![(expand(name, env)?, expand(value.trim(), env)?)]);
    }
    let mut pairs = Vec::new();
    for word in words {
        let (name, value) = word.split_once('=').ok_or("can't find = in an argument")?;
        let name = expand(name, env)?;
        if name.is_empty() {
            return Err("names can not be blank");
        }
        pairs.push((name, expand(value, env)?));
    }
    Ok(pairs)
}

/// Words between spaces that no quote and no backslash protects; quotes are kept.
fn quoted_words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                word.push(c);
                word.extend(chars.next());
            }
            ('\'' | '"', None) => {
                quote = Some(c);
                word.push(c);
            }
            (c, Some(open)) if c == open => {
                quote = None;
                word.push(c);
            }
            (c, None) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            (c, _) => word.push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

/// Takes quotes away and puts variables in: `$NAME`, `${NAME}`, `${NAME:-else}`, `${NAME:+then}`.
pub(super) fn expand(text: &str, env: &[String]) -> Result<String, &'static str> {
    let mut out = String::new();
    let mut quote = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match (c, quote) {
            ('\'', None) => {
                let end = rest.find('\'').ok_or("a quote is not closed")?;
                out.push_str(&rest[..end]);
                rest = &rest[end + 1..];
            }
            ('"', None) => quote = Some('"'),
            ('"', Some(_)) => quote = None,
            ('\\', _) => {
                let next = rest.chars().next();
                // Within quotes a backslash only protects what would mean something there.
                if quote.is_some() && !matches!(next, Some('"' | '$' | '\\')) {
                    out.push('\\');
                }
                if let Some(next) = next {
                    out.push(next);
                    rest = &rest[next.len_utf8()..];
                }
            }
            ('$', _) => rest = variable(rest, env, &mut out)?,
            (c, _) => out.push(c),
        }
    }
    match quote {
        Some(_) => Err("a quote is not closed"),
        None => Ok(out),
    }
}

/// Puts in what a variable stands for; returns the text behind it.
fn variable<'t>(text: &'t str, env: &[String], out: &mut String) -> Result<&'t str, &'static str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let Some(braced) = text.strip_prefix('{') else {
        let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
        match end {
            0 => out.push('$'),
            _ => out.push_str(lookup(&text[..end], env).unwrap_or_default()),
        }
        return Ok(&text[end..]);
    };
    let end = braced.find('}').ok_or("a variable is not closed")?;
    let (inner, rest) = (&braced[..end], &braced[end + 1..]);
    let name_end = inner.find(|c| !is_name(c)).unwrap_or(inner.len());
    let (name, modifier) = inner.split_at(name_end);
    let value = lookup(name, env).filter(|value| !value.is_empty());
    match modifier {
        "" => out.push_str(value.unwrap_or_default()),
        _ => match (modifier.strip_prefix(":-"), modifier.strip_prefix(":+")) {
            (Some(other), _) => out.push_str(value.unwrap_or(other)),
            (_, Some(then)) => out.push_str(value.map_or("", |_| then)),
            _ => return Err("unsupported modifier of a variable"),
        },
    }
    Ok(rest)
}

fn lookup<'e>(name: &str, env: &'e [String]) -> Option<&'e str> {
    let entries = env.iter().filter_map(|entry| entry.split_once('='));
    entries
        .rev()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_variables_follow_the_builder() {
        let env = ["A=1".to_owned(), "E=".to_owned()];
        for (text, want) in [
            ("plain", "plain"),
            ("$A-${A}", "1-1"),
            ("'$A'", "$A"),
            ("\"$A\"", "1"),
            ("\\$A", "$A"),
            ("\"a\\nb\"", "a\\nb"),
            ("${E:-x}${A:-x}", "x1"),
            ("${E:+x}${A:+x}", "x"),
            ("$NONE!", "!"),
            ("100$", "100$"),
            ("a\"b c\"d", "ab cd"),
        ] {
            assert_eq!(expand(text, &env).unwrap(), want, "{text}");
        }
        for bad in ["'open", "\"open", "${A", "${A?x}"] {
            assert!(expand(bad, &env).is_err(), "{bad}");
        }
    }
}
