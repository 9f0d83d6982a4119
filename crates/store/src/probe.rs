//! Owns `Profile`, what a store can do, and `probe`, which finds it out.
//!
//! Promises to accept a store only after seeing it refuse a second create, one after the other and sixteen at once, with
//! the first bytes still there. Writes below `probe/<ulid>/` only, tens of bytes, and tries to remove it all. Refuses to
//! work around a store that fails.

use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use ulid::Ulid;

use crate::{Error, Key, Store};

/// Creates at once in the concurrent case.
const RIVALS: usize = 16;

/// What a probe's objects are called; the last one is `examine`'s.
const NAMES: [&str; 5] = ["sequential", "concurrent", "sha256-right", "sha256-wrong", REPLACED];
/// The object that `examine` tries to replace.
pub(crate) const REPLACED: &str = "replaced";

/// What a probe learned about a store. Kept in the repository, so readers ignore fields they do not know, and the
/// default is the cautious answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// The store takes a SHA-256 with a put and refuses bytes that do not have it.
    pub sha256_checksum: bool,
    /// The credentials that probed may delete. A backup needs no such right.
    pub can_delete: bool,
}

/// Finds out what a store can do, and leaves the store using what was found.
///
/// # Errors
/// `Error::NoConditionalCreate` with what was seen when create-only puts do not hold; else what a call came back with.
pub async fn probe(store: &dyn Store) -> Result<Profile, Error> {
    let scratch = Scratch::new(store);
    let found = scratch.run().await;
    // Also after a failure: what was made is removed as far as it can be.
    let can_delete = scratch.clear().await.is_ok();
    let profile = Profile { sha256_checksum: found?, can_delete };
    store.use_profile(&profile);
    Ok(profile)
}

/// Whether an object is a probe's: the only ones that anything here ever replaces.
pub(crate) fn is_probe(key: &Key) -> bool {
    key.as_str().starts_with("probe/")
}

/// Objects of one probe.
pub(crate) struct Scratch<'a> {
    store: &'a dyn Store,
    /// The folder that they are in, without a `/` at its end.
    pub(crate) base: String,
}

impl<'a> Scratch<'a> {
    pub(crate) fn new(store: &'a dyn Store) -> Self {
        Scratch { store, base: format!("probe/{}", Ulid::generate()) }
    }

    /// Whether the store checks hashes; an error when it cannot be used at all. Leaves the store using hashes if it does.
    pub(crate) async fn run(&self) -> Result<bool, Error> {
        self.store.use_profile(&Profile::default());
        // First: where Object Lock retains by default, S3 takes no put without a hash.
        let checked = self.checks_hashes().await?;
        self.store.use_profile(&Profile { sha256_checksum: checked, ..Profile::default() });
        self.one_after_the_other().await?;
        self.all_at_once().await?;
        self.ranges().await?;
        Ok(checked)
    }

    pub(crate) fn key(&self, name: &str) -> Result<Key, Error> {
        Key::parse(&format!("{}/{name}", self.base))
    }

    pub(crate) async fn create(&self, key: &Key, body: &Bytes) -> Result<(), Error> {
        self.store.create(key, body.clone(), &Sha256::digest(body).into()).await
    }

    fn broken(&self, seen: impl Into<String>) -> Error {
        Error::NoConditionalCreate { seen: seen.into(), location: self.store.location().to_owned(), source: None }
    }

    async fn one_after_the_other(&self) -> Result<(), Error> {
        let key = self.key("sequential")?;
        let first = Bytes::from_static(b"longshore probe: first");
        match self.create(&key, &first).await {
            // Nobody else knows this key: what is there is our own attempt whose reply was lost.
            Ok(()) | Err(Error::AlreadyExists { .. }) => {}
            Err(error) => return Err(error),
        }
        match self.create(&key, &Bytes::from_static(b"longshore probe: second")).await {
            Err(Error::AlreadyExists { .. }) => {}
            Ok(()) => return Err(self.broken("a second create of the same key was accepted")),
            Err(error) => return Err(error),
        }
        if self.store.get(&key).await? == first {
            Ok(())
        } else {
            Err(self.broken("a create that was refused changed the object"))
        }
    }

    async fn all_at_once(&self) -> Result<(), Error> {
        let key = self.key("concurrent")?;
        let body = |n: usize| Bytes::from(format!("longshore probe: rival {n:02}"));
        // Polled together in this task: the calls are in flight at once without asking for a shared pointer.
        let attempts = (0..RIVALS).map(|n| {
            let (key, body) = (&key, body(n));
            async move { self.create(key, &body).await }
        });
        let results = join_all(attempts).await;
        let mut winners = Vec::new();
        for (n, result) in results.into_iter().enumerate() {
            match result {
                Ok(()) => winners.push(n),
                Err(Error::AlreadyExists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let there = self.store.get(&key).await?;
        match winners.as_slice() {
            [one] if there == body(*one) => Ok(()),
            [_] => Err(self.broken(format!("of {RIVALS} concurrent creates one won, but the object is another's"))),
            // A lost reply turns the winner's retry into a refusal; the object itself says whether one of them won.
            [] if (0..RIVALS).any(|n| there == body(n)) => Ok(()),
            [] => Err(self.broken(format!("of {RIVALS} concurrent creates none won, and the object is nobody's"))),
            many => Err(self.broken(format!("of {RIVALS} concurrent creates of one key {} were accepted", many.len()))),
        }
    }

    /// Whether a right hash is taken and a wrong one refused. Any refusal of the right one means no.
    async fn checks_hashes(&self) -> Result<bool, Error> {
        self.store.use_profile(&Profile { sha256_checksum: true, ..Profile::default() });
        let checked = self.tries_hashes().await;
        self.store.use_profile(&Profile::default());
        checked
    }

    async fn tries_hashes(&self) -> Result<bool, Error> {
        let body = Bytes::from_static(b"longshore probe: hash");
        match self.create(&self.key("sha256-right")?, &body).await {
            // Our own attempt whose reply was lost.
            Ok(()) | Err(Error::AlreadyExists { .. }) => {}
            Err(error) if error.is_retryable() => return Err(error),
            Err(_) => return Ok(false),
        }
        match self.store.create(&self.key("sha256-wrong")?, body, &[0x5a; 32]).await {
            Err(error) if error.is_retryable() => Err(error),
            wrong => Ok(matches!(wrong, Err(Error::Corrupt { .. }))),
        }
    }

    async fn ranges(&self) -> Result<(), Error> {
        let key = self.key("sequential")?;
        let part = self.store.get_range(&key, 10, 5).await?;
        if part.as_ref() == b"probe" {
            return Ok(());
        }
        Err(Error::config_with_advice(
            format!("{} answers a ranged read with other bytes", self.store.location()),
            "a proxy between here and the store may drop the Range header",
        ))
    }

    /// Deletes everything this made. All of it is tried; the first error is returned.
    pub(crate) async fn clear(&self) -> Result<(), Error> {
        let deletes = NAMES.map(|name| async move {
            let deleted = self.store.delete(&self.key(name)?).await;
            deleted.inspect_err(|error| tracing::debug!(name, %error, "probe object stays"))
        });
        join_all(deletes).await.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::SystemTime;

    use async_trait::async_trait;

    use super::*;
    use crate::{Entry, Memory, Page, Prefix};

    /// A store that breaks one promise.
    #[derive(Debug)]
    struct Flawed {
        memory: Memory,
        flaw: Flaw,
        hashes_in_use: AtomicBool,
    }

    #[derive(Debug, PartialEq)]
    enum Flaw {
        Overwrites,
        /// Refuses a second create, but has replaced the bytes by then.
        RefusesTooLate,
        /// Two creates that are under way together both win.
        LosesRaces,
        IgnoresHashes,
        RefusesHashes,
        /// As S3 where Object Lock retains by default.
        DemandsHashes,
        RefusesDeletes,
    }

    impl Flawed {
        fn new(flaw: Flaw) -> Flawed {
            Flawed { memory: Memory::new(), flaw, hashes_in_use: AtomicBool::new(false) }
        }

        fn denied(&self) -> Error {
            Error::Denied { what: "do that".into(), location: self.location().into(), source: None }
        }
    }

    #[async_trait]
    impl Store for Flawed {
        fn location(&self) -> &str {
            "flawed"
        }
        async fn create(&self, key: &Key, body: Bytes, sha256: &[u8; 32]) -> Result<(), Error> {
            let hashed: [u8; 32] = Sha256::digest(&body).into();
            let taken = self.memory.head(key).await.is_ok();
            let loses = self.flaw == Flaw::LosesRaces && key.as_str().ends_with("/concurrent");
            match self.flaw {
                Flaw::DemandsHashes if !self.hashes_in_use.load(Ordering::Relaxed) => {
                    return Err(Error::config("a hash is required for puts where objects are locked"));
                }
                Flaw::RefusesHashes if self.hashes_in_use.load(Ordering::Relaxed) => return Err(self.denied()),
                Flaw::IgnoresHashes => return self.memory.create(key, body, &hashed).await,
                Flaw::Overwrites | Flaw::RefusesTooLate => self.memory.delete(key).await?,
                _ if loses => self.memory.delete(key).await?,
                _ => {}
            }
            self.memory.create(key, body, sha256).await?;
            match self.flaw {
                Flaw::RefusesTooLate if taken => {
                    Err(Error::AlreadyExists { key: key.clone(), location: "flawed".into(), source: None })
                }
                _ => Ok(()),
            }
        }
        async fn get(&self, key: &Key) -> Result<Bytes, Error> {
            self.memory.get(key).await
        }
        async fn get_range(&self, key: &Key, start: u64, len: u64) -> Result<Bytes, Error> {
            self.memory.get_range(key, start, len).await
        }
        async fn head(&self, key: &Key) -> Result<Entry, Error> {
            self.memory.head(key).await
        }
        async fn list(&self, prefix: &Prefix, after: Option<&Key>) -> Result<Page, Error> {
            self.memory.list(prefix, after).await
        }
        async fn delete(&self, key: &Key) -> Result<(), Error> {
            if self.flaw == Flaw::RefusesDeletes { Err(self.denied()) } else { self.memory.delete(key).await }
        }
        async fn now(&self) -> Result<SystemTime, Error> {
            self.memory.now().await
        }
        fn use_profile(&self, profile: &Profile) {
            self.hashes_in_use.store(profile.sha256_checksum, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_store_that_overwrites_is_refused() {
        for (flaw, seen_there) in [
            (Flaw::Overwrites, "second create"),
            (Flaw::RefusesTooLate, "changed the object"),
            (Flaw::LosesRaces, "16 were accepted"),
        ] {
            let store = Flawed::new(flaw);
            match probe(&store).await {
                Err(Error::NoConditionalCreate { seen, .. }) => assert!(seen.contains(seen_there), "{seen}"),
                other => panic!("{:?}: {other:?}", store.flaw),
            }
            assert!(
                store.list(&Prefix::all(), None).await.unwrap().entries.is_empty(),
                "a failed probe left something"
            );
        }
    }

    #[tokio::test]
    async fn what_is_optional_is_noted() {
        let all = Profile { sha256_checksum: true, can_delete: true };
        for (flaw, expected) in [
            (Flaw::IgnoresHashes, Profile { sha256_checksum: false, ..all.clone() }),
            (Flaw::RefusesHashes, Profile { sha256_checksum: false, ..all.clone() }),
            (Flaw::RefusesDeletes, Profile { can_delete: false, ..all.clone() }),
        ] {
            let store = Flawed::new(flaw);
            assert_eq!(probe(&store).await.unwrap(), expected);
            assert_eq!(store.hashes_in_use.load(Ordering::Relaxed), expected.sha256_checksum);
        }
        assert_eq!(probe(&Memory::new()).await.unwrap(), all);
        assert_eq!(probe(&Flawed::new(Flaw::DemandsHashes)).await.unwrap(), all, "as S3 does with Object Lock");
    }

    #[test]
    fn a_profile_of_another_version_is_read() {
        let read: Profile = serde_json::from_str(r#"{"sha256_checksum":true,"from_the_future":{"a":1}}"#).unwrap();
        assert_eq!(read, Profile { sha256_checksum: true, can_delete: false });
    }
}
