//! What each answer of an upstream leads to: refusals end, failures are tried again.

use crate::common::Io;
use crate::common::call::Call;
use crate::common::call::Next;
use crate::common::eventually;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::server::Server;
use crate::common::stream::Stream;
use crate::common::tape::STREAM;
use crate::stage::fanout;
use crate::stage::get;
use crate::stage::share;
use crate::stage::upstream_at;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

crate::on_both_drivers!(
    refusals_end_streams_and_are_remembered,
    failures_are_tried_again_behind_the_clients_backs,
    a_flapping_upstream_does_not_fill_the_log,
    retry_after_is_honoured,
    a_reconnection_time_is_honoured,
    silence_is_a_failure,
    an_event_over_the_limit_is_a_failure,
    a_name_that_does_not_resolve_is_a_failure,
    a_channel_that_is_always_on_is_never_refused,
);

fn refusals_end_streams_and_are_remembered(io: Io) {
    let origin = Origin::start(|call| {
        let status: u16 = call.asked.path()[3..].parse().unwrap();
        call.respond(status, "WWW-Authenticate: Basic\r\n", if status == 204 { "" } else { "no" })
    });
    let server = share(io, &origin, "/e{rest}", "");
    let statuses = [204_u16, 400, 401, 403, 404, 405, 410, 451];
    for status in statuses {
        let target = format!("/s/{status}");
        // The first client may be there before the answer is: then its stream ends.
        if let Ok(mut stream) = Stream::try_at(Peer::connect(server.address), &target, "") {
            assert_eq!(stream.try_event(), None, "{status}");
        }
        let mut peer = Peer::connect(server.address);
        for _ in 0..3 {
            let fields = "Accept: text/event-stream\r\n";
            assert_eq!(peer.request("GET", &target, fields, "").status, status);
        }
    }
    server.await_clients(0);
    assert_eq!(origin.asked().len(), statuses.len(), "each was asked once");
    // A wrong path is an operator's business; a user who may not is none.
    let log = server.log();
    assert!(log.contains(" warn upstream_refused name=u tap=2 status=400"), "{log}");
    assert!(!log.contains("status=204") && !log.contains("status=403"), "{log}");
}

/// A failure for `/KIND`, of which the second half is left to the next connection.
fn fail(call: &mut Call<'_>) -> Next {
    let path = call.asked.path().to_owned();
    let kind = &path[3..];
    if let Ok(status) = kind.parse::<u16>() {
        return call.respond(status, "Location: /nowhere\r\n", "");
    }
    let stream = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
    match kind {
        "no-type" => return call.respond(200, "", "data: wrong\n\n"),
        "html" => return call.respond(200, "Content-Type: text/html\r\n", "data: wrong\n\n"),
        "gzip" => call.say(format!("{stream}Content-Encoding: gzip\r\n\r\nxx")),
        "early" => {}
        "reset" => return Next::Reset,
        "no-http" => call.say("SSH-2.0-OpenSSH_9.6\r\n\r\n"),
        "half-head" => call.say("HTTP/1.1 200 O"),
        "two-lengths" => call
            .say(format!("{stream}Content-Length: 5\r\nContent-Length: 9\r\n\r\ndata: wrong\n\n")),
        "length-and-chunks" => call.say(format!(
            "{stream}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )),
        "bad-chunk" => {
            call.say(format!("{stream}Transfer-Encoding: chunked\r\n\r\nzz\r\ndata: wrong\n\n\r\n"))
        }
        "short" => call.say(format!("{stream}Content-Length: 90\r\n\r\ndata: wrong")),
        "upgrade" => call.say("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"),
        "big-head" => {
            call.send(stream);
            call.send(format!("X: {}\r\n\r\n", "x".repeat(1 << 20)));
        }
        other => panic!("no failure {other}"),
    }
    Next::Close
}

fn failures_are_tried_again_behind_the_clients_backs(io: Io) {
    let kinds = [
        "201",
        "205",
        "300",
        "304",
        "408",
        "425",
        "429",
        "500",
        "501",
        "502",
        "503",
        "504",
        "599",
        "no-type",
        "html",
        "gzip",
        "early",
        "reset",
        "no-http",
        "half-head",
        "two-lengths",
        "length-and-chunks",
        "bad-chunk",
        "short",
        "upgrade",
        "big-head",
    ];
    let origin = Origin::start(move |call| {
        let path = call.asked.path().to_owned();
        let before = call.before(|asked| asked.path() == path);
        if before < 3 {
            return fail(call);
        }
        call.send(format!("{STREAM}data: {path}\n\n"));
        call.hold()
    });
    let server = share(io, &origin, "/e{rest}", "initial = 9");
    let open = |kind: &&str| Stream::at(&server, &format!("/s/{kind}"), "");
    let mut streams: Vec<_> = kinds.iter().map(open).collect();
    let mut doubles: Vec<_> = kinds.iter().map(open).collect();
    for (n, kind) in kinds.iter().enumerate() {
        for stream in [&mut streams[n], &mut doubles[n]] {
            assert_eq!(stream.data(), format!("/e/{kind}"), "{kind}");
        }
    }
    let asked = origin.asked();
    for kind in kinds {
        let path = format!("/e/{kind}");
        let count = asked.iter().filter(|asked| asked.path() == path).count();
        assert_eq!(count, 4, "{kind}: three failures and a success, for both clients");
    }
}

fn a_flapping_upstream_does_not_fill_the_log(io: Io) {
    let origin = Origin::start(|call| {
        if call.number % 2 == 0 {
            return call.respond(503, "", "");
        }
        call.send(STREAM);
        call.say("data: a\n\n");
        Next::Close
    });
    let server = share(io, &origin, "/e", "");
    let _stream = Stream::at(&server, "/s", "");
    eventually("twenty turns", || (origin.asked().len() > 40).then_some(()));
    for event in ["upstream_lost", "upstream_recovered"] {
        assert_eq!(server.log().matches(event).count(), 1, "{event}\n{}", server.log());
    }
}

fn retry_after_is_honoured(io: Io) {
    let origin = Origin::start(|call| {
        if call.number == 0 {
            return call.respond(503, "Retry-After: 2\r\n", "");
        }
        call.send(format!("{STREAM}data: back\n\n"));
        call.hold()
    });
    let server = share(io, &origin, "/e", "initial = 9");
    let start = Instant::now();
    let mut stream = Stream::at(&server, "/s", "");
    assert_eq!(stream.data(), "back");
    // Without it the pause would be 50 ms at most.
    assert!(start.elapsed() >= Duration::from_secs(2), "{:?}", start.elapsed());
}

fn a_reconnection_time_is_honoured(io: Io) {
    let times = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&times);
    let origin = Origin::start(move |call| {
        noted.lock().unwrap().push(Instant::now());
        call.send(format!("{STREAM}retry: 700\ndata: {}\n\n", call.number));
        if call.number == 2 { call.hold() } else { Next::Close }
    });
    let server = share(io, &origin, "/e", "initial = 9");
    let mut stream = Stream::at(&server, "/s", "");
    (0..3).for_each(|n| assert_eq!(stream.data(), n.to_string()));
    // Counted from before the end to after the connect: never less than the pause.
    let times = times.lock().unwrap();
    for pair in times.windows(2) {
        assert!(pair[1] - pair[0] >= Duration::from_millis(700), "{:?}", pair[1] - pair[0]);
    }
}

fn silence_is_a_failure(io: Io) {
    let origin = Origin::start(|call| {
        let path = call.asked.path().to_owned();
        let before = call.before(|asked| asked.path() == path);
        if before == 2 {
            call.send(format!("{STREAM}id: 2\ndata: two\n\n"));
            return call.hold();
        }
        if path == "/e/body" {
            call.send(format!("{STREAM}id: {before}\ndata: {before}\n\ndata: half"));
        }
        call.hold()
    });
    let more = "initial = 9\nhead_timeout = \"200ms\"\nidle_timeout = \"200ms\"";
    let server = share(io, &origin, "/e{rest}", more);
    let mut head = Stream::at(&server, "/s/head", "");
    let mut body = Stream::at(&server, "/s/body", "");
    assert_eq!(head.data(), "two");
    assert_eq!([body.data(), body.data(), body.data()], ["0", "1", "two"]);
    let asked = origin.asked();
    let ids: Vec<_> = asked.iter().filter(|a| a.path() == "/e/body").collect();
    assert_eq!(ids[1].field("last-event-id"), Some("0"));
    // The connections that were given up are closed.
    let closes = || origin.open() <= 2;
    eventually("closes", || closes().then_some(()));
}

fn an_event_over_the_limit_is_a_failure(io: Io) {
    let origin = Origin::start(|call| {
        let big = "x".repeat(3000);
        match call.number {
            0 => call.send(format!("{STREAM}id: 1\ndata: ok\n\nid: 2\ndata: {big}\n\n")),
            1 => call.send(format!("{STREAM}id: 2\n{}\n\n", "data: y\n".repeat(1500))),
            2 => call.send(format!("{STREAM}{big}")),
            _ => call.send(format!("{STREAM}id: 3\ndata: small\n\n")),
        };
        call.hold()
    });
    let server = share(io, &origin, "/e", "initial = 9\nevent_bytes_max = \"2KiB\"");
    let mut stream = Stream::at(&server, "/s", "");
    assert_eq!([stream.data(), stream.data()], ["ok", "small"], "and nothing of what is too big");
    for asked in &origin.asked()[1..] {
        assert_eq!(asked.field("last-event-id"), Some("1"));
    }
}

fn a_name_that_does_not_resolve_is_a_failure(io: Io) {
    let upstream = upstream_at("http://no-such-host.invalid/e", "heartbeat = \"50ms\"");
    let settings = format!("{upstream}[[route]]\nupstream = \"u\"\n");
    let server = Server::start(io, &settings);
    let mut streams: Vec<_> = (0..3).map(|_| Stream::at(&server, "/", "")).collect();
    server.await_metric("tidegate_upstream_failures_total", "", 1.0);
    for stream in &mut streams {
        assert!(stream.block().is_some(), "a client waits");
    }
}

fn a_channel_that_is_always_on_is_never_refused(io: Io) {
    let origin = Origin::start(|call| call.respond(404, "", ""));
    let settings = fanout(&origin, "/e", "always_on = true\nheartbeat = \"50ms\"");
    let server = Server::start(io, &settings);
    server.await_metric("tidegate_upstream_failures_total", "", 1.0);
    let mut stream = Stream::at(&server, "/s", "");
    assert!(stream.block().is_some(), "a client waits");
    assert_eq!(get(&server, "/none", "").status, 404);
}
