//! Tests of a held lease by a clock that stands still until it is moved.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;

use super::*;
use crate::{Answer, Backend, Job, Lease, ManualClock, Memory};

const SECOND: Duration = Duration::from_secs(1);

/// A server that can be cut off.
#[derive(Debug, Clone)]
struct Cut {
    memory: Memory,
    off: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
}

#[async_trait]
impl Backend for Cut {
    fn location(&self) -> &str {
        "memory"
    }
    async fn examine(&self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }
    async fn acquire(&self, claim: &Claim, terms: Terms) -> Result<Answer, Error> {
        self.pass()?;
        Ok(match self.memory.acquire(claim, terms).await? {
            Answer::Granted(inner) => Answer::Granted(Box::new(CutGrant { inner, cut: self.clone() })),
            busy => busy,
        })
    }
}

impl Cut {
    fn pass(&self) -> Result<(), Error> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.off.load(Ordering::SeqCst) { Err(Error::unavailable("ask", "memory", "cut off")) } else { Ok(()) }
    }
}

#[derive(Debug)]
struct CutGrant {
    inner: Box<dyn Grant>,
    cut: Cut,
}

#[async_trait]
impl Grant for CutGrant {
    fn epoch(&self) -> Epoch {
        self.inner.epoch()
    }
    async fn renew(&mut self) -> Result<(), Refusal> {
        self.cut.pass()?;
        self.inner.renew().await
    }
    async fn release(&mut self) -> Result<(), Refusal> {
        self.cut.pass()?;
        self.inner.release().await
    }
}

struct Place {
    clock: Arc<ManualClock>,
    server: Cut,
    lease: Lease,
}

impl Place {
    fn new() -> Place {
        let clock = Arc::new(ManualClock::default());
        let server = Cut {
            memory: Memory::new(Arc::clone(&clock) as Arc<dyn Clock>),
            off: Arc::default(),
            asked: Arc::default(),
        };
        let lease = Lease::with_clock(Arc::new(server.clone()), Terms::default(), Arc::clone(&clock) as Arc<dyn Clock>);
        Place { clock, server, lease }
    }

    async fn acquire(&self) -> Result<Held, Error> {
        self.lease.acquire(&Claim::new(Job::parse("fragments")?, RunId::generate())).await
    }

    /// Lets time pass second by second, and everybody do what they do then.
    async fn pass(&self, seconds: u32) {
        for _ in 0..seconds {
            settle().await;
            self.clock.advance(SECOND);
        }
        settle().await;
    }
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_lease_is_renewed_for_as_long_as_it_is_held() {
    let place = Place::new();
    let held = place.acquire().await.unwrap();
    place.pass(600).await;
    held.assert_held().unwrap();
    assert!(matches!(place.acquire().await, Err(Error::Busy(_))));
    let watch = held.watch();
    held.release().await.unwrap();
    assert!(matches!(watch.assert_held(), Err(Error::Lost(_))), "nothing begins under a lease that was released");
    assert_eq!(place.acquire().await.unwrap().epoch(), Epoch(2));
}

#[tokio::test]
async fn a_holder_that_is_cut_off_stops_before_another_can_begin() {
    let place = Place::new();
    let held = place.acquire().await.unwrap();
    let watch = held.watch();
    let lost = tokio::spawn(async move { watch.lost().await });
    place.server.off.store(true, Ordering::SeqCst);
    place.pass(59).await;
    held.assert_held().unwrap();
    assert!(!lost.is_finished());
    place.clock.advance(SECOND / 2);
    settle().await;
    assert!(matches!(held.assert_held(), Err(Error::Lost(_))));
    assert_eq!(lost.await.unwrap().epoch, held.epoch());
    place.server.off.store(false, Ordering::SeqCst);
    assert!(matches!(place.acquire().await, Err(Error::Busy(_))), "the server gave it away before its holder stopped");
    place.pass(1).await;
    let second = place.acquire().await.unwrap();
    place.pass(30).await;
    assert!(matches!(held.assert_held(), Err(Error::Lost(_))), "what is lost is lost for ever");
    assert!(matches!(held.release().await, Err(Error::Lost(_))));
    second.assert_held().unwrap();
}

#[tokio::test]
async fn trouble_that_passes_costs_nothing() {
    let place = Place::new();
    let held = place.acquire().await.unwrap();
    for _ in 0..5 {
        // Less than what is left of a lease that is about to be renewed.
        place.server.off.store(true, Ordering::SeqCst);
        place.pass(35).await;
        place.server.off.store(false, Ordering::SeqCst);
        place.pass(50).await;
    }
    held.assert_held().unwrap();
}

#[tokio::test]
async fn a_machine_that_slept_holds_nothing_when_it_wakes() {
    let place = Place::new();
    let held = place.acquire().await.unwrap();
    place.clock.pass(Duration::from_secs(61));
    assert!(!held.is_held());
    assert!(
        matches!(held.assert_held(), Err(Error::Lost(_))),
        "the first look after waking says no, before any timer has fired"
    );
    place.clock.wake();
    settle().await;
    assert_eq!(place.server.asked.load(Ordering::SeqCst), 1, "a lease that is over was renewed");
}

#[tokio::test]
async fn a_lease_that_its_server_forgot_is_lost_at_the_next_renewal() {
    let place = Place::new();
    let held = place.acquire().await.unwrap();
    place.server.memory.evict();
    place.pass(21).await;
    assert!(matches!(held.assert_held(), Err(Error::Lost(_))));
}

#[tokio::test]
async fn dropping_sends_nothing_and_others_wait() {
    let place = Place::new();
    drop(place.acquire().await.unwrap());
    place.pass(59).await;
    assert!(matches!(place.acquire().await, Err(Error::Busy(_))));
    assert_eq!(place.server.asked.load(Ordering::SeqCst), 2);
    place.pass(1).await;
    place.acquire().await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_release_that_is_not_heard_ends_the_lease_all_the_same() {
    let place = Place::new();
    let held = place.acquire().await.unwrap();
    let watch = held.watch();
    place.server.off.store(true, Ordering::SeqCst);
    assert!(matches!(held.release().await, Err(Error::Unavailable { .. })));
    assert!(matches!(watch.assert_held(), Err(Error::Lost(_))));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_asked_three_times() {
    let place = Place::new();
    place.server.off.store(true, Ordering::SeqCst);
    let (clock, lease) = (Arc::clone(&place.clock), place.lease.clone());
    let asking = tokio::spawn(async move {
        lease.acquire(&Claim::new(Job::parse("fragments")?, RunId::generate())).await.map(|held| held.epoch())
    });
    while !asking.is_finished() {
        settle().await;
        clock.advance(SECOND);
    }
    let error = asking.await.unwrap().unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }) && error.hint().is_some());
    assert_eq!(place.server.asked.load(Ordering::SeqCst), 3);
}
