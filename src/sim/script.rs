//! What happens in a world, in order: work under faults, settling, an ending.
//!
//! | stage | peers | ends when |
//! |---|---|---|
//! | work | publish, subscribe, misbehave | its time is over |
//! | settle | publish no more; with `heal`, faults are off | all are at the tail |
//! | ending | leave, or are drained | nothing is open and nothing is held |
//! | closed | | all workers have returned |
//!
//! Invariants: a stage that does not end within its bound is a failure of the law it stands for.

use super::faults::Faults;
use super::net::Orders;
use super::verdict::Law;
use super::world::Scene;
use crate::base::phase::Phase;
use crate::base::phase::PhaseFlag;
use crate::base::sync::Arc;
use crate::base::sync::atomic::Ordering::SeqCst;
use crate::base::time::Moment;
use crate::metrics::Gauge;
use std::time::Duration;

/// How often a stage looks whether it is over.
const LOOK: Duration = Duration::from_millis(25);

/// How the world ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The peers leave.
    Leave,
    /// The process drains over so long.
    Drain(Duration),
}

/// The times of a world.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How long the peers work under faults.
    pub work: Duration,
    /// Whether faults heal before settling; then everything must arrive within `settle`.
    pub heal: bool,
    /// The bound of settling; without `heal` just its length.
    pub settle: Duration,
    /// How it ends.
    pub ending: Ending,
    /// The bound of the ending, beyond a drain's own period.
    pub end: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Work,
    Settle,
    Ending,
    Closed,
}

/// The course of a world.
#[derive(Debug)]
pub struct Script {
    plan: Plan,
    phase: Arc<PhaseFlag>,
    stage: Stage,
    /// When this stage must be over.
    bound: Moment,
    look: Moment,
}

impl Script {
    /// A script that begins at `now`. `phase` is the one that the workers see.
    #[must_use]
    pub fn new(plan: Plan, phase: Arc<PhaseFlag>, now: Moment) -> Self {
        let bound = now.after(plan.work);
        Self { plan, phase, stage: Stage::Work, bound, look: bound }
    }

    /// Whether the workers are to return.
    #[cfg(test)]
    pub(super) fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    /// When it acts next.
    pub(super) fn due(&self) -> Moment {
        self.look
    }

    /// The clock leapt: nobody had that time to act in, so no stage's bound counts it.
    pub(super) fn forgive(&mut self, leap: Duration) {
        self.bound = self.bound.after(leap);
    }

    fn enter(&mut self, stage: Stage, now: Moment, within: Duration) {
        self.stage = stage;
        self.bound = now.after(within);
        self.look = now;
    }

    pub(super) fn step(scene: &mut Scene) {
        let now = scene.net.now();
        scene.script.look = now.after(LOOK);
        match scene.script.stage {
            Stage::Work => {
                if scene.script.plan.heal {
                    scene.net.faults = Faults::healed();
                }
                let within = scene.script.plan.settle;
                scene.script.enter(Stage::Settle, now, within);
                scene.order(Orders::Settle);
            }
            Stage::Settle => Self::settle(scene, now),
            Stage::Ending => Self::end(scene, now),
            Stage::Closed => {
                if now > scene.script.bound {
                    let what = "a worker did not return although the phase is closed";
                    scene.net.verdict.fail(Law::Liveness, what);
                }
            }
        }
    }

    fn settle(scene: &mut Scene, now: Moment) {
        let restless = scene.peers.iter().flatten().find_map(|peer| peer.unsettled(&scene.book));
        let late = now > scene.script.bound;
        match restless {
            Some(who) if scene.script.plan.heal => {
                if late {
                    let what = format!("everything has healed, and after the bound {who}");
                    scene.net.verdict.fail(Law::Liveness, what);
                }
                return;
            }
            Some(_) if !late => return,
            _ => {}
        }
        let end = scene.script.plan.end;
        match scene.script.plan.ending {
            Ending::Leave => {
                scene.script.enter(Stage::Ending, now, end);
                scene.order(Orders::Leave);
            }
            Ending::Drain(period) => {
                scene.script.enter(Stage::Ending, now, period + end);
                scene.order(Orders::Drain);
                scene.advance(Phase::Draining);
            }
        }
    }

    fn end(scene: &mut Scene, now: Moment) {
        let open = scene.net.open_sockets();
        let staying = scene.peers.iter().flatten().filter(|peer| !peer.is_gone()).count();
        let held = scene.held();
        if (open, staying) == (0, 0) && held.is_none() {
            scene.script.enter(Stage::Closed, now, Duration::from_secs(2));
            scene.advance(Phase::Closed);
        } else if now > scene.script.bound {
            let law = match scene.script.plan.ending {
                Ending::Leave => Law::Hygiene,
                Ending::Drain(_) => Law::Drain,
            };
            let held = held.unwrap_or_default();
            let what = format!("{open} sockets are open, {staying} peers still there, {held}");
            scene.net.verdict.fail(law, what);
        }
    }
}

impl Scene {
    fn order(&mut self, orders: Orders) {
        self.net.orders = orders;
        let now = self.net.now();
        for peer in 0..self.peers.len() {
            self.net.poke(peer, now);
        }
    }

    fn advance(&mut self, phase: Phase) {
        self.script.phase.advance(phase);
        for port in &self.net.ports {
            port.wake.store(true, SeqCst);
        }
    }

    /// What the workers still hold by their own gauges; `None`: nothing.
    fn held(&self) -> Option<String> {
        let gauges = [
            ("connections", Gauge::Connections),
            ("clients", Gauge::Clients),
            ("feeds", Gauge::Feeds),
            ("unsent bytes", Gauge::UnsentBytes),
            ("relays", Gauge::Relays),
            ("upstream streams", Gauge::Upstreams),
            ("idle connections", Gauge::BackendIdle),
        ];
        let held = gauges.map(|(name, gauge)| (name, self.gauge(gauge)));
        held.iter().find(|(_, n)| *n != 0).map(|(name, n)| format!("{n} {name} held"))
    }
}
