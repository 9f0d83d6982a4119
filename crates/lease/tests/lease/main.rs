//! Leases as their users meet them: the protocol in random worlds, and every backend on a real server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

extern crate longshore_lease as lease;

mod model;
mod objects;
mod postgres;
mod redis;
