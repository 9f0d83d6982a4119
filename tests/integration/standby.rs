//! A standby as the source: everything comes but the rows of unlogged tables, which only the primary has.

use crate::place::{LARGE, Place, Target, assert_failed};
use std::sync::Arc;
use testkit::servers::{PostgresServer, own, standby_of};
use testkit::sql;

const TABLES: &str = "create sequence plain; select setval('plain', 4711);
    create unlogged table fleeting (id bigint generated always as identity, x text);
    insert into fleeting (x) select 'f' || i from generate_series(1, 500) i";

async fn from_a_standby(version: u16) {
    let primary: Arc<PostgresServer> = Arc::new(own(version, &[]).await);
    let db = primary.create_database().await;
    db.exec(LARGE).await;
    db.exec(TABLES).await;
    let standby = standby_of(&primary, &[]).await;
    let place = Place::new().await;
    let made = place.backup(&standby.url(&db.name)).for_postgres(version).run().await.success();
    let note = made.json()["about"]["notes"][0].as_str().unwrap().to_owned();
    assert!(note.contains("public.fleeting") && note.contains("standby"), "{note}");
    let shown = place.job(["show", "app"]).run().await.success();
    assert!(shown.stdout.contains(&note), "{}", shown.report());

    let target = Target::of(&db);
    place.restore(&target.url).for_postgres(version).run().await.success();
    for table in ["large", "small"] {
        let content = format!("select count(*) || md5(string_agg(t::text, ',' order by t.id)) from {table} t");
        assert_eq!(sql::value(&target.url, &content).await, db.value(&content).await, "{table}");
    }
    assert_eq!(sql::value(&target.url, "select last_value from plain").await, "4711");
    assert_eq!(sql::value(&target.url, "select count(*) from fleeting").await, "0");
    assert_eq!(sql::canonical_dump(&primary, &target.name), sql::canonical_dump(&primary, &db.name));
    // Where the table begins anew, so do its numbers.
    sql::exec(&target.url, "insert into fleeting (x) values ('new')").await;

    // The primary has the rows, and so has its backup.
    let made = place.backup(&db.url()).for_postgres(version).run().await.success().json();
    assert!(made["about"].get("notes").is_none(), "{made}");
    let again = Target::of(&db);
    sql::exec(&primary.url("postgres"), &format!("drop database {} with (force)", target.name)).await;
    place.restore(&again.url).for_postgres(version).run().await.success();
    assert_eq!(sql::value(&again.url, "select count(*) from fleeting").await, "500");
}

#[tokio::test]
async fn a_standby_gives_everything_but_rows_of_unlogged_tables_on_postgresql_15() {
    from_a_standby(15).await;
}

#[tokio::test]
async fn a_standby_gives_everything_but_rows_of_unlogged_tables_on_postgresql_17() {
    from_a_standby(17).await;
}

#[tokio::test]
async fn a_standby_gives_everything_but_rows_of_unlogged_tables_on_postgresql_18() {
    if std::env::var("LONGSHORE_TEST_SERVERS").as_deref() != Ok("all") {
        return testkit::skipped("PostgreSQL 18 is tested by scripts/test --all");
    }
    from_a_standby(18).await;
}

#[tokio::test]
async fn a_standby_is_no_target() {
    let primary = Arc::new(own(15, &[]).await);
    let db = primary.create_database().await;
    db.exec("create table t (x int)").await;
    let standby = standby_of(&primary, &[]).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let target = Target::of(&db);
    assert_failed(place.restore(&standby.url(&target.name)).run().await, 77, "read-only");
    crate::place::assert_nothing_made(&db, &target.name).await;
}
