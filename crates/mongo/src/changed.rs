//! Documents that changed while a database was read for longer than its past is kept.
//!
//! Owns their identifiers: as the oplog names them, as they are kept with a backup (`changed.bson`), and the question whether a document is one of them. What was read of these documents is of no moment; the backup has
//! each of them once more, at the time at which everything is, in a segment of its own. Promises that an identifier is known again, whatever kind its numbers have become. Refuses more of them than fit into memory.

use crate::identifier::{Id, id_of};
use crate::raw::Cutter;
use crate::segments::Range;
use engine::{Digest, Document, Error, Kind, Sieve, Sieves, StreamName, row_hash};
use mongodb::bson::raw::cstr;
use mongodb::bson::{RawDocument, RawDocumentBuf};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Name of the document that keeps them.
pub(crate) const CHANGED: &str = "changed.bson";
/// As many as are kept in some hundred megabytes.
const MOST: usize = 2_000_000;

/// Identifiers by stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changed {
    by_stream: BTreeMap<String, Arc<BTreeSet<Id>>>,
    count: usize,
}

impl Changed {
    /// Adds one.
    ///
    /// # Errors
    /// [`Kind::Changed`] when there are too many.
    pub fn add(&mut self, stream: &str, id: Id) -> Result<(), Error> {
        if !self.by_stream.contains_key(stream) {
            self.by_stream.insert(stream.to_owned(), Arc::default());
        }
        let ids = self.by_stream.get_mut(stream).map(Arc::make_mut);
        self.count += usize::from(ids.is_some_and(|ids| ids.insert(id)));
        if self.count <= MOST {
            return Ok(());
        }
        let what =
            format!("more than {MOST} documents changed while the database was read for longer than its past is kept");
        Err(Error::new(Kind::Changed, what)
            .hint("raise minSnapshotHistoryWindowInSeconds, read with more workers, or when less is written"))
    }

    pub fn of(&self, stream: &StreamName) -> Option<&Arc<BTreeSet<Id>>> {
        self.by_stream.get(stream.as_str())
    }

    /// Streams, and of how many documents each.
    pub fn streams(&self) -> impl Iterator<Item = (StreamName, usize)> {
        self.by_stream.iter().map(|(stream, ids)| (StreamName::new(stream), ids.len()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// As it is kept: a document with the stream's name and the identifier for each.
    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        for (stream, ids) in &self.by_stream {
            for id in ids.iter() {
                let mut entry = RawDocumentBuf::new();
                entry.append(cstr!("stream"), stream.as_str());
                entry.append(cstr!("id"), RawDocumentBuf::from_bytes(id.clone()).map_err(unreadable)?);
                bytes.extend_from_slice(entry.as_bytes());
            }
        }
        Ok(bytes)
    }

    /// What a backup keeps of it; nothing changed in one that keeps none.
    ///
    /// # Errors
    /// As [`Changed::parse`].
    pub fn find(documents: &[Document]) -> Result<Self, Error> {
        Document::find(documents, CHANGED).map_or(Ok(Self::default()), |document| Self::parse(&document.bytes))
    }

    /// Reads that.
    ///
    /// # Errors
    /// [`Kind::Data`] for anything else.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let (mut changed, mut failed) = (Self::default(), None);
        let mut cutter = Cutter::default();
        cutter.take(bytes, &mut |entry| {
            if let Err(error) = changed.read(entry) {
                failed.get_or_insert(error);
            }
        })?;
        cutter.end()?;
        failed.map_or(Ok(changed), Err)
    }

    fn read(&mut self, entry: &[u8]) -> Result<(), Error> {
        let entry = RawDocument::from_bytes(entry).map_err(unreadable)?;
        let stream = entry.get_str("stream").map_err(unreadable)?;
        let id = id_of(entry.get_document("id").map_err(unreadable)?);
        self.add(stream, id.ok_or_else(|| Error::new(Kind::Data, format!("{CHANGED}: an identifier is empty")))?)
    }
}

/// Leaves those documents out of a segment that another has once more.
#[derive(Debug)]
pub(crate) struct Strainer {
    cutter: Cutter,
    ids: Arc<BTreeSet<Id>>,
    out: Digest,
}

impl Strainer {
    /// For a segment; none where nothing is left out.
    pub fn of(changed: &Changed, stream: &StreamName, range: &str) -> Result<Option<Self>, Error> {
        let Some(ids) = changed.of(stream).filter(|ids| !ids.is_empty()) else { return Ok(None) };
        if Range::parse(range)?.is_changed() {
            return Ok(None);
        }
        Ok(Some(Self { cutter: Cutter::default(), ids: Arc::clone(ids), out: Digest::default() }))
    }

    /// What was left out so far.
    pub fn out(&self) -> Digest {
        self.out
    }
}

impl Sieve for Strainer {
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let (mut stays, ids, out) = (Vec::with_capacity(bytes.len()), &self.ids, &mut self.out);
        self.cutter.take(bytes, &mut |document| {
            let id = RawDocument::from_bytes(document).ok().and_then(id_of);
            match id.is_some_and(|id| ids.contains(&id)) {
                true => out.add(row_hash(document)),
                false => stays.extend_from_slice(document),
            }
        })?;
        Ok(stays)
    }

    fn end(&mut self) -> Result<Digest, Error> {
        self.cutter.end()?;
        Ok(self.out)
    }
}

impl Sieves for Changed {
    fn of(&self, stream: &StreamName, range: &str) -> Result<Option<Box<dyn Sieve>>, Error> {
        Ok(Strainer::of(self, stream, range)?.map(|strainer| Box::new(strainer) as Box<dyn Sieve>))
    }
}

fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Kind::Data, format!("{CHANGED} cannot be read")).because(error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use mongodb::bson::rawdoc;

    #[test]
    fn identifiers_come_back() {
        let mut changed = Changed::default();
        for document in [rawdoc! {"x": 1, "_id": 1}, rawdoc! {"_id": {"a": [1]}}, rawdoc! {"_id": 1, "y": 2}] {
            changed.add("t", id_of(&document).unwrap()).unwrap();
        }
        changed.add("u", id_of(&rawdoc! {"_id": "1"}).unwrap()).unwrap();
        assert_eq!(changed.count, 3);
        let back = Changed::parse(&changed.encode().unwrap()).unwrap();
        assert_eq!(back, changed);
        let of_t = back.of(&StreamName::new("t")).unwrap();
        assert!(of_t.contains(&id_of(&rawdoc! {"_id": 1}).unwrap()));
        assert!(!of_t.contains(&id_of(&rawdoc! {"_id": "1"}).unwrap()));
        let bytes = changed.encode().unwrap();
        assert_eq!(Changed::find(&[]).unwrap(), Changed::default());
        assert_eq!(Changed::parse(&bytes[..bytes.len() - 1]).unwrap_err().kind, Kind::Data);
    }

    #[test]
    fn what_is_there_once_more_is_left_out_of_the_first_readings_alone() {
        let mut changed = Changed::default();
        changed.add("t", id_of(&rawdoc! {"_id": 2}).unwrap()).unwrap();
        let documents = [rawdoc! {"_id": 1}, rawdoc! {"x": 5, "_id": 2}, rawdoc! {"_id": "2"}, rawdoc! {"_id": 2.0}];
        let all: Vec<u8> = documents.iter().flat_map(|document| document.as_bytes().to_vec()).collect();
        let (stream, other) = (StreamName::new("t"), StreamName::new("u"));
        let mut strainer = Strainer::of(&changed, &stream, "{}").unwrap().unwrap();
        let stays: Vec<u8> = all.chunks(3).flat_map(|piece| strainer.take(piece).unwrap()).collect();
        assert_eq!(stays, [documents[0].as_bytes(), documents[2].as_bytes()].concat());
        // One whose number has become another kind since is the same document.
        let out = strainer.end().unwrap();
        let mut expected = Digest::default();
        expected.add(row_hash(documents[1].as_bytes()));
        expected.add(row_hash(documents[3].as_bytes()));
        assert_eq!((out, out.rows), (expected, 2));
        assert!(Strainer::of(&changed, &stream, &Range::of_changed(0).text()).unwrap().is_none());
        assert!(Strainer::of(&changed, &other, "{}").unwrap().is_none());
    }
}
