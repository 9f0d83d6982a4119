//! Pruning: one run of maintenance, from the policy to the last delete.
//!
//! Owns the order: plan what retention removes (changes nothing); then, holding the lease: carry out old removals that nobody has
//! undone; mark the planned ones; give up on silent sessions; finish the sweeps whose time has come; begin a new one; tidy up.
//! Promises that a run which dies anywhere leaves a repository that the next one goes on from. What is damaged stops a run
//! before it deletes anything: it cannot be said then what is needed.

use super::lease::Lease;
use super::removal::{Ledger, Mark, Verdict, is_older};
use super::retention::{Decision, Past, Policy, decide};
use super::sessions::Sessions;
use super::sweep::Swept;
use crate::repo::timestamp;
use crate::{BackupId, Error, Manifest, Repository, SessionId, SourceName, keys, pages};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// Manifests read at the same time.
const READERS: usize = 16;
/// How long a revoked session's tombstone stays, and the verdict on a removal that is over: longer than any process sleeps.
const TOMBSTONES: Duration = Duration::from_secs(365 * 24 * 3_600);
/// How long the traces of sessions stay that are over.
const TRACES: Duration = Duration::from_secs(30 * 24 * 3_600);

/// What a run of maintenance is asked for.
#[derive(Debug, Clone)]
pub struct PruneOptions {
    /// How old an unreferenced object must be, and how long a sweep waits before it deletes.
    pub grace: Duration,
    /// How long a removal can be undone.
    pub undo: Duration,
    /// Silence after which a writer is given up.
    pub silent: Duration,
    /// A backup with less than so many percent of the usual rows or bytes freezes its source.
    pub least_percent: u64,
    /// Who this is, for whoever finds the lease taken.
    pub holder: String,
}

/// What retention would do with one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourcePlan {
    /// The source.
    pub source: SourceName,
    /// What stays and by which rule, and what goes.
    #[serde(flatten)]
    pub decision: Decision,
    /// Backups that an earlier run has marked for removal.
    pub marked: Vec<BackupId>,
    /// When each backup began.
    #[serde(skip)]
    pub started: BTreeMap<BackupId, jiff::Timestamp>,
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Pruned {
    /// Backups that are gone now: marked by an earlier run, and never undone.
    pub gone: Vec<(SourceName, BackupId)>,
    /// Backups marked now.
    pub marked: u64,
    /// Writers that were silent for too long and will never commit.
    pub revoked: Vec<SessionId>,
    /// Objects.
    pub swept: Swept,
}

/// All backups of a source, for retention.
type Histories = BTreeMap<SourceName, Vec<Past>>;

impl Repository {
    /// What retention would do now, source by source. Changes nothing.
    ///
    /// # Errors
    /// The store's, and those of manifests that cannot be read: without them a history is not known.
    pub async fn plan_retention(
        &self,
        policy: &Policy,
        source: Option<&SourceName>,
        least_percent: u64,
    ) -> Result<Vec<SourcePlan>, Error> {
        let ledger = Ledger::read(self).await?;
        let histories = self.histories(source, &ledger).await?;
        let now = self.now().await?;
        let plan = |(source, history): (SourceName, Vec<Past>)| {
            let marked = ledger.marked(&source);
            let started = history.iter().map(|past| (past.id, past.started)).collect();
            let (gone, live): (Vec<Past>, Vec<Past>) = history.into_iter().partition(|past| marked.contains(&past.id));
            let decision = match policy.is_empty() {
                // Nothing was asked for, so everything stays.
                true => Decision::default(),
                false => decide(policy, &live, ledger.gate(&source, least_percent), now),
            };
            SourcePlan { source, decision, marked: gone.into_iter().map(|past| past.id).collect(), started }
        };
        Ok(histories.into_iter().map(plan).collect())
    }

    /// How many objects nothing refers to. Changes nothing.
    pub async fn unreferenced(&self, grace: Duration) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        let (referenced, _) = self.referenced().await?;
        swept.referenced = referenced.len();
        self.begin_sweep(&referenced, &Default::default(), grace, None, &mut swept).await?;
        Ok(swept)
    }

    /// Carries a plan out, and whatever earlier runs have left to do.
    ///
    /// # Errors
    /// [`Error::Busy`] and [`Error::LostLease`]; damage and the store's trouble, after which a later run goes on.
    pub async fn prune(&self, plan: &[SourcePlan], options: &PruneOptions) -> Result<Pruned, Error> {
        let mut lease = Lease::take(self, &options.holder).await?;
        let pruned = self.prune_with(&mut lease, plan, options).await;
        // A lease that another run has taken is that one's to end.
        if !matches!(pruned, Err(Error::LostLease)) {
            lease.release().await;
        }
        pruned
    }

    async fn prune_with(
        &self,
        lease: &mut Lease,
        plan: &[SourcePlan],
        options: &PruneOptions,
    ) -> Result<Pruned, Error> {
        let mut pruned = Pruned { gone: self.carry_out_removals(lease, options).await?, ..Pruned::default() };
        for SourcePlan { source, decision, .. } in plan {
            if decision.removed.is_empty() {
                continue;
            }
            lease.check().await?;
            self.mark_removed(source, &decision.removed).await?;
            pruned.marked += decision.removed.len() as u64;
            // What this history was judged by is going: from here on, later backups are compared.
            if let Some(newest) = decision.judged_up_to() {
                self.accept(source, newest).await?;
            }
        }
        let now = self.store.now().await.map_err(Error::store("read the store's clock"))?;
        // The order of these three is the protocol: see `finish_sweeps`.
        let pending = self.pending_sweeps().await?;
        let mut sessions = Sessions::read(self).await?;
        pruned.revoked = sessions.revoke_silent(self, options.silent, now).await?;
        let (referenced, tombstones) = self.referenced().await?;
        pruned.swept.referenced = referenced.len();
        let swept = &mut pruned.swept;
        let waiting = self.finish_sweeps(pending, &sessions, &referenced, options.grace, lease, swept).await?;
        self.begin_sweep(&referenced, &waiting, options.grace, Some(lease), swept).await?;
        sessions.tidy(self, TRACES, now).await?;
        self.tidy_verdicts(TOMBSTONES, now).await?;
        for (source, backup, _) in tombstones.iter().filter(|(.., stored)| is_older(*stored, TOMBSTONES, now)) {
            self.delete(&keys::manifest(source, *backup)?).await?;
        }
        self.tidy_hints(options, now).await?;
        Ok(pruned)
    }

    async fn carry_out_removals(
        &self,
        lease: &mut Lease,
        options: &PruneOptions,
    ) -> Result<Vec<(SourceName, BackupId)>, Error> {
        let ledger = Ledger::read(self).await?;
        let now = self.store.now().await.map_err(Error::store("read the store's clock"))?;
        let mut gone = Vec::new();
        for mark in &ledger.marks {
            lease.check().await?;
            match mark.verdict {
                Some(Verdict::Undone) => self.forget(mark).await?,
                None if !is_older(mark.stored, options.undo, now) => {}
                _ => gone.extend(self.carry_out_one(mark, &ledger, options).await?),
            }
        }
        Ok(gone)
    }

    async fn carry_out_one(
        &self,
        mark: &Mark,
        ledger: &Ledger,
        options: &PruneOptions,
    ) -> Result<Vec<(SourceName, BackupId)>, Error> {
        // Read anew for each: what the one before has removed is gone.
        let mut histories = self.histories(Some(&mark.source), ledger).await?;
        let history = histories.remove(&mark.source).unwrap_or_default();
        let gone = self.carry_out(mark, &history, ledger.gate(&mark.source, options.least_percent)).await?;
        Ok(gone.into_iter().map(|backup| (mark.source.clone(), backup)).collect())
    }

    /// Every backup there is, as retention sees it.
    async fn histories(&self, source: Option<&SourceName>, ledger: &Ledger) -> Result<Histories, Error> {
        let read = |(source, backup, stored): (SourceName, BackupId, SystemTime)| async move {
            match self.manifest(&source, backup).await {
                Ok(manifest) => Ok(manifest.map(|manifest| (manifest, stored))),
                // Another maintenance has removed it.
                Err(Error::NotFound { .. }) => Ok(None),
                // Somebody gave it up by name.
                Err(Error::Damaged { .. } | Error::Format { .. } | Error::Signer { .. })
                    if ledger.marked(&source).contains(&backup) =>
                {
                    Ok(None)
                }
                Err(other) => Err(other),
            }
        };
        let entries = self.backup_entries(source).await?;
        let proofs = self.proofs(source).await?;
        let mut read = stream::iter(entries).map(read).buffered(READERS);
        let mut histories = Histories::new();
        while let Some(found) = read.try_next().await? {
            let Some((Manifest { header, .. }, stored)) = found else { continue };
            let proven = proofs.get(&(header.source.clone(), header.backup)).copied().unwrap_or_default();
            let past = Past {
                id: header.backup,
                started: header.started,
                stored: timestamp(stored)?,
                full: header.scope == "full",
                rows: header.totals.rows,
                bytes: header.totals.bytes,
                tags: header.tags,
                pinned: ledger.pins.contains(&(header.source.clone(), header.backup)),
                verified: proven.verified.max(proven.drilled).is_some() && !proven.in_doubt(),
            };
            histories.entry(header.source).or_default().push(past);
        }
        Ok(histories)
    }

    /// Removes hints of backups that never came to be, or are gone.
    async fn tidy_hints(&self, options: &PruneOptions, now: SystemTime) -> Result<(), Error> {
        let mut old = Vec::new();
        let note = |entry: &store::Entry| {
            if let Some(hints) = keys::parse_hints(&entry.key)
                && is_older(entry.modified, options.grace.max(options.silent), now)
            {
                old.push(hints);
            }
        };
        pages::each(self.store.as_ref(), &keys::hints_folder()?, "list hints", note).await?;
        let there: std::collections::BTreeSet<_> = self.backup_ids(None).await?.into_iter().collect();
        for (source, backup) in old.into_iter().filter(|hints| !there.contains(hints)) {
            self.delete(&keys::hints(&source, backup)?).await?;
        }
        Ok(())
    }
}
