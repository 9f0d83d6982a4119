//! Names and identifiers, one type each.
//!
//! Owns parsing and printing of hashes, chunk ids, session and backup ids, and source names. Promises that a value of
//! these types is well formed, so that keys can be built from it without checks. Refuses to generate anything from a clock
//! of its own: times are passed in.

use crate::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;
use ulid::Ulid;

/// A SHA-256, printed as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// SHA-256 of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut bytes = [0; 32];
        // One spelling per hash: keys are compared as text.
        let lower = !text.bytes().any(|c| c.is_ascii_uppercase());
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) if lower => Ok(Self(bytes)),
            _ => Err(Error::Name { what: format!("{text:?} is not a SHA-256 in lower-case hex") }),
        }
    }
}

/// Identity of a chunk or a list by content: SHA-256 of the plaintext (an HMAC under the repository's id key where the
/// repository is encrypted).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChunkId(pub Hash);

impl ChunkId {
    /// The id of some plaintext in an unencrypted repository.
    #[must_use]
    pub fn of(plain: &[u8]) -> Self {
        Self(Hash::of(plain))
    }

    /// The same, of content in several parts.
    #[must_use]
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hasher = Sha256::new();
        parts.iter().for_each(|part| hasher.update(part));
        Self(Hash(hasher.finalize().into()))
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

macro_rules! ulid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Ulid);

        impl $name {
            /// A new id for a moment, with fresh randomness.
            #[must_use]
            pub fn at(time: SystemTime) -> Self {
                Self(Ulid::from_datetime(time))
            }

            /// The moment in milliseconds since 1970, UTC.
            #[must_use]
            pub fn milliseconds(&self) -> u64 {
                self.0.timestamp_ms()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0.to_string())
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                let id = Ulid::from_string(text)
                    .map_err(|_| Error::Name { what: format!("{text:?} is not a ULID") })?;
                // One spelling per id: keys are compared as text.
                if id.to_string() == text { Ok(Self(id)) } else { Err(Error::Name { what: format!("{text:?} is not a ULID in upper case") }) }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

ulid_id!(
    /// A writer at work. Part of every key it writes, so that its uploads never meet a pending delete.
    SessionId
);
ulid_id!(
    /// One backup of one source. Later backups of a source have greater ids.
    BackupId
);

impl BackupId {
    /// The id for a new backup: the store's clock, or a millisecond after the newest when a clock has gone back. Random in either
    /// case: two writers that see the same newest one must not choose the same id, and with it the same manifest.
    #[must_use]
    pub fn after(newest: Option<Self>, now: SystemTime) -> Self {
        let fresh = Self::at(now);
        match newest {
            Some(newest) if newest >= fresh => Self(Ulid::from_parts(newest.milliseconds() + 1, fresh.0.random())),
            _ => fresh,
        }
    }
}

macro_rules! short_name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                if is_short_name(text) { Ok(Self(text.to_owned())) } else { Err(not_a_name(text, $what)) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

short_name!(
    /// The name under which backups of one database are kept: `[a-z0-9][a-z0-9._-]{0,62}`.
    SourceName, "a source's name"
);
short_name!(
    /// A word that somebody gave a backup, such as `before-2.0`; same form as a source's name.
    Tag, "a tag"
);

fn is_short_name(text: &str) -> bool {
    let first = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let rest = |c: u8| first(c) || matches!(c, b'.' | b'_' | b'-');
    let bytes = text.as_bytes();
    bytes.len() <= 63 && bytes.first().is_some_and(|c| first(*c)) && bytes.iter().all(|c| rest(*c))
}

fn not_a_name(text: &str, what: &str) -> Error {
    let form = "1 to 63 of a-z, 0-9, '.', '_', '-', beginning with a letter or digit";
    Error::Name { what: format!("{text:?} cannot be {what}: {form}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use std::time::Duration;

    #[test]
    fn backup_ids_never_go_back_when_a_clock_does() {
        let later = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000);
        let earlier = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let first = BackupId::after(None, later);
        let second = BackupId::after(Some(first), earlier);
        assert!(second > first);
        assert!(second.to_string() > first.to_string(), "keys sort as ids do");
        assert_ne!(second, BackupId::after(Some(first), earlier), "two writers chose the same id");
    }

    #[test]
    fn hashes_and_ulids_have_one_spelling() {
        let hash = "ab".repeat(32);
        assert_eq!(hash.parse::<Hash>().unwrap().to_string(), hash);
        let id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        assert_eq!(id.parse::<SessionId>().unwrap().to_string(), id);
        for bad in [hash.to_uppercase(), hash[1..].to_owned(), format!("{hash}0")] {
            assert!(bad.parse::<Hash>().is_err(), "{bad}");
        }
        assert!(id.to_lowercase().parse::<SessionId>().is_err());
    }

    #[test]
    fn source_names_are_whole_path_segments() {
        assert!("app.prod_1-x".parse::<SourceName>().is_ok());
        for bad in ["", "App", "-app", "a/b", "..", "é", &"a".repeat(64)] {
            assert!(bad.parse::<SourceName>().is_err(), "{bad:?}");
        }
    }
}
