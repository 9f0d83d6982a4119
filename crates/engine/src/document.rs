//! Documents: the parts of a catalog that are kept as bytes, such as a JSON description or the vendor's own schema archive.
//!
//! Owns their names, and how those in JSON are written and read again. Promises that one of a newer version is refused instead of half understood, and that no error repeats what stands in one: it may be the hash of a
//! password. Refuses to know what one means.

use crate::{Error, Kind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A part of the catalog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Name within the backup: lower-case letters and dots.
    pub name: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Document {
    /// The document of that name, if there is one.
    #[must_use]
    pub fn find<'a>(documents: &'a [Self], name: &str) -> Option<&'a Self> {
        documents.iter().find(|document| document.name == name)
    }

    /// One in JSON.
    ///
    /// # Errors
    /// [`Kind::Internal`] for what JSON cannot hold.
    pub fn of(name: &str, content: &impl Serialize) -> Result<Self, Error> {
        let failed = |_| Error::new(Kind::Internal, format!("{name} could not be written"));
        Ok(Self { name: name.to_owned(), bytes: serde_json::to_vec(content).map_err(failed)? })
    }
}

/// What every version of a document in JSON has.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

/// Reads a document in JSON that says its version; `what` is its name for people, in the plural or not, as in "the backup's catalog".
///
/// # Errors
/// [`Kind::Data`] when it is none; [`Kind::Config`] when its version is greater than `newest`.
pub fn read_versioned<T: DeserializeOwned>(bytes: &[u8], what: &str, newest: u32) -> Result<T, Error> {
    // The error's own text may quote a value.
    let unreadable = |e: serde_json::Error| {
        let at = format!("line {} column {}", e.line(), e.column());
        Error::new(Kind::Data, format!("{what} cannot be read, at {at}")).hint("was it written by a newer version?")
    };
    let head: Head = serde_json::from_slice(bytes).map_err(unreadable)?;
    if head.version > newest {
        let what = format!("{what}: version {} is not known here, {newest} is the newest", head.version);
        return Err(Error::new(Kind::Config, what).hint("use the version of longshore that wrote it, or a newer one"));
    }
    serde_json::from_slice(bytes).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Some {
        version: u32,
        hashes: BTreeMap<String, u32>,
    }

    #[test]
    fn a_document_comes_back_and_a_newer_one_is_refused() {
        let some = Some { version: 2, hashes: BTreeMap::new() };
        let document = Document::of("some.json", &some).unwrap();
        assert_eq!(read_versioned::<Some>(&document.bytes, "the backup's catalog", 2).unwrap(), some);
        let error = read_versioned::<Some>(&document.bytes, "the backup's catalog", 1).unwrap_err();
        assert_eq!((error.kind, error.what.contains("version 2")), (Kind::Config, true));
        // What else a newer one has is not looked at.
        let other = br#"{"version": 3, "hashes": "SCRAM"}"#;
        assert_eq!(read_versioned::<Some>(other, "x", 2).unwrap_err().kind, Kind::Config);
    }

    #[test]
    fn errors_do_not_repeat_what_stands_there() {
        let error = read_versioned::<Some>(br#"{"version": 1, "hashes": "SCRAM-SHA-256$x"}"#, "x", 2).unwrap_err();
        assert!(error.kind == Kind::Data && !format!("{error} {error:?}").contains("SCRAM"), "{error}");
    }
}
