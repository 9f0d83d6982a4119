//! Giving things back to their owners without a superuser.
//!
//! Owns the right to create that new owners need: `ALTER … OWNER TO x` wants x to have CREATE on the schema, unless a superuser
//! says it, and the grants that would give it come last in an archive. So every schema is open to everybody while objects
//! are made, which hurts nobody in a database that nobody else may connect to; closed again; and only then come the
//! archive's own grants, on what is then exactly as the archive expects it.

use crate::failure::from_postgres;
use crate::quote::ident;
use engine::Error;
use tokio_postgres::Client;

/// What is about to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// Schemas and what is in them.
    Schemas,
    /// Things in schemas that are there: extended statistics have owners and come last.
    Rest,
}

/// Schemas that are open for now.
#[derive(Debug)]
pub(crate) struct Opened {
    about: About,
    closed_before: Vec<String>,
}

/// Lets everybody create in the schemas that are there and in those that this role is about to make. A schema that is open
/// to everybody anyway, and one that this role has no say in, is left as it is.
pub(crate) async fn open(inside: &Client, about: About) -> Result<Opened, Error> {
    let sql = "SELECT n.nspname::text FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_' \
         AND n.nspname <> 'information_schema' AND pg_catalog.pg_has_role(n.nspowner, 'USAGE') AND NOT EXISTS \
         (SELECT FROM pg_catalog.aclexplode(n.nspacl) a WHERE a.grantee = 0 AND a.privilege_type = 'CREATE')";
    let rows = inside.query(sql, &[]).await.map_err(from_postgres("read the schemas' grants"))?;
    let opened = Opened { about, closed_before: rows.iter().map(|row| row.get(0)).collect() };
    let sql = opened.statements("GRANT", "TO", &opened.closed_before);
    inside.batch_execute(&sql).await.map_err(from_postgres("let the owners create in their schemas"))?;
    Ok(opened)
}

/// Takes it back: from what was closed before, and from what was made since.
pub(crate) async fn close(inside: &Client, opened: &Opened) -> Result<(), Error> {
    let mut schemas = opened.closed_before.clone();
    if opened.about == About::Schemas {
        // Grants of the archive's own come later: whatever this role made and everybody may create in was opened by us.
        let sql = "SELECT n.nspname::text FROM pg_catalog.pg_namespace n WHERE n.oid >= 16384 \
             AND pg_catalog.pg_has_role(n.nspowner, 'USAGE') AND EXISTS \
             (SELECT FROM pg_catalog.aclexplode(n.nspacl) a WHERE a.grantee = 0 AND a.privilege_type = 'CREATE')";
        let rows = inside.query(sql, &[]).await.map_err(from_postgres("read the schemas' grants"))?;
        schemas.extend(rows.iter().map(|row| row.get(0)));
    }
    let sql = opened.statements("REVOKE", "FROM", &schemas);
    inside.batch_execute(&sql).await.map_err(from_postgres("take the right to create back"))
}

impl Opened {
    fn statements(&self, verb: &str, preposition: &str, schemas: &[String]) -> String {
        let each =
            schemas.iter().map(|schema| format!("{verb} CREATE ON SCHEMA {} {preposition} PUBLIC;", ident(schema)));
        let new = match self.about {
            About::Schemas => format!("ALTER DEFAULT PRIVILEGES {verb} CREATE ON SCHEMAS {preposition} PUBLIC;"),
            About::Rest => String::new(),
        };
        each.chain([new]).collect()
    }
}
