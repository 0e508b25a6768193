//! Tokens: who may publish, who may read private events.

use crate::common::Io;
use crate::common::peer::Peer;
use crate::common::server::HUB;
use crate::common::server::Publisher;
use crate::common::server::Server;
use crate::common::server::encode;
use crate::common::stream::Stream;
use crate::common::token;
use std::time::SystemTime;

crate::on_both_drivers!(
    publishing_needs_a_token_that_covers_every_topic,
    private_events_go_to_those_who_may_read_them,
    a_cookie_is_a_token_too,
    replay_checks_each_event,
    a_hub_may_refuse_strangers,
    a_stream_ends_with_its_token,
);

fn publish_status(server: &Server, fields: &str, form: &[(&str, &str)]) -> u16 {
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    server.request("POST", HUB, &format!("{kind}{fields}"), &encode(form)).status
}

fn publishing_needs_a_token_that_covers_every_topic(io: Io) {
    let server = Server::start(io, &token::keyed(""));
    let status = |fields: &str| publish_status(&server, fields, &[("topic", "a")]);
    assert_eq!(status(""), 401);
    assert_eq!(status(&token::bearer(&token::publisher(&["a"]))), 200);
    assert_eq!(status(&token::bearer(&token::publisher(&["*"]))), 200);
    let claims = serde_json::json!({ "mercure": { "publish": ["*"] } });
    let forged = token::sign("another key that is long enough for it", &claims);
    assert_eq!(status(&token::bearer(&forged)), 401);
    let subscribers = token::sign(token::SUBSCRIBER_KEY, &claims);
    assert_eq!(status(&token::bearer(&subscribers)), 401, "the other role's key");
    let (header, claims) = ("eyJhbGciOiJub25lIn0", "eyJtZXJjdXJlIjp7InB1Ymxpc2giOlsiKiJdfX0");
    assert_eq!(status(&token::bearer(&format!("{header}.{claims}."))), 401, "alg none");
    assert_eq!(status("Authorization: Basic YTpi\r\n"), 401);
    let good = token::bearer(&token::publisher(&["a"]));
    assert!(matches!(status(&format!("{good}{good}")), 400 | 401), "two of them");
    let expired = serde_json::json!({ "mercure": { "publish": ["*"] }, "exp": 1_000_000_000 });
    let expired = token::sign(token::PUBLISHER_KEY, &expired);
    assert_eq!(status(&token::bearer(&expired)), 401);

    let none = token::bearer(&token::publisher(&[]));
    let form = [("topic", "a"), ("topic", "b")];
    for (fields, form) in [(&none, &form[..1]), (&good, &form[..]), (&good, &form[1..])] {
        let status = publish_status(&server, fields, form);
        assert!(matches!(status, 401 | 403), "{status} for {form:?}");
    }
}

fn private_events_go_to_those_who_may_read_them(io: Io) {
    let server = Server::start(io, &token::keyed(""));
    let with = |topics: &[&str]| {
        let fields = token::bearer(&token::subscriber(topics));
        Stream::with(&server, "topic=a&topic=b", &fields)
    };
    let mut streams = [
        (Stream::open(&server, "topic=a&topic=b"), "public"),
        (with(&[]), "public"),
        (with(&["a"]), "public to-a to-ac"),
        (with(&["*"]), "public to-a to-b to-ac"),
        (with(&["c"]), "public to-ac"),
        (with(&["b", "x"]), "public to-b"),
    ];
    let mut publisher = Publisher::with_token(&server, &token::publisher(&["*"]));
    publisher.publish(&[("topic", "a"), ("data", "public")]);
    publisher.publish(&[("topic", "a"), ("data", "to-a"), ("private", "on")]);
    publisher.publish(&[("topic", "b"), ("data", "to-b"), ("private", "")]);
    // Routed by `a`, granted by either: routing and grants are separate tests.
    publisher.publish(&[("topic", "a"), ("topic", "c"), ("data", "to-ac"), ("private", "on")]);
    publisher.publish(&[("topic", "b"), ("data", "end")]);
    for (n, (stream, want)) in streams.iter_mut().enumerate() {
        let mut got = Vec::new();
        loop {
            match stream.data() {
                data if data == "end" => break,
                data => got.push(data),
            }
        }
        assert_eq!(got.join(" "), *want, "stream {n}");
    }
}

fn a_cookie_is_a_token_too(io: Io) {
    let settings = token::keyed("cors_origins = [\"https://app.example\"]");
    let server = Server::start(io, &settings);
    let cookie = |token: &str| format!("Cookie: other=1; mercureAuthorization={token}; z=2\r\n");
    let fields = cookie(&token::subscriber(&["a"]));
    let mut stream = Stream::with(&server, "topic=a", &fields);
    let form = [("topic", "a"), ("data", "secret"), ("private", "on")];
    let publisher = cookie(&token::publisher(&["a"]));
    assert!(matches!(publish_status(&server, &publisher, &form), 400 | 401), "no origin");
    let foreign = format!("{publisher}Origin: https://evil.example\r\n");
    assert!(matches!(publish_status(&server, &foreign, &form), 400 | 401 | 403), "foreign origin");
    let own = format!("{publisher}Origin: https://app.example\r\n");
    assert_eq!(publish_status(&server, &own, &form), 200);
    assert_eq!(stream.data(), "secret");
    let wrong = format!("{fields}Authorization: Bearer {}\r\n", "x".repeat(60));
    let refused = Stream::try_over(Peer::connect(server.address), "topic=a", &wrong);
    assert_eq!(refused.err().map(|r| r.status), Some(401), "a bad header is no fallback");
}

fn replay_checks_each_event(io: Io) {
    let server = Server::start(io, &token::keyed(""));
    let mut publisher = Publisher::with_token(&server, &token::publisher(&["*"]));
    for n in 0..6 {
        let data = n.to_string();
        let mut form = vec![("topic", "a"), ("data", data.as_str())];
        if n % 2 == 1 {
            form.push(("private", "on"));
        }
        publisher.publish(&form);
    }
    let mut stranger = Stream::open(&server, "topic=a&lastEventID=earliest");
    let reader = token::bearer(&token::subscriber(&["a"]));
    let mut reader = Stream::with(&server, "topic=a&lastEventID=earliest", &reader);
    publisher.publish(&[("topic", "a"), ("data", "end")]);
    assert_eq!((0..4).map(|_| stranger.data()).collect::<Vec<_>>(), ["0", "2", "4", "end"]);
    let all: Vec<_> = (0..7).map(|_| reader.data()).collect();
    assert_eq!(all, ["0", "1", "2", "3", "4", "5", "end"]);
}

fn a_hub_may_refuse_strangers(io: Io) {
    let server = Server::start(io, &token::keyed("anonymous = false"));
    let open = |fields: &str| Stream::try_over(Peer::connect(server.address), "topic=a", fields);
    assert_eq!(open("").err().map(|r| r.status), Some(401));
    let before_parameters = server.request("GET", HUB, "", "").status;
    assert_eq!(before_parameters, 401, "the token is checked first");
    assert!(open(&token::bearer(&token::subscriber(&[]))).is_ok());
}

/// The stream ends before the token does, and not long before.
fn a_stream_ends_with_its_token(io: Io) {
    let server = Server::start(io, &token::keyed(""));
    let seconds = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let exp = seconds().as_secs() + 5;
    let mut stream =
        Stream::with(&server, "topic=a", &token::bearer(&token::expiring(&["a"], exp)));
    let form = [("topic", "a"), ("data", "secret"), ("private", "on")];
    Publisher::with_token(&server, &token::publisher(&["a"])).publish(&form);
    assert_eq!(stream.data(), "secret");
    assert_eq!(stream.try_event(), None, "the end of the stream");
    let left = exp as f64 - seconds().as_secs_f64();
    // Half a second past the end would be the network's and the scheduler's.
    assert!(!stream.is_cut && left > -0.5, "{left} s after the token");
    assert!(left < 3.0, "{left} s before the token");
}
