#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
use std::fs;
use std::io;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

use tempfile::TempDir;

use super::*;
use crate::{Column, Complete, Place, Source, Type, freeze};

type Cells = Vec<Vec<Option<String>>>;

fn column(name: &str, kind: Type) -> Column {
    Column { name: name.to_owned(), kind, required: false, pattern: None }
}

fn contract(columns: &[(&str, Type)]) -> Contract {
    Contract::new(&columns.iter().map(|(name, kind)| column(name, *kind)).collect::<Vec<_>>()).unwrap()
}

fn csv() -> Format {
    Format::Csv(Csv::commas())
}

fn in_encoding(label: &str) -> Format {
    Format::Csv(Csv { encoding: label.parse().unwrap(), ..Csv::commas() })
}

async fn drop_of(bytes: &[u8]) -> (TempDir, Frozen) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.csv"), bytes).unwrap();
    let frozen = frozen(dir.path()).await;
    (dir, frozen)
}

async fn frozen(path: &Path) -> Frozen {
    freeze(&Source::Directory(path.to_owned()), Complete::Asked).await.unwrap()
}

/// All rows with their places, and what was counted.
async fn all(rows: &mut Rows) -> Result<(Cells, Vec<Place>, Counts), Error> {
    let (mut batch, mut cells, mut places) = (Batch::default(), Vec::new(), Vec::new());
    let text = |cell: &[u8]| String::from_utf8(cell.to_vec()).unwrap();
    while rows.next(&mut batch).await? {
        assert!(!batch.is_empty());
        for row in batch.rows() {
            cells.push(row.cells().map(|cell| cell.map(text)).collect());
            places.push(row.place());
        }
    }
    assert!(batch.is_empty());
    assert!(!rows.next(&mut batch).await.unwrap());
    Ok((cells, places, rows.counts().unwrap()))
}

async fn read_with(
    bytes: &[u8],
    format: &Format,
    contract: &Contract,
    reading: Reading,
) -> Result<(Cells, Vec<Place>, Counts), Error> {
    let (_dir, frozen) = drop_of(bytes).await;
    let mut rows = open_rows_with(&frozen, &frozen.files()[0], format, contract, reading).await?;
    let found = all(&mut rows).await;
    // The end is said after the whole file was read, and at no other time.
    assert_eq!(found.is_ok(), frozen.id().is_some());
    assert_eq!(found.is_ok(), rows.counts().is_some());
    if found.is_err() {
        assert!(rows.next(&mut Batch::default()).await.is_err(), "after an error there is no good end");
    }
    found
}

async fn read(bytes: &[u8], format: &Format, contract: &Contract) -> Result<(Cells, Vec<Place>, Counts), Error> {
    read_with(bytes, format, contract, Reading::default()).await
}

async fn refused(bytes: &[u8], format: &Format, contract: &Contract, kind: Kind) -> Error {
    let error = read(bytes, format, contract).await.unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
    assert!(error.hint.is_some(), "{error}");
    error
}

fn cells(rows: &[&[Option<&str>]]) -> Cells {
    rows.iter().map(|row| row.iter().map(|cell| cell.map(str::to_owned)).collect()).collect()
}

#[tokio::test]
async fn rows_come_as_the_contract_wants_them() {
    let text = b"\xef\xbb\xbfb,a,\"c \"\"x\"\"\"\r\n1,,\"\"\r\n\"2\n2\",x,\"y\"\"\"\n3,4,5";
    let wanted = contract(&[("c \"x\"", Type::Text), ("a", Type::Text), ("b", Type::Text)]);
    let (rows, places, counts) = read(text, &csv(), &wanted).await.unwrap();
    assert_eq!(
        rows,
        cells(&[
            &[Some(""), None, Some("1")],
            &[Some("y\""), Some("x"), Some("2\n2")],
            &[Some("5"), Some("4"), Some("3")]
        ])
    );
    assert_eq!(places, [Place { line: 2, byte: 18 }, Place { line: 3, byte: 25 }, Place { line: 5, byte: 39 }]);
    assert!(
        places
            .iter()
            .zip([&b"1,,"[..], b"\"2\n", b"3,4"])
            .all(|(place, begin)| text[place.byte as usize..].starts_with(begin))
    );
    assert_eq!(counts, Counts { rows: 3, rejected: 0 });
    let (rows, _, _) = read(b"b,a\n1,2\n", &csv(), &Contract::any()).await.unwrap();
    assert_eq!(rows, cells(&[&[Some("1"), Some("2")]]));
    let (rows, _, _) =
        read(b"b\ta\n1,5\t2\n", &Format::Csv(Csv::tabs()), &contract(&[("b", Type::Text)]).ignore_extra())
            .await
            .unwrap();
    assert_eq!(rows, cells(&[&[Some("1,5")]]));
    let (rows, _, counts) = read(b"a\n", &csv(), &Contract::any()).await.unwrap();
    assert_eq!((rows.len(), counts), (0, Counts::default()));
}

#[tokio::test]
async fn null_is_what_is_declared_and_never_quoted() {
    let nulls = vec!["NA".to_owned(), "\\N".to_owned()];
    let format = Format::Csv(Csv { nulls, ..Csv::commas() });
    let (rows, _, _) = read(b"a,b,c,d\nNA,\"NA\",\\N,\n", &format, &Contract::any()).await.unwrap();
    assert_eq!(rows, cells(&[&[None, Some("NA"), None, Some("")]]));
}

#[tokio::test]
async fn all_that_is_wrong_with_a_header_is_told_at_once() {
    let wanted = contract(&[("a", Type::Text), ("b", Type::Text), ("d", Type::Text)]);
    let error = refused(b"A,b,b,,z\n", &csv(), &wanted, Kind::Data).await;
    let again = "the name of an earlier column again for column 3";
    for part in ["a.csv:1:", "no name for column 4", again, "missing \"a\", \"d\"", "not wanted \"A\", \"z\""] {
        assert!(error.what.contains(part), "{part}: {error}");
    }
    refused(b"", &csv(), &Contract::any(), Kind::Data).await;
    refused(b"\xef\xbb\xbf", &csv(), &Contract::any(), Kind::Data).await;
    refused(b"\n", &csv(), &Contract::any(), Kind::Data).await;
    refused(b"\"a\n", &csv(), &Contract::any(), Kind::Data).await;
    refused(&vec![b','; 20_000], &csv(), &Contract::any(), Kind::Data).await;
}

#[tokio::test]
async fn characters_are_read_as_declared_or_not_at_all() {
    let (rows, _, _) = read(b"na\xefve,b\n\xe9,x\n", &in_encoding("latin1"), &Contract::any()).await.unwrap();
    assert_eq!(rows, cells(&[&[Some("é"), Some("x")]]));
    let (rows, places, _) =
        read(b"a,b\n\x82\xa0,\"\"\"\x83\x5c\"\n1,2", &in_encoding("shift_jis"), &Contract::any()).await.unwrap();
    assert_eq!(rows, cells(&[&[Some("あ"), Some("\"ソ")], &[Some("1"), Some("2")]]));
    assert_eq!(places[1], Place { line: 3, byte: 14 });
    let error = refused(b"a,b\nx,\"y\n\xff\"\n", &csv(), &Contract::any(), Kind::Data).await;
    assert!(error.what.starts_with("a.csv:3: byte 9 is not UTF-8"), "{error}");
    let error = refused(b"a,b\nx,\"y\n\x81\"\n", &in_encoding("shift_jis"), &Contract::any(), Kind::Data).await;
    assert!(error.what.starts_with("a.csv:3: byte 9 is not Shift_JIS"), "{error}");
    let error = refused(b"a\nx\n\xc3", &Format::NdJson, &contract(&[("a", Type::Text)]), Kind::Data).await;
    assert!(error.what.starts_with("a.csv:"), "{error}");
    refused(b"\xff\xfea\0\n\0", &csv(), &Contract::any(), Kind::Data).await;
    refused(b"\xef\xbb\xbfa\nb\n", &in_encoding("latin1"), &Contract::any(), Kind::Data).await;
}

#[tokio::test]
async fn the_first_rows_that_cannot_be_taken_are_listed_and_what_they_say_is_not() {
    let mut wanted = [column("id", Type::Integer), column("code", Type::Text), column("day", Type::Date)];
    wanted[1].required = true;
    wanted[1].pattern = Some("[A-Z]{2}|\"".to_owned());
    let wanted = Contract::new(&wanted).unwrap();
    let text = "id,code,day\n1,AB,2024-02-29\nsecret,AB,\n2,,\n3,\"\"\"\",2023-02-29\n4,ABC,\n5,secret\n\n6,A\0,\n";
    let error = refused(text.as_bytes(), &csv(), &wanted, Kind::Data).await;
    let listed: Vec<_> = error.rejects.iter().map(ToString::to_string).collect();
    assert_eq!(
        listed,
        [
            "a.csv:3:1: id: not an integer of 64 bits",
            "a.csv:4:2: code: null, and a value is required",
            "a.csv:5:3: day: not a date as in 2024-02-29",
            "a.csv:6:2: code: does not match the pattern",
            "a.csv:7: it has 2 cells, and the header 3",
            "a.csv:8: it has 1 cells, and the header 3",
            "a.csv:9: it holds a NUL byte",
        ]
    );
    assert!(error.what.starts_with("a.csv has 7 rows"), "{error}");
    assert!(listed.iter().all(|line| error.what.contains(line)) && !format!("{error:?}").contains("secret"));
    let many = format!("id,code,day\n{}", "x,AB,\n".repeat(1_000_000));
    let error = refused(many.as_bytes(), &csv(), &wanted, Kind::Data).await;
    assert_eq!(error.rejects.len(), crate::LISTED_REJECTS);
    assert!(error.what.starts_with("a.csv has at least 20 rows"), "{error}");
}

#[tokio::test]
async fn no_row_is_handed_on_after_one_that_may_not_be_left_out() {
    let good = "1234567890\n".repeat(300_000);
    let (_dir, frozen) = drop_of(format!("a\n{good}x\n{good}").as_bytes()).await;
    let mut rows = open_rows(&frozen, &frozen.files()[0], &csv(), &contract(&[("a", Type::Integer)])).await.unwrap();
    let (mut batch, mut taken) = (Batch::default(), 0);
    let error = loop {
        match rows.next(&mut batch).await {
            Ok(more) => {
                assert!(more, "a file with a bad row does not end well");
                taken += batch.len();
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error.rejects[0].place.line, 300_002);
    assert!(taken <= 300_000, "{taken}");
    assert_eq!(frozen.id(), None);
}

/// What a sink was given: why, and the original bytes.
type Lines = Vec<(String, Vec<u8>)>;

/// Keeps what it is given, or fails.
#[derive(Clone, Default)]
struct Kept {
    all: Arc<Mutex<Lines>>,
    fails: bool,
}

impl Kept {
    fn keep_as(&self, why: String, original: &[u8]) -> io::Result<()> {
        self.all.lock().unwrap().push((why, original.to_vec()));
        if self.fails { Err(io::Error::other("full")) } else { Ok(()) }
    }
}

impl RejectSink for Kept {
    fn keep(&mut self, reject: &Reject, original: &[u8]) -> io::Result<()> {
        self.keep_as(reject.to_string(), original)
    }

    fn header(&mut self, original: &[u8]) -> io::Result<()> {
        self.all.lock().unwrap().push(("header".to_owned(), original.to_vec()));
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        self.all.lock().unwrap().push(("end".to_owned(), Vec::new()));
        Ok(())
    }
}

fn allowing(max_rejects: u64, kept: &Kept) -> Reading {
    Reading { max_rejects, rejects: Some(Box::new(kept.clone())), ..Reading::default() }
}

#[tokio::test]
async fn a_first_line_that_is_no_header_is_not_shown() {
    let wanted = contract(&[("id", Type::Text), ("name", Type::Text)]);
    let row = b"7,canary,canary\n8,b,c\n";
    for contract in [wanted.clone(), wanted.ignore_extra(), Contract::any()] {
        let error = refused(row, &csv(), &contract, Kind::Data).await;
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    let error = refused(row, &csv(), &contract(&[("id", Type::Text)]), Kind::Data).await;
    assert!(error.what.contains("none of \"id\"") && error.hint.unwrap().contains("begin with a header"));
}

#[tokio::test]
async fn rows_that_are_left_out_are_kept_byte_by_byte() {
    let text = b"a,b\n1,\xe9\nx,\"\xe9\n\"\"\"\r\n2,\n,,\n3,y";
    let wanted = contract(&[("a", Type::Integer), ("b", Type::Text)]);
    let kept = Kept::default();
    let (rows, _, counts) = read_with(text, &in_encoding("latin1"), &wanted, allowing(2, &kept)).await.unwrap();
    assert_eq!(rows, cells(&[&[Some("1"), Some("é")], &[Some("2"), None], &[Some("3"), Some("y")]]));
    assert_eq!(counts, Counts { rows: 3, rejected: 2 });
    let found = kept.all.lock().unwrap().clone();
    let originals: Vec<_> = found.iter().map(|(_, original)| original.as_slice()).collect();
    assert_eq!(originals, [&b"a,b\n"[..], b"x,\"\xe9\n\"\"\"\r\n", b",,\n", b""]);
    assert_eq!(found[1].0, "a.csv:3:1: a: not an integer of 64 bits");
    assert_eq!(found[2].0, "a.csv:6: it has 3 cells, and the header 2");
    let too_many = read_with(text, &in_encoding("latin1"), &wanted, allowing(1, &Kept::default())).await.unwrap_err();
    assert_eq!(too_many.rejects.len(), 2);
    let full = Kept { fails: true, ..Kept::default() };
    assert_eq!(
        read_with(text, &in_encoding("latin1"), &wanted, allowing(2, &full)).await.unwrap_err().kind,
        Kind::Unavailable
    );
    let nobody = Reading { max_rejects: 1, ..Reading::default() };
    assert_eq!(read_with(text, &csv(), &wanted, nobody).await.unwrap_err().kind, Kind::Config);
}

#[tokio::test]
async fn a_quote_in_the_wrong_place_is_never_left_out_alone() {
    let wanted = contract(&[("a", Type::Text), ("b", Type::Text)]);
    for text in [&b"a,b\n1,5\" pipe\n2,x\n"[..], b"a,b\n1,\"x\"y\n", b"a,b\n1,x\r2,y\r", b"a,b\n1,\"open\n2,x\n"] {
        let kept = Kept::default();
        let error = read_with(text, &csv(), &wanted, allowing(100, &kept)).await.unwrap_err();
        assert_eq!(error.kind, Kind::Data, "{error}");
        assert!(error.what.starts_with("a.csv:2:2: "), "{error}");
    }
}

#[tokio::test]
async fn a_line_without_an_end_fails_in_bounded_memory() {
    let limits = Limits { row_bytes: 4 << 20, ..Limits::default() };
    let reading = || Reading { limits, ..Reading::default() };
    let long = vec![b'x'; 20 << 20];
    for text in [
        [b"a\n", &long[..]].concat(),
        [b"a\n\"", &long[..]].concat(),
        long.clone(),
        [b"a\n", &vec![b','; 20 << 20][..]].concat(),
        [b"a\n", &long[..=4 << 20], b"\n1\n"].concat(),
    ] {
        let error = read_with(&text, &csv(), &Contract::any(), reading()).await.unwrap_err();
        assert_eq!(error.kind, Kind::Data);
        assert!(error.what.contains("a row is longer than 4194304 bytes"), "{error}");
    }
    let fits = [b"a\n", &long[..3 << 20], b"\ny\n"].concat();
    let (rows, places, _) = read_with(&fits, &csv(), &Contract::any(), reading()).await.unwrap();
    assert_eq!(rows[0][0].as_ref().map(String::len), Some(3 << 20));
    assert_eq!(places[1], Place { line: 3, byte: (3 << 20) + 3 });
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_read_does_not_end_well() {
    let row = "1234567890\n";
    type Change = fn(&Path);
    let changes: [Change; 3] = [
        |path| fs::File::options().append(true).open(path).unwrap().write_all(b"1\n").unwrap(),
        |path| fs::File::options().write(true).open(path).unwrap().set_len(8 << 20).unwrap(),
        |path| fs::File::options().write(true).open(path).unwrap().write_all(b"a\n4").unwrap(),
    ];
    for (at, change) in changes.iter().enumerate() {
        let (dir, frozen) = drop_of(format!("a\n{}", row.repeat(2 << 20)).as_bytes()).await;
        let mut rows = open_rows(&frozen, &frozen.files()[0], &csv(), &Contract::any()).await.unwrap();
        let mut batch = Batch::default();
        assert!(rows.next(&mut batch).await.unwrap());
        change(&dir.path().join("a.csv"));
        let error = loop {
            match rows.next(&mut batch).await {
                Ok(more) => assert!(more, "{at}: it ended well"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind, Kind::Changed, "{at}: {error}");
        assert_eq!((rows.counts(), frozen.id()), (None, None));
    }
}

#[tokio::test]
async fn what_the_manifest_promises_is_compared_at_the_end() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.csv"), "a\n1\n2\n").unwrap();
    let read_as = async |manifest: &str| {
        fs::write(dir.path().join("drop.yaml"), manifest).unwrap();
        let frozen = frozen(dir.path()).await;
        let mut rows = open_rows(&frozen, &frozen.files()[0], &csv(), &Contract::any()).await.unwrap();
        all(&mut rows).await.map(|_| frozen.id().unwrap())
    };
    let good = read_as("files: [{path: a.csv, rows: 2, bytes: 6}]").await.unwrap();
    assert_eq!(good, frozen(dir.path()).await.hash().await.unwrap());
    let error = read_as("files: [{path: a.csv, rows: 3}]").await.unwrap_err();
    assert!(error.kind == Kind::Data && error.what.contains("has 2 rows, and the manifest says 3"), "{error}");
    let wrong = "0".repeat(64);
    assert_eq!(read_as(&format!("files: [{{path: a.csv, sha256: {wrong}}}]")).await.unwrap_err().kind, Kind::Data);
}

#[tokio::test]
async fn a_reader_that_nobody_listens_to_ends() {
    let (_dir, frozen) = drop_of(format!("a\n{}", "1234567890\n".repeat(1 << 20)).as_bytes()).await;
    let kept = Kept::default();
    let watch = Arc::downgrade(&kept.all);
    let reading = allowing(1, &kept);
    drop(kept);
    let rows = open_rows_with(&frozen, &frozen.files()[0], &csv(), &Contract::any(), reading).await.unwrap();
    assert!(watch.upgrade().is_some());
    drop(rows);
    // The thread lets go of its sink when it ends.
    tokio::time::timeout(std::time::Duration::from_secs(60), async {
        while watch.upgrade().is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn json_needs_columns_and_gives_them() {
    let wanted = contract(&[("id", Type::Integer), ("more", Type::Json)]);
    let text = b"\xef\xbb\xbf{\"id\":1,\"more\":{\"x\":[]}}\n\n{\"more\":null}\n{\"id\":\"x\"}\n{\"other\":1}\n";
    let kept = Kept::default();
    let (rows, places, counts) = read_with(text, &Format::NdJson, &wanted, allowing(2, &kept)).await.unwrap();
    assert_eq!(rows, cells(&[&[Some("1"), Some("{\"x\":[]}")], &[None, None]]));
    assert_eq!(places[1].line, 3);
    assert_eq!(counts, Counts { rows: 2, rejected: 2 });
    assert_eq!(
        kept.all.lock().unwrap()[1],
        ("a.csv:5: the key \"other\" is not wanted".to_owned(), b"{\"other\":1}\n".to_vec())
    );
    refused(text, &Format::NdJson, &Contract::any(), Kind::Config).await;
    refused(b"{\"id\":1}\n{\"id\":2", &Format::NdJson, &wanted, Kind::Data).await;
}

/// Two readers of one drop at once, and a file of many batches: all rows, once, in order, by what another parser reads.
#[tokio::test]
async fn many_batches_are_all_rows_in_order() {
    let mut text = "n,word,more\n".to_owned();
    (0..200_000u32)
        .for_each(|n| text.push_str(&format!("{n},\"w \"\"{}\n\",{}\r\n", n % 7, "x".repeat(n as usize % 30))));
    let (_dir, frozen) = drop_of(text.as_bytes()).await;
    let file = &frozen.files()[0];
    let (mut one, mut other) = (
        open_rows(&frozen, file, &csv(), &Contract::any()).await.unwrap(),
        open_rows(&frozen, file, &csv(), &Contract::any()).await.unwrap(),
    );
    let (one, other) = (all(&mut one).await.unwrap(), all(&mut other).await.unwrap());
    assert!(one == other);
    assert_eq!(one.2.rows, 200_000);
    let mut oracle = ::csv::Reader::from_reader(text.as_bytes());
    for ((row, place), expected) in one.0.iter().zip(&one.1).zip(oracle.records()) {
        let expected = expected.unwrap();
        assert!(row.iter().map(|cell| cell.as_deref().unwrap_or("")).eq(expected.iter()), "{place:?}");
        // The other parser takes the second byte of a line's end with the next row.
        let byte = expected.position().unwrap().byte();
        assert_eq!(place.byte, byte + u64::from(text.as_bytes()[byte as usize] == b'\n'));
    }
}
