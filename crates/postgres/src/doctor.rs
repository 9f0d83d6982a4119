//! How a server is doing: what a backup of it, or a restore into it, would meet.
//!
//! Owns the order of looking, and what is worth a warning. Promises to change nothing and to lock nothing; that the checks are those that
//! the jobs make themselves, so that what is good here does not fail there; and that one that fails hides no other, as far as there is
//! a session to go on with.

use crate::connection::{Purpose, connect, major_version};
use crate::endpoint::Endpoint;
use crate::failure::from_postgres;
use crate::filter::Rules;
use crate::guard::{self, Live};
use crate::pooler;
use crate::privileges;
use crate::roles::{Restorer, Role};
use crate::scratch::{connect_maintenance, holds};
use crate::source::{OLDEST, assert_restorable};
use crate::tools::{self, Tool};
use crate::unsupported;
use engine::{Error, Filter, Finding, Kind, Mark};
use std::path::Path;
use tokio_postgres::Client;

/// Sessions of a backup or a restore beside its workers': the leader, the vendor's tool, short ones.
const BESIDE_WORKERS: i64 = 4;

/// What a backup of this database would meet.
pub async fn examine_source(endpoint: &Endpoint, workers: u16, folder: Option<&Path>) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Err(error) = pooler::refuse_shared(endpoint).await {
        return vec![Finding::bad("answer", error)];
    }
    let client = match connect(endpoint, Purpose::Lead, 60).await {
        Ok(client) => client,
        Err(error) => return vec![Finding::bad("answer", error)],
    };
    let major = match greet(&client, endpoint, "no pooler shares its sessions", &mut found).await {
        Ok(major) => major,
        Err(error) => return vec![Finding::bad("answer", error)],
    };
    found.push(dump_tool(major, folder).await);
    found.push(or_bad("role", source_role(&client).await));
    found.push(or_bad("readable", readable(&client, major).await));
    found.push(or_bad("objects", supported(&client, endpoint).await));
    found.push(or_bad("encoding", encoding(&client).await));
    found.extend(standby(&client).await);
    found.push(or_bad("connections", room(&client, workers).await));
    found
}

/// What a restore into this database, or a drill on its server, would meet.
pub async fn examine_target(endpoint: &Endpoint, workers: u16, folder: Option<&Path>) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Err(error) = pooler::refuse_any(endpoint).await {
        return vec![Finding::bad("answer", error)];
    }
    let client = match connect_maintenance(endpoint).await {
        Ok(client) => client,
        Err(error) => return vec![Finding::bad("answer", error)],
    };
    let major = match greet(&client, endpoint, "no pooler is in between", &mut found).await {
        Ok(major) => major,
        Err(error) => return vec![Finding::bad("answer", error)],
    };
    found.push(or_bad("pg_restore", restore_tool(major, folder).await));
    found.push(or_bad("role", target_role(&client).await));
    found.push(or_bad("database", target_database(&client, major, endpoint).await));
    found.push(or_bad("connections", room(&client, workers).await));
    found
}

fn or_bad(what: &'static str, result: Result<Finding, Error>) -> Finding {
    result.unwrap_or_else(|error| Finding::bad(what, error))
}

/// Notes who answers, and what was found out about poolers. Returns the major version.
async fn greet(client: &Client, endpoint: &Endpoint, pooler: &str, found: &mut Vec<Finding>) -> Result<u32, Error> {
    let major = major_version(client).await?;
    let row = client.query_one("SHOW server_version", &[]).await.map_err(from_postgres("read the version"))?;
    let version: String = row.get(0);
    found.push(Finding::good("answer", format!("{} is PostgreSQL {version}, and {pooler}", endpoint.server())));
    if major < OLDEST {
        let what = format!("PostgreSQL {major}; {OLDEST} is the oldest that this version works with");
        found.push(Finding::bad("version", Error::new(Kind::Unsupported, what)));
    }
    Ok(major)
}

async fn version_of(tool: &Tool) -> String {
    process::version_of(&tool.program).await.unwrap_or_else(|_| format!("version {}", tool.major))
}

async fn dump_tool(major: u32, folder: Option<&Path>) -> Finding {
    const NAME: &str = "pg_dump";
    let tool = match tools::find(NAME, major, folder).await {
        Ok(tool) => tool,
        Err(error) => return Finding::bad(NAME, error),
    };
    let found = format!("{} at {}, for a server of version {major}", version_of(&tool).await, tool.program);
    Finding::of(NAME, assert_restorable(&tool, major), found)
}

/// Which one a restore needs depends on the backup: at least that of the `pg_dump` which wrote it.
async fn restore_tool(major: u32, folder: Option<&Path>) -> Result<Finding, Error> {
    const NAME: &str = "pg_restore";
    let tool = tools::find(NAME, OLDEST, folder).await?;
    let own = tools::find(NAME, major, folder).await.ok().filter(|own| own.major == major);
    let shown = own.as_ref().unwrap_or(&tool);
    let found = format!("{} at {}", version_of(shown).await, shown.program);
    if own.is_some() {
        return Ok(Finding::good(NAME, found));
    }
    let found = format!("{found}; the server is of version {major}");
    Ok(Finding::warning(
        NAME,
        found,
        format!("install the PostgreSQL {major} client tools: backups of servers of that version need them"),
    ))
}

async fn source_role(client: &Client) -> Result<Finding, Error> {
    let Role { name, superuser, bypass_rls, .. } = Restorer::find(client, None).await?.login;
    let sql = "SELECT pg_catalog.pg_has_role(current_user, 'pg_read_all_data', 'USAGE'), \
         pg_catalog.pg_has_role(current_user, d.datdba, 'USAGE') FROM pg_catalog.pg_database d WHERE d.datname = current_database()";
    let row = client.query_one(sql, &[]).await.map_err(from_postgres("read the role"))?;
    if superuser {
        let found = format!("{name} is a superuser, which a backup need not be");
        let advice = "a role with LOGIN, pg_read_all_data and BYPASSRLS reads everything and changes nothing; only subscriptions \
             and options of user mappings need a superuser";
        return Ok(Finding::warning("role", found, advice));
    }
    let facts = [
        (row.get(0), "reads all data"),
        (row.get(1), "owns the database"),
        (bypass_rls, "sees past row-level security"),
    ];
    let facts: Vec<&str> = facts.iter().filter(|(holds, _)| *holds).map(|(_, fact)| *fact).collect();
    let facts = if facts.is_empty() { "has single grants".to_owned() } else { facts.join(", ") };
    Ok(Finding::good("role", format!("{name} {facts}")))
}

async fn readable(client: &Client, major: u32) -> Result<Finding, Error> {
    let everything = Rules::parse(&Filter::default())?.choose(client).await?;
    privileges::assert_readable(client, major, &everything).await?;
    Ok(Finding::good("readable", "every table, sequence and large object"))
}

async fn supported(client: &Client, endpoint: &Endpoint) -> Result<Finding, Error> {
    unsupported::refuse_unreadable_names(client, endpoint).await?;
    unsupported::refuse(client).await?;
    Ok(Finding::good("objects", "nothing that a backup could not carry"))
}

async fn encoding(client: &Client) -> Result<Finding, Error> {
    let row = client.query_one("SHOW server_encoding", &[]).await.map_err(from_postgres("read the encoding"))?;
    let encoding: String = row.get(0);
    if encoding == "SQL_ASCII" {
        let advice = "nothing says what its bytes mean; they come back as they are";
        return Ok(Finding::warning("encoding", encoding, advice));
    }
    Ok(Finding::good("encoding", encoding))
}

/// Nothing on a primary.
async fn standby(client: &Client) -> Option<Finding> {
    let sql = "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('hot_standby_feedback'), \
         pg_catalog.current_setting('max_standby_streaming_delay')";
    let row = match client.query_one(sql, &[]).await {
        Ok(row) => row,
        Err(error) => return Some(Finding::bad("standby", from_postgres("ask whether it is a standby")(error))),
    };
    let (standby, feedback, delay): (bool, String, String) = (row.get(0), row.get(1), row.get(2));
    let found = format!(
        "yes: hot_standby_feedback {feedback}, max_standby_streaming_delay {delay}; rows of unlogged tables are not there"
    );
    standby.then(|| match feedback.as_str() {
        "on" => Finding::good("standby", found),
        _ => Finding::warning("standby", found, crate::standby::ADVICE),
    })
}

/// Whether there are sessions left for a job with so many workers. What counts sessions is readable for every role.
async fn room(client: &Client, workers: u16) -> Result<Finding, Error> {
    let sql = "SELECT current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint \
         - coalesce(current_setting('reserved_connections', true)::bigint, 0), \
         (SELECT coalesce(sum(numbackends), 0)::bigint FROM pg_catalog.pg_stat_database)";
    let row = client.query_one(sql, &[]).await.map_err(from_postgres("count the sessions"))?;
    let (most, taken): (i64, i64) = (row.get(0), row.get(1));
    let (free, wanted) = (most - taken, i64::from(workers) + BESIDE_WORKERS);
    let found = format!("{taken} of {most} are taken; a job with {workers} workers takes up to {wanted}");
    if free >= wanted {
        return Ok(Finding::good("connections", found));
    }
    Ok(Finding::warning(
        "connections",
        found,
        "use fewer --workers, raise max_connections, or find out who holds so many",
    ))
}

async fn target_role(client: &Client) -> Result<Finding, Error> {
    let Role { name, superuser, createdb, createrole, managed, .. } = Restorer::find(client, None).await?.login;
    let facts = [
        (superuser, "is a superuser"),
        (createdb, "may make databases"),
        (createrole, "may make roles"),
        (managed, "is the managed service's administrator"),
    ];
    let facts: Vec<&str> = facts.iter().filter(|(holds, _)| *holds).map(|(_, fact)| *fact).collect();
    if superuser || createdb {
        return Ok(Finding::good("role", format!("{name} {}", facts.join(", "))));
    }
    Err(Error::new(Kind::Refused, format!("role {name} may not make databases"))
        .hint(format!("ALTER ROLE {name} CREATEDB, and let it own what it is to replace")))
}

/// What has the target's name, and whether a restore may take its place.
async fn target_database(client: &Client, major: u32, endpoint: &Endpoint) -> Result<Finding, Error> {
    const NAME: &str = "database";
    let database = endpoint.database();
    if guard::assert_not_the_servers_own(endpoint).is_err() {
        return Ok(Finding::good(
            NAME,
            format!("{database} is the server's own: drills can be run here, a restore needs another name"),
        ));
    }
    let Some(live) = Live::find(client, major, database).await? else {
        return Ok(Finding::good(NAME, format!("{database} is not there: a restore makes it")));
    };
    if let Some(mark) = &live.marks.target {
        mark.assert_not_protected(&endpoint.spot())?;
    }
    let Some(what) = holds(endpoint).await? else {
        live.assert_ours(endpoint)?;
        return Ok(Finding::good(NAME, format!("{database} is empty: a restore takes its place")));
    };
    Mark::assert_allows(live.marks.target.as_ref(), &endpoint.spot(), &what)?;
    live.assert_ours(endpoint)?;
    let name = live.marks.target.map(|mark| mark.name).unwrap_or_default();
    Ok(Finding::good(NAME, format!("{database} is marked as {name}: a restore may take its place")))
}
