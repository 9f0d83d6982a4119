//! An export: a backup as the folder that `mongodump` would have written.
//!
//! Owns which file holds what (<https://www.mongodb.com/docs/database-tools/mongodump/>): documents as they are, and beside them options and indexes as text; of views only these; of time series the buckets. Promises that every stream has a file, that
//! no name becomes a path, and that what the layout cannot hold, or the vendor's tool does not read, is named. Refuses to need a server: everything comes from the backup's documents.

use crate::catalog::{CATALOG, Catalog, Collection, Sort};
use crate::changed::Changed;
use crate::dump_names::{file_name, folder_name, is_misread};
use crate::export_text;
use crate::extjson::Text;
use crate::indexes::EXPIRES;
use crate::raw::append_all;
use crate::source::named;
use engine::{Document, Error, Export, ExportFile, ExportOptions, ExportedStream, Kind, RowEnd, Sieves};
use mongodb::bson::RawDocumentBuf;
use mongodb::bson::raw::cstr;
use serde_json::json;
use std::sync::Arc;

/// The folder that the vendor's tool reads, by the name that it looks for when it is told none.
pub(crate) const DUMP: &str = "dump";

/// Everything of a backup but its documents, as files.
///
/// # Errors
/// [`Kind::Data`] when the catalog is missing or damaged, or documents belong to no collection; [`Kind::Unsupported`] for a database whose name no folder can have.
pub fn export(documents: &[Document], options: &ExportOptions) -> Result<Export, Error> {
    let missing = || Error::new(Kind::Data, format!("the backup has no document {CATALOG}"));
    let catalog = Catalog::parse(&Document::find(documents, CATALOG).ok_or_else(missing)?.bytes)?;
    let folder = format!("{DUMP}/{}", folder_name(&catalog.database)?);
    let streams = streams(&catalog, &folder, options)?;
    let mut notes: Vec<String> = unreadable(&catalog).into_iter().collect();
    let mut files = vec![prelude(&catalog, options)];
    for collection in &catalog.collections {
        let (json, lost) = metadata(collection)?;
        notes.extend(lost.map(|lost| {
            format!(
                "{}: mongorestore stops at its definition, or reads another one, because it has {lost}",
                collection.name
            )
        }));
        let path = format!("{folder}/{}.metadata.json", file_name(&collection.name));
        files.push(ExportFile { path, bytes: json.into_bytes() });
    }
    notes.extend(expiring(&catalog));
    let readme = export_text::readme(&catalog, options, &notes);
    files.push(ExportFile { path: "README.txt".to_owned(), bytes: readme.into_bytes() });
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let sieves = Some(Arc::new(Changed::find(documents)?) as Arc<dyn Sieves>);
    Ok(Export { streams, files, notes, restore_with: export_text::restore_with("{folder}"), sieves })
}

/// Where each stream goes. A collection without documents has a file without any.
fn streams(catalog: &Catalog, folder: &str, options: &ExportOptions) -> Result<Vec<ExportedStream>, Error> {
    for name in options.streams.keys() {
        catalog.of_stream(name)?;
    }
    let of = |collection: &Collection| {
        let (name, holder) = (collection.stream()?, collection.holder()?);
        let path = format!("{folder}/{}.bson", file_name(&holder));
        Some(ExportedStream { name, path, end: RowEnd::Length })
    };
    let mut streams: Vec<ExportedStream> = catalog.collections.iter().filter_map(of).collect();
    streams.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(streams)
}

/// What the vendor's tool wants to know of the server.
fn prelude(catalog: &Catalog, options: &ExportOptions) -> ExportFile {
    let text = json!({"ServerVersion": catalog.server_version, "ToolVersion": options.programs.1});
    ExportFile { path: format!("{DUMP}/prelude.json"), bytes: text.to_string().into_bytes() }
}

/// A collection's options and indexes, in the words and the order of `Metadata` in `mongodump/metadata_dump.go`; and what of them is lost.
fn metadata(collection: &Collection) -> Result<(String, Option<String>), Error> {
    let mut text = Text::default();
    text.json.push('{');
    if collection.options.0.iter().next().is_some() {
        text.member("options");
        text.document(&collection.options.0)?;
    }
    text.member("indexes");
    text.json.push('[');
    let identity = identity_index(collection)?;
    for (number, index) in identity.iter().chain(collection.indexes.iter().map(|index| &index.0)).enumerate() {
        if number > 0 {
            text.json.push(',');
        }
        text.document(index)?;
    }
    text.json.push(']');
    if collection.sort == Sort::Collection && !collection.uuid.is_empty() {
        text.member("uuid");
        text.string(&collection.uuid);
    }
    text.member("collectionName");
    text.string(&collection.name);
    text.member("type");
    text.string(match collection.sort {
        Sort::Collection => "collection",
        Sort::TimeSeries => "timeseries",
        Sort::View => "view",
    });
    text.json.push('}');
    Ok((text.json, text.lost))
}

/// The index on `_id`, as `listIndexes` says it. That of a clustered collection is among the collection's options.
fn identity_index(collection: &Collection) -> Result<Option<RawDocumentBuf>, Error> {
    if collection.sort != Sort::Collection {
        return Ok(None);
    }
    let Ok(clustered) = collection.options.0.get_document("clusteredIndex") else {
        return Ok(collection.id_index.as_ref().map(|index| index.0.clone()));
    };
    let mut index = RawDocumentBuf::new();
    append_all(&mut index, clustered, &["clustered"])?;
    index.append(cstr!("clustered"), true);
    Ok(Some(index))
}

/// What the vendor's tool writes and does not read back.
fn unreadable(catalog: &Catalog) -> Option<String> {
    let misread = |one: &&Collection| is_misread(&one.name) || one.holder().is_some_and(|holder| is_misread(&holder));
    let names: Vec<String> = catalog.collections.iter().filter(misread).map(|one| one.name.clone()).collect();
    if names.is_empty() {
        return None;
    }
    Some(format!(
        "mongorestore stops at names as long as these, or takes them for others; move their files away: {}",
        named(&names)
    ))
}

/// What may be gone before anybody has seen it.
fn expiring(catalog: &Catalog) -> Option<String> {
    let has = |document: &RawDocumentBuf| document.get(EXPIRES).is_ok_and(|value| value.is_some());
    let expires = |one: &&Collection| has(&one.options.0) || one.indexes.iter().any(|index| has(&index.0));
    let names: Vec<String> = catalog.collections.iter().filter(expires).map(|one| one.name.clone()).collect();
    if names.is_empty() {
        return None;
    }
    Some(format!(
        "documents that are past their time are deleted by the server within a minute of being restored, unless its parameter ttlMonitorEnabled is false: {}",
        named(&names)
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::catalog::Moment;
    use crate::raw::Kept;
    use engine::{About, Digest, Filter, GlobalsWanted, StreamName};
    use mongodb::bson::rawdoc;
    use std::collections::BTreeMap;

    fn collection(name: &str, sort: Sort, options: RawDocumentBuf) -> Collection {
        let id_index = (sort == Sort::Collection).then(|| Kept(rawdoc! {"v": 2, "key": {"_id": 1}, "name": "_id_"}));
        Collection { id_index, uuid: "0a".to_owned(), ..Collection::new(name, sort, Kept(options)) }
    }

    fn exported(database: &str, collections: Vec<Collection>, streams: &[&str]) -> Result<Export, Error> {
        let moment = Moment { protocol: "snapshot".to_owned(), time: (1, 2), set: "rs0".to_owned() };
        let catalog = Catalog::new("6.0.5", database, moment, collections);
        let bytes = serde_json::to_vec(&catalog).unwrap();
        let about = About {
            engine: "mongodb".to_owned(),
            version: "6.0.5".to_owned(),
            database: database.to_owned(),
            server: "db:27017".to_owned(),
            notes: Vec::new(),
            globals: GlobalsWanted::No,
            filter: Filter::default(),
            inexact: None,
        };
        let options = ExportOptions {
            backup: "app@1".to_owned(),
            taken: "then".to_owned(),
            programs: ("longshore 1".to_owned(), "longshore 2".to_owned()),
            about,
            streams: streams.iter().map(|name| (StreamName::new(*name), Digest::default())).collect::<BTreeMap<_, _>>(),
            no_owner: false,
            tools: None,
        };
        export(&[Document { name: CATALOG.to_owned(), bytes }], &options)
    }

    fn file(export: &Export, path: &str) -> String {
        let found = export.files.iter().find(|file| file.path == path);
        String::from_utf8(found.expect(path).bytes.clone()).unwrap()
    }

    #[test]
    fn each_kind_has_the_files_that_the_vendors_tool_writes() {
        let clustered = rawdoc! {"clusteredIndex": {"v": 2, "key": {"_id": 1}, "name": "own", "unique": true}};
        let series = rawdoc! {"timeseries": {"timeField": "at"}, "expireAfterSeconds": 60_i64};
        let mut indexed = collection("a/b", Sort::Collection, rawdoc! {});
        indexed.indexes.push(Kept(rawdoc! {"v": 2, "key": {"z": 1, "a": -1.0}, "name": "z_1"}));
        let all = vec![
            indexed,
            collection("c", Sort::Collection, clustered),
            collection("t", Sort::TimeSeries, series),
            collection("v", Sort::View, rawdoc! {"viewOn": "a/b", "pipeline": []}),
        ];
        let export = exported("shop", all, &["a/b", "system.buckets.t"]).unwrap();
        let paths: Vec<&str> = export.streams.iter().map(|one| one.path.as_str()).collect();
        assert_eq!(paths, ["dump/shop/a%2Fb.bson", "dump/shop/c.bson", "dump/shop/system.buckets.t.bson"]);
        assert_eq!(
            file(&export, "dump/shop/a%2Fb.metadata.json"),
            r#"{"indexes":[{"v":{"$numberInt":"2"},"key":{"_id":{"$numberInt":"1"}},"name":"_id_"},{"v":{"$numberInt":"2"},"key":{"z":{"$numberInt":"1"},"a":{"$numberDouble":"-1.0"}},"name":"z_1"}],"uuid":"0a","collectionName":"a/b","type":"collection"}"#
        );
        assert!(
            file(&export, "dump/shop/c.metadata.json").contains(r#""name":"own","unique":true,"clustered":true}]"#)
        );
        let series = file(&export, "dump/shop/t.metadata.json");
        assert!(series.starts_with(r#"{"options":{"timeseries":"#) && !series.contains("uuid"), "{series}");
        let view = file(&export, "dump/shop/v.metadata.json");
        assert!(view.ends_with(r#""indexes":[],"collectionName":"v","type":"view"}"#), "{view}");
        assert!(file(&export, "dump/prelude.json").contains(r#""ServerVersion":"6.0.5""#));
        assert_eq!(export.notes.len(), 1, "{:?}", export.notes);
        let note = &export.notes[0];
        assert!(
            note.contains("ttlMonitorEnabled") && note.ends_with(": t") && file(&export, "README.txt").contains(note)
        );
        assert!(export.restore_with.contains("{folder}/dump"), "{}", export.restore_with);
    }

    #[test]
    fn what_cannot_be_held_or_read_is_named() {
        let twice = rawdoc! {"validator": {"a": {"$date": 1}}};
        let long = |letter: &str, times: usize| letter.repeat(times);
        let series = || rawdoc! {"timeseries": {"timeField": "t"}};
        let all = vec![
            collection("odd", Sort::Collection, twice),
            collection(&format!("+{}", long("ä", 80)), Sort::Collection, rawdoc! {}),
            collection(&format!("+{}", long("å", 120)), Sort::Collection, rawdoc! {}),
            collection(&long("ö", 80), Sort::TimeSeries, series()),
            collection(&long("ü", 115), Sort::TimeSeries, series()),
        ];
        let notes = exported("shop", all, &[]).unwrap().notes;
        assert_eq!(notes.len(), 2, "{notes:?}");
        let names = ['ä', 'å', 'ö', 'ü'].map(|letter| notes[0].contains(letter));
        assert_eq!(names, [false, true, false, true], "{notes:?}");
        assert!(notes[1].starts_with("odd: ") && notes[1].contains("$date"));
    }

    #[test]
    fn what_does_not_belong_together_is_refused() {
        let plain = || vec![collection("a", Sort::Collection, rawdoc! {})];
        assert_eq!(exported("shop", plain(), &["b"]).unwrap_err().kind, Kind::Data);
        assert_eq!(exported("../etc", plain(), &[]).unwrap_err().kind, Kind::Unsupported);
        let options = rawdoc! {"clusteredIndex": true};
        assert!(exported("shop", vec![collection("a", Sort::Collection, options)], &["a"]).is_ok());
    }
}
