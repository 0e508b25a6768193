//! The request target: its form, its path and query, and the authority that it may carry.
//!
//! Invariants: a path that is handed out begins with `/` or is `*`; it has no dot segment, no
//! backslash and no fragment, so that two parsers cannot disagree about what it names: also not one
//! that decodes `%2f` and `%5c` before it resolves dots, or takes `;` for the end of a segment. It
//! is never decoded or cleaned: `//` and `%2f` are matched as they came.

use super::Fault;
use crate::http::Method;
use std::ops::Range;

/// Where the parts of a target lie, as ranges of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) path: Range<usize>,
    pub(super) query: Option<Range<usize>>,
    pub(super) authority: Option<Range<usize>>,
}

/// Sorts a target into its parts (RFC 9112 section 3.2).
pub(super) fn parse(target: &str, method: Method) -> Result<Target, Fault> {
    if target == "*" {
        // H10: the asterisk form belongs to OPTIONS alone.
        let whole = Target { path: 0..1, query: None, authority: None };
        return if method == Method::Options { Ok(whole) } else { Err(Fault::Target) };
    }
    if target.contains('#') {
        return Err(Fault::Target);
    }
    let (authority, start) =
        if target.starts_with('/') { (None, 0) } else { absolute(target).ok_or(Fault::Target)? };
    let rest = target.get(start..).unwrap_or_default();
    let (path_len, query) = match rest.find('?') {
        Some(at) => (at, Some(start + at + 1..target.len())),
        None => (rest.len(), None),
    };
    let path = start..start + path_len;
    check_path(target.get(path.clone()).unwrap_or_default())?;
    Ok(Target { path, query, authority })
}

/// The authority of `http://authority/path`, and where the path begins.
fn absolute(target: &str) -> Option<(Option<Range<usize>>, usize)> {
    let scheme = target.find("://")?;
    let name = target.get(..scheme)?;
    if !name.eq_ignore_ascii_case("http") && !name.eq_ignore_ascii_case("https") {
        return None;
    }
    let from = scheme + 3;
    let rest = target.get(from..)?;
    let to = from + rest.find(['/', '?']).unwrap_or(rest.len());
    let authority = target.get(from..to)?;
    // An http URI without a host is invalid (RFC 9110 section 4.2.1).
    if authority.is_empty() || authority.starts_with(':') || !is_host(authority.as_bytes()) {
        return None;
    }
    Some((Some(from..to), to))
}

fn check_path(path: &str) -> Result<(), Fault> {
    let tricky = path.contains('\\') || path.split('/').any(has_dot_segment);
    if tricky { Err(Fault::Target) } else { Ok(()) }
}

/// Whether a segment is one of dots, or holds one between encoded slashes.
fn has_dot_segment(mut segment: &str) -> bool {
    let is_slash =
        |escape: &str| escape.eq_ignore_ascii_case("%2f") || escape.eq_ignore_ascii_case("%5c");
    let slash = |segment: &str| {
        let mut escapes = segment.match_indices('%').map(|(at, _)| at);
        escapes.find(|at| segment.get(*at..at + 3).is_some_and(is_slash))
    };
    while let Some(at) = slash(segment) {
        if is_dot_segment(segment.get(..at).unwrap_or_default()) {
            return true;
        }
        segment = segment.get(at + 3..).unwrap_or_default();
    }
    is_dot_segment(segment)
}

/// `.` or `..`, each dot plain or as `%2e`, with or without parameters.
fn is_dot_segment(segment: &str) -> bool {
    let mut rest = segment.split(';').next().unwrap_or_default();
    let mut dots = 0;
    while !rest.is_empty() && dots < 3 {
        let escaped = rest.get(..3).is_some_and(|e| e.eq_ignore_ascii_case("%2e"));
        let Some(after) = rest.get(if escaped { 3 } else { 1 }..) else { return false };
        if !escaped && !rest.starts_with('.') {
            return false;
        }
        rest = after;
        dots += 1;
    }
    rest.is_empty() && (dots == 1 || dots == 2)
}

/// Whether bytes are `uri-host [":" port]` (RFC 9110 section 7.2), the host possibly empty.
pub(super) fn is_host(value: &[u8]) -> bool {
    let (host, port) = match value.iter().rposition(|b| *b == b':') {
        Some(at) if !value.get(at..).unwrap_or_default().contains(&b']') => {
            (value.get(..at).unwrap_or_default(), value.get(at + 1..).unwrap_or_default())
        }
        _ => (value, &[][..]),
    };
    if !port.iter().all(u8::is_ascii_digit) || port.len() > 5 {
        return false;
    }
    if let Some(literal) = host.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]")) {
        let legal = |b: &u8| b.is_ascii_hexdigit() || b":.vV".contains(b);
        return !literal.is_empty() && literal.iter().all(legal);
    }
    host.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(target: &str) -> Result<(&str, Option<&str>, Option<&str>), Fault> {
        let t = parse(target, Method::Get)?;
        Ok((&target[t.path], t.query.map(|q| &target[q]), t.authority.map(|a| &target[a])))
    }

    #[test]
    fn origin_and_absolute_form() {
        assert_eq!(parts("/a?b=c?d"), Ok(("/a", Some("b=c?d"), None)));
        assert_eq!(parts("/a?"), Ok(("/a", Some(""), None)));
        assert_eq!(parts("//a%2f/b"), Ok(("//a%2f/b", None, None)));
        assert_eq!(parts("http://h:80/x?y"), Ok(("/x", Some("y"), Some("h:80"))));
        assert_eq!(parts("HTTPS://[::1]:8/x"), Ok(("/x", None, Some("[::1]:8"))));
        assert_eq!(parts("http://h"), Ok(("", None, Some("h"))));
        assert_eq!(parts("http://h?q"), Ok(("", Some("q"), Some("h"))));
        assert_eq!(parts("/a?../\\"), Ok(("/a", Some("../\\"), None)), "tricks matter in paths");
    }

    #[test]
    fn refused_targets() {
        let targets = [
            "",
            "a",
            "*",
            "?x",
            "/#f",
            "/a/../b",
            "/.",
            "/..",
            "/a/.",
            "/%2e/",
            "/.%2E/x",
            "/a\\b",
            "/a/..%2fb",
            "/a%2F..",
            "/a%5c%2e%2E%5Cb",
            "/%2e%2fb",
            "/a/..;/b",
            "/a/.;x=1",
            "/a/..;x%2fb",
            "ftp://h/",
            "http:///x",
            "http://:80/",
            "http://u@h/",
            "http://h h/",
            "h:80",
            "http://h/..",
            "javascript://h/",
            "http://h:x/",
        ];
        for target in targets {
            assert_eq!(parts(target), Err(Fault::Target), "{target:?}");
        }
        assert_eq!(parse("*", Method::Options).map(|t| t.path), Ok(0..1));
        assert!(parts("/...").is_ok() && parts("/.a").is_ok() && parts("/%2e%2e%2e").is_ok());
        assert!(parts("/%é").is_ok(), "an escape that is cut by a wide character");
        for fine in ["/a%2fb%5Cc", "/a..%2f..b", "/%2f%", "/a;..", "/;", "/...;", "/%252e%2f"] {
            assert!(parts(fine).is_ok(), "{fine}");
        }
    }

    #[test]
    fn hosts() {
        for good in ["", "a.example", "a:80", "1.2.3.4:", "[::1]", "[::1]:8080", "[fe80::1]:1"] {
            assert!(is_host(good.as_bytes()), "{good:?}");
        }
        for bad in ["a b", "a,b", "u@h", "a/b", "a:x", "[::1", "::1]", "a:123456", "[]", "a?b"] {
            assert!(!is_host(bad.as_bytes()), "{bad:?}");
        }
    }
}
