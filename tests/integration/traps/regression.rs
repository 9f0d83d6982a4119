//! Something big that nobody here wrote: the database that PostgreSQL's own regression tests leave behind. It has some
//! five hundred tables, and objects of every kind in every combination that its authors thought of.
//!
//! The copy to compare with is made by the vendor's own tools: where these bring an object back in another form (the
//! order of columns in a few children), both copies have that form.

use super::{Trip, difference, on_every_version};
use std::sync::Arc;
use testkit::servers::{PostgresServer, own};
use testkit::{assert_same_facts, sql};

const SCRIPT: &str = include_str!("regression.sh");
/// What the tests set; they prepare transactions, and make publications.
const SETTINGS: [(&str, &str); 2] = [("max_prepared_transactions", "2"), ("wal_level", "logical")];

const FRESH: &str = "do $$ declare view regclass; begin
     for view in select oid from pg_class where relkind = 'm' and relispopulated order by oid loop
         execute 'refresh materialized view ' || view; end loop; end $$";

async fn the_database_of_postgresqls_own_tests_comes_back(version: u16) {
    let server = Arc::new(own(version, &SETTINGS).await);
    let db = server.create_database().await;
    // The tests make their database themselves.
    sql::exec(&server.url("postgres"), &format!("drop database {}", db.name)).await;
    let said = server.exec(&["sh", "-c", SCRIPT, "regression.sh", &db.name]).unwrap_or_else(|error| panic!("{error}"));
    if said.contains("no regression tests") {
        return testkit::skipped(
            "PostgreSQL's regression tests: they are in the images that scripts/servers makes only",
        );
    }
    // Views that the tests left stale are computed anew by a restore, so they are here before.
    let trip = Trip::with(db, &format!("select count(lo_unlink(oid)) from pg_largeobject_metadata; {FRESH}")).await;
    let tables: u32 =
        trip.db.value("select count(*) from pg_class where relkind = 'r' and oid >= 16384").await.parse().unwrap();
    assert!(tables > 400, "only {tables} tables after: {said}");

    trip.go().await;
    let copy = vendors_copy(&server, &trip.db.name).await;
    let (theirs, ours) = (sql::canonical_dump(&server, &copy), sql::canonical_dump(&server, &trip.back.name));
    assert!(ours == theirs, "{}", difference(&ours, &theirs));
    assert_same_facts(&trip.back.url, &server.url(&copy)).await;
    // The rows are the source's own, whatever the vendor's tools make of them.
    assert_eq!(sql::content(&trip.back.url).await, sql::content(&trip.db.url()).await);
}

/// A copy made by the vendor's dump and restore alone, without what would talk to others.
async fn vendors_copy(server: &PostgresServer, name: &str) -> String {
    let copy = format!("{name}_copy");
    sql::exec(&server.url("postgres"), &format!("create database {copy} template template0")).await;
    let command = "pg_dump -Fc \"$1\" | pg_restore --exit-on-error --no-publications --no-subscriptions -d \"$2\"";
    server.exec(&["sh", "-c", command, "sh", name, &copy]).unwrap_or_else(|error| panic!("{error}"));
    copy
}

on_every_version!(the_database_of_postgresqls_own_tests_comes_back);
