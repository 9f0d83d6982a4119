//! Planner statistics of a restored database.
//!
//! Owns gathering them over several sessions at a time, the largest tables first: a database that was restored without
//! them answers its first queries with the wrong plans. Promises that every table, partitioned table and materialized view
//! is visited; a table that this role may not analyze is skipped by the server, as it does for `ANALYZE` without a name.
//! Refuses to ask other servers: what has foreign tables below it is left to autovacuum, because the server samples these too.

use crate::failure::from_postgres;
use crate::quote::qualified;
use engine::{Error, Kind};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::JoinSet;
use tokio_postgres::Client;

/// Schema and name of everything that can have statistics and is here, the largest first.
pub(crate) const TABLES: &str = "WITH RECURSIVE far(oid) AS (SELECT oid FROM pg_catalog.pg_class WHERE relkind = 'f' UNION \
         SELECT i.inhparent FROM far JOIN pg_catalog.pg_inherits i ON i.inhrelid = far.oid) \
         SELECT n.nspname, c.relname FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p', 'm') AND c.oid NOT IN (SELECT oid FROM far) AND c.relpersistence <> 't' AND n.nspname <> 'information_schema' \
         AND n.nspname !~ '^pg_' ORDER BY pg_catalog.pg_relation_size(c.oid) DESC";

/// Gathers statistics on everything in the database, over these sessions, which look for names where its own sessions do:
/// expressions of indexes are computed.
pub(crate) async fn gather(sessions: Vec<Client>) -> Result<(), Error> {
    let Some(client) = sessions.first() else { return Ok(()) };
    let rows = client.query(TABLES, &[]).await.map_err(from_postgres("list tables for statistics"))?;
    let tables: VecDeque<String> = rows.iter().map(|row| qualified(row.get(0), row.get(1))).collect();
    let queue = Arc::new(Mutex::new(tables));
    let mut running = JoinSet::new();
    for session in sessions {
        running.spawn(analyze(session, Arc::clone(&queue)));
    }
    while let Some(ended) = running.join_next().await {
        ended.map_err(|e| Error::new(Kind::Internal, "gathering statistics died").because(e))??;
    }
    Ok(())
}

async fn analyze(client: Client, queue: Arc<Mutex<VecDeque<String>>>) -> Result<(), Error> {
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    while let Some(table) = next() {
        let done = client.batch_execute(&format!("ANALYZE {table}")).await;
        done.map_err(from_postgres(format!("gather statistics on {table}")))?;
    }
    Ok(())
}
