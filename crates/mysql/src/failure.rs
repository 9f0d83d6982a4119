//! What the servers' errors mean to a job.
//!
//! Owns the mapping from error numbers to a kind. Promises that a message names what was being done and to what, and that
//! row content does not leak: where a message quotes a value, the value is left out. Numbers and their meaning:
//! <https://dev.mysql.com/doc/mysql-errors/9.0/en/server-error-reference.html>; MariaDB's are the same as far as they are here.

use engine::{Error, Kind};
use mysql_async::{DriverError, Error as Driver, ServerError};

/// Turns a driver's error into ours; `what` says what was being done.
pub(crate) fn from_mysql(what: impl Into<String>) -> impl FnOnce(Driver) -> Error {
    let what = what.into();
    move |error| map(&what, &error)
}

/// The server's error number, where it was the server that said no.
pub(crate) fn code(error: &Driver) -> Option<u16> {
    match error {
        Driver::Server(error) => Some(error.code),
        _ => None,
    }
}

/// The kind and text of an error.
pub(crate) fn map(what: &str, error: &Driver) -> Error {
    match error {
        Driver::Server(error) => of_server(what, error),
        Driver::Driver(DriverError::NoClientSslFlagFromServer) => {
            Error::new(Kind::Config, format!("{what}: the server does not offer TLS"))
                .hint("set up TLS at the server, or say ssl-mode=disabled in the URL where the way there is private")
        }
        Driver::Io(error) if is_about_trust(&error.to_string()) => {
            Error::new(Kind::Config, format!("{what}: {error}")).hint("see ssl-mode and ssl-ca in the URL")
        }
        other => Error::new(Kind::Unavailable, format!("{what}: {}", told(other)))
            .hint("is the server up and reachable from here? The run can be repeated as it is"),
    }
}

/// Whether the two sides could not agree on TLS, or one does not trust the other; a connection that ends is another matter.
fn is_about_trust(said: &str) -> bool {
    !said.contains("close_notify")
        && ["certificate", "Handshake", "ProtocolVersion", "TLS error"].iter().any(|word| said.contains(word))
}

/// A driver's own words, without what they may quote of a row.
fn told(error: &Driver) -> String {
    match error {
        Driver::Driver(DriverError::FromRow { .. } | DriverError::FromValue { .. }) => {
            "the server answered something unexpected (left out)".to_owned()
        }
        Driver::Driver(DriverError::ConnectionClosed) => "the connection was closed".to_owned(),
        Driver::Io(error) if error.to_string().contains("close_notify") => {
            "the server closed the connection".to_owned()
        }
        Driver::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

fn of_server(what: &str, error: &ServerError) -> Error {
    let kind = kind_of(error.code);
    let message = if quotes_values(error.code) { without_values(&error.message) } else { error.message.clone() };
    let mapped = Error::new(kind, format!("{what}: {message} (error {})", error.code));
    match hint_of(error.code) {
        Some(hint) => mapped.hint(hint),
        None => mapped,
    }
}

/// Messages that quote what a row holds: duplicate keys, values that do not fit, what a trigger or function says.
fn quotes_values(code: u16) -> bool {
    matches!(
        code,
        1048 | 1062
            | 1264
            | 1265
            | 1292
            | 1300
            | 1366
            | 1367
            | 1411
            | 1416
            | 1451
            | 1452
            | 1525
            | 1526
            | 1586
            | 1644
            | 1690
            | 1761
            | 1762
            | 1977
            | 3854
    ) || matches!(code, 3140..=3150 | 3617 | 3819 | 4025 | 4077 | 4078)
}

/// Everything between quotes left out, apart from what follows the words that name a column, a key, a table or a constraint.
fn without_values(message: &str) -> String {
    if message.starts_with("Table has no partition for value") {
        return "Table has no partition for a value (left out)".to_owned();
    }
    const NAMING: [&str; 6] = ["column ", "key ", "table ", "constraint ", "CONSTRAINT ", "function "];
    let mut out = String::new();
    let mut rest = message;
    while let Some(at) = rest.find(['\'', '"', '`']) {
        let (before, quoted) = rest.split_at(at);
        out.push_str(before);
        let quote = quoted.chars().next().unwrap_or('\'');
        let Some(end) = quoted.get(1..).and_then(|inner| inner.find(quote)) else {
            return format!("{out}(value left out)");
        };
        let (name, after) = quoted.split_at(end + 2);
        let names = quote == '`' || NAMING.iter().any(|word| out.ends_with(word));
        out.push_str(if names { name } else { "(value left out)" });
        rest = after;
    }
    out.push_str(rest);
    out
}

fn kind_of(code: u16) -> Kind {
    match code {
        // No such schema; no such grant on it either way.
        1049 => Kind::NotFound,
        1044 | 1045 | 1142 | 1143 | 1227 | 1370 | 1418 | 1419 | 1698 | 3118 | 1396 | 1449 => Kind::Refused,
        1290 | 1836 | 1792 => Kind::Refused,
        1007 | 1050 | 1304 | 1359 | 1537 => Kind::Exists,
        // The definition that a snapshot knew is not the table's any more; a table or column is gone.
        1412 | 1146 | 1054 | 1305 | 1360 | 1539 | 1347 | 1356 => Kind::Changed,
        // Locks, deadlocks, limits that pass, shutdowns, ended sessions, full disks.
        1205
        | 1213
        | 1040
        | 1203
        | 1226
        | 1053
        | 1317
        | 1927
        | 1021
        | 1114
        | 1041
        | 1037
        | 1038
        | 1129
        | 1152..=1161
        | 1184
        | 1969
        | 3024 => Kind::Unavailable,
        1028 | 1030 | 1026 | 1020 | 3170 | 3572 => Kind::Unavailable,
        code if quotes_values(code) => Kind::Data,
        1261 | 1262 | 1406 => Kind::Data,
        1130 | 1251 | 1275 | 1524 | 1193 | 1115 | 1273 | 1286 | 1231 | 3098 => Kind::Config,
        1235 | 1289 | 1295 => Kind::Unsupported,
        _ => Kind::Config,
    }
}

fn hint_of(code: u16) -> Option<&'static str> {
    Some(match code {
        1044 | 1142 | 1143 | 1227 | 1370 | 1419 => {
            "grant the user what is missing; `longshore doctor` prints the statements"
        }
        1045 | 1698 => "check the user, the password and the host that the user may come from",
        1049 => "check the database's name in the URL",
        1418 => "SET GLOBAL log_bin_trust_function_creators = 1 at the target, for as long as the restore takes",
        1040 | 1203 | 1226 => "lower --workers or raise max_connections",
        1130 => "the server does not let this host in; check the user's host part",
        1205 | 1213 => "another session held a lock for too long; run again at a quieter time",
        1021 | 1114 => "free space on the database server's disk, or raise its limit, then run again",
        1053 | 1317 | 1927 => "the server was stopped, or somebody ended our session; run again",
        1153 => "raise max_allowed_packet at the server",
        1160 | 1161 => "raise net_write_timeout at the server, or find out what slows the way to the repository",
        1290 | 1836 => "the server is read-only; restore into one that can be written to",
        1273 | 1115 => {
            "this server does not know that character set or collation; restore into the product and version it came from"
        }
        1286 => "install that storage engine at the target",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(code: u16, message: &str) -> Error {
        of_server("load t", &ServerError { code, message: message.to_owned(), state: "HY000".to_owned() })
    }

    #[test]
    fn values_are_left_out_and_names_stay() {
        let error = said(1062, "Duplicate entry 'Jane Doe' for key 'p.name'");
        assert!(error.what.contains("'p.name'") && !error.what.contains("Jane"), "{}", error.what);
        let error = said(1366, "Incorrect string value: '\\xF0\\x9F' for column 'note' at row 7");
        assert!(error.what.contains("'note' at row 7") && !error.what.contains("xF0"), "{}", error.what);
        let error = said(1366, "Incorrect integer value: 'it's Jane' for column 'n' at row 1");
        assert!(!error.what.contains("it's"), "{}", error.what);
        assert_eq!(said(1062, "x").kind, Kind::Data);
    }

    #[test]
    fn kinds_are_those_that_a_retry_or_an_operator_acts_on() {
        for (code, kind) in
            [(1045, Kind::Refused), (1049, Kind::NotFound), (1213, Kind::Unavailable), (1412, Kind::Changed)]
        {
            assert_eq!(said(code, "x").kind, kind);
        }
    }
}
