//! Copying: one backup from one repository into another.
//!
//! Owns the road between two repositories: read, check, seal for the other's keys, store under a session there. The copy keeps its source's
//! name, its id, its times and its totals; its chunks are the other repository's own. Promises that what is damaged here is never copied, that the
//! other repository's protocol is kept (so its maintenance may run meanwhile), and that what is there already is neither read
//! nor stored again: the last backup that both hold tells which chunk here is which chunk there, whatever the keys. A damaged
//! backup is healed in the same way: what is whole of it stays, the rest comes from the other repository, under new keys.
//! Memory: the metadata of two lists or so, and the chunks in flight.

use crate::session::Original;
use crate::{
    BackupId, BeginOptions, ChunkId, ChunkRef, Commit, Error, Hints, List, Manifest, Repository, Scope, SegmentRecord,
    SegmentRefs, Session, SourceName,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::{HashMap, VecDeque};

/// Chunks read at the same time: with the largest chunks some 64 MiB.
const READERS: usize = 8;
/// A bundle is stored when it has so many bytes.
const BUNDLE: usize = 8 << 20;

/// What is wanted of a copy.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// zstd level, 1 to 19.
    pub compression: i32,
    /// Name and version of the program.
    pub program: String,
    /// Take the place of the backup that has this id there: it is damaged. Takes the permission to delete.
    pub replace: bool,
}

/// What became of a copy.
#[derive(Debug)]
pub enum Copied {
    /// It is there.
    Made(Box<Manifest>),
    /// A tombstone stands here: there is nothing to copy.
    Nothing,
    /// Somebody wanted it stopped; what was stored is found by the next attempt.
    Stopped,
}

/// Chunks of a backup that both repositories hold: here by id, there by ref.
type Pairs = HashMap<ChunkId, ChunkRef>;

impl Repository {
    /// Backups that are here and not there, oldest first within a source.
    ///
    /// # Errors
    /// The stores'.
    pub async fn missing_in(
        &self,
        to: &Self,
        source: Option<&SourceName>,
    ) -> Result<Vec<(SourceName, BackupId)>, Error> {
        let there: std::collections::BTreeSet<_> = to.backup_ids(source).await?.into_iter().collect();
        Ok(self.backup_ids(source).await?.into_iter().filter(|backup| !there.contains(backup)).collect())
    }

    /// Copies one backup; `step` is told of each chunk's plain bytes, and `stop` ends it early.
    ///
    /// # Errors
    /// [`Error::Damaged`], [`Error::Missing`], [`Error::Signer`] and [`Error::Sealed`] are about this repository, and the backup is not copied; the rest are
    /// a session's. What was stored until then is found by the next attempt.
    pub async fn copy_backup(
        &self,
        to: &Self,
        source: &SourceName,
        backup: BackupId,
        options: &CopyOptions,
        step: &(dyn Fn(u64) + Sync),
        stop: impl Future<Output = ()>,
    ) -> Result<Copied, Error> {
        let Some(manifest) = self.manifest(source, backup).await? else { return Ok(Copied::Nothing) };
        manifest.about()?;
        let original =
            Original { header: manifest.header.clone(), repository: self.config.id.clone(), replace: options.replace };
        let begin =
            BeginOptions { source: source.clone(), compression: options.compression, program: options.program.clone() };
        let session = Session::begin_copy(to, begin, original).await?;
        let copying = Copying {
            from: self,
            to,
            manifest: &manifest,
            name: format!("{source}@{backup}"),
            step,
            replace: options.replace,
        };
        let copied = tokio::select! {
            biased;
            () = stop => None,
            copied = Box::pin(copying.everything(&session)) => Some(copied),
        };
        match copied {
            None => {
                session.abandon("interrupted").await;
                Ok(Copied::Stopped)
            }
            Some(Ok(commit)) => Ok(Copied::Made(Box::new(session.commit(commit).await?))),
            Some(Err(error)) => {
                session.abandon("failed").await;
                Err(error)
            }
        }
    }
}

/// One backup on its way.
struct Copying<'a> {
    from: &'a Repository,
    to: &'a Repository,
    manifest: &'a Manifest,
    name: String,
    step: &'a (dyn Fn(u64) + Sync),
    replace: bool,
}

impl Copying<'_> {
    async fn everything(&self, session: &Session) -> Result<Commit, Error> {
        let header = &self.manifest.header;
        let mut both = Both::find(self).await?;
        let mut segments = Vec::new();
        for list in &header.lists {
            let list = self.from.read_list(list, &self.name).await?;
            let pairs = both.near(&list).await?;
            segments.extend(self.list(session, list, &pairs).await?);
        }
        let mut documents = Vec::new();
        for document in &header.documents {
            documents.push((document.name.clone(), self.from.read_document(document, &self.name).await?));
        }
        let hints = Hints::read(self.from, &header.source, header.backup).await;
        Ok(Commit {
            segments,
            documents,
            about: self.manifest.about.clone(),
            scope: if header.scope == "full" { Scope::Full } else { Scope::Filtered },
            inexact: None,
            streams: header.totals.streams,
            rows: header.totals.rows,
            boundaries: hints.map(|hints| hints.boundaries).unwrap_or_default(),
            tags: header.tags.clone(),
            // Which backups are kept for ever is each repository's own affair.
            pin: false,
        })
    }

    /// Copies the chunks of one list, and says where each segment's are now.
    async fn list(
        &self,
        session: &Session,
        list: List,
        pairs: &Pairs,
    ) -> Result<Vec<(SegmentRecord, SegmentRefs)>, Error> {
        let known = |chunk: &ChunkRef| pairs.get(&chunk.id).filter(|there| session.can_reuse(there)).cloned();
        let reads = list.segments.iter().flat_map(|segment| list.refs_of(segment)).map(|chunk| {
            let there = known(chunk);
            async move {
                match there {
                    Some(there) => Ok((chunk, Err(there))),
                    None => self.from.read_chunk(chunk, &self.name).await.map(|plain| (chunk, Ok(plain))),
                }
            }
        });
        let mut reads = stream::iter(reads).buffered(READERS);
        let (mut stored, mut unit) = (Vec::new(), session.unit(true));
        for segment in &list.segments {
            unit.begin_segment(&segment.stream, segment.at).await;
            for _ in 0..segment.refs.1 {
                let Some((chunk, read)) = reads.try_next().await? else { break };
                (self.step)(chunk.plain_len);
                match read {
                    Ok(plain) => unit.add(plain, chunk.is_bundled()).await?,
                    Err(there) => unit.reuse(there),
                }
            }
            unit.end_segment().await?;
            if unit.bundled_bytes() >= BUNDLE {
                stored.extend(std::mem::replace(&mut unit, session.unit(true)).finish().await?);
            }
        }
        drop(reads);
        stored.extend(unit.finish().await?);
        Ok(list.segments.into_iter().zip(stored).collect())
    }
}

/// The newest older backup that both repositories hold, list by list. Lists are cut by the names of segments, so those of a
/// copy are those of its original.
struct Both<'a> {
    copying: &'a Copying<'a>,
    /// Lists that were not read yet: here, and there.
    ahead: VecDeque<(ChunkRef, ChunkRef)>,
    /// Lists read that may still be of use: by the name of their last segment.
    near: VecDeque<((String, u64), Pairs)>,
}

impl<'a> Both<'a> {
    async fn find(copying: &'a Copying<'a>) -> Result<Self, Error> {
        let (source, backup) = (&copying.manifest.header.source, copying.manifest.header.backup);
        let here = copying.from.backup_ids(Some(source)).await?;
        let there = copying.to.backup_ids(Some(source)).await?;
        // What replaces a damaged backup finds the rest of it where it is.
        let older = |id: BackupId| id < backup || (copying.replace && id == backup);
        let mut both = here.iter().rev().filter(|it| older(it.1) && there.contains(it)).map(|(_, id)| *id);
        let mut ahead = VecDeque::new();
        if let Some(last) = both.next() {
            let original = legible(copying.from.manifest(source, last).await)?;
            let copy = legible(copying.to.manifest(source, last).await)?;
            if let (Some(original), Some(copy)) = (original, copy)
                && original.header.lists.len() == copy.header.lists.len()
            {
                ahead = original.header.lists.into_iter().zip(copy.header.lists).collect();
            }
        }
        Ok(Self { copying, ahead, near: VecDeque::new() })
    }

    /// What is known of the chunks that a list may name.
    async fn near(&mut self, list: &List) -> Result<Pairs, Error> {
        let name = |segment: &SegmentRecord| (segment.stream.clone(), segment.at);
        let (Some(first), Some(last)) = (list.segments.first().map(name), list.segments.last().map(name)) else {
            return Ok(Pairs::new());
        };
        self.near.retain(|(end, _)| *end >= first);
        while self.near.back().is_none_or(|(end, _)| *end < last) {
            let Some((here, there)) = self.ahead.pop_front() else { break };
            let from = legible(self.copying.from.read_list(&here, &self.copying.name).await.map(Some))?;
            let to = legible(self.copying.to.read_list_refs(&there, &self.copying.name).await.map(Some))?;
            let (Some(from), Some(to)) = (from, to) else { continue };
            let Some(end) = from.segments.last().map(name).filter(|end| *end >= first) else { continue };
            let same = from.refs.len() == to.len()
                && from.refs.iter().zip(&to).all(|(here, there)| here.plain_len == there.plain_len);
            if same {
                self.near.push_back((end, from.refs.into_iter().map(|chunk| chunk.id).zip(to).collect()));
            }
        }
        Ok(self.near.iter().flat_map(|(_, pairs)| pairs.clone()).collect())
    }
}

/// What cannot be read of an older backup costs time, not this one.
fn legible<T>(read: Result<Option<T>, Error>) -> Result<Option<T>, Error> {
    match read {
        Err(
            error @ (Error::Damaged { .. } | Error::Missing { .. } | Error::NotFound { .. } | Error::Signer { .. }),
        ) => {
            tracing::warn!(%error, "the last backup that was copied is not legible; more is copied again than need be");
            Ok(None)
        }
        other => other,
    }
}
