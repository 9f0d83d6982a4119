//! Registers: small objects that are replaced, each time from exactly the version that was read.
//!
//! Owns the contract `Registers` and `probe_registers`, which sees whether a store keeps it. Promises that of several who
//! replace one version at most one does. It is for leases alone, below `leases/`: everything else here is immutable, and a store is
//! not trusted with registers before the probe has seen it hold each condition, one after the other and sixteen at once.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use ulid::Ulid;

use crate::location::Place;
use crate::{Credentials, Error, Key, Location, S3, Store};

/// What registers' keys begin with.
const FOLDER: &str = "leases/";
/// Writers at once in the concurrent cases.
const RIVALS: usize = 16;

/// Which content a register had: the store's word for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(pub(crate) String);

/// A register as it was read. Both times are the store's own, so that an age needs nobody else's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    /// Its content.
    pub body: Bytes,
    /// Which content that is.
    pub version: Version,
    /// When it was written. Stores round it down, to a second.
    pub modified: SystemTime,
    /// When it was read. Rounded likewise.
    pub read: SystemTime,
}

/// How a write ended that no trouble kept from being decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// Done; this is the new content's version.
    Done(Version),
    /// Not done: the register was not as expected. Or done by an earlier attempt of the same call, whose answer was lost: the caller reads it.
    Changed,
}

/// A store that can replace an object on condition.
#[async_trait]
pub trait Registers: Store {
    /// A register; `None` when there is none.
    ///
    /// # Errors
    /// `Denied`, `NoPlace`, `Unavailable`.
    async fn read_register(&self, key: &Key) -> Result<Option<Register>, Error>;

    /// Writes a register if it has this version; if there is none, where `expected` is `None`.
    ///
    /// # Errors
    /// `Config` for a key outside of `leases/` and `probe/`; `Full`, `Denied`, `NoPlace`, `Unavailable`; after the last one it may have been written.
    async fn write_register(&self, key: &Key, body: Bytes, expected: Option<&Version>) -> Result<Written, Error>;
}

/// Opens a store that can have registers: S3.
///
/// # Errors
/// `Error::Config` for a directory, and as `open`.
pub async fn open_registers(
    location: &Location,
    credentials: Option<Credentials>,
) -> Result<Arc<dyn Registers>, Error> {
    match &location.0 {
        Place::S3(bucket) => Ok(Arc::new(S3::open(bucket, credentials).await?)),
        Place::Directory(_) => Err(Error::config("a directory has no objects that are replaced on condition")),
    }
}

/// Refuses what is not a register's key.
pub(crate) fn check_key(key: &Key) -> Result<(), Error> {
    if key.as_str().starts_with(FOLDER) || crate::probe::is_probe(key) {
        return Ok(());
    }
    Err(Error::config(format!("{key} is not a register's, and nothing else is ever replaced")))
}

/// Sees whether a store keeps the contract, and removes what it wrote as far as it can.
///
/// # Errors
/// `Error::NoConditionalCreate` with what was seen; else what a call came back with.
pub async fn probe_registers(store: &dyn Registers) -> Result<(), Error> {
    let base = format!("probe/{}", Ulid::generate());
    let keys = ["register", "absent", "rivals"].map(|name| Key::parse(&format!("{base}/{name}")));
    let [register, absent, rivals] = keys;
    let (register, absent, rivals) = (register?, absent?, rivals?);
    let found = Box::pin(try_registers(store, &register, &absent, &rivals)).await;
    for key in [&register, &absent, &rivals] {
        if let Err(error) = store.delete(key).await {
            tracing::debug!(%key, %error, "a probe's object stays");
        }
    }
    found
}

async fn try_registers(store: &dyn Registers, register: &Key, absent: &Key, rivals: &Key) -> Result<(), Error> {
    let broken =
        |seen: String| Err(Error::NoConditionalCreate { seen, location: store.location().to_owned(), source: None });
    let body = |text: &'static str| Bytes::from_static(text.as_bytes());
    store.write_register(register, body("first"), None).await?;
    let Some(first) = store.read_register(register).await? else {
        return broken("what was written is not there".to_owned());
    };
    if store.write_register(register, body("second"), None).await? != Written::Changed {
        return broken("a register was made where there is one".to_owned());
    }
    store.write_register(register, body("third"), Some(&first.version)).await?;
    let third = store.read_register(register).await?;
    let Some(third) = third.filter(|read| read.body == "third") else {
        return broken("a register was not replaced from the version that it had".to_owned());
    };
    if store.write_register(register, body("fourth"), Some(&first.version)).await? != Written::Changed {
        return broken("a register was replaced from a version that it no longer had".to_owned());
    }
    if store.write_register(absent, body("fifth"), Some(&first.version)).await? != Written::Changed {
        return broken("a register that is not there was replaced".to_owned());
    }
    if store.read_register(register).await?.is_none_or(|read| read.body != "third") {
        return broken("a write that was refused changed a register".to_owned());
    }
    for (key, expected, what) in [(rivals, None, "made"), (register, Some(&third.version), "replaced")] {
        let writes = (0..RIVALS)
            .map(|n| async move { store.write_register(key, Bytes::from(format!("rival {n:02}")), expected).await });
        let results: Vec<Written> = join_all(writes).await.into_iter().collect::<Result<_, _>>()?;
        let winners: Vec<usize> = (0..RIVALS).filter(|n| results[*n] != Written::Changed).collect();
        let there = store.read_register(key).await?.map(|read| read.body);
        let is_there = |n: usize| there.as_deref() == Some(format!("rival {n:02}").as_bytes());
        // A lost answer turns the winner's retry into a refusal; the register itself says whether one of them won.
        let one = match winners.as_slice() {
            [one] => is_there(*one),
            [] => (0..RIVALS).any(is_there),
            _ => false,
        };
        if !one {
            return broken(format!(
                "of {RIVALS} who {what} one register at once {} were told that they did",
                winners.len()
            ));
        }
    }
    Ok(())
}
