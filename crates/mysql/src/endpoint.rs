//! Where a database is: a parsed `mysql://` or `mariadb://` URL.
//!
//! Owns host, port or socket, user, password, schema and TLS mode, with the words that the vendors' clients use for them. Promises that neither
//! `Debug` nor any error shows the password. Refuses parameters it does not know, by name, because one that is ignored is
//! one that is believed.

use engine::address::{decode, encode};
use engine::{Error, Kind, Spot};
use mysql_async::{Opts, OptsBuilder, SslOpts};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;
use zeroize::Zeroizing;

/// How TLS is used, as in the vendor's `ssl-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsMode {
    Disabled,
    Preferred,
    Required,
    VerifyCa,
    VerifyIdentity,
}

/// A database's address and credentials.
#[derive(Clone)]
pub struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) socket: Option<PathBuf>,
    pub(crate) user: String,
    pub(crate) password: Option<Zeroizing<String>>,
    database: String,
    pub(crate) tls: TlsMode,
    pub(crate) authority: Option<PathBuf>,
}

const FORM: &str = "write mysql://USER@HOST:PORT/DATABASE or mariadb://USER@HOST:PORT/DATABASE";
/// A peer that went away without a word is noticed after about this long of silence.
pub(crate) const KEEPALIVE: Duration = Duration::from_secs(60);

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// Host, port and schema; never credentials.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.database, self.server())
    }
}

impl Endpoint {
    /// Parses `mysql://user:password@host:port/database?ssl-mode=…&ssl-ca=…&socket=…`. `password` overrides the URL's.
    ///
    /// # Errors
    /// [`Kind::Config`] naming what is wrong, never repeating the URL.
    pub fn parse(url: &str, password: Option<&str>) -> Result<Self, Error> {
        let bad = |what: String| Error::new(Kind::Config, what).hint(FORM);
        let parsed = Url::parse(url).map_err(|e| bad(format!("the database URL cannot be read: {e}")))?;
        if !matches!(parsed.scheme(), "mysql" | "mariadb") {
            return Err(bad(format!("{}:// is not a MySQL or MariaDB URL", parsed.scheme())));
        }
        let database = decode(parsed.path().trim_start_matches('/')).map_err(bad)?;
        if database.is_empty() {
            return Err(bad("the database URL names no database".to_owned()));
        }
        let in_url = parsed.password().map(decode).transpose().map_err(bad)?;
        let host = decode(parsed.host_str().unwrap_or_default()).map_err(bad)?;
        let mut endpoint = Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: parsed.port().unwrap_or(3306),
            socket: None,
            user: decode(parsed.username()).map_err(bad)?,
            password: password.map(str::to_owned).or(in_url).map(Zeroizing::new),
            database,
            tls: TlsMode::Preferred,
            authority: None,
        };
        for (name, value) in parsed.query_pairs() {
            endpoint.set(&name, &value).map_err(bad)?;
        }
        if endpoint.host.is_empty() {
            return Err(bad("the database URL names no host".to_owned()));
        }
        if endpoint.user.is_empty() {
            return Err(bad("the database URL names no user".to_owned()));
        }
        Ok(endpoint)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "socket" => self.socket = Some(PathBuf::from(value)),
            "ssl-ca" => self.authority = Some(PathBuf::from(value)),
            "ssl-mode" => {
                self.tls = match value.to_ascii_lowercase().replace('-', "_").as_str() {
                    "disabled" => TlsMode::Disabled,
                    "preferred" => TlsMode::Preferred,
                    "required" => TlsMode::Required,
                    "verify_ca" => TlsMode::VerifyCa,
                    "verify_identity" => TlsMode::VerifyIdentity,
                    _ => return Err(format!("ssl-mode={value} is not a mode MySQL knows")),
                }
            }
            other => return Err(format!("the URL's parameter {other:?} is not known here")),
        }
        Ok(())
    }

    /// Host and port, for people.
    #[must_use]
    pub fn server(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The place, for marks.
    pub(crate) fn spot(&self) -> Spot {
        Spot::new(self, self.url(), &self.server(), self.database())
    }

    /// The URL without its password, for commands that an error proposes.
    pub(crate) fn url(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("mysql://{}@{host}:{}/{}", encode(&self.user), self.port, encode(&self.database))
    }

    /// The schema's name.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The same server and credentials, another schema.
    #[must_use]
    pub fn of_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }

    /// What the driver needs for one connection; no schema is chosen yet.
    pub(crate) fn options(&self, encrypted: bool) -> Opts {
        let password = self.password.as_ref().map(|password| password.as_str().to_owned());
        OptsBuilder::default()
            .ip_or_hostname(self.host.clone())
            .tcp_port(self.port)
            .socket(self.socket.as_ref().map(|path| path.display().to_string()))
            .prefer_socket(false)
            .user(Some(self.user.clone()))
            .pass(password)
            .tcp_keepalive(Some(KEEPALIVE))
            .stmt_cache_size(0)
            // The driver would ask the server otherwise, at each connection.
            .max_allowed_packet(Some(MOST_PACKET))
            .wait_timeout(Some(LONG_IDLE_SECONDS))
            .ssl_opts(encrypted.then(|| self.tls_options()))
            .into()
    }

    /// `preferred` and `required` encrypt without asking who is on the other side. The driver cannot check an authority
    /// without the host's name: `verify_ca` checks both here, stricter and never laxer.
    fn tls_options(&self) -> SslOpts {
        let options = SslOpts::default();
        if matches!(self.tls, TlsMode::VerifyCa | TlsMode::VerifyIdentity) {
            let roots = self.authority.iter().map(|path| path.clone().into()).collect::<Vec<_>>();
            let own = !roots.is_empty();
            return options.with_root_certs(roots).with_disable_built_in_roots(own);
        }
        options.with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true)
    }
}

/// The protocol's largest packet, in bytes: what a server sends is not cut short by us.
pub(crate) const MOST_PACKET: usize = 1 << 30;
/// Ours wait in a pool of the driver's own at most this long; we have none.
const LONG_IDLE_SECONDS: usize = 28_800;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn urls_are_read_and_passwords_never_shown() {
        let url = "mariadb://ann:s%3Ac%2Fret@[::1]:3307/My%20db?ssl-mode=REQUIRED";
        let endpoint = Endpoint::parse(url, None).unwrap();
        assert_eq!(
            (endpoint.server().as_str(), endpoint.user.as_str(), endpoint.database()),
            ("::1:3307", "ann", "My db")
        );
        assert_eq!(endpoint.password.as_ref().unwrap().as_str(), "s:c/ret");
        assert_eq!(endpoint.tls, TlsMode::Required);
        assert!(!format!("{endpoint} {endpoint:?}").contains("ret"));
        assert_eq!(Endpoint::parse(url, Some("other")).unwrap().password.unwrap().as_str(), "other");
    }

    #[test]
    fn what_is_wrong_is_named_without_the_url() {
        for (url, said) in [
            ("mysql://u:hunter2@h", "no database"),
            ("mysql://u:hunter2@h/d?sslmod=required", "sslmod"),
            ("mysql://u:hunter2@h/d?ssl-mode=maybe", "maybe"),
            ("mysql://:hunter2@h/d", "no user"),
            ("postgres://u:hunter2@h/d", "postgres"),
            ("mysql://u:hunter2@h:99999/d", "port"),
        ] {
            let error = Endpoint::parse(url, None).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
