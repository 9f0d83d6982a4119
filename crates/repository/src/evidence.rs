//! Evidence: what verifications and drills have found out about backups.
//!
//! Owns writing one small object per backup and result, and what all of them together say. Promises that only a result
//! which was read undamaged, belongs to this repository and names that very backup counts as proof; that a sample never counts as
//! a verification; and that a store which cannot be read is an error: not knowing what is proven is not the same as
//! nothing being proven. Ignores strangers, and, with a warning, what is damaged.
//!
//! The name of an object says what is in it, so that a listing is enough to know which few to read. What counts is inside.

use crate::frame::{Frame, Kind, encode};
use crate::upload::put_own;
use crate::{BackupId, Error, FORMAT, Repository, SourceName, keys};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;
use store::{Key, Prefix};
use ulid::Ulid;

/// Pieces of evidence that are read at the same time.
const READERS: usize = 16;
/// Pieces of evidence that are put at the same time.
const WRITERS: usize = 8;
/// How many of the newest results of one sort are tried for one backup before nothing is known: some may be damaged.
const MOST_TRIED: usize = 4;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EvidenceKind {
    /// Stored bytes were read and compared with their hashes.
    Verify,
    /// The backup was restored into a database that was dropped afterwards, and compared.
    Drill,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// What was looked at is as it was written.
    Good,
    /// Something is damaged, missing, or different from the backup's record.
    Bad,
}

/// What one verification or drill has found out about one backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// The backup's source.
    pub source: SourceName,
    /// The backup.
    pub backup: BackupId,
    /// What was done.
    pub kind: EvidenceKind,
    /// When it was known, by the store's clock.
    pub at: Timestamp,
    /// What came of it.
    pub outcome: Outcome,
    /// [`Evidence::ALL`], or what share of the chunks was read, such as `5%`.
    pub share: String,
    /// Name and version of the program.
    pub program: String,
    /// How long the run took that found it out.
    pub seconds: u64,
    /// Drills: the server that it was restored into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_version: Option<String>,
    /// Drills: rows that were compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// Drills: how they were compared; `content`: all of them were read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
struct Record {
    format: u64,
    repository: String,
    #[serde(flatten)]
    evidence: Evidence,
}

impl Evidence {
    /// The share that means everything.
    pub const ALL: &'static str = "all";

    fn sort(&self) -> Sort {
        let (all, good) = (self.share == Self::ALL, self.outcome == Outcome::Good);
        match (self.kind, all, good) {
            (EvidenceKind::Verify, true, true) => Sort::VerifyGood,
            (EvidenceKind::Verify, true, false) => Sort::VerifyBad,
            (EvidenceKind::Verify, false, true) => Sort::SampleGood,
            (EvidenceKind::Verify, false, false) => Sort::SampleBad,
            (EvidenceKind::Drill, _, true) => Sort::DrillGood,
            (EvidenceKind::Drill, _, false) => Sort::DrillBad,
        }
    }
}

/// What the name of an object says that is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Sort {
    VerifyGood,
    VerifyBad,
    SampleGood,
    SampleBad,
    DrillGood,
    DrillBad,
}

impl Sort {
    const ALL: [Self; 6] =
        [Self::VerifyGood, Self::VerifyBad, Self::SampleGood, Self::SampleBad, Self::DrillGood, Self::DrillBad];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::VerifyGood => "verify-good",
            Self::VerifyBad => "verify-bad",
            Self::SampleGood => "sample-good",
            Self::SampleBad => "sample-bad",
            Self::DrillGood => "drill-good",
            Self::DrillBad => "drill-bad",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| sort.as_str() == text)
    }

    /// What it may prove; a good sample proves nothing.
    fn claim(self) -> Option<Claim> {
        match self {
            Self::VerifyGood => Some(Claim::Verified),
            Self::DrillGood => Some(Claim::Drilled),
            Self::VerifyBad | Self::SampleBad | Self::DrillBad => Some(Claim::Failed),
            Self::SampleGood => None,
        }
    }
}

/// The members of [`Proofs`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Claim {
    Verified,
    Drilled,
    Failed,
}

/// What is proven of a backup, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Proofs {
    /// The newest verification that read all of it and found nothing wrong.
    pub verified: Option<Timestamp>,
    /// The newest drill whose content was what the backup recorded.
    pub drilled: Option<Timestamp>,
    /// The newest verification, sample or drill that found something wrong.
    pub failed: Option<Timestamp>,
}

impl Proofs {
    /// Whether something was found wrong since it was last found whole.
    #[must_use]
    pub fn in_doubt(&self) -> bool {
        // `None` is less than any time.
        self.failed.is_some() && self.failed >= self.verified.max(self.drilled)
    }

    fn note(&mut self, claim: Claim, at: Timestamp) {
        let place = match claim {
            Claim::Verified => &mut self.verified,
            Claim::Drilled => &mut self.drilled,
            Claim::Failed => &mut self.failed,
        };
        *place = (*place).max(Some(at));
    }
}

/// Names of evidence of one backup by what they claim, the oldest first, few of each.
type Candidates = BTreeMap<Claim, Vec<(Ulid, Sort)>>;

impl Repository {
    /// Records a result. Returns the key of the object that holds it.
    ///
    /// # Errors
    /// The store's: whoever verifies may not be allowed to write.
    pub async fn put_evidence(&self, evidence: &Evidence) -> Result<String, Error> {
        let key = keys::evidence(evidence.backup, Ulid::from_datetime(SystemTime::from(evidence.at)), evidence.sort())?;
        let record = Record { format: FORMAT, repository: self.config.id.clone(), evidence: evidence.clone() };
        let open = serde_json::to_vec(&record).map_err(|e| Error::Internal(format!("write evidence: {e}")))?;
        put_own(self.store.as_ref(), &key, encode(Kind::Evidence, &open, b"")?).await?;
        Ok(key.to_string())
    }

    /// Records results, several at the same time, in no order; the first that cannot be put ends it.
    ///
    /// # Errors
    /// As [`Repository::put_evidence`]; some may be recorded then.
    pub async fn put_all_evidence(&self, all: &[Evidence]) -> Result<(), Error> {
        stream::iter(all)
            .map(|evidence| async move { self.put_evidence(evidence).await.map(drop) })
            .buffer_unordered(WRITERS)
            .try_collect()
            .await
    }

    /// What is proven of the backups that there are, of one source or of all. A backup of which nothing is known is not in it.
    /// Ids are of one source in all but theory; of all sources, an id that two share is left out: see [`Repository::proofs`].
    ///
    /// # Errors
    /// The store's. Evidence that is damaged is none.
    pub async fn evidence(&self, source: Option<&SourceName>) -> Result<BTreeMap<BackupId, Proofs>, Error> {
        let (mut found, mut shared) = (BTreeMap::new(), BTreeSet::new());
        for ((_, backup), proofs) in self.proofs(source).await? {
            if found.insert(backup, proofs).is_some() {
                shared.insert(backup);
            }
        }
        found.retain(|backup, _| !shared.contains(backup));
        Ok(found)
    }

    /// As [`Repository::evidence`], by source and backup. One listing, and at most three reads a backup while nothing is damaged.
    ///
    /// # Errors
    /// As [`Repository::evidence`].
    pub async fn proofs(&self, source: Option<&SourceName>) -> Result<BTreeMap<(SourceName, BackupId), Proofs>, Error> {
        let backups = self.backup_ids(source).await?;
        let there: BTreeSet<BackupId> = backups.iter().map(|(_, backup)| *backup).collect();
        let mut candidates: BTreeMap<BackupId, Candidates> = BTreeMap::new();
        self.each_name(&keys::evidence_folder(None)?, |backup, ulid, sort| {
            if there.contains(&backup) {
                remember(candidates.entry(backup).or_default(), ulid, sort);
            }
        })
        .await?;
        let candidates = &candidates;
        let known = backups.into_iter().filter(|(_, backup)| candidates.contains_key(backup));
        stream::iter(known)
            .map(|(source, backup)| async move {
                let proofs = self.conclude(&source, backup, candidates.get(&backup)).await?;
                Ok(((source, backup), proofs))
            })
            .buffer_unordered(READERS)
            .try_filter(|(_, proofs)| std::future::ready(*proofs != Proofs::default()))
            .try_collect()
            .await
    }

    /// What is proven of one backup.
    ///
    /// # Errors
    /// As [`Repository::evidence`].
    pub async fn proofs_of(&self, source: &SourceName, backup: BackupId) -> Result<Proofs, Error> {
        let mut candidates = Candidates::new();
        self.each_name(&keys::evidence_folder(Some(backup))?, |_, ulid, sort| remember(&mut candidates, ulid, sort))
            .await?;
        self.conclude(source, backup, Some(&candidates)).await
    }

    /// The newest good verification and the newest good drill of each of these sources, whichever backup it was of, gone ones
    /// included. What is older than `since` is not looked for.
    ///
    /// # Errors
    /// As [`Repository::evidence`].
    pub async fn newest_proofs(
        &self,
        sources: &BTreeSet<SourceName>,
        since: Timestamp,
    ) -> Result<BTreeMap<SourceName, Proofs>, Error> {
        let since = u64::try_from(since.as_millisecond()).unwrap_or_default();
        let mut names: BTreeMap<Claim, Vec<(Ulid, BackupId, Sort)>> = BTreeMap::new();
        self.each_name(&keys::evidence_folder(None)?, |backup, ulid, sort| {
            let claim = sort.claim().filter(|claim| *claim != Claim::Failed && ulid.timestamp_ms() >= since);
            if let Some(claim) = claim {
                names.entry(claim).or_default().push((ulid, backup, sort));
            }
        })
        .await?;
        let mut found: BTreeMap<SourceName, Proofs> = BTreeMap::new();
        for (claim, mut names) in names {
            names.sort_unstable_by(|a, b| b.cmp(a));
            let mut missing = sources.clone();
            let mut read = stream::iter(names)
                .map(|(ulid, backup, sort)| async move { self.read_evidence(backup, ulid, sort).await })
                .buffered(READERS);
            while let Some(evidence) = read.next().await {
                // The newest comes first: later ones of the same source say nothing more.
                if let Some(evidence) = evidence?.filter(|evidence| missing.remove(&evidence.source)) {
                    found.entry(evidence.source).or_default().note(claim, evidence.at);
                }
                if missing.is_empty() {
                    break;
                }
            }
        }
        Ok(found)
    }

    /// Reads the newest results of one backup, as few as are needed.
    async fn conclude(
        &self,
        source: &SourceName,
        backup: BackupId,
        candidates: Option<&Candidates>,
    ) -> Result<Proofs, Error> {
        let mut proofs = Proofs::default();
        for (claim, names) in candidates.into_iter().flatten() {
            for (ulid, sort) in names.iter().rev() {
                let evidence = self.read_evidence(backup, *ulid, *sort).await?;
                if let Some(evidence) = evidence.filter(|evidence| evidence.source == *source) {
                    proofs.note(*claim, evidence.at);
                    break;
                }
            }
        }
        Ok(proofs)
    }

    /// Tells of each name in a folder, in the order of keys.
    async fn each_name(&self, folder: &Prefix, mut tell: impl FnMut(BackupId, Ulid, Sort)) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = self.store.list(folder, after.as_ref()).await.map_err(Error::store("list evidence"))?;
            for (backup, ulid, sort) in page.entries.iter().filter_map(|entry| keys::parse_evidence(&entry.key)) {
                tell(backup, ulid, sort);
            }
            after = page.entries.last().map(|entry| entry.key.clone());
            if !page.more || after.is_none() {
                return Ok(());
            }
        }
    }

    /// One piece of evidence; `None` when it is gone, damaged or not what its name says.
    async fn read_evidence(&self, backup: BackupId, ulid: Ulid, sort: Sort) -> Result<Option<Evidence>, Error> {
        let key = keys::evidence(backup, ulid, sort)?;
        let bytes = match self.store.get(&key).await {
            Ok(bytes) => bytes,
            Err(store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(Error::Store { what: format!("read {key}"), source }),
        };
        match self.decode_evidence(&bytes, &key, backup, sort) {
            Ok(evidence) => Ok(Some(evidence)),
            Err(error) => {
                tracing::warn!(%error, "evidence that cannot be used is ignored");
                Ok(None)
            }
        }
    }

    fn decode_evidence(&self, bytes: &[u8], key: &Key, backup: BackupId, sort: Sort) -> Result<Evidence, Error> {
        let frame = Frame::expect(bytes, key.as_str(), Kind::Evidence)?;
        let damaged = |what: String| Error::damaged(key.as_str(), what);
        let raw: serde_json::Value = serde_json::from_slice(&frame.open).map_err(|e| damaged(e.to_string()))?;
        let found = raw.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if found != FORMAT {
            return Err(Error::Format { object: key.to_string(), found, known: FORMAT });
        }
        let Record { repository, evidence, .. } = serde_json::from_value(raw).map_err(|e| damaged(e.to_string()))?;
        if repository != self.config.id || evidence.backup != backup || evidence.sort() != sort {
            let (source, backup) = (&evidence.source, evidence.backup);
            return Err(damaged(format!(
                "it is about {source}@{backup} of repository {repository}, and not at its place"
            )));
        }
        Ok(evidence)
    }
}

/// Keeps the newest names of each sort that matters. They come in the order of keys: the newest last.
fn remember(candidates: &mut Candidates, ulid: Ulid, sort: Sort) {
    let Some(claim) = sort.claim() else { return };
    let names = candidates.entry(claim).or_default();
    names.push((ulid, sort));
    if names.len() > MOST_TRIED {
        names.remove(0);
    }
}
