//! The world: network, peers, book and script behind one lock, and the baton between threads.
//!
//! Invariants:
//! 1. Of all workers' threads exactly one runs at a time; it hands the baton on in `turn`, and
//!    everything between two workers (peers, arrivals, time) happens on the thread that hands on.
//! 2. Time moves on only when no peer and no worker has anything to do now.
//! 3. A world ends with its first failure, when all workers have returned, or at its bounds.

use super::Lock;
use super::book::Book;
use super::net::Due;
use super::net::Net;
use super::peers::Peer;
use super::port::Rest;
use super::script::Script;
use super::verdict::Failure;
use super::verdict::Law;
use crate::base::sync::Arc;
use crate::base::time::Moment;
use crate::metrics::Counters;
use crate::metrics::Gauge;
use std::sync::Condvar;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;

/// A world that has made so many steps does not end by itself.
const STEPS_MAX: u64 = 400_000;
/// A page of history: what a worker may hold beyond its limit.
const PAGE: usize = 256 * 1024;
/// For so long a worker may sleep although somebody is owed something: it paces itself.
const GRACE: Duration = Duration::from_millis(5);

/// Everything of a world, behind its lock.
#[derive(Debug)]
pub struct Scene {
    /// The network.
    pub net: Net,
    /// What is true about the channel.
    pub book: Book,
    /// The peers; one is taken out while it acts.
    pub peers: Vec<Option<Box<dyn Peer>>>,
    pub(super) script: Script,
    /// The workers' counters.
    gauges: Vec<Option<Arc<Counters>>>,
    holder: Option<usize>,
    over: bool,
}

/// A world, shared by the threads of its workers.
#[derive(Clone, Debug)]
pub struct World {
    scene: Arc<Lock<Scene>>,
    handed: Arc<Condvar>,
}

impl World {
    /// A world with a network, a book and a script, without peers and workers.
    #[must_use]
    pub fn new(net: Net, book: Book, script: Script) -> Self {
        let scene = Scene {
            net,
            book,
            peers: Vec::new(),
            script,
            gauges: Vec::new(),
            holder: None,
            over: false,
        };
        Self { scene: Arc::new(Lock::new(scene)), handed: Arc::new(Condvar::new()) }
    }

    /// The scene. A thread that panicked is reported as a failure, so poison says nothing new.
    pub fn lock(&self) -> MutexGuard<'_, Scene> {
        self.scene.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a peer; it acts for the first time at the world's start, or `after`.
    pub fn add_peer(&self, peer: Box<dyn Peer>, after: Duration) {
        let mut scene = self.lock();
        scene.peers.push(Some(peer));
        scene.net.peer_due.push(None);
        let (index, at) = (scene.peers.len() - 1, scene.net.now().after(after));
        scene.net.schedule_peer(index, Some(at));
    }

    /// Gives the baton to the first who has something to do. All ports must be there.
    pub fn start(&self) {
        let mut scene = self.lock();
        self.hand_on(&mut scene);
    }

    /// A worker's thread begins: returns when it may run.
    pub fn enter(&self, port: usize, counters: Option<Arc<Counters>>) -> Seat {
        let mut scene = self.lock();
        if scene.gauges.len() <= port {
            scene.gauges.resize_with(port + 1, || None);
        }
        if let Some(slot) = scene.gauges.get_mut(port) {
            *slot = counters;
        }
        let mut scene = self.wait(scene, port);
        scene.rest(port, Rest::Running);
        Seat { world: self.clone(), port }
    }

    /// A worker goes to sleep; true when it may run again, false when the world is over.
    pub(super) fn sleep(
        &self,
        port: usize,
        until: Option<Moment>,
    ) -> Option<MutexGuard<'_, Scene>> {
        let mut scene = self.lock();
        scene.net.charge(5);
        scene.rest(port, Rest::Asleep(until));
        self.hand_on(&mut scene);
        let mut scene = self.wait(scene, port);
        scene.rest(port, Rest::Running);
        (!scene.over).then_some(scene)
    }

    fn wait<'a>(&self, mut scene: MutexGuard<'a, Scene>, port: usize) -> MutexGuard<'a, Scene> {
        while scene.holder != Some(port) && !scene.over {
            scene = self.handed.wait(scene).unwrap_or_else(PoisonError::into_inner);
        }
        scene
    }

    fn hand_on(&self, scene: &mut Scene) {
        let before = scene.holder;
        scene.holder = if scene.over { None } else { scene.next_worker() };
        if scene.holder.is_none() {
            scene.over = true;
        }
        if scene.holder != before || scene.over {
            self.handed.notify_all();
        }
    }

    /// Who failed, after all threads have returned.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.lock().net.verdict.failure().cloned()
    }
}

/// A running worker's place; given up when dropped, also by a panic.
#[derive(Debug)]
pub struct Seat {
    world: World,
    port: usize,
}

impl Seat {
    /// Unsent bytes are below the limit, give or take one page.
    pub fn check_budget(&self, unsent: usize, max: usize) {
        if unsent > max + PAGE {
            let what = format!("{} holds {unsent} unsent bytes, over its limit {max}", self.port);
            self.world.lock().net.verdict.fail(Law::Budget, what);
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut scene = self.world.lock();
        if std::thread::panicking() {
            let what = format!("worker {} panicked", self.port);
            scene.net.verdict.fail(Law::Crash, what);
        }
        scene.rest(self.port, Rest::Gone);
        self.world.hand_on(&mut scene);
    }
}

impl Scene {
    fn rest(&mut self, port: usize, rest: Rest) {
        if let Some(port) = self.net.ports.get_mut(port) {
            port.rest = rest;
        }
    }

    /// Lets peers, network and script act until a worker is to run; `None`: the world is over.
    fn next_worker(&mut self) -> Option<usize> {
        loop {
            self.net.verdict.step += 1;
            self.book.sync(&mut self.net.verdict);
            let everybody_gone = self.net.ports.iter().all(|port| port.rest == Rest::Gone);
            if everybody_gone || self.net.verdict.failure().is_some() {
                return None;
            }
            if self.net.verdict.step > STEPS_MAX {
                let what = format!("no end after {STEPS_MAX} steps; {:?}", self.script);
                self.net.verdict.fail(Law::Liveness, what);
                return None;
            }
            self.leap();
            let now = self.net.now();
            if self.script.due() <= now {
                Script::step(self);
                continue;
            }
            let workers: Vec<usize> = self.runnable(now);
            let peers = self.due_peers(now);
            if workers.is_empty() && peers.is_empty() {
                self.pass_time(now);
                continue;
            }
            if workers.is_empty() || (!peers.is_empty() && self.net.chance.one_in(2)) {
                self.act(&peers);
                continue;
            }
            let worker = self.net.below(workers.len());
            let Some(worker) = workers.get(worker).copied() else { continue };
            if self.net.chance.one_in(self.net.faults.stall) {
                let until = now.after(self.net.span(Duration::from_millis(30)));
                if let Some(port) = self.net.ports.get_mut(worker) {
                    port.stalled_until = until;
                }
                continue;
            }
            return Some(worker);
        }
    }

    fn leap(&mut self) {
        if !self.net.chance.one_in(self.net.faults.leap) {
            return;
        }
        let by = self.net.span(Duration::from_secs(40));
        if self.net.chance.one_in(2) {
            self.net.clock.pass(by);
            self.script.forgive(by);
        } else {
            let (millis, back) = (by.as_millis() * 30, self.net.chance.one_in(2));
            self.net.clock.leap_unix(u64::try_from(millis).unwrap_or(0), back);
        }
    }

    fn runnable(&self, now: Moment) -> Vec<usize> {
        let ports = self.net.ports.iter().enumerate();
        ports
            .filter(|(_, port)| {
                port.stalled_until <= now && port.next(now).is_some_and(|at| at <= now)
            })
            .map(|(index, _)| index)
            .collect()
    }

    /// Peers that act now; what has arrived by now arrives.
    fn due_peers(&mut self, now: Moment) -> Vec<usize> {
        while let Some((at, due)) = self.net.due.first().copied() {
            let Due::Link(link) = due else { break };
            if at > now {
                break;
            }
            self.net.due.pop_first();
            self.net.arrive(link);
        }
        let due = self.net.due.iter().take_while(|(at, _)| *at <= now);
        due.filter_map(|(_, due)| if let Due::Peer(peer) = due { Some(*peer) } else { None })
            .collect()
    }

    fn act(&mut self, peers: &[usize]) {
        let chosen = self.net.below(peers.len());
        let Some(index) = peers.get(chosen).copied() else { return };
        self.net.schedule_peer(index, None);
        let Some(mut peer) = self.peers.get_mut(index).and_then(Option::take) else { return };
        if let Some(at) = peer.step(index, &mut self.net, &mut self.book) {
            self.net.poke(index, at);
        }
        if let Some(slot) = self.peers.get_mut(index) {
            *slot = Some(peer);
        }
    }

    /// Nobody has anything to do now: checks that nobody should, and moves time on.
    fn pass_time(&mut self, now: Moment) {
        for peer in self.peers.iter().flatten() {
            if let Some((link, what)) = peer.owed(&self.net, &self.book)
                && self.net.is_quiet(link)
                && self.net.sleeps_for(link, GRACE)
            {
                self.net.verdict.fail(Law::Wakes, format!("a worker sleeps, and {what}"));
                return;
            }
            if let Some((link, what)) = peer.neglected(&self.net, &self.book)
                && self.net.sleeps_for(link, Duration::ZERO)
            {
                self.net.verdict.fail(Law::Wakes, format!("a worker sleeps, and {what}"));
                return;
            }
        }
        let workers = self.net.ports.iter().filter(|port| port.rest != Rest::Gone);
        let workers = workers.filter_map(|p| p.next(now).map(|at| at.max(p.stalled_until)));
        let due = self.net.due.first().map(|(at, _)| *at);
        let next = workers.chain(due).chain([self.script.due()]).min();
        self.net.clock.reach(next.unwrap_or(now));
    }

    /// The sum of a gauge over the workers.
    #[must_use]
    pub fn gauge(&self, gauge: Gauge) -> i64 {
        self.gauges.iter().flatten().map(|counters| counters.gauge(gauge)).sum()
    }
}
