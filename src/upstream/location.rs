//! Where a redirect leads, if it stays with the origin.
//!
//! Invariants: what comes out is a path with a query, in visible ASCII, and belongs to the origin
//! of the definition; so a redirect can neither forge a line nor reach another server.
//! Spec: RFC 9110 section 10.2.2 (`Location`), RFC 3986 section 5 (references).

use super::cause::Cause;
use super::family::Family;
use crate::config::gateway::Scheme;

/// Bytes of a target that is led to.
const TARGET_BYTES_MAX: usize = 8 * 1024;

/// The path and query that `location` names, seen from `base` (path and query of the request).
pub(super) fn resolve(family: &Family, base: &str, location: &[u8]) -> Result<Box<str>, Cause> {
    let text = std::str::from_utf8(location).map_err(|_| Cause::RedirectMalformed)?;
    // A backslash is a slash to some readers and none to others.
    let clean = |b: u8| b.is_ascii_graphic() && b != b'\\';
    if text.is_empty() || !text.bytes().all(clean) {
        return Err(Cause::RedirectMalformed);
    }
    let text = text.split('#').next().unwrap_or_default();
    let rest = match scheme(text) {
        Some((named, rest)) if named.eq_ignore_ascii_case(own_scheme(family)) => {
            Some(rest.strip_prefix("//").ok_or(Cause::RedirectMalformed)?)
        }
        Some(_) => return Err(Cause::RedirectAway),
        None => text.strip_prefix("//"),
    };
    let target = match rest {
        Some(rest) => {
            let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            if !same_authority(family, authority) {
                return Err(Cause::RedirectAway);
            }
            absolute(target)
        }
        None => relative(base, text),
    };
    if target.len() > TARGET_BYTES_MAX {
        return Err(Cause::RedirectMalformed);
    }
    Ok(target.into())
}

/// The scheme in front of the first colon, if what stands there is one.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    let valid =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_part);
    valid.then_some((scheme, rest))
}

fn own_scheme(family: &Family) -> &'static str {
    match family.scheme {
        Scheme::Http => "http",
        Scheme::Https => "https",
    }
}

/// Whether host and port are those of the definition; the scheme's own port may be left out. A
/// user before the host makes it another place.
fn same_authority(family: &Family, authority: &str) -> bool {
    let port = match family.scheme {
        Scheme::Http => ":80",
        Scheme::Https => ":443",
    };
    let bare = |text: &str| {
        let text = text.to_ascii_lowercase();
        let short = text.strip_suffix(port).or_else(|| text.strip_suffix(':'));
        short.map_or_else(|| text.clone(), str::to_owned)
    };
    bare(authority) == bare(&family.definition.host)
}

fn absolute(target: &str) -> String {
    let (path, query) = split(target);
    join(&without_dots(if path.is_empty() { "/" } else { path }), query)
}

/// A reference without scheme and authority (RFC 3986 section 5.2.2).
fn relative(base: &str, reference: &str) -> String {
    let ((path, query), (base_path, base_query)) = (split(reference), split(base));
    if path.starts_with('/') {
        join(&without_dots(path), query)
    } else if path.is_empty() {
        join(base_path, query.or(base_query))
    } else {
        let folder = base_path.rfind('/').map_or("/", |at| base_path.split_at(at + 1).0);
        join(&without_dots(&format!("{folder}{path}")), query)
    }
}

fn split(target: &str) -> (&str, Option<&str>) {
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}

fn join(path: &str, query: Option<&str>) -> String {
    query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"))
}

/// The path without `.` and `..` (RFC 3986 section 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::tests::family;

    fn from(base: &str, location: &str) -> Result<String, Cause> {
        resolve(&family(), base, location.as_bytes()).map(String::from)
    }

    #[test]
    fn references_of_the_standard() {
        // RFC 3986 section 5.4, without what only other schemes have.
        for (reference, want) in [
            ("g", "/b/c/g"),
            ("./g", "/b/c/g"),
            ("g/", "/b/c/g/"),
            ("/g", "/g"),
            ("?y", "/b/c/d;p?y"),
            ("g?y", "/b/c/g?y"),
            ("#s", "/b/c/d;p?q"),
            ("g?y#s", "/b/c/g?y"),
            (";x", "/b/c/;x"),
            (".", "/b/c/"),
            ("./", "/b/c/"),
            ("..", "/b/"),
            ("../", "/b/"),
            ("../g", "/b/g"),
            ("../..", "/"),
            ("../../../g", "/g"),
            ("/./g", "/g"),
            ("/../g", "/g"),
            ("g.", "/b/c/g."),
            ("..g", "/b/c/..g"),
            ("./../g", "/b/g"),
            ("g/./h", "/b/c/g/h"),
            ("g/../h", "/b/c/h"),
            ("g?y/../x", "/b/c/g?y/../x"),
        ] {
            assert_eq!(from("/b/c/d;p?q", reference), Ok(want.into()), "{reference}");
        }
    }

    #[test]
    fn only_the_own_origin_is_followed() {
        for same in [
            "http://feed.test:8080/x?y",
            "HTTP://FEED.test:8080/x?y#z",
            "//feed.test:8080/x?y",
            "/x?y",
            "x?y",
        ] {
            assert_eq!(from("/", same), Ok("/x?y".into()), "{same}");
        }
        assert_eq!(from("/a", "http://feed.test:8080"), Ok("/".into()));
        assert_eq!(from("/a", "http://feed.test:8080?q"), Ok("/?q".into()));
        for away in [
            "https://feed.test:8080/x",
            "http://feed.test/x",
            "http://feed.test:80/x",
            "http://other.test:8080/x",
            "http://feed.test:8080@other.test/x",
            "http://user@feed.test:8080/x",
            "http://feed.test:8080.other.test/x",
            "//other.test/x",
            "///x",
            "ftp://feed.test:8080/x",
            "javascript:alert(1)",
            "feed.test:8080/x",
        ] {
            assert_eq!(from("/", away), Err(Cause::RedirectAway), "{away}");
        }
        for bad in ["", "/a b", "/a\r\nX: y", "/\u{e9}", "http:/x", "http:x", "/\\other", "/\t"] {
            assert_eq!(from("/", bad), Err(Cause::RedirectMalformed), "{bad:?}");
        }
        assert_eq!(resolve(&family(), "/", b"/\xff"), Err(Cause::RedirectMalformed));
        let long = format!("/{}", "x".repeat(TARGET_BYTES_MAX));
        assert_eq!(from("/", &long), Err(Cause::RedirectMalformed));
    }

    #[test]
    fn the_schemes_own_port_may_be_left_out() {
        for (scheme, host, port) in [(Scheme::Http, "a.test", 80), (Scheme::Https, "a.test", 443)] {
            let mut family = family();
            (family.scheme, family.definition.host) = (scheme, host.into());
            let name = own_scheme(&family);
            for authority in [host.to_owned(), format!("{host}:{port}"), format!("{host}:")] {
                let location = format!("{name}://{authority}/x");
                let got = resolve(&family, "/", location.as_bytes());
                assert_eq!(got, Ok("/x".into()), "{location}");
            }
            let location = format!("{name}://{host}:8{port}/x");
            let got = resolve(&family, "/", location.as_bytes());
            assert_eq!(got, Err(Cause::RedirectAway), "{location}");
        }
    }
}
