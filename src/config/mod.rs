//! The checked model: what the server runs with. Only `toml` makes one from text.
//!
//! Invariants: a `Config` needs no further checking: ranges, units and cross-checks are done.
//! `Config::default()` is a working server on loopback. Every limit of the server has its default
//! here, and each protects a production host.

pub mod budget;
pub mod error;
pub mod field;
pub mod form;
pub mod gateway;
pub mod keys;
pub mod lines;
pub mod near;
pub mod relations;
pub mod show;
pub mod toml;
pub mod units;
pub(crate) mod unserved;
pub mod value;

use crate::base::redact::Secret;
use std::net::SocketAddr;
use std::time::Duration;

/// What the server runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where clients and publishers connect; also the first of `gateway.listeners`.
    pub listen: SocketAddr,
    /// Admin listener (metrics, health); `None` switches it off.
    pub admin: Option<SocketAddr>,
    /// CPUs of the workers, in order; one worker each.
    pub workers: Workers,
    /// Which kernel interface carries the data path.
    pub io: Io,
    /// HTTP and connection limits.
    pub limits: Limits,
    /// The hub.
    pub hub: Hub,
    /// How the process ends.
    pub drain: Drain,
    /// Listeners, routes, backends and upstreams.
    pub gateway: gateway::Gateway,
}

/// How many workers, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers {
    /// Number of workers; `None`: one for each CPU that the process may run on.
    pub count: Option<usize>,
    /// CPUs to pin to, worker i to entry i modulo its length; `None`: those the process may run on.
    pub cpus: Option<Vec<usize>>,
}

/// Which kernel interface carries the data path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    /// io_uring where its self-test passes, else epoll, said once.
    Auto,
    /// io_uring or an error.
    Uring,
    /// epoll.
    Epoll,
}

/// Limits of connections and requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections in total; `None`: what the file limit allows, less a reserve.
    pub connections_max: Option<usize>,
    /// Connections of one client address (an IPv6 /64 counts as one); 0: no limit. `None`: 1,024
    /// for a public address, no limit for addresses where proxies are.
    pub connections_per_address_max: Option<u32>,
    /// Bytes of a request's head.
    pub head_bytes_max: usize,
    /// Header fields of a request.
    pub headers_max: usize,
    /// Bytes of a request's target.
    pub target_bytes_max: usize,
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
    /// From accept or from a request's first byte to the end of its head.
    pub head_timeout: Duration,
    /// From the end of a request's head to the end of its body.
    pub body_timeout: Duration,
    /// From a response's end to the next request's first byte.
    pub keep_alive_timeout: Duration,
    /// How long a connection with unsent bytes may make no progress.
    pub write_timeout: Duration,
    /// Bytes that a worker may hold for clients that lag.
    pub unsent_bytes_max: usize,
}

/// What happens to a client past its lag limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LagPolicy {
    /// The connection ends; the client resumes from history.
    Close,
    /// The cursor jumps to the tail, announced by a gap event.
    Skip,
    /// The newest event of each topic, then the tail.
    Latest,
}

/// The hub's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hub {
    /// HS256 key of publishers' tokens.
    pub publisher_key: Option<Secret>,
    /// HS256 key of subscribers' tokens.
    pub subscriber_key: Option<Secret>,
    /// Whether a client without a token may subscribe (to public events).
    pub anonymous: bool,
    /// Origins that may read across origins; `["*"]` for all.
    pub cors_origins: Vec<String>,
    /// Events kept.
    pub history_events_max: usize,
    /// Wire bytes kept.
    pub history_bytes_max: usize,
    /// Age up to which events are kept; zero: no limit.
    pub history_age_max: Duration,
    /// Topics of one publish.
    pub publish_topics_max: usize,
    /// Selectors of one subscription.
    pub subscribe_topics_max: usize,
    /// Bytes of one topic name or event id.
    pub topic_bytes_max: usize,
    /// Silence after which a client gets a comment; zero switches heartbeats off.
    pub heartbeat: Duration,
    /// `retry:` sent on connect, in milliseconds; `None`: none.
    pub retry: Option<u64>,
    /// Age at which a connection is ended (drawn from 80 to 100 %); zero: none.
    pub age_max: Duration,
    /// Bytes that a client may lag.
    pub lag_bytes_max: usize,
    /// What happens past that.
    pub lag_policy: LagPolicy,
    /// Event type of an in-band gap event; empty: only the comment.
    pub gap_event: String,
}

/// How the process ends on SIGTERM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Over how long the clients are closed.
    pub period: Duration,
    /// Reconnects a second that the fleet takes; the spread of `retry:` follows from it.
    pub reconnects_per_second: u32,
}

impl Default for Config {
    fn default() -> Self {
        let listen = SocketAddr::from(([127, 0, 0, 1], 8080));
        Self {
            listen,
            admin: Some(SocketAddr::from(([127, 0, 0, 1], 9090))),
            workers: Workers { count: None, cpus: None },
            io: Io::Auto,
            limits: Limits::default(),
            hub: Hub::default(),
            drain: Drain { period: Duration::from_secs(300), reconnects_per_second: 1000 },
            gateway: gateway::Gateway::at(listen),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: None,
            connections_per_address_max: None,
            head_bytes_max: 32 * 1024,
            headers_max: 100,
            target_bytes_max: 8 * 1024,
            body_bytes_max: 1024 * 1024,
            head_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(300),
            write_timeout: Duration::from_secs(30),
            unsent_bytes_max: 256 * 1024 * 1024,
        }
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            publisher_key: None,
            subscriber_key: None,
            anonymous: true,
            cors_origins: Vec::new(),
            history_events_max: 10_000,
            history_bytes_max: 16 * 1024 * 1024,
            history_age_max: Duration::from_secs(3600),
            publish_topics_max: 1000,
            subscribe_topics_max: 1000,
            topic_bytes_max: 4096,
            heartbeat: Duration::from_secs(15),
            retry: None,
            age_max: Duration::ZERO,
            lag_bytes_max: 1024 * 1024,
            lag_policy: LagPolicy::Close,
            gap_event: String::new(),
        }
    }
}
