//! Rows: what a message of the text protocol holds.
//!
//! Owns the reading of values with their lengths before them (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query_response_text_resultset_row.html>)
//! and the making of lines. Promises that a row has as many values as its answer has columns and nothing behind them, or is no row.

use crate::tsv;

/// What stands for NULL in place of a length.
const NULL: u8 = 0xfb;

/// A number, and what is behind it (<https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_dt_integers.html>). `None` when it is none.
pub(super) fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    let width = match first {
        0..=0xfa => return Some((u64::from(*first), rest)),
        0xfc => 2,
        0xfd => 3,
        0xfe => 8,
        _ => return None,
    };
    let (digits, rest) = rest.split_at_checked(width)?;
    Some((digits.iter().rev().fold(0, |number, digit| number << 8 | u64::from(*digit)), rest))
}

/// A value, and what is behind it.
fn value(row: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    if let Some((&NULL, rest)) = row.split_first() {
        return Some((None, rest));
    }
    let (length, rest) = number(row)?;
    let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((Some(value), rest))
}

/// Appends a row as a line. `None` when it is not a row of so many columns; the line is no row then.
#[must_use]
pub(super) fn push_line(line: &mut Vec<u8>, mut row: &[u8], columns: usize) -> Option<()> {
    for at in 0..columns {
        let (value, rest) = value(row)?;
        tsv::push(line, at == 0, value);
        row = rest;
    }
    row.is_empty().then_some(())
}

/// A row's values. `None` when it is not a row of so many columns.
pub(super) fn values(mut row: &[u8], columns: usize) -> Option<Vec<Option<Vec<u8>>>> {
    let mut values = Vec::with_capacity(columns);
    for _ in 0..columns {
        let (value, rest) = value(row)?;
        values.push(value.map(<[u8]>::to_vec));
        row = rest;
    }
    row.is_empty().then_some(values)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use mysql_common::io::BufMutExt;
    use proptest::prelude::*;

    fn row(values: &[Option<Vec<u8>>]) -> Vec<u8> {
        let mut row = Vec::new();
        for value in values {
            match value {
                Some(value) => row.put_lenenc_str(value),
                None => row.push(NULL),
            }
        }
        row
    }

    fn line(row: &[u8], columns: usize) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        push_line(&mut line, row, columns).map(|()| line)
    }

    #[test]
    fn lengths_of_all_kinds_are_read() {
        for length in [0, 1, 250, 251, 252, 255, 256, 65_535, 65_536, 0xff_ffff, 0x100_0000] {
            let values = vec![Some(vec![b'x'; length]), None, Some(b"\t".to_vec())];
            let row = row(&values);
            assert!(super::values(&row, 3).unwrap() == values, "{length}");
            let line = line(&row, 3).unwrap();
            assert!(line.len() == length + 6 && line.ends_with(b"x\t\\N\t\\t") | (length == 0), "{length}");
        }
    }

    #[test]
    fn what_is_no_row_is_refused() {
        let good = row(&[Some(b"abc".to_vec()), None]);
        assert!(line(&good, 2).is_some());
        assert!(line(&good, 1).is_none() && line(&good, 3).is_none());
        for bad in [
            &b"\xff"[..],
            b"\x04abc",
            b"\xfc\x01",
            b"\xfd\x01\0",
            b"\xfe\x01\0\0\0\0\0\0",
            b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xfe\xff\xff\xff\xff\xff\xff\xff\xffabc",
            b"",
        ] {
            assert!(line(bad, 1).is_none(), "{bad:x?}");
            assert!(values(bad, 1).is_none(), "{bad:x?}");
        }
    }

    proptest! {
        #[test]
        fn any_values_come_back(values: Vec<Option<Vec<u8>>>) {
            let row = row(&values);
            prop_assert_eq!(super::values(&row, values.len()).unwrap(), values.clone());
            let mut expected = Vec::new();
            values.iter().enumerate().for_each(|(at, value)| tsv::push(&mut expected, at == 0, value.as_deref()));
            prop_assert_eq!(line(&row, values.len()).unwrap(), expected);
            // No part of it is a row.
            for cut in 0..row.len() {
                prop_assert!(line(&row[..cut], values.len()).is_none());
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>, columns in 0_usize..9) {
            let (line, values) = (line(&bytes, columns), super::values(&bytes, columns));
            prop_assert_eq!(line.is_some(), values.is_some());
        }
    }
}
