//! Rollback: the database that a restore has replaced gets its name back.
//!
//! Owns finding it and deciding that it may. Promises the same exchange as a restore's, so that a second rollback brings the
//! restored database back. Refuses when there is nothing to go back to, when the live database is not the one that replaced
//! it, and when the live one's mark does not allow it.

use crate::connection::{major_version, may_be_silent};
use crate::endpoint::Endpoint;
use crate::guard::{self, Live};
use crate::marker::{Aside, replaced};
use crate::pooler;
use crate::scratch::{assert_short_enough, connect_maintenance};
use crate::sessions::assert_nothing_prepared;
use crate::swap::{Direction, Exchange, Stop, publications, what_stays};
use engine::{Conclusion, Error, Kind, Mark};

/// Gives the replaced database its name back; `run` is for the name of the one that had it. `stop` is asked between attempts:
/// whether to give up.
///
/// # Errors
/// [`Kind::NotFound`] when there is nothing to go back to; [`Kind::Refused`] when the live database is not the one that
/// replaced it, or not marked; [`Kind::Unavailable`] when its sessions could not be ended. Everything is as it was then.
pub async fn rollback(endpoint: &Endpoint, run: &str, stop: Stop<'_>) -> Result<Conclusion, Error> {
    assert_short_enough(endpoint, &format!("{}__old_{run}", endpoint.database()))?;
    guard::assert_not_the_servers_own(endpoint)?;
    pooler::refuse_any(endpoint).await?;
    let client = connect_maintenance(endpoint).await?;
    let major = major_version(&client).await?;
    let asides = replaced(&client, endpoint.database()).await?;
    let Some(live) = Live::find(&client, major, endpoint.database()).await? else {
        return Err(nothing_live(endpoint, &asides));
    };
    let back = choose(asides, live.oid, endpoint)?;
    Mark::assert_allows(live.marks.target.as_ref(), &endpoint.spot(), "data")?;
    live.assert_ours(endpoint)?;
    assert_nothing_prepared(&client, live.oid, endpoint).await?;
    assert_nothing_prepared(&client, back.oid, &endpoint.with_database(&back.name)).await?;
    let inside = Endpoint { silent: may_be_silent(&client, major).await?, ..endpoint.clone() };
    // Only for a note: a database that lets nobody in any more must be one to go back from.
    let (publications, unseen) = match publications(&client, &inside).await {
        Ok(publications) => (publications, None),
        Err(error) => {
            tracing::warn!(%error, "publications could not be looked for");
            (Vec::new(), Some(format!("publications in the replaced database could not be looked for: {}", error.what)))
        }
    };
    let exchange = Exchange {
        target: endpoint.clone(),
        live: live.oid,
        incoming: (back.name, back.oid),
        run: run.to_owned(),
        major,
        direction: Direction::Rollback,
    };
    let exchanged = exchange.run(stop).await?;
    let mut notes = exchanged.notes;
    notes.extend(unseen);
    notes.extend(what_stays(&client, live.oid, &publications, &exchanged.aside).await.unwrap_or_default());
    Ok(Conclusion {
        database: endpoint.database().to_owned(),
        server: endpoint.server(),
        replaced: Some(exchanged.aside),
        notes,
    })
}

/// The newest database that the live one has replaced.
fn choose(asides: Vec<Aside>, live: u32, endpoint: &Endpoint) -> Result<Aside, Error> {
    let newest = asides.first().map(|aside| (aside.name.clone(), aside.replaced.at.clone()));
    if let Some(aside) = asides.into_iter().find(|aside| aside.replaced.successor == live) {
        return Ok(aside);
    }
    match newest {
        None => Err(Error::new(Kind::NotFound, format!("there is nothing to roll {endpoint} back to"))
            .hint("no restore has replaced it, or what was replaced has been dropped since")),
        Some((name, at)) => Err(Error::new(
            Kind::Refused,
            format!("{name} was replaced at {at} by another database than the one that is {endpoint} now"),
        )
        .hint("somebody has renamed databases since; look at both, and rename by hand")),
    }
}

fn nothing_live(endpoint: &Endpoint, asides: &[Aside]) -> Error {
    let error = Error::new(Kind::NotFound, format!("there is no database {endpoint}"));
    match asides.first() {
        None => error,
        Some(aside) => error.hint(format!(
            "the one that was replaced last is there: ALTER DATABASE \"{0}\" ALLOW_CONNECTIONS true; ALTER DATABASE \"{0}\" \
             RENAME TO \"{1}\"",
            aside.name,
            endpoint.database()
        )),
    }
}
