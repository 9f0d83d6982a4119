//! Owns `Directory`: objects as plain files below one directory.
//!
//! Promises create-only by the kernel's own rename (or link) that refuses to replace, and durability by fsync of the file
//! and of every directory that names it. Files are 0600, directories 0700. Refuses file systems that can neither rename
//! without replacing nor link. Files that are not objects yet live in `tmp/`, which no key names and no listing shows.

mod list;
mod sync;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{CWD, OFlags, RenameFlags, renameat_with};
use rustix::io::Errno;
use ulid::Ulid;

use self::sync::Tree;
use crate::key::RESERVED;
use crate::probe::is_probe;
use crate::{Entry, Error, Key, Page, Prefix, Profile, Store};

/// Temporary files that old by the store's clock are leftovers of killed processes.
const STALE_AFTER: Duration = Duration::from_secs(48 * 3600);
/// Leftovers removed in one go.
const STALE_BATCH: usize = 1000;
/// How often a create starts over because another process removed the directory it was about to use.
const PLACE_ATTEMPTS: usize = 4;

/// A store in a directory of this machine or of a mounted file system.
///
/// The directory itself is made by the first create when only it is missing, not its parents; one that was there and is
/// gone, such as an unmounted disk, is `Error::NoPlace` and is never made again.
#[derive(Debug)]
pub struct Directory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    location: String,
    tree: Tree,
}

impl Directory {
    /// The store below `root`, an absolute path. Touches nothing yet.
    #[must_use]
    pub fn new(root: &Path) -> Directory {
        let location = format!("file://{}", root.display());
        Directory { inner: Arc::new(Inner { root: root.to_owned(), location, tree: Tree::new(root) }) }
    }

    /// Runs blocking work off the async threads. When the caller stops waiting, the work still ends by itself.
    async fn blocking<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Inner) -> Result<T, Error> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || work(&inner)).await.unwrap_or_else(|join| {
            let what = "finish a file operation".to_owned();
            Err(Error::Unavailable { what, location: self.inner.location.clone(), source: Some(join.into()) })
        })
    }
}

#[async_trait]
impl Store for Directory {
    fn location(&self) -> &str {
        &self.inner.location
    }

    async fn create(&self, key: &Key, body: Bytes, _sha256: &[u8; 32]) -> Result<(), Error> {
        let key = key.clone();
        self.blocking(move |inner| inner.create(&key, &body)).await
    }

    async fn get(&self, key: &Key) -> Result<Bytes, Error> {
        let key = key.clone();
        self.blocking(move |inner| inner.get(&key)).await
    }

    async fn get_range(&self, key: &Key, start: u64, len: u64) -> Result<Bytes, Error> {
        let key = key.clone();
        self.blocking(move |inner| inner.get_range(&key, start, len)).await
    }

    async fn head(&self, key: &Key) -> Result<Entry, Error> {
        let key = key.clone();
        self.blocking(move |inner| {
            let (_, meta) = inner.open(&key)?;
            let modified = meta.modified().map_err(|error| inner.failed_on("read", &key, error))?;
            Ok(Entry { key, len: meta.len(), modified })
        })
        .await
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Key>) -> Result<Page, Error> {
        let (prefix, after) = (prefix.clone(), after.cloned());
        self.blocking(move |inner| {
            let what = || format!("list {}", if prefix.as_str().is_empty() { "all objects" } else { prefix.as_str() });
            inner.tree.check_root().map_err(|error| inner.failed(what(), error))?;
            list::page(&inner.root, &prefix, after.as_ref()).map_err(|error| inner.failed(what(), error))
        })
        .await
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let key = key.clone();
        self.blocking(move |inner| inner.delete(&key)).await
    }

    async fn now(&self) -> Result<SystemTime, Error> {
        self.blocking(move |inner| {
            let failed = |error| inner.failed("ask for the time".to_owned(), error);
            let temporary = match inner.temporary() {
                // Whoever cannot write decides about nothing: ages are shown, and this machine's clock is what there is.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) =>
                {
                    return Ok(SystemTime::now());
                }
                made => made.map_err(failed)?,
            };
            temporary.file.metadata().and_then(|meta| meta.modified()).map_err(failed)
        })
        .await
    }

    async fn replace_probe(&self, key: &Key, body: Bytes) -> Result<(), Error> {
        if !is_probe(key) {
            return Err(Error::config(format!("{key} is not a probe's, and nothing else is ever replaced")));
        }
        let key = key.clone();
        let replace = move |inner: &Inner| {
            let written =
                OpenOptions::new().write(true).open(inner.path(&key)).and_then(|file| file.write_all_at(&body, 0));
            written.map_err(|error| inner.failed(format!("replace {key}"), error))
        };
        self.blocking(replace).await
    }

    fn use_profile(&self, _profile: &Profile) {}
}

/// A file in `tmp/`, removed on drop unless it was moved to its place.
struct Temporary {
    path: PathBuf,
    file: File,
    placed: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.placed
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(path = %self.path.display(), %error, "temporary file stays");
        }
    }
}

/// How an attempt to put a file in its place ended, when nothing failed.
enum Placed {
    Done,
    SomethingThere,
    /// This file system can neither rename without replacing nor link.
    Cannot(io::Error),
}

impl Inner {
    fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    fn create(&self, key: &Key, body: &[u8]) -> Result<(), Error> {
        let failed = |error| self.failed_on("create", key, error);
        let path = self.path(key);
        // Cheaper than finding out after writing; the rename below is what decides.
        if path.symlink_metadata().is_ok() {
            return Err(self.something_there(key, &path));
        }
        let mut temporary = self.temporary().map_err(failed)?;
        temporary.file.write_all(body).and_then(|()| temporary.file.sync_all()).map_err(failed)?;
        let parent = self.make_parents_and_place(key, &path, &mut temporary)?;
        parent.sync_all().map_err(failed)
    }

    /// Returns the parent directory, which is still to be synced.
    fn make_parents_and_place(&self, key: &Key, path: &Path, temporary: &mut Temporary) -> Result<File, Error> {
        let failed = |error| self.failed_on("create", key, error);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let parent = self.tree.make_parent(key).map_err(failed)?;
            match place(&temporary.path, path) {
                Ok(Placed::Done) => {
                    temporary.placed = true;
                    return Ok(parent);
                }
                Ok(Placed::SomethingThere) => return Err(self.something_there(key, path)),
                Ok(Placed::Cannot(error)) => {
                    return Err(Error::NoConditionalCreate {
                        seen: "its file system can neither rename without replacing nor make hard links".to_owned(),
                        location: self.location.clone(),
                        source: Some(error.into()),
                    });
                }
                // Somebody deleted the last object in the parent, and the parent with it.
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < PLACE_ATTEMPTS => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn something_there(&self, key: &Key, path: &Path) -> Error {
        if path.is_dir() {
            return Error::config(format!("{key} is the path of other objects in {}", self.location));
        }
        // The caller may find its own bytes and take that for success, so what is there must be durable by now.
        match path.parent().map(|parent| File::open(parent).and_then(|parent| parent.sync_all())) {
            Some(Err(error)) => self.failed_on("create", key, error),
            _ => Error::AlreadyExists { key: key.clone(), location: self.location.clone(), source: None },
        }
    }

    fn temporary(&self) -> io::Result<Temporary> {
        let folder = self.root.join(RESERVED);
        let first = self.tree.make_tmp(&folder)?;
        let path = folder.join(Ulid::generate().to_string());
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let temporary = Temporary { path, file, placed: false };
        if first {
            remove_stale(&folder, temporary.file.metadata()?.modified()?);
        }
        Ok(temporary)
    }

    fn open(&self, key: &Key) -> Result<(File, fs::Metadata), Error> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = i32::try_from(flags.bits()).unwrap_or(0);
        let opened = OpenOptions::new().read(true).custom_flags(flags).open(self.path(key));
        let file = opened.map_err(|error| self.failed_on("read", key, error))?;
        let meta = file.metadata().map_err(|error| self.failed_on("read", key, error))?;
        if meta.is_file() {
            return Ok((file, meta));
        }
        Err(Error::NotFound { key: key.clone(), location: self.location.clone(), source: None })
    }

    fn get(&self, key: &Key) -> Result<Bytes, Error> {
        let (mut file, meta) = self.open(key)?;
        let wanted = meta.len();
        let mut body = Vec::with_capacity(usize::try_from(wanted).unwrap_or(0));
        file.read_to_end(&mut body).map_err(|error| self.failed_on("read", key, error))?;
        self.exactly(key, wanted, body)
    }

    fn get_range(&self, key: &Key, start: u64, len: u64) -> Result<Bytes, Error> {
        let (file, meta) = self.open(key)?;
        let there = meta.len().saturating_sub(start);
        if there < len || start > meta.len() {
            return Err(self.truncated(key, len, there));
        }
        let mut body = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        match file.read_exact_at(&mut body, start) {
            Ok(()) => self.exactly(key, len, body),
            Err(error) => Err(self.failed_on("read", key, error)),
        }
    }

    fn exactly(&self, key: &Key, wanted: u64, body: Vec<u8>) -> Result<Bytes, Error> {
        if body.len() as u64 == wanted { Ok(body.into()) } else { Err(self.truncated(key, wanted, body.len() as u64)) }
    }

    fn truncated(&self, key: &Key, wanted: u64, got: u64) -> Error {
        Error::Truncated { key: key.clone(), location: self.location.clone(), wanted, got }
    }

    fn delete(&self, key: &Key) -> Result<(), Error> {
        let failed = |error| self.failed(format!("delete {key}"), error);
        self.tree.check_root().map_err(failed)?;
        match fs::remove_file(self.path(key)) {
            Ok(()) => self.tree.remove_empty_parents(key).map_err(failed),
            Err(error) if is_absent(&error) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    /// Sorts an error on one object.
    fn failed_on(&self, verb: &str, key: &Key, error: io::Error) -> Error {
        let absent = is_absent(&error) || error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
        if verb == "read" && absent && self.tree.check_root().is_ok() {
            return Error::NotFound { key: key.clone(), location: self.location.clone(), source: Some(error.into()) };
        }
        if verb == "create" && error.kind() == io::ErrorKind::NotADirectory {
            let what = format!("an object of {} is named like a parent of {key}", self.location);
            return Error::Config { what, advice: None, source: Some(error.into()) };
        }
        self.failed(format!("{verb} {key}"), error)
    }

    /// Sorts any other error.
    fn failed(&self, what: String, error: io::Error) -> Error {
        let location = self.location.clone();
        let kind = error.kind();
        let source = Some(error.into());
        match kind {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full { what, location, source },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Error::Denied { what, location, source }
            }
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::NoPlace { what, location, source },
            _ => Error::Unavailable { what, location, source },
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Gives a finished temporary file its name, unless something has that name.
fn place(from: &Path, to: &Path) -> io::Result<Placed> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(Placed::Done),
        Err(Errno::EXIST) => Ok(Placed::SomethingThere),
        // What kernels say when the file system (NFS, some FUSE and overlay ones) lacks the flag.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => link(from, to),
        Err(error) => Err(error.into()),
    }
}

fn link(from: &Path, to: &Path) -> io::Result<Placed> {
    match fs::hard_link(from, to) {
        // The second name is of no use; when removing it fails, it goes with the other leftovers.
        Ok(()) => Ok(fs::remove_file(from).map_or(Placed::Done, |()| Placed::Done)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Placed::SomethingThere),
        Err(error) => match Errno::from_io_error(&error) {
            Some(Errno::PERM | Errno::NOSYS | Errno::NOTSUP | Errno::XDEV) => Ok(Placed::Cannot(error)),
            _ => Err(error),
        },
    }
}

/// Removes what killed processes left behind. Failing at that is no reason to fail a backup.
fn remove_stale(folder: &Path, now: SystemTime) {
    let Ok(names) = fs::read_dir(folder) else { return };
    for entry in names.take(STALE_BATCH).flatten() {
        let modified = entry.metadata().and_then(|meta| meta.modified());
        let stale = modified.is_ok_and(|modified| now.duration_since(modified).is_ok_and(|age| age > STALE_AFTER));
        if stale && let Err(error) = fs::remove_file(entry.path()) {
            tracing::debug!(path = %entry.path().display(), %error, "leftover of a killed process stays");
        }
    }
}

#[cfg(test)]
mod tests;
