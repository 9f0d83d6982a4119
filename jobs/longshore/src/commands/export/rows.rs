//! The rows of an export: chunks from the repository into one file per stream.
//!
//! Owns reading, proving and writing them, several streams at a time. Promises that a file holds the stream's chunks in their order,
//! byte for byte save for rows that a later segment has once more, that rows and digest of each segment are what the backup recorded, and bounded memory: a few chunks per
//! stream at work, and no row.

use super::folder::{Folder, Writing, Written};
use engine::{Digest, ExportedStream, RowCutter, RowEnd, Sieves, StreamName};
use futures_util::{StreamExt, TryStreamExt, stream};
use jobkit::{Exit, Failure, Progress};
use repository::{ChunkRef, Repository, SegmentRecord};
use restore::Backup;
use std::collections::BTreeMap;

/// Chunks read ahead of the one being written, per stream.
const READ_AHEAD: usize = 2;

/// Where chunks come from and go to.
pub(super) struct Rows<'a> {
    pub repository: &'a Repository,
    pub backup: &'a Backup,
    pub folder: &'a Folder,
    pub progress: &'a Progress,
    pub sieves: Option<&'a dyn Sieves>,
}

type Segments<'a> = Vec<(&'a SegmentRecord, &'a [ChunkRef])>;

impl Rows<'_> {
    /// Writes all streams, so many at a time; what each file has become, and the rows in it, in the order given.
    pub(super) async fn write(
        &self,
        streams: &[ExportedStream],
        workers: usize,
    ) -> Result<Vec<(Written, Digest)>, Failure> {
        let mut segments = self.segments();
        let each: Vec<(&ExportedStream, Segments<'_>)> =
            streams.iter().map(|one| (one, segments.remove(one.name.as_str()).unwrap_or_default())).collect();
        if let Some(left) = segments.keys().next() {
            return Err(Failure::new(Exit::Internal, format!("no file for the rows of {left}")));
        }
        let writing = each.into_iter().map(|(one, segments)| self.write_one(one, segments));
        stream::iter(writing).buffered(workers.max(1)).try_collect().await
    }

    fn segments(&self) -> BTreeMap<&str, Segments<'_>> {
        let mut segments: BTreeMap<&str, Segments<'_>> = BTreeMap::new();
        for (list, segment) in self.backup.lists.iter().flat_map(|list| list.segments.iter().map(move |it| (list, it)))
        {
            segments.entry(&segment.stream).or_default().push((segment, list.refs_of(segment)));
        }
        segments
    }

    async fn write_one(&self, one: &ExportedStream, segments: Segments<'_>) -> Result<(Written, Digest), Failure> {
        let (mut writing, mut rows) = (self.folder.create(&one.path)?, Digest::default());
        for (segment, refs) in segments {
            let (after, written) = self.write_segment(writing, one.end, segment, refs).await?;
            rows.merge(written);
            writing = after;
        }
        Ok((blocking(move || writing.end()).await?, rows))
    }

    async fn write_segment(
        &self,
        mut writing: Writing,
        end: RowEnd,
        segment: &SegmentRecord,
        refs: &[ChunkRef],
    ) -> Result<(Writing, Digest), Failure> {
        let mut rows = RowCutter::new(end);
        let stream = StreamName::new(&segment.stream);
        let mut sieve = self.sieves.map(|sieves| sieves.of(&stream, &segment.range)).transpose()?.flatten();
        let read = |chunk: ChunkRef| async move { self.repository.read_chunk(&chunk, &self.backup.name).await };
        let mut coming = std::pin::pin!(stream::iter(refs.to_vec()).map(read).buffered(READ_AHEAD));
        while let Some(bytes) = coming.try_next().await? {
            let len = bytes.len() as u64;
            // Hashing and writing megabytes takes milliseconds: not on a thread that serves connections.
            (writing, rows, sieve) = blocking(move || {
                rows.take(&bytes);
                match sieve.as_mut() {
                    Some(sieve) => writing.write(&sieve.take(&bytes)?)?,
                    None => writing.write(&bytes)?,
                }
                Ok((writing, rows, sieve))
            })
            .await?;
            self.progress.add(0, len);
        }
        let left_out = sieve.as_mut().map(|sieve| sieve.end()).transpose()?.unwrap_or_default();
        let recorded = restore::digest_of(segment)?;
        match rows.end() {
            Some(found) if found == recorded => {
                self.progress.add(found.rows, 0);
                Ok((writing, found.without(left_out)))
            }
            found => {
                let found = found.map_or_else(|| "a row without an end".to_owned(), |it| it.to_string());
                let what = format!(
                    "{} {}: its chunks hold {found}, and the backup recorded {recorded}",
                    segment.stream, segment.range
                );
                Err(Failure::new(Exit::Data, what).hint("export another backup, and report this"))
            }
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::new(Exit::Internal, "writing rows died").because(error))?
}
