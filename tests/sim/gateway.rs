//! Worlds with routes: shared streams of upstreams that flap, and requests that are passed on to
//! backends that fail.
//!
//! Invariants: as those of the other worlds.

use crate::cast;
use crate::cast::Peers;
use crate::worlds::config;
use crate::worlds::plan;
use std::time::Duration;
use tidegate::base::chance::Chance;
use tidegate::config::Config;
use tidegate::config::toml;
use tidegate::sim::faults::Faults;
use tidegate::sim::scenario::Scenario;
use tidegate::sim::script::Ending;
use tidegate::sim::script::Plan;

/// Nothing outside of a configuration.
struct Nothing;

impl toml::Outside for Nothing {
    fn file(&self, _: &str) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}

/// The configuration of the other worlds, with the routes of this text.
fn routed(text: &str) -> Config {
    let read = toml::load(text, &[], &Nothing);
    let read = read.unwrap_or_else(|problems| panic!("{text}\n{problems}"));
    Config { gateway: read.gateway, ..config() }
}

const UPSTREAMS: &str = r#"
[[upstream]]
name = "plain"
url = "http://10.2.0.1/s{rest}"
TERMS
[[upstream]]
name = "merged"
url = "http://10.2.0.2/rooms/{channel}"
multiplex = true
prefix_types = true
TERMS
[[route]]
path = "/up"
upstream = "plain"
[[route]]
path = "/rooms"
upstream = "merged"
"#;

/// What the clients of all upstreams get.
fn terms(strict: bool, drains: bool, chance: &mut Chance) -> String {
    let mut terms = "backoff_min = \"20ms\"\nbackoff_max = \"1s\"\nhead_timeout = \"1s\"\n\
                     idle_timeout = \"2s\"\nheartbeat = \"2s\"\n"
        .to_owned();
    if strict {
        terms.push_str("linger = \"40s\"\nhistory_events_max = 100000\n");
    } else {
        let (linger, kept) = (10 + chance.below(3000), 5 + chance.below(60));
        terms.push_str(&format!("linger = \"{linger}ms\"\nhistory_events_max = {kept}\n"));
        if chance.one_in(3) {
            terms.push_str(&format!("initial = {}\n", 1 + chance.below(5)));
        }
    }
    // Who has just been ended for its age was not told when to come back.
    if chance.one_in(4) && !drains {
        terms.push_str("age_max = \"2s\"\n");
    }
    terms
}

/// Upstreams that flap. In half of the worlds nothing may ever be missing: streams linger for
/// long, histories are large. In the others streams are closed, refused and opened again, and gaps
/// must be announced.
pub(crate) fn flapping(seed: u64) -> Scenario {
    let chance = &mut Chance::new(seed ^ 0xf1a);
    let strict = chance.one_in(2);
    let mut faults = if chance.one_in(4) { Faults::gentle() } else { Faults::nasty() };
    if strict {
        faults.leap = 0; // A leap is a linger.
    }
    let drains = chance.one_in(4);
    let mut config = routed(&UPSTREAMS.replace("TERMS", &terms(strict, drains, chance)));
    config.drain.period = Duration::from_secs(5);
    let prompt = !chance.one_in(4);
    // Who has just been refused was not told when to come back, either.
    let mut peers = cast::broadcasters(chance, !strict && !drains);
    let count = 2 + cast::below(chance, 8);
    peers.extend(cast::followers(chance, count, strict, prompt));
    let mut plan = Plan { end: Duration::from_secs(90), ..plan(seed, 2000) };
    if plan.heal && !strict {
        plan.settle = Duration::from_secs(90); // A refusal is remembered for 30 seconds.
    }
    if drains {
        (plan.ending, plan.end) = (Ending::Drain(config.drain.period), Duration::from_secs(6));
    }
    Scenario {
        seed,
        config,
        backlog_bytes_max: if prompt { 1 << 20 } else { 2000 },
        workers: 1 + cast::below(chance, 3),
        faults,
        canary: None,
        windows: (100, 8000),
        plan,
        peers,
    }
}

const BACKENDS: &str = r#"
[[backend]]
name = "app"
endpoints = ["http://10.2.0.1:80", "http://10.2.0.2:80"]
connect_timeout = "1s"
idle_timeout = "2s"
eject_time = "1s"
[[route]]
path = "/b"
backend = "app"
heartbeat = "200ms"
timeouts = { response_head = "2s", idle = "2s" }
"#;

/// Requests that are passed on to backends that cut, stall, refuse and close; clients that vanish.
pub(crate) fn relays(seed: u64) -> Scenario {
    let chance = &mut Chance::new(seed ^ 0xb1a);
    let retries = chance.below(3);
    let config = routed(&format!("{BACKENDS}retries = {retries}\n"));
    let fails = 10 + chance.below(100);
    let mut peers: Peers = cast::responders(chance, fails);
    let count = 2 + cast::below(chance, 8);
    peers.extend(cast::callers(chance, count));
    Scenario {
        seed,
        config,
        backlog_bytes_max: 1 << 20,
        workers: 1 + cast::below(chance, 2),
        faults: if chance.one_in(4) { Faults::gentle() } else { Faults::nasty() },
        canary: None,
        windows: (100, 8000),
        plan: plan(seed, 1200),
        peers,
    }
}
