//! Groups: a channel each, and the terms on which its clients read it.
//!
//! The first group is the hub. Each upstream definition of the configuration is one more, in their
//! order; its event streams are the topics of its channel. A worker has one fan-out for each group
//! that it has had clients of.
//!
//! Invariants: terms follow from the configuration alone and never change.

use crate::base::sync::Arc;
use crate::config::Hub;
use crate::config::LagPolicy;
use crate::config::gateway::Upstream;
use crate::hub::gap;
use crate::log::Channel;
use crate::log::Limits;
use crate::log::TopicLimits;
use std::time::Duration;

/// The hub's place among the groups.
pub const HUB: usize = 0;

/// The most that there may be: so many fit into a worker's tokens.
pub const GROUPS_MAX: usize = 256;

/// A channel and its clients' terms.
#[derive(Clone, Debug)]
pub struct Group {
    /// What they read.
    pub channel: Arc<Channel>,
    /// On which terms.
    pub terms: Terms,
}

/// What a group's clients get, and what is expected of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Silence after which a client gets a comment; zero: none.
    pub heartbeat: Duration,
    /// `retry:` sent on connect, in milliseconds; `None`: none.
    pub retry: Option<u64>,
    /// Age at which a connection is ended (drawn from 80 to 100 %); zero: none.
    pub age_max: Duration,
    /// Bytes that a client may lag.
    pub lag_bytes_max: usize,
    /// What happens past that.
    pub lag_policy: LagPolicy,
    /// Event type of an in-band gap event; `None`: only the comment.
    pub gap_kind: Option<String>,
}

impl From<&Hub> for Terms {
    fn from(hub: &Hub) -> Self {
        Self {
            heartbeat: hub.heartbeat,
            retry: hub.retry,
            age_max: hub.age_max,
            lag_bytes_max: hub.lag_bytes_max,
            lag_policy: hub.lag_policy,
            gap_kind: gap::kind(&hub.gap_event, hub.lag_policy).map(str::to_owned),
        }
    }
}

impl From<&Upstream> for Terms {
    fn from(upstream: &Upstream) -> Self {
        Self {
            heartbeat: upstream.heartbeat,
            retry: upstream.retry,
            age_max: upstream.age_max,
            lag_bytes_max: upstream.lag_bytes_max,
            lag_policy: upstream.lag_policy,
            gap_kind: gap::kind(&upstream.gap_event, upstream.lag_policy).map(str::to_owned),
        }
    }
}

/// What the channel of an upstream keeps.
#[must_use]
pub fn upstream_limits(upstream: &Upstream, backlog_bytes_max: u64) -> Limits {
    Limits {
        // The number of channels and what each keeps bound the sum.
        events_max: usize::MAX,
        bytes_max: upstream.history_total_bytes_max,
        age_max_millis: u64::try_from(upstream.history_age_max.as_millis()).unwrap_or(u64::MAX),
        backlog_bytes_max,
        per_topic: Some(TopicLimits {
            events_max: upstream.history_events_max,
            bytes_max: upstream.history_bytes_max,
        }),
    }
}
