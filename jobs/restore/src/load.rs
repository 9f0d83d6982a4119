//! Loading: chunks from the repository into the target, over several connections.
//!
//! Owns the grouping of segments into units and the workers. Promises that rows arrive in the order of their chunks, that the
//! number of rows the server took is the number the backup recorded, segment by segment, and that the first failure stops
//! all loaders.

use crate::schedule::{Next, Schedule, Work};
use engine::{Digest, Loader, StreamName, Target};
use futures_util::{StreamExt, TryStreamExt, stream};
use jobkit::{Exit, Failure, Progress};
use repository::{ChunkRef, List, Repository, SegmentRecord};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Chunks read ahead of the one being loaded, per loader.
const READ_AHEAD: usize = 2;
/// A table of at most this many bytes is always loaded by one loader, in one transaction.
const SMALL_TABLE: u64 = 64 << 20;

/// A smaller table is not worth the file that truncating it makes anew: a vacuum has it frozen in no time.
const WORTH_FREEZING: u64 = 64 << 10;

/// What one loader loads in one go: a whole table, or one segment of a large one.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    pub stream: StreamName,
    pub whole: bool,
    pub bytes: u64,
    pub segments: Vec<(SegmentRecord, Vec<ChunkRef>)>,
}

/// The digest a backup recorded for a segment.
///
/// # Errors
/// [`Exit::Data`] when the record is not a digest.
pub fn digest_of(segment: &SegmentRecord) -> Result<Digest, Failure> {
    segment.digest.parse().map_err(|e| {
        Failure::new(Exit::Data, format!("the record of {} {} is not readable", segment.stream, segment.range))
            .because(e)
    })
}

/// Whole tables where they fit into one loader's share, segments where they do not; the largest first.
pub(crate) fn units(lists: &[List], workers: usize) -> Vec<Unit> {
    let mut tables: BTreeMap<&str, Vec<(&SegmentRecord, &[ChunkRef])>> = BTreeMap::new();
    for (list, segment) in lists.iter().flat_map(|list| list.segments.iter().map(move |segment| (list, segment))) {
        tables.entry(&segment.stream).or_default().push((segment, list.refs_of(segment)));
    }
    let total: u64 = tables.values().flatten().map(|(segment, _)| segment.bytes).sum();
    let most = SMALL_TABLE.max(total / (2 * workers.max(1) as u64));
    let mut units = Vec::new();
    for (name, segments) in tables {
        let bytes = segments.iter().map(|(segment, _)| segment.bytes).sum();
        let owned = |(segment, refs): &(&SegmentRecord, &[ChunkRef])| ((*segment).clone(), refs.to_vec());
        let stream = StreamName::new(name);
        if bytes <= most {
            let segments = segments.iter().map(owned).collect();
            units.push(Unit { stream, whole: bytes >= WORTH_FREEZING, bytes, segments });
            continue;
        }
        units.extend(segments.iter().map(|segment| Unit {
            stream: stream.clone(),
            whole: false,
            bytes: segment.0.bytes,
            segments: vec![owned(segment)],
        }));
    }
    units
}

/// Work that is shared by all workers, and the bell that rings when there may be more.
#[derive(Debug)]
struct Shared {
    schedule: Mutex<Schedule>,
    changed: Notify,
}

/// Loads all units over up to `workers` connections, and builds what can be built of each table once it is loaded. Returns by stream what was not loaded because later segments stand for it.
pub(crate) async fn run(
    target: &dyn Target,
    repository: &Repository,
    backup: &str,
    units: Vec<Unit>,
    workers: usize,
    progress: &Progress,
) -> Result<BTreeMap<StreamName, Digest>, Failure> {
    let superseded = Superseded::default();
    let chunks = || Chunks {
        repository: repository.clone(),
        backup: backup.to_owned(),
        progress: progress.clone(),
        superseded: Arc::clone(&superseded),
    };
    let units = load_first(target, units, &chunks()).await?;
    let last = target.last();
    let (last, units): (Vec<Unit>, Vec<Unit>) = units.into_iter().partition(|unit| last.contains(&unit.stream));
    for units in [units, last].into_iter().filter(|units| !units.is_empty()) {
        load_and_build(target, units, workers, &chunks).await?;
    }
    let superseded = superseded.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok(superseded)
}

/// Loads units over up to `workers` connections, whoever comes first, and builds what can be built of their tables.
async fn load_and_build(
    target: &dyn Target,
    units: Vec<Unit>,
    workers: usize,
    chunks: impl Fn() -> Chunks,
) -> Result<(), Failure> {
    let schedule = Schedule::new(units, |stream| target.builds(stream));
    let workers = workers.min(schedule.most_workers());
    let shared = Arc::new(Shared { schedule: Mutex::new(schedule), changed: Notify::new() });
    let mut running = JoinSet::new();
    for _ in 0..workers {
        running.spawn(work(target.loader().await?, Arc::clone(&shared), chunks()));
    }
    while let Some(ended) = running.join_next().await {
        ended.map_err(|e| Failure::new(Exit::Internal, "a loader died").because(e))??;
    }
    Ok(())
}

/// Loads what must come first, in order, and returns the rest.
async fn load_first(target: &dyn Target, units: Vec<Unit>, chunks: &Chunks) -> Result<Vec<Unit>, Failure> {
    let order = target.first();
    let place = |unit: &Unit| order.iter().position(|stream| *stream == unit.stream);
    let (mut first, rest): (Vec<Unit>, Vec<Unit>) = units.into_iter().partition(|unit| place(unit).is_some());
    if first.is_empty() {
        return Ok(rest);
    }
    first.sort_by_key(place);
    let mut loader = target.loader().await?;
    for unit in first {
        load(loader.as_mut(), unit, chunks).await?;
    }
    Ok(rest)
}

struct Chunks {
    repository: Repository,
    backup: String,
    progress: Progress,
    superseded: Superseded,
}

type Superseded = Arc<Mutex<BTreeMap<StreamName, Digest>>>;

async fn work(mut loader: Box<dyn Loader>, shared: Arc<Shared>, chunks: Chunks) -> Result<(), Failure> {
    let schedule = || shared.schedule.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        // Listening begins before looking: what becomes ready in between is not missed.
        let mut changed = std::pin::pin!(shared.changed.notified());
        changed.as_mut().enable();
        let next = schedule().next();
        let stream = match next {
            Next::End => break,
            Next::Wait => {
                changed.await;
                continue;
            }
            Next::Do(Work::Load(unit)) => load(loader.as_mut(), unit, &chunks).await?,
            Next::Do(Work::Build(stream, build)) => {
                loader.build(&build).await?;
                stream
            }
        };
        schedule().done(&stream);
        shared.changed.notify_waiters();
    }
    Ok(())
}

async fn load(loader: &mut dyn Loader, unit: Unit, chunks: &Chunks) -> Result<StreamName, Failure> {
    if unit.bytes > 0 {
        loader.begin(&unit.stream, unit.whole).await?;
        for (segment, refs) in &unit.segments {
            load_segment(loader, segment, refs, chunks).await?;
        }
        loader.commit().await?;
    }
    Ok(unit.stream)
}

async fn load_segment(
    loader: &mut dyn Loader,
    segment: &SegmentRecord,
    refs: &[ChunkRef],
    chunks: &Chunks,
) -> Result<(), Failure> {
    let expected = digest_of(segment)?.rows;
    if expected == 0 && refs.is_empty() {
        return Ok(());
    }
    loader.begin_segment(&segment.range).await?;
    let read = |chunk: ChunkRef| async move { chunks.repository.read_chunk(&chunk, &chunks.backup).await };
    let mut coming = std::pin::pin!(stream::iter(refs.to_vec()).map(read).buffered(READ_AHEAD));
    while let Some(bytes) = coming.try_next().await? {
        let len = bytes.len() as u64;
        loader.write(bytes).await?;
        chunks.progress.add(0, len);
    }
    let rows = loader.end_segment().await?;
    chunks.progress.add(rows, 0);
    let superseded = loader.superseded();
    if superseded.rows > 0 {
        let mut all = chunks.superseded.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(StreamName::new(&segment.stream)).or_default().merge(superseded);
    }
    if rows + superseded.rows == expected {
        return Ok(());
    }
    let what = format!(
        "{} {}: the server took {rows} rows, and the backup recorded {expected}",
        segment.stream, segment.range
    );
    Err(Failure::new(Exit::Data, what))
}
