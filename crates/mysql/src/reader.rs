//! Readers: one session that reads segments row by row.
//!
//! Owns the query and the making of lines. Promises one call per row, in the order of the key where there is one; and that a table's
//! definition is let go of after each segment, so that whoever wants to change it waits for a segment and not for a backup: what is read of a changed
//! table fails instead (error 1412).

use crate::catalog::Table;
use crate::connection::Session;
use crate::failure::{from_mysql, map};
use crate::segments::Range;
use crate::unchanged;
use async_trait::async_trait;
use engine::{Error, Kind, Reader, RowSink, Segment, StreamName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Tables by stream, and where they are.
#[derive(Debug)]
pub(crate) struct Readable {
    pub schema: String,
    pub tables: BTreeMap<StreamName, Table>,
}

impl Readable {
    /// The table of a stream.
    pub fn table(&self, stream: &StreamName) -> Result<&Table, Error> {
        self.tables.get(stream).ok_or_else(|| Error::new(Kind::Internal, format!("no table for stream {stream}")))
    }
}

/// Reads segments over a session of its own.
pub(crate) struct SegmentReader {
    session: Session,
    readable: Arc<Readable>,
    /// Whether the session is in a snapshot that a savepoint can go back in.
    in_snapshot: bool,
}

impl SegmentReader {
    pub fn new(session: Session, readable: Arc<Readable>, in_snapshot: bool) -> Self {
        Self { session, readable, in_snapshot }
    }

    async fn savepoint(&mut self, sql: &str) -> Result<(), Error> {
        if self.in_snapshot { self.session.run("go on in the snapshot", sql).await } else { Ok(()) }
    }
}

#[async_trait]
impl Reader for SegmentReader {
    async fn read(&mut self, segment: &Segment, sink: &mut dyn RowSink) -> Result<(), Error> {
        let read = self.read_rows(segment, sink).await;
        if self.in_snapshot { read.map_err(unchanged::explain) } else { read }
    }
}

impl SegmentReader {
    async fn read_rows(&mut self, segment: &Segment, sink: &mut dyn RowSink) -> Result<(), Error> {
        let table = self.readable.table(&segment.stream)?;
        let condition = Range::parse(&segment.range)?.condition(table);
        let sql = format!("SELECT {} FROM {}{condition}", table.expressions(), table.from(&self.readable.schema));
        let what = format!("read {}", segment.stream);
        // A table of computed columns alone has rows without content: what is asked in their place is not part of them.
        let empty = table.columns.is_empty() && table.history.is_none();
        self.savepoint("SAVEPOINT longshore_segment").await?;
        let mut lines = self.session.lines(&sql).await.map_err(from_mysql(&what))?;
        let mut line = Vec::new();
        while lines.next(&mut line).await.map_err(|e| map(&what, &e))? {
            if empty {
                line.clear();
            }
            if sink.push(&line) {
                let taken = sink.drain().await;
                taken.map_err(|e| Error::new(Kind::Interrupted, format!("read {}", segment.stream)).because(e))?;
            }
        }
        self.savepoint("ROLLBACK TO SAVEPOINT longshore_segment").await
    }
}
