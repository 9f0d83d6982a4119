//! Everything a database holds: each known trap of a logical backup is a test with its number, on PostgreSQL 15, 17 and 18.
//!
//! A test makes the odd objects with rows, backs up, restores with the content proven, and then compares with things
//! that know nothing of the product: the vendor's schema dump, digests that the server computes, what the catalog says.
//!
//! | trap | what goes wrong elsewhere | test |
//! |---|---|---|
//! | 1 | a schema-only dump drops what is made in the data section | `objects::trap_01_*` |
//! | 2 | values of sequences | `objects::trap_02_*` |
//! | 3 | large objects: owner, grants, comment | `objects::trap_03_*` |
//! | 4 | rows that users put into tables of extensions | `extensions::trap_04_*` |
//! | 5 | TRUNCATE and rewrites are not seen by snapshots | `fault::schema::*`: it is about timing |
//! | 6 | settings that change what rows look like | `values::trap_06_*` |
//! | 7 | row-level security hides rows | `access::trap_07_*` |
//! | 8 | generated columns | `tables::trap_08_*` |
//! | 9 | identity columns | `tables::trap_09_*` |
//! | 10 | inheritance: rows of the parent alone | `tables::trap_10_*` |
//! | 11 | partitions: of several levels, by the hash of an enum | `partitions::trap_11_*` |
//! | 12 | what hangs on an index and is no part of its definition | `indexes::trap_12_*` |
//! | 13 | invalid indexes, WITHOUT OVERLAPS | `indexes::trap_13_*` |
//! | 14 | materialized views on each other, and unfilled ones | `objects::trap_14_*` |
//! | 15 | functions that need a search_path | `code::trap_15_*` |
//! | 16 | constraints that do not hold yet, circular ones | `constraints::trap_16_*` |
//! | 17 | event triggers that fire during the restore | `code::trap_17_*` |
//! | 18 | publications and subscriptions that would talk to production | `access::trap_18_*` |
//! | 19 | foreign tables and their secrets | `tables::trap_19_*` |
//! | 20 | unlogged tables | `tables::trap_20_*` |
//! | 21 | extended statistics, and statistics at all | `indexes::trap_21_*` |
//! | 22 | comments, labels, grants | `access::trap_22_*` |
//! | 23 | missing roles | `access::trap_23_*` |
//! | 24 | properties of the database | `access::trap_24_*` |
//! | 25 | versions of the vendor's tools | `values::trap_25_*`, `integration::road::a_backup_of_*` |
//! | 26 | page ranges before version 14 | no server here is that old: `crates/postgres/src/source.rs` refuses it |
//! | 27 | poolers between, snapshots that end | `integration::poolers`, `fault::server::*` |
//! | 28 | standbys | `integration::standby` |
//! | 29 | encodings that are none | `encodings::trap_29_*` |
//!
//! `regression` brings back the database that PostgreSQL's own tests leave behind.

mod access;
mod code;
mod constraints;
mod encodings;
mod extensions;
mod indexes;
mod objects;
mod partitions;
mod regression;
mod tables;
mod values;

use crate::place::{Place, Target};
use serde_json::Value;
use std::sync::Arc;
use testkit::servers::{PostgresServer, TestDatabase, postgres};
use testkit::{Job, sql};

/// One test per version there is a server for, in a module of the function's name.
macro_rules! on_every_version {
    ($($(#[$mark:meta])* $name:ident),+ $(,)?) => { $(
        mod $name {
            #[tokio::test]
            $(#[$mark])*
            async fn on_postgresql_15() {
                super::$name(15).await;
            }

            #[tokio::test]
            $(#[$mark])*
            async fn on_postgresql_17() {
                super::$name(17).await;
            }

            #[tokio::test]
            $(#[$mark])*
            async fn on_postgresql_18() {
                if crate::integration::traps::has_18() {
                    super::$name(18).await;
                }
            }
        }
    )+ };
}
use on_every_version;

/// Whether this run has a server of version 18; says so when not.
pub fn has_18() -> bool {
    let all = std::env::var("LONGSHORE_TEST_SERVERS").as_deref() == Ok("all");
    if !all {
        testkit::skipped("PostgreSQL 18 is tested by scripts/test --all");
    }
    all
}

/// A database, its backup and what came back of it.
struct Trip {
    version: u16,
    server: Arc<PostgresServer>,
    db: TestDatabase,
    place: Place,
    back: Target,
}

impl Trip {
    /// A database on the shared server, made by these statements; `{db}` in them is its name, for names of roles.
    async fn of(version: u16, statements: &str) -> Trip {
        let server = postgres(version).await;
        let db = server.create_database().await;
        Trip::with(db, statements).await
    }

    /// The same in a database that is there.
    async fn with(db: TestDatabase, statements: &str) -> Trip {
        let trip = Trip {
            version: db.server.version,
            server: Arc::clone(&db.server),
            place: Place::new().await,
            back: Target::of(&db),
            db,
        };
        trip.exec(statements).await;
        trip
    }

    /// There and back, and everything is compared.
    async fn whole(version: u16, statements: &str) -> Trip {
        let trip = Trip::of(version, statements).await;
        trip.go().await;
        trip.assert_same().await;
        trip
    }

    /// Runs statements in the source.
    async fn exec(&self, statements: &str) {
        self.db.exec(&self.named(statements)).await;
    }

    fn named(&self, text: &str) -> String {
        text.replace("{db}", &self.db.name)
    }

    fn backup(&self) -> Job {
        self.place.backup(&self.db.url()).for_postgres(self.version)
    }

    fn restore(&self) -> Job {
        self.place.restore(&self.back.url).for_postgres(self.version)
    }

    /// Backs up and restores, and says what the restore said.
    async fn go(&self) -> Value {
        self.backup().run().await.success();
        let restored = self.restore().run().await.success().json();
        assert_eq!(restored["proven"], true, "{restored}");
        restored
    }

    /// Schema, rows and facts of the catalog are the same.
    async fn assert_same(&self) {
        self.assert_same_schema().await;
        let (back, there) = (sql::content(&self.back.url).await, sql::content(&self.db.url()).await);
        assert_eq!(back, there);
    }

    /// Everything but rows is the same: for what lies elsewhere rightly.
    async fn assert_same_schema(&self) {
        let dump = |name: &str| sql::canonical_dump(&self.server, name);
        let (back, there) = (dump(&self.back.name), dump(&self.db.name));
        assert!(back == there, "{}", difference(&back, &there));
        testkit::assert_same_facts(&self.back.url, &self.db.url()).await;
    }

    /// The query, whose answer is one value, gives this text there and back.
    async fn assert(&self, query: &str, expected: &str) {
        let (query, expected) = (self.named(query), self.named(expected));
        assert_eq!(self.db.value(&query).await, expected, "the test's own premise: {query}");
        assert_eq!(sql::value(&self.back.url, &query).await, expected, "what came back: {query}");
    }

    /// The query gives the same rows there and back, and some.
    async fn assert_equal(&self, query: &str) {
        let query = self.named(query);
        let there = sql::rows(&self.db.url(), &query).await;
        assert!(!there.is_empty(), "the test's own premise, some rows: {query}");
        assert_eq!(sql::rows(&self.back.url, &query).await, there, "{query}");
    }
}

/// The first lines in which two texts differ.
fn difference(back: &str, there: &str) -> String {
    let first = back.lines().zip(there.lines()).position(|(a, b)| a != b);
    let from = first.unwrap_or_else(|| back.lines().count().min(there.lines().count())).saturating_sub(5);
    let excerpt = |text: &str| text.lines().skip(from).take(15).collect::<Vec<_>>().join("\n");
    format!("schemas differ from line {from} on\n--- back\n{}\n--- there\n{}", excerpt(back), excerpt(there))
}
