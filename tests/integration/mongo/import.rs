//! A dump of the vendor's tool becomes a backup like any other, and comes back as the database that it was made of.

use super::dump;
use super::export::{exported, within};
use super::road::large;
use super::{Back, all, assert_same, odd};
use crate::place::{Place, assert_failed};
use mongodb::bson::{RawDocumentBuf, doc, rawdoc};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use testkit::Job;
use testkit::servers::{DumpTools, TestMongo, mongo};

/// A backup of a dump, ready to run, of whatever moment.
fn import(place: &Place, dump: &Path) -> Job {
    place.backup(&format!("mongodump://{}", dump.display())).env("LONGSHORE_ALLOW_INEXACT", "true")
}

/// Restores the newest backup and fails unless it is the database.
async fn assert_comes_back(place: &Place, db: &TestMongo, there: &BTreeMap<String, String>, number: usize) {
    let name = format!("{}_{number}", Back::of(db).name);
    place.restore(&db.server.root_url(&name)).run().await.success();
    assert_same(there, &all(db, &name).await);
}

fn copied(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

fn packed(path: &Path) {
    let done = Command::new("gzip").arg("-rf").arg(path).status().unwrap();
    assert!(done.success());
}

/// The sum of the format, by a table.
fn sum(bytes: &[u8]) -> i64 {
    let step = |sum: u64| if sum & 1 == 1 { (sum >> 1) ^ 0xc96c_5795_d787_0f42 } else { sum >> 1 };
    let table: Vec<u64> = (0..256).map(|byte| (0..8).fold(byte, |sum, _| step(sum))).collect();
    let add = |sum: u64, byte: &u8| table[usize::from(sum.to_le_bytes()[0] ^ byte)] ^ (sum >> 8);
    (!bytes.iter().fold(!0_u64, add)).cast_signed()
}

const TERMINATOR: [u8; 4] = [0xff; 4];

fn list(database: &str, name: &str, ends: bool, documents: &[Vec<u8>], sum: i64) -> Vec<u8> {
    let header: RawDocumentBuf = rawdoc! {"db": database, "collection": name, "EOF": ends, "CRC": sum};
    [header.as_bytes(), &documents.concat(), &TERMINATOR].concat()
}

/// An archive of what is in a folder, as the format's description has it, with collections in turns.
fn archive(folder: &Path, database: &str) -> Vec<u8> {
    let files = dump::folder(folder);
    let mut archive = 0x8199_e26d_u32.to_le_bytes().to_vec();
    let header =
        rawdoc! {"concurrent_collections": 2, "version": "0.1", "server_version": "6.0.5", "tool_version": "100.9.4"};
    archive.extend_from_slice(header.as_bytes());
    for (file, text) in files.iter().filter(|(file, _)| file.ends_with(".metadata.json")) {
        let node = dump::metadata(&folder.join(file));
        let (name, kind) = (node.member("collectionName").unwrap().text(), node.member("type").unwrap().text());
        let text = std::str::from_utf8(text).unwrap();
        let entry = rawdoc! {"db": database, "collection": name, "metadata": text, "size": 0, "type": kind};
        archive.extend_from_slice(entry.as_bytes());
    }
    archive.extend_from_slice(&TERMINATOR);
    let (mut halves, mut ends) = (Vec::new(), Vec::new());
    for (file, bytes) in files.iter().filter(|(file, _)| file.ends_with(".bson")) {
        let name = unescaped(file.strip_suffix(".bson").unwrap());
        let documents = dump::documents(bytes);
        let (first, second) = documents.split_at(documents.len() / 2);
        archive.extend(list(database, &name, false, first, 0));
        halves.push(list(database, &name, false, second, 0));
        ends.push(list(database, &name, true, &[], sum(bytes)));
    }
    archive.extend(halves.concat());
    archive.extend(ends.concat());
    archive
}

/// The vendor's rule, backwards.
fn unescaped(file: &str) -> String {
    let mut bytes = file.bytes();
    let mut name = Vec::new();
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(bytes.next().unwrap()).to_digit(16).unwrap();
        name.push(match byte {
            b'%' => u8::try_from(digit() * 16 + digit()).unwrap(),
            b'+' => b' ',
            other => other,
        });
    }
    String::from_utf8(name).unwrap()
}

/// G1: an export of everything odd comes back by way of a folder, a packed folder, an archive and a packed archive.
#[tokio::test]
async fn everything_comes_back_from_a_dump() {
    let (db, place) = odd().await;
    let (folder, _) = exported(&db, &place).await;
    let there = all(&db, db.name()).await;
    let shelf = place.folder.path();
    let (packed_folder, plain, packed_archive) =
        (shelf.join("packed"), shelf.join("a.archive"), shelf.join("b.archive"));
    copied(&folder.join("dump"), &packed_folder);
    packed(&packed_folder);
    std::fs::write(&plain, archive(&within(&folder, &db), db.name())).unwrap();
    std::fs::copy(&plain, &packed_archive).unwrap();
    packed(&packed_archive);
    let packed_archive = shelf.join("b.archive.gz");
    let rows = place.listed().await[0]["rows"].clone();
    for (number, dump) in [within(&folder, &db), packed_folder, plain, packed_archive].into_iter().enumerate() {
        let backup = import(&place, &dump).run().await.success().json();
        assert_eq!(backup["about"]["inexact"], "per-collection", "{backup}");
        assert_eq!((&backup["about"]["database"], &backup["rows"]), (&db.name().into(), &rows), "{}", dump.display());
        assert_comes_back(&place, &db, &there, number).await;
    }
}

/// G1: what the vendor's own tool writes of everything odd comes back, in each of its forms.
#[tokio::test]
async fn everything_comes_back_from_the_vendors_own_dump() {
    let tools = testkit::or_skip!(DumpTools::find());
    let (db, place) = odd().await;
    let there = all(&db, db.name()).await;
    let (name, shelf) = (format!("--db={}", db.name()), place.folder.path());
    let forms: [(&str, &[&str]); 4] = [
        ("plain", &["--out={folder}/plain", "--dumpDbUsersAndRoles"]),
        ("packed", &["--out={folder}/packed", "--gzip"]),
        ("a.archive", &["--archive={folder}/a.archive", "--dumpDbUsersAndRoles"]),
        ("b.archive", &["--archive={folder}/b.archive", "--gzip"]),
    ];
    for (number, (file, words)) in forms.into_iter().enumerate() {
        let said = tools.run(&db.server, "mongodump", shelf, &[&[name.as_str()], words].concat());
        said.unwrap_or_else(|said| panic!("{said}"));
        let backup = import(&place, &shelf.join(file)).run().await.success().json();
        let notes = backup["about"]["notes"].to_string();
        assert_eq!(notes.contains("users and roles"), words.contains(&"--dumpDbUsersAndRoles"), "{notes}");
        assert_comes_back(&place, &db, &there, number).await;
    }
}

/// A large file is cut where its documents say so: a second backup of it adds nothing, and what comes back is all of it.
#[tokio::test]
async fn a_large_dump_is_read_in_parts_and_recognised() {
    let server = mongo().await;
    let db = server.database().await;
    large(&db, 80_000).await;
    let place = Place::new().await;
    let (folder, _) = exported(&db, &place).await;
    let added = async || {
        let backup = import(&place, &folder.join("dump")).run().await.success().json();
        backup["added_bytes"].as_u64().unwrap()
    };
    let first = added().await;
    let again = added().await;
    assert!(again * 100 <= first.max(1 << 20), "{again} of {first} bytes for an unchanged dump");
    assert_comes_back(&place, &db, &all(&db, db.name()).await, 0).await;
}

/// Spoils a file, and gives what it was.
fn spoil(path: &Path, how: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let whole = std::fs::read(path).unwrap();
    let mut other = whole.clone();
    how(&mut other);
    std::fs::write(path, other).unwrap();
    whole
}

/// G2: what is cut short, damaged, half there or unknown makes no backup.
#[tokio::test]
async fn a_dump_that_is_not_whole_makes_no_backup() {
    let server = mongo().await;
    let db = server.database().await;
    db.run(doc! {"insert": "a", "documents": (0..50).map(|n| doc! {"_id": n, "s": "text"}).collect::<Vec<_>>()}).await;
    db.run(doc! {"insert": "b", "documents": [{"_id": 1}]}).await;
    let source = Place::new().await;
    let (folder, _) = exported(&db, &source).await;
    let (place, shelf) = (Place::new().await, source.folder.path());
    let within = within(&folder, &db);
    let (plain, packed_archive, packed_folder) =
        (shelf.join("a.archive"), shelf.join("b.archive.gz"), shelf.join("packed"));
    std::fs::write(&plain, archive(&within, db.name())).unwrap();
    copied(&plain, &shelf.join("b.archive"));
    packed(&shelf.join("b.archive"));
    copied(&within, &packed_folder);
    packed(&packed_folder);
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() - 3);
    let flip = |bytes: &mut Vec<u8>| {
        let at = bytes.windows(4).rposition(|window| window == b"text").unwrap();
        bytes[at] ^= 1;
    };
    let length = |bytes: &mut Vec<u8>| bytes[0] ^= 1;
    type How<'a> = &'a dyn Fn(&mut Vec<u8>);
    let cases: [(&PathBuf, PathBuf, How<'_>, &str); 7] = [
        (&within, within.join("a.bson"), &cut, "a.bson is cut short"),
        (&within, within.join("a.bson"), &length, "no document"),
        (&within, within.join("b.metadata.json"), &cut, "b.metadata.json"),
        (&packed_folder, packed_folder.join("a.bson.gz"), &cut, "a.bson.gz"),
        (&plain, plain.clone(), &cut, "cut short"),
        (&plain, plain.clone(), &flip, "sum"),
        (&packed_archive, packed_archive.clone(), &cut, "b.archive.gz"),
    ];
    for (dump, file, how, said) in cases {
        let whole = spoil(&file, how);
        assert_failed(import(&place, dump).run().await, 65, said);
        place.assert_no_manifest();
        std::fs::write(&file, whole).unwrap();
    }
    let definition = within.join("b.metadata.json");
    let whole = std::fs::read(&definition).unwrap();
    std::fs::remove_file(&definition).unwrap();
    assert_failed(import(&place, &within).run().await, 65, "no definition of it");
    std::fs::write(&definition, whole).unwrap();
    std::fs::write(within.join("notes.txt"), "").unwrap();
    assert!(import(&place, &within).run().await.stderr.contains("notes.txt"));
    place.assert_no_manifest();
    std::fs::remove_file(within.join("notes.txt")).unwrap();
    import(&place, &within).run().await.success();
    for dump in [plain, packed_archive, packed_folder] {
        import(&place, &dump).run().await.success();
    }
}

/// A dump says of itself at which moment it was made: at none. That has to be allowed, and an oplog is not applied.
#[tokio::test]
async fn a_dump_is_taken_only_where_no_moment_is_allowed() {
    let server = mongo().await;
    let db = server.database().await;
    db.run(doc! {"insert": "a", "documents": [{"_id": 1}]}).await;
    let source = Place::new().await;
    let (folder, _) = exported(&db, &source).await;
    let place = Place::new().await;
    let url = format!("mongodump://{}", folder.join("dump").display());
    assert_failed(place.backup(&url).run().await, 77, "of no one moment");
    let doctor = place.job(["doctor", "--output", "json"]).env("LONGSHORE_SOURCE", &url).run().await;
    assert!(doctor.stdout.contains("takes --allow-inexact"), "{}", doctor.report());
    std::fs::write(folder.join("dump/oplog.bson"), "").unwrap();
    assert_failed(place.backup(&url).run().await, 77, "oplog, which is not applied");
    place.assert_no_manifest();
    let backup = import(&place, &folder.join("dump")).run().await.success().json();
    assert!(backup["about"]["notes"].to_string().contains("oplog is not applied"), "{backup}");
    assert_eq!(place.listed().await[0]["consistency"], "per-collection");
    assert_failed(import(&place, &folder.join("nowhere")).run().await, 66, "nowhere");
    assert_failed(place.restore(&url).run().await, 78, "is a dump and no server");
}
