//! The target: a PostgreSQL database being restored.
//!
//! Owns the order of a restore's writing side: check versions, roles and emptiness before anything is made; scratch
//! database; schema before data; loaders; indexes and constraints; sequence values; statistics; then the rename. Promises that
//! all checks that can be made before writing are made before writing.

use crate::archive::{self, BUILD_SETTINGS, private_folder};
use crate::builds::Builds;
use crate::catalog::{ARCHIVE, CATALOG, Catalog, Table};
use crate::connection::{Purpose, connect};
use crate::drill;
use crate::dump::DumpFailure;
use crate::endpoint::Endpoint;
use crate::failure::from_postgres;
use crate::globals::{GLOBALS, Globals};
use crate::lacking;
use crate::large_objects;
use crate::loader::SegmentLoader;
use crate::order;
use crate::ownership::{self, About};
use crate::passes::{self, Pass};
use crate::paths::SearchPath;
use crate::pooler;
use crate::preflight::{self, Cleared};
use crate::quote::{ident, qualified};
use crate::reader::{Readable, SegmentReader};
use crate::refresh::Refresh;
use crate::roles;
use crate::scratch::Scratch;
use crate::scripts;
use crate::segments;
use crate::statistics;
use crate::swap::Stop;
use crate::toc::{Contents, Entry, Section};
use crate::tools::{self, Tool};
use async_trait::async_trait;
use engine::{Build, Conclusion, Document, Error, Kind, Loader, Reader, Segment, StreamName, Target, TargetOptions};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_postgres::Client;

/// Sequences set by one statement, which holds a lock on each of them until it ends.
const SEQUENCES_AT_ONCE: usize = 500;
/// Kind of the archive's entries that grant.
const GRANT: &str = "ACL";

/// A database being restored.
pub struct PostgresTarget {
    scratch: Scratch,
    target: Endpoint,
    options: TargetOptions,
    catalog: Catalog,
    contents: Contents,
    /// What the checks found out.
    cleared: Cleared,
    globals: Option<Globals>,
    tables: Arc<BTreeMap<StreamName, Table>>,
    builds: Arc<Builds>,
    refresh: Refresh,
    pg_restore: Tool,
    folder: tempfile::TempDir,
    /// A session inside the scratch database, open as long as it is worked on: it tells other runs that it is in use.
    inside: Option<Client>,
    /// Further sessions inside it, for counting: a thousand tables are not worth a thousand connections.
    idle: Mutex<Vec<Client>>,
}

impl PostgresTarget {
    /// Checks everything that can be checked before anything is made.
    pub async fn open(endpoint: Endpoint, documents: &[Document], options: TargetOptions) -> Result<Self, Error> {
        let missing = |name: &str| Error::new(Kind::Data, format!("the backup has no document {name}"));
        let catalog = Document::find(documents, CATALOG).ok_or_else(|| missing(CATALOG))?;
        let archive = Document::find(documents, ARCHIVE).ok_or_else(|| missing(ARCHIVE))?;
        let catalog = Catalog::parse(&catalog.bytes)?;
        let endpoint = if drill::is_drill(&options) { drill::place(&endpoint) } else { endpoint };
        pooler::refuse_any(&endpoint).await?;
        scripts::refuse_commands(&options.before_publish)?;
        let contents = Contents::parse(&archive.bytes)?;
        let globals = Document::find(documents, GLOBALS).map(|it| Globals::parse(&it.bytes)).transpose()?;
        let mut scratch = Scratch::plan(endpoint.clone(), &catalog, &options).await?;
        let major = scratch.major();
        assert_version(&catalog, major, &endpoint)?;
        let pg_restore = tools::find("pg_restore", catalog.dump_major, options.tools.as_deref()).await?;
        if pg_restore.major > major && pg_restore.major >= 17 && major < 17 {
            let what = format!("pg_restore {} sends settings that PostgreSQL {major} does not know", pg_restore.major);
            return Err(Error::new(Kind::Config, what).hint("install the client tools of the server's own version"));
        }
        let cleared = preflight::check(&scratch, endpoint.database(), &catalog, &contents, &options).await?;
        scratch.endpoint = scratch.endpoint.acting_as(options.role.as_deref());
        let folder = private_folder()?;
        let write = tokio::fs::write(folder.path().join("schema"), &archive.bytes).await;
        write.map_err(|e| Error::new(Kind::Config, format!("write the schema to a temporary folder: {e}")))?;
        let tables = catalog.tables_by_stream().into_iter().map(|(stream, table)| (stream, table.clone())).collect();
        // What is not ASCII may be written in another encoding than a session's here: the vendor's tool sends that.
        let utf8 = catalog.database.encoding == "UTF8";
        let readable = move |statement: &str| utf8 || statement.is_ascii();
        let builds = Builds::plan(&contents, &tables, readable);
        let refresh = Refresh::plan(&contents, readable);
        Ok(Self {
            scratch,
            target: endpoint,
            options,
            catalog,
            contents,
            cleared,
            globals,
            tables: Arc::new(tables),
            builds: Arc::new(builds),
            refresh,
            pg_restore,
            folder,
            inside: None,
            idle: Mutex::default(),
        })
    }

    fn inside(&self) -> Result<&Client, Error> {
        self.inside.as_ref().ok_or_else(|| Error::new(Kind::Internal, "the scratch database is not open"))
    }

    /// Closes every session inside the scratch database: it cannot be renamed or dropped while one is open.
    fn leave(&mut self) {
        self.inside = None;
        self.idle.get_mut().clear();
    }

    /// A session inside for loading and building: no wait is bounded, and names resolve as in the database's own sessions.
    async fn session(&self) -> Result<Client, Error> {
        let client = connect(&self.scratch.endpoint, Purpose::Write, 0).await?;
        client.batch_execute(BUILD_SETTINGS).await.map_err(from_postgres("prepare a session"))?;
        SearchPath::of(&self.catalog.database).set(&client).await?;
        Ok(client)
    }

    async fn restore_entries(&self, section: Section, wanted: impl Fn(&Entry) -> bool) -> Result<(), Error> {
        let (mut out, _) = lacking::unmakeable(&self.contents, &self.catalog);
        out.extend(self.cleared.lacking.iter().flat_map(|lacking| lacking.left_out(&self.contents)));
        let wanted = |entry: &&Entry| entry.section == section && !out.contains(&entry.id) && wanted(entry);
        let entries: Vec<&Entry> = self.contents.entries.iter().filter(wanted).collect();
        let archive = self.folder.path().join("schema");
        for pass in passes::of(&entries, self.options.workers) {
            let no_owner = self.options.no_owner;
            let Pass { entries, workers } = pass;
            let what = archive::Restore { archive: &archive, section, entries: &entries, workers, no_owner };
            archive::restore(&self.pg_restore, &self.scratch.endpoint, &what).await?;
        }
        Ok(())
    }

    async fn fill_views(&mut self) -> Result<(), Error> {
        let refresh = std::mem::take(&mut self.refresh);
        let mut sessions = Vec::new();
        for _ in 0..self.options.workers.min(refresh.len()) {
            let session = self.session().await?;
            // Filled with their owners' rights, as at the source: policies choose what such an owner sees, they do not fail.
            session.batch_execute("SET row_security = on").await.map_err(from_postgres("prepare a session"))?;
            sessions.push(session);
        }
        refresh.run(sessions).await
    }

    /// Makes the schemas that things in the backup of a part are in.
    async fn make_schemas(&self, inside: &Client) -> Result<(), Error> {
        let missing = self.catalog.lacking.iter().flat_map(|lacking| &lacking.schemas);
        let sql: String = missing.map(|name| format!("CREATE SCHEMA IF NOT EXISTS {};", ident(name))).collect();
        inside.batch_execute(&sql).await.map_err(from_postgres("make the schemas"))
    }

    /// Whether an ordinary role gives things to others, who then need the right to have them where they are.
    fn gives_away(&self) -> bool {
        !(self.options.no_owner || self.cleared.restorer.acting.superuser)
    }

    /// Types, tables and functions, given to their owners.
    async fn restore_objects(&self) -> Result<(), Error> {
        if !self.gives_away() {
            return self.restore_entries(Section::PreData, |_| true).await;
        }
        let opened = ownership::open(self.inside()?, About::Schemas).await?;
        self.restore_entries(Section::PreData, |entry| entry.kind != GRANT).await?;
        ownership::close(self.inside()?, &opened).await?;
        self.restore_entries(Section::PreData, |entry| entry.kind == GRANT).await
    }

    /// What comes after data, apart from what is made elsewhere and what comes last.
    async fn restore_rest(&self, wanted: impl Fn(&Entry) -> bool) -> Result<(), Error> {
        if !self.gives_away() {
            return self.restore_entries(Section::PostData, wanted).await;
        }
        let opened = ownership::open(self.inside()?, About::Rest).await?;
        self.restore_entries(Section::PostData, wanted).await?;
        ownership::close(self.inside()?, &opened).await
    }

    /// Makes the roles that are missing, if that was asked for: the checks have passed, and the copy's grants need them.
    async fn create_roles(&self) -> Result<Vec<String>, Error> {
        if self.cleared.missing_roles.is_empty() {
            return Ok(Vec::new());
        }
        let (client, major) = (self.scratch.maintenance(), self.scratch.major());
        roles::create(client, major, &self.cleared, self.globals.as_ref()).await
    }

    /// Gives the copy to the role that everything is done as.
    async fn hand_over(&self) -> Result<(), Error> {
        let Some(role) = &self.options.role else { return Ok(()) };
        let sql = format!("ALTER DATABASE {} OWNER TO {}", ident(self.scratch.endpoint.database()), ident(role));
        let done = self.scratch.maintenance().batch_execute(&sql).await;
        done.map_err(from_postgres(format!("give the copy to {role}")))
    }

    async fn set_sequences(&self) -> Result<(), Error> {
        let sql = "SELECT count(pg_catalog.setval(s.name::pg_catalog.regclass, s.value, s.called)) \
             FROM unnest($1::text[], $2::bigint[], $3::boolean[]) AS s(name, value, called)";
        for some in self.catalog.sequences.chunks(SEQUENCES_AT_ONCE) {
            let names: Vec<String> = some.iter().map(|s| qualified(&s.schema, &s.name)).collect();
            let values: Vec<i64> = some.iter().map(|s| s.last_value).collect();
            let called: Vec<bool> = some.iter().map(|s| s.is_called).collect();
            self.inside()?.query(sql, &[&names, &values, &called]).await.map_err(from_postgres("set the sequences"))?;
        }
        Ok(())
    }
}

#[async_trait]
impl Target for PostgresTarget {
    async fn prepare(&mut self) -> Result<Vec<String>, Error> {
        let mut notes = order::left_out(&self.contents, &self.catalog);
        notes.extend(lacking::unmakeable(&self.contents, &self.catalog).1);
        notes.extend(self.cleared.lacking.iter().flat_map(drill::Lacking::notes));
        notes.extend(self.create_roles().await?);
        notes.extend(self.scratch.create(&self.catalog.database, self.options.no_owner).await?);
        self.hand_over().await?;
        let inside = connect(&self.scratch.endpoint, Purpose::Write, 60).await?;
        if !self.catalog.has_public {
            inside.batch_execute("DROP SCHEMA public").await.map_err(from_postgres("drop the schema public"))?;
        }
        self.make_schemas(&inside).await?;
        self.inside = Some(inside);
        self.restore_objects().await?;
        Ok(notes)
    }

    fn first(&self) -> Vec<StreamName> {
        order::first(self.tables.iter())
    }

    fn last(&self) -> Vec<StreamName> {
        order::last(self.tables.iter())
    }

    async fn loader(&self) -> Result<Box<dyn Loader>, Error> {
        let client = self.session().await?;
        let encoding = self.catalog.row_format.encoding.clone();
        Ok(Box::new(SegmentLoader::new(client, Arc::clone(&self.tables), encoding, Arc::clone(&self.builds))))
    }

    fn builds(&self, stream: &StreamName) -> Vec<Vec<Build>> {
        self.builds.of(stream)
    }

    async fn complete(&mut self) -> Result<(), Error> {
        let (done, last) = (self.builds.done(), order::at_the_end(&self.contents));
        let rest =
            |entry: &Entry| !done.contains(&entry.id) && !last.contains(&entry.id) && !self.refresh.contains(entry.id);
        self.restore_rest(rest).await?;
        self.set_sequences().await?;
        if let Some(objects) = &self.catalog.large_objects {
            objects.apply(self.inside()?, self.options.no_owner).await?;
        }
        let left = self.refresh.left().clone();
        self.fill_views().await?;
        self.restore_entries(Section::PostData, |entry| left.contains(&entry.id)).await?;
        self.restore_entries(Section::PostData, |entry| last.contains(&entry.id)).await?;
        let mut sessions = Vec::new();
        for _ in 0..self.options.workers.min(self.catalog.tables.len().max(1)) {
            sessions.push(self.session().await?);
        }
        statistics::gather(sessions).await
    }

    async fn server_version(&self) -> Result<String, Error> {
        let row = self.scratch.maintenance().query_one("SELECT current_setting('server_version')", &[]).await;
        Ok(row.map_err(from_postgres("read the server's version"))?.get(0))
    }

    async fn count(&self, stream: &StreamName) -> Result<u64, Error> {
        let unknown = || Error::new(Kind::Internal, format!("no table for stream {stream}"));
        let table = self.tables.get(stream).ok_or_else(unknown)?;
        let idle = self.idle.lock().await.pop();
        let client = match idle {
            Some(client) => client,
            None => self.session().await?,
        };
        let row = client.query_one(&table.count(), &[]).await.map_err(from_postgres(format!("count {stream}")))?;
        self.idle.lock().await.push(client);
        Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or_default())
    }

    async fn read_back_plan(&self) -> Result<Vec<Segment>, Error> {
        let sql = "SELECT pg_catalog.pg_relation_size(t::pg_catalog.regclass), \
             pg_catalog.pg_table_size(t::pg_catalog.regclass), current_setting('block_size')::bigint \
             FROM unnest($1::text[]) WITH ORDINALITY AS t(t, n) ORDER BY t.n";
        let names: Vec<String> = self.tables.values().map(Table::qualified).collect();
        let rows = self.inside()?.query(sql, &[&names]).await.map_err(from_postgres("measure the restored tables"))?;
        let bytes = |row: &tokio_postgres::Row, at: usize| u64::try_from(row.get::<_, i64>(at)).unwrap_or_default();
        let mut plan = Vec::new();
        for (table, row) in self.tables.values().zip(&rows) {
            if !table.is_relation() {
                plan.extend(large_objects::cut(self.inside()?, table).await?);
                continue;
            }
            let now = Table { heap_bytes: bytes(row, 0), table_bytes: bytes(row, 1), ..table.clone() };
            let pages = segments::pages_per_segment(now.heap_bytes, now.table_bytes, bytes(row, 2), None);
            let cut = segments::cut(&now, bytes(row, 2), pages);
            segments::assert_tiling(&cut)?;
            plan.extend(cut);
        }
        Ok(plan)
    }

    async fn reader(&self) -> Result<Box<dyn Reader>, Error> {
        let client = connect(&self.scratch.endpoint, Purpose::Read, 60).await?;
        let anew = |(stream, table): (&StreamName, &Table)| (stream.clone(), Table { oid: 0, ..table.clone() });
        let readable = Readable {
            tables: self.tables.iter().map(anew).collect(),
            encoding: self.catalog.row_format.encoding.clone(),
            search_path: SearchPath::of(&self.catalog.database),
            in_recovery: false,
        };
        Ok(Box::new(SegmentReader::new(client, Arc::new(readable), None, DumpFailure::default())))
    }

    async fn before_publish(&mut self) -> Result<Vec<String>, Error> {
        let search_path = self.scratch.search_path(&self.catalog.database);
        scripts::run(&self.scratch.endpoint, &search_path, &self.options.before_publish).await
    }

    async fn publish(&mut self, stop: Stop<'_>) -> Result<Conclusion, Error> {
        self.leave();
        let (replaced, notes) = self.scratch.publish(&self.catalog.database, self.options.no_owner, stop).await?;
        Ok(Conclusion { notes, replaced, database: self.target.database().to_owned(), server: self.target.server() })
    }

    async fn discard(&mut self) -> Result<(), Error> {
        self.leave();
        self.scratch.discard().await
    }
}

pub(crate) fn assert_version(catalog: &Catalog, major: u32, endpoint: &Endpoint) -> Result<(), Error> {
    if major >= catalog.server_major {
        return Ok(());
    }
    let what = format!("the backup is of PostgreSQL {}, and {endpoint} is {major}", catalog.server_major);
    Err(Error::new(Kind::Config, what).hint("restore into a server of the same or a newer major version"))
}
