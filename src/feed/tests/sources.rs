//! Logs whose topics are sources of their own: what is missing, holds, and a budget that is shared.

use super::model::{Heard, events};
use super::{Kernel, Notices, Rig, Wish, kept, roomy};
use crate::base::sync::Arc;
use crate::base::sync::atomic::AtomicUsize;
use crate::base::sync::atomic::Ordering::Relaxed;
use crate::config::LagPolicy;
use crate::feed::{FanoutLimits, Gap, NEVER};
use crate::log::{Hold, Limits, Start, TopicLimits};

/// Three events of each topic are kept: `b` 1 and 12, `a` 15 to 17.
fn rig(page_bytes: usize) -> Rig {
    let limits = FanoutLimits { page_bytes, ..roomy(LagPolicy::Close) };
    let per_topic = Some(TopicLimits { events_max: 3, bytes_max: usize::MAX });
    let mut rig = Rig::new(limits, Limits { per_topic, ..kept(1000) });
    publish(&mut rig, "b", 1);
    publish(&mut rig, "a", 10);
    publish(&mut rig, "b", 1);
    publish(&mut rig, "a", 5);
    rig
}

fn publish(rig: &mut Rig, topic: &str, count: usize) {
    (0..count).for_each(|_| _ = rig.publish(&[topic], false, 40));
}

fn both() -> Wish {
    Wish::of(&["a", "b"])
}

fn enter(rig: &mut Rig, after: u64, told: u64) -> usize {
    let subscription = rig.subscription(&both());
    rig.enter(both(), subscription, Start { after, told }, NEVER)
}

fn heard(rig: &Rig, peer: usize) -> Vec<Heard> {
    let (heard, rest) = rig.parse(rig.stream(peer));
    assert!(rest.is_empty());
    heard
}

fn all(gaps: &[Heard], seqs: &[u64]) -> Vec<Heard> {
    gaps.iter().copied().chain(seqs.iter().map(|seq| Heard::Event(*seq))).collect()
}

#[test]
fn what_is_missing_is_announced_once_and_what_is_there_comes() {
    for page_bytes in [1, 64 * 1024] {
        let mut rig = rig(page_bytes);
        let (resumed, knowing) = (enter(&mut rig, 1, 0), enter(&mut rig, 1, 14));
        let everything = enter(&mut rig, 0, 0);
        let quiet = rig.subscribe(Wish::of(&["b"]), 1);
        rig.finish();
        let gap = Heard::Gap(Gap::Expired, 1);
        assert_eq!(heard(&rig, resumed), all(&[gap], &[12, 15, 16, 17]), "{page_bytes}");
        assert_eq!(heard(&rig, knowing), all(&[], &[12, 15, 16, 17]), "{page_bytes}");
        assert_eq!(heard(&rig, everything), all(&[], &[1, 12, 15, 16, 17]), "{page_bytes}");
        assert_eq!(heard(&rig, quiet), all(&[], &[12]), "another's loss is none of its business");
        assert_eq!(rig.fanout.tally().expired, 1);
    }
}

#[test]
fn what_leaves_before_it_was_read_is_announced_again() {
    let mut rig = rig(1);
    let knowing = enter(&mut rig, 1, 14);
    rig.drain();
    rig.route(100);
    rig.catch_up(1);
    rig.drain();
    assert_eq!(heard(&rig, knowing), all(&[], &[12]));
    publish(&mut rig, "a", 2);
    rig.route(100);
    rig.finish();
    let gap = Heard::Gap(Gap::Expired, 12);
    assert_eq!(heard(&rig, knowing)[1..], all(&[gap], &[17, 18, 19]));
}

#[test]
fn who_shares_a_page_is_told_of_what_is_missing_for_it() {
    let mut rig = rig(64 * 1024);
    let peers = [2, 16, 5, 14].map(|after| enter(&mut rig, after, 0));
    rig.finish();
    assert_eq!(rig.fanout.tally().pages, 1);
    let gap = |after| Heard::Gap(Gap::Expired, after);
    assert_eq!(heard(&rig, peers[0]), all(&[gap(2)], &[12, 15, 16, 17]));
    assert_eq!(heard(&rig, peers[1]), all(&[], &[17]));
    assert_eq!(heard(&rig, peers[2]), all(&[gap(5)], &[12, 15, 16, 17]));
    assert_eq!(heard(&rig, peers[3]), all(&[], &[15, 16, 17]));
}

#[test]
fn conflation_tells_what_the_history_no_longer_has() {
    let limits = FanoutLimits { lag_bytes_max: 400, ..roomy(LagPolicy::Latest) };
    let per_topic = Some(TopicLimits { events_max: 2, bytes_max: usize::MAX });
    let mut rig = Rig::new(limits, Limits { per_topic, ..kept(1000) });
    publish(&mut rig, "c", 1);
    let peer = rig.live(both());
    publish(&mut rig, "b", 1);
    rig.route(100);
    rig.block(peer, 0);
    publish(&mut rig, "a", 20);
    rig.route(100);
    rig.finish();
    let heard = heard(&rig, peer);
    assert_eq!(events(&heard), [2, 22]);
    assert!(matches!(heard[0], Heard::Gap(Gap::Conflated, 1)), "{heard:?}");
    assert!(matches!(heard[1], Heard::Gap(Gap::Expired, _)), "{heard:?}");
}

#[test]
fn a_newcomer_needs_no_history_however_far_the_worker_is_behind() {
    for (sent, blocked) in [(false, false), (true, false), (false, true)] {
        let per_topic = Some(TopicLimits { events_max: 0, bytes_max: 0 });
        let mut rig = Rig::new(roomy(LagPolicy::Close), Limits { per_topic, ..kept(1000) });
        let first = rig.live(both());
        publish(&mut rig, "a", 3);
        rig.route(2);
        assert!(rig.fanout.is_routing());
        let fresh = enter(&mut rig, 3, 3);
        if sent {
            rig.drain();
        }
        if blocked {
            rig.block(fresh, 3);
        }
        publish(&mut rig, "b", 1);
        let fresher = enter(&mut rig, 4, 4);
        publish(&mut rig, "a", 2);
        rig.route(100);
        rig.catch_up(100);
        rig.finish();
        assert_eq!(heard(&rig, first), all(&[], &[1, 2, 3, 4, 5, 6]));
        assert_eq!(heard(&rig, fresh), all(&[], &[4, 5, 6]), "{sent} {blocked}");
        assert_eq!(heard(&rig, fresher), all(&[], &[5, 6]));
        assert_eq!(rig.fanout.tally().pages, 0);
    }
}

/// It counts its readers.
#[derive(Debug, Default)]
struct Lease(AtomicUsize);

impl Hold for Lease {
    fn join(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn leave(&self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[test]
fn a_hold_is_kept_as_long_as_its_feed() {
    let mut rig = rig(1000);
    let leases = [(); 2].map(|()| Arc::new(Lease::default()));
    let watch = leases.each_ref().map(Arc::downgrade);
    let peers = leases.map(|lease| {
        let subscription = rig.subscription(&both()).holding(lease);
        assert_eq!(subscription, rig.subscription(&both()), "no part of the key");
        rig.enter(both(), subscription, Start { after: 17, told: 0 }, NEVER)
    });
    assert_eq!(rig.fanout.feeds().0, 1);
    let held = || watch.each_ref().map(|lease| lease.strong_count());
    let readers = || watch[0].upgrade().map(|lease| lease.0.load(Relaxed));
    assert_eq!(held(), [1, 0], "the newcomer's is not needed");
    assert_eq!(readers(), Some(2), "but it is counted");
    rig.remove(peers[0]);
    assert_eq!(held(), [1, 0], "somebody reads");
    assert_eq!(readers(), Some(1));
    // Amid an event the feed is still listed.
    let other = rig.live(Wish::of(&["b"]));
    publish(&mut rig, "b", 1);
    rig.route(2);
    assert!(rig.fanout.is_routing());
    rig.remove(peers[1]);
    assert_eq!(held(), [1, 0]);
    rig.route(100);
    assert_eq!(held(), [0, 0]);
    rig.remove(other);
}

#[test]
fn what_others_hold_counts_and_is_not_paid_for_here() {
    let limits = FanoutLimits { unsent_bytes_max: 10_000, ..roomy(LagPolicy::Close) };
    let mut rig = Rig::new(limits, kept(1000));
    let peer = rig.live(both());
    publish(&mut rig, "a", 1);
    rig.route(100);
    rig.block(peer, 3);
    let late = rig.subscribe(Wish::of(&["b"]), 0);
    rig.drain();
    publish(&mut rig, "a", 1);
    rig.fanout.share(10_001);
    assert!(rig.fanout.is_over_budget() && !rig.fanout.can_catch_up());
    let before = rig.fanout.routed();
    rig.route(100);
    rig.catch_up(100);
    assert_eq!(rig.fanout.routed(), before);
    assert!(rig.peers.iter().all(|peer| !peer.gone), "its clients are not to blame");
    rig.fanout.share(5_000);
    assert!(!rig.fanout.is_over_budget() && rig.fanout.can_catch_up());
    // Asked to give, it gives until its own and the others' are below the mark.
    rig.fanout.share(9_000);
    rig.fanout.shed(&Notices);
    rig.check();
    assert!(rig.peers[peer].gone && !rig.peers[late].gone);
    rig.fanout.share(0);
    rig.finish();
}

#[test]
fn an_event_larger_than_the_lag_limit_reaches_who_keeps_up() {
    let limits = FanoutLimits { lag_bytes_max: 100_000, ..roomy(LagPolicy::Close) };
    let mut rig = Rig::new(limits, kept(10));
    let peer = rig.live(both());
    rig.publish(&["a"], false, 3_000_000);
    rig.route(100);
    while rig.peers[peer].got.len() < 3_000_000 {
        rig.sweep(1, usize::MAX, |_, bytes| Kernel::Short(bytes.len().min(200_000)));
        if rig.peers[peer].blocked {
            rig.route(100);
            rig.unblock(peer);
        }
    }
    rig.finish();
    assert_eq!(rig.heard_all(peer), [1]);
}
