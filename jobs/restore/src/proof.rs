//! The proof: what came back is what went in.
//!
//! Owns the comparison of a restored database with the backup's record, table by table. Promises that every stream of the
//! backup is compared and that a difference fails the restore by table. With `content` every row is read back in the same
//! row format and hashed; the digest is a sum, so neither order nor segments need to be the same.

use crate::args::Proof;
use crate::load::digest_of;
use async_trait::async_trait;
use engine::{Digest, Reader, RowSink, Segment, SinkError, StreamName, Target, row_hash};
use futures_util::{StreamExt, TryStreamExt, stream};
use jobkit::{Exit, Failure, Progress};
use repository::List;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;

/// What the comparison of one stream found.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    pub stream: StreamName,
    pub expected: Digest,
    pub found_rows: u64,
    /// Whether the content was compared and is equal; absent when only rows were counted.
    pub content_equal: Option<bool>,
}

impl Verdict {
    fn holds(&self) -> bool {
        self.found_rows == self.expected.rows && self.content_equal != Some(false)
    }

    fn difference(&self) -> String {
        if self.found_rows == self.expected.rows {
            return format!("{}: {} rows, and at least one is different", self.stream, self.found_rows);
        }
        format!("{}: {} rows instead of {}", self.stream, self.found_rows, self.expected.rows)
    }
}

/// Compares every stream; fails when one differs.
pub(crate) async fn prove(
    target: &dyn Target,
    (lists, superseded): (&[List], &BTreeMap<StreamName, Digest>),
    proof: Proof,
    workers: usize,
    progress: &Progress,
) -> Result<Vec<Verdict>, Failure> {
    let mut expected = expected(lists)?;
    for (stream, gone) in superseded {
        expected.entry(stream.clone()).and_modify(|digest| *digest = digest.without(*gone));
    }
    let verdicts = match proof {
        Proof::Counts => count(target, &expected, workers).await?,
        Proof::Content => compare(target, &expected, workers, progress).await?,
    };
    let wrong: Vec<String> = verdicts.iter().filter(|verdict| !verdict.holds()).map(Verdict::difference).collect();
    if wrong.is_empty() {
        return Ok(verdicts);
    }
    let shown = wrong.iter().take(5).cloned().collect::<Vec<_>>().join("; ");
    Err(Failure::new(Exit::Data, format!("the restored database is not what was backed up: {shown}"))
        .hint("it was removed again; the target is as it was"))
}

fn expected(lists: &[List]) -> Result<BTreeMap<StreamName, Digest>, Failure> {
    let mut expected: BTreeMap<StreamName, Digest> = BTreeMap::new();
    for segment in lists.iter().flat_map(|list| &list.segments) {
        expected.entry(StreamName::new(&segment.stream)).or_default().merge(digest_of(segment)?);
    }
    Ok(expected)
}

async fn count(
    target: &dyn Target,
    expected: &BTreeMap<StreamName, Digest>,
    workers: usize,
) -> Result<Vec<Verdict>, Failure> {
    // Owned pairs: a stream of borrowed ones would tie the future to this frame's lifetimes.
    let pairs: Vec<(StreamName, Digest)> = expected.iter().map(|(name, digest)| (name.clone(), *digest)).collect();
    stream::iter(pairs)
        .map(|(stream, expected)| async move {
            let found_rows = target.count(&stream).await?;
            Ok(Verdict { stream, expected, found_rows, content_equal: None })
        })
        .buffered(workers.max(1))
        .try_collect()
        .await
}

async fn compare(
    target: &dyn Target,
    expected: &BTreeMap<StreamName, Digest>,
    workers: usize,
    progress: &Progress,
) -> Result<Vec<Verdict>, Failure> {
    let plan = target.read_back_plan().await?;
    progress.set_total(plan.iter().map(|segment| segment.estimated_bytes).sum(), 0);
    let queue = Arc::new(Mutex::new(VecDeque::from(plan)));
    let mut running = JoinSet::new();
    for _ in 0..workers.max(1) {
        running.spawn(read_back(target.reader().await?, Arc::clone(&queue), progress.clone()));
    }
    let mut found: BTreeMap<StreamName, Digest> = BTreeMap::new();
    while let Some(ended) = running.join_next().await {
        for (stream, digest) in ended.map_err(|e| Failure::new(Exit::Internal, "a reader died").because(e))?? {
            found.entry(stream).or_default().merge(digest);
        }
    }
    // A stream the target has and the backup does not is as wrong as one that is missing.
    let names = expected.keys().chain(found.keys()).cloned().collect::<std::collections::BTreeSet<_>>();
    let verdict = |stream: StreamName| {
        let (expected, found) = (expected.get(&stream).copied(), found.get(&stream).copied());
        let equal = expected.is_some() && expected == found;
        let (expected, found) = (expected.unwrap_or_default(), found.unwrap_or_default());
        Verdict { stream, expected, found_rows: found.rows, content_equal: Some(equal) }
    };
    Ok(names.into_iter().map(verdict).collect())
}

async fn read_back(
    mut reader: Box<dyn Reader>,
    queue: Arc<Mutex<VecDeque<Segment>>>,
    progress: Progress,
) -> Result<Vec<(StreamName, Digest)>, Failure> {
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let mut found = Vec::new();
    while let Some(segment) = next() {
        let mut sink = DigestSink { digest: Digest::default(), bytes: 0 };
        reader.read(&segment, &mut sink).await?;
        progress.add(sink.digest.rows, sink.bytes);
        found.push((segment.stream, sink.digest));
    }
    Ok(found)
}

/// Hashes rows and forgets them.
struct DigestSink {
    digest: Digest,
    bytes: u64,
}

#[async_trait]
impl RowSink for DigestSink {
    fn push(&mut self, row: &[u8]) -> bool {
        self.digest.add(row_hash(row));
        self.bytes += row.len() as u64 + 1;
        false
    }

    async fn drain(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}
