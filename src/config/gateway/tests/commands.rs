//! `tidegate fanout URL` and `tidegate proxy URL`.

use super::read;
use crate::config::Config;
use crate::config::error::Place;
use crate::config::gateway::*;
use crate::config::show::brief;
use crate::config::toml::Argument;

fn shared(url: &str) -> Config {
    let config = fanout(url, &[]).unwrap();
    assert_eq!(read(&brief(&config)), config, "{}", brief(&config));
    config
}

fn path(config: &Config, route: usize) -> &PathMatch {
    &config.gateway.routes[route].rules[0].matches[0].path
}

#[test]
fn a_stream_is_shared_at_its_own_path_with_the_page_at_the_root() {
    let config = shared("https://feed.example/v1/prices?sym=a");
    let exact = |text: &str| PathMatch::Exact(text.into());
    assert_eq!(*path(&config, 0), exact("/v1/prices"));
    assert_eq!(*path(&config, 1), exact("/"));
    assert_eq!(config.gateway.routes[1].rules[0].action, Action::Page("/v1/prices".into()));
    let upstream = &config.gateway.upstreams[0];
    assert_eq!(upstream.target, [Part::Text("/v1/prices?sym=a".into())]);
    assert!(!upstream.public, "credentials are not shared by accident");
    assert_eq!(
        brief(&config),
        "[[upstream]]\nname = \"stream\"\nurl = \"https://feed.example/v1/prices?sym=a\"\n\n\
         [[route]]\nname = \"stream\"\npath = { exact = \"/v1/prices\" }\nupstream = \"stream\"\n\n\
         [[route]]\nname = \"page\"\npath = { exact = \"/\" }\npage = \"/v1/prices\"\n"
    );
}

#[test]
fn a_stream_at_the_root_shares_it_with_the_page() {
    for url in ["http://feed.example", "http://feed.example/", "http://feed.example?a=b"] {
        let config = shared(url);
        let one = &config.gateway.routes[0].rules[0].matches[0];
        assert_eq!(one.path, PathMatch::Exact("/".into()));
        assert_eq!(one.headers[0].name, "accept");
        assert!(
            matches!(&one.headers[0].value, TextMatch::Regex(text) if text.contains("event-stream"))
        );
        assert_eq!(config.gateway.routes[1].rules[0].action, Action::Page("/".into()));
    }
}

#[test]
fn a_stream_with_variables_is_below_what_stands_before_them() {
    for (url, prefix) in [
        ("http://a/v1/{channel}", "/v1"),
        ("http://a/v1/x-{channel}/y", "/v1"),
        ("http://a/v1?s={query.s}", "/v1"),
        ("http://a/v1{rest}", ""),
        ("http://a/{channel}", ""),
        ("http://a{rest}", ""),
    ] {
        assert_eq!(*path(&shared(url), 0), PathMatch::Prefix(prefix.into()), "{url}");
    }
}

#[test]
fn every_request_is_passed_on() {
    for (url, name, rewrite) in [
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000", None),
        ("http://127.0.0.1:9000/", "http://127.0.0.1:9000", None),
        ("unix:/run/a.sock", "unix:/run/a.sock", None),
        ("http://app/base/", "http://app", Some((None, Some("/base")))),
        ("https://api.example", "https://api.example", Some((Some("api.example"), None))),
        ("https://[::1]/x", "https://[::1]", Some((None, Some("/x")))),
    ] {
        let config = proxy(url, &[]).unwrap();
        assert_eq!(read(&brief(&config)), config, "{}", brief(&config));
        assert_eq!(config.gateway.backends[0].name, name);
        let rule = &config.gateway.routes[0].rules[0];
        assert_eq!(rule.matches[0].path, PathMatch::Prefix(String::new()));
        let want = rewrite.map(|(host, path): (Option<&str>, Option<&str>)| {
            let path = path.map(|path| PathChange::Prefix(path.into()));
            Filter::Rewrite(Rewrite { hostname: host.map(str::to_owned), path })
        });
        assert_eq!(rule.filters.first(), want.as_ref(), "{url}");
    }
}

#[test]
fn arguments_count_and_no_key_is_needed() {
    let listen = Argument { key: "listen", value: "0.0.0.0:80".into() };
    let config = proxy("http://127.0.0.1:1", std::slice::from_ref(&listen)).unwrap();
    assert_eq!(config.gateway.listeners[0].listen, config.listen);
    assert_eq!(config.listen.port(), 80);
    let config = fanout("http://127.0.0.1:1/a", &[listen]).unwrap();
    assert!(brief(&config).starts_with("listen = \"0.0.0.0:80\"\n"), "{}", brief(&config));
}

#[test]
fn what_is_wrong_is_the_arguments_fault() {
    type Command = fn(&str, &[Argument]) -> Result<Config, crate::config::error::Problems>;
    let (shares, passes): (Command, Command) = (fanout, proxy);
    for (command, url) in [
        (shares, "feed.example"),
        (shares, "http://a/{nope}"),
        (shares, "http://u:hunter2@a/"),
        (shares, "http://a/b c"),
        (shares, "http://a/{path.x}"),
        (passes, "ftp://a"),
        (passes, "http://a/?q=1"),
        (passes, "http://u:hunter2@a/"),
        (passes, "http://a//b"),
    ] {
        let found = command(url, &[]).expect_err(url);
        assert!(!found.to_string().contains("hunter2"), "{found}");
        for problem in found.0 {
            assert_eq!((problem.place, problem.key.as_str()), (Place::Argument, "URL"), "{url}");
        }
    }
    for (command, url) in [
        (shares, "feed.example"),
        (shares, "127.0.0.1:9000/ticks"),
        (passes, "localhost:3000"),
        (passes, "u:hunter2@a"),
    ] {
        let found = command(url, &[]).expect_err(url).to_string();
        assert!(found.contains("must begin with http://") && !found.contains("hunter2"), "{found}");
    }
}

/// The default port is the one that many development servers have.
#[test]
fn what_leads_to_itself_is_refused() {
    for (url, own) in [
        ("http://127.0.0.1:8080", "127.0.0.1:8080"),
        ("http://LOCALHOST:8080", "127.0.0.1:8080"),
        ("http://localhost:8080", "[::1]:8080"),
        ("http://127.0.0.1:80", "0.0.0.0:80"),
        ("http://127.0.0.1", "0.0.0.0:80"),
        ("http://127.1.2.3:80", "0.0.0.0:80"),
        ("http://127.0.0.1:80", "[::]:80"),
        ("https://[::1]:444", "[::]:444"),
        ("http://10.0.0.1:8080", "10.0.0.1:8080"),
    ] {
        let listen = [Argument { key: "listen", value: own.into() }];
        for found in [proxy(url, &listen), fanout(&format!("{url}/a"), &listen)] {
            let found = found.expect_err(url).to_string();
            assert!(found.contains(&format!("this one listens on {own}")), "{found}");
        }
    }
    for (url, own) in [
        ("http://127.0.0.1:8081", "127.0.0.1:8080"),
        ("http://10.0.0.1:8080", "127.0.0.1:8080"),
        ("http://10.0.0.1:8080", "0.0.0.0:8080"),
        ("http://127.0.0.1:8080", "10.0.0.1:8080"),
        ("http://feed.example:8080", "0.0.0.0:8080"),
        ("http://localhost:8080", "127.0.0.2:8080"),
        ("http://[::1]:8080", "0.0.0.0:8080"),
    ] {
        let listen = [Argument { key: "listen", value: own.into() }];
        assert!(proxy(url, &listen).is_ok() && fanout(url, &listen).is_ok(), "{url} at {own}");
    }
}
