//! Connections: one session on the server, with every setting pinned that changes what rows look like.
//!
//! Owns connecting and the settings. Promises that rows read over any of these sessions have the same text on every server and
//! at every time, that no timeout of the role's or the database's cuts a backup short, that a dead peer is noticed, and that a
//! session which is given up does not go on in the background.

use crate::endpoint::{Endpoint, TlsMode};
use crate::failure::from_postgres;
use crate::quote::ident;
use crate::tls;
use engine::{Error, Kind};
use std::ops::Deref;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config};

/// Settings of every session. The first group fixes the text of values, as it is written and as it is read, and thereby the
/// digests; `row_security` makes a
/// hidden row an error instead of an absence; sequential scans in block order and without parallel workers keep rows in
/// a stable order, so that unchanged pages make unchanged chunks.
const SETTINGS: &[(&str, &str)] = &[
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("xmlbinary", "base64"),
    ("xmloption", "content"),
    ("array_nulls", "on"),
    ("quote_all_identifiers", "off"),
    ("standard_conforming_strings", "on"),
    ("transform_null_equals", "off"),
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
    ("row_security", "off"),
    ("synchronize_seqscans", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("jit", "off"),
    ("statement_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("idle_session_timeout", "0"),
    ("default_transaction_read_only", "off"),
    ("synchronous_commit", "off"),
    ("client_min_messages", "error"),
];

/// Settings that have nothing to do with how values are read or how long things take.
const NOT_FOR_SCRIPTS: &[&str] =
    &["row_security", "synchronize_seqscans", "max_parallel_workers_per_gather", "jit", "synchronous_commit"];

/// The same settings for a program that starts sessions of its own, as `PGOPTIONS` wants them.
pub(crate) fn as_options() -> String {
    let all = SETTINGS.iter().filter(|(name, _)| !NOT_FOR_SCRIPTS.contains(name));
    all.map(|(name, value)| format!("-c {name}={}", value.replace(' ', "\\ "))).collect::<Vec<_>>().join(" ")
}

/// Leaves the planner no way to read a table but in page order, by range where one is given; and no reason to look into the
/// conditions of checks, whose functions may need a search path.
pub(crate) const RANGE_SCANS: &str = "SET enable_seqscan = off; SET enable_indexscan = off; SET enable_bitmapscan = off; \
     SET enable_indexonlyscan = off; SET constraint_exclusion = off;";

/// What a silent session begins with: later it would be too late for triggers that fire at the beginning.
pub(crate) const SILENT: &str = "-c event_triggers=off";

/// Whether sessions of this role may be silent there: the setting exists from version 17 on, and is not everybody's.
pub(crate) async fn may_be_silent(client: &Client, major: u32) -> Result<bool, Error> {
    if major < 17 {
        return Ok(false);
    }
    let sql = "SELECT pg_catalog.has_parameter_privilege('event_triggers', 'SET')";
    Ok(client.query_one(sql, &[]).await.map_err(from_postgres("ask for the right to turn event triggers off"))?.get(0))
}

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Looking around and holding the snapshot: names resolve nowhere but where they are qualified.
    Lead,
    /// Reading rows: the same, and ranges of pages are scanned as such.
    Read,
    /// Loading and finishing: the database's own search path, for functions that need it.
    Write,
}

/// A session that ends at the server, too, when it is dropped. A driver's client that is dropped in the middle of a COPY
/// would go on receiving until the last row; that is cut off here, after a moment for saying goodbye.
pub(crate) struct Session {
    client: Client,
    /// Dropped with the session: the task that drives the connection sees it.
    _alive: Option<oneshot::Sender<()>>,
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl From<Client> for Session {
    fn from(client: Client) -> Self {
        Self { client, _alive: None }
    }
}

/// How long a dropped session may take to end by itself.
const FAREWELL: Duration = Duration::from_secs(1);

/// As [`connect`], for a session that may be given up in the middle of its work.
pub(crate) async fn connect_session(
    endpoint: &Endpoint,
    purpose: Purpose,
    lock_timeout_seconds: u64,
) -> Result<Session, Error> {
    let (alive, dropped) = oneshot::channel();
    let client = dial(endpoint, None, Some(dropped)).await?;
    prepare(&client, endpoint, purpose, lock_timeout_seconds).await?;
    Ok(Session { client, _alive: Some(alive) })
}

/// Connects and pins the settings. `lock_timeout_seconds` bounds waits for locks; 0 waits for ever.
pub(crate) async fn connect(endpoint: &Endpoint, purpose: Purpose, lock_timeout_seconds: u64) -> Result<Client, Error> {
    let client = dial(endpoint, None, None).await?;
    prepare(&client, endpoint, purpose, lock_timeout_seconds).await?;
    Ok(client)
}

/// Connects and changes nothing. `options` are settings of the server's for the start of the session; the connection is cut
/// soon after `dropped` says that nobody wants it any more.
pub(crate) async fn dial(
    endpoint: &Endpoint,
    options: Option<&str>,
    dropped: Option<oneshot::Receiver<()>>,
) -> Result<Client, Error> {
    let mut config = Config::new();
    config
        .host(&endpoint.host)
        .port(endpoint.port)
        .user(&endpoint.user)
        .dbname(&endpoint.database)
        .application_name("longshore")
        .connect_timeout(Duration::from_secs(15))
        .keepalives_idle(Duration::from_secs(30))
        .keepalives_interval(Duration::from_secs(10))
        .keepalives_retries(6)
        .tcp_user_timeout(Duration::from_secs(120))
        .ssl_mode(match endpoint.tls {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
        });
    if let Some(password) = &endpoint.password {
        config.password(password.as_str());
    }
    if let Some(options) = options.or(endpoint.silent.then_some(SILENT)) {
        config.options(options);
    }
    let what = format!("connect to {endpoint}");
    let (client, connection) = config.connect(tls::connector(endpoint)?).await.map_err(from_postgres(what))?;
    tokio::spawn(async move {
        let mut connection = std::pin::pin!(connection);
        let dropped = async {
            match dropped {
                // Nothing is ever sent: this ends when the other side is dropped.
                Some(dropped) => drop(dropped.await),
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = dropped => tokio::time::timeout(FAREWELL, connection).await.unwrap_or(Ok(())),
        };
        // The connection also ends when the server goes away; whoever waits on the client then sees the error.
        if let Err(error) = ended {
            tracing::debug!(%error, "a database connection ended");
        }
    });
    Ok(client)
}

async fn prepare(
    client: &Client,
    endpoint: &Endpoint,
    purpose: Purpose,
    lock_timeout_seconds: u64,
) -> Result<(), Error> {
    let mut sql: String = SETTINGS.iter().map(|(name, value)| format!("SET {name} = '{value}';")).collect();
    // Known from version 17 on: set where it exists.
    sql.push_str("SELECT set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout';");
    sql.push_str(&format!("SET lock_timeout = '{lock_timeout_seconds}s';"));
    if let Some(role) = &endpoint.acting_role {
        sql.push_str(&format!("SET ROLE {};", ident(role)));
    }
    if purpose != Purpose::Write {
        sql.push_str("SET search_path = '';");
    }
    if purpose == Purpose::Read {
        sql.push_str(RANGE_SCANS);
    }
    client.batch_execute(&sql).await.map_err(from_postgres(format!("prepare the session with {endpoint}")))
}

/// The server's major version, such as 15.
pub(crate) async fn major_version(client: &Client) -> Result<u32, Error> {
    let row = client
        .query_one("SELECT current_setting('server_version_num')", &[])
        .await
        .map_err(from_postgres("read the server's version"))?;
    let number: String = row.get(0);
    let number: u32 = number.parse().map_err(|_| Error::new(Kind::Internal, "the server's version is not a number"))?;
    Ok(number / 10_000)
}

/// A transaction for several sessions to see the same moment in.
pub(crate) const BEGIN_SNAPSHOT: &str = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";
