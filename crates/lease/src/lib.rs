//! Owns leases: who may run a job now, and who does.
//!
//! A run acquires the lease of its job before it touches anything, renews it while it works and releases it at the end; another run that
//! asks meanwhile is told who holds it. Servers are a file, Redis, PostgreSQL or an S3 store, chosen by a URL; all keep one
//! contract (`Backend`), and `held` alone decides from a monotonic clock when a lease is over.
//!
//! Promises that a second run is refused while the first one lives and is in touch with the server, that nothing runs without the
//! server's word, and that a holder which cannot renew stops before its server gives the lease to another.
//! Refuses to promise more: a process that is stopped at the wrong moment wakes up too late, servers fail over and forget. So the lease saves work; what keeps
//! data correct is a fence in the target, checked in the transaction that changes it.

mod backend;
mod claim;
mod clock;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
mod file;
mod held;
mod lease;
#[cfg(any(test, feature = "conformance"))]
mod manual;
#[cfg(any(test, feature = "conformance"))]
mod memory;
mod open;
mod postgres;
mod redis;
mod s3;

pub use self::postgres::Postgres;
pub use self::redis::Redis;
pub use backend::{Answer, Backend, Grant, Lasts, Refusal};
pub use claim::{Busy, Claim, Epoch, Holder, Job, MAX_JOB_BYTES, RunId};
pub use clock::{Clock, Moment, SystemClock, Terms};
pub use error::{Cause, Error, Lost};
pub use file::Files;
pub use held::{Held, Watch};
pub use lease::Lease;
#[cfg(any(test, feature = "conformance"))]
pub use manual::ManualClock;
#[cfg(any(test, feature = "conformance"))]
pub use memory::Memory;
pub use open::{Access, open};
pub use s3::Objects;
