//! Where a shared stream starts, and what is said of events that may be missing.

use super::fanout::FEEDS;
use super::*;
use crate::log::Draft;
use crate::metrics::Counter;
use crate::metrics::GapReason;
use crate::upstream::ID_BYTES_MAX;

const RETRY: &str = "retry = \"2500ms\"";

/// The id that the log makes of a position.
fn made(seq: u64) -> String {
    format!("urn:tide:{EPOCH:016x}:{seq}")
}

impl World {
    fn channel(&self, group: usize) -> &Channel {
        &self.site.groups()[group].channel
    }

    /// The upstream of this tap sends an event.
    fn arrives(&self, tap: &Tap, id: Option<&str>) -> u64 {
        let draft =
            Draft { topics: [tap.topic().clone()].into(), private: false, id: id.map(Into::into) };
        let encode = |id: &str, out: &mut Vec<u8>| {
            out.extend_from_slice(format!("id: {id}\ndata: x\n\n").as_bytes());
        };
        let event = self.channel(tap.group() + 1).append(draft, self.unix_millis, encode);
        event.expect("there is room").seq
    }

    /// A request with this last id.
    fn after(&self, path: &str, id: &str) -> Answer {
        self.path(path, &[format!("Last-Event-ID: {id}").as_str()])
    }

    fn gaps(&self, reason: GapReason) -> u64 {
        self.recorder.counters().counter(Counter::Gaps(reason))
    }

    /// A stream with events 1 to `count`, whose ids are their numbers.
    fn filled(&self, path: &str, count: u64) -> (Subscribe, Arc<Tap>) {
        let stream = self.path(path, &[]).subscribe();
        let tap = self.opened().remove(0);
        (1..=count).for_each(|n| _ = self.arrives(&tap, Some(&n.to_string())));
        (stream, tap)
    }
}

fn says_gap(answer: &Answer) -> Option<&str> {
    answer.body.lines().find_map(|line| line.strip_prefix(": gap "))
}

/// Whether it is told of a gap, and where it starts.
fn goes_on(answer: Answer) -> (bool, Option<u64>) {
    (says_gap(&answer).is_some(), answer.subscribe().after)
}

#[test]
fn the_opener_has_the_upstream_go_on_after_its_id() {
    let world = World::toml(FEEDS);
    let answer = world.after("/news/a", "abc");
    assert_eq!((says_gap(&answer), answer.body.as_str()), (None, ":\nretry: 2500\n"));
    let stream = answer.subscribe();
    assert_eq!((stream.after, stream.told), (None, 0));
    assert_eq!(world.recorder.counters().counter(Counter::Resumes), 1);
    // Who comes next with that id cannot be told from one who missed events.
    let second = world.after("/news/a", "abc");
    let gap = says_gap(&second).expect("a gap");
    assert!(gap.contains(r#""reason":"unknown""#) && gap.contains(r#""from":"abc""#), "{gap}");
    assert_eq!((second.subscribe().after, world.gaps(GapReason::UnknownId)), (Some(0), 1));
}

#[test]
fn a_known_id_goes_on_where_it_was() {
    let world = World::toml(FEEDS);
    let (_stream, _tap) = world.filled("/news/a", 5);
    for (id, after) in [("3", 3), ("5", 5), (&*made(4), 4)] {
        let answer = world.after("/news/a", id);
        assert_eq!(says_gap(&answer), None, "{id}");
        assert_eq!(answer.subscribe().after, Some(after), "{id}");
    }
    let all = world.after("/news/a", "earliest");
    assert_eq!(goes_on(all), (false, Some(0)));
    let none = world.after("/news/a", "");
    assert_eq!(goes_on(none), (false, None), "an empty one is none");
}

#[test]
fn a_made_id_from_before_the_stream_was_opened_is_a_gap() {
    let world = World::toml(FEEDS);
    let (_other, tap) = world.filled("/news/other", 4);
    let answer = world.after("/news/a", &made(2));
    let gap = says_gap(&answer).expect("a gap");
    assert!(gap.contains(r#""reason":"expired""#), "{gap}");
    assert!(gap.contains(&format!(r#""from":"{}""#, made(2))), "{gap}");
    assert!(gap.contains(&format!(r#""to":"{}""#, made(2))), "{gap}");
    let stream = answer.subscribe();
    assert_eq!((stream.after, stream.told), (Some(2), 4), "nothing is announced twice");
    assert_eq!(world.gaps(GapReason::HistoryEnd), 1);
    // Where it was opened is before, too: the upstream may have had events since that place.
    let answer = world.after("/news/a", &made(4));
    assert_eq!(goes_on(answer), (true, Some(4)));
    // What was appended to the other one since then says that somebody listened.
    world.arrives(&tap, None);
    let answer = world.after("/news/a", &made(5));
    assert_eq!(goes_on(answer), (false, Some(5)));
}

#[test]
fn an_id_of_another_process_is_passed_on_and_announced() {
    let world = World::toml(FEEDS);
    let before = made(2).replace("0123", "0124");
    let answer = world.after("/news/a", &before);
    let gap = says_gap(&answer).expect("it may be of an upstream of our kind, or ours");
    assert!(gap.contains(r#""reason":"expired""#), "{gap}");
    assert_eq!(answer.subscribe().after, Some(0));
}

#[test]
fn an_id_that_is_too_long_is_neither_looked_up_nor_echoed() {
    let world = World::toml(FEEDS);
    let long = "x".repeat(ID_BYTES_MAX + 1);
    let answer = world.after("/news/a", &long);
    let gap = says_gap(&answer).expect("a gap");
    assert!(!gap.contains("from") && gap.contains("unknown"), "{gap}");
}

#[test]
fn a_merged_stream_takes_positions_only() {
    let world = World::toml(FEEDS);
    let stream = world.path("/both", &[]).subscribe();
    let taps = world.opened();
    (0..3).for_each(|n| _ = world.arrives(&taps[n % 2], None));
    let known = world.after("/both", &made(2));
    assert_eq!(goes_on(known), (false, Some(2)));
    let theirs = world.after("/both", "7");
    assert!(says_gap(&theirs).is_some());
    assert_eq!(theirs.subscribe().after, Some(0));
    drop(stream);
}

#[test]
fn who_comes_without_an_id_gets_what_the_configuration_says() {
    let world = World::toml(&FEEDS.replace(RETRY, "initial = 2"));
    let (_stream, tap) = world.filled("/news/a", 5);
    let fresh = world.path("/news/a", &[]).subscribe();
    assert_eq!(fresh.after, Some(3));
    let channel = world.channel(1);
    let page = channel.page(&fresh.subscription, 3, channel.tail(), usize::MAX);
    assert_eq!(page.events.iter().map(|event| event.seq).collect::<Vec<_>>(), [4, 5]);
    let back = world.after("/news/a", "1").subscribe();
    assert_eq!(back.after, Some(1), "an id says more");
    assert_eq!(tap.leases(), 3);
}

#[test]
fn what_is_too_old_is_announced() {
    let mut world = World::toml(&FEEDS.replace(RETRY, "history_age_max = \"10s\""));
    let (_stream, tap) = world.filled("/news/a", 3);
    world.unix_millis += 20_000;
    world.arrives(&tap, Some("4"));
    let answer = world.after("/news/a", "2");
    assert!(says_gap(&answer).is_some_and(|gap| gap.contains("unknown")), "{}", answer.body);
    let answer = world.after("/news/a", &made(2));
    assert!(says_gap(&answer).is_some_and(|gap| gap.contains("expired")), "{}", answer.body);
    assert_eq!(answer.subscribe().told, 3);
}
