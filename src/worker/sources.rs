//! Upstream event streams that this worker owns: their connections, and their events into the log.
//!
//! ```text
//!   lease that opens a tap ─▶ Source ─Connect▶ endpoint ─▶ bytes ─▶ Source ─▶ Inlet ─▶ log
//! ```
//!
//! Invariants:
//! 1. A tap has one source, on the worker that opened it, and a source at most one connection.
//! 2. A source whose log has no room is not read; it goes on as soon as there is room.
//! 3. A tap that nobody reads for its linger is closed, and its history goes with it.

use super::claims::Mouth;
use super::outbound::{Ended, User};
use super::{Timer, Worker};
use crate::backend::{Endpoint, InFlight, PickError};
use crate::base::slots::Handle;
use crate::base::sync::Arc;
use crate::base::time::{Clock, Moment};
use crate::config::gateway::Part;
use crate::feed::Until;
use crate::io::Driver;
use crate::metrics::{ConnectResult, Counter, GapReason, Gauge, UpstreamFailure};
use crate::upstream::{Cause, IDLE_CHECK, Notice, Opening, Outside, Source, Step, Tap, Wanted};
use std::fmt::Display;
use std::io;
use std::time::Duration;

/// The last words to who reads what an upstream refuses: of several channels each has its status.
pub(super) const REFUSED: &str =
    "the upstream refused this stream, or has nothing more: ask again for its status";
/// How soon a source is resumed whose log had no room.
const PAUSE: Duration = Duration::from_millis(20);
/// How often at least a source that is read is asked whether it still is.
const READ_CHECK: Duration = Duration::from_secs(5);

/// The same, so that a short linger is kept.
fn read_check(tap: &Tap) -> Duration {
    READ_CHECK.min(tap.family().definition.linger.max(IDLE_CHECK))
}

/// A source with its connection.
#[derive(Debug)]
pub(super) struct Feeding {
    source: Source,
    outbound: Option<Handle>,
    in_flight: Option<InFlight>,
    /// Endpoints that were tried in vain for this attempt, and why the last one was.
    tried: Vec<Arc<Endpoint>>,
    vain: Cause,
    /// When its tap is looked at again.
    check_at: Moment,
    /// The earliest entry that the wheel holds for it; later ones are stale.
    timer: Moment,
}

impl Feeding {
    pub(super) fn tap(&self) -> &Tap {
        self.source.tap()
    }

    fn has_tried(&self, endpoint: &Arc<Endpoint>) -> bool {
        self.tried.iter().any(|tried| Arc::ptr_eq(tried, endpoint))
    }

    /// No connection to this endpoint came about.
    fn in_vain(&mut self, endpoint: &Arc<Endpoint>, ended: Ended, now: Moment) {
        endpoint.failed(now);
        self.tried.push(Arc::clone(endpoint));
        self.vain = if ended == Ended::Tls { Cause::Tls } else { Cause::Connect };
    }
}

/// Tells an endpoint what its connection led to: a stream, or not even the head of a response.
fn judge(endpoint: &Endpoint, notices: &[Notice], now: Moment) {
    for notice in notices {
        match notice {
            Notice::Opened | Notice::Recovered { .. } => endpoint.succeeded(),
            Notice::Lost {
                cause: cause @ (Cause::ConnectTimeout | Cause::HeadTimeout | Cause::Early),
                ..
            } => {
                endpoint.failed(now);
                endpoint.note(cause);
            }
            // What it said was told where its connection ended.
            Notice::Lost { cause: Cause::Tls, .. } => {
                endpoint.failed(now);
            }
            Notice::Lost { .. }
            | Notice::Ended { .. }
            | Notice::Unseeded { .. }
            | Notice::Refused { .. } => {}
        }
    }
}

impl<D: Driver, C: Clock> Worker<D, C> {
    /// What requests of this turn have opened is fed from now on.
    pub(super) fn start_opened(&mut self, now: Moment) -> io::Result<()> {
        if self.opened.get_mut().is_empty() {
            return Ok(());
        }
        for tap in std::mem::take(self.opened.get_mut()) {
            self.start_source(tap, now)?;
        }
        Ok(())
    }

    /// Streams that are connected from the start: each worker takes its share, once.
    pub(super) fn start_always_on(&mut self, now: Moment) -> io::Result<()> {
        if self.always.is_some() {
            return Ok(());
        }
        let site = Arc::clone(&self.site);
        let mut leases = Vec::new();
        let gateway = &site.config().gateway;
        for (upstream, definition) in gateway.upstreams.iter().enumerate() {
            if !definition.always_on || upstream % self.workers.max(1) != self.index {
                continue;
            }
            let text = definition.target.iter().map(|part| match part {
                Part::Text(text) => text.as_str(),
                Part::Variable(_) => "", // The configuration has none here.
            });
            let target: String = text.collect();
            let channel = site.groups().get(upstream + 1).map(|group| &group.channel);
            let wanted = Wanted::new(definition, &target, "", None);
            let (Some(channel), Ok(wanted)) = (channel, wanted) else { continue };
            let opening = Opening { worker: self.index, now, log: channel };
            if let Ok(leased) = site.registry().lease(upstream, wanted, opening) {
                if leased.opened {
                    self.start_source(Arc::clone(leased.lease.tap()), now)?;
                }
                leases.push(leased.lease);
            }
        }
        self.always = Some(leases);
        Ok(())
    }

    /// A client's lease has opened a tap: this worker owns it.
    fn start_source(&mut self, tap: Arc<Tap>, now: Moment) -> io::Result<()> {
        let feeding = Feeding {
            source: Source::new(tap, now),
            outbound: None,
            in_flight: None,
            tried: Vec::new(),
            vain: Cause::Connect,
            check_at: now.after(IDLE_CHECK),
            timer: now,
        };
        let handle = self.sources.insert(feeding);
        self.recorder.raise(Gauge::Upstreams, 1);
        self.expire_source(handle, now)
    }

    /// Calls a source and does what it asks for.
    fn call_source(
        &mut self,
        handle: Handle,
        now: Moment,
        call: impl FnOnce(&mut Source, &mut Outside<'_>, &mut Mouth<'_>) -> Step,
    ) -> io::Result<()> {
        let Some(feeding) = self.sources.find_mut(handle) else { return Ok(()) };
        let tap = Arc::clone(feeding.source.tap());
        let Some(group) = self.site.groups().get(tap.group() + 1) else { return Ok(()) };
        let unix_millis = self.calendar.unix_millis(now, &self.clock);
        let mut notices = std::mem::take(&mut self.scratch.notices);
        let mut outside =
            Outside { now, unix_millis, chance: &mut self.chance, notices: &mut notices };
        let mut mouth = Mouth::new(group, &tap, unix_millis);
        let before = tap.events();
        let step = call(&mut feeding.source, &mut outside, &mut mouth);
        let gaps = mouth.gaps();
        self.recorder.add(Counter::UpstreamEvents, tap.events() - before);
        if gaps > 0 {
            self.recorder.add(Counter::Gaps(GapReason::UnknownId), gaps);
        }
        if let Some(flight) = &feeding.in_flight {
            judge(flight.endpoint(), &notices, now);
        }
        for notice in notices.drain(..) {
            self.tell(&tap, notice, now);
        }
        self.scratch.notices = notices;
        self.follow_source(handle, step, now)
    }

    fn follow_source(&mut self, handle: Handle, step: Step, now: Moment) -> io::Result<()> {
        match step {
            Step::Wait => {}
            Step::Connect => {
                // Each attempt may go to any endpoint, also to one that was in vain for the last.
                if let Some(feeding) = self.sources.find_mut(handle) {
                    feeding.tried.clear();
                }
                self.connect_source(handle, now)?;
            }
            Step::Close => self.leave_upstream(handle),
            Step::Paused => {
                self.arm_source(handle, now.after(PAUSE));
                return Ok(());
            }
            Step::Refused { status } => {
                let Some(feeding) = self.sources.find(handle) else { return Ok(()) };
                let tap = Arc::clone(feeding.source.tap());
                self.site.registry().refuse(&tap, status, now);
                self.end_source(handle, &tap);
                self.end_refused();
                return Ok(());
            }
        }
        self.set_source_timer(handle);
        Ok(())
    }

    /// Makes a connection for a source: to one endpoint after the other, until one has it.
    fn connect_source(&mut self, handle: Handle, now: Moment) -> io::Result<()> {
        let cause = loop {
            let Some(feeding) = self.sources.find_mut(handle) else { return Ok(()) };
            let backend = feeding.source.tap().family().definition.backend;
            let picked = self.view.pick(backend, now, &mut self.chance, None, &feeding.tried);
            let pick = match picked {
                Ok(pick) if feeding.has_tried(&pick.endpoint) => break feeding.vain,
                Ok(pick) => pick,
                // The wake that follows the look-up finds it, or its time does.
                Err(PickError::Pending { .. }) => {
                    self.nameless_sources.push(handle);
                    return Ok(());
                }
                Err(PickError::Unresolved { .. }) => break Cause::Resolve,
                Err(_) => break Cause::NoEndpoint,
            };
            let name = pick.server_name.as_deref();
            let made = self.open_outbound(backend, &pick.endpoint, name, User::Source(handle));
            let Some(feeding) = self.sources.find_mut(handle) else { return Ok(()) };
            match made {
                Ok(outbound) => {
                    feeding.outbound = Some(outbound);
                    feeding.in_flight = Some(pick.in_flight);
                    return Ok(());
                }
                // A limit of ours is no fault of the endpoint.
                Err(Ended::Full) => break Cause::NoEndpoint,
                Err(ended) => feeding.in_vain(&pick.endpoint, ended, now),
            }
        };
        self.call_source(handle, now, |source, outside, _| source.failed(cause, outside))
    }

    /// Names were looked up: who waited for them tries again.
    pub(super) fn connect_nameless(&mut self, now: Moment) -> io::Result<()> {
        for handle in std::mem::take(&mut self.nameless_sources) {
            let waits =
                |feeding: &Feeding| feeding.outbound.is_none() && feeding.source.is_connecting();
            if self.sources.find(handle).is_some_and(waits) {
                self.connect_source(handle, now)?;
            }
        }
        Ok(())
    }

    /// Its connection is there.
    pub(super) fn source_connected(
        &mut self,
        handle: Handle,
        outbound: Handle,
        now: Moment,
    ) -> io::Result<()> {
        let mut request = Vec::new();
        let Some(feeding) = self.sources.find_mut(handle) else { return Ok(()) };
        feeding.tried.clear();
        let step = feeding.source.connected(now, &mut request);
        self.send_outbound(outbound, &request)?;
        self.follow_source(handle, step, now)
    }

    /// Bytes of the upstream.
    pub(super) fn source_input(
        &mut self,
        handle: Handle,
        outbound: Handle,
        bytes: &[u8],
        more: bool,
        now: Moment,
    ) -> io::Result<()> {
        self.recorder.add(Counter::UpstreamBytes, bytes.len() as u64);
        self.call_source(handle, now, |source, outside, inlet| {
            source.receive(bytes, outside, inlet)
        })?;
        if self.source_takes_input(handle) {
            if more { self.enqueue_outbound(outbound) } else { self.await_outbound(outbound) }
        }
        Ok(())
    }

    pub(super) fn source_takes_input(&self, handle: Handle) -> bool {
        self.sources.find(handle).is_some_and(|feeding| !feeding.source.is_paused())
    }

    /// Its connection did not come about, or has ended; it is closed already.
    pub(super) fn source_ended(
        &mut self,
        handle: Handle,
        ended: Ended,
        now: Moment,
    ) -> io::Result<()> {
        let Some(feeding) = self.sources.find_mut(handle) else { return Ok(()) };
        feeding.outbound = None;
        if matches!(ended, Ended::Connect(_) | Ended::Full | Ended::Tls)
            && let Some(flight) = feeding.in_flight.take()
        {
            feeding.in_vain(flight.endpoint(), ended, now);
            return self.connect_source(handle, now);
        }
        let orderly = ended == Ended::Orderly;
        self.call_source(handle, now, |source, outside, _| match ended {
            Ended::Broken => source.failed(Cause::Tls, outside),
            _ => source.ended(orderly, outside),
        })?;
        // One that is paused keeps what it holds, but no connection.
        if let Some(feeding) = self.sources.find_mut(handle) {
            feeding.in_flight = None;
        }
        Ok(())
    }

    /// Closes the connection of a source.
    fn leave_upstream(&mut self, handle: Handle) {
        let Some(feeding) = self.sources.find_mut(handle) else { return };
        feeding.in_flight = None;
        if let Some(outbound) = feeding.outbound.take() {
            self.drop_outbound(outbound);
        }
    }

    /// A source's timer came up.
    pub(super) fn expire_source(&mut self, handle: Handle, now: Moment) -> io::Result<()> {
        let Some(feeding) = self.sources.find_mut(handle) else { return Ok(()) };
        if feeding.timer > now {
            return Ok(()); // A stale entry: an earlier one has taken its place.
        }
        feeding.timer = Moment::from_nanos(u64::MAX);
        if feeding.check_at <= now {
            let tap = Arc::clone(feeding.source.tap());
            if tap.leases() > 0 {
                feeding.check_at = now.after(read_check(&tap));
            } else {
                feeding.check_at = now.after(IDLE_CHECK);
                if self.site.registry().close_if_idle(&tap, now) {
                    self.end_source(handle, &tap);
                    return Ok(());
                }
            }
        }
        let Some(feeding) = self.sources.find_mut(handle) else { return Ok(()) };
        if feeding.source.is_paused() {
            let outbound = feeding.outbound;
            self.call_source(handle, now, |source, outside, inlet| source.resume(outside, inlet))?;
            if let Some(outbound) = outbound
                && self.source_takes_input(handle)
            {
                self.enqueue_outbound(outbound);
            }
            return Ok(());
        }
        if feeding.source.deadline().is_some_and(|due| due <= now) {
            return self.call_source(handle, now, |source, outside, _| source.due(outside));
        }
        self.set_source_timer(handle);
        Ok(())
    }

    fn set_source_timer(&mut self, handle: Handle) {
        let Some(feeding) = self.sources.find(handle) else { return };
        let due = feeding.source.deadline();
        let due = due.map_or(feeding.check_at, |due| due.min(feeding.check_at));
        self.arm_source(handle, due);
    }

    fn arm_source(&mut self, handle: Handle, due: Moment) {
        let Some(feeding) = self.sources.find_mut(handle) else { return };
        if due < feeding.timer {
            feeding.timer = due;
            self.wheel.set(due, Timer::Source(handle));
        }
    }

    /// A source is of no use any more: connection, log and place are freed.
    fn end_source(&mut self, handle: Handle, tap: &Arc<Tap>) {
        self.leave_upstream(handle);
        if self.sources.remove(handle).is_some() {
            self.recorder.lower(Gauge::Upstreams, 1);
        }
        if let Some(group) = self.site.groups().get(tap.group() + 1) {
            group.channel.forget(tap.topic());
        }
    }

    /// Counts and logs what an operator wants to know.
    fn tell(&mut self, tap: &Arc<Tap>, notice: Notice, now: Moment) {
        let name: &dyn Display = &tap.family().definition.name;
        let number: &dyn Display = &tap.number();
        match notice {
            Notice::Opened => self.log.debug("upstream_open", &[("name", name), ("tap", number)]),
            Notice::Recovered { failures } => {
                self.recorder.add(Counter::UpstreamReconnects, 1);
                let failures: &dyn Display = &failures;
                let fields = [("name", name), ("tap", number), ("failures", failures)];
                self.log.info_rarely(&mut self.recovered, now, "upstream_recovered", &fields);
            }
            Notice::Ended { retry_in } => {
                self.recorder.add(Counter::UpstreamReconnects, 1);
                self.recorder.add(Counter::UpstreamFailures(UpstreamFailure::Ended), 1);
                let wait: &dyn Display = &retry_in.as_millis();
                let fields = [("name", name), ("tap", number), ("retry_in_ms", wait)];
                self.log.debug("upstream_ended", &fields);
            }
            Notice::Lost { cause, failures, retry_in } => {
                self.recorder.add(Counter::UpstreamFailures(cause.label()), 1);
                if matches!(cause, Cause::ConnectTimeout) {
                    self.recorder.add(Counter::UpstreamConnects(ConnectResult::Timeout), 1);
                }
                let (wait, failures): (&dyn Display, &dyn Display) =
                    (&retry_in.as_millis(), &failures);
                let fields = [
                    ("name", name),
                    ("tap", number),
                    ("cause", &cause as &dyn Display),
                    ("failures", failures),
                    ("retry_in_ms", wait),
                ];
                self.log.warn_rarely(&mut self.throttle, now, "upstream_lost", &fields);
            }
            Notice::Unseeded { vain } => self.tell_unseeded(tap, vain),
            Notice::Refused { status } => {
                self.recorder.add(Counter::UpstreamFailures(UpstreamFailure::Status), 1);
                let shown: &dyn Display = &status;
                let fields = [("name", name), ("tap", number), ("status", shown)];
                // An end that the upstream means, and users that it does not know, are no news.
                if matches!(status, 204 | 401 | 403) {
                    self.log.debug("upstream_refused", &fields);
                } else {
                    self.log.warn_rarely(&mut self.refused, now, "upstream_refused", &fields);
                }
            }
        }
    }

    /// Ends the streams of those whose upstreams have all said that there is nothing (more).
    pub(super) fn end_refused(&mut self) {
        let site = Arc::clone(&self.site);
        for upstream in 0..self.refusals.len() {
            let Some(seen) = self.refusals.get_mut(upstream) else { continue };
            if site.registry().refusal_count(upstream) == *seen {
                continue;
            }
            // All that are remembered: a merged stream ends with its last channel.
            let (count, taps) = site.registry().refusals(upstream, 0);
            *seen = count;
            let Some(group) = self.groups.find_mut(upstream + 1) else { continue };
            // There may be as many as channels, and each feed asks for each of its topics.
            let mut over = site.channel().hasher().set();
            over.extend(taps.iter().map(|tap| tap.topic().clone()));
            for id in group.fanout.readers_of(|topic| over.contains(topic)) {
                let last = self.last_words(upstream + 1, Until::Source);
                if let Some(group) = self.groups.find_mut(upstream + 1) {
                    group.fanout.end(id, last, Until::Source);
                }
            }
        }
        self.carry_out();
    }

    /// Whether somebody reads what this worker's sources bring.
    pub(super) fn feeds_others(&self) -> bool {
        self.sources.iter().any(|(_, feeding)| feeding.source.tap().leases() > 0)
    }

    /// The worker ends: so do its sources.
    pub(super) fn release_sources(&mut self) {
        let all: Vec<Handle> = self.sources.iter().map(|(handle, _)| handle).collect();
        for handle in all {
            self.leave_upstream(handle);
            self.sources.remove(handle);
            self.recorder.lower(Gauge::Upstreams, 1);
        }
    }
}
