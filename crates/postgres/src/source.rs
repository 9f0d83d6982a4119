//! The source: a PostgreSQL database at one moment.
//!
//! Owns the order of a backup's reading side: connect, to a server and not to a pooler; find `pg_dump`; may everything be
//! read?; lock, then snapshot; refuse what cannot be carried; start `pg_dump` in the snapshot; read the catalog; cut
//! segments. And at the end: the dump has ended well, its list of tables and sequences is ours, the snapshot still lives,
//! counts agree. Only then are the documents handed over.

use crate::archive::{self, Archive};
use crate::catalog::{self, ARCHIVE, CATALOG, Catalog, RowFormatRecord, VERSION};
use crate::connection::{Purpose, RANGE_SCANS, Session, connect, connect_session, major_version};
use crate::database::Properties;
use crate::dump::SchemaDump;
use crate::endpoint::Endpoint;
use crate::failure::from_postgres;
use crate::filter::{Chosen, Rules};
use crate::globals::{GLOBALS, Globals};
use crate::paths::{self, SearchPath};
use crate::reader::{Readable, SegmentReader};
use crate::snapshot::{self, Snapshot};
use crate::tools::{self, Tool};
use crate::{large_objects, needs, pooler, privileges, segments, standby, tables, unsupported};
use async_trait::async_trait;
use engine::{
    About, Document, Error, Filter, GlobalsWanted, Kind, Plan, Reader, Segment, Source, SourceOptions, StreamPlan,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio_postgres::Client;

/// The oldest server that can be read in page ranges without scanning a table once per range.
pub(crate) const OLDEST: u32 = 14;
/// How often to start over when the schema changes at the wrong moment.
const TRIES: u32 = 5;

/// A database being read.
pub struct PostgresSource {
    endpoint: Endpoint,
    about: About,
    plan: Plan,
    leader: Arc<Mutex<Session>>,
    snapshot: Snapshot,
    catalog: Catalog,
    readable: Arc<Readable>,
    dump: SchemaDump,
    globals: Option<Globals>,
    cross_count: bool,
    lock_timeout_seconds: u64,
}

impl PostgresSource {
    /// Connects, locks, takes the snapshot and plans. Every table is locked against change from here on.
    pub async fn open(endpoint: Endpoint, options: &SourceOptions) -> Result<Self, Error> {
        pooler::refuse_shared(&endpoint).await?;
        let leader = connect_session(&endpoint, Purpose::Lead, options.lock_timeout_seconds).await?;
        let major = major_version(&leader).await?;
        if major < OLDEST {
            return Err(Error::new(
                Kind::Unsupported,
                format!("{endpoint} is PostgreSQL {major}; {OLDEST} is the oldest that can be backed up"),
            ));
        }
        let folder = options.tools.as_deref();
        let pg_dump = tools::find("pg_dump", major, folder).await?;
        assert_restorable(&pg_dump, major)?;
        let rules = Rules::parse(&options.filter)?;
        unsupported::refuse_unreadable_names(&leader, &endpoint).await?;
        privileges::assert_readable(&leader, major, &rules.choose(&leader).await?).await?;
        let mut tries = 0;
        let (snapshot, dump, mut catalog, chosen) = loop {
            tries += 1;
            match begin(&endpoint, &leader, major, &pg_dump, &rules, options.lock_timeout_seconds).await {
                // Somebody came between our locks and pg_dump's: they go first, and we start over.
                Err(error) if error.kind == Kind::Changed && tries < TRIES => {
                    tracing::info!(reason = %error, "starting over");
                    leader.batch_execute("ROLLBACK").await.map_err(from_postgres("start over"))?;
                }
                other => break other?,
            }
        };
        let globals = Globals::read(&leader, major, options.globals).await?;
        let mut notes = filter_notes(options);
        let (lacking, of_part) = chosen.conclude(&leader).await?;
        catalog.lacking = lacking;
        notes.extend(of_part);
        notes.extend(standby::leave_unlogged_out(&mut catalog));
        notes.extend(privileges::hidden_options(&leader).await?);
        let about =
            About { globals: options.globals, filter: options.filter.clone(), notes, ..about(&endpoint, &catalog) };
        let page_bytes = page_bytes(&leader).await?;
        leader.batch_execute(RANGE_SCANS).await.map_err(from_postgres("prepare the session"))?;
        let objects = match catalog.tables.iter().find(|table| !table.is_relation()) {
            Some(table) => large_objects::cut(&leader, table).await?,
            None => Vec::new(),
        };
        let plan = plan(&catalog, page_bytes, &options.boundaries, objects)?;
        let encoding = catalog.row_format.encoding.clone();
        let tables =
            catalog.tables.iter().filter(|table| table.has_rows()).map(|table| (table.stream(), table.clone()));
        let readable = Arc::new(Readable {
            tables: tables.collect(),
            encoding,
            search_path: SearchPath::of(&catalog.database),
            in_recovery: catalog.moment.in_recovery,
        });
        Ok(Self {
            endpoint,
            about,
            plan,
            leader: Arc::new(Mutex::new(leader)),
            snapshot,
            catalog,
            readable,
            dump,
            globals,
            cross_count: options.cross_count,
            lock_timeout_seconds: options.lock_timeout_seconds,
        })
    }

    /// Everything that must hold when all rows were read: the dump's good end, its list and ours, the snapshot, labels, counts.
    async fn still_there(&mut self, rows: &BTreeMap<String, u64>) -> Result<Archive, Error> {
        let archive = self.dump.finish().await?;
        archive::assert_same_objects(&archive.contents, &self.catalog)?;
        let leader = Arc::clone(&self.leader);
        let leader = leader.lock().await;
        self.assert_alive(&leader).await?;
        self.assert_labels(&leader).await?;
        if self.cross_count {
            self.count_again(&leader, rows).await?;
        }
        leader.batch_execute("COMMIT").await.map_err(from_postgres("end the snapshot"))?;
        Ok(archive)
    }

    /// The snapshot must still be the one everything was read in.
    async fn assert_alive(&self, leader: &Client) -> Result<(), Error> {
        let lost = || "the session that held the snapshot is gone";
        let row = leader
            .query_one("SELECT pg_catalog.pg_current_snapshot()::text", &[])
            .await
            .map_err(from_postgres(lost()))?;
        // Ids of transactions that ended since may have left the list; the moment is named by its bounds.
        let bounds = |text: &str| text.split(':').take(2).map(str::to_owned).collect::<Vec<_>>();
        if bounds(row.get(0)) == bounds(&self.catalog.moment.snapshot) {
            return Ok(());
        }
        Err(Error::new(Kind::Changed, lost()))
    }

    /// Rows are written with the labels of the moment they are read, the schema with those of the snapshot. They must be the
    /// same, or the rows would not fit the schema on the day of the restore.
    async fn assert_labels(&self, leader: &Client) -> Result<(), Error> {
        let then = catalog::read_labels(leader).await?;
        // A session of its own: the leader's sees the catalog as it was.
        let other = connect(&self.endpoint, Purpose::Lead, self.lock_timeout_seconds).await?;
        let now = catalog::read_labels(&other).await?;
        let changed = then.iter().find(|(key, text)| now.get(*key).is_some_and(|other| other != *text));
        // Another attribute of a composite type that was there: rows may hold one value more than the schema says.
        let known = |kind: &String, oid: u32| {
            then.range((kind.clone(), oid, i16::MIN)..=(kind.clone(), oid, i16::MAX)).next().is_some()
        };
        let more = now.keys().find(|key| key.2 != 0 && !then.contains_key(*key) && known(&key.0, key.1));
        match (changed, more) {
            (None, None) => self.assert_names(leader, &other).await,
            (Some(((kind, ..), text)), _) => Err(changed_underneath(&format!("the {kind} {text} was changed"))),
            (None, Some(_)) => Err(changed_underneath("a composite type was given another attribute")),
        }
    }

    /// A value of type `regclass` or its kin is written as the name of that moment, or as a number when there is none any more:
    /// where tables hold such values, no name may have changed.
    async fn assert_names(&self, leader: &Client, other: &Client) -> Result<(), Error> {
        let Some(table) = self.catalog.tables.iter().find(|table| table.has_rows() && table.holds_names) else {
            return Ok(());
        };
        let (then, now) = (catalog::read_names(leader).await?, catalog::read_names(other).await?);
        let changed = then.iter().find(|(key, name)| now.get(*key) != Some(*name));
        let Some(((kind, _), name)) = changed else { return Ok(()) };
        let name = name.split_once('.').map_or(name.as_str(), |(_, name)| name);
        let stream = table.stream();
        Err(changed_underneath(&format!("the {kind} {name}, which {stream} may name, was renamed, moved or dropped")))
    }

    async fn count_again(&self, leader: &Client, rows: &BTreeMap<String, u64>) -> Result<(), Error> {
        for (stream, table) in &self.readable.tables {
            // A number is written in one way, whatever the path.
            if table.plans_code {
                self.readable.search_path.set(leader).await?;
            }
            let row = leader.query_one(&table.count(), &[]).await.map_err(from_postgres(format!("count {stream}")))?;
            let counted = u64::try_from(row.get::<_, i64>(0)).unwrap_or_default();
            if table.plans_code {
                paths::clear(leader).await?;
            }
            let read = rows.get(stream.as_str()).copied().unwrap_or_default();
            if counted != read {
                return Err(Error::new(
                    Kind::Data,
                    format!("{stream}: {read} rows were read and {counted} counted in the same snapshot"),
                )
                .hint("this is a bug; please report it"));
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Source for PostgresSource {
    fn about(&self) -> &About {
        &self.about
    }

    fn plan(&self) -> &Plan {
        &self.plan
    }

    async fn reader(&self) -> Result<Box<dyn Reader>, Error> {
        let client = connect_session(&self.endpoint, Purpose::Read, self.lock_timeout_seconds).await?;
        snapshot::join(&client, &self.snapshot).await.map_err(standby::explain(self.catalog.moment.in_recovery))?;
        let leader = Some(Arc::clone(&self.leader));
        Ok(Box::new(SegmentReader::new(client, Arc::clone(&self.readable), leader, self.dump.failure())))
    }

    async fn confirm(mut self: Box<Self>, rows: &BTreeMap<String, u64>) -> Result<Vec<Document>, Error> {
        let in_recovery = self.catalog.moment.in_recovery;
        let archive = self.still_there(rows).await.map_err(standby::explain(in_recovery))?;
        let catalog = serde_json::to_vec(&self.catalog)
            .map_err(|e| Error::new(Kind::Internal, format!("write the catalog: {e}")))?;
        let mut documents = vec![
            Document { name: CATALOG.to_owned(), bytes: catalog },
            Document { name: ARCHIVE.to_owned(), bytes: archive.bytes },
        ];
        if let Some(globals) = &self.globals {
            documents.push(Document { name: GLOBALS.to_owned(), bytes: globals.to_bytes()? });
        }
        Ok(documents)
    }
}

/// One try: locks, snapshot, what cannot be carried, the schema's dump and the catalog, all in the leader's transaction.
async fn begin(
    endpoint: &Endpoint,
    leader: &Client,
    major: u32,
    pg_dump: &Tool,
    rules: &Rules,
    lock_timeout_seconds: u64,
) -> Result<(Snapshot, SchemaDump, Catalog, Chosen), Error> {
    let snapshot = snapshot::take(leader, rules).await?;
    unsupported::refuse(leader).await?;
    let chosen = rules.choose(leader).await?;
    let dump = SchemaDump::start(endpoint, pg_dump, &snapshot, lock_timeout_seconds, chosen.options())?;
    let catalog = read_catalog(leader, major, dump.major(), &chosen).await?;
    let tables: Vec<u32> = catalog.tables.iter().filter(|table| table.in_archive()).map(|table| table.oid).collect();
    dump.locked(leader, &tables).await?;
    Ok((snapshot, dump, catalog, chosen))
}

/// From version 17 on the tools send a setting that older servers refuse: what they dump of an older server could not be
/// restored into one. Better known now than on the day of the restore.
pub(crate) fn assert_restorable(pg_dump: &Tool, server_major: u32) -> Result<(), Error> {
    if pg_dump.major < 17 || server_major >= 17 {
        return Ok(());
    }
    let what = format!("what pg_dump {} writes cannot be restored into PostgreSQL {server_major}", pg_dump.major);
    Err(Error::new(Kind::Config, what)
        .hint(format!("install the PostgreSQL {server_major} client tools, or name their folder with --tools")))
}

async fn read_catalog(client: &Client, server_major: u32, dump_major: u32, chosen: &Chosen) -> Result<Catalog, Error> {
    let moment = catalog::read_moment(client).await?;
    let version = client.query_one("SHOW server_version", &[]).await.map_err(from_postgres("read the version"))?;
    let row = client.query_one("SELECT current_database()::text", &[]).await.map_err(from_postgres("read the name"))?;
    let database = Properties::read(client, server_major, row.get(0)).await?;
    let needs = needs::read(client).await?;
    let mut tables = tables::read_tables(client, chosen).await?;
    let objects = if chosen.holds_the_rest() { large_objects::read(client).await? } else { None };
    let objects = objects.map(|(table, objects)| {
        tables.push(table);
        objects
    });
    Ok(Catalog {
        version: VERSION,
        server_version: version.get(0),
        server_major,
        dump_major,
        row_format: RowFormatRecord::current(&database.encoding),
        moment,
        database,
        has_public: catalog::has_public(client).await?,
        roles: match chosen.roles(client).await? {
            Some(roles) => roles,
            None => catalog::read_roles(client, &needs).await?,
        },
        tables,
        sequences: catalog::read_sequences(client, chosen).await?,
        large_objects: objects,
        lacking: None,
        // They are those of the whole database: of a part's restore too much would be asked.
        needs: chosen.is_whole().then_some(needs),
    })
}

fn changed_underneath(what: &str) -> Error {
    Error::new(Kind::Changed, format!("{what} while rows were read")).hint("run again; no backup was made")
}

async fn page_bytes(client: &Client) -> Result<u64, Error> {
    let row = client.query_one("SHOW block_size", &[]).await.map_err(from_postgres("read the page size"))?;
    let text: String = row.get(0);
    text.parse().map_err(|_| Error::new(Kind::Internal, "the server's page size is not a number"))
}

fn about(endpoint: &Endpoint, catalog: &Catalog) -> About {
    About {
        engine: "postgresql".to_owned(),
        version: catalog.server_version.clone(),
        database: endpoint.database().to_owned(),
        server: endpoint.server(),
        notes: Vec::new(),
        globals: GlobalsWanted::No,
        filter: Filter::default(),
        inexact: None,
    }
}

/// The first thing to know about a backup of a part.
fn filter_notes(options: &SourceOptions) -> Vec<String> {
    if options.filter.is_empty() {
        return Vec::new();
    }
    vec![format!("a part of the database: {}", options.filter)]
}

fn plan(
    catalog: &Catalog,
    page_bytes: u64,
    previous: &BTreeMap<String, u64>,
    objects: Vec<Segment>,
) -> Result<Plan, Error> {
    let (mut segments, boundaries) = segments::cut_all(&catalog.tables, page_bytes, previous)?;
    if !objects.is_empty() {
        segments::assert_tiling(&objects)?;
        segments.extend(objects);
    }
    segments.sort_by(|a, b| (&a.stream, a.at).cmp(&(&b.stream, b.at)));
    let streams = catalog.tables.iter().filter(|table| table.has_rows()).map(|table| StreamPlan {
        name: table.stream(),
        format: table.row_format(&catalog.row_format),
        estimated_bytes: table.table_bytes,
    });
    let mut streams: Vec<StreamPlan> = streams.collect();
    streams.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Plan { streams, segments, boundaries })
}
