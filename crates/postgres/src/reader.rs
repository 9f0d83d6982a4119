//! Readers: one session that copies segments out.
//!
//! Owns the COPY and the way around a queue of locks: a reader takes each table's lock without waiting, and when
//! somebody already waits for a stronger one, it reads that segment over the session that holds our own first lock.
//! Waiting instead would wait for ever: for someone who waits for us. Promises one call per row, in page order.

use crate::catalog::Table;
use crate::connection::Session;
use crate::dump::DumpFailure;
use crate::failure::{from_postgres, map};
use crate::paths::{self, SearchPath};
use crate::segments::Range;
use crate::standby;
use async_trait::async_trait;
use engine::{Error, Kind, Reader, RowSink, Segment, StreamName};
use futures_util::StreamExt;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Tables by stream, and the encoding in which their rows are written.
#[derive(Debug)]
pub(crate) struct Readable {
    pub tables: BTreeMap<StreamName, Table>,
    pub encoding: String,
    pub search_path: SearchPath,
    /// Whether the server is a standby, whose replay may end a session without a word.
    pub in_recovery: bool,
}

/// Reads segments over a session of its own.
pub(crate) struct SegmentReader {
    client: Session,
    readable: Arc<Readable>,
    /// The session that holds every table's lock, where there is one.
    leader: Option<Arc<Mutex<Session>>>,
    locked: HashSet<StreamName>,
    /// Whether the session looks for names as the database's own do.
    with_path: bool,
    /// Whether the vendor's dump has failed: reading on would be for nothing.
    dump: DumpFailure,
}

impl SegmentReader {
    pub fn new(
        client: impl Into<Session>,
        readable: Arc<Readable>,
        leader: Option<Arc<Mutex<Session>>>,
        dump: DumpFailure,
    ) -> Self {
        Self { client: client.into(), readable, leader, locked: HashSet::new(), with_path: false, dump }
    }

    /// Looks for names where reading this table needs it.
    async fn follow(&mut self, table: &Table) -> Result<(), Error> {
        let wanted = table.needs_path();
        if wanted != self.with_path {
            switch(&self.client, &self.readable.search_path, wanted).await?;
            self.with_path = wanted;
        }
        Ok(())
    }

    /// Locks the table without waiting; false when somebody is in the way.
    async fn lock(&mut self, table: &Table) -> Result<bool, Error> {
        let sql = format!("SAVEPOINT l; LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT; RELEASE l", table.relation());
        match self.client.batch_execute(&sql).await {
            Ok(()) => Ok(true),
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                self.client
                    .batch_execute("ROLLBACK TO l; RELEASE l")
                    .await
                    .map_err(from_postgres("go back after a lock"))?;
                Ok(false)
            }
            Err(error) => Err(map(&format!("lock {}", table.stream()), &error)),
        }
    }
}

/// Reads whole tables over a session that others use, too, as it sees them.
pub(crate) struct SessionReader {
    pub session: Arc<Session>,
    pub readable: Readable,
}

#[async_trait]
impl Reader for SessionReader {
    async fn read(&mut self, segment: &Segment, sink: &mut dyn RowSink) -> Result<(), Error> {
        let unknown = || Error::new(Kind::Internal, format!("no table for stream {}", segment.stream));
        let table = self.readable.tables.get(&segment.stream).ok_or_else(unknown)?;
        let sql = copy_out(table, &segment.range, &self.readable.encoding)?;
        // Names in values are written as at the source.
        switch(&self.session, &self.readable.search_path, table.needs_path()).await?;
        copy(&self.session, &sql, table, segment, sink).await
    }
}

#[async_trait]
impl Reader for SegmentReader {
    async fn read(&mut self, segment: &Segment, sink: &mut dyn RowSink) -> Result<(), Error> {
        let in_recovery = self.readable.in_recovery;
        self.read_locked(segment, sink).await.map_err(standby::explain(in_recovery))
    }
}

impl SegmentReader {
    /// Reads a segment once its table's lock is this session's, or over the session that has it.
    async fn read_locked(&mut self, segment: &Segment, sink: &mut dyn RowSink) -> Result<(), Error> {
        self.dump.check()?;
        let readable = Arc::clone(&self.readable);
        let unknown = || Error::new(Kind::Internal, format!("no table for stream {}", segment.stream));
        let table = readable.tables.get(&segment.stream).ok_or_else(unknown)?;
        let sql = copy_out(table, &segment.range, &readable.encoding)?;
        let unlocked = self.leader.clone().filter(|_| table.is_relation() && !self.locked.contains(&segment.stream));
        if let Some(leader) = unlocked {
            if !self.lock(table).await? {
                tracing::debug!(table = %segment.stream, "somebody waits for a stronger lock; reading over the first session");
                let leader = leader.lock().await;
                return copy_over(&leader, &readable.search_path, &sql, table, segment, sink).await;
            }
            self.locked.insert(segment.stream.clone());
        }
        self.follow(table).await?;
        copy(&self.client, &sql, table, segment, sink).await
    }
}

async fn switch(client: &Client, path: &SearchPath, wanted: bool) -> Result<(), Error> {
    if wanted { path.set(client).await } else { paths::clear(client).await }
}

/// Copies over a session that others use as well: its search path is as before afterwards. After an error its transaction is
/// good for nothing, and so is the path.
async fn copy_over(
    client: &Client,
    path: &SearchPath,
    sql: &str,
    table: &Table,
    segment: &Segment,
    sink: &mut dyn RowSink,
) -> Result<(), Error> {
    if !table.needs_path() {
        return copy(client, sql, table, segment, sink).await;
    }
    switch(client, path, true).await?;
    copy(client, sql, table, segment, sink).await?;
    switch(client, path, false).await
}

fn copy_out(table: &Table, range: &str, encoding: &str) -> Result<String, Error> {
    let range = Range::parse(range)?;
    let what = match range {
        // The whole table, without planning anything.
        Range::Whole if table.special.is_none() => table.named_columns(),
        _ => format!("({})", table.select(range)),
    };
    Ok(format!("COPY {what} TO STDOUT WITH (FORMAT text, ENCODING '{encoding}')"))
}

/// One message of the protocol is one row ("messages sent from the backend will always correspond to single data
/// rows", PostgreSQL documentation, "Message Formats", CopyData).
async fn copy(
    client: &Client,
    sql: &str,
    table: &Table,
    segment: &Segment,
    sink: &mut dyn RowSink,
) -> Result<(), Error> {
    let what = || format!("read {} {}", segment.stream, segment.range);
    let stream = client.copy_out(sql).await.map_err(|e| map(&what(), &e))?;
    let mut stream = std::pin::pin!(stream);
    while let Some(message) = stream.next().await {
        let message = message.map_err(|e| map(&what(), &e))?;
        let Some(row) = message.strip_suffix(b"\n") else {
            return Err(Error::new(Kind::Internal, format!("{}: a row without its end", what())));
        };
        if sink.push(row) && sink.drain().await.is_err() {
            return Err(Error::new(Kind::Internal, format!("{}: the rows could not be taken", what())));
        }
    }
    assert_same_table(client, table).await
}

/// The name must still mean the table that was planned: renaming a schema takes no lock on the tables in it, and COPY
/// finds its table by name each time.
async fn assert_same_table(client: &Client, table: &Table) -> Result<(), Error> {
    // A restored table has another oid than the one that was backed up: there is nothing to mistake it for.
    let Some(oid) = table.planned_oid() else { return Ok(()) };
    let stream = table.stream();
    let row = client
        .query_one("SELECT pg_catalog.to_regclass($1)::oid", &[&table.qualified()])
        .await
        .map_err(from_postgres(format!("look for {stream}")))?;
    if row.get::<_, Option<u32>>(0) == Some(oid) {
        return Ok(());
    }
    Err(Error::new(Kind::Changed, format!("the name {stream} was given to another table while it was read"))
        .hint("a schema was renamed; run again, nothing was stored"))
}
