//! Templates of upstreams.

use super::{found, head, route, simple};
use crate::base::chance::Chance;
use crate::config::gateway::Part;
use crate::config::gateway::Variable;
use crate::route::ExpandError;
use crate::route::expand;
use crate::route::expand::TARGET_BYTES_MAX;

/// A template in short: `{name}` are variables.
fn template(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for piece in text.split_inclusive('}') {
        let (text, name) = piece.split_once('{').unwrap_or((piece, ""));
        if !text.is_empty() {
            parts.push(Part::Text(text.to_owned()));
        }
        let Some(name) = name.strip_suffix('}') else { continue };
        parts.push(Part::Variable(match name.split_once('.') {
            Some(("path", of)) => Variable::Capture(of.to_owned()),
            Some(("query", of)) => Variable::Query(of.to_owned()),
            Some(("header", of)) => Variable::Header(of.to_owned()),
            _ if name == "rest" => Variable::Rest,
            _ => Variable::Channel,
        }));
    }
    parts
}

fn filled(matches: &str, text: &str, request: &str) -> Result<String, ExpandError> {
    filled_for(matches, text, request, None)
}

fn filled_for(
    matches: &str,
    text: &str,
    request: &str,
    channel: Option<&str>,
) -> Result<String, ExpandError> {
    let router = simple(&[route(&[0], "", &[(matches, "")])]);
    let head = head(request);
    expand(&template(text), &found(&router, 0, &head).unwrap(), &head, channel)
}

#[test]
fn variables_take_their_values_from_the_request() {
    let table = [
        ("/", "/plain?x=1", "h/", "/plain?x=1"),
        ("/in/", "/up{rest}", "h/in/a%2Fb/c+d", "/up/a%2Fb/c+d"),
        ("/in", "/up{rest}", "h/in", "/up"),
        ("/in", "/up{rest}", "h/in/", "/up/"),
        ("/in", "{rest}", "h/in", "/"),
        ("/in", "{rest}?x", "h/in", "/?x"),
        ("=/in", "/up{rest}", "h/in", "/up"),
        (
            "~/r/(?<room>[^/]+)/(.)?",
            "/{path.room}/{path.1}/{path.2}/{path.no}",
            "h/r/a%20b/",
            "/a%20b/a%20b//",
        ),
        ("/", "/s?u={query.user}&v={query.none}", "h/?user=a+b%26c&user=d", "/s?u=a%20b%26c&v="),
        ("/", "/{query.user}", "h/?user=%C3%A9/~_-.", "/%C3%A9%2F~_-."),
        ("/", "/{query.user}", "h/?user=%ff%25", "/%FF%25"),
        ("/", "/{header.x-a}", "h/ X-A:b/c?d#e x-a:f", "/b%2Fc%3Fd%23e"),
        ("/in", "/s?p={rest}&q={path.1}", "h/in/a&b=c+d%20", "/s?p=%2Fa%26b%3Dc%2Bd%20&q="),
    ];
    for (matches, text, request, want) in table {
        assert_eq!(filled(matches, text, request).as_deref(), Ok(want), "{text} for {request}");
    }
}

#[test]
fn a_channel_is_given_or_missed() {
    let of = |channel| filled_for("/", "/c/{channel}?again={channel}", "h/", channel);
    assert_eq!(of(Some("a b/ü")).as_deref(), Ok("/c/a%20b%2F%C3%BC?again=a%20b%2F%C3%BC"));
    assert_eq!(of(None), Err(ExpandError::NoChannel));
    assert_eq!(filled_for("/", "/c", "h/", None).as_deref(), Ok("/c"));
}

#[test]
fn values_stay_in_their_place() {
    let dots = [
        ("/", "/a/{query.x}", "h/?x=.."),
        ("/", "/a/{query.x}/b", "h/?x=."),
        ("/", "/a/{query.x}", "h/?x=../../b"),
        ("/", "/a/{query.x}", "h/?x=..%5Cb"),
        ("/", "/a/.{query.x}", "h/?x=."),
        ("/", "/a/.{query.x}b", "h/?x=./"),
        ("/in", "/a/.{rest}", "h/in/x"),
        ("~/r/x(.*)", "/a/{path.1}", "h/r/x..%2Fb"),
        ("~/r/x(.*)", "/a/{path.1}", "h/r/x%2E%2e%5cb"),
        ("~/r/x(.*)", "/a/{path.1}", "h/r/x.."),
        ("~/r/x(.*)", "/a/{path.1}", "h/r/x%2e."),
        ("~/r/x(.*)", "/a/{path.1}/b", "h/r/x..;y=1"),
        ("~/r/x(.*)", "/a/{path.1}/b", "h/r/x.%3b"),
        ("/", "/a/{query.x}/b", "h/?x=..;y"),
    ];
    for (matches, text, request) in dots {
        assert_eq!(filled(matches, text, request), Err(ExpandError::Dots), "{text} for {request}");
    }
    for (text, want) in [("/a/b{query.x}", "/a/b.."), ("/a?b={query.x}", "/a?b=..")] {
        assert_eq!(filled("/", text, "h/?x=..").as_deref(), Ok(want));
    }
    assert_eq!(filled("/", "/a/{query.x}", "h/?x=...").as_deref(), Ok("/a/..."));
}

#[test]
fn control_bytes_are_refused() {
    for byte in ["%00", "%0a", "%0D"] {
        let rows = [
            ("/{query.x}", format!("h/?x=a{byte}"), "query.x"),
            ("/s?y={query.x}", format!("h/?x={byte}a"), "query.x"),
            ("/a{rest}", format!("h/{byte}"), "rest"),
        ];
        for (text, request, name) in rows {
            let want = Err(ExpandError::Control(name.to_owned()));
            assert_eq!(filled("/", text, &request), want, "{request}");
        }
        let capture = filled("~/(.*)", "/{path.1}", &format!("h/{byte}"));
        assert_eq!(capture, Err(ExpandError::Control("path.1".to_owned())));
    }
    let channel = filled_for("/", "/{channel}", "h/", Some("a\nb"));
    assert_eq!(channel, Err(ExpandError::Control("channel".to_owned())));
    let text = ExpandError::Control("query.x".to_owned()).to_string();
    assert!(text.starts_with("the value of {query.x} holds"), "{text}");
    assert_eq!(filled("/", "/{query.x}", "h/?x=%09%7f").as_deref(), Ok("/%09%7F"));
}

#[test]
fn a_target_has_its_bound() {
    let of = |bytes: usize, text| filled("/", text, &format!("h/?x={}", "y".repeat(bytes)));
    let most = TARGET_BYTES_MAX / 2;
    assert_eq!(of(most - 1, "/{query.x}{query.x}?").map(|t| t.len()), Ok(TARGET_BYTES_MAX));
    assert_eq!(of(most, "/{query.x}{query.x}"), Err(ExpandError::TooLong));
    assert_eq!(of(most - 1, "{query.x}{query.x}xx"), Err(ExpandError::TooLong));
}

/// Whatever a client sends: the target has the template's shape, and decodes to the value.
#[test]
fn any_value_fills_one_segment_and_one_parameter() {
    let mut chance = Chance::new(6);
    let alphabet =
        ["a", ".", "/", "%2f", "%5c", "\\", "?", "&", "=", "#", "%", "+", "%252e", ";", "é"];
    let mut good = 0;
    for _ in 0..5_000 {
        let length = chance.below(6);
        let value: String =
            (0..length).map(|_| alphabet[usize::try_from(chance.below(15)).unwrap()]).collect();
        match filled_for("/", "/a/{channel}/b?c={channel}&d", "h/", Some(&value)) {
            Ok(target) => {
                good += 1;
                let (path, query) = target.split_once('?').unwrap();
                assert_eq!(path.matches('/').count(), 3, "{target}");
                assert!(!target.contains(['#', '\\', ' ']) && query.matches('?').count() == 0);
                let pairs: Vec<_> = crate::http::query::pairs(query).collect();
                assert_eq!(&*pairs[0].1, value.as_bytes(), "{target}");
                assert_eq!((pairs.len(), &*pairs[1].0), (2, &b"d"[..]));
            }
            Err(error) => assert_eq!(error, ExpandError::Dots, "{value}"),
        }
    }
    assert!((1_000..5_000).contains(&good), "{good} values of 5,000 passed");
}
