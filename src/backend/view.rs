//! A worker's view of the backends: the rosters that it knows, and whose turn it is.
//!
//! Invariants: a pick takes no lock unless the roster changed since the last, and allocates nothing
//! but a cookie. Turns are each worker's own and start at a random place, so that workers do not
//! march in step. In turn: smooth weighted round robin, which spreads an endpoint's turns evenly
//! and keeps its shares while others come and go. By requests in flight: two are drawn by weight,
//! and the one with fewer requests for its weight is taken; counts are those of all workers.

use super::Backends;
use super::Endpoint;
use super::Health;
use super::InFlight;
use super::affinity;
use super::backends::Fleet;
use super::roster::Missing;
use super::roster::Roster;
use super::roster::Seat;
use crate::base::chance::Chance;
use crate::base::sync::Arc;
use crate::base::time::Moment;
use crate::config::gateway::Balance;

/// The endpoint that a request goes to.
#[derive(Debug)]
pub struct Pick {
    /// It, with its address; it wants to hear [`Endpoint::succeeded`] or [`Endpoint::failed`].
    pub endpoint: Arc<Endpoint>,
    /// To be kept as long as the request is under way.
    pub in_flight: InFlight,
    /// The name for TLS; `None`: no TLS.
    pub server_name: Option<Arc<str>>,
    /// A `Set-Cookie` field's value for the response, if the client has to be told where it is.
    pub set_cookie: Option<String>,
}

/// Why there is no endpoint for a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PickError {
    /// The first lookup of its names is under way: the request may wait for it.
    #[error("backend {backend}: its names are being looked up for the first time; try again")]
    Pending {
        /// The backend's name.
        backend: Arc<str>,
    },
    /// None of its names has ever been resolved.
    #[error("backend {backend} has no address: {cause}. Check its names and the name server")]
    Unresolved {
        /// The backend's name.
        backend: Arc<str>,
        /// Why the last lookup failed.
        cause: Arc<str>,
    },
    /// Probes found all its endpoints unhealthy.
    #[error("backend {backend}: all its endpoints fail their probes. See /backends of admin")]
    NoneHealthy {
        /// The backend's name.
        backend: Arc<str>,
    },
    /// All its endpoints have weight 0.
    #[error("backend {backend}: all its endpoints have weight 0. Give one a weight")]
    Weightless {
        /// The backend's name.
        backend: Arc<str>,
    },
    /// The index is not one of the configuration's.
    #[error("there is no backend {index}. Use the index of the configuration that runs")]
    NoSuch {
        /// The index.
        index: usize,
    },
}

/// What one worker knows.
#[derive(Debug)]
pub struct View {
    backends: Arc<Backends>,
    known: Vec<Known>,
}

/// What one worker knows of one backend.
#[derive(Debug, Default)]
struct Known {
    version: u64,
    roster: Arc<Roster>,
    /// Where each seat is in its turn.
    turns: Vec<i64>,
    /// Each seat's class for the present pick: [`NEVER`], or the lower the better.
    classes: Vec<u8>,
}

const EJECTED: u8 = 2;
const TRIED: u8 = 1;
const NEVER: u8 = u8::MAX;

impl View {
    /// A view that knows nothing yet.
    #[must_use]
    pub fn new(backends: Arc<Backends>) -> Self {
        let known = backends.fleets.iter().map(|_| Known::default()).collect();
        Self { backends, known }
    }

    /// Chooses the endpoint for a request to `backend`. `cookies` is the request's `Cookie` field,
    /// if it has one; `avoid` are the endpoints that were tried for this request before: they are
    /// used again only if no other is left.
    ///
    /// # Errors
    /// There is no endpoint that could be used, and why.
    pub fn pick(
        &mut self,
        backend: usize,
        now: Moment,
        chance: &mut Chance,
        cookies: Option<&[u8]>,
        avoid: &[Arc<Endpoint>],
    ) -> Result<Pick, PickError> {
        let fleet = self.backends.fleets.get(backend);
        let Some((fleet, known)) = fleet.zip(self.known.get_mut(backend)) else {
            return Err(PickError::NoSuch { index: backend });
        };
        known.refresh(fleet, chance);
        let best = known.classify(now, avoid);
        if best == NEVER {
            return Err(known.excuse(fleet));
        }
        let sticky = fleet.affinity.as_ref().zip(cookies);
        let named = sticky.and_then(|(affinity, field)| known.named(best, field, &affinity.cookie));
        let chosen = named.or_else(|| match fleet.balance {
            Balance::RoundRobin => known.in_turn(best),
            Balance::LeastRequest => known.less_busy(best, chance),
        });
        // A class that was found has a member with a weight.
        let Some(seat) = chosen.and_then(|at| known.roster.seats.get(at)) else {
            return Err(known.excuse(fleet));
        };
        let set = fleet.affinity.as_ref().filter(|_| named.is_none());
        Ok(Pick {
            endpoint: Arc::clone(&seat.endpoint),
            in_flight: InFlight::begin(&seat.endpoint),
            server_name: fleet.server_name.clone(),
            set_cookie: set.map(|a| affinity::set_cookie(a, seat.endpoint.token())),
        })
    }
}

impl Known {
    /// Takes the newest roster. Seats that stay keep their turn, new ones start anywhere.
    fn refresh(&mut self, fleet: &Fleet, chance: &mut Chance) {
        if self.version == fleet.version() {
            return;
        }
        let (version, roster) = fleet.roster();
        let total = roster.seats.iter().fold(0, |sum: u64, s| sum.saturating_add(s.weight));
        let mut turn = |seat: &Seat| {
            let old = self.roster.seats.iter().zip(&self.turns);
            let mut same = old.filter(|(s, _)| Arc::ptr_eq(&s.endpoint, &seat.endpoint));
            same.next().map_or_else(|| signed(chance.below(total)), |(_, turn)| *turn)
        };
        self.turns = roster.seats.iter().map(&mut turn).collect();
        self.classes = vec![NEVER; roster.seats.len()];
        self.version = version;
        self.roster = roster;
    }

    /// Notes each seat's class and gives the best. Once for a pick: others change what is asked.
    fn classify(&mut self, now: Moment, avoid: &[Arc<Endpoint>]) -> u8 {
        let mut best = NEVER;
        for (class, seat) in self.classes.iter_mut().zip(&self.roster.seats) {
            let endpoint = &seat.endpoint;
            *class = if seat.weight == 0 || endpoint.health() == Health::Unhealthy {
                NEVER
            } else {
                let tried = avoid.iter().any(|a| Arc::ptr_eq(a, endpoint));
                let ejected = !endpoint.ejected_for(now).is_zero();
                u8::from(ejected) * EJECTED + u8::from(tried) * TRIED
            };
            best = best.min(*class);
        }
        best
    }

    /// The seats of a class, with their places.
    fn of(&self, class: u8) -> impl Iterator<Item = (usize, &Seat)> {
        let all = self.roster.seats.iter().enumerate().zip(&self.classes);
        all.filter(move |(_, c)| **c == class).map(|(seat, _)| seat)
    }

    fn total(&self, class: u8) -> u64 {
        self.of(class).fold(0, |sum, (_, seat)| sum.saturating_add(seat.weight))
    }

    /// The seat that a cookie names, if it is in the class.
    fn named(&self, class: u8, field: &[u8], cookie: &str) -> Option<usize> {
        let seat = |token| self.of(class).find(|(_, s)| s.endpoint.token() == token);
        affinity::tokens(field, cookie).find_map(seat).map(|(at, _)| at)
    }

    /// Smooth weighted round robin: all gain their weight, the one with most pays for all.
    fn in_turn(&mut self, class: u8) -> Option<usize> {
        let total = signed(self.total(class));
        let mut first: Option<(usize, i64)> = None;
        let seats = self.roster.seats.iter().zip(&self.classes).zip(&mut self.turns).enumerate();
        for (at, ((seat, _), turn)) in seats.filter(|(_, ((_, c), _))| **c == class) {
            *turn = turn.saturating_add(signed(seat.weight));
            if first.is_none_or(|(_, most)| *turn > most) {
                first = Some((at, *turn));
            }
        }
        let (at, most) = first?;
        if let Some(turn) = self.turns.get_mut(at) {
            *turn = most.saturating_sub(total);
        }
        Some(at)
    }

    /// Of two that are drawn by weight, the one with fewer requests for its weight.
    fn less_busy(&self, class: u8, chance: &mut Chance) -> Option<usize> {
        let total = self.total(class);
        let (one, first) = self.drawn(class, chance.below(total), None)?;
        let rest = total.saturating_sub(first.weight);
        let Some((other, second)) = self.drawn(class, chance.below(rest), Some(one)) else {
            return Some(one);
        };
        let load = |this: &Seat, that: &Seat| {
            u128::from(this.endpoint.in_flight()) * u128::from(that.weight)
        };
        Some(if load(second, first) < load(first, second) { other } else { one })
    }

    /// The seat whose weight covers `point`, as if the weights lay end to end.
    fn drawn(&self, class: u8, mut point: u64, without: Option<usize>) -> Option<(usize, &Seat)> {
        self.of(class).filter(|(at, _)| Some(*at) != without).find(|(_, seat)| {
            let here = point < seat.weight;
            point = point.saturating_sub(seat.weight);
            here
        })
    }

    /// Why nothing can be chosen.
    fn excuse(&self, fleet: &Fleet) -> PickError {
        let backend = Arc::clone(&fleet.name);
        if self.roster.seats.iter().any(|seat| seat.weight > 0) {
            return PickError::NoneHealthy { backend };
        }
        match &self.roster.missing {
            Missing::Nothing => PickError::Weightless { backend },
            Missing::Pending => PickError::Pending { backend },
            Missing::Failed(cause) => PickError::Unresolved { backend, cause: Arc::clone(cause) },
        }
    }
}

fn signed(weight: u64) -> i64 {
    i64::try_from(weight).unwrap_or(i64::MAX)
}
