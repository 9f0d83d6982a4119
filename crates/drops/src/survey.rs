//! A drop that lies elsewhere, before anything of it is fetched.
//!
//! Owns looking at a list of names and sizes that somebody else's storage gives. Promises that what passes is what [`freeze`](fn@crate::freeze) will find in a
//! directory with the same files: the same names are refused, passed over and counted, and the same lists are not complete. Refuses what a directory cannot
//! hold, and with it every name that leads elsewhere: a storage takes `../a` for a name like any other.

use crate::error::Error;
use crate::freeze::{Complete, Marks, listed, settle};
use crate::manifest::{DROP_YAML, MAX_MANIFEST_BYTES, SHA256SUMS, SUCCESS};
use crate::names::{Passed, fault, passed_over};
use crate::tree::{Listing, MAX_DEPTH, MAX_FILES, refused, too_deep, too_large, too_many};

/// What a name in a list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A file of the drop.
    File,
    /// `drop.yaml`, `SHA256SUMS` or `_SUCCESS`.
    Mark,
    /// Nothing: hidden, not finished, or a folder's own entry.
    Nothing,
}

/// A list on its way.
#[derive(Debug)]
pub struct Survey {
    place: String,
    listing: Listing<u64>,
}

impl Survey {
    /// A list that is empty so far, of a place that errors name.
    #[must_use]
    pub fn new(place: impl Into<String>) -> Survey {
        Survey { place: place.into(), listing: Listing { files: Vec::new(), unfinished: Vec::new() } }
    }

    /// Takes a name below the drop, of something with so many bytes. What it is says whether to fetch it.
    ///
    /// # Errors
    /// [`Kind::Refused`](crate::Kind::Refused) for names that no file of a drop may have, marks that are too large, and too many files.
    pub fn add(&mut self, path: &str, bytes: u64) -> Result<Part, Error> {
        // What consoles make for a folder.
        if bytes == 0 && (path.is_empty() || path.ends_with('/')) {
            return Ok(Part::Nothing);
        }
        let names = || path.split('/');
        if let Some(fault) = fault(path).filter(|_| names().any(|name| matches!(name, "" | "." | ".."))) {
            // These begin with a dot, too, and are no hidden files.
            return Err(refused(path, fault));
        }
        if let Some((at, passed)) = names().enumerate().find_map(|(at, name)| Some((at, passed_over(name)?))) {
            self.pass(path, at, passed);
            return Ok(Part::Nothing);
        }
        if let Some(fault) = fault(path) {
            return Err(refused(path, fault));
        }
        match names().next() {
            Some(mark @ (DROP_YAML | SHA256SUMS | SUCCESS)) if mark != path => Err(refused(mark, "it is not a file")),
            Some(DROP_YAML | SHA256SUMS | SUCCESS) if bytes > MAX_MANIFEST_BYTES => {
                Err(too_large(path, MAX_MANIFEST_BYTES))
            }
            Some(DROP_YAML | SHA256SUMS | SUCCESS) => Ok(Part::Mark),
            _ if names().count() > MAX_DEPTH + 1 => Err(too_deep(path)),
            _ if self.listing.files.len() == MAX_FILES => Err(too_many(path)),
            _ => {
                self.listing.files.push((path.to_owned(), bytes));
                Ok(Part::File)
            }
        }
    }

    /// Notes what is not finished: the name that says so, once, with the folders before it.
    fn pass(&mut self, path: &str, at: usize, passed: Passed) {
        let unfinished = &mut self.listing.unfinished;
        if passed == Passed::Hidden || unfinished.len() >= MAX_FILES {
            return;
        }
        let end = path.match_indices('/').nth(at).map_or(path.len(), |(end, _)| end);
        let name = path.get(..end).unwrap_or(path);
        if unfinished.last().is_none_or(|last| last != name) {
            unfinished.push(name.to_owned());
        }
    }

    /// Looks at the whole list. Gives what an operator should know although it stops nothing.
    ///
    /// # Errors
    /// As [`freeze`](fn@crate::freeze); [`Kind::Refused`](crate::Kind::Refused) also when a file's name is a folder of others.
    pub fn check(mut self, marks: &Marks, how: Complete) -> Result<Vec<String>, Error> {
        let manifest = marks.manifest()?;
        self.listing.files.sort();
        self.listing.unfinished.sort();
        let files = &self.listing.files;
        let is_file = |path: &str| files.binary_search_by(|(file, _)| file.as_str().cmp(path)).is_ok();
        for (path, _) in files {
            let mut folders = path.match_indices('/').filter_map(|(end, _)| path.get(..end));
            if let Some(folder) = folders.find(|folder| is_file(folder)) {
                return Err(refused(folder, "it is a file, and a folder of others"));
            }
        }
        let notes = settle(&self.place, marks, manifest.as_ref(), &self.listing, how)?;
        for (path, bytes) in files {
            listed(path, *bytes, manifest.as_ref())?;
        }
        Ok(notes)
    }
}

#[cfg(test)]
mod tests;
