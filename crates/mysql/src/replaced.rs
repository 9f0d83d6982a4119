//! Replaced schemas: what had the target's name before a restore took it, kept aside.
//!
//! Owns a schema named `<target>__old_<run>` with a table that says what it is: whose place was taken, when, and every statement of the programs that were there, because
//! only tables can be moved. Promises that it is written before anything is moved, so that a way back exists from the first moment; and that
//! nothing without that table is taken for one, or dropped.

use crate::catalog::Catalog;
use crate::connection::Session;
use crate::quote::{ident, literal, qualified};
use crate::scratch::create_schema;
use engine::{Error, Kind};
use std::collections::BTreeSet;

/// The table that says so.
pub(crate) const TABLE: &str = "longshore_replaced";

/// Bytes of what is written down, in one statement.
const PIECE_BYTES: usize = 256 << 10;

/// A schema that was replaced.
#[derive(Debug, Clone)]
pub(crate) struct Replaced {
    /// Its name now.
    pub schema: String,
    /// By the server's clock, UTC.
    pub at: String,
}

/// The name for what a run replaces.
pub(crate) fn name(target: &str, run: &str) -> String {
    format!("{target}__old_{run}")
}

/// Makes the schema for what is about to be replaced, with everything but its tables written down.
pub(crate) async fn prepare(session: &mut Session, schema: &str, target: &str, live: &Catalog) -> Result<(), Error> {
    create_schema(session, schema, &live.database).await?;
    let table = qualified(schema, TABLE);
    let what = format!("prepare {schema}");
    let sql = format!(
        "CREATE TABLE {table} (target VARCHAR(64) NOT NULL PRIMARY KEY, at VARCHAR(32) NOT NULL, catalog LONGBLOB NOT NULL) \
         ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    );
    session.run(&what, &sql).await?;
    let json = serde_json::to_vec(live).map_err(|e| Error::new(Kind::Internal, format!("{what}: {e}")))?;
    let target = literal(target);
    session.run(&what, &format!("INSERT INTO {table} VALUES ({target}, UTC_TIMESTAMP(6), '')")).await?;
    // A statement may be as long as the server lets it: 4 MiB by default before MySQL 8.
    for piece in json.chunks(PIECE_BYTES) {
        let piece = crate::quote::hex(piece);
        session.run(&what, &format!("UPDATE {table} SET catalog = CONCAT(catalog, {piece})")).await?;
    }
    Ok(())
}

/// Schemas whose place was taken by restores into this target, newest first.
pub(crate) async fn of(session: &mut Session, target: &str) -> Result<Vec<Replaced>, Error> {
    let prefix = name(target, "");
    let sql = format!(
        "SELECT TABLE_SCHEMA FROM information_schema.TABLES WHERE TABLE_NAME = '{TABLE}' AND LEFT(TABLE_SCHEMA, {}) = {}",
        prefix.chars().count(),
        literal(&prefix)
    );
    let mut found = Vec::new();
    for row in session.rows("look for replaced databases", &sql).await? {
        let schema = row.text(0);
        // A server that knows no case shows the name in small letters; whose it was stands in the table.
        if !schema.get(..prefix.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(&prefix)) {
            continue;
        }
        let sql = format!("SELECT at FROM {} WHERE target = {}", qualified(&schema, TABLE), literal(target));
        let at = session.maybe("read what was replaced", &sql).await?;
        found.extend(at.map(|row| Replaced { schema, at: row.text(0) }));
    }
    found.sort_by(|a, b| b.at.cmp(&a.at));
    Ok(found)
}

/// What the schema had besides rows.
pub(crate) async fn catalog(session: &mut Session, schema: &str) -> Result<Catalog, Error> {
    let sql = format!("SELECT catalog FROM {}", qualified(schema, TABLE));
    let row = session.one("read what was replaced", &sql).await?;
    Catalog::parse(row.bytes(0).unwrap_or_default())
}

/// A table or sequence that the schema had and has no more, if any.
pub(crate) async fn missing(session: &mut Session, schema: &str, had: &Catalog) -> Result<Option<String>, Error> {
    let sql = format!("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {}", literal(schema));
    let there: BTreeSet<String> =
        session.rows("look at what was replaced", &sql).await?.iter().map(|row| row.text(0)).collect();
    let tables = had.tables.iter().map(|table| &table.name);
    let mut all = tables.chain(had.sequences.iter().map(|sequence| &sequence.name));
    Ok(all.find(|name| !there.contains(*name)).cloned())
}

/// Drops a replaced schema.
pub(crate) async fn drop(session: &mut Session, schema: &str) -> Result<(), Error> {
    session.run(&format!("drop {schema}"), &format!("DROP DATABASE IF EXISTS {}", ident(schema))).await
}
