//! Swaps: tables of two schemas exchanged in one step.
//!
//! Owns the exchange: what is live moves aside, what comes in takes its place, by one `RENAME TABLE` of all tables; then the programs of the one go and those of the other
//! are made. Promises that before the rename nothing is changed but triggers, and those are put back when it fails; that after it the data of every table is the new
//! one; and that everything of the old one is kept aside, so that the same exchange undoes it. From MySQL 8.0.13 on triggers are gone for no write: the tables are
//! locked until the rename is done, unless one of them has no transactions. Elsewhere they are dropped right before it, and writes in between fire none. Refuses where foreign keys of other schemas hold on to
//! the live tables.

use crate::catalog::{Catalog, Moment, Protocol};
use crate::connection::{Purpose, Session, connect};
use crate::endpoint::Endpoint;
use crate::engines;
use crate::failure::{code, map};
use crate::objects::{self, Place};
use crate::publish::Incoming;
use crate::quote::{ident, literal, qualified};
use crate::replaced;
use crate::schema;
use crate::source::named;
use engine::{Error, Kind};
use std::time::{Duration, Instant};

/// Whether to give up, asked between attempts.
pub(crate) type Stop<'a> = &'a (dyn Fn() -> bool + Send + Sync);

/// Who uses the tables makes us wait, and everybody who comes after us waits behind us: a try is short, in seconds.
const ONE_TRY_SECONDS: u64 = 3;
/// How long others get between two tries.
const BREATH: Duration = Duration::from_millis(500);
/// How long to try.
const PATIENCE: Duration = Duration::from_secs(60);

/// One exchange.
pub(crate) struct Exchange<'a> {
    /// The schema whose place is taken.
    pub endpoint: &'a Endpoint,
    pub run: &'a str,
    pub incoming: Incoming<'a>,
}

impl Exchange<'_> {
    /// Exchanges. Returns what the schema that was live is called now, and notes.
    pub async fn run(&self, session: &mut Session, stop: Stop<'_>) -> Result<(String, Vec<String>), Error> {
        let target = self.endpoint.database();
        let mut look = connect(self.endpoint, Purpose::Look).await?;
        // Of no snapshot: only what is to be moved and made again counts.
        let moment = Moment { protocol: Protocol::GlobalLock, binlog: None, gtid: None, server_id: None };
        let live = schema::read(&mut look, target, moment).await?;
        refuse_held(&mut look, target, &live).await?;
        self.refuse_views_in_the_way(&live)?;
        let aside = replaced::name(target, self.run);
        replaced::prepare(session, &aside, target, &live).await?;
        if let Err(error) = self.move_tables(session, &live, &aside, stop).await {
            return match replaced::drop(session, &aside).await {
                Ok(()) => Err(error),
                Err(_) => Err(Error { what: format!("{}; {aside} is empty and stays", error.what), ..error }),
            };
        }
        let notes = self.make_programs(&live, &aside).await?;
        Ok((aside, notes))
    }

    /// A table does not take the name of a view.
    fn refuse_views_in_the_way(&self, live: &Catalog) -> Result<(), Error> {
        let incoming: Vec<&String> = self.incoming.names();
        let Some(view) = live.views.iter().find(|view| incoming.contains(&&view.name)) else { return Ok(()) };
        let what = format!("{} has a view {}, and the backup has a table of that name", self.endpoint, view.name);
        Err(Error::new(Kind::Refused, what).hint("drop the view if nobody needs it; nothing was changed"))
    }

    async fn move_tables(
        &self,
        session: &mut Session,
        live: &Catalog,
        aside: &str,
        stop: Stop<'_>,
    ) -> Result<(), Error> {
        let target = self.endpoint.database();
        let what = format!("exchange the tables of {target}");
        objects::drop_triggers(session, self.incoming.catalog, self.incoming.schema).await?;
        session.run(&what, &format!("SET SESSION lock_wait_timeout = {ONE_TRY_SECONDS}")).await?;
        let begun = Instant::now();
        loop {
            if stop() {
                return Err(Error::new(Kind::Interrupted, "the restore was interrupted before anything was exchanged"));
            }
            let Err(error) = self.attempt(session, live, aside).await else { return Ok(()) };
            if code(&error).is_none() && self.is_done(live, aside).await {
                return Ok(());
            }
            put_triggers_back(self.endpoint, live).await?;
            if code(&error) != Some(1205) || begun.elapsed() > PATIENCE {
                let hint = "end what uses the tables, and restore again; the target is as it was";
                return Err(map(&what, &error).hint(hint));
            }
            tokio::time::sleep(BREATH).await;
        }
    }

    /// One try: triggers off, one rename. Under locks where the server renames under locks.
    async fn attempt(&self, session: &mut Session, live: &Catalog, aside: &str) -> Result<(), mysql_async::Error> {
        let (target, incoming) = (self.endpoint.database(), &self.incoming);
        let locked = !live.triggers.is_empty() && session.server.is_mysql(8, 0, 13) && self.all_transact(live);
        let live_names = names(live);
        if locked {
            let of_live = live_names.iter().map(|name| format!("{} WRITE", qualified(target, name)));
            let of_incoming =
                incoming.names().into_iter().map(|name| format!("{} WRITE", qualified(incoming.schema, name)));
            let all: Vec<String> = of_live.chain(of_incoming).collect();
            session.run_bytes(format!("LOCK TABLES {}", all.join(", ")).as_bytes()).await?;
        }
        let done = self.rename(session, live, &live_names, aside).await;
        if locked {
            session.run_bytes(b"UNLOCK TABLES").await?;
        }
        done
    }

    /// Under one set of locks a server that numbers its transactions changes either tables with transactions or tables without.
    fn all_transact(&self, live: &Catalog) -> bool {
        let mut tables = live.tables.iter().chain(&self.incoming.catalog.tables);
        tables.all(|table| engines::has_transactions(&table.engine))
    }

    async fn rename(
        &self,
        session: &mut Session,
        live: &Catalog,
        live_names: &[&String],
        aside: &str,
    ) -> Result<(), mysql_async::Error> {
        let target = self.endpoint.database();
        for trigger in &live.triggers {
            session
                .run_bytes(format!("DROP TRIGGER IF EXISTS {}", qualified(target, &trigger.name)).as_bytes())
                .await?;
        }
        let pair = |from: &str, to: &str, name: &str| format!("{} TO {}", qualified(from, name), qualified(to, name));
        let out = live_names.iter().map(|name| pair(target, aside, name));
        let incoming = self.incoming.names().into_iter().map(|name| pair(self.incoming.schema, target, name));
        let all: Vec<String> = out.chain(incoming).collect();
        if all.is_empty() {
            return Ok(());
        }
        session.run_bytes(format!("RENAME TABLE {}", all.join(", ")).as_bytes()).await
    }

    /// Whether a rename whose answer was lost has happened.
    async fn is_done(&self, live: &Catalog, aside: &str) -> bool {
        let (schema, name) = match (names(live).first(), self.incoming.names().first()) {
            (Some(name), _) => (aside, (*name).clone()),
            (None, Some(name)) => (self.endpoint.database(), (*name).clone()),
            (None, None) => return true,
        };
        let Ok(mut fresh) = connect(self.endpoint, Purpose::Look).await else { return false };
        let (schema, name) = (literal(schema), literal(&name));
        let sql = format!(
            "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {name}"
        );
        matches!(fresh.one("look what was renamed", &sql).await, Ok(row) if row.number(0) == Some(1))
    }

    /// The programs of what was live go, those of what came in are made.
    async fn make_programs(&self, live: &Catalog, aside: &str) -> Result<Vec<String>, Error> {
        let target = self.endpoint.database();
        let made = async {
            let mut session = connect(self.endpoint, Purpose::Write).await?;
            objects::drop_programs(&mut session, live, target).await?;
            self.incoming.take_charset(&mut session, target).await?;
            self.incoming.finish(&mut session, target).await
        };
        made.await.map_err(|error| {
            let what = format!("the tables were exchanged, and then: {}", error.what);
            Error { what, ..error }
                .hint(format!("`longshore rollback` brings back what was there, which is {aside} now"))
        })
    }
}

fn names(catalog: &Catalog) -> Vec<&String> {
    let tables = catalog.tables.iter().map(|table| &table.name);
    tables.chain(catalog.sequences.iter().map(|sequence| &sequence.name)).collect()
}

/// After a rename that failed: all triggers as they were, in their order. Over a session of its own, because the other one may be gone.
async fn put_triggers_back(endpoint: &Endpoint, live: &Catalog) -> Result<(), Error> {
    if live.triggers.is_empty() {
        return Ok(());
    }
    let mut fresh = connect(endpoint, Purpose::Write).await?;
    fresh.enter(endpoint.database()).await?;
    objects::drop_triggers(&mut fresh, live, endpoint.database()).await?;
    let place = Place { catalog: live, to: endpoint.database(), no_owner: false };
    objects::triggers(&mut fresh, live, &place).await
}

/// Foreign keys of other schemas would follow the old tables.
async fn refuse_held(session: &mut Session, target: &str, live: &Catalog) -> Result<(), Error> {
    if live.tables.is_empty() {
        return Ok(());
    }
    let name = literal(target);
    let sql = format!(
        "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS \
         WHERE UNIQUE_CONSTRAINT_SCHEMA = {name} AND CONSTRAINT_SCHEMA <> {name}"
    );
    let rows = session.rows("look for foreign keys of other databases", &sql).await?;
    let holders: Vec<String> =
        rows.iter().map(|row| format!("{}.{}", ident(&row.text(0)), ident(&row.text(1)))).collect();
    if holders.is_empty() {
        return Ok(());
    }
    let what = format!("foreign keys of other databases refer to tables of {target}: {}", named(&holders));
    Err(Error::new(Kind::Refused, what)
        .hint("they would follow the replaced tables; drop them first; nothing was changed"))
}
