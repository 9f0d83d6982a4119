//! Where a drop lies while it is loaded that has to be fetched first.
//!
//! Owns a directory of a run's own. Promises that nobody but its user gets in; that a drop for which there is no room is not begun; that the directory is gone
//! when the run ends, and that what a killed run has left is gone when the next one makes its own: each holds a lock on its directory, and the lock ends
//! with the process. Refuses a parent that belongs to somebody else.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jobkit::format::bytes;
use jobkit::{Exit, Failure, OrFail};
use lease::RunId;

const ELSEWHERE: &str = "name a directory with room for the whole drop with --scratch; nothing was loaded";

/// A directory of a run's own, removed with all that is in it when this goes.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    /// Locked as long as somebody uses the directory.
    _held: File,
}

impl Scratch {
    /// Makes one for a run below `parent`, and removes those of killed runs. Blocks.
    ///
    /// # Errors
    /// [`Exit::Config`] when `parent` is not there, [`Exit::Refused`] and [`Exit::Unavailable`] by the system's word.
    pub fn make(parent: &Path, run: RunId) -> Result<Scratch, Failure> {
        let home = home(parent)?;
        let failed = |error| unmade(&home, error);
        // Who comes meanwhile must not take for left what is made here and not locked yet.
        let door = File::open(&home).and_then(|door| door.lock().map(|()| door)).map_err(failed)?;
        sweep(&home);
        let path = home.join(run.to_string());
        DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        let held = File::open(&path).and_then(|held| held.lock().map(|()| held)).map_err(failed)?;
        drop(door);
        Ok(Scratch { path, _held: held })
    }

    /// The directory's absolute path, without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses a drop of so many bytes when there is less room on the disk.
    ///
    /// # Errors
    /// [`Exit::Unavailable`] with both numbers.
    pub fn refuse_without_room(&self, needed: u64) -> Result<(), Failure> {
        let disk = rustix::fs::statvfs(&self.path).map_err(|error| unmade(&self.path, error.into()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if needed <= free {
            return Ok(());
        }
        let (needed, free, place) = (bytes(needed), bytes(free), self.path.display());
        let what = format!("the drop has {needed}, and there are {free} left where it would be fetched to, {place}");
        Err(Failure::new(Exit::Unavailable, what).hint(ELSEWHERE))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "could not remove what was fetched of the drop");
        }
    }
}

/// A new file in such a directory, of a name that was found fit for a drop, with the directories before it.
///
/// # Errors
/// What the system says.
pub(crate) fn create(folder: &Path, name: &str) -> io::Result<File> {
    let path = folder.join(name);
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// A file of the drop that could not be kept.
pub(crate) fn unkept(folder: &Path, name: &str, error: io::Error) -> Failure {
    let exit = if error.kind() == io::ErrorKind::PermissionDenied { Exit::Refused } else { Exit::Unavailable };
    Failure::new(exit, format!("could not keep {name} in {}", folder.display())).because(error).hint(ELSEWHERE)
}

/// The directory of this user's that all runs have theirs in.
fn home(parent: &Path) -> Result<PathBuf, Failure> {
    let user = rustix::process::getuid().as_raw();
    let parent = parent.canonicalize().map_err(|error| unmade(parent, error))?;
    let path = parent.join(format!("longshore-drops-{user}"));
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unmade(&path, error)),
        _ => {}
    }
    own(&path, user, ELSEWHERE)?;
    Ok(path)
}

/// Refuses what is not this user's own directory.
///
/// # Errors
/// [`Exit::Refused`] with `advice`.
pub(crate) fn own(path: &Path, user: u32, advice: &str) -> Result<(), Failure> {
    let shown = path.display();
    let meta = std::fs::symlink_metadata(path).or_fail(Exit::Config, format!("look at {shown}"))?;
    if meta.is_dir() && meta.uid() == user {
        return Ok(());
    }
    Err(Failure::new(Exit::Refused, format!("{shown} is not this user's own directory")).hint(advice))
}

fn unmade(path: &Path, error: io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Exit::Config,
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Exit::Refused,
        _ => Exit::Unavailable,
    };
    Failure::new(exit, format!("could not make room for the drop in {}", path.display())).because(error).hint(ELSEWHERE)
}

/// Removes what nobody holds any more.
fn sweep(home: &Path) {
    for left in std::fs::read_dir(home).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let Ok(held) = File::open(&left) else { continue };
        if held.try_lock().is_err() {
            continue;
        }
        match std::fs::remove_dir_all(&left) {
            Ok(()) => tracing::info!(path = %left.display(), "removed what a run that was killed had fetched"),
            Err(error) => {
                tracing::warn!(%error, path = %left.display(), "could not remove what a run that was killed had fetched");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::io::Write;

    use super::*;

    fn names(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn what_was_fetched_is_for_its_user_alone_and_goes_with_the_run() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::make(parent.path(), RunId::generate()).unwrap();
        create(scratch.path(), "a/b/c.csv").unwrap().write_all(b"1").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
        let home = scratch.path().parent().unwrap().to_owned();
        for (path, wanted) in [("", 0o700), ("a", 0o700), ("a/b", 0o700), ("a/b/c.csv", 0o600)] {
            assert_eq!(mode(&scratch.path().join(path)), wanted, "{path}");
        }
        assert_eq!(mode(&home), 0o700);
        assert!(create(scratch.path(), "a/b/c.csv").is_err() && create(scratch.path(), "a/b").is_err());
        drop(scratch);
        assert_eq!(names(&home), 0);
    }

    #[test]
    fn what_a_killed_run_has_left_is_removed_and_what_another_uses_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let used = Scratch::make(parent.path(), RunId::generate()).unwrap();
        create(used.path(), "a").unwrap();
        let home = used.path().parent().unwrap().to_owned();
        let left = home.join(RunId::generate().to_string());
        std::fs::create_dir(&left).unwrap();
        create(&left, "d/secret").unwrap();
        let another = Scratch::make(parent.path(), RunId::generate()).unwrap();
        assert!(!left.exists() && used.path().join("a").exists() && another.path().exists());
    }

    #[test]
    fn a_drop_without_room_is_not_begun_and_a_place_that_cannot_be_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let scratch = Scratch::make(parent.path(), RunId::generate()).unwrap();
        scratch.refuse_without_room(1).unwrap();
        let failure = scratch.refuse_without_room(u64::MAX).unwrap_err();
        assert_eq!(failure.exit(), Exit::Unavailable);
        assert!(failure.what().contains("16.0 EiB"), "{failure}");
        assert!(failure.what_next().unwrap().contains("--scratch"), "{failure}");
        let absent = Scratch::make(&parent.path().join("absent"), RunId::generate()).unwrap_err();
        assert_eq!(absent.exit(), Exit::Config);
        assert_eq!(own(Path::new("/"), u32::MAX - 1, "").unwrap_err().exit(), Exit::Refused);
    }
}
