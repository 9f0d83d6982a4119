//! The commit: from stored chunks to a manifest.
//!
//! Owns documents, lists, hints and the manifest's header of one session, and the second look at what is condemned. Promises that the
//! manifest is the last object put, and that it names nothing which was condemned while the session ran.

use super::{Commit, DOCUMENT_CHUNK, Original, Session};
use crate::condemned;
use crate::frame::Kind;
use crate::frame::encode_with;
use crate::upload::put_own;
use crate::{
    ChunkRef, DocumentRecord, Error, FORMAT, Hints, List, Manifest, ManifestHeader, SNAPSHOT, SegmentRecord,
    SegmentRefs, SessionId, Totals, keys,
};
use jiff::SignedDuration;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

impl Session {
    /// Everything of a commit but the manifest's put.
    pub(super) async fn prepare(&self, mut commit: Commit) -> Result<Manifest, Error> {
        let mut documents = Vec::new();
        for (name, bytes) in std::mem::take(&mut commit.documents) {
            documents.push(DocumentRecord { refs: self.put_document(bytes).await?, name });
        }
        let mut totals = totals(&commit, &documents);
        commit.segments.sort_by(|(a, _), (b, _)| (&a.stream, a.at).cmp(&(&b.stream, b.at)));
        let mut reused = ReusedObjects::new(self.id);
        reused.note(documents.iter().flat_map(|document| &document.refs));
        reused.note(commit.segments.iter().flat_map(|(_, refs)| &refs.refs));
        let (lists, firsts) = self.put_lists(std::mem::take(&mut commit.segments)).await?;
        reused.note(&lists);
        let hints = Hints { boundaries: std::mem::take(&mut commit.boundaries), lists: firsts };
        self.put_hints(&hints).await?;
        totals.added_bytes = self.uploader.counters.added_bytes.load(Relaxed);
        totals.reused_chunks = self.uploader.counters.reused_chunks.load(Relaxed);
        let header = self.header(&commit, totals, lists, documents);
        if commit.pin {
            self.repository.hold(&self.options.source, self.backup).await?;
        }
        reused.refuse_condemned(&condemned::read(self.store()).await?)?;
        let signer = self.repository.keyring.signing().map(|signing| signing.public());
        Ok(Manifest { header, about: commit.about, sealed: false, signer })
    }

    async fn put_hints(&self, hints: &Hints) -> Result<(), Error> {
        let (key, keyring) = (keys::hints(&self.options.source, self.backup)?, &self.repository.keyring);
        match put_own(self.store(), &key, hints.encode(keyring)?).await {
            // An earlier attempt at this copy has left them; they are advice.
            Err(Error::Conflict { .. }) if self.copy_of.is_some() => Ok(()),
            other => other,
        }
    }

    /// The manifest's open section. A copy tells the times of its original.
    fn header(
        &self,
        commit: &Commit,
        totals: Totals,
        lists: Vec<ChunkRef>,
        documents: Vec<DocumentRecord>,
    ) -> ManifestHeader {
        let passed = SignedDuration::try_from(self.begun.elapsed()).unwrap_or_default();
        let header = ManifestHeader {
            format: FORMAT,
            repository: self.repository.config.id.clone(),
            source: self.options.source.clone(),
            backup: self.backup,
            session: self.id,
            started: self.started,
            finished: self.started.saturating_add(passed).unwrap_or(self.started),
            program: self.options.program.clone(),
            consistency: commit.inexact.clone().unwrap_or_else(|| SNAPSHOT.to_owned()),
            scope: commit.scope.as_str().to_owned(),
            totals,
            lists,
            documents,
            tags: commit.tags.clone(),
            copied_from: None,
        };
        match self.copy_of.as_ref() {
            None => header,
            Some(Original { header: original, repository, .. }) => ManifestHeader {
                started: original.started,
                finished: original.finished,
                program: original.program.clone(),
                consistency: original.consistency.clone(),
                scope: original.scope.clone(),
                copied_from: Some(original.copied_from.clone().unwrap_or_else(|| repository.clone())),
                ..header
            },
        }
    }

    pub(super) async fn put_manifest(&self, manifest: &Manifest) -> Result<(), Error> {
        let key = keys::manifest(&self.options.source, self.backup)?;
        let frame = manifest.encode(self.uploader.sealer(), self.repository.keyring.signing())?;
        if self.copy_of.as_ref().is_some_and(|original| original.replace) {
            // The only way, as objects never change. Whoever dies here has the backup in the other repository still.
            self.store().delete(&key).await.map_err(Error::store(format!("delete {key}")))?;
        }
        match put_own(self.store(), &key, frame).await {
            Err(Error::Conflict { object }) => {
                let there = self.repository.manifest(&self.options.source, self.backup).await;
                match there {
                    Ok(None) => Err(Error::Revoked { session: self.id.to_string() }),
                    Err(error @ Error::Store { .. }) => Err(error),
                    _ => Err(Error::Conflict { object }),
                }
            }
            other => other,
        }
    }

    async fn put_document(&self, bytes: Vec<u8>) -> Result<Vec<ChunkRef>, Error> {
        let mut refs = Vec::new();
        for piece in bytes.chunks(DOCUMENT_CHUNK) {
            let id = self.repository.keyring.id(piece)?;
            if let Some(chunk) = self.known.document(&id) {
                self.uploader.counters.reused_chunks.fetch_add(1, Relaxed);
                refs.push(chunk.clone());
                continue;
            }
            let permit = self.uploader.reserve(piece.len()).await?;
            refs.push(Arc::clone(&self.uploader).store_chunk(piece.to_vec(), Arc::default(), permit).await?);
        }
        Ok(refs)
    }

    async fn put_lists(
        &self,
        segments: Vec<(SegmentRecord, SegmentRefs)>,
    ) -> Result<(Vec<ChunkRef>, Vec<(String, u64)>), Error> {
        let (mut lists, mut firsts, mut open) = (Vec::new(), Vec::new(), List::default());
        let last = segments.len();
        for (number, (record, refs)) in segments.into_iter().enumerate() {
            open.push(record, refs.refs);
            if open.is_complete() || number + 1 == last {
                let list = std::mem::take(&mut open);
                firsts.extend(list.segments.first().map(|segment| (segment.stream.clone(), segment.at)));
                lists.push(self.put_list(&list).await?);
            }
        }
        Ok((lists, firsts))
    }

    async fn put_list(&self, list: &List) -> Result<ChunkRef, Error> {
        let (open, closed) = list.sections()?;
        let id = self.repository.keyring.id(&[open.as_slice(), &closed].concat())?;
        if let Some(known) = self.known.list(&id) {
            return Ok(known.clone());
        }
        let frame = encode_with(Kind::List, &open, &closed, self.uploader.sealer(), None)?;
        let reference = ChunkRef {
            id,
            object: keys::object_name(id, self.id),
            offset: 0,
            stored_len: frame.len() as u64,
            plain_len: (open.len() + closed.len()) as u64,
            stored_sha256: crate::Hash::of(&frame),
        };
        put_own(self.store(), &reference.key(crate::ObjectKind::List)?, frame).await?;
        self.uploader.counters.added_bytes.fetch_add(reference.stored_len, Relaxed);
        Ok(reference)
    }
}

/// Objects of earlier sessions that this backup refers to.
struct ReusedObjects {
    own: String,
    objects: std::collections::HashSet<String>,
}

impl ReusedObjects {
    fn new(session: SessionId) -> Self {
        Self { own: format!("-{session}"), objects: std::collections::HashSet::new() }
    }

    fn note<'a>(&mut self, refs: impl IntoIterator<Item = &'a ChunkRef>) {
        let own = &self.own;
        self.objects
            .extend(refs.into_iter().map(|chunk| &chunk.object).filter(|object| !object.ends_with(own)).cloned());
    }

    fn refuse_condemned(&self, condemned: &condemned::Condemned) -> Result<(), Error> {
        let mut hit: Vec<&String> = self.objects.intersection(condemned).collect();
        hit.sort_unstable();
        match hit.first() {
            Some(first) => Err(Error::Condemned { count: hit.len(), first: (*first).clone() }),
            None => Ok(()),
        }
    }
}

fn totals(commit: &Commit, documents: &[DocumentRecord]) -> Totals {
    let refs = || {
        let segments = commit.segments.iter().flat_map(|(_, refs)| &refs.refs);
        segments.chain(documents.iter().flat_map(|document| &document.refs))
    };
    Totals {
        streams: commit.streams,
        segments: commit.segments.len() as u64,
        rows: commit.rows,
        bytes: commit.segments.iter().map(|(_, refs)| refs.bytes).sum(),
        chunks: refs().count() as u64,
        stored_bytes: refs().map(|chunk| chunk.stored_len).sum(),
        added_bytes: 0,
        reused_chunks: 0,
    }
}
