//! The MySQL and MariaDB driver.
//!
//! Owns everything that knows these servers: sessions that see one moment, the schema in the servers' own words, rows as bytes as they are stored, `LOAD DATA`,
//! the scratch database and the one `RENAME` that publishes it. Promises that no vendor program is needed, that rows come back to the last bit, and
//! that what it cannot carry is refused by name. Refuses to know repositories and chunks.

mod catalog;
mod columns;
mod connection;
mod endpoint;
mod failure;
mod privileges;
mod quote;
mod reader;
mod schema;
mod segments;
mod snapshot;
mod source;
mod text;
mod tsv;
mod unchanged;

pub use endpoint::Endpoint;
pub use source::MysqlSource;
