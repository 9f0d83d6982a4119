//! Limits of the servers: connections, lock slots, and settings that the role brings along.

use crate::place::{Place, assert_failed};
use std::sync::Arc;
use testkit::servers::{PostgresServer, own, postgres};
use testkit::sql;

/// Nothing of a restore into `back` is on the server.
async fn assert_nothing_of_it(server: &PostgresServer) {
    let left = "select coalesce(string_agg(datname, ' '), '') from pg_database where datname ~ '^back'";
    assert_eq!(sql::value(&server.url("postgres"), left).await, "");
}

/// Sessions of an application fill the server while a restore loads with many workers.
#[tokio::test]
async fn a_target_out_of_connections_is_exit_69_and_leaves_nothing() {
    let db = postgres(15).await.create_database().await;
    db.exec(crate::place::LARGE).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let server = own(15, &[("max_connections", "12"), ("superuser_reserved_connections", "0")]).await;
    // Four are left: enough for the checks, too few for loading.
    let mut theirs = Vec::new();
    for _ in 0..8 {
        theirs.push(sql::connect(&server.url("postgres")).await);
    }
    let job = place.restore(&server.url("back")).env("LONGSHORE_WORKERS", "16");
    let outcome = assert_failed(job.run().await, 69, "too many clients");
    assert!(outcome.stderr.contains("--workers"), "{}", outcome.report());
    drop(theirs);
    assert_nothing_of_it(&server).await;
    place.restore(&server.url("back")).run().await.success();
}

const MANY_TABLES: i32 = 3000;
/// Two thirds of that many tables are more than this server's lock table takes.
const FEW_LOCKS: &[(&str, &str)] = &[("max_locks_per_transaction", "10"), ("max_connections", "20")];

async fn with_many_tables(server: Arc<PostgresServer>) -> testkit::servers::TestDatabase {
    let db = server.create_database().await;
    // A transaction of its own for each hundred: making them needs locks, too.
    for hundred in 0..MANY_TABLES / 100 {
        let tables = (0..100).map(|n| format!("create table t{} (id serial);", hundred * 100 + n));
        db.exec(&tables.collect::<String>()).await;
    }
    db
}

/// A backup holds a lock on every table: the error names the setting that bounds them.
#[tokio::test]
async fn a_source_out_of_lock_slots_is_exit_69_with_the_setting_that_helps() {
    let db = with_many_tables(Arc::new(own(15, FEW_LOCKS).await)).await;
    let place = Place::new().await;
    let outcome = assert_failed(place.backup(&db.url()).run().await, 69, "out of shared memory");
    assert!(outcome.stderr.contains("max_locks_per_transaction"), "{}", outcome.report());
    place.assert_no_manifest();
    let held = "select count(*) from pg_locks where relation::regclass::text ~ '^t[0-9]'";
    assert_eq!(db.value(held).await, "0");
}

/// A restore needs no such number of locks at once: a server with fewer slots than the source's takes all tables.
#[tokio::test]
async fn a_target_with_few_lock_slots_takes_many_tables() {
    let db = with_many_tables(Arc::new(own(15, &[]).await)).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let server = own(15, FEW_LOCKS).await;
    place.restore(&server.url("back")).run().await.success();
    let tables = "select count(*) from pg_class where relname ~ '^t[0-9]+$'";
    assert_eq!(sql::value(&server.url("back"), tables).await, MANY_TABLES.to_string());
}

/// Roles of people often have timeouts and read-only transactions by default: a job that uses one is not cut short by them. A second is what a busy machine may take
/// between a session's beginning and its first words; two values of the index take longer.
async fn settings_of_the_role(version: u16) {
    let server = Arc::new(own(version, &[]).await);
    let db = server.create_database().await;
    db.exec(crate::place::LARGE).await;
    db.exec(
        "create function slow(text) returns text language sql immutable as
             $$ select case when pg_sleep(0.7) is null then '' else $1 end $$;
         create table s (x text); insert into s values ('a'), ('b'); create index on s (public.slow(x))",
    )
    .await;
    let mut settings = vec![
        "statement_timeout = '1s'",
        "lock_timeout = '1s'",
        "idle_in_transaction_session_timeout = '1s'",
        "idle_session_timeout = '1s'",
        "default_transaction_read_only = on",
        "default_transaction_isolation = 'serializable'",
        "search_path = 'nowhere'",
        "datestyle = 'German'",
        "standard_conforming_strings = off",
        "session_replication_role = 'replica'",
    ];
    if version >= 17 {
        settings.push("transaction_timeout = '1s'");
    }
    let all: String = settings.iter().map(|setting| format!("alter role person set {setting};")).collect();
    let admin = server.url("postgres");
    sql::exec(&admin, &format!("create role person superuser login password 'pw'; {all}")).await;
    let as_person = |name: &str| format!("postgres://person:pw@{}:{}/{name}", server.host, server.port);
    let place = Place::new().await;
    place.backup(&as_person(&db.name)).for_postgres(version).run().await.success();
    place.restore(&as_person("back")).for_postgres(version).run().await.success();
    assert_eq!(sql::content(&server.url("back")).await, sql::content(&db.url()).await);
    assert_eq!(sql::canonical_dump(&server, "back"), db.canonical_dump());
}

#[tokio::test]
async fn settings_of_the_role_cut_nothing_short_on_postgresql_15() {
    settings_of_the_role(15).await;
}

#[tokio::test]
async fn settings_of_the_role_cut_nothing_short_on_postgresql_17() {
    settings_of_the_role(17).await;
}
