//! Owns PostgreSQL test servers: shared ones by major version, private ones, and one database per test.

use std::sync::Arc;
use std::time::Duration;

use testcontainers::{ContainerRequest, GenericImage, ImageExt as _};
use tokio::sync::OnceCell;

use super::unique_name;
use crate::docker::{Container, Images};
use crate::{background, sql};

/// The major versions that have an image.
pub const VERSIONS: [u16; 3] = [15, 17, 18];
pub(super) const PASSWORD: &str = "longshore-test-password";
const START_LIMIT: Duration = Duration::from_secs(60);

/// What every server runs with. No fsync: a test machine's power is not pulled. But each commit is written to the
/// kernel (synchronous_commit stays on), so that a killed server loses nothing that it confirmed.
pub(super) const SETTINGS: [(&str, &str); 5] = [
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("max_connections", "100"),
    ("shared_preload_libraries", ""),
    ("max_locks_per_transaction", "256"),
];

/// A PostgreSQL server in a container. The user is a superuser; TCP connections need the password.
#[derive(Debug)]
pub struct PostgresServer {
    /// An address of this machine.
    pub host: String,
    /// The port on `host`; stays the same over `stop` and `start`.
    pub port: u16,
    /// The superuser.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The major version.
    pub version: u16,
    /// The container's id, for `docker` commands of a test.
    pub container_id: String,
    pub(super) container: Container,
}

/// The shared server of a major version (15, 17 or 18), started at first use.
///
/// # Panics
/// When docker or the image is absent, saying what to run.
pub async fn postgres(version: u16) -> Arc<PostgresServer> {
    static SHARED: [OnceCell<Arc<PostgresServer>>; 3] = [const { OnceCell::const_new() }; 3];
    let index = VERSIONS.iter().position(|known| *known == version);
    let index = index.unwrap_or_else(|| panic!("no test server for PostgreSQL {version}; there are {VERSIONS:?}"));
    SHARED[index].get_or_init(|| async { Arc::new(own(version, &[]).await) }).await.clone()
}

/// A server of this test alone, with further `settings` (`postgresql.conf` names and values). Removed when dropped.
///
/// # Panics
/// As `postgres`.
pub async fn own(version: u16, settings: &[(&str, &str)]) -> PostgresServer {
    let mut command = vec!["postgres".to_owned()];
    for (name, value) in SETTINGS.iter().chain(settings) {
        command.extend(["-c".to_owned(), format!("{name}={value}")]);
    }
    let configure = move |request: ContainerRequest<GenericImage>| {
        request
            .with_cmd(command.clone())
            .with_env_var("POSTGRES_PASSWORD", PASSWORD)
            .with_env_var("POSTGRES_INITDB_ARGS", "--encoding=UTF8 --locale=C.UTF-8 --no-sync")
    };
    let container = Container::start(image(version), 5432, configure).await;
    let server = PostgresServer {
        host: "127.0.0.1".into(),
        port: container.port,
        user: "postgres".into(),
        password: PASSWORD.into(),
        version,
        container_id: container.id.clone(),
        container,
    };
    server.wait_until_ready().await;
    server
}

/// The image of a major version: a job runs inside it where the host lacks client tools of that version.
pub(crate) fn image(version: u16) -> (String, String) {
    let tag = version.to_string();
    Images::chosen().pick(("postgres", &tag), ("longshore-test/postgres", &tag))
}

impl PostgresServer {
    /// `postgres://user:password@host:port/db`.
    pub fn url(&self, db: &str) -> String {
        self.url_at(&self.host, self.port, db)
    }

    /// The same, by way of a proxy's address.
    pub fn url_at(&self, host: &str, port: u16, db: &str) -> String {
        format!("postgres://{}:{}@{host}:{port}/{db}", self.user, self.password)
    }

    /// A fresh, empty database, dropped with the returned value.
    pub async fn create_database(self: &Arc<Self>) -> TestDatabase {
        self.create_database_with("").await
    }

    /// The same with what may follow `CREATE DATABASE name`: an encoding, a template.
    pub async fn create_database_with(self: &Arc<Self>, options: &str) -> TestDatabase {
        let name = unique_name("test", '_');
        sql::exec(&self.url("postgres"), &format!("create database {name} {options}")).await;
        TestDatabase { server: Arc::clone(self), name }
    }

    /// Whether a database of this name exists.
    pub async fn has_database(&self, name: &str) -> bool {
        let found = format!("select count(*) from pg_database where datname = '{}'", name.replace('\'', "''"));
        sql::value(&self.url("postgres"), &found).await == "1"
    }

    /// Ends the server as a crash does: SIGKILL, nothing flushed or said. Waits until it is gone.
    pub fn kill(&self) {
        self.container.kill();
    }

    /// Ends the server as an administrator does: fast shutdown, sessions told. Waits until it is gone.
    pub fn stop(&self) {
        self.container.stop(20);
    }

    /// Starts it again on its data and its port after `kill` or `stop`, and waits until it answers.
    pub async fn start(&self) {
        self.container.start_again();
        self.wait_until_ready().await;
    }

    /// Runs a command inside the container as the user `postgres` and gives its standard output: the server's own
    /// `pg_dump`, `psql` and file system. Connections over the local socket need no password.
    ///
    /// # Errors
    /// The command's standard error.
    pub fn exec(&self, command: &[&str]) -> Result<String, String> {
        self.container.exec("postgres", command)
    }

    /// Writes an extension's two files where the server looks for them; overwrites them.
    ///
    /// # Panics
    /// When the image keeps its extensions elsewhere.
    pub fn install_extension(&self, name: &str, control: &str, script: &str) {
        let folder = format!("/usr/share/postgresql/{}/extension", self.version);
        for (file, text) in [(format!("{name}.control"), control), (format!("{name}--1.0.sql"), script)] {
            let path = format!("{folder}/{file}");
            let write = ["sh", "-c", "printf '%s' \"$1\" >\"$2\"", "sh", text, &path];
            self.exec_as_root(&write).unwrap_or_else(|error| panic!("write {path}: {error}"));
        }
    }

    /// The same as root: for files that only root may write, such as an extension's.
    ///
    /// # Errors
    /// The command's standard error.
    pub fn exec_as_root(&self, command: &[&str]) -> Result<String, String> {
        self.container.exec("root", command)
    }

    /// Its address on the containers' own network, for a container that speaks to it.
    pub(super) fn inner_address(&self) -> String {
        self.container.inner_address()
    }

    pub(super) async fn wait_until_ready(&self) {
        let url = self.url("postgres");
        let ready = background::until(START_LIMIT, || async {
            if !self.container.is_running() {
                panic!("PostgreSQL {} ended while starting:\n{}", self.version, self.container.log_tail());
            }
            let client = sql::try_connect(&url).await.ok()?;
            client.simple_query("select 1").await.ok()
        });
        if ready.await.is_none() {
            panic!("PostgreSQL {} did not answer within {START_LIMIT:?}:\n{}", self.version, self.container.log_tail());
        }
    }
}

/// A database of one test; dropped with it, whoever is still connected.
#[derive(Debug)]
pub struct TestDatabase {
    /// The server it is on.
    pub server: Arc<PostgresServer>,
    /// Its name, `[a-z0-9_]`.
    pub name: String,
}

impl TestDatabase {
    /// Its URL.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Its URL by way of a proxy on this machine.
    pub fn url_at_port(&self, port: u16) -> String {
        self.server.url_at("127.0.0.1", port, &self.name)
    }

    /// Runs SQL statements in it.
    pub async fn exec(&self, statements: &str) {
        sql::exec(&self.url(), statements).await;
    }

    /// The only value of a query, as text.
    pub async fn value(&self, query: &str) -> String {
        sql::value(&self.url(), query).await
    }

    /// Its schema as its own server's `pg_dump` writes it: see `sql::canonical_dump`.
    pub fn canonical_dump(&self) -> String {
        sql::canonical_dump(&self.server, &self.name)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (url, name) = (self.server.url("postgres"), self.name.clone());
        background::run_in_drop(Duration::from_secs(20), async move {
            // A server that the test killed takes its databases with it.
            let Ok(client) = sql::try_connect(&url).await else { return };
            if let Err(error) = client.batch_execute(&format!("drop database if exists {name} with (force)")).await {
                eprintln!("testkit: drop database {name}: {error}");
            }
        });
    }
}
