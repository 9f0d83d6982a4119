//! Which databases a server has.
//!
//! Owns the list for a backup of all of them. Promises that every database that is not backed up is named with the
//! reason, templates of the installation apart. Recognises what this program made on the way to a restore by its marks, never by
//! name alone.

use crate::connection::{Purpose, connect};
use crate::endpoint::Endpoint;
use crate::failure::from_postgres;
use crate::marker::Marks;
use crate::scratch::{holds, is_scratch};
use engine::{Error, Found};

/// Databases of hosting providers that no customer can read.
const PROVIDERS: &[&str] = &["rdsadmin", "cloudsqladmin", "azure_maintenance", "azure_sys"];

impl Endpoint {
    /// All databases of the server, sorted by name; the installation's own templates are not among them.
    ///
    /// # Errors
    /// As connecting to the endpoint's database.
    pub async fn databases(&self) -> Result<Vec<Found>, Error> {
        crate::pooler::refuse_shared(self).await?;
        let client = connect(self, Purpose::Lead, 60).await?;
        let sql = "SELECT d.datname::text, d.datistemplate, d.datallowconn, \
             pg_catalog.shobj_description(d.oid, 'pg_database') FROM pg_catalog.pg_database d \
             WHERE d.datname NOT IN ('template0', 'template1') ORDER BY d.datname COLLATE \"C\"";
        let rows = client.query(sql, &[]).await.map_err(from_postgres("list the databases"))?;
        let found = |row: &tokio_postgres::Row| {
            let (name, comment): (String, Option<String>) = (row.get(0), row.get(3));
            let reasons = [
                (is_scratch(comment.as_deref()), "a restore is at work in it, or was"),
                (Marks::split(comment.as_deref()).1.replaced.is_some(), "a restore has replaced it"),
                (row.get(1), "it is a template"),
                (!row.get::<_, bool>(2), "it allows no connections"),
                (PROVIDERS.contains(&name.as_str()), "it belongs to the hosting provider"),
            ];
            let left_out = reasons.iter().find(|(holds, _)| *holds).map(|(_, why)| (*why).to_owned());
            Found { name, left_out }
        };
        Ok(rows.iter().map(found).collect())
    }

    /// Whether a user made nothing in the database.
    ///
    /// # Errors
    /// As connecting to it.
    pub async fn is_empty(&self) -> Result<bool, Error> {
        Ok(holds(self).await?.is_none())
    }

    /// The same server and credentials, another database.
    #[must_use]
    pub fn of_database(&self, name: &str) -> Self {
        self.with_database(name)
    }
}
