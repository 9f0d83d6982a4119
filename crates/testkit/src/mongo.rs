//! Owns the odd database of the MongoDB tests, as small named pieces, and what two databases are compared by: every
//! collection's options and indexes in the server's own words, every collection's documents as a digest of their bytes.
//!
//! Promises that pieces stand alone (any selection can be made, in any order), that making one twice gives the same
//! bytes, and that nothing in what it says of a database depends on the database's name, on the time, or on the order
//! in which the server returns what has no order. Refuses to know what a backup should keep: callers that expect a
//! difference take it out themselves.

pub mod bytes;
mod collections;
mod compare;
mod documents;
mod indexes;
mod values;

pub use compare::{described, different, everything};

use mongodb::Database;
use mongodb::bson::{Document, RawDocumentBuf, doc};

use bytes::{Value, array, boolean, document, int, text};

/// A few things that belong together: a collection or two, with their documents.
#[derive(Clone, Debug)]
pub struct Piece {
    /// What is odd about it; unique among the pieces.
    pub name: &'static str,
    /// Commands that make it. They name no database.
    pub commands: Vec<RawDocumentBuf>,
}

/// Every piece. One of them holds a document as long as one may be.
pub fn fixture() -> Vec<Piece> {
    [values::pieces(), documents::pieces(), collections::pieces(), indexes::pieces()].concat()
}

/// The piece of this name.
///
/// # Panics
/// When there is none.
pub fn piece(name: &str) -> Piece {
    let found = fixture().into_iter().find(|piece| piece.name == name);
    found.unwrap_or_else(|| panic!("there is no piece called {name}"))
}

/// Makes pieces in a database.
///
/// # Panics
/// When the server refuses a command, or a write of it, saying of which piece.
pub async fn make(db: &Database, pieces: &[Piece]) {
    for piece in pieces {
        for command in &piece.commands {
            let done = db.run_raw_command(command.clone()).await;
            let says = done.unwrap_or_else(|error| panic!("{}: {error}\n{:.400}", piece.name, described(command)));
            let complains = says.contains_key("writeErrors");
            assert!(!complains, "{}: {says:?}\n{:.400}", piece.name, described(command));
        }
    }
}

fn piece_of(name: &'static str, commands: impl IntoIterator<Item = Value>) -> Piece {
    Piece { name, commands: commands.into_iter().map(Value::into_document).collect() }
}

/// Puts documents into a collection, in one command.
fn insert(collection: &str, documents: impl IntoIterator<Item = Value>) -> Value {
    document([("insert", text(collection)), ("documents", array(documents))])
}

/// The same past the collection's validator.
fn insert_unchecked(collection: &str, documents: impl IntoIterator<Item = Value>) -> Value {
    let unchecked = ("bypassDocumentValidation", boolean(true));
    document([("insert", text(collection)), ("documents", array(documents)), unchecked])
}

/// Puts one document for each value into a collection: `{_id: 0, v: value}` and so on.
fn insert_values(collection: &str, values: impl IntoIterator<Item = Value>) -> Value {
    let numbered = (0..).zip(values);
    insert(collection, numbered.map(|(id, value)| document([("_id", int(id)), ("v", value)])))
}

/// Makes a collection with options.
fn create(collection: &str, options: Document) -> Value {
    let mut command = doc! { "create": collection };
    command.extend(options);
    command.into()
}

/// Makes indexes, as the specifications of the driver's documents.
fn indexes(collection: &str, indexes: impl IntoIterator<Item = Document>) -> Value {
    doc! { "createIndexes": collection, "indexes": indexes.into_iter().collect::<Vec<_>>() }.into()
}
