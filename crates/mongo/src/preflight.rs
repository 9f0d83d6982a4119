//! Preflight: whether a backup can come back at this server, asked before anything is made.
//!
//! Owns the questions about the server (who answers, its version), about names that would be too long, and about what is in the target. Promises that everything that stands in the way is told at once.

use crate::catalog::{Catalog, Collection};
use crate::connection::Session;
use crate::endpoint::Endpoint;
use crate::listing::{self, SERVERS_OWN};
use crate::reader::Readable;
use crate::scratch::aside;
use crate::source::named;
use engine::{Error, Kind, Mode, TargetOptions};
use mongodb::bson::doc;

/// Longest name of a collection with its database's, in bytes (<https://www.mongodb.com/docs/manual/reference/limits/>).
const LONGEST_NAME: usize = 255;

/// Fails for what this version does not do for MongoDB.
pub(crate) fn refuse_what_is_not_done(endpoint: &Endpoint, options: &TargetOptions) -> Result<(), Error> {
    let not_done = [(!options.definers.is_empty(), "--map-definer"), (options.role.is_some(), "acting as a role")];
    if let Some((_, what)) = not_done.iter().find(|(asked, _)| *asked) {
        return Err(Error::new(Kind::Config, format!("{what}: not for MongoDB in this version")));
    }
    if options.mode != Some(Mode::Drill) && SERVERS_OWN.contains(&endpoint.database()) {
        let what = format!("{endpoint} is the server's own database, which other programs rely on");
        return Err(Error::new(Kind::Config, what).hint("restore into a database of its own name"));
    }
    Ok(())
}

/// Fails with everything that stands in the way.
pub(crate) async fn check(session: &Session, readable: &Readable) -> Result<(), Error> {
    let (catalog, database) = (&readable.catalog, &readable.database);
    assert_writable(session).await?;
    let mut obstacles = Vec::new();
    let version = |text: &str| -> (u32, u32) {
        let mut numbers = text.split('.').map(|part| part.parse().unwrap_or_default());
        (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
    };
    if version(&session.server.text) < version(&catalog.server_version) {
        obstacles.push(format!("it is older than {}", catalog.server_version));
    }
    // What is renamed has the longer name before; of a time series the buckets' name is the longer one.
    let is_long = |one: &&Collection| {
        let name = readable.holder(one).unwrap_or_else(|| one.name.clone());
        database.len() + 1 + name.len() > LONGEST_NAME
    };
    let long: Vec<String> = catalog.collections.iter().filter(is_long).map(|one| one.name.clone()).collect();
    if !long.is_empty() {
        obstacles.push(format!("names would be longer than {LONGEST_NAME} bytes with the database's and what stands before them until they are proven: {}", named(&long)));
    }
    if obstacles.is_empty() {
        return Ok(());
    }
    let what = format!(
        "the backup of MongoDB {} cannot come back at MongoDB {}: {}",
        catalog.server_version,
        session.server.text,
        obstacles.join("; ")
    );
    Err(Error::new(Kind::Config, what)
        .hint("restore into a server of the same or a newer version, under a shorter name; nothing was changed"))
}

/// Fails when a collection could not be set aside, because its name would be too long there.
pub(crate) fn assert_room_aside(live: &[Collection], database: &str, run: &str) -> Result<(), Error> {
    let is_long = |one: &&Collection| database.len() + 1 + aside(run, &one.name).len() > LONGEST_NAME;
    let long: Vec<String> = live.iter().filter(is_long).map(|one| one.name.clone()).collect();
    if long.is_empty() {
        return Ok(());
    }
    let what = format!("names would be longer than {LONGEST_NAME} bytes once they are set aside: {}", named(&long));
    Err(Error::new(Kind::Config, what)
        .hint("give these collections shorter names, or restore into another database; nothing was changed"))
}

/// Fails when the database has something of a name that a part brings.
pub(crate) fn assert_names_free(live: &[Collection], part: &Catalog, endpoint: &Endpoint) -> Result<(), Error> {
    let taken = part.collections.iter().filter(|one| live.iter().any(|there| there.name == one.name));
    let taken: Vec<String> = taken.map(|one| one.name.clone()).collect();
    if taken.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Exists, format!("{endpoint} has these already: {}", named(&taken))).hint(
        "a part replaces nothing: rename or drop what is there, or restore into another database; nothing was changed",
    ))
}

/// A server that takes no writes is better known now than after the documents are fetched.
pub(crate) async fn assert_writable(session: &Session) -> Result<(), Error> {
    let hello = session.run("ask whether the server takes writes", "admin", doc! {"hello": 1}).await?;
    if hello.get_bool("isWritablePrimary").unwrap_or_default() {
        return Ok(());
    }
    let primary = hello.get_str("primary").unwrap_or("none that it knows of");
    let what = format!("the server takes no writes: the replica set's primary is {primary}");
    Err(Error::new(Kind::Refused, what)
        .hint("name the replica set in the URL (replicaSet=…) instead of one member; nothing was changed"))
}

/// Something that the database holds, for people; `None` when nobody made anything in it.
pub(crate) async fn holds(session: &Session, database: &str) -> Result<Option<String>, Error> {
    Ok(listing::names(session, database).await?.into_iter().next().map(|name| format!("the collection {name}")))
}

/// Fails when the database holds something.
pub(crate) async fn assert_free(session: &Session, endpoint: &Endpoint) -> Result<(), Error> {
    let Some(what) = holds(session, endpoint.database()).await? else { return Ok(()) };
    Err(Error::new(Kind::Exists, format!("{endpoint} holds something: {what}"))
        .hint("restore under another name, or drop the database if nobody wants it; nothing was changed"))
}
