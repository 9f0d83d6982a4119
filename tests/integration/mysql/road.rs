//! The whole road: backup, list, show, restore, proof, of everything odd that a schema may hold.

use super::{Back, assert_same, everything, on_each_server, schemas_like, server};
use crate::place::{Place, assert_failed};
use testkit::mysql::{Piece, fixture, make, piece};
use testkit::servers::{Flavour, TestSchema, own_mysql};

/// What cannot come back as it is, and has a test of its own.
const OWN_TESTS: [&str; 3] =
    ["a view that is broken", "documents with types that JSON has not", "an enum member that SHOW CREATE does not say"];

pub fn pieces(flavour: Flavour) -> Vec<Piece> {
    fixture(flavour).into_iter().filter(|piece| !OWN_TESTS.contains(&piece.name)).collect()
}

pub async fn odd(db: &TestSchema, pieces: &[Piece]) {
    let mut conn = db.connection().await;
    make(&mut conn, db.name(), pieces).await;
}

async fn there_and_back(db: &TestSchema) {
    let place = Place::new().await;
    let backup = place.backup(&db.url()).run().await.success().json();
    let listed = place.listed().await;
    assert_eq!((listed.len(), &listed[0]["id"]), (1, &backup["id"]));
    let there = everything(&db.server, db.name()).await;

    let back = Back::of(db);
    let restored = place.restore(&back.url).run().await.success().json();
    assert_eq!((&restored["proven"], &restored["rows"]), (&true.into(), &backup["rows"]));
    assert_same(&there, &everything(&db.server, &back.name).await);
    // Nothing else stays, and the original is what it was.
    assert_eq!(schemas_like(db, db.name()).await, [db.name().to_owned(), back.name.clone()]);
    assert_same(&there, &everything(&db.server, db.name()).await);
}

/// G1: every odd object and value comes back, by the product's own proof and by one that knows nothing of the product.
async fn everything_comes_back(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database_with("character set latin1 collate latin1_german2_ci").await;
    odd(&db, &pieces(flavour)).await;
    there_and_back(&db).await;
}
on_each_server!(everything_comes_back);

/// The same where the server takes no files from clients.
async fn everything_comes_back_by_insert(flavour: Flavour) {
    if !flavour.is_tested() {
        return;
    }
    let server = std::sync::Arc::new(own_mysql(flavour, &["--local-infile=0"]).await);
    let db = server.database().await;
    odd(&db, &pieces(flavour)).await;
    there_and_back(&db).await;
}
on_each_server!(everything_comes_back_by_insert);

/// A table in several segments; a second backup recognises what it has, and one changed row costs little.
async fn a_second_backup_adds_next_to_nothing(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    db.exec(&large(6)).await;
    let place = Place::new().await;
    let added = |outcome: testkit::Outcome| outcome.success().json()["added_bytes"].as_u64().unwrap();
    let first = added(place.backup(&db.url()).run().await);
    let again = added(place.backup(&db.url()).run().await);
    assert!(again * 100 <= first, "{again} of {first} bytes for an unchanged database");
    db.exec("update large set body = 'changed' where id = 5000").await;
    let changed = added(place.backup(&db.url()).run().await);
    // One chunk, which has 4 MiB at most.
    assert!(changed * 4 <= first * 3, "{changed} of {first} bytes for one changed row");
    let back = Back::of(&db);
    place.restore(&back.url).run().await.success();
    assert_same(&everything(&server, db.name()).await, &everything(&server, &back.name).await);
}
on_each_server!(a_second_backup_adds_next_to_nothing);

/// Statements that make a table of 2^(10 + doublings) rows with some 500 bytes each.
pub fn large(doublings: u32) -> String {
    let mut sql = "create table large (id int primary key auto_increment, body varchar(600) character set latin1 not null) engine=InnoDB;
         insert into large (body) values (repeat(sha2(1, 256), 8));"
        .to_owned();
    for _ in 0..10 + doublings {
        sql.push_str(
            "insert into large (body) select concat(sha2(rand(), 256), sha2(id, 256), repeat(sha2(rand(), 256), 6)) from large;",
        );
    }
    sql
}

async fn an_empty_schema_comes_back_into_an_empty_one(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database_with("character set latin1 collate latin1_german2_ci").await;
    let place = Place::new().await;
    let backup = place.backup(&db.url()).run().await.success().json();
    assert_eq!((backup["rows"].as_u64(), backup["streams"].as_u64()), (Some(0), Some(0)));
    let there = everything(&server, db.name()).await;
    let empty = server.database().await;
    place.restore(&empty.url()).run().await.success();
    assert_same(&there, &everything(&server, empty.name()).await);
}
on_each_server!(an_empty_schema_comes_back_into_an_empty_one);

/// G6: what holds something is never touched.
async fn a_target_that_holds_something_is_left_alone(flavour: Flavour) {
    let server = server!(flavour);
    let (db, other) = (server.database().await, server.database().await);
    db.exec("create table t (id int primary key); insert into t values (1)").await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    for holds in [
        "create table x (y int)",
        "create procedure p() select 1",
        "create event e on schedule every 1 year do select 1",
    ] {
        other.exec(holds).await;
        let there = everything(&server, other.name()).await;
        assert_failed(place.restore(&other.url()).run().await, 77, "is not marked");
        assert_failed(place.restore(&db.url()).run().await, 77, "that this backup was made of");
        assert_same(&there, &everything(&server, other.name()).await);
        other.exec("drop table if exists x; drop procedure if exists p; drop event if exists e").await;
    }
    assert_eq!(schemas_like(&other, &format!("{}__", other.name())).await, Vec::<String>::new());
    assert_eq!(db.one("select count(*) from t").await, "1");
}
on_each_server!(a_target_that_holds_something_is_left_alone);

/// A view that does not work at the source stops no backup; that it is left out is said.
async fn a_view_that_is_broken_is_named(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    odd(&db, &[piece(flavour, OWN_TESTS[0])]).await;
    let place = Place::new().await;
    let backup = place.backup(&db.url()).run().await.success();
    assert!(backup.stdout.contains("do not work at the source"), "{}", backup.report());
    let back = Back::of(&db);
    let restored = place.restore(&back.url).run().await.success();
    assert!(restored.stdout.contains("was left out"), "{}", restored.report());
}
on_each_server!(a_view_that_is_broken_is_named);

/// Servers do not say all that they know: where that may be so, it is said.
async fn members_that_the_server_does_not_say_are_noted(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    odd(&db, &[piece(flavour, OWN_TESTS[2])]).await;
    let backup = Place::new().await.backup(&db.url()).run().await.success();
    assert!(backup.stdout.contains("characters of four bytes"), "{}", backup.report());
}
on_each_server!(members_that_the_server_does_not_say_are_noted);

/// A table and an alias with the schema's own name are not taken for the schema.
async fn a_view_of_a_table_called_like_the_schema_comes_back(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    let name = db.name();
    db.exec(&format!(
        "create table {name} (id int primary key, {name} int); insert into {name} values (1, 2); create table t (id int);
         create view v as select {name}.id, {name}.{name} from {name}; create view w as select {name}.id from t {name};
         create view x as select a.id from {name} a join t on t.id = a.{name}"
    ))
    .await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let back = Back::of(&db);
    place.restore(&back.url).run().await.success();
    // By what the views show: in their text the schema's name and the table's look alike.
    db.exec(&format!("insert into {0}.t values (1), (2)", back.name)).await;
    for (view, shows) in [("v", "1"), ("w", "2"), ("x", "1")] {
        assert_eq!(db.one(&format!("select count(*) from {}.{view}", back.name)).await, shows, "{view}");
        assert_eq!(
            db.one(&format!("select count(*) from {view}")).await,
            if view == "v" { "1" } else { "0" },
            "{view}"
        );
    }
}
on_each_server!(a_view_of_a_table_called_like_the_schema_comes_back);

/// Documents that hold what their text cannot say are not proven, and so not published.
#[tokio::test]
async fn documents_that_text_cannot_tell_fail_the_proof() {
    let server = server!(Flavour::MySql9);
    let db = server.database().await;
    odd(&db, &[piece(Flavour::MySql9, OWN_TESTS[1])]).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let back = Back::of(&db);
    let outcome = place.restore(&back.url).run().await;
    // Decimals inside of documents come back as doubles: where the text differs, the proof sees it.
    if outcome.code != Some(0) {
        assert_failed(outcome, 65, "is not what was backed up");
        assert_eq!(schemas_like(&db, &back.name).await, Vec::<String>::new());
    }
}

/// A drill loads, proves and leaves nothing behind.
async fn a_drill_leaves_nothing_behind(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    odd(&db, &pieces(flavour)).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let drill =
        place.job(["drill", "--from", "app", "--output", "json"]).env("LONGSHORE_TARGET", server.root_url("mysql"));
    let drill = drill.run().await.success().json();
    assert_eq!(drill["proven"], true, "{drill}");
    assert_eq!(schemas_like(&db, "longshore_drill").await, Vec::<String>::new());
}
on_each_server!(a_drill_leaves_nothing_behind);

/// What an earlier run left behind is dropped by its mark; what only has such a name is not.
async fn leftovers_are_dropped_by_their_mark(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    db.exec("create table t (id int primary key)").await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let back = Back::of(&db);
    let (left, theirs) = (format!("{}__new_dead", back.name), format!("{}__new_theirs", back.name));
    let mark = |of: &str, run: &str| {
        format!(
            "create database {of}; create table {of}.longshore_scratch (run varchar(64), target varchar(64));
             insert into {of}.longshore_scratch values ('{run}', '{}');",
            back.name
        )
    };
    db.exec(&format!("{} {}", mark(&left, "dead"), mark(&theirs, "another"))).await;
    let restored = place.restore(&back.url).run().await.success();
    assert!(restored.stdout.contains(&left) || restored.stderr.contains(&left), "{}", restored.report());
    assert_eq!(schemas_like(&db, &format!("{}__new", back.name)).await, std::slice::from_ref(&theirs));
    db.exec(&format!("drop database {theirs}")).await;
}
on_each_server!(leftovers_are_dropped_by_their_mark);
