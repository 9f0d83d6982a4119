//! Golden repositories: what was written once stays readable, and damage to it is named.
//!
//! Owns the comparison of `v1/repository` with `v1/expected.json`, by the code and by `reader.py`, which follows
//! `docs/format.md` and knows no more; `sealed.rs` does the same for the encrypted one, `broken.rs` for tampered ones. Promises that every object of the frozen repository is damaged in every way here: a bit flipped,
//! cut short, deleted. Broken repositories are made from copies; nothing here writes into `v1`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod broken;
mod generate;
mod sealed;

use engine::{Digest, row_hash};
use repository::{Access, Error, Frame, FrameKind, Hash, Manifest, Repository, read_all};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use store::{Key, Memory, Prefix, Store};

type Objects = BTreeMap<String, Vec<u8>>;

const NO_KEYS: Access = Access { identities: Vec::new(), writer: None, pinned: None };

fn folder() -> PathBuf {
    let ancestors = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    ancestors.map(|at| at.join("tests/golden")).find(|at| at.is_dir()).expect("tests/golden is in this workspace")
}

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(folder().join("v1/expected.json")).unwrap()).unwrap()
}

/// All files below a folder, by key.
fn objects(root: &Path) -> Objects {
    let (mut found, mut folders) = (Objects::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let path = entry.path();
            found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap());
        }
    }
    found
}

async fn in_memory(objects: &Objects) -> Arc<dyn Store> {
    let store = Memory::new();
    for (key, bytes) in objects {
        store.create(&Key::parse(key).unwrap(), bytes.clone().into(), &Hash::of(bytes).0).await.unwrap();
    }
    Arc::new(store)
}

/// Reads all that a repository holds, in the shape of `expected.json`; what no backup needs is decoded at least.
async fn read_everything(store: Arc<dyn Store>, access: &Access) -> Result<Value, Error> {
    let repository = Repository::open_with(Arc::clone(&store), access).await?;
    let manifests = repository.backups(None).await?;
    let mut backups = Vec::new();
    for manifest in &manifests {
        backups.push(read_backup(&repository, manifest).await?);
    }
    let is_backup = |id| manifests.iter().any(|manifest| manifest.header.backup == id);
    let keys = repository.backup_ids(None).await?.into_iter().filter(|(_, id)| !is_backup(*id));
    let tombstones: Vec<String> = keys.map(|(source, id)| format!("manifests/{source}/{id}")).collect();
    decode_the_rest(store.as_ref()).await?;
    Ok(json!({ "format": 1, "repository": repository.config().id, "backups": backups, "tombstones": tombstones }))
}

/// Decodes what no backup needs.
async fn decode_the_rest(store: &dyn Store) -> Result<(), Error> {
    for folder in ["hints/", "sessions/", "gc/", "evidence/"] {
        for entry in store.list(&Prefix::parse(folder).unwrap(), None).await.unwrap().entries {
            let frame = Frame::decode(&store.get(&entry.key).await.unwrap(), entry.key.as_str())?;
            assert_eq!(Some(frame.kind), kind_at(entry.key.as_str()), "{}", entry.key);
        }
    }
    Ok(())
}

fn kind_at(key: &str) -> Option<FrameKind> {
    let name = key.rsplit('/').next()?;
    Some(match name {
        "start" => FrameKind::Start,
        "end" => FrameKind::End,
        "condemned" => FrameKind::Condemned,
        _ if name.starts_with("beat-") => FrameKind::Beat,
        _ if key.starts_with("hints/") => FrameKind::Hints,
        _ if key.starts_with("evidence/") => FrameKind::Evidence,
        _ => return None,
    })
}

async fn read_backup(repository: &Repository, manifest: &Manifest) -> Result<Value, Error> {
    let mut streams: BTreeMap<String, (Digest, Vec<u8>)> = BTreeMap::new();
    for list in read_all(repository, manifest).await? {
        for segment in &list.segments {
            let mut bytes = Vec::new();
            for chunk in list.refs_of(segment) {
                bytes.extend(repository.read_chunk(chunk, "the test").await?);
            }
            let mut digest = Digest::default();
            bytes.split_inclusive(|c| *c == b'\n').for_each(|row| digest.add(row_hash(&row[..row.len() - 1])));
            assert_eq!(digest.to_string(), segment.digest, "{} {}", segment.stream, segment.range);
            let whole = streams.entry(segment.stream.clone()).or_default();
            whole.0.merge(digest);
            whole.1.extend(bytes);
        }
    }
    let mut documents = Map::new();
    for document in &manifest.header.documents {
        let hash = Hash::of(&repository.read_document(document, "the test").await?);
        documents.insert(document.name.clone(), json!(hash));
    }
    let header = &manifest.header;
    let streams: Map<String, Value> = streams
        .into_iter()
        .map(|(name, (digest, bytes))| {
            (name, json!({ "rows": digest.rows, "digest": digest, "bytes": bytes.len(), "sha256": Hash::of(&bytes) }))
        })
        .collect();
    Ok(json!({
        "source": header.source, "backup": header.backup, "about": manifest.about, "rows": header.totals.rows,
        "streams": streams, "documents": documents, "reused_chunks": header.totals.reused_chunks > 0,
    }))
}

fn reader(arguments: &[&str], root: &Path) -> std::process::Output {
    let script = folder().join("reader.py");
    let output = Command::new("python3").arg(script).arg(arguments[0]).arg(root).args(&arguments[1..]).output();
    output.expect("these tests need python3, and the zstd program")
}

fn reader_json(root: &Path) -> Value {
    let output = reader(&["json"], root);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn the_code_reads_version_1_as_it_was_written() {
    let store = in_memory(&objects(&folder().join("v1/repository"))).await;
    assert_eq!(read_everything(store, &NO_KEYS).await.unwrap(), expected());
}

#[test]
fn the_reader_that_follows_the_document_agrees() {
    let root = folder().join("v1/repository");
    let expected = expected();
    assert_eq!(reader_json(&root), expected);
    let backup = &expected["backups"][1];
    let name = format!("{}@{}", backup["source"].as_str().unwrap(), backup["backup"].as_str().unwrap());
    let rows = reader(&["extract", &name, "public.events"], &root).stdout;
    assert_eq!(json!(Hash::of(&rows)), backup["streams"]["public.events"]["sha256"]);
}

#[tokio::test]
async fn what_is_written_today_is_what_the_document_says() {
    let root = tempfile::tempdir().unwrap();
    let expected = generate::generate(root.path()).await.unwrap();
    assert_eq!(reader_json(root.path()), expected);
    assert_eq!(read_everything(in_memory(&objects(root.path())).await, &NO_KEYS).await.unwrap(), expected);
}

/// Objects that something reads: all but the chunk that no backup holds, which a sweep has condemned.
fn needed(objects: &Objects) -> Vec<String> {
    let condemned = objects.iter().find(|(key, _)| key.ends_with("/condemned")).unwrap().1;
    let condemned = Frame::decode(condemned, "condemned").unwrap().open;
    let condemned: Value = serde_json::from_slice(&condemned).unwrap();
    let orphan = condemned["objects"][0].as_str().unwrap();
    objects.keys().filter(|key| !key.ends_with(orphan)).cloned().collect()
}

/// The key an error names, if it speaks of damage or absence. A flipped version byte is a version we do not know.
fn named(error: &Error) -> Option<&str> {
    match error {
        Error::Damaged { object, .. } | Error::Missing { object, .. } | Error::Format { object, .. } => Some(object),
        _ => None,
    }
}

/// An object that was damaged in many ways, and how.
fn broken_copies(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut broken = Vec::new();
    // The header byte by byte; then evenly through the object, its last byte included.
    let spread = (0..=20).map(|n| (bytes.len() - 1) * n / 20);
    for at in (0..48.min(bytes.len())).step_by(3).chain([4, 5, 6, 7]).chain(spread) {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (at % 8);
        broken.push((format!("bit {} of byte {at} flipped", at % 8), flipped));
    }
    for len in [0, 1, 47, 48, bytes.len() / 2, bytes.len() - 1] {
        broken.push((format!("cut to {len} bytes"), bytes[..len.min(bytes.len() - 1)].to_vec()));
    }
    broken
}

#[tokio::test]
async fn every_flipped_bit_and_every_cut_is_found_and_named() {
    let whole = objects(&folder().join("v1/repository"));
    for key in needed(&whole) {
        let mut objects = whole.clone();
        for (how, bytes) in broken_copies(&whole[&key]) {
            objects.insert(key.clone(), bytes);
            let error = read_everything(in_memory(&objects).await, &NO_KEYS).await.expect_err(&format!("{key}: {how}"));
            assert_eq!(named(&error), Some(key.as_str()), "{how}: {error}");
        }
    }
}

#[tokio::test]
async fn every_object_that_is_gone_is_missed() {
    let whole = objects(&folder().join("v1/repository"));
    for key in needed(&whole) {
        let mut objects = whole.clone();
        objects.remove(&key);
        let found = read_everything(in_memory(&objects).await, &NO_KEYS).await;
        match key.split('/').next().unwrap() {
            "chunks" | "lists" => match found {
                Err(Error::Missing { object, .. }) => assert_eq!(object, key),
                other => panic!("{key}: {other:?}"),
            },
            "repository.json" => {
                assert!(matches!(&found, Err(Error::Missing { object, .. }) if *object == key), "{found:?}");
            }
            // A backup without a manifest is no backup; nothing else can know that there was one.
            "manifests" => assert_ne!(found.unwrap(), expected(), "{key}"),
            _ => assert_eq!(found.unwrap(), expected(), "{key} is not needed for reading"),
        }
    }
}

/// Writes objects into a folder, as files.
fn lay_out(objects: &Objects, root: &Path) {
    for (key, bytes) in objects {
        let path = root.join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// One object of each kind.
fn one_of_each(keys: Vec<String>) -> BTreeMap<String, String> {
    let mut kinds = BTreeMap::new();
    for key in keys {
        let kind = key.split('/').next().unwrap().to_owned();
        kinds.insert(if kind == "sessions" { key.rsplit('/').next().unwrap().to_owned() } else { kind }, key);
    }
    kinds
}

/// Damages these objects one after the other, and asks the reader, which has no key.
fn assert_reader_names(whole: &Objects, kinds: BTreeMap<String, String>) {
    let copy = tempfile::tempdir().unwrap();
    lay_out(whole, copy.path());
    for (kind, key) in kinds {
        let (path, bytes) = (copy.path().join(&key), &whole[&key]);
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 4;
        let mut broken = vec![Some(flipped), Some(bytes[..bytes.len() - 1].to_vec())];
        if ["chunks", "lists"].contains(&kind.as_str()) {
            broken.push(None);
        }
        for bytes in broken {
            std::fs::remove_file(&path).unwrap();
            bytes.iter().for_each(|bytes| std::fs::write(&path, bytes).unwrap());
            let output = reader(&["verify"], copy.path());
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.code() == Some(65) && said.starts_with(&format!("{key} ")), "{key}: {said}");
            std::fs::write(&path, whole[&key].as_slice()).unwrap();
        }
    }
}

#[test]
fn the_reader_that_follows_the_document_names_damage_too() {
    let whole = objects(&folder().join("v1/repository"));
    let kinds = one_of_each(needed(&whole));
    assert_eq!(kinds.len(), 10, "{kinds:?}");
    assert_reader_names(&whole, kinds);
}
