//! An archive as `mongodump --archive` writes it: all collections in one file, in turns.
//!
//! Owns the format (`common/archive` of <https://github.com/mongodb/mongo-tools>): four bytes that say what it is; a list with a header and every definition; lists of documents, each under the name of its collection; and for each collection a list without any
//! that says that it has ended, and the sum of its bytes (CRC-64 with the polynomial of ECMA-182). Promises that an archive which ends anywhere but at its end, or in which a sum is another one, is an error. One that is plain is read where it is:
//! where documents stand is noted in one reading. One that is packed is unpacked into a file without a name first, because nobody can begin in the middle of it.

use crate::catalog::{Collection, Sort};
use crate::dump::contents::{Contents, Data, LeftOut, Stop, UNKNOWN, Watched, assert_paired, in_order};
use crate::dump::documents::{Cuts, Documents, Item};
use crate::dump::files::{Place, failed, short};
use crate::dump::metadata;
use crate::listing::SERVERS_OWN;
use crate::source::named as some_of;
use crc_fast::{CrcAlgorithm, Digest};
use engine::{Error, Kind};
use mongodb::bson::{Bson, Document, RawDocument};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write as _};
use std::path::Path;
use std::sync::Arc;

/// What an archive begins with.
const MAGIC: [u8; 4] = 0x8199_e26d_u32.to_le_bytes();
/// What gzip begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The format's version.
const VERSION: &str = "0.1";
/// The collection, in no database, with what the server did meanwhile.
const OPLOG: (&str, &str) = ("", "oplog");
/// So many places are noted at most: 64 MiB.
const MOST_SPANS: usize = 4 << 20;

/// An archive of which the beginning was read.
#[derive(Debug)]
pub(crate) struct Archive {
    place: Arc<Place>,
    packed: bool,
    server_version: String,
    /// Database, collection, definition.
    entries: Vec<(String, String, String)>,
}

impl Archive {
    /// Reads the beginning.
    ///
    /// # Errors
    /// [`Kind::Data`] for what is no archive, or a damaged one; [`Kind::Unsupported`] for another version of the format.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let place = Arc::new(Place::at(path)?);
        let mut head = Vec::new();
        place.bytes(false, None)?.take(2).read_to_end(&mut head).map_err(|e| failed(path, e))?;
        let packed = head == GZIP;
        let mut documents = begin(&place, packed)?;
        let damaged = || damaged(path, "its beginning is not readable");
        let Some(Item::Document(header)) = documents.item()? else { return Err(damaged()) };
        let header = parsed(header).ok_or_else(damaged)?;
        let version = header.get_str("version").unwrap_or_default();
        if version != VERSION {
            let what = format!("{} is an archive of version {version:?}; this program knows {VERSION}", path.display());
            return Err(Error::new(Kind::Unsupported, what).hint("a newer version of longshore may know it"));
        }
        let server_version = header.get_str("server_version").ok().filter(|version| !version.is_empty());
        let server_version = server_version.unwrap_or(UNKNOWN).to_owned();
        let mut entries = Vec::new();
        loop {
            match documents.item()? {
                Some(Item::Document(entry)) => {
                    let entry = parsed(entry).ok_or_else(damaged)?;
                    let text = |name: &str| entry.get_str(name).map(str::to_owned);
                    let (database, collection) = (text("db"), text("collection"));
                    let (Ok(database), Ok(collection)) = (database, collection) else { return Err(damaged()) };
                    entries.push((database, collection, text("metadata").unwrap_or_default()));
                }
                Some(Item::Terminator) => break,
                None => return Err(short(path)),
            }
        }
        Ok(Self { place, packed, server_version, entries })
    }

    /// What is in it of a database, its documents apart.
    ///
    /// # Errors
    /// [`Kind::Config`] when there are several databases and none is named, [`Kind::NotFound`] when it has no such one.
    pub fn look(&self, named: Option<&str>) -> Result<Contents, Error> {
        let path = self.place.path();
        let database = self.choose(named)?;
        let mut left_out = LeftOut::default();
        let mut collections = Vec::new();
        for (_, name, definition) in self.entries.iter().filter(|(of, _, _)| *of == database) {
            if left_out.takes(name)? {
                continue;
            }
            let what = format!("{}: the definition of {name}", path.display());
            collections.push(metadata::read(definition.as_bytes(), Some(name), &what)?);
        }
        Ok(Contents {
            form: if self.packed { "a packed archive" } else { "an archive" },
            server_version: self.server_version.clone(),
            collections: in_order(collections, &format!("{database} in {}", path.display()))?,
            data: BTreeMap::new(),
            notes: left_out.notes(),
            has_oplog: self.entries.iter().any(|(database, name, _)| (database.as_str(), name.as_str()) == OPLOG),
            watched: vec![Watched::File(Arc::clone(&self.place))],
            database,
        })
    }

    fn choose(&self, named: Option<&str>) -> Result<String, Error> {
        let path = self.place.path().display();
        let is_users = |name: &&str| !name.is_empty() && !SERVERS_OWN.contains(name);
        let all: BTreeSet<&str> = self.entries.iter().map(|(of, _, _)| of.as_str()).filter(is_users).collect();
        let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
        match (named, all.as_slice()) {
            (Some(name), _) if all.iter().any(|one| one == name) => Ok(name.to_owned()),
            (Some(name), _) => {
                Err(Error::new(Kind::NotFound, format!("{path} has no database {name} of an application"))
                    .hint(format!("there are: {}", some_of(&all))))
            }
            (None, [one]) => Ok(one.clone()),
            (None, []) => Err(Error::new(Kind::NotFound, format!("{path} has no database of an application"))
                .hint("the archive is empty, or of a server's own databases alone")),
            (None, _) => Err(Error::new(Kind::Config, format!("{path} holds several databases: {}", some_of(&all)))
                .hint("say which is meant: ?database=NAME at the URL's end; one backup is of one database")),
        }
    }

    /// Finds all documents of a database. Reads the archive to its end, and asks `stop` all the time.
    ///
    /// # Errors
    /// [`Kind::Data`] for an archive that is not whole; [`Kind::Unavailable`] where there is no room to unpack it.
    pub fn scan(&self, contents: &mut Contents, stop: &Stop) -> Result<(), Error> {
        let path = self.place.path();
        let place = if self.packed { Arc::new(self.unpack(stop)?) } else { Arc::clone(&self.place) };
        let mut documents = begin(&place, false)?;
        while let Some(Item::Document(_)) = documents.item()? {}
        let mut scan = Scan { path, database: &contents.database, states: BTreeMap::new(), spans: 0 };
        scan.all(documents, stop)?;
        contents.has_oplog |= scan.states.keys().any(|(of, name)| (of.as_str(), name.as_str()) == OPLOG);
        contents.data = scan.found(&contents.collections, &place)?;
        let what = format!("{} in {}", contents.database, path.display());
        assert_paired(&contents.collections, &contents.data.keys().map(String::as_str).collect(), &what)
    }

    /// Unpacks it into a file that nobody sees, and that goes with whoever reads it, however that ends.
    fn unpack(&self, stop: &Stop) -> Result<Place, Error> {
        let path = self.place.path();
        let room = |error: std::io::Error| {
            let what = format!("{} cannot be unpacked into {}", path.display(), std::env::temp_dir().display());
            Error::new(Kind::Unavailable, what)
                .hint("it takes as much room there as the archive has unpacked; TMPDIR names another folder; or unpack it with gunzip: a plain archive is read where it is, and takes none")
                .because(error)
        };
        let mut from = self.place.bytes(true, None)?;
        let mut file = tempfile::tempfile().map_err(room)?;
        let mut piece = vec![0; 1 << 20];
        loop {
            stop.check()?;
            let read = from.read(&mut piece).map_err(|e| failed(path, e))?;
            if read == 0 {
                return Ok(Place::Unpacked { of: path.to_owned(), file: Arc::new(file) });
            }
            file.write_all(piece.get(..read).unwrap_or_default()).map_err(room)?;
        }
    }
}

/// The documents behind what an archive begins with.
fn begin(place: &Place, packed: bool) -> Result<Documents<Box<dyn Read + Send>>, Error> {
    let mut from = place.bytes(packed, None)?;
    let mut magic = Vec::new();
    (&mut from).take(MAGIC.len() as u64).read_to_end(&mut magic).map_err(|e| failed(place.path(), e))?;
    if magic != MAGIC {
        let what = format!("{} is no archive of mongodump", place.path().display());
        return Err(Error::new(Kind::Data, what)
            .hint("name a file that mongodump --archive has written, plain or with --gzip, or a folder that mongodump has written"));
    }
    Ok(Documents::new(from, place.path(), MAGIC.len() as u64))
}

fn damaged(path: &Path, what: &str) -> Error {
    Error::new(Kind::Data, format!("{} is damaged: {what}", path.display()))
        .hint("dump again, or copy the archive again; no backup was made")
}

/// A small document of the archive's own.
fn parsed(document: &[u8]) -> Option<Document> {
    Document::try_from(RawDocument::from_bytes(document).ok()?).ok()
}

/// One collection, as far as it was read.
struct State {
    /// Where its documents are; none of those that nobody asked for.
    cuts: Option<Cuts>,
    sum: Digest,
    has_ended: bool,
}

/// One reading of all lists.
struct Scan<'a> {
    path: &'a Path,
    database: &'a str,
    states: BTreeMap<(String, String), State>,
    spans: usize,
}

impl Scan<'_> {
    fn all(&mut self, mut documents: Documents<Box<dyn Read + Send>>, stop: &Stop) -> Result<(), Error> {
        loop {
            let header = match documents.item()? {
                None => return Ok(()),
                Some(Item::Terminator) => return Err(damaged(self.path, "a list of documents has no name")),
                Some(Item::Document(header)) => parsed(header),
            };
            let header = header.ok_or_else(|| damaged(self.path, "the name of a list of documents is not readable"))?;
            let (Ok(database), Ok(collection)) = (header.get_str("db"), header.get_str("collection")) else {
                return Err(damaged(self.path, "a list of documents has no name"));
            };
            let name = (database.to_owned(), collection.to_owned());
            match header.get_bool("EOF") {
                Ok(true) => {
                    let sum = match header.get("CRC") {
                        Some(Bson::Int64(sum)) => sum.cast_unsigned(),
                        _ => return Err(damaged(self.path, &format!("{collection} ends without a sum"))),
                    };
                    self.end(&name, sum)?;
                    if documents.item()? != Some(Item::Terminator) {
                        return Err(damaged(self.path, &format!("something stands behind the end of {collection}")));
                    }
                }
                _ => self.list(name, &mut documents, stop)?,
            }
        }
    }

    fn state(&mut self, name: (String, String)) -> &mut State {
        let is_wanted = name.0 == self.database;
        let new =
            || State { cuts: is_wanted.then(Cuts::default), sum: Digest::new(CrcAlgorithm::Crc64Xz), has_ended: false };
        self.states.entry(name).or_insert_with(new)
    }

    /// Documents of one collection, up to where those of another may follow.
    fn list(
        &mut self,
        name: (String, String),
        documents: &mut Documents<Box<dyn Read + Send>>,
        stop: &Stop,
    ) -> Result<(), Error> {
        let (path, collection, spans) = (self.path, name.1.clone(), self.spans);
        let state = self.state(name);
        if state.has_ended {
            return Err(damaged(path, &format!("documents of {collection} follow its end")));
        }
        let before = state.cuts.as_ref().map_or(0, |cuts| cuts.spans);
        loop {
            stop.check()?;
            let at = documents.at();
            match documents.item()? {
                None => return Err(short(path)),
                Some(Item::Terminator) => break,
                Some(Item::Document(document)) => {
                    state.sum.update(document);
                    if let Some(cuts) = &mut state.cuts {
                        cuts.push(document, at);
                    }
                }
            }
        }
        let more = state.cuts.as_ref().map_or(0, |cuts| cuts.spans) - before;
        self.spans = spans + more;
        if self.spans > MOST_SPANS {
            let what =
                format!("{} changes from one collection to another more than {MOST_SPANS} times", path.display());
            return Err(Error::new(Kind::Unsupported, what)
                .hint("restore it with mongorestore and back that up, or dump into a folder"));
        }
        Ok(())
    }

    fn end(&mut self, name: &(String, String), sum: u64) -> Result<(), Error> {
        let path = self.path;
        let state = self.state(name.clone());
        if state.has_ended {
            return Err(damaged(path, &format!("{} ends twice", name.1)));
        }
        state.has_ended = true;
        if state.sum.finalize() == sum {
            return Ok(());
        }
        Err(damaged(
            path,
            &format!("documents of {} are not those that were written: their sum is another one", name.1),
        ))
    }

    /// What was found of the database that was asked for.
    fn found(self, collections: &[Collection], place: &Arc<Place>) -> Result<BTreeMap<String, Data>, Error> {
        let views: BTreeSet<&str> =
            collections.iter().filter(|one| one.sort == Sort::View).map(|one| one.name.as_str()).collect();
        let mut data = BTreeMap::new();
        for ((_, name), state) in self.states {
            if !state.has_ended {
                return Err(Error::new(Kind::Data, format!("{} is cut short: {name} has no end", self.path.display()))
                    .hint("the dump did not end well, or was not copied whole; no backup was made"));
            }
            let Some(cuts) = state.cuts else { continue };
            // The vendor's tool says of a view that it has begun and ended.
            let is_empty = cuts.spans == 0;
            if LeftOut::default().takes(&name)? || (is_empty && views.contains(name.as_str())) {
                continue;
            }
            let parts = cuts.end();
            let bytes = parts.iter().map(|part| part.bytes).sum();
            data.insert(name, Data { place: Arc::clone(place), packed: false, parts, bytes });
        }
        Ok(data)
    }
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
