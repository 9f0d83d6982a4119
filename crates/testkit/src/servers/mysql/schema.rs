//! Owns a test's schema on a MariaDB or MySQL server, and the few words of SQL that a test says there as `root`.
//!
//! Promises that the schema is gone when its value is, whoever still uses it. Refuses to be the product's reader: rows
//! come as the bytes that the server's text protocol has, without types.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Error, Opts, OptsBuilder, Row, Value};

use super::MysqlServer;
use crate::background;
use crate::servers::unique_name;

/// A schema of one test; dropped with it.
#[derive(Debug)]
pub struct TestSchema {
    /// The server it is on.
    pub server: Arc<MysqlServer>,
    name: String,
}

impl TestSchema {
    /// The name does not begin with `test`: MySQL 5.6 as its vendor installs it lets everyone into such schemas.
    pub(super) async fn create(server: Arc<MysqlServer>, options: &str) -> TestSchema {
        let name = unique_name("case", '_');
        run(&server.root_url(""), &format!("create database {name} {options}")).await;
        TestSchema { server, name }
    }

    /// Its name, `[a-z0-9_]`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its URL as `root`, with the password.
    pub fn url(&self) -> String {
        self.server.root_url(&self.name)
    }

    /// Its URL by way of a proxy on this machine.
    pub fn url_at_port(&self, port: u16) -> String {
        self.server.url_at_port(port, &self.name)
    }

    /// Its URL as `root` for a job that is given the password in another way.
    pub fn url_without_password(&self) -> String {
        format!("mysql://root@{}:{}/{}", self.server.host(), self.server.port(), self.name)
    }

    /// Runs SQL statements in it, as many as there are between semicolons; the server splits them, so that a routine's
    /// body is one statement. Every one must succeed.
    pub async fn exec(&self, statements: &str) {
        run(&self.url(), statements).await;
    }

    /// All rows of a query, as the server writes them as text; `None` is NULL.
    pub async fn rows(&self, query: &str) -> Vec<Vec<Option<Vec<u8>>>> {
        let mut conn = self.connection().await;
        let rows: Vec<Row> = match conn.query(query).await {
            Ok(rows) => rows,
            Err(error) => panic!("run SQL: {error}\n{}", excerpt(query)),
        };
        conn.disconnect().await.expect("leave the test server");
        rows.into_iter().map(|row| row.unwrap().into_iter().map(bytes).collect()).collect()
    }

    /// The first column of the only row, as text; NULL is the empty text.
    pub async fn one(&self, query: &str) -> String {
        let mut rows = self.rows(query).await;
        assert_eq!(rows.len(), 1, "one row expected of: {query}");
        let value = rows.swap_remove(0).swap_remove(0).unwrap_or_default();
        String::from_utf8(value).unwrap_or_else(|error| panic!("not UTF-8: {error}; of: {query}"))
    }

    /// A connection of its own as `root` with this schema as the default, on the caller's runtime.
    pub async fn connection(&self) -> Conn {
        connect(&self.url()).await
    }
}

impl Drop for TestSchema {
    fn drop(&mut self) {
        let (url, name) = (self.server.root_url(""), self.name.clone());
        background::run_in_drop(Duration::from_secs(20), async move {
            // A server that the test killed takes its schemas with it.
            let Ok(conn) = try_connect(&url).await else { return };
            if let Err(error) = remove(conn, &name).await {
                eprintln!("testkit: drop schema {name}: {error}");
            }
        });
    }
}

/// Drops a schema. Sessions that are in it go first: an open transaction of theirs would hold the drop up for ever.
async fn remove(mut conn: Conn, name: &str) -> Result<(), Error> {
    let inside = "select id from information_schema.processlist where db = ?";
    let sessions: Vec<u64> = conn.exec(inside, (name,)).await?;
    for session in sessions {
        // It may have ended meanwhile.
        drop(conn.query_drop(format!("kill {session}")).await);
    }
    conn.query_drop("set session lock_wait_timeout = 10").await?;
    conn.query_drop(format!("drop database if exists {name}")).await?;
    conn.disconnect().await
}

/// Connects over TCP on the caller's runtime, without TLS: the driver would otherwise change to the server's local
/// socket, if there happened to be one of that name on this machine.
///
/// # Errors
/// What the server or the network said.
pub async fn try_connect(url: &str) -> Result<Conn, Error> {
    Conn::new(OptsBuilder::from_opts(Opts::from_url(url)?).prefer_socket(false)).await
}

pub(super) async fn connect(url: &str) -> Conn {
    match try_connect(url).await {
        Ok(conn) => conn,
        Err(error) => panic!("connect to the test server: {error}"),
    }
}

async fn run(url: &str, statements: &str) {
    let mut conn = connect(url).await;
    if let Err(error) = conn.query_drop(statements).await {
        panic!("run SQL: {error}\n{}", excerpt(statements));
    }
    conn.disconnect().await.expect("leave the test server");
}

/// The text protocol has only NULL and bytes.
fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(bytes),
        other => panic!("a text row holds {other:?}"),
    }
}

fn excerpt(statements: &str) -> String {
    statements.chars().take(400).collect()
}
