#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Cells with whether they were quoted, of all rows, or where it is broken.
type Rows = Result<Vec<Vec<(Vec<u8>, bool)>>, usize>;

/// All rows of a text of which `step` bytes more are seen each time that more are asked for.
fn rows(text: &[u8], step: usize) -> Rows {
    let mut splitter = Splitter::new(b',', MAX_COLUMNS);
    let (mut rows, mut from, mut to) = (Vec::new(), 0, 0);
    while from < text.len() {
        match splitter.cut(&text[from..to], to == text.len()) {
            Cut::More => to = (to + step).min(text.len()),
            Cut::Broken { at, .. } => return Err(from + at),
            Cut::Row { bytes, .. } => {
                let row = splitter.cells.iter().map(|span| {
                    let mut batch = Batch::default();
                    push_quoted(&text[from..to][span.from..span.to], span.doubled, &mut batch);
                    (batch.text_from(0).to_vec(), span.quoted)
                });
                rows.push(row.collect());
                from += bytes;
                to = to.max(from);
            }
        }
    }
    Ok(rows)
}

fn cell(text: &str, quoted: bool) -> (Vec<u8>, bool) {
    (text.as_bytes().to_vec(), quoted)
}

/// What the `csv` crate reads, which passes empty lines over.
fn oracle(text: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut reader = ::csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
    reader.byte_records().map(|record| record.unwrap().iter().map(<[u8]>::to_vec).collect()).collect()
}

#[test]
fn quoted_cells_are_told_from_unquoted_ones() {
    let found = rows(b"a,\"\",,\"b\"\"c\"\r\n\"x\ny\",1", 1).unwrap();
    assert_eq!(found[0], [cell("a", false), cell("", true), cell("", false), cell("b\"c", true)]);
    assert_eq!(found[1], [cell("x\ny", true), cell("1", false)]);
    assert_eq!(rows(b"\n\r\n,", 9).unwrap().iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 2]);
}

#[test]
fn what_rfc_4180_has_not_is_broken_where_it_stands() {
    for (text, at) in [
        (&b"a\"b,c"[..], 1),
        (b"1\n \"a\"\n", 3),
        (b"\"a\"b", 3),
        (b"\"a\" ,b", 3),
        (b"a\rb\n", 1),
        (b"a\r", 1),
        (b"\"a\"\r,b", 3),
        (b"ok\n\"open\nand on", 3),
        (b"\"", 0),
        (b"a,\"\"\"", 2),
    ] {
        for step in [1, 2, 100] {
            assert_eq!(rows(text, step), Err(at), "{:?}", String::from_utf8_lossy(text));
        }
    }
}

#[test]
fn of_a_row_with_many_cells_few_are_kept() {
    let mut splitter = Splitter::new(b',', 3);
    let text = vec![b','; 1 << 20];
    assert_eq!(splitter.cut(&text, true), Cut::Row { bytes: 1 << 20, lines: 0, cells: (1 << 20) + 1 });
    assert_eq!(splitter.cells.len(), 3);
}

fn arbitrary_cell() -> impl Strategy<Value = (String, bool)> {
    prop_oneof!["[a-z0-9 ü']{0,5}".prop_map(|text| (text, false)), "[a-z,\"\n\rü]{0,6}".prop_map(|text| (text, true)),]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// What is written comes back, however the text is cut into pieces, and another reader sees the same.
    #[test]
    fn what_is_written_comes_back(table in vec(vec(arbitrary_cell(), 1..5), 0..6), ends in vec(any::<bool>(), 6), step in 1usize..9, last in any::<bool>()) {
        let mut text = String::new();
        for (row, crlf) in table.iter().zip(&ends) {
            let cells: Vec<_> = row.iter().map(|(cell, quoted)| if *quoted { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.clone() }).collect();
            text.push_str(&cells.join(","));
            text.push_str(if *crlf { "\r\n" } else { "\n" });
        }
        if last && !text.ends_with("\n\n") && !text.ends_with("\n\r\n") && text.len() > 2 {
            // An empty row at the end is one only by the end of its line.
            text.truncate(text.trim_end_matches(['\r', '\n']).len());
        }
        let expected: Vec<Vec<_>> = table.iter().map(|row| row.iter().map(|(text, quoted)| cell(text, *quoted)).collect()).collect();
        let found = rows(text.as_bytes(), step).unwrap();
        prop_assume!(!last || found.len() == expected.len());
        prop_assert_eq!(&found, &expected);
        let plain: Vec<Vec<_>> = found.into_iter().map(|row| row.into_iter().map(|(text, _)| text).collect()).collect();
        let unquoted_empty = |row: &[(String, bool)]| matches!(row, [(text, false)] if text.is_empty());
        if !table.iter().any(|row| unquoted_empty(row)) {
            prop_assert_eq!(plain, oracle(text.as_bytes()));
        }
    }

    /// Of any text the answer does not depend on pieces; and where we see rows, the `csv` crate sees the same ones.
    #[test]
    fn pieces_change_nothing_and_the_oracle_agrees(text in "[ab,\"\n\r]{0,24}", step in 1usize..5) {
        let found = rows(text.as_bytes(), text.len().max(1));
        prop_assert_eq!(&found, &rows(text.as_bytes(), step));
        if let Ok(found) = found {
            let empty = |row: &Vec<(Vec<u8>, bool)>| matches!(row.as_slice(), [(text, false)] if text.is_empty());
            let found: Vec<Vec<_>> = found.into_iter().filter(|row| !empty(row)).map(|row| row.into_iter().map(|(text, _)| text).collect()).collect();
            prop_assert_eq!(found, oracle(text.as_bytes()));
        }
    }
}
