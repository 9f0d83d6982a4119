//! The source: a database of MongoDB at one moment.
//!
//! Owns the order of a backup's reading side: connect; list; choose the moment; cut segments. And at the end: the listing is still the same, counts agree.
//! Only then is the catalog handed over. A collection that is dropped or renamed meanwhile would be read as an empty one: that the server's own name of each is the same before and after rules it out. Refuses the databases that servers make for
//! themselves, and servers that know no moment.

use crate::accounts::{ACCOUNTS, Accounts};
use crate::catalog::{CATALOG, Catalog, Collection, Sort, row_format};
use crate::changed::CHANGED;
use crate::connection::{Session, at, connect};
use crate::endpoint::Endpoint;
use crate::filter::Rules;
use crate::listing::{self, Listing, SERVERS_OWN};
use crate::past::Past;
use crate::reader::{Readable, SegmentReader, has_past_of_capped};
use crate::{moment, segments};
use async_trait::async_trait;
use engine::{
    About, Document, Error, Filter, GlobalsWanted, Kind, Plan, Reader, Segment, Source, SourceOptions, StreamPlan,
};
use mongodb::bson::{Bson, Timestamp, doc};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many names an error or a note shows.
const MOST_NAMES: usize = 10;

/// A database being read.
pub struct MongoSource {
    session: Session,
    about: About,
    plan: Plan,
    readable: Arc<Readable>,
    time: Option<Timestamp>,
    rules: Rules,
    cross_count: bool,
    accounts: Option<Accounts>,
}

impl MongoSource {
    /// Connects, chooses the moment and plans.
    ///
    /// # Errors
    /// [`Kind::Refused`] for a server that is no replica set, or a user who may not read; [`Kind::Config`] for options that this version does not have for MongoDB.
    pub async fn open(endpoint: Endpoint, options: &SourceOptions) -> Result<Self, Error> {
        refuse_servers_own(&endpoint)?;
        let rules = Rules::parse(&options.filter, endpoint.database())?;
        let session = connect(&endpoint).await?;
        let database = endpoint.database();
        let mut listing = listing::list(&session, database).await?;
        assert_there(&session, &endpoint, &listing).await?;
        rules.assert_meant(&listing.collections)?;
        let part = rules.apply(&mut listing.collections)?;
        let time = moment::take(&session, listing.time, options.allow_inexact).await?;
        assert_still_there(&session, database, &listing.collections).await?;
        let ours = listing.ours;
        let catalog = Catalog::new(&session.server.text, database, moment::kept(time, &session), listing.collections);
        match time {
            Some(time) => {
                tracing::info!(cluster_time = time.time, ordinal = time.increment, "all connections see one moment");
            }
            None => tracing::warn!("the server knows no moment: each document is as it was when its turn came"),
        }
        let accounts = Accounts::read(&session, database, options.globals).await?;
        let past = past(&session, &catalog, time).await;
        let (database, prefix) = (database.to_owned(), String::new());
        let readable = Readable { database, prefix, functions: None, catalog, time, past };
        let (segments, boundaries) = segments::cut_all(&session, &readable, &options.boundaries).await?;
        let plan = Plan { streams: streams(&readable.catalog), segments, boundaries };
        let mut about = about(&endpoint, &session, &readable.catalog, &ours);
        about.notes.extend(part);
        if time.is_none() {
            let note = "of no one moment: each document is as it was when its turn came, because the server is no replica set; one of a single member is enough for exact backups";
            about.notes.insert(0, note.to_owned());
            about.inexact = Some(moment::PER_COLLECTION.to_owned());
        }
        about.filter = options.filter.clone();
        about.globals = options.globals;
        let cross_count = options.cross_count;
        Ok(Self { session, about, plan, readable: Arc::new(readable), time, rules, cross_count, accounts })
    }

    /// Counts each collection again, in one go, at the same moment. Where documents were read once more, it is not known how many there are.
    async fn count_again(&self, rows: &BTreeMap<String, u64>) -> Result<(), Error> {
        for collection in &self.readable.catalog.collections {
            let Some(holder) = collection.holder().filter(|_| !collection.without_documents) else { continue };
            if collection.is_capped() && !has_past_of_capped(&self.session) {
                continue;
            }
            let counted = count(&self.session, &self.readable.database, &holder, at(self.time)).await?;
            let read = rows.get(&holder).copied().unwrap_or_default();
            if counted != read {
                let what = format!("{holder}: {read} documents were read and {counted} counted at the same moment");
                return Err(Error::new(Kind::Data, what).hint("this is a bug; please report it"));
            }
        }
        Ok(())
    }
}

/// Documents of a collection, by reading them and not by what the server believes.
pub(crate) async fn count(session: &Session, database: &str, holder: &str, concern: Bson) -> Result<u64, Error> {
    let what = format!("count {holder}");
    let pipeline = [doc! {"$group": {"_id": null, "n": {"$sum": 1_i64}}}];
    let command = doc! {"aggregate": holder, "pipeline": pipeline.to_vec(), "cursor": {}, "readConcern": concern};
    let answer = session.all(&what, database, command).await?;
    let number = answer.documents.first().and_then(|document| document.get_i64("n").ok()).unwrap_or_default();
    u64::try_from(number).map_err(|_| Error::new(Kind::Internal, format!("{what}: no number")))
}

#[async_trait]
impl Source for MongoSource {
    fn about(&self) -> &About {
        &self.about
    }

    fn plan(&self) -> &Plan {
        &self.plan
    }

    async fn reader(&self) -> Result<Box<dyn Reader>, Error> {
        Ok(Box::new(SegmentReader::new(self.session.clone(), Arc::clone(&self.readable))))
    }

    async fn rest(&mut self) -> Result<Vec<Segment>, Error> {
        let Some(past) = &self.readable.past else { return Ok(Vec::new()) };
        let Some(again) = past.settle(&self.session).await? else { return Ok(Vec::new()) };
        tracing::info!(documents = again.changed.len(), "what changed meanwhile is read once more");
        self.about.notes.push(format!(
            "the backup took longer than the server surely keeps its past: {} documents that changed meanwhile were read once more, and everything is of the moment at which they were",
            again.changed.len()
        ));
        let capped: Vec<String> = capped(&self.readable.catalog);
        if !capped.is_empty() && has_past_of_capped(&self.session) {
            self.about.notes.push(format!(
                "capped collections are as they were when their turn came, because the oplog does not say what falls out of them: {}",
                named(&capped)
            ));
        }
        Ok(segments::of_changed(&self.plan.segments, &again.changed))
    }

    async fn confirm(self: Box<Self>, rows: &BTreeMap<String, u64>) -> Result<Vec<Document>, Error> {
        let again = self.readable.past.as_ref().and_then(Past::again);
        let counted = if self.cross_count && self.time.is_some() && again.is_none() {
            self.count_again(rows).await
        } else {
            Ok(())
        };
        let catalog = &self.readable.catalog;
        let mut now = listing::list(&self.session, &self.readable.database).await?;
        // Where nothing is left, it is something else that has changed.
        drop(self.rules.apply(&mut now.collections));
        if let Some(name) = first_other(&catalog.collections, &now.collections) {
            let what = format!("{name} was made, dropped or changed while the database was read");
            return Err(Error::new(Kind::Changed, what).hint("run it again when nobody changes collections or indexes"));
        }
        if let Some(name) = first_gone(&catalog.collections, &now.collections, rows) {
            let what = format!("{name} had documents before and after it was read, and none meanwhile");
            return Err(Error::new(Kind::Changed, what).hint("it may have had another name for a while; run it again"));
        }
        // What was dropped meanwhile counts as empty: that is not the reason to be told.
        match counted {
            // The past ended with the reading.
            Err(error) if error.kind == Kind::Changed => tracing::warn!("counts were not compared: {}", error.what),
            counted => counted?,
        }
        let mut documents = Vec::new();
        let mut catalog = catalog.clone();
        if let Some(again) = again {
            catalog = catalog.settled_at((again.time.time, again.time.increment));
            documents.push(Document { name: CHANGED.to_owned(), bytes: again.changed.encode()? });
        }
        if let Some(accounts) = &self.accounts {
            documents.push(Document::of(ACCOUNTS, accounts)?);
        }
        documents.push(Document::of(CATALOG, &catalog)?);
        Ok(documents)
    }
}

/// The first name that does not stand for the same in both. Sizes change all the time and say nothing.
fn first_other(before: &[Collection], after: &[Collection]) -> Option<String> {
    let plain = |all: &[Collection]| -> BTreeMap<String, Collection> {
        all.iter().map(|one| (one.name.clone(), Collection { bytes: 0, ..one.clone() })).collect()
    };
    let (before, after) = (plain(before), plain(after));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    names.into_iter().find(|name| before.get(*name) != after.get(*name)).cloned()
}

/// A collection that had documents at both ends, and of which none was read. One that has another name for a while is answered as an empty one.
fn first_gone(before: &[Collection], after: &[Collection], rows: &BTreeMap<String, u64>) -> Option<String> {
    let had = |all: &[Collection], name: &str| all.iter().any(|one| one.name == name && one.bytes > 0);
    let read = |one: &Collection| one.holder().and_then(|holder| rows.get(&holder).copied()).unwrap_or_default();
    let mut held = before.iter().filter(|one| one.stream().is_some() && read(one) == 0);
    held.find(|one| had(before, &one.name) && had(after, &one.name)).map(|one| one.name.clone())
}

/// Names stand for what they stood for when they were listed, once the moment is chosen.
async fn assert_still_there(session: &Session, database: &str, listed: &[Collection]) -> Result<(), Error> {
    let now = listing::identities(session, database).await?;
    let moved = listed.iter().filter(|one| one.sort != Sort::View).find(|one| now.get(&one.name) != Some(&one.uuid));
    let Some(moved) = moved else { return Ok(()) };
    let what = format!("{} was dropped or renamed while the moment was chosen", moved.name);
    Err(Error::new(Kind::Changed, what).hint("run it again when nobody changes collections or indexes"))
}

fn refuse_servers_own(endpoint: &Endpoint) -> Result<(), Error> {
    if SERVERS_OWN.contains(&endpoint.database()) {
        let what = format!("{endpoint} is the server's own database, which comes with another server by itself");
        return Err(Error::new(Kind::Config, what).hint("back up databases of applications"));
    }
    Ok(())
}

/// A database without anything is made by the first who writes into it: one that is not there looks like an empty one.
async fn assert_there(session: &Session, endpoint: &Endpoint, listing: &Listing) -> Result<(), Error> {
    if !listing.collections.is_empty() {
        return Ok(());
    }
    let command = doc! {"listDatabases": 1, "nameOnly": true, "filter": {"name": endpoint.database()}};
    let answer = session.run("look for the database", "admin", command).await?;
    if answer.get_array("databases").is_ok_and(|found| !found.is_empty()) {
        return Ok(());
    }
    let what = format!(
        "there is no database {} at {}, or nothing in it that this user may see",
        endpoint.database(),
        endpoint.server()
    );
    Err(Error::new(Kind::NotFound, what).hint("check the name in the URL; names know upper and lower case"))
}

fn about(endpoint: &Endpoint, session: &Session, catalog: &Catalog, ours: &[String]) -> About {
    let mut notes = Vec::new();
    if !ours.is_empty() {
        notes.push(format!(
            "a restore is or was at work in the database, and what it calls so is left out: {}",
            named(ours)
        ));
    }
    let capped = capped(catalog);
    if !capped.is_empty() && !has_past_of_capped(session) {
        notes.push(format!(
            "capped collections are as they were when their turn came, not at the moment of the others, because this server keeps no past of them: {}",
            named(&capped)
        ));
    }
    About {
        engine: "mongodb".to_owned(),
        version: session.server.text.clone(),
        database: endpoint.database().to_owned(),
        server: endpoint.server(),
        notes,
        globals: GlobalsWanted::No,
        filter: Filter::default(),
        inexact: None,
    }
}

fn capped(catalog: &Catalog) -> Vec<String> {
    catalog.collections.iter().filter(|one| one.is_capped()).map(|one| one.name.clone()).collect()
}

/// What is needed should the server forget the moment; nothing where there is none. What falls out of capped collections is in no oplog.
async fn past(session: &Session, catalog: &Catalog, time: Option<Timestamp>) -> Option<Past> {
    let streams = catalog.collections.iter().filter(|one| !one.is_capped()).filter_map(Collection::stream);
    let streams = streams.map(|stream| stream.as_str().to_owned()).collect();
    Some(Past::of(session, &catalog.database, streams, time?).await)
}

/// A few names, and how many more.
pub(crate) fn named(names: &[String]) -> String {
    let shown = names.iter().take(MOST_NAMES).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > MOST_NAMES { format!("{shown} and {} more", names.len() - MOST_NAMES) } else { shown }
}

pub(crate) fn streams(catalog: &Catalog) -> Vec<StreamPlan> {
    let plan = |one: &Collection| {
        let name = one.stream()?;
        Some(StreamPlan { name, format: row_format(), estimated_bytes: one.bytes })
    };
    let mut streams: Vec<StreamPlan> = catalog.collections.iter().filter_map(plan).collect();
    streams.sort_by(|a, b| a.name.cmp(&b.name));
    streams
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::Kept;
    use mongodb::bson::rawdoc;

    #[test]
    fn whatever_changes_is_found_but_for_sizes() {
        let one = |name: &str| Collection {
            uuid: "1".to_owned(),
            bytes: 1,
            ..Collection::new(name, Sort::Collection, Kept(rawdoc! {}))
        };
        let before = [one("a"), one("b")];
        assert_eq!(first_other(&before, &[one("a"), Collection { bytes: 9, ..one("b") }]), None);
        assert_eq!(first_other(&before, &[one("a")]).as_deref(), Some("b"));
        assert_eq!(
            first_other(&before, &[one("a"), Collection { uuid: "2".to_owned(), ..one("b") }]).as_deref(),
            Some("b")
        );
        let rows = BTreeMap::from([("a".to_owned(), 0), ("b".to_owned(), 3)]);
        assert_eq!(first_gone(&before, &before, &rows).as_deref(), Some("a"));
        assert_eq!(first_gone(&before, &[Collection { bytes: 0, ..one("a") }, one("b")], &rows), None);
        let indexed = Collection { indexes: vec![Kept(rawdoc! {"name": "x"})], ..one("a") };
        assert_eq!(first_other(&before, &[indexed, one("b")]).as_deref(), Some("a"));
        assert_eq!(first_other(&before, &[one("0"), one("a"), one("b")]).as_deref(), Some("0"));
    }
}
