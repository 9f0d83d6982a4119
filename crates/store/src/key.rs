//! Owns the names of objects: `Key` and `Prefix`, parsed once at the edge.
//!
//! Promises that a parsed key means the same object in every store: it is safe as an S3 key, as a path below a directory
//! and inside a log line. Refuses everything a file system or a proxy might rewrite: empty segments, `.` and `..`, other
//! characters than letters, digits, `.`, `_`, `-`, segments longer than a file name may be, and the first segment `tmp`,
//! which the directory store keeps for files that are not objects yet.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Error;

/// The longest key, in bytes: what S3 allows.
pub const MAX_KEY_BYTES: usize = 1024;
/// The longest segment of a key, in bytes: what common file systems allow as a name.
pub const MAX_SEGMENT_BYTES: usize = 255;
/// The first segment that no key may have.
pub(crate) const RESERVED: &str = "tmp";

/// The name of one object, relative to its store: segments of `[A-Za-z0-9._-]+` joined by `/`, 1 to 1024 bytes.
///
/// Keys order by their bytes, as `Store::list` returns them. A clone costs no allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(Arc<str>);

/// The beginning of keys: `""`, or whole segments each followed by `/`. So `app/` never matches `app2/…`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(Arc<str>);

impl Key {
    /// Parses a key.
    ///
    /// # Errors
    /// `Error::Config` naming the rule that the text breaks.
    pub fn parse(text: &str) -> Result<Key, Error> {
        if text.len() > MAX_KEY_BYTES {
            return Err(Error::config(format!("a key of {} bytes is longer than {MAX_KEY_BYTES}", text.len())));
        }
        check_segments("key", text, text)?;
        Ok(Key(text.into()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Prefix {
    /// The prefix of every key.
    #[must_use]
    pub fn all() -> Prefix {
        Prefix("".into())
    }

    /// Parses a prefix: `""` or segments each ending in `/`, such as `manifests/app/`.
    ///
    /// # Errors
    /// `Error::Config` naming the rule that the text breaks.
    pub fn parse(text: &str) -> Result<Prefix, Error> {
        if text.is_empty() {
            return Ok(Prefix::all());
        }
        let Some(segments) = text.strip_suffix('/') else {
            return Err(Error::config(format!("prefix {text:?} does not end in '/'")));
        };
        if text.len() >= MAX_KEY_BYTES {
            return Err(Error::config(format!("a prefix of {} bytes leaves no room for a key", text.len())));
        }
        check_segments("prefix", text, segments)?;
        Ok(Prefix(text.into()))
    }

    /// The prefix as text, `""` or ending in `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the key lies under this prefix.
    #[must_use]
    pub fn contains(&self, key: &Key) -> bool {
        key.as_str().starts_with(self.as_str())
    }
}

/// One segment of a key, without the rule about the first one.
pub(crate) fn is_segment(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    !text.is_empty() && text.len() <= MAX_SEGMENT_BYTES && text != "." && text != ".." && text.bytes().all(allowed)
}

fn check_segments(kind: &str, whole: &str, segments: &str) -> Result<(), Error> {
    let mut parts = segments.split('/');
    if segments.split('/').next() == Some(RESERVED) {
        return Err(Error::config(format!(
            "{kind} {whole:?} begins with '{RESERVED}', which stores keep for themselves"
        )));
    }
    match parts.find(|part| !is_segment(part)) {
        None => Ok(()),
        Some("") => Err(Error::config(format!("{kind} {whole:?} has an empty segment"))),
        Some(part) => Err(Error::config(format!(
            "{kind} {whole:?} has the segment {part:?}; allowed are 1 to {MAX_SEGMENT_BYTES} of A-Z a-z 0-9 . _ - \
             but neither '.' nor '..'"
        ))),
    }
}

macro_rules! text_like {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), &self.0)
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                $name::parse(text)
            }
        }
    };
}

text_like!(Key);
text_like!(Prefix);

impl TryFrom<String> for Key {
    type Error = Error;
    fn try_from(text: String) -> Result<Key, Error> {
        Key::parse(&text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn keys_are_whole_plain_segments() {
        let longest_segment = "s".repeat(255);
        let longest = [longest_segment.as_str(); 4].join("/") + "x";
        for good in ["a", "repository.json", "chunks/0f/abc-DEF_1.2", "...", "a/tmp/b", &longest] {
            assert_eq!(Key::parse(good.trim_end_matches('x')).unwrap().as_str(), good.trim_end_matches('x'));
        }
        let too_long = ["s".repeat(250).as_str(); 5].join("/");
        for bad in [
            "", "/", "/a", "a/", "a//b", ".", "a/..", "./a", "a b", "a\\b", "ä", "a\0", "tmp", "tmp/a", "a%2fb",
            &too_long,
        ] {
            assert!(matches!(Key::parse(bad), Err(Error::Config { .. })), "{bad:?} must be refused");
        }
        assert!(Key::parse(&"s".repeat(256)).is_err());
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        let app = Prefix::parse("manifests/app/").unwrap();
        assert!(app.contains(&Key::parse("manifests/app/1").unwrap()));
        assert!(!app.contains(&Key::parse("manifests/app2/1").unwrap()));
        assert!(Prefix::all().contains(&Key::parse("x").unwrap()));
        assert_eq!(Prefix::parse("").unwrap(), Prefix::all());
        for bad in ["app", "/", "a//", "../", "tmp/"] {
            assert!(matches!(Prefix::parse(bad), Err(Error::Config { .. })), "{bad:?} must be refused");
        }
    }

    #[test]
    fn a_key_read_from_json_is_checked() {
        assert_eq!(serde_json::from_str::<Key>("\"a/b\"").unwrap().as_str(), "a/b");
        assert_eq!(serde_json::to_string(&Key::parse("a/b").unwrap()).unwrap(), "\"a/b\"");
        assert!(serde_json::from_str::<Key>("\"../etc\"").is_err());
    }
}
