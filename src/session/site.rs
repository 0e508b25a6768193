//! What all sessions share and none of them changes.
//!
//! Invariants: made once at start; everything that follows from the configuration alone (keys,
//! origins, limits, the page) is worked out here, not per request.

use super::Group;
use super::Terms;
use crate::auth::Origins;
use crate::auth::Verifier;
use crate::base::phase::Phase;
use crate::base::phase::PhaseFlag;
use crate::base::sync::Arc;
use crate::config::Config;
use crate::http::Limits;
use crate::hub;
use crate::log::Channel;

/// The site that sessions serve.
#[derive(Debug)]
pub struct Site {
    config: Arc<Config>,
    /// The first of the groups.
    hub: Group,
    groups: Vec<Group>,
    phase: Arc<PhaseFlag>,
    verifier: Verifier,
    origins: Origins,
    limits: Limits,
    page: String,
}

impl Site {
    /// A site from its configuration, its hub's channel and the process's phase.
    #[must_use]
    pub fn new(config: Arc<Config>, channel: Arc<Channel>, phase: Arc<PhaseFlag>) -> Self {
        let limits = Limits {
            head_bytes_max: config.limits.head_bytes_max,
            headers_max: config.limits.headers_max,
            target_bytes_max: config.limits.target_bytes_max,
            body_bytes_max: config.limits.body_bytes_max,
        };
        let hub = Group { channel, terms: Terms::from(&config.hub) };
        Self {
            verifier: Verifier::new(&config.hub),
            origins: Origins::new(&config.hub.cors_origins),
            page: hub::page(hub.terms.gap_kind.as_deref()),
            limits,
            config,
            groups: vec![hub.clone()],
            hub,
            phase,
        }
    }

    /// The same, with the channels of the configuration's upstreams, in their order (limits for
    /// them: [`super::upstream_limits`]).
    #[must_use]
    pub fn with_upstreams(mut self, channels: Vec<Arc<Channel>>) -> Self {
        let upstreams = &self.config.gateway.upstreams;
        debug_assert_eq!(upstreams.len(), channels.len(), "a channel for each upstream");
        debug_assert!(channels.len() < super::GROUPS_MAX, "the configuration bounds them");
        let groups = upstreams.iter().zip(channels);
        self.groups.extend(groups.map(|(u, channel)| Group { channel, terms: Terms::from(u) }));
        self
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The groups: the hub first, then the upstreams.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The hub.
    #[must_use]
    pub fn hub(&self) -> &Group {
        &self.hub
    }

    /// The hub's channel.
    #[must_use]
    pub fn channel(&self) -> &Arc<Channel> {
        &self.hub.channel
    }

    /// Where the process stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase.now()
    }

    /// Whether the process is on its way out, so that connections close after an answer.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.phase.now() >= Phase::Draining
    }

    pub(super) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    pub(super) fn origins(&self) -> &Origins {
        &self.origins
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn page(&self) -> &str {
        &self.page
    }
}
