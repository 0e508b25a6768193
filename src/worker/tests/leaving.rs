//! What a turn leaves to be sent with the next one's sleep.

use super::World;
use super::data;
use super::get;
use super::stage::ask;
use crate::metrics::CloseReason;
use crate::metrics::Counter;
use crate::metrics::RelayEnd;

const BOTH: &str = r#"
[[backend]]
name = "app"
endpoints = ["http://10.9.0.1:80"]
[[route]]
path = "/.well-known/mercure"
hub = true
[[route]]
backend = "app"
"#;

const STREAM: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n";

/// Another worker may append an event after this one has left bytes of backends and before it
/// routes: then sends of both kinds go out together, and a short one is its own client's.
#[test]
fn sends_of_relays_and_to_subscribers_are_not_taken_for_each_other() {
    for stuck in [0, 1, 2, 3] {
        let mut world = World::toml(BOTH);
        let relays = [0, 1].map(|_| world.passing(&ask("/")));
        let readers = [0, 1].map(|_| world.connect(&get("topic=a")));
        let clients = [relays[0].0, relays[1].0, readers[0], readers[1]];
        relays.iter().for_each(|(_, backend)| world.say(*backend, STREAM));
        world.settle();
        for client in clients {
            world.heard(client);
            let room = if client == clients[stuck] { 3 } else { usize::MAX };
            world.ground.with(client, |peer| peer.room = room);
        }
        relays.iter().for_each(|(_, backend)| world.say(*backend, b"data: whole\n\n"));
        world.turn();
        world.tell(0, "a", "whole");
        let (now, site) = (world.now(), world.worker.site.clone());
        world.worker.groups.route(&site);
        world.worker.sweep(now);
        let left = &world.worker.left;
        assert_eq!((left.relayed.len(), left.batch.len()), (2, 2), "one call for all");
        world.settle();
        for client in clients {
            let (heard, is_stuck) = (world.heard(client), client == clients[stuck]);
            assert_eq!(heard, if is_stuck { "dat" } else { "data: whole\n\n" }, "{stuck}");
        }
        world.ground.with(clients[stuck], |peer| peer.room = usize::MAX);
        world.settle();
        assert_eq!(world.heard(clients[stuck]), "a: whole\n\n");
        // And all go on.
        relays.iter().for_each(|(_, backend)| world.say(*backend, b"data: next\n\n"));
        world.tell(0, "a", "next");
        world.settle();
        assert!(clients.iter().all(|client| data(&world.heard(*client)) == ["next"]), "{stuck}");
    }
}

#[test]
fn a_client_that_cannot_be_sent_to_is_gone_at_once() {
    let mut world = World::toml(BOTH);
    let (client, backend) = world.passing(&ask("/"));
    world.say(backend, STREAM);
    world.settle();
    world.say(backend, b"data: lost\n\n");
    world.turn();
    assert_eq!(world.worker.left.relayed.len(), 1);
    world.ground.with(client, |peer| peer.broken = true);
    world.turn();
    assert!(world.is_closed(client) && world.is_closed(backend));
    assert_eq!(world.ends(RelayEnd::ClientGone), 1);
    assert_eq!(world.counters.counter(Counter::Closed(CloseReason::PeerReset)), 1);
    world.check_empty();
}

/// Events for thousands of readers take a while to route.
#[test]
fn what_backends_said_does_not_wait_for_events_to_be_routed() {
    let mut world = World::toml(BOTH);
    let (client, backend) = world.passing(&ask("/"));
    let reader = world.connect(&get("topic=a"));
    world.say(backend, STREAM);
    world.settle();
    let _ = [client, reader].map(|peer| world.heard(peer));
    world.say(backend, b"data: token\n\n");
    world.tell(0, "a", "event");
    world.turn();
    assert_eq!((data(&world.heard(client)), data(&world.heard(reader))), (vec!["token"], vec![]));
    world.turn();
    assert_eq!(data(&world.heard(reader)), ["event"]);
}

/// Over its budget a worker reads no further in the log. What is left to be sent counts, and once
/// it is sent there is room: no time passes before the rest is read.
#[test]
fn a_budget_that_is_spent_by_what_is_left_does_not_delay_the_rest() {
    let mut world = World::new(|config| {
        config.limits.unsent_bytes_max = 1024;
        config.hub.lag_bytes_max = 1024;
    });
    let reader = world.connect(&get("topic=a"));
    world.settle();
    let (before, text) = (world.now(), "x".repeat(400));
    (0..8).for_each(|_| world.tell(0, "a", &text));
    let mut events = 0;
    while events < 8 {
        world.turn();
        events += world.heard(reader).matches("data: ").count();
        assert_eq!(world.now(), before, "{events} came before a sleep");
    }
}
