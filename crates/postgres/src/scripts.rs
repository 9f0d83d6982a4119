//! Scripts: SQL of the operator's own, run in the proven database before anybody can connect to it.
//!
//! Owns running them: one after the other, each in one transaction on a session of its own, with the search path that the
//! database will have. Promises that the first error ends the restore and names file, statement and line. Refuses what only
//! `psql` understands, before anything is made, and scripts that end the transaction themselves.

use crate::connection::{Purpose, connect};
use crate::endpoint::Endpoint;
use crate::failure::{from_postgres, map};
use crate::paths::SearchPath;
use engine::{Error, Kind, Script};
use futures_util::{StreamExt, pin_mut};
use tokio_postgres::error::ErrorPosition;
use tokio_postgres::{Client, SimpleQueryMessage};

/// Fails when a script has a line that begins with a backslash: `\i`, `\set`, `\connect` are psql's, not the server's.
pub(crate) fn refuse_commands(scripts: &[Script]) -> Result<(), Error> {
    let found = scripts.iter().find_map(|script| {
        let lines = script.text.lines().enumerate();
        let mut commands = lines.filter(|(_, line)| line.trim_start().starts_with('\\'));
        commands.next().map(|(number, line)| (script, number + 1, line))
    });
    let Some((script, number, line)) = found else { return Ok(()) };
    let command: String = line.trim_start().chars().take_while(|c| !c.is_whitespace()).take(20).collect();
    let what = format!("{}, line {number}: {command} is a command of psql, and this is not psql", script.name);
    Err(Error::new(Kind::Config, what).hint("write plain SQL; nothing was changed"))
}

/// Runs the scripts in order. Returns a note for each.
pub(crate) async fn run(
    endpoint: &Endpoint,
    search_path: &SearchPath,
    scripts: &[Script],
) -> Result<Vec<String>, Error> {
    let mut notes = Vec::with_capacity(scripts.len());
    for script in scripts {
        let client = connect(endpoint, Purpose::Write, 60).await?;
        search_path.set(&client).await?;
        let statements = run_one(&client, script).await?;
        let plural = if statements == 1 { "" } else { "s" };
        notes.push(format!("{}: {statements} statement{plural} run before the database got its name", script.name));
    }
    Ok(notes)
}

async fn run_one(client: &Client, script: &Script) -> Result<usize, Error> {
    let what = || format!("run {}", script.name);
    let begun = transaction(client, "BEGIN").await.map_err(from_postgres(what()))?;
    let statements = statements(client, script).await?;
    let ended = transaction(client, "").await.map_err(from_postgres(what()))?;
    if begun != ended {
        let what = format!("{} ends its transaction itself, so that a part of it may not have been done", script.name);
        return Err(Error::new(Kind::Config, what)
            .hint("leave BEGIN, COMMIT and ROLLBACK out: each file is one transaction; the target is as it was"));
    }
    client.batch_execute("COMMIT").await.map_err(|error| failed(script, None, &error))?;
    Ok(statements)
}

/// The number of the transaction that the session is in, after a statement.
async fn transaction(client: &Client, first: &str) -> Result<String, tokio_postgres::Error> {
    client.batch_execute(first).await?;
    Ok(client.query_one("SELECT pg_catalog.pg_current_xact_id()::text", &[]).await?.get(0))
}

/// Sends the script as it is and counts what was done.
async fn statements(client: &Client, script: &Script) -> Result<usize, Error> {
    let answers = client.simple_query_raw(&script.text).await.map_err(|error| failed(script, None, &error))?;
    pin_mut!(answers);
    let mut done = 0;
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(SimpleQueryMessage::CommandComplete(_)) => done += 1,
            Ok(_) => {}
            Err(error) => return Err(failed(script, Some(done + 1), &error)),
        }
    }
    Ok(done)
}

/// The server's error, with the place in the file.
fn failed(script: &Script, statement: Option<usize>, error: &tokio_postgres::Error) -> Error {
    let position = match error.as_db_error().and_then(|db| db.position()) {
        Some(ErrorPosition::Original(position)) => Some(*position as usize),
        _ => None,
    };
    let line = position.map(|at| script.text.chars().take(at.saturating_sub(1)).filter(|c| *c == '\n').count() + 1);
    let mut place = script.name.clone();
    if let Some(statement) = statement {
        place.push_str(&format!(", statement {statement}"));
    }
    if let Some(line) = line {
        place.push_str(&format!(", line {line}"));
    }
    let mut mapped = map(&place, error);
    if error.as_db_error().is_some() && mapped.kind != Kind::Unavailable {
        // Whatever the server says of it: the file is what has to be changed.
        mapped.kind = Kind::Config;
        mapped.hint = Some("correct the file; the target is as it was".to_owned());
    }
    mapped
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn script(text: &str) -> Script {
        Script { name: "disarm.sql".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn commands_of_psql_are_refused_by_name_and_line() {
        let error =
            refuse_commands(&[script("select 1;"), script("select 1;\n  \\set password hunter2\n")]).unwrap_err();
        assert!(error.what.contains("disarm.sql, line 2: \\set is"), "{error}");
        assert!(!error.what.contains("hunter2"), "{error}");
        refuse_commands(&[script("update t set path = '\\\\server\\share'; select E'\\n'")]).unwrap();
    }

    #[test]
    fn what_a_script_says_is_not_in_its_debug_output() {
        assert_eq!(format!("{:?}", script("hunter2")), "Script(disarm.sql, 7 bytes)");
    }
}
