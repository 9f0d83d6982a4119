//! Owns drops: files that somebody puts into one place to be loaded together, and the rows in them.
//!
//! A drop is frozen first: its files are listed, compared with what the drop says about itself, and known by what they hold. Then each is read:
//! decompressed, taken apart by its format, compared with a contract, and handed on in batches of text that any target can take.
//!
//! Promises that rows are those of the files that were frozen, all of them, as they are written there; that null is not the empty text; that whatever
//! cannot be taken fails the file, or is kept where rows may be left out, and is never dropped in silence; and that memory does not grow with a file.
//! Refuses to guess: neither a format, nor a delimiter, nor an encoding, nor whether a drop is complete. Knows no database.

mod batch;
mod check;
mod contract;
mod csv;
mod error;
mod expand;
mod format;
mod freeze;
mod manifest;
mod names;
mod ndjson;
mod raw;
mod reader;
mod rejects;
mod rows;
mod survey;
mod tree;
mod window;

pub use batch::{Batch, Place, Row};
pub use contract::{Column, Contract, Type};
pub use error::{Cause, Error, Kind, Reject};
pub use expand::Limits;
pub use format::{Csv, Encoding, Format};
pub use freeze::{Complete, DropId, File, Frozen, Marks, Source, freeze};
pub use manifest::{DROP_YAML, Listed, MAX_MANIFEST_BYTES, Manifest, SHA256SUMS, SUCCESS};
pub use names::{MAX_NAME_BYTES, MAX_PATH_BYTES};
pub use rejects::{LISTED_REJECTS, RejectSink};
pub use rows::{Counts, Reading, Rows, open_rows, open_rows_with};
pub use survey::{Part, Survey};
pub use tree::MAX_FILES;
