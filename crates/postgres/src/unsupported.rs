//! What this version cannot carry yet.
//!
//! Owns the list. Promises that an object which would not come back makes the backup fail with its name, before any row is
//! read: nothing is lost silently.

use crate::failure::from_postgres;
use engine::{Error, Kind};
use tokio_postgres::Client;

/// Fails with the names of what cannot be backed up, at most a few of each kind.
pub(crate) async fn refuse(client: &Client) -> Result<(), Error> {
    let mut found = Vec::new();
    for (kind, sql) in QUERIES {
        let rows = client.query(*sql, &[]).await.map_err(from_postgres(format!("look for {kind}s")))?;
        found.extend(rows.iter().map(|row| format!("{kind} {}", row.get::<_, String>(0))));
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Unsupported, format!("this version cannot back up: {}", found.join("; ")))
        .hint("nothing was stored; back this database up with the vendor's tools until a version can"))
}

/// Kinds that are recognised by one query each, which names at most three.
const QUERIES: &[(&str, &str)] = &[
    (
        // Its tables only load between calls of its own functions, which are not tested here.
        "database with the extension",
        "SELECT extname::text FROM pg_catalog.pg_extension WHERE extname = 'timescaledb'",
    ),
    (
        "foreign partition below a table partitioned by the hash of an enum:",
        "SELECT t.relid::pg_catalog.regclass::text FROM pg_catalog.pg_partitioned_table p, \
         pg_catalog.pg_partition_tree(p.partrelid) t JOIN pg_catalog.pg_class c ON c.oid = t.relid \
         WHERE p.partstrat = 'h' AND c.relkind = 'f' LIMIT 3",
    ),
    (
        "security label on the database",
        "SELECT l.provider FROM pg_catalog.pg_shseclabel l JOIN pg_catalog.pg_database d ON d.oid = l.objoid \
         WHERE l.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass AND d.datname = current_database() LIMIT 3",
    ),
];
