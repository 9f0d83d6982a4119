//! Opens a source or a target by its URL: the one place that names all drivers.
//!
//! Owns the choice of a driver by the URL's scheme, or by what a backup says it is of. Promises that jobs never name a driver, and that an unknown scheme is
//! answered with the ones there are. Never repeats a URL: it may hold a password.

pub use engine::Found;
use engine::{
    Conclusion, Document, Error, Export, ExportOptions, Finding, Kind, Marked, Source, SourceOptions, Target,
    TargetOptions,
};
use mongo::{DumpSource, MongoSource, MongoTarget};
use mysql::{MysqlSource, MysqlTarget};
use postgres::{Endpoint, PostgresPart, PostgresSource, PostgresTarget};
pub use postgres::{GLOBALS, Globals};
use std::path::Path;

/// A database's address, parsed.
#[derive(Debug, Clone)]
pub struct Address(Driver);

#[derive(Debug, Clone)]
enum Driver {
    Postgres(Endpoint),
    Mysql(mysql::Endpoint),
    Mongo(mongo::Endpoint),
    /// No server: what the vendor's tool has written of one.
    MongoDump(mongo::Dump),
}

impl Address {
    /// Parses a URL; `password` overrides the one in it.
    ///
    /// # Errors
    /// [`Kind::Config`] for a scheme no driver answers to, or whatever the driver finds wrong.
    pub fn parse(url: &str, password: Option<&str>) -> Result<Self, Error> {
        match url.split_once("://").map(|(scheme, _)| scheme) {
            Some("postgres" | "postgresql") => Ok(Self(Driver::Postgres(Endpoint::parse(url, password)?))),
            Some("mysql" | "mariadb") => Ok(Self(Driver::Mysql(mysql::Endpoint::parse(url, password)?))),
            Some("mongodb" | "mongodb+srv") => Ok(Self(Driver::Mongo(mongo::Endpoint::parse(url, password)?))),
            Some("mongodump") => Ok(Self(Driver::MongoDump(mongo::Dump::parse(url)?))),
            Some(other) if other.len() <= 20 => {
                Err(Error::new(Kind::Config, format!("{other}:// is not a database this version knows")).hint(KNOWN))
            }
            _ => Err(Error::new(Kind::Config, "that is not a database's URL").hint(KNOWN)),
        }
    }

    /// The database's name.
    #[must_use]
    pub fn database(&self) -> &str {
        match &self.0 {
            Driver::Postgres(endpoint) => endpoint.database(),
            Driver::Mysql(endpoint) => endpoint.database(),
            Driver::Mongo(endpoint) => endpoint.database(),
            Driver::MongoDump(dump) => dump.database(),
        }
    }

    /// Host and port, for people; of a dump its path.
    #[must_use]
    pub fn server(&self) -> String {
        match &self.0 {
            Driver::Postgres(endpoint) => endpoint.server(),
            Driver::Mysql(endpoint) => endpoint.server(),
            Driver::Mongo(endpoint) => endpoint.server(),
            Driver::MongoDump(dump) => dump.server(),
        }
    }

    /// All databases of its server, sorted by name, with the reason for each that is not to be backed up.
    pub async fn databases(&self) -> Result<Vec<Found>, Error> {
        match &self.0 {
            Driver::Postgres(endpoint) => endpoint.databases().await,
            Driver::Mysql(endpoint) => mysql::databases(endpoint).await,
            Driver::Mongo(endpoint) => mongo::databases(endpoint).await,
            Driver::MongoDump(dump) => Err(no_server(dump, "--all-databases asks a server")
                .hint("back up one database of a dump after the other: ?database=NAME at the URL's end")),
        }
    }

    /// Whether a user made nothing in it.
    ///
    /// # Errors
    /// As connecting to it.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        match &self.0 {
            Driver::Postgres(endpoint) => endpoint.is_empty().await,
            Driver::Mysql(endpoint) => mysql::is_empty(endpoint).await,
            Driver::Mongo(endpoint) => mongo::is_empty(endpoint).await,
            Driver::MongoDump(dump) => Err(no_server(dump, "whether it is empty is asked of a server")),
        }
    }

    /// Another database of the same server, with the same credentials.
    #[must_use]
    pub fn of_database(&self, name: &str) -> Self {
        match &self.0 {
            Driver::Postgres(endpoint) => Self(Driver::Postgres(endpoint.of_database(name))),
            Driver::Mysql(endpoint) => Self(Driver::Mysql(endpoint.of_database(name))),
            Driver::Mongo(endpoint) => Self(Driver::Mongo(endpoint.of_database(name))),
            Driver::MongoDump(dump) => Self(Driver::MongoDump(dump.of_database(name))),
        }
    }

    /// Opens it for reading: from here on its tables are locked against change, and it shows one moment.
    pub async fn open_source(self, options: &SourceOptions) -> Result<Box<dyn Source>, Error> {
        match self.0 {
            Driver::Postgres(endpoint) => Ok(Box::new(PostgresSource::open(endpoint, options).await?)),
            Driver::Mysql(endpoint) => Ok(Box::new(MysqlSource::open(endpoint, options).await?)),
            Driver::Mongo(endpoint) => Ok(Box::new(MongoSource::open(endpoint, options).await?)),
            Driver::MongoDump(dump) => Ok(Box::new(DumpSource::open(dump, options).await?)),
        }
    }

    /// Checks that a backup with these documents can be restored into it. Nothing is written yet.
    pub async fn open_target(self, documents: &[Document], options: TargetOptions) -> Result<Box<dyn Target>, Error> {
        if let Driver::MongoDump(dump) = &self.0 {
            return Err(no_target(dump));
        }
        self.assert_kind(documents)?;
        if matches!(self.0, Driver::Postgres(_)) && !options.definers.is_empty() {
            let what = "--map-definer: PostgreSQL has no definers";
            return Err(Error::new(Kind::Config, what).hint("--no-owner and --role say to whom things belong there"));
        }
        if !matches!(self.0, Driver::Mongo(_)) && options.atomic {
            let what = "--atomic: only for MongoDB; here what is replaced is exchanged in one step, and kept";
            return Err(Error::new(Kind::Config, what).hint("leave it out; --drop-old gives the way back up"));
        }
        if !matches!(self.0, Driver::Mongo(_)) && options.rename.is_some() {
            let what = "--rename: only for MongoDB; here other things know a table by its name";
            return Err(Error::new(Kind::Config, what).hint("restore into another database; nothing was changed"));
        }
        match self.0 {
            Driver::Mysql(endpoint) => Ok(Box::new(MysqlTarget::open(endpoint, documents, options).await?)),
            Driver::Mongo(endpoint) => Ok(Box::new(MongoTarget::open(endpoint, documents, options).await?)),
            Driver::MongoDump(dump) => Err(no_target(&dump)),
            Driver::Postgres(endpoint) if !options.part.is_empty() => {
                Ok(Box::new(PostgresPart::open(endpoint, documents, options).await?))
            }
            Driver::Postgres(endpoint) => Ok(Box::new(PostgresTarget::open(endpoint, documents, options).await?)),
        }
    }

    /// Marks it as an environment that restores may replace (or never, for production), or takes the mark away.
    ///
    /// # Errors
    /// What the driver says: there is no such database, or the role may not mark it.
    pub async fn mark(self, name: Option<&str>) -> Result<Marked, Error> {
        match self.0 {
            Driver::Postgres(endpoint) => postgres::mark(&endpoint, name).await,
            Driver::Mysql(endpoint) => mysql::mark(&endpoint, name).await,
            Driver::Mongo(endpoint) => mongo::mark(&endpoint, name).await,
            Driver::MongoDump(dump) => Err(no_server(&dump, "a mark is a server's")),
        }
    }

    /// What a backup of it would meet, with so many workers and the tools in this folder. Changes and locks nothing.
    pub async fn examine_source(&self, workers: u16, tools: Option<&Path>) -> Vec<Finding> {
        match &self.0 {
            Driver::Postgres(endpoint) => postgres::examine_source(endpoint, workers, tools).await,
            Driver::Mysql(endpoint) => mysql::examine_source(endpoint, workers).await,
            Driver::Mongo(endpoint) => mongo::examine_source(endpoint).await,
            Driver::MongoDump(dump) => mongo::examine_dump(dump).await,
        }
    }

    /// What a restore into it, or a drill on its server, would meet. Changes and locks nothing.
    pub async fn examine_target(&self, workers: u16, tools: Option<&Path>) -> Vec<Finding> {
        match &self.0 {
            Driver::Postgres(endpoint) => postgres::examine_target(endpoint, workers, tools).await,
            Driver::Mysql(endpoint) => mysql::examine_target(endpoint, workers).await,
            Driver::Mongo(endpoint) => mongo::examine_target(endpoint).await,
            Driver::MongoDump(dump) => vec![Finding::bad("dump", no_target(dump))],
        }
    }

    /// Undoes the last swap; `run` goes into the name of the database that is live now, `stop` is asked whether to give up.
    ///
    /// # Errors
    /// What the driver says: nothing to go back to, a guard, sessions that cannot be ended. Everything is as it was then.
    pub async fn rollback(self, run: &str, stop: &(dyn Fn() -> bool + Send + Sync)) -> Result<Conclusion, Error> {
        match self.0 {
            Driver::Postgres(endpoint) => postgres::rollback(&endpoint, run, stop).await,
            Driver::Mysql(endpoint) => mysql::rollback(&endpoint, run, stop).await,
            Driver::Mongo(endpoint) => mongo::rollback(&endpoint, run, stop).await,
            Driver::MongoDump(dump) => Err(no_server(&dump, "a rollback is a server's")),
        }
    }

    /// Fails when the backup is of another kind of database than this.
    fn assert_kind(&self, documents: &[Document]) -> Result<(), Error> {
        const POSTGRES: &str = "PostgreSQL";
        const MYSQL: &str = "MySQL or MariaDB";
        const MONGO: &str = "MongoDB";
        let backup = match documents {
            ours if mysql::is_ours(ours) => MYSQL,
            ours if mongo::is_ours(ours) => MONGO,
            _ => POSTGRES,
        };
        let here = match &self.0 {
            Driver::Postgres(_) => POSTGRES,
            Driver::Mysql(_) => MYSQL,
            Driver::Mongo(_) | Driver::MongoDump(_) => MONGO,
        };
        if backup == here {
            return Ok(());
        }
        let what = format!("the backup is of {backup}, and the target's URL is of {here}");
        Err(Error::new(Kind::Config, what).hint("give the URL of a server of the backup's own kind"))
    }
}

/// Everything of a backup but its rows as plain files, which the vendor's own tools bring back. Asks no server.
///
/// # Errors
/// [`Kind::Config`] for a database that no driver of this version knows, or whatever the driver finds wrong.
pub async fn export(documents: &[Document], options: &ExportOptions) -> Result<Export, Error> {
    match options.about.engine.as_str() {
        "postgresql" => postgres::export(documents, options).await,
        "mysql" | "mariadb" => mysql::export(documents, options),
        "mongodb" => mongo::export(documents, options),
        other => {
            let what = format!("the backup is of {other:?}, which this version does not know");
            Err(Error::new(Kind::Config, what).hint("use the version of longshore that wrote it, or a newer one"))
        }
    }
}

/// A restore into files.
fn no_target(dump: &mongo::Dump) -> Error {
    no_server(dump, "a restore needs one")
        .hint("`longshore export` writes a backup as a dump; a restore takes a URL with mongodb://")
}

/// What takes a server, and was given files.
fn no_server(dump: &mongo::Dump, what: &str) -> Error {
    Error::new(Kind::Config, format!("{dump} is a dump and no server: {what}")).hint(
        "a dump is the source of a backup, and nothing else; for a server write mongodb://USER@HOST:PORT/DATABASE",
    )
}

const KNOWN: &str =
    "write postgres://, mysql://, mariadb:// or mongodb://, and then USER@HOST:PORT/DATABASE; or mongodump:///FOLDER";
