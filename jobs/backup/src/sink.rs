//! The sink: where rows of the driver become chunks of the repository.
//!
//! Owns the one hash per row, which feeds the segment's digest and decides where a chunk ends. Keeps the repository's error
//! when storing fails, because the driver in between can only say that it was stopped.

use async_trait::async_trait;
use engine::{Digest, RowSink, SinkError, row_hash};
use jobkit::Progress;
use repository::UnitWriter;

/// Takes the rows of one segment after the other.
pub(crate) struct SegmentSink<'a> {
    writer: &'a mut UnitWriter,
    terminator: &'a [u8],
    digest: Digest,
    progress: &'a Progress,
    reported: Digest,
    bytes: u64,
    error: Option<repository::Error>,
}

impl<'a> SegmentSink<'a> {
    pub fn new(writer: &'a mut UnitWriter, terminator: &'a [u8], progress: &'a Progress) -> Self {
        let digest = Digest::default();
        Self { writer, terminator, digest, progress, reported: digest, bytes: 0, error: None }
    }

    /// Ends the segment: its digest, or why it could not be stored.
    pub fn finish(mut self) -> (Digest, Option<repository::Error>) {
        self.report();
        (self.digest, self.error)
    }

    fn report(&mut self) {
        self.progress.add(self.digest.rows - self.reported.rows, self.bytes);
        self.reported = self.digest;
        self.bytes = 0;
    }
}

#[async_trait]
impl RowSink for SegmentSink<'_> {
    fn push(&mut self, row: &[u8]) -> bool {
        let hash = row_hash(row);
        self.digest.add(hash);
        self.bytes += (row.len() + self.terminator.len()) as u64;
        self.writer.push(row, self.terminator, hash)
    }

    async fn drain(&mut self) -> Result<(), SinkError> {
        self.report();
        self.writer.drain().await.map_err(|error| {
            self.error = Some(error);
            SinkError
        })
    }
}
