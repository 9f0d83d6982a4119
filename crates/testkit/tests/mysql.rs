//! MariaDB and MySQL servers start, serve, are told apart and come back. Needs docker: run with scripts/test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use longshore_testkit::servers::{Flavour, mysql, own_mysql, try_connect_mysql};
use mysql_async::prelude::Queryable as _;

#[tokio::test]
async fn mariadb_10_11_gives_each_test_a_schema() {
    gives_each_test_a_schema(Flavour::MariaDb10, "10.11.").await;
}

#[tokio::test]
async fn mariadb_11_8_gives_each_test_a_schema() {
    gives_each_test_a_schema(Flavour::MariaDb11, "11.8.").await;
}

#[tokio::test]
async fn mysql_5_6_gives_each_test_a_schema() {
    gives_each_test_a_schema(Flavour::MySql5, "5.6.").await;
}

#[tokio::test]
async fn mysql_9_gives_each_test_a_schema() {
    gives_each_test_a_schema(Flavour::MySql9, "9.").await;
}

async fn gives_each_test_a_schema(flavour: Flavour, version: &str) {
    let Some(server) = mysql(flavour).await else { return };
    let again = mysql(flavour).await.expect("it was there");
    assert_eq!(server.container_id, again.container_id);
    let (one, two) = (server.database().await, server.database().await);
    assert_ne!(one.name(), two.name());
    let says = one.one("select version()").await;
    assert!(says.starts_with(version) && says.contains("MariaDB") == flavour.is_mariadb(), "{flavour} says {says}");
    one.exec("create table t (a int primary key, b text, c blob); insert into t values (1, 'naïve 🚢', x'00ff27'), (2, null, '')")
        .await;
    let rows = one.rows("select a, b, c from t order by a").await;
    let first = [Some(b"1".to_vec()), Some("naïve 🚢".as_bytes().to_vec()), Some(vec![0, 255, 39])];
    assert_eq!(rows, [first, [Some(b"2".to_vec()), None, Some(Vec::new())]]);
    assert_eq!(one.one("select @@log_bin").await, "1");
    assert_eq!(one.one("select @@binlog_format").await, "ROW");
    let name = one.name().to_owned();
    let mut held = one.connection().await;
    held.query_drop("start transaction; update t set b = 'open'").await.unwrap();
    drop(one);
    assert!(!server.has_database(&name).await, "an open transaction does not keep the schema");
    assert!(server.has_database(two.name()).await);
    assert!(held.query_drop("select 1").await.is_err(), "its session was ended");
}

#[tokio::test]
async fn a_statement_that_fails_after_others_ends_the_test() {
    let server = mysql(Flavour::MariaDb10).await.expect("always tested");
    let schema = server.database().await;
    let failed = tokio::spawn(async move { schema.exec("select 1; create table t (a int); select b from t").await });
    assert!(failed.await.is_err());
}

#[tokio::test]
async fn an_own_mariadb_is_killed_and_comes_back_at_its_port_with_its_data() {
    is_killed_and_comes_back(Flavour::MariaDb10).await;
}

#[tokio::test]
async fn an_own_mysql_9_is_killed_and_comes_back_at_its_port_with_its_data() {
    is_killed_and_comes_back(Flavour::MySql9).await;
}

#[tokio::test]
async fn an_own_mysql_5_6_is_killed_and_comes_back_at_its_port_with_its_data() {
    if Flavour::MySql5.is_tested() {
        is_killed_and_comes_back(Flavour::MySql5).await;
    }
}

async fn is_killed_and_comes_back(flavour: Flavour) {
    let server = own_mysql(flavour, &["--skip-log-bin", "--max-allowed-packet=2M"]).await;
    let mut conn = server.connection().await;
    let settings: Option<(u64, u64)> = conn.query_first("select @@log_bin, @@max_allowed_packet").await.unwrap();
    assert_eq!(settings, Some((0, 2 << 20)));
    conn.query_drop("create database kept; create table kept.t (a int primary key); insert into kept.t values (7)")
        .await
        .unwrap();
    server.pause();
    let answer = tokio::time::timeout(Duration::from_millis(300), conn.query_drop("select 1")).await;
    assert!(answer.is_err(), "a paused server says nothing");
    server.unpause();
    let mut conn = server.connection().await;
    server.kill();
    assert!(conn.query_drop("select 1").await.is_err());
    assert!(try_connect_mysql(&server.root_url("")).await.is_err());
    server.start().await;
    let mut conn = try_connect_mysql(&server.root_url("kept")).await.unwrap();
    assert_eq!(conn.query_first("select a from t").await.unwrap(), Some(7_u64));
    server.stop();
    assert!(try_connect_mysql(&server.root_url("")).await.is_err());
}
