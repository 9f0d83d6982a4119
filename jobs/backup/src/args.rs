//! The options of a backup.

use clap::Args;
use engine::{Filter, GlobalsWanted};
use jobkit::{RepoArgs, Secret, limits};
use repository::Tag;
use std::path::PathBuf;
use std::time::Duration;

/// Options of `backup`. Every one is also a variable: `--lock-timeout` is `LONGSHORE_LOCK_TIMEOUT`, or a file named by
/// `LONGSHORE_LOCK_TIMEOUT_FILE`.
#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    /// The database: postgres://USER@HOST:PORT/DATABASE?sslmode=…, or mysql://, mariadb://, mongodb://; or a dump: mongodump:///FOLDER
    #[arg(long, value_name = "URL")]
    pub source: Secret,
    /// Password for the source; better given in LONGSHORE_SOURCE_PASSWORD_FILE than on the command line
    #[arg(long, value_name = "PASSWORD")]
    pub source_password: Option<Secret>,
    /// Where the backups are kept
    #[command(flatten)]
    pub repo: RepoArgs,
    /// Name to keep the backups under [default: the database's name]; with --all-databases what comes before it
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Give the backup this word, to find it by and to keep it by with `prune --keep-tag`. May be repeated
    #[arg(long, value_name = "TAG")]
    pub tag: Vec<Tag>,
    /// Keep the backup for ever, as `longshore pin` does
    #[arg(long)]
    pub pin: bool,
    /// Connections that read at the same time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub workers: u16,
    /// zstd level, 1 (fast) to 19 (small)
    #[arg(long, value_name = "LEVEL", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=19))]
    pub compression: i32,
    /// Longest wait for a table's lock, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub lock_timeout: u64,
    /// Read at most this many bytes of rows a second, over all connections: 20MiB
    #[arg(long, value_name = "BYTES", value_parser = limits::rate)]
    pub max_rate: Option<u64>,
    /// Give up when it takes longer than this, with nothing published: 90s, 30m, 4h
    #[arg(long, value_name = "TIME", value_parser = limits::duration)]
    pub max_duration: Option<Duration>,
    /// Back up every database of the source's server, one after the other, one backup each
    #[arg(long)]
    pub all_databases: bool,
    /// Keep the server's roles, their memberships and settings with the backup, without passwords
    #[arg(long)]
    pub globals: bool,
    /// Keep the hashes of the roles' passwords as well; takes a superuser, or pg_read_all_data
    #[arg(long)]
    pub globals_passwords: bool,
    /// Back up only what is in this schema: a name, or a pattern with * and ?. May be repeated
    #[arg(long, value_name = "SCHEMA")]
    pub include_schema: Vec<String>,
    /// Leave out what is in this schema. May be repeated
    #[arg(long, value_name = "SCHEMA")]
    pub exclude_schema: Vec<String>,
    /// Back up only this table, with its partitions: a name or a pattern, of any schema when none is named. May be repeated
    #[arg(long, value_name = "[SCHEMA.]TABLE")]
    pub include_table: Vec<String>,
    /// Leave this table out, with its partitions. May be repeated
    #[arg(long, value_name = "[SCHEMA.]TABLE")]
    pub exclude_table: Vec<String>,
    /// Leave the rows of this table and its partitions out, and keep its definition. May be repeated
    #[arg(long, value_name = "[SCHEMA.]TABLE")]
    pub exclude_table_data: Vec<String>,
    /// Back up what knows no moment of all its data too (a MongoDB that is no replica set, a dump of mongodump): each document is as it was when its turn came
    #[arg(long)]
    pub allow_inexact: bool,
    /// Count every table once more in the same snapshot, and compare
    #[arg(long)]
    pub cross_count: bool,
    /// Folder of the vendor's tools (pg_dump, pg_restore) [default: the usual places]
    #[arg(long, value_name = "FOLDER")]
    pub tools: Option<PathBuf>,
}

impl BackupArgs {
    /// Which part of the database is meant.
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            include_schemas: self.include_schema.clone(),
            exclude_schemas: self.exclude_schema.clone(),
            include_tables: self.include_table.clone(),
            exclude_tables: self.exclude_table.clone(),
            exclude_table_data: self.exclude_table_data.clone(),
        }
    }

    /// What of the server's own is kept; asking for hashes is asking for roles.
    pub(crate) fn globals_wanted(&self) -> GlobalsWanted {
        match (self.globals, self.globals_passwords) {
            (_, true) => GlobalsWanted::WithPasswords,
            (true, false) => GlobalsWanted::WithoutPasswords,
            (false, false) => GlobalsWanted::No,
        }
    }
}
