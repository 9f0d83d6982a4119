//! Backups without a database.
//!
//! Owns the road from files, or from nothing, into a session: what the backup job does with rows, with rows from elsewhere. Promises
//! the job's parallelism and its way of cutting: a stream per file, four workers, small segments bundled.

use crate::Failure;
use crate::data::mix;
use crate::stores::Careless;
use engine::{Digest, row_hash};
use repository::{
    Access, BeginOptions, Commit, Repository, Scope, SegmentRecord, SegmentRefs, Session, Sizes, SourceName,
    UnitWriter, WriterKey,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::Location;

/// What the backup job has by default.
const WORKERS: usize = 4;
/// Every row of the tiny repository is a chunk.
const TINY: Sizes = Sizes { least: 0, aim: 1, greatest: 1 << 10 };

type Stored = (SegmentRecord, SegmentRefs, u64);

/// Backs up the files of a folder as the source `folder`.
pub async fn folder(location: &str, folder: &Path) -> Result<(), Failure> {
    let store = store::open(&Location::parse(location)?, None).await?;
    let writer = match std::env::var_os("LONGSHORE_WRITER_KEY_FILE") {
        Some(file) => Some(WriterKey::parse(&std::fs::read_to_string(file)?)?),
        None => None,
    };
    let repository = Repository::open_with(store, &Access { writer, ..Access::default() }).await?;
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.sort();
    let session = Arc::new(begin(&repository, "folder").await?);
    let give = |first: usize| {
        let (session, files) = (Arc::clone(&session), files.clone());
        tokio::spawn(async move {
            let mut stored = Vec::new();
            for file in files.iter().skip(first).step_by(WORKERS) {
                stored.extend(store_file(session.unit(true), file).await?);
            }
            Ok::<Vec<Stored>, Failure>(stored)
        })
    };
    let workers: Vec<_> = (0..WORKERS).map(give).collect();
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await??);
    }
    commit(session, all, files.len() as u64).await
}

/// Makes a new repository of so many backups, each with so many chunks that no other has.
pub async fn many(folder: &Path, backups: u64, keys: u64) -> Result<(), Failure> {
    let repository = Repository::init(Arc::new(Careless::new(folder)), TINY, &[]).await?;
    for backup in 0..backups {
        let session = Arc::new(begin(&repository, "many").await?);
        let share = keys.div_ceil(WORKERS as u64);
        let give = |worker: u64| {
            let (unit, rows) = (session.unit(false), worker * share..((worker + 1) * share).min(keys));
            tokio::spawn(async move {
                store_rows(unit, &format!("table-{worker}"), rows.map(|row| tiny(backup, row))).await
            })
        };
        let workers: Vec<_> = (0..WORKERS as u64).map(give).collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.await??);
        }
        commit(session, all, WORKERS as u64).await?;
    }
    Ok(())
}

async fn begin(repository: &Repository, source: &str) -> Result<Session, Failure> {
    let source: SourceName = source.parse()?;
    Ok(Session::begin(repository, BeginOptions { source, compression: 3, program: "measure".into() }).await?)
}

async fn store_file(unit: UnitWriter, file: &Path) -> Result<Vec<Stored>, Failure> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut unit = unit;
    let mut digest = Digest::default();
    let mut lines = BufReader::with_capacity(1 << 20, File::open(file)?);
    let mut row = Vec::new();
    unit.begin_segment(&name, 0).await;
    while lines.read_until(b'\n', &mut row)? > 0 {
        let text = row.strip_suffix(b"\n").unwrap_or(&row);
        let hash = row_hash(text);
        digest.add(hash);
        if unit.push(text, b"\n", hash) {
            unit.drain().await?;
        }
        row.clear();
    }
    end(unit, &name, digest).await
}

async fn store_rows(
    mut unit: UnitWriter,
    name: &str,
    rows: impl Iterator<Item = String>,
) -> Result<Vec<Stored>, Failure> {
    let mut digest = Digest::default();
    unit.begin_segment(name, 0).await;
    for row in rows {
        let hash = row_hash(row.as_bytes());
        digest.add(hash);
        if unit.push(row.as_bytes(), b"\n", hash) {
            unit.drain().await?;
        }
    }
    end(unit, name, digest).await
}

async fn end(mut unit: UnitWriter, name: &str, digest: Digest) -> Result<Vec<Stored>, Failure> {
    unit.end_segment().await?;
    let stored = unit.finish().await?.into_iter().map(|refs| {
        let record = SegmentRecord {
            stream: name.to_owned(),
            at: 0,
            range: "all".into(),
            digest: digest.to_string(),
            bytes: refs.bytes,
            refs: (0, 0),
        };
        (record, refs, digest.rows)
    });
    Ok(stored.collect())
}

async fn commit(session: Arc<Session>, stored: Vec<Stored>, streams: u64) -> Result<(), Failure> {
    let rows = stored.iter().map(|(.., rows)| rows).sum();
    let commit = Commit {
        segments: stored.into_iter().map(|(record, refs, _)| (record, refs)).collect(),
        documents: Vec::new(),
        about: serde_json::json!({ "engine": "measure" }),
        scope: Scope::Full,
        inexact: None,
        streams,
        rows,
        boundaries: BTreeMap::new(),
        tags: Default::default(),
        pin: false,
    };
    Arc::into_inner(session).ok_or("a worker still holds the session")?.commit(commit).await?;
    Ok(())
}

/// A row of 200 bytes that no other backup has.
fn tiny(backup: u64, row: u64) -> String {
    let seed = mix(backup << 32 | row);
    (0..12).map(|part| format!("{:016x}", mix(seed ^ part))).collect()
}
