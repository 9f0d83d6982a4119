//! Leases as advisory locks of a PostgreSQL database.
//!
//! Owns the number that stands for a job and the session's name, by which others know the holder. Promises that the lease ends with
//! the session, and that each renewal looks whether the session still has the lock. All that share a job must name the same
//! database: a lock of another one is another lock. Refuses poolers and standbys. A failover forgets every lock.

use std::time::Duration;

use async_trait::async_trait;
use engine::Kind;
use jiff::Timestamp;
use postgres::{AdvisoryHolder, AdvisorySession, Endpoint, examine_advisory};
use sha2::{Digest, Sha256};

use crate::backend::{Answer, Backend, Grant, Refusal};
use crate::claim::{Busy, Claim, Epoch, Holder, Job, plain};
use crate::{Error, Terms};

/// What a session's name begins with; then come the run and the holder's name, as far as there is room.
const NAME: &str = "longshore ";
/// Tries to take the lock after an earlier session of this run was ended, or when its holder has just gone.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// A database whose advisory locks are leases.
#[derive(Debug, Clone)]
pub struct Postgres {
    endpoint: Endpoint,
    location: String,
}

impl Postgres {
    /// Parses `postgresql://user@host:port/database?sslmode=…&sslrootcert=…`. `password` overrides the URL's. Talks to nobody.
    ///
    /// # Errors
    /// [`Error::Config`] naming what is wrong, never repeating the URL.
    pub fn parse(url: &str, password: Option<&str>) -> Result<Postgres, Error> {
        let endpoint = Endpoint::parse(url, password).map_err(|error| failed("", error))?;
        let location = format!("postgresql://{}/{}", endpoint.server(), endpoint.database());
        Ok(Postgres { endpoint, location })
    }

    async fn busy(&self, session: &AdvisorySession, claim: &Claim) -> Result<Option<Busy>, Error> {
        let Some(seen) = session.holder().await.map_err(|error| failed(&self.location, error))? else {
            return Ok(None);
        };
        let holder = read_name(&seen);
        if holder.as_ref().is_some_and(|holder| holder.run == claim.run) {
            session.end(&seen).await.map_err(|error| failed(&self.location, error))?;
            return Ok(None);
        }
        Ok(Some(Busy { job: claim.job.clone(), holder, until: None }))
    }
}

/// What the driver's error means here.
fn failed(location: &str, error: engine::Error) -> Error {
    let location = location.to_owned();
    match error.kind {
        Kind::Unavailable => Error::unavailable("reach the lease's server", &location, error),
        Kind::Refused => Error::Denied { what: "use advisory locks".to_owned(), location, source: Some(error.into()) },
        _ => Error::Config { what: error.what.clone(), advice: error.hint.clone(), source: error.source },
    }
}

/// The number that stands for a job, which other programs' locks do not have but by a chance of one in 2⁶⁴.
fn number(job: &Job) -> i64 {
    let hash = Sha256::digest(format!("longshore lease {job}").as_bytes());
    hash.iter().take(8).fold(0, |number: i64, byte| (number << 8) | i64::from(*byte))
}

fn name(claim: &Claim) -> String {
    let words = [claim.name.as_deref(), Some(claim.host.as_str())];
    let words: Vec<_> = words.into_iter().flatten().collect();
    format!("{NAME}{} {}", claim.run, words.join("@"))
}

/// The holder that a session's name tells; `None` when it is not one of ours.
fn read_name(seen: &AdvisoryHolder) -> Option<Holder> {
    let rest = seen.name.strip_prefix(NAME)?;
    let (run, words) = rest.split_once(' ').unwrap_or((rest, ""));
    let since = seen.since.and_then(|second| Timestamp::from_second(second).ok());
    let name = Some(plain(words)).filter(|words| !words.is_empty());
    Some(Holder { run: run.parse().ok()?, name, host: None, since })
}

#[async_trait]
impl Backend for Postgres {
    fn location(&self) -> &str {
        &self.location
    }

    async fn examine(&self) -> Result<Vec<String>, Error> {
        examine_advisory(&self.endpoint).await.map_err(|error| failed(&self.location, error))?;
        Ok(Vec::new())
    }

    async fn acquire(&self, claim: &Claim, terms: Terms) -> Result<Answer, Error> {
        let failed = |error| failed(&self.location, error);
        let (number, name) = (number(&claim.job), name(claim));
        let connecting = AdvisorySession::connect(&self.endpoint, number, &name, terms.ttl());
        let session = connecting.await.map_err(failed)?;
        for _ in 0..TRIES {
            if let Some(count) = session.try_lock().await.map_err(failed)? {
                let (location, job) = (self.location.clone(), claim.job.clone());
                return Ok(Answer::Granted(Box::new(Granted {
                    session: Some(session),
                    location,
                    job,
                    epoch: Epoch(count),
                })));
            }
            if let Some(busy) = self.busy(&session, claim).await? {
                return Ok(Answer::Busy(Box::new(busy)));
            }
            tokio::time::sleep(PAUSE).await;
        }
        // Held, by a session that does not show among the others.
        Ok(Answer::Busy(Box::new(Busy { job: claim.job.clone(), holder: None, until: None })))
    }
}

#[derive(Debug)]
struct Granted {
    /// `None` once it is released: the session's end releases, too.
    session: Option<AdvisorySession>,
    location: String,
    job: Job,
    epoch: Epoch,
}

impl Granted {
    async fn failed(&self, session: &AdvisorySession, error: engine::Error) -> Refusal {
        // The connection's own task may learn of the end a moment after the query.
        for _ in 0..ENDING {
            if session.has_ended() {
                return Refusal::Lost(format!("the session that held it has ended: {error}"));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Refusal::Failed(failed(&self.location, error))
    }
}

/// Looks at a session whose query has failed.
const ENDING: u32 = 5;
/// How often a session is looked at between two renewals. It costs nothing: nothing is sent.
const LOOK_EVERY: Duration = Duration::from_secs(1);

#[async_trait]
impl Grant for Granted {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    async fn renew(&mut self) -> Result<(), Refusal> {
        let Some(session) = &self.session else { return Err(Refusal::Lost("it was released".to_owned())) };
        match session.holds().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::Lost("the session that answers does not hold it".to_owned())),
            Err(error) => Err(self.failed(session, error).await),
        }
    }

    async fn release(&mut self) -> Result<(), Refusal> {
        let Some(session) = self.session.take() else { return Err(Refusal::Lost("it was released".to_owned())) };
        match session.unlock().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::Lost(format!("the session did not hold the lock of {}", self.job))),
            Err(error) => Err(self.failed(&session, error).await),
        }
    }

    async fn ended(&mut self) -> String {
        while !self.session.as_ref().is_some_and(AdvisorySession::has_ended) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        "the session that held it has ended".to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::RunId;

    #[test]
    fn a_holder_is_known_by_its_sessions_name() {
        let mut claim = Claim::new(Job::parse("fragments").unwrap(), RunId::generate()).named("nightly");
        claim.host = "pod-7".to_owned();
        let seen = |name: String| AdvisoryHolder { pid: 1, name, since: Some(0) };
        let holder = read_name(&seen(name(&claim))).unwrap();
        assert_eq!(
            (holder.run, holder.name.as_deref(), holder.since),
            (claim.run, Some("nightly@pod-7"), Some(Timestamp::UNIX_EPOCH))
        );
        assert_eq!(read_name(&seen("psql".to_owned())), None);
    }

    #[test]
    fn a_password_is_not_shown() {
        let postgres = Postgres::parse("postgres://me:hunter2@h/d", None).unwrap();
        assert!(!format!("{postgres:?}").contains("hunter2"));
        assert_eq!(postgres.location(), "postgresql://h:5432/d");
        let error = Postgres::parse("postgres://me:hunter2@h", None).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
