//! The scratch database: where a restore happens until it is proven.
//!
//! Owns a database named `<target>__new_<run>` on the target's server, marked inside its comment as this program's. Promises
//! that the target's own name appears only with one rename of a complete database, that nobody else may connect before,
//! and that scratch databases which a killed run left behind are found by their marker and dropped. Refuses names that
//! PostgreSQL would cut short.

use crate::catalog::Catalog;
use crate::connection::{Purpose, connect, may_be_silent};
use crate::database::{self, Properties};
use crate::drill;
use crate::endpoint::Endpoint;
use crate::failure::{from_postgres, map};
use crate::guard::{self, Live};
use crate::marker::{Marks, replaced};
use crate::paths::SearchPath;
use crate::quote::{ident, literal};
use crate::sessions::{assert_nothing_prepared, may_not_end};
use crate::swap::{Direction, Exchange, Exchanged, Stop, publications, what_stays};
use engine::{Error, Kind, Mark, Mode, TargetOptions};
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Longest name of a database, in bytes.
const LONGEST_NAME: usize = 63;
/// What the comment of a scratch database begins with.
const MARKER: &str = "longshore scratch database, run ";
/// How long a rename or drop is tried again while sessions are still going away.
const PATIENCE: Duration = Duration::from_secs(15);

/// What has the target's name at the start.
enum There {
    Nothing,
    /// A database that holds nothing: it is replaced as it is, whoever made it.
    Empty(Live),
    /// A database in use: the names are exchanged. With the publications in it.
    Full(Live, Vec<String>),
    /// Whatever it is, it is nothing to a drill. Whether the server is the one that the backup was made of.
    Drill {
        at_source: bool,
    },
}

/// A scratch database and the session that manages it from outside.
pub(crate) struct Scratch {
    pub endpoint: Endpoint,
    target: Endpoint,
    run: String,
    /// Holds the lock by which other runs see that this one is alive.
    maintenance: Client,
    major: u32,
    there: There,
    drop_old: bool,
    made: bool,
}

impl Scratch {
    /// Connects to the server, looks at what has the target's name, and makes sure that it may be replaced.
    pub async fn plan(mut target: Endpoint, catalog: &Catalog, options: &TargetOptions) -> Result<Self, Error> {
        let name = format!("{}__new_{}", target.database(), options.run);
        assert_short_enough(&target, &name)?;
        let maintenance = connect_maintenance(&target).await?;
        let major = crate::connection::major_version(&maintenance).await?;
        target.silent = may_be_silent(&maintenance, major).await?;
        claim(&maintenance, &options.run).await?;
        let there = look(&maintenance, major, &target, catalog, options).await?;
        Ok(Self {
            endpoint: target.with_database(&name),
            target,
            run: options.run.clone(),
            maintenance,
            major,
            there,
            drop_old: options.drop_old,
            made: false,
        })
    }

    /// The server's major version.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The session outside of the scratch database.
    pub fn maintenance(&self) -> &Client {
        &self.maintenance
    }

    /// Makes the scratch database. Returns notes on what was tidied before, and on what to expect.
    pub async fn create(&mut self, like: &Properties, no_owner: bool) -> Result<Vec<String>, Error> {
        let mut notes = self.drop_leftovers().await?;
        notes.extend(self.tidy_replaced().await?);
        if let There::Drill { at_source } = self.there {
            notes.extend(drill::unmarked(&self.maintenance).await?);
            let server = self.target.server();
            let own =
                || format!("{server} is the server that the backup was made of: a drill loads it as a restore does");
            notes.extend(at_source.then(own));
        }
        // Noted first: a stop while the server is at it must find something to discard.
        self.made = true;
        let (name, tablespace) = (self.endpoint.database(), self.live().and_then(|live| live.tablespace.as_deref()));
        if let Err(error) = database::create(&self.maintenance, like, name, self.major, tablespace).await {
            self.made = error.kind != Kind::Exists;
            return Err(error);
        }
        let name = ident(name);
        let marker = literal(&format!("{MARKER}{} for {}", self.run, self.target.database()));
        let sql = format!("COMMENT ON DATABASE {name} IS {marker}; REVOKE ALL ON DATABASE {name} FROM PUBLIC");
        self.maintenance.batch_execute(&sql).await.map_err(from_postgres("mark the scratch database"))?;
        self.rehearse(like, no_owner).await?;
        Ok(notes)
    }

    /// The database that has the target's name now.
    fn live(&self) -> Option<&Live> {
        match &self.there {
            There::Nothing | There::Drill { .. } => None,
            There::Empty(live) | There::Full(live, _) => Some(live),
        }
    }

    /// Tries the last step on the empty database and takes it back: a setting that this server does not know, or a role
    /// that is missing, is better found now than when everything is loaded.
    async fn rehearse(&self, like: &Properties, no_owner: bool) -> Result<(), Error> {
        let mut sql = self.properties(like, no_owner);
        sql.extend(self.live().map(|live| live.properties.owner_statement(self.endpoint.database())));
        let tried = self.maintenance.batch_execute(&format!("BEGIN; {}; ROLLBACK", sql.join("; "))).await;
        if tried.is_err() {
            drop(self.maintenance.batch_execute("ROLLBACK").await);
        }
        tried.map_err(from_postgres("set the database's own properties"))
    }

    /// The scratch database's properties: those of the backup, or of the database that it replaces.
    fn properties(&self, like: &Properties, no_owner: bool) -> Vec<String> {
        let name = self.endpoint.database();
        let Some(live) = self.live() else { return like.statements(name, no_owner) };
        // Somebody made the database and set it up: it stays theirs.
        let mut sql = live.properties.statements(name, false);
        let marks = Marks { replaced: None, ..live.marks.clone() };
        sql.push(marks.statement(name, live.properties.comment.as_deref()));
        sql
    }

    /// The search path that sessions in the restored database will have, where the database sets one.
    pub fn search_path(&self, like: &Properties) -> SearchPath {
        SearchPath::of(self.live().map_or(like, |live| &live.properties))
    }

    /// Gives the scratch database its properties, the target's name and its owner, in one transaction. All sessions
    /// inside it must be closed. Returns what the database that was there is called now, where it is kept, and notes.
    pub async fn publish(
        &mut self,
        like: &Properties,
        no_owner: bool,
        stop: Stop<'_>,
    ) -> Result<(Option<String>, Vec<String>), Error> {
        let scratch = self.endpoint.database().to_owned();
        if matches!(self.there, There::Drill { .. }) {
            return Err(Error::new(Kind::Internal, format!("{scratch} is a drill's database and never gets a name")));
        }
        let gone = || Error::new(Kind::Unavailable, format!("{scratch} is gone: somebody dropped it"));
        let oid = oid_of(&self.maintenance, &scratch).await?.ok_or_else(gone)?;
        let There::Full(live, publications) = &self.there else {
            return Ok((None, self.publish_alone(like, no_owner, oid).await?));
        };
        let exchange = Exchange {
            target: self.target.clone(),
            live: live.oid,
            incoming: (scratch, oid),
            run: self.run.clone(),
            major: self.major,
            direction: Direction::Restore,
        };
        let Exchanged { aside, mut notes } = exchange.run(stop).await?;
        self.made = false;
        let dropped = self.drop_old && self.drop_replaced(&aside, &mut notes).await;
        if !dropped {
            notes.extend(what_stays(&self.maintenance, exchange.live, publications, &aside).await.unwrap_or_default());
        }
        Ok(((!dropped).then_some(aside), notes))
    }

    /// The target's name is free, or of an empty database.
    async fn publish_alone(&mut self, like: &Properties, no_owner: bool, oid: u32) -> Result<Vec<String>, Error> {
        let (scratch, target) = (self.endpoint.database().to_owned(), self.target.database().to_owned());
        let mut sql = self.properties(like, no_owner);
        let aside = format!("{target}__old_{}", self.run);
        if self.live().is_some() {
            assert_empty(&self.target).await?;
            sql.push(format!("ALTER DATABASE {} RENAME TO {}", ident(&target), ident(&aside)));
        }
        sql.push(format!("ALTER DATABASE {} RENAME TO {}", ident(&scratch), ident(&target)));
        match self.live() {
            Some(live) => sql.push(live.properties.owner_statement(&target)),
            None if no_owner => {}
            None => sql.push(like.owner_statement(&target)),
        }
        let what = format!("give the restored database the name {target}");
        if let Err(error) = self.patiently(&what, &format!("BEGIN; {}; COMMIT", sql.join("; "))).await {
            // The answer may have been lost on its way: the server knows whether it was done.
            if error.kind != Kind::Unavailable || !self.has_become(oid, &target).await {
                return Err(error);
            }
        }
        self.made = false;
        match self.live() {
            None => Ok(Vec::new()),
            Some(_) => Ok(self.drop_aside(&aside).await),
        }
    }

    /// Drops a database that a restore has replaced; whether it is gone. Nobody is inside: it is closed.
    async fn drop_replaced(&self, name: &str, notes: &mut Vec<String>) -> bool {
        let dropped = self.patiently(&format!("drop {name}"), &format!("DROP DATABASE {}", ident(name))).await;
        notes.push(match &dropped {
            Ok(()) => format!("dropped {name}, the database that was replaced"),
            Err(error) => format!("{name} is kept, closed: {error}"),
        });
        dropped.is_ok()
    }

    /// Drops what earlier restores into this target have replaced: there is room for one old database, not for many.
    /// Only when the name belongs to a database in use: otherwise the old one may be all there is.
    async fn tidy_replaced(&self) -> Result<Vec<String>, Error> {
        let mut notes = Vec::new();
        let There::Full(live, _) = &self.there else { return Ok(notes) };
        for aside in replaced(&self.maintenance, self.target.database()).await? {
            if !aside.closed {
                let at = &aside.replaced.at;
                notes.push(format!("{}, replaced at {at}, was opened again and is not dropped", aside.name));
                continue;
            }
            self.drop_replaced(&aside.name, &mut notes).await;
        }
        for role in may_not_end(&self.maintenance, live.oid).await? {
            let (name, user) = (self.target.database(), &self.target.user);
            notes.push(format!(
                "sessions of {role} in {name} stand in the way of the exchange of names, and {user} may not end them:                  GRANT pg_signal_backend TO \"{user}\", or end them"
            ));
        }
        Ok(notes)
    }

    /// Drops the database that was empty a moment ago, after one more look: somebody may have filled it since.
    async fn drop_aside(&self, aside: &str) -> Vec<String> {
        let kept = |why: &Error| vec![format!("the database that was there before is kept as {aside}: {why}")];
        if let Err(error) = assert_empty(&self.target.with_database(aside)).await {
            return kept(&error);
        }
        match self.patiently("drop the empty database", &format!("DROP DATABASE {}", ident(aside))).await {
            Ok(()) => Vec::new(),
            Err(error) => kept(&error),
        }
    }

    /// Whether the database of this oid has that name now, asked over a fresh session.
    async fn has_become(&self, oid: u32, name: &str) -> bool {
        let Ok(fresh) = connect_maintenance(&self.target).await else { return false };
        matches!(oid_of(&fresh, name).await, Ok(now) if now == Some(oid))
    }

    /// Drops the scratch database, if this run made one.
    pub async fn discard(&mut self) -> Result<(), Error> {
        if !self.made {
            return Ok(());
        }
        let name = self.endpoint.database();
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", ident(name));
        // The session may have died with whatever made us give up.
        match self.maintenance.batch_execute(&drop).await {
            Ok(()) => {}
            Err(_) => {
                let fresh = connect_maintenance(&self.target).await?;
                fresh.batch_execute(&drop).await.map_err(from_postgres(format!("drop {name}")))?;
            }
        }
        self.made = false;
        Ok(())
    }

    /// Drops what killed runs for the same target left: marked as ours, with no session in it, and of a run that does not
    /// hold its lock any more.
    async fn drop_leftovers(&self) -> Result<Vec<String>, Error> {
        let sql = "SELECT d.datname::text FROM pg_catalog.pg_database d \
             WHERE d.datname ~ '__new_[0-9a-z]+$' AND NOT d.datistemplate \
             AND pg_catalog.shobj_description(d.oid, 'pg_database') = \
             $1::text || substring(d.datname::text FROM '__new_([0-9a-z]+)$') || ' for ' || $2::text \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid)";
        let rows = self.maintenance.query(sql, &[&MARKER, &self.target.database()]).await;
        let rows = rows.map_err(from_postgres("look for leftovers"))?;
        let mut notes = Vec::new();
        for name in rows.iter().map(|row| row.get::<_, String>(0)) {
            let run = name.rsplit_once("__new_").map_or("", |(_, run)| run);
            if !try_lock(&self.maintenance, run).await? {
                continue;
            }
            let dropped = self.maintenance.batch_execute(&format!("DROP DATABASE IF EXISTS {}", ident(&name))).await;
            unlock(&self.maintenance, run).await?;
            notes.push(match dropped {
                Ok(()) => format!("dropped {name}, which an earlier run left behind"),
                Err(error) => map(&format!("could not drop {name}, which an earlier run left behind"), &error).what,
            });
        }
        Ok(notes)
    }

    /// Runs a statement that fails while sessions are still connected, again for a bounded time.
    async fn patiently(&self, what: &str, sql: &str) -> Result<(), Error> {
        let begun = std::time::Instant::now();
        loop {
            let error = match self.maintenance.batch_execute(sql).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            // Inside BEGIN … COMMIT a failure leaves the session in a failed transaction.
            drop(self.maintenance.batch_execute("ROLLBACK").await);
            if error.code() != Some(&SqlState::OBJECT_IN_USE) || begun.elapsed() > PATIENCE {
                return Err(map(what, &error));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The target's name, with what is added to it, must not be cut by the server.
pub(crate) fn assert_short_enough(target: &Endpoint, name: &str) -> Result<(), Error> {
    if name.len() <= LONGEST_NAME {
        return Ok(());
    }
    let (bytes, most) = (target.database().len(), LONGEST_NAME + target.database().len() - name.len());
    let what = format!(
        "the target's name has {bytes} bytes; {most} are the most, because the copy is made as NAME__new_<run>, and what \
         it replaces is kept as NAME__old_<run>"
    );
    Err(Error::new(Kind::Config, what).hint("choose a shorter name, and rename the database afterwards"))
}

/// Looks at what has the target's name, and whether the mode and the guards let it be replaced.
async fn look(
    client: &Client,
    major: u32,
    target: &Endpoint,
    catalog: &Catalog,
    options: &TargetOptions,
) -> Result<There, Error> {
    if drill::is_drill(options) {
        return Ok(There::Drill { at_source: drill::look(client, major, target, catalog, options).await? });
    }
    let Some(live) = Live::find(client, major, target.database()).await? else {
        if options.mode == Some(Mode::Swap) {
            return Err(Error::new(Kind::NotFound, format!("there is no {target} to swap with"))
                .hint("check the name in the URL, or leave --mode out to make a new database"));
        }
        return Ok(There::Nothing);
    };
    guard::assert_not_the_servers_own(target)?;
    let Some(what) = holds(target).await? else {
        if let Some(mark) = &live.marks.target {
            mark.assert_not_protected(&target.spot())?;
        }
        return Ok(There::Empty(live));
    };
    if options.mode == Some(Mode::Fresh) {
        return Err(not_empty(target, &what));
    }
    guard::assert_not_source(client, &live, target, catalog, options).await?;
    Mark::assert_allows(live.marks.target.as_ref(), &target.spot(), &what)?;
    live.assert_ours(target)?;
    assert_nothing_prepared(client, live.oid, target).await?;
    let publications = publications(client, target).await?;
    Ok(There::Full(live, publications))
}

/// Whether a database's comment says that it is the copy of some restore.
pub(crate) fn is_scratch(comment: Option<&str>) -> bool {
    comment.is_some_and(|comment| comment.starts_with(MARKER))
}

/// The oid of the database of that name.
pub(crate) async fn oid_of(client: &Client, name: &str) -> Result<Option<u32>, Error> {
    let row = client.query_opt("SELECT oid FROM pg_catalog.pg_database WHERE datname = $1", &[&name]).await;
    Ok(row.map_err(from_postgres("look for the database"))?.map(|row| row.get(0)))
}

/// The server's lock for a run: two halves of its own are enough, since a collision only keeps a leftover once more.
fn lock_of(run: &str) -> i64 {
    // FNV-1a, because the same run must give the same number in every version of this program.
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    format!("longshore run {run}").bytes().fold(0xcbf2_9ce4_8422_2325, step).cast_signed()
}

/// Takes the run's lock for as long as the session lives: who finds it taken knows that the run is alive.
async fn claim(client: &Client, run: &str) -> Result<(), Error> {
    if try_lock(client, run).await? {
        return Ok(());
    }
    Err(Error::new(Kind::Exists, format!("run {run} is at work already")).hint("run again"))
}

async fn try_lock(client: &Client, run: &str) -> Result<bool, Error> {
    let taken = client.query_one("SELECT pg_catalog.pg_try_advisory_lock($1)", &[&lock_of(run)]).await;
    Ok(taken.map_err(from_postgres("look whether a run is alive"))?.get(0))
}

async fn unlock(client: &Client, run: &str) -> Result<(), Error> {
    let left = client.query_one("SELECT pg_catalog.pg_advisory_unlock($1)", &[&lock_of(run)]).await;
    left.map_err(from_postgres("look whether a run is alive")).map(drop)
}

/// A session in a database that is there on every server.
pub(crate) async fn connect_maintenance(target: &Endpoint) -> Result<Client, Error> {
    if let Some(database) = &target.maintenance {
        return connect(&target.with_database(database), Purpose::Write, 60).await;
    }
    match connect(&target.with_database("postgres"), Purpose::Write, 60).await {
        Err(error) if error.kind == Kind::NotFound => {
            connect(&target.with_database("template1"), Purpose::Write, 60).await
        }
        other => other,
    }
}

/// Fails when the database holds anything a user made.
async fn assert_empty(target: &Endpoint) -> Result<(), Error> {
    match holds(target).await? {
        None => Ok(()),
        Some(what) => Err(not_empty(target, &what)),
    }
}

fn not_empty(target: &Endpoint, what: &str) -> Error {
    Error::new(Kind::Exists, format!("database {target} is not empty: it has {what}"))
        .hint("name a database that does not exist yet, or an empty one, or see --mode swap; nothing was changed")
}

/// A query for something that a user made in a database; no row when it is empty.
pub(crate) const HOLDS: &str = "WITH own(what) AS ( \
         SELECT 'table or view ' || oid::pg_catalog.regclass::text FROM pg_catalog.pg_class WHERE oid >= 16384 AND relkind NOT IN ('t', 'i', 'I', 'c') \
         AND relnamespace NOT IN (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_') \
         UNION ALL SELECT 'function ' || oid::pg_catalog.regproc::text FROM pg_catalog.pg_proc WHERE oid >= 16384 \
         UNION ALL SELECT 'schema ' || nspname FROM pg_catalog.pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_' \
         UNION ALL SELECT 'type ' || oid::pg_catalog.regtype::text FROM pg_catalog.pg_type WHERE oid >= 16384 AND (typtype IN ('e', 'd', 'r') OR typtype = 'c' AND EXISTS (SELECT FROM pg_catalog.pg_class k WHERE k.oid = typrelid AND k.relkind = 'c')) \
         UNION ALL SELECT 'extension ' || extname FROM pg_catalog.pg_extension WHERE oid >= 16384 \
         UNION ALL SELECT 'foreign-data wrapper ' || fdwname FROM pg_catalog.pg_foreign_data_wrapper \
         UNION ALL SELECT 'foreign server ' || srvname FROM pg_catalog.pg_foreign_server \
         UNION ALL SELECT 'publication ' || pubname FROM pg_catalog.pg_publication \
         UNION ALL SELECT 'event trigger ' || evtname FROM pg_catalog.pg_event_trigger \
         UNION ALL SELECT 'operator ' || oprname FROM pg_catalog.pg_operator WHERE oid >= 16384 \
         UNION ALL SELECT 'cast to ' || casttarget::pg_catalog.regtype::text FROM pg_catalog.pg_cast WHERE oid >= 16384 \
         UNION ALL SELECT 'collation ' || collname FROM pg_catalog.pg_collation WHERE oid >= 16384 \
         UNION ALL SELECT 'conversion ' || conname FROM pg_catalog.pg_conversion WHERE oid >= 16384 \
         UNION ALL SELECT 'text search configuration ' || cfgname FROM pg_catalog.pg_ts_config WHERE oid >= 16384 \
         UNION ALL SELECT 'text search dictionary ' || dictname FROM pg_catalog.pg_ts_dict WHERE oid >= 16384 \
         UNION ALL SELECT 'language ' || lanname FROM pg_catalog.pg_language WHERE oid >= 16384 \
         UNION ALL SELECT 'default privileges of ' || pg_catalog.pg_get_userbyid(defaclrole)::text FROM pg_catalog.pg_default_acl \
         UNION ALL SELECT 'large object ' || oid::text FROM pg_catalog.pg_largeobject_metadata \
         UNION ALL SELECT 'replication slot ' || slot_name FROM pg_catalog.pg_replication_slots WHERE database = current_database() \
         UNION ALL SELECT 'subscription ' || subname FROM pg_catalog.pg_subscription WHERE subdbid = \
         (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) \
         SELECT what FROM own LIMIT 1";

/// Something that a user made in the database, if it holds anything.
pub(crate) async fn holds(target: &Endpoint) -> Result<Option<String>, Error> {
    let client = connect(target, Purpose::Lead, 60).await?;
    let row = client.query_opt(HOLDS, &[]).await.map_err(from_postgres("look into the target"))?;
    Ok(row.map(|row| row.get(0)))
}
