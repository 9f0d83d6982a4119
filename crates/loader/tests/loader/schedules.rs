//! Loaders in random order: two or three of them, without any lease, stopped between any two steps, killed there, or ended by the server.
//!
//! A seeded driver decides who goes on and who dies. The code and the server are the real ones; locks are waited for so briefly that a step always
//! ends. Shown in every world: a run that says it has loaded a drop has, and one that says it has not has not; and when all is over, each drop is in
//! the table exactly once, and once in the ledger.
//!
//! `LONGSHORE_LOADER_WORLDS` says how many worlds (default 40, or 12 on MySQL and MariaDB: a world takes seconds). A world that fails names its seed; `LONGSHORE_LOADER_SEED` begins there.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lease::RunId;
use loader::{Done, Error, Limits, Mode, Step, Steps, Target, load};
use testkit::servers::{Flavour, TestDatabase, mysql, postgres};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::kit::{Hand, always, at, is_loaded, plan, quick, run};
use crate::mysql::Schema;

/// A database that loaders meet in.
#[async_trait]
trait Ground: Send + Sync {
    async fn exec(&self, statement: &str);
    async fn value(&self, query: &str) -> String;
    /// A table of it, to append to.
    fn target(&self, table: &str, limits: Limits) -> Arc<dyn Target>;
    /// The ledger, in SQL.
    fn ledger(&self) -> &'static str;
}

#[async_trait]
impl Ground for TestDatabase {
    async fn exec(&self, statement: &str) {
        self.exec(statement).await;
    }

    async fn value(&self, query: &str) -> String {
        self.value(query).await
    }

    fn target(&self, table: &str, limits: Limits) -> Arc<dyn Target> {
        Arc::new(at(&self.url(), table, Mode::Append, limits))
    }

    fn ledger(&self) -> &'static str {
        "longshore.load_ledger"
    }
}

#[async_trait]
impl Ground for Schema {
    async fn exec(&self, statement: &str) {
        self.0.exec(statement).await;
    }

    async fn value(&self, query: &str) -> String {
        self.0.one(query).await
    }

    fn target(&self, table: &str, limits: Limits) -> Arc<dyn Target> {
        Arc::new(crate::mysql::at(&self.0.url(), table, Mode::Append, limits))
    }

    fn ledger(&self) -> &'static str {
        "longshore_load_ledger"
    }
}

/// Drops that the loaders have to load.
const DROPS: usize = 2;
/// Rows of each.
const ROWS: usize = 7;
/// Decisions of the driver in one world.
const TURNS: u32 = 40;
/// Worlds at the same time: each has a job and a table of its own.
const AT_ONCE: usize = 4;
/// Tries to load a drop when everybody else has gone: sessions of killed runs end a little later.
const TRIES: u32 = 200;

/// SplitMix64: a seed gives the same decisions on every machine (Steele, Lea, Flood 2014).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// What a loader tells the driver.
enum News {
    Stands(oneshot::Sender<()>),
    Ended(Box<Result<Done, Error>>),
}

struct Gate(mpsc::UnboundedSender<News>);

#[async_trait]
impl Steps for Gate {
    async fn at(&self, _step: Step) {
        let (go, gone) = oneshot::channel();
        if self.0.send(News::Stands(go)).is_ok() {
            drop(gone.await);
        }
    }
}

/// One loader: at nothing, or in the middle of a run.
#[derive(Default)]
struct Loader {
    at_work: Option<Work>,
}

struct Work {
    drop: usize,
    run: RunId,
    task: JoinHandle<()>,
    news: mpsc::UnboundedReceiver<News>,
    go: Option<oneshot::Sender<()>>,
}

/// One world.
struct World {
    seed: u64,
    db: Arc<dyn Ground>,
    table: String,
    target: Arc<dyn Target>,
    dice: Dice,
    /// What runs have said of themselves: which, and whether they have loaded.
    said: Vec<(RunId, usize, bool)>,
    commits: u32,
    refusals: u32,
}

fn drop_of(number: usize) -> Hand {
    let rows: Vec<String> = (0..ROWS).map(|row| format!("{number}|{row}")).collect();
    Hand::new(&["number", "place"], &rows.iter().map(String::as_str).collect::<Vec<_>>())
}

impl World {
    async fn new(db: &Arc<dyn Ground>, seed: u64) -> World {
        let mut dice = Dice(seed);
        let table = format!("world_{seed}");
        db.exec(&format!("create table {table} (number int, place int)")).await;
        // In some worlds the server ends a merge that sleeps almost at once.
        let idle = Duration::from_millis(if dice.below(3) == 0 { 5 } else { 60_000 });
        let limits = Limits { lock: Duration::from_millis(30), idle, settle: Duration::from_secs(30) };
        let target = db.target(&table, limits);
        World { seed, db: Arc::clone(db), table, target, dice, said: Vec::new(), commits: 0, refusals: 0 }
    }

    fn begin(&mut self) -> Work {
        let number = usize::try_from(self.dice.below(DROPS as u64)).unwrap();
        let (tell, news) = mpsc::unbounded_channel();
        let (target, plan) = (Arc::clone(&self.target), plan(&self.table));
        let run = plan.run;
        let task = tokio::spawn(async move {
            let ended = load(&*target, &mut drop_of(number), &plan, &always(), &Gate(tell.clone())).await;
            drop(tell.send(News::Ended(Box::new(ended))));
        });
        Work { drop: number, run, task, news, go: None }
    }

    /// One decision about one loader.
    async fn turn(&mut self, loader: &mut Loader) {
        match loader.at_work.take() {
            None => {
                let work = self.begin();
                loader.at_work = self.listen(work).await;
            }
            Some(work) if self.dice.below(6) == 0 => {
                work.task.abort();
                drop(work.task.await);
            }
            Some(mut work) => {
                if let Some(go) = work.go.take() {
                    go.send(()).ok();
                }
                loader.at_work = self.listen(work).await;
            }
        }
    }

    /// Waits until the loader stands somewhere, or has ended.
    async fn listen(&mut self, mut work: Work) -> Option<Work> {
        match work.news.recv().await.unwrap_or_else(|| panic!("seed {}: a loader ended without a word", self.seed)) {
            News::Stands(go) => {
                work.go = Some(go);
                Some(work)
            }
            News::Ended(ended) => {
                self.hear(work.run, work.drop, &ended);
                None
            }
        }
    }

    fn hear(&mut self, run: RunId, number: usize, ended: &Result<Done, Error>) {
        match ended {
            Ok(done) => {
                self.commits += u32::from(is_loaded(done));
                self.said.push((run, number, is_loaded(done)));
            }
            Err(error) => {
                assert!(error.is_settled(), "seed {}: {error}", self.seed);
                let expected = matches!(error, Error::Superseded(_) | Error::Merging { .. } | Error::Target(_));
                assert!(expected, "seed {}: {error}", self.seed);
                self.refusals += 1;
                self.said.push((run, number, false));
            }
        }
    }

    async fn count(&self, query: &str) -> usize {
        self.db.value(query).await.parse().unwrap()
    }

    /// What runs have said is so, and each drop is loaded once when it is tried until it is.
    async fn end(mut self) -> (u32, u32) {
        let (seed, table, ledger) = (self.seed, self.table.clone(), self.db.ledger());
        for (run, number, loaded) in std::mem::take(&mut self.said) {
            let query = format!("select count(*) from {ledger} where run_id = '{run}' and status = 'loaded'");
            assert_eq!(self.count(&query).await, usize::from(loaded), "seed {seed}: run {run} of drop {number}");
        }
        let last = self.db.target(&table, quick());
        for number in 0..DROPS {
            let mut tries = 0;
            while let Err(error) = run(&*last, &drop_of(number), &plan(&table)).await {
                tries += 1;
                assert!(matches!(error, Error::Merging { .. }) && tries < TRIES, "seed {seed}: {error}");
            }
            let rows = format!("select count(*) from {table} where number = {number}");
            assert_eq!(self.count(&rows).await, ROWS, "seed {seed}: drop {number} is in the table");
        }
        let loaded = format!("select count(*) from {ledger} where job = '{table}' and status = 'loaded'");
        assert_eq!(self.count(&loaded).await, DROPS, "seed {seed}");
        self.db.exec(&format!("drop table {table}")).await;
        (self.commits, self.refusals)
    }
}

async fn world(db: Arc<dyn Ground>, seed: u64) -> (u32, u32) {
    let mut world = World::new(&db, seed).await;
    let mut loaders: Vec<Loader> = (0..2 + world.dice.below(2)).map(|_| Loader::default()).collect();
    for _ in 0..TURNS {
        let who = usize::try_from(world.dice.below(loaders.len() as u64)).unwrap();
        world.turn(&mut loaders[who]).await;
    }
    // Those who still stand somewhere go on to their ends, in any order.
    while let Some(who) = loaders.iter().position(|loader| loader.at_work.is_some()) {
        let Some(mut work) = loaders[who].at_work.take() else { continue };
        if let Some(go) = work.go.take() {
            go.send(()).ok();
        }
        loaders[who].at_work = world.listen(work).await;
    }
    world.end().await
}

fn number(name: &str, or: u64) -> u64 {
    std::env::var(name).map_or(or, |text| text.parse().unwrap())
}

async fn worlds(db: Arc<dyn Ground>, worlds: u64) {
    let (worlds, first) = (number("LONGSHORE_LOADER_WORLDS", worlds), number("LONGSHORE_LOADER_SEED", 1));
    let (mut commits, mut refusals) = (0, 0);
    let mut running = tokio::task::JoinSet::new();
    for seed in first..first + worlds {
        if running.len() == AT_ONCE
            && let Some(done) = running.join_next().await
        {
            let (committed, refused) = done.unwrap();
            commits += committed;
            refusals += refused;
        }
        running.spawn(world(Arc::clone(&db), seed));
    }
    while let Some(done) = running.join_next().await {
        let (committed, refused) = done.unwrap();
        commits += committed;
        refusals += refused;
    }
    println!("{worlds} worlds: {commits} loads committed, {refusals} runs refused");
    // Both happen, or the worlds show nothing.
    assert!(commits > 0 && refusals > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_drop_is_loaded_once_in_any_order() {
    worlds(Arc::new(postgres(17).await.create_database().await), 40).await;
}

/// These servers wait for locks by whole seconds: a world takes longer.
async fn worlds_of(flavour: Flavour) {
    let Some(server) = mysql(flavour).await else { return };
    worlds(Arc::new(Schema(server.database().await)), 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_drop_is_loaded_once_in_any_order_on_mariadb_10() {
    worlds_of(Flavour::MariaDb10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_drop_is_loaded_once_in_any_order_on_mariadb_11() {
    worlds_of(Flavour::MariaDb11).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_drop_is_loaded_once_in_any_order_on_mysql_5() {
    worlds_of(Flavour::MySql5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_drop_is_loaded_once_in_any_order_on_mysql_9() {
    worlds_of(Flavour::MySql9).await;
}
