//! The world of the model: a store whose every call waits for its turn, and a checker that reads what is stored.

use async_trait::async_trait;
use bytes::Bytes;
use repository::{Frame, FrameKind};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;
use store::{Entry, Key, Memory, Page, Prefix, Profile, Store};
use tokio::sync::oneshot;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Happens,
    /// It happens, and the caller is told that the store did not answer.
    ReplyLost,
    RequestLost,
}

pub type Actor = u64;

#[derive(Default)]
pub struct Desk {
    pub waiting: Vec<(Actor, oneshot::Sender<Fate>)>,
    pub calls: u64,
}

/// What the checker knows from the stored bytes.
#[derive(Default)]
pub struct Checker {
    /// Objects that each manifest needs.
    pub needs: BTreeMap<String, BTreeSet<String>>,
    pub deleted: BTreeSet<String>,
    /// Backups of which an operator was told that they are kept.
    pub pinned: BTreeSet<String>,
    /// What happened to everything but chunks and lists, for people.
    pub story: Vec<String>,
}

pub struct World {
    pub memory: Arc<Memory>,
    pub desk: Mutex<Desk>,
    pub checker: Mutex<Checker>,
}

/// The store as one actor sees it.
#[derive(Clone)]
pub struct View {
    pub world: Arc<World>,
    pub actor: Actor,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the view of {}", self.actor)
    }
}

fn lost(key: &Key) -> store::Error {
    store::Error::Unavailable { what: format!("call about {key}"), location: "model".into(), source: None }
}

impl View {
    async fn turn(&self) -> Fate {
        let (go, wait) = oneshot::channel();
        self.world.desk.lock().unwrap().waiting.push((self.actor, go));
        let fate = wait.await;
        self.world.desk.lock().unwrap().calls += 1;
        match fate {
            Ok(fate) => fate,
            // The world is over.
            Err(_) => std::future::pending().await,
        }
    }

    async fn lossy<T>(
        &self,
        key: &Key,
        call: impl Future<Output = Result<T, store::Error>>,
    ) -> Result<T, store::Error> {
        match self.turn().await {
            Fate::RequestLost => Err(lost(key)),
            Fate::Happens => call.await,
            Fate::ReplyLost => {
                let _done = call.await;
                Err(lost(key))
            }
        }
    }
}

#[async_trait]
impl Store for View {
    fn location(&self) -> &str {
        "model"
    }

    async fn create(&self, key: &Key, body: Bytes, sha256: &[u8; 32]) -> Result<(), store::Error> {
        let call = async {
            let done = self.world.memory.create(key, body.clone(), sha256).await;
            if done.is_ok() {
                self.world.tell(self.actor, "creates", key, &body);
                self.world.created(key, &body).await;
            }
            done
        };
        self.lossy(key, call).await
    }

    async fn get(&self, key: &Key) -> Result<Bytes, store::Error> {
        self.lossy(key, self.world.memory.get(key)).await
    }

    async fn get_range(&self, key: &Key, start: u64, len: u64) -> Result<Bytes, store::Error> {
        self.lossy(key, self.world.memory.get_range(key, start, len)).await
    }

    async fn head(&self, key: &Key) -> Result<Entry, store::Error> {
        self.lossy(key, self.world.memory.head(key)).await
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Key>) -> Result<Page, store::Error> {
        self.turn().await;
        self.world.memory.list(prefix, after).await
    }

    async fn delete(&self, key: &Key) -> Result<(), store::Error> {
        let call = async {
            self.world.may_go(key).await;
            let done = self.world.memory.delete(key).await;
            self.world.tell(self.actor, "deletes", key, b"");
            self.world.deleted(key);
            done
        };
        self.lossy(key, call).await
    }

    async fn now(&self) -> Result<SystemTime, store::Error> {
        self.world.memory.now().await
    }

    fn use_profile(&self, _profile: &Profile) {}
}

fn text(value: &serde_json::Value) -> &str {
    value.as_str().expect("text")
}

fn object(folder: &str, reference: &serde_json::Value) -> String {
    let name = text(&reference["object"]);
    format!("{folder}/{}/{name}", &name[..2])
}

impl World {
    fn tell(&self, actor: Actor, what: &str, key: &Key, body: &[u8]) {
        if !["chunks/", "lists/", "hints/"].iter().any(|folder| key.as_str().starts_with(folder)) {
            let open = Frame::decode(body, key.as_str()).map(|frame| frame.open).unwrap_or_default();
            let open = String::from_utf8_lossy(&open).chars().take(240).collect::<String>();
            self.checker.lock().unwrap().story.push(format!("{actor} {what} {key} {open}"));
        }
    }

    /// Everything that a stored manifest refers to is there at that moment.
    async fn created(&self, key: &Key, body: &[u8]) {
        let key = key.as_str();
        if key.starts_with("chunks/") || key.starts_with("lists/") {
            assert!(!self.checker.lock().unwrap().deleted.contains(key), "{key} came back");
        }
        if !key.starts_with("manifests/") {
            return;
        }
        let frame = Frame::decode(body, key).unwrap();
        if frame.kind != FrameKind::Manifest {
            return;
        }
        let open: serde_json::Value = serde_json::from_slice(&frame.open).unwrap();
        let mut needs = BTreeSet::new();
        let documents = open["documents"].as_array().unwrap();
        needs.extend(documents.iter().flat_map(|it| it["refs"].as_array().unwrap()).map(|it| object("chunks", it)));
        for list in open["lists"].as_array().unwrap() {
            let name = object("lists", list);
            let bytes = self.memory.get(&Key::parse(&name).unwrap()).await;
            let bytes = bytes.unwrap_or_else(|_| panic!("{key} was committed, and {name} is gone"));
            let open: serde_json::Value = serde_json::from_slice(&Frame::decode(&bytes, &name).unwrap().open).unwrap();
            needs.extend(open["refs"].as_array().unwrap().iter().map(|it| object("chunks", it)));
            needs.insert(name);
        }
        for name in &needs {
            let there = self.memory.head(&Key::parse(name).unwrap()).await;
            assert!(there.is_ok(), "{key} was committed, and {name} is gone");
        }
        self.checker.lock().unwrap().needs.insert(key.to_owned(), needs);
    }

    /// The open section of a small object.
    async fn note(&self, key: &Key) -> Option<serde_json::Value> {
        let bytes = self.memory.get(key).await.ok()?;
        serde_json::from_slice(&Frame::decode(&bytes, key.as_str()).unwrap().open).ok()
    }

    /// A backup goes by a mark that names it and is there still, and by the only verdict on it: to be removed, and not this one spared.
    async fn may_go(&self, manifest: &Key) {
        if !self.checker.lock().unwrap().needs.contains_key(manifest.as_str()) {
            return;
        }
        let backup = manifest.as_str().rsplit('/').next().unwrap();
        let names = |list: &serde_json::Value| list.as_array().is_some_and(|ids| ids.iter().any(|id| id == backup));
        let (mut after, mut seen) = (None, Vec::new());
        loop {
            let page = self.memory.list(&Prefix::parse("gc/").unwrap(), after.as_ref()).await.unwrap();
            for mark in page.entries.iter().filter_map(|entry| entry.key.as_str().strip_suffix("/removed")) {
                let note = async |part: &str| self.note(&Key::parse(&format!("{mark}/{part}")).unwrap()).await;
                let (removed, verdict) = (note("removed").await.unwrap(), note("verdict").await.unwrap_or_default());
                if names(&removed["backups"]) {
                    if verdict["verdict"] == "swept" && !names(&verdict["spared"]) {
                        return;
                    }
                    seen.push(verdict.to_string());
                }
            }
            after = page.entries.last().map(|entry| entry.key.clone());
            if !page.more {
                panic!(
                    "{manifest} is removed, and no mark is there by which it may go; verdicts on those that name it: {seen:?}"
                );
            }
        }
    }

    /// What is deleted is needed by no manifest, and a manifest that is deleted may go.
    fn deleted(&self, key: &Key) {
        let (key, mut checker) = (key.as_str(), self.checker.lock().unwrap());
        if key.starts_with("chunks/") || key.starts_with("lists/") {
            let user = checker.needs.iter().find(|(_, needs)| needs.contains(key));
            assert!(user.is_none(), "{key} was deleted, and {} needs it", user.unwrap().0);
            checker.deleted.insert(key.to_owned());
        }
        if checker.needs.contains_key(key) {
            assert!(!checker.pinned.contains(key), "{key} was removed although it is pinned");
            let folder = &key[..=key.rfind('/').unwrap()];
            let newest = checker.needs.keys().filter(|it| it.starts_with(folder)).max().unwrap();
            assert!(newest != key, "{key} was removed, the newest of its source");
            checker.needs.remove(key);
        }
    }
}
