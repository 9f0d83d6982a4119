//! Rollback: what a restore has replaced gets its place back.
//!
//! Owns finding the exchange to undo and deciding that it may be. Promises that both sides stay, so that a second rollback brings the restored data back; that a restore which was killed while it exchanged is taken back, and a rollback which was killed
//! is carried on. Refuses while the restore lives, when what would come is not whole, and when the mark does not allow it.

use crate::catalog::Sort;
use crate::connection::{Session, connect};
use crate::endpoint::Endpoint;
use crate::exchange;
use crate::journal::{self, Entry, Place, Side, Turn};
use crate::mark;
use crate::scratch::{self, aside};
use crate::source::named;
use crate::{listing, preflight};
use engine::{Conclusion, Error, Kind, Mark};
use std::collections::BTreeSet;

/// Gives what was replaced its place back; `run` is this rollback's own. `stop` is asked before: whether to give up.
///
/// # Errors
/// [`Kind::NotFound`] when there is nothing to go back to; [`Kind::Refused`] when the database is not marked; [`Kind::Exists`] while another run is at it. Everything is as it was then.
pub async fn rollback(
    endpoint: &Endpoint,
    run: &str,
    stop: &(dyn Fn() -> bool + Send + Sync),
) -> Result<Conclusion, Error> {
    let session = connect(endpoint).await?;
    preflight::assert_writable(&session).await?;
    let database = endpoint.database();
    Mark::assert_allows(mark::read(&session, database).await?.as_ref(), &endpoint.spot(), "data")?;
    let turn = Turn::take(&session, database, run).await?;
    let done = go(&session, endpoint, &turn, stop).await;
    // Whoever comes next need not wait; and where this cannot be said, they wait for two minutes.
    let ended = turn.end().await;
    let (mut notes, replaced) = done?;
    if ended.is_err() {
        notes.push("the server still takes this run for one that exchanges names, for two minutes".to_owned());
    }
    Ok(Conclusion { database: database.to_owned(), server: endpoint.server(), replaced: Some(replaced), notes })
}

/// Returns notes, and what the other side is called now.
async fn go(
    session: &Session,
    endpoint: &Endpoint,
    turn: &Turn,
    stop: &(dyn Fn() -> bool + Send + Sync),
) -> Result<(Vec<String>, String), Error> {
    let database = endpoint.database();
    let mut entry = newest(session, endpoint).await?;
    if entry.settled {
        entry.wants = if entry.wants == Side::After { Side::Before } else { Side::After };
        assert_whole(session, endpoint, &entry).await?;
        refresh(session, endpoint, &mut entry).await?;
    } else if !entry.by_rollback {
        if scratch::lives(session, database, &entry.run).await? {
            return Err(exchanges_now(endpoint, &entry));
        }
        entry.wants = Side::Before;
    }
    if stop() {
        return Err(Error::new(Kind::Interrupted, "the rollback was interrupted before it began"));
    }
    (entry.by_rollback, entry.settled) = (true, false);
    let again = |error: Error| {
        let what = format!("{}; the target is between the two until longshore rollback is run again", error.what);
        Error { what, ..error }
    };
    entry.write(session, database).await.map_err(again)?;
    let told = exchange::settle(session, database, &entry, turn).await.map_err(again)?;
    entry.settled = true;
    entry.write(session, database).await.map_err(again)?;
    let mut notes = told.notes();
    notes.extend(others(session, database, &entry).await);
    let parked = if entry.wants == Side::Before { scratch::Scratch::prefix(&entry.run) } else { aside(&entry.run, "") };
    Ok((notes, format!("{parked}*")))
}

fn exchanges_now(endpoint: &Endpoint, entry: &Entry) -> Error {
    Error::new(Kind::Exists, format!("the restore {} exchanges names in {endpoint} right now", entry.run))
        .hint("wait until it has ended, or for two minutes if it was killed; nothing was changed")
}

/// The side that goes is what stands under its names now: since it came, some of it may have been made anew, and something more been made.
async fn refresh(session: &Session, endpoint: &Endpoint, entry: &mut Entry) -> Result<(), Error> {
    let live = listing::list(session, endpoint.database()).await?.collections;
    let places = entry.before.iter().chain(&entry.after).map(|place| place.name.clone());
    let views = entry.views_before.iter().chain(&entry.views_after).map(|view| view.name.clone());
    let names: BTreeSet<String> = places.chain(views).collect();
    let (mut going, mut going_views) = (Vec::new(), Vec::new());
    for one in live.into_iter().filter(|one| names.contains(&one.name)) {
        match one.sort {
            Sort::Collection => {
                let parked = match entry.wants {
                    Side::Before => scratch::unnamed(&entry.run, &one.name),
                    Side::After => aside(&entry.run, &one.name),
                };
                going.push(Place { name: one.name, uuid: one.uuid, parked });
            }
            Sort::View => going_views.push(one),
            Sort::TimeSeries => {
                let what = format!("the time series {} has a name that is to be given back", one.name);
                return Err(Error::new(Kind::Exists, what).hint(
                    "time series cannot be renamed: drop it, and run longshore rollback again; nothing was changed",
                ));
            }
        }
    }
    match entry.wants {
        Side::Before => (entry.after, entry.views_after) = (going, going_views),
        Side::After => (entry.before, entry.views_before) = (going, going_views),
    }
    Ok(())
}

/// What stands there besides, for people.
async fn others(session: &Session, database: &str, entry: &Entry) -> Option<String> {
    let ours: BTreeSet<&str> = entry
        .sides()
        .0
        .iter()
        .map(|place| place.name.as_str())
        .chain(entry.views().0.iter().map(|view| view.name.as_str()))
        .collect();
    let names = listing::names(session, database).await.ok()?;
    let others: Vec<String> = names.into_iter().filter(|name| !ours.contains(name.as_str())).collect();
    (!others.is_empty()).then(|| format!("these were made since, and stay: {}", named(&others)))
}

/// Fails unless everything that is to come is there.
async fn assert_whole(session: &Session, endpoint: &Endpoint, entry: &Entry) -> Result<(), Error> {
    let there: BTreeSet<String> = listing::identities(session, endpoint.database()).await?.into_values().collect();
    let gone: Vec<String> =
        entry.sides().0.iter().filter(|place| !there.contains(&place.uuid)).map(|place| place.name.clone()).collect();
    if gone.is_empty() {
        return Ok(());
    }
    let what = format!("what stood in {endpoint} is not whole any more: somebody has dropped {}", named(&gone));
    Err(Error::new(Kind::NotFound, what).hint("there is nothing to go back to; nothing was changed"))
}

/// The exchange to undo: one that is half-way comes before all others.
async fn newest(session: &Session, endpoint: &Endpoint) -> Result<Entry, Error> {
    let mut entries = journal::entries(session, endpoint.database()).await?;
    entries.sort_by_key(|entry| entry.settled);
    entries.into_iter().next().ok_or_else(|| {
        let what = format!("no restore has replaced {endpoint}, or what it replaced was dropped");
        Error::new(Kind::NotFound, what).hint("there is nothing to go back to; nothing was changed")
    })
}

/// Drops what exchanges have parked, of one run or of all. Returns notes.
///
/// # Errors
/// [`Kind::Refused`] when one of them was killed half-way: what it parked is the only copy.
pub(crate) async fn drop_replaced(
    session: &Session,
    endpoint: &Endpoint,
    turn: &Turn,
    of: Option<&str>,
) -> Result<Vec<String>, Error> {
    let database = endpoint.database();
    let entries = journal::entries(session, database).await?;
    if let Some(entry) = entries.iter().find(|entry| !entry.settled) {
        if scratch::lives(session, database, &entry.run).await? {
            return Err(exchanges_now(endpoint, entry));
        }
        let what = format!("an exchange of {endpoint} was ended half-way, and what it set aside is the only copy");
        return Err(Error::new(Kind::Refused, what).hint("longshore rollback puts it back; then restore again"));
    }
    let there = listing::identities(session, database).await?;
    let mut notes = Vec::new();
    for entry in entries.iter().filter(|entry| of.is_none_or(|run| run == entry.run)) {
        for place in entry.sides().1.iter().filter(|place| there.get(&place.parked) == Some(&place.uuid)) {
            turn.assert_ours().await?;
            scratch::drop_one(session, database, &place.parked).await?;
        }
        entry.remove(session, database).await?;
        notes.push(format!("dropped what a restore of {} had replaced", entry.at));
    }
    // Of whichever run: one that was taken back has left no entry.
    for name in there.keys().filter(|name| of.is_none() && name.starts_with(scratch::WRITTEN)) {
        turn.assert_ours().await?;
        scratch::drop_one(session, database, name).await?;
    }
    Ok(notes)
}
