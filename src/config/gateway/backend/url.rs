//! Addresses of servers: `http://host:port`, `https://…`, `unix:/path`.
//!
//! Invariants: an authority has no user name in it, a host that is a name in lower case or an
//! address, and a port; what `Authority` prints, it reads back.

use crate::config::form;
use crate::config::gateway::Place;
use std::fmt;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::path::PathBuf;

/// What an address of a server looks like, for messages.
pub(crate) const WANTED: &str = "an address, as \"http://10.0.0.1:8000\", \"https://api.example\" \
                                 or \"unix:/run/api.sock\"";

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    /// Whether the scheme is `https`.
    pub(crate) https: bool,
    /// A name in lower case, or an address (IPv6 without brackets).
    pub(crate) host: String,
    /// The port, also where the text leaves it out.
    pub(crate) port: u16,
}

impl Authority {
    /// Reads the part before the path; gives the rest too, which is empty or starts with `/`, `?`,
    /// `#` or `{`.
    pub(crate) fn parse(text: &str) -> Option<(Self, &str)> {
        let (scheme, rest) = text.split_once("://")?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#', '{']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (host, port) = split(authority)?;
        let port = match port {
            None => usual(https),
            Some(port) => port.parse().ok().filter(|port| *port != 0)?,
        };
        Some((Self { https, host: host_of(host)?, port }, rest))
    }

    /// Where to connect.
    pub(crate) fn place(&self) -> Place {
        Place::Tcp(self.host.clone(), self.port)
    }

    /// Host and port as a `Host` field has them: the usual port is left out.
    pub(crate) fn field(&self) -> String {
        field(self.https, &self.host, self.port)
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.field())
    }
}

/// An endpoint's address as it is written.
pub(crate) fn show(place: &Place, https: bool) -> String {
    match place {
        Place::Tcp(host, port) => Authority { https, host: host.clone(), port: *port }.to_string(),
        Place::Unix(path) => format!("unix:{}", path.display()),
    }
}

/// Reads an endpoint's address; `None` for the scheme of a Unix socket, which may have either.
pub(crate) fn place(text: &str) -> Option<(Place, Option<bool>)> {
    if let Some(path) = text.strip_prefix("unix:") {
        // sockaddr_un has 108 bytes, one of which ends it.
        let holds = path.starts_with('/') && path.len() < 108 && !path.contains(char::is_control);
        return holds.then(|| (Place::Unix(PathBuf::from(path)), None));
    }
    let (authority, rest) = Authority::parse(text)?;
    matches!(rest, "" | "/").then(|| (authority.place(), Some(authority.https)))
}

/// What an address lacks, or has too much, that is none; `None`: that is not plain.
pub(crate) fn remedy(text: &str) -> Option<&'static str> {
    if text.starts_with("unix:") {
        return Some("give the absolute path of a socket, of at most 107 bytes");
    }
    match Authority::parse(text) {
        Some(_) => Some("give scheme, host and port; a rewrite filter changes the path"),
        // `localhost:3000`
        None if !text.contains("://") => Some("write http:// or https:// before an address"),
        None => None,
    }
}

/// Whether there may be a password in an address.
pub(crate) fn has_secret(text: &str) -> bool {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().unwrap_or_default().contains('@')
}

const fn usual(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

fn field(https: bool, host: &str, port: u16) -> String {
    let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
    if port == usual(https) {
        format!("{open}{host}{close}")
    } else {
        format!("{open}{host}{close}:{port}")
    }
}

fn split(authority: &str) -> Option<(&str, Option<&str>)> {
    let Some(rest) = authority.strip_prefix('[') else {
        return Some(match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        });
    };
    let (host, after) = rest.split_once(']')?;
    host.parse::<Ipv6Addr>().ok()?;
    match after.strip_prefix(':') {
        Some(port) => Some((host, Some(port))),
        None => after.is_empty().then_some((host, None)),
    }
}

/// A name (with `_`, as container networks have it), or an address.
fn host_of(text: &str) -> Option<String> {
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Some(address.to_string());
    }
    if text.parse::<Ipv4Addr>().is_ok() {
        return Some(text.to_owned());
    }
    (form::HOST.parse)(&text.replace('_', "-")).map(|_| text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_with_the_usual_port_left_out() {
        for (text, shown) in [
            ("http://a.example", "http://a.example"),
            ("HTTP://A.Example:80", "http://a.example"),
            ("http://a_b-c:8080", "http://a_b-c:8080"),
            ("https://a:443", "https://a"),
            ("https://a:80", "https://a:80"),
            ("http://[::1]:80", "http://[::1]"),
            ("http://[0:0::1]:8", "http://[::1]:8"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ] {
            let (authority, rest) = Authority::parse(text).unwrap();
            assert_eq!((authority.to_string().as_str(), rest), (shown, ""), "{text}");
            assert_eq!(Authority::parse(shown).unwrap().0, authority);
            let (place, https) = place(text).unwrap();
            assert_eq!(show(&place, https.unwrap()), shown);
        }
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for text in [
            "a.example",
            "ftp://a",
            "http://",
            "http:///x",
            "http://a:0",
            "http://a:99999",
            "http://a:",
            "http://u:p@a",
            "http://[::1",
            "http://[a]:1",
            "http://::1",
            "http://a b",
            "http://1.2.3",
            "unix:relative",
            "unix:",
            "http://a/path",
            "http://a?x",
        ] {
            assert_eq!(place(text), None, "{text}");
        }
        assert!(has_secret("http://u:p@a/x") && !has_secret("http://a/@x"));
    }
}
