//! The sweep: deleting what nothing refers to, in two runs.
//!
//! Owns the sweeper's side of the commit-and-sweep protocol. First run: choose objects that no backup refers to, that are older than
//! the grace period by the store's own clock, and whose session is over; write their names down (`condemned`), *then* list the
//! sessions that are open and write those down (`waits-for`). A later run, when the grace period has passed and all of these sessions
//! are over: read all manifests again, delete what is still not referred to. Promises that no backup, committed or about
//! to be, loses an object: a writer that could refer to a condemned object has either seen it condemned, or is waited for and
//! then asked what it refers to. Object names hold the session that made them, so no name ever comes back.
//! Refuses to delete anything when one manifest or list cannot be read.

use super::lease::Lease;
use super::referenced::Referenced;
use super::removal::is_older;
use super::sessions::Sessions;
use crate::frame::Kind;
use crate::{Error, ObjectKind, Repository, SessionId, keys, pages};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};
use store::Key;
use ulid::Ulid;

/// Objects that one sweep condemns, at most: some 10 MB of names. The next one goes on.
const MOST_CONDEMNED: usize = 100_000;
/// Objects deleted between two looks at the lease: one request of S3.
const BATCH: usize = 1_000;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Condemned {
    objects: Vec<String>,
    /// Those of them that are lists; a verification, which condemns chunks only, does not write this.
    #[serde(default)]
    lists: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WaitsFor {
    sessions: Vec<SessionId>,
}

/// What a sweep found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Swept {
    /// Objects that backups refer to.
    pub referenced: u64,
    /// Objects that nothing refers to and that are old enough, and their bytes: of these, as many as one sweep takes are condemned.
    pub unreferenced: u64,
    /// Their bytes.
    pub unreferenced_bytes: u64,
    /// Objects condemned now, to be deleted by a later run.
    pub condemned: u64,
    /// Objects deleted now, which an earlier run had condemned.
    pub deleted: u64,
    /// Sweeps of earlier runs that wait for a writer or for their grace period.
    pub waiting: u64,
}

/// An earlier run's decision.
#[derive(Debug)]
pub(super) struct Pending {
    id: Ulid,
    condemned: Option<SystemTime>,
    waits_for: Option<SystemTime>,
}

/// An object that may go.
struct Candidate {
    name: String,
    kind: ObjectKind,
    session: SessionId,
}

impl Repository {
    /// Finishes earlier sweeps whose time has come. The order in which the three were read is what keeps backups whole: first the
    /// pending sweeps, then the sessions, then what is referred to. Whoever may still have referred to something that
    /// one of these sweeps condemned was over before the manifests were read.
    pub(super) async fn finish_sweeps(
        &self,
        pending: Vec<Pending>,
        sessions: &Sessions,
        referenced: &Referenced,
        grace: Duration,
        lease: &mut Lease,
        swept: &mut Swept,
    ) -> Result<BTreeSet<String>, Error> {
        let now = self.store.now().await.map_err(Error::store("read the store's clock"))?;
        let mut waiting = BTreeSet::new();
        for pending in pending {
            let Some(condemned) = pending.condemned else {
                // Left by a run that died while it tidied up.
                self.delete(&keys::decision(pending.id, "waits-for")?).await?;
                continue;
            };
            let names: Option<Condemned> =
                self.note(&keys::decision(pending.id, "condemned")?, Kind::Condemned).await?;
            let names = names.unwrap_or_default();
            let Some(waits_for) = pending.waits_for else {
                // A verification's, or of a run that died half way: kept as long as anything of it is there.
                if self.all_gone(&names).await? {
                    self.delete(&keys::decision(pending.id, "condemned")?).await?;
                }
                continue;
            };
            let waited: Option<WaitsFor> = self.note(&keys::decision(pending.id, "waits-for")?, Kind::WaitsFor).await?;
            let over = waited.is_some_and(|waited| waited.sessions.iter().all(|session| !sessions.is_open(*session)));
            if !over || !is_older(condemned.max(waits_for), grace, now) {
                swept.waiting += 1;
                waiting.extend(names.objects);
                continue;
            }
            swept.deleted += self.delete_unreferenced(&names, referenced, lease).await?;
            // The names go first: while they are there, no writer uses them.
            self.delete(&keys::decision(pending.id, "condemned")?).await?;
            self.delete(&keys::decision(pending.id, "waits-for")?).await?;
        }
        Ok(waiting)
    }

    /// Sweeps that earlier runs have begun.
    pub(super) async fn pending_sweeps(&self) -> Result<Vec<Pending>, Error> {
        let mut all: BTreeMap<Ulid, Pending> = BTreeMap::new();
        let note = |entry: &store::Entry| {
            let Some((id, part @ ("condemned" | "waits-for"))) = keys::parse_decision(&entry.key) else { return };
            let pending = all.entry(id).or_insert(Pending { id, condemned: None, waits_for: None });
            let at = if part == "condemned" { &mut pending.condemned } else { &mut pending.waits_for };
            *at = Some(entry.modified);
        };
        pages::each(self.store.as_ref(), &keys::gc_folder()?, "list sweeps", note).await?;
        Ok(all.into_values().collect())
    }

    async fn delete_unreferenced(
        &self,
        names: &Condemned,
        referenced: &Referenced,
        lease: &mut Lease,
    ) -> Result<u64, Error> {
        let lists: BTreeSet<&String> = names.lists.iter().collect();
        let unused: Vec<&String> = names.objects.iter().filter(|name| !referenced.contains(name)).collect();
        for batch in unused.chunks(BATCH) {
            lease.check().await?;
            let keys: Vec<Key> = batch
                .iter()
                .map(|name| keys::object(if lists.contains(name) { ObjectKind::List } else { ObjectKind::Chunk }, name))
                .collect::<Result<_, _>>()?;
            self.store.delete_all(&keys).await.map_err(Error::store("delete what nothing refers to"))?;
        }
        Ok(unused.len() as u64)
    }

    async fn all_gone(&self, names: &Condemned) -> Result<bool, Error> {
        let lists: BTreeSet<&String> = names.lists.iter().collect();
        for name in &names.objects {
            let kind = if lists.contains(name) { ObjectKind::List } else { ObjectKind::Chunk };
            match self.store.head(&keys::object(kind, name)?).await {
                Err(store::Error::NotFound { .. }) => {}
                Ok(_) => return Ok(false),
                Err(source) => return Err(Error::Store { what: format!("look at {name}"), source }),
            }
        }
        Ok(true)
    }

    /// Begins a sweep: condemns what is not referred to. `waiting` has been condemned before. Writes nothing without a lease.
    pub(super) async fn begin_sweep(
        &self,
        referenced: &Referenced,
        waiting: &BTreeSet<String>,
        grace: Duration,
        lease: Option<&mut Lease>,
        swept: &mut Swept,
    ) -> Result<(), Error> {
        let mut candidates = self.candidates(referenced, grace, swept).await?;
        // Listed after the objects: a session's beginning comes before whatever else it stores.
        let sessions = Sessions::read(self).await?;
        candidates.retain(|it| !sessions.is_open(it.session) && !waiting.contains(&it.name));
        let Some(lease) = lease.filter(|_| !candidates.is_empty()) else { return Ok(()) };
        swept.condemned = candidates.len() as u64;
        let is_list = |it: &&Candidate| it.kind == ObjectKind::List;
        let condemned = Condemned {
            lists: candidates.iter().filter(is_list).map(|it| it.name.clone()).collect(),
            objects: candidates.into_iter().map(|it| it.name).collect(),
        };
        let id = Ulid::generate();
        lease.check().await?;
        self.put_note(&keys::decision(id, "condemned")?, Kind::Condemned, &condemned).await?;
        // Only now: a session that is not in this listing begins later, and will see what is condemned.
        let open = WaitsFor { sessions: Sessions::read(self).await?.open() };
        self.put_note(&keys::decision(id, "waits-for")?, Kind::WaitsFor, &open).await
    }

    /// Objects that nothing refers to and that are old enough, as many as one sweep takes.
    async fn candidates(
        &self,
        referenced: &Referenced,
        grace: Duration,
        swept: &mut Swept,
    ) -> Result<Vec<Candidate>, Error> {
        let now = self.store.now().await.map_err(Error::store("read the store's clock"))?;
        let mut candidates = Vec::new();
        for kind in [ObjectKind::Chunk, ObjectKind::List] {
            let note = |entry: &store::Entry| {
                let Some((name, session)) = keys::parse_object(kind, &entry.key) else { return };
                if referenced.contains(name) || !is_older(entry.modified, grace, now) {
                    return;
                }
                swept.unreferenced += 1;
                swept.unreferenced_bytes += entry.len;
                if candidates.len() < MOST_CONDEMNED {
                    candidates.push(Candidate { name: name.to_owned(), kind, session });
                }
            };
            pages::each(self.store.as_ref(), &keys::objects_folder(kind)?, "list objects", note).await?;
        }
        Ok(candidates)
    }
}
