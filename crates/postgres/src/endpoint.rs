//! Where a database is: a parsed `postgres://` URL.
//!
//! Owns host, port, user, password, database and TLS mode, for our own connections and, as environment and a password
//! file, for the vendor's tools. Promises that neither `Debug` nor any error shows the password. Refuses parameters it does
//! not know, by name, because one that is ignored is one that is believed.

use engine::address::{decode, encode};
use engine::{Error, Kind, Spot};
use std::fmt;
use std::path::PathBuf;
use url::Url;
use zeroize::Zeroizing;

/// How TLS is used, as in the vendor's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl TlsMode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// A database's address and credentials.
#[derive(Clone)]
pub struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: Option<Zeroizing<String>>,
    pub(crate) database: String,
    pub(crate) tls: TlsMode,
    pub(crate) root_cert: Option<PathBuf>,
    /// Whether sessions begin with event triggers off: one that fires at logins would write into a copy before it is compared.
    pub(crate) silent: bool,
    /// The role that sessions act as once they are connected; `user` when `None`.
    pub(crate) acting_role: Option<String>,
    /// The database to work from while this one is not there; one that every server has when `None`.
    pub(crate) maintenance: Option<String>,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// Host, port and database; never credentials.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.database, self.server())
    }
}

impl Endpoint {
    /// Parses `postgres://user:password@host:port/database?sslmode=…&sslrootcert=…`; a Unix socket's directory goes
    /// into `?host=/run/postgresql`. `password` overrides the URL's.
    ///
    /// # Errors
    /// [`Kind::Config`] naming what is wrong, never repeating the URL.
    pub fn parse(url: &str, password: Option<&str>) -> Result<Self, Error> {
        let bad = |what: String| Error::new(Kind::Config, what).hint("write postgres://USER@HOST:PORT/DATABASE");
        let parsed = Url::parse(url).map_err(|e| bad(format!("the database URL cannot be read: {e}")))?;
        if !matches!(parsed.scheme(), "postgres" | "postgresql") {
            return Err(bad(format!("{}:// is not a PostgreSQL URL", parsed.scheme())));
        }
        let database = decode(parsed.path().trim_start_matches('/')).map_err(bad)?;
        if database.is_empty() {
            return Err(bad("the database URL names no database".to_owned()));
        }
        let in_url = parsed.password().map(decode).transpose().map_err(bad)?;
        let mut endpoint = Self {
            host: decode(parsed.host_str().unwrap_or_default()).map_err(bad)?,
            port: parsed.port().unwrap_or(5432),
            user: decode(parsed.username()).map_err(bad)?,
            password: password.map(str::to_owned).or(in_url).map(Zeroizing::new),
            database,
            tls: TlsMode::Prefer,
            root_cert: None,
            silent: false,
            acting_role: None,
            maintenance: None,
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
        // The vendor's tools of older versions know no system store; what only half of a backup can verify is refused whole.
        if matches!(endpoint.tls, TlsMode::VerifyCa | TlsMode::VerifyFull) && endpoint.root_cert.is_none() {
            let what = format!("sslmode={} needs the authority to verify with", endpoint.tls.as_str());
            return Err(Error::new(Kind::Config, what).hint(
                "add &sslrootcert=/path/ca.pem to the URL; the system's is often /etc/ssl/certs/ca-certificates.crt",
            ));
        }
        endpoint.host = endpoint.host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(endpoint)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "host" => value.clone_into(&mut self.host),
            "port" => self.port = value.parse().map_err(|_| "the URL's port is not a number".to_owned())?,
            "user" => value.clone_into(&mut self.user),
            "sslrootcert" => self.root_cert = Some(PathBuf::from(value)),
            "sslmode" => {
                self.tls = match value {
                    "disable" => TlsMode::Disable,
                    "prefer" | "allow" => TlsMode::Prefer,
                    "require" => TlsMode::Require,
                    "verify-ca" => TlsMode::VerifyCa,
                    "verify-full" => TlsMode::VerifyFull,
                    other => return Err(format!("sslmode={other} is not a mode PostgreSQL knows")),
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

    /// The database's name.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The place, for marks.
    pub(crate) fn spot(&self) -> Spot {
        Spot::new(self, self.url(), &self.server(), self.database())
    }

    /// The URL without its password, for commands that an error proposes.
    pub(crate) fn url(&self) -> String {
        let (user, database) = (encode(&self.user), encode(&self.database));
        if self.host.starts_with('/') {
            return format!("postgres://{user}@localhost:{}/{database}?host={}", self.port, self.host);
        }
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("postgres://{user}@{host}:{}/{database}", self.port)
    }

    /// The same server and credentials, another database.
    pub(crate) fn with_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }

    /// The same database, where sessions act as that role.
    pub(crate) fn acting_as(&self, role: Option<&str>) -> Self {
        Self { acting_role: role.map(str::to_owned), ..self.clone() }
    }

    /// Gives a vendor's tool what it needs to connect: environment for what may show, a password file for what may not.
    pub(crate) fn lend(&self, command: process::Command) -> Result<process::Command, process::Error> {
        let mut command = command
            .env("PGHOST", &self.host)
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", &self.user)
            .env("PGDATABASE", &self.database)
            .env("PGSSLMODE", self.tls.as_str())
            .env("PGCONNECT_TIMEOUT", "15")
            .env("PGAPPNAME", "longshore");
        if let Some(path) = &self.root_cert {
            command = command.env("PGSSLROOTCERT", path);
        }
        match &self.password {
            Some(password) => {
                let escaped = Zeroizing::new(password.replace('\\', "\\\\").replace(':', "\\:"));
                let line = Zeroizing::new(format!("*:*:*:*:{}\n", escaped.as_str()));
                command.secret_file("PGPASSFILE", "pgpass", line.as_bytes())
            }
            None => Ok(command),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn urls_are_read_and_passwords_never_shown() {
        let url = "postgres://ann:s%3Ac%2Fret@[::1]:5433/My%20db?sslmode=require";
        let endpoint = Endpoint::parse(url, None).unwrap();
        assert_eq!((endpoint.host.as_str(), endpoint.port, endpoint.user.as_str()), ("::1", 5433, "ann"));
        assert_eq!(endpoint.database, "My db");
        assert_eq!(endpoint.password.as_ref().unwrap().as_str(), "s:c/ret");
        assert!(!format!("{endpoint} {endpoint:?}").contains("ret"));
    }

    #[test]
    fn a_url_for_a_proposed_command_names_the_same_place_without_the_password() {
        for url in
            ["postgres://ann:hunter2@[::1]:5433/My%20db", "postgres://a:hunter2@x/d?host=/run/pg", "postgres://a@h/d"]
        {
            let (endpoint, again) = (Endpoint::parse(url, None).unwrap(), Endpoint::parse(url, None).unwrap().url());
            let other = Endpoint::parse(&again, None).unwrap();
            assert!(!again.contains("hunter2"));
            assert_eq!(
                (endpoint.server(), endpoint.database, endpoint.user),
                (other.server(), other.database, other.user)
            );
        }
    }

    #[test]
    fn what_is_wrong_is_named_without_the_url() {
        for (url, said) in [
            ("postgres://u:hunter2@h", "no database"),
            ("postgres://u:hunter2@h/d?sslmod=require", "sslmod"),
            ("postgres://:hunter2@h/d", "no user"),
            ("postgres://u:hunter2@h/d?sslmode=verify-full", "authority"),
            ("mysql://u:hunter2@h/d", "mysql"),
            ("postgres://u:hunter2@h:99999/d", "port"),
        ] {
            let error = Endpoint::parse(url, None).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
