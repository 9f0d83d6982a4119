//! The vendor's tools are missing, too old, killed or failing.

use crate::place::{LARGE, Place, assert_failed};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use testkit::servers::postgres;

/// A folder with a `pg_dump` and a `pg_restore` that a test wrote.
fn tools(place: &Place, pg_dump: &str, pg_restore: &str) -> PathBuf {
    let folder = place.folder.path().join("tools");
    std::fs::create_dir(&folder).unwrap();
    for (name, script) in [("pg_dump", pg_dump), ("pg_restore", pg_restore)] {
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

/// Answers `--version` and goes on with something else otherwise.
fn version(major: u32, otherwise: &str) -> String {
    format!("if [ \"$1\" = --version ]; then echo 'pg_dump (PostgreSQL) {major}.1'; exit 0; fi\n{otherwise}")
}

async fn fails(pg_dump: &str, pg_restore: &str, code: i32, says: &str) {
    let db = postgres(15).await.create_database().await;
    db.exec(LARGE).await;
    let place = Place::new().await;
    let folder = tools(&place, pg_dump, pg_restore);
    let outcome = place.backup(&db.url()).env("LONGSHORE_TOOLS", folder.display().to_string()).run().await;
    assert_failed(outcome, code, says);
    place.assert_no_manifest();
}

const REAL: &str = "for bin in /usr/lib/postgresql/15/bin /usr/bin; do [ -x $bin/pg_restore ] && exec $bin/";

fn real(tool: &str) -> String {
    format!("{REAL}{tool} \"$@\"; done; exit 127").replace("pg_restore ]", &format!("{tool} ]"))
}

#[tokio::test]
async fn a_missing_pg_dump_is_exit_78() {
    let db = postgres(15).await.create_database().await;
    let place = Place::new().await;
    let empty = place.folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let outcome = place.backup(&db.url()).env("LONGSHORE_TOOLS", empty.display().to_string()).run().await;
    assert_failed(outcome, 78, "there is no pg_dump in");
    place.assert_no_manifest();
}

#[tokio::test]
async fn a_pg_dump_older_than_the_server_is_exit_78() {
    fails(&version(13, "exit 0"), &version(13, "exit 0"), 78, "pg_dump 13 is too old").await;
}

#[tokio::test]
async fn a_failing_pg_dump_makes_no_backup() {
    let script = "echo 'pg_dump: error: query failed: something broke' >&2; exit 1";
    fails(&version(15, script), &real("pg_restore"), 78, "something broke").await;
}

#[tokio::test]
async fn a_killed_pg_dump_makes_no_backup() {
    fails(&version(15, "kill -9 $$"), &real("pg_restore"), 69, "SIGKILL").await;
}

/// Exit code 0 and an archive that names no table: the vendor's list and ours differ.
#[tokio::test]
async fn a_pg_dump_that_left_a_table_out_makes_no_backup() {
    let without = version(15, &real("pg_dump").replace("\"$@\"", "--exclude-table=small \"$@\""));
    fails(&without, &real("pg_restore"), 69, "public.small was read, and pg_dump does not list it").await;
}

#[tokio::test]
async fn a_pg_dump_that_wrote_nothing_makes_no_backup() {
    fails(&version(15, "exit 0"), &real("pg_restore"), 70, "read the dumped schema").await;
}
