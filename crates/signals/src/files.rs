//! Files that others read while we write.
//!
//! Promises that a reader of [`replace`]'s file sees the old content or the new, never a part. What is no ordinary file, such as a
//! pipe or `/dev/stdout`, is written into and never replaced.

use std::fs::{self, File, OpenOptions};
use std::io::{Error, ErrorKind, Result, Write};
use std::path::Path;

/// Puts a file in place of what is there, in one step. A symbolic link stays one: what it leads to is replaced.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let resolved = fs::canonicalize(path);
    let path = resolved.as_deref().unwrap_or(path);
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        return OpenOptions::new().append(true).open(path)?.write_all(content);
    }
    let name = path.file_name().ok_or_else(|| Error::new(ErrorKind::InvalidInput, "not a file's name"))?;
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(beside);
    let written = File::create(&beside)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // Whether it is there to be removed depends on how far the attempt came; its own error is what matters.
        let _may_not_be_there = fs::remove_file(&beside);
    }
    written
}

/// As [`replace`], for content that more is to follow: does nothing where content would add up.
pub(crate) fn replace_only(path: &Path, content: &[u8]) -> Result<()> {
    if path.metadata().is_ok_and(|there| !there.is_file()) { Ok(()) } else { replace(path, content) }
}

/// Writes over a file that somebody else has put there and holds on to: a container runtime mounts it.
pub(crate) fn write_over(path: &Path, content: &[u8], create: bool) -> Result<()> {
    let mut file = OpenOptions::new().write(true).truncate(true).create(create).open(path)?;
    file.write_all(content)
}

/// What an operator needs of an error.
pub(crate) fn why(error: &Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such folder".to_owned(),
        ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_stays_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("r.json"), folder.path().join("link"));
        replace(&path, b"a longer first content").unwrap();
        replace(&path, b"second").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace(&link, b"third").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        replace(Path::new("/dev/null"), b"x").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn a_missing_folder_is_said() {
        let error = replace(Path::new("/nonexistent/r.json"), b"x").unwrap_err();
        assert_eq!(why(&error), "there is no such folder");
        assert!(write_over(Path::new("/nonexistent/x"), b"x", true).is_err());
    }
}
