//! What a search costs does not depend on the number of routes. Work is counted, not timed.

use super::{Route, head, listener, route, router};
use crate::route::router::Effort;

const MANY: usize = 10_000;

/// The work for a request, and whether it found a rule, with so many routes from `make`.
fn effort(routes: usize, make: impl Fn(usize) -> Route, request: &str) -> (Effort, bool) {
    let routes: Vec<Route> = (0..routes).map(make).collect();
    let router = router(&[listener(80, "")], &routes);
    let mut effort = Effort::default();
    let found = router.search(0, &head(request), &mut effort).is_some();
    (effort, found)
}

#[track_caller]
fn does_not_grow(make: impl Fn(usize) -> Route, requests: &[&str], want: Effort) {
    for request in requests {
        let few = effort(10, &make, request);
        let many = effort(MANY, &make, request);
        assert_eq!(few, many, "{request}");
        let within = few.0.hosts <= want.hosts
            && few.0.lookups <= want.lookups
            && few.0.candidates <= want.candidates;
        assert!(within, "{request}: {few:?}");
    }
}

#[test]
fn hosts_are_looked_up() {
    let one = Effort { hosts: 1, lookups: 2, candidates: 1 };
    let exact = |n: usize| route(&[0], &format!("h{n:05}.example"), &[("/", "")]);
    does_not_grow(exact, &["h00007.example/", "none.example/"], one);
    let wild = |n: usize| route(&[0], &format!("*.h{n:05}.example"), &[("/", "")]);
    does_not_grow(wild, &["a.b.h00007.example/", "h00007.example/", "a.none.example/"], one);
}

#[test]
fn paths_are_looked_up() {
    let exact = |n: usize| route(&[0], "", &[(&format!("=/a/p{n:05}"), "")]);
    let once = Effort { hosts: 1, lookups: 1, candidates: 1 };
    does_not_grow(exact, &["h/a/p00007", "h/a/none"], once);
    let prefix = |n: usize| route(&[0], "", &[(&format!("/a/p{n:05}/"), "")]);
    let elements = Effort { hosts: 1, lookups: 5, candidates: 1 };
    does_not_grow(prefix, &["h/a/p00007", "h/a/p00007/", "h/a/p00007/c", "h/a/none/c"], elements);
}

/// What only method, fields or query tell apart is tried one by one, and so are expressions.
#[test]
fn what_is_linear_is_what_the_module_says() {
    let same = |n: usize| route(&[0], "", &[(&format!("/a h:{n}"), "")]);
    assert_eq!(effort(100, same, "h/a").0.candidates, 100);
    assert_eq!(effort(100, same, "h/b").0.candidates, 0);
    let regex = |n: usize| route(&[0], &format!("h{} ", n % 10), &[(&format!("~/{n}"), "")]);
    assert_eq!(effort(100, regex, "h3/x").0.candidates, 10, "of its own host only");
}

/// A name and a wildcard that narrow to one listener are one entry there.
#[test]
fn a_rule_is_tried_once() {
    let twice = route(&[0], "a.x *.x", &[("/ h:1", "")]);
    let router = router(&[listener(80, "a.x")], &[twice]);
    let mut effort = Effort::default();
    assert!(router.search(0, &head("a.x/"), &mut effort).is_none());
    assert_eq!(effort.candidates, 1);
}

/// A path or host of a hostile client is looked up no further than the longest name reaches.
#[test]
fn long_requests_cost_what_the_tables_reach() {
    let prefix = |n: usize| route(&[0], "*.a.example", &[(&format!("/a/{}", n % 10), "")]);
    let request = format!("{}a.example/{}", "x.".repeat(2_000), "a/".repeat(3_000));
    let (effort, found) = effort(10, prefix, &request);
    assert!(!found);
    assert_eq!(effort, Effort { hosts: 1, lookups: 4, candidates: 0 });
}
