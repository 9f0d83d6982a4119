//! Segments: how a collection is cut into ranges of `_id` that several connections read at once.
//!
//! Owns which collections are cut, sampling, and the commands' words for a range. A range is half-open, the first has no beginning and the last no end, so that they tile the collection whatever is in it. They
//! are said by `min` and `max` on the index and never by comparisons in a filter, which see values of their own type only. Refuses to cut what has an order of its own (capped collections), and texts that compare by a language.

use crate::bounds::{self, Bound};
use crate::catalog::{Collection, Sort};
use crate::changed::Changed;
use crate::connection::{Session, at};
use crate::reader::Readable;
use engine::{Error, Kind, Segment, StreamName};
use mongodb::bson::{Bson, Document, doc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes that a segment aims at: as many as are read in about a tenth of a second.
const AIM_BYTES: u64 = 16 << 20;
/// A collection is cut into so many segments at most.
const MOST_SEGMENTS: u64 = 4096;
/// Samples per segment: enough for segments of about one size.
const SAMPLES: u64 = 8;

/// Documents of a segment that has what changed meanwhile.
const CHANGED_DOCUMENTS: usize = 20_000;

/// Which documents a segment has, by `_id`: from, inclusively, and to, exclusively.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Range {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Bson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<Bson>,
    /// Instead: such a part of the documents that changed meanwhile, in the order of their identifiers' bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    changed: Option<usize>,
}

impl Range {
    pub fn parse(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(|e| Error::new(Kind::Internal, format!("a range is not readable: {e}")))
    }

    /// A part of what changed meanwhile.
    pub fn of_changed(part: usize) -> Self {
        Self { changed: Some(part), ..Self::default() }
    }

    /// Whether it is a part of what changed meanwhile.
    pub fn is_changed(&self) -> bool {
        self.changed.is_some()
    }

    /// Which of the identifiers it has, of all that changed.
    pub fn part(&self) -> Option<std::ops::Range<usize>> {
        self.changed.map(|part| part * CHANGED_DOCUMENTS..(part + 1) * CHANGED_DOCUMENTS)
    }

    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What a `find` says to read these alone, in the order of `_id`; nothing for all of them.
    pub fn says(&self) -> Document {
        let mut says = Document::new();
        if self.from.is_some() || self.to.is_some() {
            says.insert("hint", doc! {"_id": 1});
        }
        says.extend(self.from.clone().map(|from| ("min".to_owned(), Bson::Document(doc! {"_id": from}))));
        says.extend(self.to.clone().map(|to| ("max".to_owned(), Bson::Document(doc! {"_id": to}))));
        says
    }
}

/// All segments of all collections, and what the next backup is to be told.
pub(crate) async fn cut_all(
    session: &Session,
    readable: &Readable,
    before: &BTreeMap<String, u64>,
) -> Result<(Vec<Segment>, BTreeMap<String, u64>), Error> {
    let (mut segments, mut hints) = (Vec::new(), BTreeMap::new());
    for collection in &readable.catalog.collections {
        let bounds = match may_be_cut(collection) {
            true => find(session, readable, collection, before).await?,
            false => Vec::new(),
        };
        hints.extend(bounds::told(&collection.name, &bounds));
        segments.extend(tile(collection, &bounds));
    }
    segments.sort_by(|a, b| (&a.stream, a.at).cmp(&(&b.stream, b.at)));
    Ok((segments, hints))
}

fn may_be_cut(collection: &Collection) -> bool {
    let has_index = match collection.sort {
        Sort::Collection => collection.id_index.is_some() || collection.is_clustered(),
        // Their buckets are stored in the order of their identifiers.
        Sort::TimeSeries => true,
        Sort::View => false,
    };
    collection.bytes >= 2 * AIM_BYTES && has_index && !collection.is_capped() && !collection.has_collation()
}

async fn find(
    session: &Session,
    readable: &Readable,
    collection: &Collection,
    before: &BTreeMap<String, u64>,
) -> Result<Vec<Bound>, Error> {
    let segments = (collection.bytes / AIM_BYTES).clamp(1, MOST_SEGMENTS);
    let sample = doc! {"$sample": {"size": i64::try_from(segments * SAMPLES).unwrap_or(i64::MAX)}};
    let command = doc! {
        "aggregate": readable.holder(collection), "pipeline": [sample, {"$project": {"_id": 1}}], "cursor": {},
        "readConcern": at(readable.time),
    };
    let answer = session.all(&format!("part {}", collection.name), &readable.database, command).await?;
    let bound = |document: &mongodb::bson::RawDocumentBuf| document.get("_id").ok().flatten().and_then(Bound::at);
    let samples = answer.documents.iter().filter_map(bound).collect();
    let share = usize::try_from(SAMPLES).unwrap_or(1);
    Ok(bounds::choose(samples, share, bounds::remembered(&collection.name, before)))
}

/// Segments of what changed meanwhile, behind all others of each stream.
pub(crate) fn of_changed(planned: &[Segment], changed: &Changed) -> Vec<Segment> {
    let behind = |stream: &StreamName| planned.iter().filter(|one| one.stream == *stream).map(|one| one.at + 1).max();
    let of_one = |(stream, count): (StreamName, usize)| {
        let first = behind(&stream).unwrap_or_default();
        (0..count.div_ceil(CHANGED_DOCUMENTS)).zip(first..).map(move |(part, at)| Segment {
            stream: stream.clone(),
            at,
            range: Range::of_changed(part).text(),
            estimated_bytes: 0,
        })
    };
    changed.streams().flat_map(of_one).collect()
}

/// The ranges between the bounds.
fn tile(collection: &Collection, bounds: &[Bound]) -> Vec<Segment> {
    let Some(stream) = collection.stream() else { return Vec::new() };
    let values: Vec<Bson> = bounds.iter().map(Bound::value).collect();
    let share = collection.bytes / (values.len() as u64 + 1);
    let from = std::iter::once(None).chain(values.iter().cloned().map(Some));
    let to = values.iter().cloned().map(Some).chain([None]);
    let segment = |(number, (from, to))| Segment {
        stream: stream.clone(),
        at: number,
        range: Range { from, to, changed: None }.text(),
        estimated_bytes: share,
    };
    (0..).zip(from.zip(to)).map(segment).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::raw::Kept;
    use mongodb::bson::rawdoc;

    #[test]
    fn ranges_tile_and_say_what_they_are() {
        let collection = Collection {
            id_index: Some(Kept(rawdoc! {})),
            bytes: 64 << 20,
            ..Collection::new("a", Sort::Collection, Kept(rawdoc! {}))
        };
        assert!(may_be_cut(&collection));
        let segments = tile(&collection, &[Bound::Number(-5), Bound::Text("x".to_owned()), Bound::ObjectId(7)]);
        let ranges: Vec<Range> = segments.iter().map(|segment| Range::parse(&segment.range).unwrap()).collect();
        assert_eq!((ranges.first().unwrap().from.clone(), ranges.last().unwrap().to.clone()), (None, None));
        assert!(ranges.windows(2).all(|pair| pair[0].to == pair[1].from && pair[0].to.is_some()));
        assert_eq!(ranges[1].says(), doc! {"hint": {"_id": 1}, "min": {"_id": -5_i64}, "max": {"_id": "x"}});
        assert_eq!(tile(&collection, &[])[0].range, "{}");
        assert_eq!(Range::default().says(), doc! {});
        for (name, value) in [("capped", Bson::Boolean(true)), ("collation", Bson::Document(doc! {"locale": "de"}))] {
            let options = mongodb::bson::RawDocumentBuf::try_from(&doc! {name: value}).unwrap();
            assert!(!may_be_cut(&Collection { options: Kept(options), ..collection.clone() }));
        }
    }
}
