//! Tests of what is told of rules that serve nobody, and of what is not. That none of the rules
//! that are called unreached ever serves is held against the router in `route::tests::random`.

use super::*;
use crate::config::gateway::Nothing;
use crate::config::toml::load;

#[track_caller]
fn told(text: &str) -> Vec<String> {
    let config = load(text, &[], &Nothing).unwrap_or_else(|problems| panic!("{problems}"));
    warnings(&config).iter().map(ToString::to_string).collect()
}

#[track_caller]
fn holds(text: &str, want: &[&str]) {
    let found = told(text);
    assert_eq!(found.len(), want.len(), "{text}: {found:#?}");
    for (found, want) in found.iter().zip(want) {
        assert!(found.contains(want), "{found} without {want}");
    }
}

/// Routes with these keys, each on a backend.
#[track_caller]
fn check(keys: &[&str], want: &[&str]) {
    let one = |keys: &&str| format!("[[route]]\nbackend = \"http://127.0.0.1:1\"\n{keys}\n");
    holds(&keys.iter().map(one).collect::<String>(), want);
}

#[test]
fn a_pattern_behind_a_prefix_is_told() {
    let behind = "route-1 never serves { regex = \"/api/[a-z]+\" }: route-0 takes its \
                  requests with \"/api\"; prefixes go before patterns";
    let pattern = "path = { regex = \"/api/[a-z]+\" }";
    check(&["path = \"/api\"", pattern], &[behind]);
    check(&["path = \"/\"", pattern], &["route-0 takes its requests with \"/\""]);
    check(&["", "path = { regex = \"a|b\" }"], &["route-1 never serves"]);
    let get = "matches = [{ path = { regex = \"/api/x.*\" }, method = \"GET\" }]";
    check(&["path = \"/api\"", get], &["route-1 never serves"]);
    // It ranks last wherever it stands.
    check(&[pattern, "path = \"/api\""], &["route-0 never serves"]);
    for beside in [
        "path = { exact = \"/api/a\" }",
        "path = \"/api/a\"",
        "path = \"/ap\"",
        "matches = [{ path = \"/api\", method = \"GET\" }]",
        "path = \"/\"\nhostnames = [\"a.example\"]",
    ] {
        check(&[beside, pattern], &[]);
    }
    // Perhaps there is no `/` after `/api`, or another branch.
    for pattern in ["/api/?[a-z]+", "/api/{0,1}[a-z]+", "/api/a|/b", "/ap[ij]/x", "/api[^/]+"] {
        check(&["path = \"/api\"", &format!("path = {{ regex = \"{pattern}\" }}")], &[]);
    }
}

#[test]
fn the_same_match_twice_is_told() {
    let twice = "route-1 never serves \"/a\": route-0 takes its requests with \"/a\"; \
                 remove this match";
    check(&["path = \"/a\"", "path = \"/a/\""], &[twice]);
    check(&["path = { exact = \"/a\" }"; 2], &["route-1 never serves { exact = \"/a\" }"]);
    let get = "matches = [{ path = \"/a\", method = \"GET\" }]";
    let key = "matches = [{ path = \"/a\", method = \"GET\", headers = { key = \"1\" } }]";
    let other = "matches = [{ path = \"/a\", method = \"GET\", headers = { key = \"2\" } }]";
    let query = "matches = [{ path = \"/a\", query = { key = \"1\" } }]";
    check(&["path = \"/a\"", get, key, other, query], &[]);
    let again = "route-2 never serves { path = \"/a\", method = \"GET\", headers = \
                 { key = \"1\" } }: route-0 takes its requests with { path";
    check(&[key, get, key], &[again]);
    // All hosts must be taken, not one.
    let (one, two) = ("hostnames = [\"a.example\"]", "hostnames = [\"a.example\", \"b.example\"]");
    check(&[one, two], &[]);
    check(&[two, one], &["route-1 never serves \"/\""]);
    // Beside others in one rule a match may repeat itself.
    check(&["matches = [{ path = \"/a\" }, { path = \"/a\" }]"], &[]);
    let rules = "[[route]]\nname = \"r\"\n[[route.rule]]\nrespond = { status = 200 }\n\
                 [[route.rule]]\nrespond = { status = 201 }\n";
    holds(rules, &["rule 2 of r never serves \"/\": rule 1 of r takes"]);
}

#[test]
fn listeners_keep_equal_rules_apart() {
    let more = "[[listener]]\nname = \"b\"\nlisten = \"127.0.0.1:81\"\n";
    let route = |on: &str| format!("[[route]]\nlisteners = [{on}]\nrespond = {{ status = 200 }}\n");
    let (a, b, both) = (route("\"default\""), route("\"b\""), route("\"default\", \"b\""));
    holds(&format!("{more}{a}{b}"), &[]);
    holds(&format!("{more}{a}{both}"), &[]);
    holds(&format!("{more}{a}{b}{both}"), &["route-2 never serves"]);
    holds(&format!("{more}{both}{b}"), &["route-1 never serves"]);
}

#[test]
fn many_of_a_kind_are_counted() {
    let found = told(&"[[route]]\nrespond = { status = 200 }\n".repeat(100));
    assert_eq!(found.len(), TOLD_MAX + 1, "{found:#?}");
    assert_eq!(found[TOLD_MAX], "route: 91 more like that; mend these first");
}

#[test]
fn a_star_in_a_path_is_told() {
    let star = "the * in \"/api/*\" of route-0 stands for itself; a prefix covers";
    check(&["path = \"/api/*\"", "path = { regex = \"/b.*\" }"], &[star]);
    check(&["path = { exact = \"/*\" }"], &["the * in { exact = \"/*\" } of route-0"]);
}

#[test]
fn backends_without_weight_are_told() {
    let one = |weights: [u32; 2]| {
        let [a, b] = weights;
        format!(
            "[[backend]]\nname = \"a\"\nendpoints = [\"http://a\"]\n[[route]]\nbackends = \
             [{{ name = \"a\", weight = {a} }}, {{ name = \"a\", weight = {b} }}]\n"
        )
    };
    holds(&one([0, 0]), &["every backend of route-0 has weight 0: it answers 500"]);
    holds(&one([0, 1]), &[]);
    holds("[[route]]\nbackends = []\n", &[]);
}

#[test]
fn timeouts_that_nothing_heeds_are_told() {
    let feed = "[[upstream]]\nname = \"feed\"\nurl = \"http://127.0.0.1:1/\"\n";
    let route = |keys: &str| format!("{feed}[[route]]\npath = \"/x\"\n{keys}\n");
    let timed = route("upstream = \"feed\"\ntimeouts = { request = \"1h\" }");
    let want = "timeouts of route-0 hold for backends: it has none; remove them; the upstream";
    holds(&timed, &[want]);
    holds(&route("upstream = \"feed\""), &[]);
    check(&["timeouts = { request = \"1h\" }"], &[]);
    let hub = "[[route]]\nhub = true\ntimeouts = { idle = \"0s\" }\n";
    holds(hub, &["timeouts of route-0 hold for backends: it has none; remove them"]);
}

#[test]
fn a_route_to_itself_is_told() {
    let to = |host: &str| format!("[[route]]\nbackend = \"http://{host}\"\n");
    for host in ["127.0.0.1:8080", "localhost:8080"] {
        holds(&to(host), &["route-0 leads back to this server, at 127.0.0.1:8080"]);
    }
    for host in ["127.0.0.1:8081", "127.0.0.2:8080", "example.com:8080"] {
        holds(&to(host), &[]);
    }
    let any = format!("listen = \"0.0.0.0:8080\"\n{}", to("127.0.0.2:8080"));
    holds(&any, &["leads back to this server, at 0.0.0.0:8080"]);
    let idle = "[[backend]]\nname = \"a\"\nendpoints = [\"http://b\", \
                { url = \"http://127.0.0.1:8080\", weight = 0 }]\n[[route]]\nbackend = \"a\"\n";
    holds(idle, &[]);
    holds("[[route]]\nbackend = \"https://127.0.0.1:8080\"\n", &[]);
    let mirror = "filters = [{ mirror = { backend = \"http://127.0.0.1:8080\" } }]\n";
    holds(&format!("{}{mirror}", to("127.0.0.1:1")), &["route-0 leads back to this server"]);
    // What comes back may be another rule's.
    let rewrite = "filters = [{ rewrite = { path = { full = \"/b\" } } }]\n";
    holds(&format!("{}{rewrite}", to("127.0.0.1:8080")), &[]);
    let second = "[[listener]]\nname = \"b\"\nlisten = \"127.0.0.1:81\"\n";
    let apart = format!("{second}{}listeners = [\"b\"]\n", to("127.0.0.1:8080"));
    holds(&apart, &[]);
}

#[test]
fn what_only_mirrors_or_nobody_reads_is_in_use() {
    let backend =
        |name: &str| format!("[[backend]]\nname = \"{name}\"\nendpoints = [\"http://10.0.0.1\"]\n");
    let mirror = |name: &str| format!("filters = [{{ mirror = {{ backend = \"{name}\" }} }}]");
    let rule = format!("[[route]]\nbackend = \"a\"\n{}\n", mirror("b"));
    holds(&format!("{}{}{rule}", backend("a"), backend("b")), &[]);
    let one = format!("[[route]]\nbackends = [{{ name = \"a\", {} }}]\n", mirror("b"));
    holds(&format!("{}{}{one}", backend("a"), backend("b")), &[]);
    holds(
        &format!("{}{}[[route]]\nbackend = \"a\"\n", backend("a"), backend("b")),
        &["nothing leads to b"],
    );
    let feed = "[[upstream]]\nname = \"feed\"\nurl = \"http://127.0.0.1:1/\"\n";
    let answer = "[[route]]\nrespond = { status = 200 }\n";
    holds(&format!("{feed}{answer}"), &["nothing leads to feed"]);
    holds(&format!("{feed}always_on = true\n{answer}"), &[]);
}

#[test]
fn a_circle_needs_a_weight_and_an_unchanged_request() {
    let to = |more: &str| {
        format!(
            "[[backend]]\nname = \"a\"\nendpoints = [\"http://127.0.0.1:8080\"]\n[[backend]]\n\
             name = \"b\"\nendpoints = [\"http://10.0.0.1\"]\n[[route]]\nbackends = \
             [{{ name = \"a\"{more} }}, {{ name = \"b\" }}]\n"
        )
    };
    holds(&to(""), &["route-0 leads back to this server"]);
    holds(&to(", weight = 0"), &[]);
    holds(&to(", filters = [{ rewrite = { path = { full = \"/b\" } } }]"), &[]);
}

#[test]
fn timeouts_of_a_rule_that_leads_nowhere_are_not_told() {
    let found = told("[[route]]\ntimeouts = { request = \"1h\" }\nbackends = []\n");
    assert!(found.iter().all(|one| !one.contains("timeouts of")), "{found:?}");
}
