//! Filters: which collections of a database are backed up, or come back.
//!
//! Owns turning patterns into names and a catalog into that of a part. A pattern names a collection or a view; dots belong to its name. Promises that a pattern which matches nothing is an error, and that
//! views which show what is left out are left out by name. Refuses schemas: a database has none here.

use crate::catalog::{Catalog, Collection, Sort};
use crate::source::named;
use engine::{Choice, Error, Filter, Kind, Pattern};
use mongodb::bson::{RawBsonRef, RawDocument};
use std::collections::BTreeSet;

/// Which collections are meant.
#[derive(Debug, Clone)]
pub(crate) struct Rules(Choice);

impl Rules {
    /// Reads a filter for this database.
    ///
    /// # Errors
    /// [`Kind::Config`] for a pattern that cannot be meant, and for schemas.
    pub fn parse(filter: &Filter, database: &str) -> Result<Self, Error> {
        Ok(Self(Choice::parse(filter, database, "MongoDB", Pattern::collection)?))
    }

    /// The part of a backup that is to come back, and nothing else of it. Returns it with notes.
    ///
    /// # Errors
    /// [`Kind::Config`] for patterns that cannot be meant, or match nothing.
    pub fn part_of(catalog: &Catalog, part: &Filter) -> Result<(Catalog, Vec<String>), Error> {
        let rules = Self::parse(part, &catalog.database)?;
        rules.assert_named(&catalog.collections, "only-table")?;
        let mut chosen = catalog.clone();
        let notes = rules.apply(&mut chosen.collections)?;
        Ok((chosen, notes))
    }

    /// Fails when a pattern matches nothing, or nothing is left.
    pub fn assert_meant(&self, all: &[Collection]) -> Result<(), Error> {
        self.assert_named(all, "include-table")
    }

    fn assert_named(&self, all: &[Collection], option: &str) -> Result<(), Error> {
        self.0.assert_meant(all.iter().map(|one| &one.name), option, "collection")
    }

    /// Leaves out what is not part of it. Returns what the operator should know.
    ///
    /// # Errors
    /// [`Kind::Config`] when nothing is left, because views alone show nothing.
    pub fn apply(&self, all: &mut Vec<Collection>) -> Result<Vec<String>, Error> {
        if self.0.is_whole() {
            return Ok(Vec::new());
        }
        let mut gone: BTreeSet<String> =
            all.iter().filter(|one| !self.0.keeps(&one.name)).map(|one| one.name.clone()).collect();
        let mut blind = Vec::new();
        while let Some(view) = all.iter().find(|one| !gone.contains(&one.name) && shows_any(one, &gone)) {
            blind.push(view.name.clone());
            gone.insert(view.name.clone());
        }
        all.retain(|one| !gone.contains(&one.name));
        if all.is_empty() {
            let what = format!("the filter leaves nothing: what {} shows is left out", named(&blind));
            return Err(
                Error::new(Kind::Config, what).hint("name the collections that a view shows as well; nothing was done")
            );
        }
        for one in all.iter_mut().filter(|one| one.sort != Sort::View && self.0.empties(&one.name)) {
            (one.without_documents, one.bytes) = (true, 0);
        }
        let mut notes = vec![self.0.note()];
        if !blind.is_empty() {
            notes.push(format!("left out: views that show what is left out: {}", named(&blind)));
        }
        Ok(notes)
    }
}

/// Whether a view shows one of these, by itself or by a stage of its pipeline: `$lookup`, `$graphLookup` or `$unionWith`.
fn shows_any(view: &Collection, names: &BTreeSet<String>) -> bool {
    if view.sort != Sort::View {
        return false;
    }
    let options = &view.options.0;
    options.get_str("viewOn").is_ok_and(|on| names.contains(on))
        || options.get("pipeline").ok().flatten().is_some_and(|pipeline| asks_any(pipeline, names))
}

fn asks_any(value: RawBsonRef<'_>, names: &BTreeSet<String>) -> bool {
    match value {
        RawBsonRef::Array(array) => array.into_iter().flatten().any(|value| asks_any(value, names)),
        RawBsonRef::Document(document) => document
            .iter()
            .flatten()
            .any(|(name, value)| is_stage_on(name.as_str(), value, names) || asks_any(value, names)),
        _ => false,
    }
}

fn is_stage_on(name: &str, value: RawBsonRef<'_>, names: &BTreeSet<String>) -> bool {
    let says = |document: &RawDocument, member: &str| document.get_str(member).is_ok_and(|name| names.contains(name));
    match (name, value) {
        ("$unionWith", RawBsonRef::String(on)) => names.contains(on),
        ("$unionWith", RawBsonRef::Document(stage)) => says(stage, "coll"),
        ("$lookup" | "$graphLookup", RawBsonRef::Document(stage)) => says(stage, "from"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::raw::Kept;
    use mongodb::bson::{RawDocumentBuf, rawdoc};

    fn one(name: &str, options: RawDocumentBuf) -> Collection {
        let sort = if options.get("viewOn").unwrap().is_some() { Sort::View } else { Sort::Collection };
        Collection { bytes: 9, ..Collection::new(name, sort, Kept(options)) }
    }

    fn clinic() -> Vec<Collection> {
        let lookup = rawdoc! {"$lookup": {"from": "log", "as": "log", "pipeline": []}};
        let facet = rawdoc! {"$facet": {"a": [{"$match": {"log": 1}}, {"$unionWith": "log"}]}};
        vec![
            one("fs.files", rawdoc! {}),
            one("log", rawdoc! {}),
            one("wards", rawdoc! {}),
            one("plain", rawdoc! {"viewOn": "wards", "pipeline": [{"$match": {"kind": "log"}}]}),
            one("joined", rawdoc! {"viewOn": "wards", "pipeline": [lookup]}),
            one("united", rawdoc! {"viewOn": "wards", "pipeline": [facet]}),
            one("on_joined", rawdoc! {"viewOn": "joined", "pipeline": []}),
        ]
    }

    #[test]
    fn views_that_show_what_is_left_out_go_by_name() {
        let filter = Filter {
            exclude_tables: vec!["lo?".to_owned()],
            exclude_table_data: vec!["fs.*".to_owned()],
            ..Filter::default()
        };
        let rules = Rules::parse(&filter, "app").unwrap();
        let mut all = clinic();
        rules.assert_meant(&all).unwrap();
        let notes = rules.apply(&mut all).unwrap();
        assert_eq!(all.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["fs.files", "wards", "plain"]);
        assert!(all[0].without_documents && all[0].stream().is_none() && all[1].stream().is_some());
        assert!(notes[1].ends_with("joined, united, on_joined"), "{notes:?}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let includes = |name: &str| Filter { include_tables: vec![name.to_owned()], ..Filter::default() };
        let meant = |filter: &Filter| Rules::parse(filter, "app").and_then(|rules| rules.assert_meant(&clinic()));
        assert!(meant(&includes("fs.files")).is_ok());
        for filter in [
            includes("Log"),
            includes("app.log"),
            Filter { exclude_tables: vec!["*".to_owned()], ..Filter::default() },
            Filter { include_schemas: vec!["app".to_owned()], ..Filter::default() },
        ] {
            assert_eq!(meant(&filter).unwrap_err().kind, Kind::Config, "{filter}");
        }
        assert!(Rules::part_of(&catalog(), &includes("wards")).unwrap().0.collections.len() == 1);
        assert_eq!(Rules::part_of(&catalog(), &includes("plain")).unwrap_err().kind, Kind::Config);
    }

    fn catalog() -> Catalog {
        let moment = crate::catalog::Moment { protocol: "snapshot".to_owned(), time: (1, 1), set: "rs0".to_owned() };
        Catalog::new("6.0.5", "app", moment, clinic())
    }
}
