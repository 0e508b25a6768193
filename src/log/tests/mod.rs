//! The log against naive models, its edges, and its promises between threads.

mod live;
mod shelves;

use super::*;
use crate::base::chance::Chance;
use crate::base::map::Hasher;
use crate::base::sync::Arc;
use std::collections::VecDeque;

const EPOCH: u64 = 0xabc;

fn limits() -> Limits {
    Limits {
        events_max: 100_000,
        bytes_max: usize::MAX,
        age_max_millis: 0,
        backlog_bytes_max: u64::MAX,
        per_topic: None,
    }
}

fn channel(limits: Limits) -> Channel {
    Channel::new(limits, EPOCH, Hasher::new(3))
}

fn bell() -> Arc<Bell> {
    Arc::new(Bell::new(Box::new(|| {})))
}

fn draft(channel: &Channel, topics: &[&str]) -> Draft {
    let topics = topics.iter().map(|name| Topic::new(name, channel.hasher())).collect();
    Draft { topics, private: false, id: None }
}

/// Appends with `size` bytes besides the id; the id stands in front.
fn append(
    channel: &Channel,
    draft: Draft,
    millis: u64,
    size: usize,
) -> Result<Arc<Event>, AppendError> {
    channel.append(draft, millis, |id, out| {
        out.extend_from_slice(id.as_bytes());
        out.resize(out.len() + size, b'x');
        out.extend_from_slice(b"\n\n");
    })
}

fn put(channel: &Channel, topics: &[&str]) -> Arc<Event> {
    append(channel, draft(channel, topics), 1, 10).unwrap()
}

fn with_id(channel: &Channel, id: &str) -> Result<Arc<Event>, AppendError> {
    append(channel, Draft { id: Some(id.into()), ..draft(channel, &["a"]) }, 1, 10)
}

fn selectors(channel: &Channel, names: &[&str]) -> Vec<Selector> {
    let selector = |name: &&str| match *name {
        "*" => Selector::Any,
        name => Selector::Exact(Topic::new(name, channel.hasher())),
    };
    names.iter().map(selector).collect()
}

fn wish(channel: &Channel, topics: &[&str], grants: &[&str]) -> Subscription {
    Subscription::new(selectors(channel, topics), Grants::new(selectors(channel, grants)))
}

#[test]
fn ids_and_positions_are_a_bijection() {
    let channel = channel(limits());
    assert_eq!(channel.resolve(&channel.id(0)), Resumption::After(0));
    for seq in 1..=12 {
        let event = put(&channel, &["a"]);
        assert_eq!((event.seq, &event.id, channel.tail()), (seq, &EventId::Made, seq));
        let id = channel.id(seq);
        assert_eq!(id, format!("urn:tide:0000000000000abc:{seq}"));
        assert!(event.wire.starts_with(id.as_bytes()), "the wire form carries the id");
        assert_eq!(channel.resolve(&id), Resumption::After(seq));
    }
    assert_eq!(channel.resolve("earliest"), Resumption::Earliest);
    assert_eq!((Resumption::Earliest.after(), Resumption::After(7).after()), (0, 7));
    assert_eq!(Resumption::Lost(Loss::Expired).after(), 0);
}

#[test]
fn what_is_no_id_of_this_epoch_is_a_gap() {
    let channel = channel(limits());
    (0..3).for_each(|_| drop(put(&channel, &["a"])));
    let unknown = Resumption::Lost(Loss::Unknown);
    let expired = Resumption::Lost(Loss::Expired);
    for (id, want) in [
        ("urn:tide:0000000000000abc:4", unknown),
        ("urn:tide:0000000000000abc:18446744073709551614", unknown),
        // Not of the form that the log writes, or of another epoch.
        ("urn:tide:0000000000000abc:18446744073709551615", expired),
        ("urn:tide:0000000000000abc:18446744073709551616", expired),
        ("urn:tide:0000000000000ABC:1", expired),
        ("urn:tide:0000000000000abd:1", expired),
        ("urn:tide:abc:1", expired),
        ("urn:tide:+000000000000abc:1", expired),
        ("urn:tide:00000000000000abc:1", expired),
        ("urn:tide:0000000000000abc:01", expired),
        ("urn:tide:0000000000000abc:+1", expired),
        ("urn:tide:0000000000000abc:-1", expired),
        ("urn:tide:0000000000000abc: 1", expired),
        ("urn:tide:0000000000000abc:1 ", expired),
        ("urn:tide:0000000000000abc:", expired),
        ("urn:tide:0000000000000abc", expired),
        ("urn:tide:", expired),
        ("URN:tide:0000000000000abc:1", unknown),
        ("Earliest", unknown),
        ("", unknown),
        ("1", unknown),
    ] {
        assert_eq!(channel.resolve(id), want, "{id}");
    }
}

#[test]
fn publishers_cannot_forge_positions() {
    let channel = channel(limits());
    for seq in ["0", "1", "18446744073709551614"] {
        let id = format!("urn:tide:0000000000000abc:{seq}");
        assert_eq!(with_id(&channel, &id).unwrap_err(), AppendError::IdReserved);
    }
    assert_eq!((channel.tail(), channel.kept()), (0, (0, 0)), "nothing was taken");
    for id in ["urn:tide:0000000000000abc:01", "urn:tide:0000000000000abd:1", "urn:uuid:1"] {
        let event = with_id(&channel, id).unwrap();
        assert_eq!(event.id, EventId::Given(id.into()));
        assert!(event.wire.starts_with(id.as_bytes()));
        assert_eq!(channel.resolve(id), Resumption::After(event.seq), "{id}");
    }
}

#[test]
fn a_given_id_means_its_earliest_occurrence_that_is_kept() {
    let channel = channel(Limits { events_max: 4, ..limits() });
    for id in ["x", "y", "x", "z"] {
        with_id(&channel, id).unwrap();
    }
    assert_eq!(channel.resolve("x"), Resumption::After(1));
    put(&channel, &["a"]);
    assert_eq!(channel.resolve("x"), Resumption::After(3), "the first has expired");
    assert_eq!(channel.resolve("y"), Resumption::After(2));
    put(&channel, &["a"]);
    assert_eq!(channel.resolve("y"), Resumption::Lost(Loss::Unknown));
    put(&channel, &["a"]);
    assert_eq!(channel.resolve("x"), Resumption::Lost(Loss::Unknown));
    assert_eq!(channel.resolve("z"), Resumption::After(4));
}

#[test]
fn history_is_bounded_by_count_bytes_and_age() {
    let by_count = channel(Limits { events_max: 3, ..limits() });
    (0..5).for_each(|_| drop(put(&by_count, &["a"])));
    assert_eq!((by_count.kept().0, by_count.head(), by_count.tail()), (3, 3, 5));
    let expired = Resumption::Lost(Loss::Expired);
    assert_eq!(by_count.resolve(&by_count.id(1)), expired);
    assert_eq!(by_count.resolve(&by_count.id(2)), Resumption::After(2), "nothing is missing");

    let cost = put(&channel(limits()), &["a"]).cost();
    let by_bytes = channel(Limits { bytes_max: 3 * cost, ..limits() });
    (0..5).for_each(|_| drop(put(&by_bytes, &["a"])));
    assert_eq!(by_bytes.kept(), (3, 3 * cost));
    append(&by_bytes, draft(&by_bytes, &["a"]), 1, 10 * cost).unwrap();
    assert_eq!((by_bytes.kept(), by_bytes.head()), ((0, 0), 7), "it alone is over the limit");

    let by_age = channel(Limits { age_max_millis: 100, ..limits() });
    for millis in [10, 50, 110, 90, 111] {
        append(&by_age, draft(&by_age, &["a"]), millis, 10).unwrap();
    }
    assert_eq!(by_age.head(), 2, "at the limit it is kept");
    by_age.expire(5);
    assert_eq!(by_age.head(), 2, "a clock that went back expires nothing");
    by_age.expire(191);
    assert_eq!(by_age.head(), 3);
    by_age.expire(1000);
    assert_eq!((by_age.kept(), by_age.head()), ((0, 0), 6));
    assert_eq!(by_age.resolve(&by_age.id(5)), Resumption::After(5));
}

#[test]
fn the_cost_counts_what_is_kept() {
    let channel = channel(limits());
    let (small, large) = (put(&channel, &["a"]), put(&channel, &["a", "long-name"]));
    assert!(small.cost() > small.wire.len() && large.cost() > small.cost() + "long-name".len());
    let given = with_id(&channel, &"i".repeat(500)).unwrap();
    assert!(given.cost() > given.wire.len() + 500);
    let sum = small.cost() + large.cost() + given.cost();
    assert_eq!(channel.kept(), (3, sum));
}

#[test]
fn equal_wishes_are_equal_and_foreign_grants_do_not_count() {
    let channel = channel(limits());
    let hash = |wish: &Subscription| channel.hasher().hash(wish);
    let one = wish(&channel, &["b", "a", "b"], &["a", "x"]);
    let two = wish(&channel, &["a", "b"], &["y", "a", "a"]);
    assert_eq!((&one, hash(&one)), (&two, hash(&two)));
    assert_eq!(one.selectors().len(), 2);
    assert_eq!(one.foreign()[0].name(), "x");
    assert!(one.shared().foreign().is_empty() && one.shared() == one);
    assert_ne!(one, wish(&channel, &["a", "b"], &["b"]));
    assert_ne!(one, wish(&channel, &["a", "b"], &["*"]));
    assert_ne!(one, wish(&channel, &["a"], &["a"]));
    let any = wish(&channel, &["a", "*", "b"], &["x"]);
    assert_eq!((any.selectors(), any.foreign()), (&[Selector::Any][..], &[][..]));
    assert_eq!(any, wish(&channel, &["*"], &["x"]));
}

/// Everything that a random log answers, against a `Vec` of all events ever.
#[test]
fn pages_agree_with_a_naive_model() {
    for seed in 0..60 {
        Model::new(seed).run();
    }
}

struct Model {
    seed: u64,
    chance: Chance,
    limits: Limits,
    channel: Channel,
    kept: VecDeque<Arc<Event>>,
    millis: u64,
}

const TOPICS: [&str; 5] = ["a", "b", "c", "d", "e"];

impl Model {
    fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let mut up_to = |n: u64| usize::try_from(chance.below(n)).unwrap();
        let limits = Limits {
            events_max: [0, 1, 20, 1000][up_to(4)],
            bytes_max: [2000, 20_000, usize::MAX][up_to(3)],
            age_max_millis: [0, 50, 400][up_to(3)],
            backlog_bytes_max: u64::MAX,
            per_topic: None,
        };
        let channel = channel(limits.clone());
        Self { seed, chance, limits, channel, kept: VecDeque::new(), millis: 1000 }
    }

    fn run(&mut self) {
        for _ in 0..150 {
            self.millis += self.chance.below(10);
            if self.chance.one_in(9) {
                self.channel.expire(self.millis);
            } else {
                let topics = self.names(3);
                let private = self.chance.one_in(3);
                let draft = Draft { private, ..draft(&self.channel, &topics) };
                let size = usize::try_from(self.chance.below(300)).unwrap();
                self.kept.push_back(append(&self.channel, draft, self.millis, size).unwrap());
            }
            self.trim();
            for _ in 0..5 {
                self.ask();
            }
        }
    }

    fn names(&mut self, count: u64) -> Vec<&'static str> {
        let count = 1 + self.chance.below(count);
        (0..count).map(|_| TOPICS[usize::try_from(self.chance.below(5)).unwrap()]).collect()
    }

    fn trim(&mut self) {
        loop {
            let bytes: usize = self.kept.iter().map(|event| event.cost()).sum();
            let kept = (self.kept.len(), bytes);
            let Some(oldest) = self.kept.front() else { break };
            let age = self.limits.age_max_millis;
            let aged = age != 0 && self.millis - oldest.unix_millis > age;
            if !aged && kept.0 <= self.limits.events_max && kept.1 <= self.limits.bytes_max {
                break;
            }
            self.kept.pop_front();
        }
        let bytes = self.kept.iter().map(|event| event.cost()).sum();
        assert_eq!(self.channel.kept(), (self.kept.len(), bytes), "seed {}", self.seed);
    }

    fn ask(&mut self) {
        let any = |chance: &mut Chance, names: Vec<&'static str>| {
            if chance.one_in(4) { vec!["*"] } else { names }
        };
        let (topics, grants) = (self.names(4), self.names(3));
        let topics = any(&mut self.chance, topics);
        let mut grants = any(&mut self.chance, grants);
        if self.chance.one_in(3) {
            grants.clear();
        }
        let tail = self.channel.tail();
        let (after, upto) = (self.chance.below(tail + 3), self.chance.below(tail + 3));
        let bytes_max = usize::try_from(1 + self.chance.below(2000)).unwrap();
        let wish = wish(&self.channel, &topics, &grants);
        let page = self.channel.page(&wish, after, upto, bytes_max);

        let among = |event: &Event, names: &[&str]| {
            names.contains(&"*") || event.topics.iter().any(|t| names.contains(&t.name()))
        };
        let head = tail + 1 - self.kept.len() as u64;
        let from = after.max(head - 1);
        let mut want = Page {
            events: Vec::new(),
            after: from,
            upto: upto.min(tail).max(from),
            missed: after != 0 && after + 1 < head,
            lost: head - 1,
        };
        let mut bytes = 0;
        for event in self.kept.iter().filter(|e| from < e.seq && e.seq <= upto) {
            let readable = !event.private || among(event, &grants);
            assert_eq!(wish.selects(event), among(event, &topics));
            assert_eq!(wish.permits(event), readable);
            if among(event, &topics) && readable {
                want.events.push(Arc::clone(event));
                bytes += event.wire.len();
                if bytes >= bytes_max {
                    want.upto = event.seq;
                    break;
                }
            }
        }
        let seqs = |page: &Page| page.events.iter().map(|event| event.seq).collect::<Vec<_>>();
        assert_eq!(
            (seqs(&page), page.after, page.upto, page.missed, page.lost),
            (seqs(&want), want.after, want.upto, want.missed, want.lost),
            "seed {}: {topics:?} {grants:?} after {after} upto {upto} in {bytes_max}",
            self.seed
        );
        assert_eq!(self.channel.head(), head);
    }
}

#[test]
fn a_page_looks_at_a_bounded_number_of_events() {
    let channel = channel(limits());
    for _ in 0..5000 {
        let draft = Draft { private: true, ..draft(&channel, &["a"]) };
        append(&channel, draft, 1, 0).unwrap();
    }
    put(&channel, &["b"]);
    for topics in [&["a"][..], &["*"]] {
        let page = channel.page(&wish(&channel, topics, &[]), 0, u64::MAX, usize::MAX);
        assert_eq!((page.events.len(), page.upto), (0, 4096), "{topics:?}");
    }
    // What others publish costs nothing.
    let page = channel.page(&wish(&channel, &["b"], &[]), 0, u64::MAX, usize::MAX);
    assert_eq!((page.events.len(), page.upto), (1, 5001));
}
