//! What comes first, what comes last, and what does not come at all.
//!
//! Owns the order of a restore as far as it depends on what is in the backup and not on a server: streams that others refer to,
//! streams that refer to others, entries that would disturb the rest, and what would tie a copy to production. Promises that a
//! restore and an export keep to the same order. Refuses to run anything.

use crate::catalog::{Catalog, Special, Table};
use crate::toc::Contents;
use engine::StreamName;
use std::collections::BTreeSet;

/// Streams that are loaded before all others, in this order: rows of extensions' tables refer to each other.
pub(crate) fn first<'a>(tables: impl Iterator<Item = (&'a StreamName, &'a Table)>) -> Vec<StreamName> {
    let order = |(stream, table): (&StreamName, &Table)| match table.special {
        Some(Special::Extension { order, .. }) => Some((order, stream.clone())),
        _ => None,
    };
    let mut first: Vec<_> = tables.filter_map(order).collect();
    first.sort();
    first.into_iter().map(|(_, stream)| stream).collect()
}

/// Streams that are loaded after all others: their values name what is in others, or their checks ask others.
pub(crate) fn last<'a>(tables: impl Iterator<Item = (&'a StreamName, &'a Table)>) -> Vec<StreamName> {
    tables.filter(|(_, table)| table.loads_last()).map(|(stream, _)| stream.clone()).collect()
}

/// Entries that come last of all: event triggers fire on whatever is still to be made.
pub(crate) fn at_the_end(contents: &Contents) -> BTreeSet<i32> {
    let triggers = contents.entries.iter().filter(|entry| entry.kind == "EVENT TRIGGER");
    let triggers: BTreeSet<i32> = triggers.map(|entry| entry.id).collect();
    let about = |id: &i32, needs: &[i32]| triggers.contains(id) || needs.iter().any(|need| triggers.contains(need));
    contents.entries.iter().filter(|entry| about(&entry.id, &entry.needs)).map(|entry| entry.id).collect()
}

/// What the backup holds and is left out on purpose: it would connect a copy to production, or could not be dropped again.
pub(crate) fn left_out(contents: &Contents, catalog: &Catalog) -> Vec<String> {
    let tied = contents.entries.iter().filter(|entry| matches!(entry.kind.as_str(), "PUBLICATION" | "SUBSCRIPTION"));
    let tied = tied.map(|entry| format!("left out: {}", entry.shown()));
    let template = catalog.database.is_template.then(|| {
        "left out: that the database is a template, which could not be dropped; ALTER DATABASE … IS_TEMPLATE true makes it one".to_owned()
    });
    tied.chain(template).collect()
}
