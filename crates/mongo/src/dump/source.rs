//! The source: a dump that becomes a backup.
//!
//! Owns the order: look, choose, find where documents stand, read, and look again. Promises that a backup is called what a dump is, of no one moment, and only where that is allowed; and that every file is at the end what it was at the beginning.
//! Refuses to apply an oplog, and users and roles: a dump has them in another form than a backup.

use crate::catalog::{CATALOG, Catalog, Collection, Moment};
use crate::dump::address::Dump;
use crate::dump::archive::Archive;
use crate::dump::contents::{Contents, Stop, Watched};
use crate::dump::documents::{Cuts, Documents};
use crate::dump::folder;
use crate::dump::reader::{PieceReader, Pieces, blocking};
use crate::filter::Rules;
use crate::moment::PER_COLLECTION;
use crate::source::{named as some_of, streams};
use async_trait::async_trait;
use engine::{About, Document, Error, GlobalsWanted, Kind, Plan, Reader, Segment, Source, SourceOptions, StreamPlan};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A file with more bytes is cut into parts, for which it is read once more.
const CUT_BYTES: u64 = 32 << 20;

/// A dump being read.
pub struct DumpSource {
    about: About,
    plan: Plan,
    catalog: Catalog,
    contents: Arc<Contents>,
    pieces: Arc<Pieces>,
    cross_count: bool,
}

/// A folder or an archive, as far as a look at it goes.
pub(crate) enum Looked {
    Folder(Contents),
    Archive(Archive, Contents),
}

impl Looked {
    /// Looks at what is there.
    ///
    /// # Errors
    /// As [`folder::look`], [`Archive::open`] and [`Archive::look`].
    pub fn at(dump: &Dump) -> Result<Self, Error> {
        if dump.path().is_dir() {
            return folder::look(dump.path(), dump.named()).map(Self::Folder);
        }
        let archive = Archive::open(dump.path())?;
        let contents = archive.look(dump.named())?;
        Ok(Self::Archive(archive, contents))
    }

    pub fn contents(&self) -> &Contents {
        match self {
            Self::Folder(contents) | Self::Archive(_, contents) => contents,
        }
    }

    /// Finds where documents stand.
    fn scan(self, stop: &Stop) -> Result<Contents, Error> {
        match self {
            Self::Folder(mut contents) => {
                cut(&mut contents, stop)?;
                Ok(contents)
            }
            Self::Archive(archive, mut contents) => {
                archive.scan(&mut contents, stop)?;
                Ok(contents)
            }
        }
    }
}

/// Ends a scan that nobody waits for any more.
struct StopWhenDropped(Stop);

impl Drop for StopWhenDropped {
    fn drop(&mut self) {
        self.0.set();
    }
}

impl DumpSource {
    /// Looks at a dump, and plans.
    ///
    /// # Errors
    /// [`Kind::Refused`] unless a backup of no one moment is allowed; [`Kind::Config`] for options that mean nothing here; [`Kind::Data`] for a dump that is damaged.
    pub async fn open(dump: Dump, options: &SourceOptions) -> Result<Self, Error> {
        if options.globals != GlobalsWanted::No {
            return Err(Error::new(Kind::Config, "--globals: a backup of a dump has no users and no roles")
                .hint("leave it out; what --dumpDbUsersAndRoles has written is for mongorestore"));
        }
        let (stop, at) = (Stop::default(), dump.clone());
        let watch = StopWhenDropped(stop.clone());
        let looked = blocking(move || Looked::at(&at)).await?;
        if !options.allow_inexact {
            return Err(of_no_moment(looked.contents()));
        }
        let rules = Rules::parse(&options.filter, &looked.contents().database)?;
        rules.assert_meant(&looked.contents().collections)?;
        let mut contents = blocking(move || looked.scan(&stop)).await?;
        drop(watch);
        let part = rules.apply(&mut contents.collections)?;
        for one in contents.collections.iter_mut().filter(|one| one.stream().is_some()) {
            one.bytes = one.holder().and_then(|holder| contents.data.get(&holder)).map_or(0, |data| data.bytes);
        }
        let moment = Moment { protocol: PER_COLLECTION.to_owned(), time: (0, 0), set: String::new() };
        let catalog = Catalog::new(&contents.server_version, &contents.database, moment, contents.collections.clone());
        let mut about = about(&dump, &contents, options);
        about.notes.extend(part);
        let streams = streams(&catalog);
        let (segments, pieces) = planned(&streams, &contents)?;
        let plan = Plan { streams, segments, boundaries: BTreeMap::new() };
        let (contents, pieces) = (Arc::new(contents), Arc::new(pieces));
        Ok(Self { about, plan, catalog, contents, pieces, cross_count: options.cross_count })
    }
}

/// Why a dump is refused, and what it is taken as.
fn of_no_moment(contents: &Contents) -> Error {
    let what = match contents.has_oplog {
        true => "the dump has an oplog, which is not applied here: without it the dump is of no one moment",
        false => "a dump is of no one moment: each collection is as it was when its turn came",
    };
    let hint = match contents.has_oplog {
        true => {
            "restore the dump with mongorestore --oplogReplay and back that server up; --allow-inexact takes the dump as it is, without the oplog"
        }
        false => "back up the server itself, if it is still there; --allow-inexact takes the dump as it is",
    };
    Error::new(Kind::Refused, what).hint(hint)
}

fn about(dump: &Dump, contents: &Contents, options: &SourceOptions) -> About {
    let mut notes = vec![format!(
        "made of {} of mongodump and of no one moment: each collection is as it was when its turn came",
        contents.form
    )];
    if contents.has_oplog {
        notes.push("the dump's oplog is not applied, and not in the backup".to_owned());
    }
    notes.extend(contents.notes.iter().cloned());
    notes.extend(empty(contents));
    About {
        engine: "mongodb".to_owned(),
        version: contents.server_version.clone(),
        database: contents.database.clone(),
        server: dump.server(),
        notes,
        globals: GlobalsWanted::No,
        filter: options.filter.clone(),
        inexact: Some(PER_COLLECTION.to_owned()),
    }
}

/// Names files that are plain and have nothing in them: a dump that broke off there looks the same.
fn empty(contents: &Contents) -> Option<String> {
    let files = contents.data.iter().filter(|(_, data)| !data.packed && data.bytes == 0);
    let names: Vec<String> = files.map(|(name, _)| name.clone()).collect();
    (contents.form == "a folder" && !names.is_empty()).then(|| {
        format!("no documents of these are in the dump; one that broke off there looks the same: {}", some_of(&names))
    })
}

fn planned(streams: &[StreamPlan], contents: &Contents) -> Result<(Vec<Segment>, Pieces), Error> {
    let (mut segments, mut pieces) = (Vec::new(), Pieces::default());
    for stream in streams {
        let missing = || Error::new(Kind::Internal, format!("{} has no documents in the dump", stream.name));
        let data = contents.data.get(stream.name.as_str()).ok_or_else(missing)?;
        segments.extend(pieces.add(&stream.name, data));
    }
    Ok((segments, pieces))
}

/// Cuts large files of a folder into parts.
fn cut(contents: &mut Contents, stop: &Stop) -> Result<(), Error> {
    for data in contents.data.values_mut().filter(|data| !data.packed && data.bytes > CUT_BYTES) {
        let mut documents = Documents::new(data.place.bytes(false, None)?, data.place.path(), 0);
        let mut cuts = Cuts::default();
        loop {
            stop.check()?;
            let at = documents.at();
            let Some(document) = documents.document()? else { break };
            cuts.push(document, at);
        }
        data.parts = cuts.end();
    }
    Ok(())
}

/// Fails when the dump is not what it was.
fn look_again(watched: &[Watched]) -> Result<(), Error> {
    for one in watched {
        match one {
            Watched::File(place) => place.assert_same()?,
            Watched::Folder(path, names) => {
                let now: BTreeSet<String> = folder::names(path)?;
                let Some(other) = names.symmetric_difference(&now).next() else { continue };
                let what = format!("{} came or went while the dump was read", path.join(other).display());
                return Err(Error::new(Kind::Changed, what)
                    .hint("run it again when nobody writes to the dump; no backup was made"));
            }
        }
    }
    Ok(())
}

/// Counts all documents once more, part by part no more.
fn count_again(contents: &Contents, catalog: &Catalog, rows: &BTreeMap<String, u64>) -> Result<(), Error> {
    for stream in catalog.collections.iter().filter_map(Collection::stream) {
        let Some(data) = contents.data.get(stream.as_str()) else { continue };
        let spans = data.parts.iter().flat_map(|part| part.spans.iter().copied()).collect();
        let bytes = data.place.bytes(data.packed, (!data.packed).then_some(spans))?;
        let mut documents = Documents::new(bytes, data.place.path(), 0);
        let mut counted = 0;
        while documents.document()?.is_some() {
            counted += 1;
        }
        let read = rows.get(stream.as_str()).copied().unwrap_or_default();
        if counted != read {
            let what = format!("{stream}: {read} documents were read and {counted} counted in the same dump");
            return Err(Error::new(Kind::Data, what).hint("this is a bug; please report it"));
        }
    }
    Ok(())
}

#[async_trait]
impl Source for DumpSource {
    fn about(&self) -> &About {
        &self.about
    }

    fn plan(&self) -> &Plan {
        &self.plan
    }

    async fn reader(&self) -> Result<Box<dyn Reader>, Error> {
        Ok(Box::new(PieceReader(Arc::clone(&self.pieces))))
    }

    async fn confirm(self: Box<Self>, rows: &BTreeMap<String, u64>) -> Result<Vec<Document>, Error> {
        let (contents, rows) = (Arc::clone(&self.contents), rows.clone());
        let (mut catalog, cross_count) = (self.catalog.clone(), self.cross_count);
        for one in &mut catalog.collections {
            one.bytes = one.stream().map_or(0, |stream| self.pieces.read(&stream));
        }
        let counted = catalog.clone();
        blocking(move || {
            if cross_count {
                count_again(&contents, &counted, &rows)?;
            }
            look_again(&contents.watched)
        })
        .await?;
        Ok(vec![Document::of(CATALOG, &catalog)?])
    }
}

#[cfg(test)]
#[path = "source_tests.rs"]
mod tests;
