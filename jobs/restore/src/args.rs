//! The options of a restore, and of a drill.

use clap::{Args, ValueEnum};
use engine::Filter;
use jobkit::{Exit, Failure, LeaseArgs, RepoArgs, Secret};
use serde::Serialize;
use std::path::PathBuf;

/// How much is compared before the database is given its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    /// The number of rows in every table
    Counts,
    /// Every row of every table, read back and hashed
    Content,
}

/// What happens to a database that has the target's name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Refuse one that holds anything
    Fresh,
    /// Take its place in one step, once all is proven, and keep it aside, closed
    Swap,
}

/// Options of `restore`. Every one is also a variable: `--no-owner` is `LONGSHORE_NO_OWNER`, or a file named by
/// `LONGSHORE_NO_OWNER_FILE`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// Where the backups are kept
    #[command(flatten)]
    pub repo: RepoArgs,
    /// The backup: NAME, NAME@latest, NAME@ID or the beginning of an ID
    #[arg(long, value_name = "NAME[@ID]")]
    pub from: String,
    /// The database to make, or to replace when it is marked for that: postgres://USER@HOST:PORT/DATABASE, or
    /// mysql://, mariadb://, mongodb://
    #[arg(long, value_name = "URL")]
    pub target: Secret,
    /// Password for the target; better given in LONGSHORE_TARGET_PASSWORD_FILE than on the command line
    #[arg(long, value_name = "PASSWORD")]
    pub target_password: Option<Secret>,
    /// Restore only this table, with its partitions, into the target, which stays: a name or a pattern. May be repeated
    #[arg(long, value_name = "[SCHEMA.]TABLE")]
    pub only_table: Vec<String>,
    /// Restore only this schema, with all that is in it, into the target, which stays. May be repeated
    #[arg(long, value_name = "SCHEMA")]
    pub only_schema: Vec<String>,
    /// MongoDB: the name that the one collection of --only-table comes back under, beside what has its own
    #[arg(long, value_name = "NAME")]
    pub rename: Option<String>,
    /// What to do with a database of that name [default: swap when it holds anything, else fresh]
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// SQL, or commands of MongoDB, to run in the proven copy before anybody sees it: disarm queues, tokens, webhooks. May be repeated
    #[arg(long, value_name = "FILE")]
    pub before_swap: Vec<PathBuf>,
    /// Drop the replaced database right after the swap, instead of keeping it for `longshore rollback`
    #[arg(long)]
    pub drop_old: bool,
    /// MongoDB: replace each collection in one step, so that its name never stands for nothing; there is no `longshore rollback` then
    #[arg(long)]
    pub atomic: bool,
    /// The target's server was cloned from the source's disk and is not the source, though it looks the same
    #[arg(long)]
    pub target_is_a_clone: bool,
    /// What is compared with the backup's record before the database gets its name
    #[arg(long, value_enum, default_value_t = Proof::Counts)]
    pub prove: Proof,
    /// Leave owners and grants out: everything belongs to the role that restores
    #[arg(long)]
    pub no_owner: bool,
    /// Give programs of one account to another: app@%=staging@% (MySQL and MariaDB; may be repeated)
    #[arg(long, value_name = "FROM=TO", conflicts_with = "no_owner")]
    pub map_definer: Vec<String>,
    /// Do everything as this role: with --no-owner all that is made belongs to it, a new database included
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,
    /// Make the roles that the backup needs and the target's server lacks: as its globals say, else without login; they stay
    #[arg(long)]
    pub create_missing_roles: bool,
    /// Connections that load at the same time, and indexes built at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Folder of the vendor's tools (pg_restore) [default: the usual places]
    #[arg(long, value_name = "FOLDER")]
    pub tools: Option<PathBuf>,
    /// What only one run does at a time: the job of the loads and restores that must not run beside this one. Needs --lease
    #[arg(long, value_name = "NAME", help_heading = "Lease")]
    pub job: Option<String>,
    /// The lease
    #[command(flatten)]
    pub lease: LeaseArgs,
}

impl RestoreArgs {
    /// Which part is meant; empty for everything.
    ///
    /// # Errors
    /// [`Exit::Usage`] when an option is given besides that is about the database as a whole.
    pub(crate) fn part(&self) -> Result<Filter, Failure> {
        let part = Filter {
            include_tables: self.only_table.clone(),
            include_schemas: self.only_schema.clone(),
            ..Filter::default()
        };
        if self.rename.is_some() && self.only_table.is_empty() {
            return Err(Failure::new(Exit::Usage, "--rename is for one table of --only-table")
                .hint("a whole database comes back under the name in --target"));
        }
        let others = [
            ("--mode", self.mode.is_some()),
            ("--before-swap", !self.before_swap.is_empty()),
            ("--drop-old", self.drop_old),
            ("--atomic", self.atomic),
            ("--create-missing-roles", self.create_missing_roles),
        ];
        match others.iter().find(|(_, given)| *given && !part.is_empty()) {
            None => Ok(part),
            Some((option, _)) => Err(Failure::new(Exit::Usage, format!("{option} is not for a part of a backup"))
                .hint(
                    "with --only-table or --only-schema the target stays what it is, and gets what it does not have",
                )),
        }
    }

    /// Which programs get other owners.
    ///
    /// # Errors
    /// [`Exit::Usage`] for what is no pair.
    pub(crate) fn definers(&self) -> Result<Vec<(String, String)>, Failure> {
        let pair = |text: &String| match text.split_once('=') {
            Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok((from.to_owned(), to.to_owned())),
            _ => Err(Failure::new(Exit::Usage, format!("--map-definer {text}: not FROM=TO"))
                .hint("write both accounts, as in app@%=staging@%")),
        };
        self.map_definer.iter().map(pair).collect()
    }

    /// Connections that load: a part is one transaction, and so one connection.
    pub(crate) fn loaders(&self) -> usize {
        if self.only_table.is_empty() && self.only_schema.is_empty() { usize::from(self.workers) } else { 1 }
    }
}

/// Options of `drill`.
#[derive(Debug, Clone, Args)]
pub struct DrillArgs {
    /// Where the backups are kept
    #[command(flatten)]
    pub repo: RepoArgs,
    /// The backup: NAME for the newest full one, NAME@ID or the beginning of an ID
    #[arg(long, value_name = "NAME[@ID]")]
    pub from: String,
    /// Any of the source's full backups instead of the newest
    #[arg(long)]
    pub random: bool,
    /// The server to restore on, with a database to work from: postgres://USER@HOST:PORT/postgres. A scratch database is made there
    /// and dropped; nothing else is touched
    #[arg(long, value_name = "URL")]
    pub target: Secret,
    /// Password for the server; better given in LONGSHORE_TARGET_PASSWORD_FILE than on the command line
    #[arg(long, value_name = "PASSWORD")]
    pub target_password: Option<Secret>,
    /// Connections that load at the same time, and indexes built at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// Folder of the vendor's tools (pg_restore) [default: the usual places]
    #[arg(long, value_name = "FOLDER")]
    pub tools: Option<PathBuf>,
}
