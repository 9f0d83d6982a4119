//! Every database of a server, one backup each; and nobody who sees only some takes them for all.

use super::on_each_server;
use crate::place::{Place, assert_failed};
use std::sync::Arc;
use testkit::servers::{Flavour, own_mysql};

async fn each_database_is_backed_up_or_named_with_the_reason(flavour: Flavour) {
    if !flavour.is_tested() {
        return;
    }
    let server = Arc::new(own_mysql(flavour, &[]).await);
    let db = server.database().await;
    for statement in [
        "create database app",
        "create table app.t (x int)",
        "insert into app.t values (1), (2)",
        "create database `My App`",
        "create table `My App`.longshore_other (x int)",
        "create database app__new_1",
        "create table app__new_1.longshore_scratch (run int)",
        "create database app__old_1",
        "create table app__old_1.longshore_replaced (run int)",
        "create database named__new_1",
        "create user some@'%' identified by 'pw'",
        "grant SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES on app.* to some@'%'",
    ] {
        db.exec(statement).await;
    }
    let place = Place::new().await;
    let all = |url: String| place.job(["backup", "--all-databases", "--output", "json"]).env("LONGSHORE_SOURCE", url);
    let hidden = all(format!("mysql://some:pw@{}:{}/app", server.host(), server.port()));
    let hidden = assert_failed(hidden.run().await, 77, "GRANT SHOW DATABASES ON *.*");
    assert!(!hidden.stderr.contains("backup begins"), "{}", hidden.report());
    place.assert_no_manifest();
    let account = all(server.root_url("mysql")).run().await.success().json();
    let told: Vec<(String, bool, String)> = account
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            (text("database"), entry["ok"] == true, text("left_out"))
        })
        .collect();
    let of =
        |name: &str| told.iter().find(|(database, ..)| database == name).unwrap_or_else(|| panic!("{name}: {account}"));
    for name in ["app", "My App", "named__new_1", db.name()] {
        assert!(of(name).1, "{account}");
    }
    for (name, why) in [("app__new_1", "a restore is at work in it"), ("app__old_1", "a restore has replaced it")] {
        assert!(!of(name).1 && of(name).2.contains(why), "{account}");
    }
    assert_eq!(told.len(), 6, "{account}");
    assert_eq!(place.listed().await.len(), 4);
}
on_each_server!(each_database_is_backed_up_or_named_with_the_reason);
