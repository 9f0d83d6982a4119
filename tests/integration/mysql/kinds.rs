//! Between servers: what comes back where, and what is refused before anything is made.

use super::{Back, assert_same, everything, schemas_like, server};
use crate::place::{Place, Target, assert_failed};
use testkit::servers::{Flavour, postgres};

/// Tables of an ordinary application, which all four servers know.
const ORDINARY: &str = "create table customers (id int unsigned not null auto_increment primary key, name varchar(80) not null,
        born date, balance decimal(12,2) not null default '0.00', note text, unique key (name)) engine=InnoDB default charset=utf8mb4 collate=utf8mb4_general_ci;
    create table orders (id bigint not null primary key, customer int unsigned not null, at timestamp(3) null, kind enum('a','b') not null,
        constraint of_customer foreign key (customer) references customers (id) on delete cascade) engine=InnoDB default charset=utf8mb4 collate=utf8mb4_general_ci;
    insert into customers (name, born, balance, note) values ('Ann \u{1F600}', '1990-02-28', 12.34, null), ('B\\tob', null, -1, '');
    insert into orders values (1, 1, '2024-03-31 01:30:00.123', 'b'), (2, 2, null, 'a');
    create view names as select name, balance from customers where balance > 0;
    create trigger stamp before insert on orders for each row set new.at = coalesce(new.at, now());
    create procedure total(out x decimal(12,2)) select sum(balance) into x from customers;";

async fn travels(from: Flavour, to: Flavour) {
    let (old, new) = (server!(from), server!(to));
    let options = "character set utf8mb4 collate utf8mb4_general_ci";
    let (db, elsewhere) = (old.database_with(options).await, new.database_with(options).await);
    db.exec(ORDINARY).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let restored = place.restore(&elsewhere.url()).run().await.success().json();
    assert_eq!(restored["proven"], true, "{restored}");
    let content = |all: std::collections::BTreeMap<String, String>| -> std::collections::BTreeMap<String, String> {
        all.into_iter().filter(|(key, _)| key.starts_with("content")).collect()
    };
    assert_same(&content(everything(&old, db.name()).await), &content(everything(&new, elsewhere.name()).await));
    assert_eq!(elsewhere.one("select count(*) from names").await, "1");
    elsewhere
        .exec("insert into orders (id, customer, kind) values (3, 1, 'a'); delete from customers where id = 1")
        .await;
    assert_eq!(elsewhere.one("select count(*) from orders").await, "1");
}

#[tokio::test]
async fn mysql_5_6_comes_back_on_mysql_9() {
    travels(Flavour::MySql5, Flavour::MySql9).await;
}

#[tokio::test]
async fn mariadb_10_11_comes_back_on_mariadb_11_8() {
    travels(Flavour::MariaDb10, Flavour::MariaDb11).await;
}

#[tokio::test]
async fn mysql_9_comes_back_on_mariadb() {
    travels(Flavour::MySql9, Flavour::MariaDb10).await;
}

#[tokio::test]
async fn mariadb_comes_back_on_mysql_9() {
    travels(Flavour::MariaDb10, Flavour::MySql9).await;
}

/// A collation that the old server did not write down, because it was its default, is not the new server's default.
async fn keeps_its_collations(from: Flavour, to: Flavour) {
    let (old, new) = (server!(from), server!(to));
    let (db, elsewhere) =
        (old.database_with("character set utf8mb4 collate utf8mb4_general_ci").await, new.database().await);
    db.exec("create table t (id int primary key, v varchar(20), unique key (v)) default charset=utf8mb4").await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    place.restore(&elsewhere.url()).run().await.success();
    let sql =
        "select collation_name from information_schema.columns where table_schema = database() and column_name = 'v'";
    assert_eq!(elsewhere.one(sql).await, db.one(sql).await);
}

#[tokio::test]
async fn collations_of_mysql_5_6_stay_on_mysql_9() {
    keeps_its_collations(Flavour::MySql5, Flavour::MySql9).await;
}

#[tokio::test]
async fn collations_of_mariadb_10_11_stay_on_11_8() {
    keeps_its_collations(Flavour::MariaDb10, Flavour::MariaDb11).await;
}

#[tokio::test]
async fn an_older_server_is_refused_before_anything_is_made() {
    let (old, new) = (server!(Flavour::MariaDb10), server!(Flavour::MariaDb11));
    let (db, elsewhere) = (new.database().await, old.database().await);
    db.exec("create table t (id int)").await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let back = Back::of(&elsewhere);
    assert_failed(place.restore(&back.url).run().await, 78, "older than");
    assert_eq!(schemas_like(&elsewhere, &back.name).await, Vec::<String>::new());
}

/// All that stands in the way is told at once.
#[tokio::test]
async fn what_mysql_has_not_is_refused_before_anything_is_made() {
    let (maria, mysql) = (server!(Flavour::MariaDb10), server!(Flavour::MySql9));
    let (db, elsewhere) = (maria.database().await, mysql.database().await);
    db.exec(
        "create sequence numbers; create table kept (id int primary key) with system versioning;
         create table a (x varchar(5)) engine=Aria default charset=utf8mb4 collate=utf8mb4_nopad_bin",
    )
    .await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let back = Back::of(&elsewhere);
    let outcome = assert_failed(place.restore(&back.url).run().await, 78, "no sequences: numbers");
    for said in ["history: kept", "utf8mb4_nopad_bin", "no engine Aria"] {
        assert!(outcome.stderr.contains(said), "{said}\n{}", outcome.report());
    }
    assert_eq!(schemas_like(&elsewhere, &back.name).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_backup_of_another_kind_of_database_is_refused() {
    let (maria, pg) = (server!(Flavour::MariaDb10), postgres(15).await.create_database().await);
    let db = maria.database().await;
    db.exec("create table t (id int)").await;
    pg.exec("create table t (id int)").await;
    let (of_maria, of_pg) = (Place::new().await, Place::new().await);
    of_maria.backup(&db.url()).run().await.success();
    of_pg.backup(&pg.url()).run().await.success();
    let (there, back) = (Target::of(&pg), Back::of(&db));
    assert_failed(of_maria.restore(&there.url).run().await, 78, "MySQL or MariaDB, and the target");
    assert_failed(of_pg.restore(&back.url).run().await, 78, "PostgreSQL, and the target");
    assert_eq!(schemas_like(&db, &back.name).await, Vec::<String>::new());
    crate::place::assert_nothing_made(&pg, &there.name).await;
}

/// What these drivers do not do yet is refused by name, before anything is done.
#[tokio::test]
async fn what_is_not_done_yet_is_refused() {
    let server = server!(Flavour::MariaDb10);
    let db = server.database().await;
    db.exec("create table t (id int)").await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let back = Back::of(&db);
    let role = place.job(["restore", "--from", "app", "--role", "x"]).env("LONGSHORE_TARGET", &back.url);
    assert_failed(role.run().await, 78, "not for MySQL and MariaDB");
    assert_eq!(schemas_like(&db, &back.name).await, Vec::<String>::new());
}
