//! The small languages inside flags: mounts, ports, networks, limits, devices, environment files.
//!
//! Each reads one text into what the API wants, with Docker's errors. Pure, but for files of
//! variables and the environment.

mod capabilities;
pub mod create;
pub mod devices;
pub mod flags;
pub mod health;
pub mod kv;
pub mod limits;
pub mod mount;
pub mod network;
pub mod ports;
mod resources;
pub mod validate;
pub mod volume;

fn bad_quote(column: usize) -> String {
    format!("parse error on line 1, column {column}: extraneous or missing \" in quoted-field")
}

/// Splits one line of comma-separated fields, some of them perhaps in double quotes.
///
/// # Errors
///
/// Go's text for stray quotes.
pub fn csv(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut field = String::new();
            let mut inner = quoted;
            loop {
                let Some((part, after)) = inner.split_once('"') else {
                    return Err(bad_quote(text.len() + 1));
                };
                field.push_str(part);
                match after.strip_prefix('"') {
                    Some(more) => {
                        field.push('"');
                        inner = more;
                    }
                    None => {
                        inner = after;
                        break;
                    }
                }
            }
            fields.push(field);
            match inner.strip_prefix(',') {
                Some(more) => rest = more,
                None if inner.is_empty() => return Ok(fields),
                None => return Err(bad_quote(text.len() - inner.len())),
            }
            continue;
        }
        let (field, more) = match rest.split_once(',') {
            Some((field, more)) => (field, Some(more)),
            None => (rest, None),
        };
        if let Some(at) = field.find('"') {
            let column = text.len() - rest.len() + at + 1;
            return Err(format!(
                "parse error on line 1, column {column}: bare \" in non-quoted-field"
            ));
        }
        fields.push(field.to_owned());
        match more {
            Some(more) => rest = more,
            None => return Ok(fields),
        }
    }
}

/// Makes a relative path that begins with a dot absolute.
pub fn absolute(path: &str) -> String {
    if !path.starts_with('.') {
        return path.to_owned();
    }
    let base = std::env::current_dir()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    clean(&format!("{base}/{path}"))
}

/// The shortest equal path, without looking at the file system.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, rest) => format!("/{rest}"),
        (false, rest) if rest.is_empty() => ".".to_owned(),
        (false, rest) => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        assert_eq!(csv("a,b=c").unwrap(), ["a", "b=c"]);
        assert_eq!(csv("a,\"b,c\",\"d\"\"e\"").unwrap(), ["a", "b,c", "d\"e"]);
        assert_eq!(csv("").unwrap(), [""]);
        assert!(csv("a\"b").unwrap_err().contains("bare \""));
        assert!(csv("\"a").is_err() && csv("\"a\"b").is_err());
    }

    #[test]
    fn paths() {
        assert_eq!(clean("/a/../../b/./c/"), "/b/c");
        assert_eq!(clean("a/.."), ".");
        assert_eq!(clean("../a"), "../a");
        assert_eq!(absolute("name"), "name");
        assert!(absolute("./x").starts_with('/') && absolute("./x").ends_with("/x"));
    }
}
