//! Marks: which environment a database is, and where it was when somebody said so.
//!
//! Owns the rule by which a restore may go into a database that holds something, the same for all databases. Promises that a mark binds the place: one that came with a copy, to another name or another server
//! allows nothing; that production is never restored into, wherever its mark was made; and that a refusal says the way out. Where a mark is kept is the driver's.

use crate::{Error, Kind, is_protected_environment};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which environment a database is, and where it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The environment's name.
    #[serde(rename = "as")]
    pub name: String,
    /// Hosts and ports, as [`Spot::new`] orders them.
    pub server: String,
    /// The database's name.
    pub database: String,
}

/// Where a database is, as an operator's URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    shown: String,
    url: String,
    server: String,
    database: String,
}

impl Spot {
    /// A place: how errors name it, its URL without a password, its hosts and ports separated by commas, the database's name.
    #[must_use]
    pub fn new(shown: &impl fmt::Display, url: String, server: &str, database: &str) -> Self {
        Self { shown: shown.to_string(), url, server: one_order(server), database: database.to_owned() }
    }

    /// Whether these hosts and ports are the same server, in whatever order and case.
    #[must_use]
    pub fn is_at(&self, server: &str) -> bool {
        self.server == one_order(server)
    }
}

/// Names of hosts know no case, and several of one deployment no order.
fn one_order(server: &str) -> String {
    let server = server.to_ascii_lowercase();
    let mut hosts: Vec<&str> = server.split(',').collect();
    hosts.sort_unstable();
    hosts.join(",")
}

impl Mark {
    /// A mark for a place.
    #[must_use]
    pub fn new(name: &str, spot: &Spot) -> Self {
        Self { name: name.to_owned(), server: spot.server.clone(), database: spot.database.clone() }
    }

    /// Whether it says that nothing may be restored there.
    #[must_use]
    pub fn is_protected(&self) -> bool {
        is_protected_environment(&self.name)
    }

    /// Fails for production, wherever the mark was made.
    ///
    /// # Errors
    /// [`Kind::Refused`].
    pub fn assert_not_protected(&self, spot: &Spot) -> Result<(), Error> {
        if !self.is_protected() {
            return Ok(());
        }
        let what = format!("{} is marked as {}: nothing is restored into it", spot.shown, self.name);
        Err(Error::new(Kind::Refused, what).hint("restore under another name; nothing was changed"))
    }

    /// Fails unless the mark allows a restore into what is there; `holds` is something in it, for people.
    ///
    /// # Errors
    /// [`Kind::Refused`], with the way out.
    pub fn assert_allows(mark: Option<&Self>, spot: &Spot, holds: &str) -> Result<(), Error> {
        let shown = &spot.shown;
        let refused = |what: String, name: &str| {
            let hint = format!(
                "if this database is one that restores may change and replace: longshore mark --target '{}' --as {name}",
                spot.url
            );
            Err(Error::new(Kind::Refused, what).hint(hint))
        };
        let Some(mark) = mark else {
            return refused(
                format!("{shown} holds {holds} and is not marked as a database that may be replaced"),
                "staging",
            );
        };
        mark.assert_not_protected(spot)?;
        if mark.database != spot.database {
            let what = format!(
                "{shown} carries the mark of a database called {}: it was renamed since, or copied",
                mark.database
            );
            return refused(what, &mark.name);
        }
        if mark.server != spot.server {
            let what = format!("{shown} carries a mark that was made for {}, another address", mark.server);
            return refused(what, &mark.name);
        }
        Ok(())
    }

    /// Fails when production would become something else by a new mark alone.
    ///
    /// # Errors
    /// [`Kind::Refused`].
    pub fn assert_may_follow(&self, before: Option<&Self>, spot: &Spot) -> Result<(), Error> {
        let Some(before) = before.filter(|before| before.is_protected() && !self.is_protected()) else { return Ok(()) };
        let what = format!("{} is marked as {}, where nothing is restored into", spot.shown, before.name);
        let hint = "if it is not that any more, take the mark away first: longshore mark --remove; nothing was changed";
        Err(Error::new(Kind::Refused, what).hint(hint))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn spot(server: &str, database: &str) -> Spot {
        Spot::new(&format!("{database} at {server}"), format!("x://u@{server}/{database}"), server, database)
    }

    #[test]
    fn a_mark_holds_for_one_address_and_one_name() {
        let here = spot("DB.example.org:1", "app");
        let said = |mark: Option<&Mark>| Mark::assert_allows(mark, &here, "the table t").err();
        assert!(said(Some(&Mark::new("staging", &here))).is_none());
        assert!(said(Some(&Mark::new("eu-prod", &here))).unwrap().what.contains("eu-prod"));
        let error = said(None).unwrap();
        assert!(error.what.contains("not marked") && error.hint.unwrap().contains("x://u@DB.example.org:1/app"));
        for there in [spot("db.example.org:1", "other"), spot("other:1", "app"), spot("db.example.org:2", "app")] {
            let error = said(Some(&Mark::new("staging", &there))).unwrap();
            assert!(error.what.contains("carries") && error.hint.unwrap().contains("--as staging"), "{}", error.what);
        }
    }

    #[test]
    fn a_place_is_the_same_in_any_order_of_its_hosts() {
        let mark = Mark::new("staging", &spot("B:27018,a:27017", "app"));
        assert!(Mark::assert_allows(Some(&mark), &spot("a:27017,b:27018", "app"), "x").is_ok());
        assert!(spot("b:1,A:2", "app").is_at("a:2,B:1") && !spot("b:1", "app").is_at("b:2"));
    }

    #[test]
    fn production_becomes_nothing_else_by_a_mark_alone() {
        let here = spot("db:1", "app");
        let mark = |name| Mark::new(name, &here);
        assert_eq!(mark("staging").assert_may_follow(Some(&mark("prod")), &here).unwrap_err().kind, Kind::Refused);
        assert!(mark("eu-prod").assert_may_follow(Some(&mark("prod")), &here).is_ok());
        assert!(mark("prod").assert_may_follow(Some(&mark("staging")), &here).is_ok());
        assert!(mark("staging").assert_may_follow(None, &here).is_ok());
    }
}
