//! The worlds: what each seed of a kind is made of.
//!
//! Invariants: even seeds heal before they settle (liveness: everything must arrive in time), odd
//! ones keep their faults to the end (safety: whatever arrives is right).

use crate::cast;
use std::time::Duration;
use tidegate::base::chance::Chance;
use tidegate::config::Config;
use tidegate::config::LagPolicy;
use tidegate::sim::faults::Faults;
use tidegate::sim::peers::subscriber::Manner;
use tidegate::sim::scenario::Scenario;
use tidegate::sim::script::Ending;
use tidegate::sim::script::Plan;

pub(crate) fn plan(seed: u64, work: u64) -> Plan {
    let heal = seed.is_multiple_of(2);
    Plan {
        work: Duration::from_millis(work),
        heal,
        settle: if heal { Duration::from_secs(20) } else { Duration::from_millis(100) },
        ending: Ending::Leave,
        end: Duration::from_secs(60),
    }
}

pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.hub.heartbeat = Duration::from_secs(2);
    config.limits.write_timeout = Duration::from_secs(2);
    config.limits.keep_alive_timeout = Duration::from_secs(5);
    config
}

/// Several workers, many subscribers, everything that can go wrong.
pub(crate) fn fan_out(seed: u64) -> Scenario {
    let chance = &mut Chance::new(seed ^ 0xfa0);
    let workers = 1 + cast::below(chance, 3);
    let mut peers = cast::publishers(chance, 3, Duration::from_millis(40), 6000);
    let manners = [Manner::Steady, Manner::Steady, Manner::Slow, Manner::Vanishing];
    let count = 3 + cast::below(chance, 12);
    let start = Duration::from_millis(200);
    peers.extend(cast::subscribers(chance, count, &manners, LagPolicy::Close, start));
    Scenario {
        seed,
        config: config(),
        backlog_bytes_max: 1 << 20,
        workers,
        faults: if chance.one_in(4) { Faults::gentle() } else { Faults::nasty() },
        canary: None,
        windows: (1, 8000),
        plan: plan(seed, 800),
        peers,
    }
}

/// Reconnect storms at every position of a history that is small enough to expire.
pub(crate) fn resume(seed: u64) -> Scenario {
    let chance = &mut Chance::new(seed ^ 0x2e5);
    let mut config = config();
    config.hub.history_events_max = 5 + cast::below(chance, 60);
    if chance.one_in(2) {
        config.hub.history_bytes_max = 2000 + cast::below(chance, 20_000);
    }
    if chance.one_in(4) {
        config.hub.history_age_max = Duration::from_millis(300);
    }
    let mut peers = cast::publishers(chance, 2, Duration::from_millis(20), 2000);
    let manners = [Manner::Vanishing, Manner::Vanishing, Manner::Stalling];
    let count = 4 + cast::below(chance, 10);
    peers.extend(cast::subscribers(chance, count, &manners, LagPolicy::Close, Duration::ZERO));
    Scenario {
        seed,
        config,
        backlog_bytes_max: 1 << 20,
        workers: 1 + cast::below(chance, 2),
        faults: Faults::nasty(),
        canary: None,
        windows: (200, 4000),
        plan: plan(seed, 1500),
        peers,
    }
}

/// Clients that do not keep up, under each policy, and a small budget of unsent bytes.
pub(crate) fn slow_clients(seed: u64) -> Scenario {
    let chance = &mut Chance::new(seed ^ 0x510);
    let mut config = config();
    config.hub.lag_bytes_max = 500 + cast::below(chance, 8000);
    config.hub.lag_policy =
        [LagPolicy::Close, LagPolicy::Skip, LagPolicy::Latest][cast::below(chance, 3)];
    if chance.one_in(3) {
        config.limits.unsent_bytes_max = 20_000 + cast::below(chance, 50_000);
    }
    if chance.one_in(3) {
        config.hub.history_events_max = 10 + cast::below(chance, 50);
    }
    let policy = config.hub.lag_policy;
    let mut peers = cast::publishers(chance, 2, Duration::from_millis(15), 3000);
    let manners = [Manner::Steady, Manner::Slow, Manner::Stalling, Manner::Stalling];
    let count = 3 + cast::below(chance, 8);
    let start = Duration::from_millis(100);
    peers.extend(cast::subscribers(chance, count, &manners, policy, start));
    Scenario {
        seed,
        config,
        backlog_bytes_max: 1 << 20,
        workers: 1 + cast::below(chance, 2),
        faults: if chance.one_in(2) { Faults::gentle() } else { Faults::nasty() },
        canary: None,
        windows: (50, 3000),
        plan: plan(seed, 1500),
        peers,
    }
}

/// SIGTERM while clients are connected.
pub(crate) fn drain(seed: u64) -> Scenario {
    let chance = &mut Chance::new(seed ^ 0xd2a);
    let mut config = config();
    config.drain.period = cast::millis(chance, 0, 8000);
    config.drain.reconnects_per_second = 1 + u32::try_from(cast::below(chance, 50)).unwrap();
    let ending = Ending::Drain(config.drain.period);
    let mut peers = cast::publishers(chance, 2, Duration::from_millis(30), 4000);
    let manners = [Manner::Steady, Manner::Slow, Manner::Stalling, Manner::Vanishing];
    let count = 2 + cast::below(chance, 12);
    let start = Duration::from_millis(200);
    peers.extend(cast::subscribers(chance, count, &manners, LagPolicy::Close, start));
    Scenario {
        seed,
        config,
        backlog_bytes_max: 1 << 20,
        workers: 1 + cast::below(chance, 2),
        faults: Faults::nasty(),
        canary: None,
        windows: (100, 6000),
        plan: Plan { ending, end: Duration::from_secs(6), ..plan(seed, 700) },
        peers,
    }
}
