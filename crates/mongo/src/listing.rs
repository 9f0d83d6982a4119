//! The listing: which collections a database has, and all that is said of them.
//!
//! Owns the questions (`listCollections`, `listIndexes`, sizes) and the order of the answer: by name, views after what they show. Promises that nothing a user made is left out in silence, and that an index
//! which is still being built is not taken for one. What the server and this program make for themselves is not part of a database.

use crate::catalog::{BUCKETS, Collection, FUNCTIONS, Sort};
use crate::connection::Session;
use crate::raw::{Kept, inner};
use crate::scratch;
use engine::{Error, Kind};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use mongodb::bson::{RawDocument, RawDocumentBuf, Timestamp, doc};
use std::collections::{BTreeMap, BTreeSet};

/// Databases that are every server's own.
pub(crate) const SERVERS_OWN: [&str; 3] = ["admin", "config", "local"];
/// What the server keeps in a database for itself, or under another name.
const SYSTEM: &str = "system.";
/// How many collections are asked for at once. Each is two questions, and a database of a workflow engine has thousands.
const AT_ONCE: usize = 8;

/// All collections of a database.
pub(crate) struct Listing {
    pub collections: Vec<Collection>,
    /// Names of this program's making, whose collections are part of no backup.
    pub ours: Vec<String>,
    /// When the server answered; none from a server by itself.
    pub time: Option<Timestamp>,
}

/// Asks for everything.
///
/// # Errors
/// [`Kind::Changed`] when a collection goes while it is asked for.
pub(crate) async fn list(session: &Session, database: &str) -> Result<Listing, Error> {
    let answer = session.all("list the collections", database, doc! {"listCollections": 1}).await?;
    let identities: BTreeMap<String, String> = answer.documents.iter().filter_map(identity).collect();
    let (mut collections, mut ours) = (Vec::new(), Vec::new());
    for entry in &answer.documents {
        let mut collection = described(entry)?;
        collection.uuid = identities.get(&collection.name).cloned().unwrap_or_default();
        if !is_users(&collection.name) {
            ours.extend(scratch::is_ours(&collection.name).then_some(collection.name));
            continue;
        }
        collections.push(collection);
    }
    let asked = stream::iter(collections).map(|collection| asked_for(session, database, collection));
    let mut collections: Vec<Collection> = asked.buffered(AT_ONCE).try_collect().await?;
    collections.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Listing { collections: views_last(collections), ours, time: answer.time })
}

/// A collection with what only questions of its own tell: indexes and size.
async fn asked_for(session: &Session, database: &str, collection: Collection) -> Result<Collection, Error> {
    if collection.sort == Sort::View {
        return Ok(collection);
    }
    if collection.uuid.is_empty() {
        let what = format!("the server does not say by which name of its own it knows {}", collection.name);
        return Err(Error::new(Kind::Unsupported, what)
            .hint("without it nobody can tell a collection from another of its name"));
    }
    let indexes = indexes(session, database, &collection).await?;
    let bytes = bytes(session, database, &collection).await?;
    Ok(Collection { indexes, bytes, ..collection })
}

/// The server's own name for what holds a collection's documents, by the collection's name. That of a time series stands with its buckets.
fn identity(entry: &RawDocumentBuf) -> Option<(String, String)> {
    let uuid = entry.get_document("info").ok()?.get_binary("uuid").ok()?;
    let name = entry.get_str("name").ok()?;
    Some((name.strip_prefix(BUCKETS).unwrap_or(name).to_owned(), hex::encode(uuid.bytes)))
}

/// The server's own names of all collections, whoever made them.
pub(crate) async fn identities(session: &Session, database: &str) -> Result<BTreeMap<String, String>, Error> {
    let answer = session.all("list the collections", database, doc! {"listCollections": 1}).await?;
    Ok(answer.documents.iter().filter_map(identity).collect())
}

/// The same of these names alone.
pub(crate) async fn identities_of(
    session: &Session,
    database: &str,
    names: &[&str],
) -> Result<BTreeMap<String, String>, Error> {
    let command = doc! {"listCollections": 1, "filter": {"name": {"$in": names.to_vec()}}};
    let answer = session.all("look who has a name", database, command).await?;
    Ok(answer.documents.iter().filter_map(identity).collect())
}

/// One collection, whoever made it.
pub(crate) async fn one(session: &Session, database: &str, name: &str) -> Result<Option<Collection>, Error> {
    let command = doc! {"listCollections": 1, "filter": {"name": name}};
    let answer = session.all("list the collections", database, command).await?;
    let Some(entry) = answer.documents.first() else { return Ok(None) };
    let collection = described(entry)?;
    if collection.sort == Sort::View {
        return Ok(Some(collection));
    }
    let indexes = indexes(session, database, &collection).await?;
    Ok(Some(Collection { indexes, ..collection }))
}

/// Names of what users made, and nothing more of it.
pub(crate) async fn names(session: &Session, database: &str) -> Result<Vec<String>, Error> {
    let command = doc! {"listCollections": 1, "nameOnly": true};
    let answer = session.all("list the collections", database, command).await?;
    let names = answer.documents.iter().filter_map(|entry| entry.get_str("name").ok().map(str::to_owned));
    Ok(names.filter(|name| is_users(name)).collect())
}

fn is_users(name: &str) -> bool {
    (!name.starts_with(SYSTEM) || name == FUNCTIONS) && !scratch::is_ours(name)
}

fn described(entry: &RawDocument) -> Result<Collection, Error> {
    let unreadable = || Error::new(Kind::Unsupported, "what the server says of a collection cannot be read");
    let name = entry.get_str("name").map_err(|_| unreadable())?;
    let sort = match entry.get_str("type").map_err(|_| unreadable())? {
        "collection" => Sort::Collection,
        "timeseries" => Sort::TimeSeries,
        "view" => Sort::View,
        other => {
            return Err(Error::new(
                Kind::Unsupported,
                format!("{name} is a {other}, which this version does not know"),
            ));
        }
    };
    let options = Kept(inner(entry, "options").unwrap_or_default());
    Ok(Collection { id_index: inner(entry, "idIndex").map(Kept), ..Collection::new(name, sort, options) })
}

/// All indexes that are ready, save for the one on `_id`, by name.
async fn indexes(session: &Session, database: &str, collection: &Collection) -> Result<Vec<Kept>, Error> {
    let what = format!("list the indexes of {}", collection.name);
    let command = doc! {"listIndexes": &collection.name, "includeBuildUUIDs": true};
    let answer = session.all(&what, database, command).await.map_err(|error| match error.kind {
        Kind::NotFound => {
            Error { kind: Kind::Changed, ..error }.hint("a collection was dropped meanwhile; run it again")
        }
        _ => error,
    })?;
    let mut indexes: Vec<RawDocumentBuf> = Vec::new();
    for entry in answer.documents {
        // One that is being built stands under `spec`, beside the build's own name.
        if entry.get("buildUUID").is_ok_and(|build| build.is_some()) {
            let what = format!("an index of {} is being built", collection.name);
            return Err(
                Error::new(Kind::Changed, what).hint("wait until it is there, or end the build, and run it again")
            );
        }
        let clustered = entry.get_bool("clustered").unwrap_or_default();
        if entry.get_str("name").is_ok_and(|name| name != "_id_") && !clustered {
            indexes.push(entry);
        }
    }
    indexes.sort_by(|a, b| a.get_str("name").unwrap_or_default().cmp(b.get_str("name").unwrap_or_default()));
    Ok(indexes.into_iter().map(Kept).collect())
}

/// Bytes of the documents, as the server counts them along.
async fn bytes(session: &Session, database: &str, collection: &Collection) -> Result<u64, Error> {
    let Some(holder) = collection.holder() else { return Ok(0) };
    let what = format!("read the size of {}", collection.name);
    let stats = doc! {"$collStats": {"storageStats": {}}};
    let size = doc! {"$project": {"size": {"$toLong": "$storageStats.size"}}};
    let command = doc! {"aggregate": holder, "pipeline": [stats, size], "cursor": {}};
    let answer = session.all(&what, database, command).await?;
    let size = answer.documents.first().and_then(|size| size.get_i64("size").ok()).unwrap_or_default();
    Ok(u64::try_from(size).unwrap_or_default())
}

/// Views after everything else, and each after the view that it shows.
pub(crate) fn views_last(all: Vec<Collection>) -> Vec<Collection> {
    let (mut views, mut ordered): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.sort == Sort::View);
    let mut waiting: BTreeSet<String> = views.iter().map(|view| view.name.clone()).collect();
    while !views.is_empty() {
        let shows = |view: &Collection| view.options.0.get_str("viewOn").map(str::to_owned).unwrap_or_default();
        let ready = views.iter().position(|view| !waiting.contains(&shows(view)));
        // Views that show each other cannot be made; should a server have them, it shall say so itself.
        let view = views.remove(ready.unwrap_or_default());
        waiting.remove(&view.name);
        ordered.push(view);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::rawdoc;

    fn view(name: &str, on: &str) -> Collection {
        match on.is_empty() {
            true => Collection::new(name, Sort::Collection, Kept(rawdoc! {})),
            false => Collection::new(name, Sort::View, Kept(rawdoc! {"viewOn": on})),
        }
    }

    #[test]
    fn views_come_after_what_they_show() {
        let all = vec![view("a", "c"), view("b", ""), view("c", "d"), view("d", "b"), view("e", "nothing")];
        let names: Vec<String> = views_last(all).into_iter().map(|one| one.name).collect();
        assert_eq!(names, ["b", "d", "c", "a", "e"]);
        let round = vec![view("a", "b"), view("b", "a")];
        assert_eq!(views_last(round).len(), 2);
    }

    #[test]
    fn only_what_users_made_counts() {
        for (name, users) in [
            ("orders", true),
            ("system.js", true),
            ("system.views", false),
            ("system.buckets.t", false),
            ("longshore.new.x.a", false),
            ("longshore", true),
        ] {
            assert_eq!(is_users(name), users, "{name}");
        }
    }
}
