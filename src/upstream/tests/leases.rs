//! The registry: who shares, who waits, who is refused; alone and between threads.

use super::*;
use crate::base::sync::atomic::AtomicUsize;
use crate::base::sync::atomic::Ordering;
use crate::log::Draft;
use crate::log::Loss;
use crate::log::Resumption;
use crate::log::Topic;

fn wanted(target: &str) -> Wanted {
    Wanted::new(&definition(), target, "", None).unwrap()
}

fn lease(registry: &Registry, target: &str, millis: u64) -> Result<Leased, LeaseError> {
    registry.lease(0, wanted(target), opening(millis, &log()))
}

fn at(millis: u64) -> Moment {
    Moment::from_millis(millis)
}

#[test]
fn the_same_is_shared_and_the_first_one_opens_it() {
    let registry = registry(&definition());
    let first = lease(&registry, "/a", 1).unwrap();
    let second = lease(&registry, "/a", 2).unwrap();
    let other = lease(&registry, "/b", 3).unwrap();
    assert_eq!((first.opened, second.opened, other.opened), (true, false, true));
    let (tap, same, another) = (first.lease.tap(), second.lease.tap(), other.lease.tap());
    assert!(Arc::ptr_eq(tap, same) && !Arc::ptr_eq(tap, another));
    assert_eq!((tap.owner(), tap.group(), tap.leases()), (2, 0, 2));
    assert_eq!((tap.topic().name(), another.topic().name()), ("#1", "#2"));
    drop(second);
    assert_eq!(tap.leases(), 1);
}

#[test]
fn who_finds_a_tap_finds_its_topic_open() {
    let (registry, log) = (registry(&definition()), log());
    let append = |topic: Topic| {
        let draft = Draft { topics: [topic].into(), private: false, id: None };
        log.append(draft, 0, |_, out| out.extend(b"data: x\n\n")).unwrap();
    };
    append(Topic::new("#0", log.hasher()));
    let first = registry.lease(0, wanted("/a"), opening(0, &log)).unwrap();
    let topics = [first.lease.tap().topic().clone()];
    let resumed = |seq| log.resolve_in(&topics, &log.id(seq)).0;
    assert_eq!(resumed(0), Resumption::Lost(Loss::Expired), "nobody listened before");
    assert_eq!(resumed(1), Resumption::Lost(Loss::Expired), "nor up to just now");
    append(topics[0].clone());
    assert_eq!(resumed(2), Resumption::After(2));
}

#[test]
fn credentials_tell_taps_apart_and_no_state_shows_them() {
    let registry = registry(&definition());
    let with = |fields: &str| {
        let wanted = Wanted::new(&definition(), "/a", "", Some(&head(fields))).unwrap();
        registry.lease(0, wanted, opening(0, &log())).unwrap()
    };
    let taps = [with(""), with("Cookie: s3cret\r\n"), with("Authorization: hunter2\r\n")];
    [Lease::join, Lease::join, Lease::leave].iter().for_each(|call| call(&taps[0].lease));
    assert!(taps.iter().all(|leased| leased.opened));
    let shown = format!("{registry:?} {taps:?} {:?}", registry.snapshot(at(0)));
    let lines: String = registry.snapshot(at(0)).iter().map(|state| format!("{state}\n")).collect();
    assert!(!shown.contains("s3cret") && !shown.contains("hunter2"), "{shown}");
    assert!(!lines.contains("s3cret") && !lines.contains("hunter2"), "{lines}");
    let want = "channel=#1 upstream=feed host=feed.test:8080 target=/a credentials=no worker=2 \
                state=waiting state_seconds=0 subscribers=1 events=0 bytes=0 \
                events_per_second=0.0 bytes_per_second=0 silent_seconds=0 reconnects=0 failures=0";
    assert_eq!(lines.lines().next(), Some(want));
    assert_eq!(lines.matches("credentials=yes").count(), 2);
    // What a client chose is one value, whatever is in it.
    let wanted = Wanted::new(&definition(), "/a\"x=y", "", None).unwrap();
    let _lease = registry.lease(0, wanted, opening(0, &log())).unwrap();
    let lines: String = registry.snapshot(at(0)).iter().map(|state| format!("{state}\n")).collect();
    assert!(lines.contains(r#" target="/a\"x=y" credentials"#), "{lines}");
}

#[test]
fn a_tap_lingers_after_its_last_lease_and_any_lease_keeps_it() {
    let registry = registry(&definition());
    let Leased { lease: first, .. } = lease(&registry, "/a", 0).unwrap();
    let tap = Arc::clone(first.tap());
    assert!(!registry.close_if_idle(&tap, at(1_000_000)), "it is read");
    drop(first);
    assert!(!registry.close_if_idle(&tap, at(1_001_000)), "it begins to linger");
    assert!(!registry.close_if_idle(&tap, at(1_010_999)));
    let again = lease(&registry, "/a", 1_010_999).unwrap();
    assert!(!again.opened);
    drop(again);
    assert!(!registry.close_if_idle(&tap, at(1_012_000)), "the linger begins anew");
    assert!(!registry.close_if_idle(&tap, at(1_021_999)));
    assert!(registry.close_if_idle(&tap, at(1_022_000)));
    assert_eq!((registry.live(0), tap.board.phase()), (0, Phase::Closed));
    let fresh = lease(&registry, "/a", 1_022_000).unwrap();
    assert!(fresh.opened && fresh.lease.tap().number() == 2);
    assert!(registry.close_if_idle(&tap, at(1_022_000)), "the old one stays closed");
    assert_eq!(registry.live(0), 1, "and takes nothing with it");
}

#[test]
fn without_linger_a_tap_goes_with_its_last_lease() {
    let registry = registry(&Upstream { linger: Duration::ZERO, ..definition() });
    let Leased { lease, .. } = lease(&registry, "/a", 0).unwrap();
    let tap = Arc::clone(lease.tap());
    assert!(!registry.close_if_idle(&tap, at(0)));
    drop(lease);
    assert!(registry.close_if_idle(&tap, at(0)));
}

#[test]
fn there_are_so_many_taps_and_no_more() {
    let registry = registry(&definition());
    let held: Vec<_> = (0..4).map(|n| lease(&registry, &format!("/{n}"), 0).unwrap()).collect();
    assert_eq!(lease(&registry, "/5", 0).unwrap_err(), LeaseError::TooMany);
    assert!(lease(&registry, "/3", 0).is_ok(), "what is open has room");
    registry.refuse(held[0].lease.tap(), 404, at(0));
    assert!(lease(&registry, "/5", 0).is_ok(), "what is refused takes no place");
}

#[test]
fn a_refusal_is_remembered_for_a_while_and_told_to_all_workers() {
    let registry = registry(&definition());
    let Leased { lease: held, .. } = lease(&registry, "/a", 0).unwrap();
    let tap = Arc::clone(held.tap());
    assert_eq!((registry.refusal_count(0), tap.refusal()), (0, None));
    registry.refuse(&tap, 403, at(1000));
    registry.refuse(&tap, 404, at(1000));
    assert_eq!((registry.refusal_count(0), tap.refusal()), (1, Some(403)), "once");
    let (count, taps) = registry.refusals(0, 0);
    assert!(count == 1 && Arc::ptr_eq(&taps[0], &tap) && taps.len() == 1);
    assert!(registry.refusals(0, 1).1.is_empty());
    let refused = |millis| match lease(&registry, "/a", millis) {
        Err(LeaseError::Refused { status: 403, retry_in }) => Some(retry_in.as_millis()),
        Ok(leased) => (!leased.opened).then_some(0),
        other => panic!("{other:?}"),
    };
    assert_eq!((refused(1000), refused(30_999)), (Some(30_000), Some(1)));
    assert!(lease(&registry, "/b", 30_999).is_ok(), "others are not refused");
    assert!(registry.close_if_idle(&tap, at(30_999)), "its owner may forget it");
    assert_eq!(refused(31_000), None, "tried again");
    assert_eq!(registry.snapshot(at(31_000)).len(), 2);
    assert_eq!(held.tap().leases(), 1, "a lease of old keeps nothing but itself");
}

#[test]
fn remembered_refusals_are_bounded_and_forgotten_in_their_order() {
    let registry = registry(&definition());
    for n in 0..10 {
        let Leased { lease, .. } = lease(&registry, &format!("/{n}"), n).unwrap();
        registry.refuse(lease.tap(), 404, at(n));
    }
    let refused = |n: u64| {
        let error = lease(&registry, &format!("/{n}"), 20).err();
        matches!(error, Some(LeaseError::Refused { .. }))
    };
    assert_eq!((0..10).filter(|n| refused(*n)).collect::<Vec<_>>(), [6, 7, 8, 9]);
    assert_eq!(registry.refusals(0, 2).1.len(), 4);
    assert_eq!(registry.snapshot(at(30_008)).iter().filter(|s| s.refusal.is_some()).count(), 1);
}

#[test]
fn a_seed_counts_for_the_one_that_opens() {
    let registry = registry(&definition());
    let with = |id: &str| {
        let wanted = wanted("/a").resuming(&definition(), &log(), id);
        registry.lease(0, wanted, opening(0, &log())).unwrap()
    };
    let first = with("41");
    assert!(first.opened && first.seeded);
    let second = with("42");
    assert!(!second.opened && !second.seeded);
    assert_eq!(first.lease.tap().seed.as_deref(), Some("41"));
}

/// Threads lease and give back while the owners close: nobody ever holds a tap that is closed.
#[test]
fn leases_and_closes_exclude_each_other() {
    let registry = registry(&Upstream { linger: Duration::ZERO, ..definition() });
    let (opened, closed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut owned: Vec<Arc<Tap>> = Vec::new();
                for turn in 0..3000 {
                    let leased = lease(&registry, "/a", turn).unwrap();
                    if leased.opened {
                        opened.fetch_add(1, Ordering::Relaxed);
                        owned.push(Arc::clone(leased.lease.tap()));
                    }
                    assert_ne!(leased.lease.tap().board.phase(), Phase::Closed);
                    drop(leased);
                    owned.retain(|tap| {
                        let over = registry.close_if_idle(tap, at(turn));
                        closed.fetch_add(usize::from(over), Ordering::Relaxed);
                        !over
                    });
                }
                for tap in owned {
                    while !registry.close_if_idle(&tap, at(3000)) {
                        std::thread::yield_now();
                    }
                    closed.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(opened.load(Ordering::Relaxed), closed.load(Ordering::Relaxed));
    assert_eq!(registry.live(0), 0);
}
