//! Materialized views of a restored database.
//!
//! Owns filling them, each after those it reads from, several at a time, over sessions with the database's own search
//! path: a view whose functions name tables without their schema cannot be filled by `pg_restore`, which empties the path
//! (servers from version 17 on empty it themselves). What is not ASCII in a database that is not UTF-8 is left to
//! `pg_restore` all the same, after the others. Runs after grants, because a view is filled with its owner's rights,
//! and before event triggers exist, which would fire. Refuses to fill a view that was empty at the source.

use crate::failure::from_postgres;
use crate::toc::{Contents, Entry};
use engine::{Error, Kind};
use std::collections::{BTreeMap, BTreeSet};
use tokio::task::JoinSet;
use tokio_postgres::Client;

/// Views to fill, by entry: what each needs filled before, and its statement.
#[derive(Debug, Default)]
pub(crate) struct Refresh {
    views: BTreeMap<i32, View>,
    left: BTreeSet<i32>,
}

#[derive(Debug)]
struct View {
    needs: BTreeSet<i32>,
    shown: String,
    sql: String,
}

impl Refresh {
    /// Chooses from the archive; `readable` says whether a statement can be sent over a session here.
    pub fn plan(contents: &Contents, readable: impl Fn(&str) -> bool) -> Self {
        let all = || contents.entries.iter().filter(|entry| entry.kind == "MATERIALIZED VIEW DATA");
        let sendable = |entry: &Entry| entry.definition.as_deref().is_some_and(&readable);
        let mut left: BTreeSet<i32> = all().filter(|entry| !sendable(entry)).map(|entry| entry.id).collect();
        // What reads from such a view comes after it. Ends when a pass adds nothing: at most as many as there are views.
        loop {
            let reads = |entry: &&Entry| !left.contains(&entry.id) && entry.needs.iter().any(|id| left.contains(id));
            let more: Vec<i32> = all().filter(reads).map(|entry| entry.id).collect();
            if more.is_empty() {
                break;
            }
            left.extend(more);
        }
        let entries: Vec<&Entry> = all().filter(|entry| !left.contains(&entry.id)).collect();
        let ids: BTreeSet<i32> = entries.iter().map(|entry| entry.id).collect();
        let view = |entry: &&Entry| {
            let needs = entry.needs.iter().copied().filter(|id| ids.contains(id)).collect();
            let sql = entry.definition.clone().unwrap_or_default();
            (entry.id, View { needs, shown: format!("{}.{}", entry.schema, entry.tag), sql })
        };
        Self { views: entries.iter().map(view).collect(), left }
    }

    /// Whether the entry fills a view, here or by the vendor's tool.
    pub fn contains(&self, id: i32) -> bool {
        self.views.contains_key(&id) || self.left.contains(&id)
    }

    /// Ids of the entries that are left to the vendor's tool, to be run after all others: statements that cannot be sent over
    /// a session here, and what reads from their views.
    pub fn left(&self) -> &BTreeSet<i32> {
        &self.left
    }

    pub fn len(&self) -> usize {
        self.views.len()
    }

    /// The statements, each after those that it needs; `None` when they need each other in a circle.
    pub fn in_order(mut self) -> Option<Vec<String>> {
        let mut statements = Vec::with_capacity(self.views.len());
        while !self.views.is_empty() {
            let (id, view) = self.ready()?;
            self.filled(id);
            statements.push(view.sql);
        }
        Some(statements)
    }

    /// Fills all views over the given sessions.
    pub async fn run(mut self, sessions: Vec<Client>) -> Result<(), Error> {
        let mut idle = sessions;
        let mut running: JoinSet<Result<(i32, Client), Error>> = JoinSet::new();
        while !self.views.is_empty() || !running.is_empty() {
            while let Some((id, view)) = (!idle.is_empty()).then(|| self.ready()).flatten() {
                if let Some(client) = idle.pop() {
                    running.spawn(fill(client, id, view));
                }
            }
            let Some(ended) = running.join_next().await else {
                return Err(Error::new(Kind::Data, "materialized views need each other in a circle"));
            };
            let (id, client) = ended.map_err(|e| Error::new(Kind::Internal, "filling a view died").because(e))??;
            self.filled(id);
            idle.push(client);
        }
        Ok(())
    }

    fn filled(&mut self, id: i32) {
        self.views.values_mut().for_each(|view| {
            view.needs.remove(&id);
        });
    }

    fn ready(&mut self) -> Option<(i32, View)> {
        let id = self.views.iter().find(|(_, view)| view.needs.is_empty()).map(|(id, _)| *id)?;
        self.views.remove_entry(&id)
    }
}

async fn fill(client: Client, id: i32, view: View) -> Result<(i32, Client), Error> {
    let filled = client.batch_execute(&view.sql).await;
    filled.map_err(from_postgres(format!("fill materialized view {}", view.shown)))?;
    Ok((id, client))
}
