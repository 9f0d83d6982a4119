//! The target: a PostgreSQL database being restored.
//!
//! Owns the order of a restore's writing side: check versions, roles and emptiness before anything is made; scratch
//! database; schema before data; loaders; indexes and constraints; sequence values; statistics; then the rename. Promises that
//! all checks that can be made before writing are made before writing.

use crate::archive::{self, GRANTS, Section, private_folder};
use crate::catalog::{ARCHIVE, CATALOG, Catalog, Table};
use crate::connection::{Purpose, connect};
use crate::contents::Contents;
use crate::dump::DumpFailure;
use crate::endpoint::Endpoint;
use crate::failure::from_postgres;
use crate::loader::SegmentLoader;
use crate::ownership::{self, About};
use crate::preflight::{self, Cleared};
use crate::quote::{ident, qualified};
use crate::reader::{Readable, SegmentReader};
use crate::roles;
use crate::scratch::Scratch;
use crate::segments;
use crate::tools::{self, Tool};
use async_trait::async_trait;
use engine::{Conclusion, Document, Error, Kind, Loader, Reader, Segment, StreamName, Target, TargetOptions};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_postgres::Client;

/// A database being restored.
pub struct PostgresTarget {
    scratch: Scratch,
    target: Endpoint,
    options: TargetOptions,
    catalog: Catalog,
    tables: Arc<BTreeMap<StreamName, Table>>,
    pg_restore: Tool,
    major: u32,
    folder: tempfile::TempDir,
    contents: Contents,
    /// What the checks found out.
    cleared: Cleared,
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
        let mut major = 0;
        let mut scratch = Scratch::plan(endpoint.clone(), &options.run, &mut major).await?;
        assert_version(&catalog, major, &endpoint)?;
        let pg_restore = tools::find("pg_restore", catalog.dump_major, options.tools.as_deref()).await?;
        if pg_restore.major > major && pg_restore.major >= 17 && major < 17 {
            let what = format!("pg_restore {} sends settings that PostgreSQL {major} does not know", pg_restore.major);
            return Err(Error::new(Kind::Config, what).hint("install the client tools of the server's own version"));
        }
        let folder = private_folder()?;
        let write = tokio::fs::write(folder.path().join("schema"), &archive.bytes).await;
        write.map_err(|e| Error::new(Kind::Config, format!("write the schema to a temporary folder: {e}")))?;
        let contents = Contents::read(&pg_restore, &folder.path().join("schema")).await?;
        let cleared =
            preflight::check(scratch.maintenance(), major, endpoint.database(), &catalog, &contents, &options).await?;
        scratch.endpoint = scratch.endpoint.acting_as(options.role.as_deref());
        let tables = catalog.tables_by_stream().into_iter().map(|(stream, table)| (stream, table.clone())).collect();
        Ok(Self {
            scratch,
            target: endpoint,
            options,
            catalog,
            tables: Arc::new(tables),
            pg_restore,
            major,
            folder,
            contents,
            cleared,
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

    async fn restore_section(&self, section: Section) -> Result<(), Error> {
        let archive = self.folder.path().join("schema");
        let (workers, no_owner) = (self.options.workers, self.options.no_owner);
        archive::restore(&self.pg_restore, &self.scratch.endpoint, &archive, section, workers, no_owner).await
    }

    /// Whether an ordinary role gives things to others, who then need the right to have them where they are.
    fn gives_away(&self) -> bool {
        !(self.options.no_owner || self.cleared.restorer.acting.superuser)
    }

    /// Types, tables and functions, given to their owners.
    async fn restore_objects(&self) -> Result<(), Error> {
        if !self.gives_away() {
            return self.restore_section(Section::PreData).await;
        }
        let inside = self.inside()?;
        let list = tokio::fs::write(self.folder.path().join(GRANTS), ownership::list_of_grants(&self.contents)).await;
        list.map_err(|e| Error::new(Kind::Config, format!("write the list of grants to a temporary folder: {e}")))?;
        let opened = ownership::open(inside, About::Schemas).await?;
        self.restore_section(Section::PreDataWithoutGrants).await?;
        ownership::close(inside, &opened).await?;
        self.restore_section(Section::Grants).await
    }

    /// Makes the roles that are missing, if that was asked for: the checks have passed, and the copy's grants need them.
    async fn create_roles(&self) -> Result<Option<String>, Error> {
        let missing = &self.cleared.missing_roles;
        if missing.is_empty() {
            return Ok(None);
        }
        let (client, restorer) = (self.scratch.maintenance(), &self.cleared.restorer);
        roles::create(client, self.major, restorer, missing, &self.cleared.owners).await.map(Some)
    }

    /// Gives the copy to the role that everything is done as.
    async fn hand_over(&self) -> Result<(), Error> {
        let Some(role) = &self.options.role else { return Ok(()) };
        let sql = format!("ALTER DATABASE {} OWNER TO {}", ident(self.scratch.endpoint.database()), ident(role));
        let done = self.scratch.maintenance().batch_execute(&sql).await;
        done.map_err(from_postgres(format!("give the copy to {role}")))
    }

    async fn set_sequences(&self) -> Result<(), Error> {
        let names: Vec<String> = self.catalog.sequences.iter().map(|s| qualified(&s.schema, &s.name)).collect();
        let values: Vec<i64> = self.catalog.sequences.iter().map(|s| s.last_value).collect();
        let called: Vec<bool> = self.catalog.sequences.iter().map(|s| s.is_called).collect();
        let sql = "SELECT count(pg_catalog.setval(s.name::pg_catalog.regclass, s.value, s.called)) \
             FROM unnest($1::text[], $2::bigint[], $3::boolean[]) AS s(name, value, called)";
        self.inside()?.query(sql, &[&names, &values, &called]).await.map_err(from_postgres("set the sequences"))?;
        Ok(())
    }
}

#[async_trait]
impl Target for PostgresTarget {
    async fn prepare(&mut self) -> Result<Vec<String>, Error> {
        let mut notes = self.contents.left_out.clone();
        notes.extend(self.create_roles().await?);
        notes.extend(self.scratch.create(&self.catalog.database, self.major, self.options.no_owner).await?);
        self.hand_over().await?;
        let inside = connect(&self.scratch.endpoint, Purpose::Write, 60).await?;
        if !self.catalog.has_public {
            inside.batch_execute("DROP SCHEMA public").await.map_err(from_postgres("drop the schema public"))?;
        }
        self.inside = Some(inside);
        self.restore_objects().await?;
        Ok(notes)
    }

    async fn loader(&self) -> Result<Box<dyn Loader>, Error> {
        let client = connect(&self.scratch.endpoint, Purpose::Write, 60).await?;
        Ok(Box::new(SegmentLoader::new(client, Arc::clone(&self.tables), self.catalog.row_format.encoding.clone())))
    }

    async fn complete(&mut self) -> Result<(), Error> {
        if self.gives_away() {
            let opened = ownership::open(self.inside()?, About::Rest).await?;
            self.restore_section(Section::PostData).await?;
            ownership::close(self.inside()?, &opened).await?;
        } else {
            self.restore_section(Section::PostData).await?;
        }
        self.set_sequences().await?;
        self.inside()?.batch_execute("ANALYZE").await.map_err(from_postgres("gather statistics"))
    }

    async fn count(&self, stream: &StreamName) -> Result<u64, Error> {
        let unknown = || Error::new(Kind::Internal, format!("no table for stream {stream}"));
        let table = self.tables.get(stream).ok_or_else(unknown)?;
        let idle = self.idle.lock().await.pop();
        let client = match idle {
            Some(client) => client,
            None => connect(&self.scratch.endpoint, Purpose::Write, 60).await?,
        };
        let sql = format!("SELECT count(*) FROM ONLY {}", table.qualified());
        let row = client.query_one(&sql, &[]).await.map_err(from_postgres(format!("count {stream}")))?;
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
        };
        Ok(Box::new(SegmentReader::new(client, Arc::new(readable), None, DumpFailure::default())))
    }

    async fn publish(&mut self) -> Result<Conclusion, Error> {
        self.leave();
        let notes = self.scratch.publish(&self.catalog.database, self.options.no_owner).await?;
        Ok(Conclusion { notes, database: self.target.database().to_owned(), server: self.target.server() })
    }

    async fn discard(&mut self) -> Result<(), Error> {
        self.leave();
        self.scratch.discard().await
    }
}

fn assert_version(catalog: &Catalog, major: u32, endpoint: &Endpoint) -> Result<(), Error> {
    if major >= catalog.server_major {
        return Ok(());
    }
    let what = format!("the backup is of PostgreSQL {}, and {endpoint} is {major}", catalog.server_major);
    Err(Error::new(Kind::Config, what).hint("restore into a server of the same or a newer major version"))
}
