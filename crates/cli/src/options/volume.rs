//! `-v [source:]target[:options]`.

use super::absolute;

/// What a `-v` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Volume {
    /// A directory of the host or a named volume, as the API's bind text.
    Bind(String),
    /// A volume without a name, at this place.
    Anonymous(String),
}

/// Reads one.
pub fn parse(text: &str) -> Result<Volume, String> {
    if text.is_empty() {
        return Err("invalid empty volume spec".to_owned());
    }
    if text.len() <= 2 {
        return Ok(Volume::Anonymous(text.to_owned()));
    }
    let parts: Vec<&str> = text.split(':').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(format!(
            "invalid spec: {text}: empty section between colons"
        ));
    }
    match parts.as_slice() {
        [_] => Ok(Volume::Anonymous(text.to_owned())),
        [source, ..] if parts.len() <= 3 => Ok(Volume::Bind(format!(
            "{}{}",
            absolute(source),
            &text[source.len()..]
        ))),
        _ => Err(format!("invalid spec: {text}: too many colons")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes() {
        assert_eq!(parse("/data"), Ok(Volume::Anonymous("/data".to_owned())));
        assert_eq!(parse("/a:/b:ro"), Ok(Volume::Bind("/a:/b:ro".to_owned())));
        assert_eq!(parse("name:/b"), Ok(Volume::Bind("name:/b".to_owned())));
        let here = std::env::current_dir().unwrap();
        assert_eq!(
            parse("./x:/b"),
            Ok(Volume::Bind(format!("{}/x:/b", here.display())))
        );
        assert_eq!(
            parse(".:/b"),
            Ok(Volume::Bind(format!("{}:/b", here.display())))
        );
        assert_eq!(
            parse("/a::ro").unwrap_err(),
            "invalid spec: /a::ro: empty section between colons"
        );
        assert_eq!(
            parse("/a:/b:ro:x").unwrap_err(),
            "invalid spec: /a:/b:ro:x: too many colons"
        );
        assert_eq!(parse("").unwrap_err(), "invalid empty volume spec");
    }
}
