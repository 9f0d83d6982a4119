//! Segments: how a table is cut for parallel reading.
//!
//! Owns the arithmetic of page ranges, as pure functions. Promises that a table's segments tile it: they begin at page 0,
//! each begins where the last ended, and the last is open, so that pages added meanwhile are read too. Ranges are
//! aligned, and their size stays what it was in the last backup as long as that is reasonable: unchanged pages then make
//! unchanged chunks.

use crate::catalog::Table;
use engine::{Error, Kind, Segment, StreamName};
use std::collections::BTreeMap;

/// What a segment should hold, TOAST included.
const AIM_BYTES: u64 = 8 << 20;
/// Pages per segment at most: 8 MiB of 8 KiB pages.
const MOST_PAGES: u64 = 1024;
/// The previous backup's size is kept while it is within this factor of the ideal.
const TOLERANCE: u64 = 4;

/// A range of pages (of large objects: of their oids); `end` is `None` for the open last one. Without a range all of the
/// table is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Range {
    Whole,
    Pages { first: u64, end: Option<u64> },
}

impl Range {
    /// `all`, `0-1024` or `1024-`.
    pub fn to_text(self) -> String {
        match self {
            Self::Whole => "all".to_owned(),
            Self::Pages { first, end: Some(end) } => format!("{first}-{end}"),
            Self::Pages { first, end: None } => format!("{first}-"),
        }
    }

    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = || Error::new(Kind::Data, format!("{text:?} is not a range of pages"));
        if text == "all" {
            return Ok(Self::Whole);
        }
        let (first, end) = text.split_once('-').ok_or_else(bad)?;
        let end = if end.is_empty() { None } else { Some(end.parse().map_err(|_| bad())?) };
        Ok(Self::Pages { first: first.parse().map_err(|_| bad())?, end })
    }

    /// The condition for SQL, empty for a whole table.
    pub fn condition(self) -> String {
        match self {
            Self::Whole => String::new(),
            Self::Pages { first, end: Some(end) } => {
                format!(
                    " WHERE ctid OPERATOR(pg_catalog.>=) '({first},0)'::pg_catalog.tid AND ctid OPERATOR(pg_catalog.<) '({end},0)'::pg_catalog.tid"
                )
            }
            Self::Pages { first, end: None } => {
                format!(" WHERE ctid OPERATOR(pg_catalog.>=) '({first},0)'::pg_catalog.tid")
            }
        }
    }
}

/// Pages per segment for a table: few when its rows are mostly out of line, a power of two so that sizes nest.
pub(crate) fn pages_per_segment(heap_bytes: u64, table_bytes: u64, page_bytes: u64, previous: Option<u64>) -> u64 {
    let pages = (heap_bytes / page_bytes.max(1)).max(1);
    let bytes_per_page = (table_bytes / pages).max(page_bytes).max(1);
    let ideal = (AIM_BYTES / bytes_per_page).clamp(1, MOST_PAGES);
    let ideal = 1 << ideal.ilog2();
    match previous {
        Some(kept) if kept > 0 && kept <= ideal * TOLERANCE && ideal <= kept * TOLERANCE => kept,
        _ => ideal,
    }
}

/// The segments of one table.
pub(crate) fn cut(table: &Table, page_bytes: u64, pages_per_segment: u64) -> Vec<Segment> {
    let stream = table.stream();
    if table.access_method != "heap" || table.special.is_some() || table.only_whole() {
        return vec![segment(&stream, 0, Range::Whole, table.table_bytes)];
    }
    let pages = table.heap_bytes.div_ceil(page_bytes.max(1));
    let number = pages.div_ceil(pages_per_segment.max(1)).max(1);
    let each = table.table_bytes / number;
    (0..number)
        .map(|index| {
            let first = index * pages_per_segment;
            let end = (index + 1 < number).then_some(first + pages_per_segment);
            segment(&stream, first, Range::Pages { first, end }, each)
        })
        .collect()
}

fn segment(stream: &StreamName, at: u64, range: Range, estimated_bytes: u64) -> Segment {
    Segment { stream: stream.clone(), at, range: range.to_text(), estimated_bytes }
}

/// Cuts all tables; sizes by stream come from the previous backup and are returned for the next.
pub(crate) fn cut_all(
    tables: &[Table],
    page_bytes: u64,
    previous: &BTreeMap<String, u64>,
) -> Result<(Vec<Segment>, BTreeMap<String, u64>), Error> {
    let (mut segments, mut boundaries) = (Vec::new(), BTreeMap::new());
    for table in tables.iter().filter(|table| table.has_rows() && table.is_relation()) {
        let stream = table.stream();
        let kept = previous.get(stream.as_str()).copied();
        let pages = pages_per_segment(table.heap_bytes, table.table_bytes, page_bytes, kept);
        let cut = cut(table, page_bytes, pages);
        assert_tiling(&cut)?;
        if cut.len() > 1 {
            boundaries.insert(stream.as_str().to_owned(), pages);
        }
        segments.extend(cut);
    }
    Ok((segments, boundaries))
}

/// Fails unless the segments of one table leave nothing out and read nothing twice.
pub(crate) fn assert_tiling(segments: &[Segment]) -> Result<(), Error> {
    let broken = || {
        let name = segments.first().map(|segment| segment.stream.to_string()).unwrap_or_default();
        Error::new(Kind::Internal, format!("the segments of {name} do not tile it"))
    };
    let mut next = Some(0);
    for segment in segments {
        next = match (Range::parse(&segment.range)?, next) {
            (Range::Whole, Some(0)) => None,
            (Range::Pages { first, end }, Some(expected)) if first == expected && segment.at == first => end,
            _ => return Err(broken()),
        };
    }
    if next.is_none() && !segments.is_empty() { Ok(()) } else { Err(broken()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    fn table(heap_bytes: u64, table_bytes: u64) -> Table {
        Table { heap_bytes, table_bytes, ..crate::catalog::tests::table("t") }
    }

    proptest! {
        #[test]
        fn segments_tile_every_table(pages in 0_u64..100_000, toast in 0_u64..1 << 40, kept in prop::option::of(0_u64..5_000)) {
            let table = table(pages * 8192, pages * 8192 + toast);
            let previous = kept.map(|kept| ("public.t".to_owned(), kept)).into_iter().collect();
            let (segments, boundaries) = cut_all(&[table], 8192, &previous).unwrap();
            prop_assert!(assert_tiling(&segments).is_ok());
            // Cutting again with what was returned gives the same cuts.
            let (again, _) = cut_all(&[self::table(pages * 8192, pages * 8192 + toast)], 8192, &boundaries).unwrap();
            prop_assert_eq!(segments, again);
        }
    }

    #[test]
    fn a_gap_an_overlap_and_a_missing_end_are_found() {
        let cut = |ranges: &[(u64, &str)]| -> Vec<Segment> {
            let make = |(at, range): &(u64, &str)| Segment {
                stream: StreamName::new("t"),
                at: *at,
                range: (*range).to_owned(),
                estimated_bytes: 0,
            };
            ranges.iter().map(make).collect()
        };
        assert!(assert_tiling(&cut(&[(0, "0-4"), (4, "4-")])).is_ok());
        for bad in [
            &[(0, "0-4"), (5, "5-")][..],
            &[(0, "0-4"), (3, "3-")],
            &[(0, "0-4"), (4, "4-8")],
            &[(4, "4-")],
            &[(0, "0-"), (4, "4-")],
            &[],
        ] {
            assert!(assert_tiling(&cut(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn wide_rows_make_narrow_segments_and_sizes_stay() {
        assert_eq!(pages_per_segment(1 << 30, 1 << 30, 8192, None), 1024);
        assert_eq!(pages_per_segment(8192 * 100, 800 << 20, 8192, None), 1);
        assert_eq!(pages_per_segment(1 << 30, 3 << 30, 8192, Some(1024)), 1024, "kept within the tolerance");
        assert_eq!(pages_per_segment(1 << 30, 8 << 30, 8192, Some(1024)), 128, "not beyond");
    }
}
