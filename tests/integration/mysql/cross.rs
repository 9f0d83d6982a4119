//! Backups of one server that come back at another: a newer version, or the other product. What an application usually has comes back whole; where that is not possible, everything that stands
//! in the way is said before anything is made.

use super::{schemas_like, server};
use crate::place::{Place, assert_failed};
use testkit::servers::{Flavour, TestSchema};

/// Tables, keys, a view and programs as applications have them, in character sets that all servers know.
async fn application(db: &TestSchema, flavour: Flavour) {
    // Programs remember the session's collation, and each product's newest has one that the other lacks.
    let mut conn = db.connection().await;
    let document = if flavour == Flavour::MySql5 { "text" } else { "json" };
    let zero = "'0000-00-00', '2024-02-29 23:59:59.123456', '-838:59:59', 1901";
    for sql in [
        "set names utf8mb4 collate utf8mb4_general_ci; set sql_mode = 'NO_ENGINE_SUBSTITUTION,ALLOW_INVALID_DATES'",
        "create table people (id int unsigned not null auto_increment primary key, name varchar(80) character set utf8mb4 collate utf8mb4_unicode_ci not null,
           note text character set latin1 collate latin1_german1_ci, photo mediumblob, amount decimal(30,10) default 1.5, ratio double, small float, flags bit(9), kind enum('a','b,c','d''e'),
           likes set('x','y'), day date, at datetime(6), span time, year year, changed timestamp null default current_timestamp on update current_timestamp,
           unique key by_name (name), key by_day (day, kind)) engine=InnoDB default charset=utf8mb4 collate=utf8mb4_general_ci auto_increment=1000",
        &format!("insert into people (name, note, photo, ratio, small, flags, kind, likes, day, at, span, year) values
           ('\u{1f642} \u{e9}\\\\\\t', 'M\u{fc}ller', x'00090a0d5c27ff', 1e-300, 0.1, b'101010101', 'b,c', 'x,y', {zero}), ('', '', '', -2.5e-7, -3.4e38, 0, 'd''e', '', {zero}), ('\\n', null, null, null, null, null, null, null, null, null, null, null)"),
        &format!("create table visits (id bigint not null, person int unsigned not null, said {document}, primary key (id, person), constraint visits_person foreign key (person) references people (id) on delete cascade) engine=InnoDB default charset=utf8mb4 collate=utf8mb4_general_ci"),
        "insert into visits values (0, 1000, '{\"a\": [1, 2.5, null, \"\u{e9}\"]}'), (-5, 1001, '{}')",
        "create table log (what varchar(40) not null) engine=InnoDB default charset=utf8mb4 collate=utf8mb4_general_ci",
        "create view adults as select id, upper(name) as name from people where id > 1000",
        "create function twice(n int) returns int deterministic no sql return n * 2",
        "create procedure tell(in what varchar(40)) begin insert into log values (concat('told ', what)); end",
        "create trigger visited after insert on visits for each row insert into log values (concat('visit ', new.id))",
        "create event tidy on schedule every 1 day disable do delete from log",
    ] {
        mysql_async::prelude::Queryable::query_drop(&mut conn, sql).await.unwrap_or_else(|error| panic!("{error}: {sql}"));
    }
}

/// Rows, as two servers of different versions show them alike.
async fn content(db: &TestSchema) -> Vec<Vec<Option<Vec<u8>>>> {
    let mut all = Vec::new();
    for query in [
        "select id, hex(name), hex(note), hex(photo), amount, ratio, small * 1e0, flags + 0, kind + 0, likes + 0, day, at, span, year, unix_timestamp(changed) from people order by id",
        // A document is text to one product and a tree to the other.
        "select id, person, length(said) > 0 from visits order by id",
        "select what from log order by what",
        "select id, hex(name) from adults order by id",
        "select twice(21)",
        "select table_name, column_name, referenced_table_name from information_schema.key_column_usage where table_schema = database() order by 1, 2, 3",
        "select event_name, status from information_schema.events where event_schema = database()",
    ] {
        all.extend(db.rows(query).await);
    }
    all
}

/// An application's database of one server comes back at another, rows and programs.
async fn comes_back(from: Flavour, to: Flavour) {
    let (from_server, to_server) = (server!(from), server!(to));
    let db = from_server.database_with("character set utf8mb4 collate utf8mb4_general_ci").await;
    application(&db, from).await;
    let there = content(&db).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let back = to_server.database().await;
    let restored = place.restore(&back.url()).run().await.success();
    assert_eq!(restored.json()["proven"], serde_json::Value::Bool(true), "{}", restored.report());
    assert_eq!(content(&back).await, there);
    // And it works.
    back.exec("call tell('her'); insert into visits values (7, 1002, '{}'); insert into people (name) values ('next')")
        .await;
    let said = back.one("select group_concat(what order by what) from log").await;
    assert!(said.contains("told her") && said.contains("visit 7"), "{said}");
    assert_eq!(back.one("select max(id) from people").await, "1003");
}

/// What stands in the way is named, and nothing is made.
async fn is_refused(from: Flavour, to: Flavour, make: &str, obstacles: &[&str]) {
    let (from_server, to_server) = (server!(from), server!(to));
    let db = from_server.database_with("character set utf8mb4 collate utf8mb4_general_ci").await;
    db.exec(make).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let empty = to_server.database().await;
    let refused = place.restore(&empty.url()).run().await;
    for obstacle in obstacles {
        assert!(refused.stderr.contains(obstacle), "{obstacle}: {}", refused.report());
    }
    assert_failed(refused, 78, "cannot come back at");
    assert_eq!(schemas_like(&empty, empty.name()).await, [empty.name()]);
    assert_eq!(empty.rows("show tables").await.len(), 0);
}

#[tokio::test]
async fn mysql_comes_back_at_a_newer_version() {
    comes_back(Flavour::MySql5, Flavour::MySql9).await;
}

#[tokio::test]
async fn mariadb_comes_back_at_a_newer_version() {
    comes_back(Flavour::MariaDb10, Flavour::MariaDb11).await;
}

#[tokio::test]
async fn mysql_5_6_comes_back_at_mariadb_10_11() {
    comes_back(Flavour::MySql5, Flavour::MariaDb10).await;
}

#[tokio::test]
async fn mysql_9_comes_back_at_mariadb_10_11() {
    comes_back(Flavour::MySql9, Flavour::MariaDb10).await;
}

#[tokio::test]
async fn mysql_9_comes_back_at_mariadb_11_8() {
    comes_back(Flavour::MySql9, Flavour::MariaDb11).await;
}

#[tokio::test]
async fn mariadb_10_11_comes_back_at_mysql_9() {
    comes_back(Flavour::MariaDb10, Flavour::MySql9).await;
}

#[tokio::test]
async fn mariadb_11_8_comes_back_at_mysql_9() {
    comes_back(Flavour::MariaDb11, Flavour::MySql9).await;
}

#[tokio::test]
async fn an_older_version_is_refused() {
    let table = "create table t (id int primary key)";
    is_refused(Flavour::MySql9, Flavour::MySql5, table, &["older than 9"]).await;
    is_refused(Flavour::MariaDb11, Flavour::MariaDb10, table, &["older than 11.8"]).await;
}

#[tokio::test]
async fn collations_of_mysql_are_refused_at_mariadb() {
    let table = "create table t (a varchar(9)) charset utf8mb4 collate utf8mb4_0900_as_cs; create table u (a varchar(9) character set gb18030)";
    is_refused(Flavour::MySql9, Flavour::MariaDb10, table, &["does not know", "utf8mb4_0900_as_cs", "gb18030"]).await;
}

#[tokio::test]
async fn what_only_mariadb_has_is_refused_at_mysql() {
    let things = "create sequence s; create table h (a int) with system versioning; create table u (a varchar(9)) charset utf8mb4 collate utf8mb4_uca1400_ai_ci";
    let obstacles = ["MySQL has no sequences: s", "MySQL has no tables with history: h", "utf8mb4_uca1400_ai_ci"];
    is_refused(Flavour::MariaDb10, Flavour::MySql9, things, &obstacles).await;
}
