//! Backups of a part: what is in them, what is said about what is not, and that what is not read is not locked.

use super::road::large;
use super::{Back, assert_same, everything, on_each_server, server};
use crate::place::{Place, assert_failed};
use serde_json::Value;
use testkit::Job;
use testkit::proxy::{Direction, Tcp};
use testkit::servers::{Flavour, TestSchema};

pub const CLINIC: [&str; 13] = [
    "create table wards (id int primary key, name varchar(20)) engine=InnoDB",
    "insert into wards values (1, 'one'), (2, 'two'), (3, 'three')",
    "create table patients (id int primary key, ward int, constraint of_ward foreign key (ward) references wards (id)) engine=InnoDB",
    "insert into patients values (1, 1), (2, 3)",
    "create table log (id int primary key, what text) engine=MyISAM",
    "insert into log values (1, 'wards'), (2, 'x')",
    "create view names as select name, 'log' as kind from wards",
    "create view logged as select what from log",
    "create view all_logged as select l.what from logged l",
    "create trigger of_wards before insert on wards for each row set new.name = upper(new.name)",
    "create trigger of_log before insert on log for each row set new.what = upper(new.what)",
    "create procedure p() select 1",
    "create event e on schedule every 1 year do select 1",
];

pub async fn clinic(db: &TestSchema) {
    for statement in CLINIC {
        db.exec(statement).await;
    }
}

fn part(place: &Place, db: &TestSchema, options: &[(&str, &str)]) -> Job {
    options.iter().fold(place.backup(&db.url()), |job, (name, value)| job.env(&format!("LONGSHORE_{name}"), *value))
}

fn restore(place: &Place, backup: &Value, back: &Back) -> Job {
    let from = format!("app@{}", backup["id"].as_str().unwrap());
    let job = place.job(["restore", "--prove", "content", "--output", "json"]).env("LONGSHORE_FROM", from);
    job.env("LONGSHORE_TARGET", &back.url)
}

/// What the schema would be without some of it.
fn without(
    all: std::collections::BTreeMap<String, String>,
    gone: &[&str],
) -> std::collections::BTreeMap<String, String> {
    all.into_iter().filter(|(key, _)| !gone.iter().any(|name| key.split(' ').any(|word| word == *name))).collect()
}

async fn what_is_left_out_is_said_and_the_rest_comes_back(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    clinic(&db).await;
    let place = Place::new().await;
    let options = [("EXCLUDE_TABLE", "lo?"), ("EXCLUDE_TABLE_DATA", "patients")];
    let backup = part(&place, &db, &options).run().await.success().json();
    assert_eq!(
        (&backup["scope"], &backup["rows"], &backup["streams"]),
        (&"filtered".into(), &3.into(), &1.into()),
        "{backup}"
    );
    let said = backup["about"]["notes"].to_string();
    assert!(said.contains("a part of the database: without tables lo?; without the rows of patients"), "{said}");
    assert!(said.contains("views that read from what is left out: `logged`, `all_logged`"), "{said}");
    assert!(!said.contains("locked against writes"), "{said}");
    let back = Back::of(&db);
    assert_failed(place.restore(&back.url).run().await, 66, "no full backup");
    restore(&place, &backup, &back).run().await.success();
    let there = everything(&server, db.name()).await;
    let mut there = without(there, &["log", "logged", "all_logged", "of_log"]);
    let content = there.keys().find(|key| key.starts_with("content of") && key.contains("patients")).unwrap().clone();
    let mut here = everything(&server, &back.name).await;
    assert_ne!(there.remove(&content), here.remove(&content));
    assert_same(&there, &here);
    assert_eq!(db.one(&format!("select count(*) from {}.patients", back.name)).await, "0");
}
on_each_server!(what_is_left_out_is_said_and_the_rest_comes_back);

async fn what_is_named_comes_back_and_nothing_else(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    clinic(&db).await;
    let place = Place::new().await;
    let named = format!("{}.patients,\n log, logged, names", db.name());
    let backup = part(&place, &db, &[("INCLUDE_TABLE", &named)]).run().await.success().json();
    assert_eq!((&backup["streams"], &backup["rows"]), (&2.into(), &4.into()), "{backup}");
    let said = backup["about"]["notes"].to_string();
    assert!(said.contains("foreign keys refer to tables that are left out: `patients` to `wards`"), "{said}");
    assert!(said.contains("views that read from what is left out: `names`"), "{said}");
    let back = Back::of(&db);
    restore(&place, &backup, &back).run().await.success();
    let gone = ["wards", "names", "all_logged", "of_wards", "p", "e"];
    let there = without(everything(&server, db.name()).await, &gone);
    assert_same(&there, &everything(&server, &back.name).await);
}
on_each_server!(what_is_named_comes_back_and_nothing_else);

async fn a_filter_that_cannot_be_meant_is_refused(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    clinic(&db).await;
    let place = Place::new().await;
    for (option, value, says) in [
        ("INCLUDE_TABLE", "Wards", "--include-table Wards matches no table"),
        ("EXCLUDE_TABLE", "other.wards", "matches no table"),
        ("EXCLUDE_TABLE", "*", "leaves nothing"),
        ("INCLUDE_SCHEMA", "app", "has no schemas"),
        ("EXCLUDE_TABLE_DATA", "a.b.c", "cannot be meant"),
    ] {
        assert_failed(part(&place, &db, &[(option, value)]).run().await, 78, says);
    }
    place.assert_no_manifest();
}
on_each_server!(a_filter_that_cannot_be_meant_is_refused);

/// A table without transactions is locked while it is read, and only then.
async fn what_is_left_out_is_not_locked(flavour: Flavour) {
    use mysql_async::prelude::Queryable;
    let server = server!(flavour);
    let db = server.database().await;
    clinic(&db).await;
    db.exec(&large(5)).await;
    let place = Place::new().await;
    let proxy = Tcp::start(server.host(), server.port()).await;
    let job = place.backup(&db.url_at_port(proxy.port())).env("LONGSHORE_EXCLUDE_TABLE_DATA", "log");
    let running = job.spawn();
    proxy.wait_for_bytes(Direction::ToClient, 2 << 20).await;
    proxy.stall();
    let mut writer = db.connection().await;
    writer.query_drop("set session lock_wait_timeout = 1").await.unwrap();
    writer.query_drop("insert into log values (3, 'y')").await.unwrap();
    proxy.pass();
    running.wait().await.success();
}
on_each_server!(what_is_left_out_is_not_locked);
