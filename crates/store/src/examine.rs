//! Owns `examine`: what a store can do and what these credentials may do there, found out by trying, for people to read.
//!
//! Promises to try on objects of its own under `probe/<ulid>/` only, and to remove them as far as it may; that what was not
//! found out is never given as found; and that a refusal is a finding, not a failure. Refuses to judge: what is good for
//! a backup is bad for maintenance.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use crate::probe::{REPLACED, Scratch};
use crate::{Error, Keeping, Prefix, Profile, Store};

/// What came of trying something.
#[derive(Debug)]
pub enum Tried {
    /// It can be done.
    Can,
    /// The store said no.
    Refused(Error),
    /// Neither is certain, because of this.
    NotKnown(Error),
}

impl Tried {
    fn of(result: Result<(), Error>) -> Tried {
        match result {
            Ok(()) => Tried::Can,
            Err(error @ Error::Denied { .. }) => Tried::Refused(error),
            Err(error) => Tried::NotKnown(error),
        }
    }
}

/// The store's clock beside this machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// How far this machine's clock is from the store's, as little as the answer allows: stores tell whole seconds.
    pub skew: Duration,
    /// Whether this machine's is the one that is ahead.
    pub ahead: bool,
    /// How long the answer took.
    pub took: Duration,
}

/// What was found out.
#[derive(Debug)]
pub struct Examined {
    /// The clocks; an error when the store does not tell these credentials.
    pub clock: Result<Clock, Error>,
    /// Whether objects can be listed.
    pub list: Result<(), Error>,
    /// Whether an object that is not there is said to be that, instead of being forbidden.
    pub absent: Result<(), Error>,
    /// What the store can do; an error when it cannot be used for writing, by these credentials or at all.
    pub profile: Result<Profile, Error>,
    /// Whether an object can be replaced. None when none could be created.
    pub replace: Option<Tried>,
    /// Whether objects can be deleted.
    pub delete: Tried,
    /// What becomes of objects that are replaced or deleted.
    pub keeping: Keeping,
    /// The folder of what was created and could not be removed.
    pub left: Option<String>,
}

/// Examines a store. It uses what was found afterwards, as after a probe.
///
/// # Errors
/// When the store gives no answer, or is not there: then nothing is written.
pub async fn examine(store: &dyn Store) -> Result<Examined, Error> {
    let list = match store.list(&Prefix::all(), None).await {
        Err(error @ (Error::Unavailable { .. } | Error::NoPlace { .. } | Error::Config { .. })) => return Err(error),
        list => list.map(drop),
    };
    let (asked, local) = (Instant::now(), SystemTime::now());
    let clock = store.clock().await.map(|told| compare(local, told, asked.elapsed()));
    let scratch = Scratch::new(store);
    let absent = match store.get(&scratch.key("absent")?).await {
        Ok(_) | Err(Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    };
    let found = scratch.run().await;
    let replace = if found.is_ok() { Some(replace(store, &scratch).await) } else { None };
    let created = !matches!(found, Err(Error::Denied { .. }));
    let delete = Tried::of(scratch.clear().await);
    let left = (created && !matches!(delete, Tried::Can)).then(|| format!("{}/", scratch.base));
    let profile = found.map(|sha256_checksum| Profile { sha256_checksum, can_delete: matches!(delete, Tried::Can) });
    if let Ok(profile) = &profile {
        store.use_profile(profile);
    }
    Ok(Examined { clock, list, absent, profile, replace, delete, keeping: store.keeping().await, left })
}

/// A put that does not ask whether something is there. What is there afterwards decides.
async fn replace(store: &dyn Store, scratch: &Scratch<'_>) -> Tried {
    let (first, second) =
        (Bytes::from_static(b"longshore probe: kept"), Bytes::from_static(b"longshore probe: replaced"));
    let tried = async {
        let key = scratch.key(REPLACED)?;
        match scratch.create(&key, &first).await {
            Ok(()) | Err(Error::AlreadyExists { .. }) => {}
            Err(error) => return Ok(Err(error)),
        }
        let answer = store.replace_probe(&key, second.clone()).await;
        let there = store.get(&key).await?;
        Ok::<_, Error>(match answer {
            _ if there == second => Ok(()),
            Ok(()) => Err(Error::config("a put that was accepted changed nothing")),
            refused => refused,
        })
    };
    match tried.await {
        Ok(answer) => Tried::of(answer),
        Err(error) => Tried::NotKnown(error),
    }
}

/// The least that the clocks differ: the store rounds down to a second, and answered some time while we waited.
fn compare(asked_at: SystemTime, told: SystemTime, took: Duration) -> Clock {
    let (earliest, latest) = (asked_at, asked_at + took);
    let (skew, ahead) = match (earliest.duration_since(told), told.duration_since(latest)) {
        (_, Ok(behind)) => (behind, false),
        (Ok(ahead), _) => (ahead.saturating_sub(Duration::from_secs(1)), true),
        _ => (Duration::ZERO, false),
    };
    Clock { skew, ahead, took }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::Memory;

    #[test]
    fn only_what_is_certain_counts_as_skew() {
        let at = |millis: u64| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
        let took = Duration::from_millis(400);
        for (told, skew, ahead) in [
            (10_000, 0, true),
            (9_500, 0, true),
            (9_000, 0, true),
            (8_000, 1_000, true),
            (10_400, 0, false),
            (11_400, 1_000, false),
        ] {
            let clock = compare(at(10_000), at(told), took);
            assert_eq!(clock.skew, Duration::from_millis(skew), "{told}");
            assert!(skew == 0 || clock.ahead == ahead, "{told}");
        }
    }

    #[tokio::test]
    async fn a_store_is_examined_and_nothing_is_left() {
        let store = Memory::new();
        store.set_clock(SystemTime::now() + Duration::from_secs(100));
        let found = examine(&store).await.unwrap();
        let clock = found.clock.unwrap();
        assert!(clock.skew > Duration::from_secs(90) && !clock.ahead, "{clock:?}");
        assert!(found.list.is_ok() && found.absent.is_ok());
        assert_eq!(found.profile.unwrap(), Profile { sha256_checksum: true, can_delete: true });
        assert!(matches!(found.delete, Tried::Can));
        assert!(matches!(found.replace, Some(Tried::NotKnown(_))), "memory replaces nothing, and does not say why");
        assert_eq!((found.keeping, found.left), (Keeping::default(), None));
        assert!(store.list(&Prefix::all(), None).await.unwrap().entries.is_empty());
    }
}
