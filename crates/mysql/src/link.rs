//! Links: what a session speaks to its server over.
//!
//! Owns the choice between the driver and our own reader of packets (`wire`), and what both can do: statements, answers as a whole, rows as lines.
//! Promises that both say the same, errors included, and that a server which `wire` does not know how to log in to is spoken to by the driver as
//! if there were nothing else. Refuses to do what only the driver can (files for `LOAD DATA`, several statements at once) over anything but the driver.

use crate::connection::Record;
use crate::endpoint::{Endpoint, TlsMode};
use crate::tsv;
use crate::wire::{self, Wire};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, Error, QueryResult, Row, TextProtocol, Value};

/// A logged-in connection.
pub(crate) enum Link {
    Driver(Conn),
    /// Several times cheaper per row; speaks the text protocol alone.
    Wire(Box<Wire>),
}

/// A link for everything but reading many rows.
pub(crate) async fn by_driver(endpoint: &Endpoint) -> Result<Link, Error> {
    let mut encrypted = endpoint.tls != TlsMode::Disabled;
    loop {
        match Conn::new(endpoint.options(encrypted)).await {
            Err(error) if encrypted && goes_on_without_tls(endpoint, &error) => encrypted = false,
            other => return other.map(Link::Driver),
        }
    }
}

/// A link for reading many rows. What a server answers to our own login is final: a second try with the same password could lock an account.
pub(crate) async fn for_rows(endpoint: &Endpoint) -> Result<Link, Error> {
    let mut encrypted = endpoint.tls != TlsMode::Disabled;
    loop {
        match Wire::connect(endpoint, encrypted).await {
            Err(error) if encrypted && goes_on_without_tls(endpoint, &error) => encrypted = false,
            Err(error) if wire::is_for_the_driver(&error) => {
                tracing::debug!(reason = %error, "rows are read by the driver");
                return by_driver(endpoint).await;
            }
            other => return other.map(|wire| Link::Wire(Box::new(wire))),
        }
    }
}

/// Neither way knows an "if the server offers it": without TLS is the second try. Servers of before 2015 speak versions of TLS that nobody should: the
/// vendor's clients go on without as well.
fn goes_on_without_tls(endpoint: &Endpoint, error: &Error) -> bool {
    endpoint.tls == TlsMode::Preferred
        && match error {
            Error::Driver(DriverError::NoClientSslFlagFromServer) => true,
            Error::Io(error) => is_tls(error),
            _ => false,
        }
}

fn is_tls(error: &mysql_async::IoError) -> bool {
    let said = error.to_string();
    said.contains("TLS")
        || said.contains("HandshakeFailure")
        || said.contains("ProtocolVersion")
        || said.contains("InvalidContentType")
}

impl Link {
    /// A statement whose answer does not matter as long as it is no error.
    pub async fn run(&mut self, sql: &[u8]) -> Result<(), Error> {
        match self {
            Self::Driver(conn) => conn.query_drop(sql).await,
            Self::Wire(wire) => wire.run(sql).await,
        }
    }

    /// All rows of an answer.
    pub async fn rows(&mut self, sql: &str) -> Result<Vec<Record>, Error> {
        match self {
            Self::Driver(conn) => {
                let rows: Vec<Row> = conn.query(sql).await?;
                Ok(rows.into_iter().map(record).collect())
            }
            Self::Wire(wire) => wire.rows(sql.as_bytes()).await,
        }
    }

    /// Asks for rows that come one by one, as lines.
    pub async fn lines(&mut self, sql: &str) -> Result<Lines<'_>, Error> {
        match self {
            Self::Driver(conn) => Ok(Lines::Driver(conn.query_iter(sql.to_owned()).await?)),
            Self::Wire(wire) => {
                wire.select(sql.as_bytes()).await?;
                Ok(Lines::Wire(wire))
            }
        }
    }

    /// The driver's connection, for what nothing else can.
    pub fn driver(&mut self) -> Result<&mut Conn, Error> {
        match self {
            Self::Driver(conn) => Ok(conn),
            Self::Wire(_) => Err(Error::Other("a session that reads rows was asked for more".into())),
        }
    }
}

/// An answer's rows.
pub(crate) enum Lines<'a> {
    Driver(QueryResult<'a, 'static, TextProtocol>),
    Wire(&'a mut Wire),
}

impl Lines<'_> {
    /// Puts the next row in place of what the line holds. False when there is none.
    ///
    /// # Errors
    /// What the server or the way to it says; the line is no row then.
    pub async fn next(&mut self, line: &mut Vec<u8>) -> Result<bool, Error> {
        line.clear();
        match self {
            Self::Wire(wire) => wire.next_line(line).await,
            Self::Driver(result) => Ok(result.next().await?.map(|row| push_row(line, &row)).is_some()),
        }
    }
}

fn push_row(line: &mut Vec<u8>, row: &Row) {
    for at in 0..row.len() {
        let value = match row.as_ref(at) {
            Some(Value::Bytes(bytes)) => Some(bytes.as_slice()),
            // The text protocol has nothing but bytes and NULL.
            _ => None,
        };
        tsv::push(line, at == 0, value);
    }
}

fn record(row: Row) -> Record {
    let bytes = |value: Option<Value>| match value {
        None | Some(Value::NULL) => None,
        Some(Value::Bytes(bytes)) => Some(bytes),
        // The text protocol sends nothing else.
        Some(other) => Some(other.as_sql(true).into_bytes()),
    };
    Record(row.unwrap_raw().into_iter().map(bytes).collect())
}
