//! MariaDB and MySQL, on every server that this run tests.
//!
//! Owns what these tests share: a target dropped with its test, one test per flavour, and the comparison of two schemas by the server's own words and rows.

mod accounts;
mod all_databases;
mod cross;
mod export;
mod filters;
mod kinds;
pub mod large;
mod parts;
mod privileges;
pub mod road;
mod snapshot;
pub mod swap;

use std::collections::BTreeMap;
use std::sync::Arc;
use testkit::servers::{MysqlServer, TestSchema};

/// One test per flavour of a function that takes the flavour.
macro_rules! on_each_server {
    ($name:ident) => {
        mod $name {
            use testkit::servers::Flavour;

            #[tokio::test]
            async fn mariadb_10_11() {
                super::$name(Flavour::MariaDb10).await;
            }

            #[tokio::test]
            async fn mariadb_11_8() {
                super::$name(Flavour::MariaDb11).await;
            }

            #[tokio::test]
            async fn mysql_5_6() {
                super::$name(Flavour::MySql5).await;
            }

            #[tokio::test]
            async fn mysql_9() {
                super::$name(Flavour::MySql9).await;
            }
        }
    };
}
pub(crate) use on_each_server;

/// The shared server of a flavour, unless this run does not test it: then the test ends here, said loudly.
macro_rules! server {
    ($flavour:expr) => {
        match testkit::servers::mysql($flavour).await {
            Some(server) => server,
            None => return,
        }
    };
}
pub(crate) use server;

/// A name for a restore that nothing else uses; dropped when the test ends.
pub struct Back {
    pub name: String,
    pub url: String,
    server: Arc<MysqlServer>,
}

impl Back {
    pub fn of(db: &TestSchema) -> Self {
        let name = format!("{}_back", db.name());
        Self { url: db.server.root_url(&name), server: Arc::clone(&db.server), name }
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        let (server, name) = (Arc::clone(&self.server), self.name.clone());
        // A runtime of its own needs a thread of its own.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                use mysql_async::prelude::Queryable;
                if let Ok(mut conn) = mysql_async::Conn::from_url(server.root_url("")).await {
                    drop(conn.query_drop(format!("drop database if exists `{name}`")).await);
                    drop(conn.disconnect().await);
                }
            });
        });
        drop(dropping.join());
    }
}

/// Names of schemas on the server that begin like this.
pub async fn schemas_like(db: &TestSchema, beginning: &str) -> Vec<String> {
    let query = format!(
        "select schema_name from information_schema.schemata where left(schema_name, {}) = '{beginning}' order by 1",
        beginning.len()
    );
    let rows = db.rows(&query).await;
    rows.into_iter().filter_map(|row| String::from_utf8(row.into_iter().next()??).ok()).collect()
}

/// What a schema is compared by.
pub async fn everything(server: &MysqlServer, schema: &str) -> BTreeMap<String, String> {
    let mut conn = server.connection().await;
    let mut all = testkit::mysql::definitions(&mut conn, schema).await;
    let content = testkit::mysql::content(&mut conn, schema).await;
    // MySQL remembers whether a column's collation was said or taken from the table, and shows the former with its character set.
    for words in all.values_mut() {
        *words = without_charsets(words);
    }
    all.extend(content.into_iter().map(|(key, digest)| (format!("content of {key}"), digest)));
    all
}

/// `CHARACTER SET x COLLATE y` as `COLLATE y`.
fn without_charsets(words: &str) -> String {
    let mut out = String::new();
    let mut rest = words;
    while let Some((before, after)) = rest.split_once(" CHARACTER SET ") {
        out.push_str(before);
        match after.split_once(' ') {
            Some((_, collate)) if collate.starts_with("COLLATE ") => {
                rest = after.split_at(after.len() - collate.len() - 1).1
            }
            _ => {
                out.push_str(" CHARACTER SET ");
                rest = after;
            }
        }
    }
    out + rest
}

/// Fails with everything that differs between the original and what came back.
#[track_caller]
pub fn assert_same(there: &BTreeMap<String, String>, back: &BTreeMap<String, String>) {
    let mut differences = Vec::new();
    for (key, original) in there {
        match back.get(key) {
            None => differences.push(format!("{key} is missing")),
            Some(other) if other != original => {
                differences.push(format!("{key} differs\n--- there\n{original}\n--- back\n{other}"));
            }
            Some(_) => {}
        }
    }
    differences.extend(back.keys().filter(|key| !there.contains_key(*key)).map(|key| format!("{key} was not there")));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
