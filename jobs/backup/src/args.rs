//! The options of a backup.

use clap::Args;
use jobkit::{RepoArgs, Secret};
use std::path::PathBuf;

/// Options of `backup`. Every one is also a variable: `--lock-timeout` is `LONGSHORE_LOCK_TIMEOUT`, or a file named by
/// `LONGSHORE_LOCK_TIMEOUT_FILE`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// The database: postgres://USER@HOST:PORT/DATABASE?sslmode=…
    #[arg(long, value_name = "URL")]
    pub source: Secret,
    /// Password for the source; better given in LONGSHORE_SOURCE_PASSWORD_FILE than on the command line
    #[arg(long, value_name = "PASSWORD")]
    pub source_password: Option<Secret>,
    /// Where the backups are kept
    #[command(flatten)]
    pub repo: RepoArgs,
    /// Name to keep the backups under [default: the database's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Connections that read at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// zstd level, 1 (fast) to 19 (small)
    #[arg(long, value_name = "LEVEL", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub compression: i32,
    /// Longest wait for a table's lock, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub lock_timeout: u64,
    /// Count every table once more in the same snapshot, and compare
    #[arg(long)]
    pub cross_count: bool,
    /// Folder of the vendor's tools (pg_dump, pg_restore) [default: the usual places]
    #[arg(long, value_name = "FOLDER")]
    pub tools: Option<PathBuf>,
}
