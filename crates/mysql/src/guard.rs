//! Guards: into which schemas a restore may go.
//!
//! Owns saying no. Promises that a restore never replaces the schema it was backed up from, nor one that is not marked for restores under the
//! address and name it was marked with, nor one marked as production; and that each refusal comes before anything is made and says the way out where there
//! is one.

use crate::catalog::Catalog;
use crate::connection::Session;
use crate::endpoint::Endpoint;
use crate::mark::Mark;
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
    let same_place =
        options.source_server.as_deref().is_some_and(|server| server.eq_ignore_ascii_case(&endpoint.server()));
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

/// Fails unless the mark allows a restore into the schema that the URL names; `holds` is something in it, for people.
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

/// Fails for a schema marked as production, wherever the mark was made.
pub(crate) fn assert_not_protected(mark: &Mark, endpoint: &Endpoint) -> Result<(), Error> {
    if !mark.is_protected() {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, format!("{endpoint} is marked as {}: nothing is restored into it", mark.name))
        .hint("restore under another name; nothing was changed"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_mark_holds_for_one_address_and_one_name() {
        let here = Endpoint::parse("mysql://u:hunter2@DB.example.org/app", None).unwrap();
        let said =
            |mark: Option<&Mark>| assert_marked(mark, &here, "the table t").err().map(|error| (error.what, error.hint));
        assert_eq!(said(Some(&Mark::new("staging", &here))), None);
        assert!(said(Some(&Mark::new("eu-prod", &here))).unwrap().0.contains("eu-prod"));
        let (what, hint) = said(None).unwrap();
        assert!(what.contains("not marked") && hint.unwrap().contains("--as staging"));
        for url in
            ["mysql://u@db.example.org/other", "mysql://u@other.example.org/app", "mysql://u@db.example.org:3307/app"]
        {
            let there = Endpoint::parse(url, None).unwrap();
            let (what, hint) = said(Some(&Mark::new("staging", &there))).unwrap();
            assert!(what.contains("carries") && !hint.unwrap().contains("hunter2"), "{what}");
        }
    }
}
