//! Filters: the vectors of redirects, rewrites, header changes, mirrors and weights.

use super::{head, raw, rule};
use crate::base::chance::Chance;
use crate::config::gateway::BackendRef;
use crate::config::gateway::Filter;
use crate::config::gateway::HeaderChange;
use crate::config::gateway::Mirror;
use crate::config::gateway::PathChange;
use crate::config::gateway::Redirect;
use crate::config::gateway::Rewrite;
use crate::config::gateway::Scheme;
use crate::http::fields::Fields;
use crate::http::h1::Head;
use crate::route::filter;
use crate::route::filter::{Arrival, NoHost, Redirection};

const PLAIN: Arrival = Arrival { scheme: Scheme::Http, port: 80 };

fn redirect() -> Redirect {
    Redirect { scheme: None, hostname: None, port: None, path: None, status: 302 }
}

fn rewrite(hostname: Option<&str>, path: Option<PathChange>) -> Filter {
    Filter::Rewrite(Rewrite { hostname: hostname.map(str::to_owned), path })
}

fn prefix(with: &str) -> Option<PathChange> {
    Some(PathChange::Prefix(with.to_owned()))
}

fn full(with: &str) -> Option<PathChange> {
    Some(PathChange::Full(with.to_owned()))
}

fn backend(weight: u32, filters: Vec<Filter>) -> BackendRef {
    BackendRef { backend: Some(0), weight, filters }
}

/// The table of prefix changes, for rewrites and redirects alike.
#[test]
fn a_matched_prefix_is_replaced() {
    let table = [
        ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz", "/xyz/bar"),
        ("/foo/bar", "/foo/", "/xyz/", "/xyz/bar"),
        ("/foo", "/foo", "/xyz", "/xyz"),
        ("/foo/", "/foo", "/xyz", "/xyz/"),
        ("/foo/bar", "/foo", "", "/bar"),
        ("/foo/", "/foo", "", "/"),
        ("/foo", "/foo", "", "/"),
        ("/foo/", "/foo", "/", "/"),
        ("/foo", "/foo", "/", "/"),
        ("/prefix/one/two", "/prefix/one", "/one", "/one/two"),
        ("/strip-prefix", "/strip-prefix", "/", "/"),
        ("/strip-prefix/three", "/strip-prefix", "/", "/three"),
        ("/prefix/original", "/prefix", "/rewritten-prefix", "/rewritten-prefix/original"),
        ("/any", "/", "/in", "/in/any"),
        ("/", "/", "/in", "/in/"),
    ];
    for (path, matched, with, want) in table {
        let router = super::simple(&[super::route(&[0], "", &[(matched, "")])]);
        let bytes = |h: &Head| super::found(&router, 0, h).unwrap().prefix_bytes();
        for query in ["", "?q=1&r", "?"] {
            let head = head(&format!("example.org{path}{query}"));
            let filters = [rewrite(None, prefix(with))];
            let target = filter::rewrite(filters.iter(), &head, bytes(&head));
            assert_eq!(target.target(), format!("{want}{query}"), "{path} {matched} {with}");
            assert_eq!(target.host, None);
            let redirect = Redirect { path: prefix(with), ..redirect() };
            let location = format!("http://example.org{want}{query}");
            let to = filter::answer(&redirect, &head, bytes(&head), PLAIN);
            assert_eq!(to, Ok(Redirection { status: 302, location }));
        }
    }
}

#[test]
fn a_whole_path_and_a_host_are_replaced() {
    let head = head("example.org:8080/full/one/two?q");
    let filters = [rewrite(Some("two.example"), full("/one"))];
    let target = filter::rewrite(filters.iter(), &head, Some(5));
    assert_eq!((target.target().as_str(), target.host), ("/one?q", Some("two.example")));
    let as_it_came = filter::rewrite([].iter(), &head, Some(5));
    assert_eq!((as_it_came.target().as_str(), as_it_came.host), ("/full/one/two?q", None));
}

/// The filters of the backend come after those of the rule, and see what those made.
#[test]
fn filters_of_a_backend_follow_those_of_the_rule() {
    let mut rule = rule("/a", "");
    rule.filters = vec![rewrite(Some("rule.example"), prefix("/b/c"))];
    let only = |filter| backend(1, vec![filter]);
    let head = head("h/a/x?q");
    let target = |backend: Option<&BackendRef>| {
        let target = filter::rewrite(filter::of(&rule, backend), &head, Some(2));
        (target.target(), target.host.map(str::to_owned))
    };
    let host = |name: &str| Some(name.to_owned());
    assert_eq!(target(None), ("/b/c/x?q".into(), host("rule.example")));
    let change = only(rewrite(None, prefix("/d")));
    assert_eq!(target(Some(&change)), ("/d/x?q".into(), host("rule.example")));
    let change = only(rewrite(Some("own.example"), full("/e")));
    assert_eq!(target(Some(&change)), ("/e?q".into(), host("own.example")));
    rule.filters = vec![rewrite(None, full("/whole"))];
    let change = only(rewrite(None, prefix("/d")));
    let kept = filter::rewrite(filter::of(&rule, Some(&change)), &head, Some(2)).target();
    assert_eq!(kept, "/whole?q", "no prefix is left to replace");

    let own = only(Filter::Redirect(redirect()));
    assert!(filter::redirect(filter::of(&rule, None)).is_none());
    assert!(filter::redirect(filter::of(&rule, Some(&own))).is_some());
}

#[test]
fn scheme_and_port_of_a_redirect() {
    use Scheme::{Http, Https};
    let table = [
        (Http, 80, None, None, "http://example.org"),
        (Http, 80, None, Some(80), "http://example.org"),
        (Http, 80, None, Some(8080), "http://example.org:8080"),
        (Http, 80, Some(Https), None, "https://example.org"),
        (Http, 80, Some(Https), Some(443), "https://example.org"),
        (Http, 80, Some(Https), Some(8443), "https://example.org:8443"),
        (Http, 8080, None, None, "http://example.org:8080"),
        (Http, 8080, None, Some(80), "http://example.org"),
        (Http, 8080, Some(Https), None, "https://example.org"),
        (Https, 443, None, None, "https://example.org"),
        (Https, 443, None, Some(443), "https://example.org"),
        (Https, 443, None, Some(8443), "https://example.org:8443"),
        (Https, 443, Some(Http), None, "http://example.org"),
        (Https, 443, Some(Http), Some(80), "http://example.org"),
        (Https, 443, Some(Http), Some(8080), "http://example.org:8080"),
    ];
    for (own, listener, scheme, port, want) in table {
        let arrival = Arrival { scheme: own, port: listener };
        let redirect =
            Redirect { scheme, port, hostname: Some("example.org".into()), ..redirect() };
        let to = filter::answer(&redirect, &head("other.org:99/p?q"), None, arrival).unwrap();
        assert_eq!(to.location, format!("{want}/p?q"), "{arrival:?} {redirect:?}");
    }
}

#[test]
fn what_a_redirect_lacks_comes_from_the_request() {
    for status in [301, 302, 303, 307, 308] {
        let redirect = Redirect { status, ..redirect() };
        let to = filter::answer(&redirect, &head("Example.org:99/a?b"), None, PLAIN).unwrap();
        assert_eq!(to, Redirection { status, location: "http://Example.org/a?b".into() });
    }
    let to = |redirect: &Redirect, request: &str| {
        filter::answer(redirect, &head(request), None, PLAIN).map(|to| to.location)
    };
    assert_eq!(to(&redirect(), "[::1]:99/a"), Ok("http://[::1]/a".into()));
    let whole = Redirect { path: full("/full/path"), ..redirect() };
    assert_eq!(to(&whole, "h/a/b?c"), Ok("http://h/full/path?c".into()));
    assert_eq!(to(&redirect(), "h//evil.example/x"), Ok("http://h//evil.example/x".into()));
    let old = raw("GET //evil.example/x HTTP/1.0\r\n\r\n");
    assert_eq!(filter::answer(&redirect(), &old, None, PLAIN), Err(NoHost));
    let named = Redirect { hostname: Some("n.example".into()), ..redirect() };
    let location = filter::answer(&named, &old, None, PLAIN).unwrap().location;
    assert_eq!(location, "http://n.example//evil.example/x");
}

#[test]
fn fields_are_set_added_and_removed() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let change = HeaderChange {
        set: vec![pair("X-Header-Set", "set-overwrites"), pair("new", "1")],
        add: vec![pair("X-Header-Add", "add-appends-values")],
        remove: vec!["X-Header-Remove".to_owned()],
    };
    let apply = |before: &[(&str, &str)]| {
        let mut fields = Fields::new();
        before.iter().for_each(|(name, value)| fields.push(name, value));
        filter::apply(&change, &mut fields);
        let mut out = Vec::new();
        fields.write(&mut out);
        String::from_utf8(out).unwrap().to_ascii_lowercase()
    };
    let fresh = "x-header-set: set-overwrites\r\nnew: 1\r\nx-header-add: add-appends-values\r\n";
    assert_eq!(apply(&[]), fresh);
    assert_eq!(apply(&[("x-header-set", "some-other-value"), ("x-header-set", "b")]), fresh);
    assert_eq!(apply(&[("x-header-remove", "a"), ("X-HEADER-REMOVE", "b")]), fresh);
    let added = apply(&[("x-header-add", "some-other-value"), ("keep", "k")]);
    let want = "keep: k\r\nx-header-set: set-overwrites\r\nnew: 1\r\n\
                x-header-add: some-other-value,add-appends-values\r\n";
    assert_eq!(added, want);
}

#[test]
fn requests_are_changed_in_order_and_by_their_changes_only() {
    let set = |value: &str| HeaderChange {
        set: vec![("a".to_owned(), value.to_owned())],
        ..HeaderChange::default()
    };
    let mut rule = rule("/", "");
    rule.filters = vec![Filter::RequestHeaders(set("1")), Filter::ResponseHeaders(set("2"))];
    let own = backend(1, vec![Filter::RequestHeaders(set("3"))]);
    let mut asked = Fields::new();
    filter::change_request(filter::of(&rule, Some(&own)), &mut asked);
    assert_eq!(asked.first("a"), Some(&b"3"[..]));
}

#[test]
fn what_is_decided_of_a_request_field_is_decided_of_its_twin() {
    let mut rule = rule("/", "");
    rule.filters = vec![Filter::RequestHeaders(HeaderChange {
        set: vec![("X-User".to_owned(), "anon".to_owned())],
        add: vec![("X-Trace".to_owned(), "1".to_owned())],
        remove: vec!["x_admin_role".to_owned()],
    })];
    let mut asked = Fields::new();
    for name in ["x_user", "X_User", "X-Admin-Role", "x-admin_role", "X_Trace", "X-Users", "X_Use"]
    {
        asked.push(name, "client");
    }
    filter::change_request(filter::of(&rule, None), &mut asked);
    let left: Vec<_> = asked.iter().map(|(name, _)| name).collect();
    assert_eq!(left, ["X_Trace", "X-Users", "X_Use", "X-User", "X-Trace"]);
    assert_eq!(asked.first("x-user"), Some(&b"anon"[..]));
}

/// Within three standard deviations of the share, for every share of the vectors.
#[test]
fn mirrors_are_drawn_by_their_share() {
    let of = |backend, numerator, denominator| {
        Filter::Mirror(Mirror { backend, numerator, denominator })
    };
    let filters = [of(0, 20, 100), of(1, 35, 100), of(2, 25, 50), of(3, 1, 1), of(4, 0, 100)];
    let mut chance = Chance::new(4);
    let mut copies = [0_u32; 5];
    for _ in 0..500 {
        for backend in filter::mirrors(filters.iter(), &mut chance) {
            copies[backend] += 1;
        }
    }
    for (n, share) in [(0, 0.2), (1, 0.35), (2, 0.5)] {
        let deviation = (500.0_f64 * share * (1.0 - share)).sqrt();
        let off = (f64::from(copies[n]) - 500.0 * share).abs();
        assert!(off <= 3.0 * deviation, "{copies:?}");
    }
    assert_eq!((copies[3], copies[4]), (500, 0));
}

/// W1: within five points of the share; a reference that leads nowhere keeps its own.
#[test]
fn backends_are_drawn_by_weight() {
    let mut refs = [backend(70, vec![]), backend(30, vec![]), backend(0, vec![])];
    refs[1].backend = None;
    let mut chance = Chance::new(8);
    let mut draws = [0_i32; 3];
    for _ in 0..500 {
        let drawn = filter::choose(&refs, &mut chance).unwrap();
        draws[refs.iter().position(|r| std::ptr::eq(r, drawn)).unwrap()] += 1;
    }
    assert!((draws[0] - 350).abs() <= 25 && (draws[1] - 150).abs() <= 25, "{draws:?}");
    assert_eq!(draws[2], 0);
    assert_eq!(filter::choose(&refs[2..], &mut chance), None);
    assert_eq!(filter::choose(&[], &mut chance), None);
    let heavy = [backend(u32::MAX, vec![]), backend(u32::MAX, vec![])];
    assert!((0..50).any(|_| filter::choose(&heavy, &mut chance) == Some(&heavy[1])));
}

#[test]
fn an_empty_host_is_none() {
    let empty = raw("GET //evil.example/x HTTP/1.1\r\nHost:\r\n\r\n");
    assert_eq!(filter::answer(&redirect(), &empty, None, PLAIN), Err(NoHost));
}
