//! Where a database is: a parsed `mongodb://` or `mongodb+srv://` URL.
//!
//! Owns hosts, user, password, database and the options of MongoDB's connection strings (<https://www.mongodb.com/docs/manual/reference/connection-string-options/>). Promises that neither `Debug` nor
//! any error shows the password, and that the driver's own reader of URLs, whose errors quote them, never sees it. Refuses options it does not know, by name, because one that is ignored is one that is believed.

use crate::failure;
use engine::address::{decode, encode};
use engine::{Error, Kind, Spot};
use mongodb::options::{AuthMechanism, ClientOptions, Credential};
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// A database's address and credentials.
#[derive(Clone)]
pub struct Endpoint {
    srv: bool,
    hosts: String,
    pub(crate) user: String,
    password: Option<Zeroizing<String>>,
    database: String,
    mechanism: Option<AuthMechanism>,
    auth_source: Option<String>,
    /// Options that the driver reads, as they stand in the URL.
    options: Vec<(String, String)>,
}

const FORM: &str = "write mongodb://USER@HOST:PORT/DATABASE?authSource=admin";
/// What is said when the rest of a password may stand where something else should.
const ESCAPES: &str =
    "the database URL's hosts cannot be read; in a password, : / ? # @ are written as %3A %2F %3F %23 %40";
/// How long to look for a server that answers.
const PATIENCE: Duration = Duration::from_secs(20);
/// More than a job has workers.
const MOST_CONNECTIONS: u32 = 100;
/// Options that the driver understands and that mean something here, or do no harm.
const KNOWN: [&str; 27] = [
    "appname",
    "compressors",
    "connecttimeoutms",
    "directconnection",
    "heartbeatfrequencyms",
    "journal",
    "localthresholdms",
    "maxidletimems",
    "maxpoolsize",
    "maxstalenessseconds",
    "minpoolsize",
    "readconcernlevel",
    "readpreference",
    "readpreferencetags",
    "replicaset",
    "retryreads",
    "retrywrites",
    "serverselectiontimeoutms",
    "sockettimeoutms",
    "ssl",
    "tls",
    "tlsallowinvalidcertificates",
    "tlscafile",
    "tlscertificatekeyfile",
    "tlsinsecure",
    "w",
    "wtimeoutms",
];

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// Hosts and database; never credentials.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.database, self.server())
    }
}

impl Endpoint {
    /// Parses `mongodb://user:password@host:port,host:port/database?option=value`. `password` overrides the URL's.
    ///
    /// # Errors
    /// [`Kind::Config`] naming what is wrong, never repeating the URL.
    pub fn parse(url: &str, password: Option<&str>) -> Result<Self, Error> {
        let bad = |what: String| Error::new(Kind::Config, what).hint(FORM);
        let (scheme, rest) = url.split_once("://").ok_or_else(|| bad("that is not a database's URL".to_owned()))?;
        let srv = match scheme {
            "mongodb" => false,
            "mongodb+srv" => true,
            other => return Err(bad(format!("{other}:// is not a MongoDB URL"))),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if query.contains('@') {
            return Err(bad(ESCAPES.to_owned()));
        }
        let (authority, database) =
            rest.split_once('/').ok_or_else(|| bad("the database URL names no database".to_owned()))?;
        let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, in_url) = user.split_once(':').map_or((user, None), |(user, password)| (user, Some(password)));
        let in_url = in_url.map(decode).transpose().map_err(bad)?;
        let mut endpoint = Self {
            srv,
            hosts: plain_hosts(hosts).map_err(bad)?,
            user: decode(user).map_err(bad)?,
            password: password.map(str::to_owned).or(in_url).map(Zeroizing::new),
            database: decode(database).map_err(bad)?,
            mechanism: None,
            auth_source: None,
            options: Vec::new(),
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            endpoint.set(&decode(name).map_err(bad)?, &decode(value).map_err(bad)?).map_err(bad)?;
        }
        if endpoint.database.is_empty() {
            return Err(bad("the database URL names no database".to_owned()));
        }
        if let Some(odd) = endpoint.database.chars().find(|c| "/\\. \"$*<>:|?@\0".contains(*c)) {
            // Not the name itself: it may be the rest of a password with a slash in it.
            return Err(bad(format!("the database's name in the URL has {odd:?} in it, which none may have")));
        }
        Ok(endpoint)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name.to_ascii_lowercase().as_str() {
            "authsource" => self.auth_source = Some(value.to_owned()),
            "authmechanism" => {
                self.mechanism = Some(match value {
                    "SCRAM-SHA-1" => AuthMechanism::ScramSha1,
                    "SCRAM-SHA-256" => AuthMechanism::ScramSha256,
                    "MONGODB-X509" => AuthMechanism::MongoDbX509,
                    "PLAIN" => AuthMechanism::Plain,
                    _ => return Err(format!("authMechanism={value} is not one that this version knows")),
                });
            }
            known if KNOWN.contains(&known) => self.options.push((name.to_owned(), value.to_owned())),
            plain if plain.bytes().all(|c| c.is_ascii_alphanumeric()) => {
                return Err(format!("the URL's option {name:?} is not known here"));
            }
            _ => return Err("the URL has an option that is not known here".to_owned()),
        }
        Ok(())
    }

    /// Hosts and ports, for people.
    #[must_use]
    pub fn server(&self) -> String {
        let port = |host: &str| if self.srv || has_port(host) { host.to_owned() } else { format!("{host}:27017") };
        self.hosts.split(',').map(port).collect::<Vec<_>>().join(",")
    }

    /// The place, for marks.
    pub(crate) fn spot(&self) -> Spot {
        Spot::new(self, self.url(), &self.server(), self.database())
    }

    /// The URL without its password, for commands that an error proposes.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.srv { "mongodb+srv" } else { "mongodb" };
        let user = if self.user.is_empty() { String::new() } else { format!("{}@", encode(&self.user)) };
        let source = self.auth_source.iter().map(|source| format!("authSource={}", encode(source)));
        let options = self.options.iter().map(|(name, value)| format!("{name}={}", encode(value)));
        let query = options.chain(source).collect::<Vec<_>>().join("&");
        let query = if query.is_empty() { query } else { format!("?{query}") };
        format!("{scheme}://{user}{}/{}{query}", self.hosts, encode(&self.database))
    }

    /// The database's name.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The same servers and credentials, another database.
    #[must_use]
    pub fn of_database(&self, database: &str) -> Self {
        // Whom a user belongs to does not change with it.
        let auth_source = Some(self.auth_source());
        Self { database: database.to_owned(), auth_source, ..self.clone() }
    }

    /// The database that knows the user.
    fn auth_source(&self) -> String {
        let default = || if self.srv { "admin".to_owned() } else { self.database.clone() };
        self.auth_source.clone().unwrap_or_else(default)
    }

    /// What the driver needs.
    pub(crate) async fn options(&self) -> Result<ClientOptions, Error> {
        let query: Vec<String> =
            self.options.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let scheme = if self.srv { "mongodb+srv" } else { "mongodb" };
        let url = format!("{scheme}://{}/?{}", self.hosts, query.join("&"));
        let what = format!("read the address of {}", self.server());
        let mut options = ClientOptions::parse(url).await.map_err(|error| failure::map(&what, &error))?;
        if !self.user.is_empty() || self.mechanism == Some(AuthMechanism::MongoDbX509) {
            let mut credential = Credential::default();
            credential.username = Some(self.user.clone()).filter(|user| !user.is_empty());
            credential.password = self.password.as_ref().map(|password| password.as_str().to_owned());
            credential.mechanism = self.mechanism.clone();
            credential.source = Some(match self.mechanism {
                Some(AuthMechanism::MongoDbX509 | AuthMechanism::Plain) => "$external".to_owned(),
                _ => self.auth_source(),
            });
            options.credential = Some(credential);
        }
        options.app_name = options.app_name.or_else(|| Some("longshore".to_owned()));
        options.server_selection_timeout = options.server_selection_timeout.or(Some(PATIENCE));
        options.connect_timeout = options.connect_timeout.or(Some(PATIENCE));
        // Workers hold a connection each, for minutes while indexes are built; whoever says that the run lives needs one, too.
        options.max_pool_size = options.max_pool_size.or(Some(MOST_CONNECTIONS));
        Ok(options)
    }
}

fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(before, port)| {
        !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()) && (!before.contains(':') || before.ends_with(']'))
    })
}

/// Hosts have letters of few kinds; whatever else stands there may be the rest of a password with an `@` in it.
fn plain_hosts(hosts: &str) -> Result<String, String> {
    let hosts = decode(hosts)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:,[]/".contains(c);
    if hosts.is_empty() {
        return Err("the database URL names no host".to_owned());
    }
    let has_other = |host: &str| host.contains(':') && !has_port(host) && !host.ends_with(']') && !host.contains('/');
    if !hosts.chars().all(plain) || hosts.split(',').any(has_other) {
        return Err(ESCAPES.to_owned());
    }
    Ok(hosts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn urls_are_read_and_passwords_never_shown() {
        let url = "mongodb://ann:s%3Ac%2Fret@h1,h2:27018/app?replicaSet=rs0&authSource=admin&w=majority";
        let endpoint = Endpoint::parse(url, None).unwrap();
        assert_eq!((endpoint.server().as_str(), endpoint.database()), ("h1:27017,h2:27018", "app"));
        assert_eq!(endpoint.password.as_ref().unwrap().as_str(), "s:c/ret");
        assert!(!format!("{endpoint} {endpoint:?}").contains("ret"));
        assert_eq!(Endpoint::parse(url, Some("other")).unwrap().password.unwrap().as_str(), "other");
        assert_eq!(endpoint.url(), "mongodb://ann@h1,h2:27018/app?replicaSet=rs0&w=majority&authSource=admin");
        assert_eq!(endpoint.of_database("b").auth_source(), "admin");
        assert_eq!(Endpoint::parse("mongodb://u@h/app", None).unwrap().of_database("b").auth_source(), "app");
    }

    #[test]
    fn what_is_wrong_is_named_without_the_url() {
        for (url, said) in [
            ("mongodb://u:hunter2@h", "no database"),
            ("mongodb://u:hunter2@h/", "no database"),
            ("mongodb://u:hunter2@h/a.b", "'.'"),
            ("mongodb://u:hun/ter2@h/d", "hosts cannot be read"),
            ("mongodb://u:1234/ter2@h/d", "in it"),
            ("mongodb://u:hunter2@/d", "no host"),
            ("mongodb://hunter2:hunter2/d", "hosts cannot be read"),
            ("mongodb://u:a/b?hunter2@h/d", "hosts cannot be read"),
            ("mongodb://u:p@h/d?hunter2#=1", "not known here"),
            ("mongodb://u:hunter2@h/d?tlsd=true", "tlsd"),
            ("mongodb://u:hunter2@h/d?authMechanism=GSSAPI", "GSSAPI"),
            ("postgres://u:hunter2@h/d", "postgres"),
        ] {
            let error = Endpoint::parse(url, None).unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
            assert!(!error.to_string().contains("ter2"), "{error}");
        }
    }

    #[tokio::test]
    async fn the_driver_is_told_everything_but_the_password() {
        let endpoint = Endpoint::parse("mongodb://ann:pw@h1,h2:27018/app?replicaSet=rs0", None).unwrap();
        let options = endpoint.options().await.unwrap();
        assert_eq!(options.repl_set_name.as_deref(), Some("rs0"));
        assert_eq!(options.hosts.len(), 2);
        assert_eq!(options.credential.unwrap().source.as_deref(), Some("app"));
        let wrong = Endpoint::parse("mongodb://ann:pw@h1/app?tls=perhaps", None).unwrap().options().await.unwrap_err();
        assert_eq!(wrong.kind, Kind::Config);
    }
}
