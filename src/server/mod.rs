//! One process: listeners, threads, phases, endings.
//!
//! ```text
//!  run: decide the driver ▸ bind ▸ start workers ▸ start control ▸ Serving ▸ join ▸ stop control
//! ```
//!
//! Invariants:
//! 1. A process that cannot start says why and leaves nothing open.
//! 2. The phase is `Serving` only when every worker has its driver.
//! 3. `run` returns when every worker has: after a drain, or at once on a second signal.

mod threads;
mod trust;

use crate::backend::Backends;
use crate::base::chance::Chance;
use crate::base::map::Hasher;
use crate::base::phase::{Phase, PhaseFlag};
use crate::base::sync::Arc;
use crate::base::time::{Clock, SystemClock};
use crate::config::budget;
use crate::config::relations::Host;
use crate::config::{Config, Io};
use crate::control::{self, Control};
use crate::io::choice::{self, Choice, Decision, Kind, Unavailable};
use crate::io::listen::{self, ListenOptions, Listener};
use crate::io::waker::Waker;
use crate::log::{Channel, Limits};
use crate::metrics::log::{Level, Log};
use crate::metrics::{Gauge, Process};
use crate::session::{Site, upstream_limits};
use crate::tls::{ClientSettings, SettingsFault};
use crate::worker::Load;
use std::io;
use std::net::{SocketAddr, TcpListener};
use threads::{Threads, WorkerSeed};

/// Why the server cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `io = "uring"` was asked for.
    #[error("io_uring cannot be used: {0}")]
    Driver(#[from] Unavailable),
    /// The listener.
    #[error("cannot listen on {addr}: {cause}. Is another server running? Choose another `listen`")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// Why.
        cause: io::Error,
    },
    /// The admin listener.
    #[error(
        "cannot listen on {addr} for admin: {cause}. Choose another `admin`, or switch it off \
         with `admin = \"off\"`"
    )]
    Admin {
        /// Where.
        addr: SocketAddr,
        /// Why.
        cause: io::Error,
    },
    /// A thread or its driver.
    #[error("worker {index} cannot start: {cause}")]
    Worker {
        /// Which.
        index: usize,
        /// Why.
        cause: String,
    },
    /// A worker's driver broke while it ran.
    #[error("worker {index} had to stop: {cause}")]
    Broken {
        /// Which.
        index: usize,
        /// Why.
        cause: io::Error,
    },
    /// TLS to a backend.
    #[error("backend {backend}: TLS cannot be set up: {cause}")]
    Tls {
        /// Which.
        backend: String,
        /// Why, and what to do.
        cause: SettingsFault,
    },
    /// Something else that the kernel refused.
    #[error("cannot {what}: {cause}")]
    Kernel {
        /// What was tried.
        what: &'static str,
        /// Why.
        cause: io::Error,
    },
}

/// What only a start would find wrong with a configuration: certificates and keys that do not go
/// together. Starts nothing, and gives all of it.
#[must_use]
pub fn check(config: &Config) -> Vec<StartError> {
    trust::check(&config.gateway.backends, &(Arc::new(SystemClock::start()) as _))
}

/// Runs the server until it has drained. Blocks; signals and admin HTTP are served meanwhile.
///
/// # Errors
/// It cannot start, or a worker's driver broke.
pub fn run(config: Config, host: &Host) -> Result<(), StartError> {
    let clock = SystemClock::start();
    let log = Log::stderr(Level::Info, Arc::new(clock));
    let files_max = listen::raise_files_limit().or(host.files_max);
    let host = Host { files_max, cpus: host.cpus.clone() };
    let decision = choice::decide(choice_of(config.io))?;
    log.info("driver", &[("io", &decision.kind.name()), ("reason", &decision.reason)]);
    let workers = budget::workers(&config, &host);
    let (listeners, addresses) = bind_all(&config, workers)?;
    let admin = config.admin.map(bind_admin).transpose()?;
    let shared = Shared::new(config, &host, clock, &addresses)?;
    let mut threads = Threads::new(Arc::clone(&shared.phase), log.clone());
    for (index, listeners) in listeners.into_iter().enumerate() {
        let mut seed = shared.seed(index, &decision, listeners, &host, clock)?;
        seed.workers = workers;
        threads.start(seed)?;
    }
    let (end, ending) = control::ending();
    let control = Control {
        counters: threads.counters(),
        process: Process {
            driver: decision.kind.name().to_owned(),
            driver_reason: decision.reason,
            start_unix_millis: clock.unix_millis(),
            workers: threads.len(),
        },
        sample: shared.sample(),
        backends: Arc::clone(&shared.backends),
        tls: shared.tls.to_vec(),
        upstreams: shared.upstreams(clock),
        phase: Arc::clone(&shared.phase),
        wake: threads.wake(),
        clock: Arc::new(clock),
        log: log.clone(),
        uring: decision.kind == Kind::Uring,
        started: Box::new(|| ()),
        ending,
        admin,
    };
    let at_admin = control.admin.as_ref().and_then(|admin| admin.local_addr().ok());
    let control = threads::control(control)?;
    shared.phase.advance(Phase::Serving);
    threads.wake()();
    if let Some(admin) = at_admin {
        log.info(&format!("admin on http://{admin}"), &[]);
    }
    for address in &addresses {
        log.info(&format!("listening on http://{address}"), &[("workers", &threads.len())]);
    }
    let ended = threads.join();
    drop(end);
    threads::join_control(control, &log);
    log.info("stopped", &[]);
    ended
}

/// What the threads share.
struct Shared {
    phase: Arc<PhaseFlag>,
    backends: Arc<Backends>,
    tls: Arc<[Option<ClientSettings>]>,
    site: Arc<Site>,
    load: Arc<Load>,
}

impl Shared {
    fn new(
        config: Config,
        host: &Host,
        clock: SystemClock,
        addresses: &[SocketAddr],
    ) -> Result<Self, StartError> {
        let mut chance = chance()?;
        let hasher = Hasher::new(chance.next());
        let connections = usize::try_from(budget::connections(&config, host));
        let by_address = config.limits.connections_per_address_max;
        let load = Load::new(connections.unwrap_or(usize::MAX), by_address, hasher.clone());
        let hub = &config.hub;
        let limits = Limits {
            events_max: hub.history_events_max,
            bytes_max: hub.history_bytes_max,
            age_max_millis: u64::try_from(hub.history_age_max.as_millis()).unwrap_or(u64::MAX),
            backlog_bytes_max: budget::BACKLOG_BYTES,
            per_topic: None,
        };
        let channel = Arc::new(Channel::new(limits, chance.next(), hasher.clone()));
        let upstream = |upstream| {
            let limits = upstream_limits(upstream, budget::BACKLOG_BYTES);
            Arc::new(Channel::new(limits, chance.next(), hasher.clone()))
        };
        let upstreams = config.gateway.upstreams.iter().map(upstream).collect();
        let phase = Arc::new(PhaseFlag::new());
        let backends = Arc::new(Backends::new(&config.gateway));
        let clock: Arc<dyn Clock + Send + Sync> = Arc::new(clock);
        let tls = trust::settings(&config.gateway.backends, &clock)?.into();
        let site = Site::new(Arc::new(config), channel, Arc::clone(&phase));
        let ports = addresses.iter().map(SocketAddr::port).collect();
        let site = Arc::new(site.with_upstreams(upstreams).with_ports(ports));
        Ok(Self { phase, backends, tls, site, load: Arc::new(load) })
    }

    /// What worker `index` starts from.
    fn seed(
        &self,
        index: usize,
        decision: &Decision,
        listeners: Vec<Listener>,
        host: &Host,
        clock: SystemClock,
    ) -> Result<WorkerSeed, StartError> {
        let cpus = self.site.config().workers.cpus.as_ref().unwrap_or(&host.cpus);
        Ok(WorkerSeed {
            index,
            cpu: index.checked_rem(cpus.len()).and_then(|i| cpus.get(i)).copied(),
            kind: decision.kind,
            listeners,
            workers: 1,
            waker: Waker::new().map_err(|cause| kernel("make an eventfd", cause))?,
            site: Arc::clone(&self.site),
            load: Arc::clone(&self.load),
            backends: Arc::clone(&self.backends),
            tls: Arc::clone(&self.tls),
            chance: chance()?,
            clock,
        })
    }

    /// The page about the upstream streams.
    fn upstreams(&self, clock: SystemClock) -> control::Upstreams {
        let site = Arc::clone(&self.site);
        Box::new(move || {
            let mut page = String::new();
            let families = site.registry().families().zip(site.groups().iter().skip(1));
            for (number, (family, group)) in families.enumerate() {
                let (events, bytes) = group.channel.kept();
                let (name, lag) = (&family.definition.name, group.channel.lag());
                let channels = site.registry().live(number);
                let line = format!(
                    "upstream={name} channels={channels} kept_events={events} kept_bytes={bytes} \
                     lag_bytes={lag}\n"
                );
                page.push_str(&line);
            }
            for tap in site.registry().snapshot(clock.now()) {
                page.push_str(&format!("{tap}\n"));
            }
            if page.is_empty() { "none\n".to_owned() } else { page }
        })
    }

    /// Reads what no worker counts.
    fn sample(&self) -> control::Sample {
        let site = Arc::clone(&self.site);
        Box::new(move |recorder| {
            let kept = site.groups().iter().map(|group| group.channel.kept());
            let (events, bytes) =
                kept.fold((0, 0), |sum, kept| (sum.0 + kept.0 as u64, sum.1 + kept.1 as u64));
            recorder.set(Gauge::HistoryEvents, events);
            recorder.set(Gauge::HistoryBytes, bytes);
            let lags = site.groups().iter().map(|group| group.channel.lag());
            recorder.set(Gauge::LogLag, lags.max().unwrap_or(0));
        })
    }
}

fn choice_of(io: Io) -> Choice {
    match io {
        Io::Auto => Choice::Auto,
        Io::Uring => Choice::Uring,
        Io::Epoll => Choice::Epoll,
    }
}

/// The listeners of each worker, one for each address of the configuration, and those addresses.
fn bind_all(
    config: &Config,
    workers: usize,
) -> Result<(Vec<Vec<Listener>>, Vec<SocketAddr>), StartError> {
    let mut all: Vec<Vec<Listener>> = (0..workers).map(|_| Vec::new()).collect();
    let mut addresses = Vec::new();
    for address in config.gateway.addresses() {
        let (listeners, real) = bind(address, workers)?;
        addresses.push(real);
        for (of_worker, listener) in all.iter_mut().zip(listeners) {
            of_worker.push(listener);
        }
    }
    Ok((all, addresses))
}

/// One listener for each worker, all on one address; port 0 becomes the one that the kernel gave.
fn bind(addr: SocketAddr, count: usize) -> Result<(Vec<Listener>, SocketAddr), StartError> {
    let failed = |cause| StartError::Listen { addr, cause };
    if addr.port() != 0 {
        listen::check_free(addr).map_err(failed)?;
    }
    let options = ListenOptions::default();
    let (first, real) = listen::bind(addr, &options).map_err(failed)?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(listen::bind(real, &options).map_err(failed)?.0);
    }
    Ok((listeners, real))
}

fn bind_admin(addr: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(addr).map_err(|cause| StartError::Admin { addr, cause })
}

fn chance() -> Result<Chance, StartError> {
    Chance::from_system().map_err(|cause| kernel("read the system's entropy", cause))
}

fn kernel(what: &'static str, cause: io::Error) -> StartError {
    StartError::Kernel { what, cause }
}
