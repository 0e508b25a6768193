//! The control thread: the slow business beside the workers, and the only async code.
//!
//! Admin HTTP, signals, names of backends and probes of their health, on tokio-uring's runtime
//! where io_uring is to be had and on plain tokio where it is not; the code is the same.
//!
//! Invariants:
//! 1. Nothing here is on the path of an event. A stuck admin client costs admin clients only, and
//!    a name server that does not answer costs the backends whose names it should know.
//! 2. Control speaks to workers through the phase flag, the backends and the wake, and reads their
//!    counters.
//! 3. It ends when its [`End`] is dropped, whatever its clients do.

mod admin;
mod answer;
mod desk;
mod dns;
mod probe;
mod runtime;
mod signals;

use crate::backend::Backends;
use crate::base::chance::Chance;
use crate::base::phase::PhaseFlag;
use crate::base::sync::Arc;
use crate::base::time::Clock;
use crate::metrics::Counters;
use crate::metrics::Process;
use crate::metrics::Recorder;
use crate::metrics::log::Log;
use crate::tls::ClientSettings;
use std::io;
use std::net::TcpListener;
use std::rc::Rc;

/// Keeps the control thread running; dropping it ends [`run`].
#[derive(Debug)]
pub struct End {
    _sender: tokio::sync::oneshot::Sender<()>,
}

/// The control thread's side of [`End`].
#[derive(Debug)]
pub struct Ending {
    receiver: tokio::sync::oneshot::Receiver<()>,
}

/// A pair: when the first is dropped, [`run`] with the second returns.
#[must_use]
pub fn ending() -> (End, Ending) {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    (End { _sender: sender }, Ending { receiver })
}

/// Samples what no worker counts (the history) into control's own recorder, before each scrape.
pub type Sample = Box<dyn Fn(&Recorder) + Send>;

/// Tells the upstream streams as text, one line each, for `/upstreams`.
pub type Upstreams = Box<dyn Fn() -> String + Send>;

/// Where there are no upstream streams.
#[must_use]
pub fn no_upstreams() -> Upstreams {
    Box::new(|| "There are no upstream streams.\n".to_owned())
}

/// What the control thread works with.
pub struct Control {
    /// The admin listener; `None`: no admin HTTP.
    pub admin: Option<TcpListener>,
    /// The counters of all workers.
    pub counters: Vec<Arc<Counters>>,
    /// What the process says about itself.
    pub process: Process,
    /// Samples what no worker counts.
    pub sample: Sample,
    /// The backends: control looks up their names and probes their health.
    pub backends: Arc<Backends>,
    /// Settings for TLS, by backend; `None` for those without.
    pub tls: Vec<Option<ClientSettings>>,
    /// Tells the upstream streams.
    pub upstreams: Upstreams,
    /// Moved forward by signals, told by `/ready`.
    pub phase: Arc<PhaseFlag>,
    /// Wakes all workers, after the phase has moved or a backend's endpoints have changed.
    pub wake: Box<dyn Fn() + Send>,
    /// For the throttle of warnings.
    pub clock: Arc<dyn Clock + Send + Sync>,
    /// Where lines go.
    pub log: Log,
    /// Whether to try tokio-uring's runtime.
    pub uring: bool,
    /// Called once signals are watched and admin HTTP is served: from then on a SIGTERM drains.
    /// Dropped without a call if [`run`] fails before that.
    pub started: Box<dyn FnOnce() + Send>,
    /// Ends the thread.
    pub ending: Ending,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("admin", &self.admin).finish_non_exhaustive()
    }
}

/// Runs the control thread's business on this thread until [`End`] is dropped.
///
/// # Errors
/// No runtime can be built, signals cannot be watched, or the admin listener cannot be used.
pub fn run(control: Control) -> io::Result<()> {
    let runtime = runtime::Runtime::open(control.uring, &control.log)?;
    runtime.block_on(serve(control))
}

async fn serve(control: Control) -> io::Result<()> {
    let Control {
        admin,
        mut counters,
        process,
        sample,
        backends,
        tls,
        upstreams,
        phase,
        wake,
        clock,
        log,
        started,
        ending,
        ..
    } = control;
    let mut chance = Chance::from_system()?;
    let recorder = Recorder::new();
    counters.push(recorder.counters());
    let (changes, _) = tokio::sync::watch::channel(());
    let desk = Rc::new(desk::Desk {
        backends,
        tls,
        recorder,
        log: log.clone(),
        clock: Arc::clone(&clock),
        wake,
        changes,
    });
    let signals = signals::Signals::watch()?;
    let site = Rc::new(answer::Site {
        counters,
        process,
        sample,
        upstreams,
        desk: Rc::clone(&desk),
        phase: Arc::clone(&phase),
    });
    let listener = admin.map(admin::listener).transpose()?;
    started();
    // What these find is told when it is found: nobody waits for it here.
    dns::start(&desk, &Rc::new(dns::Resolver::system()), &mut chance);
    probe::start(&desk, &mut chance);
    let handled = signals.handle(&phase, &desk.wake, &log);
    let served = async {
        match listener {
            Some(listener) => admin::serve(listener, site, &*clock, &log).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = ending.receiver => {}
        () = handled => {}
        () = served => {}
    }
    Ok(())
}
