//! Slow clients under each policy, and the budget that all share.

use super::model::Heard;
use super::{Rig, Wish, kept, roomy};
use crate::config::LagPolicy;
use crate::feed::{Beat, Dropped, FanoutLimits, Gap, NEVER, Until};

fn rig(lag_policy: LagPolicy, lag_bytes_max: u64) -> Rig {
    let limits = FanoutLimits { lag_bytes_max, ..roomy(lag_policy) };
    Rig::new(limits, kept(1000))
}

/// Publishes and routes; sends to all but the blocked.
fn flow(rig: &mut Rig, topic: &'static str, count: usize) {
    for _ in 0..count {
        rig.publish(&[topic], false, 60);
        rig.route(1000);
        rig.drain();
    }
}

fn stuck(rig: &mut Rig, wish: Wish, taken: usize) -> usize {
    let peer = rig.live(wish);
    rig.publish(&["a"], false, 60);
    rig.route(1000);
    rig.block(peer, taken);
    peer
}

#[test]
fn close_drops_who_lags_past_the_limit_and_frees_its_bytes() {
    let mut rig = rig(LagPolicy::Close, 1000);
    let peer = stuck(&mut rig, Wish::of(&["a"]), 7);
    let wire = rig.wire(1).len();
    flow(&mut rig, "a", 1000 / wire - 1);
    assert_eq!(rig.peers[peer].dropped, None, "at the limit");
    flow(&mut rig, "a", 2);
    assert_eq!(rig.peers[peer].dropped, Some(Dropped::Lag));
    assert_eq!(rig.fanout.unsent_bytes(), 0);
    rig.judge(peer, false);
}

#[test]
fn a_kernel_short_of_memory_is_asked_again_later_and_not_for_ever() {
    let mut rig = rig(LagPolicy::Close, 1 << 20);
    let peer = stuck(&mut rig, Wish::of(&["a"]), 0);
    assert_eq!(rig.effects.len(), 1, "the first time a watch is armed");
    let beat = Beat { heartbeat: NEVER, write_timeout: 100 };
    assert_eq!(rig.beat(beat).0, 0);
    assert_eq!(rig.fanout.ready(), 0, "who waits for its watch is left alone");
    for _ in 0..16 {
        rig.unblock(peer);
        rig.block(peer, 0);
    }
    assert_eq!(rig.effects.len(), 16, "a watch would fire at once, again and again");
    assert_eq!(rig.fanout.tally().starved, 1);
    rig.now += 99;
    rig.beat(beat);
    assert_eq!(rig.fanout.ready(), 1, "the beat asks again");
    rig.block(peer, 0);
    rig.now += 1;
    rig.beat(beat);
    assert_eq!(rig.peers[peer].dropped, Some(Dropped::WriteTimeout), "counted from the first");
}

#[test]
fn who_is_ready_is_not_punished() {
    let mut rig = rig(LagPolicy::Close, 100);
    let peer = rig.live(Wish::of(&["a"]));
    let all: Vec<u64> = (0..20).map(|_| rig.publish(&["a"], false, 60)).collect();
    rig.route(1000);
    rig.finish();
    assert_eq!(rig.heard_all(peer), all);
}

#[test]
fn skip_finishes_the_cut_event_tells_the_gap_and_goes_on_at_the_tail() {
    for taken in [0, 1, 50] {
        let mut rig = rig(LagPolicy::Skip, 300);
        let peer = stuck(&mut rig, Wish::of(&["a"]), taken);
        flow(&mut rig, "a", 5);
        rig.unblock(peer);
        flow(&mut rig, "a", 1);
        let (heard, _) = rig.parse(rig.stream(peer));
        let gap = heard.iter().position(|h| matches!(h, Heard::Gap(Gap::Skipped, _))).unwrap();
        assert_eq!(gap, usize::from(taken > 0), "behind the rest of the cut event: {heard:?}");
        rig.finish();
        assert_eq!(rig.heard_all(peer).last(), Some(&7));
    }
}

#[test]
fn who_was_skipped_is_skipped_again() {
    let mut rig = rig(LagPolicy::Skip, 1000);
    let peer = stuck(&mut rig, Wish::of(&["a"]), 7);
    for round in 0..20 {
        flow(&mut rig, "a", 10);
        let held = rig.fanout.unsent_bytes();
        assert!(held < 4000, "round {round}: the feed holds {held} bytes for one who lags");
    }
    assert!(rig.fanout.tally().skipped > 5);
    rig.unblock(peer);
    rig.finish();
    let (heard, _) = rig.parse(rig.stream(peer));
    let gaps = heard.iter().filter(|h| matches!(h, Heard::Gap(..))).count();
    assert_eq!(gaps, 1, "a newer notice replaces one that was not sent: {heard:?}");
    rig.judge(peer, true);
}

#[test]
fn latest_gives_the_newest_event_of_each_topic_then_the_tail() {
    let mut rig = rig(LagPolicy::Latest, 400);
    let peer = stuck(&mut rig, Wish::of(&["a", "b", "c"]), 7);
    for topic in ["a", "b", "a", "c", "b", "a", "b"] {
        flow(&mut rig, topic, 1);
    }
    rig.unblock(peer);
    rig.drain();
    rig.catch_up(10);
    rig.drain();
    assert_eq!(rig.heard(peer), [1, 5, 7, 8]);
    flow(&mut rig, "c", 1);
    rig.finish();
    assert_eq!(rig.heard_all(peer), [1, 5, 7, 8, 9]);
    assert_eq!(rig.fanout.tally().conflated, 1);
}

#[test]
fn latest_remembers_a_page_that_waits_behind_a_notice() {
    let limits = FanoutLimits { lag_bytes_max: 400, ..roomy(LagPolicy::Latest) };
    let mut rig = Rig::new(limits, kept(4));
    for topic in ["a", "a", "b", "a"] {
        rig.publish(&[topic], false, 60);
    }
    rig.live(Wish::of(&["z"]));
    let peer = rig.subscribe(Wish::of(&["a", "b"]), 1);
    rig.publish(&["a"], false, 60);
    rig.publish(&["a"], false, 60);
    rig.route(1000);
    rig.drain();
    rig.catch_up(100);
    // Now it has a notice for event 2, a page from event 3 on, and is at its feed.
    rig.block(peer, 3);
    rig.publish(&["a"], false, 60);
    rig.publish(&["a"], false, 60);
    rig.publish(&["a"], false, 60);
    rig.route(1000);
    rig.publish(&["a"], false, 60);
    rig.route(1000);
    assert!(rig.fanout.tally().conflated > 0);
    rig.finish();
    rig.judge(peer, true);
    // The older notice is not replaced: what expired was not conflated.
    let gaps = rig.parse(rig.stream(peer)).0.into_iter();
    let gaps: Vec<_> = gaps.filter(|heard| matches!(heard, Heard::Gap(..))).collect();
    assert_eq!(gaps[0], Heard::Gap(Gap::Expired, 2), "{gaps:?}");
}

#[test]
fn a_private_event_that_was_begun_is_not_conflated_again() {
    let mut rig = rig(LagPolicy::Latest, 300);
    let peer = rig.live(Wish::of(&["a"]).granted(&["b"]));
    rig.publish(&["a"], false, 10);
    rig.publish(&["q", "a", "b"], true, 60);
    rig.publish(&["a"], false, 10);
    rig.route(1000);
    let first = rig.wire(1).len();
    let (sends, _) = rig.sweep(1, 1000, |_, _| super::Kernel::All);
    assert_eq!(sends, [(peer, first)]);
    rig.block(peer, 20);
    flow(&mut rig, "a", 5);
    rig.unblock(peer);
    rig.finish();
    assert_eq!(rig.heard_all(peer), [1, 2, 8]);
}

#[test]
fn a_spent_budget_falls_on_who_lags_most() {
    let limits = FanoutLimits { unsent_bytes_max: 24_000, ..roomy(LagPolicy::Close) };
    let mut rig = Rig::new(limits, kept(1000));
    let names = ["b", "c", "d"];
    let peers = names.map(|topic| rig.live(Wish::of(&[topic])));
    for (n, topic) in names.into_iter().enumerate() {
        for _ in 0..=n {
            rig.publish(&[topic], false, 4100);
        }
    }
    rig.route(1000);
    rig.sweep(10, 1_000_000, |_, _| super::Kernel::Short(5));
    assert!(rig.fanout.is_over_budget());
    rig.route(1000);
    let dropped: Vec<_> = peers.iter().map(|peer| rig.peers[*peer].dropped).collect();
    assert_eq!(dropped, [None, None, Some(Dropped::Budget)]);
    assert!(!rig.fanout.is_over_budget());
}

#[test]
fn a_budget_spent_on_cut_events_is_got_back_under_every_policy() {
    for policy in [LagPolicy::Close, LagPolicy::Skip, LagPolicy::Latest] {
        let limits =
            FanoutLimits { unsent_bytes_max: 30_000, lag_bytes_max: 12_000, ..roomy(policy) };
        let mut rig = Rig::new(limits, kept(1000));
        let reader = rig.live(Wish::of(&["a"]));
        let peers: Vec<usize> = (0..20).map(|_| rig.live(Wish::of(&["a"]))).collect();
        rig.publish(&["a"], false, 10_000);
        rig.route(1000);
        let kernel = |to, _: &[u8]| match to {
            0 => super::Kernel::All,
            _ => super::Kernel::Short(5),
        };
        rig.sweep(256, usize::MAX, kernel);
        // Nobody reads: the rests of the cut events must not stop the others for good.
        for _ in 0..10 {
            rig.publish(&["a"], false, 5000);
            for _ in 0..3 {
                rig.route(1000);
                rig.drain();
                rig.catch_up(100);
            }
        }
        assert_eq!(rig.heard(reader).len(), 11, "{policy:?}: who reads gets everything");
        assert!(rig.fanout.unsent_bytes() < 60_000, "{}", rig.fanout.unsent_bytes());
        for peer in peers {
            rig.judge(peer, false);
        }
    }
}

#[test]
fn who_has_nothing_to_skip_is_told_of_no_gap() {
    let limits = FanoutLimits { unsent_bytes_max: 20_000, ..roomy(LagPolicy::Skip) };
    let mut rig = Rig::new(limits, kept(1000));
    let ready = rig.live(Wish::of(&["b"]));
    let peer = stuck(&mut rig, Wish::of(&["a"]), 7);
    for _ in 0..10 {
        rig.publish(&["b"], false, 4000);
    }
    // What is held belongs to one who is ready: nobody else gives way more than once.
    for _ in 0..5 {
        rig.route(1000);
    }
    assert!(rig.fanout.is_over_budget());
    assert!(rig.fanout.tally().skipped <= 1);
    rig.finish();
    rig.judge(ready, true);
    rig.judge(peer, !rig.peers[peer].gone);
}

#[test]
fn an_ending_client_past_its_limit_still_gets_its_last_bytes() {
    for policy in [LagPolicy::Skip, LagPolicy::Latest] {
        let mut rig = rig(policy, 300);
        let peer = stuck(&mut rig, Wish::of(&["a"]), 7);
        rig.end(peer, Until::Drain);
        flow(&mut rig, "a", 10);
        rig.unblock(peer);
        rig.finish();
        assert_eq!(rig.heard(peer), [1], "the cut event, whole");
        assert_eq!(rig.peers[peer].dropped, Some(Dropped::Ended(Until::Drain)));
    }
}

#[test]
fn own_pieces_count_toward_the_lag() {
    let mut rig = rig(LagPolicy::Close, 500);
    let peer = rig.live(Wish::of(&["a"]).granted(&["b"]));
    rig.publish(&["a"], false, 10);
    rig.route(1000);
    rig.block(peer, 5);
    for _ in 0..20 {
        rig.publish(&["a", "b"], true, 60);
        rig.route(1000);
    }
    assert_eq!(rig.peers[peer].dropped, Some(Dropped::Lag));
}
