#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, Mode};
use tempfile::TempDir;

use super::*;

fn drop_of(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    files.iter().for_each(|(path, text)| put(dir.path(), path, text));
    dir
}

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn sum(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

async fn frozen(dir: &TempDir, how: Complete) -> Result<Frozen, Error> {
    freeze(&Source::Directory(dir.path().to_owned()), how).await
}

async fn refused(dir: &TempDir, how: Complete, kind: Kind) -> Error {
    match frozen(dir, how).await {
        Ok(frozen) => panic!("frozen: {:?}", frozen.files()),
        Err(error) => {
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.hint.is_some() || kind == Kind::Missing, "{error}");
            error
        }
    }
}

fn paths(frozen: &Frozen) -> Vec<&str> {
    frozen.files().iter().map(|file| file.path.as_str()).collect()
}

#[tokio::test]
async fn a_drop_is_complete_when_somebody_says_so() {
    let dir = drop_of(&[("b.csv", "b"), ("a/c.csv", "c"), ("a.csv", "a")]);
    let error = refused(&dir, Complete::Marked, Kind::Missing).await;
    assert!(error.what.contains("_SUCCESS"), "{error}");
    let asked = frozen(&dir, Complete::Asked).await.unwrap();
    assert_eq!(paths(&asked), ["a.csv", "a/c.csv", "b.csv"]);
    put(dir.path(), "_SUCCESS", "");
    assert_eq!(paths(&frozen(&dir, Complete::Marked).await.unwrap()), ["a.csv", "a/c.csv", "b.csv"]);
    fs::remove_file(dir.path().join("_SUCCESS")).unwrap();
    let sums = format!("{}  a.csv\n{}  a/c.csv\n{}  b.csv\n", sum("a"), sum("c"), sum("b"));
    put(dir.path(), "SHA256SUMS", &sums);
    let mut listed = frozen(&dir, Complete::Marked).await.unwrap();
    assert_eq!(listed.id(), None);
    assert_eq!(Some(listed.hash().await.unwrap()), listed.id());
    put(dir.path(), "drop.yaml", "files: [{path: a.csv, bytes: 1, rows: 0}, {path: a/c.csv, table: c}, {path: b.csv}]");
    let both = frozen(&dir, Complete::Marked).await.unwrap();
    assert_eq!(both.files()[1].listed.table.as_deref(), Some("c"));
    assert_eq!(both.files()[1].listed.sha256, listed.files()[1].sha256());
}

#[tokio::test]
async fn what_is_missing_empty_or_not_finished_is_no_drop() {
    let gone = Source::Directory("/nowhere/at/all".into());
    assert_eq!(freeze(&gone, Complete::Asked).await.unwrap_err().kind, Kind::Missing);
    refused(&drop_of(&[]), Complete::Asked, Kind::Missing).await;
    refused(&drop_of(&[("_SUCCESS", "")]), Complete::Marked, Kind::Missing).await;
    refused(&drop_of(&[("drop.yaml", "files: []")]), Complete::Marked, Kind::Missing).await;
    refused(&drop_of(&[("a.csv.part", "a"), (".b", "b"), (".c/d", "d")]), Complete::Asked, Kind::Missing).await;
    let dir = drop_of(&[("a.csv", "a"), ("b.csv.inprogress", "b"), (".hidden", "c")]);
    let asked = frozen(&dir, Complete::Asked).await.unwrap();
    assert_eq!(paths(&asked), ["a.csv"]);
    assert!(matches!(asked.notes(), [note] if note.contains("b.csv.inprogress") && !note.contains("hidden")));
}

#[tokio::test]
async fn a_manifest_names_all_files_and_no_other() {
    let dir = drop_of(&[("a", "a"), ("b", "b"), ("drop.yaml", "files: [{path: a}]")]);
    assert!(refused(&dir, Complete::Marked, Kind::Data).await.what.contains(" b"));
    put(dir.path(), "drop.yaml", "files: [{path: a}, {path: b}, {path: c}]");
    assert!(refused(&dir, Complete::Asked, Kind::Missing).await.what.contains(" c"));
    put(dir.path(), "drop.yaml", "files: [{path: a}, {path: b, bytes: 2}]");
    assert!(refused(&dir, Complete::Marked, Kind::Data).await.what.contains("b has 1 bytes"));
    put(dir.path(), "drop.yaml", "files: [{path: a}, {path: ../b}]");
    refused(&dir, Complete::Marked, Kind::Refused).await;
    let twice = drop_of(&[("a", "a"), ("drop.yaml", "files: [{path: a}]")]);
    put(twice.path(), "SHA256SUMS", &format!("{}  a\n{}  drop.yaml\n", sum("a"), sum("files: [{path: b}]")));
    assert!(refused(&twice, Complete::Marked, Kind::Data).await.what.contains("drop.yaml"));
}

#[tokio::test]
async fn a_hash_that_is_not_the_promised_one_is_an_error() {
    let dir = drop_of(&[("a", "a"), ("SHA256SUMS", &format!("{}  a", sum("b")))]);
    let mut drop = frozen(&dir, Complete::Marked).await.unwrap();
    let error = drop.hash().await.unwrap_err();
    assert_eq!(error.kind, Kind::Data);
    assert!(error.what.starts_with("a does not have the hash"), "{error}");
    assert_eq!(drop.id(), None);
}

#[tokio::test]
async fn nothing_but_files_is_followed() {
    let outside = drop_of(&[("secret", "s")]);
    let linked = drop_of(&[("a", "a")]);
    symlink(outside.path().join("secret"), linked.path().join("b")).unwrap();
    assert!(refused(&linked, Complete::Asked, Kind::Refused).await.what.contains("symbolic link"));
    let inside = drop_of(&[("a", "a")]);
    symlink("a", inside.path().join("b")).unwrap();
    refused(&inside, Complete::Asked, Kind::Refused).await;
    let below = drop_of(&[("a", "a")]);
    symlink(outside.path(), below.path().join("d")).unwrap();
    refused(&below, Complete::Asked, Kind::Refused).await;
    let mark = drop_of(&[("a", "a")]);
    symlink(outside.path().join("secret"), mark.path().join("drop.yaml")).unwrap();
    refused(&mark, Complete::Asked, Kind::Refused).await;
    let pipe = drop_of(&[("a", "a")]);
    rustix::fs::mkfifoat(CWD, pipe.path().join("p"), Mode::RUSR).unwrap();
    refused(&pipe, Complete::Asked, Kind::Refused).await;
    let odd = drop_of(&[("a", "a"), ("b\nc", "b")]);
    assert!(!refused(&odd, Complete::Asked, Kind::Refused).await.what.contains('\n'));
    // The drop's own name may be a link.
    let named = drop_of(&[]);
    symlink(outside.path(), named.path().join("current")).unwrap();
    let current = freeze(&Source::Directory(named.path().join("current")), Complete::Asked).await.unwrap();
    assert_eq!(paths(&current), ["secret"]);
}

#[tokio::test]
async fn a_file_that_is_not_the_listed_one_any_more_is_never_read() {
    type Change = fn(&Path);
    let changes: [Change; 6] = [
        |root| fs::write(root.join("d/a"), "other").unwrap(),
        |root| fs::remove_file(root.join("d/a")).unwrap(),
        |root| {
            fs::write(root.join("n"), "abc").unwrap();
            fs::rename(root.join("n"), root.join("d/a")).unwrap();
        },
        |root| {
            let file = fs::File::options().write(true).open(root.join("d/a")).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        },
        |root| {
            fs::rename(root.join("d/a"), root.join("real")).unwrap();
            symlink(root.join("real"), root.join("d/a")).unwrap();
        },
        |root| {
            fs::rename(root.join("d"), root.join("e")).unwrap();
            symlink(root.join("e"), root.join("d")).unwrap();
        },
    ];
    for (at, change) in changes.iter().enumerate() {
        let dir = drop_of(&[("d/a", "abc")]);
        let mut drop = frozen(&dir, Complete::Asked).await.unwrap();
        change(dir.path());
        let error = drop.hash().await.unwrap_err();
        assert_eq!(error.kind, Kind::Changed, "{at}: {error}");
        assert_eq!(drop.id(), None);
    }
}

#[tokio::test]
async fn a_drop_that_somebody_else_reads_is_told_from_one_that_changed_meanwhile() {
    type Change = fn(&Path);
    let changes: [(Change, Option<Kind>); 7] = [
        (|_| {}, None),
        // Marks and what is passed over are no part of it.
        (|root| put(root, "_SUCCESS", ""), None),
        (|root| put(root, "d/a", "other"), Some(Kind::Changed)),
        (|root| put(root, "d/b", "new"), Some(Kind::Changed)),
        (|root| fs::remove_file(root.join("d/a")).unwrap(), Some(Kind::Changed)),
        // The name stands for another directory by now, with the same bytes in it.
        (
            |root| {
                fs::rename(root, root.with_extension("old")).unwrap();
                put(root, "d/a", "abc");
            },
            Some(Kind::Changed),
        ),
        (|root| fs::rename(root, root.with_extension("old")).unwrap(), Some(Kind::Missing)),
    ];
    for (at, (change, wanted)) in changes.iter().enumerate() {
        let dir = drop_of(&[("x/d/a", "abc")]);
        let root = dir.path().join("x");
        let mut drop = freeze(&Source::Directory(root.clone()), Complete::Asked).await.unwrap();
        drop.hash().await.unwrap();
        change(&root);
        let found = drop.unchanged().await.err().map(|error| error.kind);
        assert_eq!(found, *wanted, "{at}");
    }
}

#[tokio::test]
async fn a_pipe_in_the_place_of_a_file_holds_nobody_up() {
    let dir = drop_of(&[("a", "abc")]);
    let mut drop = frozen(&dir, Complete::Asked).await.unwrap();
    fs::remove_file(dir.path().join("a")).unwrap();
    rustix::fs::mkfifoat(CWD, dir.path().join("a"), Mode::RUSR).unwrap();
    assert_eq!(drop.hash().await.unwrap_err().kind, Kind::Refused);
}

#[tokio::test]
async fn the_same_files_are_the_same_drop_and_no_others_are() {
    let id = async |files: &[(&str, &str)]| {
        let dir = drop_of(files);
        frozen(&dir, Complete::Asked).await.unwrap().hash().await.unwrap().to_string()
    };
    let one = id(&[("a", "1"), ("b/c", "2")]).await;
    assert_eq!(one.len(), 64);
    assert_eq!(one, id(&[("b/c", "2"), ("a", "1"), ("_SUCCESS", "anything"), (".x", "y")]).await);
    for other in [
        &[("a", "1"), ("b/c", "3")][..],
        &[("a", "2"), ("b/c", "1")],
        &[("a", "1")],
        &[("a", "1"), ("b/d", "2")],
        &[("a", "1"), ("b/c", "2"), ("d", "")],
        &[("a", ""), ("b/c", "12")],
    ] {
        assert_ne!(one, id(other).await, "{other:?}");
    }
    // A later version must find what an earlier one has loaded.
    assert_eq!(id(&[("a", "1")]).await, ID_OF_A);
}

/// Computed by another program, from the words that describe the identity.
const ID_OF_A: &str = "c7723ad8f1fc58003af8171cbe83ecdb7bec1182514d39bc97daaad40ba25f9e";

#[tokio::test]
async fn listing_takes_the_same_time_for_a_file_that_is_huge() {
    let dir = drop_of(&[("a", "1")]);
    fs::File::create(dir.path().join("sparse")).unwrap().set_len(1 << 40).unwrap();
    let drop = frozen(&dir, Complete::Asked).await.unwrap();
    assert_eq!(drop.files()[1].bytes, 1 << 40);
    assert_eq!(drop.files()[1].sha256(), None);
}

/// A runtime waits for its threads when it goes: this would take hours if the thread went on.
#[test]
fn a_hash_that_nobody_waits_for_is_not_made() {
    let dir = drop_of(&[]);
    fs::File::create(dir.path().join("sparse")).unwrap().set_len(1 << 40).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut drop = frozen(&dir, Complete::Asked).await.unwrap();
        tokio::select! {
            biased;
            id = drop.hash() => panic!("{id:?}"),
            () = tokio::task::yield_now() => {}
        }
    });
}
