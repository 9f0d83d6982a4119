//! Definitions as text: extended JSON, version 2, canonical.
//!
//! Owns the text that the vendor's tools read options and indexes from (<https://github.com/mongodb/specifications/blob/master/source/extended-json.md>). Promises that members keep their order,
//! and those of one name stay two, which a map of JSON would not do. Names what the text cannot hold: a member whose name the text gives a meaning of its own, a NaN or a decimal with bits of its own, and an array whose members are not named by their places.

use engine::{Error, Kind};
use mongodb::bson::raw::RawBsonRef;
use mongodb::bson::{Decimal128, RawDocument};
use serde_json::{Value, json};

/// Names of members that make a document something else when the text is read.
pub(crate) const MEANT: [&str; 17] = [
    "$binary",
    "$code",
    "$date",
    "$dbPointer",
    "$maxKey",
    "$minKey",
    "$numberDecimal",
    "$numberDouble",
    "$numberInt",
    "$numberLong",
    "$oid",
    "$regularExpression",
    "$scope",
    "$symbol",
    "$timestamp",
    "$undefined",
    "$uuid",
];

/// Text, and whether whoever reads it gets the same back.
#[derive(Debug, Default)]
pub(crate) struct Text {
    /// The text so far.
    pub json: String,
    /// The first thing that the text cannot hold.
    pub lost: Option<String>,
}

impl Text {
    /// Adds a document.
    ///
    /// # Errors
    /// [`Kind::Data`] for bytes that are none.
    pub fn document(&mut self, document: &RawDocument) -> Result<(), Error> {
        // Only what comes first gives a document another meaning.
        if let Some(Ok((name, _))) = document.iter().next()
            && MEANT.contains(&name.as_str())
        {
            self.lose(&format!("a member that is called {name}"));
        }
        self.members(document, ('{', '}'), |text, name| {
            text.json.push_str(&quoted(name));
            text.json.push(':');
        })
    }

    /// Adds a member's name and a comma before it, where it is not the first.
    pub fn member(&mut self, name: &str) {
        if !self.json.ends_with('{') {
            self.json.push(',');
        }
        self.json.push_str(&quoted(name));
        self.json.push(':');
    }

    /// Adds a text value.
    pub fn string(&mut self, value: &str) {
        self.json.push_str(&quoted(value));
    }

    fn members(
        &mut self,
        document: &RawDocument,
        (open, close): (char, char),
        mut name_it: impl FnMut(&mut Self, &str),
    ) -> Result<(), Error> {
        self.json.push(open);
        for (number, member) in document.iter().enumerate() {
            let (name, value) = member.map_err(unreadable)?;
            if number > 0 {
                self.json.push(',');
            }
            name_it(self, name.as_str());
            self.value(value)?;
        }
        self.json.push(close);
        Ok(())
    }

    fn value(&mut self, value: RawBsonRef<'_>) -> Result<(), Error> {
        match value {
            RawBsonRef::Document(inner) => return self.document(inner),
            RawBsonRef::Array(inner) => {
                let members = RawDocument::from_bytes(inner.as_bytes()).map_err(unreadable)?;
                if members.iter().flatten().zip(0_usize..).any(|((name, _), at)| name.as_str() != at.to_string()) {
                    self.lose("an array whose members have names of their own");
                }
                return self.members(members, ('[', ']'), |_, _| {});
            }
            RawBsonRef::JavaScriptCodeWithScope(code) => {
                self.json.push_str(&format!("{{\"$code\":{},\"$scope\":", quoted(code.code)));
                self.document(code.scope)?;
                self.json.push('}');
                return Ok(());
            }
            RawBsonRef::Double(number) if number.is_nan() && number.to_bits() != f64::NAN.to_bits() => {
                self.lose("a NaN with bits of its own");
            }
            // Digits hold neither what a decimal that is no number carries, nor digits beyond what it may have.
            RawBsonRef::Decimal128(number) if number.to_string().parse::<Decimal128>().ok() != Some(number) => {
                self.lose("a decimal with bits of its own");
            }
            _ => {}
        }
        self.json.push_str(&simple(value)?.to_string());
        Ok(())
    }

    fn lose(&mut self, what: &str) {
        self.lost.get_or_insert_with(|| what.to_owned());
    }
}

/// A value that has no members of its own.
fn simple(value: RawBsonRef<'_>) -> Result<Value, Error> {
    Ok(match value {
        RawBsonRef::Double(number) => json!({"$numberDouble": double(number)}),
        RawBsonRef::String(text) => json!(text),
        RawBsonRef::Boolean(is) => json!(is),
        RawBsonRef::Null => Value::Null,
        RawBsonRef::RegularExpression(it) => {
            json!({"$regularExpression": {"pattern": it.pattern.as_str(), "options": it.options.as_str()}})
        }
        RawBsonRef::JavaScriptCode(code) => json!({"$code": code}),
        RawBsonRef::Int32(number) => json!({"$numberInt": number.to_string()}),
        RawBsonRef::Int64(number) => json!({"$numberLong": number.to_string()}),
        RawBsonRef::Timestamp(time) => json!({"$timestamp": {"t": time.time, "i": time.increment}}),
        RawBsonRef::Binary(binary) => {
            let (base64, kind) = (base64(binary.bytes), u8::from(binary.subtype));
            json!({"$binary": {"base64": base64, "subType": format!("{kind:02x}")}})
        }
        RawBsonRef::ObjectId(id) => json!({"$oid": id.to_hex()}),
        RawBsonRef::DateTime(date) => json!({"$date": {"$numberLong": date.timestamp_millis().to_string()}}),
        RawBsonRef::Symbol(text) => json!({"$symbol": text}),
        RawBsonRef::Decimal128(number) => json!({"$numberDecimal": number.to_string()}),
        RawBsonRef::Undefined => json!({"$undefined": true}),
        RawBsonRef::MaxKey => json!({"$maxKey": 1}),
        RawBsonRef::MinKey => json!({"$minKey": 1}),
        // Its parts are shown to no one else.
        RawBsonRef::DbPointer(_) => serde_json::to_value(value)
            .map_err(|e| Error::new(Kind::Data, "a pointer in a definition cannot be written").because(e))?,
        RawBsonRef::Document(_) | RawBsonRef::Array(_) | RawBsonRef::JavaScriptCodeWithScope(_) => {
            return Err(Error::new(Kind::Internal, "a document was taken for a simple value"));
        }
    })
}

/// As few digits as make the same number again, and a sign that it is no integer.
fn double(number: f64) -> String {
    match number {
        _ if number.is_nan() => "NaN".to_owned(),
        f64::INFINITY => "Infinity".to_owned(),
        f64::NEG_INFINITY => "-Infinity".to_owned(),
        _ => format!("{number:?}"),
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Text between quotes.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn unreadable(error: mongodb::bson::error::Error) -> Error {
    Error::new(Kind::Data, "a definition cannot be read").because(error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use mongodb::bson::raw::{RawJavaScriptCodeWithScope, cstr};
    use mongodb::bson::spec::BinarySubtype;
    use mongodb::bson::{Binary, DateTime, RawBson, RawDocumentBuf, Regex, Timestamp, oid::ObjectId, rawdoc};

    fn text(document: &RawDocument) -> Text {
        let mut text = Text::default();
        text.document(document).unwrap();
        text
    }

    #[test]
    fn every_kind_has_its_canonical_form() {
        let scope = RawJavaScriptCodeWithScope { code: "x".to_owned(), scope: rawdoc! {"a": 1} };
        let id = ObjectId::from_bytes([7; 12]);
        let binary = Binary { subtype: BinarySubtype::Uuid, bytes: vec![0, 255] };
        let regex = Regex { pattern: cstr!("^a\"").into(), options: cstr!("i").into() };
        for (value, expected) in [
            (RawBson::Double(1.0), r#"{"$numberDouble":"1.0"}"#),
            (RawBson::Double(-0.0), r#"{"$numberDouble":"-0.0"}"#),
            (RawBson::Double(1e300), r#"{"$numberDouble":"1e300"}"#),
            (RawBson::Double(f64::NAN), r#"{"$numberDouble":"NaN"}"#),
            (RawBson::Double(f64::NEG_INFINITY), r#"{"$numberDouble":"-Infinity"}"#),
            (RawBson::Int32(-1), r#"{"$numberInt":"-1"}"#),
            (RawBson::Int64(i64::MAX), r#"{"$numberLong":"9223372036854775807"}"#),
            (RawBson::String("a\"\n\u{1}\u{1f6a2}".to_owned()), "\"a\\\"\\n\\u0001\u{1f6a2}\""),
            (RawBson::Boolean(true), "true"),
            (RawBson::Null, "null"),
            (RawBson::Undefined, r#"{"$undefined":true}"#),
            (RawBson::MinKey, r#"{"$minKey":1}"#),
            (RawBson::MaxKey, r#"{"$maxKey":1}"#),
            (RawBson::ObjectId(id), r#"{"$oid":"070707070707070707070707"}"#),
            (RawBson::DateTime(DateTime::from_millis(-1)), r#"{"$date":{"$numberLong":"-1"}}"#),
            (RawBson::Timestamp(Timestamp { time: 1, increment: 2 }), r#"{"$timestamp":{"i":2,"t":1}}"#),
            (RawBson::Binary(binary), r#"{"$binary":{"base64":"AP8=","subType":"04"}}"#),
            (RawBson::RegularExpression(regex), r#"{"$regularExpression":{"options":"i","pattern":"^a\""}}"#),
            (RawBson::JavaScriptCode("f".to_owned()), r#"{"$code":"f"}"#),
            (RawBson::JavaScriptCodeWithScope(scope), r#"{"$code":"x","$scope":{"a":{"$numberInt":"1"}}}"#),
            (RawBson::Symbol("s".to_owned()), r#"{"$symbol":"s"}"#),
            (RawBson::Decimal128("1E-3".parse::<Decimal128>().unwrap()), r#"{"$numberDecimal":"0.001"}"#),
        ] {
            let mut document = RawDocumentBuf::new();
            document.append(cstr!("v"), value);
            let text = text(&document);
            assert_eq!((text.json, text.lost), (format!("{{\"v\":{expected}}}"), None));
        }
    }

    #[test]
    fn order_and_twins_stay_and_what_is_lost_is_named() {
        let mut twins = rawdoc! {"z": 1, "a": [true, {"c": "d"}, []], "e": {}};
        twins.append(cstr!("z"), "again");
        let found = text(&twins);
        assert_eq!(found.json, r#"{"z":{"$numberInt":"1"},"a":[true,{"c":"d"},[]],"e":{},"z":"again"}"#);
        assert_eq!(found.lost, None);
        assert_eq!(text(&rawdoc! {"a": {"$date": 1}}).lost.unwrap(), "a member that is called $date");
        assert_eq!(text(&rawdoc! {"a": {"b": 1, "$date": 1}}).lost, None);
        assert_eq!(text(&rawdoc! {"a": {"$regex": "x", "$type": "y"}}).lost, None);
        let payload = Decimal128::from_bytes([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x7c]);
        assert!(text(&rawdoc! {"a": payload}).lost.unwrap().contains("decimal"));
        let own = f64::from_bits(f64::NAN.to_bits() | 1);
        assert!(text(&rawdoc! {"a": [own]}).lost.unwrap().contains("NaN"));
    }
}
