//! The schema archive: what the vendor's `pg_dump` writes and `pg_restore` brings back.
//!
//! Owns running both, in the custom format, for everything before and after data. We never write DDL that they can write.
//! Promises that a dump counts only when the program ended well, and that its table of contents names the tables and
//! sequences we read ourselves: neither more nor fewer. Refuses data sections: rows go another way.

use crate::catalog::Catalog;
use crate::connection::SILENT;
use crate::endpoint::Endpoint;
use crate::failure::from_tool;
use crate::quote::shown;
use crate::toc::{Contents, Section};
use crate::tools::Tool;
use engine::{Error, Kind};
use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A finished dump.
pub(crate) struct Archive {
    pub bytes: Vec<u8>,
    pub contents: Contents,
}

/// A folder only this user can look into, removed when dropped.
pub(crate) fn private_folder() -> Result<tempfile::TempDir, Error> {
    // The tools write what a database is made of in there, passwords of foreign servers among it, readable as the umask has it.
    let private = Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix("longshore-").permissions(private).tempdir().map_err(|e| {
        Error::new(Kind::Config, format!("make a temporary folder: {e}")).hint("is TMPDIR writable and not full?")
    })
}

/// Fails when the vendor's dump and our own listing do not name the same tables and sequences.
pub(crate) fn assert_same_objects(contents: &Contents, catalog: &Catalog) -> Result<(), Error> {
    let tables = catalog.tables.iter().filter(|table| table.in_archive());
    let tables = tables.map(|table| (table.oid, (true, shown(&table.schema, &table.name))));
    let sequences = catalog.sequences.iter().filter(|sequence| !sequence.of_extension);
    let sequences = sequences.map(|sequence| (sequence.oid, (false, shown(&sequence.schema, &sequence.name))));
    let mut ours: BTreeMap<u32, (bool, String)> = tables.chain(sequences).collect();
    for entry in contents.entries.iter().filter(|entry| entry.is_table() || entry.is_sequence()) {
        match ours.remove(&entry.oid) {
            Some((is_table, _)) if is_table == entry.is_table() => {}
            _ => return Err(differs(&format!("pg_dump lists {}, which was not read", entry.shown()))),
        }
    }
    match ours.values().next() {
        Some((_, name)) => Err(differs(&format!("{name} was read, and pg_dump does not list it"))),
        None => Ok(()),
    }
}

fn differs(what: &str) -> Error {
    Error::new(Kind::Changed, format!("the schema changed underneath: {what}"))
        .hint("run again; if it stays, an object of this database is not supported: nothing was stored")
}

/// Settings for sessions that build: index builds get memory, which for GIN decides between minutes and hours.
pub(crate) const BUILD_SETTINGS: &str = "SET maintenance_work_mem = '256MB'";

/// The same for the sessions that `pg_restore` opens; no timeout of the target's ends an index build.
const RESTORE_SETTINGS: &str = "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0 \
     -c default_transaction_read_only=off -c synchronous_commit=off -c maintenance_work_mem=256MB";

fn settings(endpoint: &Endpoint) -> String {
    if endpoint.silent { format!("{RESTORE_SETTINGS} {SILENT}") } else { RESTORE_SETTINGS.to_owned() }
}

/// Most entries before data that are made in one transaction. Each holds a lock or several until the end, and a server with its
/// default settings has some 6,400 for everybody; beyond this, each statement is its own.
const MOST_IN_ONE_TRANSACTION: usize = 1000;

/// What to bring back of an archive.
#[derive(Debug)]
pub(crate) struct Restore<'a> {
    pub archive: &'a Path,
    /// Before data, one session works, and few entries are one transaction; after it, `workers` sessions work at the same time.
    pub section: Section,
    /// Entries of that section, in the archive's order.
    pub entries: &'a [i32],
    pub workers: usize,
    pub no_owner: bool,
}

/// Brings entries back into the database, stopping at the first error.
pub(crate) async fn restore(tool: &Tool, endpoint: &Endpoint, restore: &Restore<'_>) -> Result<(), Error> {
    if restore.entries.is_empty() {
        return Ok(());
    }
    let folder = private_folder()?;
    let list = folder.path().join("entries");
    let lines: String = restore.entries.iter().map(|id| format!("{id};\n")).collect();
    let written = tokio::fs::write(&list, lines).await;
    written.map_err(|e| Error::new(Kind::Config, format!("write a list of entries to a temporary folder: {e}")))?;
    let mut command = process::Command::new(&tool.program)
        .args(["--exit-on-error", "--no-password", "--no-publications", "--no-subscriptions"])
        .arg(format!("--dbname={}", conninfo(endpoint.database())))
        .arg("--use-list")
        .arg(&list)
        .env("PGOPTIONS", settings(endpoint));
    let what = if restore.section == Section::PostData {
        command = command.arg(format!("--jobs={}", restore.workers));
        "restore indexes and constraints"
    } else {
        if restore.entries.len() <= MOST_IN_ONE_TRANSACTION {
            command = command.arg("--single-transaction");
        }
        "restore the schema"
    };
    if restore.no_owner {
        command = command.args(["--no-owner", "--no-acl"]);
    }
    if let Some(role) = &endpoint.acting_role {
        command = command.arg(format!("--role={role}"));
    }
    let failed = |e| from_tool(what, e);
    let mut child = endpoint.lend(command.arg(restore.archive)).and_then(process::Command::spawn).map_err(failed)?;
    child.wait().await.map_err(failed)?;
    Ok(())
}

/// A name that contains `=` would be taken for a connection string, so it is made one.
pub(crate) fn conninfo(database: &str) -> String {
    // The tools notice a dead network as our own sessions do; by default it takes them hours.
    const ALIVE: &str = "keepalives_idle=30 keepalives_interval=10 keepalives_count=6 tcp_user_timeout=120000";
    format!("dbname='{}' {ALIVE}", database.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn the_folder_of_a_schema_is_its_owners_alone() {
        let folder = private_folder().unwrap();
        let mode = std::fs::metadata(folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
