//! Workers: several connections that read units and store them at the same time.
//!
//! Owns the queue and the pairing of a reader with a unit's writer. Promises that the first failure stops all workers and is
//! the one reported, and that a worker reads the next unit while the last one's uploads are still on their way, at most one
//! unit ahead.

use crate::plan::Unit;
use crate::sink::{Pace, SegmentSink};
use engine::{Digest, Plan, Reader, Source, StreamName};
use jobkit::{Exit, Failure};
use repository::{SegmentRecord, SegmentRefs, Session, UnitWriter};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::{JoinHandle, JoinSet};

/// A segment that was read and stored.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub stream: StreamName,
    pub at: u64,
    pub range: String,
    pub digest: Digest,
    pub refs: SegmentRefs,
}

impl Stored {
    /// As the repository keeps it.
    pub fn into_record(self) -> (SegmentRecord, SegmentRefs) {
        let record = SegmentRecord {
            stream: self.stream.to_string(),
            at: self.at,
            range: self.range,
            digest: self.digest.to_string(),
            bytes: self.refs.bytes,
            refs: (0, 0),
        };
        (record, self.refs)
    }
}

type Queue = Arc<Mutex<VecDeque<(Unit, UnitWriter)>>>;
type Terminators = Arc<HashMap<StreamName, Vec<u8>>>;

/// Reads and stores all units over up to `workers` connections.
pub(crate) async fn run(
    source: &dyn Source,
    session: &Session,
    plan: &Plan,
    units: Vec<Unit>,
    workers: usize,
    pace: &Pace,
) -> Result<Vec<Stored>, Failure> {
    let workers = workers.min(units.len());
    let queue: Queue =
        Arc::new(Mutex::new(units.into_iter().map(|unit| (unit.clone(), session.unit(unit.bundle))).collect()));
    let terminators: HashMap<_, _> = plan
        .streams
        .iter()
        .map(|stream| (stream.name.clone(), stream.format.terminator.clone().into_bytes()))
        .collect();
    let terminators: Terminators = Arc::new(terminators);
    let mut running = JoinSet::new();
    for _ in 0..workers {
        let reader = source.reader().await?;
        running.spawn(work(reader, Arc::clone(&queue), Arc::clone(&terminators), pace.clone()));
    }
    let mut stored = Vec::new();
    while let Some(ended) = running.join_next().await {
        // Dropping the set on an error aborts the other workers.
        stored.extend(ended.map_err(|e| Failure::new(Exit::Internal, "a worker died").because(e))??);
    }
    Ok(stored)
}

async fn work(
    mut reader: Box<dyn Reader>,
    queue: Queue,
    terminators: Terminators,
    pace: Pace,
) -> Result<Vec<Stored>, Failure> {
    let mut stored = Vec::new();
    let mut storing = Storing(None);
    while let Some((unit, writer)) = next(&queue) {
        let (read, writer) = read_unit(reader.as_mut(), unit, writer, &terminators, &pace).await?;
        stored.extend(storing.wait().await?);
        storing.0 = Some(tokio::spawn(finish(read, writer)));
    }
    stored.extend(storing.wait().await?);
    Ok(stored)
}

fn next(queue: &Queue) -> Option<(Unit, UnitWriter)> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
}

/// A segment that was read and not yet confirmed by the store.
struct Read {
    stream: StreamName,
    at: u64,
    range: String,
    digest: Digest,
}

async fn read_unit(
    reader: &mut dyn Reader,
    unit: Unit,
    mut writer: UnitWriter,
    terminators: &Terminators,
    pace: &Pace,
) -> Result<(Vec<Read>, UnitWriter), Failure> {
    let mut read = Vec::with_capacity(unit.segments.len());
    for segment in unit.segments {
        let terminator = terminators.get(&segment.stream).map(Vec::as_slice).unwrap_or_default();
        writer.begin_segment(segment.stream.as_str(), segment.at).await;
        let mut sink = SegmentSink::new(&mut writer, terminator, pace);
        let result = reader.read(&segment, &mut sink).await;
        let (digest, error) = sink.finish().await;
        // What stopped the reader is the store's error, when there is one.
        if let Some(error) = error {
            return Err(error.into());
        }
        result?;
        writer.end_segment().await?;
        read.push(Read { stream: segment.stream, at: segment.at, range: segment.range, digest });
    }
    Ok((read, writer))
}

async fn finish(read: Vec<Read>, writer: UnitWriter) -> Result<Vec<Stored>, Failure> {
    let refs = writer.finish().await?;
    if refs.len() != read.len() {
        return Err(Failure::new(Exit::Internal, "a unit lost a segment"));
    }
    let join = |(read, refs): (Read, SegmentRefs)| Stored {
        stream: read.stream,
        at: read.at,
        range: read.range,
        digest: read.digest,
        refs,
    };
    Ok(read.into_iter().zip(refs).map(join).collect())
}

/// The unit whose uploads are still on their way; aborted when the worker gives up.
struct Storing(Option<JoinHandle<Result<Vec<Stored>, Failure>>>);

impl Storing {
    async fn wait(&mut self) -> Result<Vec<Stored>, Failure> {
        match self.0.take() {
            None => Ok(Vec::new()),
            Some(task) => task.await.map_err(|e| Failure::new(Exit::Internal, "an upload died").because(e))?,
        }
    }
}

impl Drop for Storing {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
