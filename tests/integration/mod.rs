//! What the product does.

mod bounds;
mod cli;
mod consistency;
mod layout;
mod ordinary;
mod road;
mod roles;
mod secrets;
mod stores;
mod unsupported;
