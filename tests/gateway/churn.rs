//! Clients, backends and upstreams that come and go in any order: nobody gets what is somebody
//! else's, and nothing is left over.

use crate::common::Io;
use crate::common::call::Next;
use crate::common::eventually;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::server::Server;
use crate::common::stream::Stream;
use crate::common::tape::STREAM;
use crate::stage::fanout;
use crate::stage::proxy;

crate::on_both_drivers!(exchanges_that_break_are_not_mixed_up, channels_come_and_go);

/// Numbers that differ by seed and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit
    }
}

/// The body of an answer: its target, over and over.
fn body(target: &str) -> String {
    target.repeat(200)
}

fn exchanges_that_break_are_not_mixed_up(io: Io) {
    let origin = Origin::start(|call| {
        let (target, number) = (call.asked.target.clone(), call.number);
        if !call.read_body() {
            return Next::Close;
        }
        let text = body(&target);
        let mut dice = Dice(number as u64);
        let cut = dice.below(text.len());
        match dice.below(12) {
            0 => return Next::Close,
            1 => return Next::Reset,
            2 => {
                call.say(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", text.len()));
                call.say(&text[..cut]);
                return Next::Close;
            }
            3 => {
                call.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                call.say(crate::common::tape::chunk(&text[..cut]));
                return Next::Reset;
            }
            4 => {
                call.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                for piece in text.as_bytes().chunks(cut + 1) {
                    call.say(crate::common::tape::chunk(piece));
                }
                call.say("0\r\n\r\n");
                return Next::Keep;
            }
            5 => {
                // What nobody asked for, behind the answer.
                let length = text.len();
                let stray = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray";
                call.say(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{text}{stray}"
                ));
                return Next::Keep;
            }
            _ => {}
        }
        call.respond(200, "", text)
    });
    let server = proxy(io, &origin, "retries = 2");
    std::thread::scope(|scope| {
        for client in 0..8_u64 {
            let server = &server;
            scope.spawn(move || run(server, client));
        }
    });
    eventually("no exchange is left", || {
        (server.metric("tidegate_relays_open", "") < 0.5).then_some(())
    });
    eventually("no client is left", || {
        (server.metric("tidegate_connections_open", "") < 0.5).then_some(())
    });
}

/// One client after the other, some of which leave early; each whole answer is its own.
fn run(server: &Server, client: u64) {
    let mut dice = Dice(1000 + client);
    let mut peer = Peer::connect(server.address);
    for n in 0..150 {
        let target = format!("/{client}-{n}/");
        let sent = match dice.below(3) {
            0 => format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"),
            1 => format!("PUT {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nwhole"),
            _ => format!(
                "POST {target} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5\r\nwhole\r\n0\r\n\r\n"
            ),
        };
        if dice.below(6) == 0 {
            peer.try_send(&sent[..dice.below(sent.len())]);
            if dice.below(2) == 0 {
                peer.reset()
            } else {
                drop(peer)
            }
            peer = Peer::connect(server.address);
            continue;
        }
        peer.send(&sent);
        if dice.below(8) == 0 {
            if dice.below(2) == 0 {
                peer.reset()
            } else {
                drop(peer)
            }
            peer = Peer::connect(server.address);
            continue;
        }
        let mut response = peer.head();
        let whole = peer.try_body(&mut response);
        match (response.status, whole) {
            (200, true) => assert_eq!(response.text(), body(&target), "of somebody else"),
            (200, false) => {
                let text = response.text();
                assert!(body(&target).starts_with(&text), "{target}: of somebody else: {text}");
            }
            (502 | 503, true) => {}
            other => panic!("{target}: {other:?}"),
        }
        if !whole || response.field("connection") == Some("close") {
            peer = Peer::connect(server.address);
        }
    }
}

fn channels_come_and_go(io: Io) {
    const CHANNELS: usize = 10;
    let origin = Origin::start(|call| {
        let name = call.asked.path().to_owned();
        call.say(STREAM);
        let mut dice = Dice(call.number as u64);
        for n in 0..5 + dice.below(15) {
            if !call.send(format!("data: {name} {n}\n\n")) {
                return Next::Close;
            }
        }
        match dice.below(3) {
            0 => Next::Close,
            1 => Next::Reset,
            _ => call.hold(),
        }
    });
    let more = "linger = \"0s\"\ninitial = 5\nbackoff_min = \"1ms\"\nbackoff_max = \"5ms\"";
    let server = Server::start(io, &fanout(&origin, "/e{rest}", more));
    std::thread::scope(|scope| {
        for client in 0..8_u64 {
            let server = &server;
            scope.spawn(move || {
                let mut dice = Dice(client);
                for _ in 0..60 {
                    let name = dice.below(CHANNELS);
                    let mut stream = Stream::at(server, &format!("/s/{name}"), "");
                    for _ in 0..dice.below(4) {
                        let data = stream.data();
                        assert!(data.starts_with(&format!("/e/{name} ")), "/s/{name}: {data}");
                    }
                    if dice.below(2) == 0 {
                        stream.into_peer().reset();
                    }
                }
            });
        }
    });
    server.await_clients(0);
    eventually("no channel is left", || {
        (server.metric("tidegate_upstreams_open", "") < 0.5).then_some(())
    });
    origin.await_open(0);
    let page = server.admin_get("/upstreams").text();
    assert!(page.contains(" channels=0 ") && !page.contains("channel=#"), "{page}");
}
