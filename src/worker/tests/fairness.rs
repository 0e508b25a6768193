//! Nobody waits for nothing: every stage is bounded, and what can go on does so before a sleep.

use super::World;
use super::data;
use super::get;
use super::post;
use crate::io::Ready;
use crate::metrics::CloseReason;
use crate::metrics::Counter;

const PAGE: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn a_resume_gets_its_history_without_a_sleep() {
    let mut world = World::new(|_| {});
    for n in 0..3 {
        world.publish("a", &n.to_string());
    }
    let before = world.now();
    let client = world.connect(&get("topic=a&lastEventID=earliest"));
    let mut heard = String::new();
    while data(&heard).len() < 3 {
        world.turn();
        heard.push_str(&world.heard(client));
        assert_eq!(world.now(), before, "no time passes on the way");
    }
    assert_eq!(data(&heard), ["0", "1", "2"]);
    world.settle();
    world.publish("a", "3");
    assert_eq!(data(&world.heard(client)), ["3"]);
}

#[test]
fn a_connection_is_read_once_a_turn_so_answers_keep_their_order() {
    let mut world = World::new(|_| {});
    // More than one receive takes, in one piece.
    let posts = post("a", "x").repeat(2000);
    assert!(posts.len() > 2 * 65_536);
    let publisher = world.connect(&posts);
    world.ground.with(publisher, |peer| peer.room = 1000);
    world.settle();
    for _ in 0..10_000 {
        world.ground.with(publisher, |peer| peer.room = 1000);
        world.settle();
    }
    let heard = world.heard(publisher);
    assert_eq!(heard.matches("HTTP/1.1 200 OK\r\n").count(), 2000);
    let ids = heard.lines().filter_map(|line| line.strip_prefix("urn:tide:"));
    let ids: Vec<u64> =
        ids.map(|id| id[17..].split('H').next().unwrap().parse().unwrap()).collect();
    assert!(ids.iter().copied().eq(1..=2000), "{ids:?}");
}

#[test]
fn what_follows_a_subscribe_is_never_answered() {
    let mut world = World::new(|_| {});
    let mut input = get("topic=a");
    input.extend(PAGE.repeat(5000));
    let client = world.connect(&input);
    world.settle();
    world.publish("a", "1");
    let heard = world.heard(client);
    assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "one answer");
    assert_eq!(data(&heard), ["1"]);
}

#[test]
fn nothing_is_answered_behind_the_answer_that_closes() {
    let mut world = World::new(|_| {});
    let mut input = b"BAD\r\n\r\n".to_vec();
    input.extend(PAGE.repeat(5000));
    let peer = world.connect(&input);
    world.pass(3000);
    let heard = world.heard(peer);
    assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
    assert_eq!(heard.matches("HTTP/1.1 ").count(), 1, "one answer");
    world.check_empty();
}

#[test]
fn answers_that_nobody_takes_have_a_budget() {
    let mut world = World::new(|config| config.limits.unsent_bytes_max = 16 << 20);
    let peers: Vec<i32> = (0..50).map(|_| world.connect(&PAGE.repeat(1900))).collect();
    for peer in &peers {
        world.ground.with(*peer, |peer| peer.room = 0);
    }
    for _ in 0..100 {
        world.turn();
        assert!(world.worker.unsent_bytes() <= 2 << 20, "{}", world.worker.unsent_bytes());
    }
    assert!(world.counters.counter(Counter::Closed(CloseReason::UnsentBudget)) > 40);
    world.pass(35_000);
    world.check_empty();
}

#[test]
fn deadlines_that_come_together_are_met_a_few_at_a_time() {
    let mut world = World::new(|_| {});
    for _ in 0..2000 {
        world.connect(b"G");
    }
    world.settle();
    assert_eq!(world.worker.connections(), 2000);
    while world.ground.closes.get() == 0 && world.now().millis() < 20_000 {
        let heard = |world: &World| {
            world.ground.peers.borrow().values().filter(|peer| peer.finished).count()
        };
        let before = heard(&world);
        world.turn();
        assert!(heard(&world) - before <= 256, "one turn ends a bounded number");
    }
    world.pass(3000);
    assert_eq!(world.counters.counter(Counter::Closed(CloseReason::HeadTimeout)), 2000);
    world.check_empty();
}

#[test]
fn a_newcomer_is_let_in_while_the_worker_is_behind() {
    let mut world = World::new(|_| {});
    // Three thousand feeds: routing one event takes more than a turn.
    for n in 0..3000 {
        world.connect(&get(&format!("topic=a&topic=own{n}")));
    }
    world.settle();
    let publisher = world.connect(b"");
    world.settle();
    let publish = |world: &mut World, times: usize| {
        for _ in 0..times {
            world.say(publisher, &post("a", "x"));
            world.turn();
        }
    };
    publish(&mut world, 30);
    assert!(world.hub().fanout.is_routing(), "it is behind");
    let client = world.connect(&get("topic=b"));
    publish(&mut world, 30);
    assert!(!world.hub().fanout.is_waiting(), "nobody waits for the end of the backlog");
    world.settle();
    world.publish("b", "1");
    assert_eq!(data(&world.heard(client)), ["1"]);
}

#[test]
fn accepting_goes_on_after_descriptors_ran_out() {
    let mut world = World::new(|_| {});
    world.turn();
    assert!(world.ground.accepting.get());
    let idle: Vec<i32> = (0..20).map(|_| world.connect(PAGE)).collect();
    world.pass(300);
    world.ground.accepting.set(false);
    world.ground.news.borrow_mut().push_back(Ready::AcceptFailed { errno: 24 });
    let before = world.now().millis();
    world.turn();
    world.turn();
    assert_eq!(idle.iter().filter(|socket| world.is_closed(**socket)).count(), 16, "room is made");
    while !world.ground.accepting.get() {
        world.turn();
    }
    assert!((100..200).contains(&(world.now().millis() - before)));
}

/// The worker that cannot accept may have nothing to give, while another holds all descriptors.
#[test]
fn a_shortage_in_another_worker_is_relieved() {
    let mut world = World::new(|_| {});
    world.turn();
    let idle: Vec<i32> = (0..20).map(|_| world.connect(PAGE)).collect();
    world.pass(300);
    world.load.report_shortage();
    world.pass(1000);
    let closed = |world: &World| idle.iter().filter(|socket| world.is_closed(**socket)).count();
    assert_eq!(closed(&world), 16, "room is made within a second");
    world.pass(2000);
    assert_eq!(closed(&world), 16, "and no more than was asked for");
}
