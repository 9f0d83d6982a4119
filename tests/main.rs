//! Every test that needs more than one crate, as one binary.
//!
//! `integration/` shows what the product does, `fault/` what it does when something goes wrong, `golden/` that what was
//! written once stays readable. Servers are real and run in containers: `scripts/test` provides them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    missing_docs,
    reason = "a test fails by panicking, and its name says what it shows"
)]

mod application;
mod fault;
mod golden;
mod integration;
mod place;
mod staging;
