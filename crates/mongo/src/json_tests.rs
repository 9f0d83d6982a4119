#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
//! What is written is read back to the same bytes; what older tools wrote is what they meant; what is neither is an error.

use super::*;
use crate::extjson::Text;
use mongodb::bson::raw::{RawBsonRef, cstr};
use mongodb::bson::{RawDocument, rawdoc};
use proptest::prelude::*;

fn written(document: &RawDocument) -> Text {
    let mut text = Text::default();
    text.document(document).unwrap();
    text
}

fn read(text: &str) -> Result<RawDocumentBuf, Error> {
    let json = Json::parse(text.as_bytes())?;
    json.document(json.is_legacy())
}

/// Asserts that a document comes back by way of its text; true when its text holds all of it.
fn comes_back(document: &RawDocument) -> bool {
    let text = written(document);
    if text.lost.is_some() {
        return false;
    }
    let back = match read(&text.json) {
        // Deeper than the parser goes, and than a definition ever is.
        Err(error) if error.what.contains("recursion limit") => return false,
        back => back.map_err(|error| format!("{error}: {:.400}", text.json)).unwrap(),
    };
    assert!(back.as_bytes() == document.as_bytes(), "{:.400}", text.json);
    true
}

fn inner_documents(document: &RawDocument, found: &mut Vec<RawDocumentBuf>) {
    for (_, value) in document.iter().flatten() {
        match value {
            RawBsonRef::Document(inner) => {
                found.push(inner.to_owned());
                inner_documents(inner, found);
            }
            RawBsonRef::Array(array) => {
                for value in array.into_iter().flatten() {
                    if let RawBsonRef::Document(inner) = value {
                        found.push(inner.to_owned());
                        inner_documents(inner, found);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Every command that makes the odd database, and every document in it.
#[test]
fn the_odd_database_comes_back() {
    let (mut back, mut all) = (0, 0);
    for piece in testkit::mongo::fixture() {
        for command in piece.commands.iter().filter(|command| command.as_bytes().len() < 1 << 20) {
            let mut documents = vec![command.clone()];
            inner_documents(command, &mut documents);
            for document in documents.iter().filter(|document| is_utf8(document)) {
                all += 1;
                back += usize::from(comes_back(document));
            }
        }
    }
    assert!(all > 100 && back * 10 > all * 8, "{back} of {all}");
}

/// Text that is no text is in documents of the odd database, and in no definition that a server takes.
fn is_utf8(document: &RawDocument) -> bool {
    document.iter().all(|member| match member {
        Ok((_, RawBsonRef::Document(inner))) => is_utf8(inner),
        Ok((_, RawBsonRef::Array(inner))) => RawDocument::from_bytes(inner.as_bytes()).is_ok_and(is_utf8),
        Ok((_, RawBsonRef::JavaScriptCodeWithScope(code))) => is_utf8(code.scope),
        Ok(_) => true,
        Err(_) => false,
    })
}

#[test]
fn older_spellings_are_what_they_meant() {
    let regex = Regex { pattern: cstr!("^a").into(), options: cstr!("i").into() };
    let bytes = Binary { subtype: BinarySubtype::Generic, bytes: vec![0, 255] };
    for (text, expected) in [
        (r#"{"v":1}"#, rawdoc! {"v": 1}),
        (r#"{"v":-1.0}"#, rawdoc! {"v": -1.0}),
        (r#"{"v":1e3}"#, rawdoc! {"v": 1000.0}),
        (r#"{"v":0.1}"#, rawdoc! {"v": 0.1}),
        (r#"{"v":2147483648}"#, rawdoc! {"v": 2_147_483_648_i64}),
        (r#"{"v":{"$numberLong":"5"}}"#, rawdoc! {"v": 5_i64}),
        (r#"{"v":{"$numberLong":5}}"#, rawdoc! {"v": 5_i64}),
        (
            r#"{"v":{"$date":"1970-01-01T00:00:01.500Z"}}"#,
            rawdoc! {"v": RawBson::DateTime(DateTime::from_millis(1500))},
        ),
        (
            r#"{"v":{"$date":"1970-01-01T01:00:01.500+0100"}}"#,
            rawdoc! {"v": RawBson::DateTime(DateTime::from_millis(1500))},
        ),
        (r#"{"v":{"$date":-2}}"#, rawdoc! {"v": RawBson::DateTime(DateTime::from_millis(-2))}),
        (r#"{"v":{"$date":{"$numberLong":"-2"}}}"#, rawdoc! {"v": RawBson::DateTime(DateTime::from_millis(-2))}),
        (r#"{"v":{"$binary":"AP8=","$type":"00"}}"#, rawdoc! {"v": RawBson::Binary(bytes)}),
        (r#"{"n":1,"v":{"$regex":"^a","$options":"i"}}"#, rawdoc! {"n": 1, "v": RawBson::RegularExpression(regex)}),
        // Without a plain number it is as canonical as it can be, and an operator.
        (r#"{"v":{"$regex":"^a","$options":"i"}}"#, rawdoc! {"v": {"$regex": "^a", "$options": "i"}}),
        (r#"{"v":{"$undefined":true}}"#, rawdoc! {"v": RawBson::Undefined}),
        (
            r#"{"v":{"$timestamp":{"t":1,"i":2}}}"#,
            rawdoc! {"v": RawBson::Timestamp(Timestamp { time: 1, increment: 2 })},
        ),
        (r#"{"v":{"$ref":"a","$id":1}}"#, rawdoc! {"v": {"$ref": "a", "$id": 1}}),
        (r#"{"v":{"$type":"string"}}"#, rawdoc! {"v": {"$type": "string"}}),
    ] {
        assert_eq!(read(text).expect(text), expected, "{text}");
    }
}

#[test]
fn nothing_is_guessed() {
    for text in [
        "",
        "{",
        r#"{"a":1}x"#,
        r#"["a"]"#,
        r#"{"a":NaN}"#,
        r#"{"a":{"$numberInt":"2147483648"}}"#,
        r#"{"a":{"$numberInt":1}}"#,
        r#"{"a":{"$numberInt":"1","b":1}}"#,
        r#"{"a":{"$numberDouble":"inf"}}"#,
        r#"{"a":{"$oid":"00"}}"#,
        r#"{"a":{"$date":"yesterday"}}"#,
        r#"{"a":{"$timestamp":{"t":-1,"i":2}}}"#,
        r#"{"a":{"$binary":{"base64":"?","subType":"00"}}}"#,
        r#"{"a":{"$scope":{}}}"#,
        r#"{"a":{"$code":"x","b":1}}"#,
        r#"{"a\u0000b":1}"#,
    ] {
        assert_eq!(read(text).expect_err(text).kind, Kind::Data, "{text}");
    }
}

fn any_value() -> impl Strategy<Value = RawBson> {
    let plain = prop_oneof![
        any::<i32>().prop_map(RawBson::Int32),
        any::<i64>().prop_map(RawBson::Int64),
        any::<f64>().prop_filter("one NaN is enough", |number| !number.is_nan()).prop_map(RawBson::Double),
        Just(RawBson::Double(f64::NAN)),
        any::<bool>().prop_map(RawBson::Boolean),
        any::<String>().prop_map(RawBson::String),
        any::<i64>().prop_map(|millis| RawBson::DateTime(DateTime::from_millis(millis))),
        any::<[u8; 12]>().prop_map(|bytes| RawBson::ObjectId(ObjectId::from_bytes(bytes))),
        (any::<u32>(), any::<u32>()).prop_map(|(time, increment)| RawBson::Timestamp(Timestamp { time, increment })),
        (any::<u8>(), any::<Vec<u8>>())
            .prop_map(|(kind, bytes)| RawBson::Binary(Binary { subtype: BinarySubtype::from(kind), bytes })),
        Just(RawBson::Null),
        Just(RawBson::MinKey),
    ];
    plain.prop_recursive(4, 32, 6, |inner| {
        let name = prop_oneof!["[a-c$.]{0,3}", "\\PC{0,4}"];
        prop_oneof![
            prop::collection::vec((name, inner.clone()), 0..6).prop_map(|members| {
                let mut document = RawDocumentBuf::new();
                members.iter().for_each(|(name, value)| document.append(cstring(name).unwrap(), value.clone()));
                RawBson::Document(document)
            }),
            prop::collection::vec(inner, 0..6).prop_map(|items| {
                let mut array = RawArrayBuf::new();
                items.into_iter().for_each(|item| array.push(item));
                RawBson::Array(array)
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_document_comes_back(values in prop::collection::vec(any_value(), 0..4)) {
        let mut document = RawDocumentBuf::new();
        values.into_iter().for_each(|value| document.append(cstr!("v"), value));
        prop_assert!(comes_back(&document));
    }

    #[test]
    fn no_text_panics(text in "[\\[\\]{}:,\"$a-z0-9.]{0,60}") {
        drop(read(&text));
    }

    /// Numbers are exact, also where they are written plainly.
    #[test]
    fn plain_numbers_are_exact(number in any::<f64>().prop_filter("a number", |number| number.is_finite())) {
        let back = read(&format!("{{\"v\":{number:?}}}")).unwrap();
        prop_assert_eq!(back.get_f64("v").unwrap().to_bits(), number.to_bits());
    }
}
