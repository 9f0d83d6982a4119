//! A database's own properties: what `pg_dump` keeps for `--create` only.
//!
//! Owns encoding, locale, owner, connection limit, comment, grants and settings of a database: reading them from the
//! catalog and applying them to another database. Promises that a setting comes back as it was, quoted as the server
//! itself quotes. Refuses nothing silently: a role that is missing fails unless owners are left out.

use crate::failure::from_postgres;
use crate::marker::Marks;
use crate::quote::{ident, literal};
use engine::{Error, Kind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use tokio_postgres::Client;

/// What a database is like, apart from what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Properties {
    pub name: String,
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    /// `c` libc, `i` ICU, `b` builtin.
    pub provider: String,
    /// Locale of ICU or builtin.
    pub locale: Option<String>,
    pub icu_rules: Option<String>,
    pub owner: String,
    /// -1 for none.
    pub connection_limit: i32,
    /// Whether others may be copied from it; told about and not replayed: a template cannot be dropped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_template: bool,
    pub comment: Option<String>,
    /// `None` for the server's default grants.
    pub grants: Option<Vec<Grant>>,
    pub settings: Vec<Setting>,
}

/// A privilege on the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    /// `None` for PUBLIC.
    pub role: Option<String>,
    pub privilege: String,
    pub with_grant_option: bool,
}

/// A configuration setting of the database, or of a role in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setting {
    pub role: Option<String>,
    pub name: String,
    pub value: String,
}

/// Settings whose value is a list that the server keeps quoted already: written as one literal they would become one
/// element (see `variable_is_guc_list_quote` in the vendor's pg_dump).
const QUOTED_LISTS: &[&str] = &[
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

impl Properties {
    /// Reads the properties of a database; `major` is the server's version.
    pub async fn read(client: &Client, major: u32, name: String) -> Result<Self, Error> {
        let (provider, locale, rules) = match major {
            ..=14 => ("'c'", "NULL", "NULL"),
            15 => ("d.datlocprovider::text", "d.daticulocale", "NULL"),
            16 => ("d.datlocprovider::text", "d.daticulocale", "d.daticurules"),
            _ => ("d.datlocprovider::text", "d.datlocale", "d.daticurules"),
        };
        let sql = format!(
            "SELECT pg_catalog.pg_encoding_to_char(d.encoding)::text, d.datcollate::text, d.datctype::text, \
             {provider}::text, {locale}::text, {rules}::text, pg_catalog.pg_get_userbyid(d.datdba)::text, d.datconnlimit, \
             pg_catalog.shobj_description(d.oid, 'pg_database'), d.datacl IS NULL, d.oid, d.datistemplate \
             FROM pg_catalog.pg_database d WHERE d.datname = $1"
        );
        let row = client.query_one(&sql, &[&name]).await.map_err(from_postgres("read the database's properties"))?;
        let oid: u32 = row.get(10);
        Ok(Self {
            name,
            encoding: row.get(0),
            collate: row.get(1),
            ctype: row.get(2),
            provider: row.get(3),
            locale: row.get(4),
            icu_rules: row.get(5),
            owner: row.get(6),
            connection_limit: row.get(7),
            is_template: row.get(11),
            comment: Marks::split(row.get(8)).0,
            grants: if row.get(9) { None } else { Some(read_grants(client, oid).await?) },
            settings: read_settings(client, oid).await?,
        })
    }

    /// Roles that applying these properties needs.
    pub fn roles(&self) -> BTreeSet<String> {
        let granted = self.grants.iter().flatten().filter_map(|grant| grant.role.clone());
        let set = self.settings.iter().filter_map(|setting| setting.role.clone());
        granted.chain(set).chain([self.owner.clone()]).collect()
    }

    /// The statement that makes an empty database like this under another name; `major` is the target's version.
    pub fn create_statement(&self, name: &str, major: u32) -> String {
        self.create_statement_of(&ident(name), major)
    }

    /// The same, for a name that is quoted already.
    pub fn create_statement_of(&self, database: &str, major: u32) -> String {
        let mut sql = format!(
            "CREATE DATABASE {database} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}",
            literal(&self.encoding),
            literal(&self.collate),
            literal(&self.ctype)
        );
        let locale = self.locale.as_deref().map(literal);
        match (self.provider.as_str(), locale) {
            ("i", Some(locale)) if major >= 15 => sql.push_str(&format!(" LOCALE_PROVIDER icu ICU_LOCALE {locale}")),
            ("b", Some(locale)) if major >= 17 => {
                sql.push_str(&format!(" LOCALE_PROVIDER builtin BUILTIN_LOCALE {locale}"));
            }
            _ if major >= 15 => sql.push_str(" LOCALE_PROVIDER libc"),
            _ => {}
        }
        if let Some(rules) = self.icu_rules.as_deref().filter(|_| major >= 16) {
            sql.push_str(&format!(" ICU_RULES {}", literal(rules)));
        }
        sql
    }

    /// The statements that apply everything but encoding, locale and owner to the database called `name`. All of them
    /// can be undone by a ROLLBACK.
    pub fn statements(&self, name: &str, no_owner: bool) -> Vec<String> {
        self.statements_of(&ident(name), no_owner)
    }

    /// The same, for a name that is quoted already.
    pub fn statements_of(&self, database: &str, no_owner: bool) -> Vec<String> {
        let mut sql = vec![format!("ALTER DATABASE {database} CONNECTION LIMIT {}", self.connection_limit)];
        // A mark is of one place: what a backup brings along is none.
        let (comment, _) = Marks::split(self.comment.as_deref());
        sql.push(Marks::default().statement_on(database, comment.as_deref()));
        if !no_owner {
            sql.extend(self.grant_statements(database));
        }
        for setting in self.settings.iter().filter(|setting| !no_owner || setting.role.is_none()) {
            sql.extend(setting_statements(setting, database));
        }
        sql
    }

    /// The statement that gives the database called `name` its owner. It comes last: it may take away the right to do
    /// anything else.
    pub fn owner_statement(&self, name: &str) -> String {
        self.owner_statement_of(&ident(name))
    }

    /// The same, for a name that is quoted already.
    pub fn owner_statement_of(&self, database: &str) -> String {
        format!("ALTER DATABASE {database} OWNER TO {}", ident(&self.owner))
    }

    fn grant_statements(&self, database: &str) -> Vec<String> {
        let everybody = "CONNECT, TEMPORARY";
        let Some(grants) = &self.grants else {
            return vec![format!("GRANT {everybody} ON DATABASE {database} TO PUBLIC")];
        };
        let mut sql = vec![format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC")];
        sql.extend(grants.iter().map(|grant| {
            let to = grant.role.as_deref().map_or_else(|| "PUBLIC".to_owned(), ident);
            let option = if grant.with_grant_option { " WITH GRANT OPTION" } else { "" };
            format!("GRANT {} ON DATABASE {database} TO {to}{option}", grant.privilege)
        }));
        sql
    }
}

fn setting_statements(setting: &Setting, database: &str) -> Vec<String> {
    let whose = match &setting.role {
        Some(role) => format!("ALTER ROLE {} IN DATABASE {database}", ident(role)),
        None => format!("ALTER DATABASE {database}"),
    };
    set_statements(&setting.name, &setting.value, &whose)
}

/// The statements that give a setting to whom `whose` (`ALTER ROLE …`, `ALTER DATABASE …`) names.
pub(crate) fn set_statements(name: &str, value: &str, whose: &str) -> Vec<String> {
    let quoted = name.split('.').map(ident).collect::<Vec<_>>().join(".");
    if QUOTED_LISTS.contains(&name) {
        // Setting it here first and saying FROM CURRENT lets the server do its own quoting.
        let here = format!("SELECT pg_catalog.set_config({}, {}, false)", literal(name), literal(value));
        return vec![here, format!("{whose} SET {quoted} FROM CURRENT"), format!("RESET {quoted}")];
    }
    vec![format!("{whose} SET {quoted} TO {}", literal(value))]
}

async fn read_grants(client: &Client, oid: u32) -> Result<Vec<Grant>, Error> {
    let sql = "SELECT CASE WHEN a.grantee = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END, \
         a.privilege_type, a.is_grantable FROM pg_catalog.pg_database d, pg_catalog.aclexplode(d.datacl) a \
         WHERE d.oid = $1 ORDER BY 1 NULLS FIRST, 2";
    let rows = client.query(sql, &[&oid]).await.map_err(from_postgres("read the database's grants"))?;
    let grant =
        |row: &tokio_postgres::Row| Grant { role: row.get(0), privilege: row.get(1), with_grant_option: row.get(2) };
    Ok(rows.iter().map(grant).collect())
}

async fn read_settings(client: &Client, oid: u32) -> Result<Vec<Setting>, Error> {
    let sql = "SELECT CASE WHEN s.setrole = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(s.setrole)::text END, \
         c.setting FROM pg_catalog.pg_db_role_setting s, unnest(s.setconfig) AS c(setting) \
         WHERE s.setdatabase = $1 ORDER BY 1 NULLS FIRST, 2";
    let rows = client.query(sql, &[&oid]).await.map_err(from_postgres("read the database's settings"))?;
    let setting = |row: &tokio_postgres::Row| {
        let text: String = row.get(1);
        let (name, value) = text.split_once('=')?;
        Some(Setting { role: row.get(0), name: name.to_owned(), value: value.to_owned() })
    };
    Ok(rows.iter().filter_map(setting).collect())
}

/// The roles among these that the server does not have.
pub(crate) async fn missing_roles(client: &Client, roles: &BTreeSet<String>) -> Result<Vec<String>, Error> {
    let wanted: Vec<&str> = roles.iter().map(String::as_str).collect();
    let sql = "SELECT w FROM unnest($1::text[]) AS w WHERE NOT EXISTS \
         (SELECT FROM pg_catalog.pg_roles WHERE rolname = w) AND w !~ '^pg_' ORDER BY 1";
    let rows = client.query(sql, &[&wanted]).await.map_err(from_postgres("look for roles"))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Makes the database, in a tablespace where one is named; a locale that the server's system lacks is the operator's to
/// install.
pub(crate) async fn create(
    client: &Client,
    properties: &Properties,
    name: &str,
    major: u32,
    tablespace: Option<&str>,
) -> Result<(), Error> {
    let mut statement = properties.create_statement(name, major);
    if let Some(tablespace) = tablespace {
        statement.push_str(&format!(" TABLESPACE {}", ident(tablespace)));
    }
    client.batch_execute(&statement).await.map_err(|error| {
        let mut mapped = crate::failure::map(&format!("create database {name}"), &error);
        if mapped.what.contains("locale") || mapped.what.contains("LC_") {
            mapped.kind = Kind::Config;
            mapped.hint = Some("the server's operating system lacks that locale; install it there".to_owned());
        }
        mapped
    })
}
