//! What the product does.

mod before_swap;
mod bounds;
mod cli;
mod consistency;
mod guards;
mod layout;
mod road;
mod secrets;
mod special;
mod stores;
mod swap;
mod traps;
mod unsupported;
