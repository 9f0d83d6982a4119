//! Poolers: something between us and the server that hands one backend to several clients.
//!
//! Owns noticing it, before a setting of ours reaches a backend that is then given to an application. A snapshot, a lock and
//! a setting belong to one backend: behind a pooler that shares backends per transaction or statement none of them holds.
//! Promises that such a pooler is refused, and that its own errors are told from the server's. A source may stand
//! behind a pooler that gives each session a backend of its own; a target may not: the backends that it keeps would be in the
//! way of every rename.

use crate::connection::dial;
use crate::endpoint::Endpoint;
use crate::failure::from_postgres;
use engine::{Error, Kind};
use std::time::Duration;
use tokio_postgres::{Client, SimpleQueryMessage};

/// What to do about a pooler.
pub(crate) const ADVICE: &str = "connect to the database server itself, not to a pooler or proxy in front of it (PgBouncer, RDS Proxy, …); \
     for a source, a pool with session pooling works as well";
/// Looks at each session: backends that are handed around differ soon, and each look costs one round trip.
const LOOKS: usize = 3;
/// A server answers this question at once; a pooler without a free backend lets it wait.
const PATIENCE: Duration = Duration::from_secs(30);
/// A setting that no server knows and every server takes. What answers for one does not pass it on, or refuses it.
const DIRECT: (&str, &str) = ("-c longshore.direct=yes", "SHOW longshore.direct");

/// Fails when two sessions are given the same backend, or one session several. Nothing is set on any of them.
pub(crate) async fn refuse_shared(endpoint: &Endpoint) -> Result<(), Error> {
    let (one, two) = (dial(endpoint, None, None).await?, dial(endpoint, None, None).await?);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..LOOKS {
        first.push(backend(&one, endpoint).await?);
        second.push(backend(&two, endpoint).await?);
    }
    // Inside a transaction the second one keeps what it was given: the first must not be given another one for that.
    run(&two, "BEGIN READ ONLY", endpoint).await?;
    second.push(backend(&two, endpoint).await?);
    first.push(backend(&one, endpoint).await?);
    run(&two, "COMMIT", endpoint).await?;
    if is_shared(&first, &second) {
        return Err(refused(endpoint));
    }
    Ok(())
}

/// Fails when anything but the server itself answers. Asks in a database that is there before the target is.
pub(crate) async fn refuse_any(target: &Endpoint) -> Result<(), Error> {
    if let Some(database) = &target.maintenance {
        return refuse_any_at(&target.with_database(database)).await;
    }
    match refuse_any_at(&target.with_database("postgres")).await {
        Err(error) if error.kind == Kind::NotFound => refuse_any_at(&target.with_database("template1")).await,
        other => other,
    }
}

async fn refuse_any_at(endpoint: &Endpoint) -> Result<(), Error> {
    refuse(endpoint, TARGET_ADVICE).await
}

/// Fails when anything but the server itself answers, before a session that is to hold a lock.
pub(crate) async fn refuse_any_here(endpoint: &Endpoint) -> Result<(), Error> {
    let refused = refuse(endpoint, LOCK_ADVICE).await;
    refused.map_err(|error| if error.kind == Kind::Config { error.hint(LOCK_ADVICE) } else { error })
}

async fn refuse(endpoint: &Endpoint, advice: &str) -> Result<(), Error> {
    refuse_shared(endpoint).await?;
    let session = dial(endpoint, Some(DIRECT.0), None).await?;
    match session.simple_query(DIRECT.1).await {
        Ok(_) => Ok(()),
        Err(error) if error.as_db_error().is_some() => Err(Error::new(
            Kind::Config,
            format!(
                "a pooler or proxy answers at {}: it keeps what a session asks of the server to itself",
                endpoint.server()
            ),
        )
        .hint(advice)),
        Err(error) => Err(from_postgres(format!("look for a pooler at {}", endpoint.server()))(error)),
    }
}

/// What to do about a pooler before a lock.
const LOCK_ADVICE: &str = "connect to the database server itself: a pooler gives the session that holds the lock to others, or keeps it when its \
     holder is gone";
/// What to do about a pooler before a target.
const TARGET_ADVICE: &str = "connect to the database server itself: a pooler keeps sessions open that would be in the way of renaming the database";

fn refused(endpoint: &Endpoint) -> Error {
    let what = format!("a pooler answers at {} and shares the server's sessions between clients", endpoint.server());
    Error::new(Kind::Config, what).hint(ADVICE)
}

/// Two sessions of a server have one backend each, always.
fn is_shared(first: &[String], second: &[String]) -> bool {
    let moved = |seen: &[String]| seen.windows(2).any(|pair| pair[0] != pair[1]);
    moved(first) || moved(second) || first.iter().any(|pid| second.contains(pid))
}

/// The backend that answers now. Asked as plain text: a prepared statement would be lost on the way already.
async fn backend(client: &Client, endpoint: &Endpoint) -> Result<String, Error> {
    let asked = tokio::time::timeout(PATIENCE, client.simple_query("SELECT pg_catalog.pg_backend_pid()")).await;
    let messages = asked.map_err(|_| refused(endpoint))?;
    let messages = messages.map_err(from_postgres("ask for the session's process"))?;
    let pid = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    pid.ok_or_else(|| refused(endpoint))
}

async fn run(client: &Client, sql: &str, endpoint: &Endpoint) -> Result<(), Error> {
    let ran = tokio::time::timeout(PATIENCE, client.batch_execute(sql)).await;
    ran.map_err(|_| refused(endpoint))?.map_err(from_postgres("look for a pooler"))
}

/// Whether this is a pooler's own error and not the server's. `code` is the SQLSTATE.
pub(crate) fn is_poolers(code: &str, message: &str) -> bool {
    match code {
        // Statements that were prepared on another backend.
        "26000" | "42P05" => message.starts_with("prepared statement"),
        "08P01" | "0A000" => says_pooler(message),
        _ => false,
    }
}

/// Whether a text, such as a tool's output, has a pooler's own words in it.
pub(crate) fn says_pooler(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "unsupported startup parameter",
        "no such database: ",
        "statement pooling mode",
        "query_wait_timeout",
        "max_client_conn",
        "RDS Proxy",
    ];
    WORDS.iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_that_are_handed_around_are_noticed_however_it_is_done() {
        let pids = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(!is_shared(&pids("1 1 1 1"), &pids("2 2 2 2")));
        assert!(is_shared(&pids("1 1 1 2"), &pids("1 1 1 1")), "the last one that was free is given first");
        assert!(is_shared(&pids("1 3 5 8"), &pids("2 4 6 7")), "each time another");
        assert!(is_shared(&pids("1 1 1 3"), &pids("2 2 2 2")), "taken while in a transaction");
    }

    #[test]
    fn a_poolers_words_are_told_from_the_servers() {
        assert!(is_poolers("08P01", "unsupported startup parameter: options"));
        assert!(is_poolers("08P01", "no such database: app"));
        assert!(is_poolers("26000", "prepared statement \"s0\" does not exist"));
        assert!(!is_poolers("3D000", "database \"app\" does not exist"));
        assert!(!is_poolers("08006", "server closed the connection"));
    }
}
