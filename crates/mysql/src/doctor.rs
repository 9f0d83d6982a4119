//! How a server is doing: what a backup of it, or a restore into it, would meet.
//!
//! Owns the order of looking, and what is worth a warning. Promises to change nothing and to lock nothing; that the checks are those that
//! the jobs make themselves; and that one that fails hides no other, as far as there is a session to go on with.

use crate::connection::{Purpose, Session, connect};
use crate::endpoint::Endpoint;
use crate::engines;
use crate::failure::code;
use crate::locks::may_hold_server;
use crate::mark;
use crate::preflight::{self, There};
use crate::privileges::{self, Grants};
use crate::schema;
use crate::snapshot::logs_every_commit;
use crate::source::{SERVERS_OWN, named};
use engine::{Error, Finding, Kind, Mark};

/// Sessions of a job beside its workers'.
const BESIDE_WORKERS: u64 = 4;

/// What a backup of this database would meet.
pub async fn examine_source(endpoint: &Endpoint, workers: u16) -> Vec<Finding> {
    let mut session = match connect(endpoint, Purpose::Look).await {
        Ok(session) => session,
        Err(error) => return vec![Finding::bad("answer", error)],
    };
    let mut found = vec![answer(&session, endpoint)];
    if let Err(error) = schema::database(&mut session, endpoint.database()).await {
        found.push(Finding::bad("database", error));
        return found;
    }
    match Grants::read(&mut session).await {
        Ok(grants) => {
            found.push(visible(&grants, &session, endpoint));
            found.push(or_bad("snapshot", snapshot(&mut session, &grants, endpoint).await));
        }
        Err(error) => found.push(Finding::bad("role", error)),
    }
    found.push(or_bad("connections", room(&mut session, workers).await));
    found
}

/// What a restore into this database, or a drill on its server, would meet.
pub async fn examine_target(endpoint: &Endpoint, workers: u16) -> Vec<Finding> {
    let mut session = match connect(endpoint, Purpose::Look).await {
        Ok(session) => session,
        Err(error) => return vec![Finding::bad("answer", error)],
    };
    let mut found = vec![answer(&session, endpoint)];
    found.push(or_bad("database", target_database(&mut session, endpoint).await));
    found.push(or_bad("loading", loading(&mut session).await));
    found.push(or_bad("connections", room(&mut session, workers).await));
    found
}

fn or_bad(what: &'static str, result: Result<Finding, Error>) -> Finding {
    result.unwrap_or_else(|error| Finding::bad(what, error))
}

fn answer(session: &Session, endpoint: &Endpoint) -> Finding {
    let server = &session.server;
    Finding::good("answer", format!("{} is {} {}", endpoint.server(), server.product.name(), server.text))
}

fn visible(grants: &Grants, session: &Session, endpoint: &Endpoint) -> Finding {
    let missing = privileges::lacking(grants, session, endpoint);
    if missing.is_empty() {
        return Finding::good("readable", format!("{} sees everything in {}", grants.account, endpoint.database()));
    }
    let what = format!("{} may not see everything in {endpoint}", grants.account);
    Finding::bad(
        "readable",
        Error::new(Kind::Refused, what).hint(format!("as an administrator: {};", missing.join("; "))),
    )
}

/// By which protocol several sessions would see one moment.
async fn snapshot(session: &mut Session, grants: &Grants, endpoint: &Endpoint) -> Result<Finding, Error> {
    const WHAT: &str = "snapshot";
    let listed = schema::list(session, endpoint.database()).await?;
    let without: Vec<String> = listed
        .iter()
        .filter(|row| row.engine.as_deref().is_some_and(engines::needs_locks))
        .map(|row| row.name.clone())
        .collect();
    let may_lock = grants.on(endpoint.database(), "LOCK TABLES");
    let may_stop = may_hold_server(grants, session);
    if !without.is_empty() {
        let found = format!("no snapshot covers tables without transactions: {}", named(&without));
        if !may_lock {
            let hint =
                format!("GRANT LOCK TABLES ON {}.* TO {}", crate::quote::ident(endpoint.database()), grants.account);
            return Err(Error::new(Kind::Refused, found).hint(hint));
        }
        return Ok(Finding::warning(
            WHAT,
            found,
            "they are locked against writes during a backup; InnoDB tables are not",
        ));
    }
    let logged = session.maybe("read the binary log's state", "SELECT @@log_bin").await?.is_some_and(|row| row.flag(0));
    if session.server.is_mariadb() && logged && logs_every_commit(session).await? {
        return Ok(Finding::good(WHAT, "all sessions see one moment without any lock, by the place in the binary log"));
    }
    if may_lock {
        return Ok(Finding::good(WHAT, "all sessions see one moment, by locks on all tables of some milliseconds"));
    }
    let hint = format!("GRANT LOCK TABLES ON {}.* TO {}", crate::quote::ident(endpoint.database()), grants.account);
    if may_stop {
        let found = "all sessions see one moment, by a global read lock of some milliseconds";
        return Ok(Finding::warning(
            WHAT,
            found,
            format!("{hint}: locks on tables are had more often, and touch nothing else"),
        ));
    }
    Err(Error::new(Kind::Refused, "nothing makes several sessions see one moment").hint(hint))
}

async fn room(session: &mut Session, workers: u16) -> Result<Finding, Error> {
    const WHAT: &str = "connections";
    let most = session.one("read max_connections", "SELECT @@max_connections").await?.number(0).unwrap_or_default();
    let taken = session.one("count the sessions", "SHOW GLOBAL STATUS LIKE 'Threads_connected'").await?.number(1);
    let (taken, wanted) = (taken.unwrap_or_default(), u64::from(workers) + BESIDE_WORKERS);
    let found = format!("{taken} of {most} are taken; a job with {workers} workers takes up to {wanted}");
    if most.saturating_sub(taken) >= wanted {
        return Ok(Finding::good(WHAT, found));
    }
    Ok(Finding::warning(WHAT, found, "use fewer --workers, raise max_connections, or find out who holds so many"))
}

async fn target_database(session: &mut Session, endpoint: &Endpoint) -> Result<Finding, Error> {
    const WHAT: &str = "database";
    let database = endpoint.database();
    if SERVERS_OWN.contains(&database) {
        let found = format!("{database} is the server's own: drills can be run here, a restore needs another name");
        return Ok(Finding::good(WHAT, found));
    }
    let there = preflight::look(session, database).await?;
    let mark = mark::read(session, database).await?;
    if let Some(mark) = &mark {
        mark.assert_not_protected(&endpoint.spot())?;
    }
    if let There::Full(holds) = &there {
        Mark::assert_allows(mark.as_ref(), &endpoint.spot(), holds)?;
    }
    Ok(Finding::good(
        WHAT,
        match there {
            There::Nothing => format!("{database} is not there: a restore makes it"),
            There::Empty => format!("{database} is empty: a restore fills it"),
            There::Full(_) => {
                let name = mark.map(|mark| mark.name).unwrap_or_default();
                format!("{database} is marked as {name}: a restore may take its place")
            }
        },
    ))
}

async fn loading(session: &mut Session) -> Result<Finding, Error> {
    const WHAT: &str = "loading";
    let read_only = session.one("ask whether the server takes writes", "SELECT @@global.read_only").await?.flag(0);
    if read_only {
        return Err(Error::new(Kind::Refused, "the server is read-only, as replicas are")
            .hint("restore into one that takes writes"));
    }
    match session.answer("SELECT @@local_infile").await {
        Ok(rows) if rows.first().is_some_and(|row| row.flag(0)) => Ok(Finding::good(WHAT, "LOAD DATA LOCAL")),
        Ok(_) => Ok(Finding::warning(
            WHAT,
            "local_infile is off",
            "rows go in by INSERT, which is slower; SET GLOBAL local_infile = ON",
        )),
        Err(error) => Err(Error::new(Kind::Config, format!("local_infile cannot be read (error {:?})", code(&error)))),
    }
}

/// Whether a user made nothing in it.
///
/// # Errors
/// As connecting to it; [`Kind::NotFound`] when there is none of that name.
pub async fn is_empty(endpoint: &Endpoint) -> Result<bool, Error> {
    let mut session = connect(endpoint, Purpose::Look).await?;
    match preflight::look(&mut session, endpoint.database()).await? {
        There::Nothing => Err(Error::new(Kind::NotFound, format!("there is no database {}", endpoint.database()))),
        There::Empty => Ok(true),
        There::Full(_) => Ok(false),
    }
}
