//! Loaders: one session that gives rows to the server.
//!
//! Owns `LOAD DATA LOCAL` from our own memory, its transaction, and what the server says about it. Promises that the server took every row as it was: records are counted, and
//! anything deleted, skipped or changed on the way is an error; and that a load which is cut short is never committed: what ends the server's reading looks to it like the end of the
//! data (<https://dev.mysql.com/doc/refman/9.0/en/load-data-local.html>), so the transaction is left to die with its session. Where the server takes no files, rows go in by `INSERT`.

use crate::catalog::Table;
use crate::connection::{Record, Session};
use crate::failure::{from_mysql, map};
use crate::indexes::LateIndexes;
use crate::insert::Inserter;
use crate::quote::qualified;
use crate::reader::Readable;
use async_trait::async_trait;
use bytes::Bytes;
use engine::{Build, Error, Kind, Loader, StreamName};
use futures_util::StreamExt;
use futures_util::stream;
use mysql_async::prelude::Queryable;
use std::io;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How many pieces may wait between the repository and the server.
const WAITING: usize = 4;
/// Bytes sent in one packet: a server's max_allowed_packet, 4 MiB on MySQL 5, is for these as well.
const PIECE_BYTES: usize = 512 << 10;
/// Most warnings that the server keeps for us to read.
const MOST_WARNINGS: u32 = 65_535;

/// A piece of a segment, or its good end. A channel that closes without an end means that the load was given up.
enum Piece {
    Rows(Bytes),
    End,
}

/// What `LOAD DATA` said: its counts, and the session back.
type Ended = (Box<Session>, Result<(), mysql_async::Error>);

enum State {
    Idle(Box<Session>),
    Loading(mpsc::Sender<Piece>, JoinHandle<Ended>),
    Inserting(Box<Session>, Box<Inserter>),
    /// An error has ended it.
    Gone,
}

/// Loads segments over a session of its own.
pub(crate) struct SegmentLoader {
    state: State,
    readable: Arc<Readable>,
    indexes: Arc<LateIndexes>,
    by_file: bool,
    current: Option<StreamName>,
}

/// What a session needs beside what every writing session has.
pub(crate) async fn prepare(session: &mut Session) -> Result<(), Error> {
    let what = "prepare a session for loading";
    session.run(what, "SET SESSION innodb_lock_wait_timeout = 3600").await?;
    // Since MySQL 8.4 not everybody may; fewer warnings are kept then, and more than those are refused.
    match session.run_bytes(format!("SET SESSION max_error_count = {MOST_WARNINGS}").as_bytes()).await {
        Ok(()) | Err(mysql_async::Error::Server(_)) => {}
        Err(error) => return Err(map(what, &error)),
    }
    if session.server.is_mariadb() && session.server.version >= (10, 11, 0) {
        session.run(what, "SET SESSION system_versioning_insert_history = 1").await?;
    }
    Ok(())
}

impl SegmentLoader {
    /// Over this session; `by_file` where the server takes `LOAD DATA LOCAL`.
    pub fn new(session: Session, readable: Arc<Readable>, indexes: Arc<LateIndexes>, by_file: bool) -> Self {
        Self { state: State::Idle(Box::new(session)), readable, indexes, by_file, current: None }
    }

    fn table(&self) -> Result<&Table, Error> {
        self.readable.table(self.current.as_ref().ok_or_else(out_of_order)?)
    }

    fn what(&self) -> String {
        format!("load {}", self.current.as_ref().map_or("rows", StreamName::as_str))
    }

    fn idle(&mut self) -> Result<&mut Session, Error> {
        match &mut self.state {
            State::Idle(session) => Ok(session),
            _ => Err(out_of_order()),
        }
    }

    /// Why the server stopped reading.
    async fn broken(&mut self) -> Error {
        let what = self.what();
        match std::mem::replace(&mut self.state, State::Gone) {
            State::Loading(sender, task) => {
                drop(sender);
                match task.await {
                    Ok((_, Err(error))) => map(&what, &error),
                    Ok((_, Ok(()))) => {
                        Error::new(Kind::Internal, format!("{what}: the server ended before the rows did"))
                    }
                    Err(error) => Error::new(Kind::Internal, format!("{what}: {error}")),
                }
            }
            _ => out_of_order(),
        }
    }

    /// Ends the file, and takes the session back with its counts.
    async fn end_file(&mut self) -> Result<u64, Error> {
        let what = self.what();
        let State::Loading(sender, task) = std::mem::replace(&mut self.state, State::Gone) else {
            return Err(out_of_order());
        };
        // A server that went away is found out below, with its reason.
        drop(sender.send(Piece::End).await);
        drop(sender);
        let ended = task.await.map_err(|e| Error::new(Kind::Internal, format!("{what}: {e}")))?;
        let (mut session, result) = ended;
        result.map_err(from_mysql(&what))?;
        let info = session.driver().map_err(from_mysql(&what))?.info().into_owned();
        let counts = Counts::parse(&info)
            .ok_or_else(|| Error::new(Kind::Internal, format!("{what}: the server says {info:?}")))?;
        if counts.warnings > 0 {
            assert_harmless(&mut session, self.table()?, counts.warnings, &what).await?;
        }
        if counts.deleted + counts.skipped > 0 {
            let what = format!("{what}: the server left out {} rows and replaced {}", counts.skipped, counts.deleted);
            return Err(
                Error::new(Kind::Data, what).hint("two rows have the same key there, or a row does not fit the table")
            );
        }
        self.state = State::Idle(session);
        Ok(counts.records)
    }
}

fn out_of_order() -> Error {
    Error::new(Kind::Internal, "a loader was used out of order")
}

/// The statement that reads a file of ours into the table.
fn statement(schema: &str, table: &Table) -> String {
    load_statement("longshore", &qualified(schema, &table.name), table)
}

/// The statement that reads a file into a table of that name, as SQL writes it.
pub(crate) fn load_statement(file: &str, into: &str, table: &Table) -> String {
    let (mut columns, mut sets) = (Vec::new(), Vec::new());
    for (number, column) in table.columns.iter().enumerate() {
        let (place, set) = column.load(number);
        columns.push(place);
        sets.extend(set);
    }
    if columns.is_empty() {
        columns.push("@nothing".to_owned());
    }
    let sets = if sets.is_empty() { String::new() } else { format!(" SET {}", sets.join(", ")) };
    format!(
        "LOAD DATA LOCAL INFILE '{file}' INTO TABLE {into} CHARACTER SET binary FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' \
         LINES TERMINATED BY '\\n' ({}){sets}",
        columns.join(", ")
    )
}

/// Runs the statement with what comes through the channel for a file.
fn start(mut session: Box<Session>, sql: String) -> (mpsc::Sender<Piece>, JoinHandle<Ended>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let task = tokio::spawn(async move {
        let result = match session.driver() {
            Ok(conn) => {
                conn.set_infile_handler(async move { Ok(file(receiver).boxed()) });
                let result = conn.query_drop(sql).await;
                // A statement that is refused before it asks for its file leaves the handler in the session, and in it the channel's
                // end: whoever sends rows would wait for ever. This takes its place.
                conn.set_infile_handler(async { Err(mysql_async::LocalInfileError::NoHandler.into()) });
                result
            }
            Err(error) => Err(error),
        };
        (session, result)
    });
    (sender, task)
}

/// The channel as a file: it ends well only when its end was sent.
fn file(receiver: mpsc::Receiver<Piece>) -> impl futures_util::Stream<Item = io::Result<Bytes>> + Send {
    stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Piece::Rows(bytes)) => Some((Ok(bytes), Some(receiver))),
            Some(Piece::End) => None,
            None => Some((Err(io::Error::other("the rows were given up")), None)),
        }
    })
}

#[async_trait]
impl Loader for SegmentLoader {
    async fn begin(&mut self, stream: &StreamName, _whole: bool) -> Result<(), Error> {
        let unknown =
            || Error::new(Kind::Data, format!("the backup holds rows of {stream}, which its catalog does not name"));
        self.readable.table(stream).map_err(|_| unknown())?;
        self.current = Some(stream.clone());
        // A server that insists on GTIDs refuses other engines' tables inside of transactions.
        if !self.table()?.is_transactional() {
            return Ok(());
        }
        let what = self.what();
        self.idle()?.run(&what, "START TRANSACTION").await
    }

    async fn begin_segment(&mut self, _range: &str) -> Result<(), Error> {
        let table = self.table()?;
        let schema = self.readable.schema.clone();
        let by_file = self.by_file && !table.by_insert_only();
        let (sql, inserter) = (statement(&schema, table), Inserter::new(&schema, table));
        let State::Idle(mut session) = std::mem::replace(&mut self.state, State::Gone) else {
            return Err(out_of_order());
        };
        self.state = if by_file {
            let (sender, task) = start(session, sql);
            State::Loading(sender, task)
        } else {
            let inserter = inserter.ready(&mut session).await?;
            State::Inserting(session, Box::new(inserter))
        };
        Ok(())
    }

    async fn write(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        match &mut self.state {
            State::Loading(sender, _) => {
                let mut rest = Bytes::from(bytes);
                while !rest.is_empty() {
                    let piece = rest.split_to(rest.len().min(PIECE_BYTES));
                    if sender.send(Piece::Rows(piece)).await.is_err() {
                        return Err(self.broken().await);
                    }
                }
                Ok(())
            }
            State::Inserting(session, inserter) => inserter.write(session, &bytes).await,
            _ => Err(out_of_order()),
        }
    }

    async fn end_segment(&mut self) -> Result<u64, Error> {
        if matches!(self.state, State::Loading(..)) {
            return self.end_file().await;
        }
        let State::Inserting(mut session, inserter) = std::mem::replace(&mut self.state, State::Gone) else {
            return Err(out_of_order());
        };
        let rows = inserter.end(&mut session).await?;
        self.state = State::Idle(session);
        Ok(rows)
    }

    async fn commit(&mut self) -> Result<(), Error> {
        let what = self.what();
        self.current = None;
        self.idle()?.run(&what, "COMMIT").await
    }

    async fn build(&mut self, build: &Build) -> Result<(), Error> {
        let (indexes, schema) = (Arc::clone(&self.indexes), self.readable.schema.clone());
        indexes.build(self.idle()?, &schema, build).await
    }
}

/// What the server says after a load: `Records: 2  Deleted: 0  Skipped: 0  Warnings: 0`.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    records: u64,
    deleted: u64,
    skipped: u64,
    warnings: u64,
}

impl Counts {
    fn parse(info: &str) -> Option<Self> {
        let mut words = info.split_whitespace();
        let mut number = |name: &str| (words.next()? == name).then(|| words.next()?.parse().ok())?;
        Some(Self {
            records: number("Records:")?,
            deleted: number("Deleted:")?,
            skipped: number("Skipped:")?,
            warnings: number("Warnings:")?,
        })
    }
}

/// Some values make the server warn though it stores exactly them: an ENUM's error value (1265), the largest FLOAT (1264).
/// Warnings that the server did not keep are not known to be such.
pub(crate) async fn assert_harmless(session: &mut Session, table: &Table, count: u64, what: &str) -> Result<(), Error> {
    use crate::columns::Form;
    // Messages name the column: only that one's values may look changed and be the same.
    let of = |form: Form, message: &str| {
        let named = |name: &str| message.contains(&format!("column '{name}'"));
        table.columns.iter().any(|column| column.form == form && named(&column.name))
    };
    let rows = session.rows(what, "SHOW WARNINGS").await?;
    let code = |row: &Record| row.number(1).and_then(|code| u16::try_from(code).ok()).unwrap_or_default();
    let warnings: Vec<(u16, String)> = rows.iter().map(|row| (code(row), row.text(2))).collect();
    let harmless = |code: u16, message: &str| {
        (code == 1265 && of(Form::Number, message))
            || (code == 1264 && of(Form::Double, message))
            // MariaDB: rows of the past go into the last partition for them, which is full.
            || (code == 4114 && table.history.is_some())
    };
    let shown = warnings.len() as u64;
    let Some((code, message)) = warnings.into_iter().find(|(code, message)| !harmless(*code, message)) else {
        if count <= shown {
            return Ok(());
        }
        let what = format!("{what}: the server warned {count} times and shows {shown} of the warnings");
        return Err(Error::new(Kind::Data, what).hint(
            "a row may have been changed on its way in; grant the user SESSION_VARIABLES_ADMIN, or turn the server's local_infile off: rows then go in by smaller statements; nothing was published",
        ));
    };
    let error = mysql_async::Error::Server(mysql_async::ServerError { code, message, state: String::new() });
    let said = map(&format!("{what}: a row was changed on its way in"), &error);
    Err(Error { kind: Kind::Data, ..said }.hint("the server did not take the rows as they are; nothing was published"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_and_nothing_else_is() {
        let counts = Counts::parse("Records: 12  Deleted: 0  Skipped: 1  Warnings: 2");
        assert_eq!(counts, Some(Counts { records: 12, deleted: 0, skipped: 1, warnings: 2 }));
        for wrong in ["", "Rows matched: 1  Changed: 1  Warnings: 0", "Records: x  Deleted: 0  Skipped: 0  Warnings: 0"]
        {
            assert_eq!(Counts::parse(wrong), None);
        }
    }

    #[tokio::test]
    async fn a_file_ends_well_only_when_its_end_was_sent() {
        let (sender, receiver) = mpsc::channel(WAITING);
        let read = tokio::spawn(file(receiver).collect::<Vec<_>>());
        drop(sender.send(Piece::Rows(Bytes::from_static(b"1\n"))).await);
        drop(sender);
        let pieces = read.await.unwrap_or_default();
        assert!(matches!(pieces.as_slice(), [Ok(_), Err(_)]), "{pieces:?}");
        let (sender, receiver) = mpsc::channel(WAITING);
        let read = tokio::spawn(file(receiver).collect::<Vec<_>>());
        drop(sender.send(Piece::End).await);
        assert!(read.await.unwrap_or_default().is_empty());
    }
}
