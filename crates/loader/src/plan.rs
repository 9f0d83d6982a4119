//! What is to be done: into which table, how, within which limits, by whom.
//!
//! Owns these words and their forms. Promises that a table's name is split as it is written, with quotes where a name has dots. Refuses to know
//! databases.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use lease::{Job, RunId};
use serde::Serialize;

/// How rows get into the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Beside those that are there.
    Append,
    /// In place of all that are there.
    Replace,
    /// In place of those with the same key, beside the others.
    Upsert {
        /// The key's columns. The table has a unique index of exactly these.
        key: Vec<String>,
    },
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::Append => f.write_str("append"),
            Mode::Replace => f.write_str("replace"),
            Mode::Upsert { key } => write!(f, "upsert by {}", key.join(", ")),
        }
    }
}

/// A table's name as it was given. Letters count as they are written: nothing is folded to lower case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableName {
    /// The schema, or whatever the target's search path finds first.
    pub schema: Option<String>,
    /// The table.
    pub name: String,
}

impl FromStr for TableName {
    type Err = String;

    /// `table`, `schema.table`, `"Odd schema"."odd.table"`.
    fn from_str(text: &str) -> Result<TableName, String> {
        let bad = || {
            format!(
                "{text:?} is no table's name: write TABLE or SCHEMA.TABLE, with double quotes around a name that has dots"
            )
        };
        let mut names = Vec::new();
        let mut rest = text;
        loop {
            let (name, after) = one_name(rest).ok_or_else(bad)?;
            names.push(name);
            match after.strip_prefix('.') {
                Some(more) => rest = more,
                None if after.is_empty() => break,
                None => return Err(bad()),
            }
        }
        match <[String; 2]>::try_from(names) {
            Ok([schema, name]) => Ok(TableName { schema: Some(schema), name }),
            Err(mut one) if one.len() == 1 => Ok(TableName { schema: None, name: one.remove(0) }),
            Err(_) => Err(bad()),
        }
    }
}

/// The first name of a text, and what is behind it.
fn one_name(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        let name = &text[..end];
        return (!name.is_empty() && !name.contains('"')).then(|| (name.to_owned(), &text[end..]));
    };
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let end = rest.find('"')?;
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return (!name.is_empty()).then_some((name, rest)),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// How long what may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Waiting for a lock that somebody else has.
    pub lock: Duration,
    /// How long the server keeps the merge open when it hears nothing from us.
    pub idle: Duration,
    /// Asking again for what became of a commit whose answer was lost.
    pub settle: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { lock: Duration::from_secs(60), idle: Duration::from_secs(30), settle: Duration::from_secs(120) }
    }
}

/// One load.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is loaded once: the same drop of another job is another matter.
    pub job: Job,
    /// This attempt.
    pub run: RunId,
    /// Connections that copy at once.
    pub workers: usize,
    /// Load it although it is loaded already.
    pub reload: bool,
    /// Do everything, then take it back.
    pub dry_run: bool,
    /// A hash of all options that change what a load does.
    pub options: String,
    /// This program's name and version.
    pub program: String,
    /// The container image it runs in, as far as it was told.
    pub image: Option<String>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    fn table(schema: Option<&str>, name: &str) -> TableName {
        TableName { schema: schema.map(str::to_owned), name: name.to_owned() }
    }

    #[test]
    fn names_are_taken_as_they_are_written() {
        for (text, wanted) in [
            ("Samples", table(None, "Samples")),
            ("lab.samples", table(Some("lab"), "samples")),
            ("\"a.b\".\"c\"\"d\"", table(Some("a.b"), "c\"d")),
            ("lab.\"odd name\"", table(Some("lab"), "odd name")),
        ] {
            assert_eq!(text.parse::<TableName>().unwrap(), wanted);
        }
        for bad in ["", ".", "a.", ".a", "a.b.c", "a\"b", "\"a", "\"\"", "\"a\"b"] {
            assert!(bad.parse::<TableName>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_name_in_quotes_comes_back(schema in "\\PC{1,12}", name in "\\PC{1,12}") {
            let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
            let parsed: TableName = format!("{}.{}", quoted(&schema), quoted(&name)).parse().unwrap();
            prop_assert_eq!(parsed, table(Some(&schema), &name));
        }

        #[test]
        fn no_text_panics(text in "[a\".]{0,10}") {
            drop(text.parse::<TableName>());
        }
    }
}
