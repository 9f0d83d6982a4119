//! Commands that need no job of their own: one file each, `Args` and `run`.

pub mod check;
pub mod completions;
pub mod doctor;
pub mod export;
pub mod help;
pub mod init;
pub mod keys;
pub mod list;
pub mod mark;
pub mod pin;
pub mod prune;
pub mod repair;
pub mod rollback;
pub mod show;
pub mod verify;
