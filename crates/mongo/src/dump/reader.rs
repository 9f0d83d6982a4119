//! Readers: documents of a dump, part by part.
//!
//! Owns which part of which file a segment is, and reading it where a thread may wait for a disk. Promises that a part ends where a document does, that each document is looked at, and that no more than a mebibyte and one document is held.

use crate::dump::contents::Data;
use crate::dump::documents::{Documents, Part};
use crate::dump::files::Place;
use async_trait::async_trait;
use engine::{Error, Kind, Reader, RowSink, Segment, StreamName};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Documents are handed over when there are so many bytes of them.
const BATCH_BYTES: usize = 1 << 20;

/// A segment's place in a file.
#[derive(Debug, Clone)]
struct Piece {
    place: Arc<Place>,
    packed: bool,
    part: Part,
}

/// All segments of a dump, and how many bytes were read of each stream.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    by_segment: BTreeMap<(StreamName, u64), Piece>,
    bytes: BTreeMap<StreamName, AtomicU64>,
}

/// What a segment says of itself: a stretch of a collection's documents, in bytes.
#[derive(Serialize)]
struct Range {
    bytes: (u64, u64),
}

impl Pieces {
    /// Takes the documents of a stream; returns its segments.
    pub fn add(&mut self, stream: &StreamName, data: &Data) -> Vec<Segment> {
        self.bytes.insert(stream.clone(), AtomicU64::default());
        let (mut segments, mut from) = (Vec::new(), 0);
        for (part, at) in data.parts.iter().zip(0..) {
            let piece = Piece { place: Arc::clone(&data.place), packed: data.packed, part: part.clone() };
            let range = Range { bytes: (from, from + part.bytes) };
            from += part.bytes;
            let range = serde_json::to_string(&range).unwrap_or_default();
            segments.push(Segment { stream: stream.clone(), at, range, estimated_bytes: part.bytes });
            self.by_segment.insert((stream.clone(), at), piece);
        }
        segments
    }

    /// Bytes of the documents that were read of a stream.
    pub fn read(&self, stream: &StreamName) -> u64 {
        self.bytes.get(stream).map(|bytes| bytes.load(Ordering::Relaxed)).unwrap_or_default()
    }

    fn count(&self, stream: &StreamName, more: usize) {
        if let Some(bytes) = self.bytes.get(stream) {
            bytes.fetch_add(more as u64, Ordering::Relaxed);
        }
    }
}

/// Reads segments.
pub(crate) struct PieceReader(pub Arc<Pieces>);

type Piecewise = Documents<Box<dyn Read + Send>>;

/// Documents one after the other, and where each ends.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

#[async_trait]
impl Reader for PieceReader {
    async fn read(&mut self, segment: &Segment, sink: &mut dyn RowSink) -> Result<(), Error> {
        let key = (segment.stream.clone(), segment.at);
        let unknown =
            || Error::new(Kind::Internal, format!("nothing is known of {} {}", segment.stream, segment.range));
        let piece = self.0.by_segment.get(&key).cloned().ok_or_else(unknown)?;
        let mut documents = blocking(move || open(&piece)).await?;
        loop {
            let (back, batch) = blocking(move || next(documents)).await?;
            documents = back;
            if batch.ends.is_empty() {
                return Ok(());
            }
            self.0.count(&segment.stream, batch.bytes.len());
            let mut from = 0;
            for end in batch.ends {
                if sink.push(batch.bytes.get(from..end).unwrap_or_default()) {
                    let what = format!("read {}", segment.stream);
                    sink.drain().await.map_err(|e| Error::new(Kind::Interrupted, what).because(e))?;
                }
                from = end;
            }
        }
    }
}

fn open(piece: &Piece) -> Result<Piecewise, Error> {
    let first = piece.part.spans.first().map_or(0, |span| span.at);
    // A packed file is read from its beginning; its length may not be that of its documents.
    let spans = (!piece.packed).then(|| piece.part.spans.clone());
    Ok(Documents::new(piece.place.bytes(piece.packed, spans)?, piece.place.path(), first))
}

fn next(mut documents: Piecewise) -> Result<(Piecewise, Batch), Error> {
    let mut batch = Batch::default();
    while batch.bytes.len() < BATCH_BYTES {
        let Some(document) = documents.document()? else { break };
        batch.bytes.extend_from_slice(document);
        batch.ends.push(batch.bytes.len());
    }
    Ok((documents, batch))
}

/// Works where waiting for a disk holds up nobody else.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Error::new(Kind::Internal, "reading a dump ended in the middle").because(e))?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::dump::files::Span;

    #[test]
    fn a_range_is_none_of_what_changed_meanwhile() {
        let place = Arc::new(Place::at(&std::env::current_exe().unwrap()).unwrap());
        let part = |at| Part { spans: vec![Span { at, length: 5 }], bytes: 5 };
        let data = Data { place, packed: false, parts: vec![part(7), part(90)], bytes: 10 };
        let mut pieces = Pieces::default();
        let stream = StreamName::new("a");
        let segments = pieces.add(&stream, &data);
        let ranges: Vec<&str> = segments.iter().map(|segment| segment.range.as_str()).collect();
        assert_eq!(ranges, [r#"{"bytes":[0,5]}"#, r#"{"bytes":[5,10]}"#]);
        // Restores and exports look for those.
        assert!(segments.iter().all(|one| !crate::segments::Range::parse(&one.range).unwrap().is_changed()));
        pieces.count(&stream, 3);
        assert_eq!((pieces.read(&stream), pieces.read(&StreamName::new("b"))), (3, 0));
    }
}
