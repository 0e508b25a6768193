//! Tests of whole backends: shares, ejection, affinity, and names that resolve anew.

use super::*;
use crate::base::chance::Chance;
use crate::base::sync::Arc;
use crate::base::time::Moment;
use crate::config::gateway;
use crate::config::gateway::Affinity;
use crate::config::gateway::Balance;
use crate::config::gateway::Gateway;
use crate::config::gateway::Place;
use std::net::IpAddr;
use std::time::Duration;

const NOW: Moment = Moment::from_millis(1000);
const EJECT_TIME: Duration = Duration::from_secs(10);

/// A backend of `(host, weight)`, all on port 80.
fn backend(balance: Balance, hosts: &[(&str, u32)]) -> gateway::Backend {
    let endpoint = |(host, weight): &(&str, u32)| gateway::Endpoint {
        place: Place::Tcp((*host).to_owned(), 80),
        weight: *weight,
    };
    gateway::Backend {
        name: "api".into(),
        endpoints: hosts.iter().map(endpoint).collect(),
        tls: None,
        balance,
        affinity: None,
        eject_failures: 2,
        eject_time: EJECT_TIME,
        health: None,
        connect_timeout: Duration::from_secs(5),
        idle_connections_max: 8,
        idle_timeout: Duration::from_secs(60),
        resolve_interval: Duration::from_secs(30),
        delayed_acks: false,
    }
}

fn backends(backend: gateway::Backend) -> Arc<Backends> {
    Arc::new(Backends::new(&Gateway { backends: vec![backend], ..Gateway::default() }))
}

struct Worker {
    view: View,
    chance: Chance,
}

impl Worker {
    fn new(backends: &Arc<Backends>, seed: u64) -> Self {
        Self { view: View::new(Arc::clone(backends)), chance: Chance::new(seed) }
    }

    fn try_pick(&mut self, avoid: &[Arc<Endpoint>]) -> Result<Pick, PickError> {
        self.view.pick(0, NOW, &mut self.chance, None, avoid)
    }

    fn pick(&mut self) -> Pick {
        self.try_pick(&[]).unwrap()
    }

    fn sticky(&mut self, cookies: &str) -> Pick {
        self.view.pick(0, NOW, &mut self.chance, Some(cookies.as_bytes()), &[]).unwrap()
    }

    /// How many of `picks` went to each of the hosts.
    fn shares<const N: usize>(&mut self, hosts: [&str; N], picks: usize) -> [usize; N] {
        let mut shares = [0; N];
        for _ in 0..picks {
            let host = host(&self.pick());
            shares[hosts.iter().position(|h| *h == host).unwrap()] += 1;
        }
        shares
    }
}

fn host(pick: &Pick) -> String {
    match pick.endpoint.address() {
        Address::Tcp(address) => address.ip().to_string(),
        Address::Unix(path) => path.display().to_string(),
    }
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|t| t.parse().unwrap()).collect()
}

const A: &str = "10.0.0.1";
const B: &str = "10.0.0.2";
const C: &str = "10.0.0.3";

#[test]
fn turns_follow_weights_and_are_spread() {
    let backends = backends(backend(Balance::RoundRobin, &[(A, 3), (B, 1), (C, 0)]));
    for seed in 0..20 {
        let mut worker = Worker::new(&backends, seed);
        let [a, b, c] = worker.shares([A, B, C], 400);
        assert!(a.abs_diff(300) <= 1 && b.abs_diff(100) <= 1 && c == 0, "{a} {b} {c}");
        // Smooth: in any four turns in a row the light one has exactly one.
        for _ in 0..20 {
            assert_eq!(worker.shares([A, B], 4), [3, 1]);
        }
    }
}

#[test]
fn workers_do_not_march_in_step() {
    let backends = backends(backend(Balance::RoundRobin, &[(A, 1), (B, 1), (C, 1)]));
    let mut firsts = [0; 3];
    for seed in 0..300 {
        let first = Worker::new(&backends, seed).shares([A, B, C], 1);
        firsts.iter_mut().zip(first).for_each(|(sum, n)| *sum += n);
    }
    assert!(firsts.iter().all(|n| (60..140).contains(n)), "{firsts:?}");
}

#[test]
fn the_idle_one_of_two_is_preferred() {
    let backends = backends(backend(Balance::LeastRequest, &[(A, 1), (B, 1)]));
    let (mut one, mut other) = (Worker::new(&backends, 1), Worker::new(&backends, 2));
    let busy = one.pick();
    let idle = if host(&busy) == A { B } else { A };
    assert_eq!(other.shares([idle], 50), [50], "other workers' requests count");
    drop(busy);
    assert!(other.shares([A, B], 200).iter().all(|n| (60..140).contains(n)), "nobody is busy");
}

#[test]
fn requests_in_flight_follow_weights() {
    let backends = backends(backend(Balance::LeastRequest, &[(A, 3), (B, 1), (C, 0)]));
    let mut worker = Worker::new(&backends, 1);
    let held: Vec<_> = (0..400).map(|_| worker.pick()).collect();
    let count = |h: &str| held.iter().filter(|p| host(p) == h).count();
    assert!((280..320).contains(&count(A)) && count(C) == 0, "{}", count(A));
    let in_flight = |s: &Seat| s.endpoint.in_flight() as usize;
    assert_eq!(backends.seats(0).iter().map(in_flight).sum::<usize>(), 400);
    drop(held);
    assert_eq!(backends.seats(0).iter().map(in_flight).sum::<usize>(), 0);
}

#[test]
fn an_ejected_endpoint_is_left_alone_and_returns() {
    for balance in [Balance::RoundRobin, Balance::LeastRequest] {
        let backends = backends(backend(balance, &[(A, 1), (B, 1)]));
        let mut worker = Worker::new(&backends, 1);
        let bad = backends.seats(0)[0].endpoint.clone();
        assert!(!bad.failed(NOW) && bad.failed(NOW));
        assert_eq!(worker.shares([B], 20), [20]);
        let mut back = Worker::new(&backends, 1);
        let mut at = |now| host(&back.view.pick(0, now, &mut back.chance, None, &[]).unwrap());
        assert!((0..20).any(|_| at(NOW.after(EJECT_TIME)) == A), "its time is over");
        bad.succeeded();
        assert!(worker.shares([A, B], 40)[0] > 5, "a success ends it at once");
    }
}

#[test]
fn if_all_are_ejected_all_are_used_but_unhealthy_ones_never() {
    let backends = backends(backend(Balance::RoundRobin, &[(A, 1), (B, 1), (C, 1)]));
    let mut worker = Worker::new(&backends, 1);
    let seats = backends.seats(0);
    for seat in &seats {
        seat.endpoint.failed(NOW);
        assert!(seat.endpoint.failed(NOW));
    }
    let shares = worker.shares([A, B, C], 30);
    assert!(shares.iter().all(|n| n.abs_diff(10) <= 1), "{shares:?}");
    seats[0].endpoint.set_health(Health::Unhealthy);
    let [b, c] = worker.shares([B, C], 30);
    assert!(b.abs_diff(15) <= 1 && c.abs_diff(15) <= 1);
    for seat in &seats {
        seat.endpoint.set_health(Health::Unhealthy);
    }
    let error = worker.try_pick(&[]).unwrap_err();
    assert_eq!(error, PickError::NoneHealthy { backend: "api".into() });
    seats[2].endpoint.set_health(Health::Healthy);
    assert_eq!(worker.shares([C], 5), [5]);
}

#[test]
fn what_was_tried_is_avoided_while_there_is_another() {
    let backends = backends(backend(Balance::RoundRobin, &[(A, 1), (B, 1)]));
    let mut worker = Worker::new(&backends, 1);
    for _ in 0..10 {
        let first = worker.pick();
        let second = worker.try_pick(std::slice::from_ref(&first.endpoint)).unwrap();
        assert_ne!(host(&first), host(&second));
        let tried = [first.endpoint.clone(), second.endpoint.clone()];
        assert!(worker.try_pick(&tried).is_ok(), "a second try beats none");
    }
    // One that was tried is better than one that is known to fail.
    let [good, bad] = [0, 1].map(|n| backends.seats(0)[n].endpoint.clone());
    bad.failed(NOW);
    bad.failed(NOW);
    assert!(Arc::ptr_eq(&worker.try_pick(std::slice::from_ref(&good)).unwrap().endpoint, &good));
}

fn sticky_backend() -> gateway::Backend {
    let affinity = Affinity { cookie: "stick".into(), max_age: Duration::from_secs(60) };
    gateway::Backend {
        affinity: Some(affinity),
        ..backend(Balance::RoundRobin, &[(A, 1), (B, 1), (C, 1)])
    }
}

/// The pair that a browser sends after the response.
fn kept(pick: &Pick) -> String {
    pick.set_cookie.as_ref().unwrap().split(';').next().unwrap().to_owned()
}

#[test]
fn affinity_is_set_once_and_holds_on_all_workers_and_over_restarts() {
    let first = Worker::new(&backends(sticky_backend()), 1).pick();
    let cookies = format!("other=1; {}; more=2", kept(&first));
    for seed in 0..20 {
        let restarted = backends(sticky_backend());
        let mut worker = Worker::new(&restarted, seed);
        worker.pick();
        let again = worker.sticky(&cookies);
        assert_eq!((host(&again), &again.set_cookie), (host(&first), &None));
    }
    // The value is part of what clients keep: it must not change between versions.
    let a = Address::Tcp(format!("{A}:80").parse().unwrap());
    assert_eq!(format!("{:016x}", a.token()), "529f5a4b643fa605");
    assert!(!cookies.contains("10.0.0"));
}

#[test]
fn affinity_to_an_endpoint_that_fails_or_is_unknown_is_set_anew() {
    let backends = backends(sticky_backend());
    let mut worker = Worker::new(&backends, 1);
    let first = worker.pick();
    let cookies = kept(&first);
    first.endpoint.set_health(Health::Unhealthy);
    let moved = worker.sticky(&cookies);
    assert_ne!(host(&moved), host(&first));
    assert_eq!(host(&worker.sticky(&kept(&moved))), host(&moved));
    first.endpoint.set_health(Health::Healthy);
    assert_eq!(host(&worker.sticky(&cookies)), host(&first));
    for unknown in ["stick=0000000000000001", "stick=x", "", "stick"] {
        assert!(worker.sticky(unknown).set_cookie.is_some(), "{unknown}");
    }
}

#[test]
fn a_view_sees_what_was_published_and_endpoints_that_stay_keep_their_state() {
    let backends = backends(backend(Balance::RoundRobin, &[("api.test", 1), ("b.test", 1)]));
    let mut worker = Worker::new(&backends, 1);
    let pending = PickError::Pending { backend: "api".into() };
    assert_eq!(worker.try_pick(&[]).unwrap_err(), pending);
    assert!(backends.looked_up("b.test", Err("SERVFAIL")));
    assert!(!backends.looked_up("b.test", Err("SERVFAIL")), "nothing new");
    assert_eq!(worker.try_pick(&[]).unwrap_err(), pending, "the other may succeed yet");
    backends.looked_up("api.test", Err("timed out"));
    let error = worker.try_pick(&[]).unwrap_err();
    assert!(matches!(&error, PickError::Unresolved { cause, .. } if &**cause == "timed out"));
    assert!(!backends.looked_up("other.test", Ok(&ips(&[A]))), "nobody wants it");

    assert!(backends.looked_up("api.test", Ok(&ips(&[A, B, A]))));
    assert!(!backends.looked_up("api.test", Ok(&ips(&[B, A]))), "the order means nothing");
    assert_eq!(worker.shares([A, B], 10), [5, 5]);
    let held: Vec<_> = (0..4).map(|_| worker.pick()).collect();
    let (on_a, on_b): (Vec<_>, Vec<_>) = held.into_iter().partition(|p| host(p) == A);
    on_b[0].endpoint.failed(NOW);

    backends.looked_up("api.test", Ok(&ips(&[B, C])));
    assert_eq!(worker.shares([B, C], 40).iter().sum::<usize>(), 40, "A is gone");
    assert_eq!(on_a[0].endpoint.in_flight(), 2, "its requests go on");
    drop(on_a);
    let b = &backends.seats(0)[0].endpoint;
    assert!(Arc::ptr_eq(b, &on_b[0].endpoint));
    assert_eq!((b.in_flight(), b.failures()), (2, 1));

    assert!(backends.looked_up("api.test", Err("SERVFAIL")));
    assert!(backends.looked_up("api.test", Ok(&[])));
    assert_eq!(worker.shares([B, C], 10).iter().sum::<usize>(), 10, "the last good ones");
}

#[test]
fn a_name_with_many_addresses_does_not_outweigh_one_with_few() {
    let backends = backends(backend(Balance::RoundRobin, &[("many.test", 1), ("one.test", 1)]));
    backends.looked_up("many.test", Ok(&ips(&[A, B])));
    backends.looked_up("one.test", Ok(&ips(&[C])));
    let mut worker = Worker::new(&backends, 3);
    let [a, b, c] = worker.shares([A, B, C], 400);
    assert!(a.abs_diff(100) <= 1 && b.abs_diff(100) <= 1 && c.abs_diff(200) <= 1);
    // The same address from two places is one endpoint with both shares.
    backends.looked_up("one.test", Ok(&ips(&[B])));
    let [a, b] = worker.shares([A, B], 400);
    assert!(a.abs_diff(100) <= 2 && b.abs_diff(300) <= 2, "{a} {b}");
    assert_eq!(backends.seats(0).len(), 2);
}

#[test]
fn an_answer_has_a_limit() {
    let backends = backends(backend(Balance::RoundRobin, &[("api.test", 1)]));
    let many: Vec<_> = (0..=255).map(|n| IpAddr::from([10, 0, 0, n])).collect();
    backends.looked_up("api.test", Ok(&many));
    assert_eq!(backends.seats(0).len(), roster::ADDRESSES_MAX);
}

#[test]
fn names_are_wanted_once_at_their_shortest_interval() {
    let mut one =
        backend(Balance::RoundRobin, &[("a.test", 1), ("b.test", 1), (A, 1), ("[::1]", 1)]);
    let two = backend(Balance::RoundRobin, &[("a.test", 1)]);
    one.resolve_interval = Duration::from_secs(60);
    let gateway = Gateway { backends: vec![one, two], ..Gateway::default() };
    let wanted: Vec<_> = Backends::new(&gateway)
        .wanted()
        .into_iter()
        .map(|w| (w.host, w.interval.as_secs()))
        .collect();
    assert_eq!(wanted, [("a.test".to_owned(), 30), ("b.test".to_owned(), 60)]);
}

#[test]
fn nothing_to_choose_from_has_its_reason() {
    let backends = backends(backend(Balance::LeastRequest, &[(A, 0)]));
    let mut worker = Worker::new(&backends, 1);
    let weightless = PickError::Weightless { backend: "api".into() };
    assert_eq!(worker.try_pick(&[]).unwrap_err(), weightless);
    let error = worker.view.pick(7, NOW, &mut worker.chance, None, &[]).unwrap_err();
    assert_eq!(error, PickError::NoSuch { index: 7 });
}

#[test]
fn the_report_has_a_line_for_each_name_and_endpoint() {
    let backends = backends(backend(Balance::RoundRobin, &[(A, 2), ("api.test", 1)]));
    backends.looked_up("api.test", Ok(&ips(&["::1", B])));
    backends.looked_up("api.test", Err("no answer"));
    let seats = backends.seats(0);
    seats[1].endpoint.failed(NOW);
    seats[1].endpoint.failed(NOW);
    seats[1].endpoint.note(&"once");
    seats[1].endpoint.note(&"broke off");
    seats[2].endpoint.set_health(Health::Unhealthy);
    let _pick = Worker::new(&backends, 1).pick();
    assert_eq!(
        backends.report(NOW),
        "backend=api name=api.test:80 addresses=2 lookup=failed cause=\"no answer\"\n\
         backend=api endpoint=10.0.0.1:80 state=serving health=unknown weight=2.00 in_flight=1 \
         failures=0 ejected_for=0ms\n\
         backend=api endpoint=10.0.0.2:80 state=ejected health=unknown weight=0.50 in_flight=0 \
         failures=2 ejected_for=10000ms last_error=\"broke off\"\n\
         backend=api endpoint=[::1]:80 state=unhealthy health=unhealthy weight=0.50 in_flight=0 \
         failures=0 ejected_for=0ms\n"
    );
    assert_eq!(Backends::new(&Gateway::default()).report(NOW), "There are no backends.\n");
}

/// Whatever happens, a pick is one that may be made, and counts come back to zero.
#[test]
fn random_lives_keep_the_rules() {
    for seed in 0..40 {
        let mut dice = Chance::new(seed);
        let balance = if dice.one_in(2) { Balance::RoundRobin } else { Balance::LeastRequest };
        let weights = [dice.below(4), dice.below(4)].map(|w| u32::try_from(w).unwrap());
        let hosts = [("a.test", weights[0]), ("b.test", weights[1])];
        let backends = backends(backend(balance, &hosts));
        let mut workers = [1, 2].map(|n| Worker::new(&backends, seed * 2 + n));
        let mut held = Vec::new();
        for step in 0..400 {
            let now = Moment::from_millis(step * 500);
            let seats = backends.seats(0);
            match dice.below(6) {
                0 => {
                    let n = usize::try_from(dice.below(4)).unwrap();
                    let all = ips(&[A, B, C]);
                    let host = hosts[usize::try_from(dice.below(2)).unwrap()].0;
                    backends.looked_up(host, Ok(&all[..n.min(3)]));
                }
                1 if !seats.is_empty() => {
                    let n = usize::try_from(dice.below(seats.len() as u64)).unwrap();
                    let health = [Health::Unhealthy, Health::Healthy][usize::from(dice.one_in(2))];
                    seats[n].endpoint.set_health(health);
                }
                2 if !held.is_empty() => {
                    let n = usize::try_from(dice.below(held.len() as u64)).unwrap();
                    let pick: Pick = held.swap_remove(n);
                    if dice.one_in(2) {
                        pick.endpoint.failed(now);
                    } else {
                        pick.endpoint.succeeded();
                    }
                }
                _ => {
                    let worker = &mut workers[usize::try_from(dice.below(2)).unwrap()];
                    let picked = worker.view.pick(0, now, &mut worker.chance, None, &[]);
                    let may = |s: &&Seat| s.weight > 0 && s.endpoint.health() != Health::Unhealthy;
                    match picked {
                        Ok(pick) => {
                            let is = |s: &Seat| Arc::ptr_eq(&s.endpoint, &pick.endpoint);
                            let calm = |s: &Seat| s.endpoint.ejected_for(now).is_zero();
                            let seat = seats.iter().filter(may).find(|s| is(s)).unwrap();
                            assert!(calm(seat) || !seats.iter().filter(may).any(calm));
                            held.push(pick);
                        }
                        Err(_) => assert_eq!(seats.iter().filter(may).count(), 0),
                    }
                }
            }
        }
        drop(held);
        assert!(backends.seats(0).iter().all(|s| s.endpoint.in_flight() == 0));
    }
}

#[test]
fn a_host_names_its_port_only_if_it_is_not_the_schemes() {
    let backends = backends(backend(Balance::RoundRobin, &[(A, 1)]));
    assert_eq!(&*backends.seats(0)[0].host, "10.0.0.1");
}

#[test]
fn what_has_no_weight_is_shown_so() {
    let report = backends(backend(Balance::RoundRobin, &[(A, 0)])).report(NOW);
    assert!(report.contains(" state=weightless "), "{report}");
}

#[test]
fn a_name_without_weight_is_not_waited_for() {
    let backends = backends(backend(Balance::RoundRobin, &[("a.test", 0)]));
    let weightless = PickError::Weightless { backend: "api".into() };
    assert_eq!(Worker::new(&backends, 1).try_pick(&[]).unwrap_err(), weightless);
}

#[test]
fn a_look_up_leaves_the_turns_as_they_are() {
    let backends =
        backends(backend(Balance::RoundRobin, &[("10.0.0.1", 1), ("10.0.0.2", 1), ("x.test", 1)]));
    let mut worker = Worker::new(&backends, 1);
    let mut seen = std::collections::BTreeMap::new();
    for round in 0..60_u8 {
        backends.looked_up("x.test", Ok(&[IpAddr::from([10, 1, 0, round])]));
        *seen.entry(worker.pick().endpoint.address().to_string()).or_insert(0) += 1;
    }
    assert!(
        ["10.0.0.1:80", "10.0.0.2:80"].iter().all(|a| seen.get(*a).is_some_and(|n| *n > 10)),
        "{seen:?}"
    );
}
