//! How fast rows are read at most.
//!
//! Owns one budget of bytes for all workers. Promises that over any stretch of time no more is read than the rate allows,
//! apart from a fraction of a second's worth at once and the last row that each worker took. Refuses nothing: without
//! a limit it costs nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// What may be read at once after a pause, as time.
const BURST: Duration = Duration::from_millis(100);
/// How often a second a worker stops to pay, at full rate: rarely enough to cost nothing.
const PAYMENTS_PER_SECOND: u64 = 50;
/// A payment is at most this many bytes: many workers on a high rate stay even.
const LARGEST_PAYMENT: u64 = 256 << 10;

/// A budget that all workers share.
#[derive(Debug, Clone)]
pub(crate) struct Rate(Option<Arc<Budget>>);

#[derive(Debug)]
struct Budget {
    bytes_per_second: u64,
    /// When everything that was taken so far is paid for.
    paid_until: Mutex<Instant>,
}

impl Rate {
    /// At most that many bytes a second; no limit when `None` or 0.
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        let limit = bytes_per_second.filter(|limit| *limit > 0);
        Self(
            limit.map(|bytes_per_second| Arc::new(Budget { bytes_per_second, paid_until: Mutex::new(Instant::now()) })),
        )
    }

    /// How many bytes a worker may read before it has to pay.
    pub fn payment(&self) -> u64 {
        match &self.0 {
            None => u64::MAX,
            Some(budget) => (budget.bytes_per_second / PAYMENTS_PER_SECOND).clamp(1, LARGEST_PAYMENT),
        }
    }

    /// Pays for what was read, waiting as long as the rate asks.
    pub async fn pay(&self, bytes: u64) {
        let Some(budget) = &self.0 else { return };
        sleep_until(budget.due(bytes)).await;
    }
}

impl Budget {
    /// When whoever takes these bytes may go on.
    fn due(&self, bytes: u64) -> Instant {
        let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_second);
        let cost = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        // Time in which nobody read is not saved up, but for the burst.
        let from = (*paid_until).max(now.checked_sub(BURST).unwrap_or(now));
        *paid_until = from.checked_add(cost).unwrap_or(from);
        *paid_until
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_workers_together_keep_to_the_rate() {
        let rate = Rate::new(Some(1 << 20));
        let begun = Instant::now();
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let rate = rate.clone();
                tokio::spawn(async move {
                    for _ in 0..64 {
                        rate.pay(rate.payment()).await;
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.await.unwrap();
        }
        let bytes = 8 * 64 * rate.payment();
        let expected = Duration::from_secs_f64(bytes as f64 / f64::from(1 << 20));
        let took = begun.elapsed();
        assert!(took + BURST >= expected && took <= expected + Duration::from_millis(50), "{took:?} for {expected:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_not_saved_up_and_a_long_row_is_paid_for() {
        let rate = Rate::new(Some(1000));
        tokio::time::advance(Duration::from_secs(3600)).await;
        let begun = Instant::now();
        rate.pay(5_000).await;
        rate.pay(1).await;
        assert!(begun.elapsed() >= Duration::from_millis(4_900), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nobody_waits() {
        let begun = Instant::now();
        Rate::new(None).pay(u64::MAX).await;
        Rate::new(Some(0)).pay(u64::MAX).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
