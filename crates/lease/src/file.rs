//! Leases as locked files in a directory of one machine.
//!
//! Owns `<job>.lease` below the directory: the kernel's lock on it is the lease, its content tells others who holds it. Promises that the lock
//! ends with the process, however that ends, and at no other time; that a file which was replaced underneath is noticed; and that epochs survive
//! a crash in the middle of a write. Files are never removed: a lock on a removed file keeps nobody away. Refuses
//! network file systems, where a lock may be a belief of this machine alone; it holds on one machine, containers on it included.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::backend::{Answer, Backend, Grant, Lasts, Refusal};
use crate::claim::{Busy, Claim, Epoch, Holder, Job, to_the_second};
use crate::{Error, Terms};

/// Two records take turns in a file, so that one that is half written never costs the one before it.
const RECORD_BYTES: usize = 1024;
const RECORDS: usize = 2;
/// Locks taken of files that were replaced before the lock was had.
const OPENINGS: usize = 8;

/// What a file tells: one line of JSON, filled up with blanks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    epoch: Epoch,
    holder: Holder,
}

/// A directory of locked files.
#[derive(Debug, Clone)]
pub struct Files {
    directory: PathBuf,
    location: String,
}

impl Files {
    /// Leases below `directory`, which must be there.
    #[must_use]
    pub fn new(directory: &Path) -> Files {
        Files { directory: directory.to_owned(), location: format!("file://{}", directory.display()) }
    }

    /// Runs blocking work off the async threads.
    async fn blocking<T, F>(&self, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Files) -> Result<T, Error> + Send + 'static,
    {
        let files = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&files)).await;
        done.unwrap_or_else(|join| Err(Error::unavailable("finish a file operation", &self.location, join)))
    }

    fn failed(&self, what: String, error: io::Error) -> Error {
        let location = self.location.clone();
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Error::Denied { what, location, source: Some(error.into()) }
            }
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::Config {
                what: format!("cannot {what}: there is no directory {location}"),
                advice: Some("make the directory, for the user that runs the job".to_owned()),
                source: Some(error.into()),
            },
            _ => Error::unavailable(what, &location, error),
        }
    }

    fn refuse_network(&self) -> Result<Vec<String>, Error> {
        let opened =
            File::open(&self.directory).map_err(|error| self.failed("look at the lease's directory".into(), error))?;
        if !opened.metadata().is_ok_and(|meta| meta.is_dir()) {
            return Err(Error::config(format!("{} is not a directory", self.location)));
        }
        match kind_of(&opened) {
            FileSystem::Local => Ok(Vec::new()),
            FileSystem::Unknown(note) => Ok(vec![format!("{}: {note}", self.location)]),
            FileSystem::Network(name) => Err(Error::config(format!(
                "{} is on {name}, where a file's lock may hold on one machine only",
                self.location
            ))
            .advise(
                "use redis://, postgresql:// or s3:// for a lease that several machines share, or a local directory",
            )),
        }
    }

    fn acquire(&self, claim: &Claim) -> Result<FileAnswer, Error> {
        let what = || format!("lock the lease of {}", claim.job);
        let path = self.directory.join(format!("{}.lease", claim.job));
        for _ in 0..OPENINGS {
            let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
            let mut options = OpenOptions::new();
            let options = options.read(true).write(true).create(true).truncate(false).mode(0o644).custom_flags(flags);
            let file = options.open(&path).map_err(|error| self.failed(what(), error))?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    return Ok(FileAnswer::Busy(read(&file).into_iter().max_by_key(|record| record.epoch)));
                }
                Err(error) => return Err(self.failed(what(), error.into())),
            }
            // Somebody may have put another file in this one's place before it was locked.
            if is_at(&file, &path) {
                let epoch = write(&file, claim)
                    .map_err(|error| self.failed(format!("note the holder of {}", claim.job), error))?;
                return Ok(FileAnswer::Granted { file, path, epoch });
            }
        }
        let error = io::Error::other("its file is replaced again and again");
        Err(Error::unavailable(what(), &self.location, error))
    }
}

enum FileAnswer {
    Granted { file: File, path: PathBuf, epoch: Epoch },
    Busy(Option<Record>),
}

#[async_trait]
impl Backend for Files {
    fn location(&self) -> &str {
        &self.location
    }

    async fn examine(&self) -> Result<Vec<String>, Error> {
        self.blocking(Files::refuse_network).await
    }

    async fn acquire(&self, claim: &Claim, _terms: Terms) -> Result<Answer, Error> {
        let asking = claim.clone();
        Ok(match self.blocking(move |files| files.acquire(&asking)).await? {
            FileAnswer::Granted { file, path, epoch } => Answer::Granted(Box::new(Locked {
                files: self.clone(),
                job: claim.job.clone(),
                file: Some(file),
                path,
                epoch,
            })),
            FileAnswer::Busy(record) => {
                let holder = record.map(|record| record.holder);
                Answer::Busy(Box::new(Busy { job: claim.job.clone(), holder, until: None }))
            }
        })
    }
}

/// A locked file.
#[derive(Debug)]
struct Locked {
    files: Files,
    job: Job,
    /// `None` once it is released.
    file: Option<File>,
    path: PathBuf,
    epoch: Epoch,
}

#[async_trait]
impl Grant for Locked {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn lasts(&self) -> Lasts {
        Lasts::WithTheProcess
    }

    /// The lock needs no renewal; what is looked at is whether the file that is locked is still the one that others will lock.
    async fn renew(&mut self) -> Result<(), Refusal> {
        let file = self.file.as_ref().and_then(|file| file.try_clone().ok());
        let Some(file) = file else { return Err(Refusal::Lost("it was released".to_owned())) };
        let path = self.path.clone();
        if self.files.blocking(move |_| Ok(is_at(&file, &path))).await? {
            return Ok(());
        }
        Err(Refusal::Lost(format!("{} was removed or replaced by somebody", self.path.display())))
    }

    async fn release(&mut self) -> Result<(), Refusal> {
        let Some(file) = self.file.take() else { return Err(Refusal::Lost("it was released".to_owned())) };
        // Said aloud, and not left to closing: a child that was started under the lease would keep it.
        let unlocked = flock(&file, FlockOperation::Unlock);
        unlocked.map_err(|error| {
            Refusal::Failed(self.files.failed(format!("unlock the lease of {}", self.job), error.into()))
        })
    }
}

/// Whether an open file is the one that a path names.
fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// The records that are whole.
fn read(file: &File) -> Vec<Record> {
    let records = (0..RECORDS).map(|at| {
        let mut bytes = [0; RECORD_BYTES];
        file.read_exact_at(&mut bytes, (at * RECORD_BYTES) as u64).ok()?;
        serde_json::from_slice(&bytes).ok()
    });
    records.flatten().collect()
}

/// Notes the next epoch and its holder, in place of the older record; durable on return.
fn write(file: &File, claim: &Claim) -> io::Result<Epoch> {
    let last = read(file).into_iter().map(|record| record.epoch.0).max().unwrap_or(0);
    let record = Record { epoch: Epoch(last + 1), holder: claim.holder(Some(to_the_second(Timestamp::now()))) };
    let mut bytes = serde_json::to_vec(&record)?;
    if bytes.len() >= RECORD_BYTES {
        return Err(io::Error::other("the holder's name is too long"));
    }
    bytes.resize(RECORD_BYTES - 1, b' ');
    bytes.push(b'\n');
    let at = if record.epoch.0.is_multiple_of(RECORDS as u64) { 0 } else { RECORD_BYTES };
    if file.metadata()?.len() < (RECORDS * RECORD_BYTES) as u64 {
        file.set_len((RECORDS * RECORD_BYTES) as u64)?;
    }
    file.write_all_at(&bytes, at as u64)?;
    file.sync_all()?;
    Ok(record.epoch)
}

/// What a directory is on.
enum FileSystem {
    Local,
    /// Locks may or may not be shared.
    Unknown(&'static str),
    Network(&'static str),
}

/// The numbers are the kernel's, from `statfs(2)`.
#[cfg(target_os = "linux")]
fn kind_of(directory: &File) -> FileSystem {
    const NETWORK: [(u32, &str); 9] = [
        (0x6969, "NFS"),
        (0x517b, "SMB"),
        (0xfe53_4d42, "SMB"),
        (0xff53_4d42, "CIFS"),
        (0x00c3_6400, "CephFS"),
        (0x0bd0_0bd0, "Lustre"),
        (0x5346_414f, "AFS"),
        (0x7375_7245, "Coda"),
        (0x0102_1997, "9P"),
    ];
    const FUSE: u32 = 0x6573_5546;
    let Ok(found) = rustix::fs::fstatfs(directory) else {
        return FileSystem::Unknown("what file system it is on is not known; a lease there holds on one machine only");
    };
    // The field's width and sign depend on the architecture; the numbers have 32 bits.
    let number = (found.f_type as u64 & 0xffff_ffff) as u32;
    match NETWORK.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => FileSystem::Network(name),
        None if number == FUSE => FileSystem::Unknown(
            "it is on FUSE, which may keep locks from other machines; a lease there holds on one machine only",
        ),
        None => FileSystem::Local,
    }
}

#[cfg(not(target_os = "linux"))]
fn kind_of(_directory: &File) -> FileSystem {
    FileSystem::Unknown("what file system it is on was not looked at; a lease there holds on one machine only")
}

#[cfg(test)]
mod tests;
