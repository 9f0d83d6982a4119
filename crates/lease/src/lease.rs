//! A place where leases are had.
//!
//! Owns asking: once whether the place is safe, then for leases, again when an answer is lost. Promises that a lease which comes back is
//! held with time left, and that the waits for one are bounded. Refuses to wait for another run's end: whoever is refused
//! decides what to do.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;

use crate::backend::{Answer, Backend};
use crate::claim::Claim;
use crate::{Clock, Error, Held, SystemClock, Terms};

/// Claims made when the server does not answer, the first included. They carry one run's id, so a grant whose answer was lost is found.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// The longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(15);

/// A place where leases are had. Clones share what they know of it.
#[derive(Debug, Clone)]
pub struct Lease {
    backend: Arc<dyn Backend>,
    clock: Arc<dyn Clock>,
    terms: Terms,
    notes: Arc<OnceCell<Vec<String>>>,
}

impl Lease {
    /// Leases of a backend, by the machine's clock.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, terms: Terms) -> Lease {
        Lease::with_clock(backend, terms, Arc::new(SystemClock))
    }

    /// The same by another clock.
    #[must_use]
    pub fn with_clock(backend: Arc<dyn Backend>, terms: Terms, clock: Arc<dyn Clock>) -> Lease {
        Lease { backend, clock, terms, notes: Arc::default() }
    }

    /// Where this is, for people. Holds no secret.
    #[must_use]
    pub fn location(&self) -> &str {
        self.backend.location()
    }

    /// Looks, once, whether leases are safe there. Returns what an operator should know.
    ///
    /// # Errors
    /// [`Error::Config`] with what is unsafe; `Denied`, `Unavailable`.
    pub async fn examine(&self) -> Result<&[String], Error> {
        self.notes.get_or_try_init(|| self.backend.examine()).await.map(Vec::as_slice)
    }

    /// Acquires a job's lease for a run.
    ///
    /// # Errors
    /// [`Error::Busy`] with who holds it; `Unavailable` when the server does not answer, after three tries of at most 15 s (or a quarter
    /// of the TTL) each; `Denied`, `Config`. Nothing may be done after any of them.
    pub async fn acquire(&self, claim: &Claim) -> Result<Held, Error> {
        self.examine().await?;
        let mut tries = 1;
        loop {
            match self.ask(claim).await {
                Err(error) if error.is_retryable() && tries < TRIES => {
                    tracing::debug!(%error, tries, "asking for the lease again");
                    tries += 1;
                    self.clock.sleep(PAUSE).await;
                }
                other => return other,
            }
        }
    }

    async fn ask(&self, claim: &Claim) -> Result<Held, Error> {
        let sent = self.clock.now();
        let patience = PATIENCE.min(self.terms.ttl() / 4);
        let answer = tokio::select! {
            biased;
            answer = self.backend.acquire(claim, self.terms) => answer?,
            () = self.clock.sleep(patience) => {
                let what = format!("acquire the lease of {}", claim.job);
                return Err(Error::unavailable(what, self.location(), format!("no answer within {patience:?}")));
            }
        };
        match answer {
            Answer::Granted(grant) => {
                let clock = Arc::clone(&self.clock);
                let held = Held::start(grant, claim, self.location(), self.terms, sent, clock);
                // The answer may have come when its time was over.
                held.assert_held()?;
                Ok(held)
            }
            Answer::Busy(busy) => Err(Error::Busy(busy)),
        }
    }
}
