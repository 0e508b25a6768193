//! Clients that die and come back under load lose nothing and get nothing twice.

use crate::common::Io;
use crate::common::server::Publisher;
use crate::common::server::Server;
use crate::common::stream::Stream;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use tidegate::base::chance::Chance;

crate::on_both_drivers!(clients_killed_and_back_again_lose_nothing);

const EVENTS: usize = 3000;
const CLIENTS: u64 = 24;

fn clients_killed_and_back_again_lose_nothing(io: Io) {
    let server = Server::start(io, "[hub]\nhistory_events_max = 100000\n");
    let done = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for seed in 0..CLIENTS {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                client(server, seed);
                done.fetch_add(1, Ordering::Relaxed);
            });
        }
        scope.spawn(|| {
            let mut publisher = Publisher::open(&server);
            for n in 1..=EVENTS {
                let id = n.to_string();
                let topic = if n % 2 == 0 { "even" } else { "odd" };
                publisher.publish(&[("topic", topic), ("id", &id), ("data", &id)]);
            }
        });
    });
    assert_eq!(done.load(Ordering::Relaxed), usize::try_from(CLIENTS).unwrap());
    server.await_clients(0);
}

/// Reads a random number of events, dies in a random way, and goes on from its last id.
fn client(server: &Server, seed: u64) {
    let mut chance = Chance::new(seed);
    // One in three follows one topic only.
    let narrow = seed.is_multiple_of(3);
    let (query, step) = if narrow { ("topic=even", 2) } else { ("topic=even&topic=odd", 1) };
    let (mut last, mut lives) = (0, 0);
    while last < EVENTS {
        lives += 1;
        let from = if last == 0 { "earliest".into() } else { last.to_string() };
        let fields = format!("Last-Event-ID: {from}\r\n");
        let mut stream = Stream::with(server, query, &fields);
        let life = 1 + chance.below(400);
        for _ in 0..life {
            let event = stream.event();
            assert_eq!(event.id.as_deref(), Some(event.data.as_str()));
            let id: usize = event.data.parse().unwrap();
            assert_eq!(id, last + step, "seed {seed}, life {lives}, resumed from {from}");
            last = id;
            if last == EVENTS {
                break;
            }
        }
        if chance.one_in(2) {
            stream.into_peer().reset();
        }
    }
    assert!(lives > 1, "seed {seed} never died");
}
