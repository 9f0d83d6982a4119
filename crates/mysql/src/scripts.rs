//! Scripts: SQL of the operator's own, run in the proven schema before anybody sees it under its name.
//!
//! Owns running them: one after the other, each in a session of its own that has the server's own settings. Promises that the first error ends the restore and names file and statement;
//! and that nothing a script did is lost on the way to the name, because what would be is refused: tables made or dropped, and changes of programs, which are made again from the backup. Refuses, before anything is made, what only
//! the vendor's client understands, and names that are qualified by the database, which would reach the live one.

use crate::catalog::{Moment, Protocol};
use crate::connection::{Purpose, connect};
use crate::endpoint::Endpoint;
use crate::failure::map;
use crate::quote::{name_in, next_token};
use crate::schema;
use crate::unchanged;
use engine::{Error, Kind, Script};
use mysql_async::prelude::Queryable;

/// Words that begin a line of the client's, or that leave the schema.
const COMMANDS: [&str; 3] = ["delimiter", "source", "use"];

/// Fails for scripts that cannot be meant for the server, or that name one of these databases.
pub(crate) fn refuse(scripts: &[Script], databases: &[&str]) -> Result<(), Error> {
    for script in scripts {
        let wrong = |at: usize, what: String| {
            let line = script.text.get(..at).unwrap_or_default().matches('\n').count() + 1;
            Error::new(Kind::Config, format!("{}, line {line}: {what}", script.name))
        };
        let tokens = tokens(script.text.as_bytes());
        let command = |(number, (at, token)): &(usize, &(usize, &[u8]))| {
            let before = number.checked_sub(1).and_then(|number| tokens.get(number));
            let begins = before.is_none_or(|(_, before)| *before == b";") || begins_line(&script.text, *at);
            let known = COMMANDS.iter().any(|command| token.eq_ignore_ascii_case(command.as_bytes()));
            (begins && known) || *token == b"\\"
        };
        if let Some((_, (at, token))) = tokens.iter().enumerate().find(command) {
            let what = format!("{} is a command of the client, or leaves the database", String::from_utf8_lossy(token));
            return Err(wrong(*at, what).hint("write plain SQL; nothing was changed"));
        }
        if let Some((at, name)) = qualified(&tokens, databases) {
            return Err(wrong(at, format!("{name} is named before a dot"))
                .hint("leave the database's name out: statements are run in the copy, before it has that name; nothing was changed"));
        }
    }
    Ok(())
}

/// Whether nothing but blanks stands before it in its line.
fn begins_line(text: &str, at: usize) -> bool {
    text.get(..at).is_some_and(|before| before.rsplit('\n').next().is_some_and(|line| line.trim().is_empty()))
}

/// What a script is made of, and where, without blanks and comments. What is in a comment that servers read is part of it.
fn tokens(text: &[u8]) -> Vec<(usize, &[u8])> {
    let (mut rest, mut tokens) = (text, Vec::new());
    while let Some(first) = rest.first() {
        let end = |mark: &[u8]| rest.windows(mark.len()).position(|piece| piece == mark).map(|at| at + mark.len());
        let skipped = match rest {
            [b'#', ..] | [b'-', b'-', b' ' | b'\t' | b'\n' | b'\r', ..] | [b'-', b'-'] => {
                end(b"\n").or(Some(rest.len()))
            }
            [b'/', b'*', b'!', ..] | [b'/', b'*', b'M', b'!', ..] => {
                rest.iter().position(|c| *c == b'!').map(|at| at + 1 + digits(rest.get(at + 1..).unwrap_or_default()))
            }
            [b'/', b'*', ..] => end(b"*/").or(Some(rest.len())),
            [b'*', b'/', ..] => Some(2),
            _ => first.is_ascii_whitespace().then_some(1),
        };
        if let Some(skipped) = skipped {
            rest = rest.get(skipped..).unwrap_or_default();
            continue;
        }
        let Some((token, after)) = next_token(rest) else { break };
        tokens.push((text.len() - rest.len(), token));
        rest = after;
    }
    tokens
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|c| c.is_ascii_digit()).count()
}

/// The first place where one of these names stands before a dot.
fn qualified<'a>(tokens: &[(usize, &[u8])], names: &[&'a str]) -> Option<(usize, &'a str)> {
    let mut last: &[u8] = b"";
    for (number, (at, token)) in tokens.iter().enumerate() {
        let dotted = tokens.get(number + 1).is_some_and(|(_, next)| *next == b".");
        let name = name_in(token).or_else(|| in_double_quotes(token));
        let known = name.and_then(|name| names.iter().find(|known| known.as_bytes().eq_ignore_ascii_case(&name)));
        if let Some(known) = known.filter(|_| dotted && last != b".") {
            return Some((*at, known));
        }
        last = token;
    }
    None
}

/// What is a string may be a name, where the mode says so.
fn in_double_quotes(token: &[u8]) -> Option<Vec<u8>> {
    token.strip_prefix(b"\"")?.strip_suffix(b"\"").map(<[u8]>::to_vec)
}

/// Runs the scripts in order. Returns a note for each.
pub(crate) async fn run(endpoint: &Endpoint, schema: &str, scripts: &[Script]) -> Result<Vec<String>, Error> {
    let moment = || Moment { protocol: Protocol::GlobalLock, binlog: None, gtid: None, server_id: None };
    let mut notes = Vec::with_capacity(scripts.len());
    for script in scripts {
        let mut look = connect(endpoint, Purpose::Look).await?;
        let before = schema::read(&mut look, schema, moment()).await?;
        let statements = run_one(endpoint, schema, script).await?;
        let after = schema::read(&mut look, schema, moment()).await?;
        if let Some(change) = unchanged::lost_by_moving(&before, &after) {
            let what =
                format!("{}: {change}, which does not come with the tables when they get their name", script.name);
            return Err(Error::new(Kind::Config, what).hint(
                "change rows and columns here; views, routines, triggers, events and further tables after the restore; the target is as it was",
            ));
        }
        let plural = if statements == 1 { "" } else { "s" };
        notes.push(format!("{}: {statements} statement{plural} run before the database got its name", script.name));
    }
    Ok(notes)
}

async fn run_one(endpoint: &Endpoint, schema: &str, script: &Script) -> Result<usize, Error> {
    let mut session = connect(endpoint, Purpose::Write).await?;
    session.enter(schema).await?;
    let own = "SET sql_mode = DEFAULT, time_zone = DEFAULT, foreign_key_checks = 1, unique_checks = 1";
    session.run("prepare a session", own).await?;
    let mut done = 0;
    let failed = |done: usize, error: &mysql_async::Error| {
        let error = map(&format!("{}, statement {}", script.name, done + 1), error);
        // Nobody else is in the copy: what is not there has not been taken away.
        let kind = if error.kind == Kind::Changed { Kind::Config } else { error.kind };
        Error { kind, ..error }.hint("the target is as it was")
    };
    let conn = session.driver().map_err(|error| failed(done, &error))?;
    let mut answers = conn.query_iter(script.text.as_str()).await.map_err(|error| failed(done, &error))?;
    // The driver says that nothing is left when one more statement has answered without rows, and also when it has failed: only dropping the answers tells.
    while !answers.is_empty() {
        answers.for_each(drop).await.map_err(|error| failed(done, &error))?;
        done += 1;
    }
    let one_more = answers.columns().is_some();
    answers.drop_result().await.map_err(|error| failed(done, &error))?;
    Ok(done + usize::from(one_more))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn said(text: &str) -> Option<String> {
        let script = Script { name: "d.sql".to_owned(), text: text.to_owned() };
        refuse(&[script], &["shop", "it's"]).err().map(|error| error.what)
    }

    #[test]
    fn what_reaches_elsewhere_is_refused_by_line() {
        for text in [
            "update users set mail = concat(id, '@shop.example')",
            "-- shop.users it's\n# shop.users\n/* shop.x */ delete from sessions",
            "select users.shop, x.shop.y from users",
            "update t set v = 'use shop.t'",
            "",
        ] {
            assert_eq!(said(text), None, "{text}");
        }
        assert!(said("select 1;\nupdate shop.users set x = 1").unwrap().contains("d.sql, line 2: shop"));
        assert!(said("delete from `SHOP`.users").unwrap().contains("shop is named"));
        assert!(said("delete /*! from `it's`.users */").unwrap().contains("it's"));
        assert!(said("select 1;\n  USE other;").unwrap().contains("line 2: USE"));
        assert!(said("delimiter //").unwrap().contains("delimiter"));
        assert!(said("\\. other.sql").unwrap().contains("command"));
        // After blank lines, in the middle of a line, with blanks and comments before the dot.
        assert!(said("update a set x = 1;\n\n\nuse other;\ndelete from users").unwrap().contains("line 4: use"));
        assert!(said("select 1; use other; delete from users").unwrap().contains("use is a command"));
        assert!(said("select 1; /*!50000 use other */; select 2").unwrap().contains("use is a command"));
        for text in [
            "delete from shop .users",
            "delete from `shop`/* x */.users",
            "delete from shop\n.users",
            "delete from \"shop\".users",
        ] {
            assert!(said(text).is_some_and(|what| what.contains("shop is named")), "{text}");
        }
        assert_eq!(said("select a.use, `use` from t as a"), None);
    }
}
