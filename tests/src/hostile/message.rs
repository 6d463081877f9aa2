//! Reading requests: HTTP/1.1 with a body of known length or in chunks.

use std::io::{self, BufRead, Read};

/// One request as it came.
#[derive(Debug, Clone, Default)]
pub struct Request {
    pub method: String,
    /// The path with its query; a whole URL when it was sent to a proxy.
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// `GET /v2/`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The value of a header field, by its lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether anything of it has this in it.
    pub fn mentions(&self, text: &str) -> bool {
        self.path.contains(text)
            || self.headers.iter().any(|(_, value)| value.contains(text))
            || self.text().contains(text)
    }

    /// The part of a query, still encoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.path.split_once('?')?;
        let found = query.split('&').filter_map(|pair| pair.split_once('='));
        found.filter(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).next()
    }

    /// Reads the next one; none when the connection has ended.
    pub(crate) fn read(reader: &mut impl BufRead) -> io::Result<Option<Self>> {
        let first = line(reader)?;
        let mut words = first.split(' ');
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Ok(None);
        };
        let mut request = Self {
            method: method.to_owned(),
            path: path.to_owned(),
            ..Self::default()
        };
        loop {
            let field = line(reader)?;
            let Some((name, value)) = field.split_once(':') else {
                break;
            };
            request.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        if request.header("transfer-encoding") == Some("chunked") {
            read_chunks(reader, &mut request.body)?;
        } else if let Some(length) = request.header("content-length") {
            let length = length.parse().map_err(io::Error::other)?;
            request.body.resize(length, 0);
            reader.read_exact(&mut request.body)?;
        }
        Ok(Some(request))
    }
}

fn read_chunks(reader: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let size = usize::from_str_radix(line(reader)?.trim(), 16).map_err(io::Error::other)?;
        reader.by_ref().take(size as u64).read_to_end(body)?;
        line(reader)?;
        if size == 0 {
            return Ok(());
        }
    }
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    line.truncate(line.trim_end().len());
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_and_lengths_are_bodies() {
        let text = "PUT /a?digest=b&c=d HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n\
                    POST /x HTTP/1.1\r\nContent-Length: 1\r\n\r\nz";
        let mut reader = text.as_bytes();
        let first = Request::read(&mut reader).expect("whole").expect("there");
        assert_eq!((first.line().as_str(), first.text().as_str()), ("PUT /a?digest=b&c=d", "ab"));
        assert_eq!(first.query("c").as_deref(), Some("d"));
        let second = Request::read(&mut reader).expect("whole").expect("there");
        assert_eq!(second.text(), "z");
        assert!(Request::read(&mut reader).expect("the end").is_none());
    }
}
