//! What is printed reads back as the same, in full and in short.

use super::models::gateway;
use super::parse;
use super::read;
use super::reading::WHOLE;
use crate::config::Config;
use crate::config::gateway::*;
use crate::config::show::brief;
use crate::config::show::markdown;
use crate::config::show::toml;
use proptest::prelude::*;

#[test]
fn the_whole_reads_back() {
    let config = read(WHOLE);
    let full = toml(&config);
    assert_eq!(parse(&full).unwrap(), config, "{full}");
    let short = brief(&config);
    assert_eq!(parse(&short).unwrap(), config, "{short}");
    assert!(full.contains("key_file = \"k.pem\"") && !full.contains("hunter2"), "{full}");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn what_holds_anyway_is_left_out_in_short() {
    let text = "[[listener]]\nname = \"b\"\nlisten = \"127.0.0.1:1\"\n\n\
                [[backend]]\nname = \"a\"\nendpoints = [\"https://a.example\"]\nhealth = {}\n\n\
                [[upstream]]\nname = \"c\"\nurl = \"https://a.example/\"\n\n\
                [[route]]\nbackend = \"a\"\n\n\
                [[route]]\n\
                [[route.rule]]\npath = \"/a\"\nupstream = \"c\"\n\
                [[route.rule]]\nmatches = [\n    { path = \"/b\", method = \"GET\" },\n    \
                { path = \"/c\" },\n]\nbackend = \"unix:/run/d.sock\"\n";
    assert_eq!(brief(&read(text)), text);
    assert_eq!(brief(&Config::default()), "");
    let full = toml(&read(text));
    for line in [
        "hostname = \"*\"",
        "balance = \"least-request\"",
        "health = { path = \"/\", interval = \"5s\"",
        "server_name = \"a.example\"",
        "linger = \"30s\"",
        "listeners = [\"default\", \"b\"]",
        "timeouts = { request = \"0s\", backend_request = \"0s\", response_head = \"1m\"",
        "retries = 1",
        "path = \"/\"\n",
    ] {
        assert!(full.contains(line), "{line}\n{full}");
    }
}

#[test]
fn secrets_are_masked_and_the_mask_is_refused() {
    let text = "[[route]]\nbackend = \"http://a\"\nfilters = [{ request_headers = \
                { set = { Authorization = \"Bearer hunter2\", X = \"1\" } } }]\n";
    let config = read(text);
    let shown = toml(&config);
    assert!(shown.contains("Authorization = \"***\", X = \"1\""), "{shown}");
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(parse(&shown).unwrap_err().to_string().contains("mask"));
}

/// What the manual says holds without a key is what holds.
#[test]
fn documented_defaults_hold() {
    for (key, text) in [
        ("route.retries", "[[route]]\nbackend = \"http://a\"\nretries = "),
        ("route.heartbeat", "[[route]]\nbackend = \"http://a\"\nheartbeat = "),
        ("route.path", "[[route]]\nbackend = \"http://a\"\npath = "),
        ("route.timeouts", "[[route]]\nbackend = \"http://a\"\ntimeouts = "),
    ] {
        let default = manual::default(key).unwrap();
        let (line, _) = text.rsplit_once('\n').unwrap();
        assert_eq!(read(&format!("{text}{default}")), read(line), "{key}");
    }
    assert_eq!(manual::default("route[3].rule[0].filters[1].redirect.status").unwrap(), "302");
    assert_eq!(manual::default("backend[0].health.path").unwrap(), "\"/\"");
    assert_eq!(manual::default("upstream[0].name"), None);
    assert_eq!(manual::default("nothing[0].name"), None);
}

#[test]
fn the_manual_has_a_row_for_each_key() {
    let text = markdown();
    for key in ["endpoints", "event_bytes_max", "percent", "server_name", "matches", "hub"] {
        assert!(text.contains(&format!("\n| `{key}` | ")), "{key}");
    }
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        assert_eq!(line.replace("\\|", "").matches('|').count(), 5, "{line}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_model_reads_back(gateway in gateway()) {
        let config = Config { listen: gateway.listeners[0].listen, gateway, ..Config::default() };
        for text in [toml(&config), brief(&config)] {
            match parse(&text) {
                Ok(read) => prop_assert_eq!(&read, &config, "{}", text),
                Err(problems) => prop_assert!(false, "{}\n{}", text, problems),
            }
        }
    }
}
