//! What the product does.

mod bounds;
mod cli;
mod consistency;
mod layout;
mod road;
mod secrets;
mod stores;
mod traps;
mod unsupported;
