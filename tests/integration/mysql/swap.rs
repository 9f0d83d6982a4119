//! Restores that take a live schema's place, and the way back.

use super::{assert_same, everything, on_each_server, schemas_like, server};
use crate::place::{Place, assert_failed};
use std::collections::BTreeMap;
use testkit::servers::{Flavour, TestSchema};

/// What comes in.
pub const NEW: &str = "create table parents (id int primary key, name varchar(20)) engine=InnoDB;
    create table children (id int primary key, parent int, constraint of_parent foreign key (parent) references parents (id)) engine=InnoDB;
    insert into parents values (1, 'new'); insert into children values (1, 1), (2, 1);
    create view families as select p.name, c.id from parents p join children c on c.parent = p.id;
    create trigger stamp before insert on parents for each row set new.name = upper(new.name);
    create procedure p() select 'new'; create event e on schedule every 1 year do select 1";
/// What is there: other tables, one of them with the same name, and programs with the same names.
pub const OLD: &str = "create table parents (id bigint primary key, name varchar(30), more int) engine=InnoDB;
    create table children (id bigint primary key, parent bigint, constraint of_parent foreign key (parent) references parents (id)) engine=InnoDB;
    create table gone (x int) engine=MyISAM;
    insert into parents values (1, 'old', 5); insert into children values (7, 1); insert into gone values (1), (2), (3);
    create view families as select name from parents; create view theirs as select x from gone;
    create trigger stamp before insert on parents for each row set new.more = 9;
    create trigger after_it after insert on parents for each row insert into gone values (4);
    create procedure p() select 'old'; create function f() returns int deterministic return 4;
    create event e on schedule every 2 year do select 2";

/// One statement at a time: MySQL keeps a semicolon that follows a program as part of it.
pub async fn run_all(db: &TestSchema, statements: &str) {
    for statement in statements.split(';').filter(|statement| !statement.trim().is_empty()) {
        db.exec(statement).await;
    }
}

pub async fn marked(db: &TestSchema, place: &Place, name: &str) {
    let job = place.job(["mark", "--as", name]).env("LONGSHORE_TARGET", db.url());
    job.run().await.success();
}

/// Everything but the mark; events as if they were switched off.
pub async fn all(db: &TestSchema) -> BTreeMap<String, String> {
    let all = everything(&db.server, db.name()).await;
    let all = all.into_iter().filter(|(key, _)| !key.contains("longshore_mark"));
    all.map(|(key, words)| (key, words.replace("PRESERVE ENABLE", "PRESERVE DISABLE"))).collect()
}

/// G5: the place is taken in one step, everything of the old one is kept aside, and a rollback brings it back.
async fn a_place_is_taken_and_given_back(flavour: Flavour) {
    let server = server!(flavour);
    let (db, live) = (server.database().await, server.database().await);
    run_all(&db, NEW).await;
    run_all(&live, OLD).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let (new, old) = (all(&db).await, all(&live).await);
    let exactly = everything(&server, live.name()).await;
    marked(&live, &place, "staging").await;

    let restored = place.restore(&live.url()).run().await.success().json();
    assert_eq!(restored["proven"], true, "{restored}");
    assert_same(&new, &all(&live).await);
    let asides = schemas_like(&live, &format!("{}__", live.name())).await;
    assert_eq!(asides.len(), 1, "{asides:?}");
    assert_eq!(live.one("select count(*) from longshore_mark").await, "1");
    let status =
        live.one(&format!("select status from information_schema.events where event_schema = '{}'", live.name())).await;
    assert_eq!(status, "DISABLED");

    let rollback = || place.job(["rollback", "--output", "json"]).env("LONGSHORE_TARGET", live.url());
    rollback().run().await.success();
    assert_same(&old, &all(&live).await);
    let back =
        everything(&server, live.name()).await.into_iter().filter(|(key, _)| !key.contains("longshore_mark")).collect();
    assert_same(&exactly, &back);
    rollback().run().await.success();
    assert_same(&new, &all(&live).await);

    // The next restore has room for one replaced schema.
    place.restore(&live.url()).run().await.success();
    assert_same(&new, &all(&live).await);
    let asides = schemas_like(&live, &format!("{}__", live.name())).await;
    assert_eq!(asides.len(), 1, "{asides:?}");
    rollback().run().await.success();
    // What is not whole is nothing to go back to.
    let there = everything(&server, live.name()).await;
    for aside in schemas_like(&live, &format!("{}__", live.name())).await {
        live.exec(&format!("drop table {aside}.children")).await;
        assert_failed(rollback().run().await, 66, "has no table children");
        assert_same(&there, &everything(&server, live.name()).await);
        live.exec(&format!("drop database {aside}")).await;
    }
    assert_failed(rollback().run().await, 66, "nothing to go back to");
}
on_each_server!(a_place_is_taken_and_given_back);

/// G6: each refusal comes before anything is made.
async fn what_is_not_marked_for_it_is_refused(flavour: Flavour) {
    let server = server!(flavour);
    let (db, live) = (server.database().await, server.database().await);
    run_all(&db, NEW).await;
    run_all(&live, OLD).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let there = everything(&server, live.name()).await;
    let outcome = assert_failed(place.restore(&live.url()).run().await, 77, "is not marked");
    assert!(outcome.stderr.contains("longshore mark --target"), "{}", outcome.report());
    assert_same(&there, &everything(&server, live.name()).await);
    for (mark, says) in [
        ("('staging', '127.0.0.1:PORT', 'other')", "a database called other"),
        ("('staging', '127.0.0.1:1', 'NAME')", "another address"),
        ("('prod', '127.0.0.1:PORT', 'NAME')", "marked as prod"),
    ] {
        let mark = mark.replace("PORT", &server.port().to_string()).replace("NAME", live.name());
        marked(&live, &place, "staging").await;
        let values = mark.trim_start_matches('(');
        live.exec(&format!("replace into longshore_mark values (1, {values}")).await;
        assert_failed(place.restore(&live.url()).run().await, 77, says);
    }
    // A slip of the hand does not turn production into something else.
    let remark = place.job(["mark", "--as", "staging"]).env("LONGSHORE_TARGET", live.url());
    assert_failed(remark.run().await, 77, "marked as prod");
    place.job(["mark", "--remove"]).env("LONGSHORE_TARGET", live.url()).run().await.success();
    marked(&live, &place, "staging").await;
    let fresh = place.restore(&live.url()).env("LONGSHORE_MODE", "fresh").run().await;
    assert_failed(fresh, 73, "holds something");
    // The backup's own source, marked or not.
    marked(&db, &place, "staging").await;
    assert_failed(place.restore(&db.url()).run().await, 77, "that this backup was made of");
    assert_eq!(schemas_like(&live, &format!("{}__", live.name())).await, Vec::<String>::new());
    assert_eq!(live.one("select name from parents").await, "old");
}
on_each_server!(what_is_not_marked_for_it_is_refused);

/// An application in the middle of a transaction makes the exchange wait and never tears it.
async fn a_table_in_use_makes_the_exchange_wait(flavour: Flavour) {
    use mysql_async::prelude::Queryable;
    let server = server!(flavour);
    let (db, live) = (server.database().await, server.database().await);
    run_all(&db, NEW).await;
    run_all(&live, OLD).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    marked(&live, &place, "staging").await;
    let mut application = live.connection().await;
    application.query_drop("start transaction").await.unwrap();
    application.query_drop("insert into children values (8, 1)").await.unwrap();
    let running = place.restore(&live.url()).spawn();
    let waits = "select count(*) from information_schema.processlist where state like 'Waiting for%lock'";
    crate::place::until("the exchange to wait", async || live.one(waits).await != "0").await;
    let name: Option<String> = application.query_first("select name from parents").await.unwrap();
    assert_eq!(name.as_deref(), Some("old"));
    application.query_drop("commit").await.unwrap();
    running.wait().await.success();
    assert_eq!(live.one("select name from parents").await, "new");
    let aside = schemas_like(&live, &format!("{}__old", live.name())).await.remove(0);
    // What was committed before the exchange is in what was replaced.
    assert_eq!(live.one(&format!("select count(*) from {aside}.children")).await, "2");
    live.exec(&format!("drop database {aside}")).await;
}
on_each_server!(a_table_in_use_makes_the_exchange_wait);

/// A restore that runs these scripts first.
fn with(place: &Place, live: &TestSchema, scripts: &[(&str, &str)]) -> testkit::Job {
    let folder = place.folder.path();
    let mut arguments: Vec<String> = ["restore", "--from", "app", "--output", "json"].map(str::to_owned).to_vec();
    for (name, text) in scripts {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        arguments.extend(["--before-swap".to_owned(), path.display().to_string()]);
    }
    let job = testkit::Job::new(arguments).env("LONGSHORE_REPO", &place.repo);
    job.env("LONGSHORE_TARGET", live.url()).sees(folder)
}

/// What scripts change is there from the first moment, and what would be lost on the way is refused.
async fn data_is_disarmed_before_it_gets_its_name(flavour: Flavour) {
    let server = server!(flavour);
    let (db, live) = (server.database().await, server.database().await);
    run_all(&db, NEW).await;
    run_all(&live, OLD).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    marked(&live, &place, "staging").await;
    let there = everything(&server, live.name()).await;
    // MySQL before 8 does not show such a view, and so not what it would be.
    let needs = if flavour == Flavour::MySql5 { "drop the view" } else { "make it at the target's server first" };
    let elsewhere = format!("update {}.parents set name = 'oops'", live.name());
    for (text, code, says) in [
        ("select 1;\nupdate nothing_there set x = 1", 78, "2.sql, statement 2"),
        ("select 1;\nsource other.sql", 78, "2.sql, line 2: source"),
        (&elsewhere, 78, "is named before a dot"),
        ("create table another (id int)", 78, "table another was made"),
        ("drop event e", 78, "event e was dropped"),
        // What a view and a trigger need.
        ("alter table parents drop column name", 78, needs),
        ("select 1;\n\nuse mysql;\nselect 2", 78, "2.sql, line 3: use"),
        ("update children set parent = 99", 65, "2.sql, statement 1"),
    ] {
        let job = with(&place, &live, &[("1.sql", "update parents set name = 'half'"), ("2.sql", text)]);
        let outcome = job.run().await;
        assert_ne!(outcome.code, Some(0), "{text}\n{}", outcome.report());
        assert_failed(outcome, code, says);
        assert_same(&there, &everything(&server, live.name()).await);
        assert_eq!(schemas_like(&live, &format!("{}__", live.name())).await, Vec::<String>::new());
    }
    let first = "update parents set name = 'half';\nalter table children add column tidied int;";
    let second = "/* after the first */ update parents set name = 'disarmed' where name = 'half'";
    let restored = with(&place, &live, &[("1.sql", first), ("2.sql", second)]).run().await.success().json();
    let notes = restored["notes"].to_string();
    assert!(notes.contains("1.sql: 2 statements") && notes.contains("2.sql: 1 statement"), "{notes}");
    assert_eq!(live.one("select name from parents").await, "disarmed");
    assert_eq!(live.one("select count(*) from children where tidied is null").await, "2");
    for aside in schemas_like(&live, &format!("{}__", live.name())).await {
        live.exec(&format!("drop database {aside}")).await;
    }
}
on_each_server!(data_is_disarmed_before_it_gets_its_name);

/// A mark that somebody changes while rows are loaded counts.
async fn a_mark_that_changes_meanwhile_counts(flavour: Flavour) {
    let server = server!(flavour);
    let (db, live) = (server.database().await, server.database().await);
    db.exec(&super::road::large(5)).await;
    run_all(&live, OLD).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let proxy = testkit::proxy::Tcp::start(server.host(), server.port()).await;
    let through = server.url_at_port(proxy.port(), live.name());
    place.job(["mark", "--as", "staging"]).env("LONGSHORE_TARGET", &through).run().await.success();
    let running = place.restore(&through).spawn();
    proxy.wait_for_bytes(testkit::proxy::Direction::ToServer, 4 << 20).await;
    proxy.stall();
    live.exec("update longshore_mark set environment = 'production'").await;
    let there = everything(&server, live.name()).await;
    proxy.pass();
    assert_failed(running.wait().await, 77, "marked as production");
    assert_same(&there, &everything(&server, live.name()).await);
    assert_eq!(schemas_like(&live, &format!("{}__", live.name())).await, Vec::<String>::new());
}
on_each_server!(a_mark_that_changes_meanwhile_counts);

/// Who may not give the live triggers back to their owner is refused before they are touched.
async fn triggers_of_others_are_not_lost(flavour: Flavour) {
    let server = server!(flavour);
    let (db, live) = (server.database().await, server.database().await);
    run_all(&db, "create table t (id int primary key) engine=InnoDB; insert into t values (1)").await;
    run_all(&live, OLD).await;
    let user = format!("o{}", &live.name()[4..]);
    let routines = if flavour == Flavour::MySql9 { "SHOW_ROUTINE on *.*" } else { "SELECT on mysql.proc" };
    let ours = live.name().replace('_', "\\_");
    live.exec(&format!(
        "create user {user}@'%' identified by 'pw'; grant all on `{ours}%`.* to {user}@'%'; grant {routines} to {user}@'%'"
    ))
    .await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    marked(&live, &place, "staging").await;
    let there = everything(&server, live.name()).await;
    let url = format!("mysql://{user}:pw@{}:{}/{}", server.host(), server.port(), live.name());
    let refused = assert_failed(place.restore(&url).run().await, 77, "make what belongs to");
    assert!(refused.stderr.contains("SET_USER_ID"), "{}", refused.report());
    assert_same(&there, &everything(&server, live.name()).await);
    assert_eq!(schemas_like(&live, &format!("{}__", live.name())).await, Vec::<String>::new());
    live.exec(&format!("drop user {user}@'%'")).await;
}
on_each_server!(triggers_of_others_are_not_lost);
