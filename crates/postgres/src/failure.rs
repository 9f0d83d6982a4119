//! What PostgreSQL's errors mean to a job.
//!
//! Owns the mapping from SQLSTATE to a kind. Promises that a message names the object the server named, and that row content
//! does not leak: the server's DETAIL and CONTEXT quote rows, so they are left out here and cut from the tools' output.

use crate::{lookup, pooler, standby};
use engine::{Error, Kind};
use tokio_postgres::error::{DbError, SqlState};

/// Turns a driver's error into ours; `what` says what was being done.
pub(crate) fn from_postgres(what: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Error {
    let what = what.into();
    move |error| map(&what, &error)
}

/// The kind and text of a server's error.
pub(crate) fn map(what: &str, error: &tokio_postgres::Error) -> Error {
    let Some(db) = error.as_db_error() else {
        return connection_trouble(what, error);
    };
    let said_by_code = is_said_by_code(db);
    let message = if said_by_code {
        raised(db.where_().unwrap_or_default())
    } else if db.code().code().starts_with("22") {
        without_value(db.message())
    } else {
        db.message().to_owned()
    };
    let mut text = format!("{what}: {message}");
    let named = [("table", db.table()), ("column", db.column()), ("constraint", db.constraint())];
    for (kind, name) in named {
        if let Some(name) = name.filter(|name| !said_by_code && !db.message().contains(name)) {
            text.push_str(&format!(" ({kind} {name})"));
        }
    }
    if pooler::is_poolers(db.code().code(), db.message()) {
        return Error::new(Kind::Config, text).hint(pooler::ADVICE);
    }
    if standby::is_conflict(db.message()) {
        return Error::new(Kind::Unavailable, text).hint(standby::ADVICE);
    }
    let error = Error::new(kind_of(db.code()), text);
    let error = match hint_of(db.code()) {
        Some(hint) => error.hint(hint),
        None => error,
    };
    lookup::explain(error, db.message(), db.where_().unwrap_or_default())
}

/// Whether a function's author wrote the message, who may have put anything of the row at hand into it: by PL/pgSQL's RAISE
/// or ASSERT, with whatever SQLSTATE, or by a function in another language.
fn is_said_by_code(db: &DbError) -> bool {
    matches!(db.code().code().get(..2), Some("P0" | "38")) || db.routine() == Some("exec_stmt_raise")
}

/// What is said in place of such a message: where it was raised, by the server's context and nothing else of it.
fn raised(context: &str) -> String {
    let place = |line: &&str| line.starts_with("PL/pgSQL function ") && RAISING.iter().any(|end| line.ends_with(end));
    match context.lines().map(str::trim).find(place) {
        Some(place) => format!("an exception was raised (its text is left out) in {place}"),
        None => "an exception was raised (its text is left out)".to_owned(),
    }
}

/// How a line of the server's context ends that names a function which raises.
const RAISING: [&str; 2] = [" at RAISE", " at ASSERT"];

fn connection_trouble(what: &str, error: &tokio_postgres::Error) -> Error {
    let mut text = format!("{what}: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    if text.contains("password missing") || text.contains("invalid configuration") {
        return Error::new(Kind::Config, text)
            .hint("give a password in LONGSHORE_SOURCE_PASSWORD_FILE, LONGSHORE_TARGET_PASSWORD_FILE or the URL");
    }
    if text.contains("error performing TLS handshake") || text.contains("server does not support TLS") {
        return Error::new(Kind::Config, text).hint("see sslmode and sslrootcert in the URL");
    }
    Error::new(Kind::Unavailable, text)
        .hint("is the server up and reachable from here? The run can be repeated as it is")
}

fn kind_of(code: &SqlState) -> Kind {
    let exact = [
        (SqlState::INVALID_CATALOG_NAME, Kind::NotFound),
        (SqlState::INSUFFICIENT_PRIVILEGE, Kind::Refused),
        (SqlState::DUPLICATE_DATABASE, Kind::Exists),
        (SqlState::DUPLICATE_SCHEMA, Kind::Exists),
        (SqlState::DUPLICATE_TABLE, Kind::Exists),
        (SqlState::DUPLICATE_OBJECT, Kind::Exists),
        (SqlState::UNDEFINED_TABLE, Kind::Changed),
        (SqlState::UNDEFINED_OBJECT, Kind::Config),
        (SqlState::UNDEFINED_FILE, Kind::Config),
        (SqlState::FEATURE_NOT_SUPPORTED, Kind::Unsupported),
        (SqlState::READ_ONLY_SQL_TRANSACTION, Kind::Refused),
        (SqlState::LOCK_NOT_AVAILABLE, Kind::Unavailable),
        (SqlState::OBJECT_IN_USE, Kind::Unavailable),
        (SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, Kind::Unavailable),
    ];
    if let Some((_, kind)) = exact.iter().find(|(state, _)| state == code) {
        return *kind;
    }
    match code.code().get(..2) {
        Some("28") => Kind::Refused,
        Some("08" | "53" | "57" | "58" | "40" | "55") => Kind::Unavailable,
        // A limit of the server's own: a row whose text is longer than 1 GiB.
        Some("54") => Kind::Unsupported,
        // A transaction or session that the server has ended by its own timeouts.
        Some("25") => Kind::Unavailable,
        Some("22" | "23" | "38" | "P0" | "XX") => Kind::Data,
        _ => Kind::Internal,
    }
}

fn hint_of(code: &SqlState) -> Option<&'static str> {
    let hints = [
        (SqlState::INVALID_CATALOG_NAME, "check the database's name in the URL"),
        (SqlState::INVALID_PASSWORD, "check the user and the password"),
        (SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "check the user, and the server's pg_hba.conf"),
        (
            SqlState::INSUFFICIENT_PRIVILEGE,
            "grant the role what is missing (pg_read_all_data is enough to read), or use one that owns the database",
        ),
        (SqlState::DISK_FULL, "free space on the database server's disk, then run again"),
        (SqlState::TOO_MANY_CONNECTIONS, "lower --workers or raise max_connections"),
        (SqlState::OUT_OF_MEMORY, "the server is out of memory or of lock slots; raise max_locks_per_transaction"),
        (SqlState::ADMIN_SHUTDOWN, "the server was stopped, or somebody ended our session; run again"),
        (SqlState::CRASH_SHUTDOWN, "the server crashed; look at its log, then run again"),
        (SqlState::FEATURE_NOT_SUPPORTED, "this version cannot carry that object"),
    ];
    hints.iter().find(|(state, _)| state == code).map(|(_, hint)| *hint)
}

/// A vendor's tool failed. Lines of its output that quote rows are left out.
pub(crate) fn from_tool(what: &str, error: process::Error) -> Error {
    match error {
        process::Error::Missing { program } => Error::new(Kind::Config, format!("{what}: {program} is not installed"))
            .hint(
                "install the PostgreSQL client tools of the server's major version, or name their folder with --tools",
            ),
        process::Error::Failed { program, status, stderr_tail } => {
            let said = without_rows(&stderr_tail);
            let kind = match status {
                _ if pooler::says_pooler(&stderr_tail) => Kind::Config,
                _ if standby::is_conflict(&stderr_tail) => Kind::Unavailable,
                process::Status::Signal(_) => Kind::Unavailable,
                process::Status::Code(_) => kind_of_tool(&stderr_tail),
            };
            let error = Error::new(kind, format!("{what}: {program} ended with {status}{said}"));
            let error = lookup::explain(error, &stderr_tail, &stderr_tail);
            match hint_of_tool(kind, &stderr_tail).filter(|_| error.hint.is_none()) {
                Some(hint) => error.hint(hint),
                None => error,
            }
        }
        other => Error::new(Kind::Internal, format!("{what}: {other}")),
    }
}

/// What a tool's stderr tells about the kind of trouble. The vendor's tools have one exit code for everything; what they
/// print of the server's message is all there is to go by, and a wrong guess only changes whether a retry is advised.
fn kind_of_tool(stderr: &str) -> Kind {
    let says = |texts: &[&str]| texts.iter().any(|text| stderr.contains(text));
    let refusals = [
        "permission denied",
        "must be owner",
        "must be superuser",
        "must be member of role",
        "must be able to SET ROLE",
    ];
    if says(&refusals) {
        return Kind::Refused;
    }
    if says(&[
        "server version mismatch",
        "unsupported version",
        "is not available",
        "unrecognized configuration parameter",
        "could not set default_tablespace",
    ]) {
        return Kind::Config;
    }
    if says(&["is duplicated", "violates ", "is violated by"]) || says(&RAISING) {
        return Kind::Data;
    }
    let passing = [
        "could not connect",
        "connection to server",
        "server closed the connection",
        "terminating connection",
        "the database system is",
        "statement timeout",
        "lock timeout",
        "No space left",
        "out of memory",
        "SSL SYSCALL",
        "snapshot",
    ];
    // What nobody recognises is not worth a retry: it would fail the same way for ever.
    if says(&passing) { Kind::Unavailable } else { Kind::Config }
}

/// What to do about what a tool ran into at the target.
fn hint_of_tool(kind: Kind, stderr: &str) -> Option<&'static str> {
    let hints = [
        ("default_tablespace", "make that tablespace on the target's server"),
        ("security label provider", "load that provider on the target's server, in shared_preload_libraries"),
        ("is not available", "install that extension's package on the machine of the target's server"),
        ("create locale", "install that locale on the machine of the target's server"),
        ("collation \"pg_catalog.", "install that locale on the machine of the target's server"),
        ("must be able to SET ROLE", "GRANT that role to the one that restores, or restore with --no-owner"),
        ("must be member of role", "GRANT that role to the one that restores, or restore with --no-owner"),
    ];
    let known = hints.iter().find(|(text, _)| stderr.contains(text)).map(|(_, hint)| *hint);
    match kind {
        _ if pooler::says_pooler(stderr) => Some(pooler::ADVICE),
        _ if standby::is_conflict(stderr) => Some(standby::ADVICE),
        _ if known.is_some() => known,
        _ if stderr.contains("role \"") && stderr.contains("does not exist") => {
            Some("make that role on the target's server, or restore with --create-missing-roles")
        }
        Kind::Refused => Some("use a superuser; where it is about owners or grants, --no-owner leaves them out"),
        _ => None,
    }
}

/// How many lines of a tool's output an error shows.
const SHOWN_LINES: usize = 3;

fn without_rows(stderr: &str) -> String {
    let mut quoted = false;
    let mut kept = Vec::new();
    // What a function's author wrote may be about a row, and have any number of lines.
    let said_by_code = RAISING.iter().any(|end| stderr.contains(end));
    for line in stderr.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        // What is quoted may have any number of lines; the tools begin each message of their own with their name.
        if ["DETAIL:", "CONTEXT:", "Command was:"].iter().any(|start| line.trim_start().starts_with(start)) {
            quoted = true;
        } else if line.starts_with("pg_restore: ") || line.starts_with("pg_dump: ") {
            quoted = line.contains("detail: ") && !line.contains("Query was:");
        }
        if said_by_code && let Some((before, _)) = line.split_once("ERROR:  ").filter(|_| !quoted) {
            let context = stderr.replace("CONTEXT:  ", "");
            kept.push(format!("{before}{}", raised(&context)));
            quoted = true;
        } else if !quoted {
            kept.push(if line.contains("invalid ") { without_value(line) } else { line.to_owned() });
        }
    }
    // The first error is the reason; what comes after it, such as workers that are told to end, is not.
    let error = kept.iter().position(|line| line.contains(": error: "));
    let first = error.unwrap_or_else(|| kept.len().saturating_sub(SHOWN_LINES));
    kept.iter().skip(first).take(SHOWN_LINES).map(|line| format!("\n    {line}")).collect()
}

/// Messages about values end with the value: `invalid input syntax for type integer: "…"`.
fn without_value(message: &str) -> String {
    match message.split_once(": \"") {
        Some((said, _)) => format!("{said} (value left out)"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_several_lines_and_values_are_left_out() {
        let said = without_rows(
            "pg_restore: error: COPY failed: ERROR:  could not create unique index \"p\"\nDETAIL:  Key (a)=(Jane\n12 Main St) is duplicated.\n\
             pg_restore: error: ERROR:  invalid input syntax for type integer: \"123-45-6789\"\n",
        );
        assert!(said.contains("unique index") && said.contains("type integer"), "{said}");
        assert!(!said.contains("Main St") && !said.contains("6789"), "{said}");
    }

    #[test]
    fn what_a_function_raises_is_left_out_and_the_function_is_named() {
        let tool = "pg_restore: error: could not execute query: ERROR:  no such patient: Jane Doe\nof Main St\n\
             CONTEXT:  PL/pgSQL function app.known(text) line 3 at RAISE\nCommand was: CREATE INDEX";
        let said = without_rows(tool);
        assert!(said.contains("app.known(text) line 3") && said.contains("could not execute"), "{said}");
        assert!(!said.contains("Jane") && !said.contains("Main St"), "{said}");
        assert_eq!(kind_of_tool(tool), Kind::Data);
        let context = "PL/pgSQL function app.known(text) line 3 at RAISE\nCOPY t, line 1, column x: \"Jane Doe\"";
        assert!(
            raised(context).ends_with("in PL/pgSQL function app.known(text) line 3 at RAISE"),
            "{}",
            raised(context)
        );
        assert!(!raised("COPY t, line 1, column x: \"PL/pgSQL function Jane at RAISE").contains("Jane"));
    }

    #[test]
    fn rows_quoted_by_a_tool_are_left_out() {
        let said = without_rows(
            "pg_restore: error: could not create unique index \"p_pk\"\nDETAIL:  Key (name)=(Jane Doe) is duplicated.\nCommand was: CREATE\n  UNIQUE\n",
        );
        assert!(said.contains("p_pk"));
        assert!(!said.contains("Jane") && !said.contains("UNIQUE"), "{said}");
    }
}
