//! Listings, page by page.
//!
//! Owns the loop around the store's pages. Promises every entry once, in the order of keys, with one page in memory.

use crate::Error;
use store::{Entry, Prefix, Store};

/// Calls `take` with every entry below a prefix; `what` is being done, for errors.
pub(crate) async fn each(
    store: &dyn Store,
    prefix: &Prefix,
    what: &str,
    mut take: impl FnMut(&Entry),
) -> Result<(), Error> {
    let mut after = None;
    loop {
        let page = store.list(prefix, after.as_ref()).await.map_err(Error::store(what))?;
        page.entries.iter().for_each(&mut take);
        after = page.entries.last().map(|entry| entry.key.clone());
        if !page.more || after.is_none() {
            return Ok(());
        }
    }
}
