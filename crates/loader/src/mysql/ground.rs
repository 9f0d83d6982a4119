//! The ground that loads stand on: the ledger's table, the fence.
//!
//! Owns what is made once in each target, and the minting. Promises that two runs which come first at once both find it made, and that a number is
//! minted only when no earlier run's merge is open: the row is locked by a merge from its first statement to its end.

use engine::Kind;
use lease::{Epoch, Job, RunId};
use mysql::{StatementError, StatementSession, literal};

use crate::Error;
use crate::header::config;
use crate::ledger_row::{epoch, number};

/// The fences.
pub(super) const FENCE: &str = "longshore_load_fence";
/// The ledger.
pub(super) const LEDGER: &str = "longshore_load_ledger";
/// The index that keeps a drop from being loaded twice.
pub(super) const ONCE: &str = "load_ledger_once";

const TEXT: &str = "CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
const WORD: &str = "CHARACTER SET ascii COLLATE ascii_bin";
/// Errors that say that a right is missing.
pub(super) const NO_RIGHT: [u16; 4] = [1044, 1142, 1143, 1227];
/// Two sessions wait for each other; one is told.
const DEADLOCK: u16 = 1213;
/// How often a number is asked for when the server was in a deadlock: several runs that are the first of their job get into one.
const TRIES: u32 = 10;

fn tables() -> [String; 2] {
    [
        format!(
            "CREATE TABLE IF NOT EXISTS {FENCE} (job VARCHAR(100) {WORD} NOT NULL PRIMARY KEY, epoch BIGINT UNSIGNED NOT NULL, \
             run_id VARCHAR(32) {WORD} NOT NULL, minted DATETIME(6) NOT NULL) \
             ENGINE = InnoDB COMMENT = 'Longshore: the newest run of each loader job; one with a lower number commits nothing'"
        ),
        // One drop of a job is loaded once: `loaded_drop` says which while the run counts as loaded, and is null else. No index of MySQL 5.6 has a condition, nor has it
        // columns that the server fills.
        format!(
            "CREATE TABLE IF NOT EXISTS {LEDGER} (run_id VARCHAR(32) {WORD} NOT NULL PRIMARY KEY, job VARCHAR(100) {WORD} NOT NULL, \
             drop_id VARCHAR(64) {WORD}, loaded_drop VARCHAR(64) {WORD}, listing VARCHAR(64) {WORD} NOT NULL, epoch BIGINT UNSIGNED NOT NULL, \
             status VARCHAR(16) {WORD} NOT NULL, target_table TEXT {TEXT} NOT NULL, mode TEXT {TEXT} NOT NULL, source TEXT {TEXT} NOT NULL, \
             files LONGTEXT {TEXT} NOT NULL, rows_read BIGINT UNSIGNED NOT NULL, rows_inserted BIGINT UNSIGNED NOT NULL, \
             rows_updated BIGINT UNSIGNED NOT NULL, rows_deleted BIGINT UNSIGNED NOT NULL, rows_rejected BIGINT UNSIGNED NOT NULL, \
             options VARCHAR(100) {WORD} NOT NULL, program VARCHAR(200) {TEXT} NOT NULL, image TEXT {TEXT}, started DATETIME(6) NOT NULL, \
             finished DATETIME(6), error LONGTEXT {TEXT}, UNIQUE KEY {ONCE} (job, loaded_drop), KEY load_ledger_listing (job, listing)) \
             ENGINE = InnoDB COMMENT = 'Longshore: what was loaded, once each'"
        ),
    ]
}

/// Whether the ground is made.
pub(super) async fn is_there(session: &mut StatementSession) -> Result<bool, Error> {
    let query = format!(
        "SELECT ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME IN ('{FENCE}', '{LEDGER}')"
    );
    let rows = session.rows("look for the ledger", &query).await.map_err(|error| error.error)?;
    if rows.iter().any(|row| row[0].as_deref() != Some("InnoDB")) {
        let what = format!("{FENCE} and {LEDGER} are there, and not as InnoDB tables: nothing could be taken back");
        return Err(config(what, "ALTER TABLE … ENGINE = InnoDB, or rename them").into());
    }
    Ok(rows.len() == 2)
}

/// Makes what is missing.
pub(super) async fn prepare(session: &mut StatementSession, location: &str) -> Result<(), Error> {
    if is_there(session).await? {
        return Ok(());
    }
    let what = format!("make the ledger in {location}");
    for statement in tables() {
        session.run(&what, &statement).await.map_err(no_right)?;
    }
    Ok(())
}

/// Staging tables have a new name each time: rights on single tables are not enough.
pub(super) fn no_right(error: StatementError) -> engine::Error {
    match error.is(&NO_RIGHT) {
        true => error.error.hint("GRANT CREATE, DROP, SELECT, INSERT, UPDATE ON the_database.* TO the user that loads"),
        false => error.error,
    }
}

/// Mints the next number. Waits for a merge that is open, as long as the session waits for locks.
pub(super) async fn mint(session: &mut StatementSession, job: &Job, run: RunId) -> Result<Epoch, StatementError> {
    let mut tries = 0;
    loop {
        match mint_once(session, job, run).await {
            Err(error) if error.is(&[DEADLOCK]) && tries < TRIES => tries += 1,
            other => return other,
        }
    }
}

async fn mint_once(session: &mut StatementSession, job: &Job, run: RunId) -> Result<Epoch, StatementError> {
    let what = format!("mint the fence of {job}");
    let (job, run) = (literal(job.as_str()), literal(&run.to_string()));
    session
        .run(
            &what,
            &format!(
                "INSERT INTO {FENCE} (job, epoch, run_id, minted) VALUES ({job}, LAST_INSERT_ID(1), {run}, UTC_TIMESTAMP(6)) \
                 ON DUPLICATE KEY UPDATE epoch = LAST_INSERT_ID(epoch + 1), run_id = {run}, minted = UTC_TIMESTAMP(6)"
            ),
        )
        .await?;
    let rows = session.rows(&what, "SELECT LAST_INSERT_ID()").await?;
    let minted = rows.first().and_then(|row| row[0].as_ref()).and_then(|text| text.parse().ok());
    minted.filter(|number| *number > 0).map(Epoch).ok_or_else(|| StatementError {
        error: engine::Error::new(Kind::Internal, format!("{what}: the server returned no number")),
        code: None,
        constraint: None,
        column: None,
    })
}

/// The newest number and its run.
pub(super) async fn newest(
    session: &mut StatementSession,
    job: &Job,
) -> Result<Option<(Epoch, String)>, StatementError> {
    let query = format!("SELECT epoch, run_id FROM {FENCE} WHERE job = {}", literal(job.as_str()));
    let rows = session.rows(&format!("read the fence of {job}"), &query).await?;
    Ok(rows.into_iter().next().and_then(|row| {
        let number = epoch(row[0].as_ref()).ok()?;
        Some((number, row[1].clone().unwrap_or_default()))
    }))
}

/// Locks the fence's row when the number is still the newest: from here on nobody mints before this transaction has ended.
pub(super) async fn lock(
    session: &mut StatementSession,
    job: &Job,
    number: Epoch,
    run: RunId,
) -> Result<bool, StatementError> {
    let query = format!(
        "SELECT epoch FROM {FENCE} WHERE job = {} AND epoch = {number} AND run_id = {} FOR UPDATE",
        literal(job.as_str()),
        literal(&run.to_string())
    );
    Ok(!session.rows(&format!("look at the fence of {job}"), &query).await?.is_empty())
}

/// Locks the row whatever its number: returns when no merge of the job is open.
pub(super) async fn wait(session: &mut StatementSession, job: &Job) -> Result<(), StatementError> {
    let query = format!("SELECT epoch FROM {FENCE} WHERE job = {} FOR UPDATE", literal(job.as_str()));
    session.rows(&format!("wait for the fence of {job}"), &query).await.map(drop)
}

/// Rows of a table, counted by the server.
pub(super) async fn count(session: &mut StatementSession, table: &str) -> Result<u64, Error> {
    let rows = session.rows("count staged rows", &format!("SELECT COUNT(*) FROM {table}")).await;
    number(rows.map_err(|error| error.error)?.first().and_then(|row| row[0].as_ref()))
}
