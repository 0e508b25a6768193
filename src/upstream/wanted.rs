//! What a request wants from an upstream: which channel of it, and from where on.
//!
//! Invariants:
//! 1. Requests share a channel only if target, key fields and credentials are equal, byte for byte
//!    (X7); a hash alone never decides.
//! 2. Credentials are all `Cookie` and `Authorization` fields, unless the upstream is public; then
//!    they are neither passed on nor part of the key.
//! 3. Nothing in a key can forge a line of a request or of an event.
//! 4. `Debug` shows neither credentials nor values of key fields.

use super::ID_BYTES_MAX;
use crate::config::gateway::Upstream;
use crate::http::fields::Fields;
use crate::http::h1::Head;
use crate::log::Channel;
use std::fmt;
use std::hash::Hash;
use std::hash::Hasher;

/// Fields that carry credentials.
const CREDENTIALS: [&str; 2] = ["cookie", "authorization"];

/// How ids begin that a log made, of whatever process.
const MADE: &str = "urn:tide:";

/// Why a request wants nothing that an upstream could have: the fault of whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WantedError {
    /// The target is no path, or holds a space, a control byte or one outside ASCII.
    #[error("the channel's path or query is invalid: percent-encode it")]
    Target,
    /// The channel's name would break a line.
    #[error("the channel's name holds a line break or NUL: choose another")]
    Channel,
}

/// What tells taps of one family apart.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) target: Box<str>,
    /// The channel's name, where it is a part of what clients see; empty elsewhere.
    pub(super) channel: Box<str>,
    /// The definition's fields, in its order.
    pub(super) fields: Fields,
    pub(super) credentials: Fields,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.target.hash(state);
        self.channel.hash(state);
        for (name, value) in self.fields.iter().chain(self.credentials.iter()) {
            name.hash(state);
            value.hash(state);
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.fields.iter().map(|(name, _)| name).collect();
        f.debug_struct("Key")
            .field("target", &self.target)
            .field("channel", &self.channel)
            .field("fields", &names)
            .field("credentials", &self.has_credentials())
            .finish()
    }
}

impl Key {
    pub(super) fn has_credentials(&self) -> bool {
        self.credentials.iter().next().is_some()
    }
}

/// What one request wants.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub(super) key: Key,
    /// The upstream's id to begin after, if this request opens the channel.
    pub(super) seed: Option<Box<str>>,
}

impl Wanted {
    /// What a request wants, with `target` (path and query) expanded from the definition.
    /// `channel` is the channel's name; empty if the target has none. `head`: the request's, or
    /// `None` for a channel that is always on.
    ///
    /// # Errors
    /// The target or the name is invalid: answer 400.
    pub fn new(
        definition: &Upstream,
        target: &str,
        channel: &str,
        head: Option<&Head>,
    ) -> Result<Self, WantedError> {
        if !target.starts_with('/') || !target.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(WantedError::Target);
        }
        if channel.contains(['\r', '\n', '\0']) {
            return Err(WantedError::Channel);
        }
        let (mut fields, mut credentials) = (Fields::new(), Fields::new());
        if let Some(head) = head {
            for name in &definition.headers {
                head.all(name).for_each(|value| fields.push(name, value));
            }
            for name in CREDENTIALS {
                if !definition.public && !definition.headers.iter().any(|own| own == name) {
                    head.all(name).for_each(|value| credentials.push(name, value));
                }
            }
        }
        let channel = if definition.prefix_types { channel } else { "" };
        let key = Key { target: target.into(), channel: channel.into(), fields, credentials };
        Ok(Self { key, seed: None })
    }

    /// The same for a client that comes back with this last id; `log` is the family's. If the id
    /// may be one of the upstream's own, and this request opens the channel, the upstream is asked
    /// to go on after it; so a restart of the gateway loses nothing that the upstream can replay.
    #[must_use]
    pub fn resuming(mut self, definition: &Upstream, log: &Channel, id: &str) -> Self {
        let zero = log.id(0);
        let ours = zero.strip_suffix('0').unwrap_or(&zero);
        let theirs = !id.is_empty()
            && id != EARLIEST
            && !definition.multiplex
            && id.len() <= ID_BYTES_MAX
            && !id.starts_with(ours)
            && !id.contains(['\r', '\n', '\0']);
        self.seed = theirs.then(|| id.into());
        self
    }

    /// Whether the seed is an upstream's id for sure. One of another log's form is either that of
    /// an upstream that is a gateway too, or ours from before a restart: it is passed on, but the
    /// client must be told that it may have missed events.
    pub(super) fn is_surely_theirs(&self) -> bool {
        self.seed.as_deref().is_some_and(|id| !id.starts_with(MADE))
    }
}

/// The id that stands for everything kept.
pub(super) const EARLIEST: &str = "earliest";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::tests::definition;
    use crate::upstream::tests::head;
    use crate::upstream::tests::log;
    use crate::upstream::tests::log_of;

    const FIELDS: &str = "X-Tenant: a\r\nx-tenant: b\r\nX-Other: no\r\nCookie: c=1\r\n\
                          AUTHORIZATION: Bearer hunter2\r\nCookie: d=2\r\n";

    fn wanted(definition: &Upstream, fields: &str) -> Wanted {
        Wanted::new(definition, "/s?a=1", "news", Some(&head(fields))).unwrap()
    }

    fn text(fields: &Fields) -> String {
        let mut out = Vec::new();
        fields.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn key_fields_and_credentials_are_taken_and_nothing_else() {
        let tenant = Upstream { headers: vec!["x-tenant".into()], ..definition() };
        let key = wanted(&tenant, FIELDS).key;
        assert_eq!(text(&key.fields), "x-tenant: a\r\nx-tenant: b\r\n");
        let secrets = "cookie: c=1\r\ncookie: d=2\r\nauthorization: Bearer hunter2\r\n";
        assert_eq!(text(&key.credentials), secrets);
        let public = Upstream { public: true, ..tenant };
        assert_eq!(text(&wanted(&public, FIELDS).key.credentials), "");
        let listed = Upstream { headers: vec!["cookie".into()], ..definition() };
        let key = wanted(&listed, FIELDS).key;
        assert_eq!(text(&key.fields), "cookie: c=1\r\ncookie: d=2\r\n");
        assert_eq!(text(&key.credentials), "authorization: Bearer hunter2\r\n");
    }

    #[test]
    fn every_byte_of_a_credential_tells_keys_apart_unless_the_upstream_is_public() {
        let (own, public) = (definition(), Upstream { public: true, ..definition() });
        let fields =
            ["", "Cookie: a\r\n", "Cookie: b\r\n", "Authorization: a\r\n", "Cookie: A\r\n"];
        for (i, a) in fields.iter().enumerate() {
            for (j, b) in fields.iter().enumerate() {
                assert_eq!(wanted(&own, a).key == wanted(&own, b).key, i == j, "{a} {b}");
                assert!(wanted(&public, a).key == wanted(&public, b).key);
            }
        }
        // Where one field ends and the next begins counts as well.
        let (one, two) = ("Cookie: a; b\r\n", "Cookie: a\r\nCookie: b\r\n");
        assert!(wanted(&own, one).key != wanted(&own, two).key);
    }

    #[test]
    fn the_name_counts_only_where_clients_see_it() {
        let named = |definition: &Upstream, name| Wanted::new(definition, "/", name, None).unwrap();
        let (plain, prefixed) = (definition(), Upstream { prefix_types: true, ..definition() });
        assert!(named(&plain, "a").key == named(&plain, "b").key);
        assert!(named(&prefixed, "a").key != named(&prefixed, "b").key);
    }

    #[test]
    fn debug_shows_no_secret() {
        let tenant = Upstream { headers: vec!["x-tenant".into()], ..definition() };
        let shown = format!("{:?}", wanted(&tenant, &FIELDS.replace(": a", ": s3cret")));
        assert!(!shown.contains("hunter2") && !shown.contains("s3cret"), "{shown}");
        assert!(!shown.contains("c=1") && shown.contains("credentials: true"), "{shown}");
    }

    #[test]
    fn what_could_forge_a_line_is_refused() {
        let new = |target, name| Wanted::new(&definition(), target, name, None).map(|_| ());
        for target in ["", "a", "*", "/a b", "/a\r\nX: y", "/\u{e9}", "/\0", "/a\u{7f}"] {
            assert_eq!(new(target, ""), Err(WantedError::Target), "{target:?}");
        }
        for name in ["a\nb", "\r", "\0"] {
            assert_eq!(new("/", name), Err(WantedError::Channel), "{name:?}");
        }
        assert_eq!(new("/a%20b?c=%0A", "a b: é"), Ok(()));
    }

    #[test]
    fn only_an_upstreams_own_id_is_a_seed() {
        let log = log();
        let (made, before) = (log.id(3), Channel::id(&log_of(8), 3));
        let merged = Upstream { multiplex: true, ..definition() };
        let resuming = |d: &Upstream, id: &str| {
            let wanted = Wanted::new(d, "/", "", None).unwrap().resuming(d, &log, id);
            let sure = wanted.is_surely_theirs();
            (wanted.seed.map(String::from), sure)
        };
        let odd = "a é \"q\"";
        assert_eq!(resuming(&definition(), odd), (Some(odd.into()), true));
        assert_eq!(resuming(&definition(), &before), (Some(before.clone()), false));
        for id in ["", "earliest", &made, "a\nb", &"x".repeat(ID_BYTES_MAX + 1)] {
            assert_eq!(resuming(&definition(), id), (None, false), "{id}");
        }
        assert_eq!(resuming(&merged, "5"), (None, false));
    }
}
