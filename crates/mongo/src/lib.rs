//! The MongoDB driver.
//!
//! Owns everything that knows these servers: reading at one time of the cluster, definitions in the servers' own words, documents as the bytes that they are, inserts in
//! large batches, scratch names and the renames that publish. Promises that no vendor program is needed, that documents come back to the last bit, and that what it cannot carry is refused by name. Refuses
//! to know repositories and chunks.

mod accounts;
mod bounds;
mod catalog;
mod changed;
mod connection;
mod databases;
mod definitions;
mod doctor;
mod dump;
mod dump_names;
mod endpoint;
mod exchange;
mod export;
mod export_text;
mod extjson;
mod failure;
mod filter;
mod guard;
mod identifier;
mod indexes;
mod journal;
mod json;
mod listing;
mod loader;
mod mark;
mod moment;
mod oplog;
mod past;
mod preflight;
mod raw;
mod reader;
mod rollback;
mod scratch;
mod scripts;
mod segments;
mod source;
mod target;

pub use databases::databases;
pub use doctor::{examine_source, examine_target, is_empty};
pub use dump::{Dump, DumpSource, examine_dump};
pub use endpoint::Endpoint;
pub use export::export;
pub use mark::mark;
pub use rollback::rollback;
pub use source::MongoSource;
pub use target::MongoTarget;

/// Whether these are the documents of a backup by this driver.
#[must_use]
pub fn is_ours(documents: &[engine::Document]) -> bool {
    engine::Document::find(documents, catalog::CATALOG)
        .is_some_and(|document| catalog::Catalog::is_one(&document.bytes))
}
