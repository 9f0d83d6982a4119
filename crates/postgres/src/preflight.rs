//! What stands in the way of a restore, found before anything is made.
//!
//! Owns the checks of the target's server against what the backup needs: roles, extensions, tablespaces, locale and
//! collations, and what the role that restores may do. Promises one error that names everything at once, each with what would
//! help, and that nothing has been made by then. Refuses only what is certain: where a managed service gives powers of its
//! own, the server is asked by trying.

use crate::catalog::Catalog;
use crate::database::missing_roles;
use crate::drill;
use crate::failure::from_postgres;
use crate::lacking;
use crate::needs::Needs;
use crate::quote::listed;
use crate::roles::{self, Restorer, Role};
use crate::scratch::Scratch;
use crate::toc::{Contents, Entry};
use engine::{Error, Kind, TargetOptions};
use std::collections::BTreeSet;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Most names in one line of the error; how many more there are is said.
const MOST_NAMES: usize = 20;

/// Kinds of the archive's entries that only a superuser can make. A shell type stands before every base type, which alone
/// needs one.
const SUPERUSERS_OWN: &[&str] = &[
    "EVENT TRIGGER",
    "FOREIGN DATA WRAPPER",
    "PROCEDURAL LANGUAGE",
    "ACCESS METHOD",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "SHELL TYPE",
];

/// What the checks found out.
#[derive(Debug)]
pub(crate) struct Cleared {
    pub restorer: Restorer,
    /// To be made before anything else, because that was asked for.
    pub missing_roles: BTreeSet<String>,
    /// Roles that will own something.
    pub owners: BTreeSet<String>,
    /// Drills: roles that are not there, and stand in nobody's way.
    pub lacking: Option<drill::Lacking>,
}

async fn owner_of(client: &Client, database: &str) -> Result<Option<String>, Error> {
    let sql = "SELECT pg_catalog.pg_get_userbyid(datdba)::text FROM pg_catalog.pg_database WHERE datname = $1";
    let row = client.query_opt(sql, &[&database]).await.map_err(from_postgres("look for the target"))?;
    Ok(row.map(|row| row.get(0)))
}

/// Everything that was found, in the order of the checks.
#[derive(Debug, Default)]
struct Obstacles {
    /// The server lacks something.
    missing: Vec<String>,
    /// The role may not do something.
    refused: Vec<String>,
}

impl Obstacles {
    fn missing(&mut self, names: &[String], what: &str, help: &str) {
        if !names.is_empty() {
            self.missing.push(format!("{what}: {}; {help}", listed(names, MOST_NAMES)));
        }
    }

    fn refused(&mut self, names: &[String], what: &str, help: &str) {
        if !names.is_empty() {
            self.refused.push(format!("{what}: {}; {help}", listed(names, MOST_NAMES)));
        }
    }

    fn into_result(self) -> Result<(), Error> {
        let kind = match (self.missing.is_empty(), self.refused.is_empty()) {
            (true, true) => return Ok(()),
            (true, false) => Kind::Refused,
            (false, _) => Kind::Config,
        };
        let lines: String = self.missing.iter().chain(&self.refused).map(|line| format!("\n    {line}")).collect();
        Err(Error::new(kind, format!("the backup cannot be restored there:{lines}")).hint("nothing was changed"))
    }
}

/// The target and the backup, while they are compared.
struct Check<'a> {
    client: &'a Client,
    major: u32,
    catalog: &'a Catalog,
    needs: Needs,
    contents: &'a Contents,
    options: &'a TargetOptions,
    restorer: &'a Restorer,
    /// Owner of the database that is there: it keeps its own properties.
    present: Option<String>,
}

/// Checks all of it. `target` is the name of the database to be made; it may be there.
pub(crate) async fn check(
    scratch: &Scratch,
    target: &str,
    catalog: &Catalog,
    contents: &Contents,
    options: &TargetOptions,
) -> Result<Cleared, Error> {
    let (client, major) = (scratch.maintenance(), scratch.major());
    let restorer = Restorer::find(client, options.role.as_deref()).await?;
    // A backup that does not say what it needs is checked for the rest; the server has the last word.
    let mut needs = catalog.needs.clone().unwrap_or_default();
    needs.owners.extend(lacking::owners(contents, catalog));
    let drills = drill::is_drill(options);
    let present = if drills { None } else { owner_of(client, target).await? };
    let lacking = match drills {
        true => Some(drill::Lacking::find(client, catalog, &needs.named).await?),
        false => None,
    };
    let check = Check { client, major, catalog, needs, contents, options, restorer: &restorer, present };
    let mut found = Obstacles::default();
    let missing = if drills { BTreeSet::new() } else { check.roles(&mut found).await? };
    check.extensions(&mut found).await?;
    check.storage(&mut found).await?;
    check.locale(&mut found).await?;
    check.databases(target, &mut found).await?;
    check.memberships(target, &mut found).await?;
    check.superusers_own(&mut found);
    check.settings(&mut found).await?;
    found.into_result()?;
    let owners = check.owners();
    Ok(Cleared { missing_roles: missing, owners, lacking, restorer })
}

impl Check<'_> {
    fn acting(&self) -> &Role {
        &self.restorer.acting
    }

    /// Roles that will own something in the end.
    fn owners(&self) -> BTreeSet<String> {
        if self.options.no_owner {
            return BTreeSet::new();
        }
        let database = self.present.is_none().then(|| self.catalog.database.owner.clone());
        self.needs.owners.iter().cloned().chain(database).collect()
    }

    /// Roles that are missing: an obstacle, or to be made.
    async fn roles(&self, found: &mut Obstacles) -> Result<BTreeSet<String>, Error> {
        let (needed, what, help) = if self.options.no_owner {
            (
                self.needs.named.clone(),
                "the server lacks roles that policies or user mappings name, which --no-owner cannot leave out",
                "create them, or let --create-missing-roles do it",
            )
        } else {
            let database = if self.present.is_none() { self.catalog.database.roles() } else { BTreeSet::new() };
            (
                self.catalog.roles.iter().chain(&database).chain(&self.needs.owners).cloned().collect(),
                "the server lacks roles that own or were granted something",
                "create them, let --create-missing-roles do it, or leave owners and grants out with --no-owner",
            )
        };
        let missing = missing_roles(self.client, &needed).await?;
        if !self.options.create_missing_roles {
            found.missing(&missing, what, help);
            return Ok(BTreeSet::new());
        }
        let login = &self.restorer.login;
        if !(login.superuser || login.createrole) {
            let what = format!("role {} may not make the missing roles", login.name);
            found.refused(&missing, &what, &format!("ALTER ROLE {} CREATEROLE, or create them first", login.name));
        }
        Ok(missing.into_iter().collect())
    }

    async fn extensions(&self, found: &mut Obstacles) -> Result<(), Error> {
        let sql = "SELECT w, a.name IS NULL, coalesce(v.superuser AND NOT v.trusted, false) FROM unnest($1::text[]) AS w \
             LEFT JOIN pg_catalog.pg_available_extensions a ON a.name = w \
             LEFT JOIN pg_catalog.pg_available_extension_versions v ON v.name = w AND v.version = a.default_version \
             ORDER BY 1";
        let all = self.contents.entries.iter().filter(|entry| entry.kind == "EXTENSION");
        let all: Vec<&str> = all.map(|entry| entry.tag.as_str()).collect();
        let rows = self.client.query(sql, &[&all]).await;
        let rows = rows.map_err(from_postgres("look for extensions"))?;
        let those = |at: usize| rows.iter().filter(|row| row.get(at)).map(|row| row.get(0)).collect::<Vec<String>>();
        found.missing(&those(1), "the server lacks extensions", "install their packages on the server's machine");
        if !self.acting().superuser && !self.acting().managed {
            let what = format!("role {} may not create extensions that are not trusted", self.acting().name);
            found.refused(&those(2), &what, "restore as a superuser");
        }
        Ok(())
    }

    async fn storage(&self, found: &mut Obstacles) -> Result<(), Error> {
        let all = self.contents.entries.iter().map(|entry| entry.tablespace.as_str());
        let wanted: Vec<&str> = all.filter(|name| !name.is_empty()).collect::<BTreeSet<_>>().into_iter().collect();
        let sql = "SELECT w, t.oid IS NULL, coalesce(NOT pg_catalog.has_tablespace_privilege($2::name, t.oid, 'CREATE'), \
             false) FROM unnest($1::text[]) AS w LEFT JOIN pg_catalog.pg_tablespace t ON t.spcname = w ORDER BY 1";
        let rows = self.client.query(sql, &[&wanted, &self.acting().name]).await;
        let rows = rows.map_err(from_postgres("look for tablespaces"))?;
        let those = |at: usize| rows.iter().filter(|row| row.get(at)).map(|row| row.get(0)).collect::<Vec<String>>();
        found.missing(&those(1), "the server lacks tablespaces", "CREATE TABLESPACE them there");
        let what = format!("role {} may not use tablespaces", self.acting().name);
        let help = format!("GRANT CREATE ON TABLESPACE … TO {}", self.acting().name);
        found.refused(&those(2), &what, &help);
        Ok(())
    }

    async fn locale(&self, found: &mut Obstacles) -> Result<(), Error> {
        let properties = &self.catalog.database;
        if !self.knows_locale(&properties.encoding, &properties.collate, &properties.ctype).await? {
            let mut names = vec![properties.collate.clone(), properties.ctype.clone()];
            names.dedup();
            found.missing(
                &names,
                "the server's operating system lacks the locale",
                "install it on the server's machine",
            );
        }
        // A new database has the collations that its server was made with; so does the one that we look from.
        let wanted: Vec<&str> = self.needs.collations.iter().map(String::as_str).collect();
        let sql = "SELECT w FROM unnest($1::text[]) AS w WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_collation c \
             WHERE c.collname = w AND c.collnamespace = 'pg_catalog'::pg_catalog.regnamespace \
             AND c.collencoding IN (-1, pg_catalog.pg_char_to_encoding($2::name))) ORDER BY 1";
        let rows = self.client.query(sql, &[&wanted, &properties.encoding]).await;
        let lacking: Vec<String> =
            rows.map_err(from_postgres("look for collations"))?.iter().map(|row| row.get(0)).collect();
        found.missing(
            &lacking,
            "the server lacks collations that columns use",
            "install the locales on the server's machine, then SELECT pg_import_system_collations('pg_catalog') in template0",
        );
        Ok(())
    }

    /// Asks the server by making a temporary collation that never lasts. Only where this session's database has the same
    /// encoding: a locale of another is refused for that reason.
    async fn knows_locale(&self, encoding: &str, collate: &str, ctype: &str) -> Result<bool, Error> {
        let here = self.client.query_one("SELECT pg_catalog.getdatabaseencoding()::text", &[]).await;
        let here: String = here.map_err(from_postgres("read the encoding"))?.get(0);
        if here != encoding {
            return Ok(true);
        }
        let sql = format!(
            "BEGIN; CREATE COLLATION pg_temp.longshore_probe (LC_COLLATE = {}, LC_CTYPE = {}); ROLLBACK",
            crate::quote::literal(collate),
            crate::quote::literal(ctype)
        );
        let Err(error) = self.client.batch_execute(&sql).await else { return Ok(true) };
        drop(self.client.batch_execute("ROLLBACK").await);
        let unknown = [SqlState::INVALID_PARAMETER_VALUE, SqlState::UNDEFINED_OBJECT, SqlState::UNDEFINED_FILE];
        // Whatever else it says, for example that temporary things are not allowed here, is about us and not the locale.
        Ok(!error.code().is_some_and(|code| unknown.contains(code)))
    }

    /// Making, renaming and handing over databases.
    async fn databases(&self, target: &str, found: &mut Obstacles) -> Result<(), Error> {
        let (login, acting) = (&self.restorer.login, self.acting());
        if login.superuser {
            return Ok(());
        }
        if !login.createdb {
            found.refused.push(format!(
                "role {0} may not make databases; ALTER ROLE {0} CREATEDB, and restore into a name of your own",
                login.name
            ));
        }
        if self.restorer.acts_for_another() {
            let others = BTreeSet::from([acting.name.clone()]);
            let outside = roles::not_a_member_of(self.client, self.major, login, &others).await?;
            let help = roles::grant_text(&outside, &login.name, self.major);
            found.refused(&outside, &format!("role {} may not act as", login.name), &help);
        }
        // The database that is there is renamed away, and the new one given to its owner.
        if let Some(owner) = &self.present {
            let others = BTreeSet::from([owner.clone()]);
            let outside = roles::not_a_member_of(self.client, self.major, login, &others).await?;
            let help = format!("{}, or name another target", roles::grant_text(&outside, &login.name, self.major));
            found.refused(
                &outside,
                &format!("the database {target} belongs to a role that {} is no member of", login.name),
                &help,
            );
        }
        Ok(())
    }

    /// To give something away one must be a member of the role that gets it.
    async fn memberships(&self, target: &str, found: &mut Obstacles) -> Result<(), Error> {
        let owners = self.owners();
        let acting = self.acting();
        if !acting.superuser {
            let outside = roles::not_a_member_of(self.client, self.major, acting, &owners).await?;
            // Nobody should be made a member of a superuser for this.
            let (superusers, outside) = roles::superusers_among(self.client, outside).await?;
            let what = format!("role {} cannot give to superusers what they own", acting.name);
            let help = "restore as a superuser, or leave owners and grants out with --no-owner";
            found.refused(&superusers, &what, help);
            let what = format!("role {} is no member of roles that own something", acting.name);
            let grant = roles::grant_text(&outside, &acting.name, self.major);
            found.refused(&outside, &what, &format!("{grant}, or leave owners and grants out with --no-owner"));
        }
        let login = &self.restorer.login;
        if self.options.no_owner || login.superuser || self.present.is_some() || !self.restorer.acts_for_another() {
            return Ok(());
        }
        let owner = BTreeSet::from([self.catalog.database.owner.clone()]);
        let outside = roles::not_a_member_of(self.client, self.major, login, &owner).await?;
        let grant = roles::grant_text(&outside, &login.name, self.major);
        found.refused(&outside, &format!("role {} cannot give {target} to its owner", login.name), &grant);
        Ok(())
    }

    /// What takes a superuser, whoever the objects belong to.
    fn superusers_own(&self, found: &mut Obstacles) {
        let acting = self.acting();
        if acting.superuser {
            return;
        }
        let mut objects = self.needs.superuser.clone();
        if !acting.managed {
            let theirs = |kind: &str| SUPERUSERS_OWN.contains(&kind);
            let theirs = self.contents.entries.iter().filter(|entry| theirs(&entry.kind));
            objects.extend(theirs.map(Entry::shown));
        }
        found.refused(
            &objects,
            &format!("role {} is no superuser, and only one can make", acting.name),
            "restore as one",
        );
        if !self.options.no_owner {
            let what = format!("role {} is no superuser, and only one can bring back the grants on", acting.name);
            found.refused(&self.needs.superuser_grants, &what, "restore as one, or leave grants out with --no-owner");
        }
        if !acting.bypass_rls {
            let what =
                format!("role {} could not read back what it loads, for row-level security is forced on", acting.name);
            found.refused(&self.needs.hidden_rows, &what, &format!("ALTER ROLE {} BYPASSRLS", acting.name));
        }
        if !self.catalog.has_public && self.major < 15 {
            found
                .refused
                .push("only a superuser can drop the schema public before version 15; restore as one".to_owned());
        }
    }

    /// Settings of the database and of roles in it.
    async fn settings(&self, found: &mut Obstacles) -> Result<(), Error> {
        let login = &self.restorer.login;
        if login.superuser || self.present.is_some() {
            return Ok(());
        }
        let settings = &self.catalog.database.settings;
        let names: Vec<&str> = settings.iter().map(|setting| setting.name.as_str()).collect();
        let allowed = if self.major >= 15 { "AND NOT pg_catalog.has_parameter_privilege(s.name, 'SET')" } else { "" };
        let sql = format!(
            "SELECT s.name FROM pg_catalog.pg_settings s WHERE s.name = ANY ($1::text[]) \
             AND s.context IN ('superuser', 'superuser-backend') {allowed} ORDER BY 1"
        );
        let rows = self.client.query(&sql, &[&names]).await.map_err(from_postgres("look for settings"))?;
        let denied: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let what = format!("role {} may not set, for the database", login.name);
        found.refused(&denied, &what, &format!("GRANT SET ON PARAMETER … TO {}, from version 15 on", login.name));
        if self.options.no_owner {
            return Ok(());
        }
        let roles: BTreeSet<String> = settings.iter().filter_map(|setting| setting.role.clone()).collect();
        let others: Vec<&str> = roles.iter().map(String::as_str).filter(|name| *name != login.name).collect();
        let denied = self.cannot_alter(login, &others).await?;
        let what = format!("role {} may not change the settings of roles in this database", login.name);
        let help = format!("give {} CREATEROLE (and ADMIN on them, from version 16 on), or use --no-owner", login.name);
        found.refused(&denied, &what, &help);
        Ok(())
    }

    async fn cannot_alter(&self, login: &Role, others: &[&str]) -> Result<Vec<String>, Error> {
        if self.major < 16 {
            let sql = "SELECT r.rolname::text FROM pg_catalog.pg_roles r WHERE r.rolname = ANY ($1::text[]) \
                 AND (r.rolsuper OR NOT $2) ORDER BY 1";
            let rows = self.client.query(sql, &[&others, &login.createrole]).await;
            return Ok(rows.map_err(from_postgres("read roles"))?.iter().map(|row| row.get(0)).collect());
        }
        let sql = "SELECT r.rolname::text FROM pg_catalog.pg_roles r WHERE r.rolname = ANY ($1::text[]) AND (r.rolsuper \
             OR NOT $2 OR NOT pg_catalog.pg_has_role($3::name, r.oid, 'MEMBER WITH ADMIN OPTION')) ORDER BY 1";
        let rows = self.client.query(sql, &[&others, &login.createrole, &login.name]).await;
        Ok(rows.map_err(from_postgres("read roles"))?.iter().map(|row| row.get(0)).collect())
    }
}
