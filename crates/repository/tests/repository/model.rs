//! G8, explored: writers, maintenances and an operator take random turns at one store, call by call.
//!
//! The code under test is the real one. Each of its calls to the store waits for its turn; a seeded driver decides whose turn it is,
//! and also who pauses, who dies, whose request or reply is lost, and how far the store's clock jumps. After each call a
//! checker that reads the stored bytes itself knows that no manifest refers to an object that is not there, that no pinned
//! and no newest backup is gone, and that no name comes back. At the end everybody is done, and nothing is left that no
//! backup needs.
//!
//! `LONGSHORE_MODEL_STEPS` says how many calls (default 40,000), `LONGSHORE_MODEL_SEED` which world to begin with: the seed of a world that
//! fails is printed, with its story, because the ids in it are drawn anew each time.

use crate::support::{SIZES, Table, assert_sound, store_tables};
use async_trait::async_trait;
use bytes::Bytes;
use repository::retention::Policy;
use repository::{BackupId, BeginOptions, Error, Frame, FrameKind, PruneOptions, Repository, Session, SourceName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::{Entry, Key, Memory, Page, Prefix, Profile, Store};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const HOUR: Duration = Duration::from_secs(3_600);
/// Calls in one world, before the next one with another seed.
const STEPS_PER_WORLD: u64 = 4_000;
/// Actors at the same time.
const WRITERS: usize = 3;
const PRUNERS: usize = 2;

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    fn one_in(&mut self, chance: u64) -> bool {
        self.below(chance) == 0
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Happens,
    /// It happens, and the caller is told that the store did not answer.
    ReplyLost,
    RequestLost,
}

type Actor = u64;

#[derive(Default)]
struct Desk {
    waiting: Vec<(Actor, oneshot::Sender<Fate>)>,
    calls: u64,
}

/// What the checker knows from the stored bytes.
#[derive(Default)]
struct Checker {
    /// Objects that each manifest needs.
    needs: BTreeMap<String, BTreeSet<String>>,
    deleted: BTreeSet<String>,
    /// Backups of which an operator was told that they are kept.
    pinned: BTreeSet<String>,
    /// What happened to everything but chunks and lists, for people.
    story: Vec<String>,
}

struct World {
    memory: Arc<Memory>,
    desk: Mutex<Desk>,
    checker: Mutex<Checker>,
}

/// The store as one actor sees it.
#[derive(Clone)]
struct View {
    world: Arc<World>,
    actor: Actor,
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

fn source(number: u64) -> SourceName {
    format!("app{number}").parse().unwrap()
}

/// One of a few contents, so that they come back after they were swept.
fn content(dice: &mut Dice) -> Table {
    let (name, version) = (dice.below(3), dice.below(3));
    let row = |n: u32| format!("{name}\t{version}\t{n}\t{}", "x".repeat(40)).into_bytes();
    (format!("t{name}"), (0..30).map(row).collect())
}

async fn write(store: Arc<dyn Store>, mut dice: Dice) -> Result<(), Error> {
    let repository = Repository::open(store).await?;
    let options = BeginOptions { source: source(dice.below(2)), compression: 1, program: "model".into() };
    let session = Session::begin(&repository, options).await?;
    let mut tables: Vec<Table> = (0..=dice.below(3)).map(|_| content(&mut dice)).collect();
    tables.sort();
    tables.dedup_by(|a, b| a.0 == b.0);
    let bundle = if dice.one_in(2) { 1 } else { 8 };
    let commit = store_tables(&session, &tables, bundle).await?;
    if dice.one_in(8) {
        session.abandon("interrupted").await;
        return Ok(());
    }
    session.commit(commit).await.map(drop)
}

/// Keeps the newest `last`, or a random number of them.
async fn prune(store: Arc<dyn Store>, last: Option<u32>, mut dice: Dice) -> Result<(), Error> {
    let repository = Repository::open(store).await?;
    let drawn = u32::try_from(1 + dice.below(3)).unwrap();
    let last = last.unwrap_or(drawn);
    let plan = repository.plan_retention(&Policy { last, ..Policy::default() }, None, 0).await?;
    repository.prune(&plan, &patience(&mut dice)).await.map(drop)
}

fn patience(dice: &mut Dice) -> PruneOptions {
    PruneOptions {
        grace: HOUR * u32::try_from(dice.below(30)).unwrap(),
        undo: HOUR * u32::try_from(dice.below(30)).unwrap(),
        silent: HOUR * u32::try_from(1 + dice.below(30)).unwrap(),
        least_percent: 0,
        holder: "model".into(),
    }
}

/// Pins, unpins, and undoes removals.
async fn operate(view: View, mut dice: Dice) -> Result<(), Error> {
    let repository = Repository::open(Arc::new(view.clone())).await?;
    let source = source(dice.below(2));
    if dice.one_in(3) {
        return repository.undo_removals(Some(&source)).await.map(drop);
    }
    let ids = repository.backup_ids(Some(&source)).await?;
    let Some((_, id)) = ids.get(usize::try_from(dice.below(ids.len().max(1) as u64)).unwrap()) else { return Ok(()) };
    let key = format!("manifests/{source}/{id}");
    // Whether it is there at the moment of the promise is the checker's to know: a pin of nothing promises nothing.
    if dice.one_in(3) {
        view.world.checker.lock().unwrap().pinned.remove(&key);
        return repository.unpin(&source, *id).await;
    }
    repository.pin(&source, *id).await?;
    let mut checker = view.world.checker.lock().unwrap();
    if checker.needs.contains_key(&key) {
        checker.pinned.insert(key);
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Writer,
    Pruner,
    /// Leaves one backup of each source.
    LastPruner,
    Operator,
}

struct Running {
    actor: Actor,
    role: Role,
    task: JoinHandle<Result<(), Error>>,
    /// Not before this step is it its turn.
    paused_until: u64,
}

/// Errors that a world without trouble has, too; anything else is a bug.
fn is_expected(error: &Error) -> bool {
    matches!(
        error,
        Error::Store { .. }
            | Error::Busy { .. }
            | Error::LostLease
            | Error::Revoked { .. }
            | Error::Condemned { .. }
            | Error::NotFound { .. }
            | Error::Missing { .. }
    )
}

struct Driver {
    world: Arc<World>,
    dice: Dice,
    running: Vec<Running>,
    next: Actor,
    step: u64,
}

impl Driver {
    async fn new(seed: u64) -> Self {
        let memory = Arc::new(Memory::new());
        memory.set_clock(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let world = Arc::new(World { memory, desk: Mutex::default(), checker: Mutex::default() });
        let (store, sizes) = (View { world: Arc::clone(&world), actor: 0 }, SIZES);
        let made = tokio::spawn(async move { Repository::init(Arc::new(store), sizes).await.map(drop) });
        let mut driver = Self { world, dice: Dice(seed), running: Vec::new(), next: 1, step: 0 };
        driver.running.push(Running { actor: 0, role: Role::Operator, task: made, paused_until: 0 });
        driver.finish().await;
        driver
    }

    fn start(&mut self, role: Role) {
        let (actor, dice) = (self.next, Dice(self.dice.roll()));
        self.next += 1;
        let view = View { world: Arc::clone(&self.world), actor };
        let task = match role {
            Role::Writer => tokio::spawn(write(Arc::new(view), dice)),
            Role::Pruner => tokio::spawn(prune(Arc::new(view), None, dice)),
            Role::LastPruner => tokio::spawn(prune(Arc::new(view), Some(1), dice)),
            Role::Operator => tokio::spawn(operate(view, dice)),
        };
        self.running.push(Running { actor, role, task, paused_until: 0 });
    }

    fn number(&self, role: Role) -> usize {
        self.running.iter().filter(|running| running.role == role).count()
    }

    /// Waits until everybody waits for a turn or is done; reports whoever is done.
    async fn settle(&mut self) {
        loop {
            for _ in 0..4 {
                tokio::task::yield_now().await;
            }
            let mut at = 0;
            while at < self.running.len() {
                if self.running[at].task.is_finished() {
                    match self.running.swap_remove(at).task.await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => assert!(is_expected(&error), "{error:?}"),
                        Err(ended) => assert!(!ended.is_panic(), "an actor panicked: {ended}"),
                    }
                } else {
                    at += 1;
                }
            }
            let desk = self.world.desk.lock().unwrap();
            let waits = |running: &Running| desk.waiting.iter().any(|(actor, _)| *actor == running.actor);
            if self.running.iter().all(waits) {
                return;
            }
        }
    }

    /// Gives somebody a turn, and waits until the call is done.
    async fn turn(&mut self, with_trouble: bool) {
        let (before, go) = {
            let mut desk = self.world.desk.lock().unwrap();
            let paused = |actor: Actor| {
                self.running.iter().any(|running| running.actor == actor && running.paused_until > self.step)
            };
            let ready: Vec<usize> = (0..desk.waiting.len()).filter(|at| !paused(desk.waiting[*at].0)).collect();
            if ready.is_empty() {
                return;
            }
            let chosen = ready[usize::try_from(self.dice.below(ready.len() as u64)).unwrap()];
            (desk.calls, desk.waiting.remove(chosen).1)
        };
        let fate = match self.dice.below(400) {
            0 if with_trouble => Fate::ReplyLost,
            1 if with_trouble => Fate::RequestLost,
            _ => Fate::Happens,
        };
        // Whoever asked may have died meanwhile.
        if go.send(fate).is_ok() {
            while self.world.desk.lock().unwrap().calls == before {
                tokio::task::yield_now().await;
            }
        }
    }

    /// One step with everything that may go wrong.
    async fn step(&mut self) {
        self.step += 1;
        if self.number(Role::Writer) < WRITERS && self.dice.one_in(10) {
            self.start(Role::Writer);
        }
        if self.number(Role::Pruner) < PRUNERS && self.dice.one_in(40) {
            self.start(Role::Pruner);
        }
        if self.number(Role::Operator) < 1 && self.dice.one_in(100) {
            self.start(Role::Operator);
        }
        if !self.running.is_empty() && self.dice.one_in(60) {
            let unlucky = usize::try_from(self.dice.below(self.running.len() as u64)).unwrap();
            if self.dice.one_in(4) {
                self.running[unlucky].task.abort();
            } else {
                self.running[unlucky].paused_until = self.step + self.dice.below(800);
            }
        }
        if self.dice.one_in(25) {
            let longest = if self.dice.one_in(6) { 60 * 3_600 } else { 1_800 };
            self.world.memory.advance_clock(Duration::from_secs(1 + self.dice.below(longest)));
        }
        self.settle().await;
        self.turn(true).await;
    }

    /// Lets everybody come to an end.
    async fn finish(&mut self) {
        loop {
            self.running.iter_mut().for_each(|running| running.paused_until = 0);
            self.settle().await;
            if self.running.is_empty() && self.world.desk.lock().unwrap().waiting.is_empty() {
                return;
            }
            self.turn(false).await;
        }
    }

    /// In peace, maintenance leaves nothing that no backup needs, and every backup is whole.
    async fn conclude(&mut self) {
        self.finish().await;
        // The first marks, the second removes and condemns, the third deletes.
        for _ in 0..4 {
            self.world.memory.advance_clock(48 * HOUR);
            self.start(Role::LastPruner);
            self.finish().await;
        }
        let checker = self.world.checker.lock().unwrap();
        let needed: BTreeSet<String> = checker.needs.values().flatten().cloned().collect();
        drop(checker);
        for folder in ["chunks/", "lists/"] {
            for key in keys(&self.world.memory, folder).await {
                assert!(needed.contains(&key), "{key} is left, and nothing needs it");
            }
        }
        assert!(keys(&self.world.memory, "gc/").await.iter().all(|key| !key.ends_with("waits-for")), "a sweep is left");
        let manifests: Vec<String> = self.world.checker.lock().unwrap().needs.keys().cloned().collect();
        // Nobody else is there: reading needs no turns.
        let repository = Repository::open(Arc::clone(&self.world.memory) as Arc<dyn Store>).await.unwrap();
        let backups = manifests.iter().map(|key| {
            let mut parts = key.split('/').skip(1);
            let source: SourceName = parts.next().unwrap().parse().unwrap();
            (source, parts.next().unwrap().parse::<BackupId>().unwrap())
        });
        assert_sound(&repository, &backups.collect::<Vec<_>>()).await;
    }
}

async fn keys(memory: &Memory, folder: &str) -> Vec<String> {
    let (prefix, mut keys, mut after) = (Prefix::parse(folder).unwrap(), Vec::new(), None);
    loop {
        let page = memory.list(&prefix, after.as_ref()).await.unwrap();
        keys.extend(page.entries.iter().map(|entry| entry.key.to_string()));
        after = page.entries.last().map(|entry| entry.key.clone());
        if !page.more {
            return keys;
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn no_backup_loses_an_object_whatever_the_order_of_calls() {
    let first = setting("LONGSHORE_MODEL_SEED", 1);
    let worlds = setting("LONGSHORE_MODEL_STEPS", 40_000).div_ceil(STEPS_PER_WORLD);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().max_blocking_threads(1).build().unwrap();
    let (mut committed, mut swept) = (0, 0);
    for seed in first..first + worlds {
        let teller: Mutex<Option<Arc<World>>> = Mutex::default();
        let world = async {
            let mut driver = Driver::new(seed).await;
            *teller.lock().unwrap() = Some(Arc::clone(&driver.world));
            for _ in 0..STEPS_PER_WORLD {
                driver.step().await;
            }
            driver.conclude().await;
            let checker = driver.world.checker.lock().unwrap();
            (checker.needs.len(), checker.deleted.len())
        };
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(world)));
        let (backups, deleted) = ended.unwrap_or_else(|_| {
            let world = teller.lock().unwrap().clone().expect("a world");
            let checker = world.checker.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            println!("{}", checker.story.join("\n"));
            panic!("the world of LONGSHORE_MODEL_SEED={seed} failed")
        });
        committed += backups;
        swept += deleted;
    }
    println!("{worlds} worlds from seed {first} on: {committed} backups left, {swept} objects swept");
    assert!(
        committed as u64 >= worlds && swept as u64 >= worlds,
        "{committed} backups, {swept} objects: too little to say much"
    );
}
