//! Owns which directories of the tree exist durably.
//!
//! Promises that a parent returned by `make_parent` survives a power failure, whoever made it: a directory's entry in
//! its own parent is synced once per process, and again when the directory is another than the one remembered. Refuses
//! to make the root a second time.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Key;

/// Directories remembered as durable. Forgetting them all costs one more fsync each.
const MAX_REMEMBERED: usize = 8192;

#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    /// The root has been there: should it be missing later, it is gone, not new.
    root_seen: AtomicBool,
    tmp_made: AtomicBool,
    /// Directory → its inode, for those whose entry in their parent is durable.
    durable: Mutex<HashMap<PathBuf, u64>>,
}

impl Tree {
    pub(super) fn new(root: &Path) -> Tree {
        Tree {
            root: root.to_owned(),
            root_seen: AtomicBool::new(false),
            tmp_made: AtomicBool::new(false),
            durable: Mutex::default(),
        }
    }

    /// Fails as the system does when the root is not a directory that is there.
    pub(super) fn check_root(&self) -> io::Result<()> {
        if !fs::metadata(&self.root)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        self.root_seen.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Makes the folder for temporary files; says whether this is the first call.
    pub(super) fn make_tmp(&self, folder: &Path) -> io::Result<bool> {
        self.make_root()?;
        // Not synced: after a power failure it is either there or made again.
        make(folder)?;
        Ok(!self.tmp_made.swap(true, Ordering::Relaxed))
    }

    /// Makes every directory above a key's file, durably, and opens the lowest.
    pub(super) fn make_parent(&self, key: &Key) -> io::Result<File> {
        self.make_root()?;
        let mut path = self.root.clone();
        let mut directory = File::open(&path)?;
        let folders = key.as_str().rsplit_once('/').map_or("", |(folders, _)| folders);
        for name in folders.split('/').filter(|name| !name.is_empty()) {
            path.push(name);
            make(&path)?;
            directory = self.open_durable(&path, &directory)?;
        }
        Ok(directory)
    }

    /// Removes the directories above a key's file that are empty now, up to but without the root.
    pub(super) fn remove_empty_parents(&self, key: &Key) -> io::Result<()> {
        let mut folders = key.as_str();
        while let Some((above, _)) = folders.rsplit_once('/') {
            folders = above;
            // An error means that it holds something, or that it is gone: either way there is no more to do.
            if fs::remove_dir(self.root.join(folders)).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn make_root(&self) -> io::Result<()> {
        match self.check_root() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.root_seen.load(Ordering::Relaxed) => {
                make(&self.root)?;
                if let Some(parent) = self.root.parent() {
                    File::open(parent)?.sync_all()?;
                }
                self.check_root()
            }
            checked => checked,
        }
    }

    fn open_durable(&self, path: &Path, parent: &File) -> io::Result<File> {
        let directory = File::open(path)?;
        let inode = directory.metadata()?.ino();
        if self.remembered().get(path) == Some(&inode) {
            return Ok(directory);
        }
        // Also when another process made it: that one may not have come to sync it.
        parent.sync_all()?;
        let mut remembered = self.remembered();
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(path.to_owned(), inode);
        Ok(directory)
    }

    fn remembered(&self) -> MutexGuard<'_, HashMap<PathBuf, u64>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
