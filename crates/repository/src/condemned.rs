//! Condemned objects: what a sweep has decided to delete.
//!
//! Owns the writer's side of the commit-and-sweep protocol: read the decisions before reusing anything, and once more
//! before the commit. Promises that a writer which reused a condemned object never commits. A verification condemns what it
//! found damaged in the same way; as it never says which sessions to wait for, no sweep deletes that.

use crate::frame::{Frame, Kind, encode};
use crate::upload::put_own;
use crate::{Error, keys};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use store::Store;
use ulid::Ulid;

/// Names of condemned objects, as refs carry them.
pub(crate) type Condemned = HashSet<String>;

#[derive(Serialize, Deserialize)]
struct Open {
    objects: Vec<String>,
}

/// Writes a decision of its own.
pub(crate) async fn write(store: &dyn Store, objects: &[String]) -> Result<(), Error> {
    let open = serde_json::to_vec(&Open { objects: objects.to_vec() });
    let open = open.map_err(|e| Error::Internal(format!("write a list of condemned objects: {e}")))?;
    put_own(store, &keys::condemned(Ulid::generate())?, encode(Kind::Condemned, &open, b"")?).await
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
