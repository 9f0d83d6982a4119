//! What is referred to: the names of all objects that backups need.
//!
//! Owns reading every manifest and every list once. Promises that nothing which a manifest needs is absent from the answer: trouble
//! with one manifest or list is an error, never a shorter answer. Memory: 16 bytes per object, and one list at a time; a
//! name is kept as 64 bits of its hash, so that of ten million unreferenced objects one may be taken for a needed one and stays.

use crate::present::short;
use crate::{BackupId, ChunkRef, Error, Manifest, Repository, SourceName};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::collections::{BTreeMap, HashSet};
use std::time::SystemTime;

/// Manifests and lists read at the same time.
const READERS: usize = 8;

/// Objects that backups need.
#[derive(Debug, Default)]
pub(super) struct Referenced(HashSet<u64>);

impl Referenced {
    pub fn contains(&self, object: &str) -> bool {
        self.0.contains(&short(object))
    }

    fn insert(&mut self, chunk: &ChunkRef) {
        self.0.insert(short(&chunk.object));
    }

    /// How many.
    pub fn len(&self) -> u64 {
        self.0.len() as u64
    }
}

/// A manifest's key that holds no backup, and since when.
pub(super) type Tombstone = (SourceName, BackupId, SystemTime);

impl Repository {
    /// Reads all manifests and lists, as they are now. Tombstones are returned beside.
    pub(super) async fn referenced(&self) -> Result<(Referenced, Vec<Tombstone>), Error> {
        let (mut referenced, mut tombstones) = (Referenced::default(), Vec::new());
        let mut lists: BTreeMap<String, ChunkRef> = BTreeMap::new();
        let read = |(source, backup, stored): (SourceName, BackupId, SystemTime)| async move {
            match self.manifest(&source, backup).await {
                Ok(Some(manifest)) => Ok(Ok(manifest)),
                Ok(None) => Ok(Err(Some((source, backup, stored)))),
                // Another maintenance has removed it.
                Err(Error::NotFound { .. }) => Ok(Err(None)),
                Err(other) => Err(other),
            }
        };
        let mut manifests = stream::iter(self.backup_entries(None).await?).map(read).buffer_unordered(READERS);
        while let Some(manifest) = manifests.try_next().await? {
            match manifest {
                Ok(Manifest { header, .. }) => {
                    header
                        .documents
                        .iter()
                        .flat_map(|document| &document.refs)
                        .for_each(|chunk| referenced.insert(chunk));
                    lists.extend(header.lists.into_iter().map(|list| (list.object.clone(), list)));
                }
                Err(tombstone) => tombstones.extend(tombstone),
            }
        }
        let mut read = stream::iter(lists.into_values())
            .map(|list| async move { self.read_list_refs(&list, "a backup").await.map(|refs| (list, refs)) })
            .buffer_unordered(READERS);
        while let Some((list, refs)) = read.try_next().await? {
            referenced.insert(&list);
            refs.iter().for_each(|chunk| referenced.insert(chunk));
        }
        Ok((referenced, tombstones))
    }
}
