//! Identifiers: which documents are the same one, as servers see it.
//!
//! Owns their form in memory and in `changed.bson`: a document with `_id` alone. Promises that two have the same bytes just when servers take their `_id` for one: an update may make the number 1 of another
//! kind (`1`, `1.0`, `NumberLong(1)`, `NumberDecimal("1.00")`), and the oplog names one of both alone: 6.0 that from before. Of texts servers demand the same bytes there, whatever a collation says.
//! How servers compare: <https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/>.

use mongodb::bson::raw::cstr;
use mongodb::bson::{
    Decimal128, RawArrayBuf, RawBson, RawBsonRef, RawDocument, RawDocumentBuf, RawJavaScriptCodeWithScope,
};

/// An identifier: a document with `_id` alone, as its bytes.
pub(crate) type Id = Vec<u8>;

/// What is nested deeper keeps its bytes: no server stores it.
const DEEPEST: usize = 250;

/// A document's identifier; none where it has none.
pub(crate) fn id_of(document: &RawDocument) -> Option<Id> {
    let value = document.get("_id").ok().flatten()?;
    let mut only = RawDocumentBuf::new();
    match one_form(value, 0) {
        Some(value) => only.append(cstr!("_id"), value),
        None => only.append(cstr!("_id"), value),
    }
    Some(only.into_bytes())
}

/// The form that stands for all that servers take for the same; none where a value has one form only.
fn one_form(value: RawBsonRef<'_>, depth: usize) -> Option<RawBson> {
    match value {
        RawBsonRef::Int32(number) => Some(RawBson::Int64(number.into())),
        RawBsonRef::Double(number) => Some(of_double(number)),
        RawBsonRef::Decimal128(number) => Some(of_decimal(number)),
        RawBsonRef::Symbol(text) => Some(RawBson::String(text.to_owned())),
        RawBsonRef::Document(inner) if depth < DEEPEST => of_document(inner, depth + 1).map(RawBson::Document),
        RawBsonRef::JavaScriptCodeWithScope(inner) if depth < DEEPEST => {
            let (code, scope) = (inner.code.to_owned(), of_document(inner.scope, depth + 1)?);
            Some(RawBson::JavaScriptCodeWithScope(RawJavaScriptCodeWithScope { code, scope }))
        }
        RawBsonRef::Array(inner) if depth < DEEPEST => {
            let mut all = RawArrayBuf::new();
            for value in inner {
                let value = value.ok()?;
                match one_form(value, depth + 1) {
                    Some(value) => all.push(value),
                    None => all.push(value),
                }
            }
            Some(RawBson::Array(all))
        }
        _ => None,
    }
}

fn of_document(inner: &RawDocument, depth: usize) -> Option<RawDocumentBuf> {
    let mut all = RawDocumentBuf::new();
    for element in inner {
        let (name, value) = element.ok()?;
        match one_form(value, depth) {
            Some(value) => all.append(name, value),
            None => all.append(name, value),
        }
    }
    Some(all)
}

/// Whole numbers as 64 bits where they fit, whatever they came as.
fn of_double(number: f64) -> RawBson {
    const END: f64 = 9_223_372_036_854_775_808.0;
    if number.is_nan() {
        return RawBson::Double(f64::NAN);
    }
    if number.fract() == 0.0 && (-END..END).contains(&number) {
        #[allow(clippy::cast_possible_truncation, reason = "it is whole, and within the range")]
        return RawBson::Int64(number as i64);
    }
    RawBson::Double(number)
}

/// A decimal becomes a number of another kind where that is exactly the same, and else loses its zeros.
fn of_decimal(number: Decimal128) -> RawBson {
    let text = number.to_string();
    let Some(exact) = Exact::parse(&text) else {
        let double = text.parse().unwrap_or(f64::NAN);
        return if text.contains("NaN") { RawBson::Double(f64::NAN) } else { RawBson::Double(double) };
    };
    if let Some(whole) = exact.whole() {
        return RawBson::Int64(whole);
    }
    // Every digit of a double: the smallest has 767 of them.
    let double = text.parse::<f64>().ok().filter(|double| double.is_finite());
    if let Some(double) = double.filter(|double| Exact::parse(&format!("{double:.780e}")).as_ref() == Some(&exact)) {
        return RawBson::Double(double);
    }
    RawBson::Decimal128(exact.to_string().parse().unwrap_or(number))
}

/// A finite number by its digits, without zeros at either end, and the power of ten of the last.
#[derive(Debug, PartialEq, Eq)]
struct Exact {
    is_negative: bool,
    digits: String,
    power: i64,
}

impl Exact {
    /// Reads `-12.50E+3`; nothing for what is no finite number.
    fn parse(text: &str) -> Option<Self> {
        let (is_negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, power) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = all.trim_end_matches('0');
        let power = power.parse::<i64>().ok()? - i64::try_from(fraction.len()).ok()?;
        let power = power + i64::try_from(all.len() - digits.len()).ok()?;
        match digits.trim_start_matches('0') {
            "" => Some(Self { is_negative: false, digits: "0".to_owned(), power: 0 }),
            digits => Some(Self { is_negative, digits: digits.to_owned(), power }),
        }
    }

    /// As a whole number of 64 bits, if it is one.
    fn whole(&self) -> Option<i64> {
        let zeros = usize::try_from(self.power).ok().filter(|zeros| *zeros < 20)?;
        let sign = if self.is_negative { "-" } else { "" };
        format!("{sign}{}{}", self.digits, "0".repeat(zeros)).parse().ok()
    }
}

impl std::fmt::Display for Exact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}E{}", if self.is_negative { "-" } else { "" }, self.digits, self.power)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use mongodb::bson::{oid::ObjectId, rawdoc};

    fn decimal(text: &str) -> Decimal128 {
        text.parse().unwrap()
    }

    fn id(value: impl Into<RawBson>) -> Id {
        let mut document = rawdoc! {"x": 1};
        document.append(cstr!("_id"), value.into());
        id_of(&document).unwrap()
    }

    #[test]
    fn a_number_is_one_whatever_it_is_kept_as() {
        for one in [id(1_i64), id(1.0), id(decimal("1")), id(decimal("1.00")), id(decimal("10E-1"))] {
            assert_eq!(one, id(1));
        }
        for zero in [id(0.0), id(-0.0), id(decimal("-0")), id(decimal("0E+7"))] {
            assert_eq!(zero, id(0_i64));
        }
        assert_eq!(id(decimal("0.50")), id(0.5));
        assert_eq!(id(decimal("1E+3")), id(1000));
        assert_eq!(id(decimal("-9223372036854775808")), id(i64::MIN));
        assert_eq!(id(decimal("9223372036854775808")), id(9_223_372_036_854_775_808.0));
        assert_eq!(id(decimal("0.10")), id(decimal("0.1")));
        assert_eq!(id(decimal("1E+6144")), id(decimal("1.000E+6144")));
        assert_eq!((id(decimal("NaN")), id(decimal("-Infinity"))), (id(f64::NAN), id(f64::NEG_INFINITY)));
    }

    #[test]
    fn what_differs_stays_apart() {
        let ids = [
            id(1),
            id(i64::MAX),
            id(9_223_372_036_854_775_808.0),
            id(0.1),
            id(decimal("0.1")),
            id(f64::INFINITY),
            id(decimal("1E+400")),
            id(decimal("-1E+400")),
            id(f64::NAN),
            id("1"),
            id("a"),
            id("A"),
            id(true),
            id(ObjectId::from_bytes([1; 12])),
            id(rawdoc! {"a": 1, "b": 1}),
            id(rawdoc! {"b": 1, "a": 1}),
        ];
        for (at, one) in ids.iter().enumerate() {
            assert!(!ids.iter().skip(at + 1).any(|other| one == other), "{at}");
        }
        assert!(id_of(&rawdoc! {"a": 1}).is_none());
    }

    #[test]
    fn numbers_within_are_numbers_too_and_a_form_is_its_own() {
        let one = id(rawdoc! {"a": [1, {"b": 2.0}], "c": "x"});
        assert_eq!(one, id(rawdoc! {"a": [1.0, {"b": decimal("2.0")}], "c": "x"}));
        let code = |scope| id(RawJavaScriptCodeWithScope { code: "f".to_owned(), scope });
        assert_eq!(code(rawdoc! {"a": 1}), code(rawdoc! {"a": 1_i64}));
        for again in [&one, &id(decimal("0.1")), &id(0.5), &id(decimal("1E+400"))] {
            assert_eq!(&id_of(RawDocument::from_bytes(again).unwrap()).unwrap(), again);
        }
    }
}
