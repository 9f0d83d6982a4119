//! The odd database can be made on every server, and what schemas are compared by sees what it should.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use longshore_testkit::mysql::{content, definitions, different, fixture, make, piece, rows};
use longshore_testkit::servers::{Flavour, TestSchema, mysql};
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;

/// Not the server's default, and two words that do not follow from each other.
const OPTIONS: &str = "CHARACTER SET latin1 COLLATE latin1_german2_ci";

/// Pieces, and objects by kind as `kind=count`.
const EXPECTED: [(Flavour, usize, &str); 4] = [
    (
        Flavour::MariaDb10,
        82,
        "body=1 event=8 function=8 package=2 procedure=8 schema=1 sequence=5 table=97 trigger=16 view=18",
    ),
    (
        Flavour::MariaDb11,
        85,
        "body=1 event=8 function=8 package=2 procedure=8 schema=1 sequence=6 table=99 trigger=16 view=18",
    ),
    (Flavour::MySql5, 61, "event=8 function=7 procedure=7 schema=1 table=78 trigger=12 view=18"),
    (Flavour::MySql9, 76, "event=8 function=7 procedure=7 schema=1 table=93 trigger=16 view=18"),
];

#[tokio::test]
async fn every_piece_is_made_and_described() {
    for (flavour, pieces, kinds) in EXPECTED {
        let Some(server) = mysql(flavour).await else { continue };
        let schema = server.database_with(OPTIONS).await;
        let mut conn = schema.connection().await;
        let all = fixture(flavour);
        let names: BTreeSet<_> = all.iter().map(|piece| piece.name).collect();
        assert_eq!((all.len(), names.len()), (pieces, pieces), "{flavour}");
        make(&mut conn, schema.name(), &all).await;

        let first = definitions(&mut conn, schema.name()).await;
        assert_eq!(counts(&first), kinds, "{flavour}");
        assert_eq!(definitions(&mut conn, schema.name()).await, first, "{flavour}");
        let first = content(&mut conn, schema.name()).await;
        assert_eq!(first.values().filter(|state| state.starts_with("0 rows")).count(), 10, "{flavour}: {first:#?}");
        assert_eq!(content(&mut conn, schema.name()).await, first, "{flavour}");
        conn.disconnect().await.unwrap();
    }
}

#[tokio::test]
async fn two_schemas_made_alike_compare_equal() {
    for flavour in Flavour::ALL {
        let Some(server) = mysql(flavour).await else { continue };
        let (one, other) = (server.database_with(OPTIONS).await, server.database_with(OPTIONS).await);
        let (mut all, mut conn) = (fixture(flavour), server.connection().await);
        make(&mut conn, one.name(), &all).await;
        all.reverse();
        make(&mut conn, other.name(), &all).await;
        assert_same(definitions(&mut conn, one.name()).await, definitions(&mut conn, other.name()).await);
        assert_same(content(&mut conn, one.name()).await, content(&mut conn, other.name()).await);
        conn.disconnect().await.unwrap();
    }
}

#[tokio::test]
async fn a_row_or_a_trigger_makes_a_difference() {
    for flavour in Flavour::ALL {
        let Some(server) = mysql(flavour).await else { continue };
        let schema = server.database_with(OPTIONS).await;
        let mut conn = schema.connection().await;
        let pieces = ["a trigger for each moment", "no key and rows twice", "enums and sets", "floats and doubles"];
        make(&mut conn, schema.name(), &pieces.map(|name| piece(flavour, name))).await;
        for (change, key) in [
            // A third of two equal rows, the empty choice for none, a digit that the server does not show.
            ("INSERT INTO `no key` VALUES (NULL, NULL, NULL)", "table no key"),
            ("UPDATE choices SET e = '' WHERE id = 3", "table choices"),
            ("UPDATE floats SET f = 16777218 WHERE id = 4", "table floats"),
        ] {
            let before = content(&mut conn, schema.name()).await;
            conn.query_drop(change).await.unwrap();
            assert_eq!(different(&before, &content(&mut conn, schema.name()).await), [key], "{flavour}");
        }
        for (change, key) in [
            ("DROP TRIGGER `after; insert`", "trigger after; insert"),
            ("ALTER TABLE watched COMMENT 'x'", "table watched"),
        ] {
            let before = definitions(&mut conn, schema.name()).await;
            conn.query_drop(change).await.unwrap();
            assert_eq!(different(&before, &definitions(&mut conn, schema.name()).await), [key], "{flavour}");
        }
        conn.disconnect().await.unwrap();
    }
}

/// The same text of JSON, and not the same document.
#[tokio::test]
async fn the_types_within_a_document_are_content() {
    let Some(server) = mysql(Flavour::MySql9).await else { return };
    let schema = server.database_with(OPTIONS).await;
    let mut conn = schema.connection().await;
    make(&mut conn, schema.name(), &[piece(Flavour::MySql9, "documents with types that JSON has not")]).await;
    for id in [1, 2, 3, 4, 5, 6, 8] {
        // By way of NULL: the server changes nothing when the new document is equal to the old by value.
        let table = "`documents with more types`";
        let change = format!(
            "SELECT CAST(doc AS CHAR) FROM {table} WHERE id = {id} INTO @doc; \
             UPDATE {table} SET doc = NULL WHERE id = {id}; UPDATE {table} SET doc = CAST(@doc AS JSON) WHERE id = {id}"
        );
        assert_eq!(changed_by(&mut conn, &schema, &change).await, ["table documents with more types"], "{id}");
    }
    conn.disconnect().await.unwrap();
}

#[tokio::test]
async fn history_and_hidden_columns_are_content() {
    for flavour in [Flavour::MariaDb10, Flavour::MariaDb11] {
        let Some(server) = mysql(flavour).await else { continue };
        let schema = server.database_with(OPTIONS).await;
        let mut conn = schema.connection().await;
        let pieces = ["a table with history", "invisible columns", "sequences"].map(|name| piece(flavour, name));
        make(&mut conn, schema.name(), &pieces).await;
        let history = rows(&mut conn, schema.name(), "versioned").await;
        assert_eq!(history.len(), 5, "{history:#?}");
        assert!(history.iter().any(|row| row.contains("2001-02-03 04:05:06.000001")), "{history:#?}");
        assert_eq!(changed_by(&mut conn, &schema, "SELECT NEXTVAL(`down`)").await, ["sequence down"]);
        let hidden = "UPDATE `invisible columns` SET hidden = 1 WHERE id = 3";
        assert_eq!(changed_by(&mut conn, &schema, hidden).await, ["table invisible columns"]);
        conn.disconnect().await.unwrap();
    }
}

async fn changed_by(conn: &mut Conn, schema: &TestSchema, change: &str) -> Vec<String> {
    let before = content(conn, schema.name()).await;
    conn.query_drop(change).await.unwrap();
    different(&before, &content(conn, schema.name()).await)
}

/// `event=8 function=7 ...`
fn counts(definitions: &BTreeMap<String, String>) -> String {
    let mut counts = BTreeMap::new();
    for words in definitions.keys() {
        let kind = words.split(' ').next().unwrap();
        // The only kind of two words.
        let kind = if words.starts_with("package body ") { "body" } else { kind };
        *counts.entry(kind).or_insert(0) += 1;
    }
    let counts: Vec<String> = counts.into_iter().map(|(kind, count)| format!("{kind}={count}")).collect();
    counts.join(" ")
}

/// Says only what differs: the whole is long.
fn assert_same(one: BTreeMap<String, String>, other: BTreeMap<String, String>) {
    if let Some(key) = different(&one, &other).first() {
        panic!("{key}\n--- one\n{:?}\n--- other\n{:?}", one.get(key), other.get(key));
    }
}
