//! The options of `load`.
//!
//! Owns their forms and what they mean together. Promises that what cannot be is told before anything is asked of a server.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use drops::{Column, Complete, Contract, Csv, Format};
use jobkit::{Exit, Failure, LeaseArgs, OrFail, Secret, limits};
use lease::Job;
use loader::{Mode, Program, TableName};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::command;
use crate::place::Place;

/// `--mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum How {
    /// Beside the rows that are there
    Append,
    /// In place of all rows that are there
    Replace,
    /// In place of rows with the same key, beside the others
    Upsert,
}

/// `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Written {
    /// Comma-separated, with a header
    Csv,
    /// Tab-separated, with a header
    Tsv,
    /// One JSON object a line
    Ndjson,
}

/// Options of `load`.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// The database: postgres://USER@HOST:PORT/DATABASE, or mysql://, mariadb://
    #[arg(long, value_name = "URL")]
    pub target: Secret,
    /// Password for the target; better given in LONGSHORE_TARGET_PASSWORD_FILE than on the command line
    #[arg(long, value_name = "PASSWORD")]
    pub target_password: Option<Secret>,
    /// What only one run does at a time, and loads each drop for once: 1 to 100 of A-Z a-z 0-9 . _ -
    #[arg(long, value_name = "NAME")]
    pub job: Option<String>,
    /// The drop: a directory of files, or s3://BUCKET/PREFIX?endpoint=…&region=…&path_style=true
    #[arg(long, value_name = "DIR|URL")]
    pub drop: Option<PathBuf>,
    /// The table, which is there already; names count as they are written
    #[arg(long, value_name = "[SCHEMA.]TABLE")]
    pub table: Option<String>,
    /// How rows get into the table [default: append]
    #[arg(long, value_enum)]
    pub mode: Option<How>,
    /// The key's columns, for --mode upsert; the table has a unique index of exactly these
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    pub key: Vec<String>,
    /// The drop is complete although it holds neither drop.yaml nor SHA256SUMS nor _SUCCESS
    #[arg(long)]
    pub complete: bool,
    /// S3 access key; the usual chain of credentials without it
    #[arg(long, value_name = "KEY", help_heading = "A drop in a bucket")]
    pub s3_access_key: Option<Secret>,
    /// S3 secret key; better given in LONGSHORE_S3_SECRET_KEY_FILE than on the command line
    #[arg(long, value_name = "KEY", help_heading = "A drop in a bucket")]
    pub s3_secret_key: Option<Secret>,
    /// A directory with room for the whole drop, which is fetched there and removed again [default: the machine's folder for temporary files]
    #[arg(long, value_name = "DIR", help_heading = "A drop in a bucket")]
    pub scratch: Option<PathBuf>,
    /// How the files are written [default: as the manifest or the files' names say]
    #[arg(long, value_enum, help_heading = "Format")]
    pub format: Option<Written>,
    /// What stands between cells, one ASCII character; needs --format csv
    #[arg(long, value_name = "CHARACTER", help_heading = "Format")]
    pub delimiter: Option<char>,
    /// What an unquoted cell says when it is null; needs --format csv or tsv [default: nothing]. May be repeated
    #[arg(long, value_name = "TEXT", help_heading = "Format")]
    pub null: Vec<String>,
    /// How characters are written, such as windows-1252; needs --format csv or tsv [default: utf-8]
    #[arg(long, value_name = "NAME", help_heading = "Format")]
    pub encoding: Option<String>,
    /// The columns to load, as in the header [default: all of the header; NDJSON has none, and needs this or --contract]
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',', help_heading = "Format")]
    pub columns: Vec<String>,
    /// A JSON file with the columns, what they hold and whether they may be null: [{"name": …, "type": …, "required": …, "pattern": …}]
    #[arg(long, value_name = "FILE", conflicts_with = "columns", help_heading = "Format")]
    pub contract: Option<PathBuf>,
    /// Leave out columns that the files have beside those of --columns or --contract
    #[arg(long, help_heading = "Format")]
    pub ignore_extra: bool,
    /// Leave out so many rows that are no rows of their format or break the contract; what the table refuses always fails the load
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Format")]
    pub max_rejects: u64,
    /// A new file for the rows that are left out, as they were written
    #[arg(long, value_name = "FILE", help_heading = "Format")]
    pub rejects: Option<PathBuf>,
    /// Connections that copy at once [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub workers: Option<u8>,
    /// Do everything, then take it back
    #[arg(long)]
    pub dry_run: bool,
    /// Load the drop although it is loaded already
    #[arg(long)]
    pub reload: bool,
    /// Let a drop without rows empty the table, with --mode replace
    #[arg(long)]
    pub allow_empty: bool,
    /// How long to wait for locks that others hold
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = limits::duration)]
    pub lock_timeout: Duration,
    /// The lease; where none is named, in a directory of this machine's
    #[command(flatten)]
    pub lease: LeaseArgs,
    /// The container image that this runs in, for the ledger
    #[arg(long, value_name = "TEXT")]
    pub image: Option<String>,
    /// Load nothing: show what was loaded into the target, newest first; with --job, by that job
    #[arg(long)]
    pub history: bool,
    /// How many runs --history shows
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub most: u32,
    /// A new file for all that the program writes
    #[arg(long, value_name = "FILE", help_heading = "Your own program")]
    pub output_file: Option<PathBuf>,
    /// A program that loads the drop, and its arguments; it is told the drop's place in LONGSHORE_LOAD_DROP
    #[arg(last = true, value_name = "PROGRAM", help_heading = "Your own program")]
    pub program: Vec<OsString>,
}

/// What a load needs to know, put together.
pub(crate) struct Wanted {
    pub job: Job,
    pub place: Place,
    pub way: Way,
    /// A hash of all that changes what a load does.
    pub options: String,
}

/// Who loads the drop.
pub(crate) enum Way {
    /// We do, into a table.
    Table(Box<IntoTable>),
    /// A program does.
    Program(Program),
}

/// How a drop gets into a table.
pub(crate) struct IntoTable {
    pub table: TableName,
    pub mode: Mode,
    pub format: Option<Format>,
    pub contract: Contract,
}

pub(crate) fn usage(what: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, what).hint("see `longshore load --help`")
}

impl LoadArgs {
    /// What the options mean together.
    ///
    /// # Errors
    /// [`Exit::Usage`] for options that are missing or contradict each other; [`Exit::Config`] for a contract that cannot be read, or a program that
    /// cannot be started.
    pub(crate) fn wanted(&self) -> Result<Wanted, Failure> {
        if !self.program.is_empty() {
            return command::wanted(self);
        }
        if self.output_file.is_some() {
            return Err(usage("--output-file is for what a program writes: name the program after --"));
        }
        let (Some(job), Some(drop), Some(table)) = (&self.job, &self.drop, &self.table) else {
            return Err(usage("a load needs --job, --drop and --table, or a program after --"));
        };
        if (self.max_rejects > 0) != self.rejects.is_some() {
            return Err(usage("--max-rejects and --rejects belong together: rows that are left out are kept"));
        }
        let mode = match (self.mode.unwrap_or(How::Append), self.key.is_empty()) {
            (How::Upsert, false) => Mode::Upsert { key: self.key.clone() },
            (How::Upsert, true) => return Err(usage("--mode upsert needs --key")),
            (_, false) => return Err(usage("--key is for --mode upsert")),
            (How::Append, true) => Mode::Append,
            (How::Replace, true) => Mode::Replace,
        };
        let (contract, described) = self.contract()?;
        Ok(Wanted {
            job: Job::parse(job)?,
            place: Place::parse(drop)?,
            options: self.options(&mode, table, &described),
            way: Way::Table(Box::new(IntoTable {
                table: table.parse().map_err(usage)?,
                mode,
                format: self.format()?,
                contract,
            })),
        })
    }

    /// Who says that the drop is complete.
    pub(crate) fn completeness(&self) -> Complete {
        if self.complete { Complete::Asked } else { Complete::Marked }
    }

    fn format(&self) -> Result<Option<Format>, Failure> {
        let fine = self.delimiter.is_some() || !self.null.is_empty() || self.encoding.is_some();
        let mut csv = match self.format {
            None | Some(Written::Ndjson) if fine => {
                return Err(usage("--delimiter, --null and --encoding need --format csv or tsv"));
            }
            None => return Ok(None),
            Some(Written::Ndjson) => return Ok(Some(Format::NdJson)),
            Some(Written::Csv) => Csv::commas(),
            Some(Written::Tsv) => Csv::tabs(),
        };
        if let Some(delimiter) = self.delimiter {
            csv.delimiter = u8::try_from(delimiter).map_err(|_| usage("--delimiter is one ASCII character"))?;
        }
        if !self.null.is_empty() {
            csv.nulls.clone_from(&self.null);
        }
        if let Some(encoding) = &self.encoding {
            csv.encoding = encoding.parse().map_err(|error: drops::Error| crate::failed::of_drop(error))?;
        }
        Ok(Some(Format::Csv(csv)))
    }

    /// The contract, and the text that stands for it in the hash of the options.
    fn contract(&self) -> Result<(Contract, String), Failure> {
        let columns: Vec<Column> = match &self.contract {
            Some(path) => {
                let shown = path.display();
                let text = std::fs::read_to_string(path).or_fail(Exit::Config, format!("read the contract {shown}"))?;
                serde_json::from_str(&text).or_fail(Exit::Config, format!("understand the contract {shown}"))?
            }
            None => {
                let column = |name: &String| Column {
                    name: name.clone(),
                    kind: drops::Type::Text,
                    required: false,
                    pattern: None,
                };
                self.columns.iter().map(column).collect()
            }
        };
        let described = format!("{columns:?} {}", self.ignore_extra);
        let contract = if columns.is_empty() {
            Contract::any()
        } else {
            Contract::new(&columns).map_err(crate::failed::of_drop)?
        };
        Ok((if self.ignore_extra { contract.ignore_extra() } else { contract }, described))
    }

    fn options(&self, mode: &Mode, table: &str, contract: &str) -> String {
        let all = serde_json::json!({
            "table": table,
            "mode": mode,
            "format": self.format,
            "delimiter": self.delimiter,
            "null": self.null,
            "encoding": self.encoding,
            "contract": contract,
            "max_rejects": self.max_rejects,
        });
        Sha256::digest(all.to_string().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
