//! The exchange: a proven copy takes the place of what stood there, which is parked beside it.
//!
//! Owns making one side of an entry in the journal stand under the names, whatever stands there now: each collection is looked up by the server's own identifier right before it is renamed, so that the same road leads forward, back, and on from where a killed run
//! stopped. Each collection takes two renames: the old one away, the new one in. Promises that neither side is ever dropped on it, save by `replace_all`; that a collection which is neither side's and stands in the way is parked and told. Refuses time series on either side:
//! they cannot be renamed. MongoDB has no rename of several collections in one step (<https://www.mongodb.com/docs/manual/reference/command/renameCollection/>).

use crate::catalog::{Collection, FUNCTIONS, Sort};
use crate::connection::Session;
use crate::definitions::{self, create};
use crate::failure::{assert_written, from_mongo};
use crate::journal::{Entry, Place, Side, Turn};
use crate::listing;
use crate::reader::Readable;
use crate::scratch::{aside, written};
use crate::source::named;
use engine::{Error, Kind};
use mongodb::bson::doc;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// How often a name is tried for that others keep taking.
const TRIES: usize = 20;
/// How long a rename may wait for whoever works in the collection. What takes longer was not done.
const RENAME_MILLIS: i32 = 5_000;
/// After so long no rename whose answer was lost is on its way any more.
pub(crate) const IN_FLIGHT: Duration = Duration::from_secs(6);

/// What was seen on the way.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The longest time in which a collection's name stood for nothing, and the time of the whole exchange.
    gap: Duration,
    whole: Duration,
    /// What somebody made of a name meanwhile, by the name that it has now.
    strangers: Vec<String>,
    /// What was to come and is gone.
    gone: Vec<String>,
}

impl Told {
    pub fn notes(&self) -> Vec<String> {
        let mut notes = vec![format!(
            "each collection was exchanged by two renames, at most {} ms apart; views, and all of it, within {} ms",
            self.gap.as_millis(),
            self.whole.as_millis()
        )];
        notes.extend(self.warnings());
        notes
    }

    /// Whether everything that was to come has come.
    pub fn is_whole(&self) -> bool {
        self.gone.is_empty()
    }

    /// What somebody has to look at.
    pub fn warnings(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if !self.strangers.is_empty() {
            let names = named(&self.strangers);
            notes.push(format!(
                "somebody wrote to names while they were exchanged; it is kept until the next restore: {names}"
            ));
        }
        if !self.gone.is_empty() {
            notes.push(format!("these were to come back, and somebody has dropped them: {}", named(&self.gone)));
        }
        notes
    }
}

/// Makes the side stand that the entry wants. What is done already is left as it is.
pub(crate) async fn settle(session: &Session, database: &str, entry: &Entry, turn: &Turn) -> Result<Told, Error> {
    let mut told = Told::default();
    let begun = Instant::now();
    let brings = entry.wants == Side::After && !entry.by_rollback;
    let way = Way { session, database, run: &entry.run, brings };
    let ((coming, going), (views, old_views)) = (entry.sides(), entry.views());
    let by_name = |places: &[Place]| -> BTreeMap<String, Place> {
        places.iter().map(|place| (place.name.clone(), place.clone())).collect()
    };
    let (coming, going) = (by_name(coming), by_name(going));
    way.drop_views(old_views, views).await?;
    let names: BTreeSet<&String> = coming.keys().chain(going.keys()).collect();
    for name in names {
        turn.assert_ours().await?;
        way.exchange(name, going.get(name), coming.get(name), &mut told).await?;
    }
    way.make_views(views).await?;
    told.whole = begun.elapsed();
    Ok(told)
}

struct Way<'a> {
    session: &'a Session,
    database: &'a str,
    run: &'a str,
    /// Whether a restore brings its own: all of that has to come.
    brings: bool,
}

impl Way<'_> {
    /// One goes, the other comes; both are where they are found.
    async fn exchange(
        &self,
        name: &str,
        going: Option<&Place>,
        coming: Option<&Place>,
        told: &mut Told,
    ) -> Result<(), Error> {
        let begun = Instant::now();
        let mut stood = false;
        for _ in 0..TRIES {
            let there = self.who_has(name, coming).await?;
            let here = there.get(name);
            let Some(coming) = coming else {
                return self.park(name, going, here).await;
            };
            if here == Some(&coming.uuid) {
                return Ok(());
            }
            if there.get(&coming.parked) != Some(&coming.uuid) {
                return self.missing(name, told);
            }
            if let Some(here) = here {
                let ours = going.filter(|going| going.uuid == *here);
                let parked = ours.map_or_else(|| written(self.run, here), |going| going.parked.clone());
                stood |= ours.is_some();
                // The next rename waits for a majority, and what came before it is held by as many then.
                self.rename_away(name, &parked).await?;
                told.strangers.extend(ours.is_none().then(|| format!("{name} as {parked}")));
            }
            match rename(self.session, self.database, &coming.parked, name, false).await {
                // A writer that does not wait has made a collection of that name in between, or another primary has the old one there still.
                Err(error) if error.kind == Kind::Exists => {}
                other => {
                    told.gap = told.gap.max(if stood { begun.elapsed() } else { Duration::ZERO });
                    return other;
                }
            }
        }
        Err(Error::new(Kind::Exists, format!("somebody makes {name} anew again and again"))
            .hint("stop whoever writes to it while names are exchanged"))
    }

    /// What is to come can come from nowhere: of a rollback, what stands there stays.
    fn missing(&self, name: &str, told: &mut Told) -> Result<(), Error> {
        if self.brings {
            let what = format!("somebody dropped what was restored for {name}");
            return Err(Error::new(Kind::Changed, what).hint("run it again"));
        }
        told.gone.push(name.to_owned());
        Ok(())
    }

    async fn rename_away(&self, name: &str, parked: &str) -> Result<(), Error> {
        let what = format!("set {name} aside");
        let (from, to) = (format!("{}.{name}", self.database), format!("{}.{parked}", self.database));
        let command = doc! {"renameCollection": from, "to": to, "writeConcern": {"w": 1}, "maxTimeMS": RENAME_MILLIS};
        assert_written(&what, &self.session.run(&what, "admin", command).await?)
    }

    /// Sets one aside for which nothing comes; what is not ours stays.
    async fn park(&self, name: &str, going: Option<&Place>, here: Option<&String>) -> Result<(), Error> {
        match going.filter(|going| here == Some(&going.uuid)) {
            Some(going) => rename(self.session, self.database, name, &going.parked, false).await,
            None => Ok(()),
        }
    }

    /// The identifiers behind a name and where its next collection is parked.
    async fn who_has(&self, name: &str, coming: Option<&Place>) -> Result<BTreeMap<String, String>, Error> {
        let parked = coming.map_or(name, |coming| coming.parked.as_str());
        listing::identities_of(self.session, self.database, &[name, parked]).await
    }

    /// Views that go. One that is not as it was is somebody's work, and stops the exchange.
    async fn drop_views(&self, going: &[Collection], coming: &[Collection]) -> Result<(), Error> {
        for view in going.iter().rev().filter(|view| !has(coming, view)) {
            let there = listing::one(self.session, self.database, &view.name).await?;
            let Some(there) = there.filter(|there| there.sort == Sort::View) else { continue };
            if has(coming, &there) {
                continue;
            }
            if there.options != view.options {
                let what = format!("somebody has changed the view {} meanwhile", view.name);
                return Err(Error::new(Kind::Exists, what).hint("drop it, or make it what it was, and run it again"));
            }
            self.drop_one(&view.name).await?;
        }
        Ok(())
    }

    async fn make_views(&self, views: &[Collection]) -> Result<(), Error> {
        for view in views {
            match listing::one(self.session, self.database, &view.name).await? {
                Some(there) if there.sort == Sort::View && there.options == view.options => {}
                Some(_) => {
                    let what = format!("something has the name of the view {}", view.name);
                    return Err(Error::new(Kind::Exists, what).hint("drop or rename it, and run it again"));
                }
                None => self.make_view(view).await?,
            }
        }
        Ok(())
    }

    async fn make_view(&self, view: &Collection) -> Result<(), Error> {
        let what = format!("make the view {}", view.name);
        let made = self.session.database(self.database).run_raw_command(create(&view.name, view)?).await;
        made.map(drop).map_err(from_mongo(what))
    }

    async fn drop_one(&self, name: &str) -> Result<(), Error> {
        let what = format!("drop {name}");
        let command = doc! {"drop": name, "writeConcern": self.session.majority()};
        match self.session.run(&what, self.database, command).await {
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            other => assert_written(&what, &other?),
        }
    }
}

fn has(all: &[Collection], one: &Collection) -> bool {
    all.iter().any(|other| other.name == one.name && other.options == one.options)
}

/// Each collection of `live` is dropped as its successor comes, in one step each; stored functions, which cannot be dropped, take two. There is no way back, and no journal. Returns notes.
pub(crate) async fn replace_all(
    session: &Session,
    database: &str,
    entry: &Entry,
    turn: &Turn,
) -> Result<Vec<String>, Error> {
    let way = Way { session, database, run: &entry.run, brings: true };
    let mut begun = false;
    let done = replace_each(&way, entry, turn, &mut begun).await;
    done.map_err(|error| match begun {
        false => error.hint("nothing was changed"),
        true => {
            let what =
                format!("{}; what had been replaced before that stays replaced, and what it was is gone", error.what);
            Error { what, ..error }.hint("restore again: the backup is whole")
        }
    })
}

async fn replace_each(way: &Way<'_>, entry: &Entry, turn: &Turn, begun: &mut bool) -> Result<Vec<String>, Error> {
    let standing: BTreeSet<&String> = entry.before.iter().map(|place| &place.name).collect();
    turn.assert_ours().await?;
    *begun = true;
    way.drop_views(&entry.views_before, &entry.views_after).await?;
    let mut notes = Vec::new();
    for place in entry.after.iter().filter(|place| place.name != FUNCTIONS) {
        turn.assert_ours().await?;
        rename(way.session, way.database, &place.parked, &place.name, standing.contains(&place.name)).await?;
    }
    let comes = |name: &String| entry.after.iter().any(|place| place.name == *name);
    for name in standing.iter().filter(|name| !comes(name) && name.as_str() != FUNCTIONS) {
        way.drop_one(name).await?;
    }
    if standing.iter().any(|name| name.as_str() == FUNCTIONS) {
        let parked = aside(way.run, FUNCTIONS);
        rename(way.session, way.database, FUNCTIONS, &parked, false).await?;
        if let Some(place) = entry.after.iter().find(|place| place.name == FUNCTIONS) {
            rename(way.session, way.database, &place.parked, FUNCTIONS, false).await?;
        }
        if let Err(error) = way.drop_one(&parked).await {
            notes.push(format!("the stored functions of before stay as {parked}: {}", error.what));
        }
    } else if let Some(place) = entry.after.iter().find(|place| place.name == FUNCTIONS) {
        rename(way.session, way.database, &place.parked, FUNCTIONS, false).await?;
    }
    way.make_views(&entry.views_after).await?;
    Ok(notes)
}

/// The entry of an exchange of what is `live` for what was loaded; nothing of it is done yet.
pub(crate) async fn plan(
    session: &Session,
    readable: &Readable,
    live: &[Collection],
    run: &str,
) -> Result<Entry, Error> {
    refuse_time_series(live.iter().chain(&readable.catalog.collections))?;
    let there = listing::identities(session, &readable.database).await?;
    let loaded = |(parked, name): (String, String)| {
        let uuid = there.get(&parked).cloned().ok_or_else(|| {
            Error::new(Kind::Changed, format!("somebody dropped {parked}, which this restore has made"))
                .hint("run it again")
        })?;
        Ok(Place { name, uuid, parked })
    };
    let stands =
        |one: &Collection| Place { name: one.name.clone(), uuid: one.uuid.clone(), parked: aside(run, &one.name) };
    let views = |all: &[Collection]| all.iter().filter(|one| one.sort == Sort::View).cloned().collect();
    Ok(Entry {
        run: run.to_owned(),
        at: session.clock().await?,
        wants: Side::After,
        settled: false,
        by_rollback: false,
        before: live.iter().filter(|one| one.sort == Sort::Collection).map(stands).collect(),
        after: definitions::renames(readable).into_iter().map(loaded).collect::<Result<_, Error>>()?,
        views_before: views(live),
        views_after: views(&readable.catalog.collections),
    })
}

/// Gives a collection of the database another name, and waits until a majority knows it.
pub(crate) async fn rename(session: &Session, database: &str, from: &str, to: &str, drops: bool) -> Result<(), Error> {
    let what = format!("give {from} the name {to}");
    let (from_full, to_full) = (format!("{database}.{from}"), format!("{database}.{to}"));
    let command = doc! {
        "renameCollection": from_full, "to": to_full, "dropTarget": drops, "writeConcern": session.majority(), "maxTimeMS": RENAME_MILLIS,
    };
    assert_written(&what, &session.run(&what, "admin", command).await?)
}

/// Fails when one of them is a time series.
pub(crate) fn refuse_time_series<'a>(all: impl Iterator<Item = &'a Collection>) -> Result<(), Error> {
    let names: Vec<String> = all.filter(|one| one.sort == Sort::TimeSeries).map(|one| one.name.clone()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let what = format!("time series cannot be renamed, and so take nobody's place: {}", named(&names));
    Err(Error::new(Kind::Unsupported, what)
        .hint("restore into a database of another name, and let applications use that; nothing was changed"))
}
