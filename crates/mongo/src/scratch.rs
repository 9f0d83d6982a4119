//! The scratch names: what a restore's collections are called until they are proven.
//!
//! Owns names of the form `longshore.new.<run>.<collection>` beside the target's own, and a document that says that the run lives: a collection can only be renamed within its database. Promises
//! that what a killed run left behind is found by its document and dropped, once that has not been renewed for two minutes by the server's clock; and that nothing else is ever dropped: what has a name of its own is known by the identifier that the server
//! made with it, and left alone once the run has begun to publish. Names of this form are in no backup.

use crate::catalog;
use crate::connection::Session;
use crate::failure::assert_written;
use crate::{journal, listing};
use engine::{Error, Kind};
use mongodb::bson::{Document, doc};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::RwLock;
use tokio::task::JoinHandle;

const NEW: &str = "longshore.new.";
const RUN: &str = "longshore.run.";
/// Collections that others took the place of.
const OLD: &str = "longshore.old.";
/// Stored functions that others took the place of.
const OLD_FUNCTIONS: &str = "longshore.js.old.";
/// What somebody made of a name while it was exchanged.
pub(crate) const WRITTEN: &str = "longshore.written.";
/// Tells of exchanges.
pub(crate) const EXCHANGES: &str = "longshore.exchanges";
/// Stored functions, whose own name no other may contain.
const FUNCTIONS: &str = "longshore.js.";
/// Says which environment a database is.
pub(crate) const MARK: &str = "longshore.mark";
/// What databases of drills are named after.
pub(crate) const DRILL: &str = "longshore_drill_";
/// Says whose document a run's is.
const OF: &str = "longshore";
static NOTHING: BTreeSet<String> = BTreeSet::new();
/// How often what is left of a run is looked for again.
const TRIES: usize = 5;
/// How often a run says that it lives.
const BEAT: Duration = Duration::from_secs(15);
/// How long inserts on their way are waited for before what they fill is dropped.
const LAST_INSERTS: Duration = Duration::from_secs(10);
/// A run that has said nothing for so long is dead.
pub(crate) const DEAD_MILLIS: i64 = 120_000;

/// Whether a name is of this program's making.
pub(crate) fn is_ours(name: &str) -> bool {
    [NEW, RUN, OLD, WRITTEN, FUNCTIONS].iter().any(|prefix| name.starts_with(prefix))
        || [MARK, EXCHANGES].contains(&name)
}

/// What a collection is called once another has its place.
pub(crate) fn aside(run: &str, name: &str) -> String {
    if name == catalog::FUNCTIONS { format!("{OLD_FUNCTIONS}{run}") } else { format!("{OLD}{run}.{name}") }
}

/// What a collection is called that was in the way of an exchange, after the server's own name for it: no other has that.
pub(crate) fn written(run: &str, uuid: &str) -> String {
    format!("{WRITTEN}{run}.{uuid}")
}

/// What a collection of a restore is called before it has its name, and when it has lost it.
pub(crate) fn unnamed(run: &str, name: &str) -> String {
    if name == catalog::FUNCTIONS { Scratch::functions(run) } else { format!("{}{name}", Scratch::prefix(run)) }
}

/// The database of a drill.
pub(crate) fn drill(run: &str) -> String {
    format!("{DRILL}{run}")
}

/// Scratch names of one run in one database.
pub(crate) struct Scratch {
    session: Session,
    database: String,
    run: String,
    /// The server's own names of the collections that were made.
    uuids: BTreeSet<String>,
    /// The primary's election when the run began.
    election: String,
    beat: Option<JoinHandle<()>>,
    made: bool,
    /// Held by every insert on its way: one that arrives after its collection was dropped would make it anew.
    on_their_way: Arc<RwLock<()>>,
}

impl Scratch {
    /// Names that nothing is made under yet.
    pub fn plan(session: Session, database: &str, run: &str) -> Self {
        let (database, run) = (database.to_owned(), run.to_owned());
        Self {
            session,
            database,
            run,
            uuids: BTreeSet::new(),
            election: String::new(),
            beat: None,
            made: false,
            on_their_way: Arc::default(),
        }
    }

    /// What stands before every name.
    pub fn prefix(run: &str) -> String {
        format!("{NEW}{run}.")
    }

    /// What stored functions are called.
    pub fn functions(run: &str) -> String {
        format!("{FUNCTIONS}{run}")
    }

    /// To be held while an insert is on its way.
    pub fn on_their_way(&self) -> Arc<RwLock<()>> {
        Arc::clone(&self.on_their_way)
    }

    fn own(&self) -> String {
        format!("{RUN}{}", self.run)
    }

    /// Says that the run lives, and goes on saying so.
    pub async fn begin(&mut self) -> Result<(), Error> {
        self.election = self.session.election().await?;
        self.made = true;
        let now = self.session.clock().await?;
        let document = doc! {"_id": 1, "of": OF, "beat": now, "made": Vec::<String>::new(), "publishes": false};
        let command = doc! {"insert": self.own(), "documents": [document], "writeConcern": self.session.majority()};
        let reply = self.session.run("begin the restore", &self.database, command).await?;
        assert_written("begin the restore", &reply)?;
        self.beat = Some(tokio::spawn(keep_saying(self.session.clone(), self.database.clone(), self.own())));
        Ok(())
    }

    /// Remembers what was made under these names: only that is ever dropped.
    pub async fn remember(&mut self, names: &[String]) -> Result<(), Error> {
        let there = listing::identities(&self.session, &self.database).await?;
        self.uuids = names.iter().filter_map(|name| there.get(name).cloned()).collect();
        let uuids: Vec<String> = self.uuids.iter().cloned().collect();
        self.set("remember what was made", doc! {"made": uuids}).await
    }

    /// Says that collections get their names from now on: whoever finds the document leaves those alone that have one.
    pub async fn publishes(&self) -> Result<(), Error> {
        self.set("begin to publish", doc! {"publishes": true}).await
    }

    /// Changes the run's document, and waits until a majority has it and everything before it.
    async fn set(&self, what: &str, members: Document) -> Result<(), Error> {
        let command = doc! {
            "update": self.own(), "updates": [{"q": {"_id": 1}, "u": {"$set": members}}], "writeConcern": self.session.majority(),
        };
        let reply = self.session.run(what, &self.database, command).await?;
        assert_written(what, &reply)?;
        if reply.get_i32("n").unwrap_or_default() == 1 {
            return Ok(());
        }
        Err(Error::new(Kind::Changed, "somebody dropped what this restore has made")
            .hint("run it again; is another restore at work here?"))
    }

    /// Waits until a majority has everything that was written so far.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when another primary was elected meanwhile: what the one before had alone is lost.
    pub async fn settle(&self) -> Result<(), Error> {
        let now = self.session.clock().await?;
        self.set("wait until a majority has everything", doc! {"beat": now}).await?;
        if self.session.election().await? == self.election {
            return Ok(());
        }
        Err(Error::new(Kind::Unavailable, "another primary was elected while documents were loaded: some may be lost")
            .hint("run it again; nothing was published"))
    }

    /// Drops what this run made, if anything.
    pub async fn discard(&mut self) -> Result<(), Error> {
        if let Some(beat) = self.beat.take() {
            beat.abort();
        }
        if !self.made {
            return Ok(());
        }
        // A server that does not answer any more will not write either.
        drop(tokio::time::timeout(LAST_INSERTS, self.on_their_way.write()).await);
        remove(&self.session, &self.database, &self.run, &self.uuids).await?;
        self.made = false;
        Ok(())
    }

    /// What is published is no scratch any more.
    pub fn keep_all(&mut self) {
        self.uuids.clear();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(beat) = self.beat.take() {
            beat.abort();
        }
    }
}

async fn keep_saying(session: Session, database: String, own: String) {
    loop {
        tokio::time::sleep(BEAT).await;
        // A server that does not answer now may do so the next time; whether the restore works is for others to see.
        let Ok(now) = session.clock().await else { continue };
        let command = doc! {"update": &own, "updates": [{"q": {"_id": 1}, "u": {"$set": {"beat": now}}}], "writeConcern": {"w": 1}};
        if session.run("say that the restore lives", &database, command).await.is_err() {
            tracing::debug!("the restore could not say that it lives");
        }
    }
}

/// Whether a restore has said within two minutes that it lives.
pub(crate) async fn lives(session: &Session, database: &str, run: &str) -> Result<bool, Error> {
    let command = doc! {"find": format!("{RUN}{run}"), "limit": 1};
    let answer = session.all("look whether a restore lives", database, command).await?;
    let now = session.clock().await?.timestamp_millis();
    let beat = answer.documents.first().and_then(|document| document.get_datetime("beat").ok());
    Ok(beat.is_some_and(|beat| now.saturating_sub(beat.timestamp_millis()) < DEAD_MILLIS))
}

/// Drops what killed runs left in the database. Returns notes.
pub(crate) async fn drop_leftovers(session: &Session, database: &str) -> Result<Vec<String>, Error> {
    let names = all_names(session, database).await?;
    let now = session.clock().await?;
    let mut notes = Vec::new();
    for run in names.iter().filter_map(|name| name.strip_prefix(RUN)) {
        let what = "look for leftovers";
        let answer = session.all(what, database, doc! {"find": format!("{RUN}{run}"), "limit": 1}).await?;
        let Some(document) =
            answer.documents.first().filter(|document| document.get_str("of").is_ok_and(|of| of == OF))
        else {
            continue;
        };
        let beat = document.get_datetime("beat").map(|beat| beat.timestamp_millis()).unwrap_or_default();
        if now.timestamp_millis().saturating_sub(beat) < DEAD_MILLIS {
            continue;
        }
        let publishes = document.get_bool("publishes").unwrap_or(true);
        let made = document.get_array("made").ok().into_iter().flatten();
        let made: BTreeSet<String> = made.filter_map(|uuid| Some(uuid.ok()?.as_str()?.to_owned())).collect();
        remove(session, database, run, if publishes { &NOTHING } else { &made }).await?;
        notes.push(match publishes {
            false => format!("dropped what the run {run} left behind"),
            true => format!(
                "the run {run} was killed while it gave collections their names: those that had one already stay"
            ),
        });
    }
    Ok(notes)
}

/// Drops what killed drills left, each in a database of its own. Returns notes.
pub(crate) async fn drop_drills(session: &Session) -> Result<Vec<String>, Error> {
    let command = doc! {"listDatabases": 1, "nameOnly": true};
    let reply = session.run("look for leftovers", "admin", command).await?;
    let entries = reply.get_array("databases").into_iter().flatten();
    let names = entries.filter_map(|entry| entry.as_document()?.get_str("name").ok());
    let mut notes = Vec::new();
    for name in names.filter(|name| name.starts_with(DRILL)) {
        notes.extend(drop_leftovers(session, name).await?);
    }
    Ok(notes)
}

/// Drops what a run has under scratch names, and what is known to be its own; then its document.
async fn remove(session: &Session, database: &str, run: &str, uuids: &BTreeSet<String>) -> Result<(), Error> {
    let (prefix, functions, own) = (Scratch::prefix(run), Scratch::functions(run), format!("{RUN}{run}"));
    // What was on its way may make a collection anew.
    for _ in 0..TRIES {
        let there = listing::identities(session, database).await?;
        // What an exchange knows of may be somebody's way back, whoever loaded it.
        let known = journal::known(session, database).await?;
        let is_of_run = |name: &str, uuid: &String| {
            (name.starts_with(&prefix) || name == functions || uuids.contains(uuid)) && !known.contains(uuid)
        };
        let of_run: Vec<&String> =
            there.iter().filter(|(name, uuid)| is_of_run(name, uuid) && **name != own).map(|(name, _)| name).collect();
        if of_run.is_empty() {
            break;
        }
        for name in of_run {
            drop_one(session, database, name).await?;
        }
    }
    // The database of a drill is of its run and nobody else's. Whoever may not drop one drops what is in it, and leaves one that is empty.
    if database == drill(run) {
        match session.run(&format!("drop {database}"), database, doc! {"dropDatabase": 1}).await {
            Err(error) if error.kind == Kind::Refused => {}
            other => return other.map(drop),
        }
        let names = all_names(session, database).await?;
        for name in names.iter().filter(|name| !name.starts_with("system.") && **name != own) {
            drop_one(session, database, name).await?;
        }
    }
    // The document that tells of all goes last: what is killed here is found again.
    drop_one(session, database, &own).await
}

pub(crate) async fn drop_one(session: &Session, database: &str, name: &str) -> Result<(), Error> {
    match session.run(&format!("drop {name}"), database, doc! {"drop": name}).await {
        Err(error) if error.kind != Kind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Names of all collections, whoever made them.
pub(crate) async fn all_names(session: &Session, database: &str) -> Result<Vec<String>, Error> {
    let command = doc! {"listCollections": 1, "nameOnly": true};
    let answer = session.all("list the collections", database, command).await?;
    Ok(answer.documents.iter().filter_map(|entry| entry.get_str("name").ok().map(str::to_owned)).collect())
}
