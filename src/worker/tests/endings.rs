//! Every connection ends once, and what it held is given back.

use super::World;
use super::data;
use super::get;
use crate::base::phase::Phase;
use crate::metrics::CloseReason;
use crate::metrics::Counter;
use crate::metrics::Gauge;
use crate::worker::Progress;

#[test]
fn a_client_that_goes_is_closed_once() {
    let mut world = World::new(|_| {});
    let client = world.connect(&get("topic=a"));
    world.settle();
    assert_eq!((world.worker.clients(), world.gauge(Gauge::Clients)), (1, 1));
    world.ground.with(client, |peer| peer.ended = true);
    world.settle();
    assert_eq!(world.counters.counter(Counter::Closed(CloseReason::PeerGone)), 1);
    world.check_empty();
    world.pass(15_000); // Timers that are stale by now come up once.
    let before = world.now().millis();
    world.turn();
    assert_eq!(world.now().millis() - before, 5000, "only the history's age wakes it");
}

#[test]
fn a_client_that_stalls_gets_the_rest_or_a_reset() {
    let mut world = World::new(|_| {});
    let (slow, stalled) = (world.connect(&get("topic=a")), world.connect(&get("topic=a")));
    world.settle();
    for socket in [slow, stalled] {
        world.heard(socket);
        world.ground.with(socket, |peer| peer.room = 5);
    }
    world.publish("a", "one");
    world.publish("a", "two");
    world.pass(20_000);
    world.ground.with(slow, |peer| peer.room = usize::MAX);
    world.pass(11_000);
    assert_eq!(data(&world.heard(slow)), ["one", "two"]);
    assert!(world.ground.with(stalled, |peer| peer.reset && peer.closed));
    assert!(!world.is_closed(slow));
    assert_eq!(world.counters.counter(Counter::Closed(CloseReason::WriteTimeout)), 1);
    assert_eq!(world.worker.unsent_bytes(), 0);
}

#[test]
fn silent_clients_get_heartbeats_spread_over_the_end_of_the_period() {
    let mut world = World::new(|_| {});
    let clients: Vec<i32> = (0..50).map(|_| world.connect(&get("topic=a"))).collect();
    world.settle();
    for client in &clients {
        world.heard(*client);
    }
    world.pass(11_000);
    let spoken = |world: &World| {
        let silent = |client: &&i32| world.ground.with(**client, |peer| peer.output.is_empty());
        clients.iter().filter(|client| !silent(client)).count()
    };
    assert_eq!(spoken(&world), 0);
    world.pass(2500);
    assert!((5..45).contains(&spoken(&world)), "{}", spoken(&world));
    world.pass(3000);
    assert_eq!(spoken(&world), 50);
    assert!(clients.iter().all(|client| world.heard(*client) == ":\n"));
}

#[test]
fn a_drain_ends_clients_over_its_period_and_then_everything() {
    let mut world = World::new(|_| {});
    let clients: Vec<i32> = (0..100).map(|_| world.connect(&get("topic=a"))).collect();
    let idle = world.connect(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    world.settle();
    world.publish("a", "last");
    world.phase.advance(Phase::Draining);
    let begin = world.now().millis();
    world.turn();
    assert!(!world.ground.listening.get());
    world.pass(150_000);
    let ended = clients.iter().filter(|client| world.is_closed(**client)).count();
    assert!((30..70).contains(&ended), "{ended} of 100 at half time");
    assert!(!world.is_closed(idle), "publishers come last");
    while world.turn() == Progress::Running {
        assert!(world.now().millis() < begin + 310_000, "the deadline");
    }
    for client in clients {
        let heard = world.heard(client);
        assert_eq!(data(&heard), ["last"]);
        let retry = heard.lines().rev().find(|line| !line.is_empty()).unwrap();
        assert!(retry.starts_with("retry: "), "{retry}");
        assert!(heard.ends_with('\n'));
    }
    let closed = |reason| world.counters.counter(Counter::Closed(reason));
    // The publisher's own time may be over before the last client's.
    let (drained, waited) = (closed(CloseReason::Drained), closed(CloseReason::KeepAliveTimeout));
    assert!(drained >= 100 && drained + waited == 101, "{drained} and {waited}");
    world.check_empty();
}

#[test]
fn the_second_signal_ends_it_at_once() {
    let mut world = World::new(|_| {});
    world.connect(&get("topic=a"));
    world.connect(b"POST");
    world.settle();
    world.phase.advance(Phase::Draining);
    world.turn();
    world.connect(b"");
    world.phase.advance(Phase::Closed);
    assert_eq!(world.turn(), Progress::Done);
    assert_eq!(world.counters.counter(Counter::Closed(CloseReason::DrainDeadline)), 3);
    world.check_empty();
}
