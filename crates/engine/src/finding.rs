//! What a driver finds when it is asked how a database is doing.
//!
//! Owns the one type. Promises that a finding names what was looked at and what was found, and says what to do when
//! something is to be done. Refuses secrets, as errors do.

use crate::Error;

/// One thing that was looked at.
#[derive(Debug)]
pub struct Finding {
    /// What was looked at, in a word or two.
    pub what: &'static str,
    /// How it is.
    pub health: Health,
}

/// How something is.
#[derive(Debug)]
pub enum Health {
    /// As it should be; what was found.
    Good(String),
    /// Works, and may not tomorrow: what was found, and what to do.
    Warning(String, String),
    /// A job would fail with this.
    Bad(Error),
}

impl Finding {
    /// It is as it should be.
    pub fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, health: Health::Good(found.into()) }
    }

    /// It works, and there is something to do.
    pub fn warning(what: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { what, health: Health::Warning(found.into(), advice.into()) }
    }

    /// A job would fail.
    pub fn bad(what: &'static str, error: Error) -> Self {
        Self { what, health: Health::Bad(error) }
    }

    /// Good with this text, or bad with the error.
    pub fn of(what: &'static str, result: Result<(), Error>, found: impl Into<String>) -> Self {
        match result {
            Ok(()) => Self::good(what, found),
            Err(error) => Self::bad(what, error),
        }
    }
}
