//! G8, explored: writers, maintenances and an operator take random turns at one store, call by call.
//!
//! The code under test is the real one. Each of its calls to the store waits for its turn; a seeded driver decides whose turn it is,
//! and also who pauses, who dies, whose request or reply is lost, and how far the store's clock jumps. After each call a
//! checker that reads the stored bytes itself knows that no manifest refers to an object that is not there, that no pinned
//! and no newest backup is gone and none but by a mark and its verdict, and that no name comes back. At the end everybody is
//! done, and nothing is left that no backup needs.
//!
//! `LONGSHORE_MODEL_STEPS` says how many calls (default 40,000), `LONGSHORE_MODEL_SEED` which world to begin with: the seed of a world that
//! fails is printed, with its story, because the ids in it are drawn anew each time.

mod actors;
mod world;

use crate::support::{SIZES, assert_sound};
use actors::{Dice, operate, prune, write};
use repository::{BackupId, Error, Repository, SourceName};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};
use store::{Memory, Prefix, Store};
use tokio::task::JoinHandle;
use world::{Actor, Fate, View, World};

const HOUR: Duration = Duration::from_secs(3_600);
/// Calls in one world, before the next one with another seed.
const STEPS_PER_WORLD: u64 = 8_000;
/// Actors at the same time.
const WRITERS: usize = 3;
const PRUNERS: usize = 2;

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
    /// One of half so many calls is lost: where many are, hardly a maintenance comes to its end.
    trouble: u64,
    /// Whether no writer is ever given up for its silence.
    patient: bool,
}

impl Driver {
    async fn new(seed: u64) -> Self {
        let memory = Arc::new(Memory::new());
        memory.set_clock(UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        let world = Arc::new(World { memory, desk: Mutex::default(), checker: Mutex::default() });
        let (store, sizes) = (View { world: Arc::clone(&world), actor: 0 }, SIZES);
        let made = tokio::spawn(async move { Repository::init(Arc::new(store), sizes, &[]).await.map(drop) });
        let trouble = [400, 4_000, 1_000_000][usize::try_from(seed % 3).unwrap()];
        let mut driver = Self {
            world,
            dice: Dice(seed),
            running: Vec::new(),
            next: 1,
            step: 0,
            trouble,
            patient: seed.is_multiple_of(2),
        };
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
            Role::Pruner => tokio::spawn(prune(Arc::new(view), None, self.patient, dice)),
            Role::LastPruner => tokio::spawn(prune(Arc::new(view), Some(1), self.patient, dice)),
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
        let fate = match self.dice.below(self.trouble) {
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
        if self.number(Role::Pruner) < PRUNERS && self.dice.one_in(if self.patient { 4 } else { 40 }) {
            self.start(Role::Pruner);
        }
        if self.number(Role::Operator) < 1 && self.dice.one_in(300) {
            self.start(Role::Operator);
        }
        if !self.running.is_empty() && self.dice.one_in(60) {
            let unlucky = usize::try_from(self.dice.below(self.running.len() as u64)).unwrap();
            if self.patient && self.running[unlucky].role == Role::Writer {
                self.running[unlucky].paused_until = self.step + self.dice.below(5_000);
            } else if self.dice.one_in(4) {
                self.running[unlucky].task.abort();
            } else {
                // Long enough for three runs of maintenance: what one may lose while it sleeps takes that long.
                let longest = if self.dice.one_in(3) { 5_000 } else { 200 };
                self.running[unlucky].paused_until = self.step + self.dice.below(longest);
            }
        }
        if self.dice.one_in(25) {
            let longest = if self.dice.one_in(20) { 60 * 3_600 } else { 3_600 };
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
        let needed: BTreeSet<String> = self.world.checker.lock().unwrap().needs.values().flatten().cloned().collect();
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
#[expect(clippy::print_stdout, reason = "what was explored, and the story of a world that failed")]
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
