//! The MySQL and MariaDB driver.
//!
//! Owns everything that knows these servers: sessions that see one moment, the schema in the servers' own words, rows as bytes as they are stored, `LOAD DATA`,
//! the scratch database and the one `RENAME` that publishes it. Promises that no vendor program is needed, that rows come back to the last bit, and
//! that what it cannot carry is refused by name. Refuses to know repositories and chunks.

mod accounts;
mod bounds;
mod catalog;
mod columns;
mod connection;
mod databases;
mod doctor;
mod endpoint;
mod engines;
mod export;
mod export_script;
mod failure;
mod fill;
mod filter;
mod guard;
mod indexes;
mod insert;
mod keys;
mod link;
mod loader;
mod locks;
mod mark;
mod missing;
mod objects;
mod owners;
mod part;
mod parts;
mod preflight;
mod privileges;
mod publish;
mod quote;
mod reader;
mod replaced;
mod rollback;
mod schema;
mod scratch;
mod scripts;
mod segments;
mod snapshot;
mod source;
mod statements;
mod swap;
mod target;
mod text;
mod tsv;
mod unchanged;
mod views;
mod wire;

pub use databases::databases;
pub use doctor::{examine_source, examine_target, is_empty};
pub use endpoint::Endpoint;
pub use export::export;
pub use fill::{Fill, Rows};
pub use mark::mark;
pub use quote::{ident, literal, qualified};
pub use rollback::rollback;
pub use source::MysqlSource;
pub use statements::{Changed, StatementError, StatementSession, TextRow, examine_statements};
pub use target::MysqlTarget;

/// Whether these are the documents of a backup by this driver.
#[must_use]
pub fn is_ours(documents: &[engine::Document]) -> bool {
    engine::Document::find(documents, catalog::CATALOG)
        .is_some_and(|document| catalog::Catalog::parse(&document.bytes).is_ok())
}
