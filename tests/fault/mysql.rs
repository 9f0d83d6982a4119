//! MariaDB and MySQL go away in the middle, or say no.

use crate::integration::mysql::large::by_text_and_by_bytes;
use crate::integration::mysql::road::large;
use crate::integration::mysql::swap::{NEW, OLD, all, marked, run_all};
use crate::integration::mysql::{Back, assert_same, everything, on_each_server, schemas_like, server};
use crate::place::{Place, assert_failed, until};
use std::sync::Arc;
use testkit::Signal;
use testkit::proxy::{Direction, Lost, Tcp};
use testkit::servers::{Flavour, own_mysql};

/// Bytes after which rows are surely under way, and surely not all of them: the table sends some 16 MB.
const MID_WAY: u64 = 4 << 20;

/// G2: a server killed in the middle of its rows makes no backup, and a backup after it works.
async fn a_server_killed_while_it_is_read_makes_no_backup(flavour: Flavour) {
    if !flavour.is_tested() {
        return;
    }
    let server = Arc::new(own_mysql(flavour, &[]).await);
    let db = server.database().await;
    db.exec(&large(5)).await;
    let proxy = Tcp::start(server.host(), server.port()).await;
    let place = Place::new().await;
    let running = place.backup(&db.url_at_port(proxy.port())).spawn();
    proxy.wait_for_bytes(Direction::ToClient, MID_WAY).await;
    proxy.stall();
    server.kill();
    proxy.cut();
    assert_failed(running.wait().await, 69, "hint");
    place.assert_no_manifest();
    server.start().await;
    place.backup(&db.url()).run().await.success();
    assert_eq!(place.listed().await.len(), 1);
}
on_each_server!(a_server_killed_while_it_is_read_makes_no_backup);

async fn connections_cut_while_reading_make_no_backup(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    db.exec(&large(5)).await;
    let proxy = Tcp::start(server.host(), server.port()).await;
    let place = Place::new().await;
    proxy.cut_after(Direction::ToClient, MID_WAY);
    assert_failed(place.backup(&db.url_at_port(proxy.port())).run().await, 69, "hint");
    place.assert_no_manifest();
}
on_each_server!(connections_cut_while_reading_make_no_backup);

/// A session of a backup killed by an administrator while it sends rows. The table is so large that no session's rest fits into what
/// the system keeps of a connection: one whose rows are all on their way may be killed, and the backup is whole.
async fn a_killed_session_makes_no_backup(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    db.exec(&large(7)).await;
    let user = format!("k{}", &db.name()[4..]);
    db.exec(&format!("create user {user}@'%' identified by 'pw'; grant all on *.* to {user}@'%'")).await;
    for which in ["min", "max"] {
        let proxy = Tcp::start(server.host(), server.port()).await;
        let place = Place::new().await;
        let url = format!("mysql://{user}:pw@{}:{}/{}", server.host(), proxy.port(), db.name());
        let running = place.backup(&url).spawn();
        proxy.wait_for_bytes(Direction::ToClient, MID_WAY).await;
        proxy.stall();
        let sending = format!(
            "select {which}(id) from information_schema.processlist
             where user = '{user}' and command = 'Query' and info like '%large%'"
        );
        let mut id = String::new();
        until("a session that sends rows", async || {
            id = db.one(&sending).await;
            !id.is_empty()
        })
        .await;
        db.exec(&format!("kill {id}")).await;
        proxy.pass();
        assert_failed(running.wait().await, 69, "hint");
        place.assert_no_manifest();
    }
    db.exec(&format!("drop user {user}@'%'")).await;
}
on_each_server!(a_killed_session_makes_no_backup);

/// G5: a load that is cut off leaves neither a target nor a scratch schema, and the next restore tidies what could not be reached.
async fn connections_cut_while_loading_leave_nothing(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    db.exec(&large(5)).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let proxy = Tcp::start(server.host(), server.port()).await;
    proxy.cut_after(Direction::ToServer, MID_WAY);
    let back = Back::of(&db);
    assert_failed(place.restore(&server.url_at_port(proxy.port(), &back.name)).run().await, 69, "hint");
    assert!(!server.has_database(&back.name).await);
    place.restore(&back.url).run().await.success();
    assert_eq!(schemas_like(&db, &back.name).await, std::slice::from_ref(&back.name));
    assert_eq!(db.one(&format!("select count(*) from {}.large", back.name)).await, "32768");
}
on_each_server!(connections_cut_while_loading_leave_nothing);

/// G5: the network goes away while indexes are made of rows that are all in: nothing has the name, and nothing stays.
async fn connections_cut_while_making_indexes_leave_nothing(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    db.exec(&by_text_and_by_bytes(13)).await;
    db.exec("analyze table visits; analyze table scans").await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let back = Back::of(&db);
    for lost in [Lost::Answer, Lost::Words] {
        let proxy = Tcp::start(server.host(), server.port()).await;
        proxy.cut_at("ADD KEY", lost);
        let url = format!("{}?ssl-mode=disabled", server.url_at_port(proxy.port(), &back.name));
        assert_failed(place.restore(&url).run().await, 69, "index");
        assert!(!server.has_database(&back.name).await);
    }
    place.restore(&back.url).run().await.success();
    assert_eq!(schemas_like(&db, &back.name).await, std::slice::from_ref(&back.name));
}
on_each_server!(connections_cut_while_making_indexes_leave_nothing);

/// G12: a stop in the middle of loading takes the scratch schema away.
async fn a_stopped_restore_leaves_nothing(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    db.exec(&large(5)).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let proxy = Tcp::start(server.host(), server.port()).await;
    let back = Back::of(&db);
    let running = place.restore(&server.url_at_port(proxy.port(), &back.name)).spawn();
    proxy.wait_for_bytes(Direction::ToServer, MID_WAY).await;
    running.signal(Signal::Terminate);
    running.wait().await.expect_code(74);
    assert_eq!(schemas_like(&db, &back.name).await, Vec::<String>::new());
}
on_each_server!(a_stopped_restore_leaves_nothing);

/// A restore into a server that takes no writes says so before it makes anything.
async fn a_read_only_server_is_refused(flavour: Flavour) {
    if !flavour.is_tested() {
        return;
    }
    let server = Arc::new(own_mysql(flavour, &[]).await);
    let db = server.database().await;
    db.exec("create table t (id int)").await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    db.exec("set global read_only = 1").await;
    let back = Back::of(&db);
    assert_failed(place.restore(&back.url).run().await, 77, "read-only");
    assert_eq!(schemas_like(&db, &back.name).await, Vec::<String>::new());
    // A replica is a good source.
    place.backup(&db.url()).run().await.success();
    db.exec("set global read_only = 0").await;
}
on_each_server!(a_read_only_server_is_refused);

/// A long query of others keeps the lock from us, and we give up instead of making everybody wait behind us.
async fn a_lock_that_is_not_to_be_had_is_given_up(flavour: Flavour) {
    if !flavour.is_tested() {
        return;
    }
    let settings: &[&str] = if flavour.is_mariadb() { &["--skip-log-bin"] } else { &[] };
    let server = Arc::new(own_mysql(flavour, settings).await);
    let db = server.database().await;
    db.exec("create table t (id int primary key) engine=InnoDB; insert into t values (1)").await;
    let mut other = db.connection().await;
    use mysql_async::prelude::Queryable;
    other.query_drop("lock tables t write").await.unwrap();
    let place = Place::new().await;
    let job = place.backup(&db.url()).env("LONGSHORE_LOCK_TIMEOUT", "3");
    assert_failed(job.run().await, 69, "not to be had within 3 s");
    place.assert_no_manifest();
    other.query_drop("unlock tables").await.unwrap();
    place.backup(&db.url()).run().await.success();
}
on_each_server!(a_lock_that_is_not_to_be_had_is_given_up);

/// G5: the network goes away at any step of publishing: everything is there, or nothing, and the exit code says which.
async fn connections_cut_while_publishing_leave_all_or_nothing(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    // One statement each: MySQL keeps a semicolon that follows a program as part of it.
    for statement in [
        "create table t (id int primary key)",
        "insert into t values (1), (2)",
        "create view v as select id from t",
        "create trigger tr before insert on t for each row set new.id = new.id",
        "create procedure p() select 1",
    ] {
        db.exec(statement).await;
    }
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let back = Back::of(&db);
    let there = everything(&server, db.name()).await;
    for words in ["RENAME TABLE", "DROP TRIGGER", "`p`()", "SQL SECURITY DEFINER VIEW", "rigger tr", "DROP DATABASE"] {
        for lost in [Lost::Answer, Lost::Words] {
            let proxy = Tcp::start(server.host(), server.port()).await;
            // Words are seen only where they are not encrypted.
            let url = format!("{}?ssl-mode=disabled", server.url_at_port(proxy.port(), &back.name));
            let running = place.restore(&url).spawn();
            running.wait_for_stderr("read everything back").await;
            proxy.cut_at(words, lost);
            let outcome = running.wait().await;
            match outcome.code {
                Some(0) => assert_same(&there, &everything(&server, &back.name).await),
                code => {
                    assert_eq!(code, Some(69), "{words}, {lost:?}\n{}", outcome.report());
                    assert!(!server.has_database(&back.name).await, "{words}, {lost:?}\n{}", outcome.report());
                }
            }
            if words == "RENAME TABLE" && matches!(lost, Lost::Answer) {
                assert_eq!(outcome.code, Some(0), "{}", outcome.report());
            }
            db.exec(&format!("drop database if exists {}", back.name)).await;
        }
    }
}
on_each_server!(connections_cut_while_publishing_leave_all_or_nothing);

/// G5: the network goes away at any step of an exchange: the old data is live or the new, whole, and where programs are missing the way back brings everything.
async fn connections_cut_while_exchanging_leave_one_or_the_other(flavour: Flavour) {
    let server = server!(flavour);
    let (db, live) = (server.database().await, server.database().await);
    run_all(&db, NEW).await;
    run_all(&live, OLD).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let (new, old) = (all(&db).await, all(&live).await);
    let locks = flavour == Flavour::MySql9;
    let first = if locks { "LOCK TABLES `" } else { "DROP TRIGGER" };
    for words in [
        first,
        "DROP TRIGGER",
        "`after_it`",
        "RENAME TABLE",
        "DROP VIEW",
        "ALTER DATABASE",
        "rigger stamp",
        "`p`()",
        "DROP DATABASE",
    ] {
        for lost in [Lost::Answer, Lost::Words] {
            let proxy = Tcp::start(server.host(), server.port()).await;
            let through = server.url_at_port(proxy.port(), live.name());
            let url = format!("{through}?ssl-mode=disabled");
            // The mark binds the address, which is the proxy's here.
            place.job(["mark", "--as", "staging"]).env("LONGSHORE_TARGET", &url).run().await.success();
            let running = place.restore(&url).spawn();
            running.wait_for_stderr("read everything back").await;
            proxy.cut_at(words, lost);
            let outcome = running.wait().await;
            let which = format!("{words}, {lost:?}\n{}", outcome.report());
            let exchanged = live.one("select name from parents").await == "new";
            if outcome.code == Some(0) {
                assert_same(&new, &all(&live).await);
            } else {
                assert_eq!(outcome.code, Some(69), "{which}");
                assert_eq!(exchanged, outcome.stderr.contains("longshore rollback"), "{which}");
            }
            if exchanged {
                marked(&live, &place, "staging").await;
                place.job(["rollback"]).env("LONGSHORE_TARGET", live.url()).run().await.success();
            }
            assert_same(&old, &all(&live).await);
        }
    }
}
on_each_server!(connections_cut_while_exchanging_leave_one_or_the_other);
