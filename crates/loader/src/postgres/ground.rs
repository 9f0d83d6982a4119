//! The ground that loads stand on: the schema, the ledger's table, the fence.
//!
//! Owns what is made once in each target, and the minting. Promises that two runs which come first at once both find it made, and that a number is
//! minted only when no earlier run's merge is open: the row is locked by a merge from its first statement to its end.

use engine::Kind;
use lease::{Epoch, Job, RunId};
use postgres::{StatementError, StatementSession};

use crate::Error;
use crate::ledger_row::{epoch, number};

/// The lock under which the ground is made: any number that no other program is likely to take.
const GROUND_LOCK: i64 = 0x6c6f_6e67_7368_6f72;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS longshore.load_fence (
    job text PRIMARY KEY,
    epoch bigint NOT NULL,
    run_id text NOT NULL,
    minted timestamptz NOT NULL
);
COMMENT ON TABLE longshore.load_fence IS 'Longshore: the newest run of each loader job; one with a lower number commits nothing';
CREATE TABLE IF NOT EXISTS longshore.load_ledger (
    run_id text PRIMARY KEY,
    job text NOT NULL,
    drop_id text,
    listing text NOT NULL,
    epoch bigint NOT NULL,
    status text NOT NULL,
    target_table text NOT NULL,
    mode text NOT NULL,
    source text NOT NULL,
    files jsonb NOT NULL,
    rows_read bigint NOT NULL,
    rows_inserted bigint NOT NULL,
    rows_updated bigint NOT NULL,
    rows_deleted bigint NOT NULL,
    rows_rejected bigint NOT NULL,
    reject_uri text,
    options text NOT NULL,
    program text NOT NULL,
    image text,
    token_id text,
    idempotency_key text,
    started timestamptz NOT NULL,
    finished timestamptz,
    error text,
    CHECK (status <> 'loaded' OR drop_id IS NOT NULL)
);
COMMENT ON TABLE longshore.load_ledger IS 'Longshore: what was loaded, once each';
CREATE UNIQUE INDEX IF NOT EXISTS load_ledger_once ON longshore.load_ledger (job, drop_id) WHERE status = 'loaded';
CREATE INDEX IF NOT EXISTS load_ledger_listing ON longshore.load_ledger (job, listing) WHERE status = 'loaded';
";

/// The index that keeps a drop from being loaded twice.
pub(super) const ONCE: &str = "load_ledger_once";

/// Whether the ground is made.
pub(super) async fn is_there(session: &StatementSession) -> Result<bool, Error> {
    let query = "SELECT (pg_catalog.to_regclass('longshore.load_fence') IS NOT NULL \
                 AND pg_catalog.to_regclass('longshore.load_ledger') IS NOT NULL)::text";
    let rows = session.rows("look for the ledger", query, &[]).await.map_err(|error| error.error)?;
    Ok(rows.first().and_then(|row| row[0].as_deref()) == Some("true"))
}

/// Makes what is missing.
pub(super) async fn prepare(session: &StatementSession, location: &str) -> Result<(), Error> {
    if is_there(session).await? {
        return Ok(());
    }
    let what = format!("make the ledger in {location}");
    let made = make(session, &what).await;
    if made.is_err() {
        // The session goes on without the transaction; the reason is the error that is told.
        drop(session.run(&what, "ROLLBACK").await);
    }
    made.map_err(|error| match error.is(&["42501"]) {
        true => no_right(error).into(),
        false => Error::Target(error.error),
    })
}

fn no_right(error: StatementError) -> engine::Error {
    let hint = "have the database's owner run: CREATE SCHEMA longshore AUTHORIZATION the_role_that_loads";
    engine::Error::new(Kind::Refused, error.error.what).hint(hint)
}

async fn make(session: &StatementSession, what: &str) -> Result<(), StatementError> {
    session.run(what, &format!("BEGIN; SELECT pg_catalog.pg_advisory_xact_lock({GROUND_LOCK})")).await?;
    let there = session.rows(what, "SELECT (pg_catalog.to_regnamespace('longshore') IS NULL)::text", &[]).await?;
    // IF NOT EXISTS would want the right to make one even where one is.
    if there.first().and_then(|row| row[0].as_deref()) == Some("true") {
        session.run(what, "CREATE SCHEMA longshore").await?;
    }
    session.run(what, TABLES).await?;
    session.run(what, "COMMIT").await
}

/// Mints the next number. Waits for a merge that is open, as long as the session waits for locks.
pub(super) async fn mint(session: &StatementSession, job: &Job, run: RunId) -> Result<Epoch, StatementError> {
    let statement = "INSERT INTO longshore.load_fence AS f (job, epoch, run_id, minted) \
                     VALUES ($1::text, 1, $2::text, pg_catalog.clock_timestamp()) \
                     ON CONFLICT (job) DO UPDATE SET epoch = f.epoch + 1, run_id = excluded.run_id, minted = excluded.minted \
                     RETURNING epoch::text";
    let what = format!("mint the fence of {job}");
    let rows = session.rows(&what, statement, &[Some(job.as_str()), Some(&run.to_string())]).await?;
    let minted = rows.first().and_then(|row| row[0].as_ref()).and_then(|text| text.parse().ok());
    minted.map(Epoch).ok_or_else(|| StatementError {
        error: engine::Error::new(Kind::Internal, format!("{what}: the server returned no number")),
        state: None,
        constraint: None,
        column: None,
    })
}

/// The newest number and its run.
pub(super) async fn newest(session: &StatementSession, job: &Job) -> Result<Option<(Epoch, String)>, StatementError> {
    let query = "SELECT epoch::text, run_id FROM longshore.load_fence WHERE job = $1::text";
    let rows = session.rows(&format!("read the fence of {job}"), query, &[Some(job.as_str())]).await?;
    Ok(rows.into_iter().next().and_then(|row| {
        let number = epoch(row[0].as_ref()).ok()?;
        Some((number, row[1].clone().unwrap_or_default()))
    }))
}

/// Locks the fence's row when the number is still the newest: from here on nobody mints before this transaction has ended.
pub(super) async fn lock(
    session: &StatementSession,
    job: &Job,
    number: Epoch,
    run: RunId,
) -> Result<bool, StatementError> {
    let query = "SELECT epoch::text FROM longshore.load_fence \
                 WHERE job = $1::text AND epoch = ($2::text)::bigint AND run_id = $3::text FOR UPDATE";
    let values = [Some(job.as_str()), Some(&*number.to_string()), Some(&*run.to_string())];
    Ok(!session.rows(&format!("look at the fence of {job}"), query, &values).await?.is_empty())
}

/// Locks the row whatever its number: returns when no merge of the job is open.
pub(super) async fn wait(session: &StatementSession, job: &Job) -> Result<(), StatementError> {
    let query = "SELECT epoch::text FROM longshore.load_fence WHERE job = $1::text FOR UPDATE";
    session.rows(&format!("wait for the fence of {job}"), query, &[Some(job.as_str())]).await.map(drop)
}

/// Rows of a table, counted by the server.
pub(super) async fn count(session: &StatementSession, table: &str) -> Result<u64, Error> {
    let rows = session.rows("count staged rows", &format!("SELECT pg_catalog.count(*)::text FROM {table}"), &[]).await;
    number(rows.map_err(|error| error.error)?.first().and_then(|row| row[0].as_ref()))
}
