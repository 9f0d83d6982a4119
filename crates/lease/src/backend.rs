//! The contract between a lease and the server that keeps it.
//!
//! Owns what a backend implements: ask, renew, give back. Promises nothing about time; that is `held`'s. A backend does one
//! exchange per call, without retries that could outlast a lease, and never says that it granted what it did not.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::claim::{Busy, Claim, Epoch};
use crate::{Error, Terms};

/// A server that keeps leases. `conformance::suite` checks what can be checked from one process:
///
/// - Of several runs that ask for one job, one is granted it; others learn who.
/// - The run that was granted a lease and asks again, because it never saw the answer, is granted it again.
/// - A grant's epoch is greater than those of all grants before it, released ones too.
/// - Nobody else's lease is renewed or released, nor one's own that has ended.
/// - Dropping a future abandons the wait, not necessarily the request.
#[async_trait]
pub trait Backend: Debug + Send + Sync + 'static {
    /// Where this is, for people. Holds no secret.
    fn location(&self) -> &str;

    /// Looks whether leases are safe there, before the first one. Returns what an operator should know.
    ///
    /// # Errors
    /// [`Error::Config`] with what is unsafe; `Denied`, `Unavailable`.
    async fn examine(&self) -> Result<Vec<String>, Error>;

    /// Asks for a lease.
    ///
    /// # Errors
    /// `Unavailable`, after which the lease may have been granted: the same run may ask again. `Denied`, `Config`.
    async fn acquire(&self, claim: &Claim, terms: Terms) -> Result<Answer, Error>;
}

/// What a server says to a claim.
#[derive(Debug)]
pub enum Answer {
    /// The lease is the run's.
    Granted(Box<dyn Grant>),
    /// It is another's.
    Busy(Box<Busy>),
}

/// How long a grant lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasts {
    /// Until the TTL after the last renewal that the server saw.
    UntilItExpires,
    /// As long as the process holds on to it: nothing expires.
    WithTheProcess,
}

/// A lease that a server gave to one run. Dropping it is what the process's death would be: nothing is sent, a session or a
/// file that is the lease ends, a lease with a TTL runs out.
#[async_trait]
pub trait Grant: Debug + Send + 'static {
    /// Its number.
    fn epoch(&self) -> Epoch;

    /// How long it lasts.
    fn lasts(&self) -> Lasts {
        Lasts::UntilItExpires
    }

    /// Asks for another TTL.
    ///
    /// # Errors
    /// [`Refusal::Lost`] when the lease is not this run's any more; else what stood in the way, after which it may have been
    /// renewed or not.
    async fn renew(&mut self) -> Result<(), Refusal>;

    /// Gives it back. Nothing happens to a lease that is another's by now.
    ///
    /// # Errors
    /// As `renew`.
    async fn release(&mut self) -> Result<(), Refusal>;

    /// Returns when the lease is known to have ended, with what was seen. Most servers do not tell: then never.
    async fn ended(&mut self) -> String {
        std::future::pending().await
    }
}

/// Why a renewal or a release was not done.
#[derive(Debug)]
pub enum Refusal {
    /// It is not this run's any more, with what was seen.
    Lost(String),
    /// It could not be done, or is not known to be.
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Failed(error)
    }
}
