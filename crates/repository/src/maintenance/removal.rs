//! Removals: taking backups away in two steps, the first of which can be undone.
//!
//! Owns pins, the marks that name backups to be removed, and the verdict on each mark. Promises that of undoing and carrying out
//! exactly one happens, because both create the same key; that a pin which was told to hold does hold; and that a manifest is
//! deleted only after all of that has been looked at again. Marked backups lose nothing before: everything they refer to stays
//! as long as their manifest does.
//!
//! A maintenance or an operator may sleep between any two calls, and the lease does not hold them back when they wake. So a verdict
//! says itself which backups it spares, a mark stays while anything that it may remove is there, and a verdict stays when its
//! mark is gone, until whoever slept before giving another one must be dead.

use super::retention::{Decision, Gate, Past, Policy, Reason, decide};
use crate::frame::Kind;
use crate::repo::timestamp;
use crate::{BackupId, Error, Repository, SourceName, keys, pages};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};
use ulid::Ulid;

/// Names of one removal, at most: a mark stays a small object.
const MOST_IN_ONE: usize = 10_000;

/// What became of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Its backups are being deleted, or were.
    Swept,
    /// Its backups stay.
    Undone,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct VerdictNote {
    verdict: Verdict,
    /// Backups that had to stay when they were to be removed: this mark never removes them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    spared: BTreeSet<BackupId>,
}

impl VerdictNote {
    fn undone() -> Self {
        Self { verdict: Verdict::Undone, spared: BTreeSet::new() }
    }
}

#[derive(Serialize, Deserialize)]
struct Removed {
    source: SourceName,
    backups: Vec<BackupId>,
}

#[derive(Serialize, Deserialize)]
struct Accepted {
    source: SourceName,
    up_to: BackupId,
}

#[derive(Serialize, Deserialize)]
struct Pin {
    source: SourceName,
    backup: BackupId,
}

/// Backups of one source that are to be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mark {
    #[serde(skip)]
    pub(super) id: Ulid,
    /// The source.
    pub source: SourceName,
    /// Its backups.
    pub backups: Vec<BackupId>,
    /// When they were marked, by the store's clock.
    pub marked: Timestamp,
    #[serde(skip)]
    pub(super) stored: SystemTime,
    /// What became of it.
    pub verdict: Option<Verdict>,
    /// Those of its backups that it does not remove after all.
    #[serde(skip)]
    spared: BTreeSet<BackupId>,
}

impl Mark {
    /// Backups that it removes, or may remove.
    fn doomed(&self) -> impl Iterator<Item = BackupId> {
        self.backups.iter().copied().filter(|backup| !self.spared.contains(backup))
    }
}

/// What retention and removal go by, read at one time.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub marks: Vec<Mark>,
    pub pins: BTreeSet<(SourceName, BackupId)>,
    accepted: BTreeMap<SourceName, BackupId>,
}

impl Ledger {
    pub async fn read(repository: &Repository) -> Result<Self, Error> {
        let (marks, pins) = (marks(repository).await?, pins(repository).await?);
        Ok(Self { marks, pins, accepted: accepted(repository).await? })
    }

    /// Backups of a source that nobody has taken back from removal.
    pub fn marked(&self, source: &SourceName) -> BTreeSet<BackupId> {
        let of = self.marks.iter().filter(|mark| mark.source == *source && mark.verdict != Some(Verdict::Undone));
        of.flat_map(Mark::doomed).collect()
    }

    pub fn gate(&self, source: &SourceName, least_percent: u64) -> Gate {
        Gate { accepted: self.accepted.get(source).copied(), least_percent }
    }
}

impl Repository {
    /// Keeps a backup for ever.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is gone, or being removed already: then it cannot be held any more.
    pub async fn pin(&self, source: &SourceName, backup: BackupId) -> Result<(), Error> {
        self.hold(source, backup).await?;
        // A mark goes after the last of its backups: without one, only this says that it is too late.
        match self.manifest(source, backup).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) | Err(Error::NotFound { .. }) => {
                Err(Error::NotFound { what: format!("{source}@{backup} has been removed") })
            }
            Err(other) => Err(other),
        }
    }

    /// Pins a backup that may not be there yet, as a writer does before its manifest.
    pub(crate) async fn hold(&self, source: &SourceName, backup: BackupId) -> Result<(), Error> {
        let note = Pin { source: source.clone(), backup };
        self.put_note(&keys::pin(source, backup)?, Kind::Pin, &note).await?;
        // A sweep gives its verdict first and looks at pins then: without a verdict here, it will see this pin.
        let swept = |mark: &Mark| mark.verdict == Some(Verdict::Swept) && mark.source == *source;
        let marks = marks(self).await?;
        if marks.iter().any(|mark| swept(mark) && mark.doomed().any(|doomed| doomed == backup)) {
            return Err(Error::NotFound {
                what: format!("{source}@{backup} is being removed; it cannot be kept any more"),
            });
        }
        Ok(())
    }

    /// Takes a pin away: retention decides about the backup again.
    ///
    /// # Errors
    /// The store's: deleting needs the permission to.
    pub async fn unpin(&self, source: &SourceName, backup: BackupId) -> Result<(), Error> {
        self.delete(&keys::pin(source, backup)?).await
    }

    /// All backups that are kept for ever.
    pub async fn pinned(&self) -> Result<BTreeSet<(SourceName, BackupId)>, Error> {
        pins(self).await
    }

    /// Says that a source's sizes are in order up to this backup, so that retention goes on.
    pub async fn accept(&self, source: &SourceName, up_to: BackupId) -> Result<(), Error> {
        let key = keys::accepted(source, Ulid::generate())?;
        self.put_note(&key, Kind::Accepted, &Accepted { source: source.clone(), up_to }).await
    }

    /// Marks backups for removal. They stay restorable until a sweep carries it out.
    pub async fn mark_removed(&self, source: &SourceName, backups: &[BackupId]) -> Result<(), Error> {
        for backups in backups.chunks(MOST_IN_ONE) {
            let note = Removed { source: source.clone(), backups: backups.to_vec() };
            self.put_note(&keys::decision(Ulid::generate(), "removed")?, Kind::Removed, &note).await?;
        }
        Ok(())
    }

    /// Removals that were neither undone nor carried out.
    pub async fn removals(&self) -> Result<Vec<Mark>, Error> {
        Ok(marks(self).await?.into_iter().filter(|mark| mark.verdict.is_none()).collect())
    }

    /// Takes removals back, of one source or of all: those that nobody has begun to carry out.
    pub async fn undo_removals(&self, source: Option<&SourceName>) -> Result<Vec<Mark>, Error> {
        let mut undone = Vec::new();
        for mut mark in self.removals().await? {
            if source.is_some_and(|source| mark.source != *source) {
                continue;
            }
            mark.verdict = self.judge(&mark, VerdictNote::undone()).await?.map(|note| note.verdict);
            undone.extend((mark.verdict == Some(Verdict::Undone)).then_some(mark));
        }
        Ok(undone)
    }

    /// Gives a verdict, or finds the one that somebody else has given; `None` when nobody can say any more what that was.
    async fn judge(&self, mark: &Mark, note: VerdictNote) -> Result<Option<VerdictNote>, Error> {
        let key = keys::decision(mark.id, "verdict")?;
        match self.put_note(&key, Kind::Verdict, &note).await {
            Ok(()) => Ok(Some(note)),
            Err(Error::Conflict { .. }) => self.note(&key, Kind::Verdict).await,
            Err(other) => Err(other),
        }
    }

    /// Carries one removal out: returns the backups whose manifests are gone.
    ///
    /// Whatever was true when the mark was made, no backup goes that is now the newest of its source, its newest proven one, or
    /// pinned, and none of a source whose sizes make one wonder.
    pub(super) async fn carry_out(&self, mark: &Mark, history: &[Past], gate: Gate) -> Result<Vec<BackupId>, Error> {
        let kept = must_stay(history, gate);
        if mark.verdict.is_none() && kept.iter().any(|(_, reason)| *reason == Reason::Frozen) {
            return Ok(Vec::new());
        }
        let kept = kept.into_iter().filter(|(_, reason)| *reason != Reason::Frozen).map(|(backup, _)| backup).collect();
        let Some(spared) = self.doom(mark, &kept).await? else { return Ok(Vec::new()) };
        // Read after the verdict: whoever pins one of these from now on is told that it is too late.
        let pins = pins(self).await?;
        let (mut gone, mut left) = (Vec::new(), false);
        for backup in mark.backups.iter().filter(|backup| !spared.contains(backup)) {
            let stays = kept.contains(backup) || pins.contains(&(mark.source.clone(), *backup));
            if stays && self.is_there(&mark.source, *backup).await? {
                warn_of(&mark.source, *backup);
                left = true;
                continue;
            }
            self.delete(&keys::manifest(&mark.source, *backup)?).await?;
            self.delete(&keys::hints(&mark.source, *backup)?).await?;
            gone.push(*backup);
        }
        // What is left may still be deleted by another maintenance that slept: while the mark is there, no pin holds it.
        if !left {
            self.forget(mark).await?;
        }
        Ok(gone)
    }

    /// Gives the verdict that a mark is carried out, but for what has to stay at this moment; returns what is spared by the verdict
    /// that holds, or `None` when the mark was undone.
    async fn doom(&self, mark: &Mark, kept: &BTreeSet<BackupId>) -> Result<Option<BTreeSet<BackupId>>, Error> {
        if mark.verdict == Some(Verdict::Swept) {
            return Ok(Some(mark.spared.clone()));
        }
        let pins = pins(self).await?;
        let stays = |backup: &BackupId| kept.contains(backup) || pins.contains(&(mark.source.clone(), *backup));
        let spared: BTreeSet<BackupId> = mark.backups.iter().copied().filter(stays).collect();
        let judged = self.judge(mark, VerdictNote { verdict: Verdict::Swept, spared }).await?;
        let judged = judged.filter(|note| note.verdict == Verdict::Swept);
        let of_this = |note: &VerdictNote| note.spared.iter().for_each(|backup| warn_of(&mark.source, *backup));
        Ok(judged.inspect(of_this).map(|note| note.spared))
    }

    async fn is_there(&self, source: &SourceName, backup: BackupId) -> Result<bool, Error> {
        match self.store.head(&keys::manifest(source, backup)?).await {
            Ok(_) => Ok(true),
            Err(store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(Error::Store { what: format!("look for the manifest of {backup}"), source }),
        }
    }

    /// Removes a mark that has served its purpose. Its verdict stays: somebody may have read the mark, sleep, and wake up to give
    /// another one.
    pub(super) async fn forget(&self, mark: &Mark) -> Result<(), Error> {
        self.delete(&keys::decision(mark.id, "removed")?).await
    }

    /// Removes verdicts whose marks are gone and that nobody can be about to give anew.
    pub(super) async fn tidy_verdicts(&self, kept: Duration, now: SystemTime) -> Result<(), Error> {
        let (mut marked, mut old) = (BTreeSet::new(), Vec::new());
        let note = |entry: &store::Entry| match keys::parse_decision(&entry.key) {
            Some((id, "removed")) => drop(marked.insert(id)),
            Some((id, "verdict")) if is_older(entry.modified, kept, now) => old.push(id),
            _ => {}
        };
        pages::each(self.store.as_ref(), &keys::gc_folder()?, "list removals", note).await?;
        for id in old.into_iter().filter(|id| !marked.contains(id)) {
            self.delete(&keys::decision(id, "verdict")?).await?;
        }
        Ok(())
    }
}

fn warn_of(source: &SourceName, backup: BackupId) {
    tracing::warn!(%source, %backup, "marked for removal, and kept after all");
}

/// What no policy can remove, and why.
fn must_stay(history: &[Past], gate: Gate) -> Vec<(BackupId, Reason)> {
    // A policy without rules keeps nothing but that.
    let Decision { kept, .. } = decide(&Policy::default(), history, gate, Timestamp::MAX);
    kept.iter().flat_map(|kept| kept.reasons.iter().map(|reason| (kept.id, *reason))).collect()
}

async fn marks(repository: &Repository) -> Result<Vec<Mark>, Error> {
    let (mut found, mut judged) = (Vec::new(), BTreeSet::new());
    let note = |entry: &store::Entry| match keys::parse_decision(&entry.key) {
        Some((id, "removed")) => found.push((id, entry.modified)),
        Some((id, "verdict")) => {
            judged.insert(id);
        }
        _ => {}
    };
    pages::each(repository.store.as_ref(), &keys::gc_folder()?, "list removals", note).await?;
    let mut marks = Vec::new();
    for (id, stored) in found {
        let removed: Option<Removed> =
            legible(repository, &keys::decision(id, "removed")?, Kind::Removed, "its backups stay").await?;
        let Some(Removed { source, backups }) = removed else { continue };
        let judged = match judged.contains(&id) {
            true => {
                let key = keys::decision(id, "verdict")?;
                // Undone or carried out, nobody can say: nothing is removed by it.
                match legible::<VerdictNote>(repository, &key, Kind::Verdict, "its backups stay").await? {
                    None => continue,
                    some => some,
                }
            }
            false => None,
        };
        let (verdict, spared) = judged.map(|note| (note.verdict, note.spared)).unzip();
        let spared = spared.unwrap_or_default();
        marks.push(Mark { id, source, backups, marked: timestamp(stored)?, stored, verdict, spared });
    }
    Ok(marks)
}

/// A pin counts by its key alone: a damaged one keeps its backup all the same.
async fn pins(repository: &Repository) -> Result<BTreeSet<(SourceName, BackupId)>, Error> {
    let mut pins = BTreeSet::new();
    let note = |entry: &store::Entry| pins.extend(keys::parse_pin(&entry.key));
    pages::each(repository.store.as_ref(), &keys::pins_folder()?, "list pins", note).await?;
    Ok(pins)
}

async fn accepted(repository: &Repository) -> Result<BTreeMap<SourceName, BackupId>, Error> {
    let mut found = Vec::new();
    let note = |entry: &store::Entry| found.push(entry.key.clone());
    pages::each(repository.store.as_ref(), &keys::accepted_folder()?, "list what was accepted", note).await?;
    let mut accepted: BTreeMap<SourceName, BackupId> = BTreeMap::new();
    for key in found {
        let without = "sizes are judged as without it";
        if let Some(note) = legible::<Accepted>(repository, &key, Kind::Accepted, without).await? {
            let up_to = accepted.entry(note.source).or_insert(note.up_to);
            *up_to = note.up_to.max(*up_to);
        }
    }
    Ok(accepted)
}

/// A note that is there and legible. One that is damaged must not stop everything: leaving it out keeps more than it would.
async fn legible<T: serde::de::DeserializeOwned>(
    repository: &Repository,
    key: &store::Key,
    kind: Kind,
    without: &str,
) -> Result<Option<T>, Error> {
    match repository.note(key, kind).await {
        Err(error @ (Error::Damaged { .. } | Error::Format { .. })) => {
            tracing::warn!(%error, "a note of maintenance is left out: {without}");
            Ok(None)
        }
        other => other,
    }
}

/// Whether something stored at `stored` is at least so old.
pub(super) fn is_older(stored: SystemTime, age: Duration, now: SystemTime) -> bool {
    now.duration_since(stored).is_ok_and(|passed| passed >= age)
}
