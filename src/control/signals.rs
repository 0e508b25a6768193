//! Signals to phases: the first SIGTERM or SIGINT drains, the second ends.
//!
//! Invariants: the phase moves before the workers are woken, so that none looks too early.

use crate::base::phase::Phase;
use crate::base::phase::PhaseFlag;
use crate::metrics::log::Log;
use std::io;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;

/// The signals that are watched, from construction on.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Takes the signals over from the default, which would kill the process.
    ///
    /// # Errors
    /// A handler cannot be set.
    pub(super) fn watch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Answers signals for ever.
    pub(super) async fn handle(mut self, phase: &PhaseFlag, wake: &dyn Fn(), log: &Log) {
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => "SIGINT",
                _ = self.hangup.recv() => {
                    log.warn("reload_not_supported", &[("signal", &"SIGHUP")]);
                    continue;
                }
            };
            end(name, phase, wake, log);
        }
    }
}

/// One request to end: drain, or if that was asked before, close.
fn end(signal: &str, phase: &PhaseFlag, wake: &dyn Fn(), log: &Log) {
    if phase.advance(Phase::Draining) {
        log.info("draining", &[("signal", &signal), ("again", &"ends at once")]);
    } else if phase.advance(Phase::Closed) {
        log.info("closing", &[("signal", &signal)]);
    }
    wake();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::sync::Arc;
    use crate::base::time::SystemClock;
    use std::cell::RefCell;

    #[test]
    fn the_first_drains_the_second_ends_and_workers_are_woken_after() {
        let (log, lines) = Log::memory(Arc::new(SystemClock::start()));
        let phase = PhaseFlag::new();
        let seen = RefCell::new(Vec::new());
        let wake = || seen.borrow_mut().push(phase.now());
        for _ in 0..3 {
            end("SIGTERM", &phase, &wake, &log);
        }
        assert_eq!(*seen.borrow(), [Phase::Draining, Phase::Closed, Phase::Closed]);
        let lines: Vec<_> = lines.try_iter().collect();
        assert_eq!(lines.len(), 2, "the third says nothing new: {lines:?}");
    }
}
