//! Which rule serves a request: precedence, hosts, listeners, fixed answers, no rule, no backend.

use crate::common::Io;
use crate::common::eventually;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::common::server::HUB;
use crate::common::server::Server;
use crate::common::stream::Stream;
use crate::stage::ask;
use crate::stage::get;

crate::on_both_drivers!(
    the_best_match_serves,
    hosts_and_listeners_divide_requests,
    what_no_rule_takes_is_404,
    a_rule_without_a_backend_is_500,
    fixed_answers,
    a_hub_beside_routes,
    weights_share_requests,
);

/// A rule that answers with its own name.
fn named(name: &str, keys: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\n{keys}\nrespond = {{ body = \"{name}\" }}\n")
}

fn the_best_match_serves(io: Io) {
    let rules = [
        named("root", ""),
        named("prefix", "path = \"/a\""),
        named("longer", "path = \"/a/b\""),
        named("exact", "path = { exact = \"/a/b\" }"),
        named("regex", "path = { regex = \"/r/[0-9]+\" }"),
        named("method", "matches = [{ path = \"/m\", method = \"POST\" }]"),
        named("header", "matches = [{ path = \"/m\", headers = { X-A = \"1\" } }]"),
        named("query", "matches = [{ path = \"/m\", query = { q = { regex = \"[a-c]+\" } } }]"),
    ];
    let server = Server::start(io, &rules.concat());
    for (request, want) in [
        ("GET /", "root"),
        ("GET /ab", "root"),
        ("GET /a", "prefix"),
        ("GET /a/", "prefix"),
        ("GET /a/bc", "prefix"),
        ("GET /a/b/c", "longer"),
        ("GET /a/b", "exact"),
        ("GET /a/b?x", "exact"),
        ("GET /r/42", "root"),
        ("GET /m", "root"),
        ("POST /m?q=abc", "method"),
        ("GET /m?q=abc", "query"),
        ("GET /m?q=abcd", "root"),
        ("GET /%61", "root"),
    ] {
        let response = ask(&server, &format!("{request} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(response.text(), want, "{request}");
    }
    assert_eq!(get(&server, "/m?q=a", "x-a: 1\r\n").text(), "header");
}

fn hosts_and_listeners_divide_requests(io: Io) {
    let settings = [
        "[[listener]]\nname = \"second\"\nlisten = \"127.0.0.1:0\"\n".to_owned(),
        named("any", "listeners = [\"default\"]"),
        named("host", "hostnames = [\"a.example\"]\nlisteners = [\"default\"]"),
        named("below", "hostnames = [\"*.b.example\"]\nlisteners = [\"default\"]"),
        named("other", "listeners = [\"second\"]"),
    ];
    let server = Server::start(io, &settings.concat());
    let hosted = |peer: &mut Peer, host: &str| {
        peer.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        peer.response().text()
    };
    let mut peer = Peer::connect(server.address);
    for (host, want) in [
        ("a.example", "host"),
        ("A.EXAMPLE:8080", "host"),
        ("x.b.example", "below"),
        ("x.y.b.example", "below"),
        ("b.example", "any"),
        ("c.example", "any"),
    ] {
        assert_eq!(hosted(&mut peer, host), want, "{host}");
    }
    let all = eventually("both listeners in the log", || {
        Some(server.listeners()).filter(|all| all.len() == 2)
    });
    let second = all.into_iter().find(|address| *address != server.address).unwrap();
    assert_eq!(hosted(&mut Peer::connect(second), "a.example"), "other");
}

fn what_no_rule_takes_is_404(io: Io) {
    let server = Server::start(io, &named("a", "path = \"/a\""));
    let mut peer = Peer::connect(server.address);
    for target in ["/", "/b", "/.well-known/mercure?topic=a", "/favicon.ico"] {
        assert_eq!(peer.request("GET", target, "", "").status, 404, "{target}");
    }
    assert_eq!(peer.request("GET", "/a", "", "").text(), "a", "the connection is kept");
}

fn a_rule_without_a_backend_is_500(io: Io) {
    let origin = Origin::start(|call| call.respond(200, "", "ok"));
    let url = origin.url();
    let settings = format!(
        "[[route]]\npath = \"/none\"\nbackends = []\n\
         [[route]]\npath = \"/void\"\nbackends = [{{ name = \"none\" }}]\n\
         [[route]]\npath = \"/zero\"\nbackends = [{{ name = \"{url}\", weight = 0 }}]\n\
         [[route]]\npath = \"/some\"\nbackends = [{{ name = \"none\", weight = 0 }}, \
         {{ name = \"{url}\" }}]\n"
    );
    let server = Server::start(io, &settings);
    for (target, status) in [("/none", 500), ("/void", 500), ("/zero", 500), ("/some", 200)] {
        for _ in 0..5 {
            assert_eq!(get(&server, target, "").status, status, "{target}");
        }
    }
}

fn fixed_answers(io: Io) {
    let settings = "[[route]]\npath = \"/json\"\n\
        respond = { status = 410, content_type = \"application/json\", body = \"{\\\"a\\\":1}\" }\n\
        filters = [{ response_headers = { set = { X-A = \"b\" } } }]\n\
        [[route]]\npath = \"/none\"\nrespond = { status = 204 }\n";
    let server = Server::start(io, settings);
    let mut peer = Peer::connect(server.address);
    for _ in 0..2 {
        let response = peer.request("POST", "/json/x", "", "ignored");
        assert_eq!((response.status, response.text().as_str()), (410, "{\"a\":1}"));
        assert_eq!(response.field("content-type"), Some("application/json"));
        assert_eq!(response.field("x-a"), Some("b"));
        let head = peer.request("HEAD", "/json", "", "");
        assert_eq!((head.status, head.field("content-length")), (410, Some("7")));
        let response = peer.request("GET", "/none", "", "");
        assert_eq!((response.status, response.field("content-length")), (204, None));
    }
}

fn a_hub_beside_routes(io: Io) {
    let settings = format!("[[route]]\npath = \"{HUB}\"\nhub = true\n{}", named("rest", ""));
    let server = Server::start(io, &settings);
    let mut stream = Stream::open(&server, "topic=a");
    server.publish(&[("topic", "a"), ("data", "event")]);
    assert_eq!(stream.data(), "event");
    assert_eq!(get(&server, "/else", "").text(), "rest");
}

fn weights_share_requests(io: Io) {
    let origins: Vec<_> = (0..3).map(|_| Origin::start(|call| call.respond(200, "", ""))).collect();
    let urls: Vec<_> = origins.iter().map(Origin::url).collect();
    let settings = format!(
        "[[route]]\nbackends = [{{ name = \"{}\", weight = 9 }}, {{ name = \"{}\" }}, \
         {{ name = \"{}\", weight = 0 }}]\n",
        urls[0], urls[1], urls[2]
    );
    let server = Server::start(io, &settings);
    let mut peer = Peer::connect(server.address);
    for _ in 0..400 {
        assert_eq!(peer.request("GET", "/", "", "").status, 200);
    }
    let shares: Vec<_> = origins.iter().map(|origin| origin.asked().len()).collect();
    assert_eq!(shares.iter().sum::<usize>(), 400);
    // 40 are expected at the second; the chance of less than 10 or more than 90 is below 1e-9.
    assert!((10..90).contains(&shares[1]), "{shares:?}");
    assert_eq!(shares[2], 0);
}
