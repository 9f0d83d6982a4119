//! What each job does with which objects: the least that its credential needs.
//!
//! Owns the answer, because only this crate knows the keys. Promises that a job works with exactly this, as long as tests run it
//! so, and that a backup can neither delete nor touch what retention decides by, but for pins, which keep. Refuses to know how a store is told.

use store::{Access, Dialect, Error, Location};

/// The jobs, by what they need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Job {
    /// `backup`, and `list`, `show`, `check` of what there is.
    Backup,
    /// `restore`, `drill`, `export`, and whatever only reads.
    Restore,
    /// `init`, `prune`, `pin`, `verify`, `keys` as far as it deletes nothing, and whatever only reads.
    Maintenance,
}

/// Tests of the store, by `doctor` and `init`.
const PROBE: &str = "probe/";
/// What `init` makes, and `keys` adds to. Nothing here is ever deleted by a policy of ours: `keys remove` takes an administrator.
const MADE: [&str; 4] = ["repository.json", "settings/", "keys/", "signers/"];
/// What a writer stores.
const WRITTEN: [&str; 5] = ["chunks/", "lists/", "manifests/", "hints/", "sessions/"];
/// What maintenance decides by, and says; tombstones and the ends of sessions that it gives up stand among the writers' own.
const DECISIONS: [&str; 5] = ["gc/", "pins/", "retention/", "maintenance/", "evidence/"];

impl Job {
    /// What it may do. A writer reads chunks back when a reply of the store was lost, and only then; it needs nothing of `keys/`.
    #[must_use]
    pub fn access(self) -> Access {
        let all = vec![""];
        let and_probe = |folders: &[&'static str]| [folders, &[PROBE]].concat();
        match self {
            Self::Backup => Access {
                read: and_probe(
                    &[&["repository.json", "settings/", "signers/"][..], &WRITTEN, &["gc/", "pins/", "evidence/"]]
                        .concat(),
                ),
                create: and_probe(&[&WRITTEN[..], &["pins/"]].concat()),
                delete: Vec::new(),
            },
            Self::Restore => Access { read: all, create: and_probe(&["evidence/"]), delete: Vec::new() },
            Self::Maintenance => Access {
                read: all,
                create: and_probe(&[&MADE[..], &["manifests/", "sessions/"], &DECISIONS].concat()),
                delete: and_probe(&[&WRITTEN[..], &["gc/", "pins/", "maintenance/"]].concat()),
            },
        }
    }

    /// The policy to give to its credential.
    ///
    /// # Errors
    /// [`Error::Config`] for a repository in a directory, which has no policies.
    pub fn policy(self, location: &Location, dialect: Dialect) -> Result<serde_json::Value, Error> {
        store::policy(location, &self.access(), dialect)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use crate::{ObjectKind, keys};
    use std::collections::BTreeSet;

    /// A folder that is missing here is one that somebody has added: who may write into it, and who may delete?
    #[test]
    fn every_folder_of_the_format_is_somebodys() {
        let folders = [
            keys::settings_folder(),
            keys::wrapped_folder(),
            keys::signers_folder(),
            keys::objects_folder(ObjectKind::Chunk),
            keys::objects_folder(ObjectKind::List),
            keys::manifests_folder(None),
            keys::hints_folder(),
            keys::sessions_folder(),
            keys::gc_folder(),
            keys::pins_folder(),
            keys::accepted_folder(),
            keys::maintenance_folder(),
            keys::evidence_folder(None),
        ];
        let mut known: BTreeSet<String> = folders.into_iter().map(|it| it.unwrap().as_str().to_owned()).collect();
        known.extend(["repository.json", PROBE].map(str::to_owned));
        let all = [Job::Backup, Job::Restore, Job::Maintenance].map(Job::access);
        let created: BTreeSet<String> = all.iter().flat_map(|it| &it.create).map(|it| (*it).to_owned()).collect();
        assert_eq!(created, known);
        for access in &all {
            let named = access.read.iter().chain(&access.delete).filter(|it| !it.is_empty());
            assert!(named.clone().all(|it| known.contains(*it)), "{named:?}");
        }
    }

    #[test]
    fn only_maintenance_deletes_and_never_what_a_repository_is_known_by() {
        assert!(Job::Backup.access().delete.is_empty() && Job::Restore.access().delete.is_empty());
        let delete = Job::Maintenance.access().delete;
        for kept in ["", "repository.json", "settings/", "keys/", "signers/", "evidence/", "retention/"] {
            assert!(!delete.contains(&kept), "{kept}");
        }
        // A pin only ever keeps.
        for theirs in DECISIONS.into_iter().filter(|it| *it != "pins/") {
            assert!(!Job::Backup.access().create.contains(&theirs), "{theirs}");
        }
    }
}
