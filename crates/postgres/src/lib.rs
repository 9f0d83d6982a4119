//! The PostgreSQL driver: reads a database of version 14 or newer in one snapshot, and writes one back.
//!
//! Owns everything that speaks to PostgreSQL: connections, locks, the exported snapshot, COPY, and the vendor's `pg_dump` and
//! `pg_restore`, which alone write schema. Promises that what is read belongs to one moment and is complete, or an error
//! naming the object. Refuses to keep rows: they pass through.
//!
//! The reading side is `source` (and `snapshot`, `catalog`, `needs`, `unsupported`, `segments`, `reader`, `dump`); the writing side is
//! `target` (and `preflight`, `contents`, `roles`, `ownership`, `database`, `archive`, `loader`).

mod archive;
mod catalog;
mod connection;
mod contents;
mod database;
mod dump;
mod endpoint;
mod failure;
mod loader;
mod needs;
mod ownership;
mod preflight;
mod quote;
mod reader;
mod roles;
mod scratch;
mod segments;
mod snapshot;
mod source;
mod target;
mod tls;
mod tools;
mod unsupported;

pub use endpoint::Endpoint;
pub use source::PostgresSource;
pub use target::PostgresTarget;
