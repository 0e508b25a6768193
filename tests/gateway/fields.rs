//! Fields on their way: what belongs to one hop stays there, what the next must know is added.

use crate::common::Io;
use crate::common::origin::Origin;
use crate::common::peer::Peer;
use crate::stage::ask;
use crate::stage::get;
use crate::stage::proxy;

crate::on_both_drivers!(
    what_belongs_to_one_hop_stays_there,
    a_backend_is_told_where_a_request_comes_from,
    a_client_cannot_pretend_or_remove,
    a_request_has_an_id,
    a_response_keeps_what_is_the_clients,
);

fn what_belongs_to_one_hop_stays_there(io: Io) {
    let origin = Origin::start(|call| {
        let fields = "Connection: X-Hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
                      Proxy-Authenticate: Basic\r\nX-End: 2\r\nUpgrade: h2c\r\n";
        call.respond(200, fields, "")
    });
    let server = proxy(io, &origin, "");
    let fields = "Connection: X-Mine, close-not\r\nX-Mine: 1\r\nKeep-Alive: 300\r\n\
                  Proxy-Connection: keep-alive\r\nProxy-Authorization: Basic eDp5\r\n\
                  TE: gzip\r\nX-Kept: a\r\nX-Kept: b\r\nAccept-Encoding: gzip\r\n\
                  Authorization: Bearer t\r\nCookie: a=b\r\n";
    let response = get(&server, "/", fields);
    let asked = origin.await_asked(1).remove(0);
    for gone in ["x-mine", "keep-alive", "proxy-connection", "te", "upgrade", "close-not"] {
        assert_eq!(asked.field(gone), None, "{asked:?}");
    }
    assert!(asked.all("connection").iter().all(|v| !v.contains("X-Mine")), "{asked:?}");
    assert_eq!(asked.all("x-kept"), ["a", "b"], "both, in their order");
    assert_eq!(asked.field("accept-encoding"), Some("gzip"));
    assert_eq!(asked.field("authorization"), Some("Bearer t"));
    assert_eq!(asked.field("cookie"), Some("a=b"));
    for gone in ["x-hop", "keep-alive", "proxy-authenticate", "upgrade"] {
        assert_eq!(response.field(gone), None, "{response:?}");
    }
    assert_eq!(response.field("x-end"), Some("2"));
}

fn a_backend_is_told_where_a_request_comes_from(io: Io) {
    let origin = Origin::start(|call| call.respond(200, "", ""));
    let server = proxy(io, &origin, "");
    ask(&server, "GET /a HTTP/1.1\r\nHost: Shop.Example:81\r\n\r\n");
    let asked = origin.await_asked(1).remove(0);
    assert_eq!(asked.fields[0], ("Host".to_owned(), "Shop.Example:81".to_owned()), "and first");
    assert_eq!(asked.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(asked.field("x-forwarded-proto"), Some("http"));
    assert_eq!(asked.field("x-forwarded-host"), Some("Shop.Example:81"));
    let forwarded = "for=127.0.0.1;host=\"Shop.Example:81\";proto=http";
    assert_eq!(asked.field("forwarded"), Some(forwarded));
    assert_eq!(asked.field("via"), Some("1.1 tidegate"));
    ask(&server, "GET /a HTTP/1.0\r\nHost: h\r\n\r\n");
    assert_eq!(origin.await_asked(2)[1].field("via"), Some("1.0 tidegate"));
}

fn a_client_cannot_pretend_or_remove(io: Io) {
    let origin = Origin::start(|call| call.respond(200, "", ""));
    let server = proxy(io, &origin, "");
    let fields = "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\n\
                  X-Forwarded-Host: evil\r\nForwarded: for=10.0.0.1\r\nVia: 1.0 edge\r\n\
                  X_Forwarded_For: 10.0.0.2\r\n\
                  Connection: X-Forwarded-For, X-Forwarded-Proto, Forwarded, Via, Host\r\n";
    get(&server, "/", fields);
    let asked = origin.await_asked(1).remove(0);
    let from = asked.field("x-forwarded-for").unwrap();
    assert!(from.ends_with("127.0.0.1"), "{from}");
    assert_eq!(asked.field("x-forwarded-proto"), Some("http"));
    assert_eq!(asked.field("x-forwarded-host"), Some("h"));
    assert_eq!(asked.field("host"), Some("h"));
    assert!(asked.field("forwarded").unwrap().ends_with("for=127.0.0.1;host=\"h\";proto=http"));
    assert!(asked.field("via").unwrap().ends_with("1.1 tidegate"));
    assert_eq!(asked.field("x_forwarded_for"), None, "read as ours by some backends");
}

fn a_request_has_an_id(io: Io) {
    let origin = Origin::start(|call| call.respond(200, "", ""));
    let server = proxy(io, &origin, "");
    let mut peer = Peer::connect(server.address);
    for fields in ["", "", "X-Request-Id: mine-1\r\n", "X-Request-Id: a b\r\n", ""] {
        peer.request("GET", "/", fields, "");
    }
    get(&server, "/", "");
    let ids: Vec<_> = origin
        .await_asked(6)
        .iter()
        .map(|asked| asked.field("x-request-id").expect("an id").to_owned())
        .collect();
    assert_eq!(ids[2], "mine-1");
    let mut own: Vec<_> = ids.iter().filter(|id| *id != "mine-1").collect();
    own.sort_unstable();
    own.dedup();
    assert_eq!(own.len(), 5, "each has its own: {ids:?}");
    assert!(own.iter().all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())));
}

fn a_response_keeps_what_is_the_clients(io: Io) {
    let origin = Origin::start(|call| match call.asked.path() {
        "/dated" => call.respond(200, "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nVia: 1.1 in\r\n", ""),
        _ => {
            let fields = "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Accel-Buffering: no\r\n\
                          Cache-Control: no-store\r\nVary: Accept\r\nServer: origin\r\n";
            call.respond(203, fields, "")
        }
    });
    let server = proxy(io, &origin, "");
    let response = get(&server, "/", "");
    assert_eq!(response.status, 203);
    let cookies = response.fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case("set-cookie"));
    assert_eq!(cookies.map(|(_, v)| v.as_str()).collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!(response.field("x-accel-buffering"), Some("no"));
    assert_eq!(response.field("cache-control"), Some("no-store"));
    assert_eq!(response.field("server"), Some("origin"));
    assert_eq!(response.field("via"), Some("1.1 tidegate"));
    assert!(response.field("date").is_some(), "a response without a date gets one");
    let dated = get(&server, "/dated", "");
    assert_eq!(dated.field("date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    assert_eq!(dated.field("via"), Some("1.1 in, 1.1 tidegate"));
}
