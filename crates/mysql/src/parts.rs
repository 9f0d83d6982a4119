//! The parts of a table's statement.
//!
//! Owns cutting a `SHOW CREATE TABLE` into what stands between its commas, and finding words and names in a part. Promises that quotes, strings and parentheses are kept
//! together, and that the parts written again are the server's own statement, byte for byte. Refuses to know what a part means: `indexes` and `keys` do.

use crate::quote::{name_in, next_token};

/// A table's statement: what comes before the parenthesis, with it; what is in it, between commas; and the rest.
pub(crate) struct Parts {
    pub head: Vec<u8>,
    pub items: Vec<Vec<u8>>,
    pub tail: Vec<u8>,
}

impl Parts {
    /// Of a statement; `None` when it has no parenthesis that ends.
    pub fn of(create: &[u8]) -> Option<Self> {
        let (mut rest, mut depth) = (create, 0_usize);
        let (mut head, mut items) = (Vec::new(), vec![Vec::new()]);
        while let Some((token, after)) = next_token(rest) {
            match token {
                b"(" => depth += 1,
                b")" if depth == 1 => {
                    let items = items.into_iter().map(|item: Vec<u8>| item.trim_ascii().to_vec()).collect();
                    return Some(Self { head, items, tail: rest.to_vec() });
                }
                b")" => depth = depth.checked_sub(1)?,
                _ => {}
            }
            if depth == 0 || (depth == 1 && token == b"(") {
                head.extend_from_slice(token);
            } else if depth == 1 && token == b"," {
                items.push(Vec::new());
            } else if let Some(item) = items.last_mut() {
                item.extend_from_slice(token);
            }
            rest = after;
        }
        None
    }

    /// The statement again, laid out as servers do.
    pub fn written(&self) -> Vec<u8> {
        [&self.head[..], b"\n  ", &self.items.join(&b",\n  "[..]), b"\n", &self.tail].concat()
    }
}

/// What is not a blank, in order.
pub(crate) fn tokens(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let (token, after) = next_token(rest)?;
            rest = after;
            if !token.iter().all(u8::is_ascii_whitespace) {
                return Some((token, after));
            }
        }
    })
}

/// Whether it begins with these words.
pub(crate) fn begins(item: &[u8], words: &[&str]) -> bool {
    let mut tokens = tokens(item);
    words.iter().all(|word| tokens.next().is_some_and(|(token, _)| token.eq_ignore_ascii_case(word.as_bytes())))
}

/// Whether the word stands in it, outside of quotes.
pub(crate) fn has_word(item: &[u8], word: &str) -> bool {
    after_word(item, word).is_some()
}

/// What follows a word that stands outside of quotes.
pub(crate) fn after_word<'a>(item: &'a [u8], word: &str) -> Option<&'a [u8]> {
    tokens(item).find(|(token, _)| token.eq_ignore_ascii_case(word.as_bytes())).map(|(_, after)| after)
}

/// The name that it begins with.
pub(crate) fn first_name(item: &[u8]) -> Option<String> {
    tokens(item).next().and_then(|(token, _)| name_in(token)).map(|name| String::from_utf8_lossy(&name).into_owned())
}

/// The names of the first list of them.
pub(crate) fn names_in_parentheses(text: &[u8]) -> Vec<String> {
    let list = tokens(text).skip_while(|(token, _)| *token != b"(").skip(1).take_while(|(token, _)| *token != b")");
    let names = list.filter(|(token, _)| token.first() == Some(&b'`')).filter_map(|(token, _)| name_in(token));
    names.map(|name| String::from_utf8_lossy(&name).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_statement_is_cut_at_its_own_commas_and_written_again() {
        let create = b"CREATE TABLE `a(,` (\n  `x` enum('a,','(') DEFAULT ')',\n  KEY `k` (`x`,`y`)\n) ENGINE=InnoDB\n/*!50100 PARTITION BY HASH (`x`) */";
        let parts = Parts::of(create).unwrap();
        assert_eq!(parts.items, [&b"`x` enum('a,','(') DEFAULT ')'"[..], b"KEY `k` (`x`,`y`)"]);
        assert_eq!(parts.written(), create);
        assert!(Parts::of(b"CREATE TABLE `t` (`x` int").is_none());
    }

    #[test]
    fn words_are_those_outside_of_quotes() {
        let item = b"CONSTRAINT `REFERENCES` FOREIGN KEY (`a`, `b`) REFERENCES `p``q` (`c`) COMMENT 'UNIQUE'";
        assert!(begins(item, &["constraint"]) && has_word(item, "FOREIGN") && !has_word(item, "UNIQUE"));
        assert_eq!(after_word(item, "REFERENCES").and_then(first_name).as_deref(), Some("p`q"));
        assert_eq!(names_in_parentheses(after_word(item, "KEY").unwrap()), ["a", "b"]);
    }
}
