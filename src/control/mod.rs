//! The control thread: the slow business beside the workers, and the only async code.
//!
//! Admin HTTP and signals, on tokio-uring's runtime where io_uring is to be had and on plain tokio
//! where it is not; the code is the same.
//!
//! Invariants:
//! 1. Nothing here is on the path of an event. A stuck admin client costs admin clients only.
//! 2. Control speaks to workers through the phase flag and the wake, and reads their counters.
//! 3. It ends when its [`End`] is dropped, whatever its clients do.

mod admin;
mod answer;
mod runtime;
mod signals;

use crate::base::phase::PhaseFlag;
use crate::base::sync::Arc;
use crate::base::time::Clock;
use crate::metrics::Counters;
use crate::metrics::Process;
use crate::metrics::Recorder;
use crate::metrics::log::Log;
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
    /// Moved forward by signals, told by `/ready`.
    pub phase: Arc<PhaseFlag>,
    /// Wakes all workers, after the phase has moved.
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
        phase,
        wake,
        clock,
        log,
        started,
        ending,
        ..
    } = control;
    let recorder = Recorder::new();
    counters.push(recorder.counters());
    let signals = signals::Signals::watch()?;
    let site =
        Rc::new(answer::Site { counters, process, sample, recorder, phase: Arc::clone(&phase) });
    let listener = admin.map(admin::listener).transpose()?;
    started();
    let handled = signals.handle(&phase, &wake, &log);
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
