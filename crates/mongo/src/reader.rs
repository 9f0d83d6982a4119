//! Readers: one connection that reads segments document by document.
//!
//! Owns the `find` and its batches. Promises that a document's bytes are the server's own, and that all of them are of the moment, except where the server keeps no past: capped collections before version 8.
//! A batch is at most 16 MiB; the next is asked for when one is used up.

use crate::catalog::{Catalog, Collection, FUNCTIONS, Sort};
use crate::connection::{Session, at};
use crate::failure::from_mongo;
use crate::segments::Range;
use async_trait::async_trait;
use engine::{Error, Kind, Reader, RowSink, Segment};
use futures_util::StreamExt;
use mongodb::bson::{Bson, RawDocumentBuf, Timestamp, doc};
use std::sync::Arc;

/// Documents of the first batch; the server ends each at 16 MiB by itself.
const FIRST_BATCH: i32 = 10_000;

/// Where documents are read, and when.
#[derive(Debug)]
pub(crate) struct Readable {
    pub database: String,
    /// What stands before the names of collections here, until they are published.
    pub prefix: String,
    /// What stored functions are called meanwhile: a name that has `system.` in it is nobody else's.
    pub functions: Option<String>,
    pub catalog: Catalog,
    /// The moment; what a majority has now when `None`.
    pub time: Option<Timestamp>,
}

impl Readable {
    /// What a collection is called here. Time series cannot be renamed, so they have their own name from the beginning.
    pub fn name(&self, collection: &Collection) -> String {
        match (collection.sort, &self.functions) {
            (Sort::Collection, Some(functions)) if collection.name == FUNCTIONS => functions.clone(),
            (Sort::Collection, _) => format!("{}{}", self.prefix, collection.name),
            _ => collection.name.clone(),
        }
    }

    /// Where it has its documents here; none for a view.
    pub fn holder(&self, collection: &Collection) -> Option<String> {
        match collection.sort {
            Sort::Collection => Some(self.name(collection)),
            _ => collection.holder(),
        }
    }
}

/// Whether the server reads a capped collection at a time.
pub(crate) fn has_past_of_capped(session: &Session) -> bool {
    session.server.version.0 >= 8
}

/// Reads segments.
pub(crate) struct SegmentReader {
    session: Session,
    readable: Arc<Readable>,
}

impl SegmentReader {
    pub fn new(session: Session, readable: Arc<Readable>) -> Self {
        Self { session, readable }
    }

    /// Whether a source is read that has no moment.
    fn is_inexact(&self) -> bool {
        self.session.server.set.is_none() && self.readable.functions.is_none()
    }

    fn concern(&self, capped: bool) -> Bson {
        if self.session.server.set.is_none() {
            return at(None);
        }
        match self.readable.time {
            Some(time) if !capped || has_past_of_capped(&self.session) => at(Some(time)),
            _ => Bson::Document(doc! {"level": "majority"}),
        }
    }
}

#[async_trait]
impl Reader for SegmentReader {
    async fn read(&mut self, segment: &Segment, sink: &mut dyn RowSink) -> Result<(), Error> {
        let what = format!("read {}", segment.stream);
        let collection = self.readable.catalog.of_stream(&segment.stream)?;
        let mut command = doc! {"find": self.readable.holder(collection)};
        command.extend(Range::parse(&segment.range)?.says());
        if collection.is_capped() {
            command.insert("hint", doc! {"$natural": 1});
        } else if self.is_inexact() && collection.id_index.is_some() && !command.contains_key("hint") {
            // In the order of `_id` no document is met twice, whatever is written meanwhile.
            command.insert("hint", doc! {"_id": 1});
        }
        // Storing may take its time, and a cursor that nobody asks ends after ten minutes.
        command.extend(doc! {"batchSize": FIRST_BATCH, "noCursorTimeout": true, "readConcern": self.concern(collection.is_capped())});
        let command = RawDocumentBuf::try_from(&command).map_err(|e| Error::new(Kind::Internal, &what).because(e))?;
        let database = self.session.database(&self.readable.database);
        let asked = database.run_raw_cursor_command(command);
        let cursor = match self.session.reads.clone() {
            Some(reads) => asked.selection_criteria(reads).batch().await,
            None => asked.batch().await,
        };
        let mut cursor = cursor.map_err(from_mongo(&what))?;
        while let Some(batch) = cursor.next().await {
            let batch = batch.map_err(from_mongo(&what))?;
            for document in batch.doc_slices().map_err(from_mongo(&what))?.into_iter() {
                let document = document.ok().and_then(|value| value.as_document());
                let unreadable =
                    || Error::new(Kind::Data, format!("{what}: the server sent something that is no document"));
                if sink.push(document.ok_or_else(unreadable)?.as_bytes()) {
                    let taken = sink.drain().await;
                    taken.map_err(|e| Error::new(Kind::Interrupted, &what).because(e))?;
                }
            }
        }
        Ok(())
    }
}
