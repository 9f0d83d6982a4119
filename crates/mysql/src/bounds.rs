//! Bounds: where to cut a table whose key begins with text or bytes.
//!
//! Owns the search for bounds: between two digits of a key there are always the same ones, halves of halves, and a range is halved while the server expects more in it than a segment aims at.
//! Promises that bounds ascend as the server itself sorts that column, or that there are none; and that a second backup has the same ones while they fit, so that what did not change is recognised. Refuses keys that say too little: what is left over at the same beginning stays one segment.

use crate::catalog::{Key, Leading, Table};
use crate::connection::Session;
use crate::quote::{hex, ident, literal, qualified};
use crate::schema::plain_word;
use engine::{Error, StreamName};
use std::collections::BTreeMap;

/// Digits of bounds in text: they ascend in every collation that is known, whatever it thinks of upper and lower case.
const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// Digits of a bound behind what all keys begin with.
const LENGTH: u32 = 8;
/// Questions about ranges of one table, at most: each takes the server some dives into its index.
const MOST_QUESTIONS: usize = 12_000;
/// Bounds compared by one statement.
const COMPARED_AT_ONCE: usize = 200;

/// Bounds of one table.
#[derive(Debug, Default)]
pub(crate) struct Bounds {
    /// As values for statements, in order.
    pub values: Vec<String>,
    /// What finds them again, by name.
    pub kept: BTreeMap<String, u64>,
}

/// Bounds of one table: those of the backup before, while they fit.
pub(crate) async fn find(
    session: &mut Session,
    schema: &str,
    table: &Table,
    key: &Key,
    aim_bytes: u64,
    previous: &BTreeMap<String, u64>,
) -> Result<Bounds, Error> {
    let Some(name) = key.columns.first() else { return Ok(Bounds::default()) };
    let column = ident(name);
    let sql = format!("SELECT MIN({column}), MAX({column}) FROM {}", qualified(schema, &table.name));
    let ends = session.one(&format!("measure {}", table.stream()), &sql).await?;
    let (Some(least), Some(greatest)) = (ends.bytes(0), ends.bytes(1)) else { return Ok(Bounds::default()) };
    let space = Space::new(key.leading, least, greatest);
    let mut search = Search { session, schema, table, column, space, asked: 0 };
    let all = search.rows(&(0, search.space.size)).await?;
    let row_bytes = (table.bytes / all.max(1)).max(1);
    let most_rows = (aim_bytes * 2 / row_bytes).max(1);
    let kept = search.space.kept(&table.stream(), previous);
    let fits = !kept.is_empty() && kept.len() as u64 <= table.bytes / aim_bytes * 4;
    let numbers = if fits && search.all_have_at_most(&kept, most_rows * 2).await? {
        kept
    } else {
        search.halve(most_rows).await?
    };
    let values: Vec<String> = numbers.iter().map(|number| search.space.bound(*number)).collect();
    let kept = search.space.to_keep(&table.stream(), &numbers);
    let collation = table.collations.get(name).map(String::as_str);
    Ok(if ascend(search.session, collation, &values).await? { Bounds { values, kept } } else { Bounds::default() })
}

/// All bounds that there may be between the least and the greatest key: numbers, which are digits behind a common beginning.
struct Space {
    leading: Leading,
    beginning: Vec<u8>,
    size: u64,
}

impl Space {
    fn new(leading: Leading, least: &[u8], greatest: &[u8]) -> Self {
        let same = least.iter().zip(greatest).take_while(|(a, b)| a == b).count();
        let mut beginning = least.get(..same).unwrap_or_default().to_vec();
        if leading == Leading::Text {
            // Half a character is none.
            beginning.truncate(beginning.iter().position(|byte| !byte.is_ascii_graphic()).unwrap_or(same));
        }
        let base: u64 = if leading == Leading::Bytes { 1 << 7 } else { 36 };
        Self { leading, beginning, size: base.pow(LENGTH) }
    }

    /// The numbers that an earlier backup left, if they are of the same space.
    fn kept(&self, stream: &StreamName, previous: &BTreeMap<String, u64>) -> Vec<u64> {
        if previous.get(&format!("{stream} bounds")) != Some(&self.sum()) {
            return Vec::new();
        }
        let numbers: Vec<u64> = (0..).map_while(|at| previous.get(&format!("{stream} bound {at}")).copied()).collect();
        let ascends = numbers.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
        let inside = numbers.iter().all(|number| (1..self.size).contains(number));
        if ascends && inside { numbers } else { Vec::new() }
    }

    fn to_keep(&self, stream: &StreamName, numbers: &[u64]) -> BTreeMap<String, u64> {
        let named = numbers.iter().enumerate().map(|(at, number)| (format!("{stream} bound {at}"), *number));
        named.chain([(format!("{stream} bounds"), self.sum())]).collect()
    }

    /// Tells one space from another: FNV-1a of the beginning, and the size.
    fn sum(&self) -> u64 {
        let add = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        self.beginning.iter().fold(0xcbf2_9ce4_8422_2325 ^ self.size, add)
    }

    /// A number's digits behind the beginning, as a value for statements.
    fn bound(&self, number: u64) -> String {
        let mut bytes = self.beginning.clone();
        if self.leading == Leading::Bytes {
            // 56 bits in seven bytes.
            bytes.extend(number.to_be_bytes().into_iter().skip(1));
            while bytes.len() > self.beginning.len() && bytes.last() == Some(&0) {
                bytes.pop();
            }
            return hex(&bytes);
        }
        let digit = |place: u32| number / 36_u64.pow(LENGTH - 1 - place) % 36;
        let digits = (0..LENGTH).map(|place| usize::try_from(digit(place)).unwrap_or_default());
        bytes.extend(digits.map(|digit| DIGITS.get(digit).copied().unwrap_or(b'0')));
        // `a` stands before `a0`, and is the same bound.
        while bytes.len() > self.beginning.len() + 1 && bytes.last() == Some(&b'0') {
            bytes.pop();
        }
        literal(&String::from_utf8_lossy(&bytes))
    }
}

/// From a number, inclusively, to another, exclusively; the ends of the space stand for no bound at all.
type Numbers = (u64, u64);

struct Search<'a> {
    session: &'a mut Session,
    schema: &'a str,
    table: &'a Table,
    column: String,
    space: Space,
    asked: usize,
}

impl Search<'_> {
    /// Halves ranges until none has more rows than these. Returns the numbers between them.
    async fn halve(&mut self, most_rows: u64) -> Result<Vec<u64>, Error> {
        let (mut left, mut bounds) = (vec![((0, self.space.size), u64::MAX)], Vec::new());
        // The last one first, so that bounds come out in order.
        while let Some((range, rows)) = left.pop() {
            let (from, to) = range;
            if rows > most_rows && to - from > 1 && self.asked < MOST_QUESTIONS {
                let middle = from + (to - from) / 2;
                let (first, second) = ((from, middle), (middle, to));
                let (first_rows, second_rows) = (self.rows(&first).await?, self.rows(&second).await?);
                left.push((second, second_rows));
                left.push((first, first_rows));
                continue;
            }
            // Nobody needs a segment of nothing.
            if from > 0 && rows > 1 {
                bounds.push(from);
            }
        }
        Ok(bounds)
    }

    /// Whether no range between these numbers has more rows.
    async fn all_have_at_most(&mut self, numbers: &[u64], most_rows: u64) -> Result<bool, Error> {
        let (mut from, size) = (0, self.space.size);
        for to in numbers.iter().copied().chain([size]) {
            if self.rows(&(from, to)).await? > most_rows {
                return Ok(false);
            }
            from = to;
        }
        Ok(true)
    }

    /// How many rows the server expects in a range. The index is named but not forced: MySQL looks into none that is.
    async fn rows(&mut self, range: &Numbers) -> Result<u64, Error> {
        self.asked += 1;
        let from = (range.0 > 0).then(|| format!("{} >= {}", self.column, self.space.bound(range.0)));
        let to = (range.1 < self.space.size).then(|| format!("{} < {}", self.column, self.space.bound(range.1)));
        let bounds: Vec<String> = from.into_iter().chain(to).collect();
        let bounds = if bounds.is_empty() { String::new() } else { format!(" WHERE {}", bounds.join(" AND ")) };
        let sql = format!(
            "EXPLAIN FORMAT=TRADITIONAL SELECT 1 FROM {} USE INDEX (PRIMARY){bounds}",
            qualified(self.schema, &self.table.name)
        );
        let row = self.session.one(&format!("measure {}", self.table.stream()), &sql).await?;
        // Behind it: what is left after filtering, on MySQL since 5.7, and remarks.
        let behind = if self.session.server.is_mysql(5, 7, 0) { 3 } else { 2 };
        Ok(row.0.len().checked_sub(behind).and_then(|at| row.number(at)).unwrap_or_default())
    }
}

/// Whether bounds ascend as the server sorts the column.
async fn ascend(session: &mut Session, collation: Option<&str>, bounds: &[String]) -> Result<bool, Error> {
    let value = |bound: &String| -> Result<String, Error> {
        match collation {
            None => Ok(bound.clone()),
            Some(collation) => {
                let charset = plain_word(collation)?.split('_').next().unwrap_or_default();
                Ok(format!("CONVERT({bound} USING {charset}) COLLATE {collation}"))
            }
        }
    };
    let pairs: Vec<&[String]> = bounds.windows(2).collect();
    for some in pairs.chunks(COMPARED_AT_ONCE) {
        let mut compared = Vec::with_capacity(some.len());
        for pair in some {
            if let [a, b] = pair {
                compared.push(format!("({} < {})", value(a)?, value(b)?));
            }
        }
        let row = session.one("compare bounds", &format!("SELECT {}", compared.join(" AND "))).await?;
        if row.number(0) != Some(1) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_digits_behind_what_all_keys_begin_with() {
        let space = Space::new(Leading::Text, b"order-17", b"order-93");
        let middle = space.bound(space.size / 2);
        assert_eq!(middle, literal("order-i"));
        assert_eq!(space.bound(space.size / 4), literal("order-9"));
        assert_eq!(space.bound(1), literal("order-00000001"));
        // Half of a letter is not part of the beginning.
        let accents = Space::new(Leading::Text, "ab\u{e9}".as_bytes(), "ab\u{e8}".as_bytes());
        assert_eq!(accents.bound(accents.size / 2), literal("abi"));
    }

    #[test]
    fn bounds_are_kept_for_the_same_space_only() {
        let (stream, space) = (StreamName::new("`t`"), Space::new(Leading::Text, b"order-17", b"order-93"));
        let kept = space.to_keep(&stream, &[3, 70, 900]);
        assert_eq!(space.kept(&stream, &kept), [3, 70, 900]);
        assert!(space.kept(&StreamName::new("`other`"), &kept).is_empty());
        assert!(Space::new(Leading::Text, b"job-1", b"job-9").kept(&stream, &kept).is_empty());
        assert!(space.kept(&stream, &space.to_keep(&stream, &[70, 3])).is_empty());
        assert!(space.kept(&stream, &space.to_keep(&stream, &[3, space.size])).is_empty());
    }

    #[test]
    fn bounds_of_bytes_ascend_as_bytes_do() {
        let space = Space::new(Leading::Bytes, &[0xff, 0x00, 0x01], &[0xff, 0xee]);
        assert_eq!(space.bound(space.size / 2), "0xff80");
        assert_eq!(space.bound(space.size / 2 + 1), "0xff80000000000001");
        let mut last = String::new();
        for step in 1..1000 {
            let bound = space.bound(space.size / 1000 * step);
            assert!(last.is_empty() || bound > last, "{last} {bound}");
            last = bound;
        }
    }
}
