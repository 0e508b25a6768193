//! Tokens end to end: who may publish and read what, and that no token is ever shown.

use super::*;

const ALL: &str = "{\"mercure\":{\"publish\":[\"*\"],\"subscribe\":[\"*\"]}}";

#[test]
fn publishing_needs_a_token_that_covers_every_topic() {
    let world = World::keyed(|_| {});
    let status = |form: &str, fields: &[&str]| world.post(form, fields).status;
    assert_eq!(status("topic=a", &[]), 401);
    assert_eq!(status("topic=a", &[&bearer(&["a"], &[])]), 200);
    assert_eq!(status("topic=a&topic=b", &[&bearer(&["a"], &[])]), 401);
    assert_eq!(status("topic=a&topic=b", &[&bearer(&["*"], &[])]), 200);
    assert_eq!(status("topic=a", &[&bearer(&[], &["*"])]), 401);
    assert_eq!(status("topic=a", &[&bearer(&["A"], &[])]), 401);
    assert_eq!(status("topic=a", &["Authorization: Bearer x"]), 401);
    let twice = bearer(&["*"], &[]);
    assert_eq!(status("topic=a", &[&twice, &twice]), 401);
    let lower = bearer(&["*"], &[]).replace("Bearer", "bearer");
    assert_eq!(status("topic=a", &[&lower]), 200);
    let denied = world.post("topic=a", &[]);
    assert!(denied.body.starts_with("Unauthorized: no token"));
    assert_eq!(denied.field("www-authenticate"), Some("Bearer"));
    assert_eq!(world.site.channel().tail(), 3);
}

#[test]
fn the_token_is_judged_before_the_form_and_grants_before_names() {
    let world = World::keyed(|_| {});
    assert_eq!(world.post("retry=invalid", &[]).status, 401);
    let some = bearer(&["a"], &[]);
    assert_eq!(world.post("topic=b&retry=invalid", &[&some]).status, 400);
    assert_eq!(world.post("topic=/.well-known/mercure", &[&some]).status, 401);
    assert_eq!(world.post("topic=b&id=%23", &[&some]).status, 401);
}

#[test]
fn private_events_reach_those_with_a_grant() {
    let world = World::keyed(|_| {});
    let publisher = bearer(&["*"], &[]);
    world.post("topic=a&data=public", &[&publisher]);
    world.post("topic=a&topic=alt&private&data=1", &[&publisher]);
    world.post("topic=a&private=&data=2", &[&publisher]);
    let sees = |grants: Option<&[&str]>, query: &str| {
        let field = grants.map(|g| bearer(&["*"], g));
        let fields: Vec<&str> = field.iter().map(String::as_str).collect();
        world.replay(&world.get(query, &fields).subscribe())
    };
    let a = "?topic=a&lastEventID=earliest";
    assert_eq!(sees(None, a), [1]);
    assert_eq!(sees(Some(&[]), a), [1], "a publisher's grant reads nothing");
    assert_eq!(sees(Some(&["a"]), a), [1, 2, 3]);
    assert_eq!(sees(Some(&["*"]), a), [1, 2, 3]);
    assert_eq!(sees(Some(&["alt"]), a), [1, 2], "granted by its other topic");
    assert_eq!(sees(Some(&["other"]), a), [1]);
    assert_eq!(sees(None, "?topic=*&lastEventID=earliest"), [1], "asking grants nothing");
    assert_eq!(sees(Some(&["alt"]), "?topic=*&lastEventID=earliest"), [1, 2]);
}

#[test]
fn an_open_hub_shows_private_events_to_nobody() {
    let world = World::open(|_| {});
    world.post("topic=a&private=on", &[]);
    let reader = world.get("?topic=a&lastEventID=earliest", &[&bearer(&[], &["*"])]);
    assert!(world.replay(&reader.subscribe()).is_empty());
}

#[test]
fn an_open_hub_takes_no_publish_from_a_foreign_page() {
    let world = World::open(|hub| hub.cors_origins = vec!["https://app.example".into()]);
    let status = |origin: &str| world.post("topic=a", &[origin]).status;
    assert_eq!(status("Origin: https://app.example"), 200);
    assert_eq!(status("Origin: http://hub.example"), 401, "a name that resolves to us is not us");
    assert_eq!(status("Origin: http://evil.example"), 401);
    assert_eq!(status("Origin: null"), 401);
    assert_eq!(status("X-Origin: none"), 200);
}

#[test]
fn an_open_hub_takes_publishes_from_its_own_page_under_a_loopback_name() {
    let world = World::open(|_| {});
    let status = |host: &str, origin: &str| {
        let form = "topic=a";
        let request = format!(
            "POST /.well-known/mercure HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        );
        let mut out = Vec::new();
        let next = world.feed(&mut world.session(), request.as_bytes(), &mut out);
        Answer::parse(out, next).status
    };
    for host in
        ["localhost:8080", "LOCALHOST", "127.0.0.1:8080", "127.0.0.1", "[::1]:8080", "[::1]"]
    {
        assert_eq!(status(host, &format!("http://{host}")), 200, "{host}");
        assert_eq!(status(host, "http://evil.example"), 401, "{host}");
    }
    for host in ["evil.example:8080", "localhost.evil.example", "192.0.2.1:8080", "127.0.0.1.evil"]
    {
        assert_eq!(status(host, &format!("http://{host}")), 401, "{host}");
    }
}

#[test]
fn cookies_read_freely_and_publish_from_listed_origins() {
    let world = World::keyed(|hub| {
        hub.anonymous = false;
        hub.cors_origins = vec!["https://app.example".into()];
    });
    let cookie = format!("Cookie: a=b; mercureAuthorization={}", sign_text(KEY, ALL));
    assert_eq!(world.get("?topic=a", &[&cookie]).status, 200);
    assert_eq!(world.post("topic=a", &[&cookie]).status, 401);
    assert_eq!(world.post("topic=a", &[&cookie, "Origin: https://app.example"]).status, 200);
    assert_eq!(world.post("topic=a", &[&cookie, "Referer: https://app.example/x"]).status, 200);
    let both = ["Origin: https://evil.example", "Referer: https://app.example/x"];
    assert_eq!(world.post("topic=a", &[&cookie, both[0], both[1]]).status, 401);
}

#[test]
fn a_bad_token_is_never_a_fallback_to_nobody() {
    let world = World::keyed(|_| {});
    let bad = sign_text("wrong", "{}");
    let expired = sign_text(KEY, "{\"exp\":1}");
    for token in [bad.as_str(), &expired, "x"] {
        assert_eq!(world.get("?topic=a", &[&format!("Authorization: Bearer {token}")]).status, 401);
        assert_eq!(world.get(&format!("?topic=a&authorization={token}"), &[]).status, 401);
        let cookie = format!("Cookie: mercureAuthorization={token}");
        assert_eq!(world.get("?topic=a", &[&cookie]).status, 401);
        let good = format!("Cookie: mercureAuthorization={}", sign_text(KEY, "{}"));
        let header = format!("Authorization: Bearer {token}");
        assert_eq!(world.get("?topic=a", &[&header, &good]).status, 401);
    }
}

#[test]
fn sides_without_a_key_are_off() {
    let world = World::keyed(|hub| hub.publisher_key = None);
    let answer = world.post("topic=a", &[]);
    assert_eq!((answer.status, answer.field("allow")), (405, Some("OPTIONS, GET, HEAD")));
    let world = World::keyed(|hub| {
        hub.subscriber_key = None;
        hub.anonymous = false;
    });
    let answer = world.get("?topic=a", &[]);
    assert_eq!((answer.status, answer.field("allow")), (405, Some("OPTIONS, POST")));
}

/// Wherever it stands and whatever is wrong with it, a token is not shown.
#[test]
fn no_token_is_ever_shown() {
    let world = World::keyed(|_| {});
    let tokens = [sign_text(KEY, ALL), sign_text("wrong", "{}"), "s3cr3t-s3cr3t".to_owned()];
    for token in &tokens {
        let places = [
            (String::new(), format!("Authorization: Bearer {token}")),
            (String::new(), format!("Authorization: Basic {token}")),
            (String::new(), format!("Cookie: mercureAuthorization={token}")),
            (format!("&authorization={token}"), "A: b".to_owned()),
            (format!("&authorization={token}&authorization={token}"), "A: b".to_owned()),
        ];
        for (query, field) in &places {
            for method in ["GET", "POST", "HEAD", "PUT", "OPTIONS"] {
                for path in ["/.well-known/mercure?topic=a", "/nowhere?topic=a"] {
                    let line = format!("{method} {path}{query} HTTP/1.1");
                    let answer = world.ask(&[&line, field, "Bad field"], "");
                    let whole = format!("{answer:?}");
                    assert!(!whole.contains(token), "{line}: {whole}");
                    let answer = world.ask(&[&line, field], "");
                    let whole = format!("{answer:?}");
                    assert!(!whole.contains(token) && !whole.contains(KEY), "{line}: {whole}");
                }
            }
        }
    }
}

/// A session holds the bytes of a head and of a body, and shows neither.
#[test]
fn a_session_in_the_middle_of_a_request_shows_no_token() {
    let world = World::keyed(|_| {});
    let good = sign_text(KEY, ALL);
    let head = format!(
        "POST /.well-known/mercure HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\
         Authorization: Bearer {good}\r\n\r\nab"
    );
    let as_numbers = format!("{:?}", good.as_bytes());
    for end in [head.len() - 8, head.len()] {
        let mut session = world.session();
        let _ = world.feed(&mut session, &head.as_bytes()[..end], &mut Vec::new());
        assert!(!session.is_idle());
        let shown = format!("{session:?} {:?}", world.site);
        assert!(!shown.contains(&good) && !shown.contains(KEY), "{shown}");
        assert!(!shown.contains(as_numbers.trim_matches(['[', ']'])), "{shown}");
    }
}
