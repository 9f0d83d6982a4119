//! The target: a database that comes back.
//!
//! Owns the order of a restore's writing side: preflight; collections under scratch names; documents, indexes; a majority has it all; everything is looked at again; names. Promises that the
//! target's own names show nothing before they are published, time series apart, which cannot be renamed; and that what is published was proven and is held by a majority. Refuses a target that holds something and is
//! not marked for it.

use crate::accounts::{ACCOUNTS, Accounts, Missing};
use crate::catalog::{CATALOG, Catalog, Collection, Sort};
use crate::changed::Changed;
use crate::connection::{Session, connect};
use crate::definitions;
use crate::endpoint::Endpoint;
use crate::exchange;
use crate::filter::Rules;
use crate::indexes::{self, LateIndexes};
use crate::journal::{self, Entry, Side, Turn};
use crate::loader::SegmentLoader;
use crate::mark;
use crate::preflight;
use crate::reader::{Readable, SegmentReader};
use crate::scratch::{self, Scratch};
use crate::scripts;
use crate::segments;
use crate::source::{count, named};
use crate::{guard, listing, rollback};
use async_trait::async_trait;
use engine::{
    Build, Conclusion, Document, Error, Kind, Loader, Mark, Mode, Reader, Segment, StreamName, Target, TargetOptions,
};
use mongodb::bson::{Bson, doc};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How what comes meets what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// In a database of its own, without a name.
    Drill,
    /// Nothing is there.
    Fresh,
    /// It takes the place of what is there.
    Swap,
    /// Some collections beside what is there.
    Part,
}

/// A database being restored.
pub struct MongoTarget {
    endpoint: Endpoint,
    session: Session,
    readable: Arc<Readable>,
    indexes: Arc<LateIndexes>,
    /// What the backup has once more.
    changed: Arc<Changed>,
    scratch: Scratch,
    options: TargetOptions,
    way: Way,
    /// What stood there when the restore began, for one that takes its place.
    live: BTreeMap<String, String>,
    notes: Vec<String>,
    /// Users and roles to be made in the end.
    accounts: Missing,
}

impl MongoTarget {
    /// Checks everything that can be checked before anything is made.
    pub async fn open(endpoint: Endpoint, documents: &[Document], options: TargetOptions) -> Result<Self, Error> {
        let missing = || Error::new(Kind::Data, format!("the backup has no document {CATALOG}"));
        let mut catalog = Catalog::parse(&Document::find(documents, CATALOG).ok_or_else(missing)?.bytes)?;
        preflight::refuse_what_is_not_done(&endpoint, &options)?;
        let changed = Arc::new(Changed::find(documents)?);
        let (mut notes, whole) = (Vec::new(), catalog.clone());
        if !options.part.is_empty() {
            (catalog, notes) = Rules::part_of(&catalog, &options.part)?;
        }
        if let Some(name) = &options.rename {
            catalog.rename_only(name)?;
        }
        scripts::refuse(&options.before_publish, &catalog)?;
        let session = connect(&endpoint).await?;
        let drill = options.mode == Some(Mode::Drill);
        let (database, prefix) = match drill {
            true => (scratch::drill(&options.run), String::new()),
            false => (endpoint.database().to_owned(), Scratch::prefix(&options.run)),
        };
        let functions = Some(Scratch::functions(&options.run));
        let readable = Readable { database, prefix, functions, catalog, time: None, past: None };
        preflight::check(&session, &readable).await?;
        notes.extend(match drill {
            true => scratch::drop_drills(&session).await?,
            false => scratch::drop_leftovers(&session, &readable.database).await?,
        });
        let (way, live) = way(&session, &endpoint, (&whole, &readable.catalog), &options).await?;
        let accounts = missing_accounts(&session, documents, &whole, &options, &endpoint).await?;
        let scratch = Scratch::plan(session.clone(), &readable.database, &options.run);
        let indexes = Arc::new(LateIndexes::default());
        Ok(Self {
            endpoint,
            session,
            readable: Arc::new(readable),
            indexes,
            changed,
            scratch,
            options,
            way,
            live,
            notes,
            accounts,
        })
    }

    fn is_drill(&self) -> bool {
        self.way == Way::Drill
    }

    /// What has its own name from the beginning.
    fn visible(&self) -> Vec<String> {
        let sorts = |sort: Sort| if self.is_drill() { sort != Sort::View } else { sort == Sort::TimeSeries };
        let all = self.readable.catalog.collections.iter();
        all.filter(|one| sorts(one.sort)).map(|one| self.readable.name(one)).collect()
    }

    /// Gives all collections their names, or none.
    async fn rename_all(&self) -> Result<(), Error> {
        self.assert_still_free().await?;
        self.scratch.publishes().await?;
        let mut done: Vec<(String, String)> = Vec::new();
        for (from, to) in definitions::renames(&self.readable) {
            let renamed = self.rename(&from, &to).await;
            // One whose answer is lost may have been done; one that the server refuses has not.
            if renamed.as_ref().err().is_none_or(|error| error.kind == Kind::Unavailable) {
                done.push((from, to));
            }
            if let Err(error) = renamed {
                return Err(self.take_back(done, Vec::new(), error).await);
            }
        }
        match definitions::make_views(&self.session, &self.readable).await {
            Ok(()) => Ok(()),
            Err((error, views)) => Err(self.take_back(done, views, error).await),
        }
    }

    /// Loading takes its time: whatever somebody has made meanwhile stays, and nothing comes beside it that was not to.
    async fn assert_still_free(&self) -> Result<(), Error> {
        if self.way == Way::Part {
            self.assert_still_marked().await?;
        }
        let (visible, all) = (self.visible(), &self.readable.catalog.collections);
        let is_in_the_way = |name: &String| {
            !visible.contains(name) && (self.way == Way::Fresh || all.iter().any(|one| one.name == *name))
        };
        let names = listing::names(&self.session, &self.readable.database).await?;
        let Some(other) = names.into_iter().find(is_in_the_way) else { return Ok(()) };
        let what = format!("{} holds the collection {other} now, which was not there before", self.endpoint);
        Err(Error::new(Kind::Exists, what).hint("somebody else is at work in it; nothing was published"))
    }

    /// Loading takes its time: a mark may have been taken away, or be another one.
    async fn assert_still_marked(&self) -> Result<(), Error> {
        let (session, database) = (&self.session, self.readable.database.as_str());
        let mark = mark::read(session, database).await?;
        let visible = self.visible();
        let names = listing::names(session, database).await?;
        match names.into_iter().find(|name| !visible.contains(name)) {
            Some(name) => Mark::assert_allows(mark.as_ref(), &self.endpoint.spot(), &format!("the collection {name}")),
            None => Ok(()),
        }
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        exchange::rename(&self.session, &self.readable.database, from, to, false).await
    }

    /// Takes the place of what the target holds. Returns notes, and what that is called now, where it is kept.
    async fn take_place(&mut self) -> Result<(Vec<String>, Option<String>), Error> {
        self.assert_still_marked().await?;
        let turn = Turn::take(&self.session, &self.readable.database, &self.options.run).await?;
        let done = self.exchange(&turn).await;
        let mut replaced = (!self.options.atomic).then(|| scratch::aside(&self.options.run, "*"));
        let mut dropped = Vec::new();
        if done.is_ok() && self.options.drop_old && replaced.is_some() {
            match rollback::drop_replaced(&self.session, &self.endpoint, &turn, Some(&self.options.run)).await {
                Ok(notes) => (replaced, dropped) = (None, notes),
                Err(error) => dropped.push(format!("what was replaced is kept: {}", error.what)),
            }
        }
        let ended = turn.end().await;
        let mut notes = done?;
        notes.extend(dropped);
        if let Err(error) = ended {
            notes.push(format!("for two minutes nobody else can exchange names here: {}", error.what));
        }
        Ok((notes, replaced))
    }

    async fn exchange(&mut self, turn: &Turn) -> Result<Vec<String>, Error> {
        let (session, database) = (&self.session, self.readable.database.as_str());
        let live = listing::list(session, database).await?.collections;
        if let Some(name) = first_other(&self.live, &standing(&live)) {
            let what = format!("{name} was made, dropped or replaced in {} while the backup was loaded", self.endpoint);
            return Err(Error::new(Kind::Exists, what).hint("somebody was here; nothing was changed"));
        }
        if !journal::entries(session, database).await?.is_empty() {
            let what = format!("another restore has replaced {} while the backup was loaded", self.endpoint);
            return Err(Error::new(Kind::Exists, what).hint("somebody was here; nothing was changed"));
        }
        let mut entry = exchange::plan(session, &self.readable, &live, &self.options.run).await?;
        self.scratch.publishes().await?;
        // What has a name of its own from here on is known by the journal alone: no clearing up may touch it.
        self.scratch.keep_all();
        let catalog = &self.readable.catalog;
        if self.options.atomic {
            let mut notes = exchange::replace_all(session, database, &entry, turn).await?;
            notes.extend(indexes::wake(session, database, catalog).await);
            return Ok(notes);
        }
        let done = async {
            entry.write(session, database).await?;
            let told = exchange::settle(session, database, &entry, turn).await?;
            // By name, and so while nobody else may give the names to others.
            let awake = indexes::wake(session, database, catalog).await;
            entry.settled = true;
            entry.write(session, database).await?;
            Ok([told.notes(), awake].concat())
        };
        match done.await {
            Ok(notes) => Ok(notes),
            Err(error) => Err(exchange_back(session, database, entry, turn, error).await),
        }
    }

    /// Undoes what was published; the error says so where it could not be.
    async fn take_back(&self, done: Vec<(String, String)>, views: Vec<String>, error: Error) -> Error {
        let mut stay = Vec::new();
        for view in views {
            let dropped = self.session.run("take back", &self.readable.database, doc! {"drop": &view}).await;
            stay.extend(dropped.is_err().then_some(view));
        }
        for (scratch, name) in done.into_iter().rev() {
            // One that never got its name is not found under it, or what is found there is somebody else's and ours is where it was.
            let back = self.rename(&name, &scratch).await;
            let stays = back.is_err_and(|error| !matches!(error.kind, Kind::NotFound | Kind::Exists));
            stay.extend(stays.then_some(name));
        }
        if stay.is_empty() {
            error.hint("everything was taken back; the target is as it was")
        } else {
            left(error, &stay)
        }
    }
}

fn left(error: Error, names: &[String]) -> Error {
    let what = format!("{}; and these could not be taken back: {}", error.what, named(names));
    Error { what, ..error }.hint("drop them by hand before the next restore")
}

/// How what comes may meet what is there, after every guard.
/// The backup's catalog is asked for whole, too: what is left out of a part tells the source as well.
async fn way(
    session: &Session,
    endpoint: &Endpoint,
    (whole, catalog): (&Catalog, &Catalog),
    options: &TargetOptions,
) -> Result<(Way, BTreeMap<String, String>), Error> {
    let nothing = BTreeMap::new();
    if options.mode == Some(Mode::Drill) {
        return Ok((Way::Drill, nothing));
    }
    let (database, is_part) = (endpoint.database(), !options.part.is_empty());
    let mark = mark::read(session, database).await?;
    if let Some(mark) = &mark {
        mark.assert_not_protected(&endpoint.spot())?;
    }
    let Some(holds) = preflight::holds(session, database).await? else {
        return Ok((if is_part { Way::Part } else { Way::Fresh }, nothing));
    };
    if options.mode == Some(Mode::Fresh) && !is_part {
        preflight::assert_free(session, endpoint).await?;
    }
    let live = listing::list(session, database).await?.collections;
    guard::assert_not_source(&live, endpoint, whole, options)?;
    Mark::assert_allows(mark.as_ref(), &endpoint.spot(), &holds)?;
    if is_part {
        preflight::assert_names_free(&live, catalog, endpoint)?;
        return Ok((Way::Part, nothing));
    }
    exchange::refuse_time_series(live.iter().chain(&catalog.collections))?;
    preflight::assert_room_aside(&live, database, &options.run)?;
    Ok((Way::Swap, standing(&live)))
}

/// Everything back; the error says what could not be.
async fn exchange_back(session: &Session, database: &str, mut entry: Entry, turn: &Turn, error: Error) -> Error {
    (entry.wants, entry.settled) = (Side::Before, false);
    if error.kind == Kind::Unavailable {
        // A rename whose answer is lost may still wait for its turn at the server.
        tokio::time::sleep(exchange::IN_FLIGHT).await;
    }
    let back = async {
        turn.assert_ours().await?;
        // First: whoever finds the journal later must not take this for done.
        entry.write(session, database).await?;
        let told = exchange::settle(session, database, &entry, turn).await?;
        turn.assert_ours().await?;
        entry.remove(session, database).await?;
        Ok::<_, Error>(told)
    };
    match back.await {
        Ok(told) => {
            let what = [vec![error.what.clone()], told.warnings()].concat().join("; ");
            match told.is_whole() {
                true => Error { what, ..error }.hint("everything was taken back; the target is as it was"),
                false => Error { what, ..error }.hint("everything else was taken back"),
            }
        }
        Err(again) => {
            let what = format!("{}; and the target is between the two: {}", error.what, again.what);
            Error { what, ..error }.hint("run longshore rollback when the server answers again; nothing is lost")
        }
    }
}

/// What stands under users' names, by the server's own names; views by what they are.
fn standing(live: &[Collection]) -> BTreeMap<String, String> {
    let identity = |one: &Collection| match one.sort {
        Sort::View => hex::encode(one.options.0.as_bytes()),
        _ => one.uuid.clone(),
    };
    live.iter().map(|one| (one.name.clone(), identity(one))).collect()
}

fn first_other(before: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Option<String> {
    let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    names.into_iter().find(|name| before.get(*name) != now.get(*name)).cloned()
}

/// Users and roles that are asked for and that the server lacks. A drill makes none.
async fn missing_accounts(
    session: &Session,
    documents: &[Document],
    catalog: &Catalog,
    options: &TargetOptions,
    endpoint: &Endpoint,
) -> Result<Missing, Error> {
    if !options.create_missing_roles || options.mode == Some(Mode::Drill) {
        return Ok(Missing::default());
    }
    let Some(document) = Document::find(documents, ACCOUNTS) else {
        let what = "the backup has no users and roles";
        return Err(Error::new(Kind::Config, what)
            .hint("back up with --globals, or leave --create-missing-roles out; nothing was changed"));
    };
    Accounts::parse(&document.bytes)?.missing(session, &catalog.database, endpoint.database()).await
}

#[async_trait]
impl Target for MongoTarget {
    async fn prepare(&mut self) -> Result<Vec<String>, Error> {
        let visible = self.visible();
        let mut notes = std::mem::take(&mut self.notes);
        if !visible.is_empty() && !self.is_drill() {
            notes.push(format!("time series cannot be renamed and show from the beginning: {}", named(&visible)));
        }
        if self.way == Way::Swap {
            // There is room for what one restore has replaced, not for many.
            let turn = Turn::take(&self.session, &self.readable.database, &self.options.run).await?;
            let dropped = rollback::drop_replaced(&self.session, &self.endpoint, &turn, None).await;
            turn.end().await?;
            notes.extend(dropped?);
        }
        self.scratch.begin().await?;
        definitions::make_collections(&self.session, &self.readable).await?;
        let made = self.readable.catalog.collections.iter().filter(|one| one.sort != Sort::View);
        let made: Vec<String> = made.map(|one| self.readable.name(one)).collect();
        self.scratch.remember(&made).await?;
        Ok(notes)
    }

    fn streams(&self) -> Option<BTreeSet<StreamName>> {
        let all = self.readable.catalog.collections.iter();
        (self.way == Way::Part).then(|| all.filter_map(Collection::stream).collect())
    }

    fn first(&self) -> Vec<StreamName> {
        Vec::new()
    }

    async fn loader(&self) -> Result<Box<dyn Loader>, Error> {
        let (readable, indexes) = (Arc::clone(&self.readable), Arc::clone(&self.indexes));
        let changed = Arc::clone(&self.changed);
        Ok(Box::new(SegmentLoader::new(
            self.session.clone(),
            readable,
            (indexes, changed),
            self.scratch.on_their_way(),
        )))
    }

    fn builds(&self, stream: &StreamName) -> Vec<Vec<Build>> {
        self.indexes.of(&self.readable.catalog, stream).into_iter().map(|build| vec![build]).collect()
    }

    async fn complete(&mut self) -> Result<(), Error> {
        // Of a collection without documents nobody builds them.
        for build in self.indexes.left(&self.readable.catalog) {
            self.indexes.build(&self.session, &self.readable, &build).await?;
        }
        self.scratch.settle().await?;
        definitions::assert_same(&self.session, &self.readable).await?;
        if self.is_drill() {
            // A restore makes them last, because they show others by name; whether they can be made is known by drills.
            definitions::make_views(&self.session, &self.readable).await.map_err(|(error, _)| error)?;
        }
        Ok(())
    }

    async fn server_version(&self) -> Result<String, Error> {
        Ok(self.session.server.text.clone())
    }

    async fn count(&self, stream: &StreamName) -> Result<u64, Error> {
        let collection = self.readable.catalog.of_stream(stream)?;
        let holder = self.readable.holder(collection).unwrap_or_default();
        let level = if self.session.server.set.is_some() { "majority" } else { "local" };
        count(&self.session, &self.readable.database, &holder, Bson::Document(doc! {"level": level})).await
    }

    async fn read_back_plan(&self) -> Result<Vec<Segment>, Error> {
        Ok(segments::cut_all(&self.session, &self.readable, &BTreeMap::new()).await?.0)
    }

    async fn reader(&self) -> Result<Box<dyn Reader>, Error> {
        Ok(Box::new(SegmentReader::new(self.session.clone(), Arc::clone(&self.readable))))
    }

    async fn before_publish(&mut self) -> Result<Vec<String>, Error> {
        let (readable, scripts) = (&self.readable, &self.options.before_publish);
        scripts::run(&self.session, readable, scripts, &self.scratch.on_their_way()).await
    }

    async fn publish(&mut self, stop: &(dyn Fn() -> bool + Send + Sync)) -> Result<Conclusion, Error> {
        if self.is_drill() {
            let what = format!("{} is a drill's database and never gets a name", self.readable.database);
            return Err(Error::new(Kind::Internal, what));
        }
        if stop() {
            return Err(Error::new(Kind::Interrupted, "the restore was interrupted before it was published"));
        }
        let (mut notes, mut replaced) = (Vec::new(), None);
        if self.way == Way::Swap {
            (notes, replaced) = self.take_place().await?;
        } else {
            self.rename_all().await?;
            self.scratch.keep_all();
            notes.extend(indexes::wake(&self.session, &self.readable.database, &self.readable.catalog).await);
        }
        if let Err(error) = self.scratch.discard().await {
            notes.push(format!("the restore's own document stays: {}", error.what));
        }
        notes.extend(std::mem::take(&mut self.accounts).make(&self.session, &self.options.run).await);
        let (database, server) = (self.endpoint.database().to_owned(), self.endpoint.server());
        Ok(Conclusion { database, server, replaced, notes })
    }

    async fn discard(&mut self) -> Result<(), Error> {
        self.scratch.discard().await
    }
}
