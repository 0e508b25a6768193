//! Many clients, one upstream connection: across workers, while it lingers, and per URL.

use crate::common::Io;
use crate::common::eventually;
use crate::common::origin::Origin;
use crate::common::server::Server;
use crate::common::stream::Stream;
use crate::common::tape::STREAM;
use crate::common::tape::Tape;
use crate::stage::share;
use crate::stage::upstream;

crate::on_both_drivers!(
    clients_of_all_workers_share_one_connection,
    a_channel_lingers_and_then_closes,
    a_client_that_comes_back_in_time_finds_the_channel,
    each_url_is_a_channel_of_its_own,
    variables_are_encoded_and_change_no_host,
    what_is_always_on_is_connected_without_clients,
    large_events_reach_all,
    the_first_client_may_leave,
);

fn clients_of_all_workers_share_one_connection(io: Io) {
    // With 2 workers, the chance that one gets none of 64 clients is 2^-63.
    const CLIENTS: usize = 64;
    let tape = Tape::new();
    let origin = Origin::start(tape.player());
    let server = share(io, &origin, "/feed", "");
    let mut streams: Vec<_> = (0..CLIENTS).map(|_| Stream::at(&server, "/s", "")).collect();
    server.await_clients(CLIENTS);
    (0..20).for_each(|n| tape.push(format!("event {n}")));
    for stream in &mut streams {
        for n in 0..20 {
            let event = stream.event();
            assert_eq!(event.data, format!("event {n}"));
            assert_eq!(event.id.as_deref(), Some(n.to_string().as_str()));
        }
    }
    assert_eq!((origin.connections(), origin.asked().len()), (1, 1));
    let asked = origin.asked().remove(0);
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", "/feed"));
    assert_eq!(asked.field("accept"), Some("text/event-stream"));
    assert_eq!(asked.field("host"), Some(origin.address().to_string().as_str()));
    assert_eq!(asked.field("last-event-id"), None);
}

fn a_channel_lingers_and_then_closes(io: Io) {
    let tape = Tape::counting(3);
    let origin = Origin::start(tape.player());
    let server = share(io, &origin, "/feed", "linger = \"0s\"\ninitial = 100");
    for round in 1..=2 {
        let mut streams: Vec<_> = (0..8).map(|_| Stream::at(&server, "/s", "")).collect();
        for stream in &mut streams {
            assert_eq!([stream.data(), stream.data(), stream.data()], ["0", "1", "2"]);
        }
        assert_eq!(origin.connections(), round);
        assert_eq!(origin.open(), 1, "as long as there are clients");
        drop(streams);
        origin.await_open(0);
    }
}

fn a_client_that_comes_back_in_time_finds_the_channel(io: Io) {
    let tape = Tape::new();
    let origin = Origin::start(tape.player());
    let server = share(io, &origin, "/feed", "linger = \"10m\"");
    let mut first = Stream::at(&server, "/s", "");
    tape.push("a");
    let id = first.id();
    drop(first);
    server.await_clients(0);
    tape.push("b");
    server.await_metric("tidegate_upstream_events_total", "", 2.0);
    let mut second = Stream::at(&server, "/s", &format!("Last-Event-ID: {id}\r\n"));
    assert_eq!(second.data(), "b", "it went on while nobody read");
    tape.push("c");
    assert_eq!(second.data(), "c");
    assert_eq!(origin.connections(), 1);
}

fn each_url_is_a_channel_of_its_own(io: Io) {
    let origin = Origin::start(|call| {
        call.send(format!("{STREAM}data: {}\n\n", call.asked.target));
        call.send(format!("data: {:?}\n\n", call.asked.field("x-tenant")));
        call.hold()
    });
    let more = "initial = 9\nheaders = [\"x-tenant\"]";
    let u = upstream(&origin, "/feed{rest}?s={query.s}&t={header.X-T}", more);
    let v = upstream(&origin, "/v/{path.2}/{path.kind}", "initial = 9").replace("\"u\"", "\"v\"");
    let routes = "[[route]]\npath = \"/s\"\nupstream = \"u\"\n\
                  [[route]]\npath = { regex = \"/r/(?P<kind>[a-z]+)/([0-9]+)\" }\n\
                  upstream = \"v\"\n";
    let server = Server::start(io, &format!("{u}{v}{routes}"));
    let mut streams = Vec::new();
    for (target, fields, want, tenant) in [
        ("/s", "", "/feed?s=&t=", "None"),
        ("/s/a/b", "", "/feed/a/b?s=&t=", "None"),
        ("/s?s=1", "", "/feed?s=1&t=", "None"),
        ("/s?s=1&s=2", "", "/feed?s=1&t=", "None"),
        ("/s?s=1", "X-T: 5\r\n", "/feed?s=1&t=5", "None"),
        ("/s", "X-Tenant: a\r\n", "/feed?s=&t=", "Some(\"a\")"),
        ("/s", "X-Tenant: A\r\n", "/feed?s=&t=", "Some(\"A\")"),
        ("/r/prices/42", "", "/v/42/prices", "None"),
        ("/s?other=1", "Accept-Language: de\r\n", "/feed?s=&t=", "None"),
    ] {
        let mut stream = Stream::at(&server, target, fields);
        assert_eq!(stream.data(), want, "{target} {fields}");
        assert_eq!(stream.data(), tenant, "{target} {fields}");
        streams.push(stream);
    }
    assert_eq!(origin.connections(), 7, "the first two and the last two ask for the same");
}

fn variables_are_encoded_and_change_no_host(io: Io) {
    let origin = Origin::start(|call| {
        call.send(format!("{STREAM}data: {}\n\n", call.asked.target));
        call.hold()
    });
    let server = share(io, &origin, "/a/{query.q}/b", "initial = 9");
    let mut streams = Vec::new();
    for value in ["a%2Fb", "%3Fx%23y", "%20HTTP/1.1", "%40evil:80", "%C3%A9", "a+b", "%25"] {
        let stream = Stream::at(&server, &format!("/s?q={value}"), "");
        streams.push((value, stream));
    }
    for (value, stream) in &mut streams {
        let target = stream.data();
        let inner = target.strip_prefix("/a/").and_then(|t| t.strip_suffix("/b"));
        let inner = inner.unwrap_or_else(|| panic!("{value} became {target}"));
        assert!(!inner.contains(['/', '?', '#', ' ']), "{value} became {target}");
        assert!(inner.bytes().all(|b| b.is_ascii_graphic()), "{value} became {target}");
    }
    for asked in origin.asked() {
        assert_eq!(asked.field("host"), Some(origin.address().to_string().as_str()));
    }
    for value in ["..", ".", "%2e%2E", "%0D%0AHost:%20evil", "%00"] {
        let response = crate::stage::get(&server, &format!("/s?q={value}"), "");
        let dots = origin.asked().iter().any(|asked| asked.target.contains("/../"));
        assert!(!dots && response.status >= 400, "{value}: {}", response.status);
    }
}

fn what_is_always_on_is_connected_without_clients(io: Io) {
    let tape = Tape::counting(5);
    let origin = Origin::start(tape.player());
    let more = "always_on = true\ninitial = 2\nlinger = \"0s\"";
    let server = share(io, &origin, "/feed", more);
    origin.await_asked(1);
    server.await_metric("tidegate_upstream_events_total", "", 5.0);
    let mut stream = Stream::at(&server, "/s", "");
    assert_eq!([stream.data(), stream.data()], ["3", "4"], "the newest two");
    drop(stream);
    server.await_clients(0);
    tape.push("later");
    server.await_metric("tidegate_upstream_events_total", "", 6.0);
    assert_eq!((origin.connections(), origin.open()), (1, 1));
}

fn large_events_reach_all(io: Io) {
    const BYTES: usize = 14_000_000;
    let tape = Tape::new();
    let origin = Origin::start(tape.player());
    let more = "event_bytes_max = \"16MiB\"\nlag_bytes_max = \"64MiB\"\n\
                history_bytes_max = \"32MiB\"";
    let settings = crate::stage::fanout(&origin, "/feed", more);
    let limits = "[limits]\nunsent_bytes_max = \"512MiB\"\n";
    let server = Server::start(io, &format!("{limits}{settings}"));
    let mut streams: Vec<_> = (0..3).map(|_| Stream::at(&server, "/s", "")).collect();
    server.await_clients(3);
    let body: String = ('a'..='z').cycle().take(BYTES).collect();
    tape.push(body.clone());
    tape.push("after");
    std::thread::scope(|scope| {
        for stream in &mut streams {
            let body = &body;
            scope.spawn(move || {
                // Parsed once, not after each read.
                while stream.peer().held().len() < BYTES {
                    assert!(stream.peer().fill(), "closed in the middle");
                }
                assert!(stream.data() == *body, "14 MB came changed");
                assert_eq!(stream.data(), "after");
            });
        }
    });
    assert_eq!(origin.connections(), 1);
}

fn the_first_client_may_leave(io: Io) {
    let tape = Tape::new();
    let origin = Origin::start(tape.player());
    let server = share(io, &origin, "/feed", "linger = \"0s\"");
    let first = Stream::at(&server, "/s", "");
    origin.await_asked(1);
    let mut others: Vec<_> = (0..20).map(|_| Stream::at(&server, "/s", "")).collect();
    server.await_clients(21);
    drop(first);
    server.await_clients(20);
    tape.push("still there");
    for stream in &mut others {
        assert_eq!(stream.data(), "still there");
    }
    eventually("one connection", || (origin.open() == 1).then_some(()));
    assert_eq!(origin.connections(), 1, "the channel is nobody's own");
}
