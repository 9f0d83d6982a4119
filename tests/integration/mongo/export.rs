//! An export comes back with nothing but what the vendor ships, and is what the vendor's own tool would have written.

use super::dump::{self, Node};
use super::road::large;
use super::{Back, all, assert_same, odd};
use crate::integration::export::{assert_whole, export};
use crate::place::{Place, assert_failed};
use mongodb::bson::{DateTime, RawDocumentBuf, doc};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use testkit::mongo::{fixture, make};
use testkit::servers::{DumpTools, TestMongo, mongo, own_mongo};

/// The export of a backup of a database, whole.
pub async fn exported(db: &TestMongo, place: &Place) -> (PathBuf, serde_json::Value) {
    place.backup(&db.url()).run().await.success();
    let folder = place.folder.path().join("exported");
    let report = export(place, &folder).run().await.success().json();
    assert_whole(&folder);
    (folder, report)
}

/// The database's own folder in an export.
pub fn within(folder: &Path, db: &TestMongo) -> PathBuf {
    folder.join("dump").join(db.name())
}

/// Documents of a collection as the server has them, in its order.
async fn held(db: &TestMongo, collection: &str) -> Vec<Vec<u8>> {
    let mut cursor = db.db().await.collection::<RawDocumentBuf>(collection).find(doc! {}).await.unwrap();
    let mut documents = Vec::new();
    while cursor.advance().await.unwrap() {
        documents.push(cursor.current().as_bytes().to_vec());
    }
    documents
}

fn sorted(mut documents: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    documents.sort();
    documents
}

/// What the server says of its collections, by name.
async fn listed(db: &TestMongo) -> BTreeMap<String, RawDocumentBuf> {
    let cursor = db.db().await.run_cursor_command(doc! {"listCollections": 1}).await.unwrap();
    let mut cursor = cursor.with_type::<RawDocumentBuf>();
    let mut found = BTreeMap::new();
    while cursor.advance().await.unwrap() {
        let name = cursor.current().get_str("name").unwrap().to_owned();
        found.insert(name, cursor.current().to_owned());
    }
    found.retain(|name, _| !name.starts_with("system.") || name == "system.js");
    found
}

/// The server's word for each index, by name.
async fn indexes(db: &TestMongo, collection: &str) -> Vec<RawDocumentBuf> {
    let cursor = db.db().await.run_cursor_command(doc! {"listIndexes": collection}).await.unwrap();
    let mut cursor = cursor.with_type::<RawDocumentBuf>();
    let mut found = Vec::new();
    while cursor.advance().await.unwrap() {
        found.push(cursor.current().to_owned());
    }
    found.sort_by(|a, b| a.get_str("name").unwrap().cmp(b.get_str("name").unwrap()));
    found
}

/// G1: every document and every collection's definition is in an export, read by one who knows nothing of the product.
#[tokio::test]
async fn everything_is_in_an_export() {
    let server = mongo().await;
    let db = server.database().await;
    make(&db.db().await, &fixture()).await;
    let place = Place::new().await;
    let (folder, report) = exported(&db, &place).await;
    assert_eq!(
        report["notes"].as_array().unwrap().iter().filter(|note| note.to_string().contains("ttlMonitor")).count(),
        1
    );
    let files = dump::folder(&within(&folder, &db));
    let definitions: BTreeMap<String, Node> = files
        .keys()
        .filter(|name| name.ends_with(".metadata.json"))
        .map(|name| dump::metadata(&within(&folder, &db).join(name)))
        .map(|node| (node.member("collectionName").unwrap().text().to_owned(), node))
        .collect();
    let there = listed(&db).await;
    assert_eq!(definitions.keys().collect::<Vec<_>>(), there.keys().collect::<Vec<_>>());
    let mut documents = 0;
    for (name, entry) in &there {
        let kind = entry.get_str("type").unwrap();
        assert_eq!(definitions[name].member("type").unwrap().text(), kind, "{name}");
        let options = definitions[name].member("options").map(Node::document).unwrap_or_default();
        assert_eq!(options.as_ref(), entry.get_document("options").unwrap(), "options of {name}");
        let holder = if kind == "timeseries" { format!("system.buckets.{name}") } else { name.clone() };
        let file = within(&folder, &db).join(format!("{}.bson", escaped(&holder)));
        if kind == "view" {
            assert!(!file.exists(), "{name}");
            continue;
        }
        let found: Vec<RawDocumentBuf> =
            definitions[name].member("indexes").unwrap().list().iter().map(Node::document).collect();
        assert_eq!(found, indexes(&db, name).await, "indexes of {name}");
        let found = dump::documents(&std::fs::read(&file).unwrap_or_else(|error| panic!("{name}: {error}")));
        documents += found.len();
        let held = held(&db, &holder).await;
        let capped = entry.get_document("options").is_ok_and(|options| options.get_bool("capped").is_ok());
        assert!(if capped { found == held } else { sorted(found) == sorted(held) }, "{name}");
    }
    assert_eq!(report["rows"].as_u64().unwrap(), documents as u64);
}

/// The rule of the vendor's tool, a second time.
fn escaped(name: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(byte);
    let one = |byte: u8| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    name.bytes().map(one).collect::<String>().replace("%20", "+")
}

/// G1: a collection that was read in several ranges is one file.
#[tokio::test]
async fn a_large_collection_is_one_file() {
    let server = mongo().await;
    let db = server.database().await;
    large(&db, 80_000).await;
    let place = Place::new().await;
    let (folder, _) = exported(&db, &place).await;
    let found = dump::documents(&std::fs::read(within(&folder, &db).join("large.bson")).unwrap());
    assert!(sorted(found) == sorted(held(&db, "large").await));
}

/// G1: an export comes back by the vendor's tool alone, at another server, byte for byte.
#[tokio::test]
async fn everything_comes_back_by_mongorestore_alone() {
    let tools = testkit::or_skip!(DumpTools::find());
    let (server, other) = (mongo().await, Arc::new(own_mongo(&[]).await));
    let db = server.database().await;
    make(&db.db().await, &fixture()).await;
    let place = Place::new().await;
    let (folder, report) = exported(&db, &place).await;
    // The command that the report names, with the folder as the tool sees it.
    let command = report["restore_with"].as_str().unwrap();
    let mut words = command.split(' ');
    assert_eq!((words.next(), words.next()), (Some("mongorestore"), Some("--config=server.yaml")));
    let shelf = place.folder.path();
    let words: Vec<String> = words.map(|word| word.replace(&shelf.display().to_string(), "{folder}")).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let said = tools.run(&other, "mongorestore", shelf, &words);
    let said = said.unwrap_or_else(|said| panic!("{said}"));
    assert!(said.contains(" 0 document(s) failed to restore"), "{said}");
    let back = testkit::mongo::everything(&other.client().await.database(db.name())).await;
    assert_same(&all(&db, db.name()).await, &back);
    assert!(folder.join("dump/prelude.json").exists());
}

/// G1: long names come back too, also those that the vendor's tool cuts and does not read again.
#[tokio::test]
async fn long_names_come_back_by_mongorestore_alone() {
    let tools = testkit::or_skip!(DumpTools::find());
    let server = mongo().await;
    let db = server.database().await;
    let long = "ä".repeat(60);
    for name in [long.clone(), format!("a+b%2F c/{long}")] {
        db.run(doc! {"insert": &name, "documents": [{"_id": &name}]}).await;
    }
    let series = "ö".repeat(60);
    db.run(doc! {"create": &series, "timeseries": {"timeField": "at"}}).await;
    db.run(doc! {"insert": &series, "documents": [{"at": DateTime::from_millis(0), "v": 1}]}).await;
    let place = Place::new().await;
    let (_, report) = exported(&db, &place).await;
    assert_eq!(report["notes"].as_array().map(Vec::len), Some(0), "{report}");
    let back = Back::of(&db);
    let names = [format!("--nsFrom={}.*", db.name()), format!("--nsTo={}.*", back.name)];
    let restored = tools.run(
        &server,
        "mongorestore",
        place.folder.path(),
        &[&names[0], &names[1], "--dir={folder}/exported/dump"],
    );
    restored.unwrap_or_else(|said| panic!("{said}"));
    assert_same(&all(&db, db.name()).await, &all(&db, &back.name).await);
}

/// G1: an export is, file by file, what `mongodump` writes of the same database.
#[tokio::test]
async fn an_export_is_what_mongodump_writes() {
    let tools = testkit::or_skip!(DumpTools::find());
    let (db, place) = odd().await;
    let (folder, _) = exported(&db, &place).await;
    let name = format!("--db={}", db.name());
    let dumped = tools.run(&db.server, "mongodump", place.folder.path(), &[&name, "--out={folder}/theirs"]);
    dumped.unwrap_or_else(|said| panic!("{said}"));
    let (ours, theirs) = (within(&folder, &db), place.folder.path().join("theirs").join(db.name()));
    let (our_files, mut their_files) = (dump::folder(&ours), dump::folder(&theirs));
    // One database alone has it in its own folder, and tools before 100.12 have none.
    their_files.remove("prelude.json");
    assert_eq!(our_files.keys().collect::<Vec<_>>(), their_files.keys().collect::<Vec<_>>());
    for (file, our_bytes) in &our_files {
        if file.ends_with(".metadata.json") {
            assert_eq!(dump::metadata(&ours.join(file)), dump::metadata(&theirs.join(file)), "{file}");
            continue;
        }
        let (our_documents, their_documents) = (dump::documents(our_bytes), dump::documents(&their_files[file]));
        let same = if file.starts_with("capped") {
            our_documents == their_documents
        } else {
            sorted(our_documents) == sorted(their_documents)
        };
        assert!(same, "{file}: other documents");
    }
}

/// G7: what is damaged fails an export by name, and there is no folder; nor is one that is there touched.
#[tokio::test]
async fn damage_and_refusals_leave_nothing() {
    let server = mongo().await;
    let db = server.database().await;
    large(&db, 30_000).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let shelf = place.folder.path().join("shelf");
    std::fs::create_dir(&shelf).unwrap();
    let out = shelf.join("out");
    let chunks = place.objects("chunks");
    assert!(!chunks.is_empty());
    for (number, path) in chunks.iter().enumerate() {
        let whole = std::fs::read(path).unwrap();
        let mut damaged = whole.clone();
        match number % 3 {
            0 => damaged[whole.len() / 2] ^= 4,
            1 => damaged.truncate(whole.len() / 2),
            _ => damaged.clear(),
        }
        std::fs::write(path, damaged).unwrap();
        let name = path.strip_prefix(place.path()).unwrap().display().to_string();
        assert_failed(export(&place, &out).run().await, 65, &name);
        assert_eq!(std::fs::read_dir(&shelf).unwrap().count(), 0, "after {name}");
        std::fs::write(path, &whole).unwrap();
    }
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("mine"), "mine").unwrap();
    assert_failed(export(&place, &out).run().await, 73, "is there already");
    assert_eq!(dump::folder(&out), BTreeMap::from([("mine".to_owned(), b"mine".to_vec())]));
    assert_eq!(std::fs::read_dir(&shelf).unwrap().count(), 1);
}
