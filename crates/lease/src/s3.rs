//! Leases as one object per job in an S3 store.
//!
//! Owns the object `leases/<job>` and what it says. Promises that each change replaces exactly the content that was read, that the epoch survives
//! every release because the object is never deleted, and that a lease's age is told by the store's two clocks in one answer: when it was written,
//! and when it was read. Refuses stores that do not hold conditional puts: each is tried before its first lease.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use store::{Key, Register, Registers, Version, Written, probe_registers};
use ulid::Ulid;

use crate::backend::{Answer, Backend, Grant, Refusal};
use crate::claim::{Busy, Claim, Epoch, Holder, Job, to_the_second};
use crate::{Error, Terms};

/// Added to a lease's time before it is taken over. Stores give times in whole seconds, and several machines that are one store have
/// several clocks.
const MARGIN: Duration = Duration::from_secs(5);
/// Looks at an object that others change meanwhile.
const LOOKS: u32 = 4;

/// What the object says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    epoch: Epoch,
    holder: Holder,
    ttl_seconds: u64,
    released: bool,
    /// Drawn anew for each write: by it a writer knows its own, whatever became of the answer.
    nonce: String,
}

/// A store whose objects are leases.
#[derive(Debug, Clone)]
pub struct Objects {
    store: Arc<dyn Registers>,
}

impl Objects {
    /// Leases in this store.
    #[must_use]
    pub fn new(store: Arc<dyn Registers>) -> Objects {
        Objects { store }
    }

    /// What the store's error means here.
    fn failed(&self, error: store::Error) -> Error {
        let location = self.store.location().to_owned();
        match error {
            store::Error::Denied { what, source, .. } => Error::Denied { what, location, source },
            store::Error::Unavailable { what, source, .. } => Error::Unavailable { what, location, source },
            store::Error::NoConditionalCreate { seen, source, .. } => Error::Config {
                what: format!("{location} does not hold conditional puts, so it can keep no lease: {seen}"),
                advice: Some("use redis:// or postgresql:// for the lease, or a newer version of the store".to_owned()),
                source,
            },
            other => Error::Config { what: other.to_string(), advice: other.hint(), source: None },
        }
    }

    async fn read(&self, key: &Key) -> Result<Option<(Note, Register)>, Error> {
        let Some(register) = self.store.read_register(key).await.map_err(|error| self.failed(error))? else {
            return Ok(None);
        };
        match serde_json::from_slice(&register.body) {
            Ok(note) => Ok(Some((note, register))),
            // Taking it for free could let two run; its epoch would be lost with it.
            Err(error) => Err(Error::Config {
                what: format!("{key} in {} is not a lease", self.store.location()),
                advice: Some("when no run holds it, remove the object".to_owned()),
                source: Some(error.into()),
            }),
        }
    }

    /// Writes, and where the answer says that the object has changed looks whether it was this very write that did it.
    async fn write(&self, key: &Key, note: &Note, expected: Option<&Version>) -> Result<Option<Version>, Error> {
        let body = serde_json::to_vec(note).map_err(|error| Error::config(error.to_string()))?;
        let written = self.store.write_register(key, Bytes::from(body), expected).await;
        match written.map_err(|error| self.failed(error))? {
            Written::Done(version) => Ok(Some(version)),
            Written::Changed => {
                let there = self.read(key).await?;
                Ok(there.filter(|(there, _)| there.nonce == note.nonce).map(|(_, register)| register.version))
            }
        }
    }
}

fn key(job: &Job) -> Result<Key, Error> {
    Key::parse(&format!("leases/{job}")).map_err(|error| Error::config(error.to_string()))
}

fn nonce() -> String {
    Ulid::generate().to_string()
}

fn moment(time: SystemTime) -> Option<Timestamp> {
    Timestamp::try_from(time).ok().map(to_the_second)
}

/// When a lease that is not renewed is anybody's, by the store's clock.
fn end(note: &Note, register: &Register) -> SystemTime {
    let ttl = Duration::from_secs(note.ttl_seconds);
    register.modified.checked_add(ttl + MARGIN).unwrap_or(register.modified)
}

#[async_trait]
impl Backend for Objects {
    fn location(&self) -> &str {
        self.store.location()
    }

    async fn examine(&self) -> Result<Vec<String>, Error> {
        probe_registers(self.store.as_ref()).await.map_err(|error| self.failed(error))?;
        let keeping = self.store.keeping().await;
        let versions = keeping.versions == Some(true);
        let note = || {
            format!("{} keeps versions: each renewal leaves one, so let old ones expire below leases/", self.location())
        };
        Ok(versions.then(note).into_iter().collect())
    }

    async fn acquire(&self, claim: &Claim, terms: Terms) -> Result<Answer, Error> {
        let key = key(&claim.job)?;
        for _ in 0..LOOKS {
            let there = self.read(&key).await?;
            let mut holder = claim.holder(None);
            let (epoch, version) = match &there {
                None => (Epoch(1), None),
                Some((note, register)) if note.holder.run == claim.run && !note.released => {
                    holder.since = note.holder.since;
                    (note.epoch, Some(&register.version))
                }
                Some((note, register)) if !note.released && register.read <= end(note, register) => {
                    let until = moment(end(note, register));
                    let holder = Some(Holder { since: note.holder.since, ..note.holder.clone() });
                    return Ok(Answer::Busy(Box::new(Busy { job: claim.job.clone(), holder, until })));
                }
                Some((note, register)) => (Epoch(note.epoch.0 + 1), Some(&register.version)),
            };
            if holder.since.is_none() {
                let now = match &there {
                    Some((_, register)) => register.read,
                    None => self.store.now().await.map_err(|error| self.failed(error))?,
                };
                holder.since = moment(now);
            }
            // Rounded up: others must not count less than the holder does.
            let ttl_seconds = terms.ttl().as_secs() + u64::from(terms.ttl().subsec_nanos() > 0);
            let note = Note { epoch, holder, ttl_seconds, released: false, nonce: nonce() };
            if let Some(version) = self.write(&key, &note, version).await? {
                let granted = Granted { objects: self.clone(), key, note, version };
                return Ok(Answer::Granted(Box::new(granted)));
            }
        }
        let seen = "others changed it at the same time, again and again";
        Err(Error::unavailable(format!("acquire the lease of {}", claim.job), self.location(), seen))
    }
}

#[derive(Debug)]
struct Granted {
    objects: Objects,
    key: Key,
    note: Note,
    version: Version,
}

impl Granted {
    /// Replaces the object while it is this run's, whatever became of earlier answers.
    async fn replace(&mut self, released: bool) -> Result<(), Refusal> {
        if self.note.released {
            return Err(Refusal::Lost("it was released".to_owned()));
        }
        for _ in 0..LOOKS {
            let note = Note { released, nonce: nonce(), ..self.note.clone() };
            if let Some(version) = self.objects.write(&self.key, &note, Some(&self.version)).await? {
                (self.version, self.note.released) = (version, released);
                return Ok(());
            }
            // A renewal of ours that nobody waited for may have come to pass.
            match self.objects.read(&self.key).await? {
                Some((there, register))
                    if (there.holder.run, there.epoch, there.released)
                        == (self.note.holder.run, self.note.epoch, false) =>
                {
                    self.version = register.version;
                }
                Some((there, _)) if there.released => return Err(Refusal::Lost("it was released".to_owned())),
                Some((there, _)) => return Err(Refusal::Lost(format!("{} took it over", there.holder))),
                None => return Err(Refusal::Lost("its object was removed".to_owned())),
            }
        }
        let seen = "others changed it at the same time, again and again";
        Err(Error::unavailable(format!("replace {}", self.key), self.objects.location(), seen).into())
    }
}

#[async_trait]
impl Grant for Granted {
    fn epoch(&self) -> Epoch {
        self.note.epoch
    }

    async fn renew(&mut self) -> Result<(), Refusal> {
        self.replace(false).await
    }

    async fn release(&mut self) -> Result<(), Refusal> {
        self.replace(true).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use store::Memory;

    use super::*;
    use crate::RunId;
    use crate::conformance::{Harness, Later, suite};

    struct InMemory(Arc<Memory>);

    impl Harness for InMemory {
        fn backend(&self) -> Later<'_, Arc<dyn Backend>> {
            Box::pin(async { Arc::new(Objects::new(Arc::clone(&self.0) as Arc<dyn Registers>)) as Arc<dyn Backend> })
        }
        fn terms(&self) -> Terms {
            Terms::default()
        }
        fn expire(&self) -> Later<'_, ()> {
            self.0.advance_clock(Terms::default().ttl() + MARGIN + Duration::from_secs(1));
            Box::pin(async {})
        }
    }

    #[tokio::test]
    async fn passes_the_suite() {
        suite(&InMemory(Arc::new(Memory::new()))).await;
    }

    #[tokio::test]
    async fn nothing_is_taken_over_within_the_margin_and_an_object_is_never_removed() {
        let store = Arc::new(Memory::new());
        store.set_clock(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let objects = Objects::new(Arc::clone(&store) as Arc<dyn Registers>);
        let claim = Claim::new(Job::parse("fragments").unwrap(), RunId::generate());
        let rival = Claim { run: RunId::generate(), ..claim.clone() };
        let terms = Terms::default();
        let Answer::Granted(mut first) = Backend::acquire(&objects, &claim, terms).await.unwrap() else {
            panic!("busy")
        };
        store.advance_clock(terms.ttl() + MARGIN);
        assert!(matches!(Backend::acquire(&objects, &rival, terms).await.unwrap(), Answer::Busy(_)));
        first.release().await.unwrap();
        assert!(matches!(first.renew().await, Err(Refusal::Lost(_))));
        let Answer::Granted(second) = Backend::acquire(&objects, &rival, terms).await.unwrap() else { panic!("busy") };
        assert_eq!(second.epoch(), Epoch(2));
    }

    #[tokio::test]
    async fn what_is_not_a_lease_is_not_taken_for_free() {
        let store = Arc::new(Memory::new());
        let key = key(&Job::parse("fragments").unwrap()).unwrap();
        store.write_register(&key, Bytes::from_static(b"{}"), None).await.unwrap();
        let claim = Claim::new(Job::parse("fragments").unwrap(), RunId::generate());
        let refused = Backend::acquire(&Objects::new(store), &claim, Terms::default()).await;
        assert!(matches!(refused, Err(Error::Config { .. })), "{refused:?}");
    }
}
