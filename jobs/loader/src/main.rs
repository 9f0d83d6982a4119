//! The binary of the loader job's container image.

use clap::Parser;
use std::process::ExitCode;

/// One drop of files into one table, once
#[derive(Debug, Parser)]
#[command(name = "longshore-load", version)]
struct Cli {
    #[command(flatten)]
    load: longshore_load::LoadArgs,
    #[command(flatten)]
    common: jobkit::Common,
}

fn main() -> ExitCode {
    jobkit::run_main(|cli: &Cli| &cli.common, async |cli, kit| longshore_load::run(cli.load, kit).await)
}
