//! The catalog: what a database has besides its documents.
//!
//! Owns the document `catalog.json`: collections with their options and indexes as the server says them, byte for byte; views; the moment that all was read at. Promises that a newer version of it is refused. Says
//! nothing of identifiers that a server makes for itself (`uuid`), but keeps them to know a collection again.

use crate::raw::Kept;
use engine::{Error, Kind, RowFormat, StreamName, read_versioned};
use serde::{Deserialize, Serialize};

/// Name of the document.
pub(crate) const CATALOG: &str = "catalog.json";
/// What the catalog says it is of.
const OF: &str = "mongodb";
/// The newest version of the document that is understood. Version 2 is of backups that have documents once more: who does not know of it would bring some back twice.
const VERSION: u32 = 2;
/// The version of all others.
const PLAIN: u32 = 1;
/// Name and version of the rows' format: one document each, as the server stores it, with nothing between.
pub(crate) const FORMAT: &str = "mongodb-bson-1";
/// How a moment is called that documents were read once more at.
pub(crate) const OPLOG: &str = "oplog";
/// Functions that users store, the only collection of theirs whose name begins so.
pub(crate) const FUNCTIONS: &str = "system.js";
/// How names begin that are this program's own.
const OURS: &str = "longshore.";
/// Where a time-series collection has its documents.
pub(crate) const BUCKETS: &str = "system.buckets.";

/// All of a database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Catalog {
    pub version: u32,
    /// Always `mongodb`.
    pub of: String,
    pub server_version: String,
    pub database: String,
    pub moment: Moment,
    pub collections: Vec<Collection>,
}

/// When everything was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// How all readers saw one moment: `snapshot`; or `oplog`: what changed until the moment was read once more at it; or `per-collection`.
    pub protocol: String,
    /// Seconds and ordinal of the cluster's time.
    pub time: (u32, u32),
    /// The replica set's name.
    pub set: String,
}

/// What stands behind a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sort {
    Collection,
    TimeSeries,
    View,
}

/// A collection or a view.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Collection {
    pub name: String,
    pub sort: Sort,
    /// What `listCollections` says under `options`.
    pub options: Kept,
    /// What it says under `idIndex`, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_index: Option<Kept>,
    /// What `listIndexes` says, save for the index on `_id`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<Kept>,
    /// The server's own name for it, in hexadecimal.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// Bytes of its documents, as the server estimates them.
    #[serde(default)]
    pub bytes: u64,
    /// Whether its documents are left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_documents: bool,
    /// What the backup calls it, where it is to come back under another name.
    #[serde(skip)]
    pub stored_as: Option<String>,
}

impl Collection {
    /// One of which nothing more is known.
    pub fn new(name: &str, sort: Sort, options: Kept) -> Self {
        let (id_index, indexes, uuid, bytes, without_documents) = (None, Vec::new(), String::new(), 0, false);
        let name = name.to_owned();
        Self { name, sort, options, id_index, indexes, uuid, bytes, without_documents, stored_as: None }
    }

    /// Where its documents are; none for a view.
    pub fn holder(&self) -> Option<String> {
        self.holder_of(&self.name)
    }

    fn holder_of(&self, name: &str) -> Option<String> {
        match self.sort {
            Sort::Collection => Some(name.to_owned()),
            Sort::TimeSeries => Some(format!("{BUCKETS}{name}")),
            Sort::View => None,
        }
    }

    /// The stream of its documents; none for a view, and where they are left out.
    pub fn stream(&self) -> Option<StreamName> {
        let stored_as = self.stored_as.as_deref().unwrap_or(&self.name);
        self.holder_of(stored_as).filter(|_| !self.without_documents).map(StreamName::new)
    }

    pub fn is_capped(&self) -> bool {
        self.options.0.get_bool("capped").unwrap_or_default()
    }

    /// Whether it is stored in the order of `_id`, without an index of its own for it.
    pub fn is_clustered(&self) -> bool {
        self.options.0.get("clusteredIndex").is_ok_and(|value| value.is_some())
    }

    /// Whether texts in `_id` are compared by the rules of a language.
    pub fn has_collation(&self) -> bool {
        self.options.0.get("collation").is_ok_and(|value| value.is_some())
    }

    pub fn has_validator(&self) -> bool {
        self.options.0.get("validator").is_ok_and(|value| value.is_some())
    }
}

impl Catalog {
    /// A catalog of this version.
    pub fn new(server_version: &str, database: &str, moment: Moment, collections: Vec<Collection>) -> Self {
        let (server_version, database) = (server_version.to_owned(), database.to_owned());
        Self { version: PLAIN, of: OF.to_owned(), server_version, database, moment, collections }
    }

    /// The same, of a moment at which everything that changed meanwhile was read once more.
    pub fn settled_at(&self, time: (u32, u32)) -> Self {
        let moment = Moment { protocol: OPLOG.to_owned(), time, ..self.moment.clone() };
        Self { version: VERSION, moment, ..self.clone() }
    }

    /// Gives the only collection another name than the backup has for it.
    ///
    /// # Errors
    /// [`Kind::Config`] when it is not the only one, or a view, or not somebody's to rename; and for names that are the server's or ours.
    pub fn rename_only(&mut self, name: &str) -> Result<(), Error> {
        let refused = |what: String| {
            Err(Error::new(Kind::Config, format!("--rename {name}: {what}"))
                .hint("name one collection with --only-table, and what it is to be called; nothing was changed"))
        };
        if name.is_empty()
            || name.starts_with('.')
            || name.contains(['$', '\0'])
            || name.starts_with("system.")
            || name.starts_with(OURS)
        {
            return refused("not a name for a collection".to_owned());
        }
        let [one] = self.collections.as_mut_slice() else {
            return refused(format!(
                "{} collections and views were chosen, and one can have the name",
                self.collections.len()
            ));
        };
        if one.sort == Sort::View || one.name == FUNCTIONS {
            return refused(format!("{} keeps its name: it is a view, or the server's", one.name));
        }
        one.stored_as = Some(std::mem::replace(&mut one.name, name.to_owned()));
        Ok(())
    }

    /// Reads the document.
    ///
    /// # Errors
    /// [`Kind::Data`] for what is none; [`Kind::Config`] for a newer version.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let head: Option<Head> = serde_json::from_slice(bytes).ok();
        if let Some(other) = head.filter(|head| head.of != OF) {
            return Err(Error::new(Kind::Data, format!("the backup's catalog is of {:?}", other.of)));
        }
        read_versioned(bytes, "the backup's catalog", VERSION)
    }

    /// Whether it is one of any version.
    pub fn is_one(bytes: &[u8]) -> bool {
        serde_json::from_slice::<Head>(bytes).is_ok_and(|head| head.of == OF)
    }

    /// The collection whose documents a stream has.
    pub fn of_stream(&self, stream: &StreamName) -> Result<&Collection, Error> {
        let found = self.collections.iter().find(|collection| collection.stream().as_ref() == Some(stream));
        found.ok_or_else(|| {
            Error::new(Kind::Data, format!("the backup holds documents of {stream}, which its catalog does not name"))
        })
    }
}

/// What every version has.
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    of: String,
}

/// How documents are written.
pub(crate) fn row_format() -> RowFormat {
    RowFormat { name: FORMAT.to_owned(), encoding: "bson".to_owned(), terminator: String::new(), columns: Vec::new() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use mongodb::bson::rawdoc;

    #[test]
    fn one_collection_is_renamed_and_keeps_its_stream() {
        let moment = Moment { protocol: "snapshot".to_owned(), time: (1, 2), set: "rs0".to_owned() };
        let of = |sorts: &[Sort]| {
            let one = |sort: &Sort| Collection::new("t", *sort, Kept(rawdoc! {}));
            Catalog::new("6.0.5", "app", moment.clone(), sorts.iter().map(one).collect())
        };
        for (sort, holder, stream) in
            [(Sort::Collection, "u", "t"), (Sort::TimeSeries, "system.buckets.u", "system.buckets.t")]
        {
            let mut catalog = of(&[sort]);
            catalog.rename_only("u").unwrap();
            let one = catalog.of_stream(&StreamName::new(stream.to_owned())).unwrap();
            assert_eq!((one.name.as_str(), one.holder().as_deref()), ("u", Some(holder)));
        }
        for (sorts, name) in [
            (&[Sort::View][..], "u"),
            (&[Sort::Collection, Sort::View], "u"),
            (&[], "u"),
            (&[Sort::Collection], ""),
            (&[Sort::Collection], ".x"),
            (&[Sort::Collection], "system.users"),
            (&[Sort::Collection], "longshore.mark"),
            (&[Sort::Collection], "a$b"),
        ] {
            let mut catalog = of(sorts);
            assert_eq!(catalog.rename_only(name).unwrap_err().kind, Kind::Config, "{name} {sorts:?}");
            assert_eq!(catalog, of(sorts));
        }
    }

    #[test]
    fn a_catalog_comes_back_and_a_newer_one_is_refused() {
        let collection = Collection {
            indexes: vec![Kept(rawdoc! {"key": {"a": 1}, "name": "a_1"})],
            uuid: "00".to_owned(),
            bytes: 1,
            ..Collection::new("t", Sort::TimeSeries, Kept(rawdoc! {"timeseries": {"timeField": "t"}}))
        };
        let moment = Moment { protocol: "snapshot".to_owned(), time: (1, 2), set: "rs0".to_owned() };
        let catalog = Catalog::new("6.0.5", "app", moment, vec![collection]);
        let json = serde_json::to_vec(&catalog).unwrap();
        assert_eq!(Catalog::parse(&json).unwrap(), catalog);
        assert_eq!(catalog.collections[0].stream().unwrap().as_str(), "system.buckets.t");
        let newer = serde_json::to_vec(&Catalog { version: 3, ..catalog.clone() }).unwrap();
        assert_eq!(Catalog::parse(&newer).unwrap_err().kind, Kind::Config);
        let settled = catalog.settled_at((3, 4));
        assert_eq!((settled.version, settled.moment.time), (2, (3, 4)));
        assert_eq!(Catalog::parse(&serde_json::to_vec(&settled).unwrap()).unwrap(), settled);
        assert_eq!(Catalog::parse(br#"{"version": 1, "product": "mysql"}"#).unwrap_err().kind, Kind::Data);
    }
}
