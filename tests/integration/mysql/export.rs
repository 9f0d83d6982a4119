//! An export comes back with nothing but what the vendor ships: the client, `sh`, `sha256sum`, in a container where there is no Longshore.

use super::road::{odd, pieces};
use super::{Back, assert_same, everything, on_each_server, schemas_like, server};
use crate::integration::export::{assert_whole, export};
use crate::place::Place;
use std::path::{Path, PathBuf};
use testkit::servers::{Flavour, MysqlServer, TestSchema};

/// The place of an export, with what the client has to know beside it: `data` is the export.
async fn exported(db: &TestSchema, place: &Place) -> PathBuf {
    place.backup(&db.url()).run().await.success();
    let folder = place.folder.path().join("exported");
    std::fs::create_dir_all(&folder).unwrap();
    export(place, &folder.join("data")).run().await.success();
    assert_whole(&folder.join("data"));
    // Root's account for this address is another one, of the socket.
    let user = client(db);
    db.exec(&format!("create user {user}@'%' identified by 'pw'; grant all on *.* to {user}@'%' with grant option"))
        .await;
    let options = format!("[client]\nhost=127.0.0.1\nuser={user}\npassword=pw\n");
    std::fs::write(folder.join("server.cnf"), options).unwrap();
    folder
}

/// The user of the client.
fn client(db: &TestSchema) -> String {
    format!("x{}", &db.name()[4..])
}

/// Runs the export's own script.
fn restore(server: &MysqlServer, folder: &Path, target: &str) -> Result<String, String> {
    let script = "cd /export && DEFAULTS_FILE=server.cnf exec sh data/restore.sh \"$1\"";
    server.shell_with_client(folder, &["-c", script, "sh", target])
}

/// Makes the events, which the script leaves to people. The client goes on where the time of one is over.
fn make_events(server: &MysqlServer, folder: &Path, target: &str) {
    let script = "f=data/05-events.sql; cd /export && [ ! -e $f ] || $(command -v mariadb || command -v mysql) \
        --defaults-extra-file=server.cnf --force --binary-mode --comments --default-character-set=utf8mb4 \"$1\" <$f";
    server.shell_with_client(folder, &["-c", script, "sh", target]).unwrap();
}

/// G11: every odd object and value comes back by the vendor's client alone.
async fn odd_things_come_back_by_the_client_alone(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database_with("character set latin1 collate latin1_german2_ci").await;
    odd(&db, &pieces(flavour)).await;
    let place = Place::new().await;
    let folder = exported(&db, &place).await;
    let back = Back::of(&db);
    let said = restore(&server, &folder, &back.name).unwrap();
    assert!(said.contains("each table has as many rows as the backup recorded"), "{said}");
    assert!(said.contains("events were not made"), "{said}");
    make_events(&server, &folder, &back.name);
    assert_same(&everything(&server, db.name()).await, &everything(&server, &back.name).await);
}
on_each_server!(odd_things_come_back_by_the_client_alone);

/// What is refused has changed nothing, and what is not the backup's is noticed.
async fn damage_and_refusals_change_nothing(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    db.exec("create table `it's` (id int primary key, v varchar(3)); insert into `it's` values (1, 'a'), (2, NULL)")
        .await;
    let place = Place::new().await;
    let folder = exported(&db, &place).await;
    let there = everything(&server, db.name()).await;
    let refused = restore(&server, &folder, db.name()).unwrap_err();
    assert!(refused.contains("is not empty: it has the table it's; nothing was changed"), "{refused}");
    assert_same(&there, &everything(&server, db.name()).await);
    assert_eq!(restore(&server, &folder, "--help").unwrap_err().matches("usage:").count(), 1);

    let rows = folder.join("data/02-rows/00001-it_s.tsv");
    let good = std::fs::read_to_string(&rows).unwrap();
    std::fs::write(&rows, good.replace('a', "b")).unwrap();
    let back = Back::of(&db);
    let damaged = restore(&server, &folder, &back.name).unwrap_err();
    assert!(damaged.contains("files are damaged or missing") && damaged.contains("00001-it_s.tsv"), "{damaged}");
    assert_eq!(schemas_like(&db, &back.name).await, Vec::<String>::new());

    // With sums that fit: rows that the table does not hold as they are, one that is too many, and one that is missing.
    for (wrong, says) in [
        (good.replace('a', "abcd"), "changed rows"),
        (format!("{good}2\tx\n"), "changed rows"),
        ("1\ta\n".to_owned(), "other rows than the 2"),
    ] {
        // It leaves a second row of a key out without a warning, and as many rows are there as should be.
        if flavour == Flavour::MySql5 && wrong.ends_with("x\n") {
            continue;
        }
        std::fs::write(&rows, wrong).unwrap();
        let resum = "cd \"$1\" && sha256sum $(cut -c67- SHA256SUMS) >sums && mv sums SHA256SUMS";
        let status = std::process::Command::new("sh").args(["-c", resum, "sh"]).arg(folder.join("data")).status();
        assert!(status.unwrap().success());
        let failed = restore(&server, &folder, &back.name).unwrap_err();
        assert!(failed.contains(says) && failed.contains("is not complete"), "{failed}");
        db.exec(&format!("drop database {}", back.name)).await;
    }
}
on_each_server!(damage_and_refusals_change_nothing);

/// A target whose name breaks who does not quote, and programs without their definers.
async fn an_odd_name_and_no_definers(flavour: Flavour) {
    let server = server!(flavour);
    let db = server.database().await;
    for statement in [
        "create table t (id int primary key)",
        "insert into t values (1)",
        "create definer=nobody@nowhere procedure p() select ' definer=x@y '",
        "create definer=nobody@nowhere sql security invoker view v as select id from t",
    ] {
        db.exec(statement).await;
    }
    let place = Place::new().await;
    let folder = exported(&db, &place).await;
    std::fs::remove_dir_all(folder.join("data")).unwrap();
    export(&place, &folder.join("data")).env("LONGSHORE_NO_OWNER", "true").run().await.success();
    let target = format!("{} it's `$HOME` \\", db.name());
    restore(&server, &folder, &target).unwrap();
    let quoted = target.replace('`', "``");
    assert_eq!(db.one(&format!("select id from `{quoted}`.v")).await, "1");
    let definers = "select group_concat(distinct definer) from (select definer, routine_schema s from information_schema.routines union all
        select definer, table_schema from information_schema.views) d where s like concat(database(), ' it%')";
    assert_eq!(db.one(definers).await, format!("{}@%", client(&db)));
    db.exec(&format!("drop database `{quoted}`")).await;
}
on_each_server!(an_odd_name_and_no_definers);
