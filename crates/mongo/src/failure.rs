//! What the servers' errors mean to a job.
//!
//! Owns the mapping from error codes to a kind. Promises that a message names what was being done and to what, and that documents do not
//! leak: where a message quotes one, it ends before. Codes: <https://www.mongodb.com/docs/manual/reference/error-codes/>.

use engine::{Error, Kind};
use mongodb::bson::{Bson, Document};
use mongodb::error::{Error as Driver, ErrorKind};

/// Turns a driver's error into ours; `what` says what was being done.
pub(crate) fn from_mongo(what: impl Into<String>) -> impl FnOnce(Driver) -> Error {
    let what = what.into();
    move |error| map(&what, &error)
}

/// The kind and text of an error.
pub(crate) fn map(what: &str, error: &Driver) -> Error {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => of_server(what, command.code, &command.code_name, &command.message),
        ErrorKind::Authentication { .. } => not_let_in(what),
        ErrorKind::InvalidArgument { message, .. } => Error::new(Kind::Config, format!("{what}: {message}")),
        ErrorKind::InvalidTlsConfig { message, .. } => Error::new(Kind::Config, format!("{what}: {message}"))
            .hint("see tls, tlsCAFile and tlsCertificateKeyFile in the URL"),
        ErrorKind::IncompatibleServer { message, .. } => Error::new(Kind::Unsupported, format!("{what}: {message}")),
        ErrorKind::ServerSelection { message, .. } => Error::new(Kind::Unavailable, format!("{what}: {message}"))
            .hint("is the server up and reachable from here, by the names that its replica set knows its members by? Is replicaSet the set's name? directConnection=true speaks to one member alone"),
        ErrorKind::Io(io) => unavailable(what, &io.to_string()),
        other => unavailable(what, &other.to_string()),
    }
}

const CREDENTIALS: &str = "check user, password and authSource, the database that knows the user";

fn not_let_in(what: &str) -> Error {
    Error::new(Kind::Refused, format!("{what}: the server does not let this user in")).hint(CREDENTIALS)
}

fn unavailable(what: &str, said: &str) -> Error {
    if said.contains("certificate") {
        return Error::new(Kind::Config, format!("{what}: {said}")).hint("see tlsCAFile in the URL");
    }
    if said.contains("SCRAM") || said.contains("Authentication failed") {
        return not_let_in(what);
    }
    Error::new(Kind::Unavailable, format!("{what}: {}", without_documents(said)))
        .hint("is the server up and reachable from here? The run can be repeated as it is")
}

/// An error that a server's reply carries.
pub(crate) fn of_server(what: &str, code: i32, name: &str, message: &str) -> Error {
    let mapped =
        Error::new(kind_of(code), format!("{what}: {} ({name}, {code})", without_documents(message).trim_end()));
    match hint_of(code) {
        Some(hint) => mapped.hint(hint),
        None => mapped,
    }
}

/// Errors that are about a command's words, and not about what it met.
const ABOUT_WORDS: [i32; 6] = [9, 13, 40, 59, 72, 40415];
/// Errors that are over after a while: elections, lost connections, servers that end, time limits.
const PASSING: [i32; 14] = [6, 7, 50, 64, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436];

/// An error of a command that is the operator's own. What such a command computes is quoted in messages, and so a message is repeated only when it is about words; and a mistake
/// stays one however often it is tried.
pub(crate) fn of_script(what: &str, code: i32, name: &str, message: &str) -> Error {
    if ABOUT_WORDS.contains(&code) {
        return of_server(what, code, name, message);
    }
    let kind = match kind_of(code) {
        Kind::Unavailable if !PASSING.contains(&code) => Kind::Config,
        kind => kind,
    };
    Error::new(kind, format!("{what}: the server does not do it ({name}, {code})"))
}

/// Fails unless what a reply is of was done, and by as many members as it was asked of: such replies are no errors to the driver.
pub(crate) fn assert_written(what: &str, reply: &Document) -> Result<(), Error> {
    let first = |errors: &[Bson]| errors.first().and_then(Bson::as_document).cloned();
    if let Some(error) = reply.get_array("writeErrors").ok().and_then(|errors| first(errors)) {
        let said = error.get_str("errmsg").unwrap_or_default();
        return Err(of_server(what, error.get_i32("code").unwrap_or_default(), "write error", said));
    }
    if let Ok(concern) = reply.get_document("writeConcernError") {
        let said = concern.get_str("errmsg").unwrap_or_default();
        return Err(Error::new(Kind::Unavailable, format!("{what}: {said}"))
            .hint("see rs.status(): members are down, or far behind"));
    }
    Ok(())
}

fn kind_of(code: i32) -> Kind {
    match code {
        13 | 18 | 31 | 8000 => Kind::Refused,
        26 => Kind::NotFound,
        48 => Kind::Exists,
        // A unique index, a validator, a place on earth that is none, two arrays in one index, a document that is too large.
        121 | 171 | 10334 | 11000 | 11001 | 16755 | 17280 => Kind::Data,
        // The snapshot is too old, something in the catalog changed since, or the name is that of another collection or of none.
        239 | 246 | 175 | 361 => Kind::Changed,
        2 | 9 | 14 | 20 | 40 | 59 | 67 | 72 | 73 | 85 | 86 | 197 | 40415 | 51024 => Kind::Config,
        _ => Kind::Unavailable,
    }
}

fn hint_of(code: i32) -> Option<&'static str> {
    Some(match code {
        13 => "grant the role that the guide names for this: docs/guides/mongodb.md",
        18 => CREDENTIALS,
        11000 | 11001 => "two documents have the same key for a unique index; nothing was published",
        239 => {
            "reading took longer than the server keeps its past: raise minSnapshotHistoryWindowInSeconds, read with more --workers or a higher --max-rate, or from a secondary with less to do"
        }
        246 => "a collection was changed while it was read; run it again",
        361 => {
            "it was dropped or renamed while the database was read; run it again when nobody changes collections or indexes"
        }
        _ => return None,
    })
}

/// Everything before the first document or value that a message quotes.
fn without_documents(message: &str) -> &str {
    let ends = [" dup key", "{", "\"", ": [", "_id:"];
    let end = ends.iter().filter_map(|mark| message.find(mark)).min().unwrap_or(message.len());
    message.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mongodb::bson::doc;

    #[test]
    fn a_reply_with_errors_is_one() {
        let kind = |reply: Document| assert_written("x", &reply).err().map(|error| error.kind);
        assert_eq!(kind(doc! {"n": 1, "ok": 1}), None);
        let concern = doc! {"code": 64, "errmsg": "waiting for replication timed out"};
        assert_eq!(kind(doc! {"n": 1, "ok": 1, "writeConcernError": concern}), Some(Kind::Unavailable));
        assert_eq!(kind(doc! {"n": 0, "ok": 1, "writeErrors": [{"code": 11000, "errmsg": "x"}]}), Some(Kind::Data));
    }

    #[test]
    fn what_a_command_of_somebodys_has_met_is_not_repeated() {
        let met =
            of_script("d.json, line 1", 241, "ConversionFailure", "Failed to parse number 'Ann Smith, 43' in $convert");
        assert_eq!((met.kind, met.what.contains("Ann")), (Kind::Config, false), "{met}");
        assert_eq!(of_script("x", 11000, "write error", "E11000 dup key: { a: 'Ann' }").kind, Kind::Data);
        assert_eq!(of_script("x", 11602, "InterruptedDueToReplStateChange", "").kind, Kind::Unavailable);
        let words = of_script("x", 9, "FailedToParse", "Unknown modifier: $sett. Expected a valid one");
        assert!(words.kind == Kind::Config && words.what.contains("$sett"), "{words}");
    }

    #[test]
    fn kinds_follow_codes_and_documents_are_left_out() {
        let message =
            "E11000 duplicate key error collection: a.b index: email_1 dup key: { email: \"ann@example.org\" }";
        let error = of_server("load b", 11000, "DuplicateKey", message);
        assert_eq!(error.kind, Kind::Data);
        assert_eq!(
            error.what,
            "load b: E11000 duplicate key error collection: a.b index: email_1 (DuplicateKey, 11000)"
        );
        let error = of_server("build", 16755, "Location16755", "Can't extract geo keys: { _id: 1, place: \"secret\" }");
        assert!(!error.what.contains("secret"), "{error}");
        for (code, kind) in [(13, Kind::Refused), (239, Kind::Changed), (10107, Kind::Unavailable), (48, Kind::Exists)]
        {
            assert_eq!(of_server("x", code, "X", "y").kind, kind);
        }
    }
}
