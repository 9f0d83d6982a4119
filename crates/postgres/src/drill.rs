//! Drills: restores into a database that nobody is meant to use and that never gets a name.
//!
//! Owns where a drill happens (a scratch database of its own on the URL's server, worked on from the database that the URL
//! names), what it refuses, and what it leaves out because a server for drills has none of production's roles. Promises that it
//! touches no database but those with a drill's own mark. Refuses to begin from a database that is marked as production.

use crate::catalog::Catalog;
use crate::database::missing_roles;
use crate::endpoint::Endpoint;
use crate::failure::from_postgres;
use crate::guard::{self, Live};
use crate::quote::listed;
use crate::toc::Contents;
use engine::{Error, Kind, Mode, TargetOptions};
use std::collections::BTreeSet;
use tokio_postgres::Client;

/// What the scratch databases of drills are named after: `longshore_drill__new_<run>`.
const NAME: &str = "longshore_drill";
/// Kinds of the archive's entries that name roles even where owners and grants are left out.
const NAMING_ROLES: [&str; 2] = ["POLICY", "USER MAPPING"];
/// Most names in one note; how many more there are is said.
const MOST_NAMES: usize = 20;

/// Whether these are the options of a drill.
pub(crate) fn is_drill(options: &TargetOptions) -> bool {
    options.mode == Some(Mode::Drill)
}

/// Where a drill restores to, given the URL of the server and a database to work from.
pub(crate) fn place(url: &Endpoint) -> Endpoint {
    Endpoint { maintenance: Some(url.database().to_owned()), ..url.with_database(NAME) }
}

/// Fails when the database that is worked from is marked as production; says whether the server is the backup's own.
pub(crate) async fn look(
    client: &Client,
    major: u32,
    place: &Endpoint,
    catalog: &Catalog,
    options: &TargetOptions,
) -> Result<bool, Error> {
    let from = place.with_database(place.maintenance.as_deref().unwrap_or(NAME));
    let live = Live::find(client, major, from.database()).await?;
    if let Some(mark) = live.and_then(|live| live.marks.target).filter(|mark| mark.is_protected()) {
        let what = format!("{from} is marked as {}: no drill is made from there", mark.name);
        return Err(Error::new(Kind::Refused, what).hint("drill on a server of its own; nothing was changed"));
    }
    guard::is_source_server(client, place, catalog, options).await
}

/// Databases that are called like a drill's and carry no mark: killed in the moment between making and marking one, or made by
/// somebody else. They stay, and are named.
pub(crate) async fn unmarked(client: &Client) -> Result<Vec<String>, Error> {
    let sql = "SELECT d.datname::text FROM pg_catalog.pg_database d WHERE starts_with(d.datname::text, $1::text) \
         AND pg_catalog.shobj_description(d.oid, 'pg_database') IS NULL ORDER BY 1";
    let rows = client.query(sql, &[&format!("{NAME}__new_")]).await.map_err(from_postgres("look for leftovers"))?;
    let names: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let note = |name: &String| {
        format!("{name} is called like a drill's and not marked as one: it stays; drop it if nobody wants it")
    };
    Ok(names.iter().take(MOST_NAMES).map(note).collect())
}

/// What of the roles that the backup knows a server lacks.
#[derive(Debug, Default)]
pub(crate) struct Lacking {
    /// Any of them.
    all: Vec<String>,
    /// Those that are named even where owners and grants are left out.
    named: Vec<String>,
}

impl Lacking {
    /// Asks the server; `named` are the roles that policies and user mappings name.
    pub async fn find(client: &Client, catalog: &Catalog, named: &BTreeSet<String>) -> Result<Self, Error> {
        let all = catalog.roles.union(&catalog.database.roles()).chain(named).cloned().collect();
        Ok(Self { all: missing_roles(client, &all).await?, named: missing_roles(client, named).await? })
    }

    /// Entries that cannot be made for want of roles, with what is said about them.
    pub fn left_out(&self, contents: &Contents) -> BTreeSet<i32> {
        if self.named.is_empty() {
            return BTreeSet::new();
        }
        let naming = contents.entries.iter().filter(|entry| NAMING_ROLES.contains(&entry.kind.as_str()));
        let mut out: BTreeSet<i32> = naming.map(|entry| entry.id).collect();
        let about = contents.entries.iter().filter(|entry| entry.kind == "COMMENT");
        let about = about.filter(|entry| entry.needs.iter().any(|id| out.contains(id)));
        let about: Vec<i32> = about.map(|entry| entry.id).collect();
        out.extend(about);
        out
    }

    /// What a drill does not show.
    pub fn notes(&self) -> Vec<String> {
        let owners = "owners and grants were left out: that they come back is not part of a drill";
        let mut notes = match self.all.as_slice() {
            [] => vec![owners.to_owned()],
            all => vec![format!("{owners}; a restore with them would miss roles here: {}", listed(all, MOST_NAMES))],
        };
        if !self.named.is_empty() {
            let named = listed(&self.named, MOST_NAMES);
            notes.push(format!(
                "policies and user mappings were left out, which name roles that are missing here: {named}"
            ));
        }
        notes
    }
}
