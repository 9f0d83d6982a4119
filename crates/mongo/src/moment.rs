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
const PAUSE: Duration = Duration::from_millis(50);

/// A time that a majority has, and that is not before `listed`.
///
/// # Errors
/// [`Kind::Refused`] for a server by itself, which has no such time; [`Kind::Unavailable`] when there is no majority.
pub(crate) async fn take(session: &Session, listed: Option<Timestamp>) -> Result<Timestamp, Error> {
    let begun = Instant::now();
    loop {
        let Some(time) = session.majority_time().await? else { return Err(by_itself()) };
        if listed.is_none_or(|listed| (time.time, time.increment) >= (listed.time, listed.increment)) {
            return Ok(time);
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
        .hint("make it a replica set of one: start mongod with --replSet rs0 and run rs.initiate() once; applications need no change")
}

/// As the catalog keeps it.
pub(crate) fn kept(time: Timestamp, session: &Session) -> Moment {
    let set = session.server.set.clone().unwrap_or_default();
    Moment { protocol: "snapshot".to_owned(), time: (time.time, time.increment), set }
}
