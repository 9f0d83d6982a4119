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
/// Tries to rename or drop while sessions of ours are still going away, a tenth of a second apart.
const TRIES: u32 = 100;

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
    pub async fn create(&mut self, like: &Properties, major: u32) -> Result<Vec<String>, Error> {
        let notes = self.drop_leftovers().await?;
        database::create(&self.maintenance, like, self.endpoint.database(), major).await?;
        self.made = true;
        let name = ident(self.endpoint.database());
        let marker = literal(&format!("{MARKER}{} for {}", self.run, self.target.database()));
        let sql = format!("COMMENT ON DATABASE {name} IS {marker}; REVOKE ALL ON DATABASE {name} FROM PUBLIC");
        self.maintenance.batch_execute(&sql).await.map_err(from_postgres("mark the scratch database"))?;
        Ok(notes)
    }

    /// Gives the scratch database the target's name. All sessions inside it must be closed.
    pub async fn publish(&mut self, like: &Properties, no_owner: bool) -> Result<(), Error> {
        let (scratch, target) = (self.endpoint.database(), self.target.database());
        match &self.replaces {
            // The empty database was made by somebody for this: it stays theirs.
            Some(theirs) => theirs.apply(&self.maintenance, scratch, false).await?,
            None => like.apply(&self.maintenance, scratch, no_owner).await?,
        }
        let what = format!("give the restored database the name {target}");
        let rename = format!("ALTER DATABASE {} RENAME TO {}", ident(scratch), ident(target));
        if self.replaces.is_none() {
            self.patiently(&what, &rename).await?;
            self.made = false;
            return Ok(());
        }
        assert_empty(&self.target).await?;
        let aside = format!("{target}__old_{}", self.run);
        let swap = format!("BEGIN; ALTER DATABASE {} RENAME TO {}; {rename}; COMMIT", ident(target), ident(&aside));
        self.patiently(&what, &swap).await?;
        self.made = false;
        self.patiently("drop the empty database", &format!("DROP DATABASE {}", ident(&aside))).await
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
        let mut tries = 0;
        loop {
            let error = match self.maintenance.batch_execute(sql).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            // Inside BEGIN … COMMIT a failure leaves the session in a failed transaction.
            drop(self.maintenance.batch_execute("ROLLBACK").await);
            tries += 1;
            if error.code() != Some(&SqlState::OBJECT_IN_USE) || tries == TRIES {
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
         UNION ALL SELECT 'large object ' || oid::text FROM pg_catalog.pg_largeobject_metadata) \
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
