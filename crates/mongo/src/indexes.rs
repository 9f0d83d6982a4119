//! Indexes, made when the documents are in.
//!
//! Owns one `createIndexes` per collection with the server's own specifications, and when they begin to let documents expire. Promises that an index comes back with every option that it was
//! listed with; and that no document expires before the restore has its name: until then such indexes wait as long as a server can be told to, 68 years. Refuses to choose a version for an index: it has the one that it had.

use crate::catalog::{Catalog, Collection};
use crate::connection::Session;
use crate::raw::append_all;
use crate::reader::Readable;
use engine::{Build, Error, Kind, StreamName};
use mongodb::bson::raw::cstr;
use mongodb::bson::{Bson, RawArrayBuf, RawDocument, RawDocumentBuf, doc, rawdoc};
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// The member that makes documents expire.
pub(crate) const EXPIRES: &str = "expireAfterSeconds";
/// The longest time that servers take for it.
const LONGEST: i32 = i32::MAX;

/// Which indexes are made.
#[derive(Debug, Default)]
pub(crate) struct LateIndexes {
    made: Mutex<BTreeSet<usize>>,
}

impl LateIndexes {
    /// What is built of this stream, if anything is.
    pub fn of(&self, catalog: &Catalog, stream: &StreamName) -> Option<Build> {
        let is = |(_, one): &(usize, &Collection)| one.stream().as_ref() == Some(stream);
        let (number, collection) = catalog.collections.iter().enumerate().find(is)?;
        build_of(number, collection)
    }

    /// What was not built yet.
    pub fn left(&self, catalog: &Catalog) -> Vec<Build> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let all = catalog.collections.iter().enumerate().filter_map(|(number, one)| build_of(number, one));
        all.filter(|build| !made.contains(&build.number)).collect()
    }

    /// Makes the indexes of a collection.
    pub async fn build(&self, session: &Session, readable: &Readable, build: &Build) -> Result<(), Error> {
        let unknown = || Error::new(Kind::Internal, format!("nothing is known of {}", build.what));
        let collection = readable.catalog.collections.get(build.number).ok_or_else(unknown)?;
        let command = command(session, &readable.name(collection), collection)?;
        let made = session.database(&readable.database).run_raw_command(command).await;
        made.map_err(crate::failure::from_mongo(format!("make {}", build.what)))?;
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(build.number);
        Ok(())
    }
}

fn build_of(number: usize, collection: &Collection) -> Option<Build> {
    let stream = collection.holder()?;
    let what = match collection.indexes.len() {
        0 => return None,
        1 => format!("an index of {stream}"),
        count => format!("{count} indexes of {stream}"),
    };
    Some(Build { number, what })
}

fn command(session: &Session, name: &str, collection: &Collection) -> Result<RawDocumentBuf, Error> {
    let mut specs = RawArrayBuf::new();
    for index in &collection.indexes {
        specs.push(asleep(&index.0, collection.has_collation())?);
    }
    let mut command = RawDocumentBuf::new();
    command.append(cstr!("createIndexes"), name);
    command.append(cstr!("indexes"), specs);
    if session.server.set.is_some() {
        // All that vote would have to be there otherwise, for as long as it takes.
        command.append(cstr!("commitQuorum"), "majority");
    }
    Ok(command)
}

/// The same index, with nothing that expires for now. An index that says no collation has none, also where the collection has one: that must be said when it is made.
fn asleep(index: &RawDocument, has_collation: bool) -> Result<RawDocumentBuf, Error> {
    let expires = index.get(EXPIRES).ok().flatten().is_some();
    let mut spec = RawDocumentBuf::new();
    append_all(&mut spec, index, if expires { &["ns", EXPIRES] } else { &["ns"] })?;
    if expires {
        spec.append(cstr!("expireAfterSeconds"), LONGEST);
    }
    if has_collation && index.get("collation").ok().flatten().is_none() {
        spec.append(cstr!("collation"), rawdoc! {"locale": "simple"});
    }
    Ok(spec)
}

/// Lets documents expire again, as they did. Returns notes: the data is there, whatever becomes of this.
pub(crate) async fn wake(session: &Session, database: &str, catalog: &Catalog) -> Vec<String> {
    let (mut awake, mut notes) = (Vec::new(), Vec::new());
    for collection in &catalog.collections {
        let mut commands = Vec::new();
        if let Some(seconds) = value(&collection.options.0) {
            commands.push(doc! {"collMod": &collection.name, EXPIRES: seconds});
        }
        for index in &collection.indexes {
            let Some(seconds) = value(&index.0) else { continue };
            let name = index.0.get_str("name").unwrap_or_default();
            commands.push(doc! {"collMod": &collection.name, "index": {"name": name, EXPIRES: seconds}});
        }
        if !commands.is_empty() {
            awake.push(collection.name.clone());
        }
        for command in commands {
            let what = format!("documents of {} do not expire yet", collection.name);
            if let Err(error) = session.run(&what, database, command).await {
                notes.push(error.what);
            }
        }
    }
    if !awake.is_empty() {
        notes.push(format!(
            "documents that are past their time expire from now on, as they did where they come from: {}",
            crate::source::named(&awake)
        ));
    }
    notes
}

/// After how long documents expire; none where they do not.
fn value(document: &RawDocument) -> Option<Bson> {
    let value = document.get(EXPIRES).ok().flatten()?;
    Bson::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn an_index_keeps_all_options_and_waits_to_let_documents_expire() {
        let index = rawdoc! {"v": 2, "key": {"a": 1}, "name": "a_1", "hidden": true, "expireAfterSeconds": 60_i64, "partialFilterExpression": {}};
        let expected = rawdoc! {"v": 2, "key": {"a": 1}, "name": "a_1", "hidden": true, "partialFilterExpression": {}, "expireAfterSeconds": i32::MAX};
        assert_eq!(asleep(&index, false).unwrap(), expected);
        assert_eq!(value(&index), Some(Bson::Int64(60)));
        let plain = rawdoc! {"v": 2, "key": {"a": 1}, "name": "a_1"};
        assert_eq!(asleep(&plain, false).unwrap(), plain);
        let simple = rawdoc! {"v": 2, "key": {"a": 1}, "name": "a_1", "collation": {"locale": "simple"}};
        assert_eq!(asleep(&plain, true).unwrap(), simple);
        assert_eq!(asleep(&simple, true).unwrap(), simple);
    }
}
