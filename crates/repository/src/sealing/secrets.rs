//! Secrets: what readers hold, and what a writer holds.
//!
//! Owns the two sets of keys and their texts. A reader's set is all there is and exists in memory and wrapped only; a writer's key
//! is one line of text, for the one job that it was made for. Promises that a writer's key opens nothing but hints: it has the
//! public key, the key of ids, the hints key and its own signing key. Neither prints itself.

use super::{Encryption, PublicKey, Signing, random};
use crate::{Error, Hash};
use serde::{Deserialize, Serialize};
use ulid::Ulid;
use x25519_dalek::StaticSecret;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Everything that opens an encrypted repository.
#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Secrets {
    /// X25519 private key.
    private_key: String,
    /// Key of the HMAC that ids of content are.
    id_key: String,
    /// Key that hints are sealed under.
    hints_key: String,
    /// Ed25519 seed that the list of signers is signed with.
    root_seed: String,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secrets")
    }
}

type Key = Zeroizing<[u8; 32]>;

fn key(text: &str) -> Result<Key, Error> {
    let mut key = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text, key.as_mut())
        .map_err(|_| Error::Internal("a key of the repository is not one".to_owned()))?;
    Ok(key)
}

impl Secrets {
    pub fn generate() -> Result<Self, Error> {
        let fresh = || random::<32>().map(hex::encode);
        Ok(Self { private_key: fresh()?, id_key: fresh()?, hints_key: fresh()?, root_seed: fresh()? })
    }

    pub fn private(&self) -> Result<StaticSecret, Error> {
        Ok(StaticSecret::from(*key(&self.private_key)?))
    }

    pub fn id_key(&self) -> Result<Key, Error> {
        key(&self.id_key)
    }

    pub fn hints_key(&self) -> Result<Key, Error> {
        key(&self.hints_key)
    }

    /// The signer that makes signers known.
    pub fn root(&self) -> Result<Signing, Error> {
        Signing::from_seed(key(&self.root_seed)?.as_ref())
    }

    /// The public side, for `repository.json`.
    pub fn encryption(&self) -> Result<Encryption, Error> {
        Ok(Encryption {
            algorithm: super::ALGORITHM.to_owned(),
            public_key: PublicKey(x25519_dalek::PublicKey::from(&self.private()?).to_bytes()),
            root: self.root()?.public(),
        })
    }

    pub fn to_text(&self) -> Result<Zeroizing<String>, Error> {
        serde_json::to_string(self).map(Zeroizing::new).map_err(|_| Error::Internal("write the keys".to_owned()))
    }

    pub fn from_text(text: &[u8]) -> Result<Self, ()> {
        let secrets: Self = serde_json::from_slice(text).map_err(drop)?;
        // Every one of them, so that no command fails half way.
        let whole = secrets.encryption().is_ok() && secrets.id_key().is_ok() && secrets.hints_key().is_ok();
        whole.then_some(secrets).ok_or(())
    }
}

/// What a writer's key begins with.
const PREFIX: &str = "longshore-writer-1-";
/// Repository, public key, root, key of ids, hints key, seed of the signing key; then four bytes to find slips.
const BODY: usize = 16 + 5 * 32;
const CHECK: usize = 4;

/// What one backup job holds: it can write, recognise what is there and sign; it cannot read a backup back.
#[derive(Clone)]
pub struct WriterKey(Zeroizing<[u8; BODY]>);

impl std::fmt::Debug for WriterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WriterKey")
    }
}

/// A writer's key that was just made, and the public half that others know it by.
#[derive(Debug)]
pub struct NewWriter {
    /// The key.
    pub key: WriterKey,
    /// What the list of signers names it by.
    pub public: PublicKey,
}

impl WriterKey {
    /// A new writer of a repository.
    pub(crate) fn generate(repository: &str, secrets: &Secrets) -> Result<NewWriter, Error> {
        let id =
            Ulid::from_string(repository).map_err(|_| Error::Internal("the repository's id is not one".to_owned()))?;
        let (encryption, seed) = (secrets.encryption()?, Zeroizing::new(random::<32>()?));
        let mut body = Zeroizing::new([0; BODY]);
        let [id_key, hints_key] = [secrets.id_key()?, secrets.hints_key()?];
        body[..16].copy_from_slice(&id.to_bytes());
        let keys = [&encryption.public_key.0, &encryption.root.0, &*id_key, &*hints_key, &*seed];
        for (at, key) in body[16..].chunks_exact_mut(32).zip(keys) {
            at.copy_from_slice(key);
        }
        Ok(NewWriter { key: Self(body), public: Signing::from_seed(seed.as_ref())?.public() })
    }

    /// Reads its text.
    ///
    /// # Errors
    /// [`Error::Keys`], without any of the text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |what: &str| Error::Keys { what: format!("what was given as a writer's key is not one: {what}") };
        let digits =
            text.trim().strip_prefix(PREFIX).ok_or_else(|| wrong("it does not begin with longshore-writer-1-"))?;
        let mut bytes = Zeroizing::new([0; BODY + CHECK]);
        hex::decode_to_slice(digits, bytes.as_mut())
            .map_err(|_| wrong("it is cut short, or holds other characters"))?;
        let (body, check) = bytes.split_at(BODY);
        if Hash::of(body).0[..CHECK] != *check {
            return Err(wrong("some of its characters were changed"));
        }
        let mut key = Zeroizing::new([0; BODY]);
        key.copy_from_slice(body);
        Ok(Self(key))
    }

    /// The text, for the one file it is written to.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        let check = &Hash::of(self.0.as_slice()).0[..CHECK];
        let digits = Zeroizing::new(hex::encode(self.0.as_slice()));
        Zeroizing::new(format!("{PREFIX}{}{}", digits.as_str(), hex::encode(check)))
    }

    /// Whose writer it is.
    pub(crate) fn repository(&self) -> String {
        Ulid::from_bytes(std::array::from_fn(|at| self.0[at])).to_string()
    }

    pub(crate) fn encryption(&self) -> Encryption {
        Encryption {
            algorithm: super::ALGORITHM.to_owned(),
            public_key: PublicKey(*self.part(0)),
            root: PublicKey(*self.part(1)),
        }
    }

    pub(crate) fn id_key(&self) -> Key {
        self.part(2)
    }

    pub(crate) fn hints_key(&self) -> Key {
        self.part(3)
    }

    pub(crate) fn signing(&self) -> Result<Signing, Error> {
        Signing::from_seed(self.part(4).as_ref())
    }

    fn part(&self, number: usize) -> Key {
        Zeroizing::new(std::array::from_fn(|at| self.0[16 + 32 * number + at]))
    }
}
