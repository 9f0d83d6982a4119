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
use crate::preflight::{self, There};
use crate::privileges::Grants;
use crate::publish::Incoming;
use crate::quote::{ident, literal, qualified};
use crate::replaced;
use crate::schema;
use crate::source::named;
use engine::{Error, Kind};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Whether to give up, asked between attempts.
pub(crate) type Stop<'a> = &'a (dyn Fn() -> bool + Send + Sync);

/// Who uses the tables makes us wait, and everybody who comes after us waits behind us: a try is short, in seconds.
const ONE_TRY_SECONDS: u64 = 3;
/// How long others get between two tries.
const BREATH: Duration = Duration::from_millis(500);
/// How long tables are kept, at most, when the server hears nothing of us, in seconds.
const HELD_SECONDS: u32 = 30;
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
        let mut notes = unseen_keys(&mut look).await?;
        let aside = replaced::name(target, self.run);
        let moved = async {
            replaced::prepare(session, &aside, target, &live).await?;
            self.try_definers(session, &live, &aside).await?;
            self.move_tables(session, &live, &aside, stop).await
        };
        if let Err(error) = moved.await {
            return Err(self.give_up(&aside, error).await);
        }
        notes.extend(self.make_programs(&live, &aside).await?);
        Ok((aside, notes))
    }

    /// Removes what was to hold the live tables, if it holds none of them and nobody needs what is written in it.
    async fn give_up(&self, aside: &str, error: Error) -> Error {
        // The live triggers are nowhere else: see `put_triggers_back`.
        if error.kind == Kind::Internal {
            return error;
        }
        let removed = async {
            let mut fresh = connect(self.endpoint, Purpose::Write).await?;
            match preflight::look(&mut fresh, aside).await? {
                There::Full(what) => Ok(Some(what)),
                There::Empty => replaced::drop(&mut fresh, aside).await.map(|()| None),
                There::Nothing => Ok(None),
            }
        };
        match removed.await {
            Ok(None) => error,
            Ok(Some(holds)) => {
                let what = format!("{}; {aside} stays: it holds {holds}", error.what);
                Error { what, ..error }.hint("`longshore rollback` brings back what was there")
            }
            Err(why) => Error { what: format!("{}; {aside} may stay: {}", error.what, why.what), ..error },
        }
    }

    /// Fails when this user may not make something that belongs to somebody else, which would show after the exchange only.
    async fn try_definers(&self, session: &mut Session, live: &Catalog, aside: &str) -> Result<(), Error> {
        let incoming = self.incoming.catalog;
        let theirs = [&incoming.routines, &incoming.views, &incoming.triggers, &incoming.events];
        let theirs = theirs.into_iter().flatten().filter(|_| !self.incoming.no_owner);
        let definers: BTreeSet<Vec<u8>> =
            live.triggers.iter().chain(theirs).filter_map(|program| objects::definer(&program.create.0)).collect();
        let probe = qualified(aside, "longshore_probe");
        for definer in definers {
            let sql = [b"CREATE ".as_slice(), &definer, format!(" PROCEDURE {probe}() DO 0").as_bytes()].concat();
            if let Err(error) = session.run_bytes(&sql).await {
                let what = format!("make what belongs to {}", String::from_utf8_lossy(&definer));
                return Err(map(&what, &error).hint(
                    "grant SUPER, SET_USER_ID or SET_ANY_DEFINER, or restore with --no-owner into a database without triggers; nothing was changed",
                ));
            }
            session.run("try a definer", &format!("DROP PROCEDURE {probe}")).await?;
        }
        Ok(())
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
        // A host that dies with the tables locked must not keep them.
        let short = format!("SET SESSION lock_wait_timeout = {ONE_TRY_SECONDS}, wait_timeout = {HELD_SECONDS}");
        session.run(&what, &short).await?;
        let id = session.one(&what, "SELECT CONNECTION_ID()").await?.number(0).unwrap_or_default();
        let begun = Instant::now();
        loop {
            if stop() {
                return Err(Error::new(Kind::Interrupted, "the restore was interrupted before anything was exchanged"));
            }
            let mut dropped = false;
            let Err(error) = self.attempt(session, live, aside, &mut dropped).await else { return Ok(()) };
            if code(&error).is_none() && self.is_done(id, live, aside).await {
                return Ok(());
            }
            if dropped {
                self.put_triggers_back(live, aside, &error).await?;
            }
            if code(&error) != Some(1205) || begun.elapsed() > PATIENCE {
                let hint = "end what uses the tables, and restore again; the target is as it was";
                return Err(map(&what, &error).hint(hint));
            }
            tokio::time::sleep(BREATH).await;
        }
    }

    /// One try: triggers off, one rename. Under locks where the server renames under locks.
    async fn attempt(
        &self,
        session: &mut Session,
        live: &Catalog,
        aside: &str,
        dropped: &mut bool,
    ) -> Result<(), mysql_async::Error> {
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
        let done = self.rename(session, live, &live_names, aside, dropped).await;
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
        dropped: &mut bool,
    ) -> Result<(), mysql_async::Error> {
        let target = self.endpoint.database();
        for trigger in &live.triggers {
            *dropped = true;
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

    /// Whether a rename whose answer was lost has happened. The server may still be at it: it is told to stop, and asked when it has.
    async fn is_done(&self, id: u64, live: &Catalog, aside: &str) -> bool {
        let (schema, name) = match (names(live).first(), self.incoming.names().first()) {
            (Some(name), _) => (aside, (*name).clone()),
            (None, Some(name)) => (self.endpoint.database(), (*name).clone()),
            (None, None) => return true,
        };
        let Ok(mut fresh) = connect(self.endpoint, Purpose::Look).await else { return false };
        drop(fresh.run_bytes(format!("KILL {id}").as_bytes()).await);
        let alive = format!("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE ID = {id}");
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            match fresh.one("look for the session", &alive).await {
                Ok(row) if row.number(0) == Some(0) => break,
                Ok(_) => tokio::time::sleep(BREATH).await,
                Err(_) => return false,
            }
        }
        let (schema, name) = (literal(schema), literal(&name));
        let sql = format!(
            "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {name}"
        );
        matches!(fresh.one("look what was renamed", &sql).await, Ok(row) if row.number(0) == Some(1))
    }

    /// After a rename that failed: all triggers as they were, in their order. Over a session of its own, because the other one may be gone. What cannot be put back is named, and stays written down.
    async fn put_triggers_back(&self, live: &Catalog, aside: &str, why: &mysql_async::Error) -> Result<(), Error> {
        let target = self.endpoint.database();
        let back = async {
            let mut fresh = connect(self.endpoint, Purpose::Write).await?;
            fresh.enter(target).await?;
            objects::drop_triggers(&mut fresh, live, target).await?;
            let place = Place { catalog: live, to: target, no_owner: false };
            objects::triggers(&mut fresh, live, &place).await
        };
        back.await.map_err(|error| {
            let names: Vec<String> = live.triggers.iter().map(|trigger| ident(&trigger.name)).collect();
            let what = format!(
                "{}; and then triggers of {target} could not be made again: {}; they were: {}",
                map("exchange the tables", why).what,
                error.what,
                named(&names)
            );
            let hint = format!("their statements are in {aside}.{}; make them, then restore again", replaced::TABLE);
            Error::new(Kind::Internal, what).hint(hint)
        })
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

/// Keys of databases that this user may not see would follow the replaced tables unseen.
async fn unseen_keys(session: &mut Session) -> Result<Vec<String>, Error> {
    let grants = Grants::read(session).await?;
    if ["SELECT", "REFERENCES", "ALTER"].iter().any(|privilege| grants.global(privilege)) {
        return Ok(Vec::new());
    }
    Ok(vec![
        "foreign keys of databases that this user may not see were not looked for: where one refers to this database, it follows what was replaced"
            .to_owned(),
    ])
}

fn names(catalog: &Catalog) -> Vec<&String> {
    let tables = catalog.tables.iter().map(|table| &table.name);
    tables.chain(catalog.sequences.iter().map(|sequence| &sequence.name)).collect()
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
