//! A store with faults, and backups of made-up tables.

use async_trait::async_trait;
use bytes::Bytes;
use engine::{Digest, row_hash};
use repository::{
    BackupId, BeginOptions, Commit, Error, Hash, Manifest, Repository, SegmentRecord, SegmentRefs, Session, Share,
    Sizes, SourceName, UnitWriter, read_all,
};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use store::{Entry, Key, Memory, Page, Prefix, Profile, Store};
use tokio::sync::oneshot;

/// Chunks of about 3 KiB.
pub const SIZES: Sizes = Sizes { least: 1 << 10, aim: 2 << 10, greatest: 8 << 10 };

/// What happens to a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It succeeds, the reply is lost, and the store's own retry finds the object there.
    LostReply,
    /// It succeeds, and no attempt is ever answered.
    Unanswered,
    /// It does not happen.
    Refused,
}

/// Memory with faults by key, which counts puts.
#[derive(Debug)]
pub struct Faulty {
    pub memory: Memory,
    pub faults: Mutex<Vec<(&'static str, Fault)>>,
    pub puts: Mutex<HashMap<String, usize>>,
    /// Reads of keys that begin like this fail.
    pub unreadable: Mutex<Option<&'static str>>,
    /// The next put or delete of a key that contains this waits until it is woken.
    asleep: Mutex<Option<(&'static str, oneshot::Receiver<()>)>>,
}

impl Faulty {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            memory: Memory::new(),
            faults: Mutex::default(),
            puts: Mutex::default(),
            unreadable: Mutex::default(),
            asleep: Mutex::default(),
        })
    }

    /// From now on, puts of keys that contain `part` meet the fault.
    pub fn set(&self, part: &'static str, fault: Fault) {
        self.faults.lock().unwrap().insert(0, (part, fault));
    }

    /// From now on, reads of keys that begin like this fail.
    pub fn fail_reads(&self, beginning: &'static str) {
        *self.unreadable.lock().unwrap() = Some(beginning);
    }

    /// Whoever is the next to put or delete a key that contains `part` sleeps before it does, until what is returned is used.
    pub fn sleep_before(&self, part: &'static str) -> oneshot::Sender<()> {
        let (wake, asleep) = oneshot::channel();
        *self.asleep.lock().unwrap() = Some((part, asleep));
        wake
    }

    /// Waits until somebody sleeps.
    pub async fn until_asleep(&self) {
        while self.asleep.lock().unwrap().is_some() {
            tokio::task::yield_now().await;
        }
    }

    async fn sleeps(&self, key: &Key) {
        let asleep = self.asleep.lock().unwrap().take_if(|(part, _)| key.as_str().contains(*part));
        if let Some((_, woken)) = asleep {
            woken.await.unwrap();
        }
    }

    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let (prefix, mut keys, mut after) = (Prefix::parse(prefix).unwrap(), Vec::new(), None);
        loop {
            let page = self.memory.list(&prefix, after.as_ref()).await.unwrap();
            keys.extend(page.entries.iter().map(|entry| entry.key.to_string()));
            after = page.entries.last().map(|entry| entry.key.clone());
            if !page.more {
                return keys;
            }
        }
    }

    pub async fn bytes(&self, key: &str) -> Bytes {
        self.memory.get(&Key::parse(key).unwrap()).await.unwrap()
    }

    pub async fn delete(&self, key: &str) {
        self.memory.delete(&Key::parse(key).unwrap()).await.unwrap();
    }

    /// Puts other bytes where an object may be.
    pub async fn replace(&self, key: &str, bytes: impl Into<Bytes>) {
        self.delete(key).await;
        let bytes = bytes.into();
        let hash = Hash::of(&bytes).0;
        self.memory.create(&Key::parse(key).unwrap(), bytes, &hash).await.unwrap();
    }

    /// Flips a bit in the middle of an object.
    pub async fn damage(&self, key: &str) {
        let mut bytes = self.bytes(key).await.to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        self.replace(key, bytes).await;
    }
}

#[async_trait]
impl Store for Faulty {
    fn location(&self) -> &str {
        "faulty"
    }

    async fn create(&self, key: &Key, body: Bytes, sha256: &[u8; 32]) -> Result<(), store::Error> {
        *self.puts.lock().unwrap().entry(key.to_string()).or_default() += 1;
        // Lets others run between asking and doing, as a network would.
        tokio::task::yield_now().await;
        self.sleeps(key).await;
        let unavailable =
            || store::Error::Unavailable { what: format!("put {key}"), location: "faulty".into(), source: None };
        let fault =
            self.faults.lock().unwrap().iter().find(|(part, _)| key.as_str().contains(part)).map(|(_, fault)| *fault);
        if fault == Some(Fault::Refused) {
            return Err(unavailable());
        }
        self.memory.create(key, body, sha256).await?;
        match fault {
            Some(Fault::LostReply) => {
                Err(store::Error::AlreadyExists { key: key.clone(), location: "faulty".into(), source: None })
            }
            Some(Fault::Unanswered) => Err(unavailable()),
            _ => Ok(()),
        }
    }

    async fn get(&self, key: &Key) -> Result<Bytes, store::Error> {
        if self.unreadable.lock().unwrap().is_some_and(|beginning| key.as_str().starts_with(beginning)) {
            return Err(store::Error::Unavailable {
                what: format!("get {key}"),
                location: "faulty".into(),
                source: None,
            });
        }
        self.memory.get(key).await
    }

    async fn get_range(&self, key: &Key, start: u64, len: u64) -> Result<Bytes, store::Error> {
        self.memory.get_range(key, start, len).await
    }

    async fn head(&self, key: &Key) -> Result<Entry, store::Error> {
        self.memory.head(key).await
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Key>) -> Result<Page, store::Error> {
        self.memory.list(prefix, after).await
    }

    async fn delete(&self, key: &Key) -> Result<(), store::Error> {
        self.sleeps(key).await;
        self.memory.delete(key).await
    }

    async fn now(&self) -> Result<SystemTime, store::Error> {
        self.memory.now().await
    }

    fn use_profile(&self, _profile: &Profile) {}
}

/// A name and rows.
pub type Table = (String, Vec<Vec<u8>>);

/// A table whose rows do not compress to nothing.
pub fn table(name: &str, rows: u32) -> Table {
    let row = |n: u32| format!("{name}\t{n}\t{}", Hash::of(&n.to_le_bytes())).into_bytes();
    (name.to_owned(), (0..rows).map(row).collect())
}

pub async fn repository() -> (Arc<Faulty>, Repository) {
    let store = Faulty::new();
    let repository = Repository::init(Arc::clone(&store) as Arc<dyn Store>, SIZES, &[]).await.unwrap();
    (store, repository)
}

pub fn source() -> SourceName {
    "app".parse().unwrap()
}

pub async fn begin(repository: &Repository) -> Session {
    let options = BeginOptions { source: source(), compression: 3, program: "test".into() };
    Session::begin(repository, options).await.unwrap()
}

/// Gives one table to a unit, as one segment.
pub async fn give(unit: &mut UnitWriter, (name, rows): &Table) -> Result<Digest, Error> {
    let mut digest = Digest::default();
    unit.begin_segment(name, 0).await;
    for row in rows {
        let hash = row_hash(row);
        digest.add(hash);
        if unit.push(row, b"\n", hash) {
            unit.drain().await?;
        }
    }
    unit.end_segment().await?;
    Ok(digest)
}

/// Stores tables, so many of them in a bundle; one each without bundles.
pub async fn store_tables(session: &Session, tables: &[Table], bundle: usize) -> Result<Commit, Error> {
    let mut segments: Vec<(SegmentRecord, SegmentRefs)> = Vec::new();
    for group in tables.chunks(bundle) {
        let mut unit = session.unit(bundle > 1);
        let mut digests = Vec::new();
        for table in group {
            digests.push(give(&mut unit, table).await?);
        }
        for ((refs, digest), (name, _)) in unit.finish().await?.into_iter().zip(digests).zip(group) {
            let record = SegmentRecord {
                stream: name.clone(),
                at: 0,
                range: "all".into(),
                digest: digest.to_string(),
                bytes: refs.bytes,
                refs: (0, 0),
            };
            segments.push((record, refs));
        }
    }
    Ok(Commit {
        segments,
        documents: vec![("catalog.json".into(), b"{}".to_vec())],
        about: serde_json::json!({ "engine": "test" }),
        scope: repository::Scope::Full,
        inexact: None,
        streams: tables.len() as u64,
        rows: tables.iter().map(|(_, rows)| rows.len() as u64).sum(),
        boundaries: BTreeMap::from([("t".to_owned(), 64)]),
        tags: Default::default(),
        pin: false,
    })
}

pub async fn back_up(repository: &Repository, tables: &[Table], bundle: usize) -> Result<Manifest, Error> {
    let session = begin(repository).await;
    let commit = store_tables(&session, tables, bundle).await?;
    session.commit(commit).await
}

/// Reads a backup back whole and compares it with what was put in.
pub async fn assert_holds(repository: &Repository, manifest: &Manifest, tables: &[Table]) {
    let manifest = repository.manifest(&manifest.header.source, manifest.header.backup).await.unwrap().unwrap();
    let mut found = BTreeMap::new();
    for list in read_all(repository, &manifest).await.unwrap() {
        for segment in &list.segments {
            let mut bytes = Vec::new();
            for chunk in list.refs_of(segment) {
                bytes.extend(repository.read_chunk(chunk, "the test").await.unwrap());
            }
            assert!(found.insert(segment.stream.clone(), bytes).is_none(), "{} is there twice", segment.stream);
        }
    }
    let joined = |rows: &[Vec<u8>]| rows.iter().flat_map(|row| [row.as_slice(), b"\n"].concat()).collect::<Vec<u8>>();
    let expected: BTreeMap<_, _> = tables.iter().map(|(name, rows)| (name.clone(), joined(rows))).collect();
    assert!(found == expected, "what came back is not what went in");
    for document in &manifest.header.documents {
        assert_eq!(repository.read_document(document, "the test").await.unwrap(), b"{}");
    }
}

/// A frame as `docs/format.md` describes it, uncompressed.
pub fn frame(kind: u8, open: &serde_json::Value) -> Vec<u8> {
    let open = open.to_string().into_bytes();
    let len = u32::try_from(open.len()).unwrap().to_le_bytes();
    let mut frame = [&b"LSHR"[..], &[1, kind, 0, 0], &[0; 16], &len, &len, &[0; 16], &open].concat();
    let hash = Hash::of(&frame);
    frame.extend_from_slice(&hash.0);
    frame
}

/// Nothing of these backups is damaged or missing.
pub async fn assert_sound(repository: &Repository, backups: &[(SourceName, BackupId)]) {
    let verified = repository.verify(backups, Share::ALL, &|_| {}).await.unwrap();
    assert_eq!((verified.backups, verified.damaged), (backups.len() as u64, 0), "{:?}", verified.damage);
}
