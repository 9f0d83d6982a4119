//! Bounds: values of `_id` that part a collection.
//!
//! Owns their kinds, their order and their form as numbers, in which the next backup is told of them. A bound is cut to the first eight bytes of what was sampled: that is where identifiers differ, and a number
//! holds no more. Promises an order that is the server's own (<https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/>), across types: a server refuses a range that ends before it begins. Refuses kinds of which that could not
//! be said: such values fall between bounds, wherever they are.

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, RawBsonRef};
use std::collections::BTreeMap;

/// A value of `_id`. The variants stand in the order of their types.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bound {
    Number(i64),
    Text(String),
    /// Sixteen bytes, of which the first eight count; of subtype 3 or 4.
    Uuid(u8, u64),
    ObjectId(u64),
    Date(i64),
}

impl Bound {
    /// The bound at or before a value; none for kinds that are not cut by.
    pub fn at(value: RawBsonRef<'_>) -> Option<Self> {
        Some(match value {
            RawBsonRef::Int32(number) => Self::Number(number.into()),
            RawBsonRef::Int64(number) => Self::Number(number),
            // Beyond these a double has no neighbours that are whole.
            #[expect(clippy::cast_possible_truncation, reason = "whole numbers of this size are exact")]
            RawBsonRef::Double(number) if number.abs() < 9e15 => Self::Number(number.floor() as i64),
            RawBsonRef::String(text) => Self::Text(beginning(text)),
            RawBsonRef::Binary(binary) if binary.bytes.len() == 16 => {
                let subtype = u8::from(binary.subtype);
                if !matches!(subtype, 3 | 4) {
                    return None;
                }
                Self::Uuid(subtype, first_eight(binary.bytes))
            }
            RawBsonRef::ObjectId(id) => Self::ObjectId(first_eight(&id.bytes())),
            RawBsonRef::DateTime(time) => Self::Date(time.timestamp_millis()),
            _ => return None,
        })
    }

    /// As a command says it.
    pub fn value(&self) -> Bson {
        match self {
            Self::Number(number) => Bson::Int64(*number),
            Self::Text(text) => Bson::String(text.clone()),
            Self::Uuid(subtype, high) => {
                let bytes = [high.to_be_bytes(), [0; 8]].concat();
                Bson::Binary(Binary { subtype: BinarySubtype::from(*subtype), bytes })
            }
            Self::ObjectId(high) => {
                let mut bytes = [0; 12];
                bytes.iter_mut().zip(high.to_be_bytes()).for_each(|(to, from)| *to = from);
                Bson::ObjectId(ObjectId::from_bytes(bytes))
            }
            Self::Date(millis) => Bson::DateTime(DateTime::from_millis(*millis)),
        }
    }

    fn tag(&self) -> &'static str {
        match self {
            Self::Number(_) => "number",
            Self::Text(_) => "text",
            Self::Uuid(3, _) => "uuid3",
            Self::Uuid(..) => "uuid4",
            Self::ObjectId(_) => "objectid",
            Self::Date(_) => "date",
        }
    }

    fn number(&self) -> u64 {
        match self {
            Self::Number(number) | Self::Date(number) => u64::from_ne_bytes(number.to_ne_bytes()),
            Self::Uuid(_, high) | Self::ObjectId(high) => *high,
            Self::Text(text) => {
                let mut bytes = [0; 8];
                bytes.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
                u64::from_be_bytes(bytes)
            }
        }
    }

    fn parse(tag: &str, number: u64) -> Option<Self> {
        let signed = i64::from_ne_bytes(number.to_ne_bytes());
        Some(match tag {
            "number" => Self::Number(signed),
            "date" => Self::Date(signed),
            "uuid3" => Self::Uuid(3, number),
            "uuid4" => Self::Uuid(4, number),
            "objectid" => Self::ObjectId(number),
            "text" => {
                let bytes = number.to_be_bytes();
                let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                Self::Text(std::str::from_utf8(bytes.get(..end)?).ok()?.to_owned())
            }
            _ => return None,
        })
    }
}

/// The first eight bytes of a text at most, as whole characters, up to the first NUL.
fn beginning(text: &str) -> String {
    let text = text.split('\0').next().unwrap_or_default();
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= 8).last().unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}

fn first_eight(bytes: &[u8]) -> u64 {
    bytes.first_chunk::<8>().map(|first| u64::from_be_bytes(*first)).unwrap_or_default()
}

/// What the next backup is told: a number for each bound, by collection, place and kind.
pub(crate) fn told(collection: &str, bounds: &[Bound]) -> BTreeMap<String, u64> {
    let name = |(at, bound): (usize, &Bound)| (format!("{collection} bound {at} {}", bound.tag()), bound.number());
    bounds.iter().enumerate().map(name).collect()
}

/// What the backup before told of a collection, in order.
pub(crate) fn remembered(collection: &str, hints: &BTreeMap<String, u64>) -> Vec<Bound> {
    let of = |(name, number): (&String, &u64)| {
        let (rest, tag) = name.rsplit_once(' ')?;
        let (rest, _) = rest.rsplit_once(' ')?;
        (rest.strip_suffix(" bound")? == collection).then(|| Bound::parse(tag, *number))?
    };
    let mut bounds: Vec<Bound> = hints.iter().filter_map(of).collect();
    bounds.sort();
    bounds.dedup();
    bounds
}

/// Bounds for samples of which `share` make a segment: those of before where they still part the collection well, with new ones where it has grown.
pub(crate) fn choose(mut samples: Vec<Bound>, share: usize, before: Vec<Bound>) -> Vec<Bound> {
    samples.sort();
    let share = share.max(1);
    let wanted = samples.len() / share;
    let kept = if before.len() > 2 * wanted + 8 { Vec::new() } else { before };
    // A segment that there is already may grow to the size of three before it is parted: samples are few, and vary.
    let most = if kept.is_empty() { 2 * share } else { 3 * share };
    let mut bounds = kept.clone();
    let mut rest = samples.as_slice();
    for end in kept.iter().map(Some).chain([None]) {
        let inside = end.map_or(rest.len(), |end| rest.partition_point(|sample| sample < end));
        let (gap, after) = rest.split_at(inside);
        if gap.len() >= most {
            let pieces = gap.len() / share;
            bounds.extend((1..pieces).filter_map(|piece| gap.get(piece * gap.len() / pieces)).cloned());
        }
        rest = after;
    }
    bounds.sort();
    bounds.dedup();
    bounds
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn all() -> Vec<Bound> {
        let oid = ObjectId::parse_str("6b037c6a6070f9a7a1ba9bf0").unwrap();
        let bytes: Vec<u8> = (10..26).collect();
        let uuid = mongodb::bson::RawBinaryRef { subtype: BinarySubtype::Uuid, bytes: &bytes };
        [
            RawBsonRef::Int32(-5),
            RawBsonRef::Double(2.7),
            RawBsonRef::Int64(i64::MAX),
            RawBsonRef::String("\u{e9}\u{e9}\u{1f642}x"),
            RawBsonRef::String("a\0b"),
            RawBsonRef::Binary(uuid),
            RawBsonRef::ObjectId(oid),
            RawBsonRef::DateTime(DateTime::from_millis(-1)),
        ]
        .into_iter()
        .map(|value| Bound::at(value).unwrap())
        .collect()
    }

    #[test]
    fn bounds_are_remembered_as_they_were() {
        let mut bounds = all();
        bounds.sort();
        let mut hints = told("a bound 1", &bounds);
        hints.extend(told("a", &[Bound::Number(1)]));
        assert_eq!(remembered("a bound 1", &hints), bounds);
        assert_eq!(remembered("a", &hints), [Bound::Number(1)]);
        assert_eq!(remembered("b", &hints), []);
        assert!(Bound::at(RawBsonRef::Null).is_none() && Bound::at(RawBsonRef::Double(f64::NAN)).is_none());
        assert_eq!(Bound::at(RawBsonRef::String("a\0b")), Some(Bound::Text("a".to_owned())));
    }

    #[test]
    fn bounds_stay_and_grow_where_documents_are_new() {
        let samples = |range: std::ops::Range<i64>| range.map(Bound::Number).collect::<Vec<_>>();
        let first = choose(samples(0..100), 10, Vec::new());
        assert_eq!(first, [10, 20, 30, 40, 50, 60, 70, 80, 90].map(Bound::Number));
        assert_eq!(choose(samples(0..100), 10, first.clone()), first);
        assert_eq!(choose(samples(0..20), 10, Vec::new()), [Bound::Number(10)]);
        let grown = choose(samples(0..200), 10, first.clone());
        assert!(grown.starts_with(&first) && grown.len() >= 18, "{grown:?}");
        // Many more than make sense are none at all.
        assert_eq!(choose(samples(0..30), 10, samples(0..100)), [10, 20].map(Bound::Number));
        assert_eq!(choose(Vec::new(), 10, Vec::new()), []);
    }
}
