//! The repository over a store in memory: what a writer promises, whatever the store and other parties do meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

extern crate longshore_repository as repository;

mod commit;
mod copy;
mod evidence;
mod journal;
mod model;
mod prune;
mod removal;
mod resume;
mod retention;
mod reuse;
mod sealing;
mod support;
mod verify;
