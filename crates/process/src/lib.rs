//! Child processes: the only place that starts programs.
//!
//! Owns: argument lists (never a shell string), a cleared environment, secret files, process groups, signals, bounded
//! output. Promises: no child outlives its [`Child`] handle or, on Linux, this process, even when it is killed with -9;
//! every buffer and every wait here has a stated bound; no error repeats an environment value or a secret file's
//! content. Refuses: secrets in argv (there is a secret file for that), environments that nobody has put together, unbounded capture.

mod child;
mod command;
mod error;
mod group;
mod path;
mod pump;
mod secret;
mod stream;
mod tail;

#[cfg(test)]
mod tests;

pub use child::{Child, Output};
pub use command::Command;
pub use error::{Error, Status};
pub use path::{find, version_of};
pub use secret::SecretDir;
pub use stream::Stream;
pub use tail::TAIL_BYTES;
