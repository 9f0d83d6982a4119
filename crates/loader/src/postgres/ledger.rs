//! The ledger: one row for each run.
//!
//! Owns reading and writing it. Promises that a run counts as loaded in the same transaction in which its rows are, and that no drop counts as
//! loaded twice for a job: an index of the table says so.

use lease::Job;
use postgres::{StatementError, StatementSession};

use super::ground;
use crate::Error;
use crate::ledger_row::{self, read};
use crate::record::{Counts, Record};
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

async fn insert(session: &StatementSession, record: &Record) -> Result<(), StatementError> {
    let values = ledger_row::values(record);
    let values: Vec<_> = values.iter().map(Option::as_deref).collect();
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
    rows.map_err(|error| error.error)?.first().map(|row| read(row)).transpose()
}

/// The newest runs.
pub(super) async fn history(session: &StatementSession, job: Option<&Job>, most: u32) -> Result<Vec<Record>, Error> {
    let query = format!(
        "SELECT {COLUMNS} FROM longshore.load_ledger WHERE job = coalesce($1::text, job) \
         ORDER BY started DESC, epoch DESC, run_id DESC LIMIT ($2::text)::bigint"
    );
    let values = [job.map(Job::as_str), Some(&*most.to_string())];
    let rows = session.rows("read the ledger", &query, &values).await.map_err(|error| error.error)?;
    rows.iter().map(|row| read(row)).collect()
}
