//! What all sessions share and none of them changes.
//!
//! Invariants: made once at start; everything that follows from the configuration alone (keys,
//! origins, limits, the page) is worked out here, not per request.

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
    channel: Arc<Channel>,
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
        Self {
            verifier: Verifier::new(&config.hub),
            origins: Origins::new(&config.hub.cors_origins),
            page: hub::page(hub::gap::kind(&config.hub)),
            limits,
            config,
            channel,
            phase,
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The hub's channel.
    #[must_use]
    pub fn channel(&self) -> &Arc<Channel> {
        &self.channel
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
