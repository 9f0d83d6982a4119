//! The schema changes underneath: before, at and after the moment our locks are taken.

use crate::place::{LARGE, Place, Target, assert_failed};
use testkit::job::Running;
use testkit::proxy::{Direction, Tcp};
use testkit::servers::{TestDatabase, postgres};
use testkit::sql;

/// Somebody holds a table exclusively when the backup begins. It waits, no longer than it was told to, and says who.
#[tokio::test]
async fn a_table_locked_by_another_session_is_exit_69_by_name() {
    let db = postgres(15).await.create_database().await;
    db.exec("create table free (x int); create table held (x int)").await;
    let other = sql::connect(&db.url()).await;
    other.batch_execute("begin; lock table held in access exclusive mode").await.unwrap();
    let place = Place::new().await;
    let outcome = place.backup(&db.url()).env("LONGSHORE_LOCK_TIMEOUT", "1").run().await;
    assert_failed(outcome, 69, "public.held is locked by process");
    place.assert_no_manifest();
}

/// A table dropped, truncated or altered by a transaction that commits while the backup waits for its lock: the backup
/// starts over and shows the moment after.
#[tokio::test]
async fn changes_before_the_lock_are_all_in_the_backup() {
    for (change, check, expected) in [
        ("drop table held", "select count(*) from pg_class where relname = 'held'", "0"),
        ("truncate held", "select count(*) from held", "0"),
        ("alter table held add y int default 5", "select sum(y) from held", "15"),
        ("alter table held alter x type text using 'n' || x", "select max(x) from held", "n3"),
        ("alter table held rename to kept", "select count(*) from kept", "3"),
    ] {
        let db = postgres(15).await.create_database().await;
        db.exec("create table held (x int); insert into held values (1), (2), (3)").await;
        let other = sql::connect(&db.url()).await;
        other.batch_execute(&format!("begin; {change}")).await.unwrap();
        let place = Place::new().await;
        let running = place.backup(&db.url()).spawn();
        let waits = "select count(*) from pg_locks l join pg_class c on c.oid = l.relation join pg_stat_activity a using (pid) \
                     where not l.granted and a.application_name like 'longshore%' and a.datname = current_database()";
        // Over a session of its own: the one with the change must not take part.
        while sql::value(&db.url(), waits).await == "0" {
            assert!(running.is_running(), "the backup did not wait for the lock: {}", running.stderr());
        }
        other.batch_execute("commit").await.unwrap();
        running.wait().await.success();
        let target = Target::of(&db);
        place.restore(&target.url).run().await.success();
        assert_eq!(sql::value(&target.url, check).await, expected, "{change}");
    }
}

/// Once the locks are ours nobody can change a table under us: the change waits, and the backup shows the moment before.
/// That somebody waits must not stop our own readers either, which take their locks behind that queue.
#[tokio::test]
async fn changes_after_the_lock_wait_and_are_not_in_the_backup() {
    for change in ["truncate large", "drop table large", "alter table large add y int default 5"] {
        let db = postgres(15).await.create_database().await;
        db.exec(LARGE).await;
        let (place, running, proxy) = held_while_reading(&db).await;
        let other = sql::connect(&db.url()).await;
        let changed = tokio::spawn({
            let change = change.to_owned();
            async move { other.batch_execute(&change).await }
        });
        let waits = "select count(*) from pg_locks where not granted and mode = 'AccessExclusiveLock' and relation = 'large'::regclass";
        while db.value(waits).await == "0" {
            assert!(!changed.is_finished(), "{change} did not wait: the lock was not ours");
        }
        proxy.pass();
        running.wait().await.success();
        changed.await.unwrap().unwrap();
        let target = Target::of(&db);
        place.restore(&target.url).run().await.success();
        assert_eq!(sql::value(&target.url, "select count(*) from large").await, "100000", "{change}");
        let columns = "select count(*) from pg_attribute where attrelid = 'large'::regclass and attname = 'y'";
        assert_eq!(sql::value(&target.url, columns).await, "0", "{change}");
    }
}

/// Somebody queues for a stronger lock right after ours, before `pg_dump` has its own: `pg_dump` would wait for them, and
/// they for us. The backup starts over, lets them go first, and shows the moment after.
#[tokio::test]
async fn a_change_that_comes_between_our_locks_and_those_of_pg_dump_goes_first() {
    let db = postgres(15).await.create_database().await;
    db.exec("create table held (x int); insert into held values (1), (2), (3)").await;
    let place = Place::new().await;
    // A pg_dump that waits until somebody waits: the moment is hit in every run.
    let folder = place.folder.path().join("tools");
    std::fs::create_dir(&folder).unwrap();
    let wait = "for i in $(seq 600); do [ -e \"$(dirname \"$0\")/go\" ] && break; sleep 0.05; done";
    for (name, before) in [("pg_dump", wait), ("pg_restore", ":")] {
        let skip = if name == "pg_dump" { "[ \"$1\" = --version ] ||" } else { "" };
        let real = format!(
            "for bin in /usr/lib/postgresql/15/bin /usr/bin; do [ -x $bin/{name} ] && exec $bin/{name} \"$@\"; done"
        );
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{skip} {{ {before}; }}\n{real}\n")).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let running = place.backup(&db.url()).env("LONGSHORE_TOOLS", folder.display().to_string()).spawn();
    let ours = "select count(*) from pg_locks where granted and mode = 'AccessShareLock' and relation = 'held'::regclass \
                and pid <> pg_backend_pid()";
    while db.value(ours).await == "0" {
        assert!(running.is_running(), "{}", running.stderr());
    }
    let other = sql::connect(&db.url()).await;
    let change = tokio::spawn(async move { other.batch_execute("truncate held").await });
    let waits = "select count(*) from pg_locks where not granted and mode = 'AccessExclusiveLock' and relation = 'held'::regclass";
    while db.value(waits).await == "0" {
        assert!(running.is_running(), "{}", running.stderr());
    }
    std::fs::write(folder.join("go"), "").unwrap();
    let outcome = running.wait().await.success();
    assert!(outcome.stderr.contains("starting over"), "{}", outcome.report());
    change.await.unwrap().unwrap();
    let target = Target::of(&db);
    place.restore(&target.url).run().await.success();
    assert_eq!(sql::value(&target.url, "select count(*) from held").await, "0");
}

/// A backup in the middle of its reading, held there until the proxy lets its bytes pass.
async fn held_while_reading(db: &TestDatabase) -> (Place, Running, Tcp) {
    let proxy = Tcp::start(&db.server.host, db.server.port).await;
    let place = Place::new().await;
    let running = place.backup(&db.url_at_port(proxy.port())).spawn();
    proxy.wait_for_bytes(Direction::ToClient, 4 << 20).await;
    proxy.stall();
    (place, running, proxy)
}

/// Holds a backup in the middle of its reading, makes a change that takes no table's lock, and lets it go on.
async fn changed_while_reading(setup: &str, change: &str, says: &str) {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    db.exec(setup).await;
    let (place, running, proxy) = held_while_reading(&db).await;
    db.exec(change).await;
    proxy.pass();
    assert_failed(running.wait().await, 69, says);
    place.assert_no_manifest();
}

/// Two schemas swap their names while a table is read: its remaining pages must not come from the other one.
#[tokio::test]
async fn schemas_that_swap_names_while_rows_are_read_make_no_backup() {
    let setup = "create schema live; create schema next; alter table large set schema live;
                 create table next.large (like live.large); insert into next.large values (1, 'other')";
    let change = "alter schema live rename to old; alter schema next rename to live";
    changed_while_reading(setup, change, "live").await;
}

/// Rows written before and after a label's new name would not fit one schema.
#[tokio::test]
async fn an_enum_whose_value_is_renamed_while_rows_are_read_makes_no_backup() {
    let setup = "create type mood as enum ('sad', 'ok'); create table moods (m mood); insert into moods values ('sad')";
    changed_while_reading(setup, "alter type mood rename value 'sad' to 'blue'", "value of an enum sad was changed")
        .await;
}

/// Rows name a function by what it was called when they were read, the schema by what it was called in the snapshot; of one that is
/// gone only a number would be left.
#[tokio::test]
async fn a_function_that_rows_name_and_that_is_renamed_or_dropped_makes_no_backup() {
    let setup = "create schema app; create function app.f() returns int language sql as 'select 1';
                 create table hooks (called regproc); insert into hooks values ('app.f')";
    for change in ["alter function app.f() rename to g", "drop function app.f()"] {
        changed_while_reading(setup, change, "the function f, which public.hooks may name").await;
    }
}

/// Where no row names anything, code may change as it likes: the backup shows the moment before.
#[tokio::test]
async fn a_function_that_no_row_names_may_be_dropped_while_rows_are_read() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    db.exec("create function f() returns int language sql as 'select 1'").await;
    let (_place, running, proxy) = held_while_reading(&db).await;
    db.exec("drop function f()").await;
    proxy.pass();
    running.wait().await.success();
}
