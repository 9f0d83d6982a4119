//! The ledger: one row for each run.
//!
//! Owns reading and writing it. Promises that a run counts as loaded in the same transaction in which its rows are, and that no drop counts as
//! loaded twice for a job: an index of the table says so.

use engine::Kind;
use lease::Job;
use postgres::{StatementError, StatementSession, TextRow};

use super::{epoch, ground, number};
use crate::Error;
use crate::record::{Counts, Record, Status};
use crate::target::Look;

/// In the order of `read`.
const COLUMNS: &str = "run_id, job, drop_id, listing, epoch::text, status, target_table, mode, source, files::text, rows_read::text, \
    rows_inserted::text, rows_updated::text, rows_deleted::text, rows_rejected::text, options, program, image, \
    pg_catalog.to_char(started AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), \
    pg_catalog.to_char(finished AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), error";

/// `$1` to `$19`; the time it started is the fence's, or now where that is another run's by now.
const INSERT: &str = "INSERT INTO longshore.load_ledger (run_id, job, drop_id, listing, epoch, status, target_table, mode, source, files, \
    rows_read, rows_inserted, rows_updated, rows_deleted, rows_rejected, options, program, image, error, started, finished) \
    VALUES ($1::text, $2::text, $3::text, $4::text, ($5::text)::bigint, $6::text, $7::text, $8::text, $9::text, ($10::text)::jsonb, \
    ($11::text)::bigint, ($12::text)::bigint, ($13::text)::bigint, ($14::text)::bigint, ($15::text)::bigint, $16::text, $17::text, $18::text, \
    $19::text, coalesce((SELECT minted FROM longshore.load_fence WHERE job = $2::text AND run_id = $1::text), pg_catalog.clock_timestamp()), \
    pg_catalog.clock_timestamp())";

fn read(row: &TextRow) -> Result<Record, Error> {
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

async fn insert(session: &StatementSession, record: &Record) -> Result<(), StatementError> {
    let files = serde_json::to_string(&record.files).unwrap_or_else(|_| "[]".to_owned());
    let Counts { read, inserted, updated, deleted, rejected } = record.counts;
    let (run, number) = (record.run.to_string(), record.epoch.to_string());
    let counts = [read, inserted, updated, deleted, rejected].map(|count| count.to_string());
    let values = [
        Some(run.as_str()),
        Some(record.job.as_str()),
        record.drop.as_deref(),
        Some(&record.listing),
        Some(&number),
        Some(record.status.as_str()),
        Some(&record.table),
        Some(&record.mode),
        Some(&record.source),
        Some(&files),
        Some(&counts[0]),
        Some(&counts[1]),
        Some(&counts[2]),
        Some(&counts[3]),
        Some(&counts[4]),
        Some(&record.options),
        Some(&record.program),
        record.image.as_deref(),
        record.error.as_deref(),
    ];
    session.change("write into the ledger", INSERT, &values).await.map(drop)
}

/// Notes a run as loaded, inside of the merge; `false` when the ledger knows the drop as loaded.
pub(super) async fn begin(session: &StatementSession, record: &Record, reload: bool) -> Result<bool, StatementError> {
    if reload {
        let statement = "UPDATE longshore.load_ledger SET status = 'reloaded' \
                         WHERE job = $1::text AND drop_id = $2::text AND status = 'loaded'";
        session
            .change("write into the ledger", statement, &[Some(record.job.as_str()), record.drop.as_deref()])
            .await?;
    }
    match insert(session, record).await {
        Ok(()) => Ok(true),
        Err(error) if error.is(&["23505"]) && error.constraint.as_deref() == Some(ground::ONCE) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Adds what the merge came to.
pub(super) async fn end(session: &StatementSession, record: &Record, counts: Counts) -> Result<(), StatementError> {
    let statement = "UPDATE longshore.load_ledger SET rows_inserted = ($2::text)::bigint, rows_updated = ($3::text)::bigint, \
                     rows_deleted = ($4::text)::bigint, finished = pg_catalog.clock_timestamp() WHERE run_id = $1::text";
    let run = record.run.to_string();
    let [inserted, updated, deleted] = [counts.inserted, counts.updated, counts.deleted].map(|count| count.to_string());
    let values = [Some(run.as_str()), Some(&inserted), Some(&updated), Some(&deleted)];
    session.change("write into the ledger", statement, &values).await.map(drop)
}

/// Notes a run that failed.
pub(super) async fn note_failure(session: &StatementSession, record: &Record) -> Result<(), Error> {
    Ok(insert(session, record).await.map_err(|error| error.error)?)
}

/// Whether a run has loaded; another one may have loaded the drop again since.
pub(super) async fn has_loaded(session: &StatementSession, record: &Record) -> Result<bool, StatementError> {
    let query = "SELECT run_id FROM longshore.load_ledger WHERE run_id = $1::text AND status IN ('loaded', 'reloaded')";
    let rows = session.rows("look into the ledger", query, &[Some(&record.run.to_string())]).await?;
    Ok(!rows.is_empty())
}

/// The run that has loaded what is looked for.
pub(super) async fn loaded(session: &StatementSession, job: &Job, look: Look<'_>) -> Result<Option<Record>, Error> {
    let (condition, value) = match look {
        Look::Listing(listing) => ("listing = $2::text AND status = 'loaded'", listing.to_owned()),
        Look::Drop(drop) => ("drop_id = $2::text AND status = 'loaded'", drop.to_owned()),
        Look::Run(run) => ("run_id = $2::text AND status IN ('loaded', 'reloaded')", run.to_string()),
    };
    let query = format!(
        "SELECT {COLUMNS} FROM longshore.load_ledger WHERE job = $1::text AND {condition} ORDER BY epoch DESC LIMIT 1"
    );
    let rows = session.rows("look into the ledger", &query, &[Some(job.as_str()), Some(&value)]).await;
    rows.map_err(|error| error.error)?.first().map(read).transpose()
}

/// The newest runs.
pub(super) async fn history(session: &StatementSession, job: Option<&Job>, most: u32) -> Result<Vec<Record>, Error> {
    let query = format!(
        "SELECT {COLUMNS} FROM longshore.load_ledger WHERE job = coalesce($1::text, job) \
         ORDER BY started DESC, epoch DESC, run_id DESC LIMIT ($2::text)::bigint"
    );
    let values = [job.map(Job::as_str), Some(&*most.to_string())];
    let rows = session.rows("read the ledger", &query, &values).await.map_err(|error| error.error)?;
    rows.iter().map(read).collect()
}
