//! Owns `Faulty`: a store that fails on command in front of one that does not. Counts calls and hits the nth; whether a
//! fault happens never depends on time or chance. Refuses to repair: a fault is what the caller gets.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use store::{Entry, Error, Keeping, Key, Page, Prefix, Profile, Store};

/// A method of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `Store::create`.
    Create,
    /// `Store::get`.
    Get,
    /// `Store::get_range`.
    GetRange,
    /// `Store::head`.
    Head,
    /// `Store::list`.
    List,
    /// `Store::delete`.
    Delete,
    /// `Store::now`.
    Now,
}

/// What a call gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `Error::Unavailable`; the store below is not asked.
    Unavailable,
    /// `Error::Denied`; the store below is not asked.
    Denied,
    /// `Error::Full`; the store below is not asked.
    Full,
    /// Done below, then `Error::Unavailable`.
    LostReply,
    /// For `Create`: done below, then done again, as by a retry inside a client: `Error::AlreadyExists`.
    Repeated,
    /// For `Get` and `GetRange`: the byte in the middle has its lowest bit inverted.
    Flip,
    /// For `Get` and `GetRange`: the second half is missing, without an error: what a broken store does.
    Half,
    /// For `Get`, `GetRange` and `Head`: `Error::NotFound`. For `List`: an empty page.
    Absent,
    /// Never returns.
    Hang,
}

#[derive(Debug)]
struct Rule {
    call: Call,
    part: String,
    nth: usize,
    times: usize,
    fault: Fault,
    matched: usize,
}

#[derive(Debug, Default)]
struct Script {
    rules: Vec<Rule>,
    calls: Vec<(Call, String)>,
}

/// A store in front of another. Clones share rules and counts.
#[derive(Clone, Debug)]
pub struct Faulty {
    inner: Arc<dyn Store>,
    script: Arc<Mutex<Script>>,
}

impl Faulty {
    /// Passes every call on until told otherwise.
    pub fn new(inner: Arc<dyn Store>) -> Faulty {
        Faulty { inner, script: Arc::default() }
    }

    /// The `nth` such call from the start of this rule (1 is the next) gets `fault`.
    pub fn fail(&self, call: Call, nth: usize, fault: Fault) {
        self.fail_key(call, "", nth, 1, fault);
    }

    /// As `fail`, counting only calls whose key or prefix contains `part`, and hitting `times` in a row.
    pub fn fail_key(&self, call: Call, part: &str, nth: usize, times: usize, fault: Fault) {
        assert!(nth > 0, "the first call is number 1");
        self.script().rules.push(Rule { call, part: part.to_owned(), nth, times, fault, matched: 0 });
    }

    /// Drops all rules.
    pub fn heal(&self) {
        self.script().rules.clear();
    }

    /// How many such calls there were, with `part` in their key or prefix.
    pub fn count(&self, call: Call, part: &str) -> usize {
        self.script().calls.iter().filter(|(seen, key)| *seen == call && key.contains(part)).count()
    }

    /// All calls so far, in order, with their key or prefix.
    pub fn calls(&self) -> Vec<(Call, String)> {
        self.script().calls.clone()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a call and gives its fault, unless that is an error or a hang: then this is it.
    async fn meet(&self, call: Call, key: &str) -> Result<Option<Fault>, Error> {
        let fault = self.note(call, key);
        let (what, location) = (format!("{call:?} {key}").to_lowercase(), self.inner.location().to_owned());
        let source = Some("ordered by a test".into());
        match fault {
            Some(Fault::Unavailable) => Err(Error::Unavailable { what, location, source }),
            Some(Fault::Denied) => Err(Error::Denied { what, location, source }),
            Some(Fault::Full) => Err(Error::Full { what, location, source }),
            Some(Fault::Hang) => std::future::pending().await,
            other => Ok(other),
        }
    }

    fn note(&self, call: Call, key: &str) -> Option<Fault> {
        let mut script = self.script();
        script.calls.push((call, key.to_owned()));
        let mut hit = None;
        for rule in script.rules.iter_mut().filter(|rule| rule.call == call && key.contains(&rule.part)) {
            rule.matched += 1;
            if rule.matched >= rule.nth && rule.matched - rule.nth < rule.times {
                hit = hit.or(Some(rule.fault));
            }
        }
        hit
    }

    fn lost(&self, what: &str, key: &str) -> Error {
        let (what, location) = (format!("{what} {key}"), self.inner.location().to_owned());
        Error::Unavailable { what, location, source: Some("the reply was lost, as ordered by a test".into()) }
    }

    fn not_found(&self, key: &Key) -> Error {
        Error::NotFound { key: key.clone(), location: self.inner.location().to_owned(), source: None }
    }

    fn spoiled(&self, key: &Key, body: Bytes, fault: Option<Fault>) -> Result<Bytes, Error> {
        match fault {
            Some(Fault::Absent) => Err(self.not_found(key)),
            Some(Fault::LostReply) => Err(self.lost("get", key.as_str())),
            Some(Fault::Half) => Ok(body.slice(..body.len() / 2)),
            Some(Fault::Flip) => {
                let mut bytes = body.to_vec();
                let middle = bytes.len() / 2;
                if let Some(byte) = bytes.get_mut(middle) {
                    *byte ^= 1;
                }
                Ok(bytes.into())
            }
            _ => Ok(body),
        }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for Faulty {
    fn location(&self) -> &str {
        self.inner.location()
    }

    async fn create(&self, key: &Key, body: Bytes, sha256: &[u8; 32]) -> Result<(), Error> {
        let fault = self.meet(Call::Create, key.as_str()).await?;
        self.inner.create(key, body, sha256).await?;
        let location = self.inner.location().to_owned();
        match fault {
            Some(Fault::LostReply) => Err(self.lost("create", key.as_str())),
            Some(Fault::Repeated) => Err(Error::AlreadyExists { key: key.clone(), location, source: None }),
            _ => Ok(()),
        }
    }

    async fn get(&self, key: &Key) -> Result<Bytes, Error> {
        let fault = self.meet(Call::Get, key.as_str()).await?;
        self.spoiled(key, self.inner.get(key).await?, fault)
    }

    async fn get_range(&self, key: &Key, start: u64, len: u64) -> Result<Bytes, Error> {
        let fault = self.meet(Call::GetRange, key.as_str()).await?;
        self.spoiled(key, self.inner.get_range(key, start, len).await?, fault)
    }

    async fn head(&self, key: &Key) -> Result<Entry, Error> {
        match self.meet(Call::Head, key.as_str()).await? {
            Some(Fault::Absent) => Err(self.not_found(key)),
            Some(Fault::LostReply) => Err(self.lost("head", key.as_str())),
            _ => self.inner.head(key).await,
        }
    }

    async fn list(&self, prefix: &Prefix, after: Option<&Key>) -> Result<Page, Error> {
        match self.meet(Call::List, prefix.as_str()).await? {
            Some(Fault::Absent) => Ok(Page::default()),
            Some(Fault::LostReply) => Err(self.lost("list", prefix.as_str())),
            _ => self.inner.list(prefix, after).await,
        }
    }

    async fn delete(&self, key: &Key) -> Result<(), Error> {
        let fault = self.meet(Call::Delete, key.as_str()).await?;
        self.inner.delete(key).await?;
        if fault == Some(Fault::LostReply) { Err(self.lost("delete", key.as_str())) } else { Ok(()) }
    }

    async fn delete_all(&self, keys: &[Key]) -> Result<(), Error> {
        for key in keys {
            self.delete(key).await?;
        }
        Ok(())
    }

    async fn now(&self) -> Result<SystemTime, Error> {
        self.meet(Call::Now, "").await?;
        self.inner.now().await
    }

    async fn clock(&self) -> Result<SystemTime, Error> {
        self.now().await
    }

    /// Passed on: nothing but `doctor` asks.
    async fn keeping(&self) -> Keeping {
        self.inner.keeping().await
    }

    /// Passed on: nothing but `doctor` asks.
    async fn replace_probe(&self, key: &Key, body: Bytes) -> Result<(), Error> {
        self.inner.replace_probe(key, body).await
    }

    fn use_profile(&self, profile: &Profile) {
        self.inner.use_profile(profile);
    }
}

#[cfg(test)]
mod tests {
    use sha2::Digest as _;

    use super::*;

    async fn create(faulty: &Faulty, name: &str) -> Result<(), Error> {
        let sha256: [u8; 32] = sha2::Sha256::digest(b"0123").into();
        faulty.create(&key(name), Bytes::from_static(b"0123"), &sha256).await
    }

    fn key(text: &str) -> Key {
        Key::parse(text).unwrap()
    }

    #[tokio::test]
    async fn the_nth_call_fails_and_no_other() {
        let faulty = Faulty::new(Arc::new(store::Memory::new()));
        faulty.fail_key(Call::Create, "chunks/", 2, 1, Fault::Full);
        for (name, works) in [("chunks/1", true), ("lists/1", true), ("chunks/2", false), ("chunks/3", true)] {
            let made = create(&faulty, name).await;
            assert_eq!(made.is_ok(), works, "{name}: {made:?}");
        }
        assert!(faulty.get(&key("chunks/2")).await.is_err());
        assert_eq!((faulty.count(Call::Create, "chunks/"), faulty.count(Call::Get, "")), (3, 1));
    }

    #[tokio::test]
    async fn a_lost_reply_leaves_the_object_and_reads_can_be_spoiled() {
        let faulty = Faulty::new(Arc::new(store::Memory::new()));
        faulty.fail(Call::Create, 1, Fault::LostReply);
        let made = create(&faulty, "a").await;
        assert!(matches!(made, Err(Error::Unavailable { .. })));
        assert_eq!(&faulty.get(&key("a")).await.unwrap()[..], b"0123");
        faulty.fail(Call::Get, 1, Fault::Flip);
        faulty.fail(Call::Get, 2, Fault::Half);
        assert_eq!(&faulty.get(&key("a")).await.unwrap()[..], b"0133");
        assert_eq!(&faulty.get(&key("a")).await.unwrap()[..], b"01");
        faulty.heal();
        assert_eq!(&faulty.get(&key("a")).await.unwrap()[..], b"0123");
    }
}
