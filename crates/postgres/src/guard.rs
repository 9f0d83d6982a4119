//! Guards: into which databases a restore may go.
//!
//! Owns looking at the database that has the target's name, and saying no. Promises that a restore never replaces the
//! database it was backed up from, nor one that is not marked for restores under the address and name it was marked with,
//! nor one marked as production; and that each refusal comes before anything is made, says which it is, and prints the
//! command that is the way out where there is one.

use crate::catalog::Catalog;
use crate::database::Properties;
use crate::endpoint::Endpoint;
use crate::failure::from_postgres;
use crate::marker::Marks;
use engine::{Error, Kind, TargetOptions};
use tokio_postgres::Client;

/// Databases that are every server's own: we work from inside them, and other programs expect them.
const SERVERS_OWN: [&str; 3] = ["postgres", "template0", "template1"];

/// The database that has the target's name.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub oid: u32,
    pub marks: Marks,
    pub properties: Properties,
    /// Where it is, when that is not where new databases are made anyway.
    pub tablespace: Option<String>,
    owned: bool,
    may_create: bool,
}

impl Live {
    /// The database of that name, if there is one; `major` is the server's version.
    pub async fn find(client: &Client, major: u32, name: &str) -> Result<Option<Self>, Error> {
        let sql = "SELECT d.oid, pg_catalog.shobj_description(d.oid, 'pg_database'), t.spcname::text, \
             d.dattablespace <> (SELECT dattablespace FROM pg_catalog.pg_database WHERE datname = 'template0'), \
             pg_catalog.pg_has_role(d.datdba, 'USAGE'), \
             (SELECT rolcreatedb OR rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) \
             FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace \
             WHERE d.datname = $1";
        let row = client.query_opt(sql, &[&name]).await.map_err(from_postgres("look for the target"))?;
        let Some(row) = row else { return Ok(None) };
        let elsewhere: bool = row.get(3);
        Ok(Some(Self {
            oid: row.get(0),
            marks: Marks::split(row.get(1)).1,
            properties: Properties::read(client, major, name.to_owned()).await?,
            tablespace: elsewhere.then(|| row.get(2)),
            owned: row.get(4),
            may_create: row.get(5),
        }))
    }

    /// Fails unless this role may rename it.
    pub fn assert_ours(&self, endpoint: &Endpoint) -> Result<(), Error> {
        let refused = |what: String, hint: String| Err(Error::new(Kind::Refused, what).hint(hint));
        let (user, owner) = (&endpoint.user, &self.properties.owner);
        if !self.owned {
            let what = format!("{endpoint} belongs to {owner}, and {user} is not a member of that role");
            return refused(what, format!("GRANT \"{owner}\" TO \"{user}\", or use the owner; nothing was changed"));
        }
        if !self.may_create {
            let what = format!("{user} may not rename databases");
            return refused(what, format!("ALTER ROLE \"{user}\" CREATEDB; nothing was changed"));
        }
        Ok(())
    }
}

/// Fails for databases that every server has.
pub(crate) fn assert_not_the_servers_own(endpoint: &Endpoint) -> Result<(), Error> {
    if !SERVERS_OWN.contains(&endpoint.database()) {
        return Ok(());
    }
    Err(Error::new(Kind::Config, format!("{endpoint} is the server's own database, which other programs rely on"))
        .hint("restore into a database of its own name"))
}

/// Fails when the live database is the one that the backup was made of.
pub(crate) async fn assert_not_source(
    client: &Client,
    live: &Live,
    endpoint: &Endpoint,
    catalog: &Catalog,
    options: &TargetOptions,
) -> Result<(), Error> {
    let same_name = catalog.database.name == endpoint.database();
    let same_place = is_source_address(endpoint, options);
    let same_server = is_source_server(client, endpoint, catalog, options).await?;
    let same_database = same_name || catalog.moment.database_oid == Some(live.oid);
    if !(same_server && same_database) {
        return Ok(());
    }
    let what = format!("{endpoint} is the database that this backup was made of");
    if same_place && same_name {
        return Err(Error::new(Kind::Refused, what).hint(
            "restore under another name, look at it, and rename by hand if that is what you want; nothing was changed",
        ));
    }
    if options.target_is_a_clone {
        return Ok(());
    }
    Err(Error::new(Kind::Refused, format!("{what}, or a physical copy of it: the server's identifier is the same")).hint(
        "if this server was cloned from the source's disk or base backup, and is not the source, say --target-is-a-clone; \
         nothing was changed",
    ))
}

fn is_source_address(endpoint: &Endpoint, options: &TargetOptions) -> bool {
    options.source_server.as_deref().is_some_and(|server| server.eq_ignore_ascii_case(&endpoint.server()))
}

/// Whether the server is the one that the backup was made of, or a physical copy of it.
pub(crate) async fn is_source_server(
    client: &Client,
    endpoint: &Endpoint,
    catalog: &Catalog,
    options: &TargetOptions,
) -> Result<bool, Error> {
    let here = system_identifier(client).await?;
    Ok(match (&catalog.moment.system_identifier, &here) {
        (Some(then), Some(now)) => then == now,
        // Not readable for one of the two roles: the address is all there is.
        _ => is_source_address(endpoint, options),
    })
}

/// The identifier that a server keeps from its birth, and that physical copies share; `None` when the role may not
/// read it.
async fn system_identifier(client: &Client) -> Result<Option<String>, Error> {
    let allowed = "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')";
    let row = client.query_one(allowed, &[]).await.map_err(from_postgres("read the server's identity"))?;
    if !row.get::<_, bool>(0) {
        return Ok(None);
    }
    let sql = "SELECT (pg_catalog.pg_control_system()).system_identifier::text";
    Ok(client.query_one(sql, &[]).await.map_err(from_postgres("read the server's identity"))?.get(0))
}
