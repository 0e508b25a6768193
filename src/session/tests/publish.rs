//! Publishing: fields, statuses and bodies (`reference`: Mercure, "Publish").

use super::*;
use crate::metrics::Counter;

fn wire(world: &World, seq: u64) -> String {
    let all = world.get("?topic=*&lastEventID=earliest", &[]).subscribe();
    let page = world.site.channel().page(&all.subscription, seq - 1, seq, usize::MAX);
    String::from_utf8(page.events[0].wire.to_vec()).unwrap()
}

#[test]
fn the_answer_is_the_id_and_nothing_else() {
    let world = World::open(|_| {});
    let answer = world.post("topic=a&id=%5B%22x%22%5D&data=1", &[]);
    assert_eq!((answer.status, answer.body.as_str()), (200, "[\"x\"]"));
    assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.field("content-length"), Some("5"));
    assert!(matches!(answer.next, Next::Read), "the connection goes on");
    let made = world.post("topic=a", &[]);
    assert_eq!(made.body, "urn:tide:0123456789abcdef:2");
    assert!(wire(&world, 2).starts_with("id: urn:tide:0123456789abcdef:2\n"));
    assert_eq!(world.recorder.counters().counter(Counter::Published), 2);
}

#[test]
fn the_event_has_the_fields_in_order() {
    let world = World::open(|_| {});
    world.post("topic=a&data=a%0D%0Ab&type=t&retry=5&id=i", &[]);
    assert_eq!(wire(&world, 1), "event: t\nretry: 5\nid: i\ndata: a\ndata: b\n\n");
    world.post("topic=a&id=j", &[]);
    assert_eq!(wire(&world, 2), "id: j\ndata: \n\n");
}

#[test]
fn refusals_have_their_status_and_text() {
    let world = World::open(|_| {});
    let many = vec!["topic=a"; 1001].join("&");
    let long = format!("topic={}", "a".repeat(4097));
    for (form, status, text) in [
        ("data=x", 400, "Missing \"topic\" parameter\n"),
        ("", 400, "Missing \"topic\" parameter\n"),
        ("topic=a&retry=invalid", 400, "Invalid \"retry\" parameter\n"),
        ("topic=a&data=%ff", 400, "Bad Request"),
        ("topic=a&id=a%0Ab", 400, "Invalid \"id\""),
        ("topic=a&id=%2342", 400, "Invalid \"id\""),
        ("topic=a&id=earliest", 400, "Invalid \"id\""),
        ("topic=a&id=urn:tide:0123456789abcdef:7", 400, "the id has the form"),
        ("topic=a&type=a%00", 400, "Invalid \"type\""),
        ("topic=/.well-known/mercure/subscriptions/x", 403, "Reserved topic"),
        ("topic=a&topic=mercure", 403, "Reserved topic"),
        (&many, 413, "Too many \"topic\" parameters"),
        (&long, 413, "A topic or id is too long"),
    ] {
        let answer = world.post(form, &[]);
        assert_eq!(answer.status, status, "{form}");
        assert!(answer.body.starts_with(text) && answer.body.ends_with('\n'), "{}", answer.body);
        assert!(matches!(answer.next, Next::Read), "a refusal keeps the connection: {form}");
    }
    assert_eq!(world.site.channel().tail(), 0, "nothing was appended");
}

#[test]
fn fields_count_only_in_the_body_and_only_in_a_form() {
    let world = World::open(|_| {});
    let answer = world.ask(
        &[
            "POST /.well-known/mercure?topic=a HTTP/1.1",
            "Content-Type: application/x-www-form-urlencoded",
        ],
        "data=x",
    );
    assert_eq!(answer.status, 400);
    let json = ["POST /.well-known/mercure HTTP/1.1", "Content-Type: application/json"];
    assert_eq!(world.ask(&json, "topic=a").status, 400);
    assert_eq!(world.ask(&json[..1], "topic=a").status, 400);
}

#[test]
fn an_event_of_several_topics_is_one_event() {
    let world = World::open(|_| {});
    world.post("topic=a&topic=b&topic=a&data=1", &[]);
    let both = world.get("?topic=a&topic=b&lastEventID=earliest", &[]).subscribe();
    assert_eq!(world.replay(&both), [1]);
    let second = world.get("?topic=b&lastEventID=earliest", &[]).subscribe();
    assert_eq!(world.replay(&second), [1]);
    let other = world.get("?topic=A&lastEventID=earliest", &[]).subscribe();
    assert!(world.replay(&other).is_empty(), "topics are compared byte by byte");
}

#[test]
fn a_full_backlog_asks_to_come_back() {
    let mut world = World::open(|_| {});
    let limits = Limits {
        events_max: 9,
        bytes_max: 9999,
        age_max_millis: 0,
        backlog_bytes_max: 10,
        per_topic: None,
    };
    let channel = Arc::new(Channel::new(limits, EPOCH, Hasher::new(1)));
    let bell = Arc::new(crate::log::Bell::new(Box::new(|| {})));
    world.site =
        Site::new(Arc::new(Config::default()), Arc::clone(&channel), Arc::clone(&world.phase));
    let (_reader, _) = channel.reader(&bell);
    assert_eq!(world.post("topic=a&data=0123456789", &[]).status, 200);
    let answer = world.post("topic=a", &[]);
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
}

#[test]
fn expect_continue_is_answered_where_the_body_is_wanted() {
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 7\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        )
    };
    let world = World::open(|_| {});
    let (mut session, mut out) = (world.session(), Vec::new());
    let wanted = head("/.well-known/mercure");
    assert!(matches!(world.feed(&mut session, wanted.as_bytes(), &mut out), Next::Read));
    assert_eq!(out, b"HTTP/1.1 100 Continue\r\n\r\n");
    out.clear();
    assert!(matches!(world.feed(&mut session, b"topic=a", &mut out), Next::Read));
    assert!(out.starts_with(b"HTTP/1.1 200 OK\r\n"));

    let keyed = World::keyed(|_| {});
    for (world, path, status) in
        [(&world, "/nowhere", "404"), (&keyed, "/.well-known/mercure", "401")]
    {
        let mut out = Vec::new();
        let next = world.feed(&mut world.session(), head(path).as_bytes(), &mut out);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        assert!(text.contains("Connection: close\r\n") && matches!(next, Next::Close(_)));
    }
}
