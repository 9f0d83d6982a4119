//! Which databases a server has.
//!
//! Owns the list for a backup of all of them. Promises that every database that is not backed up is named with the reason, the server's own apart; and that a user who may see some only is refused.

use crate::connection::connect;
use crate::endpoint::Endpoint;
use crate::listing::SERVERS_OWN;
use crate::scratch::DRILL;
use engine::{Error, Found};
use mongodb::bson::doc;

/// All databases of the server, sorted by name; its own are not among them.
///
/// # Errors
/// As connecting; [`engine::Kind::Refused`] when this user may not see which databases there are.
pub async fn databases(endpoint: &Endpoint) -> Result<Vec<Found>, Error> {
    let session = connect(endpoint).await?;
    // Without the word the server would leave out in silence what the user has no role in.
    let command = doc! {"listDatabases": 1, "nameOnly": true, "authorizedDatabases": false};
    let reply = session.run("list the databases", "admin", command).await?;
    let entries = reply.get_array("databases").into_iter().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.as_document()?.get_str("name").ok().map(str::to_owned)).collect();
    names.retain(|name| !SERVERS_OWN.contains(&name.as_str()));
    names.sort();
    let found = |name: String| {
        let drill = name.starts_with(DRILL);
        Found { left_out: drill.then(|| "a drill is at work in it, or was".to_owned()), name }
    };
    Ok(names.into_iter().map(found).collect())
}
