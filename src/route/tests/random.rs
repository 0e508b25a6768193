//! Random small models and requests: the router finds what the walk finds.
//!
//! A failing seed is printed; this runs it alone:
//! `ROUTE_SEED=<seed> cargo test --lib route::tests::random`.

use super::{found, gateway, head, listener, route, walk};
use crate::base::chance::Chance;
use crate::base::map::Hasher;
use crate::config::gateway::Gateway;
use crate::config::unserved;
use crate::route::Router;

const SEEDS: u64 = 1_000;
const REQUESTS: usize = 40;

const NAMES: [&str; 9] =
    ["", "x", "a.x", "b.a.x", "*.x", "*.a.x", "*.b.a.x", "*.c.b.a.x", "c.b.a.x"];
const LISTENERS: [&str; 7] = ["", "", "*.x", "*.x", "*.a.x", "b.a.x", "*.b.a.x"];
const PATHS: [&str; 14] = [
    "/", "/a", "/a/b", "/a/b/c", "/b", "/b/", "=/a", "=/a/b", "=/", "=/a/", "~/a.*", "~.*b",
    "~/[ab]/b", "~/a|/a/b",
];
const METHODS: [&str; 6] = ["", "", "", "", "GET", "PUT"];
const FIELDS: [&str; 6] = ["", "", "", "h:1", "h:1,2", "h:~1.*"];
const MORE_FIELDS: [&str; 6] = ["", "", "", "", "i:1", "j:1"];
const QUERIES: [&str; 6] = ["", "", "", "?a=1", "?a=~1|2", "?b="];
const MORE_QUERIES: [&str; 5] = ["", "", "", "", "?c=1"];

const HOSTS: [&str; 13] = [
    "x",
    "a.x",
    "b.a.x",
    "B.a.X:80",
    "c.b.a.x",
    "d.c.b.a.x",
    "y.x",
    "y",
    "xx",
    "a.x.",
    ".x",
    "[::1]:8",
    "z.y.a.x",
];
const TARGETS: [&str; 13] = [
    "/", "/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/a//b", "/b", "/b/b", "/ab", "//a", "/a/bc",
    "/%61",
];
const ASKED: [&str; 10] =
    ["", "?a=1", "?a=2&a=1", "?a=%31&c=1", "?b", "?b=&a=1", "?c=1&b", "?%61=1", "?a=+1", "?a=12"];
const SENT: [&str; 7] = ["", "h:1", "H:1 h:2", "h:1,2 i:1", "i:1 j:1", "h:2 h:1", "h:1 i:1 j:1"];

fn pick<'t>(chance: &mut Chance, from: &[&'t str]) -> &'t str {
    from[usize::try_from(chance.below(from.len() as u64)).unwrap()]
}

fn some(chance: &mut Chance, bound: u64) -> usize {
    usize::try_from(chance.below(bound)).unwrap()
}

fn model(chance: &mut Chance) -> Gateway {
    let mut listeners = Vec::new();
    for _ in 0..=some(chance, 4) {
        let port = if chance.one_in(3) { 81 } else { 80 };
        let new = listener(port, pick(chance, &LISTENERS));
        // Two listeners that are equal are refused before a router is made.
        if !listeners.contains(&new) {
            listeners.push(new);
        }
    }
    let mut routes = Vec::new();
    for _ in 0..=some(chance, 8) {
        let on: Vec<usize> = (0..listeners.len()).filter(|_| !chance.one_in(4)).collect();
        let names = if chance.one_in(3) { 0 } else { 4 };
        let hosts: Vec<_> = (0..names).map(|_| pick(chance, &NAMES)).collect();
        let rules: Vec<_> = (0..=some(chance, 4))
            .map(|_| {
                let one = |chance: &mut Chance| {
                    let lists: [&[&str]; 6] =
                        [&PATHS, &METHODS, &FIELDS, &MORE_FIELDS, &QUERIES, &MORE_QUERIES];
                    lists.map(|list| pick(chance, list)).join(" ")
                };
                let matches: Vec<_> = (0..=some(chance, 3)).map(|_| one(chance)).collect();
                matches.join(" | ")
            })
            .collect();
        let rules: Vec<_> = rules.iter().map(|matches| (matches.as_str(), "")).collect();
        routes.push(route(&on, &hosts.join(" "), &rules));
    }
    gateway(&listeners, &routes)
}

fn request(chance: &mut Chance) -> String {
    let method = pick(chance, &["GET", "GET", "PUT"]);
    let host = pick(chance, &HOSTS);
    let (target, asked) = (pick(chance, &TARGETS), pick(chance, &ASKED));
    format!("{method} {host}{target}{asked} {}", pick(chance, &SENT))
}

#[test]
#[allow(clippy::disallowed_methods, reason = "a seed to replay comes from outside")]
fn the_tables_find_what_a_walk_finds() {
    let one = std::env::var("ROUTE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = one.map_or(0..SEEDS, |seed: u64| seed..seed + 1);
    let (mut rules, mut none) = (0_u32, 0_u32);
    for seed in seeds {
        let mut chance = Chance::new(seed);
        let gateway = model(&mut chance);
        let router = Router::new(&gateway, &Hasher::new(seed));
        for _ in 0..REQUESTS {
            let request = request(&mut chance);
            let head = head(&request);
            for (index, address) in router.addresses().iter().enumerate() {
                let got = found(&router, index, &head).map(|m| (m.id(), m.prefix_bytes()));
                let want = walk::serves(&gateway, *address, &head);
                let replay = || format!("ROUTE_SEED={seed}: {request} at {address} {gateway:#?}");
                assert_eq!(got, want, "{}", replay());
                if got.is_some() { rules += 1 } else { none += 1 }
            }
        }
    }
    // Models that serve everything or nothing prove nothing.
    assert!(one.is_some() || rules > 10_000 && none > 10_000, "{rules} found, {none} not");
}

#[test]
fn what_a_warning_calls_covered_serves_nothing() {
    let mut count = 0;
    for seed in 0..SEEDS {
        let mut chance = Chance::new(seed);
        let whole = model(&mut chance);
        let (less, covered) = unserved::without_covered(&whole);
        count += covered;
        let [whole, less] = [&whole, &less].map(|model| Router::new(model, &Hasher::new(seed)));
        for _ in 0..REQUESTS {
            let request = request(&mut chance);
            let head = head(&request);
            for address in 0..whole.addresses().len() {
                let [whole, less] = [&whole, &less]
                    .map(|one| found(one, address, &head).map(|m| (m.id(), m.prefix_bytes())));
                assert_eq!(whole, less, "{seed}: {request}");
            }
        }
    }
    assert!(count > 300, "{count} matches were called covered");
}
