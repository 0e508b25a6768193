//! Which warnings about endpoints may be logged: one for each endpoint in an interval, so that the
//! refusal of one does not hide what is wrong with another (`localhost` is two of them).
//!
//! Invariants: at most [`ENDPOINTS_MAX`] endpoints have a throttle of their own; the others share
//! one. So a worker logs a bounded number of lines in an interval, however many endpoints fail.

use super::WARN_INTERVAL;
use crate::backend::Endpoint;
use crate::base::map::{Hasher, Map};
use crate::base::time::Moment;
use crate::metrics::log::Throttle;

/// Endpoints that have a throttle of their own.
const ENDPOINTS_MAX: usize = 32;

/// The throttles of one worker.
#[derive(Debug)]
pub(super) struct Warnings {
    /// By the endpoint's place in memory: one that took the place of another waits for its turn.
    own: Map<usize, Throttle>,
    shared: Throttle,
}

impl Warnings {
    pub(super) fn new(hasher: &Hasher) -> Self {
        Self { own: hasher.map(), shared: Throttle::new(WARN_INTERVAL) }
    }

    /// The throttle of an endpoint.
    pub(super) fn of(&mut self, endpoint: &Endpoint, now: Moment) -> &mut Throttle {
        let key = std::ptr::from_ref(endpoint).addr();
        if self.own.len() >= ENDPOINTS_MAX && !self.own.contains_key(&key) {
            self.own.retain(|_, throttle| !throttle.is_over(now));
            if self.own.len() >= ENDPOINTS_MAX {
                return &mut self.shared;
            }
        }
        self.own.entry(key).or_insert_with(|| Throttle::new(WARN_INTERVAL))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Backends;
    use crate::config::gateway::Nothing;
    use crate::config::toml::load;

    #[test]
    fn each_endpoint_has_its_line_and_many_have_a_bound() {
        let urls: Vec<String> = (1..=50).map(|n| format!("\"http://10.0.0.{n}:80\"")).collect();
        let text = format!("[[backend]]\nname = \"b\"\nendpoints = [{}]\n", urls.join(", "));
        let config = load(&text, &[], &Nothing).unwrap();
        let backends = Backends::new(&config.gateway);
        let mut warnings = Warnings::new(&Hasher::new(1));
        let mut lines = |now: Moment, count: usize| {
            let seats = backends.seats(0).into_iter().take(count);
            seats.filter(|s| warnings.of(&s.endpoint, now).pass(now).is_some()).count()
        };
        let now = Moment::from_millis(5);
        assert_eq!((lines(now, 2), lines(now, 2)), (2, 0), "one does not hide the other");
        let later = now.after(WARN_INTERVAL);
        assert_eq!((lines(later, 50), lines(later, 50)), (ENDPOINTS_MAX + 1, 0));
        let last = later.after(WARN_INTERVAL);
        assert_eq!((lines(last, 50), lines(last, 50)), (ENDPOINTS_MAX + 1, 0));
    }
}
