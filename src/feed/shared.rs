//! Large events: referenced and not copied, and counted once however many feeds and clients hold
//! the same one.
//!
//! Invariants: the meter is the sum of the wire bytes of all shared events that live.

use crate::base::sync::Arc;
use crate::log::Event;
use std::cell::Cell;
use std::rc::{Rc, Weak};

/// An event that somebody has not taken.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) event: Arc<Event>,
    meter: Rc<Cell<usize>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.meter.set(self.meter.get() - self.event.wire.len());
    }
}

/// Gives every holder of the event that is being routed the same reference.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    last: Weak<Shared>,
    meter: Rc<Cell<usize>>,
}

impl Sharing {
    /// A reference to the event: the one given before, if that was for this event and lives.
    pub(super) fn of(&mut self, event: &Arc<Event>) -> Rc<Shared> {
        if let Some(shared) = self.last.upgrade()
            && shared.event.seq == event.seq
        {
            return shared;
        }
        self.meter.set(self.meter.get() + event.wire.len());
        let shared = Shared { event: Arc::clone(event), meter: Rc::clone(&self.meter) };
        let shared = Rc::new(shared);
        self.last = Rc::downgrade(&shared);
        shared
    }

    /// Bytes of all that live.
    pub(super) fn held(&self) -> usize {
        self.meter.get()
    }
}

#[cfg(test)]
mod tests {
    use crate::base::map::Hasher;
    use crate::base::sync::Arc;
    use crate::config::LagPolicy;
    use crate::feed::{Announce, Batch, Fanout, FanoutLimits, Gap, NEVER, Newcomer, Until};
    use crate::log::{Bell, Channel, Draft, Grants, Limits, Reader, Selector, Subscription, Topic};

    const CLIENTS: i32 = 20;
    const LARGE: usize = 100_000;

    struct Quiet;

    impl Announce for Quiet {
        fn gap(&self, _: Gap, _: u64) -> Vec<u8> {
            b": gap\n".to_vec()
        }
    }

    struct Bench {
        channel: Channel,
        fanout: Fanout,
        reader: Reader,
    }

    /// Clients of different feeds that all follow one topic.
    fn bench(lag_policy: LagPolicy) -> Bench {
        let limits = Limits {
            events_max: 100,
            bytes_max: 1 << 24,
            age_max_millis: 0,
            backlog_bytes_max: 1 << 30,
            per_topic: None,
        };
        let channel = Channel::new(limits, 1, Hasher::new(7));
        let limits = FanoutLimits {
            lag_bytes_max: 2 * LARGE as u64,
            lag_policy,
            unsent_bytes_max: 4 * LARGE,
            page_bytes: LARGE,
            pages_bytes_max: LARGE,
        };
        let mut fanout = Fanout::new(limits, channel.hasher());
        let (reader, routed) = channel.reader(&Arc::new(Bell::new(Box::new(|| {}))));
        fanout.start(routed);
        for socket in 0..CLIENTS {
            let exact = |name: &str| Selector::Exact(Topic::new(name, channel.hasher()));
            let wish = vec![exact("all"), exact(&format!("own-{socket}"))];
            let subscription = Subscription::new(wish, Grants::default());
            let until = (NEVER, Until::Age);
            let (tag, head, after, told) = (0, Vec::new(), 0, 0);
            fanout.subscribe(Newcomer { socket, tag, subscription, after, told, head, until }, 0);
        }
        Bench { channel, fanout, reader }
    }

    impl Bench {
        fn publish(&mut self, len: usize) {
            let topics = [Topic::new("all", self.channel.hasher())].into();
            let draft = Draft { topics, private: false, id: None };
            let text = "x".repeat(len);
            let encode = |_: &str, wire: &mut Vec<u8>| {
                wire.extend_from_slice(format!("data: {text}\n\n").as_bytes());
            };
            self.channel.append(draft, 0, encode).unwrap();
            while self.fanout.route(&mut self.reader, 1000, &Quiet).is_some() {}
        }

        /// Every socket takes half of the event and then nothing.
        fn stall(&mut self) {
            let mut batch = Batch::new();
            self.fanout.gather(usize::MAX, usize::MAX, &mut batch);
            let shorts: Vec<_> = (0..batch.len()).map(|place| (place, Ok(LARGE / 2))).collect();
            self.fanout.settle(&batch, &shorts, 0);
        }
    }

    #[test]
    fn a_large_event_counts_once_for_all_feeds() {
        let mut bench = bench(LagPolicy::Close);
        bench.publish(LARGE);
        assert_eq!(bench.fanout.ready(), CLIENTS as usize);
        assert!(bench.fanout.unsent_bytes() < LARGE + LARGE / 10, "one, not one for each feed");
        bench.stall();
        bench.publish(1);
        assert_eq!(bench.fanout.clients(), CLIENTS as usize, "nobody is closed for the budget");
    }

    #[test]
    fn clients_that_are_moved_on_within_a_large_event_share_its_rest() {
        for policy in [LagPolicy::Skip, LagPolicy::Latest] {
            let mut bench = bench(policy);
            bench.publish(LARGE);
            bench.stall();
            for _ in 0..4 {
                bench.publish(LARGE);
                assert!(bench.fanout.unsent_bytes() < 4 * LARGE, "{policy:?}");
            }
            assert_eq!(bench.fanout.clients(), CLIENTS as usize, "{policy:?}");
            let tally = bench.fanout.tally();
            assert!(tally.skipped + tally.conflated >= CLIENTS as u64, "{policy:?}");
        }
    }
}
