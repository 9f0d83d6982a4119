//! Loads into real servers: what is loaded, what is not, and what happens when something goes wrong between any two steps.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::large_futures,
    reason = "a test fails by panicking"
)]

extern crate longshore_loader as loader;

mod command;
mod fence;
mod kit;
mod modes;
mod mysql;
mod rows;
mod schedules;
mod trouble;
