//! Quoting of names and text for SQL, and names for people.
//!
//! Owns the two rules of the language, and how names are shown to people. Promises that what comes out is one identifier or one
//! literal whatever comes in.

/// An identifier, always quoted.
#[must_use]
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table's qualified name for SQL.
#[must_use]
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

/// A string literal, whatever the server's setting of `standard_conforming_strings`.
#[must_use]
pub fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') { format!(" E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

/// A name for people: quoted only where it must be.
pub(crate) fn shown_name(name: &str) -> String {
    let plain = name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
        && !name.is_empty()
        && !name.as_bytes()[0].is_ascii_digit();
    if plain { name.to_owned() } else { ident(name) }
}

/// A table's name for people and for stream names: quoted only where it must be.
#[must_use]
pub fn shown(schema: &str, name: &str) -> String {
    format!("{}.{}", shown_name(schema), shown_name(name))
}

/// Some names, and how many more there are.
pub(crate) fn listed(names: &[String], most: usize) -> String {
    match names.len().checked_sub(most) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names[..most].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_cannot_be_escaped() {
        assert_eq!(ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's \\ so"), " E'it''s \\\\ so'");
        assert_eq!(shown("public", "Weird \"n\""), "public.\"Weird \"\"n\"\"\"");
        assert_eq!(shown("a", "b_1"), "a.b_1");
    }
}
