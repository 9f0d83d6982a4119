//! The server's roles beside a backup: kept when asked for, brought back as they were, hashes guarded.

use crate::place::{Place, assert_failed};
use ::postgres::{GLOBALS, Globals};
use std::collections::BTreeSet;
use testkit::servers::{PostgresServer, TestDatabase, own, postgres};
use testkit::sql;

/// The document of the newest backup, read with what reads every document.
async fn document(place: &Place) -> Option<Vec<u8>> {
    let store = store::open(&store::Location::parse(&place.repo).unwrap(), None).await.unwrap();
    let repository = repository::Repository::open(store).await.unwrap();
    let manifest = repository.find(&"app".parse().unwrap()).await.unwrap();
    let record = manifest.header.documents.iter().find(|document| document.name == GLOBALS)?;
    Some(repository.read_document(record, "the test").await.unwrap())
}

/// Roles as unlike each other as they can be; their names begin with the database's.
async fn roles(db: &TestDatabase) -> BTreeSet<String> {
    let (name, version) = (&db.name, db.server.version);
    let options = if version >= 16 { "with inherit false, set true, admin true" } else { "with admin option" };
    db.exec(&format!(
        "create role {name}_owner nologin; create role {name}_ann login password 'canary-7x' connection limit 5 valid until '2031-02-03 04:05:06+00';
         create role {name}_boss superuser createdb createrole replication bypassrls noinherit;
         create role \"{name}_Odd \"\"one\"\"\" login;
         grant {name}_owner to {name}_ann {options}; grant pg_read_all_data, pg_monitor to {name}_ann;
         grant {name}_ann to \"{name}_Odd \"\"one\"\"\";
         comment on role {name}_ann is 'it''s \\ ann';
         alter role {name}_ann set search_path = '{name}', 'My Schema', public;
         alter role {name}_ann set statement_timeout = '90s'; alter role {name}_boss set log_statement = 'all';"
    ))
    .await;
    ["owner", "ann", "boss", "Odd \"one\""].iter().map(|end| format!("{name}_{end}")).collect()
}

async fn drop_roles(db: &TestDatabase, roles: &BTreeSet<String>) {
    for role in roles {
        db.exec(&format!("drop role \"{}\"", role.replace('"', "\"\""))).await;
    }
}

/// What the vendor's tool says about these roles.
fn dumped(server: &PostgresServer, beginning: &str) -> Vec<String> {
    let dump = server.exec(&["pg_dumpall", "--roles-only"]).unwrap();
    let lines = dump.lines().filter(|line| line.contains(beginning) && !line.starts_with("--"));
    let mut lines: Vec<String> = lines.map(str::to_owned).collect();
    lines.sort();
    lines
}

async fn come_back(version: u16) {
    let db = postgres(version).await.create_database().await;
    db.exec("create table t (x int)").await;
    let roles = roles(&db).await;
    let place = Place::new().await;
    let job = place.backup(&db.url()).env("LONGSHORE_GLOBALS_PASSWORDS", "true");
    let outcome = job.for_postgres(version).run().await.success();
    let shown = place.job(["show", "app"]).run().await.success();
    assert!(shown.stdout.contains("the server's roles, with hashes of passwords"), "{}", shown.stdout);
    let hash = "select rolpassword from pg_authid where rolname = current_database() || '_ann'";
    let hash = db.value(hash).await;
    let bytes = document(&place).await.unwrap();
    assert!(hash.starts_with("SCRAM") && String::from_utf8_lossy(&bytes).contains(&hash));
    for said in [&outcome.stdout, &outcome.stderr, &shown.stdout] {
        assert!(!said.contains(&hash) && !said.contains("SCRAM"), "{said}");
    }

    let globals = Globals::parse(&bytes).unwrap();
    assert!(!globals.roles.iter().any(|role| role.name.starts_with("pg_")), "{:?}", globals.roles);
    let elsewhere = own(version, &[]).await;
    sql::exec(&elsewhere.url("postgres"), &globals.create_statements(&roles, true).join(";\n")).await;
    assert_eq!(dumped(&elsewhere, &db.name), dumped(&db.server, &db.name));
    drop_roles(&db, &roles).await;
}

/// A restore that may make the roles it lacks makes them what they were: those that it needs, and no other.
async fn missing_ones_are_made_by_a_restore(version: u16) {
    let db = postgres(version).await.create_database().await;
    db.exec(&format!("create table t (x int); create role {}_idle login", db.name)).await;
    let roles = roles(&db).await;
    for role in &roles {
        db.exec(&format!("grant select on t to \"{}\"", role.replace('"', "\"\""))).await;
    }
    let place = Place::new().await;
    let job = place.backup(&db.url()).env("LONGSHORE_GLOBALS_PASSWORDS", "true");
    job.for_postgres(version).run().await.success();
    let elsewhere = own(version, &[]).await;
    let restore = place.restore(&elsewhere.url("back")).for_postgres(version);
    let outcome = restore.env("LONGSHORE_CREATE_MISSING_ROLES", "true").run().await.success();
    assert!(outcome.json()["notes"].to_string().contains("as the backup's globals say"), "{}", outcome.report());
    assert!(!format!("{}{}", outcome.stdout, outcome.stderr).contains("SCRAM"), "{}", outcome.report());
    let idle = format!("{}_idle", db.name);
    let mut there = dumped(&db.server, &db.name);
    there.retain(|line| !line.contains(&idle));
    assert_eq!(dumped(&elsewhere, &db.name), there);
    db.exec("drop table t").await;
    drop_roles(&db, &roles.into_iter().chain([idle]).collect()).await;
}

#[tokio::test]
async fn missing_roles_are_made_by_a_restore_as_they_were_on_postgresql_15() {
    missing_ones_are_made_by_a_restore(15).await;
}

#[tokio::test]
async fn missing_roles_are_made_by_a_restore_as_they_were_on_postgresql_18() {
    if crate::integration::traps::has_18() {
        missing_ones_are_made_by_a_restore(18).await;
    }
}

#[tokio::test]
async fn roles_come_back_as_they_were_on_postgresql_15() {
    come_back(15).await;
}

#[tokio::test]
async fn roles_come_back_as_they_were_on_postgresql_17() {
    come_back(17).await;
}

#[tokio::test]
async fn without_being_asked_there_are_no_globals_and_no_hashes() {
    let db = postgres(15).await.create_database().await;
    let roles = roles(&db).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    assert_eq!(document(&place).await, None);
    let shown = place.job(["show", "app"]).run().await.success();
    assert!(!shown.stdout.contains("globals"), "{}", shown.stdout);
    place.backup(&db.url()).env("LONGSHORE_GLOBALS", "true").run().await.success();
    let globals = String::from_utf8(document(&place).await.unwrap()).unwrap();
    assert!(globals.contains(&format!("{}_ann", db.name)) && !globals.contains("SCRAM"), "{globals}");
    let shown = place.job(["show", "app"]).run().await.success();
    assert!(shown.stdout.contains("the server's roles, without passwords"), "{}", shown.stdout);
    drop_roles(&db, &roles).await;
}

/// As on a managed server, where nobody reads pg_authid.
#[tokio::test]
async fn an_ordinary_role_keeps_globals_and_is_refused_hashes() {
    let db = postgres(15).await.create_database().await;
    let role = format!("{}_reader", db.name);
    db.exec(&format!(
        "create role {role} login password 'pw' in role pg_monitor; create table t (x int); grant select on t to {role}"
    ))
    .await;
    let url = format!("postgres://{role}:pw@{}:{}/{}", db.server.host, db.server.port, db.name);
    let place = Place::new().await;
    let refused = place.backup(&url).env("LONGSHORE_GLOBALS_PASSWORDS", "true").run().await;
    assert_failed(refused, 77, "pg_authid");
    place.assert_no_manifest();
    place.backup(&url).env("LONGSHORE_GLOBALS", "true").run().await.success();
    let globals = Globals::parse(&document(&place).await.unwrap()).unwrap();
    assert!(globals.roles.iter().any(|known| known.name == role) && !globals.passwords);
    assert!(globals.memberships.iter().any(|m| m.role == "pg_monitor" && m.member == role));
    db.exec(&format!("drop owned by {role}; drop role {role}")).await;
}
