//! Signers: whose manifests are believed.
//!
//! Owns Ed25519 signatures of frames (RFC 8032) and the list of known signers, `signers/<n>`, of which the highest number counts. The list is
//! signed by the root key, which is wrapped with the private key: only who can read the repository can make a writer known.
//! Promises that a list that was changed, or put there by somebody else, is an error. The root itself is always known.

use super::{Keyring, NewWriter, PublicKey, WriterKey};
use crate::frame::{Frame, Kind, encode_with};
use crate::upload::put_own;
use crate::{Error, Repository, keys, pages};
use jiff::Timestamp;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use store::Store;

/// Bytes that a signature takes in a frame: the signer's public key, then the signature.
pub(crate) const SIGNATURE: usize = 32 + 64;
/// What is signed begins with this, so that a signature serves nothing else.
const PURPOSE: &[u8] = b"longshore signed frame 1\0";

/// A key that signs.
pub(crate) struct Signing(Ed25519KeyPair);

impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signing({})", self.public())
    }
}

impl Signing {
    pub fn from_seed(seed: &[u8]) -> Result<Self, Error> {
        Ed25519KeyPair::from_seed_unchecked(seed)
            .map(Self)
            .map_err(|_| Error::Internal("a signing key is not one".to_owned()))
    }

    pub fn public(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(key)
    }

    /// Public key and signature of everything before it in the frame.
    pub fn sign(&self, before: &[u8]) -> Vec<u8> {
        let public = self.public().0;
        let message = [PURPOSE, before, &public].concat();
        [public.as_slice(), self.0.sign(&message).as_ref()].concat()
    }
}

/// The signer of a frame whose signature holds; `block` is its public key and signature.
pub(crate) fn verify_signature(before: &[u8], block: &[u8]) -> Option<PublicKey> {
    let (public, signature) = block.split_first_chunk::<32>()?;
    let message = [PURPOSE, before, public].concat();
    UnparsedPublicKey::new(&ED25519, public).verify(&message, signature).ok()?;
    Some(PublicKey(*public))
}

/// Somebody whose manifests are believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signer {
    /// Its public key.
    pub public: PublicKey,
    /// What people call it.
    pub name: String,
    /// Since when, by the store's clock.
    pub added: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct List {
    repository: String,
    number: u64,
    signers: Vec<Signer>,
}

/// The list that counts and its number; none yet is number 0.
pub(crate) async fn read(store: &dyn Store, repository: &str, root: PublicKey) -> Result<(u64, Vec<Signer>), Error> {
    let mut newest = 0;
    let note = |entry: &store::Entry| newest = newest.max(keys::parse_signers(&entry.key).unwrap_or(0));
    pages::each(store, &keys::signers_folder()?, "list signers", note).await?;
    if newest == 0 {
        return Ok((0, Vec::new()));
    }
    let key = keys::signers(newest)?;
    let bytes = store.get(&key).await.map_err(Error::store(format!("read {key}")))?;
    let frame = Frame::expect(&bytes, key.as_str(), Kind::Signers)?;
    if frame.signer != Some(root) {
        return Err(Error::Signer { object: key.to_string(), signer: frame.signer.map(|signer| signer.to_string()) });
    }
    let list: List = serde_json::from_slice(&frame.open).map_err(|e| Error::damaged(key.as_str(), e.to_string()))?;
    if list.repository != repository || list.number != newest {
        return Err(Error::damaged(key.as_str(), "it is another repository's, or an older list under a new number"));
    }
    Ok((newest, list.signers))
}

async fn write(store: &dyn Store, keyring: &Keyring, list: &List) -> Result<(), Error> {
    let key = keys::signers(list.number)?;
    let open = serde_json::to_vec(list).map_err(|e| Error::Internal(format!("write {key}: {e}")))?;
    let frame = encode_with(Kind::Signers, &open, b"", None, Some(&keyring.secrets()?.root()?))?;
    put_own(store, &key, frame).await
}

impl Repository {
    /// Whose manifests are believed, besides the root's.
    #[must_use]
    pub fn signers(&self) -> &[Signer] {
        self.keyring.signers()
    }

    /// Makes a writer: a new signing key, known from now on.
    ///
    /// # Errors
    /// [`Error::Sealed`] without an identity, [`Error::Keys`] when the name is taken.
    pub async fn add_writer(&self, name: &str) -> Result<NewWriter, Error> {
        let secrets = self.keyring.secrets()?;
        let root = secrets.root()?.public();
        let (number, mut signers) = read(self.store.as_ref(), &self.config.id, root).await?;
        if signers.iter().any(|signer| signer.name == name) {
            return Err(Error::Keys { what: format!("there is a writer {name:?} already") });
        }
        let new = WriterKey::generate(&self.config.id, secrets)?;
        signers.push(Signer { public: new.public, name: name.to_owned(), added: self.now().await? });
        let list = List { repository: self.config.id.clone(), number: number + 1, signers };
        write(self.store.as_ref(), &self.keyring, &list).await?;
        Ok(new)
    }

    /// Forgets a writer: what it signed is not believed any more.
    ///
    /// # Errors
    /// As for adding one; [`Error::Keys`] when there is no such writer.
    pub async fn remove_writer(&self, name: &str) -> Result<Signer, Error> {
        let root = self.keyring.secrets()?.root()?.public();
        let (number, mut signers) = read(self.store.as_ref(), &self.config.id, root).await?;
        let Some(at) = signers.iter().position(|signer| signer.name == name) else {
            return Err(Error::Keys { what: format!("there is no writer {name:?}") });
        };
        let gone = signers.remove(at);
        let list = List { repository: self.config.id.clone(), number: number + 1, signers };
        write(self.store.as_ref(), &self.keyring, &list).await?;
        Ok(gone)
    }
}
