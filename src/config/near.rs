//! The known key that somebody likely meant.
//!
//! Invariants: bounded work (names longer than any key are not compared); a suggestion is given
//! only if it is near, or is the same name in another section.

use crate::config::gateway::TABLES;
use crate::config::keys::KEYS;

/// Longest name that is compared.
const NAME_BYTES_MAX: usize = 64;

/// The key whose name is nearest to `name`, if one is near enough to suggest.
#[must_use]
pub fn key(name: &str) -> Option<&'static str> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let moved = KEYS.iter().find(|key| last(key.name) == last(name));
    let keys = KEYS.iter().map(|key| {
        // A wrong section counts as one step more than a slip in the name itself.
        let inside = distance(&last(name), &last(key.name)) + 1;
        (distance(name, key.name).min(inside), key.name)
    });
    let tables = TABLES.iter().map(|table| (distance(name, table), *table));
    moved.map(|key| key.name).or(near(name, keys.chain(tables)))
}

/// The one of these names that is nearest to `name`, if one is near enough to suggest.
pub fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    near(name, names.map(|other| (steps(name, other), other)))
}

/// The same, if it is all but the same name: among very many names something is always near.
pub fn surely<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    nearest(name, names).filter(|other| steps(name, other) <= name.len() / 6 + 1)
}

fn near<'n>(name: &str, names: impl Iterator<Item = (usize, &'n str)>) -> Option<&'n str> {
    let nearest = names.min().filter(|(steps, _)| *steps <= (name.len() / 4).max(2));
    nearest.map(|(_, name)| name)
}

/// How far apart two names are: `host` and `hostnames` are one slip.
fn steps(name: &str, other: &str) -> usize {
    let begins = name.len() >= 4 && other.starts_with(name);
    if begins { 1 } else { distance(name, other) }
}

/// Levenshtein distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let above = *cell;
            left = (above + 1).min(left + 1).min(corner + usize::from(x != y));
            corner = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_and_wrong_sections_are_recognised() {
        assert_eq!(key("hub.hartbeat"), Some("hub.heartbeat"));
        assert_eq!(key("heartbeat"), Some("hub.heartbeat"));
        assert_eq!(key("limits.heartbeat"), Some("hub.heartbeat"));
        assert_eq!(key("hubs.heartbeat"), Some("hub.heartbeat"));
        assert_eq!(key("lisen"), Some("listen"));
        assert_eq!(key("worker"), Some("workers"));
        assert_eq!(key("limit.connection_max"), Some("limits.connections_max"));
        assert_eq!(key("backends"), Some("backend"));
        assert_eq!(key("tls.certificate"), None);
        assert_eq!(nearest("aip", ["web", "api"].into_iter()), Some("api"));
        assert_eq!(nearest("host", ["hub", "hostnames"].into_iter()), Some("hostnames"));
        assert_eq!(nearest("hos", ["hub-on", "hostnames"].into_iter()), None);
        assert_eq!(surely("methods", ["headers", "method"].into_iter()), Some("method"));
        assert_eq!(surely("ssl", ["set", "url"].into_iter()), None);
        assert_eq!(surely("auth", ["path"].into_iter()), None);
        assert_eq!(nearest("stranger", ["web", "api"].into_iter()), None);
        assert_eq!(key(&"x".repeat(1000)), None);
    }

    #[test]
    fn distance_counts_edits() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
