//! The turn: every stage once, each bounded.
//!
//! What sweep and intake have for clients is sent by the call that sleeps, in the next turn.
//!
//! Invariants: the worker sleeps only when no stage has anything to do before the wait is over.

use super::{Owner, Progress, Worker};
use crate::base::phase::Phase;
use crate::base::time::{Clock, Moment};
use crate::io::{Driver, Interest, Ready, Socket, shortage};
use crate::metrics::{AcceptFailure, Counter, Stage};
use std::io;
use std::time::Duration;

/// So many reports are not timed apart from the intake that follows them.
const FEW: usize = 16;
/// How long accepting pauses after a failure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl<D: Driver, C: Clock> Worker<D, C> {
    /// One turn: sleeps if there is nothing to do, then does a bounded piece of everything.
    ///
    /// # Errors
    /// The driver is broken.
    pub fn turn(&mut self) -> io::Result<Progress> {
        // The last turn's end is this one's beginning.
        let start = self.turned_at;
        let shortages = self.load.shortages();
        let wait = self.wait(start);
        let mut ready = std::mem::take(&mut self.scratch.ready);
        ready.clear();
        let awake = wait == Some(Duration::ZERO) || self.driver.has_news();
        self.send_and_sleep(wait, &mut ready)?;
        self.bell.unpark();
        let now = self.clock.now();
        self.count(if awake { Stage::Reap } else { Stage::Sleep }, start, now);
        self.recorder.add(Counter::Turns, 1);
        // Before the phase: at the end a connection that was just accepted is closed with the rest.
        let reports = ready.len();
        for event in &ready {
            self.anticipate(event);
        }
        for event in ready.drain(..) {
            self.reap(event, now)?;
        }
        self.scratch.ready = ready;
        if self.follow_phase(now)? == Progress::Done {
            return Ok(Progress::Done);
        }
        // A reading of the clock costs as much as some reports.
        let reaped = if reports > FEW { self.lap(Stage::Reap, now) } else { now };
        self.intake(now)?;
        self.intake_outbounds(now)?;
        self.relieve(shortages, now);
        let mut done = self.lap(Stage::Intake, reaped);
        if self.groups.len() > 0 {
            self.groups.route(&self.site);
            done = self.lap(Stage::Route, done);
            self.sweep(now);
            done = self.lap(Stage::Sweep, done);
        }
        if self.has_due(now) {
            self.timers(now)?;
            done = self.lap(Stage::Timers, done);
        }
        self.turned_at = done;
        Ok(Progress::Running)
    }

    /// How long to sleep. A worker that reads a log parks its bell before it does.
    fn wait(&mut self, now: Moment) -> Option<Duration> {
        if self.is_busy() {
            return Some(Duration::ZERO);
        }
        if self.groups.len() > 0 {
            self.bell.park();
            // An append between the last look and `park` has rung nobody: look again.
            if self.groups.has_unread() {
                self.bell.unpark();
                return Some(Duration::ZERO);
            }
        }
        self.next_timer(now)
    }

    fn is_busy(&mut self) -> bool {
        !self.readable.is_empty()
            || !self.arrived.is_empty()
            || self.left.more
            || self.groups.is_busy()
            || !self.overdue.is_empty()
    }

    /// Asks for what a report will need, while the others are looked at.
    fn anticipate(&self, event: &Ready) {
        if let Ready::Watched { token, .. } = event
            && let Owner::Outbound(handle) = Owner::of(*token)
        {
            self.outbounds.prefetch(handle);
        }
    }

    fn reap(&mut self, event: Ready, now: Moment) -> io::Result<()> {
        match event {
            Ready::Accepted { socket, peer, listener } => {
                self.admit(socket, peer, listener, now);
            }
            Ready::AcceptFailed { errno } => {
                let cause = match errno {
                    _ if shortage::of_descriptors(errno) => AcceptFailure::Descriptors,
                    _ if shortage::of_memory(errno) => AcceptFailure::Memory,
                    _ => AcceptFailure::Other,
                };
                self.recorder.add(Counter::AcceptFailed(cause), 1);
                self.accept_at = Some(now.after(ACCEPT_PAUSE));
                self.load.report_shortage();
            }
            // Names may have been looked up.
            Ready::Woken => {
                self.attempt_nameless(now)?;
                self.connect_nameless(now)?;
            }
            Ready::Watched { token, readable, writable, hangup } => match Owner::of(token) {
                Owner::Client(group, id) => self.client_event(group, id, writable, hangup),
                Owner::Connection(handle) => {
                    self.connection_event(handle, readable, writable, hangup, now);
                }
                Owner::Outbound(handle) => {
                    self.outbound_event(handle, readable || hangup, writable || hangup, now)?;
                }
            },
        }
        Ok(())
    }

    /// Makes room when some worker could not accept: the descriptors belong to the process. It was
    /// a turn ago, so what the newest connections had to say has been read.
    fn relieve(&mut self, shortages: u32, now: Moment) {
        if shortages != self.shortages {
            self.shortages = shortages;
            self.shed_idle(now);
        }
    }

    /// Starts, pauses and ends with the process.
    fn follow_phase(&mut self, now: Moment) -> io::Result<Progress> {
        match self.site.phase() {
            Phase::Starting => {}
            Phase::Serving => {
                self.start_always_on(now)?;
                if self.accept_at.is_some_and(|at| at <= now) {
                    self.accept_at = None;
                    self.driver.accept(true);
                }
            }
            Phase::Draining => return self.drain(now),
            Phase::Closed => {
                self.close_all();
                return Ok(Progress::Done);
            }
        }
        Ok(Progress::Running)
    }

    pub(super) fn watch(&mut self, socket: Socket, owner: Owner, interest: Interest) {
        self.driver.watch(socket, owner.token(), interest);
    }

    fn lap(&self, stage: Stage, since: Moment) -> Moment {
        let now = self.clock.now();
        self.count(stage, since, now);
        now
    }

    fn count(&self, stage: Stage, since: Moment, now: Moment) {
        self.recorder.add(Counter::TurnNanos(stage), now.nanos().saturating_sub(since.nanos()));
    }
}
