//! The source: a schema of MySQL or MariaDB at one moment.
//!
//! Owns the order of a backup's reading side: connect; may everything be seen?; list; bring all sessions to one moment; read the catalog; cut segments.
//! And at the end: sessions and locks are still there, the catalog is what it was, counts agree. Only then is the
//! catalog handed over. Refuses the databases that servers make for themselves.

use crate::accounts::{ACCOUNTS, Accounts};
use crate::catalog::{CATALOG, Catalog, Table};
use crate::connection::{Product, Purpose, Session, connect};
use crate::endpoint::Endpoint;
use crate::engines;
use crate::filter::Rules;
use crate::privileges::{self, Grants};
use crate::quote::ident;
use crate::reader::{Readable, SegmentReader};
use crate::schema::{self, Listed};
use crate::segments;
use crate::snapshot::{self, Wanted};
use crate::unchanged;
use async_trait::async_trait;
use engine::{About, Document, Error, GlobalsWanted, Kind, Plan, Reader, Source, SourceOptions, StreamPlan};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// How often to start over when the schema changes at the wrong moment.
const TRIES: u32 = 5;
/// Schemas that are every server's own.
pub(crate) const SERVERS_OWN: [&str; 5] = ["mysql", "information_schema", "performance_schema", "sys", "ndbinfo"];

/// A schema being read.
pub struct MysqlSource {
    endpoint: Endpoint,
    about: About,
    plan: Plan,
    catalog: Catalog,
    readable: Arc<Readable>,
    /// Sessions at the moment that nobody reads with yet.
    waiting: Mutex<Vec<Session>>,
    /// One more of them, for counting.
    witness: Mutex<Session>,
    /// Holds locks on tables without transactions.
    keeper: Option<Arc<Mutex<Session>>>,
    cross_count: bool,
    rules: Rules,
    accounts: Option<Accounts>,
}

impl MysqlSource {
    /// Connects, takes the snapshot and plans.
    pub async fn open(endpoint: Endpoint, options: &SourceOptions) -> Result<Self, Error> {
        refuse_servers_own(&endpoint)?;
        let rules = Rules::parse(&options.filter, endpoint.database())?;
        let mut leader = connect(&endpoint, Purpose::Look).await?;
        schema::database(&mut leader, endpoint.database()).await?;
        let grants = privileges::assert_sees_all(&mut leader, &endpoint).await?;
        let mut tries = 0;
        let (taken, catalog, notes) = loop {
            tries += 1;
            match begin(&endpoint, &mut leader, &grants, &rules, options).await {
                Err(error) if error.kind == Kind::Changed && tries < TRIES => {
                    tracing::info!(reason = %error, "starting over");
                    leader = connect(&endpoint, Purpose::Look).await?;
                }
                other => break other?,
            }
        };
        let accounts = Accounts::read(&mut leader, options.globals).await?;
        tracing::info!(moment = catalog.moment.protocol.told(), "all sessions see one moment");
        let mut sessions = taken.sessions;
        let mut witness = sessions.pop().ok_or_else(|| Error::new(Kind::Internal, "a snapshot without sessions"))?;
        let (segments, boundaries) =
            segments::cut_all(&mut witness, endpoint.database(), &catalog.tables, &options.boundaries, true).await?;
        let plan = Plan { streams: streams(&catalog), segments: sorted(segments), boundaries };
        let filter = options.filter.clone();
        let about =
            About { filter, globals: options.globals, ..about(&endpoint, &catalog, notes, witness.keeps_definitions) };
        let readable = Readable { schema: endpoint.database().to_owned(), tables: catalog.tables_by_stream() };
        Ok(Self {
            about,
            plan,
            catalog,
            readable: Arc::new(readable),
            waiting: Mutex::new(sessions),
            witness: Mutex::new(witness),
            keeper: taken.keeper,
            cross_count: options.cross_count,
            rules,
            accounts,
            endpoint,
        })
    }

    /// The sessions that make the backup one moment's must have lived to its end.
    async fn assert_alive(&self) -> Result<(), Error> {
        let lost = |what: &'static str| move |e: Error| Error::new(Kind::Unavailable, format!("{what}: {}", e.what));
        let asked = self.witness.lock().await.one("ask the snapshot's session", "SELECT 1").await;
        asked.map_err(lost("a session of the snapshot is gone"))?;
        if let Some(keeper) = &self.keeper {
            let asked = keeper.lock().await.one("ask the session with the locks", "SELECT 1").await;
            asked.map_err(lost("tables without transactions were not locked to the end"))?;
        }
        Ok(())
    }

    /// Counts each table again, in one go, in the same snapshot.
    async fn count_again(&self, rows: &BTreeMap<String, u64>) -> Result<(), Error> {
        let mut witness = self.witness.lock().await;
        for (stream, table) in &self.readable.tables {
            witness.run("go on in the snapshot", "SAVEPOINT longshore_count").await?;
            let counted = count(&mut witness, &self.readable.schema, table).await?;
            witness.run("go on in the snapshot", "ROLLBACK TO SAVEPOINT longshore_count").await?;
            let read = rows.get(stream.as_str()).copied().unwrap_or_default();
            if counted != read {
                let what = format!("{stream}: {read} rows were read and {counted} counted in the same snapshot");
                return Err(Error::new(Kind::Data, what).hint("this is a bug; please report it"));
            }
        }
        Ok(())
    }
}

/// Rows of a table, without segments.
pub(crate) async fn count(session: &mut Session, schema: &str, table: &Table) -> Result<u64, Error> {
    let what = format!("count {}", table.stream());
    let row = session.one(&what, &format!("SELECT COUNT(*) FROM {}", table.from(schema))).await?;
    row.number(0).ok_or_else(|| Error::new(Kind::Internal, format!("{what}: no number")))
}

#[async_trait]
impl Source for MysqlSource {
    fn about(&self) -> &About {
        &self.about
    }

    fn plan(&self) -> &Plan {
        &self.plan
    }

    async fn reader(&self) -> Result<Box<dyn Reader>, Error> {
        let session = self.waiting.lock().await.pop();
        let session =
            session.ok_or_else(|| Error::new(Kind::Internal, "more readers were asked for than announced"))?;
        Ok(Box::new(SegmentReader::new(session, Arc::clone(&self.readable), true)))
    }

    async fn confirm(mut self: Box<Self>, rows: &BTreeMap<String, u64>) -> Result<Vec<Document>, Error> {
        self.assert_alive().await?;
        if self.cross_count {
            self.count_again(rows).await.map_err(unchanged::explain)?;
        }
        let mut fresh = connect(&self.endpoint, Purpose::Look).await?;
        let mut now = schema::read(&mut fresh, self.endpoint.database(), self.catalog.moment.clone()).await?;
        self.rules.apply(&mut now);
        unchanged::assert_same(&self.catalog, &now)?;
        self.assert_alive().await?;
        let mut documents = vec![Document::of(CATALOG, &self.catalog)?];
        if let Some(accounts) = &self.accounts {
            documents.push(Document::of(ACCOUNTS, accounts)?);
        }
        Ok(documents)
    }
}

/// What is known of a snapshot besides the catalog.
struct Notes {
    part: Vec<String>,
    /// Tables that stayed locked.
    without_transactions: Vec<String>,
}

/// One try: list, snapshot, catalog; and the list is still the catalog's.
async fn begin(
    endpoint: &Endpoint,
    leader: &mut Session,
    grants: &Grants,
    rules: &Rules,
    options: &SourceOptions,
) -> Result<(snapshot::Snapshot, Catalog, Notes), Error> {
    let listed = schema::list(leader, endpoint.database()).await?;
    rules.assert_meant(&listed.iter().map(|row| row.name.clone()).collect())?;
    let read = rules.read(&listed);
    let wanted = Wanted {
        endpoint,
        grants,
        tables: &read,
        sessions: options.workers.max(1) + 1,
        lock_timeout: Duration::from_secs(options.lock_timeout_seconds),
    };
    let taken = snapshot::take(leader, &wanted).await?;
    let mut catalog = schema::read(leader, endpoint.database(), taken.moment.clone()).await?;
    if let Some(other) = first_other(&listed, &schema::list(leader, endpoint.database()).await?) {
        return Err(unchanged::changed(&format!("{other} was made, dropped or changed")));
    }
    let part = rules.apply(&mut catalog);
    Ok((taken, catalog, Notes { part, without_transactions: wanted.without_transactions() }))
}

/// What is not the same in both lists, if anything. Their order says nothing: names that differ in case only come in any.
fn first_other(before: &[Listed], after: &[Listed]) -> Option<String> {
    let of = |all: &[Listed]| -> BTreeSet<(String, String, Option<String>)> {
        all.iter().map(|row| (row.name.clone(), row.kind.clone(), row.engine.clone())).collect()
    };
    let (before, after) = (of(before), of(after));
    let (name, kind, engine) = before.symmetric_difference(&after).next()?;
    Some(format!("{} ({}, {})", ident(name), kind.to_lowercase(), engine.as_deref().unwrap_or("no engine")))
}

fn refuse_servers_own(endpoint: &Endpoint) -> Result<(), Error> {
    if SERVERS_OWN.contains(&endpoint.database()) {
        let what = format!("{endpoint} is the server's own database, which comes with another server by itself");
        return Err(Error::new(Kind::Config, what).hint("back up databases of applications"));
    }
    Ok(())
}

fn about(endpoint: &Endpoint, catalog: &Catalog, known: Notes, keeps_definitions: bool) -> About {
    let (without, mut notes) = (known.without_transactions, known.part);
    if keeps_definitions && catalog.product == Product::Mysql {
        notes.push("whoever changed a table waited for the backup: this server empties tables in place, so that their definitions have to be held".to_owned());
    }
    if keeps_definitions && catalog.product == Product::Mariadb {
        notes.push("whoever changed a table waited for the backup: the user may not set sql_log_bin (GRANT BINLOG ADMIN ON *.*)".to_owned());
    }
    let asleep: Vec<String> = catalog
        .events
        .iter()
        .filter(|event| event.create.shown().contains("DISABLE ON "))
        .map(|event| event.name.clone())
        .collect();
    if !asleep.is_empty() {
        notes.push(format!(
            "events are switched off because the server is a replica, and come back switched off: {}",
            named(&asleep)
        ));
    }
    if !without.is_empty() {
        notes.push(format!(
            "{} without transactions stayed locked against writes until the backup ended: {}",
            if without.len() == 1 { "a table".to_owned() } else { format!("{} tables", without.len()) },
            named(&without)
        ));
    }
    let empty: Vec<String> = catalog
        .tables
        .iter()
        .filter(|table| !engines::has_rows(&table.engine))
        .map(|table| format!("{} ({})", table.stream(), table.engine))
        .collect();
    if !empty.is_empty() {
        notes.push(format!("no rows are kept of tables that have none of their own: {}", named(&empty)));
    }
    let columns = |table: &Table| -> Vec<String> {
        let doubtful = table.columns.iter().filter(|column| column.doubtful);
        doubtful.map(|column| format!("{}.{}", table.stream(), ident(&column.name))).collect()
    };
    let doubtful: Vec<String> = catalog.tables.iter().flat_map(columns).collect();
    if !doubtful.is_empty() {
        notes.push(format!(
            "members of an ENUM or SET are shown with ? by the server, which is how it shows characters of four bytes; they come back as ?: {}",
            named(&doubtful)
        ));
    }
    let broken: Vec<String> = catalog.views.iter().filter(|view| view.broken).map(|view| view.name.clone()).collect();
    if !broken.is_empty() {
        notes.push(format!("views that do not work at the source either: {}", named(&broken)));
    }
    About {
        engine: catalog.product.engine().to_owned(),
        version: catalog.server_version.clone(),
        database: endpoint.database().to_owned(),
        server: endpoint.server(),
        notes,
        globals: GlobalsWanted::No,
        filter: engine::Filter::default(),
        inexact: None,
    }
}

/// A few names, and how many more.
pub(crate) fn named(names: &[String]) -> String {
    const MOST: usize = 10;
    let shown = names.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > MOST { format!("{shown} and {} more", names.len() - MOST) } else { shown }
}

fn streams(catalog: &Catalog) -> Vec<StreamPlan> {
    let plan =
        |table: &Table| StreamPlan { name: table.stream(), format: table.row_format(), estimated_bytes: table.bytes };
    let mut streams: Vec<StreamPlan> = catalog.tables.iter().filter(|table| table.has_rows).map(plan).collect();
    streams.sort_by(|a, b| a.name.cmp(&b.name));
    streams
}

fn sorted(mut segments: Vec<engine::Segment>) -> Vec<engine::Segment> {
    segments.sort_by(|a, b| (&a.stream, a.at).cmp(&(&b.stream, b.at)));
    segments
}
