//! Restores of a part: certain tables, into a schema that stays.

use super::filters::clinic;
use super::swap::marked;
use super::{assert_same, everything, on_each_server, schemas_like, server};
use crate::place::{Place, assert_failed};
use std::collections::BTreeMap;
use std::sync::Arc;
use testkit::Job;
use testkit::servers::{Flavour, MysqlServer, TestSchema};

/// The clinic backed up, and a live schema beside it that has wards of its own and something else.
struct Ready {
    server: Arc<MysqlServer>,
    db: TestSchema,
    live: TestSchema,
    place: Place,
}

impl Ready {
    async fn on(server: Arc<MysqlServer>) -> Self {
        let db = server.database().await;
        clinic(&db).await;
        let live = server.database_with("character set latin1 collate latin1_german2_ci").await;
        for statement in [
            "create table wards (id int primary key, beds int) engine=InnoDB",
            "insert into wards values (1, 10), (3, 5)",
            "create table staff (id int primary key, name varchar(9)) engine=InnoDB",
            "insert into staff values (1, 'x')",
            "create view beds as select sum(beds) as n from wards",
            "create trigger of_staff before insert on staff for each row set new.name = 'y'",
            "create procedure theirs() select 1",
        ] {
            live.exec(statement).await;
        }
        let place = Place::new().await;
        place.backup(&db.url()).run().await.success();
        Self { server, db, live, place }
    }

    fn restore(&self, tables: &str) -> Job {
        let job = self.place.job(["restore", "--from", "app", "--prove", "content", "--output", "json"]);
        job.env("LONGSHORE_ONLY_TABLE", tables).env("LONGSHORE_TARGET", self.live.url())
    }

    async fn all(&self, of: &TestSchema) -> BTreeMap<String, String> {
        let all = everything(&self.server, of.name()).await.into_iter();
        all.filter(|(key, _)| !key.contains("longshore_mark")).collect()
    }

    /// Exactly what was there, and nothing beside it.
    async fn assert_untouched(&self, there: &BTreeMap<String, String>) {
        assert_same(there, &self.all(&self.live).await);
        assert_eq!(schemas_like(&self.live, &format!("{}__", self.live.name())).await, Vec::<String>::new());
    }
}

async fn tables_come_in_beside_what_is_there(flavour: Flavour) {
    let ready = Ready::on(server!(flavour)).await;
    marked(&ready.live, &ready.place, "staging").await;
    let (there, source) = (ready.all(&ready.live).await, ready.all(&ready.db).await);
    let restored = ready.restore("patients, lo?,\n logged").run().await.success().json();
    assert_eq!((&restored["proven"], &restored["rows"]), (&true.into(), &4.into()), "{restored}");
    let brought = |key: &String| {
        ["patients", "log", "logged", "of_log"].iter().any(|name| key.split(' ').any(|word| word == *name))
    };
    let now = ready.all(&ready.live).await;
    let (new, old): (BTreeMap<_, _>, BTreeMap<_, _>) = now.into_iter().partition(|(key, _)| brought(key));
    assert_same(&there, &old);
    let wanted: BTreeMap<_, _> = source.into_iter().filter(|(key, _)| brought(key)).collect();
    assert_same(&wanted, &new);
    // The key is the live table's now, and holds.
    let mut conn = ready.live.connection().await;
    use mysql_async::prelude::Queryable;
    assert!(conn.query_drop("insert into patients values (9, 77)").await.is_err());
    assert!(conn.query_drop("delete from wards where id = 3").await.is_err());
    assert_eq!(schemas_like(&ready.live, &format!("{}__", ready.live.name())).await, Vec::<String>::new());
}
on_each_server!(tables_come_in_beside_what_is_there);

async fn what_may_not_come_in_changes_nothing(flavour: Flavour) {
    let ready = Ready::on(server!(flavour)).await;
    let there = ready.all(&ready.live).await;
    assert_failed(ready.restore("patients").run().await, 77, "is not marked");
    marked(&ready.live, &ready.place, "staging").await;
    for (tables, code, says) in [
        ("wards, patients", 73, "has these already: `wards`"),
        ("nothing_there", 78, "--only-table nothing_there matches no table"),
    ] {
        assert_failed(ready.restore(tables).run().await, code, says);
        ready.assert_untouched(&there).await;
    }
    let nowhere = ready.restore("log").env("LONGSHORE_TARGET", ready.server.root_url("no_such_schema"));
    assert_failed(nowhere.run().await, 66, "there is no");
    let itself = ready.restore("log").env("LONGSHORE_TARGET", ready.db.url());
    assert_failed(itself.run().await, 77, "that this backup was made of");
    // A row that refers to nobody: everything goes back.
    ready.live.exec("delete from wards where id = 3").await;
    let there = ready.all(&ready.live).await;
    let failed = ready.restore("patients, log, logged").run().await;
    assert!(
        failed.code != Some(0) && failed.stderr.contains("rows that it refers to are not there"),
        "{}",
        failed.report()
    );
    ready.assert_untouched(&there).await;
    // Without a table to refer to there is no key.
    ready.live.exec("drop view beds; drop table wards").await;
    let restored = ready.restore("patients").run().await.success().json();
    let notes = restored["notes"].to_string();
    assert!(notes.contains("a foreign key of `patients` is left out: there is no table `wards`"), "{notes}");
    assert_eq!(ready.live.one("select count(*) from patients").await, "2");
}
on_each_server!(what_may_not_come_in_changes_nothing);

/// A view on another schema comes back where that is, and says what is missing where it is not.
async fn a_view_on_another_schema_needs_it(flavour: Flavour) {
    let server = server!(flavour);
    let (db, other) = (server.database().await, server.database().await);
    other.exec("create table t (id int)").await;
    db.exec(&format!("create view v as select id from {}.t", other.name())).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let back = super::Back::of(&db);
    place.restore(&back.url).run().await.success();
    assert_eq!(db.one(&format!("select count(*) from {}.v", back.name)).await, "0");
    db.exec(&format!("drop database {}", back.name)).await;
    other.exec("drop table t").await;
    let outcome = assert_failed(place.restore(&back.url).run().await, 78, "make the view v");
    assert!(outcome.stderr.contains("make it at the target's server first"), "{}", outcome.report());
    assert_eq!(schemas_like(&db, &back.name).await, Vec::<String>::new());
}
on_each_server!(a_view_on_another_schema_needs_it);
