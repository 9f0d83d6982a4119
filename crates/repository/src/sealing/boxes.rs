//! Boxes: one closed section, sealed.
//!
//! Owns the two ways of sealing. To the repository's public key: a session draws an ephemeral X25519 key pair, derives one key
//! from it by HKDF-SHA-256 and forgets the private half; its public half stands in every box, so that each object can be opened
//! by itself. And under the hints key, which writers keep. Both are XChaCha20-Poly1305 with a random nonce, and authenticate the
//! frame's header and open section. Promises that a box which was changed, or moved under another header, does not open.
//!
//! Sources: RFC 7748, RFC 5869, draft-irtf-cfrg-xchacha-03.

use super::{Encryption, key_id, random};
use crate::Error;
use chacha20poly1305::aead::AeadInPlace;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use ring::hkdf;
use x25519_dalek::{PublicKey as X25519, StaticSecret};
use zeroize::Zeroizing;

const NONCE: usize = 24;
const TAG: usize = 16;
const EPHEMERAL: usize = 32;
/// What is said to HKDF, so that this key serves nothing else.
const PURPOSE: &[u8] = b"longshore closed section 1";

/// `seal` of frames sealed to the repository's public key.
pub(crate) const SEAL_SESSION: u8 = 1;
/// `seal` of frames sealed under the hints key.
pub(crate) const SEAL_HINTS: u8 = 2;

/// Bytes that sealing adds to a section.
const OVERHEAD_SESSION: usize = EPHEMERAL + NONCE + TAG;
/// The same under the hints key.
const OVERHEAD_HINTS: usize = NONCE + TAG;

/// A closed section as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub(crate) seal: u8,
    pub(crate) key_id: [u8; 16],
    /// Header and open section, as stored.
    pub(crate) bound: Vec<u8>,
    pub(crate) stored: Vec<u8>,
    pub(crate) codec: u8,
    pub(crate) plain_len: u64,
}

/// A key at work: seals sections, and can open those it sealed itself.
pub(crate) struct Sealer {
    pub seal: u8,
    pub key_id: [u8; 16],
    /// What stands before the nonce: the ephemeral public key, or nothing.
    prefix: Vec<u8>,
    cipher: XChaCha20Poly1305,
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("seal", &self.seal).finish_non_exhaustive()
    }
}

impl Sealer {
    /// A fresh key for one session. Only whoever holds the private key can derive it again.
    pub fn session(encryption: &Encryption) -> Result<Self, Error> {
        let secret = StaticSecret::from(random::<32>()?);
        let ephemeral = X25519::from(&secret).to_bytes();
        let key = shared_key(&secret, &encryption.public_key.0, &ephemeral, &encryption.public_key.0)?;
        Ok(Self { seal: SEAL_SESSION, key_id: encryption.key_id(), prefix: ephemeral.to_vec(), cipher: cipher(&key)? })
    }

    /// The writers' own key.
    pub fn hints(key: &[u8; 32]) -> Result<Self, Error> {
        Ok(Self { seal: SEAL_HINTS, key_id: key_id(key), prefix: Vec::new(), cipher: cipher(key)? })
    }

    /// Bytes that sealing adds.
    pub fn overhead(&self) -> usize {
        if self.seal == SEAL_SESSION { OVERHEAD_SESSION } else { OVERHEAD_HINTS }
    }

    /// Bytes of those that stand before the content.
    pub fn before(&self) -> usize {
        self.prefix.len() + NONCE
    }

    /// Seals in place: `space` begins and ends with room for what sealing adds, the content between. `bound` cannot be changed later.
    pub fn seal(&self, bound: &[u8], space: &mut [u8]) -> Result<(), Error> {
        let short = || Error::Internal("no room to seal a section".to_owned());
        let (head, rest) = space.split_at_mut_checked(self.before()).ok_or_else(short)?;
        let at = rest.len().checked_sub(TAG).ok_or_else(short)?;
        let (content, tag) = rest.split_at_mut(at);
        let nonce = random::<NONCE>()?;
        head[..self.prefix.len()].copy_from_slice(&self.prefix);
        head[self.prefix.len()..].copy_from_slice(&nonce);
        let made = self.cipher.encrypt_in_place_detached(XNonce::from_slice(&nonce), bound, content);
        tag.copy_from_slice(&made.map_err(|_| Error::Internal("a section is too long to be sealed".to_owned()))?);
        Ok(())
    }

    /// Opens what this very key has sealed; `None` for anything else.
    pub fn open(&self, sealed: &Sealed) -> Option<Vec<u8>> {
        let rest = sealed.stored.strip_prefix(self.prefix.as_slice())?;
        (sealed.seal == self.seal).then(|| unseal(&self.cipher, &sealed.bound, rest))?
    }
}

/// Opens a box that was sealed to the public key of this private one; `None` when it was changed, or is another's.
pub(crate) fn open_with(private: &StaticSecret, public: &[u8; 32], sealed: &Sealed) -> Result<Option<Vec<u8>>, Error> {
    let Some((ephemeral, rest)) = sealed.stored.split_first_chunk::<EPHEMERAL>() else { return Ok(None) };
    let Ok(key) = shared_key(private, ephemeral, ephemeral, public) else { return Ok(None) };
    Ok(unseal(&cipher(&key)?, &sealed.bound, rest))
}

/// `rest` is nonce, content and tag.
fn unseal(cipher: &XChaCha20Poly1305, bound: &[u8], rest: &[u8]) -> Option<Vec<u8>> {
    let (nonce, rest) = rest.split_at_checked(NONCE)?;
    let (content, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
    let mut content = content.to_vec();
    cipher.decrypt_in_place_detached(XNonce::from_slice(nonce), bound, &mut content, tag.into()).ok()?;
    Some(content)
}

fn cipher(key: &[u8; 32]) -> Result<XChaCha20Poly1305, Error> {
    XChaCha20Poly1305::new_from_slice(key).map_err(|_| Error::Internal("a key has the wrong length".to_owned()))
}

/// The key that both sides derive: from their own private key and the other's public one, bound to both public keys.
fn shared_key(
    own: &StaticSecret,
    other: &[u8; 32],
    ephemeral: &[u8; 32],
    public: &[u8; 32],
) -> Result<Zeroizing<[u8; 32]>, Error> {
    let shared = own.diffie_hellman(&X25519::from(*other));
    if !shared.was_contributory() {
        return Err(Error::Internal("a public key is one that gives no secret".to_owned()));
    }
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, &[ephemeral.as_slice(), public.as_slice()].concat());
    let mut key = Zeroizing::new([0; 32]);
    salt.extract(shared.as_bytes())
        .expand(&[PURPOSE], hkdf::HKDF_SHA256)
        .and_then(|out| out.fill(key.as_mut()))
        .map_err(|_| Error::Internal("a key cannot be derived".to_owned()))?;
    Ok(key)
}
