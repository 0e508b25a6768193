//! Copies of requests: they never change what becomes of the original.

use super::World;
use super::ground::Door;
use super::stage::answer;
use super::stage::ask;
use crate::metrics::RelayEnd;

const CONFIG: &str = r#"
[[backend]]
name = "app"
endpoints = ["http://10.9.0.1:80"]
idle_timeout = "5s"
[[backend]]
name = "copy"
endpoints = ["http://10.9.0.2:80"]
idle_timeout = "5s"
[[route]]
backend = "app"
retries = 0
filters = [{ mirror = { backend = "copy" } }]
"#;

impl World {
    /// The sockets of the original and of the copy.
    fn both(&self) -> (i32, i32) {
        let made = self.dialled();
        let at = |place: &str| self.places().iter().position(|own| own == place).expect("a dial");
        (made[at("10.9.0.1")], made[at("10.9.0.2")])
    }
}

#[test]
fn a_copy_is_sent_and_its_answer_thrown_away() {
    let mut world = World::toml(CONFIG);
    let client = world.connect(ask("/a").as_bytes());
    world.settle();
    let (original, copy) = world.both();
    assert!(world.heard(original).starts_with("GET /a "));
    assert!(world.heard(copy).starts_with("GET /a "));
    world.say(copy, &answer(&"copied".repeat(50_000)));
    world.settle();
    assert_eq!(world.heard(client), "");
    world.say(original, &answer("told"));
    world.settle();
    assert!(world.heard(client).ends_with("\r\n\r\ntold"));
    assert_eq!((world.ends(RelayEnd::Done), world.worker.mirrors.len()), (1, 0));
    // Both connections are kept, and used again.
    world.say(client, ask("/b").as_bytes());
    world.settle();
    assert_eq!(world.dialled().len(), 2);
    assert!(world.heard(copy).starts_with("GET /b "));
    world.say(original, &answer("again"));
    world.settle();
    assert!(world.heard(client).ends_with("again"));
}

#[test]
fn a_copy_that_fails_or_stalls_is_nobodys_business() {
    for door in [Door::Shut, Door::ShutLater, Door::Silent, Door::Open] {
        let mut world = World::toml(CONFIG);
        world.door("10.9.0.2:80", door);
        let client = world.connect(ask("/a").as_bytes());
        world.settle();
        let original = world.dialled()[usize::from(door != Door::Shut)];
        assert!(world.heard(original).starts_with("GET /a "), "{door:?}");
        world.say(original, &answer("told"));
        world.settle();
        assert!(world.heard(client).ends_with("told"), "{door:?}");
        world.ground.with(client, |peer| peer.ended = true);
        world.pass(31_000);
        assert_eq!(world.worker.mirrors.len(), 0, "{door:?}: its time is over");
        world.check_empty();
    }
}

#[test]
fn a_copy_outlives_its_original_for_its_time_only() {
    let mut world = World::toml(CONFIG);
    let client = world.connect(ask("/a").as_bytes());
    world.settle();
    let (original, copy) = world.both();
    world.ground.with(client, |peer| peer.ended = true);
    world.settle();
    assert!(world.is_closed(original) && !world.is_closed(copy));
    world.pass(31_000);
    assert!(world.is_closed(copy));
    world.check_empty();
}
