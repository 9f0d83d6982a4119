//! The ledger: one row for each run.
//!
//! Owns reading and writing it. Promises that a run counts as loaded in the same transaction in which its rows are, and that no drop counts as
//! loaded twice for a job: an index of the table says so.

use lease::Job;
use mysql::{StatementError, StatementSession, literal};

use super::ground::{FENCE, LEDGER, ONCE};
use crate::Error;
use crate::ledger_row::{read, values};
use crate::record::{Counts, Record, Status};
use crate::target::Look;

/// In the order of `ledger_row::read`.
const COLUMNS: &str = "run_id, job, drop_id, listing, epoch, status, target_table, mode, source, files, rows_read, \
    rows_inserted, rows_updated, rows_deleted, rows_rejected, options, program, image, \
    DATE_FORMAT(started, '%Y-%m-%dT%H:%i:%sZ'), DATE_FORMAT(finished, '%Y-%m-%dT%H:%i:%sZ'), error";

/// A row has this key already.
const DUPLICATE: u16 = 1062;

async fn insert(session: &mut StatementSession, record: &Record) -> Result<(), StatementError> {
    let as_sql = |value: &Option<String>| value.as_deref().map_or_else(|| "NULL".to_owned(), literal);
    let values: Vec<String> = values(record).iter().map(as_sql).collect();
    let loaded = if record.status == Status::Loaded { as_sql(&record.drop) } else { "NULL".to_owned() };
    // The time it started is the fence's, or now where that is another run's by now.
    let statement = format!(
        "INSERT INTO {LEDGER} (run_id, job, drop_id, listing, epoch, status, target_table, mode, source, files, rows_read, rows_inserted, \
         rows_updated, rows_deleted, rows_rejected, options, program, image, error, loaded_drop, started, finished) VALUES ({}, {loaded}, \
         COALESCE((SELECT minted FROM {FENCE} WHERE job = {} AND run_id = {}), UTC_TIMESTAMP(6)), UTC_TIMESTAMP(6))",
        values.join(", "),
        literal(record.job.as_str()),
        literal(&record.run.to_string()),
    );
    session.change("write into the ledger", &statement).await.map(drop)
}

/// Notes a run as loaded, inside of the merge; `false` when the ledger knows the drop as loaded.
pub(super) async fn begin(
    session: &mut StatementSession,
    record: &Record,
    reload: bool,
) -> Result<bool, StatementError> {
    if reload {
        let statement = format!(
            "UPDATE {LEDGER} SET status = 'reloaded', loaded_drop = NULL WHERE job = {} AND loaded_drop = {}",
            literal(record.job.as_str()),
            literal(record.drop.as_deref().unwrap_or_default())
        );
        session.change("write into the ledger", &statement).await?;
    }
    match insert(session, record).await {
        Ok(()) => Ok(true),
        Err(error) if error.is(&[DUPLICATE]) && error.constraint.as_deref() == Some(ONCE) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Adds what the merge came to.
pub(super) async fn end(session: &mut StatementSession, record: &Record, counts: Counts) -> Result<(), StatementError> {
    let Counts { inserted, updated, deleted, .. } = counts;
    let statement = format!(
        "UPDATE {LEDGER} SET rows_inserted = {inserted}, rows_updated = {updated}, rows_deleted = {deleted}, finished = UTC_TIMESTAMP(6) \
         WHERE run_id = {}",
        literal(&record.run.to_string())
    );
    session.change("write into the ledger", &statement).await.map(drop)
}

/// Notes a run that failed.
pub(super) async fn note_failure(session: &mut StatementSession, record: &Record) -> Result<(), Error> {
    Ok(insert(session, record).await.map_err(|error| error.error)?)
}

/// Whether a run has loaded; another one may have loaded the drop again since.
pub(super) async fn has_loaded(session: &mut StatementSession, record: &Record) -> Result<bool, StatementError> {
    let query = format!(
        "SELECT run_id FROM {LEDGER} WHERE run_id = {} AND status IN ('loaded', 'reloaded')",
        literal(&record.run.to_string())
    );
    Ok(!session.rows("look into the ledger", &query).await?.is_empty())
}

/// The run that has loaded what is looked for.
pub(super) async fn loaded(session: &mut StatementSession, job: &Job, look: Look<'_>) -> Result<Option<Record>, Error> {
    let condition = match look {
        Look::Listing(listing) => format!("listing = {} AND status = 'loaded'", literal(listing)),
        Look::Drop(drop) => format!("loaded_drop = {}", literal(drop)),
        Look::Run(run) => format!("run_id = {} AND status IN ('loaded', 'reloaded')", literal(&run.to_string())),
    };
    let query = format!(
        "SELECT {COLUMNS} FROM {LEDGER} WHERE job = {} AND {condition} ORDER BY epoch DESC LIMIT 1",
        literal(job.as_str())
    );
    let rows = session.rows("look into the ledger", &query).await;
    rows.map_err(|error| error.error)?.first().map(|row| read(row)).transpose()
}

/// The newest runs.
pub(super) async fn history(
    session: &mut StatementSession,
    job: Option<&Job>,
    most: u32,
) -> Result<Vec<Record>, Error> {
    let of = job.map_or_else(String::new, |job| format!("WHERE job = {} ", literal(job.as_str())));
    let query =
        format!("SELECT {COLUMNS} FROM {LEDGER} {of}ORDER BY started DESC, epoch DESC, run_id DESC LIMIT {most}");
    let rows = session.rows("read the ledger", &query).await.map_err(|error| error.error)?;
    rows.iter().map(|row| read(row)).collect()
}
