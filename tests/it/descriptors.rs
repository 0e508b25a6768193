//! Descriptors run out: the server sheds load, serves those it has, and recovers.

use crate::common::Io;
use crate::common::eventually;
use crate::common::peer::Peer;
use crate::common::server::Publisher;
use crate::common::server::Server;
use crate::common::stream::Stream;

crate::on_both_drivers!(running_out_of_descriptors_sheds_and_recovers);

const FILES: u32 = 128;

fn running_out_of_descriptors_sheds_and_recovers(io: Io) {
    // More connections allowed than there are descriptors.
    let settings = "[limits]\nconnections_max = 100000\n";
    let server = Server::start_limited(io, settings, Some(FILES));
    let mut stream = Stream::open(&server, "topic=a");
    let mut publisher = Publisher::open(&server);
    publisher.publish(&[("topic", "a"), ("data", "before")]);
    assert_eq!(stream.data(), "before");

    // The kernel completes these whether the server takes them or not.
    let crowd: Vec<_> = (0..FILES + 100).map(|_| Peer::connect(server.address)).collect();
    for n in 0..20 {
        let data = n.to_string();
        publisher.publish(&[("topic", "a"), ("data", &data)]);
        assert_eq!(stream.data(), data, "those who are in are served");
    }
    drop(crowd);

    let mut again = eventually("a new client is served", || {
        let peer = Peer::connect(server.address);
        Stream::try_over(peer, "topic=a", "").ok()
    });
    publisher.publish(&[("topic", "a"), ("data", "after")]);
    assert_eq!((stream.data(), again.data()), ("after".into(), "after".into()));
    let shed = server.metric("tidegate_accept_failures_total", "")
        + server.metric("tidegate_connections_refused_total", "");
    assert!(shed > 0.0, "the shedding is counted");
}
