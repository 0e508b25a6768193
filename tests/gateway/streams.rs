//! Upstream event streams of every shape: lines, types, marks, comments, framings.

use crate::common::Io;
use crate::common::call::Call;
use crate::common::call::Next;
use crate::common::origin::Origin;
use crate::common::stream::Block;
use crate::common::stream::Stream;
use crate::common::tape::CHUNKED;
use crate::common::tape::STREAM;
use crate::common::tape::chunk;
use crate::stage::get;
use crate::stage::share;

crate::on_both_drivers!(
    every_line_end_and_every_cut_give_the_same_events,
    odd_lines_do_no_harm,
    framings_of_the_upstream_do_not_matter,
    comments_keep_an_upstream_alive_and_go_no_further,
    an_upstreams_retry_goes_no_further,
    methods_other_than_get,
    pages_of_other_origins,
    clients_get_heartbeats_of_their_own,
);

/// What the text of `EVENTS` means.
fn assert_events(stream: &mut Stream) {
    let mut next = || {
        let event = stream.event();
        (event.kind, event.data)
    };
    assert_eq!(next(), (None, "plain".into()));
    assert_eq!(next(), (Some("tick".into()), "two\nlines".into()));
    assert_eq!(next(), (None, " one space kept".into()));
    assert_eq!(next(), (None, String::new()));
    assert_eq!(next(), (None, "ünïcödé \u{1f30a}".into()));
    assert_eq!(next(), (None, "end".into()));
}

const EVENTS: &str = "\u{feff}: a comment\ndata: plain\n\nevent: tick\ndata: two\ndata:lines\n\n\
                      data:  one space kept\n\ndata\n\ndata: ünïcödé \u{1f30a}\n\n\
                      event: never\nid: x\n\ndata: end\n\n";

/// Serves the text in `/ENDS/PIECE`: with these line ends, in pieces of so many bytes.
fn serve(call: &mut Call<'_>) -> Next {
    let path = call.asked.target.clone();
    let mut words = path.split('/').skip(2);
    let end = match words.next().unwrap() {
        "lf" => "\n",
        "crlf" => "\r\n",
        _ => "\r",
    };
    let piece: usize = words.next().unwrap().parse().unwrap();
    // With CR alone an end is only certain with the next byte.
    let text = format!("{}: \n", EVENTS).replace('\n', end);
    call.send(STREAM);
    for piece in text.as_bytes().chunks(piece) {
        call.send(piece);
    }
    call.hold()
}

fn every_line_end_and_every_cut_give_the_same_events(io: Io) {
    let origin = Origin::start(serve);
    let server = share(io, &origin, "/e{rest}", "initial = 100");
    let mut streams = Vec::new();
    for end in ["lf", "crlf", "cr"] {
        for piece in [1, 2, 3, 5, 7, 1000] {
            streams.push(Stream::at(&server, &format!("/s/{end}/{piece}"), ""));
        }
    }
    for stream in &mut streams {
        assert_events(stream);
    }
}

fn odd_lines_do_no_harm(io: Io) {
    let origin = Origin::start(|call| {
        call.send(STREAM);
        call.send("nonsense\nunknown: field\n:\n::\nid\nretry: soon\nretry: -1\ndata: 1\n\n");
        call.send(b"data: \xff\xfe bad \xc3\n\n".as_slice());
        call.send(b"event: a\0b\ndata: 3\n\n".as_slice());
        call.send(b"id: a\0b\ndata: 4\n\n".as_slice());
        call.send("id: \ndata: 5\n\n\n\n\ndata: id: forged\n\n: \u{feff}\ndata: 7\u{feff}\n\n");
        call.hold()
    });
    let server = share(io, &origin, "/e", "initial = 100");
    let mut stream = Stream::at(&server, "/s", "");
    assert_eq!(stream.data(), "1");
    assert_eq!(stream.data(), "\u{fffd}\u{fffd} bad \u{fffd}");
    let event = stream.event();
    assert_eq!((event.kind.as_deref(), event.data.as_str()), (Some("a\u{fffd}b"), "3"));
    let event = stream.event();
    assert!(!event.id.unwrap().contains('\0'), "an id with NUL is none");
    assert_eq!(event.data, "4");
    assert_eq!(stream.data(), "5");
    assert_eq!(stream.data(), "id: forged");
    assert_eq!(stream.data(), "7\u{feff}");
    assert_eq!(origin.connections(), 1);
}

fn framings_of_the_upstream_do_not_matter(io: Io) {
    let origin = Origin::start(|call| {
        let text = "id: 1\ndata: one\n\nid: 2\ndata: two\n\n";
        match (call.asked.field("last-event-id"), call.asked.path()) {
            (Some(_), _) => {
                call.send(format!("{STREAM}id: 3\ndata: three\n\n"));
                return call.hold();
            }
            (None, "/e/sized") => {
                let kind = "Content-Type: text/event-stream; charset=utf-8\r\n";
                return call.respond(200, kind, text);
            }
            (None, "/e/chunks") => {
                call.send(CHUNKED);
                for byte in text.as_bytes() {
                    call.send(chunk([*byte]));
                }
                call.send("0\r\nX-Trailer: 1\r\n\r\n");
            }
            (None, "/e/old") => {
                let head = "HTTP/1.0 200 OK\r\ncontent-TYPE: Text/Event-Stream\r\n\r\n";
                call.send(format!("{head}{text}"));
            }
            (None, "/e/interim") => {
                let hints = "HTTP/1.1 103 Early Hints\r\nContent-Type: text/html\r\n\r\n";
                call.send(format!("{hints}{STREAM}{text}"));
            }
            (None, _) => {
                call.send(format!("{STREAM}{text}"));
            }
        }
        Next::Close
    });
    let server = share(io, &origin, "/e{rest}", "initial = 100");
    let kinds = ["sized", "chunks", "old", "interim", "end"];
    let mut streams = kinds.map(|kind| Stream::at(&server, &format!("/s/{kind}"), ""));
    for (stream, kind) in streams.iter_mut().zip(kinds) {
        for want in ["one", "two", "three"] {
            assert_eq!(stream.data(), want, "{kind}");
        }
    }
    let asked = origin.await_asked(10);
    assert_eq!(asked.iter().filter(|a| a.field("last-event-id") == Some("2")).count(), 5);
}

fn comments_keep_an_upstream_alive_and_go_no_further(io: Io) {
    // The stream is silent but for comments, for several times the idle timeout.
    let origin = Origin::start(|call| {
        call.send(STREAM);
        for _ in 0..60 {
            if !call.send(":\n") {
                return Next::Close;
            }
            std::thread::sleep(std::time::Duration::from_millis(25));
        }
        call.send("data: after all\n\n");
        call.hold()
    });
    let server = share(io, &origin, "/e", "idle_timeout = \"500ms\"\ninitial = 1");
    let mut stream = Stream::at(&server, "/s", "");
    assert_eq!(stream.data(), "after all");
    let others: Vec<_> = stream.comments.iter().filter(|c| !c.is_empty()).collect();
    assert!(others.len() <= 1 && stream.comments.len() <= 2, "{:?}", stream.comments);
    // A machine that sleeps for half a second here is not the gateway's fault.
    assert!(origin.connections() <= 3, "{}", origin.connections());
}

fn an_upstreams_retry_goes_no_further(io: Io) {
    let origin = Origin::start(|call| {
        call.send(format!("{STREAM}retry: 7\ndata: 1\n\nretry: 8\n\ndata: 2\nretry: 9\n\n"));
        call.hold()
    });
    let server = share(io, &origin, "/e", "retry = \"1234ms\"\ninitial = 100");
    let mut stream = Stream::at(&server, "/s", "");
    let mut blocks = std::iter::from_fn(|| stream.block());
    let retry = blocks.find(|block| !matches!(block, Block::Comment(_)));
    assert_eq!(retry, Some(Block::Retry(1234)), "our own, and first");
    for want in ["1", "2"] {
        let event = stream.event();
        assert_eq!((event.data.as_str(), event.retry), (want, None));
    }
}

fn methods_other_than_get(io: Io) {
    let origin = Origin::start(|call| {
        call.send(STREAM);
        call.hold()
    });
    let server = share(io, &origin, "/e", "cors_origins = [\"https://a.example\"]");
    let head = server.request("HEAD", "/s", "", "");
    assert_eq!(head.status, 200);
    assert!(head.field("content-type").unwrap().starts_with("text/event-stream"));
    let fields = "Origin: https://a.example\r\nAccess-Control-Request-Method: GET\r\n";
    let options = server.request("OPTIONS", "/s", fields, "");
    assert_eq!(options.status, 204);
    assert_eq!(options.field("access-control-allow-origin"), Some("https://a.example"));
    for method in ["POST", "PUT", "DELETE"] {
        let response = server.request(method, "/s", "", "data=x");
        assert_eq!(response.status, 405, "{method}");
        assert!(response.field("allow").unwrap().contains("GET"));
    }
    // Whoever only asks does not make the upstream work.
    let mut stream = Stream::at(&server, "/s", "");
    origin.await_asked(1);
    assert!(stream.response.field("cache-control").unwrap().contains("no-store"));
    assert_eq!(stream.peer().fill_within(std::time::Duration::from_millis(1)), 0);
}

fn pages_of_other_origins(io: Io) {
    let origin = Origin::start(|call| {
        call.send(STREAM);
        call.hold()
    });
    let server = share(io, &origin, "/e", "cors_origins = [\"https://a.example\"]");
    let allowed = |origin: &str| {
        let stream = Stream::at(&server, "/s", &format!("Origin: {origin}\r\n"));
        stream.response.field("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!(allowed("https://a.example").as_deref(), Some("https://a.example"));
    assert_eq!(allowed("https://b.example"), None);
    assert_eq!(get(&server, "/none", "").status, 404);
}

fn clients_get_heartbeats_of_their_own(io: Io) {
    let origin = Origin::start(|call| call.hold());
    let server = share(io, &origin, "/e", "heartbeat = \"100ms\"\nhead_timeout = \"10m\"");
    let mut streams: Vec<_> = (0..5).map(|_| Stream::at(&server, "/s", "")).collect();
    for stream in &mut streams {
        for _ in 0..3 {
            let block = stream.block().unwrap();
            assert!(matches!(block, Block::Comment(_)), "{block:?}");
        }
    }
    assert_eq!(origin.connections(), 1, "the upstream has not even answered");
}
