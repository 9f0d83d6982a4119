//! Guards: into which databases a restore may go.
//!
//! Owns saying no. Promises that a restore never replaces what it was backed up from, and that each refusal comes before anything is made and says the way out where there is one. What a mark allows is
//! the same for all databases, and is said by `engine::Mark`.

use crate::catalog::{Catalog, Collection};
use crate::endpoint::Endpoint;
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
        && options.source_server.as_deref().is_some_and(|server| endpoint.spot().is_at(server));
    if same_place {
        return Err(Error::new(Kind::Refused, what).hint("restore under another name; nothing was changed"));
    }
    let known = |one: &&Collection| !one.uuid.is_empty() && catalog.collections.iter().any(|of| of.uuid == one.uuid);
    let Some(same) = live.iter().find(known).filter(|_| !options.target_is_a_clone) else { return Ok(()) };
    Err(Error::new(Kind::Refused, format!("{what}, or a physical copy of it: {} has the same identifier", same.name)).hint(
        "if this deployment was cloned from the source's disk, and is not the source, say --target-is-a-clone; nothing was changed",
    ))
}
