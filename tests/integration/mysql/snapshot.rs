//! One moment: writers and changes of the schema while a backup reads.

use super::road::large;
use super::{Back, assert_same, everything, on_each_server, server};
use crate::place::{Place, assert_failed};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use testkit::proxy::{Direction, Tcp};
use testkit::servers::{Flavour, MysqlServer, TestSchema, own_mysql};

/// Money moves between accounts in two tables; each transfer is one transaction, so the sum is always the same, and a note of it is inserted.
const BANK: &str = "create table a (id int primary key, amount bigint not null) engine=InnoDB;
    create table b (id int primary key, amount bigint not null) engine=InnoDB;
    create table notes (id bigint auto_increment primary key, moved int not null) engine=InnoDB;
    insert into a values (1, 1000000), (2, 1000000); insert into b values (1, 1000000), (2, 1000000)";

/// Writes until it is told to stop.
async fn transfers(url: String, stop: Arc<AtomicBool>, done: Arc<AtomicU64>) {
    use mysql_async::prelude::Queryable;
    let mut conn = mysql_async::Conn::from_url(url).await.unwrap();
    while !stop.load(Ordering::Relaxed) {
        for sql in [
            "start transaction",
            "update a set amount = amount - 1 where id = 1",
            "insert into notes (moved) values (1)",
            "update b set amount = amount + 1 where id = 2",
            "commit",
        ] {
            conn.query_drop(sql).await.unwrap();
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
    conn.disconnect().await.unwrap();
}

/// G1: what comes back is one moment's, however busy the writers were.
async fn consistent_on(server: &Arc<MysqlServer>) {
    let db = server.database().await;
    let url = db.url();
    consistent_by(&db, &url).await;
}

/// The same over this URL.
async fn consistent_by(db: &TestSchema, url: &str) {
    db.exec(BANK).await;
    db.exec(&large(2)).await;
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writer = tokio::spawn(transfers(db.url(), Arc::clone(&stop), Arc::clone(&done)));
    let place = Place::new().await;
    crate::place::until("the writer", async || done.load(Ordering::Relaxed) > 5).await;
    for _ in 0..3 {
        let before = done.load(Ordering::Relaxed);
        place.backup(url).run().await.success();
        // It went on meanwhile.
        assert!(done.load(Ordering::Relaxed) > before);
        let back = Back::of(db);
        place.restore(&back.url).run().await.success();
        let sum = db
            .one(&format!("select (select sum(amount) from {0}.a) + (select sum(amount) from {0}.b)", back.name))
            .await;
        assert_eq!(sum, "4000000");
        let moved =
            db.one(&format!("select sum(moved) + (select sum(amount) from {0}.a) from {0}.notes", back.name)).await;
        assert_eq!(moved, "2000000");
    }
    stop.store(true, Ordering::Relaxed);
    writer.await.unwrap();
}

async fn writers_do_not_tear_a_backup(flavour: Flavour) {
    consistent_on(&server!(flavour)).await;
}
on_each_server!(writers_do_not_tear_a_backup);

/// The same where MariaDB has no binary log to go by, and locks are needed.
#[tokio::test]
async fn writers_do_not_tear_a_backup_of_mariadb_without_a_binary_log() {
    if Flavour::MariaDb10.is_tested() {
        consistent_on(&Arc::new(own_mysql(Flavour::MariaDb10, &["--skip-log-bin"]).await)).await;
    }
}

/// The same for a user who may lock the schema's tables and nothing else.
async fn writers_do_not_tear_a_backup_under_locks_on_tables(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    let user = format!("w{}", &db.name()[4..]);
    let routines = if flavour == Flavour::MySql9 { "SHOW_ROUTINE on *.*" } else { "SELECT on mysql.proc" };
    db.exec(&format!(
        "create user {user}@'%' identified by 'pw'; grant {routines} to {user}@'%';
         grant SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES on {}.* to {user}@'%'",
        db.name()
    ))
    .await;
    consistent_by(&db, &format!("mysql://{user}:pw@{}:{}/{}", server.host(), server.port(), db.name())).await;
    db.exec(&format!("drop user {user}@'%'")).await;
}
on_each_server!(writers_do_not_tear_a_backup_under_locks_on_tables);

/// Reads a table as an application would that waits for nobody.
async fn reads_at_once(db: &TestSchema, table: &str) {
    use mysql_async::prelude::Queryable;
    let mut application = db.connection().await;
    application.query_drop("set session lock_wait_timeout = 1").await.unwrap();
    let rows: Option<u64> = application.query_first(format!("select count(*) from {table}")).await.unwrap();
    assert_eq!(rows, Some(1));
    application.disconnect().await.unwrap();
}

/// Two schemas of one server, backed up at the same time: tables that the one keeps locked are no obstacle to the other, and stay readable.
async fn two_backups_of_one_server_do_not_stop_each_other(flavour: Flavour) {
    let server = server!(flavour);
    let (one, other) = (server.database().await, server.database().await);
    for db in [&one, &other] {
        db.exec(&large(5)).await;
        db.exec("create table m (id int) engine=MyISAM; insert into m values (1)").await;
    }
    let proxy = Tcp::start(server.host(), server.port()).await;
    let (place, elsewhere) = (Place::new().await, Place::new().await);
    let running = place.backup(&one.url_at_port(proxy.port())).spawn();
    proxy.wait_for_bytes(Direction::ToClient, MID_READ).await;
    proxy.stall();
    elsewhere.backup(&other.url()).run().await.success();
    reads_at_once(&one, "m").await;
    proxy.pass();
    running.wait().await.success();
}
on_each_server!(two_backups_of_one_server_do_not_stop_each_other);

/// Who may not lock tables stops the server for a moment. On MySQL never while somebody keeps a table for long: it would stay shut for everybody.
async fn the_server_is_not_stopped_while_a_table_is_in_use(flavour: Flavour) {
    use mysql_async::prelude::Queryable;
    if !flavour.is_tested() {
        return;
    }
    let settings: &[&str] = if flavour.is_mariadb() { &["--skip-log-bin"] } else { &[] };
    let server = Arc::new(own_mysql(flavour, settings).await);
    let (db, other) = (server.database().await, server.database().await);
    db.exec(&format!(
        "create user stopper@'%' identified by 'pw'; grant SELECT, RELOAD on *.* to stopper@'%';
         grant SHOW VIEW, TRIGGER, EVENT on {}.* to stopper@'%'",
        db.name()
    ))
    .await;
    let url = format!("mysql://stopper:pw@{}:{}/{}", server.host(), server.port(), db.name());
    consistent_by(&db, &url).await;
    other.exec("create table m (id int) engine=MyISAM; insert into m values (1)").await;
    let place = Place::new().await;
    let mut holder = other.connection().await;
    // Kept by a lock, then by a query.
    holder.query_drop("lock tables m read").await.unwrap();
    for kept in ["lock", "query"] {
        let outcome = place.backup(&url).env("LONGSHORE_LOCK_TIMEOUT", "3").run().await;
        if !flavour.is_mariadb() {
            assert_failed(outcome, 69, "not to be had within 3 s");
        }
        reads_at_once(&other, "m").await;
        if kept == "lock" {
            holder.query_drop("unlock tables").await.unwrap();
            let id = holder.id();
            let query = tokio::spawn(async move { holder.query_drop("select sleep(1000) from m").await });
            let sleeping =
                format!("select count(*) from information_schema.processlist where id = {id} and state like 'User%'");
            crate::place::until("the query", async || other.one(&sleeping).await == "1").await;
            holder = other.connection().await;
            drop(query);
        }
    }
    let id = "select id from information_schema.processlist where info like 'select sleep(1000)%'";
    other.exec(&format!("kill {}", other.one(id).await)).await;
    let taken = place.backup(&url).run().await.success();
    assert!(taken.stderr.contains("by a short global read lock"), "{}", taken.report());
    // Who does not see which tables are in use may not try.
    if !flavour.is_mariadb() {
        let routines = if flavour == Flavour::MySql9 { "SHOW_ROUTINE on *.*" } else { "SELECT on mysql.proc" };
        db.exec(&format!("revoke SELECT on *.* from stopper@'%'; grant SELECT on {}.* to stopper@'%'; grant {routines} to stopper@'%'", db.name()))
            .await;
        assert_failed(place.backup(&url).run().await, 77, "GRANT LOCK TABLES");
    }
}
on_each_server!(the_server_is_not_stopped_while_a_table_is_in_use);

/// Bytes after which rows of the large table are under way, and not all of them.
const MID_READ: u64 = 2 << 20;

/// Stops a backup in the middle of the large table, runs statements against the schema, and lets it go on. Whether the statements ended
/// before it did is not for us to say: on some servers they wait for the backup.
async fn changed_midway(db: &TestSchema, place: &Place, statements: &'static str) -> testkit::Outcome {
    let proxy = Tcp::start(db.server.host(), db.server.port()).await;
    let running = place.backup(&db.url_at_port(proxy.port())).env("LONGSHORE_WORKERS", "2").spawn();
    proxy.wait_for_bytes(Direction::ToClient, MID_READ).await;
    proxy.stall();
    let mut conn = db.connection().await;
    let changing = tokio::spawn(async move {
        use mysql_async::prelude::Queryable;
        conn.query_drop(statements).await.unwrap();
        conn.disconnect().await.unwrap();
    });
    let changed = {
        let query = "select count(*) from information_schema.processlist where db = database() and state like '%lock%'";
        let done = || changing.is_finished();
        crate::place::until("the change, or its wait for us", async || done() || db.one(query).await != "0").await;
        done()
    };
    proxy.pass();
    let outcome = running.wait().await;
    changing.await.unwrap();
    assert!(changed || outcome.code.is_some());
    outcome
}

/// Whatever is done to the schema while rows are read: what is listed is complete, or nothing is.
async fn a_schema_that_changes_meanwhile_makes_no_torn_backup(flavour: Flavour) {
    let server = server!(flavour);
    for statements in [
        "truncate table later",
        "alter table later add column more int",
        "drop table later",
        "alter table large add column more int",
        "create table another (id int)",
        "create procedure p() select 1",
        "drop view v",
        "rename table later to large2, large to later",
    ] {
        let db = server.database().await;
        db.exec(&large(5)).await;
        db.exec("create table later (id int primary key) engine=InnoDB; insert into later values (1), (2); create view v as select 1 as x").await;
        let there = everything(&server, db.name()).await;
        let place = Place::new().await;
        let outcome = changed_midway(&db, &place, statements).await;
        if outcome.code == Some(0) {
            let back = Back::of(&db);
            place.restore(&back.url).run().await.success();
            assert_same(&there, &everything(&server, &back.name).await);
        } else {
            let outcome = outcome.expect_code(69);
            assert!(outcome.stderr.contains("no backup was made"), "{statements}\n{}", outcome.report());
            place.assert_no_manifest();
        }
    }
}
on_each_server!(a_schema_that_changes_meanwhile_makes_no_torn_backup);
