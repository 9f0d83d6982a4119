//! Which part of a database is meant.
//!
//! Owns the words for it that all drivers share: containers of tables, tables, and tables without their rows. What they are
//! called depends on the database: a table is a collection in MongoDB, a schema is a database there, and MySQL has none.
//! Promises that a filter reads back as it was written, because it is kept with a backup. Refuses to interpret a
//! pattern: how names are written is the driver's, who says it by the function that reads one.

use crate::{Error, Kind, Pattern};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Patterns, as the operator wrote them. Empty means everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Only what is in these schemas.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include_schemas: Vec<String>,
    /// Nothing that is in these schemas.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_schemas: Vec<String>,
    /// Only these tables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include_tables: Vec<String>,
    /// None of these tables.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_tables: Vec<String>,
    /// These tables without their rows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude_table_data: Vec<String>,
}

impl Filter {
    /// Whether everything is meant.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts().iter().all(|(_, patterns)| patterns.is_empty())
    }

    fn parts(&self) -> [(&str, &[String]); 5] {
        [
            ("only schemas", &self.include_schemas),
            ("only tables", &self.include_tables),
            ("without schemas", &self.exclude_schemas),
            ("without tables", &self.exclude_tables),
            ("without the rows of", &self.exclude_table_data),
        ]
    }
}

/// Which tables of one database are meant, where tables are all that can be named.
#[derive(Debug, Clone)]
pub struct Choice {
    database: String,
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
    exclude_data: Vec<Pattern>,
    told: String,
}

impl Choice {
    /// Reads a filter; `one` reads a pattern.
    ///
    /// # Errors
    /// [`Kind::Config`] for a pattern that cannot be meant, and for schemas: `product` has none.
    pub fn parse(
        filter: &Filter,
        database: &str,
        product: &str,
        one: fn(&str) -> Result<Pattern, Error>,
    ) -> Result<Self, Error> {
        if !filter.include_schemas.is_empty() || !filter.exclude_schemas.is_empty() {
            let what = format!("a database of {product} has no schemas to choose from");
            return Err(Error::new(Kind::Config, what).hint("name tables; nothing was done"));
        }
        Ok(Self {
            database: database.to_owned(),
            include: Pattern::all(&filter.include_tables, one)?,
            exclude: Pattern::all(&filter.exclude_tables, one)?,
            exclude_data: Pattern::all(&filter.exclude_table_data, one)?,
            told: filter.to_string(),
        })
    }

    /// Whether everything is meant.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty() && self.exclude_data.is_empty()
    }

    /// Whether only what is named is meant.
    #[must_use]
    pub fn names_all(&self) -> bool {
        !self.include.is_empty()
    }

    /// Whether a table is part of it, or what has a table's name.
    #[must_use]
    pub fn keeps(&self, name: &str) -> bool {
        (self.include.is_empty() || self.is_in(&self.include, name)) && !self.is_in(&self.exclude, name)
    }

    /// Whether a table comes without its rows.
    #[must_use]
    pub fn empties(&self, name: &str) -> bool {
        self.is_in(&self.exclude_data, name)
    }

    fn is_in(&self, patterns: &[Pattern], name: &str) -> bool {
        patterns.iter().any(|pattern| pattern.is_table(&self.database, name))
    }

    /// Fails when a pattern matches none of these names, or nothing is left; `option` is what tables were named by, `what` what they are called here.
    ///
    /// # Errors
    /// [`Kind::Config`].
    pub fn assert_meant<'a>(
        &self,
        names: impl Iterator<Item = &'a String> + Clone,
        option: &str,
        what: &str,
    ) -> Result<(), Error> {
        let all =
            [(option, &self.include), ("exclude-table", &self.exclude), ("exclude-table-data", &self.exclude_data)];
        for (option, patterns) in all {
            let lost = |pattern: &&Pattern| !names.clone().any(|name| pattern.is_table(&self.database, name));
            if let Some(pattern) = patterns.iter().find(lost) {
                let what = format!("--{option} {pattern} matches no {what} of {}", self.database);
                return Err(Error::new(Kind::Config, what)
                    .hint("names are written as they are in the catalog, case counts; nothing was done"));
            }
        }
        if !self.is_whole() && !names.clone().any(|name| self.keeps(name)) {
            return Err(Error::new(Kind::Config, "the filter leaves nothing").hint("nothing was done"));
        }
        Ok(())
    }

    /// For people: that this is a part, and which.
    #[must_use]
    pub fn note(&self) -> String {
        format!("a part of the database: {}", self.told)
    }
}

/// For people: `only schemas app; without the rows of app.events`.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts();
        let said = parts.iter().filter(|(_, patterns)| !patterns.is_empty());
        let said: Vec<String> = said.map(|(what, patterns)| format!("{what} {}", patterns.join(", "))).collect();
        f.write_str(&said.join("; "))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_filter_reads_back_as_it_was_written() {
        let filter = Filter {
            include_schemas: vec!["app".to_owned()],
            exclude_table_data: vec!["app.events".to_owned(), "*.log_?".to_owned()],
            ..Filter::default()
        };
        let json = serde_json::to_string(&filter).unwrap();
        assert_eq!(json, r#"{"include_schemas":["app"],"exclude_table_data":["app.events","*.log_?"]}"#);
        assert_eq!(serde_json::from_str::<Filter>(&json).unwrap(), filter);
        assert_eq!(filter.to_string(), "only schemas app; without the rows of app.events, *.log_?");
        assert!(!filter.is_empty() && Filter::default().is_empty());
    }
}
