//! The lease of a repository's maintenance.
//!
//! Owns `maintenance/<epoch>/…`: `start` is put create-only, so one of several wins an epoch; a holder gives signs of life, and
//! one that has been silent for longer than [`TTL`] has lost it to whoever begins the next epoch. Promises that two
//! maintenances which are both awake do not work at the same time. What keeps data safe is not this lease, because a paused
//! process may wake up at any moment and finish what it was about to do: it is that a sweep deletes only what can
//! never be referred to again, whoever deletes it. Refuses to wait.

use crate::frame::Kind;
use crate::repo::timestamp;
use crate::{Error, Repository, keys, pages};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};
use store::Key;

/// Silence after which a maintenance is taken for dead.
pub const TTL: Duration = Duration::from_secs(600);
/// A sign of life at least so often.
const BEAT: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
struct Start {
    epoch: u64,
    holder: String,
}

/// What is known of the newest epoch.
#[derive(Default)]
struct Newest {
    epoch: u64,
    last: Option<SystemTime>,
    ended: bool,
    /// Objects of all epochs.
    objects: BTreeMap<u64, Vec<Key>>,
}

/// A held lease.
#[derive(Debug)]
pub(super) struct Lease {
    repository: Repository,
    epoch: u64,
    beats: u64,
    beaten: Instant,
}

impl Lease {
    /// Takes the lease for `holder`, a name for people.
    ///
    /// # Errors
    /// [`Error::Busy`] when somebody else holds it.
    pub async fn take(repository: &Repository, holder: &str) -> Result<Self, Error> {
        let newest = newest(repository).await?;
        let now = repository.store.now().await.map_err(Error::store("read the store's clock"))?;
        let silent = newest.last.is_none_or(|last| now.duration_since(last).unwrap_or_default() > TTL);
        if !(newest.ended || silent) {
            return Err(busy(repository, newest.epoch, newest.last).await);
        }
        let epoch = newest.epoch + 1;
        let start = Start { epoch, holder: holder.to_owned() };
        match repository.put_note(&keys::maintenance(epoch, "start")?, Kind::Lease, &start).await {
            Ok(()) => {}
            Err(Error::Conflict { .. }) => return Err(busy(repository, epoch, Some(now)).await),
            Err(other) => return Err(other),
        }
        // The last epoch stays: it is what the next one is counted from.
        for key in newest.objects.into_iter().filter(|(old, _)| *old < newest.epoch).flat_map(|(_, keys)| keys) {
            repository.delete(&key).await?;
        }
        Ok(Self { repository: repository.clone(), epoch, beats: 0, beaten: Instant::now() })
    }

    /// Whether it is still held; gives a sign of life when it is time for one.
    ///
    /// # Errors
    /// [`Error::LostLease`].
    pub async fn check(&mut self) -> Result<(), Error> {
        let next = keys::maintenance(self.epoch + 1, "start")?;
        match self.repository.store.head(&next).await {
            Err(store::Error::NotFound { .. }) => {}
            Ok(_) => return Err(Error::LostLease),
            Err(source) => return Err(Error::Store { what: "look for another maintenance".to_owned(), source }),
        }
        if self.beaten.elapsed() >= BEAT {
            self.beats += 1;
            self.beaten = Instant::now();
            let key = keys::maintenance(self.epoch, &format!("beat-{}", self.beats))?;
            self.repository.put_note(&key, Kind::Lease, &serde_json::json!({ "epoch": self.epoch })).await?;
        }
        Ok(())
    }

    /// Gives it back.
    pub async fn release(self) {
        let put = async {
            let key = keys::maintenance(self.epoch, "end")?;
            self.repository.put_note(&key, Kind::Lease, &serde_json::json!({ "epoch": self.epoch })).await
        };
        if let Err(error) = put.await {
            tracing::warn!(%error, "could not give the maintenance's lease back; the next one waits {} minutes", TTL.as_secs() / 60);
        }
    }
}

async fn newest(repository: &Repository) -> Result<Newest, Error> {
    let mut newest = Newest::default();
    let note = |entry: &store::Entry| {
        let Some((epoch, part)) = keys::parse_maintenance(&entry.key) else { return };
        if epoch > newest.epoch {
            (newest.epoch, newest.last, newest.ended) = (epoch, None, false);
        }
        newest.last = newest.last.max(Some(entry.modified));
        newest.ended |= part == "end";
        newest.objects.entry(epoch).or_default().push(entry.key.clone());
    };
    pages::each(repository.store.as_ref(), &keys::maintenance_folder()?, "look for another maintenance", note).await?;
    Ok(newest)
}

async fn busy(repository: &Repository, epoch: u64, last: Option<SystemTime>) -> Error {
    let start = async { repository.note::<Start>(&keys::maintenance(epoch, "start")?, Kind::Lease).await };
    let holder = start.await.ok().flatten().map_or_else(|| "somebody".to_owned(), |start| start.holder);
    match timestamp(last.unwrap_or(SystemTime::UNIX_EPOCH)) {
        Ok(since) => Error::Busy { holder, since },
        Err(error) => error,
    }
}
