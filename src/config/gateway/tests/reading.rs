//! What is read becomes the model.

use super::parse;
use super::read;
use crate::config::gateway::*;
use std::time::Duration;

/// Every key of every table, once.
pub(super) const WHOLE: &str = r#"
listen = "0.0.0.0:8080"

[[route]]
name = "prices"
listeners = ["default", "internal"]
hostnames = ["A.example.com", "*.b.example.com"]
path = "/prices/"
upstream = "prices"
channels = ["a", "b/c"]
filters = [{ response_headers = { add = { "X-A" = "1" }, remove = ["Server"] } }]
timeouts = { request = "0s", backend_request = "10s", response_head = "1m30s", idle = "5m" }

[[route]]
[[route.rule]]
matches = [
  { path = { prefix = "/x" }, method = "GET", headers = { Version = "one", x = { regex = "^a" } } },
  { path = { exact = "/y" }, query = { animal = "whale" } },
  { path = { regex = "/z/[0-9]+" } },
]
filters = [
  { request_headers = { set = { "X-Env" = "prod" } } },
  { rewrite = { hostname = "api.internal", path = { full = "/v1" } } },
  { mirror = { backend = "http://127.0.0.1:9000", percent = 20 } },
  { mirror = { backend = "web", fraction = [25, 50] } },
]
backends = [{ name = "api", weight = 9 }, { name = "none", weight = 1, filters = [] }]
heartbeat = "20s"
retries = 2
[[route.rule]]
path = "/old"
[[route.rule.filters]]
[route.rule.filters.redirect]
scheme = "https"
hostname = "n.example"
port = 8443
status = 301
path = { prefix = "/new" }
[[route.rule]]
path = { exact = "/robots.txt" }
respond = { status = 404, content_type = "text/html", body = "no" }
[[route.rule]]
path = { exact = "/" }
page = "/prices?channel=a"
[[route.rule]]
path = "/api"
backend = "http://127.0.0.1:9000"

[[route]]
name = "hub"
listeners = ["internal"]
hub = true

[[upstream]]
name = "prices"
url = "https://Feed.example.com/v1/{channel}?sym={query.sym}"
tls = { ca_file = "ca.pem" }
headers = ["X-Tenant"]
public = true
linger = "1m"
event_bytes_max = "64MiB"
lag_bytes_max = "64MiB"
multiplex = true
prefix_types = true
initial = 10
retry = "2s"
lag_policy = "latest"

[[upstream]]
name = "always"
url = "http://127.0.0.1:7000/events"
backend = "web"
always_on = true

[[backend]]
name = "api"
endpoints = [
    "https://10.0.0.1:8443",
    { url = "https://10.0.0.2", weight = 3 },
    "unix:/run/api.sock",
]
balance = "round-robin"
affinity = { cookie = "tide", max_age = "1h" }
tls.server_name = "api.internal"
tls.ca_file = "ca.pem"
tls.certificate_file = "c.pem"
tls.key_file = "k.pem"
health = { path = "/healthz?x=1", statuses = [200, 299], host = "api:80" }
eject_failures = 0
idle_connections_max = 0

[[backend]]
name = "web"
endpoints = ["http://[::1]:3000"]

[[listener]]
name = "internal"
listen = "127.0.0.1:8081"
hostname = "*.Example.com"
"#;

#[test]
fn nothing_is_the_hub_alone() {
    let config = read("listen = \"127.0.0.1:1\"");
    assert_eq!(config.gateway, Gateway::at(config.listen));
    assert_eq!(read("").gateway, Gateway::default());
}

#[test]
fn listeners_backends_and_upstreams_are_read() {
    let Gateway { listeners, backends, upstreams, .. } = read(WHOLE).gateway;
    let places: Vec<_> = listeners.iter().map(|l| (l.name.as_str(), l.listen.port())).collect();
    assert_eq!(places, [("default", 8080), ("internal", 8081)]);
    assert_eq!(listeners[1].hostname, Some(Hostname("*.example.com".into())));
    let names: Vec<_> = backends.iter().map(|b| b.name.as_str()).collect();
    assert_eq!(names, ["api", "web", "upstream:prices", "http://127.0.0.1:9000"]);
    let api = &backends[0];
    let endpoint = |place, weight| Endpoint { place, weight };
    let tcp = |host: &str, port| Place::Tcp(host.into(), port);
    let unix = Place::Unix("/run/api.sock".into());
    assert_eq!(
        api.endpoints,
        [endpoint(tcp("10.0.0.1", 8443), 1), endpoint(tcp("10.0.0.2", 443), 3), endpoint(unix, 1)]
    );
    let tls = api.tls.as_ref().unwrap();
    assert_eq!(tls.server_name, "api.internal");
    assert!(tls.ca_pem.as_ref().unwrap().contains("CERTIFICATE"));
    assert!(tls.client.as_ref().unwrap().1.reveal().contains("hunter2"));
    assert_eq!((api.balance, api.eject_failures), (Balance::RoundRobin, 0));
    assert_eq!(api.health.as_ref().unwrap().statuses, (200, 299));
    assert_eq!(api.affinity.as_ref().unwrap().max_age, Duration::from_secs(3600));
    assert_eq!(backends[1].endpoints, [endpoint(tcp("::1", 3000), 1)]);
    let tls = backends[2].tls.as_ref().unwrap();
    assert_eq!((tls.server_name.as_str(), tls.ca_pem.is_some()), ("feed.example.com", true));

    let prices = &upstreams[0];
    assert_eq!((prices.backend, prices.host.as_str()), (2, "feed.example.com"));
    assert_eq!(
        prices.target,
        [
            Part::Text("/v1/".into()),
            Part::Variable(Variable::Channel),
            Part::Text("?sym=".into()),
            Part::Variable(Variable::Query("sym".into())),
        ]
    );
    assert_eq!(prices.headers, ["x-tenant"]);
    assert_eq!((prices.initial, prices.retry), (Initial::Events(10), Some(2000)));
    assert_eq!((upstreams[1].backend, upstreams[1].host.as_str()), (1, "127.0.0.1:7000"));
}

#[test]
fn routes_are_read() {
    let Gateway { routes, .. } = read(WHOLE).gateway;
    let names: Vec<_> = routes.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["prices", "route-1", "hub"]);
    assert_eq!(routes[0].listeners, [0, 1]);
    assert_eq!(routes[0].hostnames[0], Hostname("a.example.com".into()));
    let only = &routes[0].rules[0];
    assert_eq!(only.matches[0].path, PathMatch::Prefix("/prices".into()));
    let channels = vec!["a".into(), "b/c".into()];
    assert_eq!(only.action, Action::Fanout(FanoutAction { upstream: 0, channels }));
    assert_eq!(only.timeouts.response_head, Some(Duration::from_secs(90)));
    assert_eq!(only.timeouts.request, Some(Duration::ZERO));

    let [first, old, robots, page, api] = &routes[1].rules[..] else { panic!("{routes:?}") };
    let exact = |text: &str| TextMatch::Exact(text.into());
    let value = |name: &str, value| ValueMatch { name: name.into(), value };
    assert_eq!(
        first.matches[0],
        Match {
            path: PathMatch::Prefix("/x".into()),
            method: Some("GET".into()),
            headers: vec![
                value("version", exact("one")),
                value("x", TextMatch::Regex("^a".into())),
            ],
            query: Vec::new(),
        }
    );
    assert_eq!(first.matches[2].path, PathMatch::Regex("/z/[0-9]+".into()));
    assert_eq!(
        first.filters[2],
        Filter::Mirror(Mirror { backend: 3, numerator: 20, denominator: 100 })
    );
    assert_eq!(
        first.filters[3],
        Filter::Mirror(Mirror { backend: 1, numerator: 25, denominator: 50 })
    );
    let Action::Proxy(proxy) = &first.action else { panic!("{first:?}") };
    assert_eq!((proxy.backends[0].backend, proxy.backends[0].weight), (Some(0), 9));
    assert_eq!(proxy.backends[1].backend, None);
    assert_eq!((proxy.heartbeat, proxy.retries), (Duration::from_secs(20), 2));
    assert_eq!(
        old.filters[0],
        Filter::Redirect(Redirect {
            scheme: Some(Scheme::Https),
            hostname: Some("n.example".into()),
            port: Some(8443),
            path: Some(PathChange::Prefix("/new".into())),
            status: 301,
        })
    );
    assert_eq!(old.action, Action::None);
    assert!(matches!(&robots.action, Action::Respond(r) if r.status == 404 && r.body == "no"));
    assert_eq!(page.action, Action::Page("/prices?channel=a".into()));
    let Action::Proxy(proxy) = &api.action else { panic!("{api:?}") };
    assert_eq!((proxy.backends[0].backend, proxy.retries), (Some(3), 1));
    assert_eq!(proxy.heartbeat, Duration::ZERO);
    assert_eq!((routes[2].rules[0].action.clone(), &routes[2].listeners), (Action::Hub, &vec![1]));
}

#[test]
fn what_is_left_out_has_its_default() {
    let config =
        read("[[backend]]\nname = \"a\"\nendpoints = [\"http://a\"]\n[[route]]\nbackend = \"a\"");
    assert_eq!(config.gateway.routes[0].rules[0].timeouts, Timeouts::DEFAULT);
    assert_eq!(
        config.gateway.routes[0].rules[0].matches,
        [Match {
            path: PathMatch::Prefix(String::new()),
            method: None,
            headers: Vec::new(),
            query: Vec::new(),
        }]
    );
    let endpoints = config.gateway.backends[0].endpoints.clone();
    assert_eq!(config.gateway.backends[0], Backend { endpoints, ..Backend::named("a") });
    let config = read("[[upstream]]\nname = \"a\"\nurl = \"http://a\"");
    let read = &config.gateway.upstreams[0];
    let (host, target) = (read.host.clone(), read.target.clone());
    assert_eq!(*read, Upstream { host, target, ..Upstream::named("a") });
}

#[test]
fn https_implies_tls_with_the_hosts_name() {
    for (text, name) in [
        ("endpoints = [\"https://a.example\", \"https://a.example:444\"]", "a.example"),
        ("endpoints = [\"https://10.0.0.1\"]", "10.0.0.1"),
        ("endpoints = [\"unix:/a\"]\ntls = { server_name = \"b\" }", "b"),
    ] {
        let config = read(&format!("[[backend]]\nname = \"a\"\n{text}"));
        assert_eq!(config.gateway.backends[0].tls.as_ref().unwrap().server_name, name);
    }
    let config = read("[[route]]\nbackend = \"https://a.example\"");
    assert_eq!(config.gateway.backends[0].tls.as_ref().unwrap().server_name, "a.example");
}

#[test]
fn the_hub_is_open_only_where_it_is_served() {
    let open = "listen = \"0.0.0.0:80\"\n";
    assert!(parse(open).is_err());
    assert!(parse(&format!("{open}[[route]]\npath = \"/a\"\nbackend = \"http://a\"")).is_ok());
    assert!(parse(&format!("{open}[[route]]\nhub = true")).is_err());
    let inside = "[[listener]]\nname = \"in\"\nlisten = \"127.0.0.1:81\"\n\
                  [[route]]\nlisteners = [\"in\"]\nhub = true";
    assert!(parse(&format!("{open}{inside}")).is_ok());
    let outside = "[[listener]]\nname = \"out\"\nlisten = \"0.0.0.0:81\"\n[[route]]\nhub = true";
    let found = parse(outside).unwrap_err().0;
    assert_eq!((found.len(), found[0].key.as_str()), (1, "listener[0].listen"));
}

#[test]
fn host_names_meet_as_the_gateway_api_says() {
    let meets = |a: &str, b: &str| {
        let (a, b) = (Hostname(a.into()), Hostname(b.into()));
        assert_eq!(a.meets(&b), b.meets(&a));
        a.meets(&b)
    };
    for (a, b) in
        [("a.b", "a.b"), ("*.b", "a.b"), ("*.b", "c.a.b"), ("*.b", "*.a.b"), ("*.a.b", "*.a.b")]
    {
        assert!(meets(a, b), "{a} {b}");
    }
    for (a, b) in
        [("a.b", "c.b"), ("*.b", "b"), ("*.b", "ab"), ("*.a.b", "*.c.b"), ("*.a.b", "a.b")]
    {
        assert!(!meets(a, b), "{a} {b}");
    }
}
