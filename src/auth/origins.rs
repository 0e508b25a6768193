//! Origins that may read across origins, and publish by cookie.
//!
//! Invariants: entries and origins are compared in lower case; a wildcard stands for one or more
//! whole labels in front of a host; `*` opens reading without credentials and nothing else: it
//! never makes a credentialed answer, and never lets a foreign page publish by cookie.

/// A checked list of origins.
#[derive(Clone, Debug, Default)]
pub struct Origins {
    any: bool,
    exact: Vec<String>,
    /// What stands before and after the `*.` of an entry such as `https://*.example.com:8443`.
    below: Vec<(String, String)>,
}

impl Origins {
    /// From `hub.cors_origins`: `*`, `https://app.example` or `https://*.app.example`.
    #[must_use]
    pub fn new(entries: &[String]) -> Self {
        let mut origins = Self::default();
        for entry in entries {
            let entry = entry.to_ascii_lowercase();
            if entry == "*" {
                origins.any = true;
            } else if let Some((scheme, host)) = entry.split_once("://*.") {
                origins.below.push((format!("{scheme}://"), format!(".{host}")));
            } else {
                origins.exact.push(entry);
            }
        }
        origins
    }

    /// Whether any origin may read, without credentials.
    #[must_use]
    pub fn any(&self) -> bool {
        self.any
    }

    /// Whether the list is empty: no CORS at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.any && self.exact.is_empty() && self.below.is_empty()
    }

    /// Whether the origin is listed by name or wildcard, so that credentials are welcome.
    #[must_use]
    pub fn lists(&self, origin: &[u8]) -> bool {
        let Ok(origin) = std::str::from_utf8(origin) else { return false };
        let origin = origin.to_ascii_lowercase();
        self.exact.contains(&origin)
            || self.below.iter().any(|(scheme, host)| {
                let rest = origin.strip_prefix(scheme.as_str());
                let labels = rest.and_then(|rest| rest.strip_suffix(host.as_str()));
                labels.is_some_and(|l| !l.is_empty() && l.bytes().all(is_label_byte))
            })
    }
}

fn is_label_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.'
}

/// The origin of a `Referer`: scheme and authority, without user information.
pub(super) fn origin_of(referer: &[u8]) -> Option<String> {
    let referer = std::str::from_utf8(referer).ok()?;
    let (scheme, rest) = referer.split_once("://")?;
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let authority = rest.get(..end)?;
    if authority.is_empty() || authority.contains('@') {
        return None;
    }
    Some(format!("{scheme}://{authority}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(entries: &[&str]) -> Origins {
        Origins::new(&entries.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn exact_and_wildcard() {
        let list = origins(&["https://App.example", "https://*.example.com", "http://*.x.y:81"]);
        assert!(list.lists(b"https://app.example"));
        assert!(list.lists(b"https://a.example.com"));
        assert!(list.lists(b"https://a.b.example.com"));
        assert!(list.lists(b"http://q.x.y:81"));
        for not in [
            "https://example.com",
            "https://.example.com",
            "http://a.example.com",
            "https://evil/.example.com",
            "https://evil?.example.com",
            "https://a.example.com.evil",
            "https://aexample.com",
            "http://q.x.y",
            "null",
            "",
        ] {
            assert!(!list.lists(not.as_bytes()), "{not}");
        }
    }

    #[test]
    fn a_star_lists_nobody() {
        let list = origins(&["*"]);
        assert!(list.any() && !list.is_empty());
        assert!(!list.lists(b"https://a.example"));
        assert!(origins(&[]).is_empty());
    }

    #[test]
    fn origin_of_a_referer() {
        assert_eq!(origin_of(b"https://a.example:8/x?y").as_deref(), Some("https://a.example:8"));
        assert_eq!(origin_of(b"https://a.example").as_deref(), Some("https://a.example"));
        assert_eq!(origin_of(b"https://u@a.example/"), None);
        assert_eq!(origin_of(b"https:///x"), None);
        assert_eq!(origin_of(b"a.example/x"), None);
    }
}
