//! One worker, turn by turn, over a driver that the test holds in hand.

mod attempts;
mod draining;
mod endings;
mod fairness;
mod ground;
mod groups;
mod left;
mod mirrors;
mod relays;
mod sealed;
mod sources;
mod stage;

use super::Load;
use super::Parts;
use super::Progress;
use super::Worker;
use super::groups::Group;
use crate::backend::Backends;
use crate::base::chance::Chance;
use crate::base::map::Hasher;
use crate::base::phase::Phase;
use crate::base::phase::PhaseFlag;
use crate::base::sync::Arc;
use crate::base::sync::atomic::Ordering;
use crate::base::time::Moment;
use crate::base::time::SystemClock;
use crate::config::Config;
use crate::config::gateway::Upstream;
use crate::io::Ready;
use crate::io::Socket;
use crate::log::Bell;
use crate::log::Channel;
use crate::log::Limits;
use crate::metrics::Counters;
use crate::metrics::Gauge;
use crate::metrics::Recorder;
use crate::metrics::log::Log;
use crate::session::HUB;
use crate::session::Site;
use crate::session::upstream_limits;
use ground::Fake;
use ground::Ground;
use ground::Peer;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// A worker that has turned so often while no time passed never sleeps. A test that waits for a
/// moment would wait for ever.
const TURNS_MAX: u32 = 200_000;
/// Bytes of an upstream's log that a worker may be behind.
const BACKLOG: u64 = 32 << 20;

/// A worker and the ground that it stands on.
struct World {
    worker: Worker<Fake, Rc<Ground>>,
    ground: Rc<Ground>,
    phase: Arc<PhaseFlag>,
    load: Arc<Load>,
    backends: Arc<Backends>,
    counters: Arc<Counters>,
    sockets: i32,
    /// Turns since time last passed, and the time since then.
    turns: (u32, Moment),
}

impl World {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        Self::of(config)
    }

    /// The only worker of a process with this configuration.
    fn of(config: Config) -> Self {
        let hasher = Hasher::new(1);
        let hub = &config.hub;
        let limits = Limits {
            events_max: hub.history_events_max,
            bytes_max: hub.history_bytes_max,
            age_max_millis: 0,
            backlog_bytes_max: u64::MAX,
            per_topic: None,
        };
        let channel = Arc::new(Channel::new(limits, 7, hasher.clone()));
        let phase = Arc::new(PhaseFlag::new());
        phase.advance(Phase::Serving);
        let upstream = |upstream: &Upstream| {
            Arc::new(Channel::new(upstream_limits(upstream, BACKLOG), 8, hasher.clone()))
        };
        let upstreams = config.gateway.upstreams.iter().map(upstream).collect();
        let connections = config.limits.connections_max.unwrap_or(usize::MAX);
        let backends = Arc::new(Backends::new(&config.gateway));
        let site = Site::new(Arc::new(config), channel, Arc::clone(&phase));
        let site = Arc::new(site.with_upstreams(upstreams));
        let load = Arc::new(Load::new(connections, Some(0), hasher));
        Self::worker(site, load, backends, phase, 0)
    }

    /// One more worker of the same process. Its clock is its own.
    fn beside(&self, index: usize) -> Self {
        let (site, load) = (Arc::clone(&self.worker.site), Arc::clone(&self.load));
        Self::worker(site, load, Arc::clone(&self.backends), Arc::clone(&self.phase), index)
    }

    fn worker(
        site: Arc<Site>,
        load: Arc<Load>,
        backends: Arc<Backends>,
        phase: Arc<PhaseFlag>,
        index: usize,
    ) -> Self {
        let ground = Ground::new();
        let woken = Arc::clone(&ground.woken);
        let bell = Arc::new(Bell::new(Box::new(move || woken.store(true, Ordering::Relaxed))));
        let recorder = Recorder::new();
        let counters = recorder.counters();
        let parts = Parts {
            site,
            load: Arc::clone(&load),
            recorder,
            bell,
            chance: Chance::new(1),
            index,
            workers: 2,
            tls: (0..backends.len()).map(|_| None).collect(),
            backends: Arc::clone(&backends),
            log: Log::nowhere(Arc::new(SystemClock::start())),
        };
        let worker = Worker::new(Fake::new(&ground), Rc::clone(&ground), parts);
        Self {
            worker,
            ground,
            phase,
            load,
            backends,
            counters,
            sockets: 3,
            turns: (0, Moment::START),
        }
    }

    fn turn(&mut self) -> Progress {
        let (turns, at) = self.turns;
        self.turns = if at == self.now() { (turns + 1, at) } else { (0, self.now()) };
        assert!(turns < TURNS_MAX, "it never sleeps");
        self.worker.turn().expect("the driver holds")
    }

    /// Turns until it sleeps, in which no time passes.
    fn settle(&mut self) {
        self.settle_by(self.now());
    }

    fn settle_by(&mut self, limit: Moment) {
        self.ground.limit.set(limit);
        for _ in 0..20_000 {
            assert_eq!(self.turn(), Progress::Running);
            if self.ground.slept.get() {
                self.ground.limit.set(Moment::from_nanos(u64::MAX));
                return;
            }
        }
        panic!("it never sleeps");
    }

    /// Turns until so many milliseconds have passed, and it sleeps.
    fn pass(&mut self, millis: u64) {
        let end = self.now().after(Duration::from_millis(millis));
        while self.now() < end {
            self.settle_by(end);
        }
        self.settle();
    }

    /// A connection that is accepted in the next turn, with this input on it.
    fn connect(&mut self, input: &[u8]) -> i32 {
        self.sockets += 1;
        let socket = self.sockets;
        let peer = Peer::with_input(input);
        self.ground.peers.borrow_mut().insert(socket, peer);
        let peer = SocketAddr::from(([127, 0, 0, 1], 40_000));
        let accepted = Ready::Accepted { socket: Socket(socket), peer, listener: 0 };
        self.ground.news.borrow_mut().push_back(accepted);
        socket
    }

    fn say(&self, socket: i32, input: &[u8]) {
        self.ground.with(socket, |peer| peer.input.extend(input));
    }

    /// What a peer got since the last call.
    fn heard(&self, socket: i32) -> String {
        let bytes = self.ground.with(socket, |peer| std::mem::take(&mut peer.output));
        String::from_utf8(bytes).expect("text")
    }

    fn is_closed(&self, socket: i32) -> bool {
        self.ground.with(socket, |peer| peer.closed)
    }

    fn publish(&mut self, topic: &str, text: &str) {
        let publisher = self.connect(&post(topic, text));
        self.settle();
        assert!(self.heard(publisher).starts_with("HTTP/1.1 200 "));
        self.ground.with(publisher, |peer| peer.ended = true);
        self.settle();
    }

    fn now(&self) -> Moment {
        self.ground.now.get()
    }

    fn hub(&mut self) -> &Group {
        self.worker.groups.find_mut(HUB).expect("it has had a client")
    }

    fn gauge(&self, gauge: Gauge) -> i64 {
        self.counters.gauge(gauge)
    }

    /// Everything was given back.
    fn check_empty(&self) {
        assert_eq!((self.worker.clients(), self.worker.connections()), (0, 0));
        assert_eq!((self.load.total(), self.worker.unsent_bytes()), (0, 0));
        assert_eq!(self.worker.relayed_bytes, 0);
        assert_eq!((self.gauge(Gauge::Clients), self.gauge(Gauge::Connections)), (0, 0));
        assert_eq!((self.gauge(Gauge::Relays), self.gauge(Gauge::Upstreams)), (0, 0));
        assert_eq!(self.worker.outbounds(), 0);
        assert!(self.ground.peers.borrow().values().all(|peer| peer.closed));
    }
}

fn get(query: &str) -> Vec<u8> {
    format!("GET /.well-known/mercure?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

fn post(topic: &str, text: &str) -> Vec<u8> {
    let form = format!("topic={topic}&data={text}");
    let kind = "application/x-www-form-urlencoded";
    format!(
        "POST /.well-known/mercure HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    )
    .into_bytes()
}

/// The `data` of the events in a stream.
fn data(stream: &str) -> Vec<&str> {
    stream.lines().filter_map(|line| line.strip_prefix("data: ")).collect()
}
