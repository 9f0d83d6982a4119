//! Files that hand a secret to a child without showing it in argv or the environment.
//!
//! Promises: a private directory (0700) of files (0600) that nobody could have prepared before us, removed when the
//! owner is dropped; in memory (`/dev/shm`) where the system has that, so that nothing reaches a disk. Refuses file
//! names with a path in them. What a kill -9 leaves behind is readable by this user only.

use std::fmt;
use std::fs::{OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::Error;

/// Memory-backed on Linux, and writable in containers whose root is read-only.
const IN_MEMORY: &str = "/dev/shm";

/// A private directory of secret files, removed on drop.
pub struct SecretDir {
    dir: TempDir,
}

impl SecretDir {
    /// Makes an empty private directory.
    ///
    /// # Errors
    /// [`Error::Io`] when neither `/dev/shm` nor the system's temporary directory (`TMPDIR`) takes one.
    pub fn new() -> Result<Self, Error> {
        let made = Self::new_in(Path::new(IN_MEMORY)).or_else(|_| Self::new_in(&std::env::temp_dir()));
        made.map_err(|source| Error::io("create a private directory for secret files", source))
    }

    fn new_in(parent: &Path) -> io::Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("longshore-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        Ok(Self { dir })
    }

    /// Writes a new file of mode 0600 and returns its path, valid until `self` is dropped.
    ///
    /// # Errors
    /// [`Error::Io`] when `name` is not a plain file name, is taken already, or cannot be written. The content is never
    /// part of the error.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<PathBuf, Error> {
        let failed = |source| Error::io(format!("write secret file {name}"), source);
        if Path::new(name).file_name().is_none_or(|plain| plain != name) {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file name")));
        }
        let path = self.dir.path().join(name);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        file.write_all(content).map_err(failed)?;
        Ok(path)
    }

    /// Where the files are.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl fmt::Debug for SecretDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretDir").field("path", &self.dir.path()).finish_non_exhaustive()
    }
}
