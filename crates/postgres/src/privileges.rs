//! What the role may read.
//!
//! Owns looking before anything is locked. Promises that a role which cannot read everything is told all that it
//! cannot read, with the grant that helps, instead of failing at the first table half way. What the role cannot read and the vendor's
//! dump leaves out without a word is at least said in a note.

use crate::failure::from_postgres;
use crate::filter::Chosen;
use crate::quote::{ident, listed, shown};
use crate::tables::{DECLARED, USERS_OWN};
use engine::{Error, Kind};
use tokio_postgres::Client;

/// Most objects that an error names.
const MOST_NAMES: usize = 100;

/// Fails with the names of everything chosen that this role cannot read, and with what to do about it.
pub(crate) async fn assert_readable(client: &Client, major: u32, chosen: &Chosen) -> Result<(), Error> {
    let row = client.query_one("SELECT current_user::text", &[]).await.map_err(from_postgres("ask who we are"))?;
    let role = ident(row.get(0));
    let mut found = Found::default();
    let oids = chosen.oids();
    found.relations(client, &role, oids.as_deref()).await?;
    found.hidden_rows(client, &role, oids.as_deref()).await?;
    if chosen.holds_the_rest() {
        found.large_objects(client, major, &role).await?;
        found.subscriptions(client).await?;
    }
    if found.names.is_empty() {
        return Ok(());
    }
    let what = format!("role {role} cannot read {}", listed(&found.names, MOST_NAMES));
    Err(Error::new(Kind::Refused, what).hint(format!("{}; nothing was stored", found.advice.join("; "))))
}

#[derive(Default)]
struct Found {
    names: Vec<String>,
    advice: Vec<String>,
}

impl Found {
    /// Tables and sequences, and the schemas that they are in.
    async fn relations(&mut self, client: &Client, role: &str, chosen: Option<&[u32]>) -> Result<(), Error> {
        let sql = format!(
            "SELECT c.relkind::text, n.nspname::text, c.relname::text, pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p', 'S') AND ({USERS_OWN} OR c.oid IN ({DECLARED})) AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
             AND CASE c.relkind WHEN 'S' THEN pg_catalog.has_sequence_privilege(c.oid, 'SELECT') \
             ELSE pg_catalog.has_table_privilege(c.oid, 'SELECT') END) \
             AND ($1::oid[] IS NULL OR c.oid = ANY ($1)) ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\""
        );
        let rows = client.query(&sql, &[&chosen]).await.map_err(from_postgres("look for what the role may read"))?;
        for row in &rows {
            let kind = if row.get::<_, &str>(0) == "S" { "sequence" } else { "table" };
            self.names.push(format!("{kind} {}", shown(row.get(1), row.get(2))));
        }
        if let Some(row) = rows.first() {
            let (kind, schema, usable): (&str, &str, bool) = (row.get(0), row.get(1), row.get(3));
            let one =
                if usable { String::new() } else { format!("GRANT USAGE ON SCHEMA {} TO {role}, ", ident(schema)) };
            let kind = if kind == "S" { "SEQUENCE" } else { "TABLE" };
            let name = shown(schema, row.get(2));
            self.advice.push(format!(
                "GRANT pg_read_all_data TO {role} (for all tables and sequences), or one by one: {one}GRANT SELECT ON {kind} {name} TO {role}"
            ));
        }
        Ok(())
    }

    /// Tables whose policies would hide rows from this role.
    async fn hidden_rows(&mut self, client: &Client, role: &str, chosen: Option<&[u32]>) -> Result<(), Error> {
        let sql = format!(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity \
             AND {USERS_OWN} AND pg_catalog.row_security_active(c.oid) \
             AND ($1::oid[] IS NULL OR c.oid = ANY ($1)) ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\""
        );
        let rows = client.query(&sql, &[&chosen]).await.map_err(from_postgres("look for row-level security"))?;
        let name = |row: &tokio_postgres::Row| format!("rows that policies hide in {}", shown(row.get(0), row.get(1)));
        self.names.extend(rows.iter().map(name));
        if !rows.is_empty() {
            self.advice.push(format!("ALTER ROLE {role} BYPASSRLS, or use the tables' owner (for row-level security)"));
        }
        Ok(())
    }

    async fn large_objects(&mut self, client: &Client, major: u32, role: &str) -> Result<(), Error> {
        let readable = if major >= 18 {
            "pg_catalog.has_largeobject_privilege(m.oid, 'SELECT')"
        } else {
            "(SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) \
             OR pg_catalog.pg_has_role(m.lomowner, 'USAGE') OR EXISTS (SELECT FROM pg_catalog.aclexplode(m.lomacl) a \
             WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))"
        };
        let sql = format!(
            "SELECT m.oid::text FROM pg_catalog.pg_largeobject_metadata m WHERE NOT ({readable}) ORDER BY m.oid LIMIT {}",
            MOST_NAMES + 1
        );
        let rows = client.query(&sql, &[]).await.map_err(from_postgres("look for large objects"))?;
        self.names.extend(rows.iter().map(|row| format!("large object {}", row.get::<_, String>(0))));
        if let Some(row) = rows.first() {
            let one: String = row.get(0);
            self.advice.push(format!(
                "GRANT SELECT ON LARGE OBJECT {one} TO {role}, and the others alike, or use their owner or a superuser"
            ));
        }
        Ok(())
    }

    /// The vendor's dump leaves subscriptions out, with a warning only, unless a superuser asks.
    async fn subscriptions(&mut self, client: &Client) -> Result<(), Error> {
        let sql = "SELECT s.subname::text FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid \
             WHERE d.datname = current_database() AND NOT (SELECT rolsuper FROM pg_catalog.pg_roles \
             WHERE rolname = current_user) ORDER BY 1";
        let rows = client.query(sql, &[]).await.map_err(from_postgres("look for subscriptions"))?;
        self.names.extend(rows.iter().map(|row| format!("subscription {}", row.get::<_, String>(0))));
        if !rows.is_empty() {
            self.advice.push("use a superuser: nobody else can read a subscription".to_owned());
        }
        Ok(())
    }
}

/// Notes on user mappings whose options (a remote password) this role cannot see: the vendor's dump writes them without.
pub(crate) async fn hidden_options(client: &Client) -> Result<Vec<String>, Error> {
    // The condition is the one under which the view shows options.
    let sql = "SELECT coalesce(m.usename::text, 'public'), m.srvname::text FROM pg_catalog.pg_user_mappings m \
         JOIN pg_catalog.pg_foreign_server s ON s.oid = m.srvid \
         WHERE NOT (m.umuser <> 0 AND m.usename = current_user \
         AND (pg_catalog.pg_has_role(s.srvowner, 'USAGE') OR pg_catalog.has_server_privilege(s.oid, 'USAGE')) \
         OR m.umuser = 0 AND pg_catalog.pg_has_role(s.srvowner, 'USAGE') \
         OR (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user)) ORDER BY 1, 2";
    let rows = client.query(sql, &[]).await.map_err(from_postgres("look for user mappings"))?;
    let names: Vec<String> =
        rows.iter().map(|row| format!("{} on {}", row.get::<_, String>(0), row.get::<_, String>(1))).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let names = listed(&names, MOST_NAMES);
    Ok(vec![format!("left out: options of the user mappings {names}, which only a superuser and their owner can see")])
}
