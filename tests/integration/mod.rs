//! What the product does.

mod before_swap;
mod bounds;
mod cli;
mod consistency;
mod guards;
mod layout;
mod ordinary;
mod road;
mod roles;
mod secrets;
mod special;
mod stores;
mod swap;
mod unsupported;
