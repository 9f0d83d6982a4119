//! Owns `ManualClock`: a clock that stands still until a test moves it.
//!
//! Promises that sleepers wake when their time is over and not before. Moving the clock and letting sleepers look at it are two things:
//! a process that is stopped does not see the time that passes.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{Clock, Moment};

/// A clock that a test moves. It begins at one hour, so that nothing depends on the beginning of time.
#[derive(Debug)]
pub struct ManualClock {
    now: std::sync::Mutex<Moment>,
    woken: watch::Sender<u64>,
    /// Who sleeps at the moment.
    asleep: std::sync::atomic::AtomicUsize,
}

impl Default for ManualClock {
    fn default() -> ManualClock {
        let now = std::sync::Mutex::new(Moment(Duration::from_secs(3600)));
        ManualClock { now, woken: watch::Sender::new(0), asleep: 0.into() }
    }
}

impl ManualClock {
    /// Moves the clock on; sleepers do not notice before `wake`.
    pub fn pass(&self, time: Duration) {
        let mut now = self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *now = *now + time;
    }

    /// Lets sleepers look at the clock.
    pub fn wake(&self) {
        self.woken.send_modify(|times| *times += 1);
    }

    /// Both.
    pub fn advance(&self, time: Duration) {
        self.pass(time);
        self.wake();
    }

    /// How many sleep.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.asleep.load(std::sync::atomic::Ordering::SeqCst)
    }
}

/// Counts a sleeper for as long as it sleeps, however that ends.
struct Asleep<'a>(&'a std::sync::atomic::AtomicUsize);

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Moment {
        *self.now.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn sleep(&self, time: Duration) {
        let until = self.now() + time;
        self.asleep.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let _asleep = Asleep(&self.asleep);
        let mut woken = self.woken.subscribe();
        // The sender is in `self`: this ends when the time is over.
        drop(woken.wait_for(|_| self.now() >= until).await);
    }
}
