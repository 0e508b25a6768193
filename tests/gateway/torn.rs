//! What is cut on one side looks cut on the other, wherever the cut is.

use crate::common::Io;
use crate::common::call::Next;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::server::Server;
use crate::stage::proxy;

crate::on_both_drivers!(
    a_response_cut_at_any_byte_never_looks_whole,
    a_reset_of_a_body_without_end_is_a_reset,
    a_request_cut_at_any_byte_never_looks_whole,
    a_broken_chunk_cuts_the_response,
    a_broken_head_is_answered_with_502,
);

const SIZED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\ntwelve bytes";
const CHUNKS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                      6\r\ntwelve\r\n6;x=y\r\n bytes\r\n0\r\nX-T: 1\r\n\r\n";

/// Answers `/KIND/CUT` with so many bytes of an answer, and ends in this way.
fn cutter(next: Next) -> Origin {
    Origin::start(move |call| {
        let path = call.asked.target.clone();
        let mut words = path.split('/').skip(1);
        let whole = if words.next() == Some("sized") { SIZED } else { CHUNKS };
        let cut: usize = words.next().unwrap().parse().unwrap();
        call.send(&whole[..cut]);
        next
    })
}

fn a_response_cut_at_any_byte_never_looks_whole(io: Io) {
    for next in [Next::Close, Next::Reset] {
        let origin = cutter(next);
        let more = "retries = 0";
        let server = proxy(io, &origin, more);
        for (kind, whole) in [("sized", SIZED), ("chunks", CHUNKS)] {
            let head = whole.find("\r\n\r\n").unwrap() + 4;
            for cut in 0..whole.len() {
                let mut peer = Peer::connect(server.address);
                peer.send(format!("GET /{kind}/{cut} HTTP/1.1\r\nHost: h\r\n\r\n"));
                // A reset may overtake the bytes before it.
                let Some(mut response) = peer.try_head() else {
                    panic!("no answer: {kind} cut at {cut}");
                };
                let complete = peer.try_body(&mut response);
                if cut < head {
                    assert_eq!((response.status, complete), (502, true), "{kind} cut at {cut}");
                    continue;
                }
                if response.status == 502 && next == Next::Reset {
                    continue;
                }
                assert_eq!(response.status, 200);
                assert!(!complete, "{kind} cut at {cut} looks whole: {response:?}");
                assert!("twelve bytes".as_bytes().starts_with(&response.body));
            }
        }
        if next == Next::Close {
            for (kind, whole) in [("sized", SIZED), ("chunks", CHUNKS)] {
                let response = crate::stage::get(&server, &format!("/{kind}/{}", whole.len()), "");
                assert_eq!(response.text(), "twelve bytes");
            }
        }
    }
}

fn a_reset_of_a_body_without_end_is_a_reset(io: Io) {
    let origin = Origin::start(|call| {
        call.send("HTTP/1.1 200 OK\r\n\r\nhalf");
        // The gateway must have read it, or the reset takes it away.
        call.read_raw();
        Next::Reset
    });
    let server = proxy(io, &origin, "");
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        let mut peer = Peer::connect(server.address);
        let fields = "Transfer-Encoding: chunked\r\n";
        let fields = if version == "HTTP/1.1" { fields } else { "Content-Length: 5\r\n" };
        peer.send(format!("POST / {version}\r\nHost: h\r\n{fields}\r\n"));
        let mut response = peer.head();
        while !peer.held().windows(4).any(|w| w == b"half") {
            assert!(peer.fill(), "the half that came is passed on");
        }
        // Only now does the backend go on to its reset.
        peer.send(if version == "HTTP/1.1" { "1\r\nx\r\n" } else { "x" });
        assert!(!peer.try_body(&mut response), "{version}: looks whole: {response:?}");
    }
    let said = server.await_log("its answer ended in the middle");
    assert!(said.contains(" warn backend_lost backend="), "{said}");
}

fn a_request_cut_at_any_byte_never_looks_whole(io: Io) {
    let origin =
        Origin::start(
            |call| {
                if call.read_body() { call.respond(200, "", "whole") } else { Next::Close }
            },
        );
    let server = proxy(io, &origin, "");
    let sized = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 12\r\n\r\ntwelve bytes";
    let chunks = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                  6\r\ntwelve\r\n6\r\n bytes\r\n0\r\nX-T: 1\r\n\r\n";
    let ends: [fn(Peer); 2] = [drop, Peer::reset];
    for whole in [sized, chunks] {
        for end in ends {
            for cut in 0..whole.len() {
                let mut peer = Peer::connect(server.address);
                peer.send(&whole[..cut]);
                end(peer);
            }
        }
    }
    origin.await_open(0);
    let asked = origin.asked();
    assert!(asked.iter().all(|asked| !asked.whole), "a cut request looked whole");
    // Those that were cut inside the body and not at once have been seen.
    for whole in [sized, chunks] {
        assert_eq!(crate::stage::ask(&server, whole).text(), "whole");
    }
}

/// Asks for `/N` with N the index of a broken answer.
fn each(
    answers: &'static [&'static [u8]],
    io: Io,
    mut check: impl FnMut(&Server, &mut Peer, usize),
) {
    let origin = Origin::start(|call| {
        let n: usize = call.asked.path()[1..].parse().unwrap();
        call.send(answers[n]);
        call.hold()
    });
    let server = proxy(io, &origin, "");
    for n in 0..answers.len() {
        let mut peer = Peer::connect(server.address);
        peer.send(format!("GET /{n} HTTP/1.1\r\nHost: h\r\n\r\n"));
        check(&server, &mut peer, n);
    }
    origin.await_open(0);
}

fn a_broken_chunk_cuts_the_response(io: Io) {
    const ANSWERS: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\nxyz\r\nbad",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokbad\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n-1\r\nbad",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0x2\r\nbad",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1ffffffffffffffff\r\nbad",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n 2\r\nbad",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n2;\nbad\r\n0\r\n\r\n",
    ];
    each(ANSWERS, io, |_, peer, n| {
        let mut response = peer.head();
        if response.status == 502 {
            // Head and fault came in one read: nothing was passed on yet.
            peer.body(&mut response);
            return;
        }
        assert!(!peer.try_body(&mut response), "{n} looks whole: {response:?}");
        assert!(b"ok".starts_with(&response.body), "{n}: {response:?}");
    });
}

fn a_broken_head_is_answered_with_502(io: Io) {
    const ANSWERS: &[&[u8]] = &[
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/1.1 1000 High\r\n\r\n",
        b"HTTP/1.1 2x0 Odd\r\n\r\n",
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nworld",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nworld",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nworld",
        b"HTTP/1.1 200 OK\r\nA b: c\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : c\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello\r\n\r\n",
    ];
    each(ANSWERS, io, |server, peer, n| {
        let mut response = peer.head();
        peer.body(&mut response);
        let shown = String::from_utf8_lossy(ANSWERS[n]);
        assert_eq!(response.status, 502, "{shown:?} became {response:?}");
        assert!(!response.text().contains("world"), "nothing of it reaches the client");
        // It says what was wrong, once in ten seconds.
        let said = server.await_log("cause=\"the backend's answer is malformed: ");
        let told = said.matches(" warn backend_malformed backend=").count();
        assert!(told <= 2, "more than one of a worker: {said}");
    });
}
