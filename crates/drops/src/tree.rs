//! A drop's directory, held open.
//!
//! Owns listing and opening below one directory. Promises that no path leads out of it: each name is opened in the directory that is held, none through a
//! link, and only regular files are read; and that a file is told from another of the same name by where it lies, its size and its time of change.
//! Refuses links, pipes, sockets and devices by name, names that are not UTF-8, and trees too deep or too many to be a drop.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat};
use rustix::io::Errno;

use crate::error::{Error, Kind};
use crate::manifest::{DROP_YAML, SHA256SUMS, SUCCESS};
use crate::names::{Passed, fault, passed_over, shown};

/// The most files that a drop may hold.
pub const MAX_FILES: usize = 100_000;
/// How many directories may lie in each other.
pub(crate) const MAX_DEPTH: usize = 32;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// An open directory, whatever becomes of its name.
#[derive(Debug)]
pub(crate) struct Tree {
    root: OwnedFd,
    /// Its name, for people.
    pub(crate) shown: String,
}

/// Which file it is, and of which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) bytes: u64,
    device: i128,
    inode: i128,
    modified: (i128, i128),
}

/// What lies in a drop, each file with what it is known by.
#[derive(Debug)]
pub(crate) struct Listing<S = Stamp> {
    /// In the byte order of their paths.
    pub(crate) files: Vec<(String, S)>,
    /// Names of what somebody has not finished.
    pub(crate) unfinished: Vec<String>,
}

impl Stamp {
    /// The widths and signs of these fields differ between systems.
    fn of(stat: &Stat) -> Stamp {
        Stamp {
            bytes: u64::try_from(stat.st_size).unwrap_or(0),
            device: i128::from(stat.st_dev),
            inode: i128::from(stat.st_ino),
            modified: (i128::from(stat.st_mtime), i128::from(stat.st_mtime_nsec)),
        }
    }

    /// The stamp of an open file.
    pub(crate) fn now(file: &File) -> Result<Stamp, Errno> {
        Ok(Stamp::of(&fstat(file)?))
    }

    /// How a file differs from what it was, in words.
    pub(crate) fn differs(&self, before: &Stamp) -> Option<String> {
        if (self.device, self.inode) != (before.device, before.inode) {
            return Some("another file is in its place".to_owned());
        }
        if self.bytes != before.bytes {
            return Some(format!("it had {} bytes and has {} now", before.bytes, self.bytes));
        }
        (self.modified != before.modified).then(|| "it was written to".to_owned())
    }
}

impl Tree {
    /// Opens a directory. The name itself may be a link, such as `current`: whoever names it has chosen so.
    pub(crate) fn open(path: &Path) -> Result<Tree, Error> {
        let shown = path.display().to_string();
        let root = openat(CWD, path, DIRECTORY, Mode::empty())
            .map_err(|error| Error::io(format_args!("open the drop's directory {shown}"), error))?;
        Ok(Tree { root, shown })
    }

    /// Lists all files below, but for those whose names are passed over and the marks in the directory itself.
    pub(crate) fn list(&self) -> Result<Listing, Error> {
        let mut listing = Listing { files: Vec::new(), unfinished: Vec::new() };
        self.walk(self.root.as_fd(), "", 0, &mut listing)?;
        listing.files.sort_by(|(one, _), (other, _)| one.cmp(other));
        listing.unfinished.sort();
        Ok(listing)
    }

    fn walk(&self, dir: impl AsFd, prefix: &str, depth: usize, listing: &mut Listing) -> Result<(), Error> {
        let failed = |error: Errno| Error::io(format_args!("list {}/{prefix}", self.shown), error);
        if depth > MAX_DEPTH {
            return Err(too_deep(prefix));
        }
        for entry in Dir::read_from(&dir).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let Ok(name) = entry.file_name().to_str() else {
                let name = entry.file_name().to_string_lossy();
                return Err(refused(&format!("{prefix}{name}"), "its name is not UTF-8"));
            };
            let path = format!("{prefix}{name}");
            match passed_over(name) {
                Some(Passed::Hidden) => continue,
                Some(Passed::Unfinished) => {
                    if listing.unfinished.len() < MAX_FILES {
                        listing.unfinished.push(path);
                    }
                    continue;
                }
                None if prefix.is_empty() && [DROP_YAML, SHA256SUMS, SUCCESS].contains(&name) => continue,
                None => {}
            }
            if let Some(fault) = fault(&path) {
                return Err(refused(&path, fault));
            }
            self.entry(&dir, name, path, depth, listing)?;
        }
        Ok(())
    }

    fn entry(
        &self,
        dir: impl AsFd,
        name: &str,
        path: String,
        depth: usize,
        listing: &mut Listing,
    ) -> Result<(), Error> {
        let stat = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|error| gone(&path, error))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile if listing.files.len() == MAX_FILES => Err(too_many(&path)),
            FileType::RegularFile => {
                listing.files.push((path, Stamp::of(&stat)));
                Ok(())
            }
            FileType::Directory => {
                let below = openat(&dir, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty());
                let below = below.map_err(|error| gone(&path, error))?;
                self.walk(below, &format!("{path}/"), depth + 1, listing)
            }
            FileType::Symlink => Err(refused(&path, "it is a symbolic link")),
            _ => Err(refused(&path, "it is neither a file nor a directory")),
        }
    }

    /// Opens a file by its path, which was checked, name by name.
    pub(crate) fn open_file(&self, path: &str) -> Result<(File, Stamp), Error> {
        let failed = |error| gone(path, error);
        let (parents, name) = path.rsplit_once('/').map_or((None, path), |(parents, name)| (Some(parents), name));
        let mut held: Option<OwnedFd> = None;
        for parent in parents.iter().flat_map(|parents| parents.split('/')) {
            let dir = held.as_ref().unwrap_or(&self.root);
            held = Some(openat(dir, parent, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).map_err(failed)?);
        }
        // A pipe that was put in the file's place must not hold us up: it is opened without waiting, and refused.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(held.as_ref().unwrap_or(&self.root), name, flags, Mode::empty()).map_err(failed)?;
        let stat = fstat(&file).map_err(failed)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((File::from(file), Stamp::of(&stat))),
            _ => Err(refused(path, "it is not a regular file")),
        }
    }

    /// All bytes of a small file in the directory itself; `None` when there is none of this name.
    pub(crate) fn read_small(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, Error> {
        match statat(&self.root, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(gone(name, error)),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => {
                return Err(refused(name, "it is not a regular file"));
            }
            Ok(_) => {}
        }
        let (file, _) = self.open_file(name)?;
        let mut bytes = Vec::new();
        let read = file.take(most + 1).read_to_end(&mut bytes);
        let read = read.map_err(|error| Error::io(format_args!("read {name}"), error))?;
        match u64::try_from(read).is_ok_and(|read| read <= most) {
            true => Ok(Some(bytes)),
            false => Err(too_large(name, most)),
        }
    }
}

pub(crate) fn refused(path: &str, why: impl std::fmt::Display) -> Error {
    Error::new(Kind::Refused, format!("{} cannot be part of a drop: {why}", shown(path)))
        .hint("remove it from the drop, or put a plain file of a plain name there")
}

pub(crate) fn too_deep(path: &str) -> Error {
    refused(path, format_args!("it lies in more than {MAX_DEPTH} directories"))
}

pub(crate) fn too_many(path: &str) -> Error {
    refused(path, format_args!("it would be one of more than {MAX_FILES} files"))
}

/// A mark of more than `most` bytes.
pub(crate) fn too_large(name: &str, most: u64) -> Error {
    refused(name, format_args!("it is larger than {} MiB", most >> 20))
}

/// What was there a moment ago.
fn gone(path: &str, error: Errno) -> Error {
    match error {
        Errno::NOENT | Errno::NOTDIR => Error::changed(&shown(path), "it is gone"),
        Errno::LOOP => Error::changed(&shown(path), "a symbolic link is in its place"),
        error => Error::io(format_args!("open {}", shown(path)), error),
    }
}
