//! Descriptors run out: the server sheds load, serves those it has, and recovers.

use crate::common::Io;
use crate::common::eventually;
use crate::common::peer::Peer;
use crate::common::server::HUB;
use crate::common::server::Publisher;
use crate::common::server::Server;
use crate::common::stream::Stream;
use std::time::Duration;

crate::on_both_drivers!(running_out_of_descriptors_sheds_and_recovers);

const FILES: u32 = 128;

/// More connections allowed than there are descriptors.
const SETTINGS: &str = "[limits]\nconnections_max = 100000\nhead_timeout = \"60s\"\n";

fn connect(server: &Server) -> Peer {
    Peer::connect(server.address)
}

fn running_out_of_descriptors_sheds_and_recovers(io: Io) {
    let server = Server::start_limited(io, SETTINGS, Some(FILES));
    let mut stream = Stream::open(&server, "topic=a");
    idle_connections_make_room(&server, &mut stream);
    clients_stay_and_are_served(&server, &mut stream);
    let mut again = eventually("a new client is served", || {
        Stream::try_over(connect(&server), "topic=a", "").ok()
    });
    server.publish(&[("topic", "a"), ("data", "after")]);
    assert_eq!((stream.data(), again.data()), ("after".into(), "after".into()));
    let shed = server.metric("tidegate_accept_failures_total", "cause=\"descriptors\"");
    assert!(shed > 0.0, "the shedding is counted");
}

/// A crowd that says nothing does not lock out those who have something to say.
fn idle_connections_make_room(server: &Server, stream: &mut Stream) {
    // The kernel completes these whether the server takes them or not.
    let crowd: Vec<_> = (0..FILES * 2).map(|_| connect(server)).collect();
    for n in 0..10 {
        let data = n.to_string();
        eventually("a publish gets through", || {
            let answer = Publisher::open(server).try_post(&[("topic", "a"), ("data", &data)])?;
            assert_eq!(answer.status, 200);
            Some(())
        });
        assert_eq!(stream.data(), data);
    }
    drop(crowd);
}

/// Clients are not idle: when they take all descriptors, new ones wait and the old are served.
fn clients_stay_and_are_served(server: &Server, stream: &mut Stream) {
    let body = "topic=a&data=full";
    let kind = "Content-Type: application/x-www-form-urlencoded";
    let head = format!("POST {HUB} HTTP/1.1\r\nHost: h\r\n{kind}\r\n");
    let mut publisher = connect(server);
    // In the middle of a request, so not idle either.
    publisher.send(format!("{head}Content-Length: {}\r\n", body.len()));
    let mut crowd: Vec<_> = (0..FILES + 60).map(|_| connect(server)).collect();
    for peer in &mut crowd {
        peer.try_send(format!("GET {HUB}?topic=b HTTP/1.1\r\nHost: h\r\n\r\n"));
    }
    let mut served = 0;
    eventually("most descriptors are taken", || {
        let got = |peer: &mut Peer| peer.fill_within(Duration::from_millis(1)) > 0;
        served += crowd.iter_mut().filter_map(|peer| got(peer).then_some(())).count();
        (served > 50).then_some(())
    });
    publisher.send(format!("\r\n{body}"));
    assert_eq!(publisher.response().status, 200);
    assert_eq!(stream.data(), "full");
}
