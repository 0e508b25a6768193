//! What is bounded: heads, bodies of our own answers, channels, connections to a backend.

use crate::common::Io;
use crate::common::eventually;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::server::Server;
use crate::common::stream::Block;
use crate::common::stream::Stream;
use crate::common::tape::STREAM;
use crate::stage::get;
use crate::stage::proxy;
use crate::stage::route;
use crate::stage::share;

crate::on_both_drivers!(
    a_head_that_is_too_large_is_431,
    a_body_in_passing_has_no_limit_of_the_hub,
    a_responses_head_that_is_too_large_is_502,
    channels_have_a_limit_and_make_room_again,
    a_storm_of_refused_channels_is_bounded,
    descriptors_are_given_back,
);

fn a_head_that_is_too_large_is_431(io: Io) {
    let origin = Origin::start(|call| call.respond(200, "", "ok"));
    let settings = format!(
        "[limits]\nhead_bytes_max = \"4KiB\"\ntarget_bytes_max = \"2KiB\"\n{}",
        route(&origin, "")
    );
    let server = Server::start(io, &settings);
    let field = |n: usize| format!("X: {}\r\n", "x".repeat(n));
    assert_eq!(get(&server, "/", &field(3000)).text(), "ok");
    let mut peer = Peer::connect(server.address);
    peer.try_send(format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", field(5000)));
    assert_eq!(peer.response().status, 431);
    let target = "a".repeat(5000);
    let mut peer = Peer::connect(server.address);
    peer.try_send(format!("GET /{target} HTTP/1.1\r\nHost: h\r\n\r\n"));
    assert!(matches!(peer.response().status, 414 | 431));
    assert_eq!(origin.asked().len(), 1);
}

fn a_body_in_passing_has_no_limit_of_the_hub(io: Io) {
    let origin = Origin::start(|call| {
        call.read_body();
        call.respond(200, "", call.asked.body.len().to_string())
    });
    let settings = format!("[limits]\nbody_bytes_max = \"1KiB\"\n{}", route(&origin, ""));
    let server = Server::start(io, &settings);
    let body = "x".repeat(300_000);
    assert_eq!(server.request("POST", "/", "", &body).text(), "300000");
}

fn a_responses_head_that_is_too_large_is_502(io: Io) {
    let origin = Origin::start(|call| {
        let field = "x".repeat(call.asked.path()[1..].parse().unwrap());
        call.respond(200, &format!("X: {field}\r\n"), "ok")
    });
    let settings = format!(
        "[limits]\nhead_bytes_max = \"4KiB\"\ntarget_bytes_max = \"2KiB\"\n{}",
        route(&origin, "")
    );
    let server = Server::start(io, &settings);
    assert_eq!(get(&server, "/3000", "").status, 200);
    assert_eq!(get(&server, "/9000", "").status, 502);
    assert_eq!(get(&server, "/3000", "").status, 200);
}

fn channels_have_a_limit_and_make_room_again(io: Io) {
    let origin = Origin::start(|call| {
        call.send(format!("{STREAM}data: {}\n\n", call.asked.target));
        call.hold()
    });
    let more = "channels_max = 3\nlinger = \"0s\"\ninitial = 9";
    let server = share(io, &origin, "/e{rest}", more);
    let mut streams: Vec<_> = (0..3).map(|n| Stream::at(&server, &format!("/s/{n}"), "")).collect();
    for stream in &mut streams {
        stream.data();
    }
    let open = |n: usize| Stream::try_at(Peer::connect(server.address), &format!("/s/{n}"), "");
    // No status that would end an EventSource for good: it is told when to come back.
    let mut refused = open(3).unwrap_or_else(|r| panic!("{r:?}"));
    let mut blocks = std::iter::from_fn(|| refused.block());
    assert!(blocks.any(|block| matches!(block, Block::Retry(_))), "when to come back");
    assert_eq!((refused.try_event(), refused.is_cut), (None, false));
    server.await_metric("tidegate_soft_refusals_total", "", 1.0);
    assert!(open(2).is_ok(), "those that are there have room for more clients");
    streams.truncate(2);
    let fourth = eventually("room again", || open(3).ok().and_then(|mut s| s.try_event()));
    assert_eq!(fourth.data, "/e/3");
    assert_eq!(streams[0].peer().fill_within(std::time::Duration::from_millis(1)), 0);
}

fn a_storm_of_refused_channels_is_bounded(io: Io) {
    let origin = Origin::start(|call| call.respond(404, "", ""));
    let server = share(io, &origin, "/e{rest}", "channels_max = 50\nlinger = \"0s\"");
    let mut refused = 0;
    let mut storm = |count: usize| {
        for n in 0..count {
            let target = format!("/s/{count}/{n}");
            match Stream::try_at(Peer::connect(server.address), &target, "") {
                Ok(mut stream) => {
                    let told = |block: &Block| matches!(block, Block::Retry(_));
                    refused += usize::from(std::iter::from_fn(|| stream.block()).any(|b| told(&b)));
                }
                Err(response) => assert_eq!(response.status, 404),
            }
        }
    };
    storm(300);
    let before = server.rss();
    storm(1500);
    let grown = server.rss().saturating_sub(before);
    assert!(grown < 4 << 20, "1500 refused channels cost {grown} bytes");
    assert!(refused < 900, "refusals do not take the place of channels: {refused}");
    server.await_clients(0);
}

fn descriptors_are_given_back(io: Io) {
    let origin = Origin::start(|call| match call.number % 5 {
        0 => call.respond(200, "Connection: close\r\n", "x"),
        1 => crate::common::call::Next::Close,
        2 => crate::common::call::Next::Reset,
        3 => {
            call.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx");
            crate::common::call::Next::Close
        }
        _ => call.respond(200, "", "x"),
    });
    let server = proxy(io, &origin, "retries = 0");
    let count = || std::fs::read_dir(format!("/proc/{}/fd", server.pid())).unwrap().count();
    get(&server, "/", "");
    let before = count();
    for _ in 0..200 {
        let mut peer = Peer::connect(server.address);
        peer.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        let mut response = peer.head();
        peer.try_body(&mut response);
    }
    // The pool may keep some, and clients that have just gone may not be seen yet.
    eventually("descriptors given back", || (count() < before + 20).then_some(()));
}
