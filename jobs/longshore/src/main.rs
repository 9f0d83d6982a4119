//! `longshore`: the one binary for people. Links every job and adds what needs no job of its own.
//!
//! Owns the list of commands. Everything a command does lives in its job or in `commands/`.

mod commands;
mod key_file;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Backups of databases to object storage, and proven restores
///
/// Every option can be given as a variable: --repo is LONGSHORE_REPO, or the content of the file that
/// LONGSHORE_REPO_FILE names. `longshore help exit-codes` prints what the exit codes mean.
#[derive(Debug, Parser)]
#[command(name = "longshore", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: jobkit::Common,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a repository; checks first what the store can do
    Init(commands::init::InitArgs),
    /// Back one database up into a repository
    Backup(backup::BackupArgs),
    /// Say who can read an encrypted repository, and who can write it
    Keys(commands::keys::KeysArgs),
    /// List the backups in a repository
    List(commands::list::ListArgs),
    /// Show one backup, table by table
    Show(commands::show::ShowArgs),
    /// Read what backups are made of, and name what is damaged or missing
    Verify(commands::verify::VerifyArgs),
    /// Remove what the rules do not keep, in two steps of which the first can be undone, and what nothing refers to
    Prune(commands::prune::PruneArgs),
    /// Keep a backup for ever, whatever the rules say
    Pin(commands::pin::PinArgs),
    /// Bring a backup into a new database, or into the place of one that is marked for that, and prove it
    Restore(restore::RestoreArgs),
    /// Practise a restore: into a scratch database that is proven and dropped, and record that it was done
    Drill(restore::DrillArgs),
    /// Copy backups into a second repository, sealed for its own recipients
    Copy(copy::CopyArgs),
    /// Load a drop of files into a table, once, all or nothing; or show what was loaded
    Load(load::LoadArgs),
    /// Write a backup as plain files, which the database's own tools bring back
    Export(commands::export::ExportArgs),
    /// Mark a database as one that restores may replace, or as production, which they never do
    Mark(commands::mark::MarkArgs),
    /// Undo the last swap: the database that a restore has replaced gets its name back
    Rollback(commands::rollback::RollbackArgs),
    /// Fail when a backup is too old, or was not verified or drilled lately, and name what is overdue
    Check(commands::check::CheckArgs),
    /// Try what jobs will need, and say what is missing: store, credential, repository, tools, servers, secrets
    Doctor(commands::doctor::DoctorArgs),
    /// Print the completion script for a shell
    Completions(commands::completions::CompletionsArgs),
    /// Print help on a command, or on the exit codes
    Help(commands::help::HelpArgs),
}

fn main() -> ExitCode {
    jobkit::run_main(
        |cli: &Cli| &cli.common,
        async |cli, kit| match cli.command {
            Command::Init(args) => commands::init::run(args, kit).await,
            Command::Backup(args) => backup::run(args, kit).await,
            Command::Keys(args) => commands::keys::run(args, kit).await,
            Command::List(args) => commands::list::run(args, kit).await,
            Command::Show(args) => commands::show::run(args, kit).await,
            Command::Verify(args) => commands::verify::run(args, kit).await,
            Command::Prune(args) => commands::prune::run(args, kit).await,
            Command::Pin(args) => commands::pin::run(args, kit).await,
            Command::Restore(args) => restore::run(args, kit).await,
            Command::Drill(args) => restore::drill(args, kit).await,
            Command::Copy(args) => copy::run(args, kit).await,
            Command::Load(args) => load::run(args, kit).await,
            Command::Export(args) => commands::export::run(args, kit).await,
            Command::Mark(args) => commands::mark::run(args, kit).await,
            Command::Rollback(args) => commands::rollback::run(args, kit).await,
            Command::Check(args) => commands::check::run(args, kit).await,
            Command::Doctor(args) => commands::doctor::run(args, kit).await,
            Command::Completions(args) => commands::completions::run::<Cli>(&args),
            Command::Help(args) => commands::help::run::<Cli>(&args),
        },
    )
}
