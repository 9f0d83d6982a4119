//! Files that secrets are written to.
//!
//! Owns making them: new, for their owner alone. Promises that no file that is there is written over, and that a file whose
//! secret never came to be is not left behind. Refuses to print a secret.

use jobkit::{Exit, Failure};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file that waits for its secret.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    file: File,
    written: bool,
}

impl KeyFile {
    /// Makes the file, empty.
    ///
    /// # Errors
    /// [`Exit::Exists`] when it is there, [`Exit::Config`] when it cannot be made.
    pub fn create(path: &Path) -> Result<Self, Failure> {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = made.map_err(|e| {
            let exit = if e.kind() == std::io::ErrorKind::AlreadyExists { Exit::Exists } else { Exit::Config };
            let hint = "no file is written over: name another one, or move that one away";
            Failure::new(exit, format!("make {} for a key", path.display())).because(e).hint(hint)
        })?;
        Ok(Self { path: path.to_owned(), file, written: false })
    }

    /// Writes the secret and makes it last.
    ///
    /// # Errors
    /// [`Exit::Config`] when it cannot be written.
    pub fn write(mut self, secret: &str) -> Result<(), Failure> {
        let mut put = || {
            self.file.write_all(secret.as_bytes())?;
            self.file.write_all(b"\n")?;
            self.file.sync_all()
        };
        put().map_err(|e| Failure::new(Exit::Config, format!("write a key to {}", self.path.display())).because(e))?;
        self.written = true;
        Ok(())
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        if !self.written && std::fs::remove_file(&self.path).is_err() {
            tracing::warn!(file = %self.path.display(), "an empty file for a key stays behind");
        }
    }
}
