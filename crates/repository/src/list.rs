//! Lists: which chunks hold which segments.
//!
//! Owns the content-addressed list of segments. Its open section carries the refs (enough to verify and prune without
//! any key), its closed section the streams, ranges, row counts and digests. Lists end after segments whose *name*
//! hashes low, so that a change in one table leaves all other lists as they were, and manifests share them.

use crate::frame::{Frame, Kind};
use crate::sealing::Keyring;
use crate::{ChunkRef, Error, Hash};
use serde::{Deserialize, Serialize};

/// A list ends after one segment in this many, on average.
const USUAL_SEGMENTS: u16 = 256;
/// A list ends after this many segments or refs at the latest: bounds the memory that one list takes.
const MOST_SEGMENTS: usize = 1024;
const MOST_REFS: usize = 4096;

/// One segment of a stream as the backup recorded it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentRecord {
    /// Name of the stream.
    pub stream: String,
    /// Position within the stream; segments sort by it.
    pub at: u64,
    /// The driver's text for what was read.
    pub range: String,
    /// Rows and Σ XXH3-128, as `<rows>:<32 hex digits>`.
    pub digest: String,
    /// Bytes of plaintext.
    pub bytes: u64,
    /// Which refs of the list hold it, in order: first and number.
    pub refs: (usize, usize),
}

/// A list of segments and the refs of all their chunks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct List {
    /// Segments, sorted by stream and position.
    pub segments: Vec<SegmentRecord>,
    /// Refs; segments point into them.
    pub refs: Vec<ChunkRef>,
}

#[derive(Serialize, Deserialize)]
struct Open<T> {
    refs: T,
}

#[derive(Serialize, Deserialize)]
struct Closed<T> {
    segments: T,
}

impl List {
    /// Adds a segment with its chunks.
    pub(crate) fn push(&mut self, mut segment: SegmentRecord, refs: Vec<ChunkRef>) {
        segment.refs = (self.refs.len(), refs.len());
        self.segments.push(segment);
        self.refs.extend(refs);
    }

    /// The refs of one segment.
    #[must_use]
    pub fn refs_of(&self, segment: &SegmentRecord) -> &[ChunkRef] {
        let (first, number) = segment.refs;
        self.refs.get(first..first.saturating_add(number)).unwrap_or_default()
    }

    /// Whether a list ends here, by the name of its last segment or by its size.
    pub(crate) fn is_complete(&self) -> bool {
        let Some(last) = self.segments.last() else { return false };
        let name = Hash::of(format!("{}\0{}", last.stream, last.at).as_bytes());
        let draw = u16::from_le_bytes([name.0[0], name.0[1]]);
        draw.is_multiple_of(USUAL_SEGMENTS) || self.segments.len() >= MOST_SEGMENTS || self.refs.len() >= MOST_REFS
    }

    /// The two sections, open and closed, as JSON.
    pub(crate) fn sections(&self) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let internal = |e: serde_json::Error| Error::Internal(format!("write list: {e}"));
        Ok((
            serde_json::to_vec(&Open { refs: &self.refs }).map_err(internal)?,
            serde_json::to_vec(&Closed { segments: &self.segments }).map_err(internal)?,
        ))
    }

    /// Decodes a list whose stored bytes were checked already, and checks that its content is the one meant.
    pub(crate) fn decode(bytes: &[u8], meant: &ChunkRef, object: &str, keyring: &Keyring) -> Result<Self, Error> {
        let (open, closed) = Frame::expect(bytes, object, Kind::List)?.into_sections(keyring, object)?;
        let other = || Error::damaged(object, format!("its content is not list {}", meant.id));
        let same_id = keyring.try_id(&[&open, &closed]).is_none_or(|id| id == meant.id);
        if (open.len() + closed.len()) as u64 != meant.plain_len || !same_id {
            return Err(other());
        }
        let damaged = |e: serde_json::Error| Error::damaged(object, e.to_string());
        let open: Open<Vec<ChunkRef>> = serde_json::from_slice(&open).map_err(damaged)?;
        let closed: Closed<Vec<SegmentRecord>> = serde_json::from_slice(&closed).map_err(damaged)?;
        let list = Self { segments: closed.segments, refs: open.refs };
        for segment in &list.segments {
            if list.refs_of(segment).len() != segment.refs.1 {
                return Err(Error::damaged(object, format!("{} points to refs that are not there", segment.stream)));
            }
        }
        Ok(list)
    }

    /// The refs of a list whose stored bytes were checked already. Whatever more the keys allow is checked, too.
    pub(crate) fn decode_refs(
        bytes: &[u8],
        meant: &ChunkRef,
        object: &str,
        keyring: &Keyring,
    ) -> Result<Vec<ChunkRef>, Error> {
        match Self::decode(bytes, meant, object, keyring) {
            Ok(list) => return Ok(list.refs),
            Err(Error::Sealed { .. }) => {}
            Err(other) => return Err(other),
        }
        let frame = Frame::expect(bytes, object, Kind::List)?;
        if frame.open.len() as u64 + frame.closed_len() != meant.plain_len {
            return Err(Error::damaged(object, format!("its content is not list {}", meant.id)));
        }
        let open: Open<Vec<ChunkRef>> =
            serde_json::from_slice(&frame.open).map_err(|e| Error::damaged(object, e.to_string()))?;
        Ok(open.refs)
    }
}
