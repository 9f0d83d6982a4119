//! Owns `Memory`: a lease's server in memory, for tests and models.
//!
//! Promises what Redis promises as long as it fails over to nobody and forgets nothing, by a clock that tests set. For models it also
//! forgets on command, and then hands out numbers it has handed out before.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::backend::{Answer, Backend, Grant, Refusal};
use crate::claim::{Busy, Claim, Epoch, Holder, Job};
use crate::{Clock, Error, Moment, Terms};

const LOCATION: &str = "memory";

/// A server in memory. Clones are the same server.
#[derive(Clone)]
pub struct Memory {
    slots: Arc<Mutex<BTreeMap<Job, Slot>>>,
    clock: Arc<dyn Clock>,
}

#[derive(Default)]
struct Slot {
    epoch: u64,
    held: Option<(Holder, Moment)>,
}

impl Memory {
    /// A server that tells this clock's time.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Memory {
        Memory { slots: Arc::default(), clock }
    }

    /// Forgets who holds what, as a server does that loses a key.
    pub fn evict(&self) {
        self.lock().values_mut().for_each(|slot| slot.held = None);
    }

    /// Forgets everything, as a server does that fails over to an empty one: epochs begin again.
    pub fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Job, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for Memory {
    fn location(&self) -> &str {
        LOCATION
    }

    async fn examine(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    async fn acquire(&self, claim: &Claim, terms: Terms) -> Result<Answer, Error> {
        let now = self.clock.now();
        let mut slots = self.lock();
        let slot = slots.entry(claim.job.clone()).or_default();
        slot.held.take_if(|(_, until)| *until <= now);
        if let Some((holder, until)) = &slot.held
            && holder.run != claim.run
        {
            let until = Some(wall(*until));
            return Ok(Answer::Busy(Box::new(Busy { job: claim.job.clone(), holder: Some(holder.clone()), until })));
        }
        let since = slot.held.as_ref().map_or(Some(wall(now)), |(holder, _)| holder.since);
        slot.epoch += u64::from(slot.held.is_none());
        slot.held = Some((claim.holder(since), now + terms.ttl()));
        let (server, claim) = (self.clone(), claim.clone());
        Ok(Answer::Granted(Box::new(Granted { server, claim, terms, epoch: Epoch(slot.epoch) })))
    }
}

/// The server's clock as a date.
fn wall(moment: Moment) -> Timestamp {
    Timestamp::from_second(i64::try_from(moment.0.as_secs()).unwrap_or(0)).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[derive(Debug)]
struct Granted {
    server: Memory,
    claim: Claim,
    terms: Terms,
    epoch: Epoch,
}

impl Granted {
    /// Changes the slot, if this run still has it.
    fn change(&self, change: impl FnOnce(&mut Slot)) -> Result<(), Refusal> {
        let now = self.server.clock.now();
        let mut slots = self.server.lock();
        let slot = slots.get_mut(&self.claim.job);
        match slot {
            Some(slot)
                if slot.held.as_ref().is_some_and(|(holder, until)| holder.run == self.claim.run && *until > now) =>
            {
                change(slot);
                Ok(())
            }
            _ => Err(Refusal::Lost("the server no longer knows of it".to_owned())),
        }
    }
}

#[async_trait]
impl Grant for Granted {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    async fn renew(&mut self) -> Result<(), Refusal> {
        let until = self.server.clock.now() + self.terms.ttl();
        self.change(|slot| slot.held.iter_mut().for_each(|held| held.1 = until))
    }

    async fn release(&mut self) -> Result<(), Refusal> {
        self.change(|slot| slot.held = None)
    }
}
