//! The protocol, explored: loaders in random worlds, message by message, and what their lease does and does not promise.
//!
//! The code under test is the real one: `Lease`, `Held` and their task. Each message to the lease's server or to the target waits for its
//! turn; a seeded driver decides whose turn it is, whose request or answer is lost, who is stopped for how long and who is killed. Each machine's
//! clock runs up to half a percent apart from the server's. Some servers forget leases, and then give the same number twice.
//!
//! Shown, in every world: of machines whose server forgets nothing at most one believes that it holds the lease, at any moment; epochs
//! grow; a fence in the target lets exactly one load happen. And, over all worlds: without a fence two loads happen, because
//! a loader is stopped between its last look at the lease and its commit. The lease saves work, the fence gives correctness.
//!
//! `LONGSHORE_LEASE_WORLDS` says how many worlds (default 300). A world that fails names its seed; `LONGSHORE_LEASE_SEED` begins there.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use lease::{
    Answer, Backend, Cause, Claim, Clock, Epoch, Error, Grant, Job, Lease, ManualClock, Memory, Refusal, RunId, Terms,
    Watch,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Loaders at the same time.
const RIVALS: usize = 3;
/// Turns, pauses and steps of time in one world.
const STEPS: u32 = 400;

/// What becomes of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives,
    Lost,
}

/// SplitMix64: a seed gives the same world on every machine (Steele, Lea, Flood 2014).
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

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// What the loaders share: messages under way, and the target.
#[derive(Default)]
struct World {
    waiting: Mutex<Vec<(usize, oneshot::Sender<Fate>)>>,
    target: Mutex<Target>,
    grants: Mutex<Vec<(Epoch, Watch)>>,
}

/// A database that is loaded into, twice: into tables without a fence, and into tables with one.
#[derive(Default)]
struct Target {
    unfenced: u32,
    fenced: u32,
    fence: (u64, Option<RunId>),
}

impl World {
    async fn turn(&self, actor: usize) -> Fate {
        let (served, turn) = oneshot::channel();
        lock(&self.waiting).push((actor, served));
        turn.await.unwrap_or(Fate::Lost)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// The way to the lease's server: a request and an answer, either of which may be lost.
#[derive(Clone)]
struct Wire {
    server: Memory,
    world: Arc<World>,
    actor: usize,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Wire")
    }
}

impl Wire {
    async fn carry(&self) -> Result<(), Error> {
        match self.world.turn(self.actor).await {
            Fate::Arrives => Ok(()),
            Fate::Lost => {
                let source: Option<Cause> = None;
                Err(Error::Unavailable { what: "carry a message".into(), location: "memory".into(), source })
            }
        }
    }
}

#[async_trait]
impl Backend for Wire {
    fn location(&self) -> &str {
        "memory"
    }
    async fn examine(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }
    async fn acquire(&self, claim: &Claim, terms: Terms) -> Result<Answer, Error> {
        self.carry().await?;
        let answer = self.server.acquire(claim, terms).await?;
        self.carry().await?;
        Ok(match answer {
            Answer::Granted(inner) => Answer::Granted(Box::new(WireGrant { inner, wire: self.clone() })),
            busy => busy,
        })
    }
}

#[derive(Debug)]
struct WireGrant {
    inner: Box<dyn Grant>,
    wire: Wire,
}

#[async_trait]
impl Grant for WireGrant {
    fn epoch(&self) -> Epoch {
        self.inner.epoch()
    }
    async fn renew(&mut self) -> Result<(), Refusal> {
        self.wire.carry().await?;
        let renewed = self.inner.renew().await;
        self.wire.carry().await?;
        renewed
    }
    async fn release(&mut self) -> Result<(), Refusal> {
        self.wire.carry().await?;
        let released = self.inner.release().await;
        self.wire.carry().await?;
        released
    }
}

/// One loader's life. The fence is minted after the lease is had, and checked together with the commit.
async fn load(lease: Lease, world: Arc<World>, actor: usize) -> Result<(), Error> {
    let claim = Claim::new(Job::parse("fragments")?, RunId::generate());
    let held = lease.acquire(&claim).await?;
    lock(&world.grants).push((held.epoch(), held.watch()));
    if world.turn(actor).await == Fate::Lost {
        return Ok(());
    }
    let fence = {
        let mut target = lock(&world.target);
        target.fence = (target.fence.0 + 1, Some(claim.run));
        target.fence
    };
    world.turn(actor).await;
    let (loaded, loaded_fenced) = {
        let target = lock(&world.target);
        (target.unfenced > 0, target.fenced > 0)
    };
    for _ in 0..3 {
        held.assert_held()?;
        world.turn(actor).await;
    }
    held.assert_held()?;
    // On its way: nobody can call it back.
    if world.turn(actor).await == Fate::Arrives {
        let mut target = lock(&world.target);
        target.unfenced += u32::from(!loaded);
        target.fenced += u32::from(!loaded_fenced && target.fence == fence);
    }
    world.turn(actor).await;
    held.release().await
}

/// A machine with a loader on it.
struct Machine {
    actor: usize,
    clock: Arc<ManualClock>,
    /// How fast its clock runs, in thousandths of the server's.
    rate: u32,
    task: JoinHandle<Result<(), Error>>,
    /// Stopped for so long.
    stopped: Duration,
}

struct Driver {
    seed: u64,
    dice: Dice,
    world: Arc<World>,
    server_clock: Arc<ManualClock>,
    server: Memory,
    machines: Vec<Machine>,
    started: usize,
    forgetful: bool,
    pauses: bool,
    /// Whether two have believed at one moment to hold the lease.
    two_believed: bool,
}

impl Driver {
    fn new(seed: u64) -> Driver {
        let server_clock = Arc::new(ManualClock::default());
        let server = Memory::new(Arc::clone(&server_clock) as Arc<dyn Clock>);
        Driver {
            seed,
            dice: Dice(seed),
            world: Arc::default(),
            server_clock,
            server,
            machines: Vec::new(),
            started: 0,
            forgetful: seed % 3 == 2,
            pauses: !seed.is_multiple_of(3),
            two_believed: false,
        }
    }

    fn start(&mut self) {
        let (actor, clock) = (self.started, Arc::new(ManualClock::default()));
        self.started += 1;
        let wire = Wire { server: self.server.clone(), world: Arc::clone(&self.world), actor };
        let lease = Lease::with_clock(Arc::new(wire), Terms::default(), Arc::clone(&clock) as Arc<dyn Clock>);
        let task = tokio::spawn(load(lease, Arc::clone(&self.world), actor));
        let rate = 995 + u32::try_from(self.dice.below(11)).unwrap();
        self.machines.push(Machine { actor, clock, rate, task, stopped: Duration::ZERO });
    }

    /// Lets time pass everywhere. Who is stopped does not see it.
    fn pass(&mut self, time: Duration) {
        self.server_clock.advance(time);
        for machine in &mut self.machines {
            machine.clock.pass(time * machine.rate / 1000);
            machine.stopped = machine.stopped.saturating_sub(time);
            if machine.stopped.is_zero() {
                machine.clock.wake();
            }
        }
    }

    /// Delivers, or loses, one message of somebody who is not stopped.
    fn serve(&mut self, trouble: bool) {
        let mut waiting = lock(&self.world.waiting);
        waiting.retain(|(_, served)| !served.is_closed());
        let awake =
            |actor: usize| self.machines.iter().any(|machine| machine.actor == actor && machine.stopped.is_zero());
        let ready: Vec<usize> = (0..waiting.len()).filter(|at| awake(waiting[*at].0)).collect();
        if ready.is_empty() {
            return;
        }
        let (_, served) = waiting.remove(ready[usize::try_from(self.dice.below(ready.len() as u64)).unwrap()]);
        let fate = if trouble && self.dice.one_in(12) { Fate::Lost } else { Fate::Arrives };
        // Who has stopped waiting hears nothing.
        served.send(fate).ok();
    }

    async fn settle(&mut self) {
        for _ in 0..24 {
            tokio::task::yield_now().await;
        }
        let mut at = 0;
        while at < self.machines.len() {
            if !self.machines[at].task.is_finished() {
                at += 1;
                continue;
            }
            match self.machines.swap_remove(at).task.await {
                Ok(Ok(()) | Err(Error::Busy(_) | Error::Lost(_) | Error::Unavailable { .. })) => {}
                Ok(Err(error)) => panic!("seed {}: {error:?}", self.seed),
                Err(ended) => assert!(!ended.is_panic(), "seed {}: a loader panicked", self.seed),
            }
        }
    }

    /// What holds at every moment.
    fn check(&mut self) {
        let grants = lock(&self.world.grants);
        let believe = grants.iter().filter(|(_, watch)| watch.is_held()).count();
        if self.forgetful {
            self.two_believed |= believe > 1;
        } else {
            assert!(believe <= 1, "seed {}: {believe} machines believe that they hold the lease", self.seed);
            assert!(grants.is_sorted_by(|(one, _), (next, _)| one < next), "seed {}: epochs do not grow", self.seed);
        }
        let fenced = lock(&self.world.target).fenced;
        assert!(fenced <= 1, "seed {}: the fence let {fenced} loads happen", self.seed);
    }

    async fn step(&mut self) {
        match self.dice.below(20) {
            0 if self.machines.len() < RIVALS => self.start(),
            1..=6 => {
                let time = Duration::from_millis(100 + self.dice.below(4000));
                self.pass(time);
            }
            7 if self.pauses && !self.machines.is_empty() && self.dice.one_in(3) => {
                let at = usize::try_from(self.dice.below(self.machines.len() as u64)).unwrap();
                self.machines[at].stopped = Duration::from_secs(20 + self.dice.below(180));
            }
            8 if !self.machines.is_empty() && self.dice.one_in(12) => {
                let at = usize::try_from(self.dice.below(self.machines.len() as u64)).unwrap();
                self.machines.swap_remove(at).task.abort();
            }
            9 if self.forgetful && self.dice.one_in(6) => {
                if self.dice.one_in(2) {
                    self.server.evict()
                } else {
                    self.server.forget()
                }
            }
            _ => self.serve(true),
        }
        self.settle().await;
        self.check();
    }

    /// The trouble is over: everybody ends, and one more loader finds or does the work.
    async fn finish(&mut self) {
        for _ in 0..2 {
            // Ends: pauses and leases are shorter than this, and no message is lost any more.
            for _ in 0..300 {
                for _ in 0..6 {
                    self.serve(false);
                    self.settle().await;
                }
                if self.machines.is_empty() {
                    break;
                }
                self.pass(Duration::from_secs(1));
                self.settle().await;
                self.check();
            }
            assert!(self.machines.is_empty(), "seed {}: a loader does not end", self.seed);
            // What a dead machine held has ended by then.
            self.pass(Terms::default().ttl());
            self.start();
            self.settle().await;
        }
        for machine in self.machines.drain(..) {
            machine.task.abort();
        }
        assert_eq!(lock(&self.world.target).fenced, 1, "seed {}: the drop was not loaded", self.seed);
    }
}

/// What was seen over all worlds.
#[derive(Default, Debug)]
struct Seen {
    loaded_twice_without_fence: u32,
    loaded_twice_by_an_honest_server: u32,
    two_believed: u32,
}

async fn world(seed: u64, seen: &mut Seen) {
    let mut driver = Driver::new(seed);
    for _ in 0..STEPS {
        driver.step().await;
    }
    driver.finish().await;
    let twice = u32::from(lock(&driver.world.target).unfenced > 1);
    seen.loaded_twice_without_fence += twice;
    seen.loaded_twice_by_an_honest_server += if driver.forgetful { 0 } else { twice };
    seen.two_believed += u32::from(driver.two_believed);
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

#[tokio::test]
async fn a_lease_saves_work_and_a_fence_gives_correctness() {
    let (first, worlds) = (number("LONGSHORE_LEASE_SEED", 1), number("LONGSHORE_LEASE_WORLDS", 300));
    let mut seen = Seen::default();
    for seed in first..first + worlds {
        world(seed, &mut seen).await;
    }
    println!("{worlds} worlds: {seen:?}");
    if worlds >= 300 {
        // A model in which nothing goes wrong without a fence would show nothing about one.
        assert!(
            seen.loaded_twice_by_an_honest_server > 0,
            "no pause ever hit the moment that the fence is for: {seen:?}"
        );
        assert!(seen.two_believed > 0, "no server ever forgot a lease that was held: {seen:?}");
    }
}
