//! A dump of the vendor's tool as a source: a folder or an archive of `mongodump` becomes a backup like any other.
//!
//! Owns reading what `mongodump` has written (<https://www.mongodb.com/docs/database-tools/mongodump/>), plain and packed, of all versions since archives have been. Promises that what comes out is what a backup of the server has: the same catalog, the same
//! documents to the last bit, the same proof; that a dump which is damaged, cut short, or changes while it is read makes no backup; and that nothing is written beside it. Refuses to call it of one moment: no dump says so of itself.

mod address;
mod archive;
mod contents;
mod documents;
mod examine;
mod files;
mod folder;
mod metadata;
mod reader;
mod source;

pub use address::Dump;
pub use examine::examine as examine_dump;
pub use source::DumpSource;
