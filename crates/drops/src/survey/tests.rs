#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
use proptest::prelude::*;

use super::*;
use crate::{Kind, Source, freeze};

const A: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";

/// What is fetched of a list, each of so many bytes as its name has characters.
fn files(names: &[&str]) -> Result<Vec<String>, Error> {
    let mut survey = Survey::new("there");
    for name in names {
        survey.add(name, name.len() as u64)?;
    }
    let files = survey.listing.files.iter().map(|(path, _)| path.clone()).collect();
    survey.check(&Marks::default(), Complete::Asked).map(|_| files)
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let deep = format!("{}x", "d/".repeat(33));
    let long = "n".repeat(256);
    for name in [
        "../x",
        "..",
        "a/../../x",
        "./x",
        "a/./x",
        "/etc/passwd",
        "a//x",
        "a/",
        "a\0",
        "a\nb",
        "a\\..\\x",
        "a/\u{202e}x",
        &deep,
        &long,
        "drop.yaml/x",
        "_SUCCESS/x",
    ] {
        let error = files(&["a.csv", name]).unwrap_err();
        assert_eq!(error.kind, Kind::Refused, "{name:?}: {error}");
        assert!(!error.what.contains('\n'), "{error}");
    }
    let deep = format!("{}x", "d/".repeat(32));
    assert_eq!(files(&["a b.csv", &deep, "…/ä.csv"]).unwrap().len(), 3);
}

#[test]
fn what_a_directory_cannot_hold_is_refused() {
    let error = files(&["a", "a.b", "a/b"]).unwrap_err();
    assert!(error.kind == Kind::Refused && error.what.contains("a folder of others"), "{error}");
    assert_eq!(files(&["a.b", "ab/c/d", "ab/c.d"]).unwrap().len(), 3);
}

#[test]
fn what_is_hidden_or_not_finished_is_passed_over() {
    let mut survey = Survey::new("there");
    for (name, bytes, part) in [
        ("", 0, Part::Nothing),
        ("folder/", 0, Part::Nothing),
        (".hidden", 1, Part::Nothing),
        ("a/.git/config", 1, Part::Nothing),
        ("b.part/c", 1, Part::Nothing),
        ("b.part/d", 1, Part::Nothing),
        ("e.csv.TMP", 1, Part::Nothing),
        ("drop.yaml", 9, Part::Mark),
        ("_SUCCESS", 0, Part::Mark),
        ("a/drop.yaml", 9, Part::File),
        ("empty.csv", 0, Part::File),
    ] {
        assert_eq!(survey.add(name, bytes).unwrap(), part, "{name}");
    }
    let too_large = survey.add("SHA256SUMS", MAX_MANIFEST_BYTES + 1).unwrap_err();
    assert!(too_large.what.contains("16 MiB"), "{too_large}");
    let notes = survey.check(&Marks::default(), Complete::Asked).unwrap();
    assert!(matches!(notes.as_slice(), [note] if note.ends_with("finished: b.part, e.csv.TMP")), "{notes:?}");
}

#[test]
fn a_list_is_held_against_what_the_drop_says() {
    let check = |names: &[(&str, u64)], marks: &Marks, how| {
        let mut survey = Survey::new("there");
        for (name, bytes) in names {
            survey.add(name, *bytes).unwrap();
        }
        survey.check(marks, how).map_err(|error| (error.kind, error.what))
    };
    let bare = Marks::default();
    let (kind, what) = check(&[("a", 1)], &bare, Complete::Marked).unwrap_err();
    assert!(kind == Kind::Missing && what.starts_with("the drop there is not complete: it holds 1 files"), "{what}");
    assert!(check(&[("a", 1)], &bare, Complete::Asked).is_ok());
    assert_eq!(check(&[], &bare, Complete::Asked).unwrap_err().0, Kind::Missing);
    let success = Marks { success: Some(Vec::new()), ..Marks::default() };
    assert!(check(&[("a", 1)], &success, Complete::Marked).is_ok());
    let yaml = |text: &str| Marks { drop_yaml: Some(text.as_bytes().to_vec()), ..Marks::default() };
    let listed = yaml("files: [{path: a, bytes: 1}]");
    assert!(check(&[("a", 1)], &listed, Complete::Marked).is_ok());
    assert!(check(&[("a", 2)], &listed, Complete::Marked).unwrap_err().1.contains("a has 2 bytes"));
    assert_eq!(check(&[("a", 1), ("b", 1)], &listed, Complete::Marked).unwrap_err().0, Kind::Data);
    assert_eq!(check(&[("b", 1)], &listed, Complete::Marked).unwrap_err().0, Kind::Missing);
    assert_eq!(check(&[("a", 1)], &yaml("files: [{path: ../a}]"), Complete::Marked).unwrap_err().0, Kind::Refused);
    let sums = Marks { sha256sums: Some(format!("{A}  a\n{A}  drop.yaml").into_bytes()), ..listed };
    assert!(check(&[("a", 1)], &sums, Complete::Marked).unwrap_err().1.contains("drop.yaml does not have the hash"));
}

proptest! {
    /// Whatever passes can be put into a directory, and is found there: these files and no others.
    #[test]
    fn what_passes_is_what_a_directory_gives_back(names in proptest::collection::btree_set("(a|b|\\.|_SUCCESS|x\\.tmp|/|\\PC){1,5}", 1..6)) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let Ok(files) = files(&names) else { return Ok(()) };
        let dir = tempfile::tempdir().unwrap();
        for path in &files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let frozen = runtime.block_on(freeze(&Source::Directory(dir.path().to_owned()), Complete::Asked)).unwrap();
        prop_assert!(frozen.files().iter().map(|file| &file.path).eq(files.iter()));
    }
}
