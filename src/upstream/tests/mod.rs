//! Ground for the tests of taps: a definition, logs, and a driver that plays a scripted upstream
//! against a source in virtual time.

mod claims;
mod cuts;
mod flapping;
mod leases;
mod lives;
mod stage;

use super::*;
use crate::base::map::Hasher;
use crate::base::sync::Arc;
use crate::base::time::Moment;
use crate::config::LagPolicy;
use crate::config::gateway::Initial;
use crate::config::gateway::Scheme;
use crate::config::gateway::Upstream;
use crate::http::Limits as HttpLimits;
use crate::http::h1::Decoder;
use crate::http::h1::Head;
use crate::http::h1::Item;
use crate::log::Bell;
use crate::log::Channel;
use crate::log::Limits;

/// Bytes that a reader of the test's logs may be behind.
pub(super) const BACKLOG: usize = 1000;

pub(super) fn definition() -> Upstream {
    Upstream {
        name: "feed".into(),
        backend: 0,
        host: "feed.test:8080".into(),
        target: Vec::new(),
        headers: Vec::new(),
        public: false,
        always_on: false,
        linger: Duration::from_secs(10),
        event_bytes_max: 1000,
        head_timeout: Duration::from_secs(20),
        idle_timeout: Duration::from_secs(60),
        backoff_min: Duration::from_millis(250),
        backoff_max: Duration::from_secs(30),
        redirects_max: 3,
        channels_max: 4,
        multiplex: false,
        channels_per_client_max: 4,
        prefix_types: false,
        initial: Initial::None,
        history_events_max: 100,
        history_bytes_max: 1 << 20,
        history_total_bytes_max: 1 << 20,
        history_age_max: Duration::ZERO,
        heartbeat: Duration::from_secs(15),
        retry: None,
        age_max: Duration::ZERO,
        lag_bytes_max: 1 << 20,
        lag_policy: LagPolicy::Close,
        gap_event: String::new(),
        cors_origins: Vec::new(),
    }
}

pub(super) fn family() -> Family {
    family_of(&definition())
}

pub(super) fn family_of(definition: &Upstream) -> Family {
    Family {
        definition: definition.clone(),
        scheme: Scheme::Http,
        connect_timeout: Duration::from_secs(5),
    }
}

/// A request's head with these fields.
pub(super) fn head(fields: &str) -> Head {
    let text = format!("GET / HTTP/1.1\r\nHost: gate.test\r\n{fields}\r\n");
    let item = Decoder::new().decode(&mut text.as_bytes(), &HttpLimits::default());
    let Ok(Item::Head(head)) = item else { panic!("{item:?}") };
    *head
}

pub(super) fn registry(definition: &Upstream) -> Registry {
    Registry::new(vec![family_of(definition)], Hasher::new(3))
}

pub(super) fn opening(millis: u64, log: &Channel) -> Opening<'_> {
    Opening { worker: 2, now: Moment::from_millis(millis), log }
}

/// A tap of a registry of its own, for the target `/s/a`, with the name `news`.
pub(super) fn tap_of(definition: &Upstream, head: Option<&Head>, seed: Option<&str>) -> Arc<Tap> {
    let mut wanted = Wanted::new(definition, "/s/a", "news", head).unwrap();
    if let Some(id) = seed {
        wanted = wanted.resuming(definition, &log(), id);
    }
    let leased = registry(definition).lease(0, wanted, opening(0, &log())).unwrap();
    Arc::clone(leased.lease.tap())
}

pub(super) fn log_of(epoch: u64) -> Channel {
    let limits = Limits {
        events_max: 1000,
        bytes_max: 1 << 20,
        age_max_millis: 0,
        backlog_bytes_max: BACKLOG as u64,
        per_topic: Some(crate::log::TopicLimits { events_max: usize::MAX, bytes_max: usize::MAX }),
    };
    Channel::new(limits, epoch, Hasher::new(3))
}

pub(super) fn log() -> Channel {
    log_of(7)
}

pub(super) fn bell() -> Arc<Bell> {
    Arc::new(Bell::new(Box::new(|| {})))
}
