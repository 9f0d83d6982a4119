//! The user's own program as the loader.
//!
//! Owns its road: what it is told (`Program`), the order around it (`run`), its process (`child`), and what it writes (`output`).
//!
//! Promises that it runs under the lease or not at all: it is started when the drop's content is known, killed with its process group when the lease is
//! lost, and what it left in that group is killed when it has ended; that the drop counts as loaded only when it ended with 0, the drop is still what was
//! hashed, the lease is held and no newer run has taken over; and that what it writes is shown and kept, and in no ledger and no error. It cannot promise
//! that what the program did to a database is taken back, or done once: that is not in our transaction. A program that is told the fence's number can
//! see to it in its own.

mod child;
mod output;
mod program;
mod run;

pub use process::Status as Ended;
pub use program::Program;
pub use run::load_by;
