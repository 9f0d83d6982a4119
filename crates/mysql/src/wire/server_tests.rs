//! The same words from real servers by both ways: ours and the driver's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use super::*;
use crate::connection::{Purpose, connect};
use crate::failure::map;
use crate::link::{self, Link};
use crate::quote::ident;
use crate::tsv;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use std::sync::Arc;
use testkit::servers::{Flavour, MysqlServer, TestSchema, mysql};

macro_rules! on_each_server {
    ($name:ident) => {
        mod $name {
            use testkit::servers::Flavour;

            #[tokio::test]
            async fn mariadb_10_11() {
                super::$name(Flavour::MariaDb10).await;
            }

            #[tokio::test]
            async fn mariadb_11_8() {
                super::$name(Flavour::MariaDb11).await;
            }

            #[tokio::test]
            async fn mysql_5_6() {
                super::$name(Flavour::MySql5).await;
            }

            #[tokio::test]
            async fn mysql_9() {
                super::$name(Flavour::MySql9).await;
            }
        }
    };
}

async fn with_schema(flavour: Flavour) -> Option<(Arc<MysqlServer>, TestSchema)> {
    let server = mysql(flavour).await?;
    let db = server.database().await;
    Some((server, db))
}

fn endpoint(url: &str) -> Endpoint {
    Endpoint::parse(url, None).unwrap()
}

async fn lines(link: &mut Link, sql: &str) -> Vec<Vec<u8>> {
    let (mut all, mut line) = (Vec::new(), Vec::new());
    let mut lines = link.lines(sql).await.unwrap();
    while lines.next(&mut line).await.unwrap() {
        all.push(line.clone());
    }
    all
}

/// Both ways, as sessions that read rows are set up.
async fn both(db: &TestSchema) -> (Link, Link) {
    let endpoint = endpoint(&db.url());
    let (mut raw, mut driver) = (link::for_rows(&endpoint).await.unwrap(), link::by_driver(&endpoint).await.unwrap());
    assert!(matches!((&raw, &driver), (Link::Wire(_), Link::Driver(_))));
    for link in [&mut raw, &mut driver] {
        link.run(b"SET NAMES utf8mb4, sql_mode = '', character_set_results = NULL, time_zone = '+00:00'")
            .await
            .unwrap();
        link.run(format!("USE {}", ident(db.name())).as_bytes()).await.unwrap();
    }
    (raw, driver)
}

async fn random_values_are_the_same_both_ways(flavour: Flavour) {
    let Some((_server, db)) = with_schema(flavour).await else { return };
    let (mut raw, mut driver) = both(&db).await;
    let mut runner = TestRunner::deterministic();
    let bytes = proptest::collection::vec(proptest::num::u8::ANY, 0..300);
    let value = proptest::option::weighted(0.8, bytes);
    let columns = 1_usize..7;
    let table = columns.prop_flat_map(move |columns| {
        proptest::collection::vec(proptest::collection::vec(value.clone(), columns), 1..9)
    });
    for _ in 0..60 {
        let rows: Vec<Vec<Option<Vec<u8>>>> = table.new_tree(&mut runner).unwrap().current();
        let literal = |value: &Option<Vec<u8>>| {
            value
                .as_deref()
                .map_or("NULL".to_owned(), |v| if v.is_empty() { "''".to_owned() } else { crate::quote::hex(v) })
        };
        let select =
            |row: &Vec<Option<Vec<u8>>>| format!("SELECT {}", row.iter().map(literal).collect::<Vec<_>>().join(", "));
        let sql = rows.iter().map(select).collect::<Vec<_>>().join(" UNION ALL ");
        let expected: Vec<Vec<u8>> = rows
            .iter()
            .map(|row| {
                let mut line = Vec::new();
                row.iter().enumerate().for_each(|(at, value)| tsv::push(&mut line, at == 0, value.as_deref()));
                line
            })
            .collect();
        let (ours, theirs) = (lines(&mut raw, &sql).await, lines(&mut driver, &sql).await);
        assert_eq!(ours, expected, "{sql}");
        assert_eq!(theirs, expected, "{sql}");
        let (ours, theirs) = (raw.rows(&sql).await.unwrap(), driver.rows(&sql).await.unwrap());
        assert!(ours.iter().map(|row| &row.0).eq(theirs.iter().map(|row| &row.0)), "{sql}");
        assert!(ours.iter().map(|row| &row.0).eq(&rows), "{sql}");
    }
}
on_each_server!(random_values_are_the_same_both_ways);

/// Every odd table, and everything that a server shows of itself.
async fn odd_tables_are_the_same_both_ways(flavour: Flavour) {
    let Some((server, db)) = with_schema(flavour).await else { return };
    testkit::mysql::make(&mut db.connection().await, db.name(), &testkit::mysql::fixture(flavour)).await;
    let (mut raw, mut driver) = both(&db).await;
    let list =
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type <> 'VIEW'";
    let tables = driver.rows(list).await.unwrap();
    assert!(tables.len() > 10);
    let questions = tables.iter().map(|row| format!("SELECT * FROM {}", ident(&row.text(0))));
    let shown = ["SHOW CHARACTER SET", "SHOW COLLATION", "SHOW PLUGINS"].map(str::to_owned);
    for sql in questions.chain(shown) {
        assert_eq!(lines(&mut raw, &sql).await, lines(&mut driver, &sql).await, "{sql}");
    }
    drop(server);
}
on_each_server!(odd_tables_are_the_same_both_ways);

/// Lengths at which the protocol writes lengths and packets differently.
async fn long_rows_are_the_same_both_ways(flavour: Flavour) {
    let Some((_server, db)) = with_schema(flavour).await else { return };
    let (mut raw, mut driver) = both(&db).await;
    let full = 0xff_ffff;
    // Of a full packet and one byte around it, with four bytes of length before each value.
    let around = |packets: usize| (packets * full - 49..=packets * full - 47).chain([packets * full + 70_000]);
    for length in [250, 251, 255, 65_535, 65_536].into_iter().chain((1..=2).flat_map(around)) {
        // No value is longer than the smallest max_allowed_packet.
        let values = if length > full / 2 { 12 } else { 1 };
        let (part, rest) = (length / values, length % values);
        let mut columns = vec![format!("REPEAT('\\t', {part})"); values - 1];
        columns.push(format!("REPEAT('x', {})", part + rest));
        let (long, short) = (columns.join(", "), vec!["'y'"; values].join(", "));
        let sql = format!("SELECT {long} UNION ALL SELECT {short}");
        let (ours, theirs) = (lines(&mut raw, &sql).await, lines(&mut driver, &sql).await);
        assert!(ours == theirs, "{length}");
        assert_eq!(
            ours.iter().map(Vec::len).collect::<Vec<_>>(),
            [2 * part * (values - 1) + part + rest + values - 1, 2 * values - 1]
        );
    }
}
on_each_server!(long_rows_are_the_same_both_ways);

/// Ways to prove a password that this server has and the driver knows.
fn ways(flavour: Flavour) -> &'static [&'static str] {
    match flavour {
        Flavour::MySql9 => &["caching_sha2_password"],
        _ => &["mysql_native_password"],
    }
}

fn identified(flavour: Flavour, plugin: &str, password: &str) -> String {
    match flavour {
        Flavour::MySql9 => format!("identified with {plugin} by '{password}'"),
        Flavour::MySql5 if plugin == "sha256_password" => format!("identified with {plugin}"),
        _ => format!("identified by '{password}'"),
    }
}

/// Each with the proof alone, with the whole password (which a server asks for at first), without one; encrypted and not.
async fn every_way_to_prove_a_password_is_ours(flavour: Flavour) {
    let Some((server, db)) = with_schema(flavour).await else { return };
    // As they are set up for tests: the two newer ones make themselves a certificate.
    let offers_tls = matches!(flavour, Flavour::MySql9 | Flavour::MariaDb11);
    for plugin in ways(flavour) {
        for (number, password) in
            ["pw", "", "a longer one with 'quotes' \\ and \u{1F512} past twenty bytes"].into_iter().enumerate()
        {
            for mode in ["disabled", "preferred", "required"] {
                if mode == "required" && !offers_tls {
                    continue;
                }
                let user = format!("w{number}{}{}", &mode[..1], &db.name()[4..]);
                let said = password.replace('\\', "\\\\").replace('\'', "''");
                db.exec(&format!("create user {user}@'%' {}", identified(flavour, plugin, &said))).await;
                let url = format!("mysql://{user}@{}:{}/d?ssl-mode={mode}", server.host(), server.port());
                let endpoint = Endpoint::parse(&url, Some(password)).unwrap();
                // The second time the server knows the password.
                for _ in 0..2 {
                    let mut link = link::for_rows(&endpoint).await.unwrap();
                    assert!(matches!(link, Link::Wire(_)), "{plugin} {mode}");
                    let cipher = link.rows("SHOW STATUS LIKE 'Ssl_cipher'").await.unwrap()[0].text(1);
                    assert_eq!(!cipher.is_empty(), offers_tls && mode != "disabled", "{plugin} {mode}: {cipher}");
                    let me = link.rows("SELECT CURRENT_USER()").await.unwrap()[0].text(0);
                    assert_eq!(me, format!("{user}@%"));
                }
                let wrong = Endpoint::parse(&url, Some("something else")).unwrap();
                let (ours, theirs) = (link::for_rows(&wrong).await, link::by_driver(&wrong).await);
                let said = [ours, theirs].map(|link| map("connect", &link.err().unwrap()));
                assert_eq!((said[0].kind, &said[0].what), (said[1].kind, &said[1].what));
                assert!(said[0].what.contains("1045"), "{}", said[0].what);
                db.exec(&format!("drop user {user}@'%'")).await;
            }
        }
    }
}
on_each_server!(every_way_to_prove_a_password_is_ours);

/// What neither knows is refused in the driver's words.
#[tokio::test]
async fn a_way_that_only_the_server_knows_is_refused_as_the_driver_does() {
    let Some((server, db)) = with_schema(Flavour::MySql9).await else { return };
    let user = format!("s{}", &db.name()[4..]);
    db.exec(&format!("create user {user}@'%' identified with sha256_password by 'pw'")).await;
    let endpoint = endpoint(&format!("mysql://{user}:pw@{}:{}/d", server.host(), server.port()));
    let raw = Wire::connect(&endpoint, true).await.err().unwrap();
    assert!(is_for_the_driver(&raw), "{raw}");
    let (ours, theirs) = (link::for_rows(&endpoint).await, link::by_driver(&endpoint).await);
    assert_eq!(ours.err().unwrap().to_string(), theirs.err().unwrap().to_string());
    db.exec(&format!("drop user {user}@'%'")).await;
}

/// Who asks for the server's identity gets it, or the driver's own refusal.
#[tokio::test]
async fn trust_is_the_drivers() {
    let Some((server, _db)) = with_schema(Flavour::MySql9).await else { return };
    let folder = std::env::temp_dir().join(format!("longshore-wire-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (own, none) = (folder.join("own.pem"), folder.join("none.pem"));
    std::fs::write(&own, server.exec(&["cat", "/var/lib/mysql/ca.pem"]).unwrap()).unwrap();
    std::fs::write(&none, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let absent = folder.join("absent.pem");
    let authorities = [Some(&own), Some(&none), Some(&absent), None];
    for (mode, authority) in
        ["verify_ca", "verify_identity"].into_iter().flat_map(|mode| authorities.map(|a| (mode, a)))
    {
        let authority = authority.map(|path| format!("&ssl-ca={}", path.display())).unwrap_or_default();
        let endpoint = endpoint(&format!("{}?ssl-mode={mode}{authority}", server.root_url("d")));
        // The server's certificate is of its own making and names no host.
        let (ours, theirs) = (link::for_rows(&endpoint).await, link::by_driver(&endpoint).await);
        let said = [ours, theirs].map(|link| map("connect", &link.err().unwrap()));
        assert_eq!((said[0].kind, &said[0].what), (said[1].kind, &said[1].what), "{mode}{authority}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Who reads rows reads them the cheap way; who does anything else has the driver.
async fn sessions_to_read_with_are_ours(flavour: Flavour) {
    let Some((_server, db)) = with_schema(flavour).await else { return };
    let endpoint = endpoint(&db.url());
    assert!(connect(&endpoint, Purpose::Read).await.unwrap().driver().is_err());
    assert!(connect(&endpoint, Purpose::Write).await.unwrap().driver().is_ok());
    assert!(connect(&endpoint, Purpose::Look).await.unwrap().driver().is_ok());
}
on_each_server!(sessions_to_read_with_are_ours);

/// A session that somebody ends between rows is an error of the same kind by both ways, and never an end.
async fn a_session_ended_between_rows_is_an_error(flavour: Flavour) {
    let Some((_server, db)) = with_schema(flavour).await else { return };
    let (mut raw, mut driver) = both(&db).await;
    let mut kinds = Vec::new();
    for link in [&mut raw, &mut driver] {
        let id = link.rows("SELECT CONNECTION_ID()").await.unwrap()[0].text(0);
        // More than fits into what lies between the two.
        let rows = "information_schema.COLLATIONS a, information_schema.COLLATIONS b, information_schema.COLLATIONS c";
        let mut lines = link.lines(&format!("SELECT REPEAT('x', 1000) FROM {rows}")).await.unwrap();
        let mut line = Vec::new();
        assert!(lines.next(&mut line).await.unwrap());
        db.exec(&format!("kill {id}")).await;
        let error = loop {
            match lines.next(&mut line).await {
                Ok(true) => assert_eq!(line.len(), 1000),
                Ok(false) => panic!("the answer seems to have ended"),
                Err(error) => break error,
            }
        };
        kinds.push(map("read", &error).kind);
    }
    assert_eq!(kinds, [engine::Kind::Unavailable; 2]);
}
on_each_server!(a_session_ended_between_rows_is_an_error);
