//! Owns `Error`: what can go wrong with a store, sorted by what a caller does about it.
//!
//! Promises that every error names what was asked and where, that the cause is its `source` and never repeated in its
//! text, and that neither holds a credential or a signed header.

use crate::Key;

/// The cause below an error, as its `source`.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why a store did not do what was asked. `what` is a few words in the imperative, such as `list manifests/app/`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no object of this key. The store itself is there.
    #[error("no object {key} in {location}")]
    NotFound {
        /// The key asked for.
        key: Key,
        /// The store, for people.
        location: String,
        /// What the store said.
        source: Option<Cause>,
    },
    /// A create-only put met an object, which may be an earlier attempt of the same writer: compare the bytes.
    #[error("object {key} already exists in {location}")]
    AlreadyExists {
        /// The key that was to be created.
        key: Key,
        /// The store, for people.
        location: String,
        /// What the store said.
        source: Option<Cause>,
    },
    /// The store knows who asks (or nobody vouches for us) and says no: 401, 403, bad credentials, EACCES.
    #[error("no permission to {what} in {location}")]
    Denied {
        /// What was asked.
        what: String,
        /// The store, for people.
        location: String,
        /// What the store said.
        source: Option<Cause>,
    },
    /// The bucket or the directory is absent or gone.
    #[error("cannot {what}: there is no {location}")]
    NoPlace {
        /// What was asked.
        what: String,
        /// The store, for people.
        location: String,
        /// What the store said.
        source: Option<Cause>,
    },
    /// The disk, the quota or the server's storage is full.
    #[error("no space left to {what} in {location}")]
    Full {
        /// What was asked.
        what: String,
        /// The store, for people.
        location: String,
        /// What the store said.
        source: Option<Cause>,
    },
    /// Network trouble, a timeout, 5xx after retries, an I/O error. Asking again later may help.
    #[error("could not {what} in {location}")]
    Unavailable {
        /// What was asked.
        what: String,
        /// The store, for people.
        location: String,
        /// What the store said.
        source: Option<Cause>,
    },
    /// The object holds fewer bytes than asked for, or its body ended early each time.
    #[error("object {key} in {location} is too short: wanted {wanted} bytes, got {got}")]
    Truncated {
        /// The key asked for.
        key: Key,
        /// The store, for people.
        location: String,
        /// Bytes asked for, from the start of the range.
        wanted: u64,
        /// Bytes that were there, from the start of the range.
        got: u64,
    },
    /// The bytes that arrived do not have the checksum that was sent with them.
    #[error("checksum mismatch on object {key} in {location}")]
    Corrupt {
        /// The key asked for.
        key: Key,
        /// The store, for people.
        location: String,
        /// What the store said.
        source: Option<Cause>,
    },
    /// The store does not keep its promise to create an object only when there is none.
    #[error("{location} does not hold create-only puts: {seen}")]
    NoConditionalCreate {
        /// What was seen.
        seen: String,
        /// The store, for people.
        location: String,
        /// What the store said.
        source: Option<Cause>,
    },
    /// A setting, a URL or a key is not usable as given.
    #[error("{what}")]
    Config {
        /// What is wrong with what.
        what: String,
        /// What to write instead, when that is known.
        advice: Option<String>,
        /// The parser's or the system's own words.
        source: Option<Cause>,
    },
}

impl Error {
    /// An `Error::Config` without advice or cause.
    pub fn config(what: impl Into<String>) -> Error {
        Error::Config { what: what.into(), advice: None, source: None }
    }

    /// An `Error::Config` that says what to do instead.
    pub fn config_with_advice(what: impl Into<String>, advice: impl Into<String>) -> Error {
        Error::Config { what: what.into(), advice: Some(advice.into()), source: None }
    }

    /// Whether the same call may succeed when it is made again later, with nothing changed by a person.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Unavailable { .. })
    }

    /// What a person does next, when there is something to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::NotFound { .. } | Error::AlreadyExists { .. } => return None,
            Error::Denied { what, location, .. } if location.starts_with("s3:") && what.starts_with("delete") => {
                "deleting takes s3:DeleteObject, which only the credential for maintenance has: see `longshore doctor --print-policy \
                 maintenance`"
                    .to_owned()
            }
            Error::Denied { location, .. } if location.starts_with("s3:") => {
                "check the access key, its policy on the bucket and prefix (s3:PutObject, s3:GetObject, s3:ListBucket), \
                 and this machine's clock"
                    .to_owned()
            }
            Error::Denied { location, .. } => {
                format!("check who owns {location}, its mode, and whether it is mounted read-only")
            }
            Error::NoPlace { location, .. } if location.starts_with("s3:") => {
                "create the bucket, or correct its name, region and endpoint in the repository URL".to_owned()
            }
            Error::NoPlace { location, .. } => format!(
                "mount or create {location}, or correct the repository URL; only the last folder of a path is made, so that a \
                 missing mount is not taken for an empty repository"
            ),
            Error::Full { location, .. } => format!("free or add space at {location}, then run again"),
            Error::Unavailable { location, .. } if location.contains("=https:") => {
                format!("check that {location} can be reached and is healthy, and that its certificate is signed by a CA \
                         of this machine or of ca=… in the repository URL; then run again")
            }
            Error::Unavailable { location, .. } => {
                format!("check that {location} can be reached and is healthy, then run again")
            }
            Error::Truncated { .. } | Error::Corrupt { .. } => {
                "run verify: it names every damaged object, and the next backup stores it again".to_owned()
            }
            Error::NoConditionalCreate { .. } => {
                "use a store that honours `If-None-Match: *` on PutObject (AWS S3, a recent MinIO), or a local file system"
                    .to_owned()
            }
            Error::Config { advice, .. } => return advice.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::error::Error as _;

    use super::*;

    #[test]
    fn the_text_leaves_its_cause_to_the_chain() {
        let error = Error::Unavailable {
            what: "list chunks/".into(),
            location: "s3://b".into(),
            source: Some("connection reset".into()),
        };
        assert_eq!(error.to_string(), "could not list chunks/ in s3://b");
        assert_eq!(error.source().unwrap().to_string(), "connection reset");
        assert!(error.is_retryable());
        assert!(error.hint().unwrap().contains("s3://b"));
    }

    #[test]
    fn only_unavailable_is_retryable() {
        let key = Key::parse("k").unwrap();
        let short = Error::Truncated { key: key.clone(), location: "memory".into(), wanted: 9, got: 3 };
        assert_eq!(short.to_string(), "object k in memory is too short: wanted 9 bytes, got 3");
        assert!(!short.is_retryable());
        assert!(!Error::NotFound { key, location: "memory".into(), source: None }.is_retryable());
        assert_eq!(Error::config_with_advice("no", "do this").hint().unwrap(), "do this");
    }
}
