//! Contract 4: `turn` sleeps only if nothing is ready and no wake is pending.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use tidegate::io::Ready;

use crate::stage::DEADLINE;
use crate::stage::Stage;

/// A turn that would sleep for ever is ended from another thread, again and again.
pub(crate) fn a_wake_ends_a_sleep(mut stage: Stage) {
    for _ in 0..50 {
        let waker = stage.waker.clone();
        let thread = std::thread::spawn(move || waker.wake());
        while stage.ready.is_empty() {
            stage.driver.turn(None, &mut stage.ready).unwrap();
        }
        assert_eq!(stage.ready, [Ready::Woken]);
        stage.ready.clear();
        thread.join().unwrap();
    }
    stage.nothing();
}

/// Many wakes between two turns are one report.
pub(crate) fn wakes_coalesce(mut stage: Stage) {
    for _ in 0..1000 {
        stage.waker.wake();
    }
    stage.until("wake", |ready| (*ready == Ready::Woken).then_some(()));
    stage.nothing();
    stage.waker.wake();
    stage.until("wake", |ready| (*ready == Ready::Woken).then_some(()));
    stage.nothing();
}

/// A wait ends when it is over, neither before nor much later.
pub(crate) fn a_wait_ends(mut stage: Stage) {
    // The first turn may have to set things up.
    stage.driver.turn(Some(Duration::ZERO), &mut stage.ready).unwrap();
    let start = Instant::now();
    stage.driver.turn(Some(Duration::from_millis(40)), &mut stage.ready).unwrap();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(40), "{took:?}");
    assert!(took < DEADLINE, "{took:?}");
    let start = Instant::now();
    for _ in 0..1000 {
        stage.driver.turn(Some(Duration::ZERO), &mut stage.ready).unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(5), "no wait is no wait");
    assert_eq!(stage.ready, []);
}

/// Whatever is stored before a wake is seen by a turn that sleeps without limit.
pub(crate) fn no_wake_is_lost(mut stage: Stage) {
    static STORED: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
    let stored = &STORED[usize::from(stage.name == "epoll")];
    const LAST: u64 = 20_000;
    let waker = stage.waker.clone();
    let thread = std::thread::spawn(move || {
        for n in 1..=LAST {
            stored.store(n, Ordering::Relaxed);
            waker.wake();
        }
    });
    let start = Instant::now();
    while stored.load(Ordering::Relaxed) < LAST {
        assert!(start.elapsed() < DEADLINE);
        stage.driver.turn(Some(DEADLINE), &mut stage.ready).unwrap();
        stage.ready.clear();
    }
    thread.join().unwrap();
    assert!(start.elapsed() < DEADLINE, "a lost wake would have slept for the whole limit");
}
