//! Owns `Memory`: a store in memory, for tests and models.
//!
//! Promises the whole contract of `Store` but durability, checks every hash it is given, and has a clock that tests set.
//! Refuses nothing and bounds nothing: what is put stays until it is deleted.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::register::{Register, Registers, Version, Written, check_key};
use crate::{Entry, Error, Key, PAGE_ENTRIES, Page, Prefix, Profile, Store};

const LOCATION: &str = "memory";

/// A store in memory. Share it as `Arc<Memory>`.
#[derive(Default)]
pub struct Memory {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    objects: BTreeMap<Key, (Bytes, SystemTime)>,
    /// What `now` says, when a test has set it; else the machine's clock counts.
    clock: Option<SystemTime>,
}

impl Inner {
    fn now(&self) -> SystemTime {
        self.clock.unwrap_or_else(SystemTime::now)
    }

    fn find(&self, key: &Key) -> Result<&(Bytes, SystemTime), Error> {
        self.objects.get(key).ok_or_else(|| Error::NotFound {
            key: key.clone(),
            location: LOCATION.to_owned(),
            source: None,
        })
    }
}

impl Memory {
    /// An empty store that tells the machine's time.
    #[must_use]
    pub fn new() -> Memory {
        Memory::default()
    }

    /// Stops the store's clock at `time`. Objects created from now on carry it.
    pub fn set_clock(&self, time: SystemTime) {
        self.lock().clock = Some(time);
    }

    /// Stops the store's clock, if it still ran, and moves it on.
    pub fn advance_clock(&self, by: Duration) {
        let mut inner = self.lock();
        inner.clock = Some(inner.now() + by);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No method leaves the map half changed, so a panic elsewhere while the lock was held spoils nothing.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("objects", &self.lock().objects.len()).finish()
    }
}

#[async_trait]
impl Store for Memory {
    fn location(&self) -> &str {
        LOCATION
    }

    async fn create(&self, key: &Key, body: Bytes, sha256: &[u8; 32]) -> Result<(), Error> {
        if Sha256::digest(&body).as_slice() != sha256 {
            return Err(Error::Corrupt { key: key.clone(), location: LOCATION.to_owned(), source: None });
        }
        let mut inner = self.lock();
        if inner.objects.contains_key(key) {
            return Err(Error::AlreadyExists { key: key.clone(), location: LOCATION.to_owned(), source: None });
        }
        let now = inner.now();
        inner.objects.insert(key.clone(), (body, now));
        Ok(())
    }

    async fn get(&self, key: &Key) -> Result<Bytes, Error> {
        Ok(self.lock().find(key)?.0.clone())
    }

    async fn get_range(&self, key: &Key, start: u64, len: u64) -> Result<Bytes, Error> {
        let body = self.lock().find(key)?.0.clone();
        let got = (body.len() as u64).saturating_sub(start);
        if got < len || start > body.len() as u64 {
            return Err(Error::Truncated { key: key.clone(), location: LOCATION.to_owned(), wanted: len, got });
        }
        let start = usize::try_from(start).unwrap_or(body.len());
        let len = usize::try_from(len).unwrap_or(0);
        Ok(body.slice(start..start + len))
    }

    async fn head(&self, key: &Key) -> Result<Entry, Error> {
        let inner = self.lock();
        let (body, modified) = inner.find(key)?;
        Ok(Entry { key: key.clone(), len: body.len() as u64, modified: *modified })
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Key>) -> Result<Page, Error> {
        let inner = self.lock();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut entries: Vec<Entry> = inner
            .objects
            .range::<Key, _>((from, Bound::Unbounded))
            .skip_while(|(key, _)| key.as_str() < prefix.as_str())
            .take_while(|(key, _)| prefix.contains(key))
            .take(PAGE_ENTRIES + 1)
            .map(|(key, (body, modified))| Entry { key: key.clone(), len: body.len() as u64, modified: *modified })
            .collect();
        let more = entries.len() > PAGE_ENTRIES;
        entries.truncate(PAGE_ENTRIES);
        Ok(Page { entries, more })
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.lock().objects.remove(key);
        Ok(())
    }

    async fn now(&self) -> Result<SystemTime, Error> {
        Ok(self.lock().now())
    }

    fn use_profile(&self, _profile: &Profile) {}
}

/// A version is the hash of the content and of when it was written. Two equal writes at a stopped clock differ in nothing that matters.
#[async_trait]
impl Registers for Memory {
    async fn read_register(&self, key: &Key) -> Result<Option<Register>, Error> {
        check_key(key)?;
        let inner = self.lock();
        let found = inner.objects.get(key);
        Ok(found.map(|(body, modified)| Register {
            body: body.clone(),
            version: version(body, *modified),
            modified: *modified,
            read: inner.now(),
        }))
    }

    async fn write_register(&self, key: &Key, body: Bytes, expected: Option<&Version>) -> Result<Written, Error> {
        check_key(key)?;
        let mut inner = self.lock();
        let there = inner.objects.get(key).map(|(body, modified)| version(body, *modified));
        if there.as_ref() != expected {
            return Ok(Written::Changed);
        }
        let now = inner.now();
        let written = version(&body, now);
        inner.objects.insert(key.clone(), (body, now));
        Ok(Written::Done(written))
    }
}

fn version(body: &Bytes, modified: SystemTime) -> Version {
    let time = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    Version(format!("{:?} {time}", Sha256::digest(body)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::conformance;

    #[tokio::test]
    async fn passes_the_suite() {
        conformance::suite(async || std::sync::Arc::new(Memory::new()) as std::sync::Arc<dyn crate::Store>).await;
    }

    #[tokio::test]
    async fn keeps_registers() {
        let store = Memory::new();
        crate::probe_registers(&store).await.unwrap();
        assert!(store.list(&Prefix::all(), None).await.unwrap().entries.is_empty());
        let key = Key::parse("manifests/a").unwrap();
        assert!(store.write_register(&key, Bytes::new(), None).await.is_err(), "nothing but leases is replaced");
    }

    #[tokio::test]
    async fn objects_carry_the_clock_that_was_set() {
        let store = Memory::new();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        store.set_clock(time);
        store.advance_clock(Duration::from_secs(5));
        let key = Key::parse("k").unwrap();
        store.create(&key, Bytes::new(), &Sha256::digest(b"").into()).await.unwrap();
        assert_eq!(store.head(&key).await.unwrap().modified, time + Duration::from_secs(5));
        assert_eq!(store.now().await.unwrap(), time + Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_wrong_hash_is_refused() {
        let store = Memory::new();
        let key = Key::parse("k").unwrap();
        let refused = store.create(&key, Bytes::from_static(b"x"), &[0; 32]).await;
        assert!(matches!(refused, Err(Error::Corrupt { .. })));
        assert!(matches!(store.get(&key).await, Err(Error::NotFound { .. })));
    }
}
