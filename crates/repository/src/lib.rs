//! The backup repository, format 1.
//!
//! Owns frames, chunks, lists, manifests and sessions: how bytes become a backup and come back. Promises that a backup
//! exists exactly when its manifest does, that a manifest is written last and create-only, that every byte read back was
//! checked against a hash first, and that damage is named by object. Refuses to know any database: it keeps named
//! streams of segments and a few opaque documents. Only maintenance deletes.
//!
//! The layout of keys and bytes is described for readers in other languages in `docs/format.md`.

mod access;
mod backups;
mod chunker;
mod condemned;
mod config;
mod copy;
mod error;
mod evidence;
mod frame;
mod hints;
mod ids;
mod keys;
mod known;
mod list;
mod maintenance;
mod manifest;
mod pages;
mod present;
mod read;
mod repo;
mod resume;
mod sealing;
mod session;
mod unit;
mod upload;
mod verify;

pub use access::Job;
pub use backups::{Selector, Summary};
pub use chunker::{Chunker, Sizes};
pub use config::{Config, FORMAT, Settings};
pub use copy::{Copied, CopyOptions};
pub use error::Error;
pub use evidence::{Evidence, EvidenceKind, Outcome, Proofs};
pub use frame::{Codec, Frame, Kind as FrameKind};
pub use hints::Hints;
pub use ids::{BackupId, ChunkId, Hash, SessionId, SourceName, Tag};
pub use keys::ObjectKind;
pub use list::{List, SegmentRecord};
pub use maintenance::{Mark, PruneOptions, Pruned, SourcePlan, Swept, Verdict, retention};
pub use manifest::{DocumentRecord, Manifest, ManifestHeader, SNAPSHOT, Totals};
pub use read::read_all;
pub use repo::Repository;
pub use sealing::{Access, Encryption, Identity, NewWriter, PublicKey, Recipient, Signer, WriterKey};
pub use session::{BeginOptions, Commit, Scope, Session};
pub use unit::{SegmentRefs, UnitWriter};
pub use verify::{Damage, Share, Verified};

/// Where a chunk lies: see `docs/format.md`, "References".
pub use keys::ChunkRef;
