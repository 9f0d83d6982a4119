//! Loaders: one session that copies rows in.
//!
//! Owns the COPY of segments into restored tables. A table that one loader loads alone is truncated and loaded frozen in one
//! transaction, which spares a later vacuum rewriting it; a table that several load is not. Promises that the number of
//! rows returned is what the server says it took.

use crate::builds::Builds;
use crate::catalog::{Special, Table};
use crate::connection::Session;
use crate::failure::{from_postgres, map};
use crate::large_objects;
use crate::lookup;
use async_trait::async_trait;
use bytes::Bytes;
use engine::{Build, Error, Kind, Loader, StreamName};
use futures_util::SinkExt;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use tokio_postgres::{Client, CopyInSink};

/// Copies segments in over a session of its own.
pub(crate) struct SegmentLoader {
    client: Arc<Session>,
    /// Whether everything is inside a transaction of somebody else's.
    inside: bool,
    tables: Arc<BTreeMap<StreamName, Table>>,
    encoding: String,
    builds: Arc<Builds>,
    current: Option<Current>,
    copying: Option<Pin<Box<CopyInSink<Bytes>>>>,
}

struct Current {
    stream: StreamName,
    sql: String,
    whole: bool,
    /// Size of the pieces that become large objects.
    pieces: Option<u32>,
}

impl SegmentLoader {
    pub fn new(
        client: Client,
        tables: Arc<BTreeMap<StreamName, Table>>,
        encoding: String,
        builds: Arc<Builds>,
    ) -> Self {
        let client = Arc::new(Session::from(client));
        Self { client, inside: false, tables, encoding, builds, current: None, copying: None }
    }

    /// Loads inside the transaction that is open on this session, and ends none.
    pub fn inside(client: Arc<Session>, tables: Arc<BTreeMap<StreamName, Table>>, encoding: String) -> Self {
        Self { client, inside: true, tables, encoding, builds: Arc::default(), current: None, copying: None }
    }

    fn what(&self) -> String {
        match &self.current {
            Some(current) => format!("load {}", current.stream),
            None => "load".to_owned(),
        }
    }
}

fn out_of_order() -> Error {
    Error::new(Kind::Internal, "a loader was used out of order")
}

/// Why rows were not taken.
fn refused(what: &str, error: &tokio_postgres::Error) -> Error {
    lookup::explain_value(map(what, error), error.as_db_error())
}

#[async_trait]
impl Loader for SegmentLoader {
    async fn begin(&mut self, stream: &StreamName, whole: bool) -> Result<(), Error> {
        let unknown =
            || Error::new(Kind::Data, format!("the backup holds rows of {stream}, which its catalog does not name"));
        let table = self.tables.get(stream).ok_or_else(unknown)?;
        let name = table.qualified();
        // Only a table that is alone and was made empty can be truncated: an extension has rows of its own in its tables.
        let whole = whole && table.special.is_none() && !self.inside;
        let freeze = if whole { ", FREEZE" } else { "" };
        let mut sql = format!(
            "COPY {} FROM STDIN WITH (FORMAT text, ENCODING '{}'{freeze})",
            table.named_columns(),
            self.encoding
        );
        let mut pieces = None;
        if let Some(Special::LargeObjects { piece_bytes }) = table.special {
            large_objects::prepare_stage(&self.client).await?;
            (sql, pieces) = (large_objects::copy_in(), Some(piece_bytes));
        }
        self.current = Some(Current { stream: stream.clone(), sql, whole, pieces });
        if whole {
            // FREEZE needs the table created or truncated in the transaction that loads it.
            let sql = format!("BEGIN; TRUNCATE ONLY {name}");
            self.client.batch_execute(&sql).await.map_err(from_postgres(self.what()))?;
        }
        Ok(())
    }

    async fn begin_segment(&mut self, _range: &str) -> Result<(), Error> {
        let current = self.current.as_ref().ok_or_else(out_of_order)?;
        let sink = self.client.copy_in(&current.sql).await.map_err(from_postgres(self.what()))?;
        self.copying = Some(Box::pin(sink));
        Ok(())
    }

    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        let what = self.what();
        let sink = self.copying.as_mut().ok_or_else(out_of_order)?;
        match sink.send(Bytes::from(bytes)).await {
            Ok(()) => Ok(()),
            // The server refuses by a message that only the end of the COPY delivers; the write itself just fails.
            Err(error) if error.as_db_error().is_none() => match sink.as_mut().finish().await {
                Err(reason) => Err(refused(&what, &reason)),
                Ok(_) => Err(refused(&what, &error)),
            },
            Err(error) => Err(refused(&what, &error)),
        }
    }

    async fn end_segment(&mut self) -> Result<u64, Error> {
        let what = self.what();
        let mut sink = self.copying.take().ok_or_else(out_of_order)?;
        let rows = sink.as_mut().finish().await.map_err(|e| refused(&what, &e))?;
        if let Some(piece_bytes) = self.current.as_ref().and_then(|current| current.pieces) {
            large_objects::write(&self.client, piece_bytes).await?;
        }
        Ok(rows)
    }

    async fn commit(&mut self) -> Result<(), Error> {
        let current = self.current.take().ok_or_else(out_of_order)?;
        if current.whole {
            let what = format!("load {}", current.stream);
            self.client.batch_execute("COMMIT").await.map_err(from_postgres(what))?;
        }
        Ok(())
    }

    async fn build(&mut self, build: &Build) -> Result<(), Error> {
        let unknown = || Error::new(Kind::Internal, format!("nothing is known of {}", build.what));
        let (sql, shown) = self.builds.statement(build).ok_or_else(unknown)?;
        self.client.batch_execute(sql).await.map_err(from_postgres(format!("build {shown}")))?;
        self.builds.note(build);
        Ok(())
    }
}
