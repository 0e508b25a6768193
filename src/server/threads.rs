//! The threads: one per worker, pinned, and the control thread.
//!
//! Invariants:
//! 1. Each driver is made on its worker's thread, which reports before `start` returns.
//! 2. When a worker's driver breaks, the others close and the process ends with an error.
//! 3. No worker outlives its `Threads`.

use super::StartError;
use crate::backend::Backends;
use crate::base::chance::Chance;
use crate::base::phase::{Phase, PhaseFlag};
use crate::base::sync::Arc;
use crate::base::time::SystemClock;
use crate::control::{self, Control};
use crate::io::Driver;
use crate::io::choice::Kind;
use crate::io::epoll::Epoll;
use crate::io::listen::Listener;
use crate::io::uring::Uring;
use crate::io::waker::Waker;
use crate::log::Bell;
use crate::metrics::log::Log;
use crate::metrics::{Counters, Recorder};
use crate::session::Site;
use crate::tls::ClientSettings;
use crate::worker::{Load, Parts, Worker};
use std::io;
use std::sync::mpsc;
use std::thread::JoinHandle;

/// What one worker is made from, on its thread.
pub(super) struct WorkerSeed {
    pub(super) index: usize,
    pub(super) cpu: Option<usize>,
    pub(super) kind: Kind,
    pub(super) listeners: Vec<Listener>,
    /// Workers in all.
    pub(super) workers: usize,
    pub(super) waker: Waker,
    pub(super) site: Arc<Site>,
    pub(super) load: Arc<Load>,
    pub(super) backends: Arc<Backends>,
    pub(super) tls: Arc<[Option<ClientSettings>]>,
    pub(super) chance: Chance,
    pub(super) clock: SystemClock,
}

/// A worker's thread says that it is ready, with its counters, or why it is not.
type Report = Result<Arc<Counters>, String>;

/// The workers' threads.
pub(super) struct Threads {
    workers: Vec<JoinHandle<io::Result<()>>>,
    wakers: Vec<Waker>,
    counters: Vec<Arc<Counters>>,
    phase: Arc<PhaseFlag>,
    log: Log,
    /// Each worker says here that it has ended, and whether its driver broke.
    ended: (mpsc::Sender<bool>, mpsc::Receiver<bool>),
}

impl Threads {
    pub(super) fn new(phase: Arc<PhaseFlag>, log: Log) -> Self {
        let (workers, wakers, counters) = (Vec::new(), Vec::new(), Vec::new());
        Self { workers, wakers, counters, phase, log, ended: mpsc::channel() }
    }

    pub(super) fn len(&self) -> usize {
        self.workers.len()
    }

    /// Starts a worker and waits until it has its driver.
    pub(super) fn start(&mut self, seed: WorkerSeed) -> Result<(), StartError> {
        let index = seed.index;
        let waker = seed.waker.clone();
        let (sender, receiver) = mpsc::channel();
        let (log, ended) = (self.log.clone(), self.ended.0.clone());
        let body = move || {
            let result = work(seed, &sender, &log);
            // Nobody listens when the start failed and the process is on its way out.
            let _ = ended.send(result.is_err());
            result
        };
        let failed = |cause: String| StartError::Worker { index, cause };
        let thread = spawn(format!("worker-{index}"), body).map_err(|e| failed(e.to_string()))?;
        let counters = match receiver.recv() {
            Ok(report) => report.map_err(failed)?,
            Err(_) => return Err(failed("its thread ended before it was ready".to_owned())),
        };
        self.workers.push(thread);
        self.wakers.push(waker);
        self.counters.push(counters);
        Ok(())
    }

    pub(super) fn counters(&self) -> Vec<Arc<Counters>> {
        self.counters.clone()
    }

    /// Wakes every worker.
    pub(super) fn wake(&self) -> Box<dyn Fn() + Send> {
        let wakers = self.wakers.clone();
        Box::new(move || wakers.iter().for_each(Waker::wake))
    }

    /// Waits for all workers; the first error is the process's.
    pub(super) fn join(mut self) -> Result<(), StartError> {
        for _ in &self.workers {
            // One broken driver ends the process: the others close too.
            if self.ended.1.recv() == Ok(true) {
                self.close();
            }
        }
        let mut ended = Ok(());
        for (index, thread) in self.workers.drain(..).enumerate() {
            let cause = match thread.join() {
                Ok(Ok(())) => continue,
                Ok(Err(cause)) => cause,
                Err(_) => io::Error::other("its thread panicked"),
            };
            self.log.error("worker stopped", &[("worker", &index), ("cause", &cause)]);
            if ended.is_ok() {
                ended = Err(StartError::Broken { index, cause });
            }
        }
        ended
    }

    fn close(&self) {
        self.phase.advance(Phase::Closed);
        self.wakers.iter().for_each(Waker::wake);
    }
}

impl Drop for Threads {
    /// The process cannot start after all: the workers that did are stopped.
    fn drop(&mut self) {
        if self.workers.is_empty() {
            return;
        }
        self.close();
        for thread in self.workers.drain(..) {
            // The cause of the failed start is what the caller reports.
            let _ = thread.join();
        }
    }
}

/// A worker's thread from pinning to its end.
fn work(seed: WorkerSeed, ready: &mpsc::Sender<Report>, log: &Log) -> io::Result<()> {
    if let Some(cpu) = seed.cpu
        && !core_affinity::set_for_current(core_affinity::CoreId { id: cpu })
    {
        let (worker, remedy) = (seed.index, "give the process that CPU, or leave out `cpus`");
        log.warn("not pinned", &[("worker", &worker), ("cpu", &cpu), ("remedy", &remedy)]);
    }
    let WorkerSeed { index, kind, listeners, waker, site, load, backends, tls, .. } = seed;
    let (workers, chance, clock) = (seed.workers, seed.chance, seed.clock);
    let bell = Arc::new(Bell::new(Box::new({
        let waker = waker.clone();
        move || waker.wake()
    })));
    let (recorder, log) = (Recorder::new(), log.clone());
    let parts = Parts { site, load, recorder, bell, chance, index, workers, backends, tls, log };
    match kind {
        Kind::Uring => match Uring::new(listeners, &waker) {
            Ok(driver) => turn(driver, clock, parts, ready),
            Err(cause) => report(ready, cause.to_string()),
        },
        Kind::Epoll => match Epoll::new(listeners, &waker) {
            Ok(driver) => turn(driver, clock, parts, ready),
            Err(cause) => report(ready, cause.to_string()),
        },
    }
}

fn turn<D: Driver>(
    driver: D,
    clock: SystemClock,
    parts: Parts,
    ready: &mpsc::Sender<Report>,
) -> io::Result<()> {
    let counters = parts.recorder.counters();
    let worker = Worker::new(driver, clock, parts);
    if ready.send(Ok(counters)).is_err() {
        return Ok(()); // The starter has given up.
    }
    worker.run()
}

fn report(ready: &mpsc::Sender<Report>, cause: String) -> io::Result<()> {
    // Nobody listening means that the starter has given up: the same end.
    let _ = ready.send(Err(cause));
    Ok(())
}

/// Starts the control thread and waits until it watches signals: a server that says that it
/// listens may be told to drain at once, and must not die of that.
pub(super) fn control(control: Control) -> Result<JoinHandle<io::Result<()>>, StartError> {
    let failed = |cause| StartError::Kernel { what: "start the control thread", cause };
    let (sender, started) = mpsc::channel();
    let started_by = Box::new(move || _ = sender.send(()));
    let control = Control { started: started_by, ..control };
    let thread = spawn("control".to_owned(), move || control::run(control)).map_err(failed)?;
    if started.recv().is_ok() {
        return Ok(thread);
    }
    Err(failed(match thread.join() {
        Ok(Err(cause)) => cause,
        Ok(Ok(())) | Err(_) => io::Error::other("it ended at once"),
    }))
}

/// Waits for the control thread, which was told to end.
pub(super) fn join_control(thread: JoinHandle<io::Result<()>>, log: &Log) {
    let cause = match thread.join() {
        Ok(Ok(())) => return,
        Ok(Err(cause)) => cause,
        Err(_) => io::Error::other("its thread panicked"),
    };
    log.error("control thread stopped", &[("cause", &cause)]);
}

fn spawn<T: Send + 'static>(
    name: String,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new().name(name).spawn(body)
}
