//! The whole road: backup, list, show, restore, proof, on every PostgreSQL version there is a server for.

use crate::place::{LARGE, Place, Target, assert_failed};
use testkit::servers::postgres;
use testkit::sql;

/// G1: everything comes back, by the product's own proof and by one that knows nothing of the product: the vendor's
/// schema dump, and a digest computed by the server.
async fn there_and_back(version: u16) {
    let server = postgres(version).await;
    let db = server.create_database().await;
    testkit::data::realistic(&db, 5).await;
    let place = Place::new().await;
    let backup = place.backup(&db.url()).for_postgres(version).run().await.success().json();
    assert!(backup["rows"].as_u64().unwrap() > 1_000, "{backup}");

    let listed = place.listed().await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["id"], backup["id"]);
    let shown = place.job(["show", "app", "--output", "json"]).run().await.success().json();
    assert_eq!(shown["tables"].as_array().unwrap().len() as u64, backup["streams"].as_u64().unwrap());

    let target = Target::of(&db);
    let restored = place.restore(&target.url).for_postgres(version).run().await.success().json();
    assert_eq!(restored["proven"], true);
    assert_eq!(restored["rows"], backup["rows"]);
    assert_eq!(sql::content(&target.url).await, sql::content(&db.url()).await);
    crate::place::assert_same_schema(&server, &target.name, &db.name);
    assert_eq!(sequences(&target.url).await, sequences(&db.url()).await);
}

async fn sequences(url: &str) -> Vec<Vec<Option<String>>> {
    sql::rows(url, "select schemaname, sequencename, last_value from pg_sequences order by 1, 2").await
}

#[tokio::test]
async fn everything_comes_back_on_postgresql_15() {
    there_and_back(15).await;
}

#[tokio::test]
async fn everything_comes_back_on_postgresql_17() {
    there_and_back(17).await;
}

#[tokio::test]
async fn everything_comes_back_on_postgresql_18() {
    if std::env::var("LONGSHORE_TEST_SERVERS").as_deref() != Ok("all") {
        return testkit::skipped("PostgreSQL 18 is tested by scripts/test --all");
    }
    there_and_back(18).await;
}

#[tokio::test]
async fn a_backup_of_15_is_restored_into_17() {
    let (old, new) = (postgres(15).await, postgres(17).await);
    let (db, elsewhere) = (old.create_database().await, new.create_database().await);
    testkit::data::realistic(&db, 5).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let target = Target::of(&elsewhere);
    let restored = place.restore(&target.url).inside_postgres(17).run().await.success().json();
    assert_eq!(restored["proven"], true);
    assert_eq!(sql::content(&target.url).await, sql::content(&db.url()).await);
}

#[tokio::test]
async fn a_backup_of_17_is_refused_by_15() {
    let (old, new) = (postgres(15).await, postgres(17).await);
    let (db, elsewhere) = (new.create_database().await, old.create_database().await);
    db.exec("create table t (x int)").await;
    let place = Place::new().await;
    place.backup(&db.url()).inside_postgres(17).run().await.success();
    let target = Target::of(&elsewhere);
    assert_failed(place.restore(&target.url).inside_postgres(17).run().await, 78, "same or a newer major version");
    crate::place::assert_nothing_made(&elsewhere, &target.name).await;
}

#[tokio::test]
async fn a_second_backup_adds_next_to_nothing_and_a_changed_row_little() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    let added = |outcome: testkit::Outcome| outcome.success().json()["added_bytes"].as_u64().unwrap();
    let first = added(place.backup(&db.url()).run().await);
    let again = added(place.backup(&db.url()).run().await);
    assert!(again * 200 <= first, "{again} of {first} bytes for an unchanged database");
    db.exec("update small set name = 'changed' where id = 50").await;
    let changed = added(place.backup(&db.url()).run().await);
    assert!(changed * 50 <= first, "{changed} of {first} bytes for one changed row");
    // What was reused is as good as what was stored.
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
    assert_eq!(sql::content(&target.url).await, sql::content(&db.url()).await);
}

#[tokio::test]
async fn an_older_backup_is_restored_by_the_beginning_of_its_id() {
    let db = postgres(15).await.create_database().await;
    db.exec("create table t (x int); insert into t values (1)").await;
    let place = Place::new().await;
    let first = place.backup(&db.url()).run().await.success().json();
    db.exec("insert into t values (2)").await;
    place.backup(&db.url()).run().await.success();
    let target = Target::of(&db);
    let from = format!("app@{}", first["id"].as_str().unwrap().to_lowercase());
    let job =
        place.job(["restore", "--prove", "content"]).env("LONGSHORE_TARGET", &target.url).env("LONGSHORE_FROM", from);
    job.run().await.success();
    assert_eq!(sql::value(&target.url, "select count(*) from t").await, "1");
}

#[tokio::test]
async fn an_empty_database_comes_back_and_an_empty_target_keeps_its_own_settings() {
    let db = postgres(15).await.create_database().await;
    let place = Place::new().await;
    db.exec(&format!("alter database {} set work_mem = '5MB'", db.name)).await;
    let backup = place.backup(&db.url()).run().await.success().json();
    assert_eq!((backup["rows"].as_u64(), backup["streams"].as_u64()), (Some(0), Some(0)));
    let fresh = Target::of(&db);
    place.restore(&fresh.url).run().await.success();
    assert_eq!(sql::value(&fresh.url, "show work_mem").await, "5MB");

    let theirs = db.server.create_database().await;
    theirs.exec(&format!("alter database {} set work_mem = '7MB'", theirs.name)).await;
    place.restore(&theirs.url()).run().await.success();
    assert_eq!(theirs.value("show work_mem").await, "7MB");
    assert_eq!(crate::place::databases_like(&db, &format!("{}__", theirs.name)).await, Vec::<String>::new());
}

#[tokio::test]
async fn the_databases_own_properties_come_back() {
    let db = postgres(15).await.create_database().await;
    let name = &db.name;
    db.exec(&format!(
        "create role {name}_r; grant connect on database {name} to {name}_r with grant option;
         revoke all on database {name} from public;
         alter database {name} set search_path = \"$user\", public, \"Odd, one\";
         alter role {name}_r in database {name} set work_mem = '9MB';
         alter database {name} connection limit 77;
         comment on database {name} is 'it''s \\ ours';"
    ))
    .await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
    let properties = |database: &str| {
        format!(
            "select d.datconnlimit, shobj_description(d.oid, 'pg_database'), pg_get_userbyid(d.datdba), \
             (select string_agg(a::text, ' ' order by a::text) from aclexplode(d.datacl) a), \
             (select string_agg(setrole::text || setconfig::text, ' ' order by setrole) from pg_db_role_setting \
             where setdatabase = d.oid) from pg_database d where datname = '{database}'"
        )
    };
    let admin = db.server.url("postgres");
    let (there, back) =
        (sql::rows(&admin, &properties(name)).await, sql::rows(&admin, &properties(&target.name)).await);
    drop(target);
    db.exec(&format!("drop owned by {name}_r; drop role {name}_r")).await;
    assert_eq!(back, there);
}

#[tokio::test]
async fn a_target_that_holds_something_is_refused_and_keeps_it() {
    let db = postgres(15).await.create_database().await;
    db.exec("create table t (x int); insert into t values (1)").await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let theirs = db.server.create_database().await;
    theirs.exec("create table precious (x int); insert into precious values (42)").await;
    let fresh = place.restore(&theirs.url()).env("LONGSHORE_MODE", "fresh");
    assert_failed(fresh.run().await, 73, "precious");
    assert_failed(place.restore(&theirs.url()).run().await, 77, "not marked");
    assert_eq!(theirs.value("select x from precious").await, "42");
    assert_eq!(crate::place::databases_like(&db, &theirs.name).await, [theirs.name.as_str()]);
}

#[tokio::test]
async fn a_backup_that_is_not_there_is_exit_66_and_says_what_there_is() {
    let db = postgres(15).await.create_database().await;
    let place = Place::new().await;
    let target = Target::of(&db);
    assert_failed(place.restore(&target.url).run().await, 66, "the repository is empty");
    place.backup(&db.url()).run().await.success();
    let job = place.job(["restore", "--from", "other"]).env("LONGSHORE_TARGET", &target.url);
    assert_failed(job.run().await, 66, "there are backups of app");
    crate::place::assert_nothing_made(&db, &target.name).await;
}

#[tokio::test]
async fn missing_roles_are_listed_and_can_be_left_out() {
    let (server, other) = (postgres(15).await, postgres(17).await);
    let (db, elsewhere) = (server.create_database().await, other.create_database().await);
    let role = format!("{}_owner", db.name);
    db.exec(&format!(
        "create role {role}; create table t (x int); insert into t values (1); alter table t owner to {role}"
    ))
    .await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let target = Target::of(&elsewhere);
    assert_failed(place.restore(&target.url).inside_postgres(17).run().await, 78, &role);
    crate::place::assert_nothing_made(&elsewhere, &target.name).await;
    let job = place.restore(&target.url).env("LONGSHORE_NO_OWNER", "true").inside_postgres(17);
    job.run().await.success();
    assert_eq!(sql::value(&target.url, "select count(*) from t").await, "1");
    db.exec(&format!("drop owned by {role}; drop role {role}")).await;
}

/// Tables that one loader loads alone are loaded frozen: no vacuum has to rewrite them later.
#[tokio::test]
async fn restored_tables_are_frozen_where_that_is_legal() {
    let db = postgres(15).await.create_database().await;
    db.exec("create table t (x int, y text); insert into t select i, md5(i::text) from generate_series(1, 50000) i")
        .await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
    sql::exec(&target.url, "create extension pg_visibility").await;
    let unfrozen = "select relpages - (pg_visibility_map_summary('t')).all_frozen from pg_class where relname = 't'";
    assert_eq!(sql::value(&target.url, unfrozen).await, "0");
}
