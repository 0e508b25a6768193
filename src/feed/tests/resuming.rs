//! Catching up: pages, their sharing, the seam, and what has expired.

use super::model::Heard;
use super::{Kernel, Rig, Wish, kept, roomy};
use crate::config::LagPolicy;
use crate::feed::{FanoutLimits, Gap};

fn rig(page_bytes: usize, events_max: usize) -> Rig {
    let limits = FanoutLimits { page_bytes, ..roomy(LagPolicy::Close) };
    Rig::new(limits, kept(events_max))
}

fn publish(rig: &mut Rig, count: usize) {
    for _ in 0..count {
        rig.publish(&["a"], false, 40);
    }
}

#[test]
fn clients_from_near_places_share_one_page() {
    let mut rig = rig(64 * 1024, 1000);
    publish(&mut rig, 200);
    for after in 130..145 {
        rig.subscribe(Wish::of(&["a"]), after);
    }
    rig.finish();
    assert_eq!(rig.fanout.tally().pages, 1);
    for (peer, after) in (130..145).enumerate() {
        assert_eq!(rig.heard_all(peer), (after + 1..=200).collect::<Vec<u64>>());
    }
}

#[test]
fn clients_that_want_everything_share_its_pages() {
    for events_max in [1000, 100] {
        let mut rig = rig(1000, events_max);
        publish(&mut rig, 200);
        let one = rig.subscribe(Wish::of(&["a"]), 0);
        rig.finish();
        let pages = rig.fanout.tally().pages;
        for _ in 0..15 {
            rig.subscribe(Wish::of(&["a"]), 0);
        }
        rig.finish();
        assert_eq!(rig.fanout.tally().pages, 0, "all {pages} pages are there already");
        for peer in 0..16 {
            assert_eq!(rig.heard_all(peer), rig.heard_all(one));
            assert_eq!(rig.heard_all(peer).len(), events_max.min(200));
        }
    }
}

#[test]
fn a_sparse_feed_shares_pages_too() {
    let mut rig = rig(64 * 1024, 1000);
    for n in 0..200 {
        rig.publish(&[if n % 50 == 49 { "b" } else { "a" }], false, 10);
    }
    for after in [129, 140, 131, 128] {
        rig.subscribe(Wish::of(&["b"]), after);
    }
    rig.finish();
    assert_eq!(rig.fanout.tally().pages, 1);
    (0..4).for_each(|peer| assert_eq!(rig.heard_all(peer), [150, 200]));
}

#[test]
fn another_subscription_or_an_own_grant_has_pages_of_its_own() {
    let mut rig = rig(64 * 1024, 1000);
    rig.publish(&["a", "b"], true, 10);
    rig.publish(&["a", "c"], false, 10);
    let wishes = [
        Wish::of(&["a"]),
        Wish::of(&["a"]).granted(&["b"]),
        Wish::of(&["a"]).granted(&["a"]),
        Wish::of(&["c"]),
        Wish::of(&["*"]).granted(&["*"]),
    ];
    for wish in wishes {
        rig.subscribe(wish, 0);
    }
    rig.finish();
    let got: Vec<_> = (0..5).map(|peer| rig.heard_all(peer)).collect();
    assert_eq!(got, [vec![2], vec![1, 2], vec![1, 2], vec![2], vec![1, 2]]);
}

#[test]
fn every_position_resumes_without_loss_or_double() {
    for page_bytes in [1, 200, 5000] {
        let mut rig = rig(page_bytes, 1000);
        publish(&mut rig, 70);
        for after in 0..=70 {
            rig.subscribe(Wish::of(&["a"]), after);
        }
        rig.finish();
        for after in 0..=70 {
            let want: Vec<u64> = (after + 1..=70).collect();
            assert_eq!(rig.heard_all(after as usize), want, "page {page_bytes} after {after}");
        }
    }
}

#[test]
fn events_published_between_pages_are_there_once() {
    let mut rig = rig(300, 1000);
    publish(&mut rig, 30);
    let peer = rig.subscribe(Wish::of(&["a"]), 3);
    while rig.fanout.is_waiting() || rig.fanout.ready() > 0 {
        if rig.events.len() < 60 {
            publish(&mut rig, 1);
        }
        rig.route(1);
        rig.catch_up(1);
        rig.sweep(1, 1000, |_, _| Kernel::All);
    }
    rig.finish();
    assert_eq!(rig.heard_all(peer), (4..=rig.events.len() as u64).collect::<Vec<_>>());
}

#[test]
fn who_is_ahead_of_the_worker_waits_for_it() {
    let mut rig = rig(1000, 1000);
    let first = rig.live(Wish::of(&["a"]));
    publish(&mut rig, 5);
    let ahead = rig.subscribe(Wish::of(&["a"]), 3);
    rig.drain();
    rig.catch_up(10);
    rig.drain();
    assert!(rig.heard(ahead).is_empty());
    assert!(rig.fanout.is_waiting());
    rig.finish();
    assert_eq!((rig.heard_all(first).len(), rig.heard_all(ahead)), (5, vec![4, 5]));
}

#[test]
fn what_expired_before_it_was_read_is_announced() {
    for after in [3, 63, 64, 70] {
        let mut rig = rig(64 * 1024, 50);
        publish(&mut rig, after as usize);
        let peer = rig.subscribe(Wish::of(&["a"]), after);
        let slow = rig.subscribe(Wish::of(&["b"]), 0);
        publish(&mut rig, 100);
        // These pass by before the next client comes.
        rig.finish();
        let mut resumed = rig.subscribe(Wish::of(&["a"]), after);
        rig.finish();
        let (heard, _) = rig.parse(rig.stream(resumed));
        assert_eq!(heard[0], Heard::Gap(Gap::Expired, after + 50), "after {after}");
        assert_eq!(rig.heard_all(resumed), (after + 51..=after + 100).collect::<Vec<_>>());
        assert_eq!(rig.fanout.tally().expired, 1);
        resumed = rig.subscribe(Wish::of(&["a"]), after + 50);
        rig.finish();
        assert_eq!(rig.parse(rig.stream(resumed)).0.len(), 50, "nothing is missing: no notice");
        rig.judge(peer, true);
        rig.judge(slow, true);
    }
}

#[test]
fn what_expires_while_catching_up_is_announced() {
    let mut rig = rig(300, 50);
    publish(&mut rig, 50);
    let peer = rig.subscribe(Wish::of(&["a"]), 0);
    rig.drain();
    rig.catch_up(1);
    rig.block(peer, 5);
    publish(&mut rig, 60);
    rig.unblock(peer);
    rig.finish();
    let (heard, _) = rig.parse(rig.stream(peer));
    assert!(heard.contains(&Heard::Gap(Gap::Expired, 60)), "{heard:?}");
    assert_eq!(rig.heard_all(peer).last(), Some(&110));
}

#[test]
fn who_resumes_gets_in_however_busy_routing_is() {
    let mut rig = rig(64 * 1024, 1000);
    for topic in ["b", "c", "d", "e", "f"] {
        rig.live(Wish { topics: vec!["a", topic], ..Wish::default() });
    }
    publish(&mut rig, 1);
    rig.finish();
    let late = rig.subscribe(Wish::of(&["a"]), 0);
    rig.drain();
    for _ in 0..4 {
        // Each turn's budget ends amid an event.
        publish(&mut rig, 1);
        rig.route(7);
        rig.catch_up(10);
    }
    rig.drain();
    assert!(!rig.heard(late).is_empty(), "it got a page between two events");
    rig.finish();
    rig.judge(late, true);
}

#[test]
fn a_long_stretch_of_others_events_does_not_stop_a_client() {
    let mut rig = Rig::new(roomy(LagPolicy::Close), kept(100_000));
    rig.publish(&["a"], false, 1);
    for _ in 0..40_000 {
        rig.publish(&["a"], true, 1);
    }
    rig.publish(&["a"], false, 1);
    let peer = rig.subscribe(Wish::of(&["a"]), 0);
    rig.finish();
    assert_eq!(rig.heard_all(peer), [1, 40_002]);
}

#[test]
fn pages_that_clients_do_not_take_stop_the_making_of_more() {
    let limits = FanoutLimits {
        unsent_bytes_max: 10_000,
        page_bytes: 4000,
        pages_bytes_max: 0,
        ..roomy(LagPolicy::Close)
    };
    let mut rig = Rig::new(limits, kept(1000));
    publish(&mut rig, 100);
    for _ in 0..20 {
        rig.subscribe(Wish::of(&["a"]), 0);
    }
    rig.drain();
    rig.catch_up(100);
    assert!(rig.fanout.unsent_bytes() < 20_000, "{}", rig.fanout.unsent_bytes());
    rig.finish();
    (0..20).for_each(|peer| assert_eq!(rig.heard_all(peer).len(), 100));
}
