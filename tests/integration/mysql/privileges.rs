//! Users with less than everything: enough is enough, and too little is told with the statement that helps.

use super::{on_each_server, server};
use crate::place::{Place, assert_failed};
use std::sync::Arc;
use testkit::servers::{Flavour, MysqlServer, TestSchema, own_mysql};

/// A schema with one of everything that a user may not see, and a user with a password who may do nothing.
async fn with_user(server: &Arc<MysqlServer>) -> (TestSchema, String, String) {
    let db = server.database().await;
    let user = format!("u{}", &db.name()[4..]);
    db.exec(&format!(
        "create table t (id int primary key) engine=InnoDB; insert into t values (1), (2);
         create view v as select id from t; create procedure p() select 1;
         create trigger tr before insert on t for each row set new.id = new.id + 0;
         create event e on schedule every 1 year do select 1;
         create user {user}@'%' identified by 'pw'"
    ))
    .await;
    let url = format!("mysql://{user}:pw@{}:{}/{}", server.host(), server.port(), db.name());
    (db, user, url)
}

/// What is hidden from a user would be missing without a word: each lack is refused, with what to grant.
async fn each_lack_is_refused_with_its_grant(flavour: Flavour) {
    let server = server!(flavour);
    let (db, user, url) = with_user(&server).await;
    let place = Place::new().await;
    let name = db.name();
    let hidden = match flavour {
        Flavour::MySql9 => ("SHOW_ROUTINE", "*.*"),
        _ => ("SELECT", "`mysql`.`proc`"),
    };
    let on = format!("`{name}`.*");
    let needed =
        [("SELECT", on.as_str()), ("SHOW VIEW", &on), ("TRIGGER", &on), ("EVENT", &on), hidden, ("LOCK TABLES", &on)];
    for left_out in needed {
        db.exec(&format!("revoke all privileges, grant option from {user}@'%'")).await;
        for (privilege, on) in needed.iter().filter(|one| **one != left_out) {
            db.exec(&format!("grant {privilege} on {on} to {user}@'%'")).await;
        }
        let outcome = place.backup(&url).run().await;
        let code = if left_out.0 == "SELECT" && left_out.1 == on { vec![66, 77] } else { vec![77] };
        assert!(code.contains(&outcome.code.unwrap()), "{left_out:?}\n{}", outcome.report());
        assert!(outcome.stderr.contains(left_out.0), "{left_out:?}\n{}", outcome.report());
        // What a backup would be refused for, doctor finds.
        let doctor = place.job(["doctor"]).env("LONGSHORE_SOURCE", &url).run().await;
        assert!(code.contains(&doctor.code.unwrap()), "{left_out:?}\n{}", doctor.report());
    }
    // MariaDB needs no lock where the user may see that its binary log leaves nothing out.
    if flavour.is_mariadb() {
        db.exec(&format!("revoke all privileges, grant option from {user}@'%'")).await;
        db.exec(&format!("grant BINLOG MONITOR on *.* to {user}@'%'")).await;
        db.exec(&format!("grant SELECT on `mysql`.`proc` to {user}@'%'; grant SELECT, SHOW VIEW, TRIGGER, EVENT on {on} to {user}@'%'")).await;
        place.backup(&url).run().await.success();
    }
    db.exec(&format!("drop user {user}@'%'")).await;
}
on_each_server!(each_lack_is_refused_with_its_grant);

/// Without RELOAD and without MariaDB's binary log, the tables are locked for a moment: exact all the same.
async fn locks_on_tables_are_enough(flavour: Flavour) {
    if !flavour.is_tested() {
        return;
    }
    let settings: &[&str] = if flavour.is_mariadb() { &["--skip-log-bin"] } else { &[] };
    let server = Arc::new(own_mysql(flavour, settings).await);
    let (db, user, url) = with_user(&server).await;
    let routines = if flavour == Flavour::MySql9 { "SHOW_ROUTINE on *.*" } else { "SELECT on mysql.proc" };
    db.exec(&format!(
        "grant SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES on {}.* to {user}@'%'; grant {routines} to {user}@'%'",
        db.name()
    ))
    .await;
    db.exec("create table m (id int) engine=MyISAM; insert into m values (7)").await;
    let place = Place::new().await;
    let backup = place.backup(&url).run().await.success();
    assert!(backup.stdout.contains("locked against writes"), "{}", backup.report());
    let target = format!("{}_back", db.name());
    let restored = place.restore(&server.root_url(&target)).run().await.success().json();
    assert_eq!(restored["rows"], 3);
}
on_each_server!(locks_on_tables_are_enough);

async fn a_wrong_password_and_a_missing_database_are_told_apart(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    let place = Place::new().await;
    let wrong = place.backup(&db.url()).env("LONGSHORE_SOURCE_PASSWORD", "wrong").run().await;
    let wrong = assert_failed(wrong, 77, "Access denied");
    assert!(!wrong.stderr.contains(server.password()));
    assert_failed(place.backup(&server.root_url("no_such_database")).run().await, 66, "no_such_database");
    let plain = db.url().replace("mysql://", "mariadb://");
    place.backup(&format!("{plain}?ssl-mode=disabled")).run().await.success();
    assert_eq!(place.listed().await.len(), 1);
}
on_each_server!(a_wrong_password_and_a_missing_database_are_told_apart);

async fn doctor_says_what_a_backup_would_meet(flavour: Flavour) {
    let server = server!(flavour);
    let (db, user, url) = with_user(&server).await;
    db.exec(&format!("grant SELECT on {}.* to {user}@'%'", db.name())).await;
    let place = Place::new().await;
    let doctor = |url: &str| place.job(["doctor"]).env("LONGSHORE_SOURCE", url);
    let outcome = doctor(&url).run().await;
    let said = format!("{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.code == Some(77) && said.contains("GRANT SHOW VIEW, TRIGGER, EVENT"), "{}", outcome.report());
    let outcome = doctor(&db.url()).run().await.success();
    assert!(outcome.stdout.contains("see one moment"), "{}", outcome.report());
    db.exec(&format!("drop user {user}@'%'")).await;
}
on_each_server!(doctor_says_what_a_backup_would_meet);
