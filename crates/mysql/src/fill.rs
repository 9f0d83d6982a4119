//! Filling a table of text over a session of its own, for those who bring statements of their own (`statements`).
//!
//! Owns the bytes of rows and the one transaction that they go in by: `LOAD DATA LOCAL`, or `INSERT` where the server takes no files from clients. Promises that all rows are in
//! when `finish` says how many, and none before; and that a warning of the server is an error.

use crate::catalog::Table;
use crate::columns::{Column, Form};
use crate::connection::{Purpose, connect};
use crate::endpoint::Endpoint;
use crate::indexes::LateIndexes;
use crate::loader::{SegmentLoader, prepare};
use crate::reader::Readable;
use crate::text::Text;
use crate::tsv;
use engine::{Error, Loader};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Rows as bytes, on their way into a table.
#[derive(Debug, Default)]
pub struct Rows {
    bytes: Vec<u8>,
    /// Whether the last row has a cell already.
    begun: bool,
}

impl Rows {
    /// Room for about so many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), begun: false }
    }

    /// Adds a cell to the row; `None` is NULL.
    pub fn cell(&mut self, value: Option<&[u8]>) {
        tsv::push(&mut self.bytes, !self.begun, value);
        self.begun = true;
    }

    /// Ends the row.
    pub fn end_row(&mut self) {
        self.bytes.push(tsv::TERMINATOR);
        self.begun = false;
    }
}

/// A table that is being filled. One that is dropped is given up, and its rows with it.
pub struct Fill(SegmentLoader);

impl fmt::Debug for Fill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fill").finish_non_exhaustive()
    }
}

impl Fill {
    /// Begins to fill these columns of a table of the endpoint's schema. All are of text or integers.
    ///
    /// # Errors
    /// As for every connection, and the server's.
    pub async fn begin(endpoint: &Endpoint, table: &str, columns: &[String]) -> Result<Self, Error> {
        let mut session = connect(endpoint, Purpose::Statements).await?;
        prepare(&mut session).await?;
        let by_file = session.one("read local_infile", "SELECT @@local_infile").await?.flag(0);
        session.enter(endpoint.database()).await?;
        let table = Table {
            name: table.to_owned(),
            engine: "InnoDB".to_owned(),
            create: Text::default(),
            collations: BTreeMap::new(),
            columns: columns.iter().map(|name| Column::new(name.as_str(), Form::Plain)).collect(),
            has_rows: true,
            history: None,
            key: None,
            bytes: 0,
            made: String::new(),
        };
        let stream = table.stream();
        let tables = BTreeMap::from([(stream.clone(), table)]);
        let readable = Arc::new(Readable { schema: endpoint.database().to_owned(), tables });
        let mut loader = SegmentLoader::new(session, readable, Arc::new(LateIndexes::default()), by_file);
        loader.begin(&stream, true).await?;
        loader.begin_segment("").await?;
        Ok(Self(loader))
    }

    /// Sends rows.
    ///
    /// # Errors
    /// What the server refused, or that it is gone.
    pub async fn write(&mut self, rows: Rows) -> Result<(), Error> {
        self.0.write(rows.bytes).await
    }

    /// Commits them; the number of rows is the server's.
    ///
    /// # Errors
    /// What the server refused or warned of: then no row is in.
    pub async fn finish(mut self) -> Result<u64, Error> {
        let rows = self.0.end_segment().await?;
        self.0.commit().await?;
        Ok(rows)
    }
}
