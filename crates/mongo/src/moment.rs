//! The moment: the one time of the cluster at which everything is read.
//!
//! Owns its choice, and what must hold so that reading there means something. Promises that it is no earlier than the listing: a server that is asked for a collection at a time when the collection had another name
//! answers with nothing, and says so to nobody. Reads at a time: <https://www.mongodb.com/docs/manual/reference/read-concern-snapshot/>.

use crate::catalog::Moment;
use crate::connection::Session;
use engine::{Error, Kind};
use mongodb::bson::Timestamp;
use std::time::{Duration, Instant};

/// How long a majority may take to have what one server has.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a backup is called that is of no moment.
pub(crate) const PER_COLLECTION: &str = "per-collection";
const PAUSE: Duration = Duration::from_millis(50);

/// A time that a majority has, and that is not before `listed`; none of a server by itself, which has no such time, where that is allowed.
///
/// # Errors
/// [`Kind::Refused`] for a server by itself; [`Kind::Unavailable`] when there is no majority.
pub(crate) async fn take(
    session: &Session,
    listed: Option<Timestamp>,
    allow_inexact: bool,
) -> Result<Option<Timestamp>, Error> {
    if session.server.set.is_none() {
        return if allow_inexact { Ok(None) } else { Err(by_itself()) };
    }
    let begun = Instant::now();
    loop {
        let time = session.majority_time().await?.ok_or_else(by_itself)?;
        if listed.is_none_or(|listed| (time.time, time.increment) >= (listed.time, listed.increment)) {
            return Ok(Some(time));
        }
        if begun.elapsed() > PATIENCE {
            let what = "a majority of the replica set does not follow";
            return Err(Error::new(Kind::Unavailable, what).hint("see rs.status(): members are down, or far behind"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Why a server that is no replica set is not backed up.
pub(crate) fn by_itself() -> Error {
    Error::new(Kind::Refused, "the server is no replica set: nothing makes several collections be read at one moment")
        .hint("make it a replica set of one: start mongod with --replSet rs0 and run rs.initiate() once; applications need no change. --allow-inexact backs it up as it is")
}

/// As the catalog keeps it.
pub(crate) fn kept(time: Option<Timestamp>, session: &Session) -> Moment {
    let set = session.server.set.clone().unwrap_or_default();
    let protocol = if time.is_some() { "snapshot" } else { PER_COLLECTION }.to_owned();
    Moment { protocol, time: time.map(|time| (time.time, time.increment)).unwrap_or_default(), set }
}
