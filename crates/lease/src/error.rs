//! What can go wrong with a lease, sorted by what a caller does about it.
//!
//! Owns the variants that a job turns into exit codes (busy 75, unavailable 69, lost 74, denied 77, config 78). Promises that each
//! says what happened to what and, in `hint`, what to do next, and that none holds a password or a URL that may have one.

use crate::claim::{Busy, Epoch, Job};

/// The cause below an error, as its `source`.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Why there is no lease, or none any more.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another run has it. Nothing was done.
    #[error("{0}")]
    Busy(Box<Busy>),
    /// The lease's server could not be asked, or did not answer in time. Nothing may be done without a lease.
    #[error("could not {what} at {location}")]
    Unavailable {
        /// What was asked, in the imperative.
        what: String,
        /// The lease's server, for people.
        location: String,
        /// What it said.
        source: Option<Cause>,
    },
    /// It was held and is not any more: another run may be at work.
    #[error("{0}")]
    Lost(Lost),
    /// The server knows who asks and says no.
    #[error("no permission to {what} at {location}")]
    Denied {
        /// What was asked, in the imperative.
        what: String,
        /// The lease's server, for people.
        location: String,
        /// What it said.
        source: Option<Cause>,
    },
    /// The URL, the server's settings or something in front of it make leases unsafe there.
    #[error("{what}")]
    Config {
        /// What is wrong with what.
        what: String,
        /// What to do instead.
        advice: Option<String>,
        /// The parser's or the server's own words.
        source: Option<Cause>,
    },
}

/// How a lease was lost. It can be told to everybody who works under it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the lease of {job} (epoch {epoch}, at {location}) is lost: {why}")]
pub struct Lost {
    /// What was held.
    pub job: Job,
    /// The grant's number.
    pub epoch: Epoch,
    /// The lease's server, for people.
    pub location: String,
    /// What was seen.
    pub why: String,
}

impl Error {
    pub(crate) fn config(what: impl Into<String>) -> Error {
        Error::Config { what: what.into(), advice: None, source: None }
    }

    /// Adds advice, where the variant has room for it.
    pub(crate) fn advise(mut self, text: impl Into<String>) -> Error {
        if let Error::Config { advice, .. } = &mut self {
            *advice = Some(text.into());
        }
        self
    }

    pub(crate) fn unavailable(what: impl Into<String>, location: &str, source: impl Into<Cause>) -> Error {
        Error::Unavailable { what: what.into(), location: location.to_owned(), source: Some(source.into()) }
    }

    /// Whether the same call may succeed at once, with nothing changed by anybody.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Unavailable { .. })
    }

    /// What a person does next.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Error::Busy(busy) if busy.until.is_some() => {
                "wait until that run has ended, then start again; a run that died keeps its lease until the time named".to_owned()
            }
            Error::Busy(_) => "wait until that run has ended, then start again".to_owned(),
            Error::Unavailable { location, .. } => format!(
                "is {location} up and reachable from here? Nothing was started; start again when it answers (a grant whose answer \
                 was lost ends by itself)"
            ),
            Error::Lost(_) => {
                "another run may have begun meanwhile, so this one stopped and published nothing; start again when no other runs"
                    .to_owned()
            }
            Error::Denied { location, .. } => format!("check the user, its password and its rights at {location}"),
            Error::Config { advice, .. } => return advice.clone(),
        })
    }
}
