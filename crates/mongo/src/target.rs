//! The target: a database that comes back.
//!
//! Owns the order of a restore's writing side: preflight; collections under scratch names; documents, indexes; a majority has it all; everything is looked at again; names. Promises that the
//! target's own names show nothing before they are published, time series apart, which cannot be renamed; and that what is published was proven and is held by a majority. Refuses a target that holds something.

use crate::catalog::{CATALOG, Catalog, Sort};
use crate::connection::{Session, connect};
use crate::definitions;
use crate::endpoint::Endpoint;
use crate::failure::assert_written;
use crate::indexes::{self, LateIndexes};
use crate::listing;
use crate::loader::SegmentLoader;
use crate::preflight;
use crate::reader::{Readable, SegmentReader};
use crate::scratch::{self, Scratch};
use crate::segments;
use crate::source::{count, named};
use async_trait::async_trait;
use engine::{
    Build, Conclusion, Document, Error, Kind, Loader, Mode, Reader, Segment, StreamName, Target, TargetOptions,
};
use mongodb::bson::{Bson, doc};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A database being restored.
pub struct MongoTarget {
    endpoint: Endpoint,
    session: Session,
    readable: Arc<Readable>,
    indexes: Arc<LateIndexes>,
    scratch: Scratch,
    drill: bool,
    notes: Vec<String>,
}

impl MongoTarget {
    /// Checks everything that can be checked before anything is made.
    pub async fn open(endpoint: Endpoint, documents: &[Document], options: TargetOptions) -> Result<Self, Error> {
        let missing = || Error::new(Kind::Data, format!("the backup has no document {CATALOG}"));
        let catalog = Catalog::parse(&Document::find(documents, CATALOG).ok_or_else(missing)?.bytes)?;
        preflight::refuse_what_is_not_done(&endpoint, &options)?;
        let session = connect(&endpoint).await?;
        let drill = options.mode == Some(Mode::Drill);
        let (database, prefix) = match drill {
            true => (scratch::drill(&options.run), String::new()),
            false => (endpoint.database().to_owned(), Scratch::prefix(&options.run)),
        };
        let functions = Some(Scratch::functions(&options.run));
        let readable = Readable { database, prefix, functions, catalog, time: None };
        preflight::check(&session, &readable).await?;
        let notes = if drill {
            scratch::drop_drills(&session).await?
        } else {
            let notes = scratch::drop_leftovers(&session, &readable.database).await?;
            preflight::assert_free(&session, &endpoint).await?;
            notes
        };
        let scratch = Scratch::plan(session.clone(), &readable.database, &options.run);
        let indexes = Arc::new(LateIndexes::default());
        Ok(Self { endpoint, session, readable: Arc::new(readable), indexes, scratch, drill, notes })
    }

    /// What has its own name from the beginning.
    fn visible(&self) -> Vec<String> {
        let sorts = |sort: Sort| if self.drill { sort != Sort::View } else { sort == Sort::TimeSeries };
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

    /// Loading takes its time: whatever somebody has made meanwhile stays, and nothing comes beside it.
    async fn assert_still_free(&self) -> Result<(), Error> {
        let visible = self.visible();
        let names = listing::names(&self.session, &self.readable.database).await?;
        let Some(other) = names.into_iter().find(|name| !visible.contains(name)) else { return Ok(()) };
        let what = format!("{} was empty, and holds the collection {other} now", self.endpoint);
        Err(Error::new(Kind::Exists, what).hint("somebody else is at work in it; nothing was published"))
    }

    async fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let database = &self.readable.database;
        let what = format!("give {to} its name");
        let (from, full) = (format!("{database}.{from}"), format!("{database}.{to}"));
        let command = doc! {"renameCollection": from, "to": full, "writeConcern": self.session.majority()};
        assert_written(&what, &self.session.run(&what, "admin", command).await?)
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

#[async_trait]
impl Target for MongoTarget {
    async fn prepare(&mut self) -> Result<Vec<String>, Error> {
        let visible = self.visible();
        let mut notes = std::mem::take(&mut self.notes);
        if !visible.is_empty() && !self.drill {
            notes.push(format!("time series cannot be renamed and show from the beginning: {}", named(&visible)));
        }
        self.scratch.begin().await?;
        definitions::make_collections(&self.session, &self.readable).await?;
        let made = self.readable.catalog.collections.iter().filter(|one| one.sort != Sort::View);
        let made: Vec<String> = made.map(|one| self.readable.name(one)).collect();
        self.scratch.remember(&made).await?;
        Ok(notes)
    }

    fn first(&self) -> Vec<StreamName> {
        Vec::new()
    }

    async fn loader(&self) -> Result<Box<dyn Loader>, Error> {
        let (readable, indexes) = (Arc::clone(&self.readable), Arc::clone(&self.indexes));
        Ok(Box::new(SegmentLoader::new(self.session.clone(), readable, indexes, self.scratch.on_their_way())))
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
        if self.drill {
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
        Ok(Vec::new())
    }

    async fn publish(&mut self, stop: &(dyn Fn() -> bool + Send + Sync)) -> Result<Conclusion, Error> {
        if self.drill {
            let what = format!("{} is a drill's database and never gets a name", self.readable.database);
            return Err(Error::new(Kind::Internal, what));
        }
        if stop() {
            return Err(Error::new(Kind::Interrupted, "the restore was interrupted before it was published"));
        }
        self.rename_all().await?;
        self.scratch.keep_all();
        let mut notes = indexes::wake(&self.session, &self.readable.database, &self.readable.catalog).await;
        if let Err(error) = self.scratch.discard().await {
            notes.push(format!("the restore's own document stays: {}", error.what));
        }
        let (database, server) = (self.endpoint.database().to_owned(), self.endpoint.server());
        Ok(Conclusion { database, server, replaced: None, notes })
    }

    async fn discard(&mut self) -> Result<(), Error> {
        self.scratch.discard().await
    }
}
