//! Other people's sessions: who is still writing, and who has been silent for too long.
//!
//! Owns judging sessions by what they have left in the store. Promises that a session counts as over only when it cannot commit any
//! more: it said so itself, or a tombstone stands where its manifest would go, or its manifest is there. Giving up on a silent
//! one is a create-only put of that tombstone: exactly one of manifest and tombstone wins, whenever the sleeper wakes.

use crate::frame::{Frame, Kind, encode};
use crate::upload::put_own;
use crate::{Error, Repository, SessionId, keys, pages};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};
use store::Key;

/// What a session has left.
#[derive(Debug, Clone, Default)]
struct Seen {
    last: Option<SystemTime>,
    ended: bool,
    objects: Vec<Key>,
}

/// All sessions that have left anything.
#[derive(Debug, Default)]
pub(super) struct Sessions(BTreeMap<SessionId, Seen>);

#[derive(Deserialize)]
struct Start {
    manifest: String,
}

impl Sessions {
    /// Lists them.
    pub async fn read(repository: &Repository) -> Result<Self, Error> {
        let mut all: BTreeMap<SessionId, Seen> = BTreeMap::new();
        let note = |entry: &store::Entry| {
            let Some((session, part)) = keys::parse_session(&entry.key) else { return };
            let seen = all.entry(session).or_default();
            seen.last = seen.last.max(Some(entry.modified));
            seen.ended |= part == "end";
            seen.objects.push(entry.key.clone());
        };
        pages::each(repository.store.as_ref(), &keys::sessions_folder()?, "list sessions", note).await?;
        Ok(Self(all))
    }

    /// Whether it may still commit. One that has left nothing was over so long ago that its traces were tidied up: a session's
    /// first object comes before everything else it does.
    pub fn is_open(&self, session: SessionId) -> bool {
        self.0.get(&session).is_some_and(|seen| !seen.ended)
    }

    /// All that may still commit.
    pub fn open(&self) -> Vec<SessionId> {
        self.0.iter().filter(|(_, seen)| !seen.ended).map(|(session, _)| *session).collect()
    }

    /// Ends those that have been silent for longer than `silent`, and returns the ones that will never commit.
    ///
    /// # Errors
    /// The store's. A session whose beginning cannot be read stays open, and is logged.
    pub async fn revoke_silent(
        &mut self,
        repository: &Repository,
        silent: Duration,
        now: SystemTime,
    ) -> Result<Vec<SessionId>, Error> {
        let age = |seen: &Seen| seen.last.and_then(|last| now.duration_since(last).ok()).unwrap_or_default();
        let quiet = self.0.iter_mut().filter(|(_, seen)| !seen.ended && age(seen) > silent);
        let mut revoked = Vec::new();
        for (session, seen) in quiet {
            let outcome = match give_up(repository, *session).await {
                Ok(outcome) => outcome,
                Err(error @ (Error::Damaged { .. } | Error::Format { .. })) => {
                    tracing::warn!(%error, %session, "a silent session cannot be judged; nothing that it may use is deleted");
                    continue;
                }
                Err(other) => return Err(other),
            };
            if outcome == "revoked" {
                revoked.push(*session);
            }
            seen.ended = true;
        }
        Ok(revoked)
    }

    /// Removes what sessions have left that were over so long ago.
    pub async fn tidy(&self, repository: &Repository, kept: Duration, now: SystemTime) -> Result<u64, Error> {
        let mut removed = 0;
        let old = |seen: &&Seen| {
            seen.ended && seen.last.is_some_and(|last| now.duration_since(last).unwrap_or_default() > kept)
        };
        for seen in self.0.values().filter(old) {
            // The end goes last: what is left without it would look like a session at work.
            let (starts, rest): (Vec<&Key>, Vec<&Key>) =
                seen.objects.iter().partition(|key| key.as_str().ends_with("/start"));
            for key in rest.into_iter().filter(|key| !key.as_str().ends_with("/end")).chain(starts) {
                repository.delete(key).await?;
            }
            for key in seen.objects.iter().filter(|key| key.as_str().ends_with("/end")) {
                repository.delete(key).await?;
            }
            removed += 1;
        }
        Ok(removed)
    }
}

/// Puts the tombstone, or finds that the session has committed; then says so in the session's name.
async fn give_up(repository: &Repository, session: SessionId) -> Result<&'static str, Error> {
    let store = repository.store.as_ref();
    let start: Option<Start> = repository.note(&keys::session_start(session)?, Kind::Start).await?;
    let outcome = match start {
        None => "revoked",
        Some(start) => {
            let key = Key::parse(&start.manifest)
                .ok()
                .filter(|key| keys::parse_manifest(key).is_some())
                .ok_or_else(|| Error::damaged(format!("sessions/{session}/start"), "it names no manifest"))?;
            let tombstone = json!({ "session": session, "revoked": true }).to_string();
            match put_own(store, &key, encode(Kind::Tombstone, tombstone.as_bytes(), b"")?).await {
                Ok(()) => "revoked",
                Err(Error::Conflict { .. }) => {
                    let there = store.get(&key).await.map_err(Error::store(format!("read {key}")))?;
                    let kind = Frame::decode(&there, key.as_str())?.kind;
                    if kind == Kind::Manifest { "committed" } else { "revoked" }
                }
                Err(other) => return Err(other),
            }
        }
    };
    let end = json!({ "session": session, "outcome": outcome, "beats": 0 }).to_string();
    match put_own(store, &keys::session_end(session)?, encode(Kind::End, end.as_bytes(), b"")?).await {
        // It has said how it ended in the meantime.
        Ok(()) | Err(Error::Conflict { .. }) => Ok(outcome),
        Err(other) => Err(other),
    }
}
