//! Pages of other origins (`reference`: Mercure, "CORS"; Fetch, "CORS protocol").

use super::*;

const PREFLIGHT: [&str; 3] = [
    "OPTIONS /.well-known/mercure HTTP/1.1",
    "Access-Control-Request-Method: GET",
    "Access-Control-Request-Headers: authorization, last-event-id",
];

fn listed() -> World {
    World::open(|hub| {
        hub.cors_origins = vec!["https://app.example".into(), "https://*.wild.example".into()];
    })
}

#[test]
fn no_list_no_fields() {
    let world = World::open(|_| {});
    let answer = world.get("?topic=a", &["Origin: https://app.example"]);
    assert!(!answer.head.contains("Access-Control"), "{}", answer.head);
    assert_eq!(answer.field("vary"), None);
}

#[test]
fn listed_origins_get_credentials_and_others_nothing() {
    let world = listed();
    for origin in ["https://app.example", "https://a.wild.example"] {
        let answer = world.get("?topic=a", &[&format!("Origin: {origin}")]);
        assert_eq!(answer.field("access-control-allow-origin"), Some(origin));
        assert_eq!(answer.field("access-control-allow-credentials"), Some("true"));
        let exposed = answer.field("access-control-expose-headers").unwrap();
        assert!(exposed.contains("Last-Event-ID"));
        assert_eq!(answer.field("vary"), Some("Origin"));
    }
    for field in ["Origin: https://evil.example", "A: b"] {
        let answer = world.get("?topic=a", &[field]);
        assert!(!answer.head.contains("Access-Control"), "{}", answer.head);
        assert_eq!(answer.field("vary"), Some("Origin"), "caches must tell them apart");
    }
}

#[test]
fn a_star_opens_reading_without_credentials() {
    let world = World::open(|hub| hub.cors_origins = vec!["*".into()]);
    let answer = world.get("?topic=a", &["Origin: https://any.example"]);
    assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.field("access-control-allow-credentials"), None);
}

#[test]
fn refusals_can_be_read_too() {
    let answer = listed().get("", &["Origin: https://app.example"]);
    assert_eq!(answer.status, 400);
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://app.example"));
}

#[test]
fn a_preflight_allows_what_clients_send() {
    let world = listed();
    let ask = |origin: &str| world.ask(&[&PREFLIGHT[..], &[origin]].concat(), "");
    let answer = ask("Origin: https://app.example");
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(answer.field("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.field("access-control-allow-methods"), Some("GET, HEAD, POST"));
    let fields = answer.field("access-control-allow-headers").unwrap();
    for name in ["authorization", "cache-control", "content-type", "last-event-id"] {
        assert!(fields.contains(name));
    }
    let refused = ask("Origin: https://evil.example");
    assert_eq!(refused.status, 204);
    assert!(!refused.head.contains("Access-Control"), "{}", refused.head);
    assert!(matches!(refused.next, Next::Read));
}
