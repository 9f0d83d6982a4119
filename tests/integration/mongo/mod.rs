//! MongoDB, on a replica set of one.
//!
//! Owns what these tests share: names for restores, a large collection, and what is left of a restore.

mod accounts;
mod atomic;
mod before_swap;
mod dump;
mod export;
mod import;
mod kinds;
mod large;
mod parts;
mod past;
pub mod road;
mod snapshot;
mod swap;

use crate::place::Place;
use std::collections::BTreeMap;
use testkit::mongo::{different, everything, fixture, make};
use testkit::servers::{TestMongo, mongo};

/// A database with everything odd in it, and a place for its backups.
pub async fn odd() -> (TestMongo, Place) {
    let db = mongo().await.database().await;
    make(&db.db().await, &fixture()).await;
    (db, Place::new().await)
}

/// The name and URL of a restore beside a test's database; dropped with that.
pub struct Back {
    pub name: String,
    pub url: String,
}

impl Back {
    pub fn of(db: &TestMongo) -> Self {
        let name = format!("{}_back", db.name());
        Self { url: db.server.root_url(&name), name }
    }
}

/// What a database is compared by.
pub async fn all(db: &TestMongo, name: &str) -> BTreeMap<String, String> {
    everything(&db.server.client().await.database(name)).await
}

/// Fails with everything that differs between the original and what came back.
#[track_caller]
pub fn assert_same(there: &BTreeMap<String, String>, back: &BTreeMap<String, String>) {
    let differences: Vec<String> = different(there, back)
        .into_iter()
        .map(|key| format!("{key}\n  there: {:.600?}\n  back:  {:.600?}", there.get(&key), back.get(&key)))
        .collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Names of databases on the server that begin like this, sorted.
pub async fn databases_like(db: &TestMongo, beginning: &str) -> Vec<String> {
    let mut names = db.server.client().await.list_database_names().await.unwrap();
    names.retain(|name| name.starts_with(beginning));
    names.sort();
    names
}

/// Names of all collections of a database, this program's own among them.
pub async fn collections(db: &TestMongo, name: &str) -> Vec<String> {
    let mut names = db.server.client().await.database(name).list_collection_names().await.unwrap();
    names.sort();
    names
}
