//! Values: what these servers would change without a word is refused, and what is taken comes back as it was written.

use loader::{Done, Error};
use testkit::servers::{Flavour, TestSchema};

use super::{append, schemas_with, traces};
use crate::kit::{Hand, is_loaded};

/// Columns of types whose values the servers change, or guess.
const TAKEN: &str = "create table t (ti tinyint, tb tinyint(1), bi bigint unsigned, n decimal(6, 2), nu decimal(4, 1) unsigned, d date, s datetime, f datetime(3), \
    z timestamp null default null, c time, c3 time(3), y year, v varchar(3), ch char(3), l varchar(9) character set latin1, tt tinytext, \
    tl tinytext character set latin1, b binary(3), vb varbinary(3), bit4 bit(4), bit1 bit(1), e enum('a', 'b', '7'), st set('x', 'y', 'z'), \
    r double, q float, nn int not null default 5, ts timestamp not null default current_timestamp)";

async fn one(db: &TestSchema, column: &str, value: &str) -> Result<Done, Error> {
    append(db, "t", &Hand::new(&[column], &[value])).await
}

#[tokio::test]
async fn a_value_that_would_change_is_refused() {
    let (long, narrow) = (format!("{}  ", "x".repeat(254)), "\u{e9}".repeat(256));
    for db in schemas_with(TAKEN).await {
        let flavour = db.server.flavour;
        for (column, value) in [
            ("ti", "128"),
            ("ti", "1.5"),
            ("ti", "1e1"),
            ("ti", "yes"),
            ("ti", ""),
            ("bi", "-1"),
            ("bi", "18446744073709551616"),
            ("n", "1.239"),
            ("n", "1.005"),
            ("n", "1e-3"),
            ("n", "12345.6"),
            ("n", "1,5"),
            ("nu", "-1"),
            ("d", "26-01-02"),
            ("d", "20261123"),
            ("d", "2026-1-2"),
            ("d", "0000-00-00"),
            ("d", "2026-00-10"),
            ("d", "2026-02-30"),
            ("d", "2026-11-23 10:00:00"),
            ("d", "now()"),
            ("s", "2026-11-23 10:00:00.6"),
            ("s", "2026-11-23T10:00:00+02:00"),
            ("s", "2026-11-23 25:00:00"),
            ("s", "0000-00-00 00:00:00"),
            ("f", "2026-11-23 10:00:00.1234"),
            ("z", "2040-01-01 00:00:00"),
            ("z", "1969-12-31 23:59:59"),
            ("z", "2026-11-23 10:00:00.5"),
            ("c", "10"),
            ("c", "1000"),
            ("c", "900:00:00"),
            ("c3", "10:00:00.1234"),
            ("y", "26"),
            ("y", "1"),
            ("v", "abc "),
            ("v", "abcd"),
            ("ch", "a "),
            ("ch", "abcd"),
            ("l", "\u{20ac}\u{4e2d}"),
            ("l", "a\u{1f600}"),
            ("tt", long.as_str()),
            ("tl", narrow.as_str()),
            ("b", "ab"),
            ("vb", "abcd"),
            ("bit4", "1"),
            ("bit4", "15"),
            ("bit1", "b"),
            ("e", "A"),
            ("e", "2"),
            ("e", ""),
            ("st", "y,x"),
            ("st", "x,x"),
            ("st", "4"),
            ("r", "1e400"),
            ("r", "1e-400"),
            ("r", "0x10"),
            ("q", "1e39"),
            ("nn", "~"),
            ("ts", "~"),
        ] {
            // MariaDB 11.8 keeps them until 2106.
            if column == "z" && value.starts_with("2040") && flavour == Flavour::MariaDb11 {
                continue;
            }
            let text = match one(&db, column, value).await {
                Err(error) => error.to_string(),
                Ok(_) => {
                    panic!("{flavour} takes {column} {value}: {:?}", db.rows(&format!("select {column} from t")).await)
                }
            };
            assert!(text.contains("a.csv:2: "), "{flavour} {column} {value}: {text}");
            assert!(value.len() < 5 || !text.contains(value), "{text}");
        }
        assert_eq!((db.one("select count(*) from t").await, traces(&db).await), ("0".into(), ("0".into(), "0".into())));
    }
}

#[tokio::test]
async fn a_value_that_stays_what_it_is_is_taken() {
    let most = "\u{e9}".repeat(127);
    for db in schemas_with(TAKEN).await {
        let flavour = db.server.flavour;
        for (column, value, there) in [
            ("ti", "-128", "-128"),
            ("ti", "+007", "7"),
            ("tb", "true", "1"),
            ("tb", "false", "0"),
            ("bi", "18446744073709551615", "18446744073709551615"),
            ("n", "-1.2300", "-1.23"),
            ("n", "1.5E3", "1500.00"),
            ("n", ".5", "0.50"),
            ("n", "9999.99", "9999.99"),
            ("nu", "-0", "0.0"),
            ("d", "2024-02-29", "2024-02-29"),
            ("d", "9999-12-31", "9999-12-31"),
            ("s", "2026-11-23", "2026-11-23 00:00:00"),
            ("s", "2026-11-23T10:00:00Z", "2026-11-23 10:00:00"),
            ("s", "2026-11-23 10:00:00.000", "2026-11-23 10:00:00"),
            ("f", "2026-11-23 23:59:59.999", "2026-11-23 23:59:59.999"),
            ("z", "2026-11-23T00:30:00+02:00", "2026-11-22 22:30:00"),
            ("z", "2038-01-19 03:14:07", "2038-01-19 03:14:07"),
            ("c", "10:00", "10:00:00"),
            ("c", "-838:59:59", "-838:59:59"),
            ("c3", "10:00:00.120", "10:00:00.120"),
            ("y", "2026", "2026"),
            ("v", "a  ", "a  "),
            ("v", "\u{1f600}\u{e9}x", "\u{1f600}\u{e9}x"),
            ("ch", "\u{e9}\u{e9}\u{e9}", "\u{e9}\u{e9}\u{e9}"),
            ("l", "\u{e9}\u{20ac} ", "\u{e9}\u{20ac} "),
            ("tt", most.as_str(), most.as_str()),
            ("b", "abc", "abc"),
            ("vb", "\u{20ac}", "\u{20ac}"),
            ("bit4", "0101", "5"),
            ("bit1", "true", "1"),
            ("e", "7", "7"),
            ("e", "b", "b"),
            ("st", "x,z", "x,z"),
            ("st", "", ""),
            ("r", "0.1", "0.1"),
            ("r", "-1.7976931348623157e308", "-1.7976931348623157e308"),
            ("q", "1.5", "1.5"),
        ] {
            let done = one(&db, column, value).await;
            assert!(done.as_ref().is_ok_and(is_loaded), "{flavour} {column} {value}: {done:?}");
            let shown = if column.starts_with("bit") { format!("{column} + 0") } else { column.to_owned() };
            let found = format!("select {shown} from t where {column} is not null");
            assert_eq!(db.one(&found).await, there, "{flavour} {column} {value}");
            db.exec("delete from t").await;
        }
    }
}

/// MariaDB alone has these.
#[tokio::test]
async fn addresses_and_identifiers_are_taken_as_they_are() {
    for db in schemas_with("create table none (id int)").await {
        if !db.server.flavour.is_mariadb() {
            continue;
        }
        db.exec("create table t (u uuid, i inet6)").await;
        let drop = Hand::new(&["u", "i"], &["550E8400-e29b-41d4-a716-446655440000|2001:DB8::1", "~|~"]);
        assert!(is_loaded(&append(&db, "t", &drop).await.unwrap()));
        let rows = db.one("select concat(u, ' ', i) from t where u is not null").await;
        assert_eq!(rows, "550e8400-e29b-41d4-a716-446655440000 2001:db8::1");
        let text = append(&db, "t", &Hand::new(&["u"], &["0123"])).await.unwrap_err().to_string();
        assert!(text.contains("a.csv:2: column u: not a UUID"), "{text}");
        assert_eq!(db.one("select count(*) from t").await, "2");
    }
}
