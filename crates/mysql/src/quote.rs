//! Names and values inside statements.
//!
//! Owns how an identifier and a string are written so that the server reads back exactly them, whatever its sql_mode or the
//! session's character set; and the change of a schema's name where the server itself wrote it. Refuses to change what a person wrote inside a body.

/// A name between backticks.
#[must_use]
pub fn ident(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A table of a schema.
#[must_use]
pub fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

/// Text as a value. In hexadecimal nothing has to be escaped, which depends on sql_mode.
#[must_use]
pub fn literal(text: &str) -> String {
    if text.is_empty() { "''".to_owned() } else { format!("_utf8mb4 {}", hex(text.as_bytes())) }
}

/// Bytes as a value.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 + bytes.len() * 2);
    push_hex(&mut out, bytes);
    out
}

/// Appends bytes as a value; an empty one is an empty string.
pub(crate) fn push_hex(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    if bytes.is_empty() {
        out.push_str("''");
        return;
    }
    out.push_str("0x");
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            out.push(char::from(DIGITS.get(usize::from(digit)).copied().unwrap_or(b'0')));
        }
    }
}

/// The statement with `from` replaced by `to` wherever it qualifies a name: `from`.`x`, or from.x. Strings stay as they are. What has only two parts may as well be
/// an alias and a column: `is_object` says whether `x` is something of the schema.
///
/// Works on bytes, because a statement may be written in any character set whose letters are those of ASCII.
pub(crate) fn requalify(statement: &[u8], from: &str, to: &str, is_object: &dyn Fn(&[u8]) -> bool) -> Vec<u8> {
    qualify_by(statement, from, Some(to), is_object)
}

/// The same with the schema's name left out: the statement is of whatever schema is the session's own.
pub(crate) fn unqualify(statement: &[u8], from: &str, is_object: &dyn Fn(&[u8]) -> bool) -> Vec<u8> {
    qualify_by(statement, from, None, is_object)
}

fn qualify_by(statement: &[u8], from: &str, to: Option<&str>, is_object: &dyn Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(statement.len());
    let mut rest = statement;
    while let Some((token, after)) = next_token(rest) {
        let named = name_in(token).is_some_and(|name| name == from.as_bytes());
        // What follows another dot is a column or an object of that name.
        let qualifies = named && out.last() != Some(&b'.') && qualifies(after, is_object);
        rest = match to {
            Some(to) if qualifies => {
                out.extend_from_slice(ident(to).as_bytes());
                after
            }
            None if qualifies => after.get(1..).unwrap_or_default(),
            _ => {
                out.extend_from_slice(token);
                after
            }
        };
    }
    out
}

/// Whether what follows a name makes it a schema's: two more parts, or one that is an object.
fn qualifies(after: &[u8], is_object: &dyn Fn(&[u8]) -> bool) -> bool {
    let Some(rest) = after.strip_prefix(b".") else { return false };
    let Some((token, after)) = next_token(rest) else { return false };
    name_in(token).is_some_and(|name| after.first() == Some(&b'.') || is_object(&name))
}

/// The first token and what follows it: a quoted piece, a word, or one byte.
pub(crate) fn next_token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let first = *text.first()?;
    let end = match first {
        b'`' => quoted_end(text, b'`', false),
        b'\'' | b'"' => quoted_end(text, first, true),
        c if is_word(c) => text.iter().position(|c| !is_word(*c)).unwrap_or(text.len()),
        _ => 1,
    };
    text.split_at_checked(end)
}

fn is_word(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c == b'_' || c == b'$' || c >= 0x80
}

fn quoted_end(text: &[u8], quote: u8, escapes: bool) -> usize {
    let mut at = 1;
    while let Some(c) = text.get(at) {
        match *c {
            b'\\' if escapes => at += 2,
            c if c == quote && text.get(at + 1) == Some(&quote) => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// The name that a token is, if it is one.
pub(crate) fn name_in(token: &[u8]) -> Option<Vec<u8>> {
    match token.first()? {
        b'`' => {
            let inner = token.get(1..token.len().saturating_sub(1))?;
            let mut name = Vec::with_capacity(inner.len());
            let mut ticks = 0;
            for c in inner {
                ticks = if *c == b'`' { ticks + 1 } else { 0 };
                if ticks % 2 == 0 || *c != b'`' {
                    name.push(*c);
                }
            }
            Some(name)
        }
        c if is_word(*c) => Some(token.to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(text: &str) -> String {
        let is_object = |name: &[u8]| name == b"t" || name == b"y";
        String::from_utf8_lossy(&requalify(text.as_bytes(), "a`b", "new", &is_object)).into_owned()
    }

    #[test]
    fn only_a_schema_before_its_dot_is_replaced() {
        assert_eq!(again("select `a``b`.`t`.`x` from `a``b`.`t`"), "select `new`.`t`.`x` from `new`.`t`");
        assert_eq!(again("select `a``b` from `t` `a``b`"), "select `a``b` from `t` `a``b`");
        assert_eq!(again("select '`a``b`.`t`', `x`.`a``b`.`c`"), "select '`a``b`.`t`', `x`.`a``b`.`c`");
        assert_eq!(again("select 'it''s \\' `a``b`.x' , `a``b`.y"), "select 'it''s \\' `a``b`.x' , `new`.y");
        assert_eq!(again("select `a``b`.`id` from `a``b`.`t` `a``b`"), "select `a``b`.`id` from `new`.`t` `a``b`");
        let plain = requalify(b"ON app.t, myapp.t", "app", "n", &|_| true);
        assert_eq!(String::from_utf8_lossy(&plain), "ON `n`.t, myapp.t");
    }

    #[test]
    fn values_need_no_escapes() {
        assert_eq!((hex(b"").as_str(), hex(b"\0'\\").as_str()), ("''", "0x00275c"));
        assert_eq!((ident("a`b").as_str(), literal("é").as_str()), ("`a``b`", "_utf8mb4 0xc3a9"));
    }
}
