//! A part: certain tables of a backup, brought into a schema that stays.
//!
//! Owns what is different then: guards, and the names that must be free. Promises that nothing that is there is replaced. Refuses to overwrite, and databases that a restore may not go into.

use crate::catalog::{Catalog, Database};
use crate::connection::Session;
use crate::endpoint::Endpoint;
use crate::filter::Rules;
use crate::guard;
use crate::mark;
use crate::preflight::There;
use crate::quote::{ident, literal};
use crate::schema;
use crate::source::named;
use engine::{Error, Kind, Mark, TargetOptions};

/// Chooses the part, after every guard. Returns it with notes.
pub(crate) async fn choose(
    session: &mut Session,
    there: &There,
    endpoint: &Endpoint,
    catalog: &Catalog,
    options: &TargetOptions,
) -> Result<(Catalog, Vec<String>), Error> {
    if *there == There::Nothing {
        return Err(Error::new(Kind::NotFound, format!("there is no {endpoint}"))
            .hint("a part is restored into a database that is there; make one, or restore everything into a new one"));
    }
    guard::assert_not_source(session, endpoint, catalog, options).await?;
    let mark = mark::read(session, endpoint.database()).await?;
    if let Some(mark) = &mark {
        mark.assert_not_protected(&endpoint.spot())?;
    }
    if let There::Full(holds) = there {
        Mark::assert_allows(mark.as_ref(), &endpoint.spot(), holds)?;
    }
    let (mut part, mut notes) = Rules::part_of(catalog, &options.part)?;
    // The schema stays what it is.
    let live = schema::database(session, endpoint.database()).await?;
    part.database = Database { name: part.database.name.clone(), ..live };
    assert_names_free(session, endpoint.database(), &part).await?;
    // They are made, or named when they cannot be.
    notes.retain(|note| !note.starts_with("foreign keys refer"));
    Ok((part, notes))
}

/// Fails when the schema has something of a name that the part brings.
pub(crate) async fn assert_names_free(session: &mut Session, target: &str, part: &Catalog) -> Result<(), Error> {
    let tables = part.tables.iter().map(|table| &table.name);
    let sequences = part.sequences.iter().map(|sequence| &sequence.name);
    let tables: Vec<&String> = tables.chain(sequences).chain(part.views.iter().map(|view| &view.name)).collect();
    let triggers: Vec<&String> = part.triggers.iter().map(|trigger| &trigger.name).collect();
    let mut taken = Vec::new();
    for (view, schema, column, names) in
        [("TABLES", "TABLE_SCHEMA", "TABLE_NAME", tables), ("TRIGGERS", "TRIGGER_SCHEMA", "TRIGGER_NAME", triggers)]
    {
        if names.is_empty() {
            continue;
        }
        let list: Vec<String> = names.iter().map(|name| literal(name)).collect();
        let sql = format!(
            "SELECT {column} FROM information_schema.{view} WHERE {schema} = {} AND {column} IN ({}) ORDER BY 1",
            literal(target),
            list.join(", ")
        );
        let rows = session.rows("look for names that are taken", &sql).await?;
        taken.extend(rows.iter().map(|row| ident(&row.text(0))));
    }
    if taken.is_empty() {
        return Ok(());
    }
    Err(Error::new(Kind::Exists, format!("{target} has these already: {}", named(&taken))).hint(
        "a part replaces nothing: rename or drop what is there, or restore into another database; nothing was changed",
    ))
}
