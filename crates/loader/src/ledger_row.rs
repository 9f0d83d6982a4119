//! A row of a ledger, whatever database keeps it: text both ways.
//!
//! Owns the order of its columns. Promises that what was written is read, and that a row of a newer version is read as far as it is understood. Refuses rows that
//! are damaged.

use engine::Kind;
use lease::{Epoch, Job};

use crate::Error;
use crate::record::{Counts, Record, Status};

/// A number that a server wrote.
pub(crate) fn number(text: Option<&String>) -> Result<u64, Error> {
    let parsed = text.and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| engine::Error::new(Kind::Internal, "the server wrote something that is no number").into())
}

/// A fence's number that a server wrote.
pub(crate) fn epoch(text: Option<&String>) -> Result<Epoch, Error> {
    number(text).map(Epoch)
}

/// From the columns `run_id`, `job`, `drop_id`, `listing`, `epoch`, `status`, `target_table`, `mode`, `source`, `files`, `rows_read`, `rows_inserted`,
/// `rows_updated`, `rows_deleted`, `rows_rejected`, `options`, `program`, `image`, `started`, `finished`, `error`.
pub(crate) fn read(row: &[Option<String>]) -> Result<Record, Error> {
    let text = |at: usize| row.get(at).cloned().flatten();
    let plain = |at: usize| text(at).unwrap_or_default();
    let damaged = |what: &str| engine::Error::new(Kind::Data, format!("the ledger holds {what} that cannot be read"));
    Ok(Record {
        run: plain(0).parse().map_err(|_| damaged("a run's id"))?,
        job: Job::parse(&plain(1)).map_err(|_| damaged("a job's name"))?,
        drop: text(2),
        listing: plain(3),
        epoch: epoch(text(4).as_ref())?,
        status: Status::read(&plain(5)),
        table: plain(6),
        mode: plain(7),
        source: plain(8),
        files: serde_json::from_str(&plain(9)).map_err(|_| damaged("a list of files"))?,
        counts: Counts {
            read: number(text(10).as_ref())?,
            inserted: number(text(11).as_ref())?,
            updated: number(text(12).as_ref())?,
            deleted: number(text(13).as_ref())?,
            rejected: number(text(14).as_ref())?,
        },
        options: plain(15),
        program: plain(16),
        image: text(17),
        started: text(18),
        finished: text(19),
        error: text(20),
    })
}

/// In the order of `read`, without the times, which are the server's.
pub(crate) fn values(record: &Record) -> [Option<String>; 19] {
    let Counts { read, inserted, updated, deleted, rejected } = record.counts;
    [
        Some(record.run.to_string()),
        Some(record.job.to_string()),
        record.drop.clone(),
        Some(record.listing.clone()),
        Some(record.epoch.to_string()),
        Some(record.status.as_str().to_owned()),
        Some(record.table.clone()),
        Some(record.mode.clone()),
        Some(record.source.clone()),
        Some(serde_json::to_string(&record.files).unwrap_or_else(|_| "[]".to_owned())),
        Some(read.to_string()),
        Some(inserted.to_string()),
        Some(updated.to_string()),
        Some(deleted.to_string()),
        Some(rejected.to_string()),
        Some(record.options.clone()),
        Some(record.program.clone()),
        record.image.clone(),
        record.error.clone(),
    ]
}
