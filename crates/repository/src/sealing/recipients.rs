//! Recipients: for whom the repository's private key is wrapped.
//!
//! Owns identities and recipients as age knows them (`age-keygen` makes the same), and the objects `keys/<recipient>`: text that
//! carries its own hash, in which `age` itself can open the member `age`. Promises that adding a recipient rewrites nothing else,
//! and that the last one cannot be removed. Refuses recipients of other kinds: what cannot be opened here is no recovery.

use super::Secrets;
use crate::config::{from_text, to_text};
use crate::upload::put_own;
use crate::{Error, Repository, keys, pages};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use store::Store;
use zeroize::Zeroizing;

/// Somebody who can open the repository: an age recipient, `age1…`.
#[derive(Clone)]
pub struct Recipient(age::x25519::Recipient);

impl FromStr for Recipient {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // Whoever mixes them up must not find the secret half in an error.
        if text.trim().to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
            return Err(Error::Keys { what: "a recipient is wanted, and this is a secret identity".to_owned() });
        }
        text.trim().parse().map(Self).map_err(|why: &str| Error::Keys {
            what: format!("{text:?} is not a recipient like age1… (X25519): {why}"),
        })
    }
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The secret half: `AGE-SECRET-KEY-1…`.
#[derive(Clone)]
pub struct Identity(age::x25519::Identity);

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity of {}", self.recipient())
    }
}

impl Identity {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        Self(age::x25519::Identity::generate())
    }

    /// The identities of a file as `age-keygen` writes it: one a line, `#` before comments.
    ///
    /// # Errors
    /// [`Error::Keys`], by number of the line: the text itself is a secret.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, Error> {
        let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line.trim()));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        lines
            .map(|(number, line)| {
                let what = format!("line {number} of what was given as an identity is not one like AGE-SECRET-KEY-1…");
                line.parse().map(Self).map_err(|_: &str| Error::Keys { what })
            })
            .collect()
    }

    /// For whom things are wrapped that this can open.
    #[must_use]
    pub fn recipient(&self) -> Recipient {
        Recipient(self.0.to_public())
    }

    /// The text, for the one file it is written to.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(age::secrecy::ExposeSecret::expose_secret(&self.0.to_string()).to_owned())
    }
}

#[derive(Serialize, Deserialize)]
struct Wrapped {
    recipient: String,
    added: Timestamp,
    age: String,
}

/// Wraps the secrets for a recipient.
pub(crate) async fn wrap(store: &dyn Store, secrets: &Secrets, to: &Recipient, added: Timestamp) -> Result<(), Error> {
    let age = age::encrypt_and_armor(&to.0, secrets.to_text()?.as_bytes());
    let age = age.map_err(|e| Error::Internal(format!("wrap the repository's keys: {e}")))?;
    let key = keys::wrapped(&to.to_string())?;
    let text = to_text(&Wrapped { recipient: to.to_string(), added, age }, key.as_str())?;
    put_own(store, &key, text.into()).await
}

/// What is wrapped for one of these identities; `None` when none of them is a recipient.
pub(crate) async fn unwrap(store: &dyn Store, identities: &[Identity]) -> Result<Option<Secrets>, Error> {
    for identity in identities {
        let key = keys::wrapped(&identity.recipient().to_string())?;
        let bytes = match store.get(&key).await {
            Ok(bytes) => bytes,
            Err(store::Error::NotFound { .. }) => continue,
            Err(source) => return Err(Error::Store { what: format!("read {key}"), source }),
        };
        let damaged = |what: String| Error::damaged(key.as_str(), what);
        let wrapped = parse(&bytes, &key)?;
        let plain =
            Zeroizing::new(age::decrypt(&identity.0, wrapped.age.as_bytes()).map_err(|e| damaged(e.to_string()))?);
        return Secrets::from_text(&plain).map(Some).map_err(|()| damaged("it does not hold keys".to_owned()));
    }
    Ok(None)
}

fn parse(bytes: &[u8], key: &store::Key) -> Result<Wrapped, Error> {
    let damaged = |what: String| Error::damaged(key.as_str(), what);
    let wrapped: Wrapped =
        serde_json::from_value(from_text(bytes, key.as_str())?).map_err(|e| damaged(e.to_string()))?;
    if keys::parse_wrapped(key) != Some(wrapped.recipient.as_str()) {
        return Err(damaged(format!("it is wrapped for {}", wrapped.recipient)));
    }
    Ok(wrapped)
}

impl Repository {
    /// What is wrong with the wrapped keys, one error per object. Each carries its hash: no key is needed to look.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn damaged_wraps(&self) -> Result<Vec<Error>, Error> {
        let (recipients, mut wrong) = (self.recipients().await?, Vec::new());
        for recipient in &recipients {
            let key = keys::wrapped(recipient)?;
            let bytes = self.store.get(&key).await.map_err(Error::store(format!("read {key}")))?;
            wrong.extend(parse(&bytes, &key).err());
        }
        if recipients.is_empty() {
            let folder = keys::wrapped_folder()?;
            wrong.push(Error::damaged(folder.as_str(), "no wrapped key is left: nobody can read this repository"));
        }
        Ok(wrong)
    }

    /// What is wrong with the wrapped keys, in words: without them nobody reads what is sealed. Nothing where nothing is.
    ///
    /// # Errors
    /// The store's.
    pub async fn damaged_keys(&self) -> Result<Vec<String>, Error> {
        let wrong = if self.is_encrypted() { self.damaged_wraps().await? } else { Vec::new() };
        Ok(wrong.into_iter().map(|error| error.to_string()).collect())
    }

    /// The recipients, as text.
    pub async fn recipients(&self) -> Result<Vec<String>, Error> {
        let mut found = Vec::new();
        let note = |entry: &store::Entry| found.extend(keys::parse_wrapped(&entry.key).map(str::to_owned));
        pages::each(self.store.as_ref(), &keys::wrapped_folder()?, "list recipients", note).await?;
        Ok(found)
    }

    /// Lets another identity open this repository. One that can already is fine.
    ///
    /// # Errors
    /// [`Error::Sealed`] without an identity: what is not known cannot be wrapped.
    pub async fn add_recipient(&self, recipient: &Recipient) -> Result<(), Error> {
        let secrets = self.keyring.secrets()?;
        match wrap(self.store.as_ref(), secrets, recipient, self.now().await?).await {
            // Wrapping twice gives other bytes.
            Err(Error::Conflict { .. }) => Ok(()),
            other => other,
        }
    }

    /// Deletes what is wrapped for a recipient. Who has opened it before may have kept the key: this takes a lost device's copy
    /// out of reach of nobody who saw it.
    ///
    /// # Errors
    /// [`Error::Keys`] for the last recipient, and for somebody who is none.
    pub async fn remove_recipient(&self, recipient: &Recipient) -> Result<(), Error> {
        let (all, name) = (self.recipients().await?, recipient.to_string());
        if !all.contains(&name) {
            return Err(Error::Keys { what: format!("{name} is not a recipient of {}", self.location()) });
        }
        if all.len() == 1 {
            return Err(Error::Keys {
                what: format!("{name} is the last recipient: nobody could read this repository"),
            });
        }
        let key = keys::wrapped(&name)?;
        self.store.delete(&key).await.map_err(Error::store(format!("delete {key}")))
    }
}
