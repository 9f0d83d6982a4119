//! MySQL and MariaDB as targets: what all of their tests have.

mod fence;
mod modes;
mod rows;
mod trouble;
mod values;

use std::sync::Arc;

use loader::{Done, Error, Limits, Mode, MysqlTarget};
use testkit::servers::{Flavour, MysqlServer, TestSchema, mysql as server_of};

use crate::kit::{Hand, plan, quick, run};

/// A schema of a test.
pub struct Schema(pub TestSchema);

/// One server of each flavour that this run tests, with an empty schema.
pub async fn schemas() -> Vec<TestSchema> {
    let mut schemas = Vec::new();
    for flavour in Flavour::ALL {
        if let Some(server) = server_of(flavour).await {
            schemas.push(server.database().await);
        }
    }
    schemas
}

/// The same with tables in it.
pub async fn schemas_with(ddl: &str) -> Vec<TestSchema> {
    let schemas = schemas().await;
    for db in &schemas {
        db.exec(ddl).await;
    }
    schemas
}

pub async fn own(flavour: Flavour, settings: &[&str]) -> Arc<MysqlServer> {
    Arc::new(testkit::servers::own_mysql(flavour, settings).await)
}

pub fn at(url: &str, table: &str, mode: Mode, limits: Limits) -> MysqlTarget {
    MysqlTarget::new(mysql::Endpoint::parse(url, None).unwrap(), table.parse().unwrap(), mode, limits)
}

pub fn target(db: &TestSchema, table: &str, mode: Mode) -> MysqlTarget {
    at(&db.url(), table, mode, quick())
}

/// By way of a proxy that is to understand what it passes on.
pub fn by_proxy(db: &TestSchema, port: u16, table: &str) -> MysqlTarget {
    at(&format!("{}?ssl-mode=disabled", db.url_at_port(port)), table, Mode::Append, quick())
}

pub async fn append(db: &TestSchema, table: &str, drop: &Hand) -> Result<Done, Error> {
    run(&target(db, table, Mode::Append), drop, &plan("job")).await
}

/// Runs that the ledger calls loaded, and staging tables that are left.
pub async fn traces(db: &TestSchema) -> (String, String) {
    let loaded =
        db.one("select count(*) from longshore_load_ledger where status = 'loaded' and loaded_drop is not null").await;
    let staging = "select count(*) from information_schema.tables where table_schema = database() and table_name like '%\\_\\_stg\\_%'";
    (loaded, db.one(staging).await)
}

/// The error, after it was seen that nothing has changed.
pub async fn refused(db: &TestSchema, target: &MysqlTarget, table: &str, drop: &Hand) -> Error {
    let sum = format!("checksum table {table}");
    let before = db.rows(&sum).await;
    let loaded = traces_before(db).await;
    let error = run(target, drop, &plan("job")).await.unwrap_err();
    assert_eq!(db.rows(&sum).await, before, "{error}");
    assert_eq!(traces(db).await, (loaded, "0".into()), "nothing is left, in staging either: {error}");
    error
}

async fn traces_before(db: &TestSchema) -> String {
    let there = "select count(*) from information_schema.tables where table_schema = database() and table_name = 'longshore_load_ledger'";
    if db.one(there).await == "0" { "0".to_owned() } else { traces(db).await.0 }
}
