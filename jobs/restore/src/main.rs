//! The binary of the restore job's container image.

use clap::Parser;
use std::process::ExitCode;

/// One backup into one target, proven
#[derive(Debug, Parser)]
#[command(name = "longshore-restore", version)]
struct Cli {
    #[command(flatten)]
    restore: longshore_restore::RestoreArgs,
    #[command(flatten)]
    common: jobkit::Common,
}

fn main() -> ExitCode {
    jobkit::run_main(|cli: &Cli| &cli.common, async |cli, kit| longshore_restore::run(cli.restore, kit).await)
}
