//! An upstream that dies with many clients attached, and comes back.

use crate::common::Io;
use crate::common::origin::Origin;
use crate::common::server::Server;
use crate::common::stream::Stream;
use crate::common::tape::Tape;
use crate::stage::fanout;
use crate::stage::share;
use std::sync::Arc;
use std::sync::PoisonError;
use std::time::Duration;

crate::on_both_drivers!(
    ten_thousand_clients_outlive_their_upstream,
    an_upstream_that_is_not_there_yet_is_waited_for,
    an_upstream_that_flaps_loses_nothing,
);

/// One driver at a time: both crowds at once are more than a process may open.
#[allow(clippy::disallowed_types, reason = "a lock among tests, not among workers")]
static CROWD: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn ten_thousand_clients_outlive_their_upstream(io: Io) {
    const CLIENTS: usize = 10_000;
    /// The upstream is away for so long.
    const AWAY: Duration = Duration::from_secs(10);
    let _crowd = CROWD.lock().unwrap_or_else(PoisonError::into_inner);
    let tape = Tape::new();
    let mut origin = Origin::start(tape.player());
    let settings = fanout(&origin, "/feed", "idle_timeout = \"10m\"");
    let server = Server::start(io, &settings);
    let mut streams: Vec<_> = (0..CLIENTS).map(|_| Stream::at(&server, "/s", "")).collect();
    server.await_clients(CLIENTS);
    (0..10).for_each(|n| tape.push(n.to_string()));
    for stream in &mut streams {
        (0..10).for_each(|n| assert_eq!(stream.data(), n.to_string()));
    }
    assert_eq!(origin.connections(), 1);
    let address = origin.address();
    origin.stop();
    // Events of the time in which nobody was connected.
    (10..20).for_each(|n| tape.push(n.to_string()));
    server.await_metric("tidegate_upstream_failures_total", "", 1.0);
    std::thread::sleep(AWAY);
    let again = Origin::start_at(address, tape.player());
    let asked = again.await_asked(1);
    assert_eq!(asked[0].field("last-event-id"), Some("9"));
    (20..30).for_each(|n| tape.push(n.to_string()));
    for stream in &mut streams {
        (10..30).for_each(|n| assert_eq!(stream.data(), n.to_string(), "lost or doubled"));
    }
    server.await_clients(CLIENTS);
    assert_eq!(again.connections(), 1, "one reconnect, however many clients");
}

fn an_upstream_that_is_not_there_yet_is_waited_for(io: Io) {
    let tape = Tape::counting(3);
    let mut gone = Origin::start(tape.player());
    let address = gone.address();
    let settings = fanout(&gone, "/feed", "");
    gone.stop();
    let server = Server::start(io, &settings);
    let mut streams: Vec<_> = (0..10).map(|_| Stream::at(&server, "/s", "")).collect();
    server.await_metric("tidegate_upstream_failures_total", "", 2.0);
    let origin = Origin::start_at(address, tape.player());
    for stream in &mut streams {
        (0..3).for_each(|n| assert_eq!(stream.data(), n.to_string()));
    }
    assert_eq!(origin.connections(), 1);
}

fn an_upstream_that_flaps_loses_nothing(io: Io) {
    const EVENTS: usize = 40;
    let tape = Tape::counting(EVENTS);
    let events = Arc::clone(&tape);
    // Three events for each connection.
    let origin = Origin::start(move |call| {
        let last = call.asked.field("last-event-id").map(|id| id.parse::<usize>().unwrap());
        let from = last.map_or(0, |id| id + 1);
        call.send(crate::common::tape::STREAM);
        for n in from..(from + 3).min(EVENTS) {
            let Some(data) = events.wait(n, call) else { break };
            call.send(format!("retry: 1\nid: {n}\ndata: {data}\n\n"));
        }
        crate::common::call::Next::Close
    });
    let server = share(io, &origin, "/feed", "backoff_min = \"1ms\"\ninitial = 1000");
    let mut streams: Vec<_> = (0..8).map(|_| Stream::at(&server, "/s", "")).collect();
    for stream in &mut streams {
        for n in 0..EVENTS {
            let event = stream.event();
            assert_eq!((event.data, event.retry), (n.to_string(), None));
        }
    }
}
