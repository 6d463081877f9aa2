//! Base64 as Go's `encoding/base64` reads and writes it: the alphabets of files and of headers.

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Encodes with `+` and `/`, padded.
pub fn encode(bytes: &[u8]) -> String {
    write(bytes, STANDARD)
}

/// Encodes with `-` and `_`, padded.
pub fn encode_url(bytes: &[u8]) -> String {
    write(bytes, URL)
}

fn write(bytes: &[u8], alphabet: &[u8; 64]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            if at > three.len() {
                out.push('=');
            } else {
                let index = (bits >> (18 - 6 * at)) & 63;
                out.push(char::from(alphabet[index as usize]));
            }
        }
    }
    out
}

/// Decodes padded standard base64; line ends are passed over.
///
/// # Errors
///
/// Where the text is wrong, in Go's words.
pub fn decode(text: &str) -> Result<Vec<u8>, String> {
    let all: Vec<(usize, u8)> = text
        .bytes()
        .enumerate()
        .filter(|(_, byte)| !matches!(byte, b'\r' | b'\n'))
        .collect();
    let wrong = |at: usize| format!("illegal base64 data at input byte {at}");
    let mut out = Vec::with_capacity(all.len() / 4 * 3);
    let mut quads = all.chunks(4).peekable();
    while let Some(quad) = quads.next() {
        let mut bits = 0;
        let mut digits = 0;
        for (index, (at, byte)) in quad.iter().enumerate() {
            if let Some(digit) = STANDARD.iter().position(|c| c == byte) {
                bits = bits << 6 | digit;
                digits += 1;
                continue;
            }
            // Padding ends the text: `x===` and `=` elsewhere are no base64.
            let ends = match (*byte, index) {
                (b'=', 2) => match quad.get(3) {
                    None => return Err(wrong(text.len())),
                    Some((_, b'=')) => true,
                    Some((next, _)) => return Err(wrong(*next)),
                },
                (b'=', 3) => true,
                _ => false,
            };
            if !ends {
                return Err(wrong(*at));
            }
            if let Some(more) = quads.peek() {
                return Err(wrong(more[0].0));
            }
            break;
        }
        if quad.len() < 4 {
            return Err(wrong(quad[0].0));
        }
        let bits = bits << (6 * (4 - digits));
        let three = [bits >> 16, bits >> 8, bits].map(|b| u8::try_from(b & 255).unwrap_or(0));
        out.extend(&three[..digits - 1]);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("user:pass", "dXNlcjpwYXNz"),
        ] {
            assert_eq!(encode(plain.as_bytes()), coded);
            assert_eq!(decode(coded).unwrap(), plain.as_bytes());
        }
        assert_eq!(encode(&[0xfb, 0xff]), "+/8=");
        assert_eq!(encode_url(&[0xfb, 0xff]), "-_8=");
        assert_eq!(decode("Zm\n9v\n").unwrap(), b"foo");
    }

    #[test]
    fn errors_name_the_place() {
        for (text, at) in [
            ("!!", 0),
            ("YWJjOmQ", 4),
            ("YWJj*", 4),
            ("Zg=x", 3),
            ("Zg=", 3),
            ("Zg==Zg==", 4),
            ("Z===", 1),
        ] {
            assert_eq!(
                decode(text).unwrap_err(),
                format!("illegal base64 data at input byte {at}"),
                "{text}"
            );
        }
    }
}
