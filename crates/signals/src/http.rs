//! Requests, and whether they were heard.
//!
//! Promises that each is tried twice at most, and what went wrong in words that hold nothing of the URL's path. Proxies are taken
//! from the usual variables (`HTTPS_PROXY`, `NO_PROXY`, …) for `https`. Refuses redirects: who is redirected has the wrong URL.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioExecutor;
use rustls::{ClientConfig, RootCertStore};

use crate::endpoint::Endpoint;

/// How often a request is made before it counts as missed.
const TRIES: u32 = 2;
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a connection may take to come about; less than a signal may take in all, so that there is a second try.
const CONNECT: Duration = Duration::from_secs(4);

/// A request to make.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub method: Method,
    pub to: Endpoint,
    pub content_type: &'static str,
    pub body: String,
}

/// Why a try failed.
struct Fault {
    why: String,
    /// Whether the same again can do any good.
    again: bool,
}

/// Makes a request until it is answered with success, twice at most. The caller bounds the time.
pub(crate) async fn ask(ask: &Ask) -> Result<(), String> {
    let mut tries = 1;
    loop {
        match attempt(ask).await {
            Ok(()) => return Ok(()),
            Err(Fault { again: true, .. }) if tries < TRIES => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
            Err(fault) => return Err(fault.why),
        }
    }
}

async fn attempt(ask: &Ask) -> Result<(), Fault> {
    let fixed = |why: &str| Fault { why: why.to_owned(), again: false };
    let uri: Uri = ask.to.expose().parse().map_err(|_| fixed("the URL cannot be asked"))?;
    let secure = uri.scheme_str() == Some("https");
    let mut request = Request::builder()
        .method(ask.method.clone())
        .uri(uri.clone())
        .header(USER_AGENT, concat!("longshore/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, ask.content_type);
    if let Some(authorization) = ask.to.authorization() {
        let mut value = HeaderValue::from_str(authorization).map_err(|_| fixed("the URL's password cannot be sent"))?;
        value.set_sensitive(true);
        request = request.header(AUTHORIZATION, value);
    }
    let request =
        request.body(Full::new(Bytes::from(ask.body.clone()))).map_err(|_| fixed("the request cannot be made"))?;
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT));
    let proxy = if secure { Matcher::from_env().intercept(&uri) } else { None };
    let answered = match proxy {
        None if !secure => exchange(connector, request).await,
        None => exchange(tls(connector).map_err(|why| fixed(&why))?, request).await,
        Some(proxy) => {
            let mut tunnel = Tunnel::new(proxy.uri().clone(), connector);
            if let Some(basic) = proxy.basic_auth() {
                tunnel = tunnel.with_auth(basic.clone());
            }
            exchange(tls(tunnel).map_err(|why| fixed(&why))?, request).await
        }
    };
    judge(answered)
}

async fn exchange<C>(connector: C, request: Request<Full<Bytes>>) -> Result<StatusCode, Error>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let client: Client<C, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
    Ok(client.request(request).await?.status())
}

/// What an answer, or none, means.
fn judge(answered: Result<StatusCode, Error>) -> Result<(), Fault> {
    match answered {
        Ok(status) if status.is_success() => Ok(()),
        Ok(status) => Err(Fault {
            why: match status.is_redirection() {
                true => format!("status {status}; redirects are not followed"),
                false => format!("status {status}"),
            },
            again: status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS,
        }),
        Err(error) => Err(Fault { why: innermost(&error), again: true }),
    }
}

/// The last cause says what happened to the connection; what is above it says only that something did.
fn innermost(error: &Error) -> String {
    let mut last = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        last = cause.to_string();
        next = cause.source();
    }
    last
}

/// TLS with the roots that this system trusts.
fn tls<C>(connector: C) -> Result<HttpsConnector<C>, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this system has no certificate authorities to trust; SSL_CERT_FILE can name some".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(HttpsConnectorBuilder::new().with_tls_config(config).https_only().enable_http1().wrap_connector(connector))
}
