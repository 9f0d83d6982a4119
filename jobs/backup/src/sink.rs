//! The sink: where rows of the driver become chunks of the repository.
//!
//! Owns the one hash per row, which feeds the segment's digest and decides where a chunk ends. Keeps the repository's error
//! when storing fails, because the driver in between can only say that it was stopped.

use crate::rate::Rate;
use async_trait::async_trait;
use engine::{Digest, RowSink, SinkError, row_hash};
use jobkit::Progress;
use repository::UnitWriter;

/// How fast rows may come, and whom to tell how many came.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    pub rate: Rate,
    pub progress: Progress,
}

/// Takes the rows of one segment after the other.
pub(crate) struct SegmentSink<'a> {
    writer: &'a mut UnitWriter,
    terminator: &'a [u8],
    digest: Digest,
    pace: &'a Pace,
    reported: Digest,
    bytes: u64,
    /// Read and not paid for yet.
    unpaid: u64,
    /// When to pay.
    payment: u64,
    error: Option<repository::Error>,
}

impl<'a> SegmentSink<'a> {
    pub fn new(writer: &'a mut UnitWriter, terminator: &'a [u8], pace: &'a Pace) -> Self {
        let digest = Digest::default();
        let payment = pace.rate.payment();
        Self { writer, terminator, digest, pace, reported: digest, bytes: 0, unpaid: 0, payment, error: None }
    }

    /// Ends the segment: its digest, or why it could not be stored.
    pub async fn finish(mut self) -> (Digest, Option<repository::Error>) {
        self.report();
        self.pay().await;
        (self.digest, self.error)
    }

    fn report(&mut self) {
        self.pace.progress.add(self.digest.rows - self.reported.rows, self.bytes);
        self.reported = self.digest;
        self.bytes = 0;
    }

    async fn pay(&mut self) {
        self.pace.rate.pay(std::mem::take(&mut self.unpaid)).await;
    }
}

#[async_trait]
impl RowSink for SegmentSink<'_> {
    fn push(&mut self, row: &[u8]) -> bool {
        let hash = row_hash(row);
        self.digest.add(hash);
        let bytes = (row.len() + self.terminator.len()) as u64;
        self.bytes += bytes;
        self.unpaid += bytes;
        self.writer.push(row, self.terminator, hash) || self.unpaid >= self.payment
    }

    async fn drain(&mut self) -> Result<(), SinkError> {
        self.report();
        self.pay().await;
        self.writer.drain().await.map_err(|error| {
            self.error = Some(error);
            SinkError
        })
    }
}
