//! Addresses of plain HTTP servers, and form encoding of what is put into them.
//!
//! Invariants: a `Url` has a host, a port, and a target that starts with a slash and holds only
//! visible ASCII, so that none of its parts can break a request line or a header.

use std::fmt;

/// Why a text is no address that this client can talk to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlError {
    /// Encrypted.
    #[error("`{url}`: this client speaks plain http only: use the server's http address, or curl")]
    Https {
        /// What was given.
        url: String,
    },
    /// Not an http address.
    #[error("`{url}` is no http address: give one like http://127.0.0.1:8080/.well-known/mercure")]
    Scheme {
        /// What was given.
        url: String,
    },
    /// A user name or password in it.
    #[error("`{url}` carries a user name: pass credentials with --token or --header instead")]
    User {
        /// What was given.
        url: String,
    },
    /// Host or port missing or malformed.
    #[error("`{url}` has no usable host and port: give one like http://127.0.0.1:8080/path")]
    Authority {
        /// What was given.
        url: String,
    },
    /// A character that must be encoded.
    #[error("`{url}` holds {bad:?}: write it percent-encoded")]
    Character {
        /// What was given.
        url: String,
        /// The character.
        bad: char,
    },
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// Host name or address, without the brackets of IPv6.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query.
    pub(crate) target: String,
}

impl Url {
    /// Reads an absolute `http:` address. A fragment is dropped.
    ///
    /// # Errors
    /// Another scheme, credentials inside, no host, a bad port, or characters that a request
    /// cannot carry.
    pub(crate) fn parse(text: &str) -> Result<Self, UrlError> {
        let url = || text.to_owned();
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| UrlError::Scheme { url: url() })?;
        if scheme.eq_ignore_ascii_case("https") {
            return Err(UrlError::Https { url: url() });
        }
        if !scheme.eq_ignore_ascii_case("http") {
            return Err(UrlError::Scheme { url: url() });
        }
        if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic()) {
            return Err(UrlError::Character { url: url(), bad });
        }
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.contains('@') {
            return Err(UrlError::User { url: url() });
        }
        let (host, port) =
            split_authority(authority).ok_or_else(|| UrlError::Authority { url: url() })?;
        let slash = if target.starts_with('/') { "" } else { "/" };
        Ok(Self { host: host.to_owned(), port, target: format!("{slash}{target}") })
    }

    /// What a `Location` header leads to from here: an absolute address or an absolute path.
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub(crate) fn join(&self, location: &str) -> Result<Self, UrlError> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Self::parse(&format!("http://{}{location}", self.authority()));
        }
        Self::parse(location)
    }

    /// Adds fields to the query.
    pub(crate) fn add_query<'a>(&mut self, fields: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let encoded = form_encode(fields);
        if !encoded.is_empty() {
            self.target.push(if self.target.contains('?') { '&' } else { '?' });
            self.target.push_str(&encoded);
        }
    }

    /// Host and port as the `Host` header wants them: the usual port is left out.
    pub(crate) fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        if *port == 80 {
            format!("{open}{host}{close}")
        } else {
            format!("{open}{host}{close}:{port}")
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.target)
    }
}

fn split_authority(authority: &str) -> Option<(&str, u16)> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let port = match port {
        None | Some("") => 80,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
        Some(_) => return None,
    };
    (!host.is_empty() && port != 0).then_some((host, port))
}

/// Fields as `application/x-www-form-urlencoded`.
pub(crate) fn form_encode<'a>(fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = String::new();
    for (name, value) in fields {
        if !out.is_empty() {
            out.push('&');
        }
        encode(name, &mut out);
        out.push('=');
        encode(value, &mut out);
    }
    out
}

fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            _ => {
                out.push('%');
                for nibble in [byte >> 4, byte & 15] {
                    let digit = char::from_digit(u32::from(nibble), 16).unwrap_or('0');
                    out.push(digit.to_ascii_uppercase());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hosts_ports_and_targets() {
        for (text, want) in [
            ("http://a", "http://a/"),
            ("HTTP://a:8080?x=1#part", "http://a:8080/?x=1"),
            ("http://[::1]:81/p?q", "http://[::1]:81/p?q"),
            ("http://127.0.0.1:80/p", "http://127.0.0.1/p"),
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), want, "{text}");
        }
    }

    #[test]
    fn refuses_what_it_cannot_talk_to() {
        let kind = |text: &str| Url::parse(text).unwrap_err();
        assert!(matches!(kind("https://a/"), UrlError::Https { .. }));
        assert!(matches!(kind("127.0.0.1:8080"), UrlError::Scheme { .. }));
        assert!(matches!(kind("ftp://a/"), UrlError::Scheme { .. }));
        assert!(matches!(kind("http://u:p@a/"), UrlError::User { .. }));
        for text in ["http://", "http://:80/", "http://a:x/", "http://a:70000/", "http://a:0/"] {
            assert!(matches!(kind(text), UrlError::Authority { .. }), "{text}");
        }
        assert!(matches!(kind("http://a/\r\nb"), UrlError::Character { bad: '\r', .. }));
        assert!(matches!(kind("http://a/ü"), UrlError::Character { bad: 'ü', .. }));
    }

    #[test]
    fn follows_locations() {
        let base = Url::parse("http://a:81/x?y").unwrap();
        assert_eq!(base.join("/z?t").unwrap().to_string(), "http://a:81/z?t");
        assert_eq!(base.join("http://b/").unwrap().to_string(), "http://b/");
        assert!(base.join("https://b/").is_err());
        assert!(base.join("//b/").is_err());
    }

    #[test]
    fn forms_are_encoded_as_browsers_do() {
        let fields = [("topic", "https://a/é?b=c&d"), ("data", "a b+%\r\n\0*~"), ("private", "")];
        assert_eq!(
            form_encode(fields),
            "topic=https%3A%2F%2Fa%2F%C3%A9%3Fb%3Dc%26d&data=a+b%2B%25%0D%0A%00*%7E&private="
        );
        let mut url = Url::parse("http://a/p").unwrap();
        url.add_query([]);
        url.add_query([("topic", "*")]);
        url.add_query([("topic", "a b")]);
        assert_eq!(url.target, "/p?topic=*&topic=a+b");
    }
}
