//! The binary of the backup job's container image.

use clap::Parser;
use std::process::ExitCode;

/// One backup of one source into one repository
#[derive(Debug, Parser)]
#[command(name = "longshore-backup", version)]
struct Cli {
    #[command(flatten)]
    backup: longshore_backup::BackupArgs,
    #[command(flatten)]
    common: jobkit::Common,
}

fn main() -> ExitCode {
    jobkit::run_main(|cli: &Cli| &cli.common, async |cli, kit| longshore_backup::run(cli.backup, kit).await)
}
