//! A whole world from a seed: hub, workers, peers and plan, put together as the server does it.
//!
//! Invariants: everything that differs between two seeds follows from the seed's chance.

use super::book::Book;
use super::cast;
use super::cast::Part;
use super::driver::SimDriver;
use super::faults::Canary;
use super::faults::Faults;
use super::net::Net;
use super::peers::Peer;
use super::script::Plan;
use super::script::Script;
use super::verdict::Failure;
use super::verdict::Law;
use super::world::World;
use crate::backend::Backends;
use crate::base::chance::Chance;
use crate::base::map::Hasher;
use crate::base::phase::Phase;
use crate::base::phase::PhaseFlag;
use crate::base::sync::Arc;
use crate::config::Config;
use crate::log::Bell;
use crate::log::Channel;
use crate::log::Limits;
use crate::metrics::Recorder;
use crate::metrics::log::Log;
use crate::session::Site;
use crate::session::upstream_limits;
use crate::worker::Load;
use crate::worker::Parts;
use crate::worker::Progress;
use crate::worker::Worker;
use std::time::Duration;

/// Parts the chance of upstreams' logs from that of worlds without any.
const UPSTREAMS: u64 = 0x0a7e;

/// What a world is made of.
#[derive(Debug)]
pub struct Scenario {
    /// Decides everything that chance decides.
    pub seed: u64,
    /// The server's configuration.
    pub config: Config,
    /// Wire bytes that a worker may be behind before publishes are refused.
    pub backlog_bytes_max: u64,
    /// How many workers.
    pub workers: usize,
    /// What goes wrong while the peers work.
    pub faults: Faults,
    /// A planted bug.
    pub canary: Option<Canary>,
    /// Send windows, from and to.
    pub windows: (usize, usize),
    /// The course of the world.
    pub plan: Plan,
    /// The peers, and when each begins.
    pub peers: Vec<(Box<dyn Peer>, Duration)>,
}

/// How a world ended.
#[derive(Debug)]
pub struct Outcome {
    /// The first failure.
    pub failure: Option<Failure>,
    /// Steps that it took.
    pub steps: u64,
    /// Events that were published or sent by upstreams, and requests that were passed on.
    pub events: u64,
}

impl Scenario {
    /// Plays the world.
    #[must_use]
    pub fn play(self) -> Outcome {
        let mut chance = Chance::new(self.seed);
        let hasher = Hasher::new(chance.next());
        let hub = &self.config.hub;
        let limits = Limits {
            events_max: hub.history_events_max,
            bytes_max: hub.history_bytes_max,
            age_max_millis: u64::try_from(hub.history_age_max.as_millis()).unwrap_or(u64::MAX),
            backlog_bytes_max: self.backlog_bytes_max,
            per_topic: None,
        };
        let channel = Arc::new(Channel::new(limits, chance.next(), hasher.clone()));
        let phase = Arc::new(PhaseFlag::new());
        phase.advance(Phase::Serving);
        let (total, by_address) = (1000, self.config.limits.connections_per_address_max);
        let load = Arc::new(Load::new(total, by_address, hasher.clone()));
        let mut net = Net::new(chance.next(), self.faults);
        net.canary = self.canary;
        net.set_windows(self.windows.0, self.windows.1);
        let mut seeds = Chance::new(self.seed ^ UPSTREAMS);
        let upstream = |upstream| {
            let limits = upstream_limits(upstream, self.backlog_bytes_max);
            Arc::new(Channel::new(limits, seeds.next(), hasher.clone()))
        };
        let upstreams = self.config.gateway.upstreams.iter().map(upstream).collect();
        let backends = Arc::new(Backends::new(&self.config.gateway));
        let config = Arc::new(self.config);
        let site = Site::new(config, Arc::clone(&channel), Arc::clone(&phase));
        let site = Arc::new(site.with_upstreams(upstreams));
        let script = Script::new(self.plan, phase, net.now());
        let world = World::new(net, Book::new(channel), script);
        for (peer, after) in self.peers {
            world.add_peer(peer, after);
        }
        let process = Process { site, load, backends, workers: self.workers };
        let parts = (0..self.workers)
            .map(|index| process.part(&world, index, Chance::new(chance.next())))
            .collect();
        let failure = cast::play(&world, parts);
        let scene = world.lock();
        let book = &scene.book;
        let events = book.tail() + book.streams.events() + book.exchanges.count();
        Outcome { failure, steps: scene.net.verdict.step, events }
    }
}

/// What the workers of a process share.
struct Process {
    site: Arc<Site>,
    load: Arc<Load>,
    backends: Arc<Backends>,
    workers: usize,
}

impl Process {
    /// One worker's life.
    fn part(&self, world: &World, index: usize, chance: Chance) -> Part {
        let (driver, waker, port) = SimDriver::new(world);
        let (site, load) = (Arc::clone(&self.site), Arc::clone(&self.load));
        let (backends, workers) = (Arc::clone(&self.backends), self.workers);
        Box::new(move |world: &World| {
            let recorder = Recorder::new();
            let bell = Arc::new(Bell::new(Box::new(move || waker.wake())));
            let unsent_max = site.config().limits.unsent_bytes_max;
            let seat = world.enter(port, Some(recorder.counters()));
            let clock = world.lock().net.clock.clone();
            let tls = (0..backends.len()).map(|_| None).collect();
            let log = Log::nowhere(Arc::new(clock.clone()));
            let parts =
                Parts { site, load, recorder, bell, chance, index, workers, backends, tls, log };
            let mut worker = Worker::new(driver, clock, parts);
            loop {
                match worker.turn() {
                    Ok(Progress::Running) => seat.check_budget(worker.unsent_bytes(), unsent_max),
                    Ok(Progress::Done) => break,
                    Err(error) => {
                        // The driver says so when the world is over; then this changes nothing.
                        world.lock().net.verdict.fail(Law::Crash, error);
                        break;
                    }
                }
            }
        })
    }
}
