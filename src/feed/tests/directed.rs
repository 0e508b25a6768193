//! Membership, fairness, sharing, endings, time: one behaviour in each test.

use super::{HEAD, Kernel, LAST, NEVER, Rig, Wish, kept, roomy};
use crate::config::LagPolicy;
use crate::feed::{BATCH, Beat, Dropped, Effect, FanoutLimits, Until};

const QUIET: Beat = Beat { heartbeat: NEVER, write_timeout: NEVER };

fn rig() -> Rig {
    Rig::new(roomy(LagPolicy::Close), kept(1000))
}

#[test]
fn ready_clients_are_served_first_in_first_out() {
    let mut rig = rig();
    let peers: Vec<usize> = (0..4).map(|_| rig.live(Wish::of(&["a"]))).collect();
    rig.publish(&["a"], false, 10);
    rig.route(100);
    let order = |rig: &mut Rig, count| {
        let (sends, _) = rig.sweep(count, usize::MAX, |_, _| Kernel::All);
        sends.into_iter().map(|(peer, _)| peer).collect::<Vec<_>>()
    };
    assert_eq!(order(&mut rig, 2), peers[..2]);
    // Those who were served stand behind those who were not, and get both events in one send.
    rig.publish(&["a"], false, 10);
    rig.route(100);
    assert_eq!(order(&mut rig, 3), [2, 3, 0]);
    assert_eq!(order(&mut rig, 3), [1]);
    for peer in peers {
        assert_eq!(rig.heard_all(peer), [1, 2]);
    }
}

#[test]
fn a_client_that_is_reached_alone_keeps_its_turn() {
    let mut rig = rig();
    let stranger = rig.live(Wish::of(&["a"]).granted(&["b"]));
    let others: Vec<usize> = (0..3).map(|_| rig.live(Wish::of(&["a"]))).collect();
    rig.publish(&["a"], false, 10);
    rig.route(100);
    rig.publish(&["a", "b"], true, 10);
    rig.route(100);
    let (sends, _) = rig.sweep(1, usize::MAX, |_, _| Kernel::All);
    assert_eq!(sends[0].0, stranger, "a private event does not send it to the end of the queue");
    rig.finish();
    assert_eq!(rig.heard_all(stranger), [1, 2]);
    assert_eq!(rig.heard_all(others[0]), [1]);
}

#[test]
fn an_append_moves_the_idle_clients_of_its_feed_and_no_others() {
    let mut rig = rig();
    for _ in 0..100 {
        rig.live(Wish::of(&["a"]));
        rig.live(Wish::of(&["b"]));
    }
    rig.publish(&["a"], false, 10);
    rig.route(1);
    rig.route(1);
    assert_eq!(rig.fanout.ready(), 100, "the whole list, for the budget of one feed");
    assert_eq!(rig.fanout.tally().appends, 1);
    rig.drain();
    assert_eq!((rig.fanout.ready(), rig.fanout.unsent_bytes()), (0, 0));
    assert_eq!((rig.heard_all(0), rig.heard_all(1)), (vec![1], vec![]));
}

#[test]
fn a_batch_is_bounded_in_count_and_bytes() {
    let mut rig = rig();
    for _ in 0..=BATCH {
        rig.live(Wish::of(&["a"]));
    }
    rig.publish(&["a"], false, 100);
    rig.route(10);
    let (sends, settled) = rig.sweep(usize::MAX, usize::MAX, |_, _| Kernel::All);
    assert_eq!(sends.len(), BATCH);
    assert_eq!(settled.bytes, (BATCH * rig.wire(1).len()) as u64);
    rig.drain();
    rig.publish(&["a"], false, 100);
    rig.route(10);
    assert_eq!(rig.sweep(100, 1, |_, _| Kernel::All).0.len(), 1, "at least one");
    let bytes = rig.wire(2).len() + 1;
    assert_eq!(rig.sweep(100, bytes, |_, _| Kernel::All).0.len(), 2);
}

#[test]
fn feeds_leave_the_lists_that_they_share_in_any_order() {
    let mut rig = rig();
    let wishes = [&["a", "b"][..], &["b"], &["b", "c"], &["*"], &["a", "b", "c"], &["c"]];
    let peers: Vec<usize> = wishes.iter().map(|topics| rig.live(Wish::of(topics))).collect();
    assert_eq!(rig.fanout.feeds(), (6, 3));
    // The recount after each removal proves that the one that was moved knows its new place.
    for peer in [peers[0], peers[3], peers[1], peers[4]] {
        rig.remove(peer);
    }
    assert_eq!(rig.fanout.feeds(), (2, 2));
    rig.publish(&["b", "c"], false, 5);
    rig.finish();
    assert_eq!((rig.heard_all(peers[2]), rig.heard_all(peers[5])), (vec![1], vec![1]));
    rig.remove(peers[2]);
    rig.remove(peers[5]);
    assert_eq!(rig.fanout.feeds(), (0, 0));
}

#[test]
fn users_whose_tokens_differ_elsewhere_share_a_feed() {
    let mut rig = rig();
    let one = rig.live(Wish::of(&["a"]).granted(&["user-1"]));
    let two = rig.live(Wish::of(&["a"]).granted(&["user-2"]));
    let granted = rig.live(Wish::of(&["a"]).granted(&["a"]));
    assert_eq!(rig.fanout.feeds().0, 2, "only a grant for the topic itself makes a difference");
    rig.publish(&["a"], true, 5);
    rig.publish(&["a", "user-2"], true, 5);
    rig.publish(&["a"], false, 5);
    rig.publish(&["user-1", "a"], true, 5);
    rig.finish();
    assert_eq!(rig.heard_all(one), [3, 4]);
    assert_eq!(rig.heard_all(two), [2, 3]);
    assert_eq!(rig.heard_all(granted), [1, 2, 3, 4]);
}

#[test]
fn a_private_event_stands_in_order_among_those_of_the_feed() {
    let mut rig = rig();
    let peer = rig.live(Wish::of(&["a"]).granted(&["b"]));
    for private in [false, true, false, true, true, false] {
        rig.publish(&["a", "b"], private, 20);
    }
    rig.route(1000);
    rig.finish();
    assert_eq!(rig.heard_all(peer), [1, 2, 3, 4, 5, 6]);
    assert_eq!(rig.fanout.unsent_bytes(), 0);
}

#[test]
fn one_event_goes_once_to_a_feed_that_several_topics_lead_to() {
    let mut rig = rig();
    let peer = rig.live(Wish::of(&["a", "b"]));
    let any = rig.live(Wish::of(&["*", "a"]));
    rig.publish(&["a", "b", "a"], false, 10);
    rig.finish();
    assert_eq!((rig.heard_all(peer), rig.heard_all(any)), (vec![1], vec![1]));
    assert_eq!(rig.fanout.tally().appends, 2);
}

#[test]
fn nobody_joins_a_feed_while_an_event_is_half_routed() {
    let mut rig = rig();
    let peers: Vec<usize> = ["a", "b", "c"]
        .into_iter()
        .map(|t| rig.live(Wish { topics: vec![t, "x"], ..Wish::default() }))
        .collect();
    rig.publish(&["x"], false, 10);
    rig.route(2);
    assert!(rig.fanout.is_routing());
    let late = rig.subscribe(Wish::of(&["x"]), 0);
    let live = rig.subscribe(Wish::of(&["x"]), 1);
    rig.drain();
    rig.catch_up(10);
    assert!(rig.heard(late).is_empty());
    rig.publish(&["x"], false, 10);
    rig.finish();
    assert_eq!(rig.heard_all(late), [1, 2]);
    assert_eq!(rig.heard_all(live), [2]);
    peers.into_iter().for_each(|peer| assert_eq!(rig.heard_all(peer), [1, 2]));
}

#[test]
fn the_last_bytes_follow_what_is_queued_and_nothing_follows_them() {
    let mut rig = rig();
    let peer = rig.live(Wish::of(&["a"]));
    let other = rig.live(Wish::of(&["a"]));
    rig.publish(&["a"], false, 10);
    rig.route(100);
    rig.end(peer, Until::Age);
    rig.end(peer, Until::Drain);
    rig.publish(&["a"], false, 10);
    rig.route(100);
    rig.finish();
    assert_eq!(rig.heard(peer), [1]);
    assert!(rig.stream(peer).ends_with(LAST));
    assert_eq!(rig.peers[peer].dropped, Some(Dropped::Ended(Until::Age)), "the first reason");
    assert_eq!(rig.heard_all(other), [1, 2]);
}

#[test]
fn an_ending_client_whose_last_bytes_were_taken_by_a_short_send_is_dropped() {
    let mut rig = rig();
    let peer = rig.live(Wish::of(&["a"]));
    rig.end(peer, Until::Drain);
    rig.sweep(1, 1000, |_, bytes| Kernel::Short(bytes.len()));
    rig.finish();
    assert_eq!(rig.peers[peer].dropped, Some(Dropped::Ended(Until::Drain)));
}

#[test]
fn a_client_may_end_before_its_head_and_its_first_page() {
    let mut rig = rig();
    rig.publish(&["a"], false, 10);
    let early = rig.subscribe(Wish::of(&["a"]), 0);
    rig.end(early, Until::Drain);
    let waiting = rig.subscribe(Wish::of(&["a"]), 0);
    rig.drain();
    rig.end(waiting, Until::Token);
    rig.finish();
    for peer in [early, waiting] {
        assert_eq!(rig.stream(peer), LAST);
        assert!(rig.peers[peer].gone);
    }
}

#[test]
fn a_failed_send_drops_the_client_with_the_errno() {
    let mut rig = rig();
    let peer = rig.live(Wish::of(&["a"]));
    rig.publish(&["a"], false, 10);
    rig.route(100);
    rig.sweep(10, 1000, |_, _| Kernel::Fail(104));
    assert_eq!(rig.peers[peer].dropped, Some(Dropped::Failed(104)));
    assert_eq!(rig.fanout.unsent_bytes(), 0);
    assert_eq!(rig.fanout.remove(rig.peers[peer].id), None, "known no more");
}

#[test]
fn a_short_send_blocks_until_there_is_room() {
    let mut rig = rig();
    let peer = rig.live(Wish::of(&["a"]));
    rig.publish(&["a"], false, 1000);
    rig.route(100);
    for taken in [0, 1, 500] {
        rig.block(peer, taken);
        let full = Effect::Full { client: rig.peers[peer].id, socket: peer as i32 };
        assert_eq!(rig.effects.pop(), Some(full));
        assert_eq!(rig.fanout.ready(), 0, "nothing is sent to a full socket");
        rig.unblock(peer);
    }
    let rest = rig.wire(1).len() - 501;
    assert_eq!(rig.sweep(10, 10_000, |_, _| Kernel::All).0, [(peer, rest)]);
    assert_eq!(rig.heard_all(peer), [1]);
}

#[test]
fn only_silent_clients_get_a_heartbeat() {
    let mut rig = rig();
    let beat = Beat { heartbeat: 100, write_timeout: NEVER };
    let (silent, busy, blocked, late) = (
        rig.live(Wish::of(&["a"])),
        rig.live(Wish::of(&["b"])),
        rig.live(Wish::of(&["c"])),
        rig.live(Wish::of(&["d"])),
    );
    rig.now = 60;
    rig.publish(&["d"], false, 10);
    rig.publish(&["c"], false, 10);
    rig.route(100);
    rig.block(blocked, 3);
    rig.drain();
    rig.now = 79;
    assert_eq!(rig.beat(beat).0, 0, "the heartbeat is spread over the last fifth");
    rig.publish(&["b"], false, 10);
    rig.route(100);
    rig.now = 101;
    assert_eq!(rig.beat(beat).0, 1);
    assert_eq!(rig.beat(beat).0, 0, "one is enough");
    rig.finish();
    assert_eq!(rig.stream(silent), b":\n");
    assert_eq!((rig.heard_all(busy), rig.heard_all(late)), (vec![3], vec![1]));
    assert_eq!(rig.beat(QUIET).0, 0);
}

#[test]
fn a_blocked_client_without_progress_is_dropped_at_the_write_timeout() {
    let mut rig = rig();
    let beat = Beat { heartbeat: NEVER, write_timeout: 50 };
    let (stuck, slow) = (rig.live(Wish::of(&["a"])), rig.live(Wish::of(&["b"])));
    rig.publish(&["a", "b"], false, 1000);
    rig.route(100);
    rig.now = 30;
    rig.sweep(10, 100_000, |_, _| Kernel::Short(10));
    rig.now = 60;
    rig.unblock(slow);
    rig.block(slow, 10);
    rig.now = 79;
    rig.beat(beat);
    assert_eq!((rig.peers[stuck].dropped, rig.peers[slow].dropped), (None, None));
    rig.now = 80;
    rig.beat(beat);
    assert_eq!(rig.peers[stuck].dropped, Some(Dropped::WriteTimeout));
    assert_eq!(rig.peers[slow].dropped, None);
}

#[test]
fn a_client_is_due_when_its_time_has_come() {
    let mut rig = rig();
    let peer = rig.subscribe_until(Wish::of(&["a"]), 0, 30);
    rig.drain();
    let id = rig.peers[peer].id;
    rig.fanout.end_by(id, 40, Until::Drain);
    rig.now = 29;
    assert_eq!(rig.beat(QUIET).1, [], "a later end changes nothing");
    rig.now = 30;
    assert_eq!(rig.beat(QUIET).1, [(id, Until::Age)]);
    rig.fanout.end_by(id, 10, Until::Drain);
    assert_eq!(rig.beat(QUIET).1, [(id, Until::Drain)]);
    rig.end(peer, Until::Drain);
    assert_eq!(rig.beat(QUIET).1, [], "an ending client is left alone");
}

#[test]
fn events_of_any_size_arrive_whole() {
    let mut rig = rig();
    let peer = rig.live(Wish::of(&["a"]));
    let mut all = Vec::new();
    for size in [0, 400, 470, 480, 3000, 4050, 4096, 40_000, 1, 262_144, 600_000, 2] {
        all.push(rig.publish(&["a"], false, size));
    }
    rig.route(1000);
    rig.finish();
    assert_eq!(rig.heard_all(peer), all);
    let late = rig.subscribe(Wish::of(&["a"]), 0);
    rig.finish();
    assert_eq!(rig.heard_all(late), all);
}

#[test]
fn a_spent_budget_pauses_routing_until_clients_take() {
    let limits = FanoutLimits { unsent_bytes_max: 10_000, ..roomy(LagPolicy::Close) };
    let mut rig = Rig::new(limits, kept(1000));
    let peer = rig.live(Wish::of(&["a"]));
    let all: Vec<u64> = (0..10).map(|_| rig.publish(&["a"], false, 6000)).collect();
    rig.route(1000);
    assert!(rig.fanout.is_over_budget());
    assert_eq!(rig.fanout.routed(), 2, "it stops with the event that goes over the limit");
    assert!(!rig.peers[peer].gone, "who is ready was not yet given its turn");
    rig.route(1000);
    assert_eq!(rig.fanout.routed(), 2);
    rig.drain();
    assert!(!rig.fanout.is_over_budget());
    rig.finish();
    assert_eq!(rig.heard_all(peer), all);
}

#[test]
fn a_client_that_leaves_in_any_state_leaves_nothing() {
    for state in 0..6 {
        let mut rig = rig();
        rig.publish(&["a"], false, 10);
        let stay = rig.live(Wish::of(&["a"]));
        let peer = rig.subscribe(Wish::of(&["a"]).granted(&["b"]), u64::from(state != 0));
        if state > 0 {
            rig.drain();
        }
        if state > 1 {
            rig.publish(&["a", "b"], state == 2, 5000);
            rig.route(100);
        }
        match state {
            3 => rig.block(peer, 9),
            4 => rig.end(peer, Until::Drain),
            5 => rig.drain(),
            _ => {}
        }
        rig.remove(peer);
        rig.finish();
        rig.fanout.forget_pages();
        assert_eq!((rig.fanout.unsent_bytes(), rig.fanout.feeds()), (0, (1, 1)), "state {state}");
        rig.judge(stay, true);
        assert!(rig.peers[peer].got.is_empty() || rig.peers[peer].got.starts_with(HEAD));
    }
}
