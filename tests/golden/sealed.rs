//! The encrypted golden repository: who holds which key reads what, and damage is named without any.
//!
//! Owns the comparison of `v1-sealed/repository` with `v1-sealed/expected.json`. Its keys lie beside it and open nothing else.
//! Promises that each recipient's identity reads all of it, that a writer's key reads hints and nothing of a backup, and that
//! every object is damaged in every way without a key being held when it is found.

use super::{
    NO_KEYS, Objects, assert_reader_names, broken_copies, decode_the_rest, folder, generate, in_memory, named, needed,
    objects, one_of_each, read_everything, reader,
};
use repository::{Access, BeginOptions, Error, Identity, Repository, Session, Share, WriterKey, read_all};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// The files of the two recipients.
const IDENTITIES: [&str; 2] = ["ops.identity", "safe.identity"];

fn place() -> PathBuf {
    folder().join("v1-sealed")
}

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(place().join("expected.json")).unwrap()).unwrap()
}

fn whole() -> Objects {
    objects(&place().join("repository"))
}

fn text(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// Who comes with an identity, and has compared the fingerprint.
pub(super) fn as_reader(folder: &Path, name: &str) -> Access {
    Access {
        identities: Identity::parse_all(&text(folder, name)).unwrap(),
        writer: None,
        pinned: Some(text(folder, "fingerprint").trim().to_owned()),
    }
}

pub(super) fn as_writer(folder: &Path) -> Access {
    Access { writer: Some(WriterKey::parse(&text(folder, "nightly.writer")).unwrap()), ..Access::default() }
}

/// All that is found wrong without a key; an error that ends the search is of one object.
pub(super) async fn wrong_without_keys(objects: &Objects) -> Result<BTreeSet<String>, Error> {
    let store = in_memory(objects).await;
    let repository = Repository::open(Arc::clone(&store)).await?;
    let found = repository.verify(&repository.backup_ids(None).await?, Share::ALL, &|_| {}).await?;
    decode_the_rest(store.as_ref()).await?;
    Ok(found.damage.into_iter().map(|damage| damage.object).collect())
}

/// Objects that count: older lists of signers do not.
fn counts(whole: &Objects) -> Vec<String> {
    needed(whole).into_iter().filter(|key| !["signers/1", "signers/2"].contains(&key.as_str())).collect()
}

#[tokio::test]
async fn either_identity_reads_an_encrypted_version_1_as_it_was_written() {
    for name in IDENTITIES {
        let store = in_memory(&whole()).await;
        assert_eq!(read_everything(store, &as_reader(&place(), name)).await.unwrap(), expected(), "{name}");
    }
}

/// What `reader.py` finds with the keys in a file beside the repository.
fn reader_json(folder: &Path, name: &str) -> Value {
    let file = folder.join(name);
    let output = reader(&["json", "--identity", file.to_str().unwrap()], &folder.join("repository"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_reader_that_follows_the_document_agrees_on_what_is_sealed() {
    for name in IDENTITIES {
        assert_eq!(reader_json(&place(), name), expected(), "{name}");
    }
    let (root, writer) = (place().join("repository"), place().join("nightly.writer"));
    let writer = ["--writer", writer.to_str().unwrap()];
    for keys in [&[][..], &writer] {
        // Verified whole, read not at all.
        let verified = reader(&[&["verify"], keys].concat(), &root);
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
        let read = reader(&[&["json"], keys].concat(), &root);
        assert_eq!(read.status.code(), Some(77), "{}", String::from_utf8_lossy(&read.stdout));
        assert!(read.stdout.is_empty());
    }
}

#[test]
fn the_reader_that_follows_the_document_names_sealed_damage_without_a_key() {
    let whole = whole();
    let kinds = one_of_each(counts(&whole));
    assert_eq!(kinds.len(), 13, "{kinds:?}");
    assert_reader_names(&whole, kinds);
}

/// The reader brings its own ciphers and curves: each is held against the vectors of its RFC.
#[test]
fn the_readers_ciphers_are_those_of_the_rfcs() {
    let output = Command::new("python3").arg(folder().join("selftest.py")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn without_keys_an_encrypted_version_1_is_listed_and_verified_and_not_read() {
    let store = in_memory(&whole()).await;
    for access in [NO_KEYS, as_writer(&place())] {
        let repository = Repository::open_with(Arc::clone(&store), &access).await.unwrap();
        let (backups, expected) = (repository.backups(None).await.unwrap(), expected());
        assert_eq!(backups.len(), expected["backups"].as_array().unwrap().len());
        for (manifest, expected) in backups.iter().zip(expected["backups"].as_array().unwrap()) {
            assert_eq!(json!(manifest.header.backup), expected["backup"]);
            assert_eq!(json!(manifest.header.totals.rows), expected["rows"]);
            assert!(manifest.sealed && manifest.about.is_null());
            let read = read_all(&repository, manifest).await;
            assert!(matches!(read, Err(Error::Sealed { .. })), "{read:?}");
            for document in manifest.header.documents.iter().filter(|document| !document.refs.is_empty()) {
                let read = repository.read_document(document, "the test").await;
                assert!(matches!(read, Err(Error::Sealed { .. })), "{read:?}");
            }
        }
        let signers: Vec<&str> = repository.signers().iter().map(|signer| signer.name.as_str()).collect();
        assert_eq!(signers, ["nightly"], "the newest list is the one that counts");
        assert_eq!(repository.proofs(None).await.unwrap().len(), 1);
    }
    assert!(wrong_without_keys(&whole()).await.unwrap().is_empty());
}

#[tokio::test]
async fn hints_of_an_encrypted_version_1_are_read_with_the_writers_key() {
    let store = in_memory(&whole()).await;
    let repository = Repository::open_with(Arc::clone(&store), &as_writer(&place())).await.unwrap();
    let options = BeginOptions { source: "app".parse().unwrap(), compression: 3, program: "test".into() };
    let session = Session::begin(&repository, options).await.unwrap();
    assert_eq!(session.boundaries().get("public.events"), Some(&16));
    session.abandon("failed").await;
}

#[tokio::test]
async fn what_is_sealed_today_is_what_the_document_says() {
    let root = tempfile::tempdir().unwrap();
    let repository = root.path().join("repository");
    std::fs::create_dir(&repository).unwrap();
    let (expected, keys) = generate::generate_sealed(&repository).await.unwrap();
    for (name, text) in keys {
        std::fs::write(root.path().join(name), text).unwrap();
    }
    for name in IDENTITIES {
        let store = in_memory(&objects(&repository)).await;
        assert_eq!(read_everything(store, &as_reader(root.path(), name)).await.unwrap(), expected);
        assert_eq!(reader_json(root.path(), name), expected);
    }
}

#[tokio::test]
async fn every_flipped_bit_and_every_cut_is_found_and_named_without_a_key() {
    let whole = whole();
    for key in counts(&whole) {
        let mut objects = whole.clone();
        for (how, bytes) in broken_copies(&whole[&key]) {
            objects.insert(key.clone(), bytes);
            match wrong_without_keys(&objects).await {
                Ok(found) => assert_eq!(found, BTreeSet::from([key.clone()]), "{how}"),
                Err(error) => assert_eq!(named(&error), Some(key.as_str()), "{how}: {error}"),
            }
        }
    }
}

#[tokio::test]
async fn every_object_that_is_gone_is_missed_without_a_key() {
    let whole = whole();
    for key in counts(&whole) {
        let mut objects = whole.clone();
        objects.remove(&key);
        let found = wrong_without_keys(&objects).await;
        match key.split('/').next().unwrap() {
            "chunks" | "lists" => assert_eq!(found.unwrap(), BTreeSet::from([key])),
            "repository.json" => {
                assert!(matches!(&found, Err(Error::Missing { object, .. }) if *object == key), "{found:?}");
            }
            // The list before it is none any more: it may name somebody who was removed. It is believed all the same.
            _ => assert!(found.unwrap().is_empty(), "{key} is not needed for verifying"),
        }
    }
    // Not one of them is left: nobody could ever read this repository again.
    let mut objects = whole.clone();
    objects.retain(|key, _| !key.starts_with("keys/"));
    assert_eq!(wrong_without_keys(&objects).await.unwrap(), BTreeSet::from(["keys/".to_owned()]));
    // No list of signers is left: only what the root has signed is believed.
    objects.clone_from(&whole);
    objects.retain(|key, _| !key.starts_with("signers/"));
    let found = wrong_without_keys(&objects).await.unwrap();
    assert!(found.len() > 1 && found.iter().all(|object| object.starts_with("manifests/app/")), "{found:?}");
}
