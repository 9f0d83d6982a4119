//! What an archive will make, by its table of contents: what a restore must know before it makes anything.
//!
//! Owns reading `pg_restore --list` for extensions, for kinds that only a superuser can make, for grants and for what is
//! left out on purpose. Promises nothing about definitions: the list has names only. What it cannot tell is recorded with
//! the backup, see `needs`.

use crate::failure::from_tool;
use crate::tools::Tool;
use engine::Error;
use std::path::Path;

/// Most bytes of a table of contents.
const MOST_CONTENTS: usize = 256 << 20;

/// Kinds that only a superuser can make, as the list writes them and for people. A shell type stands before every base
/// type, which alone needs one.
const SUPERUSERS_OWN: &[(&str, &str)] = &[
    ("EVENT TRIGGER - ", "event trigger"),
    ("FOREIGN DATA WRAPPER - ", "foreign-data wrapper"),
    ("PROCEDURAL LANGUAGE - ", "language"),
    ("ACCESS METHOD - ", "access method"),
    ("TEXT SEARCH PARSER ", "text search parser"),
    ("TEXT SEARCH TEMPLATE ", "text search template"),
    ("OPERATOR CLASS ", "operator class"),
    ("OPERATOR FAMILY ", "operator family"),
    ("SHELL TYPE ", "base type"),
];

/// The parts of the list that matter before a restore.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    pub extensions: Vec<String>,
    /// Kind and the rest of the line: schema, name, owner.
    pub superusers_own: Vec<String>,
    /// Numbers of the entries that are grants.
    pub grants: Vec<u32>,
    /// Notes on what is left out on purpose: it would connect a copy to production.
    pub left_out: Vec<String>,
}

impl Contents {
    /// Reads the archive's list.
    pub async fn read(tool: &Tool, archive: &Path) -> Result<Self, Error> {
        let list = process::Command::new(&tool.program).arg("--list").arg(archive).capture(MOST_CONTENTS);
        let failed = |e| from_tool("read the backup's table of contents", e);
        let output = list.spawn().map_err(failed)?.wait().await.map_err(failed)?;
        Ok(Self::parse(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Lines look like `12; 6104 16401 PUBLICATION - name owner`; comments begin with a semicolon.
    fn parse(text: &str) -> Self {
        let mut contents = Self::default();
        for line in text.lines() {
            let Some((number, rest)) = line.split_once("; ") else { continue };
            let (Ok(number), Some(what)) = (number.parse(), rest.splitn(3, ' ').nth(2)) else { continue };
            contents.take(number, what);
        }
        contents
    }

    fn take(&mut self, number: u32, what: &str) {
        if let Some(name) = what.strip_prefix("EXTENSION - ") {
            self.extensions.push(name.trim_end().to_owned());
        }
        if what.starts_with("ACL ") {
            self.grants.push(number);
        }
        for (kind, shown) in SUPERUSERS_OWN {
            if let Some(rest) = what.strip_prefix(kind) {
                self.superusers_own.push(format!("{shown} {}", without_owner(rest)));
            }
        }
        for kind in ["PUBLICATION", "SUBSCRIPTION"] {
            if let Some(rest) = what.strip_prefix(kind).and_then(|rest| rest.strip_prefix(" - ")) {
                self.left_out.push(format!("left out: {} {}", kind.to_lowercase(), without_owner(rest)));
            }
        }
    }
}

/// The list ends each line with the owner, or with a space where there is none.
fn without_owner(rest: &str) -> &str {
    rest.rsplit_once(' ').map_or(rest, |(name, _)| name).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_before_a_restore_is_found_in_the_list() {
        let text = ";\n;     dbname: a; 1 2 EXTENSION - no \n;\n2; 3079 16394 EXTENSION - postgres_fdw \n\
             3440; 0 0 COMMENT - EXTENSION postgres_fdw \n895; 0 0 SHELL TYPE public shell postgres\n\
             3282; 3466 16500 EVENT TRIGGER - et postgres\n3443; 0 0 ACL public TABLE t r_owner\n\
             2116; 826 16487 DEFAULT ACL public DEFAULT PRIVILEGES FOR TABLES r_deffor\n\
             3428; 6104 16502 PUBLICATION - my pub postgres\n3429; 6106 16503 PUBLICATION TABLE public pub t postgres\n\
             3430; 0 0 COMMENT - EVENT TRIGGER et postgres\n";
        let contents = Contents::parse(text);
        assert_eq!(contents.extensions, ["postgres_fdw"]);
        assert_eq!(contents.superusers_own, ["base type public shell", "event trigger et"]);
        assert_eq!(contents.grants, [3443]);
        assert_eq!(contents.left_out, ["left out: publication my pub"]);
    }
}
