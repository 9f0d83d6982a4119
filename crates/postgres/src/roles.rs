//! Roles at the target: who restores, what that role may do, and which roles are made.
//!
//! Owns the questions about roles that decide whether a restore can end well, and `CREATE ROLE` for those that are missing
//! when that was asked for. Promises that nothing is made here before every check has passed. Refuses to give a role more than
//! the backup's globals say: without them, it may not even log in.

use crate::failure::from_postgres;
use crate::globals::Globals;
use crate::preflight::Cleared;
use crate::quote::{ident, shown_name};
use engine::{Error, Kind};
use std::collections::BTreeSet;
use tokio_postgres::Client;

/// A role, as far as a restore depends on it.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    pub name: String,
    pub superuser: bool,
    pub createdb: bool,
    pub createrole: bool,
    pub bypass_rls: bool,
    /// It has the powers that a managed service gives in place of a superuser's; which ones only the service knows.
    pub managed: bool,
}

/// Roles of managed services whose members may do part of what a superuser may.
const MANAGED: &[&str] = &["rds_superuser", "cloudsqlsuperuser", "alloydbsuperuser", "azure_pg_admin"];

/// Who restores: the role that connects, and the role that everything is done as.
#[derive(Debug, Clone)]
pub(crate) struct Restorer {
    /// The role of the connection: it makes, renames and drops databases.
    pub login: Role,
    /// The role that everything inside the copy is done as: `--role`, or the same.
    pub acting: Role,
}

impl Restorer {
    /// Looks both roles up; `role` is `--role`.
    pub async fn find(client: &Client, role: Option<&str>) -> Result<Self, Error> {
        let row = client.query_one("SELECT current_user::text", &[]).await.map_err(from_postgres("read the role"))?;
        let name: String = row.get(0);
        let unknown = |name: &str| Error::new(Kind::Config, format!("the target's server has no role {name}"));
        let login = look_up(client, &name).await?.ok_or_else(|| unknown(&name))?;
        let acting = match role {
            None => login.clone(),
            Some(role) => look_up(client, role)
                .await?
                .ok_or_else(|| unknown(role).hint("make it first, or name another with --role; nothing was changed"))?,
        };
        Ok(Self { login, acting })
    }

    /// Whether everything inside is done as another role than the one that connects.
    pub fn acts_for_another(&self) -> bool {
        self.login.name != self.acting.name
    }
}

async fn look_up(client: &Client, name: &str) -> Result<Option<Role>, Error> {
    let sql = "SELECT r.rolname::text, r.rolsuper, r.rolcreatedb, r.rolcreaterole, r.rolbypassrls, \
         EXISTS (SELECT FROM pg_catalog.pg_roles m WHERE m.rolname = ANY ($2::text[]) \
         AND pg_catalog.pg_has_role(r.oid, m.oid, 'USAGE')) FROM pg_catalog.pg_roles r WHERE r.rolname = $1";
    let row = client.query_opt(sql, &[&name, &MANAGED]).await.map_err(from_postgres("look for the role"))?;
    Ok(row.map(|row| Role {
        name: row.get(0),
        superuser: row.get(1),
        createdb: row.get(2),
        createrole: row.get(3),
        bypass_rls: row.get(4),
        managed: row.get(5),
    }))
}

/// Of these roles, those that exist and that `role` could not hand something to and still work with it: membership that
/// inherits, and from version 16 on with the SET option besides. A superuser may always.
pub(crate) async fn not_a_member_of(
    client: &Client,
    major: u32,
    role: &Role,
    others: &BTreeSet<String>,
) -> Result<Vec<String>, Error> {
    // Who owns a database is a member of pg_database_owner in that database alone.
    let others: Vec<&str> = others.iter().map(String::as_str).filter(|name| *name != "pg_database_owner").collect();
    let set = if major >= 16 { "OR NOT pg_catalog.pg_has_role($1::name, r.oid, 'SET')" } else { "" };
    let sql = format!(
        "SELECT r.rolname::text FROM pg_catalog.pg_roles r WHERE r.rolname = ANY ($2::text[]) \
         AND (NOT pg_catalog.pg_has_role($1::name, r.oid, 'USAGE') {set}) ORDER BY 1"
    );
    let rows = client.query(&sql, &[&role.name, &others]).await.map_err(from_postgres("read memberships"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Superusers among these, and the others.
pub(crate) async fn superusers_among(client: &Client, roles: Vec<String>) -> Result<(Vec<String>, Vec<String>), Error> {
    let sql = "SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolsuper AND rolname = ANY ($1::text[])";
    let rows = client.query(sql, &[&roles]).await.map_err(from_postgres("read roles"))?;
    let superusers: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    Ok(roles.into_iter().partition(|role| superusers.contains(role)))
}

/// The grant that would help, for people.
pub(crate) fn grant_text(roles: &[String], to: &str, major: u32) -> String {
    let options = if major >= 16 { " WITH INHERIT TRUE, SET TRUE" } else { "" };
    let roles: Vec<String> = roles.iter().map(|role| shown_name(role)).collect();
    format!("GRANT {} TO {}{options}", roles.join(", "), shown_name(to))
}

/// Makes the missing roles, all or none, and lets the roles that restore hand things to those that will own something. They
/// outlive the restore, however it ends. Returns the notes that say so, and what could not be given to them.
pub(crate) async fn create(
    client: &Client,
    major: u32,
    cleared: &Cleared,
    globals: Option<&Globals>,
) -> Result<Vec<String>, Error> {
    let (restorer, missing) = (&cleared.restorer, &cleared.missing_roles);
    let superuser = restorer.login.superuser;
    let mut sql = match globals {
        Some(globals) => globals.create_statements(missing, superuser),
        None => missing.iter().map(|role| format!("CREATE ROLE {} NOLOGIN", ident(role))).collect(),
    };
    let members: BTreeSet<&str> = [&restorer.login, &restorer.acting]
        .into_iter()
        .filter(|role| !role.superuser)
        .map(|role| role.name.as_str())
        .collect();
    let options = if major >= 16 { " WITH INHERIT TRUE, SET TRUE" } else { "" };
    let given: Vec<&str> = missing.intersection(&cleared.owners).map(String::as_str).collect();
    for owner in &given {
        sql.extend(members.iter().map(|member| format!("GRANT {} TO {}{options}", ident(owner), ident(member))));
    }
    let tried = client.batch_execute(&format!("BEGIN; {}; COMMIT", sql.join("; "))).await;
    if tried.is_err() {
        drop(client.batch_execute("ROLLBACK").await);
    }
    tried.map_err(from_postgres("make the missing roles"))?;
    let names = missing.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    tracing::info!("made the missing roles {names}");
    let how = if globals.is_some() { "as the backup's globals say" } else { "without login" };
    let mut notes = vec![format!("made roles that were missing, {how}; they stay even if this restore fails: {names}")];
    if !given.is_empty() {
        let given = given.join(", ");
        notes
            .extend(members.iter().map(|member| format!("role {member} was made a member, and stays one, of {given}")));
    }
    notes.extend(globals.map(|globals| globals.creation_notes(missing, superuser)).unwrap_or_default());
    Ok(notes)
}
