//! The journal of exchanges: what stands under the names, what may stand there instead, and which of the two is wanted.
//!
//! Owns one collection in the target's database, `longshore.exchanges`: a document per exchange, and one that says who is exchanging now. Collections are known by the identifiers that the server made with them, never by names alone: a name may be somebody
//! else's by now. Promises that an entry is held by a majority before anything is renamed, so that a run which is killed half-way can be carried on or taken back by anybody; and that two runs do not exchange at once. Refuses to know how
//! names are exchanged.

use crate::catalog::{Collection, Sort};
use crate::connection::Session;
use crate::failure::assert_written;
use crate::raw::Kept;
use crate::scratch::{DEAD_MILLIS, EXCHANGES};
use engine::{Error, Kind};
use mongodb::bson::{DateTime, Document, RawDocument, RawDocumentBuf, doc};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::task::JoinHandle;

/// The document that says who exchanges.
const OPEN: &str = "open";
/// How often that is said again.
const BEAT: Duration = Duration::from_secs(15);

/// One of the two sides of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// What stood there before the restore.
    Before,
    /// What the restore brought.
    After,
}

/// A collection of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub name: String,
    /// The server's own name for it.
    pub uuid: String,
    /// What it is called while the other side stands there.
    pub parked: String,
}

/// One exchange.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// The restore's.
    pub run: String,
    /// When it was begun, by the server's clock.
    pub at: DateTime,
    /// Which side is to stand under the names.
    pub wants: Side,
    /// Whether it does.
    pub settled: bool,
    /// Whether a rollback was the last to say what is wanted: one that was killed is carried on, a restore is taken back.
    pub by_rollback: bool,
    pub before: Vec<Place>,
    pub after: Vec<Place>,
    /// Views of each side, each after what it shows.
    pub views_before: Vec<Collection>,
    pub views_after: Vec<Collection>,
}

impl Entry {
    /// Writes it down, over what was there of it.
    pub async fn write(&self, session: &Session, database: &str) -> Result<(), Error> {
        let what = "write down what is exchanged";
        let places = |places: &[Place]| -> Vec<Document> {
            places.iter().map(|one| doc! {"name": &one.name, "uuid": &one.uuid, "parked": &one.parked}).collect()
        };
        let entry = doc! {
            "at": self.at, "wants_after": self.wants == Side::After, "settled": self.settled, "by_rollback": self.by_rollback,
            "before": places(&self.before), "after": places(&self.after),
            "views_before": views(&self.views_before)?, "views_after": views(&self.views_after)?,
        };
        let update = doc! {"q": {"_id": &self.run}, "u": entry, "upsert": true};
        let command = doc! {"update": EXCHANGES, "updates": [update], "writeConcern": session.majority()};
        assert_written(what, &session.run(what, database, command).await?)
    }

    /// Forgets it: nothing of it is left.
    pub async fn remove(&self, session: &Session, database: &str) -> Result<(), Error> {
        remove(session, database, doc! {"_id": &self.run}).await
    }

    /// What comes to stand under the names, and what goes from there.
    pub fn sides(&self) -> (&[Place], &[Place]) {
        match self.wants {
            Side::After => (&self.after, &self.before),
            Side::Before => (&self.before, &self.after),
        }
    }

    /// The same of views.
    pub fn views(&self) -> (&[Collection], &[Collection]) {
        match self.wants {
            Side::After => (&self.views_after, &self.views_before),
            Side::Before => (&self.views_before, &self.views_after),
        }
    }
}

fn views(all: &[Collection]) -> Result<Vec<Document>, Error> {
    let one = |view: &Collection| {
        let options = Document::try_from(view.options.0.as_ref()).map_err(|e| {
            Error::new(Kind::Unsupported, format!("the view {} cannot be written down", view.name)).because(e)
        })?;
        Ok(doc! {"name": &view.name, "options": options})
    };
    all.iter().map(one).collect()
}

async fn remove(session: &Session, database: &str, which: Document) -> Result<(), Error> {
    let what = "forget an exchange";
    let delete = doc! {"q": which, "limit": 1};
    let command = doc! {"delete": EXCHANGES, "deletes": [delete], "writeConcern": session.majority()};
    assert_written(what, &session.run(what, database, command).await?)
}

/// All exchanges that something is left of, newest first.
pub(crate) async fn entries(session: &Session, database: &str) -> Result<Vec<Entry>, Error> {
    let command = doc! {"find": EXCHANGES, "filter": {"_id": {"$ne": OPEN}}, "sort": {"at": -1}, "readConcern": {"level": "local"}};
    let answer = session.all("read what was exchanged", database, command).await?;
    answer.documents.iter().map(read).collect()
}

/// Identifiers of all collections that an exchange is of, on either side.
pub(crate) async fn known(session: &Session, database: &str) -> Result<BTreeSet<String>, Error> {
    let entries = entries(session, database).await?;
    Ok(entries
        .into_iter()
        .flat_map(|entry| entry.before.into_iter().chain(entry.after))
        .map(|place| place.uuid)
        .collect())
}

fn read(document: &RawDocumentBuf) -> Result<Entry, Error> {
    entry(document)
        .ok_or_else(|| Error::new(Kind::Data, format!("what {EXCHANGES} says of an exchange cannot be read")))
}

fn entry(document: &RawDocument) -> Option<Entry> {
    let all =
        |name: &str| document.get_array(name).ok().map(|array| array.into_iter().map(|one| one.ok()?.as_document()));
    let place = |one: Option<&RawDocument>| {
        let text = |name: &str| Some(one?.get_str(name).ok()?.to_owned());
        Some(Place { name: text("name")?, uuid: text("uuid")?, parked: text("parked")? })
    };
    let view = |one: Option<&RawDocument>| {
        let options = Kept(one?.get_document("options").ok()?.to_owned());
        Some(Collection::new(one?.get_str("name").ok()?, Sort::View, options))
    };
    Some(Entry {
        run: document.get_str("_id").ok()?.to_owned(),
        at: document.get_datetime("at").ok()?,
        wants: if document.get_bool("wants_after").ok()? { Side::After } else { Side::Before },
        settled: document.get_bool("settled").ok()?,
        by_rollback: document.get_bool("by_rollback").ok()?,
        before: all("before")?.map(place).collect::<Option<_>>()?,
        after: all("after")?.map(place).collect::<Option<_>>()?,
        views_before: all("views_before")?.map(view).collect::<Option<_>>()?,
        views_after: all("views_after")?.map(view).collect::<Option<_>>()?,
    })
}

/// The right to exchange, which one run has at a time.
pub(crate) struct Turn {
    session: Session,
    database: String,
    run: String,
    beat: JoinHandle<()>,
}

impl Turn {
    /// Takes it. One whose owner has said nothing for two minutes, by the server's clock, may be taken from it.
    ///
    /// # Errors
    /// [`Kind::Exists`] while another run exchanges.
    pub async fn take(session: &Session, database: &str, run: &str) -> Result<Self, Error> {
        let what = "begin to exchange names";
        let now = session.clock().await?;
        let dead = DateTime::from_millis(now.timestamp_millis() - DEAD_MILLIS);
        let command = doc! {
            "findAndModify": EXCHANGES, "query": {"_id": OPEN, "beat": {"$lt": dead}}, "update": {"run": run, "beat": now},
            "upsert": true, "writeConcern": session.majority(),
        };
        let reply = session.run(what, database, command).await.map_err(|error| match error.kind {
            // Somebody is named there who lives: another of the same name cannot be made.
            Kind::Data => Error::new(Kind::Exists, format!("another run exchanges names in {database} right now"))
                .hint("wait until it has ended, or for two minutes if it was killed; nothing was changed"),
            _ => error,
        })?;
        assert_written(what, &reply)?;
        let (session, database, run) = (session.clone(), database.to_owned(), run.to_owned());
        let beat = tokio::spawn(keep_saying(session.clone(), database.clone(), run.clone()));
        Ok(Self { session, database, run, beat })
    }

    /// Fails when somebody else has it by now.
    pub async fn assert_ours(&self) -> Result<(), Error> {
        let command = doc! {"find": EXCHANGES, "filter": {"_id": OPEN, "run": &self.run}, "limit": 1};
        let answer = self.session.all("see whose turn it is", &self.database, command).await?;
        if answer.documents.is_empty() {
            let what = "this run was silent for so long that another began to exchange names";
            return Err(Error::new(Kind::Changed, what).hint("see what stands there now before you go on"));
        }
        Ok(())
    }

    /// Gives it back.
    pub async fn end(self) -> Result<(), Error> {
        self.beat.abort();
        remove(&self.session, &self.database, doc! {"_id": OPEN, "run": &self.run}).await
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.beat.abort();
    }
}

async fn keep_saying(session: Session, database: String, run: String) {
    loop {
        tokio::time::sleep(BEAT).await;
        let Ok(now) = session.clock().await else { continue };
        let update = doc! {"q": {"_id": OPEN, "run": &run}, "u": {"$set": {"beat": now}}};
        let command = doc! {"update": EXCHANGES, "updates": [update], "writeConcern": {"w": 1}};
        if session.run("say that names are exchanged", &database, command).await.is_err() {
            tracing::debug!("the exchange could not say that it goes on");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use mongodb::bson::rawdoc;

    #[test]
    fn an_entry_is_read_whole_or_not_at_all() {
        let place = rawdoc! {"name": "a", "uuid": "1", "parked": "longshore.old.r.a"};
        let view = rawdoc! {"name": "v", "options": {"viewOn": "a"}};
        let entry = rawdoc! {
            "_id": "r", "at": DateTime::from_millis(5), "wants_after": true, "settled": true, "by_rollback": false,
            "before": [place], "after": [], "views_before": [view], "views_after": [],
        };
        let found = read(&entry).unwrap();
        assert_eq!((found.sides().1[0].parked.as_str(), found.views().1[0].name.as_str()), ("longshore.old.r.a", "v"));
        for member in ["at", "wants_after", "settled", "by_rollback", "before", "after", "views_before", "views_after"]
        {
            let less = crate::raw::without(&entry, &[member]).unwrap();
            assert_eq!(read(&less).unwrap_err().kind, Kind::Data, "without {member}");
        }
        let mut half = crate::raw::without(&entry, &["before"]).unwrap();
        half.append(
            mongodb::bson::raw::cstr!("before"),
            mongodb::bson::RawArrayBuf::from_iter([rawdoc! {"name": "a"}]),
        );
        assert_eq!(read(&half).unwrap_err().kind, Kind::Data);
    }
}
