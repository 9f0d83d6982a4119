//! The snapshot: one moment of the database that several sessions see.
//!
//! Owns the order that makes it safe: list the tables, begin, lock every table, and only then let the first query take
//! the snapshot; list again, and start over when the lists differ. TRUNCATE and rewriting ALTERs are not covered by
//! snapshots: a table that is locked only later may look empty to an older snapshot. LOCK TABLE itself takes none.

use crate::connection::BEGIN_SNAPSHOT;
use crate::failure::{from_postgres, map};
use crate::filter::Rules;
use crate::quote::{literal, qualified, shown};
use crate::tables::TableKey;
use engine::{Error, Kind};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Tables locked in one statement.
const LOCK_BATCH: usize = 100;
/// How often to start over while tables come and go.
const ATTEMPTS: u32 = 5;

/// An exported snapshot; alive as long as the transaction on the client it was taken with.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub id: String,
}

/// Takes a snapshot in which every table that the rules keep is locked against change. On success the client is inside the transaction.
pub(crate) async fn take(client: &Client, rules: &Rules) -> Result<Snapshot, Error> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let before = rules.tables(client).await?;
        match try_take(client, rules, &before).await {
            Ok(snapshot) => return Ok(snapshot),
            Err(error) if error.kind == Kind::Changed => last = Some(error),
            Err(error) => return Err(error),
        }
        client.batch_execute("ROLLBACK").await.map_err(from_postgres("start over"))?;
    }
    let hint = "run again when migrations have ended; nothing was stored";
    Err(last.unwrap_or_else(|| Error::new(Kind::Changed, "tables kept changing")).hint(hint))
}

async fn try_take(client: &Client, rules: &Rules, tables: &[TableKey]) -> Result<Snapshot, Error> {
    client.batch_execute(BEGIN_SNAPSHOT).await.map_err(from_postgres("begin"))?;
    for batch in tables.chunks(LOCK_BATCH) {
        let names: Vec<String> =
            batch.iter().map(|(_, schema, name)| format!("ONLY {}", qualified(schema, name))).collect();
        let sql = format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "));
        if let Err(error) = client.batch_execute(&sql).await {
            return Err(lock_trouble(client, batch, &error).await);
        }
    }
    let row = client
        .query_one("SELECT pg_catalog.pg_export_snapshot()", &[])
        .await
        .map_err(from_postgres("export the snapshot"))?;
    let after = rules.tables(client).await?;
    if after == tables {
        return Ok(Snapshot { id: row.get(0) });
    }
    let differs = |a: &[TableKey], b: &[TableKey]| a.iter().find(|table| !b.contains(table)).cloned();
    let name = differs(&after, tables).or_else(|| differs(tables, &after));
    let name = name.map(|(_, schema, name)| shown(&schema, &name)).unwrap_or_default();
    Err(Error::new(Kind::Changed, format!("tables kept being created, dropped or renamed, the last one {name}")))
}

/// Says which table could not be locked, and who stands in the way: the server's message names neither.
async fn lock_trouble(client: &Client, batch: &[TableKey], error: &tokio_postgres::Error) -> Error {
    if error.code() != Some(&SqlState::LOCK_NOT_AVAILABLE) {
        return map("lock the tables", error);
    }
    let holders = "SELECT c.oid, l.pid, coalesce(a.application_name, ''), a.usename::text FROM pg_catalog.pg_locks l \
         JOIN pg_catalog.pg_class c ON c.oid = l.relation LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
         WHERE l.mode = 'AccessExclusiveLock' AND l.database = \
         (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())";
    let held = match client.batch_execute("ROLLBACK").await {
        Ok(()) => client.query(holders, &[]).await.unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    let named = held.iter().find_map(|row| {
        let (_, schema, name) = batch.iter().find(|(oid, ..)| *oid == row.get::<_, u32>(0))?;
        let (pid, user): (i32, Option<String>) = (row.get(1), row.get(3));
        Some(format!("{} is locked by process {pid} of {}", shown(schema, name), user.unwrap_or_default()))
    });
    let what = named.unwrap_or_else(|| "a table is locked by another session".to_owned());
    Error::new(Kind::Unavailable, format!("lock the tables: {what}, longer than the lock timeout")).hint(
        "wait for the migration to end, or raise --lock-timeout; whoever waits for a lock makes others wait behind it",
    )
}

/// Lets another session see the snapshot.
pub(crate) async fn join(client: &Client, snapshot: &Snapshot) -> Result<(), Error> {
    let sql = format!("{BEGIN_SNAPSHOT}; SET TRANSACTION SNAPSHOT {}", literal(&snapshot.id));
    client.batch_execute(&sql).await.map_err(|error| {
        // The server knows a snapshot as long as the session that exported it lives.
        if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) {
            return Error::new(Kind::Unavailable, "join the snapshot: the session that held it is gone")
                .hint("the server or something between ended our first session; run again");
        }
        map("join the snapshot", &error)
    })
}
