//! Making what is not a table: views, routines, triggers, events, each with the settings that it was made with.
//!
//! Owns the statements' way to the server: in the character set, sql_mode, time zone and schema collation that belong to each. Promises that an object comes back
//! as the server showed it, or is named in an error. Views that need each other are made in as many rounds as that takes. Refuses to
//! leave anything out in silence; a view that did not work at the source is left out with a note when it cannot be made.

use crate::catalog::{Catalog, Program, ProgramKind};
use crate::connection::{Server, Session, WRITE_MODE};
use crate::failure::{code, from_mysql, map};
use crate::quote::{ident, literal, next_token, qualified, requalify, unqualify};
use crate::schema::plain_word;
use engine::{Error, Kind};

/// Where objects are made, and how.
pub(crate) struct Place<'a> {
    /// What they were part of.
    pub catalog: &'a Catalog,
    /// The schema that they are made in.
    pub to: &'a str,
    /// Without `DEFINER`: they belong to the user who restores.
    pub no_owner: bool,
}

/// Functions, procedures and packages.
pub(crate) async fn routines(session: &mut Session, catalog: &Catalog, place: &Place<'_>) -> Result<(), Error> {
    // A package's body needs the package.
    for bodies in [false, true] {
        for program in catalog.routines.iter().filter(|program| (program.kind == ProgramKind::PackageBody) == bodies) {
            make(session, program, place).await?;
            comment(session, program, place.to).await?;
        }
    }
    Ok(())
}

/// Gives a routine the comment that it had, where its statement does not say it as it is.
async fn comment(session: &mut Session, program: &Program, schema: &str) -> Result<(), Error> {
    let Some(sql) = comment_statement(program, &qualified(schema, &program.name)) else { return Ok(()) };
    session.run(&format!("comment on the {}", program.told()), &sql).await
}

/// The statement that gives a routine its comment, if one is needed.
pub(crate) fn comment_statement(program: &Program, name: &str) -> Option<String> {
    let comment = program.comment.as_ref()?;
    let has_one = matches!(program.kind, ProgramKind::Function | ProgramKind::Procedure);
    let text = comment.replace('\\', "\\\\").replace('\'', "''").replace('\0', "\\0");
    has_one.then(|| format!("ALTER {} {name} COMMENT '{text}'", program.kind.sql()))
}

/// Views, in rounds: each round makes those whose tables, views and functions are there by then.
pub(crate) async fn views(session: &mut Session, catalog: &Catalog, place: &Place<'_>) -> Result<Vec<String>, Error> {
    let mut left: Vec<&Program> = catalog.views.iter().collect();
    loop {
        let (mut next, mut first_error) = (Vec::new(), None);
        for view in &left {
            match attempt(session, view, place).await {
                Ok(()) => {}
                Err(error) if code(&error).is_some() => {
                    let told = map(&format!("make the {}", view.told()), &error);
                    first_error.get_or_insert(told);
                    next.push(*view);
                }
                Err(error) => return Err(map(&format!("make the {}", view.told()), &error)),
            }
        }
        let Some(error) = first_error else { return Ok(Vec::new()) };
        if next.len() < left.len() {
            left = next;
            continue;
        }
        if let Some(view) = next.iter().find(|view| !view.broken) {
            let why = attempt(session, view, place).await.err();
            return Err(why.map_or(error, |why| map(&format!("make the {}", view.told()), &why)));
        }
        let note = |view: &&Program| format!("{} was left out: it did not work at the source either", view.told());
        return Ok(next.iter().map(note).collect());
    }
}

/// Triggers, in the order in which they fire.
pub(crate) async fn triggers(session: &mut Session, catalog: &Catalog, place: &Place<'_>) -> Result<(), Error> {
    for trigger in &catalog.triggers {
        make(session, trigger, place).await?;
    }
    Ok(())
}

/// Removes the triggers from a schema: a table that has any does not move to another schema.
pub(crate) async fn drop_triggers(session: &mut Session, catalog: &Catalog, schema: &str) -> Result<(), Error> {
    for trigger in &catalog.triggers {
        let sql = format!("DROP TRIGGER IF EXISTS {}.{}", ident(schema), ident(&trigger.name));
        session.run(&format!("move the {}", trigger.told()), &sql).await?;
    }
    Ok(())
}

/// Removes the programs of a catalog from a schema, apart from triggers, as far as they are there.
pub(crate) async fn drop_programs(session: &mut Session, catalog: &Catalog, schema: &str) -> Result<(), Error> {
    let first = catalog.events.iter().chain(&catalog.views);
    // A package goes with its body, which may be gone by then.
    let routines = catalog.routines.iter().filter(|program| program.kind != ProgramKind::PackageBody);
    for program in first.chain(routines) {
        let mode = if program.kind == ProgramKind::Package { "ORACLE" } else { "" };
        session.run("drop a program", &format!("SET SESSION sql_mode = '{mode}'")).await?;
        let sql = format!("DROP {} IF EXISTS {}", program.kind.sql(), qualified(schema, &program.name));
        session.run(&format!("drop the {}", program.told()), &sql).await?;
    }
    session.run("drop programs", &format!("SET SESSION sql_mode = '{WRITE_MODE}'")).await
}

/// Events; switched off where `asleep`. Returns notes on those whose time is over.
pub(crate) async fn events(
    session: &mut Session,
    catalog: &Catalog,
    place: &Place<'_>,
    asleep: bool,
) -> Result<Vec<String>, Error> {
    let mut notes = Vec::new();
    for event in &catalog.events {
        let event = if asleep { &switched_off(event) } else { event };
        match attempt(session, event, place).await {
            // Its only time, or its last one, is past: the server would drop it at once.
            Err(error) if matches!(code(&error), Some(1544 | 1588 | 1589)) => {
                notes.push(format!("{} was left out: its time is over", event.told()));
                continue;
            }
            other => other.map_err(from_mysql(format!("make the {}", event.told())))?,
        }
    }
    Ok(notes)
}

/// The same event, made switched off: it must not run between being made and being switched off.
fn switched_off(event: &Program) -> Program {
    const ON: &[u8] = b"PRESERVE ENABLE";
    let mut text = event.create.0.clone();
    let head = text.windows(13).position(|words| words == b"ON COMPLETION").unwrap_or_default();
    if let Some(at) = text.get(head..).and_then(|rest| rest.windows(ON.len()).position(|words| words == ON)) {
        let at = head + at;
        text.splice(at..at + ON.len(), b"PRESERVE DISABLE".iter().copied());
    }
    Program { create: crate::text::Text(text), ..event.clone() }
}

async fn make(session: &mut Session, program: &Program, place: &Place<'_>) -> Result<(), Error> {
    attempt(session, program, place).await.map_err(from_mysql(format!("make the {}", program.told())))
}

/// One statement among the settings that belong to it. The session is as before afterwards, also after an error.
async fn attempt(session: &mut Session, program: &Program, place: &Place<'_>) -> Result<(), mysql_async::Error> {
    let settings = settings(program, &session.server).map_err(|e| mysql_async::Error::Other(e.into()))?;
    let collation = &program.database_collation;
    // Parameters without a character set of their own take the schema's, as it is when they are made.
    let other = !collation.is_empty() && *collation != place.catalog.database.collation;
    if other {
        session.run_bytes(alter_collation(place.to, collation).as_bytes()).await?;
    }
    session.run_bytes(settings.as_bytes()).await?;
    let made = session.run_bytes(&statement(program, place.catalog, Some(place.to), place.no_owner)).await;
    let back = format!("SET NAMES utf8mb4, sql_mode = '{WRITE_MODE}', time_zone = '+00:00'");
    if made.as_ref().is_err_and(|error| code(error).is_none()) {
        return made;
    }
    session.run_bytes(back.as_bytes()).await?;
    if other {
        session.run_bytes(alter_collation(place.to, &place.catalog.database.collation).as_bytes()).await?;
    }
    made
}

fn alter_collation(schema: &str, collation: &str) -> String {
    let word = plain_word(collation).unwrap_or("binary");
    format!("ALTER DATABASE {} COLLATE {word}", ident(schema))
}

fn settings(program: &Program, server: &Server) -> Result<String, Error> {
    let mut settings = format!(
        "SET character_set_client = {}, collation_connection = {}",
        plain_word(&program.charset)?,
        plain_word(&program.collation)?
    );
    // A view keeps no mode: it is shown in one way only.
    let mode = if program.kind == ProgramKind::View { String::new() } else { program.sql_mode.clone() };
    if !mode.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b',') {
        return Err(Error::new(Kind::Data, format!("{}: {mode:?} is no sql_mode", program.told())));
    }
    settings.push_str(&format!(", sql_mode = '{}'", known_modes(&mode, server)));
    if let Some(zone) = &program.time_zone {
        settings.push_str(&format!(", time_zone = {}", literal(zone)));
    }
    Ok(settings)
}

/// Without the mode that newer servers refuse by name and that changed nothing but grants.
fn known_modes(mode: &str, server: &Server) -> String {
    if !server.is_mysql(8, 0, 11) {
        return mode.to_owned();
    }
    mode.split(',').filter(|word| *word != "NO_AUTO_CREATE_USER").collect::<Vec<_>>().join(",")
}

/// The statement, for the schema that it is made in; for whichever is the session's own when that is `None`.
pub(crate) fn statement(program: &Program, catalog: &Catalog, to: Option<&str>, no_owner: bool) -> Vec<u8> {
    let text = &program.create.0;
    let is_object = |name: &[u8]| catalog.has_object(name);
    let moved = |text: &[u8]| match to {
        Some(to) => requalify(text, &catalog.database.name, to, &is_object),
        None => unqualify(text, &catalog.database.name, &is_object),
    };
    let text = match program.kind {
        // What the server writes names schemas; what a person wrote stays.
        ProgramKind::View => moved(text),
        ProgramKind::Trigger => {
            let head = head_of(text);
            let (head, body) = text.split_at_checked(head).unwrap_or((text, &[]));
            [moved(head), body.to_vec()].concat()
        }
        _ if program.sql_mode.contains("NO_BACKSLASH_ESCAPES") => with_plain_comment(text),
        _ => text.clone(),
    };
    if no_owner { without_definer(&text) } else { text }
}

/// The server shows a comment with backslash escapes even where the object's own mode knows none, unlike the body after it.
fn with_plain_comment(text: &[u8]) -> Vec<u8> {
    let find = |word: &[u8]| text.windows(word.len()).position(|words| words == word).map(|at| at + word.len());
    let Some(start) = find(b"\n    COMMENT '").or_else(|| find(b"ABLE COMMENT '")) else { return text.to_vec() };
    let mut out = text.get(..start).unwrap_or_default().to_vec();
    let mut at = start;
    while let Some(c) = text.get(at) {
        let next = text.get(at + 1);
        match (c, next) {
            (b'\\', Some(letter)) => {
                out.push(match letter {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b'0' => 0,
                    other => *other,
                });
                at += 2;
            }
            (b'\'', Some(b'\'')) => {
                out.extend_from_slice(b"''");
                at += 2;
            }
            (b'\'', _) => break,
            _ => {
                out.push(*c);
                at += 1;
            }
        }
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default());
    out
}

/// Where a trigger's body begins: after FOR EACH ROW, however they are written.
fn head_of(text: &[u8]) -> usize {
    let (mut rest, mut words) = (text, [&b""[..]; 3]);
    while let Some((token, after)) = next_token(rest) {
        rest = after;
        if token.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        words = [words[1], words[2], token];
        let wanted = [&b"for"[..], b"each", b"row"];
        if words.iter().zip(wanted).all(|(word, wanted)| word.eq_ignore_ascii_case(wanted)) {
            return text.len() - rest.len();
        }
    }
    text.len()
}

/// Without ` DEFINER=`user`@`host``.
fn without_definer(text: &[u8]) -> Vec<u8> {
    let Some((at, end)) = definer_at(text) else { return text.to_vec() };
    [text.get(..at).unwrap_or_default(), text.get(end..).unwrap_or_default()].concat()
}

/// `DEFINER=`user`@`host``, as a statement has it.
pub(crate) fn definer(text: &[u8]) -> Option<Vec<u8>> {
    let (at, end) = definer_at(text)?;
    text.get(at + 1..end).map(<[u8]>::to_vec)
}

/// The same statement, belonging to somebody else.
pub(crate) fn with_definer(text: &[u8], definer: &[u8]) -> Vec<u8> {
    let Some((at, end)) = definer_at(text) else { return text.to_vec() };
    [text.get(..=at).unwrap_or_default(), definer, text.get(end..).unwrap_or_default()].concat()
}

/// From the blank before it to its end.
fn definer_at(text: &[u8]) -> Option<(usize, usize)> {
    const WORD: &[u8] = b" DEFINER=";
    let at = text.windows(WORD.len()).position(|word| word == WORD)?;
    let mut end = at + WORD.len();
    let mut quote = None;
    while let Some(c) = text.get(end) {
        match quote {
            Some(open) if *c == open => quote = None,
            Some(_) => {}
            None if matches!(c, b'`' | b'\'' | b'"') => quote = Some(*c),
            None if c.is_ascii_whitespace() => break,
            None => {}
        }
        end += 1;
    }
    Some((at, end))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_definer_is_cut_out_whole() {
        let text = b"CREATE DEFINER=`o``x y`@`%` PROCEDURE `p`()\nSELECT ' DEFINER=`a`@`b` '";
        assert_eq!(definer(text).as_deref(), Some(b"DEFINER=`o``x y`@`%`".as_slice()));
        assert_eq!(without_definer(text), b"CREATE PROCEDURE `p`()\nSELECT ' DEFINER=`a`@`b` '");
        assert_eq!(without_definer(b"CREATE VIEW v AS SELECT 1"), b"CREATE VIEW v AS SELECT 1");
    }

    #[test]
    fn a_comments_escapes_are_undone_and_the_body_stays() {
        let text = b"CREATE PROCEDURE `p`()\n    COMMENT 'a \\\\ ''b'\nSELECT '\\\\', ' COMMENT '";
        assert_eq!(
            with_plain_comment(text),
            b"CREATE PROCEDURE `p`()\n    COMMENT 'a \\ ''b'\nSELECT '\\\\', ' COMMENT '"
        );
    }

    #[test]
    fn only_a_triggers_head_is_for_us_to_change() {
        let json = r#"{"version": 1, "product": "mysql", "server_version": "9.0.0", "tables": [], "moment": {"protocol": "global-lock"},
            "database": {"name": "app", "charset": "", "collation": ""}, "triggers": [{"kind": "trigger", "name": "t", "create": "",
            "charset": "utf8mb4", "collation": "utf8mb4_bin"}, {"kind": "trigger", "name": "x", "create": "", "charset": "", "collation": ""}]}"#;
        let catalog = Catalog::parse(json.as_bytes()).unwrap();
        let program = Program {
            kind: ProgramKind::Trigger,
            name: "t".to_owned(),
            create: crate::text::Text(
                b"CREATE TRIGGER app.t BEFORE INSERT ON `app`.`x` FOR EACH ROW INSERT INTO app.log VALUES (1)".to_vec(),
            ),
            sql_mode: String::new(),
            charset: "utf8mb4".to_owned(),
            collation: "utf8mb4_bin".to_owned(),
            database_collation: String::new(),
            time_zone: None,
            comment: None,
            of_table: None,
            broken: false,
        };
        let said = statement(&program, &catalog, Some("new"), false);
        let expected = b"CREATE TRIGGER `new`.t BEFORE INSERT ON `new`.`x` FOR EACH ROW INSERT INTO app.log VALUES (1)";
        assert_eq!(String::from_utf8_lossy(&said), String::from_utf8_lossy(expected));
        let spaced =
            crate::text::Text(b"CREATE TRIGGER t BEFORE INSERT ON app.x for  each\nRow DELETE FROM app.x".to_vec());
        let said = statement(&Program { create: spaced, ..program.clone() }, &catalog, None, false);
        assert_eq!(said, b"CREATE TRIGGER t BEFORE INSERT ON x for  each\nRow DELETE FROM app.x");
        let said = statement(&program, &catalog, None, false);
        let expected = b"CREATE TRIGGER t BEFORE INSERT ON `x` FOR EACH ROW INSERT INTO app.log VALUES (1)";
        assert_eq!(String::from_utf8_lossy(&said), String::from_utf8_lossy(expected));
    }
}
