//! Owns the suite that every `Store` passes: the contract as far as one process can see it.
//!
//! Promises to print each case's name before it runs, to panic where a store breaks the contract, and to remove what it
//! wrote. Needs a store that is empty and that nothing else writes to. Refuses nothing; behind the feature `conformance`.

#![expect(clippy::panic, clippy::print_stdout, reason = "this is test code that other crates call")]

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream;
use sha2::{Digest, Sha256};

use crate::{Entry, Error, Key, PAGE_ENTRIES, Page, Prefix, Store, probe};

/// Creates at once where many objects are needed.
const PARALLEL: usize = 16;

/// Runs every case on a store made anew for it. `make` may return the same store again: cases remove what they wrote.
///
/// # Panics
/// Where the store breaks the contract.
pub async fn suite<F: Future<Output = Arc<dyn Store>>>(make: impl Fn() -> F) {
    println!("conformance: one object, created, read, deleted");
    Case(make().await).one_object().await;
    println!("conformance: create is create-only and keeps the old bytes");
    Case(make().await).create_only().await;
    println!("conformance: sixteen creators, one winner");
    Case(make().await).one_winner().await;
    println!("conformance: sizes from empty to 5 MiB");
    Case(make().await).sizes().await;
    println!("conformance: ranges");
    Case(make().await).ranges().await;
    println!("conformance: what is not there");
    Case(make().await).absent().await;
    println!("conformance: every allowed character");
    Case(make().await).characters().await;
    println!("conformance: list order, prefixes and after");
    Case(make().await).list_order().await;
    println!("conformance: list pages");
    Case(make().await).list_pages().await;
    println!("conformance: many deleted at once");
    Case(make().await).delete_all().await;
    println!("conformance: the clock");
    Case(make().await).clock().await;
    println!("conformance: the probe accepts this store");
    Case(make().await).probe().await;
}

struct Case(Arc<dyn Store>);

fn key(text: &str) -> Key {
    ok("parse a key", Key::parse(text))
}

#[track_caller]
fn ok<T>(what: &str, result: Result<T, Error>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error} ({error:?})"),
    }
}

#[track_caller]
fn refused<T: Debug>(what: &str, result: Result<T, Error>, expected: impl Fn(&Error) -> bool) {
    match result {
        Err(error) if expected(&error) => {}
        other => panic!("{what}: came back with {other:?}"),
    }
}

/// Bytes that differ from position to position, so that a shifted range shows.
fn pattern(len: usize) -> Bytes {
    (0u32..).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).take(len).collect()
}

impl Case {
    async fn put(&self, name: &str, body: Bytes) -> Result<(), Error> {
        let hash = Sha256::digest(&body).into();
        self.0.create(&key(name), body, &hash).await
    }

    async fn put_all(&self, names: &[String]) {
        let puts = names.iter().map(|name| async move { ok(name, self.put(name, Bytes::from(name.clone())).await) });
        stream::iter(puts).buffer_unordered(PARALLEL).collect::<Vec<()>>().await;
    }

    async fn remove_all(&self, names: &[String]) {
        let deletes = names.iter().map(|name| async move { ok(name, self.0.delete(&key(name)).await) });
        stream::iter(deletes).buffer_unordered(PARALLEL).collect::<Vec<()>>().await;
        let left = self.page("", None).await;
        assert!(left.entries.is_empty() && !left.more, "objects stay after delete: {left:?}");
    }

    async fn page(&self, prefix: &str, after: Option<&str>) -> Page {
        let prefix = ok("parse a prefix", Prefix::parse(prefix));
        ok("list", self.0.list(&prefix, after.map(key).as_ref()).await)
    }

    async fn names(&self, prefix: &str, after: Option<&str>) -> Vec<String> {
        let page = self.page(prefix, after).await;
        assert!(!page.more, "a short listing says that there is more");
        page.entries.into_iter().map(|entry| entry.key.to_string()).collect()
    }

    async fn one_object(&self) {
        let body = pattern(1000);
        ok("create", self.put("a/b/one", body.clone()).await);
        assert_eq!(ok("get", self.0.get(&key("a/b/one")).await), body);
        let entry = ok("head", self.0.head(&key("a/b/one")).await);
        assert_eq!((entry.key.as_str(), entry.len), ("a/b/one", 1000));
        let page = self.page("", None).await;
        assert!(matches!(page.entries.as_slice(), [listed] if listed.len == 1000 && listed.key == entry.key));
        ok("delete", self.0.delete(&entry.key).await);
        refused("get after delete", self.0.get(&entry.key).await, |e| matches!(e, Error::NotFound { .. }));
        assert!(self.names("", None).await.is_empty(), "a deleted object is listed");
        ok("create after delete", self.put("a/b/one", body).await);
        self.remove_all(&["a/b/one".to_owned()]).await;
    }

    /// More than one request takes, some of them absent; neighbours stay.
    async fn delete_all(&self) {
        let names: Vec<String> = (0..PAGE_ENTRIES + 5).map(|n| format!("many/x-{n}.a_b")).collect();
        let there: Vec<String> = names.iter().skip(3).cloned().collect();
        let stays = "many/x-".to_owned();
        self.put_all(&there).await;
        ok("create", self.put(&stays, Bytes::new()).await);
        ok("delete nothing", self.0.delete_all(&[]).await);
        let keys: Vec<Key> = names.iter().map(|name| key(name)).collect();
        ok("delete many", self.0.delete_all(&keys).await);
        assert_eq!(
            self.names("", None).await,
            std::slice::from_ref(&stays),
            "deleted objects are listed, or too many were deleted"
        );
        self.remove_all(&[stays]).await;
    }

    async fn create_only(&self) {
        let first = pattern(300);
        ok("create", self.put("only/once", first.clone()).await);
        for second in [first.clone(), pattern(200), Bytes::new()] {
            refused(
                "second create",
                self.put("only/once", second).await,
                |error| matches!(error, Error::AlreadyExists { key, .. } if key.as_str() == "only/once"),
            );
            assert_eq!(ok("get", self.0.get(&key("only/once")).await), first, "a refused create changed the object");
        }
        self.remove_all(&["only/once".to_owned()]).await;
    }

    async fn one_winner(&self) {
        for round in 0..4 {
            let name = format!("race/{round}");
            let rivals: Vec<Bytes> = (0..16u8).map(|n| Bytes::from(vec![n; 4096])).collect();
            let tasks = rivals.iter().map(|body| {
                let (store, key, body) = (Arc::clone(&self.0), key(&name), body.clone());
                let hash = Sha256::digest(&body).into();
                // Tasks of their own, so that a store that blocks its thread still races.
                tokio::spawn(async move { store.create(&key, body, &hash).await })
            });
            let mut winners = Vec::new();
            for (n, joined) in join_all(tasks).await.into_iter().enumerate() {
                match joined.unwrap_or_else(|error| panic!("a creator panicked: {error}")) {
                    Ok(()) => winners.push(n),
                    Err(Error::AlreadyExists { .. }) => {}
                    Err(error) => panic!("a creator failed: {error} ({error:?})"),
                }
            }
            let [winner] = winners.as_slice() else { panic!("winners of one key: {winners:?}") };
            assert_eq!(ok("get", self.0.get(&key(&name)).await), rivals[*winner], "the object is not the winner's");
        }
        self.remove_all(&(0..4).map(|round| format!("race/{round}")).collect::<Vec<_>>()).await;
    }

    async fn sizes(&self) {
        let sizes = [0usize, 1, 65_536, 5 * 1024 * 1024];
        for size in sizes {
            let name = format!("size/{size}");
            ok("create", self.put(&name, pattern(size)).await);
            assert!(ok("get", self.0.get(&key(&name)).await) == pattern(size), "{size} bytes came back changed");
            assert_eq!(ok("head", self.0.head(&key(&name)).await).len, size as u64);
        }
        refused("range of an empty object", self.0.get_range(&key("size/0"), 0, 1).await, |error| {
            matches!(error, Error::Truncated { wanted: 1, got: 0, .. })
        });
        assert!(ok("nothing of nothing", self.0.get_range(&key("size/0"), 0, 0).await).is_empty());
        self.remove_all(&sizes.map(|size| format!("size/{size}"))).await;
    }

    async fn ranges(&self) {
        let body = pattern(1000);
        ok("create", self.put("ranges", body.clone()).await);
        let object = key("ranges");
        for (start, len) in [(0u64, 1000u64), (0, 1), (999, 1), (500, 500), (10, 20), (0, 0), (400, 0), (1000, 0)] {
            let part = ok("get_range", self.0.get_range(&object, start, len).await);
            let expected = body.slice(usize::try_from(start).unwrap_or(0)..usize::try_from(start + len).unwrap_or(0));
            assert_eq!(part, expected, "{len} bytes from {start}");
        }
        let beyond = [(0, 1001, 1000), (999, 2, 1), (1000, 1, 0), (5000, 1, 0), (1001, 0, 0), (10, u64::MAX, 990)];
        for (start, len, there) in beyond {
            refused("get_range beyond the end", self.0.get_range(&object, start, len).await, |error| {
                matches!(error, Error::Truncated { key, wanted, got, .. }
                    if *key == object && *wanted == len && *got == there)
            });
        }
        refused("far beyond", self.0.get_range(&object, u64::MAX, 2).await, |e| matches!(e, Error::Truncated { .. }));
        self.remove_all(&["ranges".to_owned()]).await;
    }

    async fn absent(&self) {
        let not_found = |error: &Error| matches!(error, Error::NotFound { .. });
        ok("create", self.put("there/object", pattern(10)).await);
        for name in ["nothing", "there", "there/nothing", "there/object/below", "there/objec", "there/object2"] {
            let absent = key(name);
            refused("get", self.0.get(&absent).await, not_found);
            refused("head", self.0.head(&absent).await, not_found);
            refused("get_range", self.0.get_range(&absent, 0, 1).await, not_found);
            refused("empty get_range", self.0.get_range(&absent, 0, 0).await, not_found);
            ok("delete of nothing", self.0.delete(&absent).await);
        }
        assert!(self.names("nothing/", None).await.is_empty());
        assert!(self.names("there/object/", None).await.is_empty());
        ok("the object is still there", self.0.get(&key("there/object")).await);
        self.remove_all(&["there/object".to_owned()]).await;
        ok("delete twice", self.0.delete(&key("there/object")).await);
    }

    async fn characters(&self) {
        let upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ/abcdefghijklmnopqrstuvwxyz/0123456789._-";
        let long = format!("{}/{}", "l".repeat(255), "k".repeat(200));
        let mut names: Vec<String> = [upper, "...", "..a/.b", "-/_", "a.b", &long].map(str::to_owned).into();
        self.put_all(&names).await;
        for name in &names {
            assert_eq!(ok(name, self.0.get(&key(name)).await), name.as_bytes());
        }
        names.sort();
        assert_eq!(self.names("", None).await, names);
        self.remove_all(&names).await;
    }

    async fn list_order(&self) {
        // In byte order: '-' and '.' sort before '/', digits and letters after it.
        let names = ["app-1/x", "app.d", "app/a", "app/b/c", "app/b0", "app/c", "app2/a", "b", "b-", "c/d/e/f", "z"];
        let names = names.map(str::to_owned);
        self.put_all(&names).await;
        assert_eq!(self.names("", None).await, names);
        assert_eq!(self.names("app/", None).await, names[2..6]);
        assert_eq!(self.names("app2/", None).await, names[6..7]);
        assert_eq!(self.names("app/b/", None).await, names[3..4]);
        assert_eq!(self.names("c/d/e/", None).await, names[9..10]);
        assert!(self.names("ap/", None).await.is_empty());
        for (n, name) in names.iter().enumerate() {
            assert_eq!(self.names("", Some(name)).await, names[n + 1..], "after {name}");
        }
        for (after, first) in [("app-1/y", 1), ("app", 0), ("app/b", 3), ("app/b/a", 3), ("app/b/d", 4), ("c/d", 9)] {
            assert_eq!(self.names("", Some(after)).await, names[first..], "after {after}");
        }
        assert_eq!(self.names("app/", Some("app-1/x")).await, names[2..6]);
        assert_eq!(self.names("app/", Some("app/b0")).await, names[5..6]);
        assert!(self.names("app/", Some("app2/a")).await.is_empty());
        assert!(self.names("", Some("zz")).await.is_empty());
        self.remove_all(&names).await;
    }

    async fn list_pages(&self) {
        let wide = |n: usize| format!("wide/{n:04}");
        let mut names: Vec<String> = (0..PAGE_ENTRIES + 5).map(wide).collect();
        names.extend((0..40).map(|n| format!("deep/{:02}/{n}", n / 4)));
        self.put_all(&names).await;
        names.sort();
        assert_eq!(self.walk("").await, names);
        assert_eq!(self.walk("wide/").await, names[40..]);
        assert_eq!(self.walk("deep/").await, names[..40]);
        ok("delete", self.0.delete(&key("wide/0000")).await);
        let full = self.page("wide/", Some("wide/0004")).await;
        assert_eq!((full.entries.len(), full.more), (PAGE_ENTRIES, false), "a page that is full and the last");
        let full = self.page("wide/", Some("wide/0003")).await;
        assert_eq!((full.entries.len(), full.more), (PAGE_ENTRIES, true), "a page that is full, and one more");
        self.remove_all(&names).await;
    }

    async fn walk(&self, prefix: &str) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for _ in 0..100 {
            let page = self.page(prefix, names.last().map(String::as_str)).await;
            assert!(page.entries.len() <= PAGE_ENTRIES);
            assert!(!page.more || !page.entries.is_empty(), "an empty page says that there is more");
            names.extend(page.entries.into_iter().map(|Entry { key, .. }| key.to_string()));
            if !page.more {
                return names;
            }
        }
        panic!("the listing of {prefix:?} does not end");
    }

    async fn clock(&self) {
        let before = ok("now", self.0.now().await);
        ok("create", self.put("clock", pattern(1)).await);
        let modified = ok("head", self.0.head(&key("clock")).await).modified;
        let after = ok("now", self.0.now().await);
        // Two seconds for stores that round.
        let (slack, minute) = (Duration::from_secs(2), Duration::from_secs(60));
        assert!(before <= after + slack, "the clock went back from {before:?} to {after:?}");
        assert!(modified + slack >= before && modified <= after + slack + minute, "{before:?} {modified:?} {after:?}");
        let listed = self.page("", None).await.entries.first().map(|entry| entry.modified);
        let distance = listed.map(|listed| distance(listed, modified));
        assert!(distance.is_some_and(|distance| distance <= slack), "list says {listed:?}, head {modified:?}");
        self.remove_all(&["clock".to_owned()]).await;
    }

    async fn probe(&self) {
        let profile = ok("probe", probe(self.0.as_ref()).await);
        ok("create with the profile in use", self.put("probed", pattern(77)).await);
        assert_eq!(ok("get", self.0.get(&key("probed")).await), pattern(77));
        self.remove_all(&["probed".to_owned()]).await;
        assert!(profile.can_delete, "the suite deleted, the probe says that it cannot");
    }
}

fn distance(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).or_else(|_| other.duration_since(one)).unwrap_or_default()
}
