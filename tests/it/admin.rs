//! The admin listener: metrics and health while the server works.

use crate::common::Io;
use crate::common::eventually;
use crate::common::server::Publisher;
use crate::common::server::Server;
use crate::common::stream::Stream;

crate::on_both_drivers!(metrics_follow_what_happens, health_is_told);

fn metrics_follow_what_happens(io: Io) {
    let server = Server::start(io, "");
    let mut streams: Vec<_> = (0..7).map(|_| Stream::open(&server, "topic=a")).collect();
    server.await_clients(7);
    let mut publisher = Publisher::open(&server);
    for _ in 0..5 {
        publisher.publish(&[("topic", "a"), ("data", "x")]);
    }
    publisher.post(&[("data", "no topic")]);
    for stream in &mut streams {
        for _ in 0..5 {
            stream.event();
        }
    }
    let exactly = |name: &str, labels: &str, want: f64| {
        eventually(&format!("{name}{{{labels}}} = {want}"), || {
            ((server.metric(name, labels) - want).abs() < 0.5).then_some(())
        });
    };
    exactly("tidegate_events_published_total", "", 5.0);
    exactly("tidegate_requests_total", "kind=\"subscribe\",status=\"2xx\"", 7.0);
    exactly("tidegate_requests_total", "kind=\"publish\",status=\"2xx\"", 5.0);
    exactly("tidegate_requests_total", "kind=\"publish\",status=\"4xx\"", 1.0);
    exactly("tidegate_connections_open", "", 8.0);
    exactly("tidegate_history_events", "", 5.0);
    assert!(server.metric("tidegate_sent_bytes_total", "") > 7.0 * 5.0 * 10.0);
    streams.truncate(2);
    exactly("tidegate_clients_connected", "", 2.0);
    exactly("tidegate_connections_closed_total", "peer_gone", 5.0);
}

fn health_is_told(io: Io) {
    let server = Server::start(io, "");
    assert_eq!(server.admin_get("/live").status, 200);
    eventually("readiness", || (server.admin_get("/ready").status == 200).then_some(()));
    assert_eq!(server.admin_get("/none").status, 404);
    let hub = server.request("GET", "/metrics", "", "");
    assert_eq!(hub.status, 404, "metrics are not for clients");
}
