//! The contract between databases and jobs.
//!
//! Owns the words both sides use: a *stream* (one table's rows), a *segment* (a part of a stream that one worker reads),
//! a *row* (the bytes of one record in a named row format), and the *digest* that proves rows came back. Promises that
//! nothing here depends on a driver, a store or a repository. Refuses to know what a row means: a driver knows rows and
//! catalogs, the repository knows chunks, and a job brings them together.

pub mod address;
mod cutter;
mod digest;
mod document;
mod environment;
mod error;
mod export;
mod filter;
mod finding;
mod mark;
mod pattern;
mod source;
mod stream;
mod target;

pub use cutter::{RowCutter, RowEnd};
pub use digest::{Digest, DigestParseError, row_hash};
pub use document::{Document, read_versioned};
pub use environment::is_protected_environment;
pub use error::{Error, Kind};
pub use export::{Export, ExportFile, ExportOptions, ExportedStream, Sieve, Sieves};
pub use filter::{Choice, Filter};
pub use finding::{Finding, Health};
pub use mark::{Mark, Spot};
pub use pattern::Pattern;
pub use source::{About, Found, GlobalsWanted, Plan, Reader, RowSink, SinkError, Source, SourceOptions};
pub use stream::{RowFormat, Segment, StreamName, StreamPlan};
pub use target::{Build, Conclusion, Loader, Marked, Mode, Script, Target, TargetOptions};
