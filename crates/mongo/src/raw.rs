//! Raw documents: reading and making them without a detour.
//!
//! Owns the few changes that a definition needs on its way back (a member left out, one set anew), the text form in the catalog, cutting a
//! stream of bytes into documents, and the command that inserts many. Promises that whatever is not changed keeps its bytes and its order: definitions may have members of one name twice. A document
//! begins with its length in bytes, four of them, little-endian (<https://bsonspec.org/spec.html>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::{Error, Kind};
use mongodb::bson::raw::cstr;
use mongodb::bson::{RawArrayBuf, RawDocument, RawDocumentBuf, Timestamp, rawdoc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Bytes of the smallest document.
pub(crate) const LEAST_BYTES: usize = 5;
/// More than a server stores in one document: 16 MiB, and what it may add to it.
pub(crate) const MOST_BYTES: usize = (16 << 20) + (64 << 10);

/// A document as base64 in JSON, which has no other way to keep its bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kept(pub RawDocumentBuf);

impl Serialize for Kept {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0.as_bytes()))
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(serde::de::Error::custom)?;
        RawDocumentBuf::from_bytes(bytes).map(Self).map_err(serde::de::Error::custom)
    }
}

/// The document without some members.
pub(crate) fn without(document: &RawDocument, names: &[&str]) -> Result<RawDocumentBuf, Error> {
    let mut rest = RawDocumentBuf::new();
    append_all(&mut rest, document, names)?;
    Ok(rest)
}

/// Appends the members of a document, save for some.
pub(crate) fn append_all(to: &mut RawDocumentBuf, from: &RawDocument, except: &[&str]) -> Result<(), Error> {
    for element in from.iter() {
        let (name, value) = element.map_err(unreadable)?;
        if !except.contains(&name.as_str()) {
            to.append(name, value);
        }
    }
    Ok(())
}

/// Whether an insert would put the time in a member's place: an empty timestamp, not in `_id`, and not further in.
pub(crate) fn has_empty_timestamp(document: &[u8]) -> bool {
    const EMPTY: Timestamp = Timestamp { time: 0, increment: 0 };
    let Ok(document) = RawDocument::from_bytes(document) else { return false };
    let mut members = document.iter().filter_map(Result::ok);
    members.any(|(name, value)| name.as_str() != "_id" && value.as_timestamp() == Some(EMPTY))
}

/// The command that puts one document in its place without an insert.
pub(crate) fn put(collection: &str, document: &[u8], rest: &RawDocument) -> Result<RawDocumentBuf, Error> {
    let document = RawDocument::from_bytes(document).map_err(unreadable)?;
    let id = document.get("_id").map_err(unreadable)?;
    let id = id.ok_or_else(|| Error::new(Kind::Data, "a document of the backup has no _id"))?;
    let (mut equal, mut query) = (RawDocumentBuf::new(), RawDocumentBuf::new());
    equal.append(cstr!("$eq"), id);
    query.append(cstr!("_id"), equal);
    // What is said literally is no expression, whatever its members are called.
    let replace = rawdoc! {"$replaceWith": {"$literal": document.to_owned()}};
    let mut command = rawdoc! {"update": collection, "updates": [{"q": query, "u": [replace], "upsert": true}]};
    append_all(&mut command, rest, &[])?;
    Ok(command)
}

/// The filter for documents with any of these identifiers, each a document with `_id` alone.
pub(crate) fn any_of(ids: &[&Vec<u8>]) -> Result<RawDocumentBuf, Error> {
    let mut values = RawArrayBuf::new();
    for id in ids {
        let id = RawDocument::from_bytes(id.as_slice()).map_err(unreadable)?;
        values.push(
            id.get("_id").map_err(unreadable)?.ok_or_else(|| Error::new(Kind::Internal, "an identifier is empty"))?,
        );
    }
    let (mut inner, mut filter) = (RawDocumentBuf::new(), RawDocumentBuf::new());
    inner.append(cstr!("$in"), values);
    filter.append(cstr!("_id"), inner);
    Ok(filter)
}

/// The value of a member that is a document.
pub(crate) fn inner(document: &RawDocument, name: &str) -> Option<RawDocumentBuf> {
    document.get_document(name).ok().map(RawDocument::to_owned)
}

fn unreadable(error: mongodb::bson::error::Error) -> Error {
    Error::new(Kind::Data, "a document cannot be read").because(error)
}

/// Cuts bytes that come in pieces into documents.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    open: Vec<u8>,
}

impl Cutter {
    /// Takes a piece, and gives every document that is whole to `each`.
    pub fn take(&mut self, piece: &[u8], each: &mut impl FnMut(&[u8])) -> Result<(), Error> {
        let mut rest = piece;
        while !self.open.is_empty() && !rest.is_empty() {
            let wanted = length(&self.open)?.unwrap_or(4);
            let (now, after) = rest.split_at(rest.len().min(wanted.saturating_sub(self.open.len())));
            self.open.extend_from_slice(now);
            rest = after;
            if length(&self.open)? == Some(self.open.len()) {
                each(&self.open);
                self.open.clear();
            }
        }
        while let Some(length) = length(rest)? {
            let Some((document, after)) = rest.split_at_checked(length) else { break };
            each(document);
            rest = after;
        }
        self.open.extend_from_slice(rest);
        Ok(())
    }

    /// Fails when a document has begun and not ended.
    pub fn end(&self) -> Result<(), Error> {
        if self.open.is_empty() { Ok(()) } else { Err(Error::new(Kind::Data, "the last document is cut short")) }
    }
}

/// The length that a document says it has; `None` when not even that is there.
fn length(bytes: &[u8]) -> Result<Option<usize>, Error> {
    let Some(first) = bytes.first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(i32::from_le_bytes(*first)).unwrap_or_default();
    if (LEAST_BYTES..=MOST_BYTES).contains(&length) {
        return Ok(Some(length));
    }
    Err(Error::new(Kind::Data, "something in the backup is no document"))
}

/// Documents on their way into an array: `documents` of an `insert`.
#[derive(Debug)]
pub(crate) struct Batch {
    array: Vec<u8>,
    documents: usize,
}

impl Batch {
    pub fn new() -> Self {
        Self { array: vec![0; 4], documents: 0 }
    }

    pub fn push(&mut self, document: &[u8]) {
        self.array.push(0x03);
        self.array.extend_from_slice(self.documents.to_string().as_bytes());
        self.array.push(0);
        self.array.extend_from_slice(document);
        self.documents += 1;
    }

    pub fn documents(&self) -> usize {
        self.documents
    }

    /// Bytes of a command with it, about.
    pub fn bytes(&self) -> usize {
        self.array.len()
    }

    /// The command that inserts them; `rest` are its other members.
    pub fn insert(mut self, collection: &str, rest: &RawDocument) -> Result<RawDocumentBuf, Error> {
        self.array.push(0);
        write_length(&mut self.array, 0);
        let mut command = Vec::with_capacity(self.array.len() + 512);
        command.extend_from_slice(&[0; 4]);
        command.push(0x02);
        push_key(&mut command, c"insert".to_bytes());
        let name = collection.as_bytes();
        command.extend_from_slice(&i32::try_from(name.len() + 1).unwrap_or_default().to_le_bytes());
        push_key(&mut command, name);
        command.push(0x04);
        push_key(&mut command, b"documents");
        command.extend_from_slice(&self.array);
        // The members of a document stand between its length and its end.
        let rest = rest.as_bytes();
        command.extend_from_slice(rest.get(4..).unwrap_or_default());
        write_length(&mut command, 0);
        RawDocumentBuf::from_bytes(command).map_err(unreadable)
    }
}

fn push_key(to: &mut Vec<u8>, name: &[u8]) {
    to.extend_from_slice(name);
    to.push(0);
}

fn write_length(bytes: &mut [u8], at: usize) {
    let length = i32::try_from(bytes.len()).unwrap_or_default().to_le_bytes();
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&length);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn documents_are_cut_out_of_pieces_of_any_size() {
        let documents = [rawdoc! {}, rawdoc! {"a": 1}, rawdoc! {"b": "x".repeat(300)}, rawdoc! {"c": {"d": [1, 2, 3]}}];
        let bytes: Vec<u8> = documents.iter().flat_map(|document| document.as_bytes().to_vec()).collect();
        for size in 1..=bytes.len() {
            let (mut cutter, mut found) = (Cutter::default(), Vec::new());
            for piece in bytes.chunks(size) {
                cutter
                    .take(piece, &mut |document| found.push(RawDocumentBuf::from_bytes(document.to_vec()).unwrap()))
                    .unwrap();
            }
            cutter.end().unwrap();
            assert_eq!(found, documents, "in pieces of {size}");
        }
        let mut cutter = Cutter::default();
        cutter.take(&bytes[..bytes.len() - 1], &mut |_| {}).unwrap();
        assert_eq!(cutter.end().unwrap_err().kind, Kind::Data);
        assert!(Cutter::default().take(&[0, 0, 0, 0, 0], &mut |_| {}).is_err());
        assert!(Cutter::default().take(&[255, 255, 255, 127, 0], &mut |_| {}).is_err());
    }

    #[test]
    fn an_insert_is_what_the_library_would_write() {
        let documents = [rawdoc! {"_id": 1}, rawdoc! {"_id": "x", "a": [1]}];
        let mut batch = Batch::new();
        documents.iter().for_each(|document| batch.push(document.as_bytes()));
        let command = batch.insert("a b", &rawdoc! {"ordered": false, "writeConcern": {"w": 1}}).unwrap();
        let expected = rawdoc! {"insert": "a b", "documents": [documents[0].clone(), documents[1].clone()], "ordered": false, "writeConcern": {"w": 1}};
        assert_eq!(command.as_bytes(), expected.as_bytes());
    }

    #[test]
    fn empty_timestamps_are_found_where_inserts_change_them() {
        let (empty, some) = (Timestamp { time: 0, increment: 0 }, Timestamp { time: 0, increment: 1 });
        for (document, found) in [
            (rawdoc! {"_id": 1, "a": "x", "t": empty}, true),
            (rawdoc! {"_id": empty, "t": some}, false),
            (rawdoc! {"_id": 1, "in": {"t": empty}, "list": [empty]}, false),
            (rawdoc! {}, false),
        ] {
            assert_eq!(has_empty_timestamp(document.as_bytes()), found, "{document:?}");
        }
        let command = put("c", rawdoc! {"_id": "x", "t": empty}.as_bytes(), &rawdoc! {"ordered": true}).unwrap();
        let update = rawdoc! {"q": {"_id": {"$eq": "x"}}, "u": [{"$replaceWith": {"$literal": {"_id": "x", "t": empty}}}], "upsert": true};
        assert_eq!(command, rawdoc! {"update": "c", "updates": [update], "ordered": true});
        assert!(put("c", rawdoc! {"t": empty}.as_bytes(), &rawdoc! {}).is_err());
    }

    #[test]
    fn members_leave_and_others_keep_their_bytes() {
        let mut twice = rawdoc! {"a": 1, "b": {"x": 1}};
        twice.append(mongodb::bson::raw::cstr!("a"), "again");
        let left = without(&twice, &["b"]).unwrap();
        assert_eq!(left.iter().count(), 2);
        let json = serde_json::to_string(&Kept(twice.clone())).unwrap();
        assert_eq!(serde_json::from_str::<Kept>(&json).unwrap().0, twice);
    }
}
