//! Scripts: commands of the operator's own, run in the proven copy before anybody sees it under its name.
//!
//! Owns reading files of `--before-swap` and running what is in them: documents of extended JSON, one after the other, each an `update`, `delete` or `insert` as the server's own commands are
//! (<https://www.mongodb.com/docs/manual/reference/command/update/>). Promises that every file is understood before anything is made, that commands reach the copy's collections alone, and that the first error ends the
//! restore and names file and line. Refuses commands that make, drop or change definitions, which are proven already, and collections that the backup has not.

use crate::catalog::{Catalog, Sort};
use crate::connection::Session;
use crate::failure::{assert_written, map, of_script};
use crate::json::Json;
use crate::raw::append_all;
use crate::reader::Readable;
use engine::{Error, Kind, Script};
use mongodb::bson::raw::{CString, cstr};
use mongodb::bson::{Bson, Document, RawDocumentBuf};
use mongodb::error::ErrorKind;
use std::sync::Arc;
use tokio::sync::RwLock;

/// Commands, and the members that each may have besides. Who waits for what, and in which session, is not theirs to say.
const KNOWN: [(&str, &[&str]); 3] = [
    ("update", &["updates", "ordered", "let", "bypassDocumentValidation", "comment"]),
    ("delete", &["deletes", "ordered", "let", "comment"]),
    ("insert", &["documents", "ordered", "bypassDocumentValidation", "comment"]),
];

/// One command of a file.
#[derive(Debug, PartialEq)]
struct Command {
    /// What it does, as the server calls it.
    verb: CString,
    /// The collection, as the backup calls it.
    collection: String,
    /// All that it says besides.
    rest: RawDocumentBuf,
    /// Where it begins, from 1.
    line: usize,
}

/// Fails for files that cannot be meant, or that name what the backup has not.
pub(crate) fn refuse(scripts: &[Script], catalog: &Catalog) -> Result<(), Error> {
    for script in scripts {
        for command in commands(script)? {
            let Command { collection, line, .. } = command;
            let named = catalog.collections.iter().find(|one| one.name == collection).map(|one| one.sort);
            let what = match named {
                Some(Sort::Collection) => continue,
                Some(Sort::View) => "is a view",
                Some(Sort::TimeSeries) => "is a time series, which is there under its name before this could be done",
                None => "is no collection of the backup",
            };
            return Err(wrong(script, line, &format!("{collection} {what}")));
        }
    }
    Ok(())
}

/// Runs the scripts in order. Returns a note for each. `on_their_way` is held by every command until it has its reply.
pub(crate) async fn run(
    session: &Session,
    readable: &Readable,
    scripts: &[Script],
    on_their_way: &Arc<RwLock<()>>,
) -> Result<Vec<String>, Error> {
    let mut notes = Vec::with_capacity(scripts.len());
    for script in scripts {
        let (mut done, mut touched) = (0_usize, 0);
        for command in commands(script)? {
            let what = format!("{}, line {}: {} {}", script.name, command.line, command.verb, command.collection);
            let reply = send(session, readable, &what, &command, on_their_way).await;
            touched += reply.map_err(|error| error.hint("nothing was published; the target is as it was"))?;
            done += 1;
        }
        let plural = if done == 1 { "" } else { "s" };
        let (name, these) = (&script.name, format!("{done} command{plural}"));
        notes.push(format!("{name}: {these} run before the collections got their names, {touched} documents changed"));
    }
    Ok(notes)
}

/// One command; how many documents it has changed.
async fn send(
    session: &Session,
    readable: &Readable,
    what: &str,
    command: &Command,
    on_their_way: &Arc<RwLock<()>>,
) -> Result<i64, Error> {
    let gone = || Error::new(Kind::Internal, format!("{what}: no such collection"));
    let of = readable.catalog.collections.iter().find(|one| one.name == command.collection).ok_or_else(gone)?;
    let mut words = RawDocumentBuf::new();
    words.append(command.verb.as_ref(), readable.name(of));
    append_all(&mut words, &command.rest, &[])?;
    let concern = RawDocumentBuf::try_from(&session.majority());
    words.append(cstr!("writeConcern"), concern.map_err(|e| Error::new(Kind::Internal, what).because(e))?);
    let (database, held) = (session.database(&readable.database), Arc::clone(on_their_way).read_owned().await);
    // A run that is given up leaves it to arrive: one that came after its collection was dropped would make it again.
    let sent = tokio::spawn(async move {
        let reply = database.run_raw_command(words).await;
        drop(held);
        reply
    });
    let reply = sent.await.map_err(|e| Error::new(Kind::Internal, what).because(e))?;
    let reply = reply.map_err(|error| match error.kind.as_ref() {
        ErrorKind::Command(said) => of_script(what, said.code, &said.code_name, &said.message),
        _ => map(what, &error),
    })?;
    let refused = reply.get_array("writeErrors").ok().and_then(|errors| errors.first()).and_then(Bson::as_document);
    if let Some(error) = refused {
        let code = error.get_i32("code").unwrap_or_default();
        return Err(of_script(what, code, "write error", error.get_str("errmsg").unwrap_or_default()));
    }
    assert_written(what, &reply)?;
    Ok(changed(&reply))
}

/// Of an update, what it has changed and made; of others, all that they found.
fn changed(reply: &Document) -> i64 {
    let number = |name: &str| reply.get_i32(name).map(i64::from).or_else(|_| reply.get_i64(name)).ok();
    let made = reply.get_array("upserted").map_or(0, |made| i64::try_from(made.len()).unwrap_or_default());
    number("nModified").map_or_else(|| number("n").unwrap_or_default(), |modified| modified + made)
}

fn wrong(script: &Script, line: usize, what: &str) -> Error {
    Error::new(Kind::Config, format!("{}, line {line}: {what}", script.name)).hint(
        "each file is a row of commands as extended JSON, such as {\"update\": \"users\", \"updates\": [{\"q\": {}, \"u\": {\"$unset\": {\"token\": 1}}, \"multi\": true}]}; nothing was changed",
    )
}

/// The commands of a file.
fn commands(script: &Script) -> Result<Vec<Command>, Error> {
    let text = script.text.as_str();
    let line_at = |at: usize| {
        let (before, rest) = text.split_at_checked(at).unwrap_or((text, ""));
        let blank = rest.len() - rest.trim_start().len();
        before.matches('\n').count() + rest.get(..blank).unwrap_or_default().matches('\n').count() + 1
    };
    let mut all = Vec::new();
    let mut documents = serde_json::Deserializer::from_str(text).into_iter::<Json>();
    loop {
        let line = line_at(documents.byte_offset());
        match documents.next() {
            None => return Ok(all),
            Some(Ok(json)) => all.push(command(&json, line).map_err(|what| wrong(script, line, &what))?),
            // Where it stops making sense is said by what reads it, by line and column.
            Some(Err(error)) => {
                return Err(wrong(script, line, &format!("what begins here is no JSON: {error}")));
            }
        }
    }
}

/// One command, or what is wrong with it.
fn command(json: &Json, line: usize) -> Result<Command, String> {
    let words = json.document(false).map_err(|error| error.what)?;
    let mut members = words.iter().flatten().map(|(name, _)| name.as_str().to_owned());
    let first = members.next().unwrap_or_default();
    let Some((verb, known)) = KNOWN.iter().find(|(verb, _)| *verb == first) else {
        return Err(format!("{first:?} is not update, delete or insert, and a command begins with what it does"));
    };
    if let Some(other) = members.find(|name| !known.contains(&name.as_str())) {
        return Err(format!("{verb} takes no {other:?} here, only {}", known.join(", ")));
    }
    let collection = words.get_str(&first).map_err(|_| format!("{verb} names no collection"))?.to_owned();
    let mut rest = RawDocumentBuf::new();
    append_all(&mut rest, &words, &[verb]).map_err(|error| error.what)?;
    let verb = CString::try_from(first).map_err(|_| "a name with a zero in it".to_owned())?;
    Ok(Command { verb, collection, rest, line })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::catalog::{Collection, Moment};
    use crate::raw::Kept;
    use mongodb::bson::{doc, rawdoc};

    fn script(text: &str) -> Script {
        Script { name: "d.json".to_owned(), text: text.to_owned() }
    }

    fn refused(text: &str) -> Option<String> {
        let one = |name: &str, sort: Sort| Collection::new(name, sort, Kept(rawdoc! {}));
        let all = vec![one("users", Sort::Collection), one("seen", Sort::View), one("pulse", Sort::TimeSeries)];
        let moment = Moment { protocol: "snapshot".to_owned(), time: (1, 1), set: "rs0".to_owned() };
        refuse(&[script(text)], &Catalog::new("6.0.5", "app", moment, all)).err().map(|error| error.what)
    }

    #[test]
    fn commands_are_read_with_their_lines_and_members_in_order() {
        let text = r#"
            {"update": "users", "updates": [{"q": {"b": 1, "a": {"$date": "2026-01-01T00:00:00Z"}}, "u": {"$set": {"x": {"$numberLong": "7"}}}}]}

            {"delete": "users",
             "deletes": [{"q": {"mail": {"$regex": "@"}}, "limit": 0}]} {"insert": "users", "documents": []}
        "#;
        let all = commands(&script(text)).unwrap();
        let told: Vec<_> = all.iter().map(|one| (one.verb.as_str(), one.collection.as_str(), one.line)).collect();
        assert_eq!(told, [("update", "users", 2), ("delete", "users", 4), ("insert", "users", 5)]);
        let update = Document::try_from(all[0].rest.as_ref()).unwrap();
        let date = mongodb::bson::DateTime::parse_rfc3339_str("2026-01-01T00:00:00Z").unwrap();
        let wanted = doc! {"updates": [{"q": {"b": 1, "a": date}, "u": {"$set": {"x": 7_i64}}}]};
        assert_eq!(update.to_string(), wanted.to_string());
        assert_eq!(refused(text), None);
        // A query by an expression is a query, and not a value of that kind.
        let delete = Document::try_from(all[1].rest.as_ref()).unwrap();
        assert_eq!(delete.to_string(), doc! {"deletes": [{"q": {"mail": {"$regex": "@"}}, "limit": 0}]}.to_string());
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_line() {
        for (text, says) in [
            ("db.users.updateMany({}, {})", "line 1: what begins here is no JSON"),
            (r#"{"delete": "users", "deletes": []} {"delete": "#, "no JSON"),
            ("\n[1]", "line 2"),
            ("{}", "begins with what it does"),
            (r#"{"drop": "users"}"#, "\"drop\" is not update, delete or insert"),
            (r#"{"updates": [], "update": "users"}"#, "\"updates\" is not update"),
            (r#"{"update": 1}"#, "names no collection"),
            (r#"{"delete": "users", "deletes": [], "writeConcern": {"w": 0}}"#, "takes no \"writeConcern\""),
            (r#"{"delete": "users", "$db": "other"}"#, "takes no \"$db\""),
            (r#"{"delete": "app.users", "deletes": []}"#, "app.users is no collection of the backup"),
            (r#"{"delete": "seen", "deletes": []}"#, "seen is a view"),
            (r#"{"delete": "pulse", "deletes": []}"#, "pulse is a time series"),
            (r#"{"delete": "users", "deletes": [{"q": {"t": {"$date": "never"}}}]}"#, "a $date that is not one"),
        ] {
            let said = refused(text).unwrap_or_default();
            assert!(said.starts_with("d.json, line ") && said.contains(says), "{text}: {said}");
        }
    }

    #[test]
    fn what_was_changed_is_counted_as_the_server_says() {
        assert_eq!(changed(&doc! {"n": 3, "nModified": 2, "ok": 1}), 2);
        assert_eq!(changed(&doc! {"n": 1, "nModified": 0, "upserted": [{"index": 0, "_id": 1}]}), 1);
        assert_eq!(changed(&doc! {"n": 3, "ok": 1}), 3);
    }
}
