//! Globals: what belongs to the server and not to one database, as far as a restore elsewhere can use it.
//!
//! Owns the document `globals.json`: roles with attributes, comments and settings, who is a member of what, the names of
//! tablespaces; and the statements that make a chosen set of these roles again. Promises that password hashes are read only
//! when asked for and show in no log, error or `Debug`. Refuses the server's own roles (`pg_…`), which every server has.

use crate::database::set_statements;
use crate::failure::from_postgres;
use crate::quote::{ident, literal};
use engine::{Error, GlobalsWanted, Kind, read_versioned};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use tokio_postgres::{Client, Row};

/// Name of this document within a backup.
pub const GLOBALS: &str = "globals.json";
/// The newest version of the document that is understood.
const VERSION: u32 = 1;

/// A password as the server keeps it: a hash, which is worth guarding all the same.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// The attributes, called as SQL calls them.
    pub superuser: bool,
    /// `INHERIT`.
    pub inherit: bool,
    /// `CREATEROLE`.
    pub create_role: bool,
    /// `CREATEDB`.
    pub create_db: bool,
    /// `LOGIN`.
    pub login: bool,
    /// `REPLICATION`.
    pub replication: bool,
    /// `BYPASSRLS`.
    pub bypass_rls: bool,
    /// -1 for none.
    pub connection_limit: i32,
    /// Until when the password is valid, as the server writes it in UTC.
    pub valid_until: Option<String>,
    /// Only with `--globals-passwords`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<PasswordHash>,
    /// What people wrote about it.
    pub comment: Option<String>,
}

/// That a role is a member of another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// The role whose rights are had.
    pub role: String,
    /// Who has them.
    pub member: String,
    /// Who granted it, for the record: it is not brought back.
    pub grantor: Option<String>,
    /// May grant it on.
    pub admin: bool,
    /// From version 16 on: has the rights without `SET ROLE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inherit: Option<bool>,
    /// From version 16 on: may `SET ROLE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<bool>,
}

/// A configuration setting of a role in every database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleSetting {
    /// `None` for all roles.
    pub role: Option<String>,
    /// The setting.
    pub name: String,
    /// Its value, as the server keeps it.
    pub value: String,
    /// Whether only a superuser may set it.
    pub superuser_only: bool,
}

/// A tablespace, for the record: where it lies is a matter of each server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tablespace {
    /// Its name.
    pub name: String,
    /// Whose it is.
    pub owner: String,
}

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Globals {
    /// Version of this document.
    pub version: u32,
    /// Major version of the server.
    pub server_major: u32,
    /// Whether password hashes were asked for.
    pub passwords: bool,
    /// By name.
    pub roles: Vec<Role>,
    /// By role and member.
    pub memberships: Vec<Membership>,
    /// By role and name.
    pub settings: Vec<RoleSetting>,
    /// By name.
    pub tablespaces: Vec<Tablespace>,
}

impl Globals {
    /// Reads the document of a backup.
    ///
    /// # Errors
    /// [`Kind::Data`] when it is not one; [`Kind::Config`] when a newer version wrote it. Neither repeats its content.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        read_versioned(bytes, "the backup's globals", VERSION)
    }

    /// The document's bytes.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self).map_err(|_| Error::new(Kind::Internal, "the globals could not be written"))
    }

    /// Reads the server's roles in the session's transaction; `major` is its version.
    ///
    /// # Errors
    /// [`Kind::Refused`] when password hashes are wanted and the role may not read them.
    pub(crate) async fn read(client: &Client, major: u32, wanted: GlobalsWanted) -> Result<Option<Self>, Error> {
        let passwords = match wanted {
            GlobalsWanted::No => return Ok(None),
            GlobalsWanted::WithoutPasswords => false,
            GlobalsWanted::WithPasswords => true,
        };
        if passwords {
            assert_hashes_readable(client).await?;
        }
        Ok(Some(Self {
            version: VERSION,
            server_major: major,
            passwords,
            roles: read_roles(client, passwords).await?,
            memberships: read_memberships(client, major).await?,
            settings: read_settings(client).await?,
            tablespaces: read_tablespaces(client).await?,
        }))
    }

    /// The statements that make these roles with their attributes, comments, settings and the memberships between them.
    /// A role that the document does not know is made without any right. `superuser` says whether whoever runs the
    /// statements is one: without it, what only a superuser may give is left out, and [`Globals::creation_notes`] says so.
    /// The statements may contain password hashes: they are not for logs.
    #[must_use]
    pub fn create_statements(&self, roles: &BTreeSet<String>, superuser: bool) -> Vec<String> {
        let known: BTreeMap<&str, &Role> = self.roles.iter().map(|role| (role.name.as_str(), role)).collect();
        let mut sql: Vec<String> = roles
            .iter()
            .map(|name| match known.get(name.as_str()) {
                Some(role) => role.create_statement(superuser),
                None => format!("CREATE ROLE {} NOLOGIN", ident(name)),
            })
            .collect();
        let comments = roles.iter().filter_map(|name| Some((name, known.get(name.as_str())?.comment.as_deref()?)));
        sql.extend(comments.map(|(name, text)| format!("COMMENT ON ROLE {} IS {}", ident(name), literal(text))));
        for setting in self.settings.iter().filter(|setting| superuser || !setting.superuser_only) {
            if let Some(role) = setting.role.as_ref().filter(|role| roles.contains(*role)) {
                sql.extend(set_statements(&setting.name, &setting.value, &format!("ALTER ROLE {}", ident(role))));
            }
        }
        let granted = self.memberships.iter().filter(|membership| membership.is_granted(roles, superuser));
        sql.extend(granted.map(Membership::grant_statement));
        sql
    }

    /// What [`Globals::create_statements`] leaves out, for people.
    #[must_use]
    pub fn creation_notes(&self, roles: &BTreeSet<String>, superuser: bool) -> Vec<String> {
        let mut notes = Vec::new();
        for role in self.roles.iter().filter(|role| roles.contains(&role.name) && !superuser) {
            let lost: Vec<&str> = role.superusers_only().iter().filter(|(_, on)| *on).map(|(word, _)| *word).collect();
            if !lost.is_empty() {
                notes.push(format!(
                    "role {} was made without {}: only a superuser may give it",
                    role.name,
                    lost.join(", ")
                ));
            }
        }
        for setting in self.settings.iter().filter(|setting| setting.superuser_only && !superuser) {
            if let Some(role) = setting.role.as_ref().filter(|role| roles.contains(*role)) {
                notes.push(format!(
                    "the setting {} of role {role} was left out: only a superuser may set it",
                    setting.name
                ));
            }
        }
        let touched = |m: &&Membership| roles.contains(&m.member) || roles.contains(&m.role);
        let lost = self.memberships.iter().filter(touched).filter(|m| !m.is_granted(roles, superuser));
        notes.extend(lost.map(|m| format!("role {} was not made a member of {} again", m.member, m.role)));
        notes
    }
}

impl Role {
    /// Attributes that only a superuser may give, and whether this role has them.
    fn superusers_only(&self) -> [(&'static str, bool); 3] {
        [("SUPERUSER", self.superuser), ("REPLICATION", self.replication), ("BYPASSRLS", self.bypass_rls)]
    }

    fn create_statement(&self, superuser: bool) -> String {
        let mut words: Vec<String> = Vec::new();
        let mut attribute = |word: &str, on: bool| words.push(if on { word.to_owned() } else { format!("NO{word}") });
        attribute("INHERIT", self.inherit);
        attribute("CREATEROLE", self.create_role);
        attribute("CREATEDB", self.create_db);
        attribute("LOGIN", self.login);
        // Even saying NO to these takes a superuser on some servers; it is what a new role has anyway.
        for (word, _) in self.superusers_only().iter().filter(|(_, on)| *on && superuser) {
            words.push((*word).to_owned());
        }
        if self.connection_limit != -1 {
            words.push(format!("CONNECTION LIMIT {}", self.connection_limit));
        }
        if let Some(until) = &self.valid_until {
            words.push(format!("VALID UNTIL {}", literal(until)));
        }
        if let Some(PasswordHash(hash)) = &self.password {
            words.push(format!("PASSWORD {}", literal(hash)));
        }
        format!("CREATE ROLE {} {}", ident(&self.name), words.join(" "))
    }
}

impl Membership {
    /// Both ends are there afterwards: made by us, or the server's own. Handing out the latter takes a superuser.
    fn is_granted(&self, roles: &BTreeSet<String>, superuser: bool) -> bool {
        let servers_own = self.role.starts_with("pg_");
        roles.contains(&self.member) && (roles.contains(&self.role) || servers_own && superuser)
    }

    fn grant_statement(&self) -> String {
        let options = match (self.inherit, self.set) {
            (Some(inherit), Some(set)) => {
                let word = |on: bool| if on { "TRUE" } else { "FALSE" };
                format!(" WITH ADMIN {}, INHERIT {}, SET {}", word(self.admin), word(inherit), word(set))
            }
            _ if self.admin => " WITH ADMIN OPTION".to_owned(),
            _ => String::new(),
        };
        format!("GRANT {} TO {}{options}", ident(&self.role), ident(&self.member))
    }
}

async fn assert_hashes_readable(client: &Client) -> Result<(), Error> {
    let sql = "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT'), current_user::text";
    let row = client.query_one(sql, &[]).await.map_err(from_postgres("look for the right to read password hashes"))?;
    if row.get(0) {
        return Ok(());
    }
    let role: String = row.get(1);
    Err(Error::new(Kind::Refused, format!("role {role} may not read password hashes (pg_catalog.pg_authid)"))
        .hint("use a superuser or a role with pg_read_all_data, or leave --globals-passwords out: roles are kept without passwords then"))
}

async fn read_roles(client: &Client, passwords: bool) -> Result<Vec<Role>, Error> {
    // pg_roles is readable by everybody and shows no hash; managed servers hide pg_authid.
    let (from, password) = if passwords { ("pg_authid", "rolpassword") } else { ("pg_roles", "NULL::text") };
    let sql = format!(
        "SELECT rolname::text, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, \
         rolbypassrls, rolconnlimit, rolvaliduntil::text, {password}, \
         pg_catalog.shobj_description(oid, 'pg_authid') \
         FROM pg_catalog.{from} WHERE rolname !~ '^pg_' ORDER BY rolname COLLATE \"C\""
    );
    let rows = client.query(&sql, &[]).await.map_err(from_postgres("read the server's roles"))?;
    Ok(rows.iter().map(role).collect())
}

fn role(row: &Row) -> Role {
    Role {
        name: row.get(0),
        superuser: row.get(1),
        inherit: row.get(2),
        create_role: row.get(3),
        create_db: row.get(4),
        login: row.get(5),
        replication: row.get(6),
        bypass_rls: row.get(7),
        connection_limit: row.get(8),
        valid_until: row.get(9),
        password: row.get::<_, Option<String>>(10).map(PasswordHash),
        comment: row.get(11),
    }
}

async fn read_memberships(client: &Client, major: u32) -> Result<Vec<Membership>, Error> {
    let options = if major >= 16 { "m.inherit_option, m.set_option" } else { "NULL::bool, NULL::bool" };
    let sql = format!(
        "SELECT r.rolname::text, u.rolname::text, g.rolname::text, m.admin_option, {options} \
         FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles r ON r.oid = m.roleid \
         JOIN pg_catalog.pg_roles u ON u.oid = m.member LEFT JOIN pg_catalog.pg_roles g ON g.oid = m.grantor \
         WHERE u.rolname !~ '^pg_' ORDER BY r.rolname COLLATE \"C\", u.rolname COLLATE \"C\", g.rolname COLLATE \"C\""
    );
    let rows = client.query(&sql, &[]).await.map_err(from_postgres("read the roles' memberships"))?;
    let membership = |row: &Row| Membership {
        role: row.get(0),
        member: row.get(1),
        grantor: row.get(2),
        admin: row.get(3),
        inherit: row.get(4),
        set: row.get(5),
    };
    Ok(rows.iter().map(membership).collect())
}

async fn read_settings(client: &Client) -> Result<Vec<RoleSetting>, Error> {
    let sql = "SELECT r.rolname::text, c.setting, coalesce(p.context IN ('superuser', 'superuser-backend'), false) \
         FROM pg_catalog.pg_db_role_setting s CROSS JOIN unnest(s.setconfig) AS c(setting) \
         LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole \
         LEFT JOIN pg_catalog.pg_settings p ON p.name = pg_catalog.lower(pg_catalog.split_part(c.setting, '=', 1)) \
         WHERE s.setdatabase = 0 AND (s.setrole = 0 OR r.rolname IS NOT NULL) \
         ORDER BY r.rolname COLLATE \"C\" NULLS FIRST, c.setting COLLATE \"C\"";
    let rows = client.query(sql, &[]).await.map_err(from_postgres("read the roles' settings"))?;
    let setting = |row: &Row| {
        let text: String = row.get(1);
        let (name, value) = text.split_once('=')?;
        Some(RoleSetting {
            role: row.get(0),
            name: name.to_owned(),
            value: value.to_owned(),
            superuser_only: row.get(2),
        })
    };
    Ok(rows.iter().filter_map(setting).collect())
}

async fn read_tablespaces(client: &Client) -> Result<Vec<Tablespace>, Error> {
    let sql = "SELECT spcname::text, pg_catalog.pg_get_userbyid(spcowner)::text FROM pg_catalog.pg_tablespace \
         WHERE spcname !~ '^pg_' ORDER BY spcname COLLATE \"C\"";
    let rows = client.query(sql, &[]).await.map_err(from_postgres("read the tablespaces"))?;
    Ok(rows.iter().map(|row| Tablespace { name: row.get(0), owner: row.get(1) }).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn role(name: &str) -> Role {
        Role {
            name: name.to_owned(),
            superuser: false,
            inherit: true,
            create_role: false,
            create_db: false,
            login: true,
            replication: false,
            bypass_rls: false,
            connection_limit: -1,
            valid_until: None,
            password: None,
            comment: None,
        }
    }

    fn membership(role: &str, member: &str) -> Membership {
        let (role, member) = (role.to_owned(), member.to_owned());
        Membership { role, member, grantor: None, admin: false, inherit: None, set: None }
    }

    fn globals(roles: Vec<Role>) -> Globals {
        Globals {
            version: 1,
            server_major: 15,
            passwords: false,
            roles,
            memberships: vec![
                membership("app", "ann"),
                membership("pg_monitor", "ann"),
                membership("other", "ann"),
                membership("app", "present"),
                membership("elsewhere", "present"),
            ],
            settings: vec![RoleSetting {
                role: Some("ann".into()),
                name: "log_statement".into(),
                value: "all".into(),
                superuser_only: true,
            }],
            tablespaces: Vec::new(),
        }
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_only_a_superuser_may_give_is_left_out_and_said() {
        let ann = Role { superuser: true, bypass_rls: true, comment: Some("it's ann".into()), ..role("ann") };
        let globals = globals(vec![ann, role("app")]);
        let wanted = set(&["ann", "app", "unknown"]);
        let sql = globals.create_statements(&wanted, false).join(";\n");
        assert!(!sql.contains("SUPERUSER") && !sql.contains("BYPASSRLS") && !sql.contains("log_statement"), "{sql}");
        assert!(sql.contains("CREATE ROLE \"unknown\" NOLOGIN"), "{sql}");
        assert!(sql.contains("COMMENT ON ROLE \"ann\" IS 'it''s ann'"), "{sql}");
        assert!(sql.contains("GRANT \"app\" TO \"ann\"") && !sql.contains("pg_monitor"), "{sql}");
        let notes = globals.creation_notes(&wanted, false).join("\n");
        for said in [
            "without SUPERUSER, BYPASSRLS",
            "log_statement",
            "member of pg_monitor",
            "member of other",
            "role present was not made a member of app",
        ] {
            assert!(notes.contains(said), "{said}: {notes}");
        }
        assert!(!notes.contains("elsewhere"), "{notes}");
        let sql = globals.create_statements(&wanted, true).join(";\n");
        for said in [" SUPERUSER BYPASSRLS", "\"log_statement\" TO 'all'", "GRANT \"pg_monitor\" TO \"ann\""] {
            assert!(sql.contains(said), "{said}: {sql}");
        }
        assert!(!sql.contains("\"other\""), "a role that nobody makes cannot be granted: {sql}");
    }

    #[test]
    fn options_of_memberships_are_written_where_the_server_had_them() {
        let old = Membership { admin: true, ..membership("a", "b") };
        assert_eq!(old.grant_statement(), "GRANT \"a\" TO \"b\" WITH ADMIN OPTION");
        let new = Membership { inherit: Some(false), set: Some(true), ..membership("a", "b") };
        assert_eq!(new.grant_statement(), "GRANT \"a\" TO \"b\" WITH ADMIN FALSE, INHERIT FALSE, SET TRUE");
    }

    #[test]
    fn hashes_are_kept_and_shown_nowhere() {
        let hash = "SCRAM-SHA-256$4096:salt$stored:server";
        let globals = globals(vec![Role { password: Some(PasswordHash(hash.into())), ..role("ann") }]);
        assert!(!format!("{globals:?}").contains("SCRAM"));
        let again = Globals::parse(&globals.to_bytes().unwrap()).unwrap();
        assert_eq!(again, globals);
        assert!(again.create_statements(&set(&["ann"]), false)[0].ends_with(&format!("PASSWORD '{hash}'")));
    }

    #[test]
    fn a_document_that_is_not_one_is_an_error_without_its_content() {
        let error = Globals::parse(br#"{"version":1,"roles":"SCRAM-SHA-256$x"}"#).unwrap_err();
        assert!(error.kind == Kind::Data && !error.what.contains("SCRAM"), "{error}");
        assert_eq!(Globals::parse(br#"{"version":2}"#).unwrap_err().kind, Kind::Config);
    }
}
