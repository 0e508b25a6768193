//! Simulation: whole workers over the simulated driver, each world decided by one seed.
//!
//! | variable | meaning |
//! |---|---|
//! | `TIDEGATE_SIM_SEED=n` | play only this seed |
//! | `TIDEGATE_SIM_SEEDS=n` | play so many seeds per world instead of 64 |
//! | `TIDEGATE_SIM_FROM=n` | begin with this seed |
//!
//! A failing seed prints the command that plays it again.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, prints what it found, and reads its own variables"
)]

mod canaries;
mod cast;
mod gateway;
mod worlds;

use tidegate::sim::scenario::Scenario;

/// Seeds per world in a plain run: six worlds make 384.
const SEEDS: u64 = 64;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Plays a world with many seeds; fails with the first that does.
fn play(world: &str, make: fn(u64) -> Scenario) {
    let first = variable("TIDEGATE_SIM_FROM").unwrap_or(0);
    let count = variable("TIDEGATE_SIM_SEEDS").unwrap_or(SEEDS);
    let seeds = match variable("TIDEGATE_SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => first..first + count,
    };
    let (mut steps, mut events) = (0, 0);
    for seed in seeds {
        let outcome = make(seed).play();
        if let Some(failure) = outcome.failure {
            panic!(
                "world `{world}`, seed {seed}, {failure}\n\
                 replay: TIDEGATE_SIM_SEED={seed} cargo test --test sim {world}"
            );
        }
        steps += outcome.steps;
        events += outcome.events;
    }
    eprintln!("{world}: {steps} steps, {events} events");
    assert!(events > 0, "a world without events proves nothing");
}

#[test]
fn fan_out() {
    play("fan_out", worlds::fan_out);
}

#[test]
fn resume() {
    play("resume", worlds::resume);
}

#[test]
fn slow_clients() {
    play("slow_clients", worlds::slow_clients);
}

#[test]
fn drain() {
    play("drain", worlds::drain);
}

#[test]
fn flapping() {
    play("flapping", gateway::flapping);
}

#[test]
fn relays() {
    play("relays", gateway::relays);
}
