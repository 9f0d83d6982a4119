//! URLs that may be secrets.
//!
//! Promises that an [`Endpoint`] shows as scheme, host and port alone, however it is formatted: whoever knows the path of a webhook
//! may post to it. Names and passwords in a URL become a header. Refuses what is not HTTP.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use url::{Position, Url};

use crate::settings::Problem;

/// Where something is told.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// Without name and password.
    url: Url,
    authorization: Option<String>,
}

impl Endpoint {
    /// Reads the value of an option. A problem names the option, never the value.
    pub fn parse(option: &'static str, text: &str) -> Result<Self, Problem> {
        let problem = |what: &str| Problem {
            what: format!("the URL of --{option} {what}"),
            hint: "write it like https://host.example/path".to_owned(),
        };
        let mut url = Url::parse(text.trim()).map_err(|error| problem(&format!("cannot be read: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(problem("begins with neither http:// nor https://"));
        }
        let authorization = (!url.username().is_empty() || url.password().is_some()).then(|| {
            let [user, password] = [url.username(), url.password().unwrap_or_default()];
            let decoded: Vec<u8> =
                percent_decode_str(user).chain(std::iter::once(b':')).chain(percent_decode_str(password)).collect();
            format!("Basic {}", STANDARD.encode(decoded))
        });
        let stripped = url.set_username("").and_then(|()| url.set_password(None));
        stripped.map_err(|()| problem("has a name or password where there can be none"))?;
        url.set_fragment(None);
        Ok(Self { url, authorization })
    }

    /// The same with more path segments, before the query if there is one. Segments are encoded.
    pub fn below(&self, segments: &[&str]) -> Self {
        let mut below = self.clone();
        // Only a URL without a host has no path to extend, and that is refused above.
        if let Ok(mut path) = below.url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        below
    }

    /// All of it, without name and password. Whoever calls this answers for where it goes.
    pub fn expose(&self) -> &str {
        self.url.as_str()
    }

    /// The value of an `Authorization` header, when the URL has a name or password.
    pub fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// Scheme, host and port.
    pub fn shown(&self) -> String {
        let host = &self.url[Position::BeforeHost..Position::BeforePath];
        format!("{}://{host}", self.url.scheme())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn only_scheme_and_host_show() {
        for (url, shown) in [
            ("https://hooks.example/services/canary", "https://hooks.example"),
            ("http://u:canary@push:9091/canary?key=canary#canary", "http://push:9091"),
            ("https://[::1]:8443/canary", "https://[::1]:8443"),
        ] {
            let endpoint = Endpoint::parse("ping", url).unwrap();
            assert_eq!(endpoint.shown(), shown);
            assert!(!format!("{endpoint:?}").contains("canary"));
        }
    }

    #[test]
    fn names_and_passwords_become_a_header() {
        let endpoint = Endpoint::parse("push-gateway", "https://Aladdin:open%20sesame@host/a/").unwrap();
        assert_eq!(endpoint.expose(), "https://host/a/");
        assert_eq!(endpoint.authorization(), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
    }

    #[test]
    fn segments_come_before_the_query_and_are_encoded() {
        for (url, below) in [
            ("https://hc/ping/1", "https://hc/ping/1/start"),
            ("https://hc/ping/1/?rid=x", "https://hc/ping/1/start?rid=x"),
            ("https://hc", "https://hc/start"),
        ] {
            assert_eq!(Endpoint::parse("ping", url).unwrap().below(&["start"]).expose(), below);
        }
        let encoded = Endpoint::parse("push-gateway", "http://h").unwrap().below(&["source", "a/b ?"]);
        assert_eq!(encoded.expose(), "http://h/source/a%2Fb%20%3F");
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_shown() {
        for wrong in ["canary", "ftp://canary/x", "https://", "file:///canary", "http://h:canary/"] {
            let problem = Endpoint::parse("webhook", wrong).unwrap_err();
            assert!(problem.what.contains("--webhook") && !problem.what.contains("canary"), "{problem:?}");
        }
    }
}
