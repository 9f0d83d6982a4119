#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
//! Archives made by hand from the format's description, whole and not.

use super::*;
use crate::dump::documents::TERMINATOR;
use flate2::Compression;
use flate2::write::GzEncoder;
use mongodb::bson::{RawDocumentBuf, rawdoc};

/// CRC-64 bit by bit, as the description has it.
fn sum(bytes: &[u8]) -> u64 {
    !bytes.iter().fold(!0_u64, |sum, byte| {
        (0..8).fold(
            sum ^ u64::from(*byte),
            |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xc96c_5795_d787_0f42 } else { sum >> 1 },
        )
    })
}

fn entry(database: &str, name: &str, kind: &str, definition: &str) -> RawDocumentBuf {
    rawdoc! {"db": database, "collection": name, "metadata": definition, "size": 0, "type": kind}
}

fn list(database: &str, name: &str, documents: &[RawDocumentBuf]) -> Vec<u8> {
    let mut bytes = rawdoc! {"db": database, "collection": name, "EOF": false, "CRC": 0_i64}.into_bytes();
    documents.iter().for_each(|document| bytes.extend_from_slice(document.as_bytes()));
    bytes.extend_from_slice(&TERMINATOR);
    bytes
}

fn end(database: &str, name: &str, documents: &[RawDocumentBuf]) -> Vec<u8> {
    let all: Vec<u8> = documents.iter().flat_map(|document| document.as_bytes().to_vec()).collect();
    let mut bytes =
        rawdoc! {"db": database, "collection": name, "EOF": true, "CRC": sum(&all).cast_signed()}.into_bytes();
    bytes.extend_from_slice(&TERMINATOR);
    bytes
}

fn beginning(entries: &[RawDocumentBuf]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(
        rawdoc! {"concurrent_collections": 4, "version": "0.1", "server_version": "6.0.5", "tool_version": "100.9.4"}
            .into_bytes(),
    );
    entries.iter().for_each(|entry| bytes.extend_from_slice(entry.as_bytes()));
    bytes.extend_from_slice(&TERMINATOR);
    bytes
}

const PLAIN: &str = r#"{"indexes":[]}"#;
const VIEW: &str = r#"{"options":{"viewOn":"a","pipeline":[]},"indexes":[]}"#;
const SERIES: &str = r#"{"options":{"timeseries":{"timeField":"at"}},"indexes":[],"type":"timeseries"}"#;

fn numbered(numbers: std::ops::Range<i32>) -> Vec<RawDocumentBuf> {
    numbers.map(|number| rawdoc! {"_id": number}).collect()
}

/// Two databases, collections in turns, one of every sort.
fn whole() -> Vec<u8> {
    let entries = [
        entry("shop", "a", "collection", PLAIN),
        entry("shop", "t", "timeseries", SERIES),
        entry("shop", "v", "view", VIEW),
        entry("shop", "none", "collection", PLAIN),
        entry("shop", "$admin.system.users", "", ""),
        entry("other", "b", "collection", PLAIN),
        entry("admin", "system.version", "", PLAIN),
    ];
    [
        beginning(&entries),
        list("shop", "a", &numbered(0..3)),
        list("other", "b", &numbered(0..1)),
        list("shop", "system.buckets.t", &numbered(0..2)),
        list("shop", "a", &numbered(3..4)),
        end("shop", "a", &numbered(0..4)),
        list("shop", "v", &[]),
        end("shop", "v", &[]),
        end("other", "b", &numbered(0..1)),
        end("shop", "none", &[]),
        list("shop", "$admin.system.users", &numbered(0..1)),
        end("shop", "$admin.system.users", &numbered(0..1)),
        end("shop", "system.buckets.t", &numbered(0..2)),
    ]
    .concat()
}

fn scanned(bytes: &[u8], named: Option<&str>) -> Result<(Contents, Vec<RawDocumentBuf>), Error> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.archive");
    std::fs::write(&path, bytes).unwrap();
    let archive = Archive::open(&path)?;
    let mut contents = archive.look(named)?;
    archive.scan(&mut contents, &Stop::default())?;
    let mut found = Vec::new();
    for part in contents.data.get("a").into_iter().flat_map(|data| &data.parts) {
        let bytes = contents.data["a"].place.bytes(false, Some(part.spans.clone())).unwrap();
        let mut documents = Documents::new(bytes, &path, 0);
        while let Some(document) = documents.document().unwrap() {
            found.push(RawDocumentBuf::from_bytes(document.to_vec()).unwrap());
        }
    }
    Ok((contents, found))
}

#[test]
fn the_sum_is_that_of_the_format() {
    // The catalogue of such sums has this one under CRC-64/XZ.
    assert_eq!(sum(b"123456789"), 0x995d_c9bb_df19_39fa);
    let mut digest = Digest::new(CrcAlgorithm::Crc64Xz);
    digest.update(b"1234");
    digest.update(b"56789");
    assert_eq!(digest.finalize(), sum(b"123456789"));
    assert_eq!(Digest::new(CrcAlgorithm::Crc64Xz).finalize(), 0);
}

#[test]
fn collections_in_turns_are_found_plain_and_packed() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&whole()).unwrap();
    for bytes in [whole(), encoder.finish().unwrap()] {
        let (contents, documents) = scanned(&bytes, Some("shop")).unwrap();
        assert_eq!(
            (contents.database.as_str(), contents.server_version.as_str(), contents.has_oplog),
            ("shop", "6.0.5", false)
        );
        assert_eq!(documents, numbered(0..4));
        let names: Vec<&str> = contents.collections.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["a", "none", "t", "v"]);
        assert_eq!(contents.data.keys().map(String::as_str).collect::<Vec<_>>(), ["a", "none", "system.buckets.t"]);
        assert_eq!((contents.data["none"].bytes, contents.data["none"].parts.len()), (0, 1));
        assert_eq!(contents.notes.len(), 1, "{:?}", contents.notes);
    }
    assert_eq!(scanned(&whole(), None).unwrap_err().kind, Kind::Config);
    assert_eq!(scanned(&whole(), Some("admin")).unwrap_err().kind, Kind::NotFound);
}

#[test]
fn an_archive_that_ends_anywhere_else_is_an_error() {
    let bytes = whole();
    for length in 0..bytes.len() {
        let error = scanned(&bytes[..length], Some("shop")).expect_err(&length.to_string());
        assert_eq!(error.kind, Kind::Data, "{length} bytes: {error}");
    }
}

#[test]
fn a_bit_that_is_another_one_in_a_document_is_an_error() {
    let bytes = whole();
    let is_one = |window: &[u8]| numbered(0..4).iter().any(|one| one.as_bytes() == window);
    // The number in it stands behind a length, a kind and a name.
    let documents: Vec<usize> =
        bytes.windows(14).enumerate().filter(|(_, window)| is_one(window)).map(|(at, _)| at + 9).collect();
    assert!(documents.len() >= 7, "{documents:?}");
    for at in documents {
        let mut damaged = bytes.clone();
        damaged[at] ^= 4;
        assert_eq!(scanned(&damaged, Some("shop")).expect_err(&at.to_string()).kind, Kind::Data, "byte {at}");
    }
}

#[test]
fn lists_that_make_no_sense_are_refused() {
    let a = || beginning(&[entry("shop", "a", "collection", PLAIN)]);
    let (some, ends) = (list("shop", "a", &numbered(0..1)), end("shop", "a", &numbered(0..1)));
    for (bytes, kind, said) in [
        (b"PK\x03\x04 and so on".to_vec(), Kind::Data, "no archive"),
        ([a(), some.clone(), ends.clone(), some.clone()].concat(), Kind::Data, "follow its end"),
        ([a(), some.clone(), ends.clone(), ends.clone()].concat(), Kind::Data, "ends twice"),
        ([a(), some.clone(), ends.clone(), TERMINATOR.to_vec()].concat(), Kind::Data, "no name"),
        (
            [a(), some.clone(), ends.clone(), list("shop", "b", &[]), end("shop", "b", &[])].concat(),
            Kind::Data,
            "no definition of it",
        ),
        ([a(), list("shop", "a", &numbered(0..2)), ends.clone()].concat(), Kind::Data, "sum"),
        ([beginning(&[]), some.clone(), ends.clone()].concat(), Kind::NotFound, "no database"),
        (
            [beginning(&[entry("shop", "a", "collection", "")]), some.clone(), ends.clone()].concat(),
            Kind::Data,
            "definition of a",
        ),
        (
            [MAGIC.to_vec(), rawdoc! {"version": "0.2"}.into_bytes(), TERMINATOR.to_vec()].concat(),
            Kind::Unsupported,
            "0.2",
        ),
    ] {
        let error = scanned(&bytes, None).expect_err(said);
        assert!(error.kind == kind && error.to_string().contains(said), "{said}: {error}");
    }
    let oplog = [a(), some, ends, list("", "oplog", &numbered(0..1)), end("", "oplog", &numbered(0..1))].concat();
    assert!(scanned(&oplog, None).unwrap().0.has_oplog);
    let said = beginning(&[entry("shop", "a", "collection", PLAIN), entry("", "oplog", "", "")]);
    let said = [said, list("shop", "a", &[]), end("shop", "a", &[])].concat();
    assert!(scanned(&said, None).unwrap().0.has_oplog);
}
