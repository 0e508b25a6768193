//! What all taps of one definition share: the definition, and how its backend is reached.
//!
//! Invariants: made from a checked configuration, once; scheme and host are those of the URL.

use crate::config::gateway::Gateway;
use crate::config::gateway::Scheme;
use crate::config::gateway::Upstream;
use std::time::Duration;

/// One `[[upstream]]` of the configuration.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its text.
    pub definition: Upstream,
    /// The scheme of its URL.
    pub scheme: Scheme,
    /// From the start of a connect to its end, TLS included.
    pub connect_timeout: Duration,
}

impl Family {
    /// The families of a configuration, in its order.
    #[must_use]
    pub fn all(gateway: &Gateway) -> Vec<Self> {
        gateway.upstreams.iter().map(|definition| Self::new(definition, gateway)).collect()
    }

    fn new(definition: &Upstream, gateway: &Gateway) -> Self {
        let backend = gateway.backends.get(definition.backend);
        debug_assert!(backend.is_some(), "checked by the configuration");
        let tls = backend.is_some_and(|backend| backend.tls.is_some());
        Self {
            definition: definition.clone(),
            scheme: if tls { Scheme::Https } else { Scheme::Http },
            connect_timeout: backend.map_or(Duration::ZERO, |backend| backend.connect_timeout),
        }
    }
}
