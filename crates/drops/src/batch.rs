//! Rows on their way from a file to a target.
//!
//! Owns `Batch`: cells of text, one after another in one buffer, which is filled, handed over and used again. Promises that cells come back as
//! they were pushed, null apart from empty, with the place in the file where each row begins. Refuses to know what the text means.

use std::fmt;

/// Where something stands in a file, after decompression.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line, from 1. A quoted cell may hold more lines: this is the one where the row begins.
    pub line: u64,
    /// Bytes before it.
    pub byte: u64,
}

/// Rows of one file, in the order of the file: cells of text (valid UTF-8) in one buffer. `None` is null.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Batch {
    text: Vec<u8>,
    /// Where each cell ends in `text`, times two, and one more when it is null.
    ends: Vec<u64>,
    rows: Vec<Begin>,
}

/// Where a row begins: in the file, in `ends` and in `text`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Begin {
    place: Place,
    cell: usize,
    text: usize,
}

impl Batch {
    /// Removes all rows and keeps the memory.
    pub fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        self.rows.clear();
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many bytes of text all cells hold together.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// Begins a row, without cells so far.
    pub fn begin_row(&mut self, place: Place) {
        self.rows.push(Begin { place, cell: self.ends.len(), text: self.text.len() });
    }

    /// Adds a cell to the row that was begun last. The caller guarantees that the text is UTF-8.
    pub fn push_cell(&mut self, text: Option<&[u8]>) {
        self.push_text(text.unwrap_or_default());
        self.end_cell(text.is_none());
    }

    /// Adds to the text of a cell that `end_cell` ends: for readers that find a cell in pieces.
    pub(crate) fn push_text(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    /// Ends the cell whose text was pushed. A null has none.
    pub(crate) fn end_cell(&mut self, null: bool) {
        debug_assert!(!self.rows.is_empty(), "a cell belongs to a row");
        self.ends.push((self.text.len() as u64) << 1 | u64::from(null));
    }

    /// Takes the row that was begun last back, with its cells and any text that no cell has yet.
    pub(crate) fn take_back(&mut self) {
        if let Some(begin) = self.rows.pop() {
            self.ends.truncate(begin.cell);
            self.text.truncate(begin.text);
        }
    }

    /// The text that was pushed since there were `from` bytes.
    pub(crate) fn text_from(&self, from: usize) -> &[u8] {
        self.text.get(from..).unwrap_or_default()
    }

    /// How many cells all rows have together.
    pub(crate) fn cells(&self) -> usize {
        self.ends.len()
    }

    /// All rows, in the order of the file.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row<'_>> {
        (0..self.rows.len()).map(|at| self.row(at))
    }

    fn row(&self, at: usize) -> Row<'_> {
        let begin = self.rows[at];
        let end = self.rows.get(at + 1).map_or(self.ends.len(), |next| next.cell);
        Row { place: begin.place, text: &self.text, from: begin.text, ends: &self.ends[begin.cell..end] }
    }
}

/// The text may be anybody's data: it is counted, not shown.
impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("rows", &self.len()).field("bytes", &self.bytes()).finish()
    }
}

/// One row of a batch.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    place: Place,
    /// The whole batch's.
    text: &'a [u8],
    from: usize,
    ends: &'a [u64],
}

impl<'a> Row<'a> {
    /// Where the row begins in its file.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// How many cells it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether it has no cells.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The cell at `i`, from 0: `None` when it is null, and also when the row has no such cell.
    #[must_use]
    pub fn cell(&self, i: usize) -> Option<&'a [u8]> {
        let end = *self.ends.get(i)?;
        let from = i.checked_sub(1).map_or(self.from, |before| place_of(self.ends[before]));
        (end & 1 == 0).then(|| &self.text[from..place_of(end)])
    }

    /// All cells, in order.
    pub fn cells(&self) -> impl ExactSizeIterator<Item = Option<&'a [u8]>> + use<'a> {
        let row = *self;
        (0..self.ends.len()).map(move |i| row.cell(i))
    }
}

/// As for a batch: neither is a row's text shown.
impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("place", &self.place).field("cells", &self.len()).finish()
    }
}

/// Where in the text a cell ends that is kept as `end`. It is an index of a buffer in memory.
fn place_of(end: u64) -> usize {
    usize::try_from(end >> 1).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    type Cells = Vec<Vec<Option<String>>>;

    fn filled(batch: &mut Batch, rows: &Cells) {
        for (at, cells) in rows.iter().enumerate() {
            batch.begin_row(Place { line: at as u64 + 1, byte: at as u64 * 7 });
            cells.iter().for_each(|cell| batch.push_cell(cell.as_deref().map(str::as_bytes)));
        }
    }

    fn content(batch: &Batch) -> Cells {
        let text = |cell: &[u8]| String::from_utf8_lossy(cell).into_owned();
        batch.rows().map(|row| row.cells().map(|cell| cell.map(text)).collect()).collect()
    }

    proptest! {
        #[test]
        fn cells_come_back_as_they_were_pushed(rows: Cells, others in vec(vec(option::of(".{0,9}"), 0..4), 0..4)) {
            let mut batch = Batch::default();
            filled(&mut batch, &others);
            batch.clear();
            prop_assert!(batch.is_empty() && batch.bytes() == 0);
            filled(&mut batch, &rows);
            prop_assert_eq!(content(&batch), rows.clone());
            prop_assert_eq!(batch.len(), rows.len());
            prop_assert_eq!(batch.bytes(), rows.iter().flatten().flatten().map(String::len).sum::<usize>());
            for (at, row) in batch.rows().enumerate() {
                prop_assert_eq!(row.place(), Place { line: at as u64 + 1, byte: at as u64 * 7 });
                prop_assert_eq!(row.len(), rows[at].len());
            }
        }
    }

    #[test]
    fn null_is_not_empty_and_what_is_not_there_is_null() {
        let mut batch = Batch::default();
        batch.begin_row(Place { line: 1, byte: 0 });
        batch.push_cell(None);
        batch.push_cell(Some(b""));
        batch.push_cell(Some(b"x"));
        let row = batch.rows().next();
        let cells: Vec<_> = row.iter().flat_map(Row::cells).collect();
        assert_eq!(cells, [None, Some(&b""[..]), Some(&b"x"[..])]);
        assert_eq!(row.and_then(|row| row.cell(3)), None);
    }

    #[test]
    fn a_row_that_is_taken_back_leaves_nothing() {
        let mut batch = Batch::default();
        batch.begin_row(Place { line: 1, byte: 0 });
        batch.push_cell(Some(b"kept"));
        let before = batch.clone();
        batch.begin_row(Place { line: 2, byte: 5 });
        batch.push_cell(Some(b"gone"));
        batch.push_text(b"and half a cell");
        batch.take_back();
        assert_eq!(batch, before);
    }

    #[test]
    fn text_is_never_shown() {
        let mut batch = Batch::default();
        batch.begin_row(Place { line: 1, byte: 0 });
        batch.push_cell(Some(b"a patient"));
        let shown = format!("{batch:?} {:?}", batch.rows().next());
        assert!(!shown.contains("patient"), "{shown}");
    }
}
