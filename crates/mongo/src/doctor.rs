//! How a server is doing: what a backup of it, or a restore into it, would meet.
//!
//! Owns the order of looking, and what is worth a warning. Promises to change nothing and to lock nothing; and that the checks are those that the jobs make themselves.

use crate::connection::{Session, connect};
use crate::endpoint::Endpoint;
use crate::listing::{self, SERVERS_OWN};
use crate::{mark, moment, past, preflight};
use engine::{Error, Finding, Kind, Mark};

/// What a backup of this database would meet.
pub async fn examine_source(endpoint: &Endpoint) -> Vec<Finding> {
    let session = match connect(endpoint).await {
        Ok(session) => session,
        Err(error) => return vec![Finding::bad("answer", error)],
    };
    let mut found = vec![answer(&session, endpoint)];
    found.push(or_bad("readable", readable(&session, endpoint).await));
    found.push(or_bad("snapshot", snapshot(&session).await));
    found
}

/// What a restore into this database, or a drill on its server, would meet.
pub async fn examine_target(endpoint: &Endpoint) -> Vec<Finding> {
    let session = match connect(endpoint).await {
        Ok(session) => session,
        Err(error) => return vec![Finding::bad("answer", error)],
    };
    let mut found = vec![answer(&session, endpoint)];
    found.push(or_bad("database", target_database(&session, endpoint).await));
    found
}

fn or_bad(what: &'static str, result: Result<Finding, Error>) -> Finding {
    result.unwrap_or_else(|error| Finding::bad(what, error))
}

fn answer(session: &Session, endpoint: &Endpoint) -> Finding {
    let set =
        session.server.set.as_ref().map_or("a server by itself".to_owned(), |set| format!("of the replica set {set}"));
    Finding::good("answer", format!("{} is MongoDB {}, {set}", endpoint.server(), session.server.text))
}

async fn readable(session: &Session, endpoint: &Endpoint) -> Result<Finding, Error> {
    let listing = listing::list(session, endpoint.database()).await?;
    if listing.collections.is_empty() {
        let what = format!("there is nothing in {endpoint} that this user may see");
        return Err(Error::new(Kind::NotFound, what).hint("check the name in the URL; names know upper and lower case"));
    }
    Ok(Finding::good("readable", format!("{} collections and views are seen", listing.collections.len())))
}

/// How long reading at one moment may take.
async fn snapshot(session: &Session) -> Result<Finding, Error> {
    const WHAT: &str = "snapshot";
    if session.server.set.is_none() {
        return Err(moment::by_itself());
    }
    let found = "all connections see one moment, by a time of the cluster";
    let Ok(kept) = past::kept(session).await else {
        return Ok(Finding::good(
            WHAT,
            format!("{found}; how long the server keeps its past is not for this user to know"),
        ));
    };
    Ok(Finding::good(
        WHAT,
        format!(
            "{found}; the server keeps its past for {} s at least; a backup that takes longer reads the oplog, which needs the role backup on admin",
            kept.as_secs()
        ),
    ))
}

async fn target_database(session: &Session, endpoint: &Endpoint) -> Result<Finding, Error> {
    const WHAT: &str = "database";
    let database = endpoint.database();
    preflight::assert_writable(session).await?;
    if SERVERS_OWN.contains(&database) {
        let found = format!("{database} is the server's own: drills can be run here, a restore needs another name");
        return Ok(Finding::good(WHAT, found));
    }
    let mark = mark::read(session, database).await?;
    if let Some(mark) = &mark {
        mark.assert_not_protected(&endpoint.spot())?;
    }
    let Some(holds) = preflight::holds(session, database).await? else {
        return Ok(Finding::good(WHAT, format!("{database} holds nothing: a restore fills it")));
    };
    Mark::assert_allows(mark.as_ref(), &endpoint.spot(), &holds)?;
    let name = mark.map(|mark| mark.name).unwrap_or_default();
    Ok(Finding::good(WHAT, format!("{database} is marked as {name}: a restore may take its place")))
}

/// Whether a user made nothing in it.
///
/// # Errors
/// As connecting to it.
pub async fn is_empty(endpoint: &Endpoint) -> Result<bool, Error> {
    let session = connect(endpoint).await?;
    Ok(preflight::holds(&session, endpoint.database()).await?.is_none())
}
