//! The source's server goes away, or says no.

use crate::place::{LARGE, Place, assert_failed};
use std::sync::Arc;
use testkit::proxy::{Direction, Tcp};
use testkit::servers::{TestDatabase, own, postgres};

/// Bytes after which rows are surely under way, and surely not all of them: the table sends some 32 MB.
const MID_COPY: u64 = 6 << 20;

async fn large() -> TestDatabase {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    db
}

#[tokio::test]
async fn a_server_killed_mid_copy_makes_no_backup() {
    let server = Arc::new(own(15, &[]).await);
    let db = server.create_database().await;
    db.exec(LARGE).await;
    let proxy = Tcp::start(&server.host, server.port).await;
    let place = Place::new().await;
    let running = place.backup(&db.url_at_port(proxy.port())).spawn();
    proxy.wait_for_bytes(Direction::ToClient, MID_COPY).await;
    // Held at this point until the server is dead, so that the kill cannot come too late.
    proxy.stall();
    server.kill();
    proxy.cut();
    assert_failed(running.wait().await, 69, "hint");
    place.assert_no_manifest();
    server.start().await;
    place.backup(&db.url()).run().await.success();
    assert_eq!(place.listed().await.len(), 1);
}

#[tokio::test]
async fn connections_cut_mid_copy_make_no_backup() {
    let db = large().await;
    let proxy = Tcp::start(&db.server.host, db.server.port).await;
    let place = Place::new().await;
    proxy.cut_after(Direction::ToClient, MID_COPY);
    assert_failed(place.backup(&db.url_at_port(proxy.port())).run().await, 69, "hint");
    place.assert_no_manifest();
}

/// The server ends our sessions one by one, as an administrator or a failover would.
#[tokio::test]
async fn a_terminated_session_makes_no_backup_whichever_it_is() {
    let db = large().await;
    let proxy = Tcp::start(&db.server.host, db.server.port).await;
    // The first session holds the snapshot; the last ones are readers.
    for order in ["backend_start limit 1", "backend_start desc limit 1"] {
        let place = Place::new().await;
        proxy.pass();
        let before = proxy.passed(Direction::ToClient);
        let running = place.backup(&db.url_at_port(proxy.port())).spawn();
        proxy.wait_for_bytes(Direction::ToClient, before + MID_COPY).await;
        proxy.stall();
        let kill = format!(
            "select pg_terminate_backend(pid) from (select pid from pg_stat_activity where application_name = 'longshore' \
             and datname = current_database() order by {order}) x"
        );
        db.exec(&kill).await;
        proxy.pass();
        assert_failed(running.wait().await, 69, "hint");
        place.assert_no_manifest();
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_exit_69() {
    let place = Place::new().await;
    let outcome = place.backup("postgres://postgres@127.0.0.1:1/app").run().await;
    assert_failed(outcome, 69, "connect to app at 127.0.0.1:1");
    place.assert_no_manifest();
}

#[tokio::test]
async fn a_wrong_password_is_exit_77_and_a_missing_database_66() {
    let db = postgres(15).await.create_database().await;
    let place = Place::new().await;
    let wrong = place.backup(&db.url()).env("LONGSHORE_SOURCE_PASSWORD", "wrong").run().await;
    assert_failed(wrong, 77, "password authentication failed");
    let missing = place.backup(&db.server.url("no_such_database")).run().await;
    assert_failed(missing, 66, "no_such_database");
    place.assert_no_manifest();
}

#[tokio::test]
async fn a_table_without_privilege_is_exit_77_by_name() {
    let db = postgres(15).await.create_database().await;
    let role = format!("{}_reader", db.name);
    db.exec(&format!(
        "create table open (x int); create table hidden (x int);
         create role {role} login password 'pw'; grant select on open to {role}"
    ))
    .await;
    let place = Place::new().await;
    let url = format!("postgres://{role}:pw@{}:{}/{}", db.server.host, db.server.port, db.name);
    assert_failed(place.backup(&url).run().await, 77, "hidden");
    place.assert_no_manifest();
    db.exec(&format!("grant select on hidden to {role}")).await;
    place.backup(&url).run().await.success();
    db.exec(&format!("drop owned by {role}; drop role {role}")).await;
}

/// A policy that hides rows from the role must never make a smaller backup.
#[tokio::test]
async fn rows_hidden_by_a_policy_are_exit_77_not_a_smaller_backup() {
    let db = postgres(15).await.create_database().await;
    let role = format!("{}_limited", db.name);
    db.exec(&format!(
        "create table notes (owner text, body text); insert into notes values ('a', '1'), ('b', '2');
         alter table notes enable row level security; create policy p on notes using (owner = 'a');
         create role {role} login password 'pw'; grant select on notes to {role}"
    ))
    .await;
    let place = Place::new().await;
    let url = format!("postgres://{role}:pw@{}:{}/{}", db.server.host, db.server.port, db.name);
    assert_failed(place.backup(&url).run().await, 77, "notes");
    place.assert_no_manifest();
    db.exec(&format!("drop owned by {role}; drop role {role}")).await;
}

/// An error in the very last row: everything before it was read and stored, and there must be no backup all the same.
#[tokio::test]
async fn an_error_in_the_last_row_makes_no_backup() {
    let db = large().await;
    db.exec(
        "create extension pg_surgery;
         alter table large alter body set storage external;
         insert into large values (1000000, repeat('the last row ', 10000));
         do $$ declare t regclass; begin
           select reltoastrelid::regclass into t from pg_class where oid = 'large'::regclass;
           execute format('select heap_force_kill(%L::regclass, (select array_agg(ctid) from %s))', t, t);
         end $$",
    )
    .await;
    let place = Place::new().await;
    assert_failed(place.backup(&db.url()).run().await, 65, "missing chunk");
    place.assert_no_manifest();
}
