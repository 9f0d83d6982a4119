//! Owners: to whom the programs of a backup belong when they come back.
//!
//! Owns the change of `DEFINER` from one account to another, in the server's own statements. Promises that nothing else of a statement changes, and that what is mapped is there. Refuses names that no program belongs to: they
//! are mistyped.

use crate::accounts::Name;
use crate::catalog::{Catalog, Program};
use crate::objects;
use crate::quote::ident;
use crate::source::named;
use crate::text::Text;
use engine::{Error, Kind};
use std::collections::BTreeSet;

/// Gives programs to other owners: pairs of accounts, `app@%` as people write it.
pub(crate) fn map(catalog: &mut Catalog, definers: &[(String, String)]) -> Result<(), Error> {
    let mut changed = Vec::with_capacity(definers.len());
    for (from, to) in definers {
        if !to.is_ascii() {
            // A program's statement may be in a character set that has no such letter, or has it elsewhere.
            let what = format!("--map-definer {from}={to}: the new owner's name has letters beyond ASCII");
            return Err(Error::new(Kind::Config, what).hint("choose an account with a plain name; nothing was changed"));
        }
        changed.push((Name::plain(from), Name::plain(to)));
    }
    let Catalog { views, routines, triggers, events, .. } = catalog;
    let (mut owners, mut met) = (BTreeSet::new(), BTreeSet::new());
    for program in [views, routines, triggers, events].into_iter().flatten() {
        let Some(owner) = owner(program) else { continue };
        if let Some((from, to)) = changed.iter().find(|(from, _)| is(from, &owner)) {
            program.create = Text(objects::with_definer(&program.create.0, &definer(to)));
            met.insert(from.clone());
        }
        owners.insert(owner);
    }
    let Some((unknown, _)) = changed.iter().find(|(from, _)| !met.contains(from)) else { return Ok(()) };
    let owners: Vec<String> = owners.iter().map(Name::to_string).collect();
    let what = format!("--map-definer: no program of the backup belongs to {unknown}");
    let all = if owners.is_empty() { "nobody".to_owned() } else { named(&owners) };
    Err(Error::new(Kind::Config, what).hint(format!("they belong to {all}; nothing was changed")))
}

/// A role of MariaDB has no host, and people name it without one.
fn is(named: &Name, owner: &Name) -> bool {
    named == owner || (owner.host.is_empty() && named.host == "%" && named.user == owner.user)
}

/// Whom a program belongs to.
pub(crate) fn owner(program: &Program) -> Option<Name> {
    Name::first_of(objects::definer(&program.create.0)?.strip_prefix(b"DEFINER=")?)
}

fn definer(name: &Name) -> Vec<u8> {
    format!("DEFINER={}@{}", ident(&name.user), ident(&name.host)).into_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn catalog() -> Catalog {
        let json = r#"{"version": 1, "product": "mysql", "server_version": "9.0.0", "tables": [], "moment": {"protocol": "global-lock"},
            "database": {"name": "app", "charset": "", "collation": ""}, "routines": [{"kind": "procedure", "name": "p", "charset": "", "collation": "",
            "create": "CREATE DEFINER=`app`@`%` PROCEDURE `p`() SELECT ' DEFINER=`app`@`%` '"}]}"#;
        serde_json::from_str(json).unwrap()
    }

    fn mapped(from: &str, to: &str) -> Result<String, Error> {
        let mut catalog = catalog();
        map(&mut catalog, &[(from.to_owned(), to.to_owned())])?;
        Ok(catalog.routines[0].create.shown().into_owned())
    }

    #[test]
    fn only_the_owner_changes() {
        let expected = "CREATE DEFINER=`st``age`@`10.0.%` PROCEDURE `p`() SELECT ' DEFINER=`app`@`%` '";
        assert_eq!(mapped("app@%", "st`age@10.0.%").unwrap(), expected);
        assert_eq!(mapped("app", "st`age@10.0.%").unwrap(), expected);
    }

    #[test]
    fn a_role_is_named_without_a_host() {
        let mut catalog = catalog();
        catalog.routines[0].create = Text(b"CREATE DEFINER=`staff` PROCEDURE `p`() SELECT 1".to_vec());
        map(&mut catalog, &[("staff".to_owned(), "app@%".to_owned())]).unwrap();
        assert_eq!(catalog.routines[0].create.shown(), "CREATE DEFINER=`app`@`%` PROCEDURE `p`() SELECT 1");
    }

    #[test]
    fn who_owns_nothing_is_refused_with_those_who_do() {
        let error = mapped("ap@%", "x@%").unwrap_err();
        assert!(error.what.contains("'ap'@'%'") && error.hint.unwrap().contains("'app'@'%'"));
        assert!(mapped("app@%", "\u{e9}@%").is_err());
    }
}
