//! Owns MariaDB and MySQL test servers: shared ones by flavour, private ones, and one schema per test.
//!
//! Promises the same settings whoever made the image, and that a flavour which only `scripts/test --all` tests is
//! skipped loudly elsewhere. Refuses to share connections: each call opens its own on the caller's runtime, because a
//! pool dies with the runtime of the test that made it.

mod schema;

pub use schema::{TestSchema, try_connect};

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use testcontainers::{ContainerRequest, GenericImage, ImageExt as _};
use tokio::sync::OnceCell;

use crate::background;
use crate::docker::{self, Container, Images};

/// Only characters that mean nothing in a URL, so that it is the same there and elsewhere.
const PASSWORD: &str = "longshore-test-password";
/// The first start makes the data directory: the slowest of them takes some ten seconds on two busy cores.
const START_LIMIT: Duration = Duration::from_secs(90);

/// What every server runs with. The binary log is on, as in the field. Commits are written to the kernel and not to the
/// disk: a killed server loses next to nothing, and a test machine's power is not pulled.
const SETTINGS: [&str; 6] = [
    "--server-id=1",
    "--log-bin=binlog",
    "--sync-binlog=0",
    "--innodb-flush-log-at-trx-commit=2",
    "--innodb-buffer-pool-size=128M",
    "--max-connections=100",
];

/// Which server: the oldest and the newest that longshore speaks to, of both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// MariaDB 10.11.
    MariaDb10,
    /// MariaDB 11.8; only by `scripts/test --all`.
    MariaDb11,
    /// MySQL 5.6; only by `scripts/test --all`.
    MySql5,
    /// MySQL 9, the newest there is.
    MySql9,
}

impl Flavour {
    /// Every flavour that has an image.
    pub const ALL: [Flavour; 4] = [Flavour::MariaDb10, Flavour::MariaDb11, Flavour::MySql5, Flavour::MySql9];

    /// Whether it is MariaDB and not MySQL.
    pub fn is_mariadb(self) -> bool {
        matches!(self, Flavour::MariaDb10 | Flavour::MariaDb11)
    }

    /// Whether this run tests it; says so when not.
    pub fn is_tested(self) -> bool {
        let always = matches!(self, Flavour::MariaDb10 | Flavour::MySql9);
        let tested = always || std::env::var("LONGSHORE_TEST_SERVERS").as_deref() == Ok("all");
        if !tested {
            crate::skipped(&format!("{self} is tested by scripts/test --all"));
        }
        tested
    }

    /// Name and tag of its image.
    pub(crate) fn image(self) -> (String, String) {
        let (family, tag) = self.name();
        let local = format!("longshore-test/{family}");
        Images::chosen().pick((family, tag), (&local, tag))
    }

    fn name(self) -> (&'static str, &'static str) {
        match self {
            Flavour::MariaDb10 => ("mariadb", "10.11"),
            Flavour::MariaDb11 => ("mariadb", "11.8"),
            Flavour::MySql5 => ("mysql", "5.6"),
            Flavour::MySql9 => ("mysql", "9"),
        }
    }

    /// What all flavours would say differently by themselves. MySQL 9 has only the row format, and utf8mb4; it takes files from clients when it is told to.
    fn settings(self) -> &'static [&'static str] {
        match self {
            Flavour::MySql9 => &["--local-infile=1"],
            _ => &["--binlog-format=ROW", "--character-set-server=utf8mb4"],
        }
    }
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (family, tag) = self.name();
        write!(f, "{family} {tag}")
    }
}

/// A MariaDB or MySQL server in a container. The user `root` may do everything; TCP connections need the password.
#[derive(Debug)]
pub struct MysqlServer {
    /// Which one.
    pub flavour: Flavour,
    /// The container's id, for `docker` commands of a test.
    pub container_id: String,
    container: Container,
}

/// The shared server of a flavour, started at first use; `None`, said loudly, for one that this run does not test.
///
/// # Panics
/// When docker or the image is absent, saying what to run.
pub async fn mysql(flavour: Flavour) -> Option<Arc<MysqlServer>> {
    static SHARED: [OnceCell<Arc<MysqlServer>>; 4] = [const { OnceCell::const_new() }; 4];
    if !flavour.is_tested() {
        return None;
    }
    let index = Flavour::ALL.iter().position(|known| *known == flavour)?;
    Some(SHARED[index].get_or_init(|| async { Arc::new(own_mysql(flavour, &[]).await) }).await.clone())
}

/// A server of this test alone, with further `settings` (arguments of the server, such as `--skip-log-bin`). Removed
/// when dropped. Asks nobody whether the flavour is tested: see `Flavour::is_tested`.
///
/// # Panics
/// As `mysql`.
pub async fn own_mysql(flavour: Flavour, settings: &[&str]) -> MysqlServer {
    let all = SETTINGS.iter().chain(flavour.settings()).chain(settings);
    let command: Vec<String> = all.map(|setting| (*setting).to_owned()).collect();
    let variable = if flavour.is_mariadb() { "MARIADB_ROOT_PASSWORD" } else { "MYSQL_ROOT_PASSWORD" };
    let configure = move |request: ContainerRequest<GenericImage>| {
        request.with_cmd(command.clone()).with_env_var(variable, PASSWORD)
    };
    let container = Container::start(flavour.image(), 3306, configure).await;
    let server = MysqlServer { flavour, container_id: container.id.clone(), container };
    server.wait_until_ready().await;
    server
}

impl MysqlServer {
    /// An address of this machine.
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// The port on `host`; stays the same over `stop` and `start`.
    pub fn port(&self) -> u16 {
        self.container.port
    }

    /// The password of `root`. It stands in a URL as it is.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// `mysql://root:password@host:port/database`; without a database when that is empty.
    pub fn root_url(&self, database: &str) -> String {
        self.url_at_port(self.port(), database)
    }

    /// The same by way of a proxy on this machine.
    pub fn url_at_port(&self, port: u16, database: &str) -> String {
        format!("mysql://root:{PASSWORD}@{}:{port}/{database}", self.host())
    }

    /// A connection as `root` without a database.
    pub async fn connection(&self) -> Conn {
        schema::connect(&self.root_url("")).await
    }

    /// A fresh, empty schema, dropped with the returned value.
    pub async fn database(self: &Arc<Self>) -> TestSchema {
        self.database_with("").await
    }

    /// The same with what may follow `CREATE DATABASE name`: a character set, a collation.
    pub async fn database_with(self: &Arc<Self>, options: &str) -> TestSchema {
        TestSchema::create(Arc::clone(self), options).await
    }

    /// Whether a schema of this name exists.
    pub async fn has_database(&self, name: &str) -> bool {
        let query = "select count(*) from information_schema.schemata where schema_name = ?";
        let mut conn = self.connection().await;
        let found: Option<u64> = conn.exec_first(query, (name,)).await.expect("look for a schema");
        conn.disconnect().await.expect("leave the test server");
        found == Some(1)
    }

    /// Ends the server as a crash does: SIGKILL, nothing flushed or said. Waits until it is gone.
    pub fn kill(&self) {
        self.container.kill();
    }

    /// Ends the server as an administrator does: sessions are closed, data is flushed. Waits until it is gone.
    pub fn stop(&self) {
        self.container.stop(30);
    }

    /// Starts it again on its data and its port after `kill` or `stop`, and waits until it answers.
    pub async fn start(&self) {
        self.container.start_again();
        self.wait_until_ready().await;
    }

    /// Freezes the server: connections stay open, nobody answers.
    pub fn pause(&self) {
        self.container.freeze();
    }

    /// Lets it go on after `pause`.
    pub fn unpause(&self) {
        self.container.thaw();
    }

    /// Runs a command inside the container as the user `mysql` and gives its standard output: the server's file system
    /// and, save for MySQL 5.6, the vendor's client and dump.
    ///
    /// # Errors
    /// The command's standard error.
    pub fn exec(&self, command: &[&str]) -> Result<String, String> {
        self.container.exec("mysql", command)
    }

    /// The same as root: for files that only root may write.
    ///
    /// # Errors
    /// The command's standard error.
    pub fn exec_as_root(&self, command: &[&str]) -> Result<String, String> {
        self.container.exec("root", command)
    }

    /// Runs a POSIX shell with the vendor's client in a container that shares this server's network, and nothing else: `folder` is its `/export`, not to be
    /// written to. Gives what it said; MySQL 5.6 has no client of its own and gets MariaDB's.
    ///
    /// # Errors
    /// The shell's standard error.
    pub fn shell_with_client(&self, folder: &Path, arguments: &[&str]) -> Result<String, String> {
        let client = if self.flavour == Flavour::MySql5 { Flavour::MariaDb10 } else { self.flavour };
        let (name, tag) = client.image();
        let (image, network) = (format!("{name}:{tag}"), format!("container:{}", self.container_id));
        let volume = format!("{}:/export:ro", folder.display());
        let options = ["run", "--rm", "--network", &network, "--volume", &volume, "--entrypoint", "sh", &image];
        docker::run(&[&options, arguments].concat())
    }

    /// A server that makes its data directory has no TCP port: the first answer is the real server's.
    async fn wait_until_ready(&self) {
        let url = self.root_url("");
        let ready = background::until(START_LIMIT, || async {
            if !self.container.is_running() {
                panic!("{} ended while starting:\n{}", self.flavour, self.container.log_tail());
            }
            let mut conn = try_connect(&url).await.ok()?;
            conn.query_drop("select 1").await.ok()?;
            conn.disconnect().await.ok()
        });
        if ready.await.is_none() {
            panic!("{} did not answer within {START_LIMIT:?}:\n{}", self.flavour, self.container.log_tail());
        }
    }
}
