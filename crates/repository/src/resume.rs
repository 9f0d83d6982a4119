//! Resuming: what sessions that never committed have left behind.
//!
//! Owns finding it: the journal in the beats of sessions of the same source that are younger than its last backup. Promises that a chunk is
//! offered only when its object is there whole and not condemned; whatever else is wrong costs space, never correctness, so trouble
//! is logged and means "nothing". In an encrypted repository a journal counts only when a known signer has signed it: whoever can
//! write into the store could otherwise have the next backup refer to rubbish. Reading the same rows again is cheap beside storing them again.

use crate::condemned::Condemned;
use crate::frame::{Frame, Kind};
use crate::known::KnownSet;
use crate::present::Present;
use crate::{ChunkRef, Error, Repository, SessionId, SourceName, keys, pages};
use serde::Deserialize;
use std::collections::BTreeMap;
use store::Key;

/// Sessions looked at, newest first: a backup that fails every hour for a day is still found.
const MOST_SESSIONS: usize = 24;
/// Refs kept: some 25 MB, for 200 GB in chunks of 2 MiB.
const MOST_REFS: usize = 100_000;

#[derive(Deserialize)]
struct Start {
    source: SourceName,
}

#[derive(Deserialize)]
struct Beat {
    refs: Vec<ChunkRef>,
}

/// The chunks that such sessions have stored. `after` is the session of the last backup, `own` the one that asks.
pub(crate) async fn left_behind(
    repository: &Repository,
    source: &SourceName,
    own: SessionId,
    after: Option<SessionId>,
    condemned: &Condemned,
) -> KnownSet {
    let found = read(repository, source, own, after, condemned).await;
    found.unwrap_or_else(|error| {
        tracing::warn!(%error, "what an interrupted backup has left cannot be read; it is stored again");
        KnownSet::new()
    })
}

async fn read(
    repository: &Repository,
    source: &SourceName,
    own: SessionId,
    after: Option<SessionId>,
    condemned: &Condemned,
) -> Result<KnownSet, Error> {
    let mut beats: BTreeMap<SessionId, Vec<Key>> = BTreeMap::new();
    let note = |entry: &store::Entry| {
        let Some((session, part)) = keys::parse_session(&entry.key) else { return };
        if session != own && after.is_none_or(|after| session > after) && part.starts_with("beat-") {
            beats.entry(session).or_default().push(entry.key.clone());
        }
    };
    pages::each(repository.store.as_ref(), &keys::sessions_folder()?, "list sessions", note).await?;
    let (mut refs, mut sessions) = (Vec::new(), 0);
    for (session, beats) in beats.into_iter().rev().take(MOST_SESSIONS) {
        match journal(repository, source, session, &beats, &mut refs).await {
            Ok(of_this_source) => sessions += usize::from(of_this_source),
            Err(error) => tracing::warn!(%error, %session, "the journal of an interrupted backup cannot be read"),
        }
    }
    if refs.is_empty() {
        return Ok(KnownSet::new());
    }
    let present = Present::read(repository.store.as_ref()).await?;
    refs.retain(|chunk| present.holds(chunk) && !condemned.contains(&chunk.object));
    tracing::info!(
        sessions,
        chunks = refs.len(),
        "an interrupted backup has left chunks that need not be stored again"
    );
    Ok(refs.into_iter().map(|chunk| (chunk.id, chunk)).collect())
}

/// Adds what a session has stored; false for another source's.
async fn journal(
    repository: &Repository,
    source: &SourceName,
    session: SessionId,
    beats: &[Key],
    refs: &mut Vec<ChunkRef>,
) -> Result<bool, Error> {
    let start: Start = open(repository, &keys::session_start(session)?, Kind::Start).await?;
    if start.source != *source {
        return Ok(false);
    }
    for beat in beats {
        let room = MOST_REFS.saturating_sub(refs.len());
        let read: Beat = open(repository, beat, Kind::Beat).await?;
        refs.extend(read.refs.into_iter().take(room));
    }
    Ok(true)
}

async fn open<T: serde::de::DeserializeOwned>(repository: &Repository, key: &Key, kind: Kind) -> Result<T, Error> {
    let bytes = repository.store.get(key).await.map_err(Error::store(format!("read {key}")))?;
    let frame = Frame::expect(&bytes, key.as_str(), kind)?;
    repository.keyring.believe(frame.signer, key.as_str())?;
    serde_json::from_slice(&frame.open).map_err(|e| Error::damaged(key.as_str(), e.to_string()))
}
