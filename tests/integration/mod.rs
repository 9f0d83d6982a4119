//! What the product does.

mod all_databases;
mod bounds;
mod cli;
mod consistency;
mod globals;
mod layout;
mod limits;
mod poolers;
mod readers;
mod road;
mod secrets;
mod standby;
mod stores;
mod unsupported;
