//! Marks: what a schema says about itself to this program.
//!
//! Owns one table in a schema, `longshore_mark`, with one row: which environment it is, and the address and name that the mark was made for. Promises that a mark
//! binds the place: a copy, a renamed schema or another server is not marked; and that the table is in no backup and moves with no restore. These servers have no comment on a
//! schema that all of them know.

use crate::connection::{Purpose, Session, connect};
use crate::endpoint::Endpoint;
use crate::quote::{literal, qualified};
use crate::schema;
use crate::source::SERVERS_OWN;
use engine::{Error, Kind, Mark, Marked};

/// The table's name.
pub(crate) const TABLE: &str = "longshore_mark";

/// The mark that a schema carries, if any.
pub(crate) async fn read(session: &mut Session, schema: &str) -> Result<Option<Mark>, Error> {
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = '{TABLE}'",
        literal(schema)
    );
    if session.one("look for a mark", &sql).await?.number(0) != Some(1) {
        return Ok(None);
    }
    let sql = format!("SELECT environment, server, database_name FROM {}", qualified(schema, TABLE));
    let rows = session.rows("read the mark", &sql).await?;
    let [row] = rows.as_slice() else { return Ok(None) };
    Ok(Some(Mark { name: row.text(0), server: row.text(1), database: row.text(2) }))
}

async fn write(mark: &Mark, session: &mut Session, schema: &str) -> Result<(), Error> {
    let table = qualified(schema, TABLE);
    let what = format!("mark {schema}");
    let sql = format!(
        "CREATE TABLE IF NOT EXISTS {table} (only_one TINYINT NOT NULL PRIMARY KEY, environment VARCHAR(128) NOT NULL, \
         server VARCHAR(255) NOT NULL, database_name VARCHAR(64) NOT NULL) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    );
    session.run(&what, &sql).await?;
    let (name, server, database) = (literal(&mark.name), literal(&mark.server), literal(&mark.database));
    session.run(&what, &format!("REPLACE INTO {table} VALUES (1, {name}, {server}, {database})")).await
}

/// Marks the schema that the URL names as an environment, or takes its mark away when `name` is `None`.
///
/// # Errors
/// [`Kind::NotFound`] when there is no such schema; [`Kind::Refused`] for one marked as production that is to be marked as something else;
/// [`Kind::Config`] for the server's own.
pub async fn mark(endpoint: &Endpoint, name: Option<&str>) -> Result<Marked, Error> {
    let schema = endpoint.database();
    if SERVERS_OWN.contains(&schema) {
        let what = format!("{endpoint} is the server's own database, which other programs rely on");
        return Err(Error::new(Kind::Config, what).hint("mark a database of an application"));
    }
    let mut session = connect(endpoint, Purpose::Write).await?;
    schema::database(&mut session, schema).await?;
    let before = read(&mut session, schema).await?;
    let now = name.map(|name| Mark::new(name, &endpoint.spot()));
    if let Some(now) = &now {
        now.assert_may_follow(before.as_ref(), &endpoint.spot())?;
    }
    match &now {
        Some(mark) => write(mark, &mut session, schema).await?,
        None => {
            session.run("take the mark away", &format!("DROP TABLE IF EXISTS {}", qualified(schema, TABLE))).await?
        }
    }
    let sql = format!(
        "SELECT COALESCE(SUM(DATA_LENGTH + INDEX_LENGTH), 0), COUNT(*) FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA = {} AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND TABLE_NAME <> '{TABLE}'",
        literal(schema)
    );
    let row = session.one("measure the database", &sql).await?;
    Ok(Marked {
        database: schema.to_owned(),
        server: endpoint.server(),
        replaceable: now.as_ref().is_some_and(|mark| !mark.is_protected()),
        marked_as: now.map(|mark| mark.name),
        before: before.map(|mark| mark.name),
        bytes: row.number(0).unwrap_or_default(),
        tables: row.number(1).unwrap_or_default(),
    })
}
