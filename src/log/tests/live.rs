//! The live chain, its bells, and the promises between threads.

use super::{append, bell, channel, draft, limits, put};
use crate::base::sync::Arc;
use crate::base::sync::atomic::{AtomicU64, Ordering};
use crate::log::segment::Writer;
use crate::log::{AppendError, Bell, Limits};
use std::sync::mpsc;
use std::time::Duration;

#[test]
fn a_reader_sees_everything_in_order_across_segments() {
    let channel = channel(Limits { events_max: 1, ..limits() });
    put(&channel, &["a"]);
    let (mut first, at) = channel.reader(&bell());
    assert_eq!(at, 1);
    let mut readers = vec![(channel.reader(&bell()).0, 2)];
    for n in 2..1200_u64 {
        // Some segments are closed early by their bytes.
        let size = if n % 97 == 0 { 300_000 } else { 1 };
        assert_eq!(append(&channel, draft(&channel, &["a"]), 1, size).unwrap().seq, n);
        assert_eq!(first.peek().map(|event| event.seq), Some(n));
        assert_eq!(first.take().map(|event| event.seq), Some(n));
        assert!(first.peek().is_none() && first.take().is_none());
        if n % 64 == 63 {
            readers.push((channel.reader(&bell()).0, n + 1));
        }
    }
    for (mut reader, from) in readers {
        let seen: Vec<u64> = std::iter::from_fn(|| reader.take()).map(|e| e.seq).collect();
        assert_eq!(seen, (from..1200).collect::<Vec<_>>());
    }
}

#[test]
fn dropping_a_long_chain_does_not_recurse() {
    let event = append(&channel(limits()), draft(&channel(limits()), &["a"]), 1, 300_000).unwrap();
    let mut writer = Writer::new();
    let reader = writer.reader(bell(), 0);
    for _ in 0..20_000 {
        writer.put(Arc::clone(&event));
    }
    drop(reader);
    assert_eq!(Arc::strong_count(&event), 2, "one here, one in the writer's segment");
}

#[test]
fn a_bell_rings_once_for_each_time_it_is_parked() {
    let rung = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&rung);
    let wake = move || {
        count.fetch_add(1, Ordering::Relaxed);
    };
    let bell = Arc::new(Bell::new(Box::new(wake)));
    let channel = channel(limits());
    let (reader, _) = channel.reader(&bell);
    put(&channel, &["a"]);
    assert_eq!(rung.load(Ordering::Relaxed), 0, "nobody sleeps");
    bell.park();
    put(&channel, &["a"]);
    put(&channel, &["a"]);
    assert_eq!(rung.load(Ordering::Relaxed), 1);
    bell.park();
    bell.unpark();
    put(&channel, &["a"]);
    assert_eq!(rung.load(Ordering::Relaxed), 1);
    bell.park();
    drop(reader);
    put(&channel, &["a"]);
    assert_eq!(rung.load(Ordering::Relaxed), 1, "who does not read is not woken");
}

#[test]
fn one_bell_serves_several_channels_and_each_has_its_own_backlog() {
    let rung = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&rung);
    let wake = move || {
        count.fetch_add(1, Ordering::Relaxed);
    };
    let bell = Arc::new(Bell::new(Box::new(wake)));
    let channels = [0, 1].map(|_| channel(Limits { backlog_bytes_max: 150, ..limits() }));
    let mut readers = channels.each_ref().map(|channel| channel.reader(&bell).0);
    for channel in &channels {
        bell.park();
        put(channel, &["a"]);
    }
    assert_eq!(rung.load(Ordering::Relaxed), 2);
    while append(&channels[0], draft(&channels[0], &["a"]), 1, 10).is_ok() {}
    // What is read elsewhere is no excuse here, and what is unread here is no burden there.
    put(&channels[1], &["a"]);
    while readers[1].take().is_some() {}
    assert!(append(&channels[0], draft(&channels[0], &["a"]), 1, 10).is_err());
    while readers[0].take().is_some() {}
    put(&channels[0], &["a"]);
}

#[test]
fn a_worker_too_far_behind_refuses_appends_until_it_has_read() {
    let channel = channel(Limits { backlog_bytes_max: 150, ..limits() });
    let bell = bell();
    (0..50).for_each(|_| drop(put(&channel, &["a"])));
    let (mut reader, at) = channel.reader(&bell);
    assert_eq!(at, 50);
    let mut taken = 0;
    while append(&channel, draft(&channel, &["a"]), 1, 10).is_ok() {
        taken += 1;
    }
    let state = (channel.tail(), channel.kept());
    assert_eq!((taken, state.0), (4, 54), "the one that passes the limit is still taken");
    let refused = channel.append(draft(&channel, &["a"]), 1, |_, _| panic!("not encoded"));
    assert_eq!(refused.unwrap_err(), AppendError::Backlog);
    assert_eq!((channel.tail(), channel.kept()), state, "nothing was taken");
    assert_eq!(reader.take().unwrap().seq, 51);
    put(&channel, &["a"]);
    assert_eq!(append(&channel, draft(&channel, &["a"]), 1, 1).unwrap_err(), AppendError::Backlog);
    drop(reader);
    put(&channel, &["a"]);
}

/// Real threads: the promises of the live chain and of the bells are about them.
#[test]
fn threads_append_and_read_and_no_wake_is_lost() {
    const EACH: u64 = 4000;
    let channel = channel(Limits { events_max: 10, ..limits() });
    std::thread::scope(|scope| {
        for _ in 0..3 {
            let (sender, wakes) = mpsc::channel();
            let wake = move || {
                let _ = sender.send(());
            };
            let bell = Arc::new(Bell::new(Box::new(wake)));
            let (mut reader, at) = channel.reader(&bell);
            assert_eq!(at, 0);
            scope.spawn(move || {
                let mut seen = 0;
                loop {
                    while let Some(event) = reader.take() {
                        seen += 1;
                        assert_eq!(event.seq, seen);
                    }
                    if seen == 2 * EACH {
                        return;
                    }
                    bell.park();
                    if reader.peek().is_none() {
                        let woken = wakes.recv_timeout(Duration::from_secs(20));
                        woken.expect("an append wakes a parked worker");
                    }
                    bell.unpark();
                }
            });
        }
        for topic in ["a", "b"] {
            let channel = &channel;
            scope.spawn(move || {
                for n in 0..EACH {
                    put(channel, &[topic]);
                    if n % 7 == 0 {
                        std::thread::yield_now();
                    }
                }
            });
        }
    });
    assert_eq!((channel.tail(), channel.kept().0), (2 * EACH, 10));
}
