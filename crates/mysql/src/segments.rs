//! Segments: how a table is cut into ranges that several sessions read at once.
//!
//! Owns the choice of a step and the cutting. A range is half-open, the first has no beginning and the last no end, so that they tile the table whatever
//! is written meanwhile; the server compares. Boundaries of integers are multiples of the step, a power of two, and the step of
//! the backup before is kept while it still fits: what did not change is cut as it was, and recognised. Those of text are found by `bounds`. Refuses to cut by anything but the
//! first column of InnoDB's primary key, in whose order rows are stored.

use crate::bounds::{self, Bounds};
use crate::catalog::{Leading, Table};
use crate::connection::Session;
use crate::quote::{ident, qualified};
use engine::{Error, Kind, Segment};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bytes at the server that a segment aims at: as many as are read in about a tenth of a second.
const AIM_BYTES: u64 = 16 << 20;
/// A table may be cut into so many segments at most: numbers that lie far apart make empty ones.
const MOST_SEGMENTS: u64 = 4096;

/// Which rows a segment has: key values from, inclusively, and to, exclusively, as statements say them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Range {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl Range {
    /// Reads a segment's text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text)
            .map_err(|e| Error::new(Kind::Internal, format!("a segment's range cannot be read: {e}")))
    }

    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What is said after the table's name: the index to use, the bounds and the order.
    pub fn condition(&self, table: &Table) -> String {
        let Some(key) = &table.key else { return String::new() };
        let order: Vec<String> = key.columns.iter().map(|column| ident(column)).collect();
        let leading = order.first().cloned().unwrap_or_default();
        let from = self.from.as_ref().map(|value| format!("{leading} >= {value}"));
        let to = self.to.as_ref().map(|value| format!("{leading} < {value}"));
        let bounds: Vec<String> = from.into_iter().chain(to).collect();
        let bounds = if bounds.is_empty() { String::new() } else { format!(" WHERE {}", bounds.join(" AND ")) };
        format!(" FORCE INDEX (PRIMARY){bounds} ORDER BY {}", order.join(", "))
    }
}

/// All segments of these tables, measured inside a snapshot or not, and the steps by stream to be given back next time.
pub(crate) async fn cut_all(
    session: &mut Session,
    schema: &str,
    tables: &[Table],
    previous: &BTreeMap<String, u64>,
    in_snapshot: bool,
) -> Result<(Vec<Segment>, BTreeMap<String, u64>), Error> {
    let (mut segments, mut steps) = (Vec::new(), BTreeMap::new());
    for table in tables.iter().filter(|table| table.has_rows) {
        let stream = table.stream();
        // Asking keeps the table's definition from being changed, until the savepoint is left.
        if in_snapshot {
            session.run("go on in the snapshot", "SAVEPOINT longshore_ends").await?;
        }
        let ends = ends(session, schema, table).await?;
        let text = match table.key.as_ref().filter(|key| key.leading != Leading::Other && is_worth_it(table)) {
            Some(key) => bounds::find(session, schema, table, key, AIM_BYTES, previous).await?,
            None => Bounds::default(),
        };
        if in_snapshot {
            session.run("go on in the snapshot", "ROLLBACK TO SAVEPOINT longshore_ends").await?;
        }
        let before = previous.get(stream.as_str()).copied();
        let step = ends.map(|(least, greatest)| step(least, greatest, table.bytes, before));
        let numbers = multiples(ends, step);
        let cut = if numbers.is_empty() { tile(table, text.values) } else { tile(table, numbers) };
        assert_tiling(&cut)?;
        segments.extend(cut);
        steps.extend(text.kept);
        steps.extend(step.and_then(|step| Some((stream.as_str().to_owned(), u64::try_from(step).ok()?))));
    }
    Ok((segments, steps))
}

/// What is read in a moment is read as a whole, and history has no key of its own.
fn is_worth_it(table: &Table) -> bool {
    table.bytes > AIM_BYTES && table.history.is_none()
}

/// The least and greatest value of the key, where there is one to cut by and more than one segment to make.
async fn ends(session: &mut Session, schema: &str, table: &Table) -> Result<Option<(i128, i128)>, Error> {
    let Some(key) = table.key.as_ref().filter(|key| key.integer && is_worth_it(table)) else { return Ok(None) };
    let column = ident(key.columns.first().map(String::as_str).unwrap_or_default());
    let sql = format!("SELECT MIN({column}), MAX({column}) FROM {}", qualified(schema, &table.name));
    let row = session.one(&format!("measure {}", table.stream()), &sql).await?;
    let value = |at: usize| row.maybe(at).and_then(|text| text.parse::<i128>().ok());
    Ok(value(0).zip(value(1)))
}

/// The step: so many key values to a segment.
fn step(least: i128, greatest: i128, bytes: u64, before: Option<u64>) -> i128 {
    let span = (greatest - least).max(1);
    let wanted = (bytes / AIM_BYTES).clamp(1, MOST_SEGMENTS);
    let fits = |step: i128| {
        let segments = span / step;
        segments <= i128::from(wanted) * 4 && segments * 4 >= i128::from(wanted)
    };
    if let Some(before) = before.map(i128::from).filter(|step| *step > 0 && fits(*step)) {
        return before;
    }
    let ideal = (span / i128::from(wanted)).max(1);
    let mut step = 1;
    while step * 2 <= ideal {
        step *= 2;
    }
    step
}

/// The multiples of the step between the ends.
fn multiples(ends: Option<(i128, i128)>, step: Option<i128>) -> Vec<String> {
    let (Some((least, greatest)), Some(step)) = (ends, step) else { return Vec::new() };
    let (mut bounds, mut at) = (Vec::new(), (least.div_euclid(step) + 1) * step);
    while at <= greatest {
        bounds.push(at.to_string());
        at += step;
    }
    bounds
}

/// The segments between these bounds; one of everything without any.
fn tile(table: &Table, bounds: Vec<String>) -> Vec<Segment> {
    let (mut ranges, mut from) = (Vec::new(), None);
    for bound in bounds {
        ranges.push(Range { from, to: Some(bound.clone()) });
        from = Some(bound);
    }
    ranges.push(Range { from, to: None });
    let each = table.bytes / u64::try_from(ranges.len()).unwrap_or(1).max(1);
    let segment = |(at, range): (usize, &Range)| Segment {
        stream: table.stream(),
        at: u64::try_from(at).unwrap_or(u64::MAX),
        range: range.text(),
        estimated_bytes: each,
    };
    ranges.iter().enumerate().map(segment).collect()
}

/// Ranges must tile the table: one that begins where another has not ended would lose rows, or read them twice.
fn assert_tiling(segments: &[Segment]) -> Result<(), Error> {
    let mut expected = None;
    for (number, segment) in segments.iter().enumerate() {
        let range = Range::parse(&segment.range)?;
        let last = number + 1 == segments.len();
        if range.from != expected || range.to.is_none() != last || (range.from.is_some() && range.from == range.to) {
            return Err(Error::new(Kind::Internal, format!("the segments of {} do not tile it", segment.stream)));
        }
        expected = range.to;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::catalog::Key;
    use crate::text::Text;

    fn table(bytes: u64) -> Table {
        Table {
            name: "t".to_owned(),
            engine: "InnoDB".to_owned(),
            create: Text::default(),
            collations: BTreeMap::new(),
            columns: Vec::new(),
            has_rows: true,
            history: None,
            key: Some(Key { columns: vec!["id".to_owned(), "x".to_owned()], integer: true, leading: Leading::Other }),
            bytes,
            made: String::new(),
        }
    }

    #[test]
    fn segments_tile_any_span_and_begin_at_multiples() {
        let extremes = [i128::from(i64::MIN), -5, -1, 0, 1, 7, 1000, i128::from(u64::MAX)];
        for least in extremes {
            for greatest in extremes.into_iter().filter(|greatest| *greatest >= least) {
                for bytes in [0, AIM_BYTES * 3, AIM_BYTES * 100_000] {
                    let step = step(least, greatest, bytes, None);
                    let bounds = multiples(Some((least, greatest)), Some(step));
                    let numbers: Vec<i128> = bounds.iter().map(|bound| bound.parse().unwrap()).collect();
                    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
                    assert!(numbers.iter().all(|number| number % step == 0));
                    let cut = tile(&table(bytes), bounds);
                    assert_tiling(&cut).unwrap();
                    assert!(cut.len() as u64 <= MOST_SEGMENTS * 4 + 2, "{least} {greatest} {}", cut.len());
                }
            }
        }
    }

    #[test]
    fn a_step_stays_while_it_fits_and_changes_when_it_does_not() {
        let bytes = AIM_BYTES * 64;
        let first = step(1, 1_000_000, bytes, None);
        assert_eq!(step(1, 1_100_000, bytes + bytes / 10, Some(first as u64)), first);
        assert_ne!(step(1, 100_000_000, bytes, Some(first as u64)), first);
        assert_ne!(step(1, 1_000_000, bytes, Some(1)), 1);
    }

    #[test]
    fn ranges_that_do_not_tile_are_refused() {
        let whole = tile(&table(AIM_BYTES * 8), multiples(Some((0, 800)), Some(100)));
        assert_tiling(&whole).unwrap();
        for at in 0..whole.len() {
            let mut less = whole.clone();
            less.remove(at);
            assert!(less.is_empty() || assert_tiling(&less).is_err(), "without {at}");
        }
    }

    #[test]
    fn the_server_compares_and_sorts() {
        let range = Range { from: Some("-5".to_owned()), to: Some("7".to_owned()) };
        assert_eq!(
            range.condition(&table(1)),
            " FORCE INDEX (PRIMARY) WHERE `id` >= -5 AND `id` < 7 ORDER BY `id`, `x`"
        );
        assert_eq!(Range::default().condition(&Table { key: None, ..table(1) }), "");
    }
}
