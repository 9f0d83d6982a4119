//! Sealing: who can write an encrypted repository, and who can read it.
//!
//! Owns every key. A repository has an X25519 key pair: closed sections are sealed to the public key, so that a writer cannot read
//! back what it wrote; the private key is in `keys/`, wrapped by age for each recipient. Ids of content are HMACs under a key that
//! writers and readers share. Manifests are signed: SQL that comes out of a backup runs in a database. Promises that secret
//! keys are wiped when dropped and never printed. Refuses to fall back: a repository that should be encrypted and is not is an error.
//!
//! The bytes are described in `docs/format.md`, "Encryption"; what is defended against what in `docs/guides/encryption.md`.

mod boxes;
mod keyring;
pub(crate) mod recipients;
mod secrets;
mod signers;

pub(crate) use boxes::{Sealed, Sealer};
pub use keyring::Access;
pub(crate) use keyring::{Keyring, Opens};
pub use recipients::{Identity, Recipient};
pub(crate) use secrets::Secrets;
pub use secrets::{NewWriter, WriterKey};
pub use signers::Signer;
pub(crate) use signers::{SIGNATURE, Signing, verify_signature};

use crate::Error;
use serde::{Deserialize, Serialize};

/// The one way of sealing that format 1 knows.
pub(crate) const ALGORITHM: &str = "x25519-xchacha20poly1305-1";

/// The public side of an encrypted repository, part of `repository.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// How closed sections are sealed.
    pub algorithm: String,
    /// X25519 public key that they are sealed to.
    pub public_key: PublicKey,
    /// Ed25519 public key that the list of signers is signed with.
    pub root: PublicKey,
}

impl Encryption {
    /// Names this repository's keys: what a person compares, and what `--repository-key` pins.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let both = [self.public_key.0, self.root.0].concat();
        format!("lsr1-{}", hex::encode(&crate::Hash::of(&both).0[..20]))
    }

    /// What frames name the sealing key by: the beginning of the public key's SHA-256.
    pub(crate) fn key_id(&self) -> [u8; 16] {
        key_id(&self.public_key.0)
    }
}

/// The beginning of a key's SHA-256.
fn key_id(key: &[u8]) -> [u8; 16] {
    let hash = crate::Hash::of(key).0;
    std::array::from_fn(|at| hash[at])
}

/// A public key, in 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.parse::<crate::Hash>()
            .map(|hash| Self(hash.0))
            .map_err(|_| Error::Name { what: format!("{text:?} is not a public key of 64 lower-case hex digits") })
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// 32 random bytes from the operating system.
fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes)
        .map_err(|_| Error::Internal("the operating system gives no random numbers".to_owned()))?;
    Ok(bytes)
}
