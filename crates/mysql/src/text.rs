//! Statements as bytes: what a server said in a character set of an object's own.
//!
//! Owns how such bytes stand in a JSON document: as text where they are UTF-8, in hexadecimal where they are not. Promises that they come back as they were.

use engine::{Error, Kind};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The bytes of a statement, in the character set that goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Text(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Hex { hex: String },
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = match std::str::from_utf8(&self.0) {
            Ok(text) => Written::Text(text.to_owned()),
            Err(_) => Written::Hex { hex: crate::quote::hex(&self.0) },
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Text(text) => Ok(Self(text.into_bytes())),
            Written::Hex { hex } => unhex(&hex).map(Self).map_err(serde::de::Error::custom),
        }
    }
}

fn unhex(text: &str) -> Result<Vec<u8>, Error> {
    let wrong = || Error::new(Kind::Data, "a statement of the backup is not written as statements are");
    let digits = text.strip_prefix("0x").ok_or_else(wrong)?.as_bytes();
    let digit = |c: u8| char::from(c).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? * 16 + digit(*low)?),
        _ => None,
    };
    digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>().ok_or_else(wrong)
}

impl Text {
    /// As UTF-8, with what is not replaced: for looking at, not for running.
    pub fn shown(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn bytes_of_any_kind_come_back() {
        for bytes in [&b"CREATE VIEW v"[..], "\u{1F600}".as_bytes(), b"caf\xe9", b""] {
            let text = Text(bytes.to_vec());
            let json = serde_json::to_string(&text).unwrap();
            assert_eq!(serde_json::from_str::<Text>(&json).unwrap(), text);
        }
        assert!(serde_json::from_str::<Text>("{\"hex\":\"0x1\"}").is_err());
    }
}
