//! Verifying: is everything that backups refer to there, and is it what was written?
//!
//! Owns reading manifests, lists and chunks for no other purpose than to check them, and the account of what is wrong.
//! Promises that each stored chunk is read once however many backups share it, that damage is named by object together with
//! every backup it hurts, and that one damaged object does not hide the next. Needs no key: what it compares are the stored
//! bytes' hashes, and the content's where it is not sealed. Memory: 16 bytes per chunk, and the chunks in flight.
//!
//! What cannot be read because the store fails is an error, not damage: a verification that could not look has no result.

use crate::condemned;
use crate::read::Rooms;
use crate::{BackupId, ChunkRef, Error, Hash, Manifest, ObjectKind, Repository, SourceName};
use futures_util::{StreamExt, stream};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Chunks read and checked at the same time: with the largest chunks some 128 MiB.
const READERS: usize = 8;
/// Lists read ahead of their chunks.
const LISTS_AHEAD: usize = 2;
/// Most damaged objects that are named; the number of all is given.
const MOST_NAMED: usize = 1000;
/// Names in one decision: some 10 MB.
const MOST_CONDEMNED: usize = 100_000;

/// A backup, as `source@id`.
type Name = String;

/// How much to read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// Of the chunks: more than 0, at most 1. Manifests and lists are always read.
    pub of_chunks: f64,
    /// Which ones: another seed chooses others.
    pub seed: u64,
}

impl Share {
    /// Everything.
    pub const ALL: Self = Self { of_chunks: 1.0, seed: 0 };

    /// A number in 0..1 that is as even as the hash is: 53 bits make one.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn draw(&self, chunk: u64) -> f64 {
        (mix(chunk ^ self.seed) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn contains(&self, chunk: u64) -> bool {
        self.of_chunks >= 1.0 || self.draw(chunk) < self.of_chunks
    }
}

/// One damaged or missing object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Damage {
    /// Its key.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// The backups that cannot be restored without it, sorted.
    pub backups: BTreeSet<Name>,
}

/// What was looked at, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct Verified {
    /// Backups whose manifest, lists and chosen chunks were read.
    pub backups: u64,
    /// Of these, the ones that nothing damaged hurts; known only when all chunks were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intact_backups: Option<u64>,
    /// The ones that something damaged hurts.
    pub hurt_backups: u64,
    /// Distinct lists read.
    pub lists: u64,
    /// Distinct chunks read.
    pub chunks: u64,
    /// Distinct chunks that there are.
    pub chunks_in_all: u64,
    /// Bytes of the chunks that were read, as stored.
    pub stored_bytes: u64,
    /// Damaged and missing objects: how many.
    pub damaged: u64,
    /// Of these, the wrapped keys: without them no backup is hurt, and somebody may be locked out.
    pub damaged_keys: u64,
    /// The first of the damaged and missing objects.
    pub damage: Vec<Damage>,
    /// Names of all damaged chunks' objects.
    #[serde(skip)]
    damaged_chunks: Vec<String>,
    /// Objects that the next backup will store again instead of reusing them.
    pub condemned: u64,
    /// Each backup that was looked at, and whether nothing damaged hurts it.
    #[serde(skip)]
    pub checked: Vec<(SourceName, BackupId, bool)>,
}

/// What is known while it goes on.
#[derive(Default)]
struct Findings {
    /// What is wrong, by the object's key.
    wrong: BTreeMap<String, (String, BTreeSet<Name>)>,
    seen: HashSet<u64>,
    rooms: Arc<Rooms>,
    /// What a sample would take next: it is read when the sample is empty otherwise.
    nearest: Option<(f64, ChunkRef, Vec<Name>)>,
    result: Verified,
}

impl Findings {
    /// Notes damage; any other error ends the verification.
    fn note(&mut self, error: Error, backups: impl IntoIterator<Item = Name>) -> Result<(), Error> {
        let (object, what) = match error {
            Error::Damaged { object, what } => (object, what),
            Error::Missing { object, .. } => (object, "it is missing".to_owned()),
            Error::Signer { object, signer: Some(key) } => {
                (object, format!("it is signed by {key}, whom nobody knows here"))
            }
            Error::Signer { object, signer: None } => (object, "it is not signed".to_owned()),
            other => return Err(other),
        };
        self.wrong.entry(object).or_insert_with(|| (what, BTreeSet::new())).1.extend(backups);
        Ok(())
    }

    /// Remembers the unread chunk that was nearest to being chosen.
    fn note_unread(&mut self, draw: f64, chunk: &ChunkRef, backups: &[Name]) {
        if self.nearest.as_ref().is_none_or(|(nearest, ..)| draw < *nearest) {
            self.nearest = Some((draw, chunk.clone(), backups.to_vec()));
        }
    }

    /// Whether a chunk has not been seen before.
    fn is_new(&mut self, chunk: &ChunkRef) -> Option<u64> {
        let hash = Hash::of(format!("{}\0{}", chunk.object, chunk.offset).as_bytes());
        let short = hash.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        self.seen.insert(short).then_some(short)
    }
}

/// A list, and whose it is.
struct Owned {
    list: ChunkRef,
    backups: Vec<Name>,
}

impl Repository {
    /// Reads everything that these backups refer to, or a share of it. `step` is told of each chunk's stored bytes.
    ///
    /// # Errors
    /// The store's, and those of objects that a newer version wrote or that are sealed. Damage is no error: it is the result.
    pub async fn verify(
        &self,
        backups: &[(SourceName, BackupId)],
        share: Share,
        step: &(dyn Fn(u64) + Sync),
    ) -> Result<Verified, Error> {
        let mut findings = Findings::default();
        if self.keyring.is_encrypted() {
            for error in self.damaged_wraps().await? {
                // Whoever has another identity still reads every backup: none of them is hurt.
                findings.note(error, [])?;
            }
        }
        let (lists, documents) = self.manifests_of(backups, &mut findings).await?;
        findings.result.lists = lists.len() as u64;
        self.chunks_of(&documents, share, step, &mut findings).await?;
        let mut read = stream::iter(&lists)
            .map(|owned| async move { (owned, self.read_list_refs(&owned.list, "a backup").await) })
            .buffered(LISTS_AHEAD);
        while let Some((owned, list)) = read.next().await {
            match list {
                Ok(refs) => {
                    let refs: Vec<_> = refs.into_iter().map(|chunk| (chunk, owned.backups.clone())).collect();
                    self.chunks_of(&refs, share, step, &mut findings).await?;
                }
                Err(error) => findings.note(error, owned.backups.iter().cloned())?,
            }
        }
        drop(read);
        // Whoever asks for a little does not ask for nothing.
        if let Some((_, chunk, backups)) = findings.nearest.take().filter(|_| findings.result.chunks == 0) {
            self.read_chunks(&[(&chunk, &backups)], step, &mut findings).await?;
        }
        self.all_users(&lists, &documents, &mut findings).await?;
        Ok(conclude(findings))
    }

    /// Makes the next backup store damaged chunks again instead of reusing them. Nothing is deleted.
    ///
    /// # Errors
    /// The store's: whoever verifies may not be allowed to write.
    pub async fn condemn(&self, verified: &mut Verified) -> Result<(), Error> {
        let known = condemned::read(self.store.as_ref()).await?;
        let new: Vec<String> = verified.damaged_chunks.iter().filter(|name| !known.contains(*name)).cloned().collect();
        for some in new.chunks(MOST_CONDEMNED) {
            condemned::write(self.store.as_ref(), some).await?;
            verified.condemned += some.len() as u64;
        }
        Ok(())
    }

    /// The lists of all manifests, each once, and the chunks of their documents.
    async fn manifests_of(
        &self,
        backups: &[(SourceName, BackupId)],
        findings: &mut Findings,
    ) -> Result<(Vec<Owned>, Vec<(ChunkRef, Vec<Name>)>), Error> {
        let mut manifests = stream::iter(backups)
            .map(|(source, backup)| async move { (source, *backup, self.manifest(source, *backup).await) })
            .buffered(READERS);
        let mut lists: BTreeMap<String, Owned> = BTreeMap::new();
        let mut documents = Vec::new();
        while let Some((source, backup, manifest)) = manifests.next().await {
            let name = name_of(source, backup);
            if !matches!(manifest, Ok(None)) {
                findings.result.backups += 1;
                findings.result.checked.push((source.clone(), backup, true));
            }
            let Manifest { header, .. } = match manifest {
                Ok(None) => continue,
                Ok(Some(manifest)) => manifest,
                Err(error) => {
                    findings.note(error, [name])?;
                    continue;
                }
            };
            for list in header.lists {
                let owned = lists.entry(list.object.clone()).or_insert(Owned { list, backups: Vec::new() });
                owned.backups.push(name.clone());
            }
            let refs = header.documents.into_iter().flat_map(|document| document.refs);
            documents.extend(refs.map(|chunk| (chunk, vec![name.clone()])));
        }
        Ok((lists.into_values().collect(), documents))
    }

    /// Reads the chunks that nobody has read yet and that the share contains.
    async fn chunks_of(
        &self,
        refs: &[(ChunkRef, Vec<Name>)],
        share: Share,
        step: &(dyn Fn(u64) + Sync),
        findings: &mut Findings,
    ) -> Result<(), Error> {
        let mut chosen = Vec::new();
        for (chunk, backups) in refs {
            let Some(short) = findings.is_new(chunk) else { continue };
            findings.result.chunks_in_all += 1;
            if share.contains(short) {
                chosen.push((chunk, backups));
            } else {
                findings.note_unread(share.draw(short), chunk, backups);
            }
        }
        self.read_chunks(&chosen, step, findings).await
    }

    /// Reads chunks and notes what is wrong with them.
    async fn read_chunks(
        &self,
        chosen: &[(&ChunkRef, &Vec<Name>)],
        step: &(dyn Fn(u64) + Sync),
        findings: &mut Findings,
    ) -> Result<(), Error> {
        let rooms = &findings.rooms.clone();
        let mut reads = stream::iter(chosen)
            .map(|(chunk, backups)| async move {
                let read = self.verify_chunk(chunk, "a backup", rooms).await;
                (chunk, backups, read)
            })
            .buffer_unordered(READERS);
        while let Some((chunk, backups, read)) = reads.next().await {
            findings.result.chunks += 1;
            findings.result.stored_bytes += chunk.stored_len;
            step(chunk.stored_len);
            if let Err(error) = read {
                findings.note(error, backups.iter().cloned())?;
            }
        }
        Ok(())
    }

    /// Finds every backup that a damaged chunk hurts: it was noted for the first that named it only.
    async fn all_users(
        &self,
        lists: &[Owned],
        documents: &[(ChunkRef, Vec<Name>)],
        findings: &mut Findings,
    ) -> Result<(), Error> {
        if findings.wrong.is_empty() {
            return Ok(());
        }
        let mut users: HashMap<String, BTreeSet<Name>> = HashMap::new();
        let mut note = |chunk: &ChunkRef, backups: &[Name]| -> Result<(), Error> {
            let key = chunk.key(ObjectKind::Chunk)?.to_string();
            if findings.wrong.contains_key(&key) {
                users.entry(key).or_default().extend(backups.iter().cloned());
            }
            Ok(())
        };
        for (chunk, backups) in documents {
            note(chunk, backups)?;
        }
        for owned in lists {
            let refs = match self.read_list_refs(&owned.list, "a backup").await {
                Ok(refs) => refs,
                // In the account already.
                Err(Error::Damaged { .. } | Error::Missing { .. }) => continue,
                // Whom the damage hurts is not known then: nobody may pass for whole.
                Err(other) => return Err(other),
            };
            refs.iter().try_for_each(|chunk| note(chunk, &owned.backups))?;
        }
        for (object, backups) in users {
            if let Some((_, hurt)) = findings.wrong.get_mut(&object) {
                hurt.extend(backups);
            }
        }
        Ok(())
    }
}

fn name_of(source: &SourceName, backup: BackupId) -> Name {
    format!("{source}@{backup}")
}

fn conclude(findings: Findings) -> Verified {
    let mut result = findings.result;
    let hurt: BTreeSet<&Name> = findings.wrong.values().flat_map(|(_, backups)| backups).collect();
    let all = result.chunks == result.chunks_in_all;
    result.intact_backups = all.then(|| result.backups.saturating_sub(hurt.len() as u64));
    result.hurt_backups = hurt.len() as u64;
    let chunks = findings.wrong.keys().filter_map(|object| object.strip_prefix("chunks/")?.split_once('/'));
    result.damaged_chunks = chunks.map(|(_, name)| name.to_owned()).collect();
    for (source, backup, whole) in &mut result.checked {
        *whole = !hurt.contains(&name_of(source, *backup));
    }
    result.damaged = findings.wrong.len() as u64;
    result.damaged_keys = findings.wrong.values().filter(|(_, backups)| backups.is_empty()).count() as u64;
    let damage = findings.wrong.into_iter().take(MOST_NAMED);
    result.damage = damage.map(|(object, (what, backups))| Damage { object, what, backups }).collect();
    result
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood 2014): neighbouring seeds choose unlike chunks.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_share_is_about_as_large_as_it_says_and_another_seed_chooses_others() {
        let chosen = |of_chunks, seed| -> HashSet<u64> {
            (0..10_000_u64).filter(|chunk| Share { of_chunks, seed }.contains(mix(*chunk))).collect()
        };
        for (share, expected) in [(0.01, 100_usize), (0.05, 500), (0.5, 5000)] {
            let seen = chosen(share, 7).len();
            assert!(seen.abs_diff(expected) < expected / 2 + 20, "{share}: {seen}");
        }
        assert_eq!(chosen(1.0, 7).len(), 10_000);
        assert_ne!(chosen(0.05, 1), chosen(0.05, 2));
    }
}
