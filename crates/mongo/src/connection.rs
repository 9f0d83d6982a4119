//! Sessions with a deployment, and what kind of deployment it is.
//!
//! Owns connecting, the question who answers, and commands with raw replies. Promises that a router of a sharded cluster and versions that nobody has tried are refused
//! before anything else is asked. One session is a pool of connections: whoever needs another takes a clone.

use crate::endpoint::Endpoint;
use crate::failure::from_mongo;
use engine::{Error, Kind};
use futures_util::StreamExt;
use mongodb::bson::{Bson, Document, RawDocumentBuf, Timestamp, doc};
use mongodb::options::SelectionCriteria;
use mongodb::{Client, Database};

/// The oldest version that reads several collections at one moment.
const OLDEST: (u32, u32) = (5, 0);

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub version: (u32, u32, u32),
    /// As the server writes it.
    pub text: String,
    /// The replica set's name; none for a server by itself.
    pub set: Option<String>,
}

/// A pool of connections.
#[derive(Clone)]
pub(crate) struct Session {
    pub client: Client,
    pub server: Server,
    /// Which members documents are read from, as the URL says; everything else is asked of the primary.
    pub reads: Option<SelectionCriteria>,
}

/// Opens a session.
///
/// # Errors
/// [`Kind::Unsupported`] for a sharded cluster or an old version; whatever connecting says.
pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Session, Error> {
    let what = format!("connect to {}", endpoint.server());
    let options = endpoint.options().await?;
    let reads = options.selection_criteria.clone();
    let client = Client::with_options(options).map_err(from_mongo(&what))?;
    let hello = client.database("admin").run_command(doc! {"hello": 1}).await.map_err(from_mongo(&what))?;
    if hello.get_str("msg").is_ok_and(|said| said == "isdbgrid") {
        let what = format!(
            "{} is a router of a sharded cluster, which this version cannot back up or restore",
            endpoint.server()
        );
        return Err(Error::new(Kind::Unsupported, what)
            .hint("backing shards up one by one would give each another moment; nothing was done"));
    }
    let set = hello.get_str("setName").ok().map(str::to_owned);
    let info = client.database("admin").run_command(doc! {"buildInfo": 1}).await.map_err(from_mongo(&what))?;
    let server = Server::parse(info.get_str("version").unwrap_or_default(), set)?;
    Ok(Session { client, server, reads })
}

impl Server {
    fn parse(text: &str, set: Option<String>) -> Result<Self, Error> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
        let (Some(Ok(major)), Some(Ok(minor)), patch) = (numbers.next(), numbers.next(), numbers.next()) else {
            return Err(Error::new(Kind::Unsupported, format!("the server's version {text:?} cannot be read")));
        };
        if (major, minor) < OLDEST {
            let what = format!(
                "MongoDB {text} is too old; {}.{} is the oldest that this version works with",
                OLDEST.0, OLDEST.1
            );
            return Err(Error::new(Kind::Unsupported, what));
        }
        let patch = patch.and_then(Result::ok).unwrap_or_default();
        Ok(Self { version: (major, minor, patch), text: text.to_owned(), set })
    }

    /// Whether it keeps an empty `Timestamp` as it is when asked to; elsewhere it becomes the time of the insert.
    pub fn keeps_empty_timestamps(&self) -> bool {
        let (major, minor, patch) = self.version;
        match (major, minor) {
            (5, 0) => patch >= 29,
            (6, 0) => patch >= 17,
            (7, 0) => patch >= 13,
            _ => major >= 8,
        }
    }
}

/// A reply that is a cursor, with all its documents.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub documents: Vec<RawDocumentBuf>,
    /// The server's time of the first reply; none from a server by itself.
    pub time: Option<Timestamp>,
}

impl Session {
    pub fn database(&self, name: &str) -> Database {
        self.client.database(name)
    }

    /// A command with a short reply.
    pub async fn run(&self, what: &str, database: &str, command: Document) -> Result<Document, Error> {
        self.database(database).run_command(command).await.map_err(from_mongo(what))
    }

    /// A command whose reply is a cursor; all of it.
    pub async fn all(&self, what: &str, database: &str, command: Document) -> Result<Answer, Error> {
        let cursor = self.database(database).run_cursor_command(command).batch().await;
        let mut cursor = cursor.map_err(from_mongo(what))?;
        let mut answer = Answer::default();
        while let Some(batch) = cursor.next().await {
            let batch = batch.map_err(from_mongo(what))?;
            answer.time = answer.time.or_else(|| batch.as_raw_document().get_timestamp("operationTime").ok());
            for document in batch.doc_slices().map_err(from_mongo(what))?.into_iter() {
                let document = document.ok().and_then(|value| value.as_document().map(|inner| inner.to_owned()));
                let unreadable =
                    || Error::new(Kind::Unavailable, format!("{what}: the server's answer cannot be read"));
                answer.documents.push(document.ok_or_else(unreadable)?);
            }
        }
        Ok(answer)
    }

    /// The newest time that a majority of the replica set has; `None` for a server by itself.
    pub async fn majority_time(&self) -> Result<Option<Timestamp>, Error> {
        let hello = self.run("ask for the time", "admin", doc! {"hello": 1}).await?;
        let last = hello.get_document("lastWrite").and_then(|last| last.get_document("majorityOpTime"));
        Ok(last.and_then(|time| time.get_timestamp("ts")).ok())
    }

    /// Which election made the primary that answers; nothing where there are none.
    pub async fn election(&self) -> Result<String, Error> {
        let hello = self.run("ask for the primary", "admin", doc! {"hello": 1}).await?;
        let id = hello.get_object_id("electionId").map(|id| id.to_hex()).unwrap_or_default();
        Ok(format!("{id} {}", hello.get_i32("setVersion").unwrap_or_default()))
    }

    /// The server's clock.
    pub async fn clock(&self) -> Result<mongodb::bson::DateTime, Error> {
        let hello = self.run("ask for the time", "admin", doc! {"hello": 1}).await?;
        let time = hello.get_datetime("localTime").copied();
        time.map_err(|_| Error::new(Kind::Unavailable, "the server does not say what time it is"))
    }

    /// The write concern of what must survive a failover, and of nothing else.
    pub fn majority(&self) -> Document {
        if self.server.set.is_some() {
            doc! {"w": "majority", "wtimeout": 120_000}
        } else {
            doc! {"w": 1, "j": true}
        }
    }
}

/// A read concern for everything that is read at one moment.
pub(crate) fn at(time: Option<Timestamp>) -> Bson {
    match time {
        Some(time) => Bson::Document(doc! {"level": "snapshot", "atClusterTime": time}),
        None => Bson::Document(doc! {"level": "local"}),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn versions_are_read_and_old_ones_refused() {
        let server = Server::parse("6.0.5", Some("rs0".to_owned())).unwrap();
        assert_eq!((server.version, server.keeps_empty_timestamps()), ((6, 0, 5), false));
        assert!(Server::parse("7.0.14-ent", None).unwrap().keeps_empty_timestamps());
        assert_eq!(Server::parse("4.4.29", None).unwrap_err().kind, Kind::Unsupported);
        assert_eq!(Server::parse("", None).unwrap_err().kind, Kind::Unsupported);
    }
}
