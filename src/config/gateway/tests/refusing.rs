//! What is wrong is refused: with the path of its key, its line, and every error at once.

use super::parse;
use super::problems;
use super::read;
use super::wrong::API;
use super::wrong::FEED;
use super::wrong::ROUTE_TO;
use super::wrong::WRONG;
use crate::config::error::Cause;
use crate::config::error::Place;
use crate::config::error::Problems;
use crate::config::gateway::backend::BACKEND;
use crate::config::gateway::backend::endpoint::ENDPOINT;
use crate::config::gateway::backend::health::AFFINITY;
use crate::config::gateway::backend::health::HEALTH;
use crate::config::gateway::backend::tls::TLS;
use crate::config::gateway::listener::LISTENER;
use crate::config::gateway::route::ROUTE;
use crate::config::gateway::route::action::BACKEND_REF;
use crate::config::gateway::route::action::RESPOND;
use crate::config::gateway::route::action::TIMEOUTS;
use crate::config::gateway::route::change::CHANGE;
use crate::config::gateway::route::filter;
use crate::config::gateway::route::matches;
use crate::config::gateway::route::rule::RULE;
use crate::config::gateway::row::Shape;
use crate::config::gateway::row::Takes;
use crate::config::gateway::upstream::stream::UPSTREAM;
use crate::config::relations::Host;
use crate::config::relations::warnings;
use crate::config::value::Bounds;
use crate::config::value::Kind;

#[test]
fn one_mistake_is_one_error_with_its_key() {
    for (before, texts, key, said) in WRONG {
        let text = format!("{before}{}", texts.concat());
        let found = problems(&text);
        let all = Problems(found.clone()).to_string();
        assert_eq!(found.len(), 1, "{text}\n{all}");
        assert_eq!(found[0].key, *key, "{text}\n{all}");
        assert!(all.contains(said), "{text}\n{said}\n{all}");
        assert!(!found[0].remedy().is_empty());
    }
}

#[test]
fn what_is_near_to_those_is_right() {
    for text in [
        "[[listener]]\nname = \"a\"\nlisten = \"127.0.0.1:8080\"\nhostname = \"a\"",
        "[[listener]]\nname = \"a\"\nlisten = \"127.0.0.1:0\"\n\
         [[listener]]\nname = \"b\"\nlisten = \"127.0.0.1:0\"",
        "[[backend]]\nname = \"a\"\nendpoints = [\"https://a\", \"https://b\"]\n\
         tls = { server_name = \"a\" }",
        "[[upstream]]\nname = \"a\"\nurl = \"http://a{rest}\"\n\
         [[route]]\npath = \"/a\"\nupstream = \"a\"",
        "[[upstream]]\nname = \"a\"\nurl = \"http://a/{path.1}/{path.x}\"\n\
         [[route]]\npath = { regex = \"/(?<x>.*)\" }\nupstream = \"a\"",
        "[[route]]\nbackends = []",
        "[[route]]\npath = \"/a\"\nfilters = [{ rewrite = { path = { prefix = \"\" } } }]\n\
         backend = \"http://a\"",
        "[[route]]\nbackend = \"http://a\"\n\
         timeouts = { request = \"0s\", backend_request = \"2s\" }",
        "[[route]]\nfilters = [{ redirect = { scheme = \"https\" } }]",
    ] {
        read(text);
    }
}

#[test]
fn all_errors_come_at_once_with_their_lines() {
    let text = "[[backend]]\nname = \"a b\"\nendpoints = [\n  \"http://a\",\n  \"ftp://a\",\n]\n\
                balanse = 1\n[[route]]\n[[route.rule]]\nmatches = [\n  { path = \"/a\" },\n  \
                { path = \"x\", method = 1 },\n]\nbackend = \"b\"\n[[route]]\nhub = \"yes\"\n\
                [hub]\nheartbeat = 1\n";
    let found = problems(text);
    let keys: Vec<_> = found.iter().map(|p| (p.place, p.key.as_str())).collect();
    assert_eq!(
        keys,
        [
            (Place::Line(2), "backend[0].name"),
            (Place::Line(5), "backend[0].endpoints[1]"),
            (Place::Line(7), "backend[0].balanse"),
            (Place::Line(12), "route[0].rule[0].matches[1].method"),
            (Place::Line(12), "route[0].rule[0].matches[1].path"),
            (Place::Line(14), "route[0].rule[0].backend"),
            (Place::Line(16), "route[1].hub"),
            (Place::Line(18), "hub.heartbeat"),
        ]
    );
}

#[test]
fn counts_are_bounded() {
    let many = |one: &str, count: usize| one.repeat(count);
    for (text, key, bound) in [
        (many("[[listener]]\n", 64), "listener", "at most 63"),
        (many("[[backend]]\n", 1025), "backend", "at most 1024"),
        (many("[[upstream]]\n", 256), "upstream", "at most 255"),
        (many("[[route]]\n", 100_001), "route", "at most 100000"),
        (format!("[[route]]\n{}", many("[[route.rule]]\n", 17)), "route[0].rule", "at most 16"),
        (format!("{ROUTE_TO}matches = [{}]", many("{},", 65)), "route[0].matches", "at most 64"),
        (format!("{ROUTE_TO}filters = [{}]", many("{},", 17)), "route[0].filters", "at most 16"),
        (format!("[[route]]\nbackends = [{}]", many("{},", 17)), "route[0].backends", "at most 16"),
        (format!("{ROUTE_TO}hostnames = [{}]", many("1,", 17)), "route[0].hostnames", "at most 16"),
    ] {
        let found = problems(&text);
        assert_eq!((found.len(), found[0].key.as_str()), (1, key), "{found:?}");
        assert!(found[0].to_string().contains(bound), "{found:?}");
    }
    let texts: Vec<_> =
        (1..1300).map(|port| format!("[[route]]\nbackend = \"http://a:{port}\"\n")).collect();
    let found = problems(&texts.concat());
    assert!(found[0].to_string().contains("one backend too many"), "{}", found[0]);
}

/// Text with `KEY` in place of the key and its value.
fn each<T>(shape: &Shape<T>, around: &str) {
    for row in shape.rows {
        let write = |value: &str| around.replace("KEY", &format!("{} = {value}", row.name));
        for wrong in ["1979-05-27", "[[1]]", "[{ a = 1 }]", "1.5", "\"\\u0001\"", "-1"] {
            // Any character is a pattern, and any may stand in a body.
            let wrong = match row.name {
                "regex" => "\"(\"",
                "body" => "1",
                _ => wrong,
            };
            let found = problems(&write(wrong));
            assert!(found.iter().all(|p| !matches!(p.cause, Cause::Syntax { .. })), "{found:?}");
            assert!(found.iter().any(|p| p.key.contains(row.name)), "{}: {found:?}", row.name);
        }
        let Takes::Value { kind, .. } = row.takes else { continue };
        let (Kind::Number(bounds) | Kind::Size(bounds) | Kind::Span(bounds)) = kind else {
            continue;
        };
        let Bounds { min, max, zero } = bounds;
        let refused = |amount: u64| {
            let text = match kind {
                Kind::Span(_) => write(&format!("\"{amount}ms\"")),
                _ => write(&amount.to_string()),
            };
            match parse(&text) {
                Ok(_) => false,
                Err(found) => found.0.iter().any(|p| matches!(p.cause, Cause::Range { .. })),
            }
        };
        assert!(!refused(min) && !refused(max), "{} from {min} to {max}", row.name);
        assert!(refused(max + 1), "{} above {max}", row.name);
        assert_eq!(refused(0), min > 0 && zero.is_none(), "{} at 0", row.name);
        if min > 1 {
            assert!(refused(min - 1), "{} below {min}", row.name);
        }
    }
}

#[test]
fn every_key_keeps_its_form_and_bounds() {
    each(&LISTENER, "[[listener]]\nKEY\n");
    each(&BACKEND, "[[backend]]\nKEY\n");
    each(&ENDPOINT, "[[backend]]\nname = \"a\"\nendpoints = [{ KEY }]\n");
    each(&TLS, "[[backend]]\nname = \"a\"\nendpoints = [\"https://a\"]\ntls = { KEY }\n");
    each(&AFFINITY, "[[backend]]\nname = \"a\"\nendpoints = [\"http://a\"]\naffinity = { KEY }\n");
    each(&HEALTH, "[[backend]]\nname = \"a\"\nendpoints = [\"http://a\"]\nhealth = { KEY }\n");
    each(&UPSTREAM, "[[upstream]]\nKEY\n");
    each(&ROUTE, "[[route]]\nKEY\n");
    each(&RULE, "[[route]]\nKEY\n");
    each(&matches::MATCH, "[[route]]\nhub = true\nmatches = [{ KEY }]\n");
    each(&matches::PATHS, "[[route]]\nhub = true\npath = { KEY }\n");
    each(&TIMEOUTS, "[[route]]\nhub = true\ntimeouts = { KEY }\n");
    each(&RESPOND, "[[route]]\nrespond = { KEY }\n");
    each(&BACKEND_REF, "[[route]]\nbackends = [{ KEY }]\n");
    each(&filter::FILTER, "[[route]]\nbackend = \"http://a\"\nfilters = [{ KEY }]\n");
    each(&filter::REDIRECT, "[[route]]\nfilters = [{ redirect = { KEY } }]\n");
    each(
        &filter::REWRITE,
        "[[route]]\nbackend = \"http://a\"\nfilters = [{ rewrite = { KEY } }]\n",
    );
    each(
        &filter::PATHS,
        "[[route]]\nbackend = \"http://a\"\nfilters = [{ rewrite = { path = { KEY } } }]\n",
    );
    each(&filter::MIRROR, "[[route]]\nbackend = \"http://a\"\nfilters = [{ mirror = { KEY } }]\n");
    each(&CHANGE, "[[route]]\nbackend = \"http://a\"\nfilters = [{ request_headers = { KEY } }]\n");
}

#[test]
fn what_must_be_there_is_not_to_be_removed() {
    let remedy = |text: &str| problems(text)[0].remedy();
    let name = "[[backend]]\nendpoints = [\"http://a\"]\nname = \"a b\"";
    assert_eq!(remedy(name), "give such a value");
    let balance = "[[backend]]\nname = \"a\"\nendpoints = [\"http://a\"]\nbalance = \"x\"";
    assert_eq!(remedy(balance), "give such a value, or remove it for \"least-request\"");
    assert_eq!(remedy("[[route]]\npage = 1"), "give such a value, or remove it");
}

#[test]
fn secrets_never_show() {
    for text in [
        "[[route]]\nbackend = \"http://user:hunter2@a\"",
        "[[upstream]]\nname = \"a\"\nurl = \"http://user:hunter2@a\"",
        "[[backend]]\nname = \"a\"\nendpoints = [\"http://user:hunter2@a\"]",
        "[[route]]\nbackend = \"http://a\"\n\
         filters = [{ request_headers = { set = { Authorization = \"hunter2\\n\" } } }]",
        "[[route]]\nbackend = \"http://a\"\n\
         filters = [{ request_headers = { set = [\"hunter2\"] } }]",
        "[hub]\npublisher_keys = \"hunter2\"",
        "[[backend]]\nname = \"a\"\nendpoints = [\"http://a\"]\napi_token = \"hunter2\"",
        "publisher_key = \"hunter2\"",
    ] {
        let found = Problems(problems(text)).to_string();
        assert!(!found.contains("hunter2") && found.contains("***"), "{found}");
    }
    let matched =
        "[[route]]\nhub = true\nmatches = [{ headers = { Authorization = \"hunter2\" } }]";
    let shown = crate::config::show::toml(&read(matched));
    assert!(!shown.contains("hunter2") && shown.contains("authorization = \"***\""), "{shown}");
    let [masked] = &problems(&matched.replace("hunter2", "***"))[..] else { panic!() };
    assert!(masked.to_string().contains("is the mask"), "{masked}");
}

#[test]
fn what_leads_nowhere_is_a_warning() {
    let config = read(&format!(
        "{API}{FEED}[[route]]\nbackend = \"http://b\"\n[hub]\n\
         publisher_key = \"a key of the test, long enough for anybody\""
    ));
    let found = warnings(&config, &Host::default());
    let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
    assert!(
        texts.iter().any(|text| text.starts_with("backend: nothing leads to api;")),
        "{texts:?}"
    );
    assert!(texts.iter().any(|text| text.starts_with("upstream: nothing leads to feed;")));
    assert!(texts.iter().any(|text| text.contains("no route leads to the hub")));
    let config = read(&format!("{API}[[route]]\nbackend = \"api\""));
    assert_eq!(warnings(&config, &Host::default()), []);
}
