//! What a drop is: a list of files that does not change any more.
//!
//! Owns `Frozen` and the rules of when a drop is complete. Promises that a frozen list is what a manifest says, no file more and none less; that each file is
//! read as it was listed or not at all; and that the same files make the same identity wherever they lie, by the content of every one.
//! Refuses to guess whether a drop is complete: a mark says so, or whoever asks. What lies elsewhere is looked at by the same rules before anybody
//! fetches it (`survey`), and is frozen here when it is at hand.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Kind};
use crate::manifest::{DROP_YAML, Listed, MAX_MANIFEST_BYTES, Manifest, SHA256SUMS, SUCCESS};
use crate::names::shown;
use crate::raw::Raw;
use crate::tree::{Listing, Stamp, Tree};

/// How many names an error or a note repeats.
const NAMES: usize = 10;

/// Where a drop lies.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A directory, and all that is below it.
    Directory(PathBuf),
}

/// Who says that a drop is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Complete {
    /// A mark in the drop that its writer puts there last: `drop.yaml`, `SHA256SUMS` or `_SUCCESS`.
    Marked,
    /// Whoever asked for the load, with or without a mark. A manifest that is there counts all the same.
    Asked,
}

/// The identity of a drop: SHA-256 over the path, size and SHA-256 of every file, in the byte order of the paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DropId([u8; 32]);

impl DropId {
    /// The hash itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// 64 hex digits.
impl fmt::Display for DropId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// One file of a frozen drop. A clone is the same file: what one learns of its hash, the other knows.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct File {
    /// Its path below the drop, names joined by `/`.
    pub path: String,
    /// Its size as it lies there, in bytes.
    pub bytes: u64,
    /// What the manifest says about it; nothing, without one.
    pub listed: Listed,
    pub(crate) stamp: Stamp,
    sha256: Arc<OnceLock<[u8; 32]>>,
}

impl File {
    /// Its SHA-256, once it was read or hashed to its end.
    #[must_use]
    pub fn sha256(&self) -> Option<[u8; 32]> {
        self.sha256.get().copied()
    }

    /// Takes over the hash of all bytes, and compares it with what was promised and with what was read before.
    pub(crate) fn confirm(&self, sha256: [u8; 32]) -> Result<(), Error> {
        if self.listed.sha256.is_some_and(|listed| listed != sha256) {
            return Err(Error::new(
                Kind::Data,
                format!("{} does not have the hash that the manifest gives", self.path),
            )
            .hint("upload the file again, or the manifest when the file was meant to change; nothing was loaded"));
        }
        match *self.sha256.get_or_init(|| sha256) == sha256 {
            true => Ok(()),
            false => Err(Error::changed(&self.path, "it had another content when it was read before")),
        }
    }
}

/// A drop whose files are known.
#[derive(Debug)]
pub struct Frozen {
    pub(crate) tree: Arc<Tree>,
    source: Source,
    files: Vec<File>,
    manifest: Option<Manifest>,
    notes: Vec<String>,
}

impl Frozen {
    /// All files, in the byte order of their paths.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// What the drop says about itself, when it does.
    #[must_use]
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// What an operator should know although it stops nothing: files that look as if somebody were still writing them.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The drop's identity, once every file was read or hashed to its end.
    #[must_use]
    pub fn id(&self) -> Option<DropId> {
        let mut hasher = Sha256::new();
        hasher.update(b"longshore drop 1\n");
        for file in &self.files {
            let length = |number: usize| (number as u64).to_be_bytes();
            hasher.update(length(file.path.len()));
            hasher.update(file.path.as_bytes());
            hasher.update(file.bytes.to_be_bytes());
            hasher.update(file.sha256()?);
        }
        Some(DropId(hasher.finalize().into()))
    }

    /// Reads every file whose hash is not known yet, and gives the drop's identity. Dropping the future ends the reading.
    ///
    /// # Errors
    /// [`Kind::Data`] when a file is not what the manifest says, [`Kind::Changed`] when it is not the one that was listed; [`Kind::Refused`] and
    /// [`Kind::Unavailable`] by the system's word.
    pub async fn hash(&mut self) -> Result<DropId, Error> {
        for file in self.files.iter().filter(|file| file.sha256().is_none()) {
            let (tree, file, waiting) = (self.tree.clone(), file.clone(), Arc::new(()));
            let heard = Arc::downgrade(&waiting);
            let is_heard = move || heard.strong_count() > 0;
            blocking("hash a file", move || file.confirm(Raw::open(&tree, &file)?.drain(is_heard)?)).await?;
            // Held until here: without it the thread would read a large file to its end for nobody.
            drop(waiting);
        }
        self.id().ok_or_else(|| Error::new(Kind::Internal, "a file was hashed, and its hash is not known"))
    }

    /// Looks whether the same files still lie under the drop's name, none more and none less, and none was written to since. For drops that somebody
    /// else reads meanwhile: nothing is read again.
    ///
    /// # Errors
    /// [`Kind::Changed`] with the file; [`Kind::Missing`], [`Kind::Refused`] and [`Kind::Unavailable`] as [`freeze`].
    pub async fn unchanged(&self) -> Result<(), Error> {
        let (source, files) = (self.source.clone(), self.files.clone());
        blocking("list a drop", move || compare(&source, &files)).await
    }
}

/// Lists the directory once more, by its name, and compares.
fn compare(source: &Source, files: &[File]) -> Result<(), Error> {
    let Source::Directory(root) = source;
    let now = Tree::open(root)?.list()?.files;
    for file in files {
        let Ok(at) = now.binary_search_by(|(path, _)| path.as_str().cmp(&file.path)) else {
            return Err(Error::changed(&file.path, "it is gone"));
        };
        if let Some(how) = now[at].1.differs(&file.stamp) {
            return Err(Error::changed(&file.path, how));
        }
    }
    let is_new = |path: &str| files.binary_search_by(|file| file.path.as_str().cmp(path)).is_err();
    match now.iter().find(|(path, _)| is_new(path)) {
        Some((path, _)) => Err(Error::changed(path, "it has come since")),
        None => Ok(()),
    }
}

/// Lists a drop, whose content is not read yet, and compares the list with its manifest.
///
/// # Errors
/// [`Kind::Missing`] when the drop is not there, not complete, empty, or lacks a file; [`Kind::Data`] when it holds one that its manifest does not name, or one of
/// another size, or when the manifest cannot be used; [`Kind::Refused`] for names, links and special files that no drop holds, and by the
/// system's word; [`Kind::Changed`] and [`Kind::Unavailable`].
pub async fn freeze(source: &Source, how: Complete) -> Result<Frozen, Error> {
    let source = source.clone();
    blocking("list a drop", move || freeze_tree(source, how)).await
}

/// Runs blocking work off the async threads.
async fn blocking<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|join| Err(Error::internal(format_args!("could not {what}"), join)))
}

/// Marks are looked at before the files: they are written last, so what they speak of is there when the list is made.
fn freeze_tree(source: Source, how: Complete) -> Result<Frozen, Error> {
    let Source::Directory(root) = &source;
    let tree = Tree::open(root)?;
    let read = |name| tree.read_small(name, MAX_MANIFEST_BYTES);
    let marks = Marks { drop_yaml: read(DROP_YAML)?, sha256sums: read(SHA256SUMS)?, success: read(SUCCESS)? };
    let manifest = marks.manifest()?;
    let listing = tree.list()?;
    let notes = settle(&tree.shown, &marks, manifest.as_ref(), &listing, how)?;
    let files = listing.files.into_iter().map(|(path, stamp)| file(path, stamp, manifest.as_ref()));
    Ok(Frozen { files: files.collect::<Result<_, _>>()?, tree: Arc::new(tree), source, manifest, notes })
}

/// The files with which a drop says that it is complete, and what it holds. `None` is none of this name.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    /// The content of `drop.yaml`.
    pub drop_yaml: Option<Vec<u8>>,
    /// The content of `SHA256SUMS`.
    pub sha256sums: Option<Vec<u8>>,
    /// The content of `_SUCCESS`.
    pub success: Option<Vec<u8>>,
}

impl Marks {
    /// What the drop says about its files, if anything.
    pub(crate) fn manifest(&self) -> Result<Option<Manifest>, Error> {
        Ok(match (&self.drop_yaml, &self.sha256sums) {
            (Some(yaml), Some(sums)) => Some(Manifest::from_yaml(yaml)?.join(Manifest::from_sums(sums)?)?),
            (Some(yaml), None) => Some(Manifest::from_yaml(yaml)?),
            (None, Some(sums)) => Some(Manifest::from_sums(sums)?),
            (None, None) => None,
        })
    }

    fn is_none(&self) -> bool {
        self.drop_yaml.is_none() && self.sha256sums.is_none() && self.success.is_none()
    }
}

/// Whether a list is that of a complete drop, all of it and nothing else. Gives what an operator should know all the same.
pub(crate) fn settle<S>(
    place: &str,
    marks: &Marks,
    manifest: Option<&Manifest>,
    listing: &Listing<S>,
    how: Complete,
) -> Result<Vec<String>, Error> {
    if marks.is_none() && how == Complete::Marked {
        return Err(incomplete(place, listing));
    }
    for (name, bytes) in [(DROP_YAML, &marks.drop_yaml), (SUCCESS, &marks.success)] {
        check_mark(manifest, name, bytes.as_deref())?;
    }
    compare_names(place, listing, manifest)?;
    Ok(notes(listing))
}

fn incomplete<S>(place: &str, listing: &Listing<S>) -> Error {
    let (files, unfinished) = (listing.files.len(), listing.unfinished.len());
    let what = format!(
        "the drop {place} is not complete: it holds {files} files, {unfinished} unfinished, and none of {DROP_YAML}, {SHA256SUMS} and {SUCCESS}"
    );
    Error::new(Kind::Missing, what)
        .hint("let whoever writes the drop put one of these there last; or, when you know that it is complete, ask for the load without a mark")
}

fn check_mark(manifest: Option<&Manifest>, name: &str, bytes: Option<&[u8]>) -> Result<(), Error> {
    let Some(listed) = manifest.and_then(|manifest| manifest.marks.get(name)) else { return Ok(()) };
    match bytes.map(|bytes| <[u8; 32]>::from(Sha256::digest(bytes))) {
        Some(found) if found == *listed => Ok(()),
        Some(_) => Err(Error::new(Kind::Data, format!("{name} does not have the hash that {SHA256SUMS} gives"))
            .hint(format!("write {SHA256SUMS} last"))),
        None => Err(Error::new(Kind::Missing, format!("{SHA256SUMS} lists {name}, and it is not there"))),
    }
}

fn notes<S>(listing: &Listing<S>) -> Vec<String> {
    match listing.unfinished.as_slice() {
        [] => Vec::new(),
        unfinished => vec![format!(
            "passed over because their names say that they are not finished: {}",
            few(unfinished.iter().map(String::as_str))
        )],
    }
}

/// Compares the files that are there with those that the manifest names.
fn compare_names<S>(place: &str, listing: &Listing<S>, manifest: Option<&Manifest>) -> Result<(), Error> {
    if let Some(manifest) = manifest {
        let there = |path: &str| listing.files.binary_search_by(|(file, _)| file.as_str().cmp(path)).is_ok();
        let missing: Vec<_> = manifest.files().map(|(path, _)| path).filter(|path| !there(path)).collect();
        if !missing.is_empty() {
            let what = format!("the drop {place} lacks files of its manifest: {}", few(missing.into_iter()));
            return Err(Error::new(Kind::Missing, what).hint("upload them, the manifest last, and start again"));
        }
        let unlisted = listing.files.iter().map(|(path, _)| path.as_str());
        let unlisted: Vec<_> = unlisted.filter(|path| !manifest.files.contains_key(*path)).collect();
        if !unlisted.is_empty() {
            let what =
                format!("the drop {place} holds files that its manifest does not name: {}", few(unlisted.into_iter()));
            return Err(Error::new(Kind::Data, what).hint("add them to the manifest, or move them out of the drop"));
        }
    }
    if listing.files.is_empty() {
        return Err(Error::new(Kind::Missing, format!("the drop {place} holds no files"))
            .hint("is it the right place, and was everything uploaded?"));
    }
    Ok(())
}

fn file(path: String, stamp: Stamp, manifest: Option<&Manifest>) -> Result<File, Error> {
    let listed = listed(&path, stamp.bytes, manifest)?;
    Ok(File { path, bytes: stamp.bytes, listed, stamp, sha256: Arc::default() })
}

/// What the manifest says about a file that has this size.
pub(crate) fn listed(path: &str, bytes: u64, manifest: Option<&Manifest>) -> Result<Listed, Error> {
    let listed = manifest.and_then(|manifest| manifest.files.get(path)).cloned().unwrap_or_default();
    match listed.bytes {
        Some(said) if said != bytes => {
            let what = format!("{path} has {bytes} bytes, and the manifest says {said}");
            Err(Error::new(Kind::Data, what).hint("upload the file again; nothing was loaded"))
        }
        _ => Ok(listed),
    }
}

/// The first of many names, and how many more there are.
fn few<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMES);
    let mut text = names.take(NAMES).map(shown).collect::<Vec<_>>().join(", ");
    if more > 0 {
        text.push_str(&format!(" and {more} more"));
    }
    text
}

#[cfg(test)]
mod tests;
