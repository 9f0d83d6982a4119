//! What can go wrong in a database, as far as a job must tell apart.
//!
//! Owns the kinds a caller acts on (they become exit codes) and the one error type drivers return. Promises that every
//! error names the object it concerns and carries advice where there is any. Refuses secrets: drivers never put a URL
//! with a password or a row's content into an error.

use std::fmt;

/// What kind of trouble it is; decides the exit code and whether a retry is worth it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The server could not be reached, went away, or is short of something for now.
    Unavailable,
    /// A permission or a guard said no.
    Refused,
    /// Configuration, tools or versions are wrong.
    Config,
    /// The database holds something this version cannot back up or restore; nothing is dropped silently.
    Unsupported,
    /// What was asked for is not there.
    NotFound,
    /// Something is there that would be overwritten.
    Exists,
    /// Data is wrong: a proof failed, a row was refused, a count differs.
    Data,
    /// The database changed underneath in a way that the snapshot does not cover; a new run may succeed.
    Changed,
    /// Stopped on request.
    Interrupted,
    /// A bug.
    Internal,
}

/// An error of a source or a target.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    /// What kind of trouble it is.
    pub kind: Kind,
    /// What happened, to what.
    pub what: String,
    /// What to do next.
    pub hint: Option<String>,
    /// What caused it.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of a kind, saying what happened to what.
    pub fn new(kind: Kind, what: impl fmt::Display) -> Self {
        Self { kind, what: what.to_string(), hint: None, source: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }

    /// Adds what caused it.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}
