//! Condemned objects: what a sweep has decided to delete.
//!
//! Owns the writer's side of the commit-and-sweep protocol: read the decisions before reusing anything, and once more
//! before the commit. Promises that a writer which reused a condemned object never commits. A verification condemns what it
//! found damaged in the same way; as it never says which sessions to wait for, no sweep deletes that.

use crate::frame::{Frame, Kind, encode};
use crate::upload::put_own;
use crate::{Error, keys, pages};
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
    put_own(store, &keys::decision(Ulid::generate(), "condemned")?, encode(Kind::Condemned, &open, b"")?).await
}

/// Reads every decision under `gc/`. Any trouble is an error: not knowing what is condemned means reusing nothing safely.
pub(crate) async fn read(store: &dyn Store) -> Result<Condemned, Error> {
    let mut decisions = Vec::new();
    let note = |entry: &store::Entry| {
        decisions.extend(keys::parse_decision(&entry.key).filter(|(_, part)| *part == "condemned").map(|(id, _)| id));
    };
    pages::each(store, &keys::gc_folder()?, "list sweeps", note).await?;
    let mut condemned = Condemned::new();
    for decision in decisions {
        let key = keys::decision(decision, "condemned")?;
        let bytes = match store.get(&key).await {
            Ok(bytes) => bytes,
            // A sweep that is over tidies up after itself; its objects are gone, or referred to by a backup.
            Err(store::Error::NotFound { .. }) => continue,
            Err(source) => return Err(Error::Store { what: "read a sweep's decision".to_owned(), source }),
        };
        let frame = Frame::expect(&bytes, key.as_str(), Kind::Condemned)?;
        let open: Open =
            serde_json::from_slice(&frame.open).map_err(|e| Error::damaged(key.as_str(), e.to_string()))?;
        condemned.extend(open.objects);
    }
    Ok(condemned)
}
