//! Large objects: values that live outside of tables.
//!
//! Owns listing, reading and writing them as if they were a table of pieces (object, number, bytes), and their owners, grants,
//! comments and labels, which are kept apart from the rows. Promises that empty objects come back too, that an object is
//! never split over two segments, and that no transaction gives owners, grants or comments to more than a few hundred of
//! them, because each takes a lock. Works for every role that may read them: no system table that only superusers see is needed.

use crate::catalog::{Column, Special, Table};
use crate::failure::from_postgres;
use crate::quote::{ident, literal};
use crate::segments::Range;
use engine::{Error, Segment};
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

/// Bytes of a piece: some rows' worth, small enough to hold a few.
const PIECE_BYTES: u32 = 256 << 10;
/// What a segment should hold, and how many objects at most.
const AIM_BYTES: u64 = 8 << 20;
const MOST_OBJECTS: u64 = 10_000;
/// Objects that one transaction gives an owner, grants or a comment.
const BATCH: usize = 200;
/// `INV_READ` of `libpq-fs.h`.
const READ: i32 = 0x0004_0000;

/// Everything about large objects but their bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LargeObjects {
    /// Runs of objects with the same owner and grants: few, where millions of objects are alike.
    pub runs: Vec<Run>,
    pub comments: Vec<(u32, String)>,
    /// Object, provider and label.
    pub labels: Vec<(u32, String, String)>,
}

/// All objects from the first to the last that are alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub first: u32,
    pub last: u32,
    pub owner: String,
    /// `None` for the default: everything to the owner, nothing to others.
    pub grants: Option<Vec<ObjectGrant>>,
}

/// A privilege on a large object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ObjectGrant {
    /// `None` for PUBLIC.
    pub role: Option<String>,
    /// `SELECT` or `UPDATE`.
    pub privilege: String,
    pub with_grant_option: bool,
}

/// The stand-in for a table, and everything else about the objects; `None` when there are none.
pub(crate) async fn read(client: &Client) -> Result<Option<(Table, LargeObjects)>, Error> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata), \
         pg_catalog.pg_table_size('pg_catalog.pg_largeobject')";
    let row = client.query_one(sql, &[]).await.map_err(from_postgres("look for large objects"))?;
    if !row.get::<_, bool>(0) {
        return Ok(None);
    }
    let column = |name: &str, type_name: &str| Column { name: name.to_owned(), type_name: type_name.to_owned() };
    let table = Table {
        oid: 0,
        schema: "pg_catalog".to_owned(),
        name: "pg_largeobject".to_owned(),
        kind: "L".to_owned(),
        persistence: "p".to_owned(),
        access_method: String::new(),
        relfilenode: 0,
        heap_bytes: 0,
        table_bytes: u64::try_from(row.get::<_, i64>(1)).unwrap_or_default(),
        columns: vec![column("object", "oid"), column("piece", "bigint"), column("data", "bytea")],
        special: Some(Special::LargeObjects { piece_bytes: PIECE_BYTES }),
        rows_left_out: false,
        plans_code: false,
        holds_names: false,
        asks_code: false,
    };
    let objects = LargeObjects {
        runs: read_runs(client).await?,
        comments: read_comments(client).await?,
        labels: read_labels(client).await?,
    };
    Ok(Some((table, objects)))
}

async fn read_runs(client: &Client) -> Result<Vec<Run>, Error> {
    // The difference of two counts stays the same as long as neighbours are alike.
    let sql = "SELECT min(oid), max(oid), pg_catalog.pg_get_userbyid(lomowner)::text, acl::text::aclitem[] IS NULL, \
         (SELECT coalesce(array_agg(CASE WHEN a.grantee = 0 THEN NULL ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END ORDER BY n), '{}') \
         FROM pg_catalog.aclexplode(acl::aclitem[]) WITH ORDINALITY a(grantor, grantee, privilege, option, n)), \
         (SELECT coalesce(array_agg(a.privilege ORDER BY n), '{}') \
         FROM pg_catalog.aclexplode(acl::aclitem[]) WITH ORDINALITY a(grantor, grantee, privilege, option, n)), \
         (SELECT coalesce(array_agg(a.option ORDER BY n), '{}') \
         FROM pg_catalog.aclexplode(acl::aclitem[]) WITH ORDINALITY a(grantor, grantee, privilege, option, n)) \
         FROM (SELECT oid, lomowner, lomacl::text AS acl, row_number() OVER (ORDER BY oid) \
         - row_number() OVER (PARTITION BY lomowner, lomacl::text ORDER BY oid) AS run \
         FROM pg_catalog.pg_largeobject_metadata) o GROUP BY lomowner, acl, run ORDER BY 1";
    let rows = client.query(sql, &[]).await.map_err(from_postgres("read the large objects' owners"))?;
    let run = |row: &tokio_postgres::Row| {
        let (roles, privileges, options): (Vec<Option<String>>, Vec<String>, Vec<bool>) =
            (row.get(4), row.get(5), row.get(6));
        let grants = roles.into_iter().zip(privileges).zip(options);
        let grants =
            grants.map(|((role, privilege), with_grant_option)| ObjectGrant { role, privilege, with_grant_option });
        let default: bool = row.get(3);
        Run { first: row.get(0), last: row.get(1), owner: row.get(2), grants: (!default).then(|| grants.collect()) }
    };
    Ok(rows.iter().map(run).collect())
}

async fn read_comments(client: &Client) -> Result<Vec<(u32, String)>, Error> {
    let sql = "SELECT objoid, description FROM pg_catalog.pg_description \
         WHERE classoid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass ORDER BY 1";
    let rows = client.query(sql, &[]).await.map_err(from_postgres("read the large objects' comments"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn read_labels(client: &Client) -> Result<Vec<(u32, String, String)>, Error> {
    let sql = "SELECT objoid, provider, label FROM pg_catalog.pg_seclabel \
         WHERE classoid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass ORDER BY 1, 2";
    let rows = client.query(sql, &[]).await.map_err(from_postgres("read the large objects' labels"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

/// Objects of a range with their sizes, each opened and closed once. The sub-selects with OFFSET 0 keep the planner from
/// calling a function twice or not at all.
fn sizes(range: Range) -> String {
    let condition = match range {
        Range::Whole => String::new(),
        Range::Pages { first, end: Some(end) } => format!(" WHERE oid >= {first}::oid AND oid < {end}::oid"),
        Range::Pages { first, end: None } => format!(" WHERE oid >= {first}::oid"),
    };
    format!(
        "(SELECT oid, pg_catalog.lo_lseek64(fd, 0, 2) AS size, pg_catalog.lo_close(fd) AS closed FROM \
         (SELECT oid, pg_catalog.lo_open(oid, {READ}) AS fd FROM \
         (SELECT oid FROM pg_catalog.pg_largeobject_metadata{condition} ORDER BY oid OFFSET 0) a OFFSET 0) b OFFSET 0) o"
    )
}

/// A query for the pieces of a range of objects; an empty object has one, empty piece.
pub(crate) fn select(range: Range, piece_bytes: u32) -> String {
    format!(
        "SELECT o.oid, p.n, pg_catalog.lo_get(o.oid, p.n * {piece_bytes}, {piece_bytes}) FROM {}, \
         LATERAL pg_catalog.generate_series(0::bigint, greatest(o.size - 1, 0) / {piece_bytes}) AS p(n)",
        sizes(range)
    )
}

/// A query for the number of pieces.
pub(crate) fn count(piece_bytes: u32) -> String {
    let sizes = sizes(Range::Whole);
    format!("SELECT coalesce(sum(greatest(o.size - 1, 0) / {piece_bytes} + 1), 0)::bigint FROM {sizes}")
}

/// Ranges of objects that hold about as much as a segment of a table.
pub(crate) async fn cut(client: &Client, table: &Table) -> Result<Vec<Segment>, Error> {
    let sql = "SELECT count(*) FROM pg_catalog.pg_largeobject_metadata";
    let row = client.query_one(sql, &[]).await.map_err(from_postgres("count large objects"))?;
    let number = u64::try_from(row.get::<_, i64>(0)).unwrap_or_default().max(1);
    let each = (AIM_BYTES / (table.table_bytes / number).max(1)).clamp(1, MOST_OBJECTS);
    let sql = "SELECT oid FROM (SELECT oid, row_number() OVER (ORDER BY oid) AS n \
         FROM pg_catalog.pg_largeobject_metadata) o WHERE n > 1 AND (n - 1) % $1 = 0 ORDER BY oid";
    let each = i64::try_from(each).unwrap_or(i64::MAX);
    let rows = client.query(sql, &[&each]).await.map_err(from_postgres("cut the large objects"))?;
    let starts: Vec<u64> = std::iter::once(0).chain(rows.iter().map(|row| u64::from(row.get::<_, u32>(0)))).collect();
    let bytes = table.table_bytes / starts.len() as u64;
    let segment = |(index, first): (usize, &u64)| Segment {
        stream: table.stream(),
        at: *first,
        range: Range::Pages { first: *first, end: starts.get(index + 1).copied() }.to_text(),
        estimated_bytes: bytes,
    };
    Ok(starts.iter().enumerate().map(segment).collect())
}

/// Where a loader copies pieces before they become objects.
const STAGE: &str = "pg_temp.longshore_pieces";

/// Makes the place where pieces arrive; for this session only.
pub(crate) async fn prepare_stage(client: &Client) -> Result<(), Error> {
    let sql = "CREATE TEMPORARY TABLE IF NOT EXISTS longshore_pieces (object oid, piece bigint, data bytea)";
    client.batch_execute(sql).await.map_err(from_postgres("prepare for large objects"))
}

/// The COPY for pieces.
pub(crate) fn copy_in() -> String {
    format!("COPY {STAGE} (object, piece, data) FROM STDIN WITH (FORMAT text)")
}

/// Makes objects of the pieces that arrived.
pub(crate) async fn write(client: &Client, piece_bytes: u32) -> Result<(), Error> {
    let sql = format!(
        "BEGIN; SELECT count(pg_catalog.lo_create(object)) FROM {STAGE} WHERE piece = 0; \
         SELECT count(pg_catalog.lo_put(object, piece * {piece_bytes}, data)) FROM {STAGE} WHERE length(data) > 0; \
         TRUNCATE {STAGE}; COMMIT"
    );
    client.batch_execute(&sql).await.map_err(from_postgres("write large objects"))
}

/// The statements with which `psql` brings all pieces back in one session, in order: the second is the COPY that reads them from its
/// standard input. Objects are made some hundred in a transaction, because each takes a lock.
pub(crate) fn import(piece_bytes: u32) -> [String; 4] {
    [
        format!(
            "CREATE TEMPORARY TABLE {} (object oid, piece bigint, data bytea)",
            STAGE.trim_start_matches("pg_temp.")
        ),
        copy_in(),
        format!("CREATE INDEX ON {STAGE} (object)"),
        format!(
            "DO $$ DECLARE done oid := 0; batch oid[]; BEGIN LOOP \
             SELECT pg_catalog.array_agg(object ORDER BY object) INTO batch FROM (SELECT object FROM {STAGE} \
             WHERE piece = 0 AND object > done ORDER BY object LIMIT {BATCH}) o; \
             EXIT WHEN batch IS NULL; \
             PERFORM pg_catalog.lo_create(object) FROM pg_catalog.unnest(batch) AS o(object); \
             PERFORM pg_catalog.lo_put(object, piece * {piece_bytes}, data) FROM {STAGE} \
             WHERE object = ANY (batch) AND length(data) > 0; \
             done := batch[pg_catalog.array_upper(batch, 1)]; COMMIT; END LOOP; END $$"
        ),
    ]
}

impl LargeObjects {
    /// Gives the restored objects their owners and grants (unless those are left out), comments and labels.
    pub async fn apply(&self, client: &Client, no_owner: bool) -> Result<(), Error> {
        if !no_owner {
            for run in &self.runs {
                apply_run(client, run).await?;
            }
        }
        in_batches(client, &self.sayings()).await
    }

    /// Statements for what is said about single objects: comments, labels.
    fn sayings(&self) -> Vec<String> {
        let comments =
            self.comments.iter().map(|(oid, text)| format!("COMMENT ON LARGE OBJECT {oid} IS {};", literal(text)));
        let labels = self.labels.iter().map(|(oid, provider, label)| {
            format!("SECURITY LABEL FOR {} ON LARGE OBJECT {oid} IS {};", ident(provider), literal(label))
        });
        comments.chain(labels).collect()
    }

    /// The same as a script for `psql`, each object in a transaction of its own.
    pub fn script(&self, no_owner: bool) -> String {
        let mut sql = String::new();
        for run in self.runs.iter().filter(|_| !no_owner) {
            // No name holds a zero byte.
            let each = run.statements("\0").replace('%', "%%").replace('\0', "%1$s");
            sql.push_str(&format!(
                "SELECT pg_catalog.format({}, oid) FROM pg_catalog.pg_largeobject_metadata WHERE oid BETWEEN {} AND {} ORDER BY oid\n\\gexec\n",
                literal(&each),
                run.first,
                run.last
            ));
        }
        sql.extend(self.sayings().iter().map(|statement| format!("{statement}\n")));
        sql
    }
}

async fn apply_run(client: &Client, run: &Run) -> Result<(), Error> {
    let sql = "SELECT oid FROM pg_catalog.pg_largeobject_metadata WHERE oid BETWEEN $1 AND $2 \
         AND (lomowner <> (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $3) OR $4) ORDER BY oid";
    let rows = client.query(sql, &[&run.first, &run.last, &run.owner, &run.grants.is_some()]).await;
    let rows = rows.map_err(from_postgres("look for the large objects"))?;
    let statements: Vec<String> = rows.iter().map(|row| run.statements(&row.get::<_, u32>(0).to_string())).collect();
    in_batches(client, &statements).await
}

impl Run {
    fn statements(&self, oid: &str) -> String {
        let owner = ident(&self.owner);
        let mut sql = format!("ALTER LARGE OBJECT {oid} OWNER TO {owner};");
        if let Some(grants) = &self.grants {
            sql.push_str(&format!("REVOKE ALL ON LARGE OBJECT {oid} FROM {owner};"));
            for grant in grants {
                let to = grant.role.as_deref().map_or_else(|| "PUBLIC".to_owned(), ident);
                let option = if grant.with_grant_option { " WITH GRANT OPTION" } else { "" };
                sql.push_str(&format!("GRANT {} ON LARGE OBJECT {oid} TO {to}{option};", grant.privilege));
            }
        }
        sql
    }
}

async fn in_batches(client: &Client, statements: &[String]) -> Result<(), Error> {
    for batch in statements.chunks(BATCH) {
        let done = client.batch_execute(&batch.concat()).await;
        done.map_err(from_postgres("set owners and grants of large objects"))?;
    }
    Ok(())
}
