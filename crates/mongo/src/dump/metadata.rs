//! The definition of a collection in a dump: `NAME.metadata.json`, or the same text in an archive.
//!
//! Owns what its members mean (`Metadata` in `mongodump/metadata_dump.go` of <https://github.com/mongodb/mongo-tools>), and what older tools wrote otherwise. Promises that options and indexes are those that the server had said,
//! to the last byte where the text is canonical. Refuses members that it does not know, because what is passed over is lost.

use crate::catalog::{BUCKETS, Collection, Sort};
use crate::json::Json;
use crate::raw::{Kept, without};
use engine::{Error, Kind};
use mongodb::bson::RawDocumentBuf;

/// Members of the text.
const KNOWN: [&str; 5] = ["options", "indexes", "uuid", "collectionName", "type"];

/// Reads a definition. `name` is what a file or an archive calls the collection; texts of old tools have no name.
///
/// # Errors
/// [`Kind::Data`] for what is none; [`Kind::Unsupported`] for what this version does not know.
pub(crate) fn read(text: &[u8], name: Option<&str>, what: &str) -> Result<Collection, Error> {
    let damaged = |error: Error| {
        let hint = "options and indexes of the collection are not known without it; no backup was made";
        Error { what: format!("{what}: {}", error.what), ..error }.hint(hint)
    };
    let json = Json::parse(text).map_err(damaged)?;
    assert_known(&json, what)?;
    let name = name_of(&json, name, what)?;
    let legacy = json.is_legacy();
    let options =
        json.member("options").map_or(Ok(RawDocumentBuf::new()), |it| it.document(legacy)).map_err(damaged)?;
    // Servers before 3.2 counted the command's own word among the options.
    let options = without(&options, &["create"]).map_err(damaged)?;
    let sort = sort(&json, &options, &name, what)?;
    let mut collection = Collection::new(&name, sort, Kept(options));
    collection.uuid = uuid(&json, what)?;
    let Some(Json::List(indexes)) = json.member("indexes") else {
        return Err(damaged(Error::new(Kind::Data, "there is no list of indexes in it")));
    };
    for index in indexes {
        // It says in which collection it is, which is another one by the next restore.
        let index = without(&index.document(legacy).map_err(damaged)?, &["ns"]).map_err(damaged)?;
        let index_name = index.get_str("name").unwrap_or_default().to_owned();
        if index_name.is_empty() || index.get_document("key").is_err() {
            return Err(damaged(Error::new(Kind::Data, "one of its indexes has no name, or no key")));
        }
        if index.get_bool("clustered").unwrap_or_default() {
            continue;
        }
        match index_name == "_id_" {
            true => collection.id_index = Some(Kept(index)),
            false => collection.indexes.push(Kept(index)),
        }
    }
    let by_name = |index: &Kept| index.0.get_str("name").unwrap_or_default().to_owned();
    collection.indexes.sort_by_key(by_name);
    if let Some(twice) = collection.indexes.windows(2).find(|pair| by_name(&pair[0]) == by_name(&pair[1])) {
        return Err(damaged(Error::new(Kind::Data, format!("two of its indexes are called {}", by_name(&twice[0])))));
    }
    Ok(collection)
}

fn assert_known(json: &Json, what: &str) -> Result<(), Error> {
    let Json::Members(members) = json else {
        return Err(Error::new(Kind::Data, format!("{what} is no definition of a collection"))
            .hint("the file is damaged, or not what mongodump wrote; no backup was made"));
    };
    let first = |name: &String| members.iter().position(|(known, _)| known == name);
    if let Some((_, (twice, _))) = members.iter().enumerate().find(|(at, (name, _))| first(name) != Some(*at)) {
        return Err(Error::new(Kind::Data, format!("{what} has {twice:?} twice"))
            .hint("the file is damaged, or not what mongodump wrote; no backup was made"));
    }
    let Some((name, _)) = members.iter().find(|(name, _)| !KNOWN.contains(&name.as_str())) else { return Ok(()) };
    Err(Error::new(Kind::Unsupported, format!("{what} has a member {name:?}, which this version does not know"))
        .hint("a newer version of longshore may; please report it"))
}

/// The name in it is whole; that of a file may be cut.
fn name_of(json: &Json, name: Option<&str>, what: &str) -> Result<String, Error> {
    match (json.member("collectionName"), name) {
        (Some(Json::Text(own)), None) if !own.is_empty() => Ok(own.clone()),
        (Some(Json::Text(own)), Some(name)) if own == name => Ok(own.clone()),
        (None, Some(name)) => Ok(name.to_owned()),
        (Some(Json::Text(own)), Some(_)) => {
            Err(Error::new(Kind::Data, format!("{what} is the definition of another collection, {own:?}"))
                .hint("a file of the dump was renamed, or came from another dump; no backup was made"))
        }
        _ => Err(Error::new(Kind::Data, format!("{what} does not say which collection it is of"))
            .hint("its name is cut, and the whole one should be in it; no backup was made")),
    }
}

fn sort(json: &Json, options: &RawDocumentBuf, name: &str, what: &str) -> Result<Sort, Error> {
    let has = |option: &str| options.get(option).is_ok_and(|value| value.is_some());
    let said = match json.member("type") {
        None => None,
        Some(Json::Text(said)) => Some(said.as_str()),
        Some(_) => return Err(Error::new(Kind::Data, format!("{what} has a type that is no text"))),
    };
    let sort = match said {
        Some("view") => Sort::View,
        Some("timeseries") => Sort::TimeSeries,
        Some("collection") => Sort::Collection,
        // Tools before 100.3 did not say.
        None if has("viewOn") => Sort::View,
        None if has("timeseries") => Sort::TimeSeries,
        None => Sort::Collection,
        Some(other) => {
            return Err(Error::new(
                Kind::Unsupported,
                format!("{what}: {name} is a {other}, which this version does not know"),
            ));
        }
    };
    let fits = match sort {
        Sort::View => has("viewOn"),
        Sort::TimeSeries => has("timeseries"),
        Sort::Collection => !has("viewOn") && !has("timeseries"),
    };
    if fits && !name.starts_with(BUCKETS) {
        return Ok(sort);
    }
    let what = match sort {
        Sort::View => {
            format!("{name} is a view that was dumped as if it were a collection, and is not defined any more")
        }
        _ => format!("{name} is dumped as what a time series is made of, and not as one"),
    };
    Err(Error::new(Kind::Unsupported, what)
        .hint("dump again without --viewsAsCollections and without naming single buckets; or move its files away"))
}

/// The server's own name for it, in hexadecimal.
fn uuid(json: &Json, what: &str) -> Result<String, Error> {
    match json.member("uuid") {
        None => Ok(String::new()),
        Some(Json::Text(text)) if text.bytes().all(|c| c.is_ascii_hexdigit()) => Ok(text.to_ascii_lowercase()),
        Some(_) => Err(Error::new(Kind::Data, format!("{what} has an identifier that is none"))
            .hint("the file is damaged; no backup was made")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
    use super::*;
    use mongodb::bson::rawdoc;

    fn of(text: &str) -> Result<Collection, Error> {
        read(text.as_bytes(), Some("a"), "a.metadata.json")
    }

    #[test]
    fn definitions_of_all_times_are_read() {
        let now = of(r#"{"options":{"capped":true,"size":{"$numberInt":"4096"}},"indexes":[{"v":{"$numberInt":"2"},"key":{"z":{"$numberDouble":"1.0"}},"name":"z_1"},{"v":{"$numberInt":"2"},"key":{"_id":{"$numberInt":"1"}},"name":"_id_"},{"v":{"$numberInt":"2"},"key":{"b":{"$numberInt":"1"},"a":{"$numberInt":"-1"}},"name":"b"}],"uuid":"0A0b","collectionName":"a","type":"collection"}"#).unwrap();
        assert_eq!((now.sort, now.uuid.as_str(), now.is_capped()), (Sort::Collection, "0a0b", true));
        assert_eq!(now.id_index, Some(Kept(rawdoc! {"v": 2, "key": {"_id": 1}, "name": "_id_"})));
        let indexes = [
            rawdoc! {"v": 2, "key": {"b": 1, "a": -1}, "name": "b"},
            rawdoc! {"v": 2, "key": {"z": 1.0}, "name": "z_1"},
        ];
        assert_eq!(now.indexes, indexes.map(Kept));

        let then = of(r#"{"options":{"create":"a","validator":{"n":{"$gt":{"$numberLong":"5"}}}},"indexes":[{"v":1,"key":{"_id":1},"name":"_id_","ns":"shop.a"},{"v":1,"key":{"n":1.0},"name":"n","ns":"shop.a","expireAfterSeconds":60}]}"#).unwrap();
        assert_eq!(then.options, Kept(rawdoc! {"validator": {"n": {"$gt": 5_i64}}}));
        assert_eq!(then.id_index, Some(Kept(rawdoc! {"v": 1, "key": {"_id": 1}, "name": "_id_"})));
        assert_eq!(then.indexes, [Kept(rawdoc! {"v": 1, "key": {"n": 1.0}, "name": "n", "expireAfterSeconds": 60})]);

        let view = of(r#"{"options":{"viewOn":"b","pipeline":[]},"indexes":[]}"#).unwrap();
        assert_eq!((view.sort, view.holder()), (Sort::View, None));
        let clustered = of(r#"{"options":{"clusteredIndex":{"key":{"_id":{"$numberInt":"1"}},"unique":true}},"indexes":[{"key":{"_id":{"$numberInt":"1"}},"name":"own","clustered":true}],"collectionName":"a"}"#).unwrap();
        assert!(clustered.is_clustered() && clustered.indexes.is_empty() && clustered.id_index.is_none());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (text, kind, said) in [
            ("", Kind::Data, "a.metadata.json"),
            ("[]", Kind::Data, "no definition"),
            (r#"{"indexes":[],"indexes":[]}"#, Kind::Data, "twice"),
            ("{}", Kind::Data, "no list of indexes"),
            (r#"{"indexes":null}"#, Kind::Data, "no list of indexes"),
            (r#"{"indexes":[{"v":1}]}"#, Kind::Data, "no name"),
            (r#"{"indexes":[{"key":{"a":1},"name":"x"},{"key":{"b":1},"name":"x"}]}"#, Kind::Data, "called x"),
            (r#"{"indexes":[],"collectionName":"b"}"#, Kind::Data, "another collection"),
            (r#"{"indexes":[],"collectionName":1}"#, Kind::Data, "which collection"),
            (r#"{"indexes":[],"uuid":"x"}"#, Kind::Data, "identifier"),
            (r#"{"indexes":[],"shards":1}"#, Kind::Unsupported, "shards"),
            (r#"{"indexes":[],"type":"stream"}"#, Kind::Unsupported, "stream"),
            (r#"{"indexes":[],"type":"view"}"#, Kind::Unsupported, "as if it were a collection"),
            (r#"{"options":{"timeseries":{}},"indexes":[],"type":"collection"}"#, Kind::Unsupported, "time series"),
            (r#"{"options":[],"indexes":[]}"#, Kind::Data, "document should be"),
            (r#"{"options":{"a":{"$oid":"1"}},"indexes":[]}"#, Kind::Data, "$oid"),
        ] {
            let error = of(text).expect_err(text);
            assert_eq!(error.kind, kind, "{text}: {error}");
            assert!(error.to_string().contains(said), "{text}: {error}");
        }
        let cut = read(br#"{"indexes":[]}"#, None, "cut").unwrap_err();
        assert_eq!(cut.kind, Kind::Data);
        let named = read(br#"{"indexes":[],"collectionName":"whole"}"#, None, "cut").unwrap();
        assert_eq!(named.name, "whole");
    }
}
