//! What the product does when something goes wrong. Each test asserts what is absent besides the error and its code.

mod corruption;
mod directory;
mod drill;
mod elections;
mod export;
mod kill;
mod limits;
mod mongo;
mod mysql;
mod mysql_limits;
mod objects;
mod parts;
mod prune;
mod readers;
mod refusals;
mod schema;
mod server;
mod standby;
mod swap;
mod swap_sessions;
mod target;
mod tools;
