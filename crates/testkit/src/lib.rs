//! Owns what tests of several crates share: real servers in containers, proxies that break connections on command, a
//! server that writes down what it is asked, a store that fails on command, generated databases, and running the built job.
//!
//! Promises that a test's premise which does not hold ends that test with a message saying what to do, that everything
//! is decided by counts and conditions (no randomness, no fixed waits), and that containers and scratch databases are
//! removed when the test process ends. Refuses to be a dependency of anything but tests, and to skip silently.
//!
//! Containers live on a runtime of their own: each `#[tokio::test]` makes and drops its runtime, servers outlive them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "only tests link this: a broken premise ends the test, and its words go to the test's output"
)]

mod background;
pub mod data;
mod docker;
mod facts;
pub mod faulty;
pub mod job;
pub mod mongo;
pub mod mysql;
pub mod programs;
pub mod proxy;
pub mod recorder;
pub mod servers;
mod skip;
pub mod sql;

pub use facts::{assert_same_facts, facts};
pub use job::{Job, Outcome, Running, Signal};
pub use skip::skipped;
