//! The keyring: which keys this process holds for one repository.
//!
//! Owns unlocking, and with it every question of the form "may this be read, written, believed?". Promises that keys are compared with
//! the repository's own before anything is written with them, and that what cannot be opened is [`Error::Sealed`], never empty.
//! Refuses a repository that is not encrypted when keys were given: somebody may have put another one in its place.

use super::boxes::{self, SEAL_HINTS, SEAL_SESSION, Sealed, Sealer};
use super::{Encryption, Identity, PublicKey, Secrets, Signer, Signing, WriterKey, recipients, signers};
use crate::{ChunkId, Config, Error, Hash};
use ring::hmac;
use std::sync::Arc;
use store::Store;
use x25519_dalek::StaticSecret;

/// The keys that somebody comes with.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// What a reader holds; any of them may be a recipient.
    pub identities: Vec<Identity>,
    /// What a backup job holds.
    pub writer: Option<WriterKey>,
    /// The fingerprint that the repository's keys must have.
    pub pinned: Option<String>,
}

impl Access {
    fn is_empty(&self) -> bool {
        self.identities.is_empty() && self.writer.is_none() && self.pinned.is_none()
    }
}

/// How content is named.
#[derive(Debug)]
enum Ids {
    /// By its SHA-256.
    Plain,
    /// By an HMAC-SHA-256.
    Keyed(hmac::Key),
    /// Not known: neither a reader nor a writer.
    Unknown,
}

/// The keys of one repository, as far as they are held.
#[derive(Debug)]
pub(crate) struct Keyring {
    encryption: Option<Encryption>,
    ids: Ids,
    private: Option<StaticSecretHeld>,
    hints: Option<Sealer>,
    signing: Option<Signing>,
    secrets: Option<Secrets>,
    signers: Vec<Signer>,
}

/// A private key that does not print itself.
struct StaticSecretHeld(StaticSecret);

impl std::fmt::Debug for StaticSecretHeld {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Something that opens closed sections.
pub(crate) trait Opens: Send + Sync {
    /// Opens one. [`Error::Sealed`] when the key is not held, damage when it is and the box does not open.
    fn open(&self, sealed: &Sealed, object: &str) -> Result<Vec<u8>, Error>;
}

impl Opens for Keyring {
    fn open(&self, sealed: &Sealed, object: &str) -> Result<Vec<u8>, Error> {
        let opened = match (sealed.seal, self.private.as_ref().zip(self.encryption.as_ref()), &self.hints) {
            (SEAL_SESSION, Some((private, encryption)), _) => {
                self.same_key(sealed, Some(encryption.key_id()), object)?;
                boxes::open_with(&private.0, &encryption.public_key.0, sealed)?
            }
            (SEAL_HINTS, _, Some(hints)) => {
                self.same_key(sealed, Some(hints.key_id), object)?;
                hints.open(sealed)
            }
            _ => return Err(Error::Sealed { object: object.to_owned() }),
        };
        opened.ok_or_else(|| Error::damaged(object, "its sealed section does not open: it was changed"))
    }
}

impl Opens for Sealer {
    fn open(&self, sealed: &Sealed, object: &str) -> Result<Vec<u8>, Error> {
        Self::open(self, sealed).ok_or_else(|| Error::Sealed { object: object.to_owned() })
    }
}

impl Keyring {
    /// Compares what was given with what the repository says of itself, and unlocks what can be.
    pub async fn unlock(store: &dyn Store, config: &Config, access: &Access) -> Result<Self, Error> {
        let Some(encryption) = config.encryption.clone() else {
            if access.is_empty() {
                return Ok(Self::plain());
            }
            let what = format!("keys were given, and {} is not encrypted", store.location());
            return Err(Error::Keys { what });
        };
        if let Some(pinned) = access.pinned.as_deref().filter(|pinned| *pinned != encryption.fingerprint()) {
            let what = format!("{} has the keys {}, not {pinned}", store.location(), encryption.fingerprint());
            return Err(Error::Keys { what });
        }
        let mut keyring = Self { encryption: Some(encryption.clone()), ids: Ids::Unknown, ..Self::plain() };
        if let Some(writer) = &access.writer {
            if writer.repository() != config.id || writer.encryption() != encryption {
                let what =
                    format!("the writer's key is of another repository ({}) than {}", writer.repository(), config.id);
                return Err(Error::Keys { what });
            }
            keyring.know(&writer.id_key()[..], &writer.hints_key())?;
            keyring.signing = Some(writer.signing()?);
        }
        if !access.identities.is_empty() {
            keyring.unlock_with(store, &encryption, &access.identities).await?;
        }
        (_, keyring.signers) = signers::read(store, &config.id, encryption.root).await?;
        // Whatever such a writer made, nobody would believe; it must not find that out on the day of a restore.
        if let Some(own) = access.writer.as_ref().and(keyring.signing.as_ref()).map(Signing::public)
            && !keyring.knows(own)
        {
            let what = format!("the writer that signs as {own} is not known to {} (any more)", store.location());
            return Err(Error::Keys { what });
        }
        Ok(keyring)
    }

    async fn unlock_with(
        &mut self,
        store: &dyn Store,
        encryption: &Encryption,
        identities: &[Identity],
    ) -> Result<(), Error> {
        let Some(secrets) = recipients::unwrap(store, identities).await? else {
            let names: Vec<String> = identities.iter().map(|identity| identity.recipient().to_string()).collect();
            let what = format!("{} is not a recipient of {}", names.join(", "), store.location());
            return Err(Error::Keys { what });
        };
        if secrets.encryption()? != *encryption {
            let what = format!("the keys that are wrapped in {} are not those it is sealed with", store.location());
            return Err(Error::Keys { what });
        }
        self.hold(secrets)
    }

    /// An unencrypted repository's.
    pub fn plain() -> Self {
        Self {
            encryption: None,
            ids: Ids::Plain,
            private: None,
            hints: None,
            signing: None,
            secrets: None,
            signers: Vec::new(),
        }
    }

    /// All of a new repository's.
    pub fn of(secrets: Secrets) -> Result<Self, Error> {
        let mut keyring = Self { encryption: Some(secrets.encryption()?), ids: Ids::Unknown, ..Self::plain() };
        keyring.hold(secrets)?;
        Ok(keyring)
    }

    fn hold(&mut self, secrets: Secrets) -> Result<(), Error> {
        self.know(&secrets.id_key()?[..], &*secrets.hints_key()?)?;
        self.private = Some(StaticSecretHeld(secrets.private()?));
        if self.signing.is_none() {
            self.signing = Some(secrets.root()?);
        }
        self.secrets = Some(secrets);
        Ok(())
    }

    fn know(&mut self, id_key: &[u8], hints_key: &[u8; 32]) -> Result<(), Error> {
        self.ids = Ids::Keyed(hmac::Key::new(hmac::HMAC_SHA256, id_key));
        self.hints = Some(Sealer::hints(hints_key)?);
        Ok(())
    }

    fn same_key(&self, sealed: &Sealed, held: Option<[u8; 16]>, object: &str) -> Result<(), Error> {
        match held == Some(sealed.key_id) {
            true => Ok(()),
            false => Err(Error::damaged(object, "it is sealed with another repository's key")),
        }
    }

    /// Whether closed sections are sealed here.
    pub fn is_encrypted(&self) -> bool {
        self.encryption.is_some()
    }

    /// The id of some content; `None` when the key of ids is not held.
    pub fn try_id(&self, parts: &[&[u8]]) -> Option<ChunkId> {
        match &self.ids {
            Ids::Plain => Some(ChunkId::of_parts(parts)),
            Ids::Keyed(key) => {
                let mut context = hmac::Context::with_key(key);
                parts.iter().for_each(|part| context.update(part));
                let mut hash = [0; 32];
                hash.copy_from_slice(context.sign().as_ref());
                Some(ChunkId(Hash(hash)))
            }
            Ids::Unknown => None,
        }
    }

    /// The id of some content that is to be written.
    pub fn id(&self, content: &[u8]) -> Result<ChunkId, Error> {
        self.try_id(&[content]).ok_or_else(Self::no_writer)
    }

    /// A key for one session's writes; `None` where nothing is sealed.
    ///
    /// # Errors
    /// [`Error::Keys`] when this process may not write.
    pub fn session(&self) -> Result<Option<Arc<Sealer>>, Error> {
        let Some(encryption) = &self.encryption else { return Ok(None) };
        if self.signing.is_none() || matches!(self.ids, Ids::Unknown) {
            return Err(Self::no_writer());
        }
        Ok(Some(Arc::new(Sealer::session(encryption)?)))
    }

    /// The writers' key for hints; `None` where nothing is sealed, or the key is not held.
    pub fn hints(&self) -> Option<&Sealer> {
        self.hints.as_ref()
    }

    /// The key that manifests are signed with; `None` where nothing is signed.
    pub fn signing(&self) -> Option<&Signing> {
        self.signing.as_ref()
    }

    /// All keys.
    ///
    /// # Errors
    /// [`Error::Sealed`] without an identity, [`Error::Keys`] where nothing is encrypted.
    pub fn secrets(&self) -> Result<&Secrets, Error> {
        if !self.is_encrypted() {
            return Err(Error::Keys { what: "this repository is not encrypted: it has no keys".to_owned() });
        }
        self.secrets.as_ref().ok_or_else(|| Error::Sealed { object: "keys/".to_owned() })
    }

    pub fn signers(&self) -> &[Signer] {
        &self.signers
    }

    /// Whether somebody's signature counts.
    fn knows(&self, key: PublicKey) -> bool {
        let is_root = self.encryption.as_ref().is_some_and(|encryption| encryption.root == key);
        is_root || self.signers.iter().any(|signer| signer.public == key)
    }

    /// Whether a frame that must be signed may be believed.
    pub fn believe(&self, signer: Option<PublicKey>, object: &str) -> Result<(), Error> {
        match signer {
            _ if !self.is_encrypted() => Ok(()),
            Some(key) if self.knows(key) => Ok(()),
            other => Err(Error::Signer { object: object.to_owned(), signer: other.map(|key| key.to_string()) }),
        }
    }

    fn no_writer() -> Error {
        Error::Keys {
            what: "this repository is encrypted, and neither a writer's key nor an identity was given".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn nothing_of_a_keyring_prints() {
        let secrets = Secrets::generate().unwrap();
        let text = secrets.to_text().unwrap();
        let shown = format!("{:?}", Keyring::of(secrets).unwrap());
        let values: serde_json::Value = serde_json::from_str(&text).unwrap();
        for value in values.as_object().unwrap().values() {
            assert!(!shown.contains(value.as_str().unwrap()), "{shown}");
        }
    }
}
