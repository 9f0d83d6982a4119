//! Whether a table can be loaded, and what its columns take.
//!
//! Owns the look at the catalog. Promises that a table for which a load could not keep its word is refused by name: one that a crash empties, one
//! whose rows are elsewhere, one whose replacement would delete rows of others or not all of its own. Names of the drop are shown only where some are
//! columns: else they may be somebody's data. Values are cast to a column's type without its length or scale,
//! and assigned: a cast with the length would cut text without a word.

use engine::Error;
use postgres::{StatementSession, TextRow, ident, qualified, shown};

use crate::header::{config, unknown};
use crate::{Mode, TableName};

/// A table that can be loaded.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// Its number in the catalog.
    pub oid: String,
    /// Quoted, for SQL.
    pub sql: String,
    /// For people.
    pub shown: String,
    /// Its name alone.
    pub name: String,
    /// Those that the drop has, in its order.
    pub columns: Vec<Column>,
}

/// A column that is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub name: String,
    /// The type as it is declared.
    pub declared: String,
    /// The type to cast to: a domain's base, without length and scale.
    pub cast: String,
    /// Whether it takes no null.
    pub not_null: bool,
}

impl Column {
    /// Whether any text is a value.
    pub fn is_text(&self) -> bool {
        self.declared == "text"
    }
}

/// Looks whether rows with these columns can be loaded into the table in this way.
pub(super) async fn examine(
    session: &StatementSession,
    name: &TableName,
    mode: &Mode,
    columns: &[String],
    location: &str,
) -> Result<Table, Error> {
    let (oid, schema, relation) = find(session, name, location).await?;
    let (sql, shown) = (qualified(&schema, &relation), shown(&schema, &relation));
    let columns = matched(session, &oid, &shown, columns).await?;
    match mode {
        Mode::Append => {}
        Mode::Replace => may_be_replaced(session, &oid, &shown).await?,
        Mode::Upsert { key } => require_key(session, &oid, &shown, key, &columns).await?,
    }
    Ok(Table { oid, sql, shown, name: relation, columns })
}

/// The table's number, schema and name.
async fn find(session: &StatementSession, name: &TableName, location: &str) -> Result<(String, String, String), Error> {
    let query = "SELECT c.oid::text, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text \
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
        WHERE c.relname = $2::text AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
        AND CASE WHEN $1::text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid) ELSE n.nspname = $1::text END";
    let rows =
        session.rows(&format!("look for table {name}"), query, &[name.schema.as_deref(), Some(&name.name)]).await?;
    let Some([Some(oid), Some(schema), Some(relation), Some(kind), Some(lasts)]) = rows.first().map(Vec::as_slice)
    else {
        let what = format!("there is no table {name} in {location}");
        return Err(config(what, "make it first; names count as they are written, capital letters included"));
    };
    let table = shown(schema, relation);
    match (kind.as_str(), lasts.as_str()) {
        ("r" | "p", "p") => Ok((oid.clone(), schema.clone(), relation.clone())),
        (_, "u") => {
            let what = format!("{table} is an unlogged table: a crash empties it, and the ledger would call it loaded");
            Err(config(what, "ALTER TABLE … SET LOGGED, or load into another table"))
        }
        (_, "t") => Err(config(format!("{table} is a temporary table"), "load into another table")),
        ("f", _) => {
            let what = format!("{table} is a foreign table: its rows are not in the transaction that loads");
            Err(config(what, "load into the table itself, on its own server"))
        }
        _ => Err(config(format!("{table} is a view"), "load into a table")),
    }
}

/// Whether a type `t` has parts that no rule of ours looks at, and that the server may cut, round or guess: composite types, ranges that somebody made, arrays of either
/// or of domains with a length, a scale, or dates.
const HIDDEN: &str = "t.typtype = 'c' OR (t.typtype IN ('r', 'm') AND t.typnamespace <> 'pg_catalog'::pg_catalog.regnamespace) \
    OR EXISTS (SELECT FROM pg_catalog.pg_type e \
        JOIN pg_catalog.pg_type x ON x.oid = CASE WHEN e.typtype = 'd' THEN e.typbasetype ELSE e.oid END \
        WHERE t.typcategory = 'A' AND e.oid = t.typelem AND (x.typtype IN ('c', 'd') \
            OR (e.typtype = 'd' AND (e.typtypmod >= 0 OR x.typcategory IN ('D', 'T', 'R'))) \
            OR (x.typtype IN ('r', 'm') AND x.typnamespace <> 'pg_catalog'::pg_catalog.regnamespace)))";

/// The columns that are loaded, in the order of the drop.
async fn matched(session: &StatementSession, oid: &str, table: &str, wanted: &[String]) -> Result<Vec<Column>, Error> {
    let query = format!(
        "WITH RECURSIVE base(attnum, typid) AS ( \
            SELECT a.attnum, a.atttypid FROM pg_catalog.pg_attribute a \
            WHERE a.attrelid = ($1::text)::oid AND a.attnum > 0 AND NOT a.attisdropped \
            UNION ALL SELECT b.attnum, t.typbasetype FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.typid WHERE t.typtype = 'd') \
        SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod), pg_catalog.format_type(b.typid, -1), \
            a.attnotnull::text, a.attgenerated::text, a.attidentity::text, ({HIDDEN})::text \
        FROM pg_catalog.pg_attribute a JOIN base b ON b.attnum = a.attnum JOIN pg_catalog.pg_type t ON t.oid = b.typid \
        WHERE a.attrelid = ($1::text)::oid AND a.attnum > 0 AND t.typtype <> 'd' ORDER BY a.attnum"
    );
    let rows = session.rows(&format!("read the columns of {table}"), &query, &[Some(oid)]).await?;
    let mut columns = Vec::with_capacity(wanted.len());
    let mut missing = Vec::new();
    for name in wanted {
        match rows.iter().find(|row| row[0].as_deref() == Some(name)) {
            Some(row) => columns.push(column(row, table)?),
            None => missing.push(name.as_str()),
        }
    }
    if missing.is_empty() {
        return Ok(columns);
    }
    let there: Vec<_> = rows.iter().filter_map(|row| row[0].as_deref()).collect();
    Err(unknown(table, &missing, wanted.len(), &there.join(", ")))
}

fn column(row: &TextRow, table: &str) -> Result<Column, Error> {
    let text = |at: usize| row[at].clone().unwrap_or_default();
    let name = text(0);
    if !text(4).is_empty() {
        return Err(config(
            format!("column {name} of {table} is generated: no value can be put there"),
            "leave it out of the drop",
        ));
    }
    if text(5) == "a" {
        let what = format!(
            "column {name} of {table} numbers itself (GENERATED ALWAYS AS IDENTITY): no value can be put there"
        );
        return Err(config(what, "leave it out of the drop, or make it GENERATED BY DEFAULT"));
    }
    if text(6) == "true" {
        let what = format!(
            "column {name} of {table} is of a type whose parts the server may cut, round or guess unseen: {}",
            text(1)
        );
        return Err(config(
            what,
            "leave it out of the drop, or load into a table with plain columns and convert there",
        ));
    }
    Ok(Column { name, declared: text(1), cast: text(2), not_null: text(3) == "true" })
}

/// Replacing deletes all rows first: all must be seen, and what refers to them must not go along.
pub(super) async fn may_be_replaced(session: &StatementSession, oid: &str, table: &str) -> Result<(), Error> {
    let query = "SELECT pg_catalog.row_security_active(($1::text)::oid)::text";
    let rows = session.rows(&format!("look at the policies of {table}"), query, &[Some(oid)]).await?;
    if rows.first().and_then(|row| row[0].as_deref()) != Some("false") {
        let what =
            format!("row-level security may hide rows of {table} from this role: replacing could leave them there");
        return Err(config(what, "load as the table's owner or with a role that has BYPASSRLS, or with --mode upsert"));
    }
    refuse_cascades(session, oid, table).await
}

/// Deleting goes down to partitions and children, which foreign keys may name by themselves. Keys among these are no matter: no row stays.
async fn refuse_cascades(session: &StatementSession, oid: &str, table: &str) -> Result<(), Error> {
    let query = "WITH RECURSIVE below(oid) AS (SELECT ($1::text)::oid \
            UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN below b ON i.inhparent = b.oid) \
        SELECT c.conname::text, c.conrelid::regclass::text FROM pg_catalog.pg_constraint c \
        WHERE c.contype = 'f' AND c.confdeltype IN ('c', 'n', 'd') \
        AND c.confrelid IN (SELECT oid FROM below) AND c.conrelid NOT IN (SELECT oid FROM below) ORDER BY 1 LIMIT 1";
    let rows = session.rows(&format!("look who refers to {table}"), query, &[Some(oid)]).await?;
    match rows.first().map(Vec::as_slice) {
        Some([Some(constraint), Some(other)]) => {
            let what =
                format!("replacing {table} would delete or change rows of {other}, by its foreign key {constraint}");
            Err(config(what, "load with --mode upsert, or take ON DELETE away from that key"))
        }
        _ => Ok(()),
    }
}

/// An upsert needs a unique index of exactly the key.
async fn require_key(
    session: &StatementSession,
    oid: &str,
    table: &str,
    key: &[String],
    columns: &[Column],
) -> Result<(), Error> {
    if let Some(absent) = key.iter().find(|name| !columns.iter().any(|column| column.name == **name)) {
        return Err(config(
            format!("the key's column {absent} is not in the drop"),
            "name columns of the drop in --key",
        ));
    }
    let query = "SELECT i.indexrelid::text, a.attname::text FROM pg_catalog.pg_index i \
        CROSS JOIN LATERAL pg_catalog.unnest(i.indkey) WITH ORDINALITY AS u(attnum, place) \
        JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum \
        WHERE i.indrelid = ($1::text)::oid AND i.indisunique AND i.indimmediate AND i.indisvalid \
        AND i.indpred IS NULL AND i.indexprs IS NULL AND u.place <= i.indnkeyatts";
    let rows = session.rows(&format!("read the indexes of {table}"), query, &[Some(oid)]).await?;
    let mut wanted: Vec<&str> = key.iter().map(String::as_str).collect();
    wanted.sort_unstable();
    let fits = |index: &str| {
        let of_it = rows.iter().filter(|row| row[0].as_deref() == Some(index));
        let mut names: Vec<_> = of_it.filter_map(|row| row[1].as_deref()).collect();
        names.sort_unstable();
        names == wanted
    };
    if rows.iter().filter_map(|row| row[0].as_deref()).any(fits) {
        return Ok(());
    }
    let names: Vec<_> = key.iter().map(|name| ident(name)).collect();
    let what =
        format!("{table} has no unique index of exactly {}: rows could not be found by that key", key.join(", "));
    Err(config(what, &format!("CREATE UNIQUE INDEX ON {table} ({}), or name another --key", names.join(", "))))
}
