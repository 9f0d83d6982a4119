//! The options that every command has.
//!
//! Owns `--output`, `--log-format`, `--quiet` and `--progress`; those of [`SignalArgs`] are among them. Flatten [`Common`] into a command's arguments. They are
//! global: they may stand before or after a subcommand.

use clap::{Args, ValueEnum};

use crate::output::Output;
use crate::signals::SignalArgs;

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// How to print the result on stdout
    #[arg(long, global = true, value_enum, default_value_t = Output::Text, help_heading = "Output")]
    pub output: Output,
    /// How to print logs on stderr; auto is text on a terminal and JSON lines elsewhere
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Auto, help_heading = "Output")]
    pub log_format: LogFormat,
    /// Log warnings and errors only, and show no progress
    #[arg(long, global = true, help_heading = "Output")]
    pub quiet: bool,
    /// Whether to show progress; auto draws bars on a terminal and logs progress elsewhere
    #[arg(long, global = true, value_enum, default_value_t = ProgressMode::Auto, help_heading = "Output")]
    pub progress: ProgressMode,
    /// Whom to tell how it went
    #[command(flatten)]
    pub signals: SignalArgs,
}

/// `--log-format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON lines elsewhere.
    Auto,
    /// For people: no time stamps.
    Text,
    /// One JSON object a line.
    Json,
}

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// Bars on a terminal, log lines elsewhere.
    Auto,
    /// As auto, but even with `--quiet`, and with bars on a terminal even among JSON logs.
    Always,
    /// Neither bars nor log lines.
    Never,
}
