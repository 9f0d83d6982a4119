//! The folder of an export.
//!
//! Owns making it under another name beside its own, its files, and the step that gives it its name. Promises that the name shows
//! nothing before everything is written and synced, that whatever ends an export before removes what it wrote, and that only
//! this user can read any of it. Refuses a place where something is already.

use jobkit::{Exit, Failure};
use sha2::{Digest as _, Sha256};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use ulid::Ulid;

/// An export at work. Dropped before it is published, it is removed.
#[derive(Debug)]
pub(super) struct Folder {
    /// What it will be called.
    target: PathBuf,
    /// What it is called until then; empty once it is published.
    partial: PathBuf,
}

/// A file being written, with the sum of what has been.
pub(super) struct Writing {
    path: PathBuf,
    file: File,
    sum: Sha256,
    bytes: u64,
}

/// What a file has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// SHA-256 in hex.
    pub sha256: String,
    pub bytes: u64,
}

/// What a failed call of the file system means to an operator.
fn failed(what: &str, path: &Path, error: io::Error) -> Failure {
    use io::ErrorKind as K;
    let (exit, hint) = match error.kind() {
        K::StorageFull | K::QuotaExceeded => {
            (Exit::Unavailable, Some("free space there, or name a folder on another disk"))
        }
        K::PermissionDenied | K::ReadOnlyFilesystem => {
            (Exit::Refused, Some("name a folder that this user may write to"))
        }
        K::NotFound | K::NotADirectory => (Exit::Config, Some("make the folder that it is to be in, or correct --to")),
        _ => (Exit::Unavailable, None),
    };
    let failure = Failure::new(exit, format!("{what} {}", path.display()));
    match hint {
        Some(hint) => failure.hint(hint).because(error),
        None => failure.because(error),
    }
}

impl Folder {
    /// Looks at the place, and makes a folder beside it.
    ///
    /// # Errors
    /// [`Exit::Exists`] when something is there; else what the file system says.
    pub(super) fn begin(to: &Path) -> Result<Self, Failure> {
        let target = std::path::absolute(to).map_err(|error| failed("look for", to, error))?;
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(Failure::new(Exit::Usage, format!("{} is no name for a new folder", to.display())));
        };
        assert_free(&target, parent)?;
        let mut beside = name.to_owned();
        beside.push(format!(".partial-{}", Ulid::generate()));
        let partial = parent.join(beside);
        DirBuilder::new().mode(0o700).create(&partial).map_err(|error| failed("make", &partial, error))?;
        Ok(Self { target, partial })
    }

    /// What it will be called.
    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    /// Begins a file, in folders of its own where the path names some. Quick, and done at once: whoever gives up between two
    /// calls finds nothing new when he removes the folder.
    pub(super) fn create(&self, path: &str) -> Result<Writing, Failure> {
        let path = self.partial.join(path);
        if let Some(parent) = path.parent().filter(|parent| !parent.exists()) {
            let made = DirBuilder::new().mode(0o700).recursive(true).create(parent);
            made.map_err(|error| failed("make", parent, error))?;
        }
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = opened.map_err(|error| failed("make", &path, error))?;
        Ok(Writing { path, file, sum: Sha256::new(), bytes: 0 })
    }

    /// Writes a file in one go.
    pub(super) fn put(&self, path: &str, bytes: &[u8]) -> Result<Written, Failure> {
        let mut writing = self.create(path)?;
        writing.write(bytes)?;
        writing.end()
    }

    /// Gives it its name. What has come there meanwhile stays.
    pub(super) fn publish(mut self) -> Result<PathBuf, Failure> {
        sync_all(&self.partial)?;
        // An empty folder is replaced in the same step; one that is not empty any more refuses.
        fs::rename(&self.partial, &self.target).map_err(|error| match error.kind() {
            io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
                exists(&self.target)
            }
            _ => failed("give its name to", &self.target, error),
        })?;
        self.partial = PathBuf::new();
        if let Some(parent) = self.target.parent() {
            sync(parent)?;
        }
        Ok(std::mem::take(&mut self.target))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.partial.as_os_str().is_empty() {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&self.partial) {
            tracing::warn!(folder = %self.partial.display(), %error, "the unfinished export could not be removed; remove it by hand");
        }
    }
}

impl Writing {
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file.write_all(bytes).map_err(|error| failed("write", &self.path, error))?;
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// All of it is on the disk after this.
    pub(super) fn end(self) -> Result<Written, Failure> {
        self.file.sync_all().map_err(|error| failed("write", &self.path, error))?;
        Ok(Written { sha256: hex::encode(self.sum.finalize()), bytes: self.bytes })
    }
}

fn exists(target: &Path) -> Failure {
    Failure::new(Exit::Exists, format!("{} is there already", target.display()))
        .hint("name a folder that is not there yet, or an empty one; nothing was changed")
}

/// Fails when anything but an empty folder has the name. A file system of its own cannot be exchanged for a folder.
fn assert_free(target: &Path, parent: &Path) -> Result<(), Failure> {
    let found = match fs::symlink_metadata(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(|error| failed("look for", target, error))?,
    };
    if !found.is_dir() {
        return Err(exists(target));
    }
    let mut entries = fs::read_dir(target).map_err(|error| failed("look into", target, error))?;
    if entries.next().is_some() {
        return Err(exists(target));
    }
    let above = fs::metadata(parent).map_err(|error| failed("look into", parent, error))?;
    if above.dev() == found.dev() {
        return Ok(());
    }
    Err(Failure::new(Exit::Config, format!("{} is where a file system is mounted", target.display()))
        .hint("name a folder inside it: a finished export is given its name in one step"))
}

/// The folder and all that are in it.
fn sync_all(folder: &Path) -> Result<(), Failure> {
    for entry in fs::read_dir(folder).map_err(|error| failed("read", folder, error))? {
        let entry = entry.map_err(|error| failed("read", folder, error))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sync_all(&entry.path())?;
        }
    }
    sync(folder)
}

fn sync(folder: &Path) -> Result<(), Failure> {
    File::open(folder).and_then(|opened| opened.sync_all()).map_err(|error| failed("write", folder, error))
}
