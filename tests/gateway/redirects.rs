//! Redirects of an upstream: followed within its origin, never to elsewhere, and not for ever.

use crate::common::Io;
use crate::common::call::Next;
use crate::common::origin::Origin;
use crate::common::stream::Stream;
use crate::common::tape::STREAM;
use crate::stage::share;

crate::on_both_drivers!(
    redirects_within_the_origin_are_followed,
    permanent_redirects_are_remembered,
    redirects_to_elsewhere_and_in_a_circle_are_failures,
);

fn redirects_within_the_origin_are_followed(io: Io) {
    let origin = Origin::start(|call| {
        let host = call.asked.field("host").unwrap().to_owned();
        let to = |place: &str| format!("Location: {place}\r\n");
        match call.asked.target.as_str() {
            "/e/a?x=1" => call.respond(302, &to("b?y=2#frag"), ""),
            "/e/b?y=2" => call.respond(307, &to("/c"), ""),
            "/c" => call.respond(303, &to(&format!("http://{host}/d")), ""),
            "/d" => {
                call.send(format!("{STREAM}data: there\n\n"));
                if call.number < 5 { Next::Close } else { call.hold() }
            }
            _ => call.respond(404, "", ""),
        }
    });
    let server = share(io, &origin, "/e/a?x=1", "initial = 9");
    let mut stream = Stream::at(&server, "/s", "");
    assert_eq!([stream.data(), stream.data()], ["there", "there"]);
    let targets: Vec<_> = origin.await_asked(8).into_iter().map(|asked| asked.target).collect();
    let round = ["/e/a?x=1", "/e/b?y=2", "/c", "/d"];
    assert_eq!(targets, [round, round].concat(), "those that are not permanent begin anew");
}

fn permanent_redirects_are_remembered(io: Io) {
    let origin = Origin::start(|call| match call.asked.target.as_str() {
        "/e" => call.respond(if call.number == 0 { 308 } else { 500 }, "Location: /new\r\n", ""),
        _ => {
            call.send(format!("{STREAM}data: {}\n\n", call.number));
            if call.number < 4 { Next::Close } else { call.hold() }
        }
    });
    let server = share(io, &origin, "/e", "initial = 9");
    let mut stream = Stream::at(&server, "/s", "");
    for n in 1..=4 {
        assert_eq!(stream.data(), n.to_string());
    }
    let targets: Vec<_> = origin.await_asked(5).into_iter().map(|asked| asked.target).collect();
    assert_eq!(targets, ["/e", "/new", "/new", "/new", "/new"]);
}

fn redirects_to_elsewhere_and_in_a_circle_are_failures(io: Io) {
    let other = Origin::start(|call| call.respond(200, "", ""));
    let elsewhere = other.url();
    let origin = Origin::start(move |call| {
        let path = call.asked.path().to_owned();
        let before = call.before(|asked| asked.path() == path);
        let fields = match path.as_str() {
            "/e/away" => format!("Location: {elsewhere}/e\r\n"),
            "/e/name" => "Location: //evil.example/e\r\n".to_owned(),
            "/e/scheme" => "Location: https://127.0.0.1/e\r\n".to_owned(),
            "/e/none" => String::new(),
            _ => format!("Location: {path}\r\n"),
        };
        if before < 12 {
            return call.respond(302, &fields, "");
        }
        call.send(format!("{STREAM}data: at last\n\n"));
        call.hold()
    });
    let more = "initial = 9\npublic = false\nredirects_max = 3\nbackoff_max = \"11ms\"";
    let server = share(io, &origin, "/e{rest}", more);
    let kinds = ["away", "name", "scheme", "none", "circle"];
    let cookie = "Cookie: secret=1\r\n";
    let mut streams = kinds.map(|kind| Stream::at(&server, &format!("/s/{kind}"), cookie));
    for (stream, kind) in streams.iter_mut().zip(kinds) {
        assert_eq!(stream.data(), "at last", "{kind}");
    }
    assert_eq!(other.connections(), 0, "credentials go to their own server alone");
    assert!(server.metric("tidegate_upstream_failures_total", "") >= 12.0 * 4.0 + 3.0);
}
