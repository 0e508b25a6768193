//! The topics below the hub's own path, which only the hub may publish.
//!
//! Invariants: a topic is reserved by where it leads when a browser resolves it against the hub's
//! URL, not by how it is spelled: dot segments, backslashes, escapes of plain letters and relative
//! forms included. Scheme and host do not matter. Where two readings are possible (`https:x`
//! depends on the hub's own scheme), one that leads inside is enough.

use super::PATH;
use super::form::hex;

/// Whether the topic resolves to the hub's path or below it. An empty topic is the hub's path.
#[must_use]
pub fn is_reserved(topic: &str) -> bool {
    // WHATWG URL, basic parser: outer C0 and spaces go, tabs and line breaks go everywhere.
    let trimmed = topic.trim_matches(|c: char| c <= ' ');
    let topic: String = trimmed.chars().filter(|c| !matches!(c, '\t' | '\n' | '\r')).collect();
    let Some((scheme, rest)) = scheme(&topic) else { return relative(&topic) };
    let special = ["http", "https", "ws", "wss", "ftp", "file"]
        .iter()
        .any(|name| scheme.eq_ignore_ascii_case(name));
    if special {
        let bare = !rest.starts_with(['/', '\\']);
        let after = rest.trim_start_matches(['/', '\\']);
        return inside(authority_path(after, true), true)
            || (bare && relative(rest))
            || inside(&format!("/{after}"), true);
    }
    match rest.strip_prefix("//") {
        Some(rest) => inside(authority_path(rest, false), false),
        None => rest.starts_with('/') && inside(rest, false),
    }
}

fn relative(topic: &str) -> bool {
    let slash = |c: char| c == '/' || c == '\\';
    if topic.is_empty() || topic.starts_with(['?', '#']) {
        return true;
    }
    if !topic.starts_with(slash) {
        let parent = PATH.rfind('/').and_then(|at| PATH.get(..=at)).unwrap_or("/");
        return inside(&format!("{parent}{topic}"), true);
    }
    match topic.get(1..) {
        Some(rest) if rest.starts_with(slash) => {
            inside(authority_path(rest.trim_start_matches(slash), true), true)
        }
        _ => inside(topic, true),
    }
}

fn scheme(topic: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = topic.split_once(':')?;
    let good = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    good.then_some((scheme, rest))
}

/// What follows the authority, with its first slash.
fn authority_path(rest: &str, special: bool) -> &str {
    let end = rest.find(|c| c == '/' || (special && c == '\\') || c == '?' || c == '#');
    end.and_then(|end| rest.get(end..)).unwrap_or_default()
}

fn inside(path: &str, special: bool) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let mut segments: Vec<Vec<u8>> = Vec::new();
    for segment in path.split(|c| c == '/' || (special && c == '\\')).skip(1) {
        let segment = decode_unreserved(segment.as_bytes());
        match segment.as_slice() {
            b"." => {}
            b".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let own = PATH.split('/').skip(1).map(str::as_bytes);
    let mut theirs = segments.iter().map(Vec::as_slice);
    own.into_iter().all(|segment| theirs.next() == Some(segment))
}

/// RFC 3986 section 6.2.2.2: an escape of an unreserved character is that character.
fn decode_unreserved(segment: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment;
    while let Some((first, tail)) = rest.split_first() {
        let escaped = if *first == b'%' { hex(tail) } else { None };
        match escaped.filter(|b| b.is_ascii_alphanumeric() || b"-._~".contains(b)) {
            Some(byte) => {
                decoded.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_however_it_is_spelled() {
        for topic in [
            "https://any.example/.well-known/mercure",
            "https://any.example/.well-known/mercure/x",
            "https://any.example/.well-known/mercure?q",
            "https://any.example/.well-known/mercure/",
            "http:/any.example/.well-known/mercure",
            "HTTPS:\\\\any.example\\.well-known\\mercure",
            "/.well-known/mercure/subscriptions/x",
            "//any.example/.well-known/mercure/x",
            "/\\any.example/.well-known/mercure/x",
            "mercure/subscriptions/x",
            "https:mercure/x",
            "./mercure/x",
            "a/../mercure",
            "/a/%2E%2e/.well-known/mercure",
            "/.well-known/%6Dercure/x",
            "https://any.example/.well-known/me%72cure",
            "https://any.example\\.well-known\\mercure\\x",
            "/.well-known/mer\ncure",
            "  /.well-known/mercure ",
            "foo://any.example/.well-known/mercure",
            "",
            "?x",
            "#x",
        ] {
            assert!(is_reserved(topic), "{topic:?}");
        }
    }

    #[test]
    fn neighbours_are_free() {
        for topic in [
            "https://any.example/.well-known/mercure-board",
            "https://any.example/.well-known/mercureX",
            "https://any.example/a/.well-known/mercure/b",
            "https://any.example/books/1",
            "https://any.example",
            "subscriptions/x",
            "name",
            "../mercure/x",
            "urn:any:mercure",
            "urn:/x",
            "a topic with spaces",
            "/.well-known%2Fmercure/x",
            "/.well-known/%ZZmercure",
            "/.well-known/mercure%6",
            "*",
            "/.well-known",
            "foo:mercure/x",
        ] {
            assert!(!is_reserved(topic), "{topic:?}");
        }
    }
}
