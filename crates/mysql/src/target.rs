//! The target: a schema being restored.
//!
//! Owns the order of a restore's writing side: everything that can be checked before anything is made; the scratch schema; sequences and tables; loaders; routines, views, triggers and events;
//! then publishing. Promises that nothing appears under the target's name before publishing, and that foreign keys come back as they are, with the rows that they allowed.

use crate::accounts::{ACCOUNTS, Accounts};
use crate::catalog::{CATALOG, Catalog, Table};
use crate::columns::describe;
use crate::connection::{Product, Purpose, Server, Session, connect};
use crate::endpoint::Endpoint;
use crate::failure::from_mysql;
use crate::guard;
use crate::indexes::LateIndexes;
use crate::keys::{self, LateKey};
use crate::loader::{self, SegmentLoader};
use crate::mark;
use crate::missing::Missing;
use crate::objects::{self, Place};
use crate::owners;
use crate::part;
use crate::preflight::{self, There, modern};
use crate::publish::{Incoming, Publication};
use crate::quote::{ident, qualified, requalify};
use crate::reader::{Readable, SegmentReader};
use crate::replaced;
use crate::scratch::{DRILL, Scratch};
use crate::scripts;
use crate::swap::Exchange;
use crate::{segments, source};
use async_trait::async_trait;
use engine::{
    Build, Conclusion, Document, Error, Kind, Loader, Mark, Mode, Reader, Segment, StreamName, Target, TargetOptions,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::Mutex;

/// What comes of what has the target's name.
enum Way {
    /// It holds nothing.
    Free,
    /// Its place is taken.
    Swap,
    /// It stays, and gets tables.
    Part,
}

/// A schema being restored.
pub struct MysqlTarget {
    endpoint: Endpoint,
    options: TargetOptions,
    catalog: Catalog,
    scratch: Scratch,
    readable: Arc<Readable>,
    /// What comes of what has the target's name.
    way: Way,
    /// Foreign keys that wait for their tables to have their place.
    keys: Vec<LateKey>,
    /// Indexes that wait for their rows.
    indexes: Arc<LateIndexes>,
    /// Accounts that are made.
    accounts: Missing,
    /// Whether the server takes `LOAD DATA LOCAL`.
    by_file: bool,
    /// Holds the run's lock, and makes everything that is not loaded.
    session: Mutex<Session>,
    /// What the operator should know at the end.
    notes: Vec<String>,
}

impl MysqlTarget {
    /// Checks everything that can be checked before anything is made.
    pub async fn open(endpoint: Endpoint, documents: &[Document], options: TargetOptions) -> Result<Self, Error> {
        let missing = || Error::new(Kind::Data, format!("the backup has no document {CATALOG}"));
        let mut catalog = Catalog::parse(&Document::find(documents, CATALOG).ok_or_else(missing)?.bytes)?;
        preflight::refuse_what_is_not_done(&endpoint, &options)?;
        owners::map(&mut catalog, &options.definers)?;
        scripts::refuse(&options.before_publish, &[endpoint.database(), &catalog.database.name])?;
        let mut session = connect(&endpoint, Purpose::Write).await?;
        refuse_read_only(&mut session, &endpoint).await?;
        let drill = options.mode == Some(Mode::Drill);
        let there = if drill { There::Nothing } else { preflight::look(&mut session, endpoint.database()).await? };
        let (mut way, mut notes) = (Way::Free, Vec::new());
        if !options.part.is_empty() {
            way = Way::Part;
            (catalog, notes) = part::choose(&mut session, &there, &endpoint, &catalog, &options).await?;
        } else if may_swap(&mut session, &there, &endpoint, &catalog, &options).await? {
            way = Way::Swap;
        }
        let keys = keys::take_out(&mut catalog);
        preflight::check(&mut session, &catalog).await?;
        let accounts = match Document::find(documents, ACCOUNTS) {
            _ if !options.create_missing_roles => Missing::default(),
            known => {
                let known = known.map(|document| Accounts::parse(&document.bytes)).transpose()?;
                Missing::choose(&mut session, &catalog, known, options.no_owner).await?
            }
        };
        let indexes = Arc::new(LateIndexes::take_out(&mut catalog));
        let target = if drill { DRILL } else { endpoint.database() };
        let scratch = Scratch::plan(&mut session, endpoint.clone(), target, &options.run).await?;
        let by_file = session.one("read local_infile", "SELECT @@local_infile").await?.flag(0);
        let readable = Readable { schema: scratch.name.clone(), tables: catalog.tables_by_stream() };
        Ok(Self {
            readable: Arc::new(readable),
            session: Mutex::new(session),
            notes,
            endpoint,
            options,
            catalog,
            scratch,
            way,
            keys,
            indexes,
            accounts,
            by_file,
        })
    }

    fn place(&self) -> Place<'_> {
        Place { catalog: &self.catalog, to: &self.scratch.name, no_owner: self.options.no_owner }
    }

    fn table(&self, stream: &StreamName) -> Result<&Table, Error> {
        self.readable.table(stream)
    }

    /// Makes all programs beside the tables, to know that they can be made.
    async fn rehearse(&self) -> Result<Vec<String>, Error> {
        self.make_programs(&mut *self.session.lock().await).await
    }

    async fn make_programs(&self, session: &mut Session) -> Result<Vec<String>, Error> {
        let place = self.place();
        session.enter(&self.scratch.name).await?;
        objects::routines(session, &self.catalog, &place).await?;
        let mut notes = objects::views(session, &self.catalog, &place).await?;
        objects::triggers(session, &self.catalog, &place).await?;
        // What is due must not happen twice: here they only show that they can be made.
        notes.extend(objects::events(session, &self.catalog, &place, true).await?);
        Ok(notes)
    }
}

/// Sequences with the values they had, then tables: a default may ask a sequence.
async fn make_tables(session: &mut Session, catalog: &Catalog, to: &str) -> Result<(), Error> {
    let from = &catalog.database.name;
    let is_object = |name: &[u8]| catalog.has_object(name);
    for sequence in &catalog.sequences {
        let what = format!("make the sequence {}", sequence.name);
        let made = session.run_bytes(&requalify(&sequence.create.0, from, to, &is_object)).await;
        made.map_err(from_mysql(&what))?;
        let numbers = sequence.next.parse::<i128>().and_then(|next| Ok((next, sequence.cycles.parse::<u64>()?)));
        let (next, cycles) = numbers.map_err(|_| Error::new(Kind::Data, format!("{what}: its value is no number")))?;
        let sql = format!("DO SETVAL({}, {next}, 0, {cycles})", qualified(to, &sequence.name));
        session.run(&what, &sql).await?;
        let sql = format!("SELECT next_not_cached_value, cycle_count FROM {}", qualified(to, &sequence.name));
        let row = session.one(&what, &sql).await?;
        if (row.text(0), row.text(1)) != (sequence.next.clone(), sequence.cycles.clone()) {
            return Err(Error::new(Kind::Unsupported, format!("{what}: this server does not take its value")));
        }
    }
    for table in &catalog.tables {
        let statement = requalify(&with_reference_systems(table, session.server.product), from, to, &is_object);
        let made = session.run_bytes(&statement).await;
        made.map_err(from_mysql(format!("make the table {}", table.name)))?;
    }
    Ok(())
}

/// Fails when a column came to another collation than it had: comparisons, order and unique keys would mean something else. Where a statement leaves it to
/// the default, servers differ.
async fn assert_collations(session: &mut Session, catalog: &Catalog, schema: &str) -> Result<(), Error> {
    let mut others = Vec::new();
    for described in describe(session, schema).await? {
        let table = catalog.tables.iter().find(|table| table.name == described.table);
        let wanted = table.and_then(|table| table.collations.get(&described.column.name));
        let (Some(wanted), Some(now)) = (wanted, &described.collation) else { continue };
        if modern(wanted) != modern(now) {
            others.push(format!(
                "{}.{} is {now}, and was {wanted}",
                ident(&described.table),
                ident(&described.column.name)
            ));
        }
    }
    if others.is_empty() {
        return Ok(());
    }
    let what = format!("columns would have other collations here: {}", source::named(&others));
    Err(Error::new(Kind::Config, what).hint("restore into a server of the backup's product and version"))
}

/// What a statement leaves to the default is made with the default of the server that wrote it, as far as this user may say so.
async fn take_defaults_of(session: &mut Session, catalog: &Catalog) -> Result<(), Error> {
    let of = Server::parse(&catalog.server_version)?;
    let older = of.product == Product::Mariadb || of.version < (8, 0, 0);
    let sql = if session.server.is_mysql(8, 0, 11) && older {
        "SET SESSION default_collation_for_utf8mb4 = utf8mb4_general_ci"
    } else if session.server.is_mariadb() && session.server.version >= (11, 5, 0) && of.version < (11, 5, 0) {
        "SET SESSION character_set_collations = ''"
    } else {
        return Ok(());
    };
    match session.run_bytes(sql.as_bytes()).await {
        Ok(()) | Err(mysql_async::Error::Server(_)) => Ok(()),
        Err(error) => Err(from_mysql("prepare a session")(error)),
    }
}

/// The table's statement, with what MariaDB does not say in it: the reference systems of geometries.
pub(crate) fn with_reference_systems(table: &Table, product: Product) -> Vec<u8> {
    let mut create = table.create.0.clone();
    for column in table.columns.iter().filter(|_| product == Product::Mariadb) {
        let Some(srid) = column.srid else { continue };
        let line = format!("\n  {} ", ident(&column.name)).into_bytes();
        let Some(at) = create.windows(line.len()).position(|words| words == line) else { continue };
        let kind = at + line.len();
        let rest = create.get(kind..).unwrap_or_default();
        let end = kind + rest.iter().position(|c| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        create.splice(end..end, format!(" REF_SYSTEM_ID={srid}").into_bytes());
    }
    create
}

/// Whether the target's place is to be taken, after every guard; false when it holds nothing.
async fn may_swap(
    session: &mut Session,
    there: &There,
    endpoint: &Endpoint,
    catalog: &Catalog,
    options: &TargetOptions,
) -> Result<bool, Error> {
    if options.mode == Some(Mode::Drill) {
        if let Some(mark) = mark::read(session, endpoint.database()).await? {
            mark.assert_not_protected(&endpoint.spot())?;
        }
        return Ok(false);
    }
    let mark = mark::read(session, endpoint.database()).await?;
    if let Some(mark) = &mark {
        mark.assert_not_protected(&endpoint.spot())?;
    }
    let There::Full(holds) = there else { return Ok(false) };
    if options.mode == Some(Mode::Fresh) {
        preflight::assert_free(there, endpoint)?;
    }
    guard::assert_not_source(session, endpoint, catalog, options).await?;
    Mark::assert_allows(mark.as_ref(), &endpoint.spot(), holds)?;
    Ok(true)
}

/// The marks' word on a schema that holds something, at this moment.
async fn assert_may_still(endpoint: &Endpoint) -> Result<(), Error> {
    let mut look = connect(endpoint, Purpose::Look).await?;
    let mark = mark::read(&mut look, endpoint.database()).await?;
    match (preflight::look(&mut look, endpoint.database()).await?, &mark) {
        (There::Full(holds), mark) => Mark::assert_allows(mark.as_ref(), &endpoint.spot(), &holds),
        (_, Some(mark)) => mark.assert_not_protected(&endpoint.spot()),
        (_, None) => Ok(()),
    }
}

/// Nobody else changes a copy: what a program needs and does not find is not there at all.
fn absent(error: Error) -> Error {
    match error.kind {
        Kind::Changed => Error { kind: Kind::Config, ..error }.hint(
            "what it needs is in no backup of this database; make it at the target's server first; nothing was published",
        ),
        _ => error,
    }
}

/// A server that takes no writes is better known now than after the schema.
pub(crate) async fn refuse_read_only(session: &mut Session, endpoint: &Endpoint) -> Result<(), Error> {
    let row = session.one("ask whether the server takes writes", "SELECT @@global.read_only").await?;
    if !row.flag(0) {
        return Ok(());
    }
    // Whoever may write all the same finds out by writing; everybody else by this.
    let what = format!("{} is read-only, as replicas are", endpoint.server());
    Err(Error::new(Kind::Refused, what).hint("name a server that takes writes; nothing was changed"))
}

/// Drops what was replaced; its name, where that fails.
async fn drop_old(endpoint: &Endpoint, aside: String, notes: &mut Vec<String>) -> Option<String> {
    let dropped = async { replaced::drop(&mut connect(endpoint, Purpose::Write).await?, &aside).await }.await;
    match dropped {
        Ok(()) => {
            notes.push(format!("dropped {aside}, the database that was replaced"));
            None
        }
        Err(error) => {
            notes.push(format!("{aside} is kept: {}", error.what));
            Some(aside)
        }
    }
}

#[async_trait]
impl Target for MysqlTarget {
    async fn prepare(&mut self) -> Result<Vec<String>, Error> {
        let session = &mut *self.session.lock().await;
        let mut notes = self.scratch.create(session, &self.catalog.database).await?;
        notes.extend(self.accounts.make(session).await?);
        if matches!(self.way, Way::Swap) {
            // There is room for one replaced schema, not for many.
            for old in replaced::of(session, self.endpoint.database()).await? {
                replaced::drop(session, &old.schema).await?;
                notes.push(format!("dropped {}, which a restore of {} UTC had replaced", old.schema, old.at));
            }
        }
        session.enter(&self.scratch.name).await?;
        if !self.by_file && !self.catalog.tables.is_empty() {
            notes.push(
                "the server takes no files from clients (local_infile is off): rows go in by INSERT, which is slower"
                    .to_owned(),
            );
        }
        take_defaults_of(session, &self.catalog).await?;
        make_tables(session, &self.catalog, &self.scratch.name).await?;
        assert_collations(session, &self.catalog, &self.scratch.name).await?;
        Ok(notes)
    }

    fn streams(&self) -> Option<BTreeSet<StreamName>> {
        match self.way {
            Way::Part => Some(self.readable.tables.keys().cloned().collect()),
            Way::Free | Way::Swap => None,
        }
    }

    fn first(&self) -> Vec<StreamName> {
        Vec::new()
    }

    async fn loader(&self) -> Result<Box<dyn Loader>, Error> {
        let mut session = connect(&self.endpoint, Purpose::Write).await?;
        loader::prepare(&mut session).await?;
        let (readable, indexes) = (Arc::clone(&self.readable), Arc::clone(&self.indexes));
        Ok(Box::new(SegmentLoader::new(session, readable, indexes, self.by_file)))
    }

    fn builds(&self, stream: &StreamName) -> Vec<Vec<Build>> {
        self.indexes.of(stream).into_iter().map(|build| vec![build]).collect()
    }

    async fn complete(&mut self) -> Result<(), Error> {
        // Of a table without a segment in the backup, nobody builds them.
        for build in self.indexes.left() {
            self.indexes.build(&mut *self.session.lock().await, &self.scratch.name, &build).await?;
        }
        let notes = self.rehearse().await.map_err(absent)?;
        self.notes.extend(notes);
        Ok(())
    }

    async fn server_version(&self) -> Result<String, Error> {
        Ok(self.session.lock().await.server.text.clone())
    }

    async fn count(&self, stream: &StreamName) -> Result<u64, Error> {
        let table = self.table(stream)?;
        source::count(&mut *self.session.lock().await, &self.scratch.name, table).await
    }

    async fn read_back_plan(&self) -> Result<Vec<Segment>, Error> {
        let tables: Vec<Table> = self.readable.tables.values().cloned().collect();
        let mut session = self.session.lock().await;
        let (mut plan, _) =
            segments::cut_all(&mut session, &self.scratch.name, &tables, &BTreeMap::new(), false).await?;
        plan.sort_by(|a, b| (&a.stream, a.at).cmp(&(&b.stream, b.at)));
        Ok(plan)
    }

    async fn reader(&self) -> Result<Box<dyn Reader>, Error> {
        let session = connect(&self.endpoint, Purpose::Read).await?;
        Ok(Box::new(SegmentReader::new(session, Arc::clone(&self.readable), false)))
    }

    async fn before_publish(&mut self) -> Result<Vec<String>, Error> {
        let notes = scripts::run(&self.endpoint, &self.scratch.name, &self.options.before_publish).await?;
        // What they changed may be what a program needs: that must show here, and not when the tables are exchanged.
        let session = &mut *self.session.lock().await;
        objects::drop_triggers(session, &self.catalog, &self.scratch.name).await?;
        objects::drop_programs(session, &self.catalog, &self.scratch.name).await?;
        self.make_programs(session).await.map_err(absent)?;
        Ok(notes)
    }

    async fn publish(&mut self, stop: &(dyn Fn() -> bool + Send + Sync)) -> Result<Conclusion, Error> {
        if self.options.mode == Some(Mode::Drill) {
            let what = format!("{} is a drill's database and never gets a name", self.scratch.name);
            return Err(Error::new(Kind::Internal, what));
        }
        if stop() {
            return Err(Error::new(Kind::Interrupted, "the restore was interrupted before it was published"));
        }
        let incoming = Incoming {
            catalog: &self.catalog,
            schema: &self.scratch.name,
            no_owner: self.options.no_owner,
            events_asleep: matches!(self.way, Way::Swap),
            keys: &self.keys,
            keys_checked: matches!(self.way, Way::Part),
        };
        let (endpoint, run) = (&self.endpoint, self.options.run.as_str());
        let session = &mut *self.session.lock().await;
        if !matches!(self.way, Way::Free) {
            // Loading takes its time: a mark may have been taken away, or be another one.
            assert_may_still(endpoint).await?;
        }
        let (replaced, said) = match &self.way {
            Way::Swap => {
                let (aside, notes) = Exchange { endpoint, run, incoming }.run(session, stop).await?;
                (Some(aside), notes)
            }
            Way::Free => (None, Publication { incoming, endpoint, part: false }.run(session).await?),
            Way::Part => (None, Publication { incoming, endpoint, part: true }.run(session).await?),
        };
        let mut notes = std::mem::take(&mut self.notes);
        notes.extend(said.into_iter().filter(|note| !notes.contains(note)).collect::<Vec<_>>());
        notes.extend(self.accounts.grant(session, endpoint.database()).await.unwrap_or_else(|error| vec![error.what]));
        if let Err(error) = self.scratch.discard().await {
            notes.push(format!("{} is empty and stays: {}", self.scratch.name, error.what));
        }
        let replaced = match replaced {
            Some(aside) if self.options.drop_old => drop_old(&self.endpoint, aside, &mut notes).await,
            other => other,
        };
        let (database, server) = (self.endpoint.database().to_owned(), self.endpoint.server());
        Ok(Conclusion { database, server, replaced, notes })
    }

    async fn discard(&mut self) -> Result<(), Error> {
        self.scratch.discard().await
    }
}
