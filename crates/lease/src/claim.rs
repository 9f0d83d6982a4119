//! Who asks for what: the job, the run, the holder as others see it, and the epoch that a grant carries.
//!
//! Owns these words and their forms. Promises that a job's name is safe as a key, a file name and a log line, and that a holder's
//! words, which others wrote, show no control characters. Refuses to hold secrets: everything here is shown to everybody.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::Error;

/// The longest name of a job, in bytes: with what backends add it stays a file's name and a key's segment.
pub const MAX_JOB_BYTES: usize = 100;
/// What is kept and shown of a holder's words, in characters.
const MAX_WORDS: usize = 80;

/// What only one run at a time may do, such as `fragments`: 1 to 100 of `A-Z a-z 0-9 . _ -`, and not `.` or `..`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Job(Arc<str>);

impl Job {
    /// Parses a name.
    ///
    /// # Errors
    /// [`Error::Config`] naming the rule.
    pub fn parse(text: &str) -> Result<Job, Error> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if (1..=MAX_JOB_BYTES).contains(&text.len()) && !matches!(text, "." | "..") && text.bytes().all(allowed) {
            return Ok(Job(text.into()));
        }
        let what = format!("{:?} is not a job's name", plain(text));
        Err(Error::config(what).advise(format!("write 1 to {MAX_JOB_BYTES} of A-Z a-z 0-9 . _ -")))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One attempt of a job, never used again: what asks again under the same id is the same attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(Ulid);

impl From<RunId> for String {
    fn from(run: RunId) -> String {
        run.to_string()
    }
}

impl TryFrom<String> for RunId {
    type Error = Error;

    fn try_from(text: String) -> Result<RunId, Error> {
        text.parse()
    }
}

impl RunId {
    /// An id that nobody else has.
    #[must_use]
    pub fn generate() -> RunId {
        RunId(Ulid::generate())
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RunId {
    type Err = Error;

    fn from_str(text: &str) -> Result<RunId, Error> {
        Ulid::from_string(text)
            .map(RunId)
            .map_err(|_| Error::config("a run's id is 26 characters, as in 01M7YS1PXQ3S24V3B4YMR2Q6EM"))
    }
}

/// The number of a grant: each is greater than those before it, as long as the lease's server forgets nothing.
///
/// It orders runs for people and names what belongs to one of them. It decides nothing: a server that failed over may give the
/// same number to two runs, so the fence in the target counts its own epochs and compares the run's id, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a run asks with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What it wants to do alone.
    pub job: Job,
    /// Who it is, for servers.
    pub run: RunId,
    /// Who it is, for people.
    pub name: Option<String>,
    /// Where it runs: this machine's name, which is the pod's in Kubernetes.
    pub host: String,
}

impl Claim {
    /// A claim of this machine.
    #[must_use]
    pub fn new(job: Job, run: RunId) -> Claim {
        let host = plain(&rustix::system::uname().nodename().to_string_lossy());
        Claim { job, run, name: None, host }
    }

    /// Adds a name that others are shown, such as that of the person or the workflow behind the run.
    #[must_use]
    pub fn named(mut self, name: &str) -> Claim {
        self.name = Some(plain(name)).filter(|name| !name.is_empty());
        self
    }

    /// The holder that others are shown, from that moment by the server's clock on.
    #[must_use]
    pub fn holder(&self, since: Option<Timestamp>) -> Holder {
        Holder { run: self.run, name: self.name.clone(), host: Some(self.host.clone()), since }
    }
}

/// Who holds a lease, as far as its server tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The run.
    pub run: RunId,
    /// The name it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The machine it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Since when, by the server's clock; to the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} (run {})", plain(name), self.run)?,
            None => write!(f, "run {}", self.run)?,
        }
        match &self.host {
            Some(host) => write!(f, " on {}", plain(host)),
            None => Ok(()),
        }
    }
}

/// A refusal: who is in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busy {
    /// What is held.
    pub job: Job,
    /// By whom; `None` when the server does not tell.
    pub holder: Option<Holder>,
    /// When it ends unless it is renewed, by the server's clock. `None` where a lease lasts as long as its holder lives.
    pub until: Option<Timestamp>,
}

impl fmt::Display for Busy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.holder {
            Some(holder) => write!(f, "{} is held by {holder}", self.job)?,
            None => write!(f, "{} is held by somebody", self.job)?,
        }
        if let Some(since) = self.holder.as_ref().and_then(|holder| holder.since) {
            write!(f, " since {since}")?;
        }
        match self.until {
            Some(until) => write!(f, ", until {until} unless it is renewed"),
            None => Ok(()),
        }
    }
}

/// A moment to the second, as it is shown and kept.
#[must_use]
pub(crate) fn to_the_second(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

/// What of a text may be shown: no control characters, not without end.
pub(crate) fn plain(text: &str) -> String {
    let shown = text.chars().filter(|c| !c.is_control()).take(MAX_WORDS);
    shown.collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_job_is_a_file_name_and_a_key() {
        for good in ["fragments", "a", "A-1_b.c", &"x".repeat(MAX_JOB_BYTES)] {
            assert_eq!(Job::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a/b", "a b", "\u{e9}", "a\n", "{a}", &"x".repeat(MAX_JOB_BYTES + 1)] {
            assert!(matches!(Job::parse(bad), Err(Error::Config { .. })), "{bad:?}");
        }
    }

    #[test]
    fn a_refusal_says_who_since_when_and_until_when() {
        let claim = Claim::new(Job::parse("fragments").unwrap(), RunId::generate()).named("nightly\u{1b}[31m import\n");
        let mut holder = claim.holder(Some("2026-11-23T03:00:00Z".parse().unwrap()));
        holder.host = Some("pod-7".to_owned());
        let until = Some("2026-11-23T03:01:00Z".parse().unwrap());
        let busy = Busy { job: claim.job.clone(), holder: Some(holder), until };
        let run = claim.run;
        let said = format!(
            "fragments is held by nightly[31m import (run {run}) on pod-7 since 2026-11-23T03:00:00Z, \
             until 2026-11-23T03:01:00Z unless it is renewed"
        );
        assert_eq!(busy.to_string(), said);
        let silent = Busy { job: claim.job, holder: None, until: None };
        assert_eq!(silent.to_string(), "fragments is held by somebody");
    }

    #[test]
    fn a_holder_of_another_version_is_read() {
        let run = RunId::generate();
        let text = format!(r#"{{"run":"{run}","from_the_future":[1]}}"#);
        assert_eq!(serde_json::from_str::<Holder>(&text).unwrap(), Holder { run, name: None, host: None, since: None });
        assert_eq!(run.to_string().parse::<RunId>().unwrap(), run);
    }
}
