//! Tampered repositories: what was done with keys, or to bytes whose hashes were made to fit again.
//!
//! Owns `broken/`, which `forge.py` makes: each is a few objects over an intact repository. Promises that the code and the reader
//! that follows the document say the same of each, in kind and by the object's key, with an identity and without any key.

use super::sealed::{as_reader, wrong_without_keys};
use super::{Objects, folder, in_memory, lay_out, objects, read_everything, reader};
use repository::Error;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// What a reader says of a repository: the kind of trouble and the object, or `nothing`.
fn said(error: &Error) -> String {
    match error {
        Error::Damaged { object, .. } => format!("damaged {object}"),
        Error::Missing { object, .. } => format!("missing {object}"),
        Error::Format { object, .. } => format!("unreadable {object}"),
        Error::Signer { object, .. } => format!("refused {object}"),
        other => format!("{other:?}"),
    }
}

async fn code_says(objects: &Objects, keys: Option<&Path>) -> String {
    let found = match keys {
        None => wrong_without_keys(objects).await,
        Some(place) => {
            read_everything(in_memory(objects).await, &as_reader(place, "ops.identity")).await.map(|_| [].into())
        }
    };
    match found {
        Ok(found) if found.is_empty() => "nothing".to_owned(),
        Ok(found) => found.iter().map(|object| format!("damaged {object}")).collect::<Vec<_>>().join(", "),
        Err(error) => said(&error),
    }
}

fn reader_says(root: &Path, keys: Option<&Path>) -> String {
    let identity = keys.map(|place| place.join("ops.identity").to_str().unwrap().to_owned());
    let output = match &identity {
        Some(file) => reader(&["verify", "--identity", file], root),
        None => reader(&["verify"], root),
    };
    if output.status.success() {
        return "nothing".to_owned();
    }
    let text = String::from_utf8(output.stderr).unwrap();
    let (object, what) = text.trim().split_once(' ').unwrap();
    let kinds = [
        ("is damaged:", "damaged"),
        ("is missing,", "missing"),
        ("cannot be", "unreadable"),
        ("is refused:", "refused"),
    ];
    let kind = kinds.iter().find(|(words, _)| what.starts_with(words)).unwrap_or_else(|| panic!("{text}")).1;
    let status = if kind == "refused" { 77 } else { 65 };
    assert_eq!(output.status.code(), Some(status), "{text}");
    format!("{kind} {object}")
}

/// The intact repository with what was done to it.
fn tampered(case: &Path, told: &Value) -> Objects {
    let whole = objects(&folder().join(told["of"].as_str().unwrap()).join("repository"));
    let mut broken = whole.clone();
    for (to, from) in told["copied"].as_object().into_iter().flatten() {
        broken.insert(to.clone(), whole[from.as_str().unwrap()].clone());
    }
    for (key, len) in told["cut"].as_object().into_iter().flatten() {
        let len = usize::try_from(len.as_u64().unwrap()).unwrap();
        assert!(len < whole[key].len());
        broken.get_mut(key).unwrap().truncate(len);
    }
    if case.join("objects").is_dir() {
        broken.extend(objects(&case.join("objects")));
    }
    assert_ne!(whole, broken);
    broken
}

#[tokio::test]
async fn the_code_and_the_document_agree_on_what_is_wrong_with_each_tampered_repository() {
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(folder().join("broken")).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert_eq!(cases.len(), 17);
    for case in cases {
        let told: Value = serde_json::from_slice(&std::fs::read(case.join("said.json")).unwrap()).unwrap();
        let (broken, copy) = (tampered(&case, &told), tempfile::tempdir().unwrap());
        lay_out(&broken, copy.path());
        let place = folder().join(told["of"].as_str().unwrap());
        for (who, keys) in [("without_keys", None), ("with_identity", Some(place.as_path()))] {
            let wanted = told[who].as_str().unwrap();
            // A verification goes on after a manifest that is to be refused, and names it among what is damaged.
            let listed = match (keys, wanted.strip_prefix("refused manifests/")) {
                (None, Some(rest)) => format!("damaged manifests/{rest}"),
                _ => wanted.to_owned(),
            };
            assert_eq!(code_says(&broken, keys).await, listed, "the code, {who}: {}", case.display());
            assert_eq!(reader_says(copy.path(), keys), wanted, "the reader, {who}: {}", case.display());
        }
    }
}
