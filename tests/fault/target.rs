//! The target's server goes away or runs out of something: no database is left, and the next run works.

use crate::place::{LARGE, Place, Target, assert_failed, assert_nothing_made, databases_like};
use std::sync::Arc;
use testkit::proxy::{Direction, Tcp};
use testkit::servers::{own, postgres};

#[tokio::test]
async fn connections_cut_while_loading_leave_no_target() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let target = Target::of(&db);
    let proxy = Tcp::start(&db.server.host, db.server.port).await;
    let through = db.server.url_at("127.0.0.1", proxy.port(), &target.name);
    proxy.cut_after(Direction::ToServer, 6 << 20);
    assert_failed(place.restore(&through).run().await, 69, "hint");
    // The way back works again: what was made is removed.
    assert_nothing_made(&db, &target.name).await;
    place.restore(&target.url).run().await.success();
}

#[tokio::test]
async fn a_target_server_killed_while_loading_leaves_no_target() {
    let server = Arc::new(own(15, &[]).await);
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let proxy = Tcp::start(&server.host, server.port).await;
    let running = place.restore(&server.url_at("127.0.0.1", proxy.port(), "back")).spawn();
    proxy.wait_for_bytes(Direction::ToServer, 6 << 20).await;
    proxy.stall();
    server.kill();
    proxy.cut();
    assert_failed(running.wait().await, 69, "hint");
    server.start().await;
    assert!(!server.has_database("back").await);
    // What the dead server could not drop is dropped by the next run.
    place.restore(&server.url("back")).run().await.success();
    let left =
        testkit::sql::rows(&server.url("postgres"), "select datname::text from pg_database where datname ~ '^back'")
            .await;
    assert_eq!(left, [[Some("back".to_owned())]]);
}

/// Mounts 24 MB of memory at `/small`, from outside: the container itself may not mount anything.
fn mount_small_disk(container: &str) -> Result<(), String> {
    let run = |program: &str, arguments: &[&str]| {
        let output = std::process::Command::new(program).args(arguments).output().map_err(|e| e.to_string())?;
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    };
    let process = run("docker", &["inspect", "--format", "{{.State.Pid}}", container])?;
    let mount = "mkdir /small && mount -t tmpfs -o size=24m tmpfs /small && chown postgres /small";
    run("nsenter", &["--target", &process, "--mount", "sh", "-c", mount]).map(drop)
}

/// New databases go where template0 is: on a small disk, with room for two empty databases and not for 30 MB of rows.
#[tokio::test]
async fn a_target_out_of_disk_is_exit_69_and_leaves_nothing() {
    let server = Arc::new(own(15, &[("temp_file_limit", "-1")]).await);
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    if let Err(error) = mount_small_disk(&server.container_id) {
        return testkit::skipped(&format!("only root may mount a small disk into the server's container: {error}"));
    }
    testkit::sql::exec(&server.url("postgres"), "create tablespace small location '/small'").await;
    testkit::sql::exec(&server.url("postgres"), "alter database template0 set tablespace small").await;
    assert_failed(place.restore(&server.url("back")).run().await, 69, "No space left");
    assert_eq!(
        testkit::sql::value(&server.url("postgres"), "select count(*) from pg_database where datname ~ '^back'").await,
        "0"
    );
}

/// A unique index that cannot be built: the source is corrupt in a way that its own index hid. The error names the index,
/// not the row.
#[tokio::test]
async fn rows_that_violate_a_constraint_fail_by_name_and_without_the_row() {
    let db = postgres(15).await.create_database().await;
    db.exec(
        "create table people (name text); insert into people values ('Jane Canary'), ('Jane Canary');
         create unique index people_name on people (name) where name <> 'Jane Canary';
         update pg_index set indpred = null where indexrelid = 'people_name'::regclass",
    )
    .await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let target = Target::of(&db);
    let outcome = assert_failed(place.restore(&target.url).run().await, 65, "people_name");
    assert!(!outcome.stderr.contains("Jane Canary"), "a row was printed\n{}", outcome.report());
    assert_eq!(databases_like(&db, &target.name).await, Vec::<String>::new());
}

/// Somebody makes the target while we restore: theirs stays, ours goes.
#[tokio::test]
async fn a_target_that_appears_meanwhile_is_not_overwritten() {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    place.backup(&db.url()).run().await.success();
    let target = Target::of(&db);
    let running = place.restore(&target.url).spawn();
    running.wait_for_stderr("load rows").await;
    db.exec(&format!("create database {}", target.name)).await;
    assert_failed(running.wait().await, 73, "already exists");
    assert_eq!(databases_like(&db, &target.name).await, [target.name.as_str()]);
    assert_eq!(testkit::sql::value(&target.url, "select count(*) from pg_class where relname = 'large'").await, "0");
}
