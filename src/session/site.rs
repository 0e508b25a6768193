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
use crate::config::gateway::Action;
use crate::http::Limits;
use crate::hub;
use crate::log::Channel;
use crate::route::Router;
use crate::route::RuleId;
use crate::upstream::Family;
use crate::upstream::Registry;

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
    /// Of each upstream.
    upstream_origins: Vec<Origins>,
    limits: Limits,
    page: String,
    router: Router,
    /// The port of each of the router's addresses, as it was bound.
    ports: Vec<u16>,
    registry: Registry,
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
            stray_bodies: false,
        };
        let gateway = &config.gateway;
        let router = Router::new(gateway, channel.hasher());
        let registry = Registry::new(Family::all(gateway), channel.hasher().clone());
        let ports = router.addresses().iter().map(std::net::SocketAddr::port).collect();
        let origins = gateway.upstreams.iter().map(|u| Origins::new(&u.cors_origins)).collect();
        let hub = Group { channel, terms: Terms::from(&config.hub) };
        Self {
            upstream_origins: origins,
            router,
            ports,
            registry,
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

    /// The same, with the ports that the router's addresses got when they were bound.
    #[must_use]
    pub fn with_ports(self, ports: Vec<u16>) -> Self {
        debug_assert_eq!(ports.len(), self.ports.len(), "a port for each address");
        Self { ports, ..self }
    }

    /// Which rule serves a request.
    #[must_use]
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// The upstream streams of the process.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Limits of requests, and of the responses of backends.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn port(&self, address: usize) -> u16 {
        self.ports.get(address).copied().unwrap_or_default()
    }

    pub(super) fn upstream_origins(&self, upstream: usize) -> &Origins {
        self.upstream_origins.get(upstream).unwrap_or(&self.origins)
    }

    /// The page of the event stream that a rule names.
    pub(super) fn live_page(&self, id: RuleId) -> String {
        match self.router.rule(id).map(|rule| &rule.action) {
            Some(Action::Page(stream)) => hub::stream_page(stream, None),
            _ => self.page.clone(),
        }
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

    pub(super) fn page(&self) -> &str {
        &self.page
    }
}
