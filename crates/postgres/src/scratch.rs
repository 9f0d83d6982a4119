//! The scratch database: where a restore happens until it is proven.
//!
//! Owns a database named `<target>__new_<run>` on the target's server, marked inside its comment as this program's. Promises
//! that the target's own name appears only with one rename of a complete database, that nobody else may connect before,
//! and that scratch databases which a killed run left behind are found by their marker and dropped. Refuses names that
//! PostgreSQL would cut short.

use crate::connection::{Purpose, connect};
use crate::database::{self, Properties};
use crate::endpoint::Endpoint;
use crate::failure::{from_postgres, map};
use crate::quote::{ident, literal};
use engine::{Error, Kind};
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Longest name of a database, in bytes.
const LONGEST_NAME: usize = 63;
/// What the comment of a scratch database begins with.
const MARKER: &str = "longshore scratch database, run ";
/// How long a rename or drop is tried again while sessions are still going away.
const PATIENCE: Duration = Duration::from_secs(15);

/// A scratch database and the session that manages it from outside.
pub(crate) struct Scratch {
    pub endpoint: Endpoint,
    target: Endpoint,
    run: String,
    maintenance: Client,
    /// Properties of the empty database that the target's name belonged to.
    replaces: Option<Properties>,
    made: bool,
}

impl Scratch {
    /// Connects to the server and makes sure that the target is not there, or is empty.
    pub async fn plan(target: Endpoint, run: &str, major: &mut u32) -> Result<Self, Error> {
        let name = format!("{}__new_{run}", target.database());
        if name.len() > LONGEST_NAME {
            let (bytes, most) = (target.database().len(), LONGEST_NAME + target.database().len() - name.len());
            let what = format!(
                "the target's name has {bytes} bytes; {most} are the most, because the copy is made as NAME__new_<run>"
            );
            return Err(
                Error::new(Kind::Config, what).hint("choose a shorter name, and rename the database afterwards")
            );
        }
        let maintenance = connect_maintenance(&target).await?;
        *major = crate::connection::major_version(&maintenance).await?;
        let mut scratch = Self {
            endpoint: target.with_database(&name),
            target,
            run: run.to_owned(),
            maintenance,
            replaces: None,
            made: false,
        };
        if scratch.target_exists().await? {
            assert_empty(&scratch.target).await?;
            let properties =
                Properties::read(&scratch.maintenance, *major, scratch.target.database().to_owned()).await?;
            scratch.replaces = Some(properties);
        }
        Ok(scratch)
    }

    /// The session outside of the scratch database.
    pub fn maintenance(&self) -> &Client {
        &self.maintenance
    }

    /// Makes the scratch database. Returns notes on what was tidied before.
    pub async fn create(&mut self, like: &Properties, major: u32, no_owner: bool) -> Result<Vec<String>, Error> {
        let notes = self.drop_leftovers().await?;
        // Noted first: a stop while the server is at it must find something to discard.
        self.made = true;
        if let Err(error) = database::create(&self.maintenance, like, self.endpoint.database(), major).await {
            self.made = error.kind != Kind::Exists;
            return Err(error);
        }
        let name = ident(self.endpoint.database());
        let marker = literal(&format!("{MARKER}{} for {}", self.run, self.target.database()));
        let sql = format!("COMMENT ON DATABASE {name} IS {marker}; REVOKE ALL ON DATABASE {name} FROM PUBLIC");
        self.maintenance.batch_execute(&sql).await.map_err(from_postgres("mark the scratch database"))?;
        self.rehearse(like, no_owner).await?;
        Ok(notes)
    }

    /// Tries the last step on the empty database and takes it back: a setting that this server does not know, or a role
    /// that is missing, is better found now than when everything is loaded.
    async fn rehearse(&self, like: &Properties, no_owner: bool) -> Result<(), Error> {
        let sql = format!("BEGIN; {}; ROLLBACK", self.properties(like, no_owner).join("; "));
        let tried = self.maintenance.batch_execute(&sql).await;
        if tried.is_err() {
            drop(self.maintenance.batch_execute("ROLLBACK").await);
        }
        tried.map_err(from_postgres("set the database's own properties"))
    }

    /// The scratch database's properties: those of the backup, or of the empty database that it replaces.
    fn properties(&self, like: &Properties, no_owner: bool) -> Vec<String> {
        match &self.replaces {
            // The empty database was made by somebody for this: it stays theirs.
            Some(theirs) => theirs.statements(self.endpoint.database(), false),
            None => like.statements(self.endpoint.database(), no_owner),
        }
    }

    /// Gives the scratch database its properties, the target's name and its owner, in one transaction. All sessions
    /// inside it must be closed. Returns notes.
    pub async fn publish(&mut self, like: &Properties, no_owner: bool) -> Result<Vec<String>, Error> {
        let (scratch, target) = (self.endpoint.database().to_owned(), self.target.database().to_owned());
        let mut sql = self.properties(like, no_owner);
        let aside = format!("{target}__old_{}", self.run);
        if self.replaces.is_some() {
            assert_empty(&self.target).await?;
            sql.push(format!("ALTER DATABASE {} RENAME TO {}", ident(&target), ident(&aside)));
        }
        sql.push(format!("ALTER DATABASE {} RENAME TO {}", ident(&scratch), ident(&target)));
        match &self.replaces {
            Some(theirs) => sql.push(theirs.owner_statement(&target)),
            None if no_owner => {}
            None => sql.push(like.owner_statement(&target)),
        }
        let what = format!("give the restored database the name {target}");
        let oid = self.oid_of(&self.maintenance, &scratch).await?;
        if let Err(error) = self.patiently(&what, &format!("BEGIN; {}; COMMIT", sql.join("; "))).await {
            // The answer may have been lost on its way: the server knows whether it was done.
            if error.kind != Kind::Unavailable || !self.has_become(oid, &target).await {
                return Err(error);
            }
        }
        self.made = false;
        if self.replaces.is_none() {
            return Ok(Vec::new());
        }
        Ok(self.drop_aside(&aside).await)
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

    async fn oid_of(&self, client: &Client, name: &str) -> Result<Option<u32>, Error> {
        let row = client.query_opt("SELECT oid FROM pg_catalog.pg_database WHERE datname = $1", &[&name]).await;
        Ok(row.map_err(from_postgres("look for the database"))?.map(|row| row.get(0)))
    }

    /// Whether the database of this oid has that name now, asked over a fresh session.
    async fn has_become(&self, oid: Option<u32>, name: &str) -> bool {
        let Ok(fresh) = connect_maintenance(&self.target).await else { return false };
        oid.is_some() && matches!(self.oid_of(&fresh, name).await, Ok(now) if now == oid)
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

    async fn target_exists(&self) -> Result<bool, Error> {
        let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1)";
        let row = self.maintenance.query_one(sql, &[&self.target.database()]).await;
        Ok(row.map_err(from_postgres("look for the target"))?.get(0))
    }

    /// Drops what killed runs for the same target left: marked as ours, and with no session in it.
    async fn drop_leftovers(&self) -> Result<Vec<String>, Error> {
        let sql = "SELECT d.datname::text FROM pg_catalog.pg_database d \
             WHERE d.datname ~ '__new_[0-9a-z]+$' AND NOT d.datistemplate \
             AND pg_catalog.shobj_description(d.oid, 'pg_database') LIKE $1 \
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid)";
        let marked = format!("{MARKER}% for {}", self.target.database().replace('\\', "\\\\").replace(['%', '_'], "_"));
        let rows = self.maintenance.query(sql, &[&marked]).await.map_err(from_postgres("look for leftovers"))?;
        let mut notes = Vec::new();
        for name in rows.iter().map(|row| row.get::<_, String>(0)) {
            let dropped = self.maintenance.batch_execute(&format!("DROP DATABASE IF EXISTS {}", ident(&name))).await;
            notes.push(match dropped {
                Ok(()) => format!("dropped {name}, which an earlier restore left behind"),
                Err(error) => map(&format!("could not drop {name}, which an earlier restore left behind"), &error).what,
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

/// A session in a database that is there on every server.
async fn connect_maintenance(target: &Endpoint) -> Result<Client, Error> {
    match connect(&target.with_database("postgres"), Purpose::Write, 60).await {
        Err(error) if error.kind == Kind::NotFound => {
            connect(&target.with_database("template1"), Purpose::Write, 60).await
        }
        other => other,
    }
}

/// Fails when the database holds anything a user made.
async fn assert_empty(target: &Endpoint) -> Result<(), Error> {
    let sql = "WITH own(what) AS ( \
         SELECT 'table or view ' || oid::pg_catalog.regclass::text FROM pg_catalog.pg_class WHERE oid >= 16384 AND relkind NOT IN ('t', 'i', 'I', 'c') \
         AND relnamespace NOT IN (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_') \
         UNION ALL SELECT 'function ' || oid::pg_catalog.regproc::text FROM pg_catalog.pg_proc WHERE oid >= 16384 \
         UNION ALL SELECT 'schema ' || nspname FROM pg_catalog.pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_' \
         UNION ALL SELECT 'type ' || oid::pg_catalog.regtype::text FROM pg_catalog.pg_type WHERE oid >= 16384 AND (typtype IN ('e', 'd', 'r') OR typtype = 'c' AND EXISTS (SELECT FROM pg_catalog.pg_class k WHERE k.oid = typrelid AND k.relkind = 'c')) \
         UNION ALL SELECT 'extension ' || extname FROM pg_catalog.pg_extension WHERE oid >= 16384 \
         UNION ALL SELECT 'large object ' || oid::text FROM pg_catalog.pg_largeobject_metadata \
         UNION ALL SELECT 'replication slot ' || slot_name FROM pg_catalog.pg_replication_slots WHERE database = current_database() \
         UNION ALL SELECT 'subscription ' || subname FROM pg_catalog.pg_subscription WHERE subdbid = \
         (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())) \
         SELECT what FROM own LIMIT 1";
    let client = connect(target, Purpose::Lead, 60).await?;
    match client.query_opt(sql, &[]).await.map_err(from_postgres("look into the target"))? {
        None => Ok(()),
        Some(row) => {
            let what: String = row.get(0);
            Err(Error::new(Kind::Exists, format!("database {target} is not empty: it has {what}"))
                .hint("name a database that does not exist yet, or an empty one; nothing was changed"))
        }
    }
}
