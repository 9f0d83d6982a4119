//! Owns the ordered walk: one page of keys from a tree of files.
//!
//! Promises the byte order of whole keys, which is not the order of a naive walk: `a-b` comes before `a/c`, because `-`
//! is less than `/`. Memory is bounded per level, whatever a directory holds: the least `BATCH` names are kept and the
//! directory is read again for more. Refuses to follow symbolic links and to list what no key can name.

use std::collections::BinaryHeap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::key::{RESERVED, is_segment};
use crate::{Entry, Key, PAGE_ENTRIES, Page, Prefix};

/// Names kept from one reading of a directory: a page of files and the one that says there is more.
const BATCH: usize = PAGE_ENTRIES + 1;

/// One page of the keys below `root`, which the caller has seen to be there.
pub(super) fn page(root: &Path, prefix: &Prefix, after: Option<&Key>) -> io::Result<Page> {
    let after = after.map_or("", Key::as_str);
    let mut entries = Vec::new();
    let mut levels = vec![Level::read(root, prefix.as_str().to_owned(), after)?];
    // Depth is bounded by the length of a key: directories whose path no key can have are not entered.
    while let Some(level) = levels.last_mut() {
        let Some(name) = level.next(root, after)? else {
            levels.pop();
            continue;
        };
        let path = format!("{}{name}", level.path);
        if name.ends_with('/') {
            levels.push(Level::read(root, path, after)?);
            continue;
        }
        entries.extend(entry(root, &path)?);
        if entries.len() > PAGE_ENTRIES {
            entries.truncate(PAGE_ENTRIES);
            return Ok(Page { entries, more: true });
        }
    }
    Ok(Page { entries, more: false })
}

/// One directory of the walk.
struct Level {
    /// Below the root: `""` or ending in `/`.
    path: String,
    /// Names still to visit, the greatest first; those of directories end in `/`, which makes them sort as keys do.
    names: Vec<String>,
    /// The greatest name of a full batch: there may be more after it.
    resume: Option<String>,
}

impl Level {
    fn read(root: &Path, path: String, after: &str) -> io::Result<Level> {
        let mut level = Level { path, names: Vec::new(), resume: None };
        level.fill(root, after, "")?;
        Ok(level)
    }

    fn next(&mut self, root: &Path, after: &str) -> io::Result<Option<String>> {
        if self.names.is_empty()
            && let Some(resume) = self.resume.take()
        {
            self.fill(root, after, &resume)?;
        }
        Ok(self.names.pop())
    }

    /// Reads the least `BATCH` names greater than `resume` that can lead to a key greater than `after`.
    fn fill(&mut self, root: &Path, after: &str, resume: &str) -> io::Result<()> {
        let mut least = BinaryHeap::with_capacity(BATCH + 1);
        let mut full = false;
        let listing = match fs::read_dir(self.folder(root)) {
            Ok(listing) => listing,
            // Deleted meanwhile, or a prefix of nothing.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        for item in listing {
            let item = item?;
            let Some(name) = self.name(&item)? else { continue };
            if name.as_str() <= resume || !leads_past(&self.path, &name, after) {
                continue;
            }
            least.push(name);
            if least.len() > BATCH {
                least.pop();
                full = true;
            }
        }
        self.names = least.into_sorted_vec();
        self.resume = if full { self.names.last().cloned() } else { None };
        self.names.reverse();
        Ok(())
    }

    fn folder(&self, root: &Path) -> PathBuf {
        root.join(self.path.trim_end_matches('/'))
    }

    fn name(&self, item: &fs::DirEntry) -> io::Result<Option<String>> {
        let Ok(name) = item.file_name().into_string() else { return Ok(None) };
        if !is_segment(&name) || (self.path.is_empty() && name == RESERVED) {
            return Ok(None);
        }
        let kind = match item.file_type() {
            Ok(kind) => kind,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if kind.is_dir() && self.path.len() + name.len() + 1 < crate::MAX_KEY_BYTES {
            return Ok(Some(name + "/"));
        }
        Ok(kind.is_file().then_some(name))
    }
}

/// Whether the file, or some file below the directory, has a key greater than `after`.
fn leads_past(path: &str, name: &str, after: &str) -> bool {
    let whole = format!("{path}{name}");
    whole.as_str() > after || (name.ends_with('/') && after.starts_with(&whole))
}

/// A file's entry; none when it is gone or no key can name it.
fn entry(root: &Path, path: &str) -> io::Result<Option<Entry>> {
    let Ok(key) = Key::parse(path) else { return Ok(None) };
    match fs::symlink_metadata(root.join(path)) {
        Ok(meta) => Ok(Some(Entry { key, len: meta.len(), modified: meta.modified()? })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
