//! Patterns that name schemas and tables.
//!
//! Owns how they are written: a name as it is in the catalog, with `*` for any text and `?` for one character; a dot between
//! schema and table. What stands in double quotes is taken as it is (`"a.b"`, `"what?"`), a double quote in it is written
//! twice. Case counts. Promises that a pattern which cannot be meant is an error that repeats it. Refuses to look names
//! up: who has the catalog asks whether a name matches.

use crate::{Error, Kind};
use std::fmt;

/// Most patterns of one filter: each is looked at for each table.
const MOST_PATTERNS: usize = 1000;

/// A pattern, as text and taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    /// Any schema, when none is named.
    schema: Option<Glob>,
    name: Glob,
}

type Glob = Vec<Token>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Char(char),
    One,
    Any,
}

impl Pattern {
    /// A schema's.
    ///
    /// # Errors
    /// [`Kind::Config`] for a pattern that cannot be meant.
    pub fn schema(text: &str) -> Result<Self, Error> {
        match <[Glob; 1]>::try_from(parts(text)?) {
            Ok([name]) => Ok(Self { text: text.to_owned(), schema: None, name }),
            Err(_) => Err(wrong(text, "a schema's name has no dot, unless it is in double quotes")),
        }
    }

    /// A table's, with its schema or without.
    ///
    /// # Errors
    /// [`Kind::Config`] for a pattern that cannot be meant.
    pub fn table(text: &str) -> Result<Self, Error> {
        let mut parts = parts(text)?;
        let name = parts.pop().unwrap_or_default();
        let schema = parts.pop();
        if !parts.is_empty() {
            return Err(wrong(text, "it has more than a schema and a name; put names with dots into double quotes"));
        }
        Ok(Self { text: text.to_owned(), schema, name })
    }

    /// A name that may have dots in it, as a collection's; the schema that it is asked with says nothing.
    ///
    /// # Errors
    /// [`Kind::Config`] for a pattern that cannot be meant.
    pub fn collection(text: &str) -> Result<Self, Error> {
        let name = parts(text)?.join(&Token::Char('.'));
        Ok(Self { text: text.to_owned(), schema: None, name })
    }

    /// Many patterns, each read by `one`.
    ///
    /// # Errors
    /// Those of `one`, and [`Kind::Config`] for too many.
    pub fn all(texts: &[String], one: impl Fn(&str) -> Result<Self, Error>) -> Result<Vec<Self>, Error> {
        if texts.len() > MOST_PATTERNS {
            let what = format!("a filter has {} patterns; {MOST_PATTERNS} are the most", texts.len());
            return Err(Error::new(Kind::Config, what).hint("use * in patterns, or name schemas"));
        }
        texts.iter().map(|text| one(text)).collect()
    }

    /// Whether it is a schema's.
    #[must_use]
    pub fn is_schema(&self, name: &str) -> bool {
        matches(&self.name, name)
    }

    /// Whether it is a table's.
    #[must_use]
    pub fn is_table(&self, schema: &str, name: &str) -> bool {
        self.schema.as_ref().is_none_or(|glob| matches(glob, schema)) && matches(&self.name, name)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn wrong(text: &str, why: &str) -> Error {
    Error::new(Kind::Config, format!("the pattern {text} cannot be meant: {why}"))
        .hint("write SCHEMA or SCHEMA.TABLE, with * and ? where they help; nothing was done")
}

/// The pattern's parts, between dots.
fn parts(text: &str) -> Result<Vec<Glob>, Error> {
    let (mut parts, mut quoted) = (vec![Glob::new()], false);
    let mut left = text.chars().peekable();
    while let Some(c) = left.next() {
        let token = match c {
            '"' if quoted && left.next_if_eq(&'"').is_some() => Token::Char('"'),
            '"' => {
                quoted = !quoted;
                continue;
            }
            '.' if !quoted => {
                parts.push(Glob::new());
                continue;
            }
            '*' if !quoted => Token::Any,
            '?' if !quoted => Token::One,
            c => Token::Char(c),
        };
        if let Some(part) = parts.last_mut() {
            part.push(token);
        }
    }
    if quoted {
        return Err(wrong(text, "a double quote is missing"));
    }
    if parts.iter().any(Vec::is_empty) {
        return Err(wrong(text, "a name is empty"));
    }
    Ok(parts)
}

/// Whether a name matches; goes back to the last `*` where it does not, so it takes at most their lengths' product.
fn matches(glob: &[Token], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut in_name, mut last_any) = (0, 0, None);
    while in_name < name.len() {
        match glob.get(at) {
            Some(Token::Any) => {
                last_any = Some((at, in_name));
                at += 1;
            }
            Some(Token::One) => (at, in_name) = (at + 1, in_name + 1),
            Some(Token::Char(c)) if *c == name[in_name] => (at, in_name) = (at + 1, in_name + 1),
            _ => match last_any {
                None => return false,
                Some((any, from)) => {
                    last_any = Some((any, from + 1));
                    (at, in_name) = (any + 1, from + 1);
                }
            },
        }
    }
    glob[at..].iter().all(|token| *token == Token::Any)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn is(pattern: &str, schema: &str, name: &str) -> bool {
        Pattern::table(pattern).unwrap().is_table(schema, name)
    }

    #[test]
    fn names_and_globs_match_as_written() {
        assert!(is("app.users", "app", "users") && !is("app.users", "app", "Users"));
        assert!(is("users", "any", "users") && !is("users", "any", "users2"));
        assert!(is("app.*", "app", "x") && !is("app.*", "app2", "x"));
        assert!(is("a*c?e", "s", "abbcde") && !is("a*c?e", "s", "abbce"));
        assert!(is("*_log_*", "s", "a_log_b_log_c") && is("ü?", "s", "üß"));
        assert!(Pattern::schema("Research*").unwrap().is_schema("Research Data"));
        let files = Pattern::collection("fs.*s").unwrap();
        assert!(files.is_table("", "fs.files") && files.is_table("", "fs.a.chunks") && !files.is_table("", "files"));
    }

    #[test]
    fn what_is_quoted_is_taken_as_it_is() {
        assert!(is(r#""a.b"."what?""#, "a.b", "what?") && !is(r#""a.b"."what?""#, "a.b", "whatx"));
        assert!(is(r#"app."We""ird"*"#, "app", "We\"ird one"));
        assert!(Pattern::schema(r#""a.b""#).unwrap().is_schema("a.b"));
    }

    #[test]
    fn what_cannot_be_meant_is_an_error_that_repeats_it() {
        for text in ["", ".", "a.", ".b", "a.b.c", "\"a", "a.\"\""] {
            let error = Pattern::table(text).unwrap_err();
            assert!(error.kind == Kind::Config && error.what.contains(text), "{text}: {error}");
        }
        assert!(Pattern::schema("a.b").is_err());
    }
}
