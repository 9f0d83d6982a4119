//! Owns bytes by key: the contract `Store` and the stores that keep it: S3, a directory, memory.
//!
//! Promises that an object is created whole or not at all, at most once per key, and is durable when `create` returns;
//! that a read returns exactly the bytes that were put, or an error; and that every error says what the caller can do.
//! Refuses to know what the bytes mean, to overwrite (but for
//! `register`, where a lease's object is replaced on condition), and to work around a server that cannot create conditionally.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod directory;
mod error;
mod examine;
mod key;
mod location;
mod memory;
mod policy;
mod probe;
mod register;
mod s3;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

pub use directory::Directory;
pub use error::{Cause, Error};
pub use examine::{Clock, Examined, Tried, examine};
pub use key::{Key, MAX_KEY_BYTES, MAX_SEGMENT_BYTES, Prefix};
pub use location::{Credentials, Location};
pub use memory::Memory;
pub use policy::{Access, Dialect, policy};
pub use probe::{Profile, probe};
pub use register::{Register, Registers, Version, Written, open_registers, probe_registers};
pub use s3::{Object, Objects, ReadError, Reading, S3};

use location::Place;

/// The most entries in one `Page`.
pub const PAGE_ENTRIES: usize = 1000;

/// What a store knows about one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The object's key.
    pub key: Key,
    /// Its length in bytes.
    pub len: u64,
    /// When it was created, by the store's own clock. Stores round it: S3 to a second.
    pub modified: SystemTime,
}

/// A part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// At most `PAGE_ENTRIES`, in the byte order of their keys.
    pub entries: Vec<Entry>,
    /// Whether to ask again, with the last entry's key as `after`. When true, `entries` is not empty.
    pub more: bool,
}

/// What a place keeps of objects that are replaced or deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Keeping {
    /// Whether it keeps older versions; `None` when the credentials may not ask, or the server does not know the question.
    pub versions: Option<bool>,
    /// Whether versions are kept from everybody for a time (Object Lock); `None` as above.
    pub lock: Option<bool>,
    /// For how long, where every new object is locked by default: `COMPLIANCE, 30 days`.
    pub retention: Option<String>,
}

/// Where objects live. One value serves all tasks of a process; no call holds a lock across another.
///
/// What callers may rely on, and implementors must keep (`conformance::suite` checks most of it):
///
/// - **Objects are immutable.** There is no overwrite. `create` of an existing key changes nothing.
/// - **Reads see writes.** After `create` returned, every reader everywhere gets and lists the object.
/// - **A read is whole.** `get` returns all bytes, `get_range` exactly those asked for; a body that ends early is an
///   error after bounded retries, never a short result.
/// - **Retries are inside.** Every call retries passing trouble within stated bounds (S3: 6 attempts, 20 s between two).
///   What comes out as `Error::Unavailable` has been retried.
/// - **Dropping a future** abandons the wait, not necessarily the work: the object may or may not come to exist, whole.
/// - **Keys nest or end.** No key is the path of another: with an object `a`, creating `a/b` is refused by a directory.
/// - **Objects fit in memory.** Callers keep them below about 300 MB; no store here splits one.
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// Where this is, for people. Holds no secret.
    fn location(&self) -> &str;

    /// Creates an object, only if there is none of this key; atomic, and durable on return.
    ///
    /// `sha256` is the SHA-256 of `body`. A store that checks it refuses a mismatch; others ignore it (see `Profile`).
    ///
    /// # Errors
    /// `AlreadyExists` when something is there, which may be our own earlier attempt whose reply was lost: the caller
    /// compares. `Corrupt` when the bytes do not have the hash. `Full`, `Denied`, `NoPlace`, `Unavailable`, `Config`;
    /// after `Unavailable` the object may exist.
    async fn create(&self, key: &Key, body: Bytes, sha256: &[u8; 32]) -> Result<(), Error>;

    /// All bytes of an object.
    ///
    /// # Errors
    /// `NotFound`, `Truncated`, `Denied`, `NoPlace`, `Unavailable`.
    async fn get(&self, key: &Key) -> Result<Bytes, Error>;

    /// Exactly `len` bytes from the byte offset `start`. Empty when `len` is 0 and `start` lies within the object or
    /// at its end.
    ///
    /// # Errors
    /// `Truncated` when the object ends before the range does, with what was asked and what was there; else as `get`.
    async fn get_range(&self, key: &Key, start: u64, len: u64) -> Result<Bytes, Error>;

    /// Length and time of an object.
    ///
    /// # Errors
    /// As `get`.
    async fn head(&self, key: &Key) -> Result<Entry, Error>;

    /// Objects under `prefix` whose key is greater than `after`, in byte order, at most `PAGE_ENTRIES`.
    ///
    /// A prefix without objects is an empty page. Objects created during a listing may or may not be in it.
    ///
    /// # Errors
    /// `NoPlace`, `Denied`, `Unavailable`.
    async fn list(&self, prefix: &Prefix, after: Option<&Key>) -> Result<Page, Error>;

    /// Removes an object; absent is fine. A versioned bucket keeps the bytes as an older version.
    ///
    /// # Errors
    /// `Denied`, `NoPlace`, `Unavailable`.
    async fn delete(&self, key: &Key) -> Result<(), Error>;

    /// Removes many objects as [`Store::delete`] removes each, in as few requests as the store takes (S3: one for 1,000).
    ///
    /// # Errors
    /// As `delete`, for one of them; any of the others may be gone then.
    async fn delete_all(&self, keys: &[Key]) -> Result<(), Error> {
        one_by_one(self, keys).await
    }

    /// The store's clock: what `Entry::modified` is measured with. Compare ages with this, never with the local clock.
    ///
    /// # Errors
    /// `Denied`, `NoPlace`, `Unavailable`.
    async fn now(&self) -> Result<SystemTime, Error>;

    /// The store's clock as far as any answer tells it, a refusal too: a clock that is wrong is why requests are refused.
    ///
    /// # Errors
    /// As `now`; what a refusal carries a time with is no error.
    async fn clock(&self) -> Result<SystemTime, Error> {
        self.now().await
    }

    /// What becomes of objects that are replaced or deleted. What cannot be found out is `None`.
    async fn keeping(&self) -> Keeping {
        Keeping::default()
    }

    /// Tries to replace an object that a probe has created, to find out whether these credentials can. For `examine` only.
    ///
    /// # Errors
    /// `Denied` when they cannot; `Config` for a key outside of `probe/`, and where nothing can be replaced.
    async fn replace_probe(&self, key: &Key, body: Bytes) -> Result<(), Error> {
        let _ = body;
        Err(Error::config(format!("{key} cannot be replaced in {}", self.location())))
    }

    /// Takes over what a probe learned about this store. Before the first call, nothing optional is used.
    fn use_profile(&self, profile: &Profile);
}

/// Deletes at the same time, where each takes a request.
const DELETERS: usize = 16;

async fn one_by_one<S: Store + ?Sized>(store: &S, keys: &[Key]) -> Result<(), Error> {
    let deletes = stream::iter(keys.to_vec()).map(|key| async move { store.delete(&key).await });
    deletes.buffer_unordered(DELETERS).try_collect().await
}

/// Opens the store at `location`, without talking to it: what is wrong there shows at the first call.
///
/// `credentials` are for S3; without them the SDK's chain is asked (environment, profile, web identity, container, IMDS).
///
/// # Errors
/// `Error::Config` when the location's settings cannot be used, such as a CA file that is not there.
pub async fn open(location: &Location, credentials: Option<Credentials>) -> Result<Arc<dyn Store>, Error> {
    match &location.0 {
        Place::Directory(root) => Ok(Arc::new(Directory::new(root))),
        Place::S3(bucket) => Ok(Arc::new(S3::open(bucket, credentials).await?)),
    }
}
