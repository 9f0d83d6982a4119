//! Sessions with a server, and which server it is.
//!
//! Owns connecting (encrypted where the server offers it, unless the URL says otherwise), what every session is set to, and asking for rows
//! in the protocol's text form. Promises that values arrive as they are stored: nothing is converted to another character set or time zone
//! unless the purpose says so; and that no session gives up sooner than the job does. Refuses versions that nobody has tried.

use crate::endpoint::Endpoint;
use crate::failure::{from_mysql, map};
use crate::link::{self, Lines, Link};
use engine::{Error, Kind};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use std::time::Duration;

/// Which of the two families a server is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Product {
    Mysql,
    Mariadb,
}

impl Product {
    /// As the backup's engine is called.
    pub fn engine(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
        }
    }

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mysql => "MySQL",
            Self::Mariadb => "MariaDB",
        }
    }
}

/// Which server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    pub product: Product,
    pub version: (u32, u32, u32),
    /// As the server writes it.
    pub text: String,
}

impl Server {
    /// From what `VERSION()` says, such as `9.7.0` or `10.11.14-MariaDB-deb12-log`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let product = if text.contains("MariaDB") { Product::Mariadb } else { Product::Mysql };
        let plain = text.strip_prefix("5.5.5-").unwrap_or(text);
        let mut numbers = plain.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(a)), Some(Ok(b)), Some(Ok(c))) => Ok(Self { product, version: (a, b, c), text: plain.to_owned() }),
            _ => Err(Error::new(Kind::Unsupported, format!("the server's version {text:?} cannot be read"))),
        }
    }

    /// Whether it is MySQL of at least that version.
    pub fn is_mysql(&self, major: u32, minor: u32, patch: u32) -> bool {
        self.product == Product::Mysql && self.version >= (major, minor, patch)
    }

    pub fn is_mariadb(&self) -> bool {
        self.product == Product::Mariadb
    }

    fn assert_known(&self) -> Result<(), Error> {
        let oldest = if self.is_mariadb() { (10, 5, 0) } else { (5, 6, 0) };
        if self.version >= oldest {
            return Ok(());
        }
        let (name, (major, minor, _)) = (self.product.name(), oldest);
        Err(Error::new(
            Kind::Unsupported,
            format!("{name} {} is too old; {major}.{minor} is the oldest that this version works with", self.text),
        ))
    }
}

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Questions about the schema, answered in UTF-8.
    Look,
    /// Reading rows: bytes as they are stored.
    Read,
    /// Making things and loading rows.
    Write,
    /// Statements of a caller's own, by all rules that the server has.
    Statements,
}

/// One answer of the text protocol: a column is bytes or NULL.
#[derive(Debug, Clone)]
pub(crate) struct Record(pub Vec<Option<Vec<u8>>>);

impl Record {
    pub fn bytes(&self, at: usize) -> Option<&[u8]> {
        self.0.get(at).and_then(Option::as_deref)
    }

    /// As text; empty when it is NULL.
    pub fn text(&self, at: usize) -> String {
        self.maybe(at).unwrap_or_default()
    }

    /// As text, unless it is NULL.
    pub fn maybe(&self, at: usize) -> Option<String> {
        self.bytes(at).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// As a number, unless it is NULL or none.
    pub fn number(&self, at: usize) -> Option<u64> {
        self.maybe(at)?.parse().ok()
    }

    pub fn flag(&self, at: usize) -> bool {
        matches!(self.text(at).as_str(), "1" | "ON" | "YES" | "Y" | "on" | "yes")
    }
}

/// One session.
pub(crate) struct Session {
    link: Link,
    pub server: Server,
    /// Whether it keeps the definition of a table that it has read until its transaction ends.
    pub keeps_definitions: bool,
}

/// The mode of sessions that make things: values are taken as they are, engines are those that were asked for.
pub(crate) const WRITE_MODE: &str = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION";
/// The mode of sessions whose values the server is to judge: it refuses what it would change, as far as any mode makes it. A zero is a number, and not a wish for the next one.
const STRICT_MODE: &str = "STRICT_ALL_TABLES,STRICT_TRANS_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,\
    NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO";
/// How long a server may take to let us in.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a session of ours may stand idle while the others work, in seconds: a week.
pub(crate) const LONG_SECONDS: u32 = 604_800;

/// Opens a session and prepares it.
pub(crate) async fn connect(endpoint: &Endpoint, purpose: Purpose) -> Result<Session, Error> {
    let what = format!("connect to {} as {}", endpoint.server(), endpoint.user);
    let opening = async {
        match purpose {
            Purpose::Read => link::for_rows(endpoint).await,
            Purpose::Look | Purpose::Write | Purpose::Statements => link::by_driver(endpoint).await,
        }
    };
    let link = match tokio::time::timeout(PATIENCE, opening).await {
        Ok(link) => link.map_err(from_mysql(&what))?,
        Err(_) => {
            return Err(Error::new(Kind::Unavailable, format!("{what}: no answer within {} s", PATIENCE.as_secs()))
                .hint("is the server up and reachable from here? The run can be repeated as it is"));
        }
    };
    let unknown = Server { product: Product::Mysql, version: (0, 0, 0), text: String::new() };
    let mut session = Session { link, server: unknown, keeps_definitions: false };
    session.server = Server::parse(&session.one("read the server's version", "SELECT VERSION()").await?.text(0))?;
    session.server.assert_known()?;
    session.prepare(purpose).await?;
    Ok(session)
}

impl Session {
    async fn prepare(&mut self, purpose: Purpose) -> Result<(), Error> {
        let mut settings = vec![
            "NAMES utf8mb4".to_owned(),
            "time_zone = '+00:00'".to_owned(),
            "sql_quote_show_create = 1".to_owned(),
            format!("wait_timeout = {LONG_SECONDS}"),
            "net_write_timeout = 3600".to_owned(),
            "net_read_timeout = 3600".to_owned(),
            "group_concat_max_len = 1048576".to_owned(),
            // What a server sets for everybody may cut every answer short.
            "sql_select_limit = 18446744073709551615".to_owned(),
            "sql_big_selects = 1".to_owned(),
            "autocommit = 1".to_owned(),
        ];
        match purpose {
            Purpose::Look => settings.push("sql_mode = ''".to_owned()),
            Purpose::Read => settings.extend([
                "sql_mode = ''".to_owned(),
                "character_set_results = NULL".to_owned(),
                // Behind somebody who waits for a table we wait in vain, as long as another session of ours has it.
                "lock_wait_timeout = 60".to_owned(),
            ]),
            Purpose::Write => settings.extend([
                format!("sql_mode = '{WRITE_MODE}'"),
                "foreign_key_checks = 0".to_owned(),
                // Whoever comes after us waits behind us: the server's own patience is a day and more.
                "lock_wait_timeout = 60".to_owned(),
                "unique_checks = 0".to_owned(),
            ]),
            Purpose::Statements => settings.extend([
                format!("sql_mode = '{STRICT_MODE}'"),
                "foreign_key_checks = 1".to_owned(),
                "unique_checks = 1".to_owned(),
                "sql_safe_updates = 0".to_owned(),
            ]),
        }
        if self.server.is_mariadb() {
            if purpose == Purpose::Statements {
                settings.push("check_constraint_checks = 1".to_owned());
            }
            settings.push("max_statement_time = 0".to_owned());
            settings.push("idle_transaction_timeout = 0, idle_readonly_transaction_timeout = 0".to_owned());
        }
        if self.server.is_mysql(5, 7, 8) {
            settings.push("max_execution_time = 0".to_owned());
        }
        if self.server.is_mysql(8, 0, 3) {
            settings.push("information_schema_stats_expiry = 0".to_owned());
        }
        self.run("prepare a session", &format!("SET {}", settings.join(", "))).await?;
        self.try_settings(purpose).await
    }

    /// What helps where it is allowed. Only the server knows; a no means to go on without.
    async fn try_settings(&mut self, purpose: Purpose) -> Result<(), Error> {
        let mut tries = Vec::new();
        if purpose == Purpose::Read {
            self.keeps_definitions = self.must_keep_definitions().await?;
        }
        if purpose == Purpose::Write {
            if self.server.is_mariadb() {
                tries.push("SET SESSION check_constraint_checks = 0");
            }
            if self.server.is_mysql(8, 0, 13) {
                tries.push("SET SESSION sql_require_primary_key = 0");
            }
            if self.server.is_mysql(8, 4, 0) {
                tries.push("SET SESSION restrict_fk_on_non_standard_key = 0");
            }
            if self.server.is_mysql(8, 0, 30) {
                tries.push("SET SESSION sql_generate_invisible_primary_key = 0");
            }
        }
        for sql in tries {
            match self.link.run(sql.as_bytes()).await {
                Ok(()) | Err(mysql_async::Error::Server(_)) => {}
                Err(error) => return Err(map("prepare a session", &error)),
            }
        }
        Ok(())
    }

    /// Before MySQL 8 a TRUNCATE empties a table in place, and a snapshot then reads it as empty without an error: definitions have to be kept. MariaDB with a binary log
    /// keeps them by itself even when a savepoint is left, unless the session may say that it writes no log.
    async fn must_keep_definitions(&mut self) -> Result<bool, Error> {
        if !self.server.is_mariadb() {
            return Ok(!self.server.is_mysql(8, 0, 0));
        }
        if !self.one("read the binary log's state", "SELECT @@log_bin").await?.flag(0) {
            return Ok(false);
        }
        match self.link.run(b"SET SESSION sql_log_bin = 0").await {
            Ok(()) => Ok(false),
            Err(mysql_async::Error::Server(_)) => Ok(true),
            Err(error) => Err(map("prepare a session", &error)),
        }
    }

    /// All rows of an answer.
    pub async fn rows(&mut self, what: &str, sql: &str) -> Result<Vec<Record>, Error> {
        self.records(sql).await.map_err(from_mysql(what))
    }

    /// The same, with the driver's own error.
    pub async fn records(&mut self, sql: &str) -> Result<Vec<Record>, mysql_async::Error> {
        self.link.rows(sql).await
    }

    /// A statement that changes rows: how many, and how many warnings.
    pub async fn change(&mut self, sql: &str) -> Result<(u64, u16), mysql_async::Error> {
        let result = self.driver()?.query_iter(sql).await?;
        let said = (result.affected_rows(), result.warnings());
        result.drop_result().await?;
        Ok(said)
    }

    /// The first row of an answer.
    ///
    /// # Errors
    /// Also when there is none: something that was there a moment ago is gone.
    pub async fn one(&mut self, what: &str, sql: &str) -> Result<Record, Error> {
        let row = self.rows(what, sql).await?.into_iter().next();
        row.ok_or_else(|| Error::new(Kind::Changed, format!("{what}: the server has no answer")))
    }

    /// The first row of an answer, if there is one.
    pub async fn maybe(&mut self, what: &str, sql: &str) -> Result<Option<Record>, Error> {
        Ok(self.rows(what, sql).await?.into_iter().next())
    }

    /// A statement without an answer.
    pub async fn run(&mut self, what: &str, sql: &str) -> Result<(), Error> {
        self.link.run(sql.as_bytes()).await.map_err(from_mysql(what))
    }

    /// A statement whose bytes are in the session's own character set.
    pub async fn run_bytes(&mut self, sql: &[u8]) -> Result<(), mysql_async::Error> {
        self.link.run(sql).await
    }

    /// All rows of an answer, with the server's own error.
    pub async fn answer(&mut self, sql: &str) -> Result<Vec<Record>, mysql_async::Error> {
        self.link.rows(sql).await
    }

    /// Rows one by one, as lines.
    pub async fn lines(&mut self, sql: &str) -> Result<Lines<'_>, mysql_async::Error> {
        self.link.lines(sql).await
    }

    /// The driver's connection; sessions to read with need not have one.
    pub fn driver(&mut self) -> Result<&mut Conn, mysql_async::Error> {
        self.link.driver()
    }

    /// Which schema names without one are of.
    pub async fn enter(&mut self, schema: &str) -> Result<(), Error> {
        self.run(&format!("use {schema}"), &format!("USE {}", crate::quote::ident(schema))).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn versions_are_read_and_compared() {
        let maria = Server::parse("5.5.5-10.11.14-MariaDB-0+deb12u2-log").unwrap();
        assert_eq!((maria.product, maria.version), (Product::Mariadb, (10, 11, 14)));
        let mysql = Server::parse("9.7.0-1").unwrap();
        assert!(mysql.is_mysql(8, 0, 3) && !maria.is_mysql(5, 6, 0));
        assert!(Server::parse("5.5.62-log").unwrap().assert_known().is_err());
        assert!(Server::parse("nonsense").is_err());
    }
}
