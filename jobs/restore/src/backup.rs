//! A backup, read from its repository: everything but the rows.
//!
//! Owns reading manifest, lists and documents, and the sums that must agree. Promises that a list which was left out, or a segment that
//! is shorter than it says, is an error before anything is made of the backup.

use crate::load;
use engine::{Document, StreamName};
use jobkit::{Exit, Failure};
use repository::{List, Manifest, Repository};
use std::collections::BTreeSet;

/// A backup's record, whole and checked against itself.
#[derive(Debug)]
pub struct Backup {
    /// `NAME@ID`.
    pub name: String,
    /// Its manifest.
    pub manifest: Manifest,
    /// Which chunks hold which segments, in order.
    pub lists: Vec<List>,
    /// What the rows belong to.
    pub documents: Vec<Document>,
}

impl Backup {
    /// Reads everything but the rows.
    ///
    /// # Errors
    /// [`Exit::Data`] when something is damaged or missing, or when the lists do not add up to what the manifest says.
    pub async fn read(repository: &Repository, manifest: Manifest) -> Result<Self, Failure> {
        let name = format!("{}@{}", manifest.header.source, manifest.header.backup);
        // Before anything else: what it was made from decides where it may go.
        manifest.about()?;
        let lists = repository::read_all(repository, &manifest).await?;
        let mut documents = Vec::with_capacity(manifest.header.documents.len());
        for document in &manifest.header.documents {
            let bytes = repository.read_document(document, &name).await?;
            documents.push(Document { name: document.name.clone(), bytes });
        }
        let backup = Self { name, manifest, lists, documents };
        backup.assert_totals()?;
        Ok(backup)
    }

    /// Leaves out what is not restored. What is left is proven as everything would be.
    pub(crate) fn keep(&mut self, streams: &BTreeSet<StreamName>) {
        for list in &mut self.lists {
            list.segments.retain(|segment| streams.contains(&StreamName::new(&segment.stream)));
        }
        let left = || self.lists.iter().flat_map(|list| &list.segments);
        let rows = left().filter_map(|segment| load::digest_of(segment).ok()).map(|digest| digest.rows).sum();
        let bytes = left().map(|segment| segment.bytes).sum();
        let totals = &mut self.manifest.header.totals;
        (totals.rows, totals.bytes) = (rows, bytes);
    }

    /// Host and port that it was made from.
    pub(crate) fn source_server(&self) -> Option<String> {
        self.manifest.about.get("server").and_then(|server| server.as_str()).map(str::to_owned)
    }

    /// The lists must say what the manifest says: a list that was left out would be a table that is left out. Segments
    /// come in order and none twice, and each has as many bytes as its chunks.
    fn assert_totals(&self) -> Result<(), Failure> {
        let wrong = |what: String| Err(Failure::new(Exit::Data, what).hint("restore another backup"));
        let (mut segments, mut rows, mut bytes) = (0, 0, 0);
        let mut streams = BTreeSet::new();
        let mut last: Option<(&str, u64)> = None;
        for (list, segment) in
            self.lists.iter().flat_map(|list| list.segments.iter().map(move |segment| (list, segment)))
        {
            let place = (segment.stream.as_str(), segment.at);
            let in_chunks: u64 = list.refs_of(segment).iter().map(|chunk| chunk.plain_len).sum();
            if last.is_some_and(|last| last >= place) || in_chunks != segment.bytes {
                return wrong(format!(
                    "the record of {} {} in {} is inconsistent",
                    segment.stream, segment.range, self.name
                ));
            }
            last = Some(place);
            streams.insert(segment.stream.as_str());
            segments += 1;
            rows += load::digest_of(segment)?.rows;
            bytes += segment.bytes;
        }
        let totals = &self.manifest.header.totals;
        let found = (streams.len() as u64, segments, rows, bytes);
        if found == (totals.streams, totals.segments, totals.rows, totals.bytes) {
            return Ok(());
        }
        wrong(format!("the lists of {} hold {rows} rows, and its manifest says {}", self.name, totals.rows))
    }
}
