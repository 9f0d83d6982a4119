//! What the product does.

mod all_databases;
mod before_swap;
mod bounds;
mod cli;
mod consistency;
mod evidence;
pub mod export;
mod filters;
mod globals;
mod guards;
mod layout;
mod limits;
mod ordinary;
mod parts;
mod poolers;
mod readers;
mod road;
mod roles;
mod secrets;
mod special;
mod standby;
mod stores;
mod swap;
mod traps;
mod unsupported;
