//! The files of `--before-swap`.
//!
//! Owns reading them, before anything else is done: a file that is missing is better known now than after hours of loading.
//! Promises bounded memory. Refuses what is not text.

use engine::Script;
use jobkit::{Exit, Failure};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The most that one file may have, in bytes.
const MOST: u64 = 16 << 20;

/// Reads all files, in order.
pub(crate) fn read(files: &[PathBuf]) -> Result<Vec<Script>, Failure> {
    files.iter().map(|file| read_one(file)).collect()
}

fn read_one(file: &Path) -> Result<Script, Failure> {
    let name = file.display().to_string();
    let wrong = |what: &str| Failure::new(Exit::Config, format!("{name}, a file of --before-swap, {what}"));
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|opened| opened.take(MOST + 1).read_to_end(&mut bytes));
    read.map_err(|error| wrong("cannot be read").because(error))?;
    if bytes.len() as u64 > MOST {
        return Err(wrong("has more than 16 MiB"));
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.trim().is_empty() => Ok(Script { name, text }),
        Ok(_) => Err(wrong("is empty")),
        Err(_) => Err(wrong("is not UTF-8 text")),
    }
}
