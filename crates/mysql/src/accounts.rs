//! Accounts: who may do what at a server, as far as a restore elsewhere can use it.
//!
//! Owns the document `accounts.json`: users and roles with their grants in the server's own words, and where that is asked for the statement with the hash of each password.
//! Promises that hashes are read only when asked for, and show in no log, error or `Debug`. Refuses the server's own accounts, which every server has.

use crate::connection::Session;
use crate::failure::from_mysql;
use crate::quote::{name_in, next_token};
use engine::{Error, GlobalsWanted, Kind, read_versioned};
use mysql_async::prelude::Queryable;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Name of the document.
pub(crate) const ACCOUNTS: &str = "accounts.json";
/// The newest version of the document that is understood.
const VERSION: u32 = 1;
/// Accounts that servers make for themselves.
const SERVERS_OWN: [&str; 5] = ["mysql.sys", "mysql.session", "mysql.infoschema", "mariadb.sys", "PUBLIC"];

/// All accounts of a server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Accounts {
    pub version: u32,
    pub accounts: Vec<Account>,
}

/// A user, or a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    #[serde(flatten)]
    pub name: Name,
    /// A role of MariaDB; MySQL's are users who may not log in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub role: bool,
    /// `CREATE USER …` with the hash of the password; only where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<Secret>,
    /// What `SHOW GRANTS` says, without passwords.
    pub grants: Vec<String>,
}

/// `'ann'@'%'`; a role of MariaDB has no host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Name {
    pub user: String,
    pub host: String,
}

/// A statement with a hash in it, which is worth guarding.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
        match self.host.as_str() {
            "" => f.write_str(&quoted(&self.user)),
            host => write!(f, "{}@{}", quoted(&self.user), quoted(host)),
        }
    }
}

impl Name {
    /// `app@%`, as people write it and `CURRENT_USER()` does; everybody's host where none is said.
    pub fn plain(text: &str) -> Self {
        let (user, host) = text.rsplit_once('@').unwrap_or((text, "%"));
        Self { user: user.to_owned(), host: host.to_owned() }
    }

    /// The account that a text begins with, quoted in any way, or not at all.
    pub fn first_of(text: &[u8]) -> Option<Self> {
        let (user, rest) = word(text)?;
        let host = rest.strip_prefix(b"@").and_then(word).map(|(host, _)| host).unwrap_or_default();
        Some(Self { user, host })
    }
}

/// A word or quoted piece, and what follows.
fn word(text: &[u8]) -> Option<(String, &[u8])> {
    let (token, rest) = next_token(text)?;
    let quoted = matches!(token.first(), Some(b'\'' | b'"')).then(|| token.get(1..token.len().saturating_sub(1)));
    let name = match quoted {
        Some(inner) => inner?.to_vec(),
        None => name_in(token)?,
    };
    Some((String::from_utf8_lossy(&name).into_owned(), rest))
}

impl Accounts {
    /// Asks the server for all of them.
    ///
    /// # Errors
    /// [`Kind::Refused`] for a user who may not see them.
    pub async fn read(session: &mut Session, wanted: GlobalsWanted) -> Result<Option<Self>, Error> {
        if wanted == GlobalsWanted::No {
            return Ok(None);
        }
        let what = "read the accounts";
        let is_role = if session.server.is_mariadb() { "is_role" } else { "'N'" };
        let sql = format!("SELECT User, Host, {is_role} FROM mysql.user ORDER BY 1, 2");
        let rows = session.rows(what, &sql).await.map_err(|error| match error.kind {
            Kind::Refused => error.hint("GRANT SELECT ON mysql.* to the user who backs up, or leave --globals out"),
            _ => error,
        })?;
        if wanted == GlobalsWanted::WithPasswords && session.server.is_mysql(8, 0, 17) {
            // Hashes have bytes that are no text.
            session.run(what, "SET SESSION print_identified_with_as_hex = 1").await?;
        }
        let mut accounts = Vec::new();
        for row in rows.iter().filter(|row| !SERVERS_OWN.contains(&row.text(0).as_str())) {
            let (name, role) = (Name { user: row.text(0), host: row.text(1) }, row.flag(2));
            let Some(grants) = answers(session, &format!("SHOW GRANTS FOR {name}")).await? else { continue };
            let create = match wanted {
                GlobalsWanted::WithPasswords if !role => create_statement(session, &name).await?.map(Secret),
                _ => None,
            };
            accounts.push(Account { name, role, create, grants: grants.into_iter().map(without_password).collect() });
        }
        Ok(Some(Self { version: VERSION, accounts }))
    }

    /// Reads the document.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        read_versioned(bytes, "the backup's accounts", VERSION)
    }
}

/// The first column of each row; `None` when the account has gone meanwhile.
async fn answers(session: &mut Session, sql: &str) -> Result<Option<Vec<String>>, Error> {
    let what = "read the accounts";
    match session.driver().map_err(from_mysql(what))?.query::<String, _>(sql).await {
        Ok(rows) => Ok(Some(rows)),
        Err(mysql_async::Error::Server(error)) if matches!(error.code, 1141 | 1396 | 3162) => Ok(None),
        Err(error) => Err(from_mysql(what)(error)),
    }
}

/// The statement that makes a user with the same password.
async fn create_statement(session: &mut Session, name: &Name) -> Result<Option<String>, Error> {
    if session.server.is_mariadb() || session.server.is_mysql(5, 7, 6) {
        let rows = answers(session, &format!("SHOW CREATE USER {name}")).await?;
        return Ok(rows.and_then(|rows| rows.into_iter().next()));
    }
    let sql = format!(
        "SELECT Password, plugin, authentication_string FROM mysql.user WHERE CONCAT(QUOTE(User), '@', QUOTE(Host)) = {}",
        crate::quote::literal(&name.to_string())
    );
    let Some(row) = session.maybe("read the accounts", &sql).await? else { return Ok(None) };
    let (hash, plugin, text) = (row.text(0), row.text(1), row.text(2).replace('\'', "''"));
    Ok(Some(match plugin.as_str() {
        "" | "mysql_native_password" | "mysql_old_password" => {
            format!("CREATE USER {name} IDENTIFIED BY PASSWORD '{hash}'")
        }
        plugin => format!("CREATE USER {name} IDENTIFIED WITH {plugin} AS '{text}'"),
    }))
}

/// Servers of before 2017, and MariaDB, say the hash among the grants.
fn without_password(grant: String) -> String {
    match grant.find(" IDENTIFIED ") {
        Some(at) => grant.get(..at).unwrap_or_default().to_owned(),
        None => grant,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn names_are_read_however_they_are_quoted() {
        let name = |user: &str, host: &str| Name { user: user.to_owned(), host: host.to_owned() };
        assert_eq!(Name::first_of(b"`o``x`@`%` PROCEDURE"), Some(name("o`x", "%")));
        assert_eq!(Name::first_of(b"'ann'@'10.0.%'"), Some(name("ann", "10.0.%")));
        assert_eq!(Name::first_of(b"reader TO"), Some(name("reader", "")));
        assert_eq!(name("o'neil", "%").to_string(), "'o\\'neil'@'%'");
        assert_eq!(name("reader", "").to_string(), "'reader'");
        assert_eq!((Name::plain("o@h@%"), Name::plain("ann")), (name("o@h", "%"), name("ann", "%")));
    }

    #[test]
    fn hashes_do_not_show() {
        let account = Account {
            name: Name { user: "ann".to_owned(), host: "%".to_owned() },
            role: false,
            create: Some(Secret("CREATE USER ann IDENTIFIED BY PASSWORD '*CANARY'".to_owned())),
            grants: Vec::new(),
        };
        assert!(!format!("{account:?}").contains("CANARY"));
        let grant = "GRANT USAGE ON *.* TO `ann`@`%` IDENTIFIED BY PASSWORD '*CANARY'".to_owned();
        assert_eq!(without_password(grant), "GRANT USAGE ON *.* TO `ann`@`%`");
    }

    #[test]
    fn a_newer_document_is_refused() {
        let error = Accounts::parse(br#"{"version": 2, "accounts": []}"#).unwrap_err();
        assert_eq!(error.kind, Kind::Config);
    }
}
