//! The past: what a server still knows of the moment at which a backup began.
//!
//! Owns the question whether it knows it long enough, and what is done when it does not: from then on everything is read as a majority has it, and the oplog says which documents have changed since the moment. Promises
//! that what is read so, is no older than the moment; and that the time at which all of it is read once more is later than anything that was read. Refuses to
//! rely on a past whose end is near.

use crate::changed::Changed;
use crate::connection::{Session, at};
use crate::identifier::Id;
use crate::moment;
use crate::oplog::{self, Tail};
use engine::{Error, Kind, StreamName};
use mongodb::bson::{Bson, Timestamp, doc};
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, OnceCell};

/// How long servers keep the past that nobody has told otherwise, in seconds (<https://www.mongodb.com/docs/manual/reference/parameters/>).
const DEFAULT_KEPT: i32 = 300;
/// What is read in a second by a slow server, or under a low rate that others share: a segment that has begun must come to its end.
const SLOW_BYTES: u64 = 1 << 20;

/// How long the past is kept, if the server says so.
///
/// # Errors
/// [`Kind::Refused`] when that is not for this user to know.
pub(crate) async fn kept(session: &Session) -> Result<Duration, Error> {
    const PARAMETER: &str = "minSnapshotHistoryWindowInSeconds";
    let reply = session.run("read how long the past is kept", "admin", doc! {"getParameter": 1, PARAMETER: 1}).await?;
    let seconds = reply.get_i32(PARAMETER).unwrap_or(DEFAULT_KEPT);
    Ok(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

/// The past of a source.
#[derive(Debug)]
pub(crate) struct Past {
    database: String,
    /// What is looked for in the oplog.
    streams: BTreeSet<String>,
    moment: Timestamp,
    begun: Instant,
    kept: Duration,
    /// Whether the oplog is this user's to read, once that was asked: who may not is not sent there by an estimate.
    may_follow: OnceCell<bool>,
    /// Who reads the oplog, from when the past was over.
    tail: Mutex<Option<Tail>>,
    again: OnceLock<Again>,
}

/// What is read once more, and when.
#[derive(Debug)]
pub(crate) struct Again {
    pub time: Timestamp,
    pub changed: Arc<Changed>,
}

impl Past {
    /// Of a moment that has just been chosen.
    pub async fn of(session: &Session, database: &str, streams: BTreeSet<String>, moment: Timestamp) -> Self {
        let begun = Instant::now();
        let kept = kept(session).await.unwrap_or(Duration::from_secs(300));
        let (may_follow, tail, again) = (OnceCell::new(), Mutex::new(None), OnceLock::new());
        Self { database: database.to_owned(), streams, moment, begun, kept, may_follow, tail, again }
    }

    /// A read concern for a segment of about so many bytes that is to be read now.
    ///
    /// # Errors
    /// Whatever stands in the way of reading the oplog.
    pub async fn concern(&self, session: &Session, bytes: u64) -> Result<Bson, Error> {
        let mut tail = self.tail.lock().await;
        if tail.is_none() {
            if self.lasts(session, bytes).await {
                return Ok(at(Some(self.moment)));
            }
            *tail = Some(self.end(session));
        }
        if let Some(ended) = tail.take_if(|tail| tail.has_ended()) {
            return Err(ended.error().await);
        }
        Ok(Bson::Document(doc! {"level": "majority", "afterClusterTime": self.moment}))
    }

    /// Whether a segment of about so many bytes comes to its end while the past is surely kept.
    async fn lasts(&self, session: &Session, bytes: u64) -> bool {
        let (half, takes) = (self.kept / 2, Duration::from_secs(bytes / SLOW_BYTES));
        let elapsed = self.begun.elapsed();
        if elapsed >= half || elapsed + takes < half {
            return elapsed < half;
        }
        !*self.may_follow.get_or_init(async || oplog::is_readable(session).await).await
    }

    fn end(&self, session: &Session) -> Tail {
        tracing::warn!(
            seconds = self.begun.elapsed().as_secs(),
            kept_seconds = self.kept.as_secs(),
            "the backup takes, or may take, longer than the server keeps its past: the oplog is read for what changes, and that is read once more in the end"
        );
        Tail::begin(session, &self.database, self.streams.clone(), self.moment)
    }

    /// Says that the server has forgotten the moment, sooner than it had told.
    pub async fn is_forgotten(&self, session: &Session) {
        let mut tail = self.tail.lock().await;
        if tail.is_none() {
            *tail = Some(self.end(session));
        }
    }

    /// Ends the reading of the oplog, at a time later than everything that was read; nothing when the past has sufficed.
    ///
    /// # Errors
    /// [`Kind::Changed`] when the oplog does not reach back, or too much changed.
    pub async fn settle(&self, session: &Session) -> Result<Option<&Again>, Error> {
        let Some(tail) = self.tail.lock().await.take() else { return Ok(None) };
        // Every answer brings the newest time that was in any answer of any member before.
        let reply = session.run("ask for the time", "admin", doc! {"ping": 1}).await?;
        let newest = reply.get_document("$clusterTime").and_then(|time| time.get_timestamp("clusterTime"));
        let untold = |_| Error::new(Kind::Unsupported, "the server does not say what time of the cluster it is");
        let time = moment::take(session, Some(newest.map_err(untold)?), false).await?.ok_or_else(moment::by_itself)?;
        let changed = Arc::new(tail.until(time).await?);
        Ok(Some(self.again.get_or_init(|| Again { time, changed })))
    }

    /// What is read once more, when that is settled.
    pub fn again(&self) -> Option<&Again> {
        self.again.get()
    }
}

impl Again {
    /// Identifiers of a stream, and the time to read them at.
    pub fn of(&self, stream: &StreamName) -> (Option<&BTreeSet<Id>>, Bson) {
        (self.changed.of(stream).map(AsRef::as_ref), at(Some(self.time)))
    }
}
