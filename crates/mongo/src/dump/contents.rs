//! What is in a dump: definitions and documents, brought together.
//!
//! Owns the rule that each collection has both: documents without a definition would come back without their options and indexes, a definition without documents may stand for documents that are lost. Promises that whatever is
//! left out is named, and that a dump which changes while it is read is noticed. Refuses a half of either.

use crate::catalog::{BUCKETS, Collection, FUNCTIONS, Sort};
use crate::dump::documents::Part;
use crate::dump::files::Place;
use crate::listing::views_last;
use crate::scratch;
use crate::source::named;
use engine::{Error, Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is said where a dump does not say its server's version.
pub(crate) const UNKNOWN: &str = "unknown";
/// Collections that a server keeps for itself, and older tools dumped.
const SERVERS: [&str; 2] = ["system.profile", "system.indexes"];
/// Users and roles of a database, by `--dumpDbUsersAndRoles`.
const ACCOUNTS: [&str; 3] = ["$admin.system.users", "$admin.system.roles", "$admin.system.version"];

/// Says that whoever asked does not wait any more.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on nobody waits.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Fails when nobody waits any more.
    pub fn check(&self) -> Result<(), Error> {
        if self.0.load(Ordering::Relaxed) {
            Err(Error::new(Kind::Interrupted, "the dump is not read to its end"))
        } else {
            Ok(())
        }
    }
}

/// The documents of one collection.
#[derive(Debug)]
pub(crate) struct Data {
    pub place: Arc<Place>,
    /// Whether the file is packed: then it is one part, whatever its size.
    pub packed: bool,
    pub parts: Vec<Part>,
    /// Bytes of the documents; of a packed file, the file's.
    pub bytes: u64,
}

/// A file or a folder that stays what it is.
#[derive(Debug)]
pub(crate) enum Watched {
    File(Arc<Place>),
    /// A folder, and the names in it.
    Folder(PathBuf, BTreeSet<String>),
}

/// A dump of one database.
#[derive(Debug)]
pub(crate) struct Contents {
    pub database: String,
    pub server_version: String,
    /// What it is, for people.
    pub form: &'static str,
    /// By name, views last.
    pub collections: Vec<Collection>,
    /// By what the collections' [`Collection::holder`] says.
    pub data: BTreeMap<String, Data>,
    /// What the operator should know.
    pub notes: Vec<String>,
    pub has_oplog: bool,
    pub watched: Vec<Watched>,
}

/// What is passed over, and why, by name.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    accounts: bool,
    servers: BTreeSet<String>,
    ours: BTreeSet<String>,
}

impl LeftOut {
    /// Whether a name is none that a user made; then it is noted.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] for a name of the server's that means something and cannot be carried.
    pub fn takes(&mut self, name: &str) -> Result<bool, Error> {
        if ACCOUNTS.contains(&name) {
            self.accounts = true;
        } else if SERVERS.contains(&name) {
            self.servers.insert(name.to_owned());
        } else if scratch::is_ours(name) {
            self.ours.insert(name.to_owned());
        } else if name.starts_with('$')
            || (name.starts_with("system.") && name != FUNCTIONS && !name.starts_with(BUCKETS))
        {
            return Err(Error::new(
                Kind::Unsupported,
                format!("{name} is in the dump: it is the server's own, and nobody can restore it"),
            )
            .hint("mongodump writes it only when it is asked for by name; move its files away if it is not needed"));
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    pub fn notes(&self) -> Vec<String> {
        let all = |names: &BTreeSet<String>| named(&names.iter().cloned().collect::<Vec<_>>());
        let mut notes = Vec::new();
        if self.accounts {
            notes.push("left out: users and roles of the dump (--dumpDbUsersAndRoles)".to_owned());
        }
        if !self.servers.is_empty() {
            notes.push(format!("left out: what servers keep for themselves: {}", all(&self.servers)));
        }
        if !self.ours.is_empty() {
            notes.push(format!(
                "a restore was at work in the database when it was dumped, and what it calls so is left out: {}",
                all(&self.ours)
            ));
        }
        notes
    }
}

/// Definitions in the order in which they are made; fails on two of one name.
pub(crate) fn in_order(mut collections: Vec<Collection>, what: &str) -> Result<Vec<Collection>, Error> {
    collections.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(twice) = collections.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(Error::new(Kind::Data, format!("{what} defines {} twice", twice[0].name))
            .hint("two dumps were put into one; no backup was made"));
    }
    if collections.is_empty() {
        return Err(Error::new(Kind::NotFound, format!("{what} has no collections"))
            .hint("check the path in the URL; no backup was made"));
    }
    Ok(views_last(collections))
}

/// Fails unless each collection has documents, and all documents have a collection.
pub(crate) fn assert_paired(collections: &[Collection], holders: &BTreeSet<&str>, what: &str) -> Result<(), Error> {
    for collection in collections {
        let Some(holder) = collection.holder().filter(|holder| !holders.contains(holder.as_str())) else { continue };
        if collection.sort == Sort::TimeSeries && holders.contains(collection.name.as_str()) {
            let what = format!("{} is a time series as servers from 8.3 on dump it", collection.name);
            return Err(Error::new(Kind::Unsupported, what).hint("back up the server itself; no backup was made"));
        }
        return Err(Error::new(
            Kind::Data,
            format!("{what} has the definition of {} and not its documents ({holder})", collection.name),
        )
        .hint("the dump did not end well, or was not copied whole; no backup was made"));
    }
    let known: BTreeSet<String> = collections.iter().filter_map(Collection::holder).collect();
    let Some(other) = holders.iter().find(|holder| !known.contains(**holder)) else { return Ok(()) };
    if collections.iter().any(|one| one.name == **other) {
        return Err(Error::new(Kind::Unsupported, format!("{other} is a view, and the dump has documents of it"))
            .hint("dump again without --viewsAsCollections, or move its documents away; no backup was made"));
    }
    Err(Error::new(
        Kind::Data,
        format!("{what} has documents of {other} and no definition of it: its options and indexes are not known"),
    )
    .hint("the dump was not copied whole, or its documents were put there by hand; no backup was made"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::raw::Kept;
    use mongodb::bson::rawdoc;

    fn one(name: &str, sort: Sort) -> Collection {
        Collection::new(name, sort, Kept(rawdoc! {}))
    }

    #[test]
    fn a_half_is_refused_by_name() {
        let all = [one("a", Sort::Collection), one("t", Sort::TimeSeries), one("v", Sort::View)];
        let paired = |holders: &[&str]| assert_paired(&all, &holders.iter().copied().collect(), "/dump");
        paired(&["a", "system.buckets.t"]).unwrap();
        for (holders, kind, said) in [
            (&["system.buckets.t"][..], Kind::Data, "definition of a"),
            (&["a"][..], Kind::Data, "system.buckets.t"),
            (&["a", "t"][..], Kind::Unsupported, "8.3"),
            (&["a", "system.buckets.t", "v"][..], Kind::Unsupported, "v is a view"),
            (&["a", "system.buckets.t", "b"][..], Kind::Data, "documents of b and no definition"),
        ] {
            let error = paired(holders).unwrap_err();
            assert!(error.kind == kind && error.to_string().contains(said), "{error}");
        }
        assert_eq!(in_order(vec![one("a", Sort::View), one("a", Sort::View)], "/dump").unwrap_err().kind, Kind::Data);
        assert_eq!(in_order(Vec::new(), "/dump").unwrap_err().kind, Kind::NotFound);
    }

    #[test]
    fn what_is_left_out_is_named() {
        let mut left = LeftOut::default();
        for name in ["$admin.system.users", "system.profile", "longshore.mark"] {
            assert!(left.takes(name).unwrap(), "{name}");
        }
        for name in ["a", "system.js", "system.buckets.t"] {
            assert!(!left.takes(name).unwrap(), "{name}");
        }
        assert_eq!(left.takes("system.views").unwrap_err().kind, Kind::Unsupported);
        assert_eq!(left.takes("$other").unwrap_err().kind, Kind::Unsupported);
        let notes = left.notes().join("\n");
        assert!(
            ["users and roles", "system.profile", "longshore.mark"].iter().all(|said| notes.contains(said)),
            "{notes}"
        );
    }
}
