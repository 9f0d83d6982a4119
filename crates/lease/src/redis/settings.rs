//! What a Redis server says about itself, and what of that makes leases unsafe.
//!
//! Owns reading `INFO` and the judgement. Promises that what could not be read is told as a note, never taken for fine in silence.

use crate::Error;

/// Of `INFO`, which is allowed where `CONFIG` often is not.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// The server did not let us read anything.
    refused: bool,
    policy: Option<String>,
    role: Option<String>,
    /// Replicas that are connected.
    pub(super) replicas: u64,
    appends: Option<bool>,
}

impl Settings {
    /// Of a server that tells nothing.
    pub(super) fn refused() -> Settings {
        Settings { refused: true, ..Settings::default() }
    }

    /// Lines of `name:value`.
    pub(super) fn read(text: &str) -> Settings {
        let of = |name: &str| {
            text.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':').map(str::to_owned))
        };
        Settings {
            refused: false,
            policy: of("maxmemory_policy"),
            role: of("role"),
            replicas: of("connected_slaves").and_then(|number| number.parse().ok()).unwrap_or(0),
            appends: of("aof_enabled").map(|value| value == "1"),
        }
    }

    /// Notes for an operator.
    ///
    /// # Errors
    /// [`Error::Config`] where a lease may vanish by itself.
    pub(super) fn judge(&self, location: &str) -> Result<Vec<String>, Error> {
        let mut notes = Vec::new();
        match self.policy.as_deref() {
            Some("noeviction") => {}
            Some(policy) => {
                let what = format!("{location} may evict a lease that is held: its maxmemory-policy is {policy}");
                return Err(Error::config(what)
                    .advise("set maxmemory-policy to noeviction there, or use a server that is no cache"));
            }
            None => notes.push(format!("{location} does not tell its maxmemory-policy; it has to be noeviction")),
        }
        if self.role.as_deref().is_some_and(|role| role != "master") {
            let what = format!("{location} is a replica, and takes no leases");
            return Err(Error::config(what).advise("name the primary in the lease's URL"));
        }
        if self.refused {
            notes.push(format!("{location} does not tell its replicas: a failover may forget a lease"));
        }
        if self.appends == Some(false) {
            notes.push(format!("{location} keeps no append-only file: a restart may forget a lease"));
        }
        Ok(notes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_server_that_may_evict_a_lease_is_refused() {
        let text = |policy: &str, role: &str| {
            format!("# Memory\r\nmaxmemory_policy:{policy}\r\nrole:{role}\r\nconnected_slaves:2\r\naof_enabled:1\r\n")
        };
        let good = Settings::read(&text("noeviction", "master"));
        assert_eq!((good.replicas, good.judge("redis://h").unwrap()), (2, Vec::new()));
        for policy in ["volatile-lru", "allkeys-lfu", "volatile-ttl"] {
            let error = Settings::read(&text(policy, "master")).judge("redis://h").unwrap_err();
            assert!(matches!(&error, Error::Config { what, .. } if what.contains(policy)), "{error}");
        }
        assert!(Settings::read(&text("noeviction", "slave")).judge("redis://h").is_err());
    }

    #[test]
    fn what_is_not_told_is_a_note() {
        let notes = Settings::refused().judge("redis://h").unwrap();
        assert!(notes.len() == 2 && notes[0].contains("noeviction"), "{notes:?}");
        assert_eq!(
            Settings::read("maxmemory_policy:noeviction\r\naof_enabled:0\r\n").judge("redis://h").unwrap().len(),
            1
        );
    }
}
