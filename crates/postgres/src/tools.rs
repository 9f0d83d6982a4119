//! The vendor's tools: which `pg_dump` and `pg_restore` to use.
//!
//! Owns finding them and knowing their versions. A `pg_dump` must be at least as new as the server; of those that are, the
//! oldest is taken, because a newer one writes archives and statements that older servers refuse. Promises a clear error
//! that names what was found and what is needed.

use crate::failure::from_tool;
use engine::{Error, Kind};
use std::path::{Path, PathBuf};

/// Where distributions keep versioned tools: Debian and its kin, PGDG on Red Hat, Alpine, Homebrew.
const FOLDERS: &[&str] = &[
    "/usr/lib/postgresql/{}/bin",
    "/usr/pgsql-{}/bin",
    "/usr/libexec/postgresql{}",
    "/opt/homebrew/opt/postgresql@{}/bin",
    "/usr/local/opt/postgresql@{}/bin",
];
/// The newest major version looked for.
const NEWEST: u32 = 30;

/// A tool that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tool {
    /// Its path, or its name when it is on PATH.
    pub program: String,
    /// Its major version.
    pub major: u32,
}

/// The oldest installed `name` (`pg_dump`, `pg_restore`) of at least major version `least`. With a folder given only that
/// one is looked into.
pub(crate) async fn find(name: &str, least: u32, folder: Option<&Path>) -> Result<Tool, Error> {
    let mut found = Vec::new();
    for program in candidates(name, least, folder) {
        match process::version_of(&program).await {
            Ok(said) => found.extend(major_of(&said).map(|major| Tool { program, major })),
            Err(process::Error::Missing { .. }) => {}
            Err(other) => return Err(from_tool(&format!("ask {name} for its version"), other)),
        }
    }
    found.sort_by_key(|tool| tool.major);
    let newest = found.last().map(|tool| tool.major);
    match (found.into_iter().find(|tool| tool.major >= least), newest) {
        (Some(tool), _) => Ok(tool),
        (None, Some(newest)) => Err(Error::new(
            Kind::Config,
            format!("{name} {newest} is too old: at least version {least} is needed here"),
        )
        .hint(format!("install the PostgreSQL {least} client tools, or name their folder with --tools"))),
        (None, None) if folder.is_some() => {
            let folder = folder.map(|folder| folder.display().to_string()).unwrap_or_default();
            Err(Error::new(Kind::Config, format!("there is no {name} in {folder}"))
                .hint("correct --tools, or leave it out: the usual places are looked into then"))
        }
        (None, None) => Err(Error::new(Kind::Config, format!("{name} is not installed"))
            .hint(format!("install the PostgreSQL {least} client tools, or name their folder with --tools"))),
    }
}

fn candidates(name: &str, least: u32, folder: Option<&Path>) -> Vec<String> {
    if let Some(folder) = folder {
        return vec![folder.join(name).display().to_string()];
    }
    let versioned = (least..=NEWEST)
        .flat_map(|major| FOLDERS.iter().map(move |folder| PathBuf::from(folder.replace("{}", &major.to_string()))))
        .map(|folder| folder.join(name))
        .filter(|path| path.is_file())
        .map(|path| path.display().to_string());
    versioned.chain([name.to_owned()]).collect()
}

/// `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` is of major version 15.
fn major_of(said: &str) -> Option<u32> {
    let version = said.split("(PostgreSQL)").nth(1)?.trim();
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_the_vendor_prints_them() {
        assert_eq!(major_of("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(major_of("pg_restore (PostgreSQL) 18beta1"), Some(18));
        assert_eq!(major_of("something else"), None);
    }
}
