//! Known chunks: what the last backup stored, so that it need not be stored again.
//!
//! Owns the lookup from a chunk's id to a ref of the previous manifest. Promises bounded memory whatever the size of the
//! database: lists are loaded when a segment of theirs is read, and only the last few are kept. Refuses condemned objects, and objects that are no
//! longer there.
//! A list that cannot be read makes its chunks unknown, which costs space and nothing else.

use crate::condemned::Condemned;
use crate::present::Present;
use crate::{ChunkId, ChunkRef, Hints, Manifest, Repository};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, PoisonError};
use tokio::sync::Mutex;

/// Lists kept in memory: each of at most some 4,096 refs of about 250 bytes.
const KEPT_LISTS: usize = 12;
/// Refs kept when there are no hints to say which list holds what.
const MOST_WITHOUT_HINTS: usize = 100_000;

/// Refs by id, of one list.
pub(crate) type KnownSet = HashMap<ChunkId, ChunkRef>;

/// What the previous backup of the source stored.
#[derive(Debug)]
pub(crate) struct Known {
    repository: Repository,
    name: String,
    lists: Vec<ChunkRef>,
    firsts: Vec<(String, u64)>,
    condemned: HashSet<String>,
    present: Present,
    kept: Mutex<VecDeque<(usize, Arc<KnownSet>)>>,
    /// Lists that this session has read and found intact.
    intact: std::sync::Mutex<HashSet<ChunkId>>,
    documents: KnownSet,
    without_hints: Option<Arc<KnownSet>>,
}

impl Known {
    /// Nothing is known: the first backup.
    pub fn nothing(repository: Repository, condemned: Condemned) -> Self {
        Self {
            repository,
            name: String::new(),
            lists: Vec::new(),
            firsts: Vec::new(),
            condemned,
            present: Present::default(),
            kept: Mutex::default(),
            intact: std::sync::Mutex::default(),
            documents: KnownSet::new(),
            without_hints: None,
        }
    }

    /// What a manifest refers to, found by its hints; without hints as much of it as memory allows.
    pub async fn of(
        repository: Repository,
        condemned: Condemned,
        present: Present,
        previous: &Manifest,
        hints: Option<&Hints>,
    ) -> Self {
        let mut known = Self::nothing(repository, condemned);
        known.present = present;
        known.name = format!("{}@{}", previous.header.source, previous.header.backup);
        known.lists.clone_from(&previous.header.lists);
        let refs = previous.header.documents.iter().flat_map(|document| document.refs.iter());
        known.documents = known.usable(refs.cloned());
        match hints {
            Some(hints) if hints.lists.len() == known.lists.len() => known.firsts.clone_from(&hints.lists),
            _ => known.without_hints = Some(Arc::new(known.load_all().await)),
        }
        known
    }

    /// Refs of documents.
    pub fn document(&self, id: &ChunkId) -> Option<&ChunkRef> {
        self.documents.get(id)
    }

    /// The ref of a whole list of the previous manifest, if it is intact. A list may hold nothing but empty segments, so
    /// that its chunks being known says nothing about the list itself.
    pub fn list(&self, id: &ChunkId) -> Option<&ChunkRef> {
        let intact = self.intact.lock().unwrap_or_else(PoisonError::into_inner).contains(id);
        self.lists.iter().find(|list| intact && list.id == *id && !self.condemned.contains(&list.object))
    }

    /// The refs among which the chunks of a segment are looked up.
    pub async fn near(&self, stream: &str, at: u64) -> Arc<KnownSet> {
        if let Some(all) = &self.without_hints {
            return Arc::clone(all);
        }
        let after = self.firsts.partition_point(|(name, position)| (name.as_str(), *position) <= (stream, at));
        let Some(index) = after.checked_sub(1) else { return Arc::default() };
        let mut kept = self.kept.lock().await;
        if let Some((_, set)) = kept.iter().find(|(i, _)| *i == index) {
            return Arc::clone(set);
        }
        let set = Arc::new(self.load(index).await);
        kept.push_back((index, Arc::clone(&set)));
        if kept.len() > KEPT_LISTS {
            kept.pop_front();
        }
        set
    }

    async fn load(&self, index: usize) -> KnownSet {
        let Some(list) = self.lists.get(index) else { return KnownSet::new() };
        match self.repository.read_list_refs(list, &self.name).await {
            Ok(refs) => {
                self.intact.lock().unwrap_or_else(PoisonError::into_inner).insert(list.id);
                self.usable(refs)
            }
            Err(error) => {
                tracing::warn!(%error, backup = self.name, "a list of the last backup cannot be read; its chunks are stored again");
                KnownSet::new()
            }
        }
    }

    async fn load_all(&self) -> KnownSet {
        let mut all = KnownSet::new();
        for index in 0..self.lists.len() {
            if all.len() >= MOST_WITHOUT_HINTS {
                break;
            }
            all.extend(self.load(index).await);
        }
        all
    }

    fn usable(&self, refs: impl IntoIterator<Item = ChunkRef>) -> KnownSet {
        refs.into_iter()
            .filter(|chunk| !self.condemned.contains(&chunk.object) && self.present.holds(chunk))
            .map(|chunk| (chunk.id, chunk))
            .collect()
    }
}
