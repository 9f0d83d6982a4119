//! Loaders: one connection that gives documents to the server.
//!
//! Owns `insert` with raw documents in large batches, one on its way while the next is gathered. Promises that the server took every document as it was: replies are counted, and a document that is
//! refused ends the load. Servers that put the time in the place of an empty timestamp get such a document by an update, which leaves it be. What is loaded is durable only after the target has waited for a majority. Validators are passed over: they may be younger than the documents.

use crate::catalog::Collection;
use crate::changed::{Changed, Strainer};
use crate::connection::Session;
use crate::failure::{assert_written, from_mongo};
use crate::indexes::LateIndexes;
use crate::raw::{self, Batch, Cutter, has_empty_timestamp};
use crate::reader::Readable;
use async_trait::async_trait;
use engine::{Build, Digest, Error, Kind, Loader, Sieve, StreamName};
use mongodb::bson::{Document, RawDocumentBuf, doc};
use std::sync::Arc;
use tokio::sync::RwLock;
use tokio::task::JoinHandle;

/// Bytes of a batch: a command is a document, of 16 MiB at most, and one document may be nearly as large by itself.
const BATCH_BYTES: usize = 8 << 20;
/// Documents of a batch; servers take 100,000.
const BATCH_DOCUMENTS: usize = 50_000;

/// Loads segments over a pool's connections.
pub(crate) struct SegmentLoader {
    session: Session,
    readable: Arc<Readable>,
    indexes: Arc<LateIndexes>,
    changed: Arc<Changed>,
    current: Option<Current>,
    /// The batch that is on its way. A loader that is given up leaves it to arrive.
    sending: Option<JoinHandle<Result<u64, Error>>>,
    on_their_way: Arc<RwLock<()>>,
}

/// What goes to the server in one command.
enum Sending {
    Many(Batch),
    /// A document that an insert would change.
    One(Vec<u8>),
}

/// What is being loaded.
struct Current {
    stream: StreamName,
    /// The collection's name here.
    holder: String,
    /// Members of every command.
    rest: RawDocumentBuf,
    cutter: Cutter,
    batch: Batch,
    taken: u64,
    /// Leaves out what is there once more.
    strainer: Option<Strainer>,
}

impl SegmentLoader {
    /// `on_their_way` is held by every insert until it has its reply.
    pub fn new(
        session: Session,
        readable: Arc<Readable>,
        (indexes, changed): (Arc<LateIndexes>, Arc<Changed>),
        on_their_way: Arc<RwLock<()>>,
    ) -> Self {
        Self { session, readable, indexes, changed, current: None, sending: None, on_their_way }
    }

    fn current(&mut self) -> Result<&mut Current, Error> {
        self.current.as_mut().ok_or_else(|| Error::new(Kind::Internal, "a loader was used out of order"))
    }

    /// Members of an `insert` into this collection, besides the documents.
    fn rest(&self, collection: &Collection) -> Result<RawDocumentBuf, Error> {
        let mut rest = doc! {"ordered": true, "writeConcern": {"w": 1}};
        if collection.has_validator() {
            rest.insert("bypassDocumentValidation", true);
        }
        if self.session.server.keeps_empty_timestamps() {
            rest.insert("bypassEmptyTsReplacement", true);
        }
        RawDocumentBuf::try_from(&rest).map_err(|e| Error::new(Kind::Internal, "write a command").because(e))
    }

    /// Waits for the batch that is on its way.
    async fn wait(&mut self) -> Result<(), Error> {
        let Some(sending) = self.sending.take() else { return Ok(()) };
        let taken = sending.await.map_err(|e| Error::new(Kind::Internal, "a batch was lost").because(e))??;
        self.current()?.taken += taken;
        Ok(())
    }

    /// Sends documents on their way, after those before them.
    async fn send(&mut self, sending: Sending) -> Result<(), Error> {
        self.wait().await?;
        let database = self.session.database(&self.readable.database);
        let held = Arc::clone(&self.on_their_way).read_owned().await;
        let current = self.current()?;
        let what = format!("load {}", current.stream);
        let (command, documents) = match sending {
            Sending::Many(batch) if batch.documents() == 0 => return Ok(()),
            Sending::Many(batch) => {
                let documents = batch.documents() as u64;
                (batch.insert(&current.holder, &current.rest)?, documents)
            }
            Sending::One(document) => (raw::put(&current.holder, &document, &current.rest)?, 1),
        };
        self.sending = Some(tokio::spawn(async move {
            let reply = database.run_raw_command(command).await.map_err(from_mongo(&what))?;
            drop(held);
            assert_all_taken(&what, &reply, documents)?;
            Ok(documents)
        }));
        Ok(())
    }
}

fn assert_all_taken(what: &str, reply: &Document, documents: u64) -> Result<(), Error> {
    assert_written(what, reply)?;
    let taken = reply.get_i32("n").ok().and_then(|n| u64::try_from(n).ok()).unwrap_or_default();
    if taken == documents {
        return Ok(());
    }
    Err(Error::new(Kind::Data, format!("{what}: the server took {taken} of {documents} documents")))
}

#[async_trait]
impl Loader for SegmentLoader {
    async fn begin(&mut self, stream: &StreamName, _whole: bool) -> Result<(), Error> {
        let collection = self.readable.catalog.of_stream(stream)?;
        let holder = self.readable.holder(collection).unwrap_or_default();
        let rest = self.rest(collection)?;
        let (cutter, batch) = (Cutter::default(), Batch::new());
        self.current = Some(Current { stream: stream.clone(), holder, rest, cutter, batch, taken: 0, strainer: None });
        Ok(())
    }

    async fn begin_segment(&mut self, range: &str) -> Result<(), Error> {
        let changed = Arc::clone(&self.changed);
        let current = self.current()?;
        current.strainer = Strainer::of(&changed, &current.stream, range)?;
        (current.cutter, current.batch, current.taken) = (Cutter::default(), Batch::new(), 0);
        Ok(())
    }

    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        let keeps_all = self.session.server.keeps_empty_timestamps();
        let current = self.current()?;
        let stays = current.strainer.as_mut().map(|strainer| strainer.take(&bytes)).transpose()?;
        let bytes = stays.unwrap_or(bytes);
        let (batch, mut full) = (&mut current.batch, Vec::new());
        current.cutter.take(&bytes, &mut |document| {
            if !keeps_all && has_empty_timestamp(document) {
                full.push(Sending::Many(std::mem::replace(batch, Batch::new())));
                full.push(Sending::One(document.to_vec()));
                return;
            }
            let no_room = batch.bytes() + document.len() > BATCH_BYTES || batch.documents() >= BATCH_DOCUMENTS;
            if no_room && batch.documents() > 0 {
                full.push(Sending::Many(std::mem::replace(batch, Batch::new())));
            }
            batch.push(document);
        })?;
        for sending in full {
            self.send(sending).await?;
        }
        Ok(())
    }

    async fn end_segment(&mut self) -> Result<u64, Error> {
        let current = self.current()?;
        current.cutter.end()?;
        current.strainer.as_mut().map(Sieve::end).transpose()?;
        let batch = std::mem::replace(&mut current.batch, Batch::new());
        self.send(Sending::Many(batch)).await?;
        self.wait().await?;
        Ok(self.current()?.taken)
    }

    fn superseded(&self) -> Digest {
        let strainer = self.current.as_ref().and_then(|current| current.strainer.as_ref());
        strainer.map(Strainer::out).unwrap_or_default()
    }

    async fn commit(&mut self) -> Result<(), Error> {
        self.current = None;
        Ok(())
    }

    async fn build(&mut self, build: &Build) -> Result<(), Error> {
        self.indexes.build(&self.session, &self.readable, build).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_reply_must_count_every_document() {
        assert!(assert_all_taken("load a", &doc! {"n": 2, "ok": 1}, 2).is_ok());
        assert_eq!(assert_all_taken("load a", &doc! {"n": 1, "ok": 1}, 2).unwrap_err().kind, Kind::Data);
        let errors = doc! {"n": 1, "ok": 1, "writeErrors": [{"index": 1, "code": 11000, "errmsg": "E11000 x dup key: { a: \"secret\" }"}]};
        let error = assert_all_taken("load a", &errors, 2).unwrap_err();
        assert_eq!(error.kind, Kind::Data);
        assert!(!error.what.contains("secret"), "{error}");
    }
}
