//! Marks: what a database says about itself to this program.
//!
//! Owns one collection in a database, `longshore.mark`, with one document: which environment it is, and the address and name that the mark was made for. Promises that a mark binds the place: a copy, a
//! renamed database or another deployment is not marked; and that the collection is in no backup and moves with no restore.

use crate::connection::{Session, connect};
use crate::endpoint::Endpoint;
use crate::failure::assert_written;
use crate::listing::SERVERS_OWN;
use crate::preflight;
use crate::scratch::MARK;
use engine::{Error, Kind, Mark, Marked};
use mongodb::bson::doc;

/// The mark that a database carries, if any.
pub(crate) async fn read(session: &Session, database: &str) -> Result<Option<Mark>, Error> {
    let answer = session.all("read the mark", database, doc! {"find": MARK, "limit": 2}).await?;
    let [document] = answer.documents.as_slice() else { return Ok(None) };
    let text = |name: &str| document.get_str(name).unwrap_or_default().to_owned();
    Ok(Some(Mark { name: text("environment"), server: text("server"), database: text("database") }))
}

async fn write(mark: &Mark, session: &Session, database: &str) -> Result<(), Error> {
    let what = format!("mark {database}");
    let mark = doc! {"environment": &mark.name, "server": &mark.server, "database": &mark.database};
    let update = doc! {"q": {"_id": 1}, "u": mark, "upsert": true};
    let command = doc! {"update": MARK, "updates": [update], "writeConcern": session.majority()};
    assert_written(&what, &session.run(&what, database, command).await?)
}

/// Marks the database that the URL names as an environment, or takes its mark away when `name` is `None`.
///
/// # Errors
/// [`Kind::NotFound`] when there is nothing of that name; [`Kind::Refused`] for one marked as production that is to be marked as something else;
/// [`Kind::Config`] for the server's own.
pub async fn mark(endpoint: &Endpoint, name: Option<&str>) -> Result<Marked, Error> {
    let database = endpoint.database();
    if SERVERS_OWN.contains(&database) {
        let what = format!("{endpoint} is the server's own database, which other programs rely on");
        return Err(Error::new(Kind::Config, what).hint("mark a database of an application"));
    }
    let session = connect(endpoint).await?;
    preflight::assert_writable(&session).await?;
    let before = read(&session, database).await?;
    if before.is_none() && preflight::holds(&session, database).await?.is_none() {
        let what = format!("there is no database {database} at {}, or nothing in it", endpoint.server());
        return Err(
            Error::new(Kind::NotFound, what).hint("check the name in the URL; one that holds nothing needs no mark")
        );
    }
    let now = name.map(|name| Mark::new(name, &endpoint.spot()));
    if let Some(now) = &now {
        now.assert_may_follow(before.as_ref(), &endpoint.spot())?;
    }
    match &now {
        Some(mark) => write(mark, &session, database).await?,
        None if before.is_some() => drop(session.run("take the mark away", database, doc! {"drop": MARK}).await?),
        None => {}
    }
    let size = session.run("measure the database", database, doc! {"dbStats": 1}).await?;
    let number = |name: &str| {
        let value = size.get(name)?;
        value.as_i64().or_else(|| value.as_i32().map(i64::from)).or_else(|| whole(value.as_f64()?))
    };
    let collections = number("collections").and_then(|count| u64::try_from(count).ok()).unwrap_or_default();
    Ok(Marked {
        database: database.to_owned(),
        server: endpoint.server(),
        replaceable: now.as_ref().is_some_and(|mark| !mark.is_protected()),
        tables: collections.saturating_sub(u64::from(now.is_some())),
        marked_as: now.map(|mark| mark.name),
        before: before.map(|mark| mark.name),
        bytes: number("totalSize").and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default(),
    })
}

/// Servers say sizes as doubles.
#[expect(clippy::cast_possible_truncation, reason = "no database has 2^53 bytes")]
fn whole(number: f64) -> Option<i64> {
    (number.abs() < 9e15).then_some(number as i64)
}
