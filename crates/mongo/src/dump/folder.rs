//! A folder as `mongodump` writes it: of one database, or with one folder for each.
//!
//! Owns which file is what (<https://www.mongodb.com/docs/database-tools/mongodump/>), plain and packed. Promises that every file is used, left out with a note, or named in an error: a file that nobody knows may be documents that
//! nobody restores. Reads definitions at once, and of documents nothing yet.

use crate::catalog::Collection;
use crate::dump::contents::{Contents, Data, LeftOut, UNKNOWN, Watched, assert_paired, in_order};
use crate::dump::documents::Part;
use crate::dump::files::{Place, Span, failed};
use crate::dump::metadata;
use crate::dump_names::{file_name, is_file_of, name_of_file};
use crate::listing::SERVERS_OWN;
use crate::source::named as some_of;
use engine::{Error, Kind};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What every server did while it was dumped, for the vendor's tool to do again.
const OPLOG: [&str; 2] = ["oplog.bson", "oplog.bson.gz"];
/// The server's version.
const PRELUDE: [&str; 2] = ["prelude.json", "prelude.json.gz"];

/// What a file of a database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Documents,
    Definition,
}

/// A file by the first part of its name.
#[derive(Debug)]
struct Found {
    stem: String,
    sort: Sort,
    packed: bool,
    path: PathBuf,
}

/// What stands in a folder.
#[derive(Debug, Default)]
struct Listed {
    files: BTreeSet<String>,
    folders: BTreeSet<String>,
}

/// Looks at a folder.
///
/// # Errors
/// [`Kind::NotFound`] when the database is not in it; [`Kind::Config`] when there are several and none is named; [`Kind::Unsupported`] for files that nobody knows; [`Kind::Data`] for what is not whole.
pub(crate) fn look(path: &Path, named: Option<&str>) -> Result<Contents, Error> {
    let listed = list(path)?;
    if listed.files.iter().any(|file| split(file).is_some_and(|_| !OPLOG.contains(&file.as_str()))) {
        let own = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        return database(path, named.unwrap_or(own), listed, path.parent());
    }
    let known = |file: &&String| OPLOG.contains(&file.as_str()) || PRELUDE.contains(&file.as_str());
    if let Some(other) = listed.files.iter().find(|file| !known(file)) {
        return Err(unknown(&path.join(other)));
    }
    let name = choose(path, named, &listed.folders)?;
    let folder = path.join(&name);
    database(&folder, &name, list(&folder)?, Some(path))
}

/// Which database of several is meant.
fn choose(path: &Path, named: Option<&str>, folders: &BTreeSet<String>) -> Result<String, Error> {
    let all: Vec<String> = folders.iter().filter(|name| !SERVERS_OWN.contains(&name.as_str())).cloned().collect();
    match (named, all.as_slice()) {
        (Some(name), _) if folders.contains(name) => Ok(name.to_owned()),
        (Some(name), _) => Err(Error::new(Kind::NotFound, format!("there is no folder {name} in {}", path.display()))
            .hint(format!("there are: {}", some_of(&all)))),
        (None, [one]) => Ok(one.clone()),
        (None, []) => {
            Err(Error::new(Kind::NotFound, format!("{} holds nothing that mongodump writes", path.display())).hint(
                "name the folder of a database, with files NAME.bson and NAME.metadata.json, or the one that it is in",
            ))
        }
        (None, _) => {
            Err(Error::new(Kind::Config, format!("{} holds several databases: {}", path.display(), some_of(&all)))
                .hint("say which is meant: ?database=NAME at the URL's end; one backup is of one database"))
        }
    }
}

/// The folder of a database; `above` may have what belongs to the whole dump.
fn database(path: &Path, name: &str, listed: Listed, above: Option<&Path>) -> Result<Contents, Error> {
    if SERVERS_OWN.contains(&name) {
        let what = format!("{name} is the server's own database, which comes with another server by itself");
        return Err(Error::new(Kind::Config, what).hint("name the folder of an application's database"));
    }
    if let Some(folder) = listed.folders.first() {
        return Err(unknown(&path.join(folder)));
    }
    let mut watched = vec![Watched::Folder(path.to_owned(), listed.files.clone())];
    let (mut left_out, mut found) = (LeftOut::default(), Vec::new());
    for file in &listed.files {
        let Some((stem, sort, packed)) = split(file).filter(|_| !OPLOG.contains(&file.as_str())) else {
            match PRELUDE.contains(&file.as_str()) || OPLOG.contains(&file.as_str()) {
                true => continue,
                false => return Err(unknown(&path.join(file))),
            }
        };
        let is_left_out = match name_of_file(stem)? {
            Some(name) => left_out.takes(&name)?,
            None => false,
        };
        if !is_left_out {
            found.push(Found { stem: stem.to_owned(), sort, packed, path: path.join(file) });
        }
    }
    let collections = in_order(definitions(&found, &mut watched)?, &path.display().to_string())?;
    let data = documents(&found, &collections, &mut watched)?;
    assert_paired(&collections, &data.keys().map(String::as_str).collect(), &path.display().to_string())?;
    let around = [Some(path), above];
    Ok(Contents {
        database: name.to_owned(),
        server_version: version(around.into_iter().flatten())?,
        form: "a folder",
        collections,
        data,
        notes: left_out.notes(),
        has_oplog: around.into_iter().flatten().any(|folder| OPLOG.iter().any(|file| folder.join(file).exists())),
        watched,
    })
}

/// What a file's name says of it.
fn split(file: &str) -> Option<(&str, Sort, bool)> {
    let (plain, packed) = file.strip_suffix(".gz").map_or((file, false), |plain| (plain, true));
    let documents = plain.strip_suffix(".bson").map(|stem| (stem, Sort::Documents));
    let found = documents.or_else(|| plain.strip_suffix(".metadata.json").map(|stem| (stem, Sort::Definition)));
    found.filter(|(stem, _)| !stem.is_empty()).map(|(stem, sort)| (stem, sort, packed))
}

fn definitions(found: &[Found], watched: &mut Vec<Watched>) -> Result<Vec<Collection>, Error> {
    let mut collections = Vec::new();
    for file in found.iter().filter(|file| file.sort == Sort::Definition) {
        let place = Arc::new(Place::at(&file.path)?);
        let name = name_of_file(&file.stem)?;
        let what = file.path.display().to_string();
        let collection = metadata::read(&place.text(file.packed)?, name.as_deref(), &what)?;
        if !is_file_of(&file.stem, &collection.name) {
            return Err(Error::new(
                Kind::Data,
                format!("{what} is the definition of another collection, {:?}", collection.name),
            )
            .hint("a file of the dump was renamed, or came from another dump; no backup was made"));
        }
        watched.push(Watched::File(place));
        collections.push(collection);
    }
    Ok(collections)
}

/// Files of documents by whose they are; those of nobody by their own name.
fn documents(
    found: &[Found],
    collections: &[Collection],
    watched: &mut Vec<Watched>,
) -> Result<BTreeMap<String, Data>, Error> {
    let holders: Vec<String> = collections.iter().map(|one| one.holder().unwrap_or_else(|| one.name.clone())).collect();
    let by_file: BTreeMap<String, &String> = holders.iter().map(|holder| (file_name(holder), holder)).collect();
    let mut data = BTreeMap::new();
    for file in found.iter().filter(|file| file.sort == Sort::Documents) {
        let whose = match by_file.get(&file.stem) {
            Some(holder) => (*holder).clone(),
            None => name_of_file(&file.stem)?.unwrap_or_else(|| file.stem.clone()),
        };
        let place = Arc::new(Place::at(&file.path)?);
        let length = place.length()?;
        let parts = vec![Part { spans: vec![Span { at: 0, length }], bytes: length }];
        watched.push(Watched::File(Arc::clone(&place)));
        if data.insert(whose.clone(), Data { place, packed: file.packed, parts, bytes: length }).is_some() {
            return Err(Error::new(
                Kind::Data,
                format!("{}: there is another file with documents of {whose}", file.path.display()),
            )
            .hint("two dumps were put into one; no backup was made"));
        }
    }
    Ok(data)
}

/// What the dump says of its server; tools before 100.12 say nothing.
fn version<'a>(folders: impl Iterator<Item = &'a Path>) -> Result<String, Error> {
    #[derive(Deserialize)]
    struct Prelude {
        #[serde(rename = "ServerVersion", default)]
        server_version: String,
    }
    let mut paths = folders.flat_map(|folder| PRELUDE.map(|file| (folder.join(file), file.ends_with(".gz"))));
    let Some((path, packed)) = paths.find(|(path, _)| path.exists()) else { return Ok(UNKNOWN.to_owned()) };
    let text = Place::at(&path)?.text(packed)?;
    let prelude: Prelude = serde_json::from_slice(&text).map_err(|e| {
        Error::new(Kind::Data, format!("{} is damaged: {e}", path.display()))
            .hint("the dump did not end well, or was not copied whole; no backup was made")
    })?;
    Ok(Some(prelude.server_version).filter(|version| !version.is_empty()).unwrap_or_else(|| UNKNOWN.to_owned()))
}

fn unknown(path: &Path) -> Error {
    Error::new(Kind::Unsupported, format!("{} is nothing that mongodump writes", path.display()))
        .hint("move it away, or name another folder: what is not known is not left out in silence; no backup was made")
}

/// Names in a folder.
fn list(path: &Path) -> Result<Listed, Error> {
    let mut listed = Listed::default();
    for entry in std::fs::read_dir(path).map_err(|e| failed(path, e))? {
        let entry = entry.map_err(|e| failed(path, e))?;
        let name = entry.file_name().into_string().map_err(|_| unknown(&entry.path()))?;
        // What a link stands for counts.
        let found = std::fs::metadata(entry.path()).map_err(|e| failed(&entry.path(), e))?;
        if found.is_dir() {
            listed.folders.insert(name)
        } else {
            listed.files.insert(name)
        };
    }
    Ok(listed)
}

/// Names of files in a folder, as they are now.
pub(crate) fn names(path: &Path) -> Result<BTreeSet<String>, Error> {
    Ok(list(path)?.files)
}

#[cfg(test)]
#[path = "folder_tests.rs"]
mod tests;
