//! Where programs are, and which version they are.
//!
//! Promises: the program that [`find`] names is the one a [`Command`] starts. Refuses to wait long for a version.

use std::env;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Command, Error};

/// Used when this process has no `PATH` itself.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// More than any `--version` says.
const VERSION_LIMIT: usize = 4096;
/// A `--version` that takes longer is stuck, for example on a dead network file system.
const VERSION_TIME: Duration = Duration::from_secs(10);

/// The `PATH` that programs are looked up in, and that every child gets.
pub(crate) fn search_path() -> OsString {
    env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| DEFAULT_PATH.into())
}

/// The program's full path: the first executable file of that name on `PATH`, or `program` itself when it has a slash.
/// `None` when there is no such file.
#[must_use]
pub fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| is_executable(path));
    }
    if program.is_empty() {
        return None;
    }
    env::split_paths(&search_path()).map(|dir| dir.join(program)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The first line that `program --version` prints, for example `pg_dump (PostgreSQL) 17.2`.
///
/// # Errors
/// [`Error::Missing`], [`Error::Spawn`]; [`Error::TimedOut`] after 10 s; [`Error::Failed`] when it does not end with
/// exit code 0.
pub async fn version_of(program: &str) -> Result<String, Error> {
    let mut child = Command::new(program).arg("--version").capture(VERSION_LIMIT).spawn()?;
    let output = tokio::time::timeout(VERSION_TIME, child.wait())
        .await
        .map_err(|_| Error::TimedOut { program: program.to_owned(), after: VERSION_TIME })??;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}
