//! Which backups there are.
//!
//! Owns listing and choosing. Promises that what is listed has a manifest that was read and checked, that tombstones and
//! strangers are not listed, and that `latest` means the newest full backup. A manifest that cannot be read is an error, or stands
//! beside the others: never just a shorter list.

use crate::{BackupId, Error, Manifest, Repository, SourceName, Tag, keys, pages};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::SystemTime;

/// Manifests read at the same time while listing.
const READERS: usize = 16;

/// One line of a listing, in the shape that `--output json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The source.
    pub source: SourceName,
    /// The backup's id.
    pub id: BackupId,
    /// When it began, by the store's clock.
    pub started: Timestamp,
    /// When everything was stored.
    pub finished: Timestamp,
    /// `snapshot`: all rows belong to one moment.
    pub consistency: String,
    /// `full`: everything the source had; `filtered`: what was asked for.
    pub scope: String,
    /// Streams (tables).
    pub streams: u64,
    /// Rows.
    pub rows: u64,
    /// Bytes of rows as they were read.
    pub bytes: u64,
    /// Bytes that the backup's chunks take in the store, shared ones included.
    pub stored_bytes: u64,
    /// Bytes that this backup added to the store.
    pub added_bytes: u64,
    /// Chunks, and how many of them were there before.
    pub chunks: u64,
    /// Chunks that were reused.
    pub reused_chunks: u64,
    /// Words that somebody gave it.
    pub tags: BTreeSet<Tag>,
    /// What was backed up, in the engine's words; null while [`Summary::sealed`].
    pub about: serde_json::Value,
    /// Whether no identity was given that opens it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
}

impl From<&Manifest> for Summary {
    fn from(manifest: &Manifest) -> Self {
        let (header, totals) = (&manifest.header, &manifest.header.totals);
        Self {
            source: header.source.clone(),
            id: header.backup,
            started: header.started,
            finished: header.finished,
            consistency: header.consistency.clone(),
            scope: header.scope.clone(),
            streams: totals.streams,
            rows: totals.rows,
            bytes: totals.bytes,
            stored_bytes: totals.stored_bytes,
            added_bytes: totals.added_bytes,
            chunks: totals.chunks,
            reused_chunks: totals.reused_chunks,
            tags: header.tags.clone(),
            about: manifest.about.clone(),
            sealed: manifest.sealed,
        }
    }
}

/// Which backup is meant: `NAME`, `NAME@latest`, `NAME@<id>` or `NAME@<beginning of an id>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector {
    /// The source.
    pub source: SourceName,
    /// Beginning of the backup's id in upper case; `None` for the newest.
    pub backup: Option<String>,
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (source, backup) = text.split_once('@').unwrap_or((text, "latest"));
        let backup = match backup {
            "latest" => None,
            id if !id.is_empty() && id.len() <= 26 && id.bytes().all(|c| c.is_ascii_alphanumeric()) => {
                Some(id.to_ascii_uppercase())
            }
            other => return Err(Error::Name { what: format!("{other:?} is neither a backup's id nor \"latest\"") }),
        };
        Ok(Self { source: source.parse()?, backup })
    }
}

impl Repository {
    /// Keys of all backups and tombstones, of one source or of all, oldest first within a source.
    pub async fn backup_ids(&self, source: Option<&SourceName>) -> Result<Vec<(SourceName, BackupId)>, Error> {
        Ok(self.backup_entries(source).await?.into_iter().map(|(source, backup, _)| (source, backup)).collect())
    }

    /// The same, with when each was stored, by the store's clock.
    pub(crate) async fn backup_entries(
        &self,
        source: Option<&SourceName>,
    ) -> Result<Vec<(SourceName, BackupId, SystemTime)>, Error> {
        let mut found = Vec::new();
        let note = |entry: &store::Entry| {
            found.extend(keys::parse_manifest(&entry.key).map(|(source, backup)| (source, backup, entry.modified)));
        };
        pages::each(self.store.as_ref(), &keys::manifests_folder(source)?, "list backups", note).await?;
        Ok(found)
    }

    /// Reads one manifest; `None` when a tombstone stands there.
    pub async fn manifest(&self, source: &SourceName, backup: BackupId) -> Result<Option<Manifest>, Error> {
        let key = keys::manifest(source, backup)?;
        let bytes = match self.store.get(&key).await {
            Ok(bytes) => bytes,
            Err(store::Error::NotFound { .. }) => {
                return Err(Error::NotFound { what: format!("there is no backup {source}@{backup}") });
            }
            Err(source) => return Err(Error::Store { what: format!("read {key}"), source }),
        };
        Manifest::decode(&bytes, key.as_str(), self, source, backup)
    }

    /// All backups, of one source or of all, oldest first within a source.
    ///
    /// # Errors
    /// The store's, and that of the first manifest which cannot be read.
    pub async fn backups(&self, source: Option<&SourceName>) -> Result<Vec<Manifest>, Error> {
        let (backups, unreadable) = self.readable_backups(source).await?;
        unreadable.into_iter().next().map_or(Ok(backups), Err)
    }

    /// The same, and beside them why others cannot be read: they are damaged, of a newer format, or a stranger's.
    ///
    /// # Errors
    /// The store's.
    pub async fn readable_backups(&self, source: Option<&SourceName>) -> Result<(Vec<Manifest>, Vec<Error>), Error> {
        let ids = self.backup_ids(source).await?;
        let mut read = stream::iter(ids)
            .map(|(source, backup)| async move { self.manifest(&source, backup).await })
            .buffered(READERS);
        let (mut backups, mut unreadable) = (Vec::new(), Vec::new());
        while let Some(manifest) = read.next().await {
            match manifest {
                Ok(manifest) => backups.extend(manifest),
                // Maintenance has removed it since it was listed.
                Err(Error::NotFound { .. }) => {}
                Err(error @ (Error::Damaged { .. } | Error::Format { .. } | Error::Signer { .. })) => {
                    unreadable.push(error)
                }
                Err(other) => return Err(other),
            }
        }
        Ok((backups, unreadable))
    }

    /// The newest full backup of a source.
    pub async fn latest(&self, source: &SourceName) -> Result<Option<Manifest>, Error> {
        self.newest_full(source, |_| true).await
    }

    /// The newest full backup of a source that nobody has given up: one that is marked for removal is taken by its id only, or
    /// where there is no other.
    async fn latest_wanted(&self, source: &SourceName) -> Result<Option<Manifest>, Error> {
        let marked: BTreeSet<BackupId> = self
            .removals()
            .await?
            .into_iter()
            .filter(|mark| mark.source == *source)
            .flat_map(|mark| mark.backups)
            .collect();
        let wanted = self.newest_full(source, |backup| !marked.contains(&backup)).await?;
        if wanted.is_some() { Ok(wanted) } else { self.latest(source).await }
    }

    async fn newest_full(
        &self,
        source: &SourceName,
        wanted: impl Fn(BackupId) -> bool,
    ) -> Result<Option<Manifest>, Error> {
        for (source, backup) in
            self.backup_ids(Some(source)).await?.into_iter().rev().filter(|(_, backup)| wanted(*backup))
        {
            match self.manifest(&source, backup).await? {
                Some(manifest) if manifest.header.scope == "full" => return Ok(Some(manifest)),
                _ => {}
            }
        }
        Ok(None)
    }

    /// The newest full backup of a source, or the newest of any kind where there is no full one.
    pub(crate) async fn latest_or_filtered(&self, source: &SourceName) -> Result<Option<Manifest>, Error> {
        if let Some(full) = self.latest(source).await? {
            return Ok(Some(full));
        }
        for (source, backup) in self.backup_ids(Some(source)).await?.into_iter().rev() {
            if let Some(manifest) = self.manifest(&source, backup).await? {
                return Ok(Some(manifest));
            }
        }
        Ok(None)
    }

    /// The backup that is meant, or an error that says what there is instead.
    pub async fn find(&self, selector: &Selector) -> Result<Manifest, Error> {
        let source = &selector.source;
        let Some(beginning) = &selector.backup else {
            return match self.latest_wanted(source).await? {
                Some(manifest) => Ok(manifest),
                None => Err(self.nothing_of(source).await?),
            };
        };
        let ids = self.backup_ids(Some(source)).await?;
        let matching: Vec<_> =
            ids.into_iter().filter(|(_, id)| id.to_string().starts_with(beginning.as_str())).collect();
        let not_found = |what: String| Error::NotFound { what };
        match matching.as_slice() {
            [] => Err(not_found(format!("there is no backup {source}@{beginning}"))),
            [(source, id)] => self
                .manifest(source, *id)
                .await?
                .ok_or_else(|| not_found(format!("{source}@{id} was revoked before it was complete"))),
            several => Err(not_found(format!("{source}@{beginning} could be any of {} backups", several.len()))),
        }
    }

    async fn nothing_of(&self, source: &SourceName) -> Result<Error, Error> {
        if let Some(newest) = self.latest_or_filtered(source).await? {
            let id = newest.header.backup;
            let what = format!("there is no full backup of {source}; a part of it is in {source}@{id}");
            return Ok(Error::NotFound { what });
        }
        let mut others: Vec<String> =
            self.backup_ids(None).await?.into_iter().map(|(name, _)| name.to_string()).collect();
        others.dedup();
        others.truncate(10);
        let what = match others.as_slice() {
            [] => format!("there is no backup of {source}; the repository is empty"),
            some => format!("there is no backup of {source}; there are backups of {}", some.join(", ")),
        };
        Ok(Error::NotFound { what })
    }
}
