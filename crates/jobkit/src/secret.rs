//! Values that must not show.
//!
//! Promises: a [`Secret`] prints as `***` however it is formatted and is wiped from memory when dropped; redaction errs
//! on the side of hiding too much (a password with an unescaped `@`, `/` or `?` is hidden whole, at the price of part of
//! the rest). Refuses to compare, serialize or hash a secret.

use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroizing;

/// What stands in place of a secret.
const HIDDEN: &str = "***";

/// A parameter whose name contains one of these carries a secret.
const SECRET_NAMES: [&str; 14] = [
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "token",
    "signature",
    "credential",
    "api_key",
    "apikey",
    "api-key",
    "accesskey",
    "access_key",
    "authmechanismproperties",
];

/// A secret text. Usable as the type of a command line argument: taking it cannot fail, so no parse error can show it.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The text itself. Whoever calls this answers for where it goes.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

/// The URL without its secrets: the password of `user:password@`, the whole of `token@` in `http(s)` URLs, and the
/// values of parameters such as `password`, `sslpassword` or `secret_key`. Needs no valid URL: what cannot be parsed can
/// still be logged.
#[must_use]
pub fn redact_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return redact_params(url) };
    let Some(at) = end_of_userinfo(rest) else { return format!("{scheme}://{}", redact_params(rest)) };
    let (userinfo, rest) = (&rest[..at], redact_params(&rest[at + 1..]));
    match userinfo.split_once(':') {
        Some((user, _)) => format!("{scheme}://{user}:{HIDDEN}@{rest}"),
        None if scheme.to_ascii_lowercase().contains("http") => format!("{scheme}://{HIDDEN}@{rest}"),
        None => format!("{scheme}://{userinfo}@{rest}"),
    }
}

/// The last `@` before the query. The query begins at the first `?` or `#` *after* the first `@`: one before it can only
/// be an unescaped part of the password.
fn end_of_userinfo(rest: &str) -> Option<usize> {
    let first = rest.find('@')?;
    let end = rest[first..].find(['?', '#']).map_or(rest.len(), |query| first + query);
    rest[..end].rfind('@')
}

/// Hides the values of secret parameters, in `?a=b&password=c` as in `host=h password=c`.
fn redact_params(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for piece in text.split_inclusive(['?', '&', ';', '#']) {
        let (piece, end) = match piece.char_indices().next_back() {
            Some((at, '?' | '&' | ';' | '#')) => piece.split_at(at),
            _ => (piece, ""),
        };
        match piece.split_once('=') {
            Some((name, value)) if !value.is_empty() && is_secret_name(name) => {
                shown.push_str(name);
                shown.push('=');
                shown.push_str(HIDDEN);
            }
            _ => shown.push_str(piece),
        }
        shown.push_str(end);
    }
    shown
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| name.contains(secret))
}

/// A free text, such as a driver's error message, with every URL and `name=value` word in it redacted as by
/// [`redact_url`]. A text without any is returned as it is.
#[must_use]
pub fn redact_text(text: &str) -> Cow<'_, str> {
    if !text.contains("://") && !text.contains('=') {
        return Cow::Borrowed(text);
    }
    let shown: String = text.split_inclusive(char::is_whitespace).map(redact_word).collect();
    if shown == text { Cow::Borrowed(text) } else { Cow::Owned(shown) }
}

/// One word with the white space that ends it.
fn redact_word(word: &str) -> String {
    let bare = word.trim_end();
    format!("{}{}", redact_url(bare), &word[bare.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints() {
        let secret = Secret::from("canary");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
        assert_eq!(secret.expose(), "canary");
    }

    #[test]
    fn urls_lose_their_secrets_only() {
        for (url, shown) in [
            ("postgres://u:canary@h:5432/db?sslmode=require", "postgres://u:***@h:5432/db?sslmode=require"),
            ("postgres://h/db", "postgres://h/db"),
            ("postgres://u@h/db", "postgres://u@h/db"),
            ("postgres://h/db?user=u&password=canary&x=1", "postgres://h/db?user=u&password=***&x=1"),
            ("postgres://h/db?sslpassword=canary#f", "postgres://h/db?sslpassword=***#f"),
            ("s3://b/p?endpoint=http://m:9000&secret_key=canary", "s3://b/p?endpoint=http://m:9000&secret_key=***"),
            ("s3://b/p?secret-access_key=canary", "s3://b/p?secret-access_key=***"),
            ("mongodb://u:canary@a:1,b:2/db?replicaSet=r", "mongodb://u:***@a:1,b:2/db?replicaSet=r"),
            ("https://canary@host/hook", "https://***@host/hook"),
            ("file:///var/backups", "file:///var/backups"),
        ] {
            assert_eq!(redact_url(url), shown);
        }
    }

    #[test]
    fn unescaped_passwords_are_hidden_whole() {
        for url in [
            "postgres://u:can/ary@h/db",
            "postgres://u:can?ary@h/db",
            "postgres://u:can@ary@h/db",
            "postgres://u:can#ary@h/db?x=y",
            "s3://b/p?endpoint=http://u:canary@minio:9000",
            "host=h user=u password=canary@h",
        ] {
            let shown = redact_text(url);
            assert!(!shown.contains("can") && !shown.contains("ary@"), "{shown}");
        }
    }

    #[test]
    fn free_text_keeps_its_words() {
        let text = "connect to 'postgres://u:canary@h/db': refused\n  password=canary host=h";
        assert_eq!(redact_text(text), "connect to 'postgres://u:***@h/db': refused\n  password=*** host=h");
        assert!(matches!(redact_text("plain text, 5 > 3"), Cow::Borrowed(_)));
    }
}
