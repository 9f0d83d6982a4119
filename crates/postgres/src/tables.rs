//! Which tables there are, in the server's catalogs.
//!
//! Owns the queries that list tables and their columns, and the condition that tells a user's objects from those of the system
//! and of extensions. Promises the same order wherever tables are listed: by name, byte by byte.

use crate::catalog::{Column, Table};
use crate::failure::from_postgres;
use crate::filter::Chosen;
use crate::{paths, special};
use engine::Error;
use std::collections::BTreeMap;
use tokio_postgres::{Client, Row};

/// Objects that belong to the user: not the system's, not temporary, not an extension's (`CREATE EXTENSION` makes those).
pub(crate) const USERS_OWN: &str = "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
     AND n.nspname !~ '^pg_(toast_)?temp_' AND c.relpersistence <> 't' \
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
     AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e')";

/// Tables and sequences whose content an extension's author declared to be the user's.
pub(crate) const DECLARED: &str = "SELECT unnest(e.extconfig) FROM pg_catalog.pg_extension e";

/// Identity of a table for comparing two listings.
pub(crate) type TableKey = (u32, String, String);

/// Oid, schema and name of every table, sorted by name.
pub(crate) async fn list_tables(client: &Client) -> Result<Vec<TableKey>, Error> {
    let sql = format!(
        "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p') AND ({USERS_OWN} OR c.oid IN ({DECLARED})) \
         ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\""
    );
    let rows = client.query(&sql, &[]).await.map_err(from_postgres("list tables"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

/// Everything about the chosen tables, and how the rows of the special ones go.
pub(crate) async fn read_tables(client: &Client, chosen: &Chosen) -> Result<Vec<Table>, Error> {
    let mut columns = read_columns(client).await?;
    let sql = format!(
        "SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relpersistence::text, coalesce(am.amname, ''), \
         c.relfilenode, CASE WHEN c.relkind = 'r' AND ($1::oid[] IS NULL OR c.oid = ANY ($1)) THEN pg_catalog.pg_relation_size(c.oid) ELSE 0 END, \
         CASE WHEN c.relkind = 'r' AND ($1::oid[] IS NULL OR c.oid = ANY ($1)) THEN pg_catalog.pg_table_size(c.oid) ELSE 0 END \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam \
         WHERE c.relkind IN ('r', 'p') AND ({USERS_OWN} OR c.oid IN ({DECLARED})) \
         ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\""
    );
    // Measuring a table takes its lock: what is not read is not measured.
    let rows = client.query(&sql, &[&chosen.oids()]).await.map_err(from_postgres("read tables"))?;
    let mut tables: Vec<Table> = rows.iter().map(|row| table(row, &mut columns)).collect();
    special::mark_extensions(client, &mut tables).await?;
    special::mark_roots(client, &mut tables).await?;
    paths::mark(client, &mut tables).await?;
    chosen.apply(&mut tables)?;
    Ok(tables)
}

fn table(row: &Row, columns: &mut BTreeMap<u32, Vec<Column>>) -> Table {
    let bytes = |at: usize| u64::try_from(row.get::<_, i64>(at)).unwrap_or_default();
    let oid = row.get(0);
    let access_method: &str = row.get(5);
    Table {
        oid,
        schema: row.get(1),
        name: row.get(2),
        kind: row.get(3),
        persistence: row.get(4),
        access_method: access_method.to_owned(),
        relfilenode: row.get(6),
        heap_bytes: bytes(7),
        table_bytes: bytes(8),
        columns: columns.remove(&oid).unwrap_or_default(),
        special: None,
        rows_left_out: false,
        plans_code: false,
        holds_names: false,
        asks_code: false,
    }
}

/// Stored columns by table: not the dropped ones, not the generated ones, whose values the server computes.
async fn read_columns(client: &Client) -> Result<BTreeMap<u32, Vec<Column>>, Error> {
    let sql = format!(
        "SELECT c.oid, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a \
         JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' \
         AND ({USERS_OWN} OR c.oid IN ({DECLARED})) \
         ORDER BY c.oid, a.attnum"
    );
    let rows = client.query(&sql, &[]).await.map_err(from_postgres("read columns"))?;
    let mut columns: BTreeMap<u32, Vec<Column>> = BTreeMap::new();
    for row in rows {
        columns.entry(row.get(0)).or_default().push(Column { name: row.get(1), type_name: row.get(2) });
    }
    Ok(columns)
}
