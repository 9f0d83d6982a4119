//! A backup of every database of a server: one after the other, one backup each.
//!
//! Owns the list, the names that the backups are kept under, and the account of how each went. Promises that a database which
//! fails does not stop the others and that none is missing from the account: what is left out stands in it with the
//! reason. Each backup is of a moment of its own; together they are not one moment.

use crate::{BackupArgs, Run, report};
use databases::{Address, Found};
use engine::row_hash;
use jobkit::{Exit, Failure, Kit, Retry};
use repository::{Repository, SourceName, Summary};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// Longest name of a source, in bytes.
const LONGEST: usize = 63;

/// How it went for one database.
#[derive(Debug, Serialize)]
pub(crate) struct Entry {
    /// The database.
    pub database: String,
    /// What its backups are kept under.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<SourceName>,
    /// Whether there is a new backup.
    pub ok: bool,
    /// The backup that was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<Summary>,
    /// Why it was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
    /// Why it failed, in the shape of every failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Value>,
}

/// Backs every database up and prints one account of all.
pub(crate) async fn run(
    args: &BackupArgs,
    kit: &Kit,
    run: &Run,
    server: Address,
    repository: &Repository,
) -> Result<(), Failure> {
    kit.progress.stage("list the databases");
    let found = server.databases().await?;
    let (mut entries, mut failures, mut taken) = (Vec::new(), Vec::new(), BTreeSet::new());
    for Found { name: database, left_out } in found {
        if left_out.is_some() {
            entries.push(Entry { database, name: None, ok: false, backup: None, left_out, failure: None });
            continue;
        }
        let name = source_name(args.name.as_deref(), &database).and_then(|name| {
            if taken.insert(name.clone()) {
                Ok(name)
            } else {
                Err(Failure::new(Exit::Config, format!("two databases would be kept as {name}")))
            }
        });
        let (name, outcome) = match name {
            Ok(name) if kit.shutdown.token().is_cancelled() => {
                (Some(name), Err(Failure::new(Exit::Interrupted, "stopped before this backup began")))
            }
            Ok(name) => {
                tracing::info!(database, %name, "backup begins");
                let one = Box::pin(crate::one(args, kit, run, server.of_database(&database), name.clone(), repository));
                (Some(name), one.await)
            }
            Err(failure) => (None, Err(failure)),
        };
        let (backup, failure) = match outcome {
            Ok(summary) => (Some(summary), None),
            Err(failure) => {
                tracing::error!(database, "{}", failure.what());
                let json = failure.to_json();
                failures.push((database.clone(), failure));
                (None, Some(json))
            }
        };
        entries.push(Entry { database, name, ok: backup.is_some(), backup, left_out: None, failure });
    }
    kit.progress.finish();
    kit.printer.print(&entries, |entries| report::all(entries, repository.location()))?;
    conclude(kit, &entries, failures)
}

/// No database at all is a failure, too: somebody expects backups from this.
fn conclude(kit: &Kit, entries: &[Entry], failures: Vec<(String, Failure)>) -> Result<(), Failure> {
    let made = entries.iter().filter(|entry| entry.ok).count();
    let tried = made + failures.len();
    let names = failures.iter().map(|(database, _)| database.as_str()).collect::<Vec<_>>().join(", ");
    if kit.shutdown.token().is_cancelled() {
        let what = format!("stopped; {} of {tried} databases were not backed up: {names}", tried - made);
        return Err(Failure::new(Exit::Interrupted, what).hint("start it again"));
    }
    match worst(failures) {
        Some(worst) => Err(worst.context(format!("{} of {tried} databases were not backed up: {names}", tried - made))),
        None if made == 0 => Err(Failure::new(Exit::NoInput, "the server has no database to back up")),
        None => Ok(()),
    }
}

/// What a retry does not cure comes before what it may cure; among equals the first.
fn worst(failures: Vec<(String, Failure)>) -> Option<Failure> {
    let rank = |failure: &Failure| match failure.exit().retry() {
        Retry::No => 0,
        Retry::Later => 1,
        Retry::Yes => 2,
        Retry::Done => 3,
    };
    failures.into_iter().map(|(_, failure)| failure).min_by_key(rank)
}

/// `PREFIX.database`, or the database's name. What is not allowed in a source's name becomes lower case or `-`, and a hash of the
/// database's name is added: two databases never share a name because of that, and each keeps its own from run to run.
fn source_name(prefix: Option<&str>, database: &str) -> Result<SourceName, Failure> {
    let whole = match prefix {
        Some(prefix) => format!("{prefix}.{database}"),
        None => database.to_owned(),
    };
    if let Ok(name) = whole.parse() {
        return Ok(name);
    }
    let allowed = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9' | '.' | '_' | '-') => c,
        _ => '-',
    };
    let hash = format!("{:08x}", row_hash(database.as_bytes()) >> 96);
    let base = whole.chars().map(allowed).take(LONGEST - hash.len() - 1).collect::<String>();
    let base = base.trim_start_matches(['.', '_', '-']);
    let encoded = if base.is_empty() { hash } else { format!("{base}-{hash}") };
    encoded.parse().map_err(Failure::from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn name(prefix: Option<&str>, database: &str) -> String {
        source_name(prefix, database).unwrap().to_string()
    }

    #[test]
    fn allowed_names_stay_and_others_are_encoded_apart() {
        assert_eq!(name(None, "app_1"), "app_1");
        assert_eq!(name(Some("prod"), "app"), "prod.app");
        let (upper, mixed) = (name(None, "MyApp"), name(None, "myAPP"));
        assert!(upper.starts_with("myapp-") && mixed.starts_with("myapp-") && upper != mixed, "{upper} {mixed}");
        assert_eq!(upper, name(None, "MyApp"), "the same each time");
        assert_ne!(name(None, &format!("{}a", "x".repeat(62))), name(Some("p"), &format!("{}b", "x".repeat(62))));
        assert!(!name(None, "Ö").is_empty() && !name(None, "_").is_empty());
    }

    #[test]
    fn what_a_retry_does_not_cure_is_worse() {
        let failure = |exit| ("db".to_owned(), Failure::new(exit, "x"));
        let all = vec![failure(Exit::Unavailable), failure(Exit::Refused), failure(Exit::Config)];
        assert_eq!(worst(all).unwrap().exit(), Exit::Refused);
        assert!(worst(Vec::new()).is_none());
    }
}
