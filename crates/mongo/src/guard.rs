//! Guards: into which databases a restore may go.
//!
//! Owns saying no. Promises that a restore never replaces the database it was backed up from, nor one that is not marked for restores under the address and name it was marked with, nor one marked
//! as production; and that each refusal comes before anything is made and says the way out where there is one.

use crate::catalog::{Catalog, Collection};
use crate::endpoint::Endpoint;
use crate::mark::{self, Mark};
use engine::{Error, Kind, TargetOptions};

/// Fails when the database that the URL names is the one that the backup was made of. A collection has an identifier that the server made with it, and that no other ever has: a copy of the disk apart.
pub(crate) fn assert_not_source(
    live: &[Collection],
    endpoint: &Endpoint,
    catalog: &Catalog,
    options: &TargetOptions,
) -> Result<(), Error> {
    let what = format!("{endpoint} is the database that this backup was made of");
    let same_place = catalog.database == endpoint.database()
        && options
            .source_server
            .as_deref()
            .is_some_and(|server| mark::place(server) == mark::place(&endpoint.server()));
    if same_place {
        return Err(Error::new(Kind::Refused, what).hint("restore under another name; nothing was changed"));
    }
    let known = |one: &&Collection| !one.uuid.is_empty() && catalog.collections.iter().any(|of| of.uuid == one.uuid);
    let Some(same) = live.iter().find(known).filter(|_| !options.target_is_a_clone) else { return Ok(()) };
    Err(Error::new(Kind::Refused, format!("{what}, or a physical copy of it: {} has the same identifier", same.name)).hint(
        "if this deployment was cloned from the source's disk, and is not the source, say --target-is-a-clone; nothing was changed",
    ))
}

/// Fails unless the mark allows a restore into the database that the URL names; `holds` is something in it, for people.
pub(crate) fn assert_marked(mark: Option<&Mark>, endpoint: &Endpoint, holds: &str) -> Result<(), Error> {
    let refused = |what: String| Error::new(Kind::Refused, what);
    let remark = |mark: &str| {
        let url = endpoint.url();
        format!(
            "if this database is one that restores may change and replace: longshore mark --target '{url}' --as {mark}"
        )
    };
    let Some(mark) = mark else {
        let what = format!("{endpoint} holds {holds} and is not marked as a database that may be replaced");
        return Err(refused(what).hint(remark("staging")));
    };
    assert_not_protected(mark, endpoint)?;
    if mark.database != endpoint.database() {
        let what = format!("{endpoint} carries the mark of a database called {}", mark.database);
        return Err(refused(what).hint(remark(&mark.name)));
    }
    if !mark.is_of_server(endpoint) {
        let what = format!("{endpoint} carries a mark that was made for {}, another address", mark.server);
        return Err(refused(what).hint(remark(&mark.name)));
    }
    Ok(())
}

/// Fails for a database marked as production, wherever the mark was made.
pub(crate) fn assert_not_protected(mark: &Mark, endpoint: &Endpoint) -> Result<(), Error> {
    if !mark.is_protected() {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, format!("{endpoint} is marked as {}: nothing is restored into it", mark.name))
        .hint("restore under another name; nothing was changed"))
}
