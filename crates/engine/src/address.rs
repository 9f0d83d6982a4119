//! Parts of a database's URL: what every driver reads and writes alike.
//!
//! Owns percent-encoding as database URLs have it. Promises that what [`encode`] writes [`decode`] reads, and that a half-written escape is an error and
//! not a guess. Refuses to repeat the text in an error: it may be a password.

/// The text that a part of a URL stands for.
///
/// # Errors
/// What is wrong, without the text: an escape without two hex digits, or bytes that are not UTF-8.
pub fn decode(text: &str) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |c: Option<u8>| c.and_then(|c| char::from(c).to_digit(16));
        match (digit(bytes.next()), digit(bytes.next())) {
            (Some(high), Some(low)) => out.push(u8::try_from(high * 16 + low).unwrap_or(b'?')),
            _ => return Err("the URL has a % that is not followed by two hex digits".to_owned()),
        }
    }
    String::from_utf8(out).map_err(|_| "the URL is not UTF-8".to_owned())
}

/// The text as a part of a URL: everything but unreserved characters escaped
/// (<https://www.rfc-editor.org/rfc/rfc3986#section-2.3>).
#[must_use]
pub fn encode(text: &str) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"-._~".contains(&c);
    text.bytes().map(|c| if plain(c) { char::from(c).to_string() } else { format!("%{c:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_comes_back_and_half_an_escape_is_an_error() {
        for text in ["", "plain", "a b/c:d@e%f?g#h", "\u{1F600}\u{e9}\n"] {
            assert_eq!(decode(&encode(text)).as_deref(), Ok(text));
        }
        for wrong in ["secret%", "secret%1", "secret%zz", "secret%e9"] {
            assert!(decode(wrong).is_err_and(|said| !said.contains("secret")), "{wrong}");
        }
    }
}
