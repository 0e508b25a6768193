//! Models as they come of some text: drawn at random.

use crate::config::LagPolicy;
use crate::config::gateway::*;
use proptest::collection::btree_map;
use proptest::collection::btree_set;
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use std::net::SocketAddr;
use std::time::Duration;

fn path() -> impl Strategy<Value = String> {
    "(/[a-z%2]{1,3}){1,3}".prop_filter("encoded", |text| !text.contains('%'))
}

fn text() -> impl Strategy<Value = String> {
    r#"[a-zA-Z0-9"'\\{}=#äé]([ -~]{0,6}[a-zA-Z0-9"'\\])?"#
}

fn span(max: u64) -> impl Strategy<Value = Duration> {
    (10..max).prop_map(Duration::from_millis)
}

fn hostname() -> impl Strategy<Value = Hostname> {
    r"(\*\.)?[a-z]{1,3}\.(example|test)".prop_map(Hostname)
}

fn values() -> impl Strategy<Value = Vec<ValueMatch>> {
    let value = prop_oneof![
        text().prop_map(TextMatch::Exact),
        "[a-z.*+|]{1,4}[a-z]"
            .prop_filter("compiles", |text| crate::config::form::pattern(text).is_ok())
            .prop_map(TextMatch::Regex),
    ];
    btree_map("[a-z!]{1,4}", value, 0..3)
        .prop_map(|map| map.into_iter().map(|(name, value)| ValueMatch { name, value }).collect())
}

fn one_match() -> impl Strategy<Value = Match> {
    let paths = prop_oneof![
        path().prop_map(PathMatch::Exact),
        path().prop_map(PathMatch::Prefix),
        Just(PathMatch::Prefix(String::new())),
        "/[a-z.]{1,3}[+]?".prop_map(PathMatch::Regex),
    ];
    (paths, of("[A-Z]{1,6}"), values(), values()).prop_map(|(path, method, headers, query)| Match {
        path,
        method,
        headers,
        query,
    })
}

fn change() -> impl Strategy<Value = HeaderChange> {
    let fields = |names: &'static str| {
        btree_map(names, text(), 0..3).prop_map(|map| map.into_iter().collect::<Vec<_>>())
    };
    let removed = btree_set("r-[a-z]{1,3}", 0..3);
    (fields("S-[a-z!]{1,3}"), fields("a-[a-z]{1,3}"), removed).prop_map(|(set, add, remove)| {
        HeaderChange { set, add, remove: remove.into_iter().collect() }
    })
}

fn full() -> impl Strategy<Value = Option<PathChange>> {
    of(path().prop_map(PathChange::Full))
}

fn filters() -> impl Strategy<Value = Vec<Filter>> {
    let host = || of("[a-z]{1,5}\\.example");
    let rewrite = (host(), full()).prop_map(|(hostname, path)| Rewrite { hostname, path });
    let mirror = (0..=50u32, 50..200u32).prop_map(|(numerator, denominator)| Mirror {
        backend: 0,
        numerator,
        denominator,
    });
    (of(change()), of(change()), of(rewrite), vec(mirror, 0..3)).prop_map(
        |(request, response, rewrite, mirrors)| {
            let mut filters: Vec<Filter> = Vec::new();
            filters.extend(request.map(Filter::RequestHeaders));
            filters.extend(mirrors.into_iter().map(Filter::Mirror));
            filters.extend(response.map(Filter::ResponseHeaders));
            filters.extend(rewrite.map(Filter::Rewrite));
            filters
        },
    )
}

/// A rule that leads somewhere; indices stay below those that [`gateway`] makes.
fn rule() -> impl Strategy<Value = Rule> {
    let proxy = (vec((of(0..2usize), 0..5u32, filters()), 1..3), 0..3u32).prop_map(
        |(backends, retries)| {
            let one = |(backend, weight, filters)| BackendRef { backend, weight, filters };
            let backends = backends.into_iter().map(one).collect();
            Action::Proxy(ProxyAction { backends, heartbeat: Duration::ZERO, retries })
        },
    );
    let whole = Just(Action::Proxy(ProxyAction {
        backends: vec![BackendRef { backend: Some(1), weight: 1, filters: Vec::new() }],
        heartbeat: Duration::from_secs(7),
        retries: 1,
    }));
    let other = prop_oneof![
        Just(Action::Hub),
        (200..300u16, text()).prop_map(|(status, body)| {
            let body = if matches!(status, 204 | 205) { String::new() } else { body };
            Action::Respond(Respond { status, content_type: "a/b; c=d".into(), body })
        }),
        path().prop_map(Action::Page),
        btree_set("[a-z]{1,3}", 0..3).prop_map(|channels| {
            let channels = channels.into_iter().collect();
            Action::Fanout(FanoutAction { upstream: 0, channels })
        }),
    ];
    let timeouts = (span(99), span(99), span(999_999)).prop_map(|(each, head, idle)| Timeouts {
        request: Some(Duration::from_secs(3600)),
        backend_request: Some(each),
        response_head: Some(head),
        idle: Some(idle),
    });
    let redirect = (full(), of(1..=u16::MAX)).prop_map(|(path, port)| Redirect {
        scheme: Some(Scheme::Https),
        hostname: None,
        port,
        path,
        status: 308,
    });
    let end = prop_oneof![
        (filters(), prop_oneof![proxy, whole, Just(Action::None)]),
        (Just(Vec::new()), other),
        redirect.prop_map(|redirect| (vec![Filter::Redirect(redirect)], Action::None)),
    ];
    let timeouts = prop_oneof![Just(Timeouts::DEFAULT), timeouts];
    (vec(one_match(), 1..3), timeouts, end).prop_map(|(matches, timeouts, (filters, action))| {
        Rule { matches, filters, timeouts, action }
    })
}

fn backend(name: &'static str) -> impl Strategy<Value = Backend> {
    let place = prop_oneof![
        ("[a-z]{1,3}(_[a-z])?", 1..=u16::MAX).prop_map(|(host, port)| Place::Tcp(host, port)),
        Just(Place::Tcp("::1".into(), 443)),
        "/[a-z ]{1,5}".prop_map(|path| Place::Unix(path.into())),
    ];
    let endpoint = (place, 0..3u32).prop_map(|(place, weight)| Endpoint { place, weight });
    let tls = of(any::<bool>().prop_map(|ca| BackendTls {
        server_name: "a.example".into(),
        ca_pem: ca.then(|| "-----BEGIN CERTIFICATE-----\n".into()),
        client: None,
        files: TlsFiles { ca: ca.then(|| "ca.pem".into()), ..TlsFiles::default() },
    }));
    let health = of((path(), span(5000), 1..9u32).prop_map(|(path, interval, healthy)| Health {
        path,
        host: None,
        interval,
        timeout: Duration::from_secs(2),
        healthy,
        unhealthy: 3,
        statuses: (200, 299),
    }));
    let affinity = of(Just(Affinity { cookie: "tide".into(), max_age: Duration::ZERO }));
    (vec(endpoint, 1..3), tls, health, affinity, span(9999), 0..9usize).prop_map(
        move |(endpoints, tls, health, affinity, idle_timeout, idle_connections_max)| {
            let base = Backend { endpoints, tls, health, affinity, ..Backend::named(name) };
            Backend { idle_timeout, idle_connections_max, ..base }
        },
    )
}

fn upstream() -> impl Strategy<Value = Upstream> {
    let target = vec![Part::Text("/a/".into()), Part::Variable(Variable::Channel)];
    (any::<[bool; 2]>(), span(9999), 0..9usize, of(1..9999u64), values()).prop_map(
        move |([public, prefix_types], linger, initial, retry, headers)| Upstream {
            host: "feed.example:8080".into(),
            target: target.clone(),
            headers: headers.into_iter().map(|header| header.name).collect(),
            public,
            prefix_types,
            multiplex: true,
            linger,
            initial: if initial == 0 { Initial::None } else { Initial::Events(initial) },
            retry,
            lag_policy: LagPolicy::Skip,
            gap_event: "a \"b\"".into(),
            cors_origins: vec!["https://a.example".into()],
            ..Upstream::named("feed")
        },
    )
}

/// Two backends, an upstream with its own, and routes among them.
pub(super) fn gateway() -> impl Strategy<Value = Gateway> {
    let listen = SocketAddr::from(([127, 0, 0, 1], 8080));
    let routes = vec((vec(rule(), 1..3), vec(hostname(), 0..2), any::<bool>()), 0..4);
    (backend("a"), backend("b/c"), upstream(), routes, any::<bool>()).prop_map(
        move |(one, two, mut upstream, routes, own)| {
            let name = upstream.name.clone();
            let place = Place::Tcp("feed.example".into(), 8080);
            let mut gateway = Gateway::at(listen);
            gateway.listeners.push(Listener {
                name: "in".into(),
                listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
                hostname: None,
            });
            let mut one = one;
            one.tls = one.tls.filter(|_| own);
            if own {
                let endpoints = vec![Endpoint { place, weight: 1 }];
                let name = format!("upstream:{name}");
                gateway.backends = vec![one, two, Backend { endpoints, ..Backend::named(name) }];
                upstream.backend = 2;
            } else {
                gateway.backends = vec![one, two];
            }
            gateway.upstreams = vec![upstream];
            for (index, (rules, mut hostnames, first)) in routes.into_iter().enumerate() {
                hostnames.dedup();
                gateway.routes.push(Route {
                    name: if first { format!("route-{index}") } else { format!("r{index}") },
                    listeners: if first { vec![0, 1] } else { vec![1] },
                    hostnames,
                    rules,
                });
            }
            gateway
        },
    )
}
