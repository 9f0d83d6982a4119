#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
//! A dump is a source like any other: everything in it is read once, and one that changes makes no backup.

use super::*;
use crate::raw::Kept;
use engine::{Digest, Filter, RowSink, SinkError, row_hash};
use mongodb::bson::{RawDocumentBuf, rawdoc};
use std::path::Path;

/// Counts and sums what it is given.
#[derive(Default)]
struct Sum(Digest);

#[async_trait]
impl RowSink for Sum {
    fn push(&mut self, row: &[u8]) -> bool {
        self.0.add(row_hash(row));
        true
    }

    async fn drain(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

fn options() -> SourceOptions {
    SourceOptions {
        workers: 2,
        lock_timeout_seconds: 1,
        cross_count: true,
        boundaries: BTreeMap::new(),
        tools: None,
        globals: GlobalsWanted::No,
        filter: Filter::default(),
        allow_inexact: true,
    }
}

const PLAIN: &str = r#"{"indexes":[{"v":{"$numberInt":"2"},"key":{"_id":{"$numberInt":"1"}},"name":"_id_"}]}"#;

fn documents(count: i32) -> Vec<RawDocumentBuf> {
    (0..count).map(|number| rawdoc! {"_id": number, "body": format!("{number:x>900}")}).collect()
}

/// A dump of a database with these documents in `a`, and none in `b`.
fn dump(folder: &Path, documents: &[RawDocumentBuf]) -> Dump {
    let shop = folder.join("shop");
    std::fs::create_dir_all(&shop).unwrap();
    let bytes: Vec<u8> = documents.iter().flat_map(|document| document.as_bytes().to_vec()).collect();
    std::fs::write(shop.join("a.bson"), bytes).unwrap();
    std::fs::write(shop.join("b.bson"), "").unwrap();
    ["a", "b"].iter().for_each(|name| std::fs::write(shop.join(format!("{name}.metadata.json")), PLAIN).unwrap());
    Dump::parse(&format!("mongodump://{}", shop.display())).unwrap()
}

/// Reads everything, as a backup does.
async fn read(source: &DumpSource) -> Result<BTreeMap<String, Digest>, Error> {
    let mut reader = source.reader().await?;
    let mut sums: BTreeMap<String, Digest> = BTreeMap::new();
    for segment in &source.plan().segments {
        let mut sum = Sum::default();
        reader.read(segment, &mut sum).await?;
        let all = sums.entry(segment.stream.to_string()).or_default();
        (all.rows, all.sum) = (all.rows + sum.0.rows, all.sum.wrapping_add(sum.0.sum));
    }
    Ok(sums)
}

fn rows(sums: &BTreeMap<String, Digest>) -> BTreeMap<String, u64> {
    sums.iter().map(|(name, sum)| (name.clone(), sum.rows)).collect()
}

#[tokio::test]
async fn everything_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let all = documents(60_000);
    let source = DumpSource::open(dump(folder.path(), &all), &options()).await.unwrap();
    let parts = source.plan().segments.iter().filter(|segment| segment.stream.as_str() == "a").count();
    assert!((2..=7).contains(&parts), "{parts} parts");
    assert_eq!(source.about().inexact.as_deref(), Some(PER_COLLECTION));
    assert_eq!((source.about().database.as_str(), source.about().version.as_str()), ("shop", "unknown"));
    let sums = read(&source).await.unwrap();
    let mut expected = Digest::default();
    all.iter().for_each(|document| expected.add(row_hash(document.as_bytes())));
    assert_eq!((sums["a"], sums["b"]), (expected, Digest::default()));
    let written = Box::new(source).confirm(&rows(&sums)).await.unwrap();
    let catalog = Catalog::parse(&Document::find(&written, CATALOG).unwrap().bytes).unwrap();
    assert_eq!((catalog.moment.protocol.as_str(), catalog.collections.len()), (PER_COLLECTION, 2));
    let a = &catalog.collections[0];
    assert_eq!(a.bytes, all.iter().map(|document| document.as_bytes().len() as u64).sum::<u64>());
    assert_eq!(a.id_index, Some(Kept(rawdoc! {"v": 2, "key": {"_id": 1}, "name": "_id_"})));
}

/// What is absent: a word of success.
#[tokio::test]
async fn a_dump_that_changes_is_not_confirmed() {
    type Change = fn(&Path);
    let changes: [Change; 5] = [
        |shop| std::fs::write(shop.join("c.bson"), "").unwrap(),
        |shop| std::fs::remove_file(shop.join("b.bson")).unwrap(),
        |shop| std::fs::write(shop.join("b.bson"), rawdoc! {"_id": 1}.as_bytes()).unwrap(),
        |shop| std::fs::write(shop.join("a.metadata.json"), r#"{"indexes":[]}"#).unwrap(),
        |shop| {
            std::fs::copy(shop.join("a.bson"), shop.join("../copy")).unwrap();
            std::fs::rename(shop.join("../copy"), shop.join("a.bson")).unwrap();
        },
    ];
    for (number, change) in changes.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let source = DumpSource::open(dump(folder.path(), &documents(3)), &options()).await.unwrap();
        let sums = read(&source).await.unwrap();
        change(&folder.path().join("shop"));
        let error = Box::new(source).confirm(&rows(&sums)).await.expect_err(&number.to_string());
        assert!(matches!(error.kind, Kind::Changed | Kind::Data | Kind::NotFound), "{number}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let source = DumpSource::open(dump(folder.path(), &documents(3)), &options()).await.unwrap();
    change_before_it_is_read(&source, &folder.path().join("shop/a.bson")).await;
}

async fn change_before_it_is_read(source: &DumpSource, path: &Path) {
    std::fs::write(path, documents(2)[1].as_bytes()).unwrap();
    assert_eq!(read(source).await.unwrap_err().kind, Kind::Changed);
}

#[tokio::test]
async fn a_dump_is_taken_only_as_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let dump = dump(folder.path(), &documents(3));
    let opened = async |options: SourceOptions| DumpSource::open(dump.clone(), &options).await;
    let refused = opened(SourceOptions { allow_inexact: false, ..options() }).await.err().unwrap();
    assert!(refused.kind == Kind::Refused && refused.to_string().contains("no one moment"), "{refused}");
    let globals = SourceOptions { globals: GlobalsWanted::WithoutPasswords, ..options() };
    assert_eq!(opened(globals).await.err().unwrap().kind, Kind::Config);
    let filter = |name: &str| Filter { include_tables: vec![name.to_owned()], ..Filter::default() };
    assert_eq!(opened(SourceOptions { filter: filter("x"), ..options() }).await.err().unwrap().kind, Kind::Config);
    let part = opened(SourceOptions { filter: filter("a"), ..options() }).await.unwrap();
    assert_eq!(part.plan().streams.iter().map(|stream| stream.name.as_str()).collect::<Vec<_>>(), ["a"]);
    std::fs::write(folder.path().join("oplog.bson"), "").unwrap();
    let refused = opened(SourceOptions { allow_inexact: false, ..options() }).await.err().unwrap();
    assert!(refused.kind == Kind::Refused && refused.to_string().contains("oplog"), "{refused}");
    assert!(opened(options()).await.unwrap().about().notes.iter().any(|note| note.contains("oplog is not applied")));
}

#[tokio::test]
async fn a_file_that_is_cut_short_is_an_error_whatever_its_size() {
    for count in [3, 60_000] {
        let folder = tempfile::tempdir().unwrap();
        let dump = dump(folder.path(), &documents(count));
        let path = folder.path().join("shop/a.bson");
        let length = std::fs::metadata(&path).unwrap().len();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(length - 1).unwrap();
        let error = match DumpSource::open(dump, &options()).await {
            Ok(source) => read(&source).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(error.kind == Kind::Data && error.to_string().contains("cut short"), "{error}");
    }
}
