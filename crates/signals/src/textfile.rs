//! Metrics in a file for the textfile collector of node-exporter.
//!
//! Promises that the file is replaced whole, that series of other commands and sources stay in it, and that two runs which end at
//! the same time both stay in it. Refuses to touch a file that holds anything but metrics of ours.

use std::fs::{File, TryLockError};
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::files;
use crate::metrics::{self, Part, Series};

/// The largest file, in bytes: some thousands of sources.
const LARGEST: u64 = 4 * 1024 * 1024;
/// How long another run may take to write the same file.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at whether it has.
const PACE: Duration = Duration::from_millis(10);

/// Puts what a run has to say into the file.
pub(crate) fn update(path: &Path, parts: &[Part]) -> Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // The folder is what both runs have in common: the file itself is another one after each run.
    let folder = File::open(folder)?;
    lock(&folder)?;
    let series = metrics::merge(before(path)?, parts);
    files::replace(path, metrics::text(&series).as_bytes())
}

/// Waits for the lock within a bound; it ends with `folder`.
fn lock(folder: &File) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match folder.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(PACE),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(ErrorKind::TimedOut, "another process keeps the folder locked"));
            }
            // A file system without locks: then two runs at the same moment are the operator's to keep apart.
            Err(TryLockError::Error(_)) => return Ok(()),
        }
    }
}

/// What the file holds; nothing when there is none.
fn before(path: &Path) -> Result<Series> {
    let mut text = String::new();
    match File::open(path) {
        Ok(file) => file.take(LARGEST + 1).read_to_string(&mut text)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Series::new()),
        Err(error) => return Err(error),
    };
    let ours = if text.len() as u64 > LARGEST { None } else { metrics::read(&text) };
    ours.ok_or_else(|| {
        Error::new(ErrorKind::InvalidData, "it holds something else than metrics of ours; it was left alone")
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::run::Ended;
    use crate::run::tests::{failed, run, well};
    use serde_json::json;

    #[test]
    fn runs_that_end_together_are_all_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("longshore.prom");
        std::thread::scope(|scope| {
            for at in 0..8 {
                let path = &path;
                let ended = Ended { source: Some(format!("app{at}")), ..well(json!({"rows": at})) };
                scope.spawn(move || update(path, &metrics::parts(&run(), &ended)).unwrap());
            }
        });
        let text = std::fs::read_to_string(&path).unwrap();
        for at in 0..8 {
            assert!(text.contains(&format!("longshore_backup_rows{{command=\"backup\",source=\"app{at}\"}} {at}\n")));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing stays beside it");
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other.prom");
        std::fs::write(&path, "backup_age 3\n").unwrap();
        assert!(update(&path, &metrics::parts(&run(), &failed())).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "backup_age 3\n");
    }
}
