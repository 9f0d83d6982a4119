//! Marking a database as one that restores may replace.
//!
//! Owns writing and taking away the mark, and what is said about the database when that is done: whoever marks the wrong one
//! should see it by its size. Promises that the rest of the comment stays. Refuses scratch databases and the server's own.

use crate::connection::{Purpose, connect};
use crate::endpoint::Endpoint;
use crate::failure::from_postgres;
use crate::guard;
use crate::marker::Marks;
use crate::scratch::is_scratch;
use engine::{Error, Kind, Mark, Marked};

/// Marks the database that the URL names as an environment, or takes its mark away when `name` is `None`.
///
/// # Errors
/// [`Kind::NotFound`] when there is no such database; [`Kind::Refused`] when the role does not own it; [`Kind::Config`]
/// for databases that must not be replaced at all.
pub async fn mark(endpoint: &Endpoint, name: Option<&str>) -> Result<Marked, Error> {
    guard::assert_not_the_servers_own(endpoint)?;
    let client = connect(endpoint, Purpose::Lead, 60).await?;
    let sql = "SELECT pg_catalog.shobj_description(d.oid, 'pg_database'), pg_catalog.pg_database_size(d.oid), \
         (SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'), \
         pg_catalog.pg_has_role(d.datdba, 'USAGE'), pg_catalog.pg_get_userbyid(d.datdba)::text \
         FROM pg_catalog.pg_database d WHERE d.datname = current_database()";
    let row = client.query_one(sql, &[]).await.map_err(from_postgres("look at the database"))?;
    let comment: Option<String> = row.get(0);
    if is_scratch(comment.as_deref()) {
        return Err(Error::new(Kind::Config, format!("{endpoint} is the copy that a restore is making"))
            .hint("mark the database that it is made for"));
    }
    if !row.get::<_, bool>(3) {
        let (owner, user) = (row.get::<_, String>(4), &endpoint.user);
        let what = format!("{endpoint} belongs to {owner}, and {user} is not a member of that role");
        return Err(Error::new(Kind::Refused, what).hint(format!("let {owner} mark it, or a superuser")));
    }
    let (theirs, marks) = Marks::split(comment.as_deref());
    let now = name.map(|name| Mark::new(name, &endpoint.spot()));
    if let Some(now) = &now {
        now.assert_may_follow(marks.target.as_ref(), &endpoint.spot())?;
    }
    let replaceable = now.as_ref().is_some_and(|mark| !mark.is_protected());
    let now = Marks { target: now, replaced: marks.replaced };
    let statement = now.statement(endpoint.database(), theirs.as_deref());
    client.batch_execute(&statement).await.map_err(from_postgres(format!("mark {endpoint}")))?;
    let number = |at: usize| u64::try_from(row.get::<_, i64>(at)).unwrap_or_default();
    Ok(Marked {
        database: endpoint.database().to_owned(),
        server: endpoint.server(),
        marked_as: name.map(str::to_owned),
        replaceable,
        before: marks.target.map(|mark| mark.name),
        bytes: number(1),
        tables: number(2),
    })
}
