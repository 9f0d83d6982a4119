//! Accounts beside a backup, and those that a restore makes.

use super::{Back, on_each_server, server};
use crate::place::{Place, assert_failed};
use testkit::servers::{Flavour, TestSchema};

/// Accounts of one test: dropped with it, as far as they are there.
struct People<'a> {
    db: &'a TestSchema,
    reader: String,
    owner: String,
    stranger: String,
    role: String,
}

impl<'a> People<'a> {
    fn of(db: &'a TestSchema) -> Self {
        let name = |letter: &str| format!("{letter}{}", &db.name()[4..]);
        Self { db, reader: name("r"), owner: name("o"), stranger: name("s"), role: name("g") }
    }

    /// A reader with grants of every kind, an owner of a procedure, somebody with grants elsewhere, and a role where there are roles.
    async fn arrive(&self, flavour: Flavour) {
        let (db, Self { reader, owner, stranger, role, .. }) = (self.db.name(), self);
        let escaped = db.replace('_', "\\_");
        self.db
            .exec(
                "create table t (id int primary key, secret int); insert into t values (1, 2); create table u (id int)",
            )
            .await;
        for account in [reader, owner, stranger] {
            self.db.exec(&format!("create user {account}@'%' identified by 'pw of {account}'")).await;
        }
        self.db.exec(&format!("create definer = {owner}@'%' procedure p() select 1")).await;
        self.db
            .exec(&format!(
                "grant select on `{escaped}`.* to {owner}@'%'; grant select (id), update (id) on {db}.t to {reader}@'%';
                 grant execute on procedure {db}.p to {reader}@'%'; grant process on *.* to {reader}@'%'; grant select on mysql.user to {stranger}@'%'"
            ))
            .await;
        if flavour != Flavour::MySql5 {
            self.db
                .exec(&format!("create role {role}; grant select on {db}.u to {role}; grant {role} to {reader}@'%'"))
                .await;
        }
    }

    async fn leave(&self, flavour: Flavour) {
        for account in [&self.reader, &self.owner, &self.stranger] {
            let there = self.db.one(&format!("select count(*) from mysql.user where user = '{account}'")).await;
            if there != "0" {
                self.db.exec(&format!("drop user {account}@'%'")).await;
            }
        }
        if flavour != Flavour::MySql5 {
            self.db.exec(&format!("drop role if exists {}", self.role)).await;
        }
    }

    async fn there(&self) -> String {
        let names = [&self.reader, &self.owner, &self.stranger, &self.role].map(|name| format!("'{name}'")).join(", ");
        self.db
            .one(&format!("select group_concat(left(user, 1) order by user) from mysql.user where user in ({names})"))
            .await
    }

    async fn grants(&self, account: &str) -> Vec<String> {
        let mut conn = self.db.connection().await;
        let mut grants: Vec<String> =
            mysql_async::prelude::Queryable::query(&mut conn, format!("show grants for {account}")).await.unwrap();
        grants.retain(|grant| !grant.contains(" ON *.*"));
        grants.sort();
        grants
    }
}

/// Accounts come back with passwords and what they may do in the database, and with nothing else.
async fn missing_accounts_are_made(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    let people = People::of(&db);
    people.arrive(flavour).await;
    let place = Place::new().await;
    let backup = place
        .backup(&db.url())
        .env("LONGSHORE_GLOBALS_PASSWORDS", "true")
        .env("LONGSHORE_LOG", "debug")
        .run()
        .await
        .success();
    let (reader, owner) = (format!("{}@'%'", people.reader), format!("{}@'%'", people.owner));
    let (of_reader, of_owner) = (people.grants(&reader).await, people.grants(&owner).await);
    people.leave(flavour).await;

    // Nobody is made who was not asked for.
    let without = Back::of(&db);
    place.restore(&without.url).run().await.success();
    assert_eq!(people.there().await, "");
    drop(without);

    let back = Back::of(&db);
    let restored = place
        .restore(&back.url)
        .env("LONGSHORE_CREATE_MISSING_ROLES", "true")
        .env("LONGSHORE_LOG", "debug")
        .run()
        .await
        .success();
    let notes = restored.json()["notes"].to_string();
    assert!(notes.contains("made accounts that were missing") && notes.contains(&people.reader), "{notes}");
    assert!(notes.contains("grants on the whole server"), "{notes}");
    assert_eq!(people.there().await, if flavour == Flavour::MySql5 { "o,r" } else { "g,o,r" });
    let moved = |grants: Vec<String>| -> Vec<String> {
        let to = |name: &str| name.replace('_', "\\_");
        grants
            .iter()
            .map(|grant| grant.replace(&to(db.name()), &to(&back.name)).replace(db.name(), &back.name))
            .collect()
    };
    assert_eq!(people.grants(&reader).await, moved(of_reader));
    assert_eq!(people.grants(&owner).await, moved(of_owner));
    // They are who they were, and see what they saw.
    let url = format!(
        "mysql://{}:pw%20of%20{}@{}:{}/{}",
        people.reader,
        people.reader,
        server.host(),
        server.port(),
        back.name
    );
    let pool = mysql_async::Pool::from_url(&url).unwrap();
    let mut conn = pool.get_conn().await.unwrap();
    let id: Option<u32> = mysql_async::prelude::Queryable::query_first(&mut conn, "select id from t").await.unwrap();
    assert_eq!(id, Some(1));
    let secret: Result<Option<u32>, _> =
        mysql_async::prelude::Queryable::query_first(&mut conn, "select secret from t").await;
    assert!(secret.is_err());
    drop(conn);
    pool.disconnect().await.unwrap();
    // Hashes of passwords are in the backup and nowhere else.
    for outcome in [&backup, &restored] {
        for text in [&outcome.stdout, &outcome.stderr] {
            assert!(!text.contains("IDENTIFIED"), "{text}");
        }
    }
    people.leave(flavour).await;
}
on_each_server!(missing_accounts_are_made);

/// Without hashes in the backup accounts may not log in, and an account that is there is left as it is.
async fn accounts_without_passwords_may_not_log_in(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    let people = People::of(&db);
    people.arrive(flavour).await;
    let place = Place::new().await;
    place.backup(&db.url()).env("LONGSHORE_GLOBALS", "true").run().await.success();
    people.leave(flavour).await;
    db.exec(&format!("create user {}@'%' identified by 'another'", people.owner)).await;
    let back = Back::of(&db);
    let restored = place.restore(&back.url).env("LONGSHORE_CREATE_MISSING_ROLES", "true").run().await.success();
    let notes = restored.json()["notes"].to_string();
    assert!(
        notes.contains("which may not log in") && notes.contains(&people.reader) && !notes.contains(&people.owner),
        "{notes}"
    );
    let url = |name: &str, password: &str| {
        format!("mysql://{name}:{password}@{}:{}/{}", server.host(), server.port(), back.name)
    };
    for password in ["", "pw%20of%20", "x"] {
        let doctor = place.job(["doctor"]).env("LONGSHORE_SOURCE", url(&people.reader, password)).run().await;
        assert_ne!(doctor.code, Some(0), "{}", doctor.report());
    }
    // The owner was there: nothing was granted.
    let refused = place.job(["doctor"]).env("LONGSHORE_SOURCE", url(&people.owner, "another")).run().await;
    refused.expect_code(66);
    people.leave(flavour).await;
}
on_each_server!(accounts_without_passwords_may_not_log_in);

/// Programs that will belong to whoever restores need no account.
async fn without_owners_nobody_is_made_for_programs(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    let people = People::of(&db);
    people.arrive(flavour).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    people.leave(flavour).await;
    let back = Back::of(&db);
    let restore = place.restore(&back.url).env("LONGSHORE_CREATE_MISSING_ROLES", "true");
    restore.env("LONGSHORE_NO_OWNER", "true").run().await.success();
    assert_eq!(people.there().await, "");
}
on_each_server!(without_owners_nobody_is_made_for_programs);

/// Whoever may not see accounts is told, and has no backup.
async fn who_may_not_see_accounts_is_refused(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    db.exec("create table t (id int primary key)").await;
    let user = format!("v{}", &db.name()[4..]);
    let routines = if flavour == Flavour::MySql9 { "SHOW_ROUTINE on *.*" } else { "SELECT on mysql.proc" };
    db.exec(&format!(
        "create user {user}@'%' identified by 'pw'; grant all on {}.* to {user}@'%'; grant {routines} to {user}@'%'",
        db.name()
    ))
    .await;
    let place = Place::new().await;
    let url = format!("mysql://{user}:pw@{}:{}/{}", server.host(), server.port(), db.name());
    assert_failed(place.backup(&url).env("LONGSHORE_GLOBALS", "true").run().await, 77, "GRANT SELECT ON mysql.*");
    place.assert_no_manifest();
    place.backup(&url).run().await.success();
    db.exec(&format!("drop user {user}@'%'")).await;
}
on_each_server!(who_may_not_see_accounts_is_refused);

/// Programs of one account come back as another's, and a mistyped account changes nothing.
async fn programs_get_other_owners(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    let user = format!("m{}", &db.name()[4..]);
    db.exec(&format!("create user {user}@'%' identified by 'pw'; create user n{user}@'%' identified by 'pw'")).await;
    db.exec("create table t (id int primary key)").await;
    for program in
        ["procedure p() select 1", "view v as select id from t", "event e on schedule every 1 year do select 1"]
    {
        db.exec(&format!("create definer = {user}@'%' {program}")).await;
    }
    db.exec("create definer = root@'%' trigger g before insert on t for each row set new.id = 5").await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let back = Back::of(&db);
    let map = |from: &str| place.restore(&back.url).env("LONGSHORE_MAP_DEFINER", format!("{from}@%=n{user}@%"));
    assert_failed(map("nobody").run().await, 78, &user);
    assert!(!server.has_database(&back.name).await);
    map(&user).run().await.success();
    let owners = "select group_concat(distinct definer order by definer) from (select definer from information_schema.routines where routine_schema = 'S'
        union all select definer from information_schema.views where table_schema = 'S' union all select definer from information_schema.events where event_schema = 'S'
        union all select definer from information_schema.triggers where trigger_schema = 'S') as all_of_them";
    assert_eq!(db.one(&owners.replace("'S'", &format!("'{}'", back.name))).await, format!("n{user}@%,root@%"));
    db.exec(&format!("drop user {user}@'%', n{user}@'%'")).await;
}
on_each_server!(programs_get_other_owners);
