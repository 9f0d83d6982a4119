//! Readers: one connection that reads segments document by document.
//!
//! Owns the `find` and its batches. Promises that a document's bytes are the server's own, and that all of them are of the moment, except where the server keeps no past: capped collections before version 8.
//! A batch is at most 16 MiB; the next is asked for when one is used up.

use crate::catalog::{Catalog, Collection, FUNCTIONS, Sort};
use crate::connection::{Session, at};
use crate::failure::from_mongo;
use crate::identifier::{Id, id_of};
use crate::past::Past;
use crate::raw::{any_of, append_all};
use crate::segments::Range;
use async_trait::async_trait;
use engine::{Error, Kind, Reader, RowSink, Segment};
use futures_util::StreamExt;
use mongodb::bson::raw::cstr;
use mongodb::bson::{Binary, Bson, Document, RawDocument, RawDocumentBuf, Timestamp, Uuid, doc};
use mongodb::error::ErrorKind;
use mongodb::raw_batch_cursor::RawBatchCursor;
use std::sync::Arc;

/// Documents of the first batch; the server ends each at 16 MiB by itself.
const FIRST_BATCH: i32 = 10_000;
/// Identifiers of one question.
const IDS: usize = 1000;
/// The server's word for a moment that it has forgotten.
const SNAPSHOT_TOO_OLD: i32 = 239;

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
    /// What keeps a backup exact that takes longer than its server keeps the past; of a source only.
    pub past: Option<Past>,
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

/// Whether the server can be asked for a collection by both of its names: its own for it as well as ours. Without that, one
/// that has another name for a while is answered as an empty one.
fn knows_identities(session: &Session) -> bool {
    session.server.version.0 >= 6
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

    /// The server's own name of a collection of a source, where it can be asked for by that as well.
    fn identity(&self, collection: &Collection) -> Option<Uuid> {
        let is_source = self.readable.functions.is_none();
        let bytes = hex::decode(&collection.uuid).ok().filter(|_| is_source && knows_identities(&self.session));
        Some(Uuid::from_bytes(bytes?.try_into().ok()?))
    }

    /// Whether a source is read that has no moment.
    fn is_inexact(&self) -> bool {
        self.session.server.set.is_none() && self.readable.functions.is_none()
    }

    async fn concern(&self, capped: bool, bytes: u64) -> Result<Bson, Error> {
        if self.session.server.set.is_none() {
            return Ok(at(None));
        }
        match (self.readable.time, &self.readable.past) {
            (Some(_), Some(past)) if !capped || has_past_of_capped(&self.session) => {
                past.concern(&self.session, bytes).await
            }
            (Some(time), None) if !capped || has_past_of_capped(&self.session) => Ok(at(Some(time))),
            _ => Ok(Bson::Document(doc! {"level": "majority"})),
        }
    }

    /// Opens a cursor. Where the server has forgotten the moment already, that is told, and what a majority has is read instead.
    async fn open(
        &self,
        what: &str,
        mut command: Document,
        segment: &Segment,
        capped: bool,
    ) -> Result<RawBatchCursor, Error> {
        loop {
            command.insert("readConcern", self.concern(capped, segment.estimated_bytes).await?);
            let raw = RawDocumentBuf::try_from(&command).map_err(|e| Error::new(Kind::Internal, what).because(e))?;
            match (self.ask(raw).await, &self.readable.past) {
                (Err(error), _) if is_not_enabled(&error) && command.contains_key(BY_IDENTITY) => {
                    command.remove(BY_IDENTITY);
                }
                (Err(error), Some(past)) if is_forgotten(&error) && is_at_a_moment(&command) => {
                    past.is_forgotten(&self.session).await;
                }
                (opened, _) => return opened.map_err(from_mongo(what)),
            }
        }
    }

    async fn ask(&self, command: RawDocumentBuf) -> mongodb::error::Result<RawBatchCursor> {
        let database = self.session.database(&self.readable.database);
        let asked = database.run_raw_cursor_command(command);
        match self.session.reads.clone() {
            Some(reads) => asked.selection_criteria(reads).batch().await,
            None => asked.batch().await,
        }
    }

    /// What changed meanwhile, once more, at the time that all of the backup is of.
    async fn read_changed(
        &mut self,
        segment: &Segment,
        ids: std::ops::Range<usize>,
        sink: &mut dyn RowSink,
    ) -> Result<(), Error> {
        let what = format!("read what changed in {} meanwhile", segment.stream);
        let not_settled = || Error::new(Kind::Internal, format!("{what}: before that was settled"));
        let again = self.readable.past.as_ref().and_then(Past::again).ok_or_else(not_settled)?;
        let (changed, concern) = again.of(&segment.stream);
        let ids: Vec<&Id> = changed.into_iter().flat_map(|ids| ids.iter()).skip(ids.start).take(ids.len()).collect();
        let collection = self.readable.catalog.of_stream(&segment.stream)?;
        let none = || Error::new(Kind::Internal, format!("{} has no documents", segment.stream));
        let holder = self.readable.holder(collection).ok_or_else(none)?;
        let mut identity = self.identity(collection);
        for ids in ids.chunks(IDS) {
            let cursor = loop {
                match self.ask(of_ids(&holder, ids, identity, &concern)?).await {
                    Err(error) if identity.is_some() && is_not_enabled(&error) => identity = None,
                    asked => break asked.map_err(from_mongo(&what))?,
                }
            };
            // The server compares texts by the collection's rules; here they are the same when their bytes are.
            let is_asked_for =
                |document: &RawDocument| id_of(document).is_some_and(|id| ids.binary_search(&&id).is_ok());
            give(&what, cursor, sink, is_asked_for).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Reader for SegmentReader {
    async fn read(&mut self, segment: &Segment, sink: &mut dyn RowSink) -> Result<(), Error> {
        let what = format!("read {}", segment.stream);
        let collection = self.readable.catalog.of_stream(&segment.stream)?;
        let range = Range::parse(&segment.range)?;
        if let Some(part) = range.part() {
            return self.read_changed(segment, part, sink).await;
        }
        let mut command = doc! {"find": self.readable.holder(collection)};
        command.extend(self.identity(collection).map(|identity| (BY_IDENTITY.to_owned(), Bson::from(identity))));
        command.extend(range.says());
        if collection.is_capped() {
            command.insert("hint", doc! {"$natural": 1});
        } else if self.is_inexact() && collection.id_index.is_some() && !command.contains_key("hint") {
            // In the order of `_id` no document is met twice, whatever is written meanwhile.
            command.insert("hint", doc! {"_id": 1});
        }
        // Storing may take its time, and a cursor that nobody asks ends after ten minutes.
        command.extend(doc! {"batchSize": FIRST_BATCH, "noCursorTimeout": true});
        let cursor = self.open(&what, command, segment, collection.is_capped()).await?;
        give(&what, cursor, sink, |_| true).await
    }
}

/// Gives all documents of a cursor that are wanted.
async fn give(
    what: &str,
    mut cursor: RawBatchCursor,
    sink: &mut dyn RowSink,
    is_wanted: impl Fn(&RawDocument) -> bool,
) -> Result<(), Error> {
    while let Some(batch) = cursor.next().await {
        let batch = batch.map_err(from_mongo(what))?;
        for document in batch.doc_slices().map_err(from_mongo(what))?.into_iter() {
            let document = document.ok().and_then(|value| value.as_document());
            let unreadable =
                || Error::new(Kind::Data, format!("{what}: the server sent something that is no document"));
            let document = document.ok_or_else(unreadable)?;
            if is_wanted(document) && sink.push(document.as_bytes()) {
                sink.drain().await.map_err(|e| Error::new(Kind::Interrupted, what).because(e))?;
            }
        }
    }
    Ok(())
}

/// The question for some documents of a collection.
fn of_ids(holder: &str, ids: &[&Id], identity: Option<Uuid>, concern: &Bson) -> Result<RawDocumentBuf, Error> {
    let mut command = RawDocumentBuf::new();
    command.append(cstr!("find"), holder);
    command.append(cstr!("filter"), any_of(ids)?);
    command.append(cstr!("batchSize"), FIRST_BATCH);
    if let Some(identity) = identity {
        command.append(cstr!("collectionUUID"), Binary::from(identity));
    }
    append_concern(&mut command, concern)?;
    Ok(command)
}

fn append_concern(command: &mut RawDocumentBuf, concern: &Bson) -> Result<(), Error> {
    let wrong = |e: mongodb::bson::error::Error| Error::new(Kind::Internal, "write a command").because(e);
    let rest = RawDocumentBuf::try_from(&doc! {"readConcern": concern}).map_err(wrong)?;
    append_all(command, &rest, &[])
}

/// The member of a command that says by which name of its own a server knows a collection.
const BY_IDENTITY: &str = "collectionUUID";

/// Whether the server does not take that yet: one of 6.0 that behaves as one of 5.0 (`featureCompatibilityVersion`).
fn is_not_enabled(error: &mongodb::error::Error) -> bool {
    const INVALID_OPTIONS: i32 = 72;
    matches!(error.kind.as_ref(), ErrorKind::Command(command)
        if command.code == INVALID_OPTIONS && command.message.contains(BY_IDENTITY))
}

/// Whether the server has forgotten the moment.
fn is_forgotten(error: &mongodb::error::Error) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Command(command) if command.code == SNAPSHOT_TOO_OLD)
}

fn is_at_a_moment(command: &Document) -> bool {
    command.get_document("readConcern").is_ok_and(|concern| concern.contains_key("atClusterTime"))
}
