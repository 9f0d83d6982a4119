//! The schema archive: what the vendor's `pg_dump` writes and `pg_restore` brings back.
//!
//! Owns running both, in the custom format, for everything before and after data. We never write DDL that they can write.
//! Promises that a dump counts only when the program ended well, and that its table of contents names the tables and
//! sequences we read ourselves: neither more nor fewer. Refuses data sections: rows go another way.

use crate::catalog::Catalog;
use crate::endpoint::Endpoint;
use crate::failure::from_tool;
use crate::quote::shown;
use crate::tools::Tool;
use engine::{Error, Kind};
use std::collections::BTreeMap;
use std::path::Path;

/// Most bytes of a table of contents.
const MOST_CONTENTS: usize = 256 << 20;
/// Oid of `pg_class` in every PostgreSQL: tables and sequences of the table of contents are entries of it.
const PG_CLASS: u32 = 1259;

/// A finished dump.
pub(crate) struct Archive {
    pub bytes: Vec<u8>,
    pub entries: Vec<Entry>,
}

/// A table or sequence in the table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub oid: u32,
    pub is_table: bool,
    /// The rest of the line, for errors.
    pub name: String,
}

/// A folder only this user can look into, removed when dropped.
pub(crate) fn private_folder() -> Result<tempfile::TempDir, Error> {
    // Mode 0700 is what the library gives a temporary folder.
    tempfile::Builder::new().prefix("longshore-").tempdir().map_err(|e| {
        Error::new(Kind::Config, format!("make a temporary folder: {e}")).hint("is TMPDIR writable and not full?")
    })
}

/// Tables and sequences in an archive's table of contents.
pub(crate) async fn contents(tool: &Tool, archive: &Path) -> Result<Vec<Entry>, Error> {
    let command = process::Command::new(&tool.program).arg("--list").arg(archive).capture(MOST_CONTENTS);
    let failed = |e| from_tool("read the dump's table of contents", e);
    let output = command.spawn().map_err(failed)?.wait().await.map_err(failed)?;
    Ok(parse_contents(&String::from_utf8_lossy(&output.stdout)))
}

/// Lines look like `215; 1259 16385 TABLE public events postgres`; comments begin with a semicolon.
fn parse_contents(text: &str) -> Vec<Entry> {
    let entry = |line: &str| {
        let (_, rest) = line.split_once("; ")?;
        let mut words = rest.splitn(3, ' ');
        let (class, oid, what) = (words.next()?.parse::<u32>().ok()?, words.next()?.parse().ok()?, words.next()?);
        let is_table = what.starts_with("TABLE ") && !what.starts_with("TABLE ATTACH ");
        let wanted = class == PG_CLASS && (is_table || what.starts_with("SEQUENCE "));
        wanted.then(|| Entry { oid, is_table, name: what.to_owned() })
    };
    text.lines().filter(|line| !line.starts_with(';')).filter_map(entry).collect()
}

/// Fails when the vendor's dump and our own listing do not name the same tables and sequences.
pub(crate) fn assert_same_objects(entries: &[Entry], catalog: &Catalog) -> Result<(), Error> {
    let tables = catalog.tables.iter().map(|table| (table.oid, (true, shown(&table.schema, &table.name))));
    let sequences =
        catalog.sequences.iter().map(|sequence| (sequence.oid, (false, shown(&sequence.schema, &sequence.name))));
    let mut ours: BTreeMap<u32, (bool, String)> = tables.chain(sequences).collect();
    for entry in entries {
        match ours.remove(&entry.oid) {
            Some((is_table, _)) if is_table == entry.is_table => {}
            _ => return Err(differs(&format!("pg_dump lists \"{}\", which was not read", entry.name))),
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

/// Which part of the archive to bring back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    PreData,
    /// The same without its grants.
    PreDataWithoutGrants,
    /// The grants that were left out, by the list in the file `grants` beside the archive.
    Grants,
    PostData,
}

/// Name of the list of grants, in the archive's folder.
pub(crate) const GRANTS: &str = "grants";

/// Settings for the sessions that `pg_restore` opens: no timeout of the target's ends an index build, and index builds
/// get memory, which for GIN decides between minutes and hours.
const RESTORE_SETTINGS: &str = "-c statement_timeout=0 -c lock_timeout=0 -c idle_in_transaction_session_timeout=0 -c idle_session_timeout=0 \
     -c default_transaction_read_only=off -c synchronous_commit=off -c maintenance_work_mem=256MB";

/// Brings one section back into the database, stopping at the first error.
pub(crate) async fn restore(
    tool: &Tool,
    endpoint: &Endpoint,
    archive: &Path,
    section: Section,
    workers: usize,
    no_owner: bool,
) -> Result<(), Error> {
    let mut command = process::Command::new(&tool.program)
        .args(["--exit-on-error", "--no-password", "--no-publications", "--no-subscriptions"])
        .arg(format!("--dbname={}", conninfo(endpoint.database())))
        .env("PGOPTIONS", RESTORE_SETTINGS);
    command = match section {
        Section::PreData => command.args(["--section=pre-data", "--single-transaction"]),
        Section::PreDataWithoutGrants => command.args(["--section=pre-data", "--single-transaction", "--no-acl"]),
        // Without a section: grants belong to whatever stands before them, and a list moves them to the end.
        Section::Grants => {
            command.arg(format!("--use-list={}", archive.with_file_name(GRANTS).display())).arg("--single-transaction")
        }
        Section::PostData => command.arg("--section=post-data").arg(format!("--jobs={workers}")),
    };
    if no_owner {
        command = command.args(["--no-owner", "--no-acl"]);
    }
    if let Some(role) = &endpoint.acting_role {
        command = command.arg(format!("--role={role}"));
    }
    let what = match section {
        Section::PreData | Section::PreDataWithoutGrants => "restore the schema",
        Section::Grants => "restore the grants",
        Section::PostData => "restore indexes and constraints",
    };
    let failed = |e| from_tool(what, e);
    let mut child = endpoint.lend(command.arg(archive)).and_then(process::Command::spawn).map_err(failed)?;
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
    use super::*;

    #[test]
    fn the_table_of_contents_is_read_as_the_vendor_prints_it() {
        let text = ";\n; Archive created at 2024\n;\n3; 2615 2200 SCHEMA - public pg_database_owner\n\
             215; 1259 16385 TABLE public events postgres\n216; 0 0 TABLE ATTACH public events_1 postgres\n\
             217; 1259 16390 SEQUENCE public events_id_seq postgres\n218; 1259 16400 INDEX public i postgres\n\
             219; 0 0 SEQUENCE OWNED BY public events_id_seq postgres\n";
        let found: Vec<(u32, bool)> = parse_contents(text).iter().map(|entry| (entry.oid, entry.is_table)).collect();
        assert_eq!(found, [(16385, true), (16390, false)]);
    }
}
