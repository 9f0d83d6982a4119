//! From a URL to a target.
//!
//! Owns which URL means which database. Promises that an error never repeats the URL, which may hold a password.

use engine::Kind;
use lease::Job;

use crate::record::Record;
use crate::{Error, Ledger, Limits, Mode, MysqlLedger, MysqlTarget, Postgres, PostgresLedger, TableName, Target};

/// A database, by its URL.
enum Place {
    Postgres(postgres::Endpoint),
    Mysql(mysql::Endpoint),
}

fn place(url: &str, password: Option<&str>) -> Result<Place, Error> {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    match scheme {
        "mysql" | "mariadb" => Ok(Place::Mysql(mysql::Endpoint::parse(url, password)?)),
        "mongodb" | "mongodb+srv" => {
            let what = format!("drops cannot be loaded into {scheme}:// yet");
            let hint = "write postgres://USER@HOST:PORT/DATABASE, or mysql:// or mariadb://";
            Err(engine::Error::new(Kind::Unsupported, what).hint(hint).into())
        }
        _ => Ok(Place::Postgres(postgres::Endpoint::parse(url, password)?)),
    }
}

/// A table to load into. `password` goes before one in the URL; `allow_empty` lets a drop without rows empty a table that is replaced. Talks to nobody.
///
/// # Errors
/// [`Error::Target`] naming what is wrong with the URL.
pub fn open(
    url: &str,
    password: Option<&str>,
    table: TableName,
    mode: Mode,
    limits: Limits,
    allow_empty: bool,
) -> Result<Box<dyn Target>, Error> {
    Ok(match place(url, password)? {
        Place::Postgres(at) => Box::new(Postgres::new(at, table, mode, limits).allow_empty(allow_empty)),
        Place::Mysql(at) => Box::new(MysqlTarget::new(at, table, mode, limits).allow_empty(allow_empty)),
    })
}

/// The ledger of a database into which somebody else loads. `password` goes before one in the URL. Talks to nobody.
///
/// # Errors
/// [`Error::Target`] naming what is wrong with the URL.
pub fn open_ledger(url: &str, password: Option<&str>, limits: Limits) -> Result<Box<dyn Ledger>, Error> {
    Ok(match place(url, password)? {
        Place::Postgres(at) => Box::new(PostgresLedger::new(at, limits)),
        Place::Mysql(at) => Box::new(MysqlLedger::new(at, limits)),
    })
}

/// What the ledger of a database knows, newest first, at most so many runs.
///
/// # Errors
/// [`Error::Target`], with kind `NotFound` when there is no ledger.
pub async fn history(url: &str, password: Option<&str>, job: Option<&Job>, most: u32) -> Result<Vec<Record>, Error> {
    match place(url, password)? {
        Place::Postgres(at) => Postgres::history(&at, job, most).await,
        Place::Mysql(at) => MysqlTarget::history(&at, job, most).await,
    }
}
