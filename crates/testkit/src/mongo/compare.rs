//! Owns what two databases are compared by: all that a server says of a database, as text by key.
//!
//! Promises to read documents as the bytes that the server keeps, and specifications with the types of their numbers
//! and the order of their fields. Refuses to use anything of the product's: this is what checks it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use mongodb::bson::raw::RawBsonRef;
use mongodb::bson::{Document, RawDocument, RawDocumentBuf, doc};
use mongodb::{Cursor, Database};

/// Everything in a database by keys such as `collection NAME`, `index COLLECTION: NAME`, `documents NAME`, and for
/// capped collections `order NAME`. The database's name is replaced by `{db}` where it stands before a dot. Left out
/// are the identities that the server gives to collections, collections whose names begin with `longshore`, and those of
/// the server itself but for stored functions: the list of views is not even `root`'s to read.
///
/// # Panics
/// When the server refuses.
pub async fn everything(db: &Database) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for collection in list(db, doc! { "listCollections": 1 }).await {
        let name = collection.get_str("name").expect("a collection has a name").to_owned();
        if !is_compared(&name) {
            continue;
        }
        let kind = collection.get_str("type").expect("a collection has a type").to_owned();
        found.insert(format!("collection {name}"), in_any(db, &options(&collection)));
        if kind != "view" {
            for index in list(db, doc! { "listIndexes": &name }).await {
                let title = index.get_str("name").expect("an index has a name");
                found.insert(format!("index {name}: {title}"), in_any(db, &sorted(&index, &["ns"])));
            }
        }
        let capped =
            collection.get_document("options").is_ok_and(|options| options.get("capped").is_ok_and(|v| v.is_some()));
        content(db, &name, &kind, capped, &mut found).await;
    }
    found
}

/// The keys of two `everything` whose values differ, or that only one of them has.
pub fn different(one: &BTreeMap<String, String>, other: &BTreeMap<String, String>) -> Vec<String> {
    let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    keys.into_iter().filter(|key| one.get(*key) != other.get(*key)).cloned().collect()
}

fn is_compared(name: &str) -> bool {
    let servers = name.starts_with("system.") && name != "system.js";
    !servers && !name.starts_with("longshore")
}

/// `info` has the identity that the server gave, and whether it is read-only, which follows from its type.
fn options(collection: &RawDocument) -> String {
    sorted(collection, &["name", "info"])
}

/// The documents: how many there are, and what they are whatever their order; of a capped collection also in order.
async fn content(db: &Database, name: &str, kind: &str, capped: bool, found: &mut BTreeMap<String, String>) {
    let key = format!("documents {name}");
    let collection = db.collection::<RawDocumentBuf>(name);
    let mut cursor = match collection.find(doc! {}).await {
        Ok(cursor) => cursor,
        // A view that fails does so for good, and is a thing to be kept like others.
        Err(error) if kind == "view" => {
            found.insert(key, format!("cannot be read: {:?}", code(&error)));
            return;
        }
        Err(error) => panic!("documents of {name}: {error}"),
    };
    let (mut count, mut sum, mut order) = (0_u64, 0_u64, 0_u64);
    while advance(&mut cursor, name).await {
        let document = cursor.current();
        let mut hasher = DefaultHasher::new();
        match kind {
            // Of a time series the server decides about the order of fields when it puts a measurement together.
            "timeseries" => sorted(document, &[]).hash(&mut hasher),
            _ => document.as_bytes().hash(&mut hasher),
        }
        let digest = hasher.finish();
        count += 1;
        sum = sum.wrapping_add(digest);
        order = order.wrapping_mul(31).wrapping_add(digest);
    }
    found.insert(key, format!("{count} documents, digest {sum:016x}"));
    if capped {
        found.insert(format!("order {name}"), format!("{order:016x}"));
    }
}

fn code(error: &mongodb::error::Error) -> Option<i32> {
    match error.kind.as_ref() {
        mongodb::error::ErrorKind::Command(refused) => Some(refused.code),
        _ => None,
    }
}

async fn advance(cursor: &mut Cursor<RawDocumentBuf>, what: &str) -> bool {
    cursor.advance().await.unwrap_or_else(|error| panic!("read {what}: {error}"))
}

async fn list(db: &Database, command: Document) -> Vec<RawDocumentBuf> {
    let what = format!("{command:?}");
    let cursor = db.run_cursor_command(command).await.unwrap_or_else(|error| panic!("{what}: {error}"));
    let mut cursor = cursor.with_type::<RawDocumentBuf>();
    let mut found = Vec::new();
    while advance(&mut cursor, &what).await {
        found.push(cursor.current().to_owned());
    }
    found
}

/// Wherever a namespace may stand: before a dot, and after what is not part of a name.
fn in_any(db: &Database, text: &str) -> String {
    text.replace(&format!("\"{}.", db.name()), "\"{db}.")
}

/// The fields at the top by name, without some; what is within them in its own order.
fn sorted(document: &RawDocument, without: &[&str]) -> String {
    let fields = document.iter().map(|field| field.expect("the server's words are documents"));
    let fields = fields.map(|(name, value)| (name.as_str().to_owned(), value));
    let fields: BTreeMap<_, _> = fields.filter(|(name, _)| !without.contains(&name.as_str())).collect();
    fields.into_iter().map(|(name, value)| format!("{name}: {}\n", written(value))).collect()
}

/// A document as text: every type tells itself from every other, and numbers show all of their bits.
pub fn described(document: &RawDocument) -> String {
    let mut text = String::from("{");
    for field in document {
        match field {
            Ok((name, value)) => {
                write!(text, "{:?}: {}, ", name.as_str(), written(value)).expect("text grows");
            }
            Err(error) => {
                write!(text, "({error})").expect("text grows");
                break;
            }
        }
    }
    text + "}"
}

fn written(value: RawBsonRef<'_>) -> String {
    match value {
        RawBsonRef::Document(document) => described(document),
        RawBsonRef::Array(array) => {
            format!("[{}]", described(RawDocument::from_bytes(array.as_bytes()).expect("it is one")))
        }
        RawBsonRef::Double(number) => format!("Double({number:?}, {:016x})", number.to_bits()),
        other => format!("{other:?}"),
    }
}
