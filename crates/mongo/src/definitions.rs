//! Definitions: collections made as they were, and looked at again.
//!
//! Owns `create` with the server's own words, views, and the comparison of what was made with what was asked for. Promises that a difference of any option or index fails the restore by name, where both servers are of one
//! version: servers of two versions say the same in different words. Refuses to make views before everything else is there.

use crate::catalog::{Collection, Sort};
use crate::connection::Session;
use crate::failure::from_mongo;
use crate::indexes::EXPIRES;
use crate::listing;
use crate::raw::{append_all, without};
use crate::reader::Readable;
use engine::{Error, Kind};
use mongodb::bson::RawDocumentBuf;
use mongodb::bson::raw::cstr;

/// Makes all collections, empty and without indexes.
pub(crate) async fn make_collections(session: &Session, readable: &Readable) -> Result<(), Error> {
    for collection in readable.catalog.collections.iter().filter(|one| one.sort != Sort::View) {
        let command = create(&readable.name(collection), collection)?;
        let made = session.database(&readable.database).run_raw_command(command).await;
        made.map_err(from_mongo(format!("make the collection {}", collection.name)))?;
    }
    Ok(())
}

/// Makes all views. Returns an error with those that were made, for whoever takes everything back.
pub(crate) async fn make_views(session: &Session, readable: &Readable) -> Result<(), (Error, Vec<String>)> {
    let mut made = Vec::new();
    for view in readable.catalog.collections.iter().filter(|one| one.sort == Sort::View) {
        let what = format!("make the view {}", view.name);
        let result = match create(&view.name, view) {
            Ok(command) => {
                session.database(&readable.database).run_raw_command(command).await.map_err(from_mongo(what))
            }
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            return Err((error, made));
        }
        made.push(view.name.clone());
    }
    Ok(())
}

/// The command that makes a collection or view; nothing expires until the restore has its name.
pub(crate) fn create(name: &str, collection: &Collection) -> Result<RawDocumentBuf, Error> {
    let mut command = RawDocumentBuf::new();
    command.append(cstr!("create"), name);
    append_all(&mut command, &collection.options.0, &[EXPIRES])?;
    if let Some(index) = collection.id_index.as_ref().filter(|_| !collection.is_clustered()) {
        command.append(cstr!("idIndex"), without(&index.0, &["ns"])?);
    }
    Ok(command)
}

/// Compares what was made with what was asked for.
pub(crate) async fn assert_same(session: &Session, readable: &Readable) -> Result<(), Error> {
    let catalog = &readable.catalog;
    let (ours, theirs) = (session.server.text.as_str(), catalog.server_version.as_str());
    let version = |text: &str| text.split('.').take(2).map(str::to_owned).collect::<Vec<_>>();
    let same_words = version(ours) == version(theirs);
    for collection in catalog.collections.iter().filter(|one| one.sort != Sort::View) {
        let name = readable.name(collection);
        let missing =
            || Error::new(Kind::Changed, format!("{name} is gone: somebody dropped what this restore has made"));
        let made = listing::one(session, &readable.database, &name).await?.ok_or_else(missing)?;
        if let Some(what) = first_difference(collection, &made, same_words)? {
            let what = format!("{}: the server has made {what} otherwise than it was", collection.name);
            return Err(Error::new(Kind::Unsupported, what).hint("please report it; nothing was published"));
        }
    }
    Ok(())
}

fn first_difference(wanted: &Collection, made: &Collection, same_words: bool) -> Result<Option<String>, Error> {
    if !same_words {
        let names = |one: &Collection| -> Vec<String> {
            one.indexes.iter().map(|index| index.0.get_str("name").unwrap_or_default().to_owned()).collect()
        };
        return Ok((names(wanted) != names(made)).then(|| "indexes".to_owned()));
    }
    if without(&wanted.options.0, &[EXPIRES])? != without(&made.options.0, &[EXPIRES])? {
        return Ok(Some("options".to_owned()));
    }
    if wanted.indexes.len() != made.indexes.len() {
        return Ok(Some(format!("{} indexes of {}", made.indexes.len(), wanted.indexes.len())));
    }
    for (wanted, made) in wanted.indexes.iter().zip(&made.indexes) {
        // The time after which documents expire comes last, wherever it stood.
        if without(&wanted.0, &[EXPIRES, "ns"])? != without(&made.0, &[EXPIRES, "ns"])? {
            return Ok(Some(format!("the index {}", wanted.0.get_str("name").unwrap_or_default())));
        }
    }
    Ok(None)
}

/// Collections that are renamed when they are published, as names here and names there.
pub(crate) fn renames(readable: &Readable) -> Vec<(String, String)> {
    let renamed = readable.catalog.collections.iter().filter(|one| one.sort == Sort::Collection);
    renamed.map(|one| (readable.name(one), one.name.clone())).collect()
}
