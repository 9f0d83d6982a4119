//! The target of a part: certain tables or schemas, brought into a database that stays.
//!
//! Owns the order: guards; what must be free and what must be there; then one transaction over one session for everything,
//! from the first table to the last key, and its commit. Promises that nobody sees anything of it before the commit, that
//! a failure or a kill at any moment leaves nothing behind because the server takes it back, and that nothing that was there
//! is changed. Refuses to overwrite, and databases that a restore may not go into.

use crate::archive::private_folder;
use crate::catalog::{ARCHIVE, CATALOG, Catalog, Special, Table};
use crate::connection::{Purpose, Session, connect, connect_session, major_version};
use crate::database::missing_roles;
use crate::endpoint::Endpoint;
use crate::failure::{from_postgres, from_tool};
use crate::guard::{self, Live};
use crate::lacking;
use crate::loader::SegmentLoader;
use crate::part_entries::PartEntries;
use crate::part_script::plain;
use crate::paths::SearchPath;
use crate::pooler;
use crate::quote::{ident, listed, qualified, shown};
use crate::reader::{Readable, SessionReader};
use crate::scratch::{connect_maintenance, holds};
use crate::sessions::end_one;
use crate::target::assert_version;
use crate::toc::Contents;
use crate::tools::{self, Tool};
use async_trait::async_trait;
use engine::{
    Build, Conclusion, Document, Error, Kind, Loader, Mark, Reader, Segment, StreamName, Target, TargetOptions,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

/// Most names in one error.
const MOST_NAMES: usize = 20;
/// Most bytes of one script.
const MOST_SCRIPT: u64 = 512 << 20;
/// How long taking everything back may take, before the session is cut instead.
const TAKE_BACK: Duration = Duration::from_secs(5);
/// A server that sees its client gone ends what it is doing: an index that is half built keeps no lock.
const NOTICE: &str = "SET client_connection_check_interval = '1s'";

/// Some tables of a backup on their way into a database.
pub struct PostgresPart {
    target: Endpoint,
    options: TargetOptions,
    catalog: Catalog,
    part: PartEntries,
    tables: Arc<BTreeMap<StreamName, Table>>,
    pg_restore: Tool,
    folder: tempfile::TempDir,
    /// The one session, from `prepare` on.
    session: Option<Arc<Session>>,
    /// The server's process of that session.
    pid: i32,
}

impl PostgresPart {
    /// Checks everything that can be checked before anything is made.
    ///
    /// # Errors
    /// [`Kind::Refused`] by a guard, [`Kind::Exists`] for names that are taken, [`Kind::Config`] for patterns that match
    /// nothing and for what the part needs and the target lacks, [`Kind::NotFound`] when there is no such database.
    pub async fn open(endpoint: Endpoint, documents: &[Document], options: TargetOptions) -> Result<Self, Error> {
        let missing = |name: &str| Error::new(Kind::Data, format!("the backup has no document {name}"));
        let catalog = Document::find(documents, CATALOG).ok_or_else(|| missing(CATALOG))?;
        let archive = Document::find(documents, ARCHIVE).ok_or_else(|| missing(ARCHIVE))?;
        let catalog = Catalog::parse(&catalog.bytes)?;
        let contents = Contents::parse(&archive.bytes)?;
        let (out, _) = lacking::unmakeable(&contents, &catalog);
        let mut part = PartEntries::choose(&contents, &options.part, &out)?;
        let tables = chosen_tables(&catalog, &part)?;
        pooler::refuse_any(&endpoint).await?;
        assert_may(&endpoint, &catalog, &options).await?;
        let client = connect(&endpoint, Purpose::Lead, 60).await?;
        assert_version(&catalog, major_version(&client).await?, &endpoint)?;
        assert_free(&client, &part).await?;
        assert_there(&client, &part).await?;
        drop_keys_to_nothing(&client, &mut part).await?;
        if !options.no_owner {
            assert_owners(&client, &part).await?;
        }
        let pg_restore = tools::find("pg_restore", catalog.dump_major, options.tools.as_deref()).await?;
        let folder = private_folder()?;
        let write = tokio::fs::write(folder.path().join("schema"), &archive.bytes).await;
        write.map_err(|e| Error::new(Kind::Config, format!("write the schema to a temporary folder: {e}")))?;
        Ok(Self {
            target: endpoint,
            options,
            catalog,
            part,
            tables: Arc::new(tables),
            pg_restore,
            folder,
            session: None,
            pid: 0,
        })
    }

    fn session(&self) -> Result<&Arc<Session>, Error> {
        self.session.as_ref().ok_or_else(|| Error::new(Kind::Internal, "the session of the restore is not open"))
    }

    async fn run(&self, what: &str, sql: &str) -> Result<(), Error> {
        self.session()?.batch_execute(sql).await.map_err(from_postgres(what))
    }

    /// Runs the vendor's own statements for these entries inside the transaction.
    async fn make(&self, what: &str, entries: &[i32]) -> Result<(), Error> {
        if entries.is_empty() {
            return Ok(());
        }
        let script = self.script(entries).await?;
        self.run(what, &script).await?;
        // The script empties the search path; functions that rows go through may need the database's own.
        self.run("prepare the session", "RESET search_path; SET lock_timeout = '60s'; SET row_security = off").await
    }

    async fn script(&self, entries: &[i32]) -> Result<String, Error> {
        let (list, file) = (self.folder.path().join("entries"), self.folder.path().join("script"));
        let lines: String = entries.iter().map(|id| format!("{id};\n")).collect();
        let failed = |e: std::io::Error| Error::new(Kind::Config, format!("use a temporary folder: {e}"));
        tokio::fs::write(&list, lines).await.map_err(failed)?;
        let mut command = process::Command::new(&self.pg_restore.program).arg("--use-list").arg(&list);
        if self.options.no_owner {
            command = command.args(["--no-owner", "--no-acl"]);
        }
        let command = command.arg("--file").arg(&file).arg(self.folder.path().join("schema"));
        let said = |e| from_tool("read the schema", e);
        command.spawn().map_err(said)?.wait().await.map_err(said)?;
        if tokio::fs::metadata(&file).await.map_err(failed)?.len() > MOST_SCRIPT {
            return Err(Error::new(
                Kind::Unsupported,
                format!("the part's schema takes more than {MOST_SCRIPT} bytes"),
            ));
        }
        let bytes = tokio::fs::read(&file).await.map_err(failed)?;
        let utf8 = self.catalog.database.encoding == "UTF8";
        match String::from_utf8(bytes) {
            Ok(text) if utf8 || text.is_ascii() => Ok(plain(&text)),
            _ => {
                let what = format!("the part's schema has names in {}", self.catalog.database.encoding);
                Err(Error::new(Kind::Unsupported, what).hint("restore the whole backup into a database of its own"))
            }
        }
    }

    async fn set_sequences(&self) -> Result<(), Error> {
        for sequence in self.catalog.sequences.iter().filter(|s| self.part.sequences.contains(&s.oid)) {
            let name = qualified(&sequence.schema, &sequence.name);
            let sql = "SELECT pg_catalog.setval($1::text::pg_catalog.regclass, $2, $3)";
            let set = self.session()?.query(sql, &[&name, &sequence.last_value, &sequence.is_called]).await;
            set.map_err(from_postgres(format!("set the sequence {name}")))?;
        }
        Ok(())
    }

    /// The answer to the commit was lost: whether everything is there. The session is ended first, so that it cannot commit
    /// after we have looked.
    async fn was_committed(&self) -> Result<bool, Error> {
        let unknown = |error: Error| {
            let what = format!("the answer to the commit was lost, and nobody can be asked: {error}");
            Error::new(Kind::Unavailable, what)
                .hint("look into the target: all of the part is there, or nothing of it; when nothing is, run again")
        };
        let client = connect(&self.target, Purpose::Lead, 60).await.map_err(unknown)?;
        end_one(&client, self.pid).await.map_err(unknown)?;
        let names = taken(&client, &self.part).await.map_err(unknown)?;
        let schemas = schemas_there(&client).await.map_err(unknown)?;
        // None of these names was there before.
        Ok(names.len() >= self.part.makes.len() && self.part.schemas.keys().all(|name| schemas.contains(name)))
    }
}

#[async_trait]
impl Target for PostgresPart {
    fn streams(&self) -> Option<BTreeSet<StreamName>> {
        Some(self.tables.keys().cloned().collect())
    }

    async fn prepare(&mut self) -> Result<Vec<String>, Error> {
        let session = connect_session(&self.target.acting_as(self.options.role.as_deref()), Purpose::Write, 60).await?;
        let row = session.query_one("SELECT pg_catalog.pg_backend_pid()", &[]).await;
        self.pid = row.map_err(from_postgres("begin"))?.get(0);
        self.session = Some(Arc::new(session));
        self.run("begin", &format!("{NOTICE}; BEGIN")).await?;
        for schema in self.part.schemas.iter().filter(|(_, in_archive)| !**in_archive).map(|(schema, _)| schema) {
            self.run(&format!("make the schema {schema}"), &format!("CREATE SCHEMA {}", ident(schema))).await?;
        }
        self.make("make the tables", &self.part.before).await?;
        Ok(std::mem::take(&mut self.part.notes))
    }

    fn first(&self) -> Vec<StreamName> {
        Vec::new()
    }

    fn last(&self) -> Vec<StreamName> {
        self.tables.iter().filter(|(_, table)| table.loads_last()).map(|(stream, _)| stream.clone()).collect()
    }

    async fn loader(&self) -> Result<Box<dyn Loader>, Error> {
        let encoding = self.catalog.row_format.encoding.clone();
        Ok(Box::new(SegmentLoader::inside(Arc::clone(self.session()?), Arc::clone(&self.tables), encoding)))
    }

    fn builds(&self, _: &StreamName) -> Vec<Vec<Build>> {
        Vec::new()
    }

    async fn complete(&mut self) -> Result<(), Error> {
        self.run("prepare the session", crate::archive::BUILD_SETTINGS).await?;
        self.make("make indexes and constraints", &self.part.after).await?;
        self.set_sequences().await?;
        // Filled with their owners' rights, as at the source: policies choose what such an owner sees, they do not fail.
        self.run("prepare the session", "SET row_security = on").await?;
        for (view, sql) in &self.part.fill {
            self.run(&format!("fill materialized view {view}"), sql).await?;
        }
        self.run("prepare the session", "SET row_security = off").await?;
        let names: Vec<String> = self.tables.values().map(Table::qualified).collect();
        match names.as_slice() {
            [] => Ok(()),
            names => self.run("gather statistics", &format!("ANALYZE {}", names.join(", "))).await,
        }
    }

    async fn server_version(&self) -> Result<String, Error> {
        let row = self.session()?.query_one("SELECT current_setting('server_version')", &[]).await;
        Ok(row.map_err(from_postgres("read the server's version"))?.get(0))
    }

    async fn count(&self, stream: &StreamName) -> Result<u64, Error> {
        let unknown = || Error::new(Kind::Internal, format!("no table for stream {stream}"));
        let table = self.tables.get(stream).ok_or_else(unknown)?;
        let counted = self.session()?.query_one(&table.count(), &[]).await;
        let row = counted.map_err(from_postgres(format!("count {stream}")))?;
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or_default())
    }

    /// One session reads: there is no use in dividing a table.
    async fn read_back_plan(&self) -> Result<Vec<Segment>, Error> {
        let segment = |(stream, table): (&StreamName, &Table)| Segment {
            stream: stream.clone(),
            at: 0,
            range: "all".to_owned(),
            estimated_bytes: table.table_bytes,
        };
        Ok(self.tables.iter().map(segment).collect())
    }

    async fn reader(&self) -> Result<Box<dyn Reader>, Error> {
        // The tables are new: they have other oids than at the source.
        let anew = |(stream, table): (&StreamName, &Table)| (stream.clone(), Table { oid: 0, ..table.clone() });
        let tables = self.tables.iter().map(anew).collect();
        let readable = Readable {
            tables,
            encoding: self.catalog.row_format.encoding.clone(),
            search_path: SearchPath::of(&self.catalog.database),
            in_recovery: false,
        };
        Ok(Box::new(SessionReader { session: Arc::clone(self.session()?), readable }))
    }

    async fn before_publish(&mut self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    /// Keys to tables that are in use come last, because they lock those against writing until the commit.
    async fn publish(&mut self, _: &(dyn Fn() -> bool + Send + Sync)) -> Result<Conclusion, Error> {
        // Loading takes its time: a mark may have been taken away.
        assert_may(&self.target, &self.catalog, &self.options).await?;
        let keys: Vec<i32> = self.part.keys.iter().map(|(id, ..)| *id).collect();
        self.make("make the foreign keys", &keys).await?;
        match self.run("commit", "COMMIT").await {
            Err(error) if error.kind == Kind::Unavailable => {
                if !self.was_committed().await? {
                    return Err(error);
                }
            }
            other => other?,
        }
        self.session = None;
        let (database, server) = (self.target.database().to_owned(), self.target.server());
        Ok(Conclusion { database, server, replaced: None, notes: Vec::new() })
    }

    /// The server takes back what was not committed, whether it is asked to or finds the session gone.
    async fn discard(&mut self) -> Result<(), Error> {
        if let Some(session) = self.session.take() {
            drop(tokio::time::timeout(TAKE_BACK, session.batch_execute("ROLLBACK")).await);
        }
        Ok(())
    }
}

fn chosen_tables(catalog: &Catalog, part: &PartEntries) -> Result<BTreeMap<StreamName, Table>, Error> {
    let chosen = |table: &&Table| table.in_archive() && part.tables.contains(&table.oid);
    let through_another = |table: &&Table| {
        table.special == Some(Special::Leaf) && part.alone.contains(&(table.schema.clone(), table.name.clone()))
    };
    if let Some(leaf) = catalog.tables.iter().find(through_another) {
        let what = format!("the rows of {} are kept with the table that it is a partition of", leaf.stream());
        return Err(Error::new(Kind::Config, what).hint("name that table; nothing was changed"));
    }
    let with_rows = catalog.tables.iter().filter(chosen).filter(|table| table.has_rows());
    Ok(with_rows.map(|table| (table.stream(), table.clone())).collect())
}

/// The guards of every restore into a database in use.
async fn assert_may(endpoint: &Endpoint, catalog: &Catalog, options: &TargetOptions) -> Result<(), Error> {
    let maintenance = connect_maintenance(endpoint).await?;
    let major = major_version(&maintenance).await?;
    let missing = || {
        Error::new(Kind::NotFound, format!("there is no {endpoint}"))
            .hint("a part is restored into a database that is there; make one, or restore everything into a new one")
    };
    let live = Live::find(&maintenance, major, endpoint.database()).await?.ok_or_else(missing)?;
    guard::assert_not_the_servers_own(endpoint)?;
    guard::assert_not_source(&maintenance, &live, endpoint, catalog, options).await?;
    match (&live.marks.target, holds(endpoint).await?) {
        (Some(mark), None) => mark.assert_not_protected(&endpoint.spot()),
        (None, None) => Ok(()),
        (_, Some(what)) => Mark::assert_allows(live.marks.target.as_ref(), &endpoint.spot(), &what),
    }
}

/// Names of relations and types that the part makes and the target has.
async fn taken(client: &Client, part: &PartEntries) -> Result<Vec<String>, Error> {
    let (schemas, names): (Vec<&str>, Vec<&str>) = part.makes.iter().map(|(s, n)| (s.as_str(), n.as_str())).unzip();
    let sql = "SELECT m.schema, m.name FROM unnest($1::text[], $2::text[]) AS m(schema, name) \
         WHERE EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = m.schema AND c.relname = m.name) OR EXISTS (SELECT FROM pg_catalog.pg_type t \
         JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = m.schema AND t.typname = m.name)";
    let rows = client.query(sql, &[&schemas, &names]).await.map_err(from_postgres("look what is there"))?;
    Ok(rows.iter().map(|row| shown(row.get(0), row.get(1))).collect())
}

/// Fails when anything that the part makes is there.
async fn assert_free(client: &Client, part: &PartEntries) -> Result<(), Error> {
    let there = schemas_there(client).await?;
    let schemas: Vec<String> =
        part.schemas.keys().filter(|name| there.contains(*name)).map(|name| format!("schema {name}")).collect();
    let names = if schemas.is_empty() { taken(client, part).await? } else { schemas };
    if names.is_empty() {
        return Ok(());
    }
    let what = format!("the target has already: {}", listed(&names, MOST_NAMES));
    Err(Error::new(Kind::Exists, what)
        .hint("nothing is overwritten: rename or drop it first, or restore into another database; nothing was changed"))
}

async fn schemas_there(client: &Client) -> Result<BTreeSet<String>, Error> {
    let rows = client.query("SELECT nspname::text FROM pg_catalog.pg_namespace", &[]).await;
    Ok(rows.map_err(from_postgres("look for schemas"))?.iter().map(|row| row.get(0)).collect())
}

/// Fails when something that the part needs is not there.
async fn assert_there(client: &Client, part: &PartEntries) -> Result<(), Error> {
    let there = schemas_there(client).await?;
    let mut lost: Vec<String> =
        part.into.iter().filter(|name| !there.contains(*name)).map(|name| format!("schema {name}")).collect();
    for (kind, schema, name) in &part.needs {
        let sql = match kind.as_str() {
            "extension" => {
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = $2::text AND $1::text IS NOT NULL)"
            }
            "server" => {
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_foreign_server WHERE srvname = $2::text AND $1::text IS NOT NULL)"
            }
            "type" | "domain" => {
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
                 WHERE n.nspname = $1::text AND t.typname = $2::text)"
            }
            _ => {
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname = $1::text AND c.relname = $2::text)"
            }
        };
        let found = client.query_one(sql, &[schema, name]).await.map_err(from_postgres("look what is there"))?;
        if !found.get::<_, bool>(0) {
            let name = if schema.is_empty() { name.clone() } else { shown(schema, name) };
            lost.push(format!("{kind} {name}"));
        }
    }
    if lost.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Config,
        format!("the part needs what the target does not have: {}", listed(&lost, MOST_NAMES)),
    )
    .hint("make it there first, or ask for it, too: --only-schema brings a whole schema; nothing was changed"))
}

/// Leaves out foreign keys to tables that are neither asked for nor there.
async fn drop_keys_to_nothing(client: &Client, part: &mut PartEntries) -> Result<(), Error> {
    let mut kept = Vec::new();
    for (id, what, tables) in std::mem::take(&mut part.keys) {
        let mut lost = None;
        for (schema, name) in &tables {
            let sql = "SELECT pg_catalog.to_regclass($1) IS NOT NULL";
            let row = client.query_one(sql, &[&qualified(schema, name)]).await;
            if !row.map_err(from_postgres("look for tables that foreign keys refer to"))?.get::<_, bool>(0) {
                lost = Some(shown(schema, name));
            }
        }
        match lost {
            None => kept.push((id, what, tables)),
            Some(table) => part.notes.push(format!("left out: {what}: the target has no {table}")),
        }
    }
    part.keys = kept;
    Ok(())
}

async fn assert_owners(client: &Client, part: &PartEntries) -> Result<(), Error> {
    let missing = missing_roles(client, &part.owners).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let what = format!("the target's server lacks roles that own something of the part: {}", missing.join(", "));
    Err(Error::new(Kind::Config, what)
        .hint("create them, or restore with --no-owner, which leaves owners and grants out; nothing was changed"))
}
