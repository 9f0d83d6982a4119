//! What the rows of a file must be.
//!
//! Owns columns, their types and what each type takes. Promises that a row which is handed on fits every column of its contract, and that what is
//! wrong is said without saying what stands there. Refuses to change a cell: targets get the text of the file.

use std::sync::Arc;

use regex::Regex;
use serde::Deserialize;

use crate::check;
use crate::error::{Error, Kind};

/// A column that a target wants.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Its name, exactly as in the file's header or keys.
    pub name: String,
    /// What its cells hold.
    #[serde(rename = "type", default)]
    pub kind: Type,
    /// Whether null is refused.
    #[serde(default)]
    pub required: bool,
    /// A regular expression that the whole of each cell matches; null is not asked.
    #[serde(default)]
    pub pattern: Option<String>,
}

/// What a cell holds, as text. An empty text is of the type `text` only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Type {
    /// Anything but a NUL byte.
    #[default]
    Text,
    /// A sign and digits, from −2⁶³ to 2⁶⁴ − 1.
    Integer,
    /// Digits with a sign, a point and an exponent; no NaN, no infinity, no commas.
    Number,
    /// `true`, `false`, `t`, `f`, `1` or `0`, in either case.
    Boolean,
    /// `YYYY-MM-DD`, a day that there is.
    Date,
    /// A date, `T` or a blank, `HH:MM`, then `:SS` with up to nine decimals, then `Z` or an offset such as `+02:00`.
    Timestamp,
    /// Hex digits in groups of 8, 4, 4, 4 and 12.
    Uuid,
    /// Any JSON.
    Json,
}

/// The columns that are wanted, with what is checked of each.
#[derive(Debug, Clone, Default)]
pub struct Contract {
    pub(crate) columns: Vec<Wanted>,
    ignore_extra: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) name: Arc<str>,
    kind: Type,
    required: bool,
    pattern: Option<Regex>,
}

impl Contract {
    /// Wants whatever the file's header names, as text. For formats with a header only.
    #[must_use]
    pub fn any() -> Contract {
        Contract::default()
    }

    /// Wants these columns, in this order.
    ///
    /// # Errors
    /// [`Kind::Config`] when there is none, when a name is there twice, or for a pattern that is no regular expression.
    pub fn new(columns: &[Column]) -> Result<Contract, Error> {
        if columns.is_empty() {
            return Err(
                Error::new(Kind::Config, "a contract has no columns").hint("name the columns that the target wants")
            );
        }
        let mut wanted: Vec<Wanted> = Vec::with_capacity(columns.len());
        for Column { name, kind, required, pattern } in columns {
            if wanted.iter().any(|other| *other.name == **name) {
                return Err(Error::new(Kind::Config, format!("the contract names the column {name} twice")));
            }
            let pattern = match pattern {
                None => None,
                Some(pattern) => Some(Regex::new(&format!(r"\A(?:{pattern})\z")).map_err(|error| {
                    Error::new(Kind::Config, format!("the pattern of the column {name} is no regular expression"))
                        .because(error)
                })?),
            };
            wanted.push(Wanted { name: name.as_str().into(), kind: *kind, required: *required, pattern });
        }
        Ok(Contract { columns: wanted, ignore_extra: false })
    }

    /// Leaves columns and keys out that the file has and nobody wants; without this they are errors.
    #[must_use]
    pub fn ignore_extra(mut self) -> Contract {
        self.ignore_extra = true;
        self
    }

    pub(crate) fn ignores_extra(&self) -> bool {
        self.ignore_extra
    }

    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        self.columns.iter().map(|column| column.name.clone()).collect()
    }

    /// The contract, or without columns that of a header: each as text.
    pub(crate) fn or_header(&self, header: &[Arc<str>]) -> Vec<Wanted> {
        if !self.columns.is_empty() {
            return self.columns.clone();
        }
        let text = |name: &Arc<str>| Wanted { name: name.clone(), kind: Type::Text, required: false, pattern: None };
        header.iter().map(text).collect()
    }
}

impl Wanted {
    pub(crate) fn is_json(&self) -> bool {
        self.kind == Type::Json
    }

    /// What is wrong with a cell of UTF-8, if anything.
    pub(crate) fn fault(&self, cell: Option<&[u8]>) -> Option<&'static str> {
        let Some(text) = cell else { return self.required.then_some("null, and a value is required") };
        if !check::is(self.kind, text) {
            return Some(match self.kind {
                Type::Text => "not text",
                Type::Integer => "not an integer of 64 bits",
                Type::Number => "not a number",
                Type::Boolean => "not true or false",
                Type::Date => "not a date as in 2024-02-29",
                Type::Timestamp => "not a timestamp as in 2024-02-29T23:59:59Z",
                Type::Uuid => "not a UUID",
                Type::Json => "not JSON",
            });
        }
        let pattern = self.pattern.as_ref()?;
        let matches = std::str::from_utf8(text).is_ok_and(|text| pattern.is_match(text));
        (!matches).then_some("does not match the pattern")
    }
}
