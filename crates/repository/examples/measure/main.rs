//! What `scripts/bench repository` needs besides the jobs: repositories without any database, the floor, and counted calls.
//!
//! Owns made-up rows and the roads into a repository that a database would take otherwise. Promises that what it stores is
//! what a backup job stores, by the same public session, and that the same arguments make the same rows on every machine.
//! Measures nothing itself but calls: whoever starts it holds the clock. Refuses to be a tool for real data.
//!
//! ```text
//! measure data FOLDER FILES MIB GENERATION   writes so many files of rows; each generation changes a piece of every file
//! measure backup REPO FOLDER                 backs the files up, one stream each; LONGSHORE_WRITER_KEY_FILE as for a job
//! measure many FOLDER BACKUPS KEYS           makes a repository of so many backups with so many chunks of their own each
//! measure floor FOLDER                       reads, hashes and decompresses all chunks of a repository on all cores
//! measure calls FOLDER KEEP                  prunes all but the newest, counts the calls of each run, prints JSON
//! ```
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "what it counted is its output")]

extern crate longshore_repository as repository;

mod calls;
mod data;
mod floor;
mod stores;
mod write;

use std::process::ExitCode;

/// Whatever went wrong; told once, at the end.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match run(&args).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("measure: {error}: {:?}", error.source());
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &[&str]) -> Result<(), Failure> {
    match args {
        ["data", folder, files, mib, generation] => {
            data::write(folder.as_ref(), files.parse()?, mib.parse()?, generation.parse()?)
        }
        ["backup", repository, folder] => write::folder(repository, folder.as_ref()).await,
        ["many", folder, backups, keys] => write::many(folder.as_ref(), backups.parse()?, keys.parse()?).await,
        ["floor", folder] => floor::read(folder.as_ref()),
        ["calls", folder, keep] => calls::prune(folder.as_ref(), keep.parse()?).await,
        _ => Err("the arguments are in the first lines of examples/measure/main.rs".into()),
    }
}
