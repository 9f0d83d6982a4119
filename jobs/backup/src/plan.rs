//! Which segments a worker takes together.
//!
//! Owns the grouping, as a pure function of the plan. Small tables are bundled by sorted names, never by arrival, so that a
//! bundle of an unchanged database holds the same tables again; everything else is a unit of its own. Promises that every
//! segment is in exactly one unit. Large units come first: what is started last should end soon.

use engine::Segment;

/// A table expected to be smaller than this shares a unit with its neighbours.
const SMALL: u64 = 256 << 10;
/// A bundle ends at this many expected bytes or tables.
const MOST_BYTES: u64 = 4 << 20;
const MOST_TABLES: usize = 128;

/// What one worker reads and stores in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub segments: Vec<Segment>,
    /// Whether its small segments share an object.
    pub bundle: bool,
}

/// Groups segments, which are sorted by stream and position.
pub(crate) fn units(segments: &[Segment]) -> Vec<Unit> {
    let mut units = Vec::new();
    let mut bundle = Vec::new();
    let mut bytes = 0;
    for (index, segment) in segments.iter().enumerate() {
        let neighbour = |other: Option<&Segment>| other.is_some_and(|other| other.stream == segment.stream);
        let alone =
            !neighbour(segments.get(index + 1)) && !neighbour(index.checked_sub(1).and_then(|i| segments.get(i)));
        if !alone || segment.estimated_bytes >= SMALL {
            units.push(Unit { segments: vec![segment.clone()], bundle: false });
            continue;
        }
        bytes += segment.estimated_bytes;
        bundle.push(segment.clone());
        if bytes >= MOST_BYTES || bundle.len() >= MOST_TABLES {
            units.push(Unit { segments: std::mem::take(&mut bundle), bundle: true });
            bytes = 0;
        }
    }
    if !bundle.is_empty() {
        units.push(Unit { segments: bundle, bundle: true });
    }
    let size = |unit: &Unit| unit.segments.iter().map(|segment| segment.estimated_bytes).sum::<u64>();
    // Stable: units of equal size stay in the order of their pages, which is the order a disk likes.
    units.sort_by_key(|unit| std::cmp::Reverse(size(unit)));
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::StreamName;

    fn segment(stream: &str, at: u64, estimated_bytes: u64) -> Segment {
        Segment { stream: StreamName::new(stream), at, range: String::new(), estimated_bytes }
    }

    #[test]
    fn two_thousand_small_tables_make_few_units_and_lose_none() {
        let mut segments: Vec<Segment> = (0..2_000).map(|n| segment(&format!("t{n:04}"), 0, 8_192)).collect();
        segments.extend((0..4).map(|n| segment("u", n * 1024, 8 << 20)));
        segments.push(segment("v", 0, 1 << 20));
        let units = units(&segments);
        assert!(units.len() <= 16 + 5, "{}", units.len());
        assert!(!units[0].bundle);
        let mut seen: Vec<_> = units.iter().flat_map(|unit| &unit.segments).map(|s| (s.stream.clone(), s.at)).collect();
        seen.sort();
        assert_eq!(seen, segments.iter().map(|s| (s.stream.clone(), s.at)).collect::<Vec<_>>());
    }

    #[test]
    fn a_bundle_holds_the_same_tables_when_another_table_grows() {
        let small: Vec<Segment> = (0..10).map(|n| segment(&format!("t{n}"), 0, 100)).collect();
        let mut grown = small.clone();
        grown.push(segment("z", 0, 1 << 30));
        let bundle = |segments: &[Segment]| units(segments).into_iter().find(|unit| unit.bundle);
        assert_eq!(bundle(&small), bundle(&grown));
    }
}
