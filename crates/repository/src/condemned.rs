//! Condemned objects: what a sweep has decided to delete.
//!
//! Owns the writer's side of the commit-and-sweep protocol: read the decisions before reusing anything, and once more
//! before the commit. Promises that a writer which reused a condemned object never commits.

use crate::frame::{Frame, Kind};
use crate::{Error, keys};
use serde::Deserialize;
use std::collections::HashSet;
use store::Store;

/// Names of condemned objects, as refs carry them.
pub(crate) type Condemned = HashSet<String>;

#[derive(Deserialize)]
struct Open {
    objects: Vec<String>,
}

/// Reads every decision under `gc/`. Any trouble is an error: not knowing what is condemned means reusing nothing safely.
pub(crate) async fn read(store: &dyn Store) -> Result<Condemned, Error> {
    let mut condemned = Condemned::new();
    let prefix = keys::gc_folder()?;
    let mut after = None;
    loop {
        let page = store.list(&prefix, after.as_ref()).await.map_err(Error::store("list sweeps"))?;
        for entry in page.entries.iter().filter(|entry| keys::is_condemned(&entry.key)) {
            let bytes = store.get(&entry.key).await.map_err(Error::store("read a sweep's decision"))?;
            let frame = Frame::expect(&bytes, entry.key.as_str(), Kind::Condemned)?;
            let open: Open =
                serde_json::from_slice(&frame.open).map_err(|e| Error::damaged(entry.key.as_str(), e.to_string()))?;
            condemned.extend(open.objects);
        }
        after = page.entries.last().map(|entry| entry.key.clone());
        if !page.more || after.is_none() {
            return Ok(condemned);
        }
    }
}
