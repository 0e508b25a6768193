//! Logs in which each topic has bounds and ids of its own.

use super::{EPOCH, append, channel, draft, limits, put, wish};
use crate::base::chance::Chance;
use crate::base::sync::Arc;
use crate::log::history::History;
use crate::log::{
    Channel, Draft, Event, EventId, Limits, Loss, Resumption, Start, Topic, TopicLimits,
};
use std::collections::BTreeMap;

const EXPIRED: Resumption = Resumption::Lost(Loss::Expired);
const UNKNOWN: Resumption = Resumption::Lost(Loss::Unknown);

/// A log that keeps so many events of each topic.
fn shelves(events_max: usize) -> Channel {
    let per_topic = Some(TopicLimits { events_max, bytes_max: usize::MAX });
    channel(Limits { per_topic, ..limits() })
}

fn topics(channel: &Channel, names: &[&str]) -> Vec<Topic> {
    names.iter().map(|name| Topic::new(name, channel.hasher())).collect()
}

fn open(channel: &Channel, names: &[&str]) {
    topics(channel, names).iter().for_each(|topic| channel.open(topic));
}

fn with_id(channel: &Channel, topic: &str, id: &str) -> u64 {
    let draft = Draft { id: Some(id.into()), ..draft(channel, &[topic]) };
    append(channel, draft, 1, 10).unwrap().seq
}

fn resolve(channel: &Channel, names: &[&str], id: &str) -> (Resumption, Start) {
    channel.resolve_in(&topics(channel, names), id)
}

/// The numbers of everything kept of these topics after a position.
fn kept(channel: &Channel, names: &[&str], after: u64) -> Vec<u64> {
    let page = channel.page(&wish(channel, names, &[]), after, u64::MAX, usize::MAX);
    page.events.iter().map(|event| event.seq).collect()
}

/// Entries of the order, and topics with a shelf.
fn sizes(channel: &Channel) -> (usize, usize) {
    match &channel.lock().history {
        History::Shelves(shelves) => shelves.sizes(),
        History::Stretch(_) => panic!("topics have bounds of their own"),
    }
}

#[test]
fn a_busy_topic_does_not_push_out_a_quiet_one() {
    let channel = shelves(3);
    put(&channel, &["quiet"]);
    (0..1000).for_each(|_| drop(put(&channel, &["busy"])));
    assert_eq!(kept(&channel, &["quiet", "busy"], 0), [1, 999, 1000, 1001]);
    assert_eq!((channel.kept().0, channel.head()), (4, 1));
    assert!(sizes(&channel).0 <= 2 * 4 + 64, "{:?}", sizes(&channel));
    assert_eq!(kept(&channel, &["*"], 1), [999, 1000, 1001]);
}

#[test]
fn the_total_drops_the_oldest_of_all() {
    let cost = put(&shelves(1), &["a"]).cost();
    // Ids grow by a digit.
    let per_topic = Some(TopicLimits { events_max: 5, bytes_max: 3 * cost + 9 });
    let channel = channel(Limits { bytes_max: 4 * cost + 9, per_topic, ..limits() });
    for topic in ["a", "b", "b", "b", "a", "a"] {
        put(&channel, &[topic]);
    }
    assert_eq!(kept(&channel, &["a", "b"], 0), [3, 4, 5, 6]);
    (0..3).for_each(|_| drop(put(&channel, &["c"])));
    assert_eq!(kept(&channel, &["a", "b", "c"], 0), [6, 7, 8, 9]);
    put(&channel, &["c"]);
    assert_eq!(kept(&channel, &["a", "b", "c"], 0), [6, 8, 9, 10], "three of one topic at most");
    append(&channel, draft(&channel, &["c"]), 1, 9 * cost).unwrap();
    assert_eq!(kept(&channel, &["a", "b", "c"], 0), [6], "it alone is over its topic's bound");
    assert_eq!((channel.kept(), sizes(&channel).1), ((1, cost), 1));
}

#[test]
fn age_counts_as_ever() {
    let per_topic = Some(TopicLimits { events_max: 9, bytes_max: usize::MAX });
    let channel = channel(Limits { age_max_millis: 100, per_topic, ..limits() });
    for (topic, millis) in [("a", 10), ("b", 50), ("a", 90), ("b", 120)] {
        append(&channel, draft(&channel, &[topic]), millis, 10).unwrap();
    }
    assert_eq!(kept(&channel, &["a", "b"], 0), [2, 3, 4]);
    channel.expire(1000);
    assert_eq!((channel.kept(), sizes(&channel)), ((0, 0), (0, 0)));
}

#[test]
fn nothing_is_kept_of_a_topic_that_is_to_keep_nothing() {
    let channel = shelves(0);
    open(&channel, &["a"]);
    with_id(&channel, "a", "x");
    put(&channel, &["b"]);
    assert_eq!((channel.kept(), sizes(&channel)), ((0, 0), (0, 1)));
    assert_eq!(resolve(&channel, &["a"], "x").0, UNKNOWN);
    assert_eq!(resolve(&channel, &["a"], &channel.id(0)).0, EXPIRED);
    assert_eq!(resolve(&channel, &["a"], &channel.id(1)).0, Resumption::After(1));
    assert_eq!(resolve(&channel, &["a", "b"], &channel.id(1)).0, EXPIRED);
    assert_eq!(resolve(&channel, &["a", "b"], &channel.id(2)).0, Resumption::After(2));
}

#[test]
fn an_id_means_something_only_in_its_own_topic() {
    let channel = shelves(10);
    open(&channel, &["a", "b", "c"]);
    assert_eq!((with_id(&channel, "a", "5"), with_id(&channel, "b", "5")), (1, 2));
    put(&channel, &["a"]);
    assert_eq!(with_id(&channel, "a", "5"), 4);
    let start = |after| (Resumption::After(after), Start { after, told: 0 });
    assert_eq!(resolve(&channel, &["a"], "5"), start(1), "the earliest, so that nothing is lost");
    assert_eq!(resolve(&channel, &["b"], "5"), start(2));
    assert_eq!(resolve(&channel, &["b", "a"], "5"), start(1));
    assert_eq!(resolve(&channel, &["c"], "5").0, UNKNOWN);
    assert_eq!(resolve(&channel, &[], "5").0, UNKNOWN);
    assert_eq!(resolve(&channel, &["a"], "earliest").0, Resumption::Earliest);
}

#[test]
fn what_a_source_says_is_kept_even_if_it_looks_like_a_position() {
    let channel = shelves(10);
    open(&channel, &["a", "b"]);
    put(&channel, &["a"]);
    for id in [channel.id(1), "earliest".to_owned(), format!("urn:tide:{:016x}:1", EPOCH + 1)] {
        let seq = with_id(&channel, "a", &id);
        assert_eq!(resolve(&channel, &["a"], &id).0, Resumption::After(seq), "{id}");
    }
    assert_eq!(resolve(&channel, &["b"], &channel.id(1)).0, Resumption::After(1), "a position");
    let event = channel.page(&wish(&channel, &["a"], &[]), 1, 2, 1).events.remove(0);
    assert_eq!(event.id, EventId::Given(channel.id(1).into()));
}

#[test]
fn expiry_is_a_matter_of_the_topics_that_are_read() {
    let channel = shelves(2);
    open(&channel, &["a", "b"]);
    put(&channel, &["b"]);
    (0..4).for_each(|_| drop(put(&channel, &["a"])));
    let at = |names: &[&str], seq| resolve(&channel, names, &channel.id(seq)).0;
    assert_eq!((at(&["b"], 0), at(&["b"], 1)), (EXPIRED, Resumption::After(1)));
    assert_eq!(at(&["a"], 2), EXPIRED);
    assert_eq!(at(&["a"], 3), Resumption::After(3));
    assert_eq!(at(&["a", "b"], 2), EXPIRED);
    let expired = Start { after: 0, told: 3 };
    assert_eq!(resolve(&channel, &["a", "b"], &channel.id(0)).1, expired);
    assert_eq!(kept(&channel, &["a", "b"], expired.after), [1, 4, 5], "what there is still comes");
    assert_eq!(at(&["a"], 6), UNKNOWN, "not yet");
    assert_eq!(resolve(&channel, &["a"], "urn:tide:0000000000000abd:5").0, EXPIRED);

    // An id that is kept in one topic is a place from which another has lost something.
    let seq = with_id(&channel, "b", "x");
    (0..3).for_each(|_| drop(put(&channel, &["a"])));
    assert_eq!(resolve(&channel, &["b"], "x").0, Resumption::After(seq));
    let expired = Start { after: seq, told: seq + 1 };
    assert_eq!(resolve(&channel, &["a", "b"], "x"), (EXPIRED, expired));
}

#[test]
fn a_topic_starts_when_it_is_opened_and_is_forgotten_when_it_is_closed() {
    let channel = shelves(10);
    open(&channel, &["a"]);
    (0..3).for_each(|n| _ = with_id(&channel, "a", &n.to_string()));
    open(&channel, &["b", "a"]);
    let at = |names: &[&str], seq| resolve(&channel, names, &channel.id(seq)).0;
    assert_eq!(at(&["a"], 1), Resumption::After(1), "open already");
    assert_eq!(at(&["b"], 2), EXPIRED, "nobody listened then");
    assert_eq!((at(&["a", "b"], 3), at(&["a"], 3)), (EXPIRED, Resumption::After(3)));
    put(&channel, &["b"]);
    assert_eq!(at(&["a", "b"], 4), Resumption::After(4));
    channel.forget(&topics(&channel, &["a"])[0]);
    assert_eq!((kept(&channel, &["a", "b"], 0), sizes(&channel)), (vec![4], (1, 1)));
    assert_eq!(resolve(&channel, &["a"], "2").0, UNKNOWN);
    assert_eq!((at(&["a"], 2), at(&["a"], 3)), (EXPIRED, Resumption::After(3)));
    open(&channel, &["a"]);
    let (was, start) = resolve(&channel, &["a"], &channel.id(4));
    assert_eq!((at(&["a"], 3), was), (EXPIRED, EXPIRED), "nobody listened since");
    assert_eq!(start, Start { after: 4, told: 4 }, "and nothing of a later number is missing");
    assert_eq!(at(&["b"], 4), Resumption::After(4), "the other is not touched");
    put(&channel, &["b"]);
    assert_eq!(at(&["a"], 5), Resumption::After(5));
}

#[test]
fn a_topic_that_was_never_opened_loses_what_has_left() {
    let channel = shelves(2);
    let at = |seq| resolve(&channel, &["a"], &channel.id(seq)).0;
    assert_eq!(at(0), Resumption::After(0));
    (0..4).for_each(|_| drop(put(&channel, &["a"])));
    assert_eq!((at(1), at(2)), (EXPIRED, Resumption::After(2)));
    channel.forget(&topics(&channel, &["a"])[0]);
    assert_eq!((at(3), at(4), sizes(&channel)), (EXPIRED, Resumption::After(4), (0, 0)));
    put(&channel, &["a"]);
    assert_eq!((at(3), at(4)), (EXPIRED, Resumption::After(4)), "what was lost stays lost");
}

#[test]
fn recent_is_the_newest_of_all_topics_together() {
    let channel = shelves(3);
    assert_eq!(channel.recent(&topics(&channel, &["a"]), 5), Start::default());
    open(&channel, &["a", "b", "c"]);
    for topic in ["b", "a", "a", "c", "a", "a", "b"] {
        put(&channel, &[topic]);
    }
    let recent = |names: &[&str], count| channel.recent(&topics(&channel, names), count);
    for (names, count, want) in [
        (&["a"][..], 0, &[][..]),
        (&["a"], 1, &[6]),
        (&["a"], 3, &[3, 5, 6]),
        (&["a"], 9, &[3, 5, 6]),
        (&["b", "a", "b"], 3, &[5, 6, 7]),
        (&["a", "b"], 9, &[1, 3, 5, 6, 7]),
        (&["a", "b", "c"], 4, &[4, 5, 6, 7]),
        (&["nothing"], 4, &[]),
    ] {
        let start = recent(names, count);
        assert_eq!(kept(&channel, names, start.after), want, "{count} of {names:?}");
        assert_eq!(start.told, if names.contains(&"a") { 2 } else { 0 });
    }
}

#[test]
fn recent_works_for_a_log_that_is_bounded_as_a_whole() {
    let channel = channel(Limits { events_max: 4, ..limits() });
    for topics in [&["a"][..], &["a", "b"], &["c"], &["a", "b"], &["c"]] {
        put(&channel, topics);
    }
    let start = channel.recent(&topics(&channel, &["a", "b"]), 2);
    assert_eq!(start, Start { after: 1, told: 1 }, "an event of two topics counts once");
    assert_eq!(channel.recent(&topics(&channel, &["c"]), 1).after, 4);
}

/// Random logs against a list of all events ever, with what each topic has lost.
#[test]
fn shelves_agree_with_a_naive_model() {
    for seed in 0..80 {
        Model::new(seed).run();
    }
}

const TOPICS: [&str; 4] = ["a", "b", "c", "d"];

struct Model {
    seed: u64,
    chance: Chance,
    limits: Limits,
    channel: Channel,
    kept: Vec<Arc<Event>>,
    open: BTreeMap<&'static str, u64>,
    /// Of each topic, the newest event that was lost.
    lost: BTreeMap<&'static str, u64>,
    millis: u64,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let mut up_to = |n: u64| usize::try_from(chance.below(n)).unwrap();
        let per_topic = TopicLimits {
            events_max: [0, 1, 4, 30][up_to(4)],
            bytes_max: [700, 5000, usize::MAX][up_to(3)],
        };
        let limits = Limits {
            events_max: [6, 40, usize::MAX][up_to(3)],
            bytes_max: [2000, 20_000, usize::MAX][up_to(3)],
            age_max_millis: [0, 300][up_to(2)],
            backlog_bytes_max: u64::MAX,
            per_topic: Some(per_topic),
        };
        let channel = channel(limits.clone());
        let (open, lost) = (BTreeMap::new(), BTreeMap::new());
        Self { seed, chance, limits, channel, kept: vec![], open, lost, millis: 1000 }
    }

    fn name(&mut self) -> &'static str {
        TOPICS[usize::try_from(self.chance.below(4)).unwrap()]
    }

    fn run(&mut self) {
        for _ in 0..200 {
            self.millis += self.chance.below(10);
            let name = self.name();
            match self.chance.below(14) {
                0 => self.open(name),
                1 => self.forget(name),
                2 => {
                    self.channel.expire(self.millis);
                    self.trim();
                }
                _ => self.append(name),
            }
            self.ask();
        }
    }

    fn open(&mut self, name: &'static str) {
        self.channel.open(&topics(&self.channel, &[name])[0]);
        let tail = self.channel.tail();
        self.open.entry(name).or_insert(tail);
    }

    fn forget(&mut self, name: &'static str) {
        self.channel.forget(&topics(&self.channel, &[name])[0]);
        self.open.remove(name);
        while let Some(event) = self.kept.iter().find(|event| event.topics[0].name() == name) {
            let seq = event.seq;
            self.lose(seq);
        }
    }

    fn append(&mut self, name: &'static str) {
        let id = self.chance.one_in(2).then(|| self.chance.below(6).to_string().into());
        let size = usize::try_from(self.chance.below(300)).unwrap();
        let draft = Draft { id, ..draft(&self.channel, &[name]) };
        let event = append(&self.channel, draft, self.millis, size).unwrap();
        self.kept.push(event);
        let limits = self.limits.per_topic.unwrap();
        loop {
            let own: Vec<_> = self.kept.iter().filter(|e| e.topics[0].name() == name).collect();
            let bytes: usize = own.iter().map(|event| event.cost()).sum();
            if own.len() <= limits.events_max && bytes <= limits.bytes_max {
                break;
            }
            let oldest = own[0].seq;
            self.lose(oldest);
        }
        self.trim();
    }

    fn trim(&mut self) {
        while let Some(oldest) = self.kept.first() {
            let bytes: usize = self.kept.iter().map(|event| event.cost()).sum();
            let age = self.limits.age_max_millis;
            let aged = age != 0 && self.millis - oldest.unix_millis > age;
            let many = self.kept.len() > self.limits.events_max;
            if !aged && !many && bytes <= self.limits.bytes_max {
                break;
            }
            let oldest = oldest.seq;
            self.lose(oldest);
        }
    }

    fn lose(&mut self, seq: u64) {
        let at = self.kept.iter().position(|event| event.seq == seq).unwrap();
        let event = self.kept.remove(at);
        let name = TOPICS.iter().find(|name| **name == event.topics[0].name()).unwrap();
        self.lost.insert(name, seq);
    }

    /// The newest event of a topic that is missing, as far as anybody can know.
    fn lost_of(&self, name: &str) -> u64 {
        let opened = self.open.get(name).copied().unwrap_or(0);
        opened.max(self.lost.get(name).copied().unwrap_or(0))
    }

    fn ask(&mut self) {
        let bytes: usize = self.kept.iter().map(|event| event.cost()).sum();
        assert_eq!(self.channel.kept(), (self.kept.len(), bytes), "seed {}", self.seed);
        let head = self.kept.first().map_or(self.channel.tail() + 1, |event| event.seq);
        assert_eq!(self.channel.head(), head);
        assert!(sizes(&self.channel).0 <= 2 * self.kept.len() + 64);
        let names = [self.name(), self.name()];
        let tail = self.channel.tail();
        let (after, upto) = (self.chance.below(tail + 3), self.chance.below(tail + 3));
        let bytes_max = usize::try_from(1 + self.chance.below(2000)).unwrap();
        let page = self.channel.page(&wish(&self.channel, &names, &[]), after, upto, bytes_max);
        let mut bytes = 0;
        let mut want = Vec::new();
        let mut reaches = upto.min(tail).max(after);
        for event in self.kept.iter().filter(|e| names.contains(&e.topics[0].name())) {
            if after < event.seq && event.seq <= upto {
                want.push(event.seq);
                bytes += event.wire.len();
                if bytes >= bytes_max {
                    reaches = event.seq;
                    break;
                }
            }
        }
        let seqs: Vec<u64> = page.events.iter().map(|event| event.seq).collect();
        assert_eq!((seqs, page.after, page.upto), (want, after, reaches), "seed {}", self.seed);
        let sure = names.iter().filter(|name| self.open.contains_key(*name)).count() == 2;
        let lost = names.iter().map(|name| self.lost_of(name)).max().unwrap();
        if sure {
            assert_eq!(page.lost, lost, "seed {}: {names:?}", self.seed);
        } else {
            // What is not open may be thought to have lost more than it has.
            assert!(page.lost >= lost, "seed {}: {names:?}", self.seed);
        }
        assert_eq!(page.missed, after != 0 && after < page.lost);
        let id = self.chance.below(6).to_string();
        let is = |e: &&Arc<Event>| {
            names.contains(&e.topics[0].name()) && e.id == EventId::Given(id.as_str().into())
        };
        let want = match self.kept.iter().find(is).map(|event| event.seq) {
            Some(seq) if seq < page.lost => EXPIRED,
            Some(seq) => Resumption::After(seq),
            None => UNKNOWN,
        };
        assert_eq!(resolve(&self.channel, &names, &id).0, want, "seed {}", self.seed);
    }
}
