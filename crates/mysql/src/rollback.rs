//! Rollback: what a restore has replaced gets its place back.
//!
//! Owns finding it and deciding that it may. Promises the same exchange as a restore's, so that a second rollback brings the restored data back. Refuses when there is
//! nothing to go back to, and when the mark does not allow it.

use crate::catalog::Catalog;
use crate::connection::{Purpose, Session, connect};
use crate::endpoint::Endpoint;
use crate::mark;
use crate::preflight;
use crate::publish::Incoming;
use crate::replaced::{self, Replaced};
use crate::schema;
use crate::swap::{Exchange, Stop};
use engine::{Conclusion, Error, Kind, Mark};

/// Gives the replaced schema its place back; `run` is for the name of the one that has it. `stop` is asked between attempts: whether to give up.
///
/// # Errors
/// [`Kind::NotFound`] when there is nothing to go back to; [`Kind::Refused`] when the live one is not marked; [`Kind::Unavailable`] when its
/// tables are in use. Everything is as it was then.
pub async fn rollback(endpoint: &Endpoint, run: &str, stop: Stop<'_>) -> Result<Conclusion, Error> {
    let mut session = connect(endpoint, Purpose::Write).await?;
    schema::database(&mut session, endpoint.database()).await?;
    let mark = mark::read(&mut session, endpoint.database()).await?;
    Mark::assert_allows(mark.as_ref(), &endpoint.spot(), "data")?;
    let (back, catalog) = newest_whole(&mut session, endpoint).await?;
    let incoming = Incoming {
        catalog: &catalog,
        schema: &back.schema,
        no_owner: false,
        events_asleep: false,
        keys: &[],
        keys_checked: false,
    };
    let (aside, mut notes) = Exchange { endpoint, run, incoming }.run(&mut session, stop).await?;
    let mut fresh = connect(endpoint, Purpose::Write).await?;
    if let preflight::There::Full(what) = preflight::look(&mut fresh, &back.schema).await? {
        notes.push(format!("{} stays: it holds {what}", back.schema));
    } else if let Err(error) = replaced::drop(&mut fresh, &back.schema).await {
        notes.push(format!("{} is empty and stays: {}", back.schema, error.what));
    }
    let (database, server) = (endpoint.database().to_owned(), endpoint.server());
    Ok(Conclusion { database, server, replaced: Some(aside), notes })
}

/// What was replaced last and is all there. A restore that was killed before its exchange leaves one that never got its tables.
async fn newest_whole(session: &mut Session, endpoint: &Endpoint) -> Result<(Replaced, Catalog), Error> {
    let mut torn = Vec::new();
    for back in replaced::of(session, endpoint.database()).await? {
        let catalog = replaced::catalog(session, &back.schema).await?;
        match replaced::missing(session, &back.schema, &catalog).await? {
            None => return Ok((back, catalog)),
            Some(table) => torn.push(format!("{} has no table {table}", back.schema)),
        }
    }
    let mut what = format!("no restore has replaced {endpoint}, or what it replaced was dropped");
    if !torn.is_empty() {
        what = format!("what restores have set aside of {endpoint} is not whole: {}", torn.join("; "));
    }
    Err(Error::new(Kind::NotFound, what).hint("there is nothing to go back to; nothing was changed"))
}
