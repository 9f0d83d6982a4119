//! Stores around a directory: one that counts, and one that forgets to be careful.
//!
//! Owns nothing that lasts. `Counting` promises one count for each call of the contract, which is what an object store answers with one
//! request. `Careless` makes a million objects in minutes: it syncs nothing and shows a writer neither
//! chunks nor sessions, which would be listed anew for each of a thousand backups. What it made is a repository like any
//! other for whoever opens it afterwards without it.

use async_trait::async_trait;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use store::{Directory, Entry, Error, Key, Page, Prefix, Profile, Store};

/// Calls by name.
pub type Calls = BTreeMap<&'static str, u64>;

/// Counts calls.
#[derive(Debug)]
pub struct Counting {
    inner: Directory,
    calls: Mutex<Calls>,
}

impl Counting {
    pub fn new(folder: &Path) -> Self {
        Self { inner: Directory::new(folder), calls: Mutex::default() }
    }

    /// What was called since the last time that this was asked.
    pub fn take(&self) -> Calls {
        std::mem::take(&mut self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn count(&self, call: &'static str) -> &Directory {
        *self.calls.lock().unwrap_or_else(PoisonError::into_inner).entry(call).or_default() += 1;
        &self.inner
    }
}

#[async_trait]
impl Store for Counting {
    fn location(&self) -> &str {
        self.inner.location()
    }

    async fn create(&self, key: &Key, body: Bytes, sha256: &[u8; 32]) -> Result<(), Error> {
        self.count("create").create(key, body, sha256).await
    }

    async fn get(&self, key: &Key) -> Result<Bytes, Error> {
        self.count("get").get(key).await
    }

    async fn get_range(&self, key: &Key, start: u64, len: u64) -> Result<Bytes, Error> {
        self.count("get").get_range(key, start, len).await
    }

    async fn head(&self, key: &Key) -> Result<Entry, Error> {
        self.count("head").head(key).await
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Key>) -> Result<Page, Error> {
        self.count("list").list(prefix, after).await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.count("delete").delete(key).await
    }

    async fn delete_all(&self, keys: &[Key]) -> Result<(), Error> {
        // One request of S3 takes a thousand, and a sweep asks for no more at once.
        self.count("delete").delete_all(keys).await
    }

    async fn now(&self) -> Result<SystemTime, Error> {
        self.count("now").now().await
    }

    fn use_profile(&self, profile: &Profile) {
        self.inner.use_profile(profile);
    }
}

/// Writes fast and shows little.
#[derive(Debug)]
pub struct Careless {
    folder: PathBuf,
    inner: Directory,
}

impl Careless {
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), inner: Directory::new(folder) }
    }

    fn put(&self, key: &Key, body: &[u8]) -> std::io::Result<()> {
        let path = self.folder.join(key.as_str());
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        let file = match (options.open(&path), path.parent()) {
            (Err(error), Some(parent)) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::create_dir_all(parent)?;
                options.open(&path)
            }
            (opened, _) => opened,
        };
        file?.write_all(body)
    }
}

#[async_trait]
impl Store for Careless {
    fn location(&self) -> &str {
        self.inner.location()
    }

    async fn create(&self, key: &Key, body: Bytes, _sha256: &[u8; 32]) -> Result<(), Error> {
        self.put(key, &body).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => Error::AlreadyExists {
                key: key.clone(),
                location: self.location().to_owned(),
                source: Some(error.into()),
            },
            _ => Error::Unavailable {
                what: format!("create {key}"),
                location: self.location().to_owned(),
                source: Some(error.into()),
            },
        })
    }

    async fn get(&self, key: &Key) -> Result<Bytes, Error> {
        self.inner.get(key).await
    }

    async fn get_range(&self, key: &Key, start: u64, len: u64) -> Result<Bytes, Error> {
        self.inner.get_range(key, start, len).await
    }

    async fn head(&self, key: &Key) -> Result<Entry, Error> {
        self.inner.head(key).await
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Key>) -> Result<Page, Error> {
        match prefix.as_str() {
            "chunks/" | "sessions/" => Ok(Page::default()),
            _ => self.inner.list(prefix, after).await,
        }
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        self.inner.delete(key).await
    }

    async fn now(&self) -> Result<SystemTime, Error> {
        Ok(SystemTime::now())
    }

    fn use_profile(&self, profile: &Profile) {
        self.inner.use_profile(profile);
    }
}
