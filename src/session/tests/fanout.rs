//! Requests for shared event streams: the stream's head, and who gets none.

use super::*;
use crate::metrics::CloseReason;
use crate::metrics::Counter;
use crate::upstream::LeaseError;
use crate::upstream::Opening;

/// Channels by path, with what is common set high.
pub(super) const FEEDS: &str = r#"
[[upstream]]
name = "news"
url = "http://10.9.0.3/s{rest}"
channels_max = 3
retry = "2500ms"
cors_origins = ["https://app.example"]
[[route]]
path = "/news"
upstream = "news"
filters = [{ response_headers = { set = { Server = "gate", Cache-Control = "no-cache" } } }]
[[upstream]]
name = "rooms"
url = "http://10.9.0.3/rooms/{channel}"
multiplex = true
channels_max = 2
[[route]]
path = "/rooms"
upstream = "rooms"
[[route]]
path = { exact = "/both" }
upstream = "rooms"
channels = ["a", "b"]
"#;

impl World {
    /// The taps that requests have opened since the last call.
    pub(super) fn opened(&self) -> Vec<Arc<Tap>> {
        self.opened.take()
    }

    pub(super) fn live(&self, upstream: usize) -> usize {
        self.site.registry().live(upstream)
    }
}

#[test]
fn a_stream_begins_at_once_whatever_the_upstream_does() {
    let world = World::toml(FEEDS);
    let answer = world.path("/news/a?x=y", &["Origin: https://app.example"]);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("content-type"), Some("text/event-stream"));
    assert_eq!(answer.field("cache-control"), Some("no-cache"), "the rule's own words");
    assert_eq!(answer.field("server"), Some("gate"));
    assert_eq!(answer.field("x-accel-buffering"), Some("no"));
    assert_eq!(answer.field("access-control-allow-origin"), Some("https://app.example"));
    assert_eq!(answer.field("content-length"), None);
    assert_eq!(answer.body, ":\nretry: 2500\n");
    let subscribe = answer.subscribe();
    assert_eq!((subscribe.group, subscribe.after, subscribe.told), (1, None, 0));
    let opened = world.opened();
    let [tap] = &opened[..] else { panic!("{opened:?}") };
    assert_eq!((tap.owner(), tap.leases(), world.live(0)), (0, 1, 1));
    drop(subscribe);
    assert_eq!(tap.leases(), 0, "the lease ends with the subscription");
}

#[test]
fn head_leases_nothing_and_options_asks_nothing() {
    let world = World::toml(FEEDS);
    let head = world.ask(&["HEAD /news/a HTTP/1.1"], "");
    assert_eq!((head.status, head.field("server"), &*head.body), (200, Some("gate"), ""));
    assert!(matches!(head.next, Next::Close(CloseReason::Answered)));
    let asked = ["OPTIONS /news/a HTTP/1.1", "Origin: https://app.example"];
    let options = world.ask(&asked, "");
    assert_eq!((options.status, options.field("allow")), (204, Some("GET, HEAD, OPTIONS")));
    assert!(options.field("access-control-allow-headers").unwrap().contains("last-event-id"));
    let posted = world.ask(&["POST /news/a HTTP/1.1"], "x");
    assert_eq!((posted.status, posted.field("allow")), (405, Some("GET, HEAD, OPTIONS")));
    for answer in [&options, &posted] {
        assert!(matches!(answer.next, Next::Read));
        assert_eq!(answer.field("server"), Some("gate"), "filters are for every answer");
    }
    assert_eq!((world.live(0), world.opened().len()), (0, 0));
}

#[test]
fn no_room_for_a_channel_is_a_soft_refusal() {
    let mut world = World::toml(FEEDS);
    let streams: Vec<_> =
        (0..3).map(|n| world.path(&format!("/news/{n}"), &[]).subscribe()).collect();
    let mut waits = Vec::new();
    for seed in 0..50 {
        world.seed = seed;
        let refused = world.path("/news/4", &[]);
        assert_eq!((refused.status, refused.field("server")), (200, Some("gate")));
        assert_eq!(refused.field("content-type"), Some("text/event-stream"));
        assert!(matches!(refused.next, Next::Close(CloseReason::OverLimit)));
        let retry = refused.body.lines().find_map(|line| line.strip_prefix("retry: "));
        waits.push(retry.expect("when to come back").parse::<u64>().unwrap());
    }
    assert!(waits.iter().all(|wait| (5000..10_000).contains(wait)), "{waits:?}");
    assert!(waits.iter().max().unwrap() - waits.iter().min().unwrap() > 3000, "{waits:?}");
    assert_eq!(world.recorder.counters().counter(Counter::SoftRefusals), 50);
    // Those that are there already are open to all.
    assert_eq!(world.path("/news/1", &[]).subscribe().group, 1);
    assert_eq!((world.opened().len(), world.live(0)), (3, 3));
    drop(streams);
}

#[test]
fn what_was_opened_before_there_was_no_room_is_fed_all_the_same() {
    let world = World::toml(FEEDS);
    let answer = world.path("/rooms?channel=a&channel=b&channel=c", &[]);
    assert!(matches!(answer.next, Next::Close(CloseReason::OverLimit)));
    let opened = world.opened();
    assert_eq!((opened.len(), world.live(1)), (2, 2));
    assert!(opened.iter().all(|tap| tap.leases() == 0), "nobody reads them: they will linger");
}

#[test]
fn what_the_upstream_has_refused_is_answered_with_its_status() {
    let world = World::toml(FEEDS);
    for status in [403, 404, 410, 204] {
        let path = format!("/news/{status}");
        let stream = world.path(&path, &[]).subscribe();
        let tap = world.opened().remove(0);
        world.site.registry().refuse(&tap, status, world.now);
        drop(stream);
        let refused = world.path(&path, &[]);
        assert_eq!((refused.status, refused.field("server")), (status, Some("gate")));
        let text = format!("the upstream refused this stream with status {status}\n");
        assert_eq!(refused.body, if status == 204 { String::new() } else { text });
        assert!(matches!(refused.next, Next::Read), "{status}");
        assert!(world.opened().is_empty());
    }
}

#[test]
fn of_several_channels_a_refused_one_is_left_out() {
    let world = World::toml(FEEDS);
    let both = world.path("/both", &[]).subscribe();
    assert_eq!((both.group, both.subscription.selectors().len()), (2, 2));
    let opened = world.opened();
    world.site.registry().refuse(&opened[0], 404, world.now);
    let one = world.path("/both", &[]).subscribe();
    assert_eq!(one.subscription.selectors().len(), 1);
    world.site.registry().refuse(&opened[1], 403, world.now);
    assert_eq!(world.path("/both", &[]).status, 403);
    let log = &world.site.groups()[2].channel;
    let opening = Opening { worker: 0, now: world.now, log };
    drop((both, one));
    let wanted = crate::upstream::Wanted::new(
        &world.site.config().gateway.upstreams[1],
        "/rooms/a",
        "",
        None,
    );
    let lease = world.site.registry().lease(1, wanted.unwrap(), opening);
    assert!(matches!(lease, Err(LeaseError::Refused { status: 404, .. })), "{lease:?}");
}

#[test]
fn a_channel_that_is_named_twice_is_one() {
    let world = World::toml(FEEDS);
    let stream = world.path("/rooms?channel=a&channel=a", &[]).subscribe();
    assert_eq!((stream.subscription.selectors().len(), world.opened().len()), (1, 1));
}
