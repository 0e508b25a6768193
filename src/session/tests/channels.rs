//! Requests for shared event streams: which channels they get, and which answer they get else.

use super::*;

const PLAIN: &str = "[[upstream]]\nname = \"s\"\nurl = \"http://h.test/s/{channel}\"\n\
    [[route]]\npath = { exact = \"/s\" }\nupstream = \"s\"\n\
    [[route]]\npath = { exact = \"/lobby\" }\nupstream = \"s\"\nchannels = [\"lobby\"]\n";

/// The targets of the upstream streams that there are.
fn targets(world: &World) -> Vec<String> {
    world.site.registry().snapshot(world.now).into_iter().map(|state| state.target).collect()
}

fn get(world: &World, target: &str) -> Answer {
    world.ask(&[&format!("GET {target} HTTP/1.1")], "")
}

#[test]
fn a_channel_is_named_by_the_request_or_by_the_route() {
    let world = World::toml(PLAIN);
    for (target, want) in [("/s?channel=a%2Fb", "/s/a%2Fb"), ("/lobby?channel=a", "/s/lobby")] {
        let answer = get(&world, target);
        assert_eq!((answer.status, answer.field("Content-Type")), (200, Some("text/event-stream")));
        let subscribe = answer.subscribe();
        assert_eq!((subscribe.group, subscribe.subscription.selectors().len()), (1, 1));
        assert_eq!(targets(&world).last().map(String::as_str), Some(want));
    }
    assert_eq!(world.opened.borrow().len(), 2, "the worker is told of both");
}

#[test]
fn several_channels_need_multiplex() {
    let two = "/s?channel=a&channel=b";
    let world = World::toml(PLAIN);
    let answer = get(&world, two);
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("name one"), "{}", answer.body);
    assert!(targets(&world).is_empty());
    let world = World::toml(&PLAIN.replacen("[[route]]", "multiplex = true\n[[route]]", 1));
    assert_eq!(get(&world, two).subscribe().subscription.selectors().len(), 2);
    assert_eq!(targets(&world), ["/s/a", "/s/b"]);
}

#[test]
fn a_request_without_a_channel_is_told_so() {
    let answer = get(&World::toml(PLAIN), "/s?chanel=a");
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("add `channel=NAME`"), "{}", answer.body);
}
