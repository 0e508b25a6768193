//! Hosts: the choice of a listener, its isolation, and what hosts of routes mean on it.

use super::{Route, check, head, listener, raw, route, router, simple};
use crate::route::Found;

#[test]
fn the_best_listener_takes_a_host() {
    let names = ["bar.com", "foo.bar.com", "*.bar.com", "*.foo.com"];
    let listeners = names.map(|name| listener(80, name));
    let routes = [
        route(&[0], "", &[("/", "1")]),
        route(&[1], "", &[("/", "2")]),
        route(&[2, 3], "", &[("/", "3")]),
    ];
    let router = router(&listeners, &routes);
    assert_eq!(router.addresses(), [([127, 0, 0, 1], 80).into()]);
    check(
        &router,
        0,
        &[
            ("1", "bar.com/ + BAR.com/ + bar.com:8080/ + bar.com./"),
            ("2", "foo.bar.com/"),
            ("3", "baz.bar.com/ + multiple.prefixes.bar.com/ + multiple.prefixes.foo.com/"),
            ("404", "foo.com/ + no.matching.host/ + / + [::1]/ + [::1]:80/ + 127.0.0.1:80/"),
        ],
    );
    let nowhere = router.find(1, &head("bar.com/"));
    assert!(matches!(nowhere, Found::NoRoute), "an address that is none");
}

#[test]
fn hosts_of_routes_and_of_their_listeners_intersect() {
    let listeners = ["very.specific.com", "*.wildcard.io", "*.anotherwildcard.io"];
    let listeners = listeners.map(|name| listener(80, name));
    let all = [0, 1, 2];
    let wild = "non.matching.com wildcard.io foo.wildcard.io bar.wildcard.io foo.bar.wildcard.io";
    let routes = [
        route(&all, "non.matching.com *.nonmatchingwildcard.io very.specific.com", &[("/s1", "1")]),
        route(&all, wild, &[("/s2", "2")]),
        route(&all, "non.matching.com *.specific.com", &[("/s3", "3")]),
        route(&all, "*.anotherwildcard.io", &[("/s4", "1")]),
        route(&all, "specific.but.wrong.com wildcard.io", &[("/s5", "5")]),
    ];
    check(
        &router(&listeners, &routes),
        0,
        &[
            ("1", "very.specific.com/s1 + very.specific.com:1234/s1"),
            ("2", "foo.wildcard.io/s2 + bar.wildcard.io/s2 + foo.bar.wildcard.io/s2"),
            ("3", "very.specific.com/s3"),
            ("1", "foo.anotherwildcard.io/s4 + bar.anotherwildcard.io/s4"),
            ("1", "foo.bar.anotherwildcard.io/s4"),
            ("404", "non.matching.com/s1 + non.matching.com/s2 + non.matching.com/s3"),
            ("404", "foo.nonmatchingwildcard.io/s1 + wildcard.io/s2 + wildcard.io/s5"),
            ("404", "very.specific.com/s2 + very.specific.com/s4 + foo.specific.com/s3"),
            ("404", "foo.wildcard.io/s1 + foo.wildcard.io/s3 + foo.wildcard.io/s4"),
            ("404", "anotherwildcard.io/s4 + specific.but.wrong.com/s5"),
        ],
    );
    let hosts = "first.com sub.first.com second.com sub.second.com";
    check(
        &simple(&[route(&[0], hosts, &[("/", "2")])]),
        0,
        &[
            ("2", "first.com/ + sub.first.com/ + second.com/ + sub.second.com/"),
            ("404", "third.com/ + sub.third.com/"),
        ],
    );
}

/// Sixteen requests, of which the four on the diagonal find a route: whatever the routes list.
#[test]
fn a_listener_is_final() {
    let names = ["", "*.example.com", "*.foo.example.com", "abc.foo.example.com"];
    let hosts = ["bar.com", "bar.example.com", "bar.foo.example.com", "abc.foo.example.com"];
    let listeners = names.map(|name| listener(80, name));
    let all = hosts.join(" ");
    for listed in ["", all.as_str()] {
        let routes: Vec<Route> = (0..4)
            .map(|n| route(&[n], listed, &[(&format!("/path{n}"), &n.to_string())]))
            .collect();
        let router = router(&listeners, &routes);
        for (n, host) in hosts.iter().enumerate() {
            for path in 0..4 {
                let want = if n == path { path.to_string() } else { "404".to_owned() };
                check(&router, 0, &[(&want, &format!("{host}/path{path}"))]);
            }
        }
    }
}

#[test]
fn addresses_are_apart() {
    let listeners = [
        listener(80, "foo.com"),
        listener(8080, "foo.com"),
        listener(8080, "bar.com"),
        listener(8090, "foo.com"),
        listener(8090, "bar.com"),
    ];
    let routes = [
        route(&[0], "", &[("/", "1")]),
        route(&[1, 2], "", &[("/", "2")]),
        route(&[3], "", &[("/", "3")]),
    ];
    let router = router(&listeners, &routes);
    let ports: Vec<u16> = router.addresses().iter().map(|address| address.port()).collect();
    assert_eq!(ports, [80, 8080, 8090]);
    check(&router, 0, &[("1", "foo.com/"), ("404", "bar.com/")]);
    check(&router, 1, &[("2", "foo.com:8080/ + bar.com:8080/ + foo.com:80/")]);
    check(&router, 2, &[("3", "foo.com:8090/"), ("404", "bar.com:8090/")]);
}

/// N5: the host decides before the path does, and only among rules that match.
#[test]
fn the_longest_host_goes_first() {
    let routes = [
        route(&[0], "", &[("=/x", "any"), ("=/any", "any")]),
        route(&[0], "*.a.com", &[("=/x", "wide"), ("=/wide", "wide")]),
        route(&[0], "*.b.a.com", &[("=/x", "narrow"), ("=/narrow", "narrow")]),
        route(&[0], "c.b.a.com", &[("/x", "exact")]),
        route(&[0], "*.a.com c.b.a.com", &[("=/twice", "twice")]),
    ];
    check(
        &simple(&routes),
        0,
        &[
            ("exact", "c.b.a.com/x + c.b.a.com/x/y"),
            ("narrow", "d.b.a.com/x + e.d.b.a.com/x + c.b.a.com/narrow"),
            ("wide", "b.a.com/x + d.a.com/x + c.b.a.com/wide + d.b.a.com/wide"),
            ("any", "a.com/x + c.b.a.com/any + [::1]:80/x"),
            ("twice", "d.a.com/twice + c.b.a.com/twice"),
            ("404", "c.b.a.com/none"),
        ],
    );
}

/// A wildcard of a route narrows to an exact listener, and then ranks as its name does.
#[test]
fn a_narrowed_wildcard_ranks_as_the_listeners_name() {
    let routes =
        [route(&[0], "*.com", &[("=/x", "wildcard")]), route(&[0], "a.com", &[("/", "exact")])];
    let router = router(&[listener(80, "a.com")], &routes);
    check(&router, 0, &[("wildcard", "a.com/x"), ("exact", "a.com/y")]);
}

#[test]
fn the_authority_of_the_target_is_the_host() {
    let router = simple(&[route(&[0], "a.com", &[("/", "1")])]);
    let find = |bytes| matches!(router.find(0, &raw(bytes)), Found::Rule(_));
    assert!(find("GET http://a.com:81 HTTP/1.1\r\nHost: b.com\r\n\r\n"));
    assert!(!find("GET http://b.com/ HTTP/1.1\r\nHost: a.com\r\n\r\n"));
    assert!(!find("GET / HTTP/1.0\r\n\r\n"), "no host is none of these");
    assert!(!find("OPTIONS * HTTP/1.1\r\nHost: a.com\r\n\r\n"), "no rule is about the server");
    assert!(find("OPTIONS / HTTP/1.1\r\nHost: a.com\r\n\r\n"));
}

#[test]
fn a_router_without_routes_knows_it() {
    assert!(router(&[listener(80, "")], &[]).is_empty());
    assert!(!simple(&[route(&[0], "", &[("/", "1")])]).is_empty());
}
