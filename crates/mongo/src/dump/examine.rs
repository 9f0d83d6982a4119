//! How a dump is doing: what a backup of it would meet.
//!
//! Owns what `doctor` says of one. Promises to read definitions and the beginnings of archives alone: whether documents are whole is found by reading them all, which a backup does.

use crate::catalog::Sort;
use crate::dump::address::Dump;
use crate::dump::contents::Contents;
use crate::dump::reader::blocking;
use crate::dump::source::Looked;
use engine::{Error, Finding};

/// What a backup of this dump would meet.
pub async fn examine(dump: &Dump) -> Vec<Finding> {
    let at = dump.clone();
    let looked: Result<Looked, Error> = blocking(move || Looked::at(&at)).await;
    match looked {
        Ok(looked) => found(dump, looked.contents()),
        Err(error) => vec![Finding::bad("dump", error)],
    }
}

fn found(dump: &Dump, contents: &Contents) -> Vec<Finding> {
    let views = contents.collections.iter().filter(|one| one.sort == Sort::View).count();
    let what = format!(
        "{dump} is {} of mongodump: the database {} of MongoDB {}, {} collections, {views} views",
        contents.form,
        contents.database,
        contents.server_version,
        contents.collections.len() - views
    );
    let oplog = if contents.has_oplog { "; its oplog is not applied" } else { "" };
    let advice = "a backup of it takes --allow-inexact, and says what it is";
    vec![Finding::good("dump", what), Finding::warning("moment", format!("a dump is of no one moment{oplog}"), advice)]
}
