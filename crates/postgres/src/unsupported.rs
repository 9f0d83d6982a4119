//! What this version cannot carry yet.
//!
//! Owns the list. Promises that an object which would not come back makes the backup fail with its name, before any row is
//! read: nothing is lost silently.

use crate::endpoint::Endpoint;
use crate::failure::from_postgres;
use crate::special::HASHED_ROOTS;
use engine::{Error, Kind};
use tokio_postgres::Client;

/// Fails with the names of what cannot be backed up, at most a few of each kind.
pub(crate) async fn refuse(client: &Client) -> Result<(), Error> {
    let mut found = Vec::new();
    for (kind, sql) in queries() {
        let rows = client.query(&sql, &[]).await.map_err(from_postgres(format!("look for {kind}s")))?;
        found.extend(rows.iter().map(|row| format!("{kind} {}", row.get::<_, String>(0))));
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Unsupported, format!("this version cannot back up: {}", found.join("; ")))
        .hint("nothing was stored; back this database up with the vendor's tools until a version can"))
}

/// Kinds that are recognised by one query each, which names at most three.
fn queries() -> [(&'static str, String); 3] {
    [
        (
            // Its tables only load between calls of its own functions, which are not tested here.
            "database with the extension",
            "SELECT extname::text FROM pg_catalog.pg_extension WHERE extname = 'timescaledb'".to_owned(),
        ),
        (
            // Rows of such a tree are read and loaded through the topmost table: a backup would fetch those of the other
            // server, and a restore would write them there.
            "foreign partition of a table that is partitioned, on some level, by the hash of an enum:",
            format!(
                "SELECT DISTINCT t.relid::pg_catalog.regclass::text FROM ({HASHED_ROOTS}) r, \
                 pg_catalog.pg_partition_tree(r.root) t JOIN pg_catalog.pg_class c ON c.oid = t.relid \
                 WHERE c.relkind = 'f' LIMIT 3"
            ),
        ),
        (
            "security label on the database",
            "SELECT l.provider FROM pg_catalog.pg_shseclabel l JOIN pg_catalog.pg_database d ON d.oid = l.objoid \
             WHERE l.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass AND d.datname = current_database() LIMIT 3"
                .to_owned(),
        ),
    ]
}

/// Fails when a database without encoding has names that are not UTF-8: this program speaks UTF-8 with every server, and knows
/// tables by their names. Rows, defaults, comments and code may be any bytes.
pub(crate) async fn refuse_unreadable_names(client: &Client, endpoint: &Endpoint) -> Result<(), Error> {
    let encoding = client.query_one("SHOW server_encoding", &[]).await.map_err(from_postgres("read the encoding"))?;
    if encoding.get::<_, String>(0) != "SQL_ASCII" {
        return Ok(());
    }
    let rows = client.query(NAMES, &[]).await.map_err(from_postgres("look for names that are not UTF-8"))?;
    let unreadable = |row: &tokio_postgres::Row| {
        let (kind, name): (String, &[u8]) = (row.get(0), row.get(1));
        std::str::from_utf8(name).is_err().then(|| format!("{kind} {}", name.escape_ascii()))
    };
    let found: Vec<String> = rows.iter().filter_map(unreadable).collect();
    if found.is_empty() {
        return Ok(());
    }
    let shown = found.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    let what =
        format!("{endpoint} has no encoding (SQL_ASCII), and {} names in it are not UTF-8: {shown}", found.len());
    Err(Error::new(Kind::Unsupported, what).hint(
        "rename them (in psql, after SET client_encoding = SQL_ASCII), or back this database up with the vendor's tools; rows may hold any bytes",
    ))
}

/// Names that are more than ASCII, as bytes.
const NAMES: &str = "SELECT kind, pg_catalog.convert_to(name, 'SQL_ASCII') FROM ( \
     SELECT 'database', current_database()::text UNION ALL SELECT 'role', rolname::text FROM pg_catalog.pg_roles \
     UNION ALL SELECT 'schema', nspname::text FROM pg_catalog.pg_namespace \
     UNION ALL SELECT 'table, view, sequence or index', relname::text FROM pg_catalog.pg_class \
     UNION ALL SELECT 'column', attname::text FROM pg_catalog.pg_attribute WHERE NOT attisdropped \
     UNION ALL SELECT 'type', typname::text FROM pg_catalog.pg_type WHERE typelem = 0 AND typrelid = 0 \
     UNION ALL SELECT 'value of an enum', enumlabel::text FROM pg_catalog.pg_enum \
     UNION ALL SELECT 'extension', extname::text FROM pg_catalog.pg_extension \
     UNION ALL SELECT 'publication', pubname::text FROM pg_catalog.pg_publication \
     UNION ALL SELECT 'comment on the database', pg_catalog.shobj_description(oid, 'pg_database') \
     FROM pg_catalog.pg_database WHERE datname = current_database()) AS n(kind, name) \
     WHERE pg_catalog.octet_length(name) > 0 AND name ~ '[^\x01-\x7f]' ORDER BY 1, 2";
