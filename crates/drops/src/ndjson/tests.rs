#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
use proptest::prelude::*;

use super::*;
use crate::{Column, Type};

fn contract() -> Contract {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind, required: false, pattern: None };
    Contract::new(&[column("a", Type::Text), column("b", Type::Number), column("j", Type::Json)]).unwrap()
}

/// The cells of a line, or its fault.
fn read(contract: &Contract, line: &str) -> Result<Vec<Option<String>>, String> {
    let mut batch = Batch::default();
    let mut reader = Reader::new(contract).unwrap();
    let step =
        reader.row(line.as_bytes(), true, Place { line: 7, byte: 0 }, &mut batch).map_err(|error| error.to_string())?;
    match step {
        Step::Row { fault: None, bytes, .. } => {
            assert_eq!(bytes, line.len());
            let cells = batch
                .rows()
                .next()
                .unwrap()
                .cells()
                .map(|cell| cell.map(|text| String::from_utf8(text.to_vec()).unwrap()));
            Ok(cells.collect())
        }
        Step::Row { fault: Some(fault), .. } => {
            assert!(batch.is_empty() && batch.bytes() == 0);
            Err(format!("{}: {}", fault.name.as_deref().unwrap_or("-"), fault.why))
        }
        Step::More | Step::Skip { .. } => Err("nothing".to_owned()),
    }
}

fn some(texts: [Option<&str>; 3]) -> Result<Vec<Option<String>>, String> {
    Ok(texts.iter().map(|text| text.map(str::to_owned)).collect())
}

#[test]
fn values_are_text_as_they_are_written() {
    let read = |line| read(&contract(), line);
    assert_eq!(read(r#"{"a":"x","b":1,"j":[1]}"#), some([Some("x"), Some("1"), Some("[1]")]));
    assert_eq!(
        read("{\"j\" : {\"k\": 1.0} , \"a\":\"\\u00fc\\n\\\"\" }\r\n"),
        some([Some("ü\n\""), None, Some("{\"k\": 1.0}")])
    );
    assert_eq!(
        read(r#"{"b":123456789012345678901234567890.12345678901234567890e-2}"#),
        some([None, Some("123456789012345678901234567890.12345678901234567890e-2"), None])
    );
    assert_eq!(read(r#"{"a":null,"b":null,"j":null}"#), some([None, None, None]));
    assert_eq!(read(r#"{"a":"null","j":"text"}"#), some([Some("null"), None, Some("\"text\"")]));
    assert_eq!(read(r#"{"a":true,"j":false}"#), some([Some("true"), None, Some("false")]));
    assert_eq!(read(r#"{"a":{"x":[1, 2]}}"#), some([Some("{\"x\":[1, 2]}"), None, None]));
    assert_eq!(read("{}"), some([None, None, None]));
    assert_eq!(read(r#"{"\u0061":"key"}"#), some([Some("key"), None, None]));
}

#[test]
fn what_does_not_fit_is_told_without_what_it_says() {
    let read = |line| read(&contract(), line).unwrap_err();
    assert_eq!(read(r#"{"a":"x","z":1}"#), "-: the key \"z\" is not wanted");
    assert_eq!(read(r#"{"a":"x","a":"y"}"#), "a: the key is there twice");
    assert_eq!(read(r#"{"b":"secret"}"#), "b: not a number");
    assert_eq!(read(r#"{"a":"\u0000"}"#), "a: it holds a NUL byte");
    assert_eq!(read(r#"{"a":"\ud800"}"#), "a: not text: half of a character is missing");
    for line in ["[1]\n", "1\n", "\"secret\"\n", "null\n", "[]\n"] {
        assert_eq!(read(line), "-: not a JSON object", "{line}");
    }
    for line in [
        "{\"a\":1} x\n",
        "{'a':1}\n",
        "{\"a\" 1}\n",
        "{\"a\":01}\n",
        "{\"a\":NaN}\n",
        "{\"a\":1,}\n",
        "{\"a\":1}{\"a\":2}\n",
        "{\"a\":\n",
    ] {
        assert!(read(line).starts_with("-: not JSON"), "{line}");
    }
    assert_eq!(
        super::tests::read(&contract().ignore_extra(), r#"{"a":"x","z":{"a":1}}"#),
        some([Some("x"), None, None])
    );
}

#[test]
fn a_last_line_that_ends_in_the_middle_is_the_end_of_the_file() {
    let whole = r#"{"a":"x","b":1.5,"j":[{"k":null}]}"#;
    for cut in 1..whole.len() {
        let error = read(&contract(), &whole[..cut]).unwrap_err();
        assert!(error.contains("7: the file ends in the middle"), "{cut}: {error}");
    }
    assert!(read(&contract(), whole).is_ok());
    assert_eq!(read(&contract(), " \t\r\n"), Err("nothing".to_owned()));
}

proptest! {
    /// Any object that serde_json writes comes back, by its own parser's word.
    #[test]
    fn objects_come_back(a in proptest::option::of("[^\0]{0,12}"), b in any::<Option<i64>>(), j in "\\PC{0,8}") {
        let line = serde_json::json!({"a": a, "b": b, "j": {"k": [j, 1.5]}}).to_string();
        let cells = read(&contract(), &line).unwrap();
        prop_assert_eq!(&cells[0], &a);
        prop_assert_eq!(&cells[1], &b.map(|number| number.to_string()));
        let back: serde_json::Value = serde_json::from_str(cells[2].as_ref().unwrap()).unwrap();
        prop_assert_eq!(back, serde_json::json!({"k": [j, 1.5]}));
    }

    #[test]
    fn no_text_panics(text in "[]{}\":,\\\\u0dab1 n]{0,30}|\\PC{0,20}") {
        drop(read(&contract(), &text));
    }
}
