//! Matches and their precedence.

use super::{Route, check, found, head, route, simple};
use crate::route::matched::group_of;

fn rules(rules: &[(&str, &str)]) -> [Route; 1] {
    [route(&[0], "", rules)]
}

#[test]
fn paths_and_fields() {
    let (a, b) = ("/ | version:one", "/v2 | version:two");
    let common = [
        ("1", "h/ + h/example + h/ version:one + h/v2example + h/foo/v2/example"),
        ("2", "h/v2 + h/v2/ + h/v2/example + h/ version:two + h/ VERSION:two"),
        ("1", "h/ version:TWO"),
    ];
    check(&simple(&rules(&[(a, "1"), (b, "2")])), 0, &common);
    let routes = [
        route(&[0], "example.com example.net", &[(a, "1")]),
        route(&[0], "example.com", &[(b, "2")]),
    ];
    check(
        &simple(&routes),
        0,
        &[
            ("2", "example.com/v2 + example.com/ version:two + example.com/v2/example"),
            ("1", "example.net/v2 + example.com/example version:one + example.com/"),
        ],
    );
}

#[test]
fn an_exact_path_then_the_longest_prefix() {
    let router = simple(&rules(&[
        ("=/match", "1"),
        ("=/match/exact", "2"),
        ("=/match/exact/one", "3"),
        ("/match/", "3"),
        ("/match/prefix/", "1"),
        ("/match/prefix/one", "2"),
    ]));
    check(
        &router,
        0,
        &[
            ("1", "h/match + h/match/prefix/any"),
            ("2", "h/match/exact + h/match/prefix/one/any"),
            ("3", "h/match/exact/one + h/match/any + h/match/ + h/match//x"),
            ("404", "h/matched + h/ + h//match"),
        ],
    );
    check(
        &simple(&rules(&[("=/one", "1"), ("=/two", "2")])),
        0,
        &[
            ("1", "h/one + h/one?x"),
            ("2", "h/two"),
            ("404", "h/ + h/one/example + h/two/ + h/Two + h/%74wo"),
        ],
    );
    check(
        &simple(&rules(&[("/abc", "1")])),
        0,
        &[("1", "h/abc + h/abc/ + h/abc/def + h/abc?d"), ("404", "h/abcd + h/ab + h/x/abc")],
    );
}

#[test]
fn header_fields() {
    let router = simple(&rules(&[
        ("version:one", "1"),
        ("version:two", "2"),
        ("version:two color:orange", "1"),
        ("color:blue | color:green", "1"),
        ("color:red | color:yellow", "2"),
        ("list:a,b", "3"),
        ("list:b,&c", "4"),
        ("list:~[a-z]+,.[0-9]", "5"),
        ("empty:", "6"),
    ]));
    check(
        &router,
        0,
        &[
            ("1", "h/ version:one + h/ version:two color:orange + h/ color:blue + h/ color:green"),
            ("2", "h/ version:two + h/ version:two color:blue + h/ color:red + h/ color:yellow"),
            ("404", "h/ color:orange + h/ color:purple + h/ + h/ version:two,one"),
            ("3", "h/ list:a,b + h/ list:a List:b"),
            ("404", "h/ list:a + h/ list:b list:a + h/ list:a list:b list:c + h/ list:a list:"),
            ("4", "h/ list:b,&c + h/ list:b LIST:&c"),
            ("5", "h/ list:x list:7"),
            ("404", "h/ list:x,7"),
            ("6", "h/ empty:"),
        ],
    );
}

/// The blank after a comma is optional where fields are joined, also in the configuration.
#[test]
fn a_repeated_field_is_joined_with_or_without_a_blank() {
    let mut routes = rules(&[("list:a,b", "1")]);
    let of = &mut routes[0].rules[0].matches[0].headers[0].value;
    *of = crate::config::gateway::TextMatch::Exact("a, b".to_owned());
    check(&simple(&routes), 0, &[("1", "h/ list:a list:b"), ("404", "h/ list:a,b")]);
}

#[test]
fn query_parameters() {
    let router = simple(&rules(&[
        ("?animal=whale", "1"),
        ("?animal=dolphin", "2"),
        ("?animal=dolphin ?color=blue | ?ANIMAL=Whale", "3"),
        ("/path1 ?animal=whale", "1"),
        ("version:one ?animal=whale", "2"),
        ("/path2 version:two ?animal=whale", "3"),
        ("/path3 ?animal=shark | /path4 version:three ?animal=kraken", "1"),
        ("/path5", "1"),
        ("?animal=hydra", "2"),
        ("version:four", "3"),
        ("?a+b=c%26 | ?plain=~x.y", "4"),
        ("?none=", "5"),
    ]));
    check(
        &router,
        0,
        &[
            ("1", "h/?animal=whale + h/?animal=whale&otherparam=irrelevant"),
            ("2", "h/?animal=dolphin + h/?animal=dolphin&color=yellow"),
            ("3", "h/?animal=dolphin&color=blue + h/?ANIMAL=Whale"),
            ("404", "h/?color=blue + h/?animal=dog + h/?animal=whaledolphin + h/ + h/?animal"),
            (
                "1",
                "h/path1?animal=whale + h/path3?animal=shark + h/path4?animal=kraken version:three",
            ),
            ("2", "h/?animal=whale version:one"),
            ("3", "h/path2?animal=whale version:two"),
            ("404", "h/?animal=shark + h/path4?animal=kraken"),
            ("1", "h/path5?animal=hydra"),
            ("3", "h/?animal=hydra version:four"),
            ("2", "h/?animal=hydra + h/?animal=hydra&animal=whale + h/?%61nimal=hydr%61"),
            ("404", "h/?animal=dog&animal=whale"),
            ("404", "h/?a+b=c&"),
            ("4", "h/?plain=x+y + h/?plain=x%20y"),
            ("404", "h/?plain=x%0ay + h/?plain=xy"),
            ("5", "h/?none + h/?none= + h/?x&none&y"),
        ],
    );
}

/// The model's names and values are plain text; the request's are decoded once.
#[test]
fn query_names_and_values_are_compared_decoded() {
    let mut routes = rules(&[("?a=b", "1")]);
    let of = &mut routes[0].rules[0].matches[0].query[0];
    of.name = "a b".to_owned();
    of.value = crate::config::gateway::TextMatch::Exact("c&d+é".to_owned());
    let requests = "h/?a+b=c%26d%2Bé + h/?a%20b=c%26d%2B%c3%a9";
    check(&simple(&routes), 0, &[("1", requests), ("404", "h/?a+b=c%2526d%2B%c3%a9")]);
}

#[test]
fn methods() {
    let router = simple(&rules(&[
        ("POST", "1"),
        ("GET", "2"),
        ("/path1 GET", "1"),
        ("version:one PUT", "2"),
        ("/path2 version:two POST", "3"),
        ("/path3 PATCH | /path4 version:three DELETE", "1"),
        ("/path5", "1"),
        ("PATCH", "2"),
        ("version:four", "3"),
    ]));
    check(
        &router,
        0,
        &[
            ("1", "POST h/ + GET h/path1 + PATCH h/path3 + DELETE h/path4 version:three"),
            ("2", "GET h/ + PUT h/ version:one"),
            ("3", "POST h/path2 version:two + PUT h/ version:four"),
            ("404", "HEAD h/ + PUT h/ + DELETE h/path4"),
            ("1", "PATCH h/path5"),
            ("2", "PATCH h/ version:four"),
        ],
    );
}

/// Each row beats those below it, wherever it stands in the text.
#[test]
fn the_order_of_precedence_does_not_depend_on_the_order_of_the_text() {
    let ladder = [
        "=/a/b a:1 ?a=1",
        "=/a/b ?a=1",
        "=/a/b",
        "/a/b POST",
        "/a/b a:1 b:1",
        "/a/b a:1 ?a=1 ?b=1",
        "/a/b a:1 ?a=1",
        "/a/b a:1",
        "/a/b ?a=1 ?b=1",
        "/a/b ?a=1",
        "/a/b",
        "/a POST a:1 b:1 ?a=1 ?b=1",
        "/a",
        "/",
        "~/a/[b] POST",
        "~/a/b a:1 b:1",
        "~/a/[a-c] a:1 ?a=1",
        "~/a/.",
    ];
    let request = head("POST h/a/b?a=1&b=1 a:1 b:1");
    for top in 0..ladder.len() {
        let down: Vec<_> = ladder[top..].iter().map(|text| (*text, *text)).collect();
        let up: Vec<_> = down.iter().rev().copied().collect();
        for order in [down, up] {
            let apart: Vec<Route> = order.iter().map(|rule| route(&[0], "", &[*rule])).collect();
            for routes in [rules(&order).to_vec(), apart] {
                let router = simple(&routes);
                let matched = found(&router, 0, &request).unwrap();
                let want = super::rule(ladder[top], ladder[top]);
                assert_eq!(matched.rule(), &want, "of {order:?}");
            }
        }
    }
}

#[test]
fn ties_go_to_the_first_route_and_then_to_its_first_rule() {
    let routes = [
        route(&[0], "", &[("/a x:1", "1"), ("/a y:1", "2"), ("/a", "3"), ("/a", "4")]),
        route(&[0], "", &[("/a x:1", "5"), ("/a/ z:1", "6"), ("~/[b]", "7"), ("~/b", "8")]),
    ];
    check(
        &simple(&routes),
        0,
        &[
            ("1", "h/a x:1 y:1 z:1"),
            ("2", "h/a y:1 z:1"),
            ("3", "h/a"),
            ("6", "h/a z:1"),
            ("7", "h/b"),
        ],
    );
}

/// A path that fits is of no use if the rest does not: the search goes on with the next best.
#[test]
fn a_worse_path_serves_what_a_better_one_does_not() {
    let router =
        simple(&rules(&[("=/a/b POST", "1"), ("/a/b x:1", "2"), ("/a ?q=1", "3"), ("~.*b", "4")]));
    check(
        &router,
        0,
        &[
            ("1", "POST h/a/b?q=1 x:1"),
            ("2", "GET h/a/b?q=1 x:1"),
            ("3", "GET h/a/b?q=1"),
            ("4", "GET h/a/b"),
            ("404", "GET h/a/b/c"),
        ],
    );
}

#[test]
fn a_match_tells_its_prefix_and_its_groups() {
    let router = simple(&rules(&[
        ("/a/b/", "1"),
        ("~/rooms/(?<room>[^/]+)/([0-9]+)?", "2"),
        ("=/exact", "3"),
        ("/", "4"),
    ]));
    let of = |request: &str| found(&router, 0, &head(request)).unwrap();
    let prefix = of("h/a/b/c");
    assert_eq!((prefix.prefix_bytes(), prefix.rest("/a/b/c")), (Some(4), "/c"));
    assert_eq!(of("h/a/b").rest("/a/b"), "");
    let root = of("h/x");
    assert_eq!((root.prefix_bytes(), root.rest("/x")), (Some(0), "/x"));
    let exact = of("h/exact");
    assert_eq!((exact.prefix_bytes(), exact.rest("/exact")), (None, ""));
    assert!(exact.captures("/exact").is_none());
    assert_eq!(exact.id().rule, 2);
    assert_eq!(router.rule(exact.id()), Some(exact.rule()));

    let router = simple(&rules(&[("~/rooms/(?<room>[^/]+)/([0-9]+)?", "2")]));
    let groups = found(&router, 0, &head("h/rooms/a%20b/")).unwrap();
    let captures = groups.captures("/rooms/a%20b/").unwrap();
    let capture = |group| group_of(&captures, group);
    assert_eq!((capture("room"), capture("1")), (Some("a%20b"), Some("a%20b")));
    assert_eq!((capture("2"), capture("3"), capture("other")), (None, None, None));
}

/// An expression that does not compile is a bug elsewhere; it serves nothing, and breaks nothing.
#[test]
fn a_broken_expression_matches_nothing() {
    let router = simple(&rules(&[("~(", "1"), ("a:~(", "2"), ("?a=~(", "3"), ("/", "4")]));
    check(&router, 0, &[("4", "h/( + h/?a=( a:( + h/")]);
}

#[test]
fn a_router_does_not_show_what_filters_set() {
    use crate::config::gateway::{Filter, HeaderChange};
    let mut routes = rules(&[("/", "1")]);
    let set = vec![("authorization".to_owned(), "Bearer hush".to_owned())];
    routes[0].rules[0].filters =
        vec![Filter::RequestHeaders(HeaderChange { set, ..HeaderChange::default() })];
    let router = simple(&routes);
    let matched = found(&router, 0, &head("h/")).unwrap();
    assert!(!format!("{router:?} {matched:?}").contains("hush"));
}
