//! Which databases a server has.
//!
//! Owns the list for a backup of all of them. Promises that every database that is not backed up is named with the reason, the server's own apart, and that none is missing because it is hidden from the
//! user: who may not see all of them is refused. Recognises what this program made by its tables, never by name alone.

use crate::connection::{Purpose, connect};
use crate::endpoint::Endpoint;
use crate::privileges::Grants;
use crate::quote::literal;
use crate::source::SERVERS_OWN;
use crate::{replaced, scratch};
use engine::{Error, Found, Kind};

/// All databases of the server, sorted by name; its own are not among them.
///
/// # Errors
/// As connecting; [`Kind::Refused`] when this user may not see which databases there are.
pub async fn databases(endpoint: &Endpoint) -> Result<Vec<Found>, Error> {
    let mut session = connect(endpoint, Purpose::Look).await?;
    let grants = Grants::read(&mut session).await?;
    if !grants.global("SHOW DATABASES") && !grants.global("SELECT") {
        let what = format!("{} may not see which databases {} has", grants.account, endpoint.server());
        return Err(Error::new(Kind::Refused, what)
            .hint(format!("as an administrator: GRANT SHOW DATABASES ON *.* TO {};", grants.account)));
    }
    let rows = session.rows("list the databases", "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA").await?;
    let mut names: Vec<String> = rows.iter().map(|row| row.text(0)).collect();
    names.retain(|name| !SERVERS_OWN.iter().any(|own| own.eq_ignore_ascii_case(name)));
    names.sort();
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let sql = format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME IN ('{}', '{}') ORDER BY 1",
            literal(&name),
            scratch::MARK,
            replaced::TABLE
        );
        let ours = session.maybe("look whose a database is", &sql).await?.map(|row| row.text(0));
        let left_out = ours.map(|table| match table == replaced::TABLE {
            true => "a restore has replaced it".to_owned(),
            false => "a restore is at work in it, or was".to_owned(),
        });
        found.push(Found { name, left_out });
    }
    Ok(found)
}
