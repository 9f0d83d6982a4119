//! What every job shares: configuration from flags and environment, secrets, logs, progress, exit codes, shutdown.
//!
//! Owns everything between the operating system and a job's own work. Promises: one exit code table, one place that
//! turns a failure into an exit code and a message, and no value of a variable or secret in anything it prints. Refuses
//! knowledge of databases, stores and repositories beyond what their errors mean and how a repository is named.

mod common;
mod exit;
mod failure;
mod failure_from;
pub mod format;
mod lease_args;
pub mod limits;
mod memory;
mod output;
mod progress;
mod repo;
mod run;
mod secret;
mod shutdown;
mod signals;
mod telemetry;
mod vars;

#[cfg(test)]
mod tests;

pub use common::{Common, LogFormat, ProgressMode};
pub use exit::{Exit, Layout, Retry, table};
pub use failure::{Failure, OrFail};
pub use lease_args::LeaseArgs;
pub use output::{Align, Output, Printer, text_table};
pub use progress::{Mode, Progress, Snapshot};
pub use repo::{Opening, RepoArgs, ToArgs, s3_credentials};
pub use run::{Kit, run_main, run_with};
pub use secret::{Secret, redact_text, redact_url};
pub use shutdown::{GRACE, Shutdown, StopSignal};
pub use signals::{SignalArgs, Subject, WebhookOn};
pub use telemetry::{Log, Screen};
pub use tokio_util::sync::CancellationToken;
pub use vars::{Parsed, Stop, Vars, env_name, parse, parse_args};
