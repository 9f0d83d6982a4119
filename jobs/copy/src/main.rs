//! The binary of the copy job's container image.

use clap::Parser;
use std::process::ExitCode;

/// Backups from one repository into another
#[derive(Debug, Parser)]
#[command(name = "longshore-copy", version)]
struct Cli {
    #[command(flatten)]
    copy: longshore_copy::CopyArgs,
    #[command(flatten)]
    common: jobkit::Common,
}

fn main() -> ExitCode {
    jobkit::run_main(|cli: &Cli| &cli.common, async |cli, kit| longshore_copy::run(cli.copy, kit).await)
}
