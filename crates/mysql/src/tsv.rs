//! The row format `mysql-tsv-1`: one record as a line of text.
//!
//! Owns how a row's columns become bytes and how the bytes become columns again: columns are separated by a tab, NULL is `\N`, and in
//! values a backslash, tab, newline and NUL byte are written `\\`, `\t`, `\n` and `\0`. All other bytes are as the server stores them. That is what `LOAD DATA` reads with its
//! own defaults (<https://dev.mysql.com/doc/refman/9.0/en/load-data.html>, "Field and Line Handling"). Promises that each record has one form only, so that
//! digests can be compared, and that no row contains a newline. Refuses lines that it would not have written.

use engine::{Error, Kind};

/// Name and version of the format.
pub(crate) const FORMAT: &str = "mysql-tsv-1";
/// What follows every row.
pub(crate) const TERMINATOR: u8 = b'\n';

/// Appends one column, with the tab before it unless it is the first.
pub(crate) fn push(row: &mut Vec<u8>, first: bool, value: Option<&[u8]>) {
    if !first {
        row.push(b'\t');
    }
    let Some(mut rest) = value else {
        row.extend_from_slice(b"\\N");
        return;
    };
    while let Some(at) = first_special(rest) {
        let (plain, special) = rest.split_at(at);
        row.extend_from_slice(plain);
        if let Some(letter) = special.first().and_then(|byte| escape(*byte)) {
            row.extend_from_slice(&[b'\\', letter]);
        }
        rest = special.get(1..).unwrap_or_default();
    }
    row.extend_from_slice(rest);
}

/// Where the first byte is that is not written as it is. Sixteen at a time, which compilers make one comparison of: nearly all bytes of a database come by here,
/// and hardly any is special.
fn first_special(bytes: &[u8]) -> Option<usize> {
    let special = |byte: u8| (byte == b'\\') | (byte == b'\t') | (byte == b'\n') | (byte == 0);
    let (blocks, _) = bytes.as_chunks::<16>();
    let plain = blocks.iter().take_while(|block| !block.iter().fold(false, |any, byte| any | special(*byte))).count();
    let from = plain * 16;
    bytes.get(from..)?.iter().position(|byte| special(*byte)).map(|at| from + at)
}

fn escape(byte: u8) -> Option<u8> {
    match byte {
        b'\\' => Some(b'\\'),
        b'\t' => Some(b't'),
        b'\n' => Some(b'n'),
        0 => Some(b'0'),
        _ => None,
    }
}

/// The columns of a line.
///
/// # Errors
/// [`Kind::Data`] for an escape that [`push`] does not write.
pub(crate) fn columns(line: &[u8]) -> Result<Vec<Option<Vec<u8>>>, Error> {
    line.split(|byte| *byte == b'\t').map(column).collect()
}

fn column(text: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    if text == b"\\N" {
        return Ok(None);
    }
    let mut value = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        value.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'\\') => b'\\',
                Some(b't') => b'\t',
                Some(b'n') => b'\n',
                Some(b'0') => 0,
                _ => return Err(Error::new(Kind::Data, "a row of the backup is not written as rows are")),
            },
            other => *other,
        });
    }
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn line(values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut row = Vec::new();
        values.iter().enumerate().for_each(|(at, value)| push(&mut row, at == 0, *value));
        row
    }

    #[test]
    fn all_bytes_come_back_and_none_is_a_newline() {
        let all: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
        let values: [Option<&[u8]>; 6] = [Some(&all), None, Some(b""), Some(b"\\N"), Some(b"N"), Some(b"\\\\t\t\n\0")];
        let row = line(&values);
        assert!(!row.contains(&TERMINATOR));
        let back = columns(&row).unwrap();
        assert_eq!(back.iter().map(Option::as_deref).collect::<Vec<_>>(), values);
        assert_eq!(line(&[None]), b"\\N");
        assert_eq!(line(&[Some(b"a\tb"), None, Some(b"")]), b"a\\tb\t\\N\t");
    }

    #[test]
    fn what_is_special_is_found_wherever_it_stands() {
        for special in [b'\\', b'\t', b'\n', 0] {
            for len in 1..70 {
                for at in 0..len {
                    let mut bytes = vec![b'x'; len];
                    bytes[at] = special;
                    assert_eq!(first_special(&bytes), Some(at), "{at} of {len}");
                    bytes[at] = special | 0x80;
                    assert_eq!(first_special(&bytes), None, "{at} of {len}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_written_like_that_is_refused() {
        for wrong in [&b"\\"[..], b"a\\x", b"\\N1", b"1\\N"] {
            assert_eq!(columns(wrong).unwrap_err().kind, Kind::Data);
        }
    }
}
