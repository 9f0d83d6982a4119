//! The PostgreSQL driver: reads a database of version 14 or newer in one snapshot, and writes one back.
//!
//! Owns everything that speaks to PostgreSQL: connections, locks, the exported snapshot, COPY, and the vendor's `pg_dump` and
//! `pg_restore`, which alone write schema. Promises that what is read belongs to one moment and is complete, or an error
//! naming the object. Refuses to keep rows: they pass through.
//!
//! The reading side is `source` (and `snapshot`, `tables`, `catalog`, `needs`, `privileges`, `unsupported`, `segments`, `reader`, `dump`,
//! `globals`, for parts of a database `filter`, `lacking`); the writing side is `target` (and `preflight`, `roles`,
//! `ownership`, `database`, `archive`, `loader`, `scratch`, `scripts`), for parts `part` and `part_entries`; who may be replaced
//! and how names are exchanged is in `guard`, `marker`, `swap`, `sessions` and `rollback`; restores that nobody is to use in `drill`. A backup as plain files, without any
//! server, is `export` (and `export_sql`, `export_script`). What a job would meet is told by `doctor`, in the jobs' own checks. `advisory` locks a number
//! for `lease`, `statements` are sessions for `loader`; both have nothing to do with the rest.

mod advisory;
mod archive;
mod builds;
mod catalog;
mod connection;
mod database;
mod databases;
mod doctor;
mod drill;
mod dump;
mod endpoint;
mod export;
mod export_script;
mod export_sql;
mod failure;
mod filter;
mod globals;
mod guard;
mod lacking;
mod large_objects;
mod loader;
mod lookup;
mod mark;
mod marker;
mod needs;
mod order;
mod ownership;
mod part;
mod part_entries;
mod part_script;
mod passes;
mod paths;
mod pooler;
mod preflight;
mod privileges;
mod quote;
mod reader;
mod refresh;
mod roles;
mod rollback;
mod scratch;
mod scripts;
mod segments;
mod sessions;
mod snapshot;
mod source;
mod special;
mod standby;
mod statements;
mod statistics;
mod swap;
mod tables;
mod target;
mod tls;
mod toc;
mod tools;
mod unsupported;

pub use advisory::{AdvisoryHolder, AdvisorySession, MAX_NAME_BYTES, examine_advisory};
pub use doctor::{examine_source, examine_target};
pub use endpoint::Endpoint;
pub use export::export;
pub use globals::{GLOBALS, Globals, Membership, PasswordHash, Role, RoleSetting, Tablespace};
pub use mark::mark;
pub use part::PostgresPart;
pub use quote::{ident, literal, qualified, shown};
pub use rollback::rollback;
pub use source::PostgresSource;
pub use statements::{StatementCopy, StatementError, StatementSession, TextRow, examine_statements};
pub use target::PostgresTarget;
