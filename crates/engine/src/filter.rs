//! Which part of a database is meant.
//!
//! Owns the words for it that all drivers share: containers of tables, tables, and tables without their rows. What they are
//! called depends on the database: a table is a collection in MongoDB, a schema is a database there, and MySQL has none.
//! Promises that a filter reads back as it was written, because it is kept with a backup. Refuses to interpret a
//! pattern: how names are written is the driver's.

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
