//! Tests of `toml`, `relations` and `show`: bounds of every key, all errors at once, round trip.

use super::*;
use crate::base::redact::Secret;
use crate::config::Io;
use crate::config::LagPolicy;
use crate::config::relations::Host;
use crate::config::relations::warnings;
use crate::config::show;
use crate::config::value::Bounds;
use std::time::Duration;

const KEY: &str = "!ChangeThisMercureHubJWTSecretKey!";

struct World;

impl Outside for World {
    fn file(&self, path: &str) -> std::io::Result<String> {
        match path {
            "/key" => Ok(format!("{KEY}\r\n")),
            _ => Err(std::io::Error::from(std::io::ErrorKind::NotFound)),
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "HUB_KEY").then(|| KEY.to_owned())
    }
}

fn parse(text: &str) -> Result<Config, Problems> {
    load(text, &[], &World)
}

fn problems(text: &str) -> Vec<Problem> {
    parse(text).unwrap_err().0
}

fn argument(key: &'static str, value: &str) -> Argument {
    Argument { key, value: value.to_owned() }
}

#[test]
fn nothing_is_the_default() {
    assert_eq!(parse("").unwrap(), Config::default());
    assert_eq!(parse("[hub]\n[limits]\n").unwrap(), Config::default());
}

#[test]
fn every_kind_of_value_is_read() {
    let text = r#"
        listen = "[::1]:80"
        admin = "off"
        workers = 3
        cpus = "0-1,8"
        io = "epoll"
        [limits]
        connections_max = 1000
        head_bytes_max = "64KiB"
        body_timeout = "5m"
        [hub]
        anonymous = false
        subscriber_key_env = "HUB_KEY"
        publisher_key_file = "/key"
        cors_origins = ["https://app.example"]
        history_age_max = "0s"
        history_bytes_max = 65536
        retry = "3s"
        lag_policy = "latest"
        gap_event = "gap"
    "#;
    let config = parse(text).unwrap();
    assert_eq!(config.listen, "[::1]:80".parse().unwrap());
    assert_eq!(config.admin, None);
    assert_eq!(config.workers.count, Some(3));
    assert_eq!(config.workers.cpus, Some(vec![0, 1, 8]));
    assert_eq!(config.io, Io::Epoll);
    assert_eq!(config.limits.connections_max, Some(1000));
    assert_eq!(config.limits.head_bytes_max, 65_536);
    assert_eq!(config.limits.body_timeout, Duration::from_secs(300));
    assert!(!config.hub.anonymous);
    assert_eq!(config.hub.publisher_key, Some(Secret::new(KEY.into())));
    assert_eq!(config.hub.subscriber_key, Some(Secret::new(KEY.into())));
    assert_eq!(config.hub.cors_origins, ["https://app.example"]);
    assert_eq!(config.hub.history_age_max, Duration::ZERO);
    assert_eq!(config.hub.history_bytes_max, 65_536);
    assert_eq!(config.hub.retry, Some(3000));
    assert_eq!(config.hub.lag_policy, LagPolicy::Latest);
    assert_eq!(config.hub.gap_event, "gap");
}

#[test]
fn all_errors_come_at_once_in_the_order_of_the_lines() {
    let text = "listen = \"0.0.0.0:80\"\nwrkers = 2\n[hub]\nheartbeat = \"1ms\"\n\
                history_events_max = -1\nlag_policy = \"drop\"\nanonymous = \"yes\"\n\
                [limits]\nhead_bytes_max = \"64KB\"\n";
    let found = problems(text);
    let keys: Vec<_> = found.iter().map(|p| (p.place, p.key.as_str())).collect();
    assert_eq!(
        keys,
        [
            (Place::Line(2), "wrkers"),
            (Place::Line(4), "hub.heartbeat"),
            (Place::Line(5), "hub.history_events_max"),
            (Place::Line(6), "hub.lag_policy"),
            (Place::Line(7), "hub.anonymous"),
            (Place::Line(9), "limits.head_bytes_max"),
            (Place::Default, "listen"),
        ]
    );
    let text = Problems(found).to_string();
    assert!(text.starts_with("the configuration has 7 errors\n"), "{text}");
    assert!(text.contains("did you mean workers?"), "{text}");
    let bound = "line 4: hub.heartbeat = \"1ms\": must be a duration from 10ms to 1h, or 0s (off)";
    assert!(text.contains(bound), "{text}");
    assert!(text.contains("a size from 1KiB to 1MiB"), "{text}");
    assert!(text.contains("one of \"close\", \"skip\", \"latest\""), "{text}");
}

#[test]
fn unknown_keys_are_refused_wherever_they_stand() {
    for (text, key, nearest) in [
        ("lisen = 1", "lisen", Some("listen")),
        ("heartbeat = \"1s\"", "heartbeat", Some("hub.heartbeat")),
        ("[hubs]\nretry = \"1s\"", "hubs.retry", Some("hub.retry")),
        ("[frobnicator]", "frobnicator", None),
        ("listen.port = 1", "listen", None),
    ] {
        let found = problems(text);
        assert_eq!(found[0].key, key, "{text}");
        if let Cause::UnknownKey { nearest: got, .. } = &found[0].cause {
            assert_eq!(*got, nearest, "{text}");
        } else {
            assert!(matches!(found[0].cause, Cause::Form { .. }), "{text}");
        }
    }
}

#[test]
fn what_was_written_does_no_harm_to_a_terminal() {
    let long = "x".repeat(1 << 20);
    let text = format!("\"k\\u001b[31m\\nINJ\" = 1\nlisten = \"\u{202e}{long}\"");
    for problem in problems(&text) {
        let said = problem.to_string();
        assert!(said.len() < 1000 && said.lines().count() == 2, "{said}");
        assert!(!said.contains(['\u{1b}', '\u{202e}']), "{said}");
    }
}

#[test]
fn a_key_given_twice_is_named() {
    let found = problems("[hub]\nretry = \"1s\"\nretry = \"2s\"");
    let said = "line 3: retry: is given twice\n    remedy: keep one of them";
    assert_eq!(found[0].to_string(), said);
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn a_remedy_says_how_a_value_is_written() {
    for (text, remedy) in [
        ("[hub]\nheartbeat = 15", "write it as \"250ms\", \"15s\", \"5m\" or \"1h\", or remove it"),
        (
            "[hub]\nhistory_bytes_max = \"16mb\"",
            "\"16MiB\" or \"1GiB\", or remove it for \"16MiB\"",
        ),
        ("[hub]\nhistory_bytes_max = \"1B\"", "give such a value, or remove it for \"16MiB\""),
        ("listen = \"a\"", "give such a value, or remove it for \"127.0.0.1:8080\""),
    ] {
        let found = problems(text);
        assert!(found[0].remedy().contains(remedy), "{text}: {}", found[0]);
    }
}

#[test]
fn text_that_is_no_toml_names_its_lines() {
    let found = problems("listen = \nworkers = 2\n[hub\n");
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[1].place, Place::Line(3));
    assert!(found.iter().all(|p| matches!(p.cause, Cause::Syntax { .. })), "{found:?}");
    assert_eq!(found[0].place, Place::Line(1));
}

/// The least and the greatest value pass (as far as the relations between keys allow), one below
/// and one above are refused.
#[test]
fn every_key_keeps_its_bounds() {
    for key in KEYS {
        let (Kind::Number(bounds) | Kind::Size(bounds) | Kind::Span(bounds)) = key.kind else {
            continue;
        };
        let Bounds { min, max, zero } = bounds;
        let write = |amount: u64| match key.kind {
            Kind::Span(_) => format!("{} = \"{amount}ms\"", key.name),
            _ => format!("{} = {amount}", key.name),
        };
        let refused = |amount: u64| match parse(&write(amount)) {
            Ok(_) => false,
            Err(found) => found.0.iter().any(|p| matches!(p.cause, Cause::Range { .. })),
        };
        assert!(!refused(min), "{}", write(min));
        assert!(!refused(max), "{}", write(max));
        assert!(refused(max + 1), "{}", write(max + 1));
        if min > 1 || (min == 1 && zero.is_none()) {
            assert!(refused(min - 1), "{}", write(min - 1));
        }
        assert_eq!(refused(0), min > 0 && zero.is_none(), "{}", write(0));
    }
}

#[test]
fn every_key_refuses_what_has_another_form() {
    for key in KEYS {
        for wrong in ["1979-05-27", "{ a = 1 }", "[1]", "1.5", "\"\\u0001\""] {
            let text = format!("{} = {wrong}", key.name);
            let found = parse(&text).expect_err(&text);
            assert!(found.0.iter().any(|p| !matches!(p.cause, Cause::Syntax { .. })), "{text}");
        }
    }
}

#[test]
fn other_addresses_than_loopback_need_a_publisher_key() {
    let open = problems("listen = \"0.0.0.0:8080\"");
    assert_eq!(open.len(), 1);
    assert!(open[0].remedy().contains("hub.publisher_key"));
    assert!(parse("listen = \"127.9.9.9:8080\"").is_ok());
    assert!(parse("listen = \"[::1]:8080\"").is_ok());
    let keyed = format!("listen = \"0.0.0.0:8080\"\nhub.publisher_key = \"{KEY}\"");
    assert!(parse(&keyed).is_ok());
    // The same holds for the defaults with an argument.
    let argued = load("", &[argument("listen", "0.0.0.0:8080")], &World).unwrap_err();
    assert_eq!(argued.0[0].key, "listen");
}

#[test]
fn relations_between_keys_are_checked() {
    for (text, key) in [
        ("hub.anonymous = false", "hub.anonymous"),
        ("admin = \"127.0.0.1:8080\"", "admin"),
        ("limits.target_bytes_max = \"64KiB\"", "limits.target_bytes_max"),
        ("limits.body_bytes_max = \"2MiB\"", "limits.body_bytes_max"),
        ("hub.lag_bytes_max = \"512MiB\"", "hub.lag_bytes_max"),
    ] {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!(found[0].key, key);
        assert!(matches!(found[0].cause, Cause::Relation { .. }));
    }
}

#[test]
fn a_wrong_key_breaks_no_relation_besides() {
    for (text, key) in [
        ("listen = \"0.0.0.0:8080\"\nhub.publisher_key = \"short\"", "hub.publisher_key"),
        ("listen = \"0.0.0.0:8080\"\nhub.publisher_key_file = \"/none\"", "hub.publisher_key_file"),
        ("limits.body_bytes_max = \"2MiB\"\nhub.lag_bytes_max = \"4MB\"", "hub.lag_bytes_max"),
    ] {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert_eq!(found[0].key, key);
    }
}

#[test]
fn arguments_win_over_the_file_and_are_checked_like_it() {
    let arguments = [argument("workers", "2"), argument("io", "epoll"), argument("cpus", "0-1")];
    let config = load("workers = 9000\nio = \"auto\"", &arguments, &World).unwrap();
    assert_eq!(config.workers.count, Some(2));
    assert_eq!(config.io, Io::Epoll);
    assert_eq!(config.workers.cpus, Some(vec![0, 1]));
    let arguments = [argument("workers", "0"), argument("listen", "here")];
    let found = load("", &arguments, &World).unwrap_err().0;
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|p| p.place == Place::Argument));
}

#[test]
fn secrets_come_from_one_place_and_never_show() {
    let twice = format!("[hub]\npublisher_key = \"{KEY}\"\npublisher_key_file = \"/key\"");
    let found = problems(&twice);
    assert_eq!(found[0].cause, Cause::Doubled { other: "hub.publisher_key" });
    let found = problems("hub.publisher_key = \"hunter2\"");
    assert_eq!(found[0].cause, Cause::WeakKey { bytes: 7, least: 32 });
    assert!(!Problems(found).to_string().contains("hunter2"));
    for text in ["hub.publisher_key_file = \"/none\"", "hub.subscriber_key_env = \"NONE\""] {
        assert!(matches!(problems(text)[0].cause, Cause::Unreadable { .. }), "{text}");
    }
    let shown = show::toml(&parse(&format!("hub.publisher_key = \"{KEY}\"")).unwrap());
    assert!(!shown.contains(KEY) && shown.contains("publisher_key = \"***\""), "{shown}");
    let again = problems(&shown);
    assert!(again[0].to_string().contains("mask"), "{again:?}");
}

#[test]
fn what_is_printed_reads_back() {
    assert_eq!(parse(&show::toml(&Config::default())).unwrap(), Config::default());
    let text = "admin = \"off\"\nworkers = 7\ncpus = \"3,1-2\"\nio = \"uring\"\n\
                [limits]\nconnections_max = 5\nbody_bytes_max = 1025\n\
                [hub]\ncors_origins = [\"*\"]\nretry = \"1500ms\"\ngap_event = \"a \\\"b\\\\\"\n\
                heartbeat = \"0s\"\nlag_policy = \"skip\"\n[drain]\nperiod = \"90s\"\n";
    let config = parse(text).unwrap();
    let shown = show::toml(&config);
    assert_eq!(parse(&shown).unwrap(), config, "{shown}");
    assert!(shown.contains("body_bytes_max = 1025\n"), "{shown}");
    assert!(shown.contains("retry = \"1500ms\"\n"), "{shown}");
    assert!(shown.contains("# publisher_key is not set\n"), "{shown}");
}

#[test]
fn every_field_has_its_own_key() {
    // A row that names the wrong field would leave its own at the default.
    for key in KEYS.iter().filter(|key| key.source == Source::Text) {
        let mut config = Config::default();
        let (Kind::Number(bounds) | Kind::Size(bounds) | Kind::Span(bounds)) = key.kind else {
            continue;
        };
        let value = match key.kind {
            Kind::Number(_) => Value::Number(bounds.min + 1),
            Kind::Size(_) => Value::Size(bounds.min + 1),
            _ => Value::Span(Duration::from_millis(bounds.min + 1)),
        };
        (key.field)(&mut config).put(value.clone()).unwrap();
        let moved: Vec<_> = KEYS
            .iter()
            .filter(|key| key.source == Source::Text)
            .filter(|key| key.value(&mut config) != key.value(&mut Config::default()))
            .map(|key| key.name)
            .collect();
        assert_eq!(moved, [key.name]);
        let field = key.split().1;
        assert!(format!("{config:?}").contains(field.trim_end_matches('s')), "{field}");
    }
}

#[test]
fn what_depends_on_the_host_is_a_warning() {
    let host = Host { files_max: Some(1024), cpus: vec![0, 1] };
    assert_eq!(warnings(&Config::default(), &host), []);
    // Room for hardly anybody, though nothing was asked for.
    let few = Host { files_max: Some(520), cpus: vec![0, 1] };
    let [room] = &warnings(&Config::default(), &few)[..] else { panic!("one warning") };
    assert!(room.to_string().contains("the limit of 520 open files leaves few for connections: 8"));
    let text = format!(
        "listen = \"0.0.0.0:80\"\nadmin = \"0.0.0.0:90\"\nworkers = 3\ncpus = \"1-2\"\n\
         [limits]\nconnections_max = 1000\ntarget_bytes_max = 1024\n\
         [hub]\npublisher_key = \"{KEY}\""
    );
    let found = warnings(&parse(&text).unwrap(), &host);
    let keys: Vec<_> = found.iter().map(|warning| warning.key).collect();
    assert_eq!(
        keys,
        [
            "limits.connections_max",
            "cpus",
            "workers",
            "admin",
            "hub.publisher_key",
            "hub.subscriber_key",
            "hub.topic_bytes_max"
        ]
    );
    assert!(found.iter().all(|warning| !warning.to_string().contains(KEY)));
}
