//! Time as a holder measures it.
//!
//! Owns the clock that tests replace, and how long a grant counts. Promises a clock that never goes back and goes on while the machine
//! sleeps, so that a laptop which was shut notices at once that its lease is over. Refuses wall clocks: a moment here means
//! nothing to another process.

use std::fmt::Debug;
use std::ops::{Add, Sub};
use std::time::Duration;

use async_trait::async_trait;

use crate::Error;

/// A moment of one clock: the time since some start that only this process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub Duration);

impl Add<Duration> for Moment {
    type Output = Moment;

    fn add(self, by: Duration) -> Moment {
        Moment(self.0.saturating_add(by))
    }
}

/// The time from one moment to a later one; zero when it is not later.
impl Sub for Moment {
    type Output = Duration;

    fn sub(self, earlier: Moment) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where the time comes from.
#[async_trait]
pub trait Clock: Debug + Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Moment;

    /// Returns when that time is over; later when the machine slept, so a caller that matters looks at `now` again.
    async fn sleep(&self, time: Duration);
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Moment {
        // Linux's CLOCK_MONOTONIC stands still while the machine is suspended; elsewhere it does not.
        #[cfg(target_os = "linux")]
        let id = rustix::time::ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let id = rustix::time::ClockId::Monotonic;
        let time = rustix::time::clock_gettime(id);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Moment(Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0)))
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

/// How long a grant lasts, and what follows from that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    ttl: Duration,
}

impl Terms {
    /// The shortest time that leaves room for a slow answer.
    pub const SHORTEST: Duration = Duration::from_secs(3);
    /// The longest: a run that died keeps others away for so long.
    pub const LONGEST: Duration = Duration::from_secs(3600);

    /// Grants that last `ttl` after each renewal.
    ///
    /// # Errors
    /// [`Error::Config`] for one that is shorter than 3 s or longer than an hour.
    pub fn new(ttl: Duration) -> Result<Terms, Error> {
        if (Terms::SHORTEST..=Terms::LONGEST).contains(&ttl) {
            return Ok(Terms { ttl });
        }
        Err(Error::config(format!("a lease cannot last {ttl:?}"))
            .advise("give a time from 3 s to an hour; 60 s is usual"))
    }

    /// What the server is told: it gives the lease to nobody else so long after it heard from its holder.
    #[must_use]
    pub fn ttl(self) -> Duration {
        self.ttl
    }

    /// How often it is renewed.
    #[must_use]
    pub fn renew_after(self) -> Duration {
        self.ttl / 3
    }

    /// How soon a renewal that failed is tried again.
    #[must_use]
    pub fn retry_after(self) -> Duration {
        self.ttl / 12
    }

    /// Until when a holder may count on what it asked for at `sent`. One percent is for clocks that run apart, two
    /// milliseconds for how finely servers count.
    #[must_use]
    pub fn deadline(self, sent: Moment) -> Moment {
        sent + self.ttl.saturating_sub(self.ttl / 100 + Duration::from_millis(2))
    }
}

impl Default for Terms {
    /// A minute.
    fn default() -> Terms {
        Terms { ttl: Duration::from_secs(60) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_holder_stops_before_the_server_does() {
        let terms = Terms::default();
        assert_eq!(terms.deadline(Moment(Duration::from_secs(100))), Moment(Duration::from_millis(159_398)));
        assert!(terms.renew_after() + terms.retry_after() * 3 < terms.ttl());
        assert!(Terms::new(Duration::from_secs(2)).is_err() && Terms::new(Duration::from_secs(3601)).is_err());
        assert_eq!(Terms::new(Duration::from_secs(3)).unwrap().ttl(), Duration::from_secs(3));
    }

    #[test]
    fn moments_do_not_go_back() {
        let clock = SystemClock;
        let (one, two) = (clock.now(), clock.now());
        assert!(one <= two && one - two == Duration::ZERO);
    }
}
