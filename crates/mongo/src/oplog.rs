//! The oplog: which documents changed since a time.
//!
//! Owns reading it, from the time at which a backup was to be, on and on until the time at which it is. Promises that every insert, update and delete of the database's collections is seen, those in transactions too, or
//! that there is an error: an oplog which has dropped what was not read yet is one. Refuses to apply anything. Its entries: <https://github.com/mongodb/mongo/blob/master/src/mongo/db/repl/oplog_entry.idl>.
//!
//! An answer counts only from where it can be seen that nothing is missing before: each begins with the entry that the one before ended with, on the same member. A time of the cluster is that of an entry.

use crate::changed::Changed;
use crate::connection::Session;
use crate::identifier::id_of;
use engine::{Error, Kind};
use mongodb::bson::{Document, RawDocument, RawDocumentBuf, Timestamp, doc};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often it is read.
const PAUSE: Duration = Duration::from_secs(1);
/// Entries of one answer, which is held in memory: one of a transaction names all its operations.
const MOST: i64 = 200;
/// How long the server may be away.
const PATIENCE: Duration = Duration::from_secs(60);
const WHAT: &str = "read which documents changed (local.oplog.rs)";

/// Reads the oplog until it is dropped.
#[derive(Debug)]
pub(crate) struct Tail {
    end: watch::Sender<Option<Timestamp>>,
    task: JoinHandle<Result<Changed, Error>>,
}

/// How far it is read.
#[derive(Debug)]
struct Progress {
    database: String,
    /// Streams whose changes count: names of what holds documents.
    streams: BTreeSet<String>,
    from: Timestamp,
    /// The last entry that was read.
    to: Timestamp,
    changed: Changed,
    /// Entries that say that others belong to them, which may be older than `from`.
    chains: Vec<Timestamp>,
}

impl Tail {
    /// Begins at a time, with what was written right after it.
    pub fn begin(session: &Session, database: &str, streams: BTreeSet<String>, from: Timestamp) -> Self {
        let progress = Progress::new(database, streams, from);
        let (end, told) = watch::channel(None);
        Self { end, task: tokio::spawn(follow(session.clone(), progress, told)) }
    }

    /// Whether it could not go on.
    pub fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Why not.
    pub async fn error(self) -> Error {
        self.outcome().await.err().unwrap_or_else(|| Error::new(Kind::Internal, "the oplog was read to its end"))
    }

    /// Everything that changed until `time`, which is that of an entry, and which a majority has.
    ///
    /// # Errors
    /// [`Kind::Refused`] when the user may not read it; [`Kind::Changed`] when it does not reach back so far, or too much changed.
    pub async fn until(self, time: Timestamp) -> Result<Changed, Error> {
        self.end.send_replace(Some(time));
        self.outcome().await
    }

    async fn outcome(mut self) -> Result<Changed, Error> {
        (&mut self.task).await.map_err(|e| Error::new(Kind::Internal, "who read the oplog died").because(e))?
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn follow(
    session: Session,
    mut progress: Progress,
    mut told: watch::Receiver<Option<Timestamp>>,
) -> Result<Changed, Error> {
    let mut answered = Instant::now();
    loop {
        let end = *told.borrow_and_update();
        match progress.step(&session, end).await {
            Ok(()) => answered = Instant::now(),
            // A server that does not answer now may do so the next time; what was lost meanwhile is seen then.
            Err(error) if error.kind == Kind::Unavailable && answered.elapsed() < PATIENCE => {}
            Err(error) => return Err(error),
        }
        if end.is_some_and(|end| order(progress.to) >= order(end)) {
            return Ok(progress.changed);
        }
        tokio::select! {
            () = tokio::time::sleep(PAUSE) => {}
            changed = told.changed() => if changed.is_err() { return Err(Error::new(Kind::Interrupted, WHAT)) },
        }
    }
}

/// Times in their order.
fn order(time: Timestamp) -> (u32, u32) {
    (time.time, time.increment)
}

/// Whether this user may read it; `true` as well where nobody answers now.
pub(crate) async fn is_readable(session: &Session) -> bool {
    let command = doc! {"find": "oplog.rs", "projection": {"_id": 0, "ts": 1}, "limit": 1};
    !session.all(WHAT, "local", command).await.is_err_and(|error| error.kind == Kind::Refused)
}

/// What an entry is asked for: of documents their identifiers alone.
fn shown() -> Document {
    // A document may have a member of that name, too.
    let of_command = |path: &str| doc! {"$cond": [{"$eq": ["$op", "c"]}, path, "$$REMOVE"]};
    doc! {
        "_id": 0, "ts": 1, "op": 1, "ns": 1, "o._id": 1, "o2._id": 1, "prevOpTime.ts": 1, "o.commitTransaction": 1,
        "o.renameCollection": of_command("$o.renameCollection"), "o.to": of_command("$o.to"),
        "o.applyOps.op": 1, "o.applyOps.ns": 1, "o.applyOps.o._id": 1, "o.applyOps.o2._id": 1,
    }
}

/// `known` is the time of an entry that was seen: a member that a majority told less about is to wait until it was told that.
async fn find(session: &Session, filter: Document, known: Timestamp) -> Result<Vec<RawDocumentBuf>, Error> {
    let command = doc! {
        "find": "oplog.rs", "filter": filter, "projection": shown(), "limit": MOST,
        "readConcern": {"level": "majority", "afterClusterTime": known},
    };
    let answer = session.all(WHAT, "local", command).await.map_err(|error| match error.kind {
        Kind::Refused => error.hint("the backup takes longer than the server keeps its past, and has to see what changed: grant the role backup on admin (with the action getParameter alone, a higher minSnapshotHistoryWindowInSeconds is seen, too)"),
        _ => error,
    })?;
    Ok(answer.documents)
}

fn lost() -> Error {
    let what = "the oplog does not reach back to the beginning of the backup any more";
    Error::new(Kind::Changed, what).hint(
        "give it more room (replSetResizeOplog), raise minSnapshotHistoryWindowInSeconds, or read with more workers",
    )
}

fn unreadable() -> Error {
    Error::new(Kind::Unsupported, "an entry of the oplog cannot be read; please report this")
}

impl Progress {
    fn new(database: &str, streams: BTreeSet<String>, from: Timestamp) -> Self {
        let (database, changed) = (database.to_owned(), Changed::default());
        Self { database, streams, from, to: from, changed, chains: Vec::new() }
    }

    /// Reads what a majority has by now. May be repeated after an error.
    async fn step(&mut self, session: &Session, end: Option<Timestamp>) -> Result<(), Error> {
        loop {
            let now = session.majority_time().await?.unwrap_or(self.to);
            let answer = find(session, self.wanted(now, end), self.to).await?;
            let entries = self.after(&answer)?;
            for entry in entries {
                self.note(entry)?;
            }
            self.follow_chains(session).await?;
            let last = entries.last().and_then(|entry| entry.get_timestamp("ts").ok());
            self.to = last.unwrap_or(self.to);
            if i64::try_from(answer.len()).unwrap_or_default() < MOST {
                return Ok(());
            }
        }
    }

    /// The last entry that is known, ours since, and entries at times that are waited for, whosever they are.
    fn wanted(&self, now: Timestamp, end: Option<Timestamp>) -> Document {
        let (first, behind) = (format!("{}.", self.database), format!("{}/", self.database));
        let mut which = vec![
            doc! {"ns": {"$gte": first, "$lt": behind}},
            doc! {"op": "c", "o.applyOps": {"$exists": true}},
            doc! {"op": "c", "o.commitTransaction": {"$exists": true}},
            doc! {"ts": {"$in": [self.to, now]}},
        ];
        which.extend(end.map(|end| doc! {"ts": end}));
        doc! {"ts": {"$gte": self.to}, "$or": which}
    }

    /// What comes behind the last entry that is known, which has to be there.
    fn after<'a>(&self, answer: &'a [RawDocumentBuf]) -> Result<&'a [RawDocumentBuf], Error> {
        match answer.split_first() {
            Some((known, rest)) if known.get_timestamp("ts").ok() == Some(self.to) => Ok(rest),
            _ => Err(lost()),
        }
    }

    /// Reads the older parts of what came to its end since.
    async fn follow_chains(&mut self, session: &Session) -> Result<(), Error> {
        while let Some(&time) = self.chains.last() {
            let found = find(session, doc! {"ts": time}, self.to).await?;
            let entry = found.first().ok_or_else(lost)?;
            self.chains.pop();
            self.note(entry)?;
        }
        Ok(())
    }

    /// Takes an entry's identifiers; of a transaction those of all its operations, whether it came to its end or not: what is read again is what there is.
    fn note(&mut self, entry: &RawDocument) -> Result<(), Error> {
        let op = entry.get_str("op").map_err(|_| unreadable())?;
        if op == "c" {
            return self.note_command(entry);
        }
        let holder = entry.get_str("ns").ok().and_then(|ns| ns.strip_prefix(&self.database)?.strip_prefix('.'));
        let Some(holder) = holder.filter(|holder| self.streams.contains(*holder)) else { return Ok(()) };
        let (holder, named_in) = match op {
            "i" | "d" => (holder.to_owned(), "o"),
            "u" => (holder.to_owned(), "o2"),
            "n" => return Ok(()),
            _ => return Err(unreadable()),
        };
        let id = entry.get_document(named_in).ok().and_then(id_of).ok_or_else(unreadable)?;
        self.changed.add(&holder, id)
    }

    fn note_command(&mut self, entry: &RawDocument) -> Result<(), Error> {
        let Ok(what) = entry.get_document("o") else { return Ok(()) };
        if let Some(name) = self.renamed(what) {
            let what = format!("{name} was renamed while the database was read");
            return Err(Error::new(Kind::Changed, what).hint("run it again when nobody renames collections"));
        }
        let inner = what.get_array("applyOps").ok();
        // A transaction's first parts may stand before the moment, and it has come to its end after it.
        let before = entry.get_document("prevOpTime").and_then(|before| before.get_timestamp("ts")).ok();
        let is_of_one = inner.is_some() || what.get("commitTransaction").is_ok_and(|it| it.is_some());
        let is_older = |time: &Timestamp| order(*time) > (0, 0) && order(*time) <= order(self.from);
        self.chains.extend(before.filter(is_older).filter(|_| is_of_one));
        for one in inner.into_iter().flatten() {
            let one = one.ok().and_then(|one| one.as_document()).ok_or_else(unreadable)?;
            self.note(one)?;
        }
        Ok(())
    }

    /// Which of our collections got or lost its name. Back under it, it looks as before, and what was written meanwhile stands under the other name.
    fn renamed<'a>(&self, what: &'a RawDocument) -> Option<&'a str> {
        let names = [what.get_str("renameCollection").ok()?, what.get_str("to").ok()?];
        let ours = names.into_iter().filter_map(|ns| ns.strip_prefix(&self.database)?.strip_prefix('.'));
        ours.into_iter().find(|name| self.streams.contains(*name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use engine::StreamName;
    use mongodb::bson::rawdoc;

    fn progress() -> Progress {
        let streams = BTreeSet::from(["t".to_owned(), "system.buckets.m".to_owned()]);
        Progress::new("a.b", streams, Timestamp { time: 5, increment: 1 })
    }

    #[test]
    fn every_operation_is_seen_and_no_stranger_is() {
        let mut progress = progress();
        for entry in [
            rawdoc! {"op": "i", "ns": "a.b.t", "o": {"_id": 1}},
            rawdoc! {"op": "d", "ns": "a.b.t", "o": {"_id": 2}},
            rawdoc! {"op": "u", "ns": "a.b.system.buckets.m", "o": {}, "o2": {"_id": 3}},
            rawdoc! {"op": "i", "ns": "a.b.other", "o": {"_id": 4}},
            rawdoc! {"op": "i", "ns": "a.bb.t", "o": {"_id": 5}},
            rawdoc! {"op": "n", "ns": ""},
            rawdoc! {"op": "c", "ns": "a.b.$cmd", "o": {}},
            rawdoc! {"op": "c", "ns": "admin.$cmd", "o": {"applyOps": [{"op": "u", "ns": "a.b.t", "o2": {"_id": 6}}, {"op": "i", "ns": "x.t", "o": {"_id": 7}}]}},
        ] {
            progress.note(&entry).unwrap();
        }
        let ids = |stream: &str| progress.changed.of(&StreamName::new(stream)).unwrap().len();
        assert_eq!((ids("t"), ids("system.buckets.m")), (3, 1));
        for unknown in
            [rawdoc! {"op": "u", "ns": "a.b.t", "o": {}}, rawdoc! {"op": "x", "ns": "a.b.t", "o": {"_id": 1}}]
        {
            assert_eq!(progress.note(&unknown).unwrap_err().kind, Kind::Unsupported);
        }
    }

    #[test]
    fn a_name_that_goes_or_comes_ends_it() {
        let mut progress = progress();
        let rename =
            |from: &str, to: &str| rawdoc! {"op": "c", "ns": "a.b.$cmd", "o": {"renameCollection": from, "to": to}};
        for (from, to) in [("a.b.t", "a.b.x"), ("a.b.x", "a.b.t")] {
            assert_eq!(progress.note(&rename(from, to)).unwrap_err().kind, Kind::Changed);
        }
        progress.note(&rename("a.b.x", "a.b.y")).unwrap();
        progress.note(&rename("a.t", "a.y")).unwrap();
    }

    #[test]
    fn parts_before_the_moment_are_looked_for() {
        let mut progress = progress();
        let at = |time| Timestamp { time, increment: 1 };
        for (time, command) in [
            (4, rawdoc! {"applyOps": []}),
            (3, rawdoc! {"commitTransaction": 1}),
            (6, rawdoc! {"applyOps": []}),
            (0, rawdoc! {"commitTransaction": 1}),
            (2, rawdoc! {"abortTransaction": 1}),
        ] {
            let before = Timestamp { increment: u32::from(time > 0), ..at(time) };
            progress
                .note(&rawdoc! {"op": "c", "ns": "admin.$cmd", "o": command, "prevOpTime": {"ts": before}})
                .unwrap();
        }
        assert_eq!(progress.chains, [at(4), at(3)]);
    }

    #[test]
    fn an_answer_counts_from_the_entry_that_is_known() {
        let progress = progress();
        let entry = |time| rawdoc! {"ts": Timestamp { time, increment: 1 }};
        assert_eq!(progress.after(&[entry(5), entry(6)]).unwrap().len(), 1);
        for missing in [vec![], vec![entry(6)]] {
            assert_eq!(progress.after(&missing).unwrap_err().kind, Kind::Changed);
        }
    }
}
