//! What of a message passes, what is added, and what nobody can take away.

use super::*;
use crate::http::Limits;
use crate::http::h1::Decoder;
use crate::http::h1::Item;
use crate::http::h1::encode::request_head;
use crate::http::h1::encode::response_head;
use crate::http::h1::response::ResponseDecoder;
use crate::http::h1::response::ResponseItem;
use proptest::prelude::*;

fn request(text: &str) -> Head {
    match Decoder::new().decode(&mut text.as_bytes(), &Limits::default()) {
        Ok(Item::Head(head)) => *head,
        other => panic!("{text:?}: {other:?}"),
    }
}

fn get(fields: &str) -> Head {
    request(&format!("GET / HTTP/1.1\r\nHost: h:1\r\n{fields}\r\n"))
}

fn response_to(is_head: bool, text: &str) -> ResponseHead {
    let mut decoder = ResponseDecoder::new();
    decoder.expect(is_head);
    match decoder.decode(&mut text.as_bytes(), &Limits::default()) {
        Ok(ResponseItem::Head(head) | ResponseItem::Interim(head)) => *head,
        other => panic!("{text:?}: {other:?}"),
    }
}

fn response(text: &str) -> ResponseHead {
    response_to(false, text)
}

fn hop(head: &Head) -> Hop<'static> {
    Hop {
        client: "192.0.2.7".parse().unwrap(),
        is_tls: false,
        host: None,
        request_id: "new-id",
        framing: head.framing(),
        upgrade: false,
    }
}

fn back(head: &ResponseHead) -> Back<'static> {
    let to = To { version: Version::Http11, keep_alive: true, is_head: false };
    let framing = framing_to(to.version, head.framing());
    Back { to, framing, date: "today", upgrade: false, trailers: false }
}

fn text(fields: &Fields) -> String {
    let mut out = Vec::new();
    fields.write(&mut out);
    String::from_utf8(out).unwrap()
}

/// The fields as a backend gets them, without those that every request gets.
fn passed(head: &Head, hop: &Hop<'_>) -> String {
    let mut fields = request_fields(head, hop);
    for name in ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "Via"] {
        assert_eq!(fields.all(name).count(), 1, "{name}");
        fields.remove(name);
    }
    fields.remove("X-Request-Id");
    text(&fields)
}

#[test]
fn a_request_says_where_it_comes_from() {
    let head = get("Accept: x\r\nX-A: 1\r\nX-A: 2\r\n");
    let want = "Host: h:1\r\nAccept: x\r\nX-A: 1\r\nX-A: 2\r\nX-Forwarded-For: 192.0.2.7\r\n\
                X-Forwarded-Proto: http\r\nX-Forwarded-Host: h:1\r\n\
                Forwarded: for=192.0.2.7;host=\"h:1\";proto=http\r\nVia: 1.1 tidegate\r\n\
                X-Request-Id: new-id\r\n";
    assert_eq!(text(&request_fields(&head, &hop(&head))), want);
}

#[test]
fn what_earlier_hops_said_is_continued() {
    let head =
        get("X-Forwarded-For: 1.1.1.1\r\nVia: 1.0 a\r\nvia: 2 b\r\nX-Forwarded-Proto: x\r\n\
         Forwarded: for=1.1.1.1\r\nX-Forwarded-Host: evil\r\nX-Request-Id: mine-1\r\n");
    let client = "2001:db8::1".parse().unwrap();
    let hop = Hop { client, is_tls: true, host: Some("inner"), ..hop(&head) };
    let want = "Host: inner\r\nX-Request-Id: mine-1\r\nX-Forwarded-For: 1.1.1.1, 2001:db8::1\r\n\
                X-Forwarded-Proto: https\r\nX-Forwarded-Host: h:1\r\n\
                Forwarded: for=1.1.1.1, for=\"[2001:db8::1]\";host=\"h:1\";proto=https\r\n\
                Via: 1.0 a, 2 b, 1.1 tidegate\r\n";
    assert_eq!(text(&request_fields(&head, &hop)), want);
}

#[test]
fn a_mapped_address_is_its_ipv4_address() {
    let head = get("");
    let hop = Hop { client: "::ffff:192.0.2.9".parse().unwrap(), ..hop(&head) };
    let fields = request_fields(&head, &hop);
    assert_eq!(fields.first("x-forwarded-for"), Some(&b"192.0.2.9"[..]));
    assert!(fields.first("forwarded").unwrap().starts_with(b"for=192.0.2.9;"));
}

/// I1: strip first, add after.
#[test]
fn connection_cannot_remove_what_we_add() {
    let named = "X-Forwarded-For, x-forwarded-proto, X-Forwarded-Host, Forwarded, Via, Host, \
                 X-Request-Id, Content-Length, Transfer-Encoding, X-Secret";
    let text = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nConnection: {named}\r\n\
         X-Forwarded-For: 6.6.6.6\r\nX-Request-Id: theirs\r\nx-SECRET: s\r\nX-Kept: k\r\n\
         Content-Length: 3\r\n\r\n"
    );
    let head = request(&text);
    let fields = request_fields(&head, &hop(&head));
    let want = [
        ("Host", "h"),
        ("X-Forwarded-For", "192.0.2.7"),
        ("X-Forwarded-Proto", "http"),
        ("X-Request-Id", "new-id"),
        ("Via", "1.1 tidegate"),
        ("Content-Length", "3"),
        ("X-Kept", "k"),
    ];
    for (name, value) in want {
        assert_eq!(fields.all(name).collect::<Vec<_>>(), [value.as_bytes()], "{name}");
    }
    assert_eq!((fields.first("X-Secret"), fields.first("Connection")), (None, None));
}

#[test]
fn hop_by_hop_fields_stay_behind() {
    let head = get("Keep-Alive: 5\r\nProxy-Connection: x\r\nTE: gzip\r\nUpgrade: websocket\r\n\
         Proxy-Authenticate: a\r\nProxy-Authorization: b\r\nProxy-Authentication-Info: c\r\n\
         Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: x\r\nTrailer: T\r\nA: b\r\n");
    assert_eq!(passed(&head, &hop(&head)), "Host: h:1\r\nA: b\r\n");
}

#[test]
fn names_that_backends_confuse_with_ours_stay_behind() {
    let head = get("X_Forwarded_For: 6.6.6.6\r\nX-Forwarded_Proto: https\r\nX_Request_Id: x\r\n\
         x_forwarded_host: e\r\nX_Other: kept\r\n");
    assert_eq!(passed(&head, &hop(&head)), "Host: h:1\r\nX_Other: kept\r\n");
}

#[test]
fn request_ids() {
    let id = |fields: &str| {
        let head = get(fields);
        let fields = request_fields(&head, &hop(&head));
        let ids: Vec<_> = fields.all("x-request-id").map(<[u8]>::to_vec).collect();
        assert_eq!(ids.len(), 1);
        String::from_utf8(ids.concat()).unwrap()
    };
    let longest = "i".repeat(REQUEST_ID_BYTES_MAX);
    assert_eq!(id(&format!("X-Request-ID: {longest}\r\n")), longest);
    assert_eq!(id(&format!("X-Request-ID: {longest}i\r\n")), "new-id");
    for bad in ["X-Request-Id:\r\n", "X-Request-Id: a b\r\n", "X-Request-Id: \u{e9}\r\n"] {
        assert_eq!(id(bad), "new-id", "{bad:?}");
    }
    assert_eq!(id("X-Request-Id: a\r\nX-Request-Id: b\r\n"), "new-id", "which one?");
}

#[test]
fn request_framing_is_ours() {
    let head = request("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(passed(&head, &hop(&head)), "Host: h\r\nTransfer-Encoding: chunked\r\n");
    let sized = Hop { framing: Framing::Sized(12), ..hop(&head) };
    assert_eq!(passed(&head, &sized), "Host: h\r\nContent-Length: 12\r\n");
    let none = Hop { framing: Framing::None, ..sized };
    assert_eq!(passed(&head, &none), "Host: h\r\n");
    let zero = request("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 00\r\n\r\n");
    assert_eq!(passed(&zero, &hop(&zero)), "Host: h\r\nContent-Length: 0\r\n");
}

#[test]
fn the_host_of_an_absolute_target_wins() {
    let head = request("GET http://t:2/ HTTP/1.1\r\nHost: other\r\n\r\n");
    assert_eq!(passed(&head, &hop(&head)), "Host: t:2\r\n");
    let old = request("GET / HTTP/1.0\r\n\r\n");
    let fields = request_fields(&old, &hop(&old));
    assert_eq!((fields.first("Host"), fields.first("X-Forwarded-Host")), (Some(&b""[..]), None));
    assert_eq!(fields.first("via"), Some(&b"1.0 tidegate"[..]));
    assert_eq!(fields.first("forwarded"), Some(&b"for=192.0.2.7;proto=http"[..]));
}

#[test]
fn upgrades_pass_only_where_they_may() {
    let head = get("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nTE: trailers\r\n");
    assert_eq!(head.upgrade(), Some(&b"websocket"[..]));
    let te = "Host: h:1\r\nConnection: TE\r\nTE: trailers\r\n";
    assert_eq!(passed(&head, &hop(&head)), te);
    let allowed = Hop { upgrade: true, ..hop(&head) };
    let both = "Host: h:1\r\nConnection: Upgrade, TE\r\nUpgrade: websocket\r\nTE: trailers\r\n";
    assert_eq!(passed(&head, &allowed), both);
    for fields in [
        "Upgrade: websocket\r\n",
        "Connection: upgrade\r\n",
        "Connection: upgrade\r\nUpgrade:\r\n",
        "Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n",
        "Connection: upgrade\r\nUpgrade: websocket, H2C\r\n",
        "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
    ] {
        let head = get(fields);
        assert_eq!(head.upgrade(), None, "{fields:?}");
        assert_eq!(passed(&head, &allowed), "Host: h:1\r\n", "{fields:?}");
    }
    let fields = "Connection: upgrade\r\nUpgrade: x\r\n";
    let old = request(&format!("GET / HTTP/1.0\r\n{fields}\r\n"));
    let body = request(&format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n{fields}\r\n"));
    assert_eq!((old.upgrade(), body.upgrade()), (None, None));
}

#[test]
fn an_expectation_passes_if_somebody_waits_for_it() {
    let expect = "Expect: 100-continue\r\n";
    let head = request(&format!("PUT / HTTP/1.1\r\nHost: h\r\n{expect}Content-Length: 1\r\n\r\n"));
    assert_eq!(passed(&head, &hop(&head)), format!("Host: h\r\n{expect}Content-Length: 1\r\n"));
    assert_eq!(passed(&get(expect), &hop(&get(expect))), "Host: h:1\r\n");
    let old = request(&format!("PUT / HTTP/1.0\r\nHost: h\r\n{expect}Content-Length: 1\r\n\r\n"));
    assert_eq!(passed(&old, &hop(&old)), "Host: h\r\nContent-Length: 1\r\n");
}

#[test]
fn trailers_pass_to_those_who_take_them() {
    assert!(accepts_trailers(&get("TE: gzip;q=0.5, Trailers\r\n")));
    assert!(!accepts_trailers(&get("TE: gzip\r\n")) && !accepts_trailers(&get("")));
    assert!(!accepts_trailers(&request("GET / HTTP/1.0\r\nTE: trailers\r\n\r\n")));
    let mut trailers = Fields::new();
    for name in ["Digest", "content-length", "Transfer-Encoding", "Set-Cookie", "grpc-status"] {
        trailers.push(name, "1");
    }
    assert_eq!(text(&trailer_fields(trailers)), "Digest: 1\r\ngrpc-status: 1\r\n");
}

#[test]
fn a_response_loses_what_was_the_backends_and_gets_what_is_ours() {
    let head = response(
        "HTTP/1.1 200 OK\r\nConnection: close, X-Inner\r\nKeep-Alive: 5\r\nX-Inner: x\r\n\
         Set-Cookie: a\r\nSet-Cookie: b\r\nUpgrade: h2c\r\nContent-Length: 3\r\nTrailer: T\r\n\
         Proxy-Authenticate: p\r\nVia: 1.1 x\r\n\r\n",
    );
    let want = "Set-Cookie: a\r\nSet-Cookie: b\r\nVia: 1.1 x, 1.1 tidegate\r\nDate: today\r\n\
                Content-Length: 3\r\n";
    assert_eq!(text(&response_fields(&head, &back(&head))), want);
    let dated = response("HTTP/1.0 200 OK\r\nDate: then\r\nContent-Length: 0\r\n\r\n");
    let want = "Date: then\r\nVia: 1.0 tidegate\r\nContent-Length: 0\r\n";
    assert_eq!(text(&response_fields(&dated, &back(&dated))), want);
}

#[test]
fn response_framing_fits_the_client() {
    let chunked = "Transfer-Encoding: chunked\r\n";
    let end = |is_head: bool, version: Version, status: &str, fields: &str| {
        let text = format!("HTTP/1.1 {status} x\r\nDate: d\r\nTrailer: T\r\n{fields}\r\n");
        let head = response_to(is_head, &text);
        let to = To { version, is_head, ..back(&head).to };
        let framing = framing_to(version, head.framing());
        let mut fields = response_fields(&head, &Back { to, framing, ..back(&head) });
        fields.retain(|name, _| name != "Date" && name != "Via");
        self::text(&fields)
    };
    let (old, new) = (Version::Http10, Version::Http11);
    let (close, keep) = ("Connection: close\r\n", "Connection: keep-alive\r\n");
    let sized = "Content-Length: 5\r\n";
    assert_eq!(end(false, new, "200", ""), chunked, "an end is told from a cut");
    assert_eq!(end(false, new, "200", chunked), chunked);
    assert_eq!(end(false, old, "200", chunked), close);
    assert_eq!(end(false, old, "200", ""), close);
    assert_eq!(end(false, old, "200", sized), format!("{sized}{keep}"));
    assert_eq!(end(true, new, "200", sized), sized);
    assert_eq!(end(true, new, "200", chunked), "");
    assert_eq!(end(false, new, "304", sized), sized);
    assert_eq!(end(false, new, "204", sized), "", "RFC 9110 section 8.6");
    let head = response(&format!("HTTP/1.1 200 x\r\nDate: d\r\nTrailer: T\r\n{chunked}\r\n"));
    let fields = response_fields(&head, &Back { trailers: true, ..back(&head) });
    assert_eq!(fields.first("Trailer"), Some(&b"T"[..]));
}

#[test]
fn interim_responses_and_upgrades() {
    let hints = response("HTTP/1.1 103 x\r\nLink: l\r\nConnection: close\r\n\r\n");
    let want = "Link: l\r\nVia: 1.1 tidegate\r\n";
    assert_eq!(text(&response_fields(&hints, &back(&hints))), want);
    let head = response(
        "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: a\r\nDate: d\r\n\r\n",
    );
    let rest = "Sec-WebSocket-Accept: a\r\nDate: d\r\nVia: 1.1 tidegate\r\n";
    let allowed = Back { upgrade: true, ..back(&head) };
    let want = format!("{rest}Connection: Upgrade\r\nUpgrade: websocket\r\n");
    assert_eq!(text(&response_fields(&head, &allowed)), want);
    assert_eq!(text(&response_fields(&head, &back(&head))), rest);
}

#[test]
fn no_transform() {
    let of =
        |field: &str| is_no_transform(&response(&format!("HTTP/1.1 200 x\r\n{field}\r\n\r\n")));
    assert!(
        of("Cache-Control: no-cache, No-Transform") && of("A: b\r\ncache-control:no-transform")
    );
    assert!(!of("Cache-Control: no-cache") && !of("X: no-transform"));
}

/// Fields that meet in attacks on gateways.
fn field() -> impl Strategy<Value = String> {
    let known: &[&str] = &[
        "Connection: close, X-Forwarded-For",
        "Connection: Content-Length, Host, via",
        "Connection: Transfer-Encoding, upgrade",
        "Content-Length: 3",
        "Transfer-Encoding: chunked",
        "Upgrade: websocket",
        "Upgrade: h2c",
        "TE: trailers",
        "Trailer: X-A",
        "Expect: 100-continue",
        "X-Forwarded-For: 6.6.6.6",
        "Via: 1.1 x",
        "X-Request-Id: a b",
        "Keep-Alive: timeout=5",
        "X-A: \u{e9}\t;",
    ];
    proptest::sample::select(known).prop_map(str::to_owned)
}

proptest! {
    /// What we pass on is read by the next one as exactly what we meant.
    #[test]
    fn a_request_that_passes_is_sound(
        lines in proptest::collection::vec(field(), 0..8),
        upgrade in any::<bool>(),
    ) {
        let given = format!("POST /x HTTP/1.1\r\nHost: h\r\n{}\r\n\r\n", lines.join("\r\n"));
        let given = given.replace("\r\n\r\n\r\n", "\r\n\r\n");
        let Ok(Item::Head(head)) =
            Decoder::new().decode(&mut given.as_bytes(), &Limits::default()) else { return Ok(()) };
        let fields = request_fields(&head, &Hop { upgrade, ..hop(&head) });
        let mut out = Vec::new();
        request_head(head.method_text(), "/x", &fields, &mut out);
        let next = request(std::str::from_utf8(&out).unwrap());
        prop_assert_eq!(next.framing(), head.framing());
        prop_assert_eq!(next.upgrade(), head.upgrade().filter(|_| upgrade));
        prop_assert_eq!(next.expects_continue(), head.expects_continue());
        prop_assert!(next.keep_alive() && next.host() == Some("h"));
        prop_assert!(next.first("x-forwarded-for").unwrap().ends_with(b"192.0.2.7"));
        prop_assert!(next.first("via").unwrap().ends_with(b"1.1 tidegate"));
    }

    #[test]
    fn a_response_that_passes_is_sound(
        lines in proptest::collection::vec(field(), 0..8),
        status in proptest::sample::select(&[103_u16, 200, 204, 304, 404][..]),
        is_head in any::<bool>(),
    ) {
        let given = format!("HTTP/1.1 {status} x\r\nServer: s\r\n{}\r\n\r\n", lines.join("\r\n"));
        let given = given.replace("\r\n\r\n\r\n", "\r\n\r\n");
        let mut decoder = ResponseDecoder::new();
        decoder.expect(is_head);
        let Ok(ResponseItem::Head(head) | ResponseItem::Interim(head)) =
            decoder.decode(&mut given.as_bytes(), &Limits::default()) else { return Ok(()) };
        let mut out = Vec::new();
        let fields = response_fields(&head, &back(&head));
        response_head(head.status(), head.reason(), &fields, &mut out);
        let next = response_to(is_head, std::str::from_utf8(&out).unwrap());
        prop_assert_eq!(next.framing(), framing_to(Version::Http11, head.framing()));
        prop_assert!(next.keep_alive(), "what the backend says of its connection stays there");
    }
}
