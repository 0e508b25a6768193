//! The one table of keys: name, what it takes, bounds, meaning, and its field in the model.
//!
//! Invariants: the parser, the printed configuration and the operator's list of keys are all made
//! from this table; every field of `Config` that an operator may set has a row. Names are sorted
//! by section; the section is what stands before the dot.

use crate::config::Config;
use crate::config::field::Field;
use crate::config::value::Bounds;
use crate::config::value::Kind;
use crate::config::value::Value;

/// A key of the configuration file.
#[derive(Clone, Copy)]
pub struct Key {
    /// Its full name, as `hub.heartbeat`.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// The word for "no value" and what that means, where it is allowed.
    pub none: Option<(&'static str, &'static str)>,
    /// Where the value comes from.
    pub source: Source,
    /// What it is for, as one or two sentences.
    pub doc: &'static str,
    /// Its field in the model.
    pub field: fn(&mut Config) -> &mut dyn Field,
}

/// Where a key's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The text itself.
    Text,
    /// The text names a file that holds it.
    File,
    /// The text names an environment variable that holds it.
    Variable,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("name", &self.name).field("kind", &self.kind).finish()
    }
}

impl Key {
    /// The key with this full name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The section (empty for the top level) and the name in it.
    #[must_use]
    pub fn split(&self) -> (&'static str, &'static str) {
        self.name.split_once('.').unwrap_or(("", self.name))
    }

    /// The value that a configuration has for this key.
    #[must_use]
    pub fn value(&self, config: &mut Config) -> Value {
        match ((self.field)(config).value(), self.kind) {
            (Value::Number(bytes), Kind::Size(_)) => Value::Size(bytes),
            (value, _) => value,
        }
    }

    /// A value of this key as TOML; the key's own word where there is none.
    #[must_use]
    pub fn show(&self, value: &Value) -> Option<String> {
        match (value, self.none) {
            (Value::None, None) => None,
            (Value::None, Some((word, _))) => Some(crate::config::value::quote(word)),
            (value, _) => Some(value.show()),
        }
    }

    /// What the key takes, in words.
    #[must_use]
    pub fn wanted(&self) -> String {
        let wanted = match self.source {
            Source::Text => self.kind.wanted(),
            Source::File => "the path of a file that holds the key".to_owned(),
            Source::Variable => "the name of an environment variable that holds the key".into(),
        };
        match self.none {
            Some((word, what)) => format!("{wanted}, or \"{word}\" ({what})"),
            None => wanted,
        }
    }

    const fn or(mut self, word: &'static str, what: &'static str) -> Self {
        self.none = Some((word, what));
        self
    }

    const fn from(mut self, source: Source) -> Self {
        self.source = source;
        self
    }
}

/// The default of the key with this full name as TOML, if it has one.
#[must_use]
pub fn default(name: &str) -> Option<String> {
    let key = Key::find(name)?;
    let value = key.value(&mut Config::default());
    key.show(&value)
}

const fn key(
    name: &'static str,
    kind: Kind,
    doc: &'static str,
    field: fn(&mut Config) -> &mut dyn Field,
) -> Key {
    Key { name, kind, none: None, source: Source::Text, doc, field }
}

const fn number(min: u64, max: u64) -> Kind {
    Kind::Number(Bounds { min, max, zero: None })
}

const fn size(min: u64, max: u64) -> Kind {
    Kind::Size(Bounds { min, max, zero: None })
}

/// Bounds in milliseconds.
const fn span(min: u64, max: u64) -> Kind {
    Kind::Span(Bounds { min, max, zero: None })
}

const fn span_or_zero(min: u64, max: u64, zero: &'static str) -> Kind {
    Kind::Span(Bounds { min, max, zero: Some(zero) })
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SECOND: u64 = 1000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;

/// All keys, top level first, then section by section.
pub static KEYS: &[Key] = &[
    key(
        "listen",
        Kind::Address,
        "Where clients and publishers connect: the listener named `default`. Where it serves the \
         hub, and there is no hub.publisher_key, only a loopback address is allowed. Port 0 takes \
         a free port and says which.",
        |c| &mut c.listen,
    ),
    key(
        "admin",
        Kind::Address,
        "Where metrics and health are served. It has no authentication, so keep it on loopback or \
         a private network.",
        |c| &mut c.admin,
    )
    .or("off", "no admin listener"),
    key(
        "workers",
        number(1, 1024),
        "Number of workers; each is one pinned thread with its own listener and ring.",
        |c| &mut c.workers.count,
    )
    .or("auto", "one for each of `cpus`"),
    key("cpus", Kind::Cpus, "CPUs of the workers, in order; worker i takes entry i.", |c| {
        &mut c.workers.cpus
    })
    .or("auto", "those that the process may run on"),
    key(
        "io",
        Kind::Choice(&["auto", "uring", "epoll"]),
        "Kernel interface of the data path. `auto` takes io_uring where its self-test passes, else \
         epoll, and says which and why; `uring` is io_uring or an error.",
        |c| &mut c.io,
    ),
    key(
        "limits.connections_max",
        number(1, 100_000_000),
        "Connections in total, of clients and to backends and upstreams together: a proxied stream \
         takes two, a shared one its client's and a part of its channel's. Past it a new client is \
         closed at once.",
        |c| &mut c.limits.connections_max,
    )
    .or("auto", "what the limit of open files allows, less a reserve"),
    key(
        "limits.connections_per_address_max",
        Kind::Number(Bounds { min: 1, max: 1_000_000, zero: Some("no limit") }),
        "Connections of one client address; an IPv6 /64 counts as one. Past it a new one is closed \
         at once. A number holds for all addresses. Behind a proxy or CDN that connects from \
         public addresses, take 0 and limit there.",
        |c| &mut c.limits.connections_per_address_max,
    )
    .or("auto", "1024 for a public address, no limit for loopback and private ones"),
    key("limits.head_bytes_max", size(KIB, MIB), "Bytes of a request's head.", |c| {
        &mut c.limits.head_bytes_max
    }),
    key("limits.headers_max", number(8, 1000), "Header fields of a request.", |c| {
        &mut c.limits.headers_max
    }),
    key(
        "limits.target_bytes_max",
        size(256, MIB),
        "Bytes of a request's target, which holds a subscription's topics; at most \
         limits.head_bytes_max.",
        |c| &mut c.limits.target_bytes_max,
    ),
    key(
        "limits.body_bytes_max",
        size(KIB, 64 * MIB),
        "Bytes of a request's body, so of one event; at most hub.lag_bytes_max.",
        |c| &mut c.limits.body_bytes_max,
    ),
    key(
        "limits.head_timeout",
        span(10, HOUR),
        "From accept, or from a request's first byte, to the end of its head.",
        |c| &mut c.limits.head_timeout,
    ),
    key(
        "limits.body_timeout",
        span(10, HOUR),
        "From the end of a request's head to the end of its body.",
        |c| &mut c.limits.body_timeout,
    ),
    key(
        "limits.keep_alive_timeout",
        span(10, DAY),
        "From a response's end to the first byte of the next request.",
        |c| &mut c.limits.keep_alive_timeout,
    ),
    key(
        "limits.write_timeout",
        span(10, HOUR),
        "How long a connection with unsent bytes may make no progress before it is closed.",
        |c| &mut c.limits.write_timeout,
    ),
    key(
        "limits.unsent_bytes_max",
        size(64 * KIB, 1024 * GIB),
        "Bytes that one worker holds for clients that lag; when they are spent, those who lag most \
         fall to hub.lag_policy. At least hub.lag_bytes_max.",
        |c| &mut c.limits.unsent_bytes_max,
    ),
    key(
        "hub.publisher_key",
        Kind::Secret,
        "HS256 key of publishers' tokens. Without one, anyone who reaches the listener may \
         publish, so only loopback addresses are served.",
        |c| &mut c.hub.publisher_key,
    ),
    key("hub.publisher_key_file", Kind::Secret, "The same, from a file.", |c| {
        &mut c.hub.publisher_key
    })
    .from(Source::File),
    key("hub.publisher_key_env", Kind::Secret, "The same, from the environment.", |c| {
        &mut c.hub.publisher_key
    })
    .from(Source::Variable),
    key(
        "hub.subscriber_key",
        Kind::Secret,
        "HS256 key of subscribers' tokens. Without one nobody receives private events.",
        |c| &mut c.hub.subscriber_key,
    ),
    key("hub.subscriber_key_file", Kind::Secret, "The same, from a file.", |c| {
        &mut c.hub.subscriber_key
    })
    .from(Source::File),
    key("hub.subscriber_key_env", Kind::Secret, "The same, from the environment.", |c| {
        &mut c.hub.subscriber_key
    })
    .from(Source::Variable),
    key(
        "hub.anonymous",
        Kind::Flag,
        "Whether a client without a token may subscribe; it receives public events only.",
        |c| &mut c.hub.anonymous,
    ),
    key(
        "hub.cors_origins",
        Kind::Origins,
        "Web origins whose pages may use the hub from another origin.",
        |c| &mut c.hub.cors_origins,
    ),
    key(
        "hub.history_events_max",
        number(1, 1_000_000_000),
        "Events kept for clients that resume.",
        |c| &mut c.hub.history_events_max,
    ),
    key(
        "hub.history_bytes_max",
        size(64 * KIB, 1024 * GIB),
        "Bytes of events kept: their wire form, and about 300 for each.",
        |c| &mut c.hub.history_bytes_max,
    ),
    key(
        "hub.history_age_max",
        span_or_zero(10, 365 * DAY, "no limit"),
        "Age up to which events are kept.",
        |c| &mut c.hub.history_age_max,
    ),
    key("hub.publish_topics_max", number(1, 1_000_000), "Topics of one publish.", |c| {
        &mut c.hub.publish_topics_max
    }),
    key("hub.subscribe_topics_max", number(1, 1_000_000), "Topics of one subscription.", |c| {
        &mut c.hub.subscribe_topics_max
    }),
    key("hub.topic_bytes_max", size(16, 64 * KIB), "Bytes of one topic or event id.", |c| {
        &mut c.hub.topic_bytes_max
    }),
    key(
        "hub.heartbeat",
        span_or_zero(10, HOUR, "off"),
        "Silence after which a client gets a comment, so that proxies keep the connection.",
        |c| &mut c.hub.heartbeat,
    ),
    key(
        "hub.retry",
        span(1, HOUR),
        "Reconnection time that a client is told when it connects.",
        |c| &mut c.hub.retry,
    )
    .or("off", "the client's own"),
    key(
        "hub.age_max",
        span_or_zero(10, 30 * DAY, "none"),
        "Age at which a connection is ended, drawn from 80 to 100 % of this; the client resumes.",
        |c| &mut c.hub.age_max,
    ),
    key(
        "hub.lag_bytes_max",
        size(4 * KIB, GIB),
        "Bytes that a client may lag behind before hub.lag_policy decides.",
        |c| &mut c.hub.lag_bytes_max,
    ),
    key(
        "hub.lag_policy",
        Kind::Choice(&["close", "skip", "latest"]),
        "`close`: the connection ends and the client resumes from history. `skip`: it goes on at \
         the newest event, after an announced gap. `latest`: it gets the newest event of each \
         topic.",
        |c| &mut c.hub.lag_policy,
    ),
    key(
        "hub.gap_event",
        Kind::EventType,
        "Type of the event that announces a gap in band, beside a comment; empty: `gap` with the \
         policy `skip`, else none.",
        |c| &mut c.hub.gap_event,
    ),
    key(
        "drain.period",
        span_or_zero(10, DAY, "all at once"),
        "On SIGTERM, over how long the clients are closed. A second signal ends it at once.",
        |c| &mut c.drain.period,
    ),
    key(
        "drain.reconnects_per_second",
        number(1, 1_000_000_000),
        "Reconnects a second that the other servers take; spreads the `retry:` that clients are \
         sent.",
        |c| &mut c.drain.reconnects_per_second,
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_default_is_within_its_bounds() {
        let mut config = Config::default();
        for (place, key) in KEYS.iter().enumerate() {
            assert!(KEYS[..place].iter().all(|other| other.name != key.name), "{}", key.name);
            let value = key.value(&mut config);
            let before = config.clone();
            assert!((key.field)(&mut config).put(value.clone()).is_some(), "{}", key.name);
            assert_eq!(config, before, "{}", key.name);
            assert!(value != Value::None || key.none.is_some() || key.kind == Kind::Secret);
        }
    }

    #[test]
    fn keys_of_a_section_stand_together() {
        let mut seen: Vec<&str> = Vec::new();
        for key in KEYS {
            let (section, _) = key.split();
            if seen.last() != Some(&section) {
                assert!(!seen.contains(&section), "{} comes too late", key.name);
                seen.push(section);
            }
        }
        assert_eq!(seen, ["", "limits", "hub", "drain"]);
    }
}
