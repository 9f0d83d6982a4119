//! Accounts that a backup needs and a server lacks.
//!
//! Owns the choice (who programs belong to, who has grants on the database or on something in it, and the roles among them), making them, and their grants in the database that was restored. Promises that nothing is
//! granted on the whole server or on other databases, whatever was there; that an account which was there before is left as it is; and that what could not be granted is named. Refuses to guess passwords: without a
//! hash in the backup an account may not log in.

use crate::accounts::{Account, Accounts, Name};
use crate::catalog::Catalog;
use crate::connection::Session;
use crate::failure::{code, map};
use crate::owners;
use crate::privileges::like;
use crate::quote::{ident, name_in, next_token};
use crate::source::named;
use engine::{Error, Kind};
use std::collections::BTreeSet;

/// Accounts that are to be made, or were.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    accounts: Vec<Account>,
    /// The database that grants were on.
    source: String,
}

impl Missing {
    /// Chooses those that the server lacks. Without a document only those that programs belong to are known; with `no_owner` programs belong to whoever restores.
    pub async fn choose(
        session: &mut Session,
        catalog: &Catalog,
        known: Option<Accounts>,
        no_owner: bool,
    ) -> Result<Self, Error> {
        let needed = needed(catalog, known, no_owner);
        let sql = "SELECT User, Host FROM mysql.user";
        let rows = session.rows("look for accounts", sql).await.map_err(|error| match error.kind {
            Kind::Refused => error.hint("GRANT SELECT ON mysql.* and CREATE USER ON *.* to the user who restores"),
            _ => error,
        })?;
        let there: BTreeSet<Name> = rows.iter().map(|row| Name { user: row.text(0), host: row.text(1) }).collect();
        let accounts = needed.into_iter().filter(|account| !there.contains(&account.name)).collect();
        Ok(Self { accounts, source: catalog.database.name.clone() })
    }

    /// Makes them. Returns a note that names them: they stay, also when the restore fails.
    pub async fn make(&self, session: &mut Session) -> Result<Vec<String>, Error> {
        let mut left: Vec<&Account> = self.accounts.iter().collect();
        // A user may name roles: those come first, or in another round.
        left.sort_by_key(|account| !account.role);
        loop {
            let (mut next, mut first) = (Vec::new(), None);
            for account in &left {
                if let Err(error) = session.run_bytes(statement(account, session).as_bytes()).await {
                    if code(&error).is_none() {
                        return Err(map("make an account", &error));
                    }
                    first.get_or_insert_with(|| failed(account, &error));
                    next.push(*account);
                }
            }
            match first {
                None => break,
                Some(error) if next.len() == left.len() => return Err(error),
                Some(_) => left = next,
            }
        }
        let named_all = |all: Vec<String>, which: &str| {
            (!all.is_empty()).then(|| format!("made accounts that were missing{which}: {}", named(&all)))
        };
        let (with, without): (Vec<&Account>, Vec<&Account>) =
            self.accounts.iter().partition(|account| account.create.is_some());
        let names = |accounts: Vec<&Account>| accounts.iter().map(|account| account.name.to_string()).collect();
        Ok(named_all(names(with), "").into_iter().chain(named_all(names(without), ", which may not log in")).collect())
    }

    /// Gives them what they had in the database, under its name here. Returns notes: the database is there, whatever becomes of them.
    pub async fn grant(&self, session: &mut Session, target: &str) -> Result<Vec<String>, Error> {
        if self.accounts.is_empty() {
            return Ok(Vec::new());
        }
        // Where grants can be taken back in parts, names are no patterns.
        let literal = session.server.is_mysql(8, 0, 16)
            && session.one("ask how grants are read", "SELECT @@partial_revokes").await?.flag(0);
        let made: BTreeSet<&Name> = self.accounts.iter().map(|account| &account.name).collect();
        let (mut failed, mut more) = (Vec::new(), Vec::new());
        for account in &self.accounts {
            let mut all = true;
            for grant in account.grants.iter().filter(|grant| !grant.starts_with("GRANT USAGE ON *.*")) {
                let Some(statement) = here(grant, &self.source, target, literal, &made) else {
                    all = false;
                    continue;
                };
                match session.run_bytes(statement.as_bytes()).await {
                    Ok(()) => {}
                    Err(error) if code(&error).is_some() => {
                        failed.push(map(&format!("grants of {}", account.name), &error).what);
                        break;
                    }
                    Err(error) => return Err(map("grant", &error)),
                }
            }
            if !all {
                more.push(account.name.to_string());
            }
        }
        let mut notes = failed;
        if !more.is_empty() {
            notes.push(format!(
                "grants on the whole server, on other databases and of roles that were there are left out: {}",
                named(&more)
            ));
        }
        Ok(notes)
    }
}

/// Owners of programs, accounts with grants on the schema, and roles that those have.
fn needed(catalog: &Catalog, known: Option<Accounts>, no_owner: bool) -> Vec<Account> {
    let programs = [&catalog.views, &catalog.routines, &catalog.triggers, &catalog.events].into_iter().flatten();
    let mut names: BTreeSet<Name> = programs.filter(|_| !no_owner).filter_map(owners::owner).collect();
    let known = known.map(|known| known.accounts).unwrap_or_default();
    let source = &catalog.database.name;
    let none = BTreeSet::new();
    let concerned = known.iter().filter(|account| {
        account.grants.iter().any(|grant| on(grant).is_some() && here(grant, source, source, false, &none).is_some())
    });
    names.extend(concerned.map(|account| account.name.clone()));
    loop {
        let of_members =
            known.iter().filter(|account| names.contains(&account.name)).flat_map(|account| &account.grants);
        let roles: Vec<Name> =
            of_members.filter_map(|grant| role_of(grant)).filter(|role| !names.contains(role)).collect();
        if roles.is_empty() {
            break;
        }
        names.extend(roles);
    }
    let unknown = |name: Name| Account { role: name.host.is_empty(), name, create: None, grants: Vec::new() };
    let find = |name: Name| known.iter().find(|account| account.name == name).cloned().unwrap_or_else(|| unknown(name));
    names.into_iter().map(find).collect()
}

/// The statement that makes an account; without a hash one that may not log in.
fn statement(account: &Account, session: &Session) -> String {
    let name = &account.name;
    match &account.create {
        _ if account.role => format!("CREATE ROLE {name}"),
        Some(create) => create.0.clone(),
        None if session.server.is_mariadb() || session.server.is_mysql(5, 7, 6) => {
            format!("CREATE USER {name} ACCOUNT LOCK")
        }
        // No password has this hash.
        None => format!("CREATE USER {name} IDENTIFIED BY PASSWORD '*{}'", "0".repeat(40)),
    }
}

/// The server may quote the statement, and with it the hash: then its words are left out.
fn failed(account: &Account, error: &mysql_async::Error) -> Error {
    let what = format!("make the account {}", account.name);
    if account.create.is_some() && !matches!(code(error), Some(1044 | 1045 | 1227 | 1396 | 3523)) {
        return Error::new(
            Kind::Config,
            format!("{what}: the server refuses the statement (error {})", code(error).unwrap_or_default()),
        )
        .hint("its way of logging in may be unknown to this server: make the account yourself, then restore again");
    }
    map(&what, error).hint("grant CREATE USER ON *.* to the user who restores, or make the account yourself")
}

/// Where a grant's object begins: behind `ON`, outside of quotes.
fn on(grant: &str) -> Option<usize> {
    let mut rest = grant.as_bytes();
    while let Some((token, after)) = next_token(rest) {
        if token.eq_ignore_ascii_case(b"ON") {
            return Some(grant.len() - after.len());
        }
        rest = after;
    }
    None
}

/// The role that a line gives, if it gives one.
fn role_of(grant: &str) -> Option<Name> {
    let rest = grant.strip_prefix("GRANT ").or_else(|| grant.strip_prefix("SET DEFAULT ROLE "))?;
    if on(grant).is_some() { None } else { Name::first_of(rest.as_bytes()) }
}

/// The same grant on the database of another name; `None` for what is on anything else, or of a role that was not made.
fn here(grant: &str, source: &str, target: &str, literal: bool, made: &BTreeSet<&Name>) -> Option<String> {
    if let Some(role) = role_of(grant) {
        return made.contains(&role).then(|| grant.to_owned());
    }
    let mut at = on(grant).filter(|_| grant.starts_with("GRANT "))?;
    // TABLE, FUNCTION, PROCEDURE, PACKAGE BODY or nothing.
    loop {
        let (token, _) = next_token(grant.get(at..)?.as_bytes())?;
        if token.first() == Some(&b'`') {
            break;
        }
        if token == b"*" {
            return None;
        }
        at += token.len();
    }
    let (token, after) = next_token(grant.get(at..)?.as_bytes())?;
    let name = String::from_utf8(name_in(token)?).ok()?;
    let rest = grant.get(grant.len() - after.len()..)?;
    let whole = rest.starts_with(".*");
    let meant = if whole { name == source || like(name.as_bytes(), source.as_bytes()) } else { name == source };
    let to = if whole && !literal {
        target.replace('\\', "\\\\").replace('_', "\\_").replace('%', "\\%")
    } else {
        target.to_owned()
    };
    (meant && rest.starts_with('.')).then(|| format!("{}{}{rest}", grant.get(..at).unwrap_or_default(), ident(&to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(grant: &str) -> Option<String> {
        let role = Name { user: "reader".to_owned(), host: "%".to_owned() };
        here(grant, "app_1", "new_1", false, &[&role].into())
    }

    #[test]
    fn grants_on_the_database_and_what_is_in_it_move_and_no_others() {
        for (grant, expected) in [
            ("GRANT SELECT ON `app\\_1`.* TO `a`@`%`", Some("GRANT SELECT ON `new\\_1`.* TO `a`@`%`")),
            (
                "GRANT SELECT ON `app%`.* TO 'a'@'%' WITH GRANT OPTION",
                Some("GRANT SELECT ON `new\\_1`.* TO 'a'@'%' WITH GRANT OPTION"),
            ),
            (
                "GRANT SELECT (`a ON b`), INSERT ON `app_1`.`t` TO `a`@`%`",
                Some("GRANT SELECT (`a ON b`), INSERT ON `new_1`.`t` TO `a`@`%`"),
            ),
            (
                "GRANT EXECUTE ON PROCEDURE `app_1`.`p` TO `a`@`%`",
                Some("GRANT EXECUTE ON PROCEDURE `new_1`.`p` TO `a`@`%`"),
            ),
            ("GRANT `reader`@`%` TO `a`@`%`", Some("GRANT `reader`@`%` TO `a`@`%`")),
            ("GRANT `writer`@`%` TO `a`@`%`", None),
            ("GRANT SELECT ON `other`.* TO `a`@`%`", None),
            ("GRANT SELECT ON `app%`.`t` TO `a`@`%`", None),
            ("GRANT ALL PRIVILEGES ON *.* TO `a`@`%` WITH GRANT OPTION", None),
            ("REVOKE SELECT ON `app_1`.* FROM `a`@`%`", None),
            ("GRANT PROXY ON ``@`` TO `a`@`%`", None),
        ] {
            assert_eq!(moved(grant).as_deref(), expected, "{grant}");
        }
    }
}
