//! Guards: into which schemas a restore may go.
//!
//! Owns saying no. Promises that a restore never replaces what it was backed up from, and that each refusal comes before anything is made and says the way out where there is one. What a mark allows is
//! the same for all databases, and is said by `engine::Mark`.

use crate::catalog::Catalog;
use crate::connection::Session;
use crate::endpoint::Endpoint;
use crate::snapshot::identity;
use engine::{Error, Kind, TargetOptions};

/// Fails when the schema that the URL names is the one that the backup was made of.
pub(crate) async fn assert_not_source(
    session: &mut Session,
    endpoint: &Endpoint,
    catalog: &Catalog,
    options: &TargetOptions,
) -> Result<(), Error> {
    if !catalog.database.name.eq_ignore_ascii_case(endpoint.database()) {
        return Ok(());
    }
    let same_place = options.source_server.as_deref().is_some_and(|server| endpoint.spot().is_at(server));
    let what = format!("{endpoint} is the database that this backup was made of");
    if same_place {
        return Err(Error::new(Kind::Refused, what).hint("restore under another name; nothing was changed"));
    }
    let same_server = match (&catalog.moment.server_id, identity(session).await?) {
        (Some(then), Some(now)) => *then == now,
        _ => false,
    };
    if !same_server || options.target_is_a_clone {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, format!("{what}, or a physical copy of it: the server's identifier is the same")).hint(
        "if this server was cloned from the source's disk, and is not the source, say --target-is-a-clone; nothing was changed",
    ))
}
