//! The alarm: one timeout in the ring instead of one for each sleep.
//!
//! A timed enter sets a timer and cancels it, each time. A busy worker sleeps thousands of times a
//! second, hardly ever to the end: for it a timeout is left in the ring, which ends whatever sleep
//! it falls into.
//!
//! Invariants: a sleep ends no later than it was asked to: it goes without a timer of its own only
//! while the alarm is set, and if it may last as long as the whole alarm. It may end earlier, once
//! in [`SLEEPS`] sleeps at most, so that a worker with little to do is not woken in vain.

use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::types::Timespec;
use std::time::Duration;

use crate::io::sys;
use crate::io::uring::Kind;

/// From setting to ringing.
const SPAN: Duration = Duration::from_millis(50);
/// The same for the kernel, which reads it when the entry is submitted.
static SPEC: Timespec = Timespec::new().nsec(SPAN.subsec_nanos());
/// Long sleeps, timed by themselves, before the alarm is set.
pub(super) const SLEEPS: u32 = 32;

/// See above.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    is_set: bool,
    is_off: bool,
    sleeps: u32,
}

impl Alarm {
    /// What a sleep of this length needs: whether a timer of its own; and the entry that sets the
    /// alarm, for the next one.
    pub(super) fn sleep(&mut self, wait: Option<Duration>) -> (bool, Option<Entry>) {
        if wait.is_some_and(|wait| wait < SPAN) {
            return (true, None);
        }
        if self.is_set || self.is_off {
            return (!self.is_set, None);
        }
        self.sleeps += 1;
        if self.sleeps < SLEEPS {
            return (true, None);
        }
        (self.sleeps, self.is_set) = (0, true);
        let entry = opcode::Timeout::new(&raw const SPEC).build();
        (false, Some(entry.user_data(Kind::Alarm.data(0, 0))))
    }

    /// It rang. A kernel that will not have it is not asked again.
    pub(super) fn rang(&mut self, result: i32) {
        self.is_set = false;
        self.is_off |= result != -sys::ETIME;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Option<Duration> = Some(SPAN);

    #[test]
    fn long_sleeps_of_a_busy_worker_go_without_a_timer() {
        let mut alarm = Alarm::default();
        for _ in 1..SLEEPS {
            assert!(matches!(alarm.sleep(LONG), (true, None)));
            let short = alarm.sleep(Some(SPAN - Duration::from_nanos(1)));
            assert!(matches!(short, (true, None)), "and count not");
        }
        assert!(matches!(alarm.sleep(None), (false, Some(_))));
        for _ in 0..1000 {
            assert!(matches!(alarm.sleep(LONG), (false, None)));
            assert!(matches!(alarm.sleep(Some(Duration::ZERO)), (true, None)));
        }
        alarm.rang(-sys::ETIME);
        assert!(matches!(alarm.sleep(LONG), (true, None)));
    }

    #[test]
    fn a_kernel_without_it_is_asked_once() {
        let mut alarm = Alarm::default();
        let entries =
            |alarm: &mut Alarm| (0..1000).filter(|_| alarm.sleep(LONG).1.is_some()).count();
        assert_eq!(entries(&mut alarm), 1);
        alarm.rang(-22);
        assert_eq!(entries(&mut alarm), 0);
        assert!(alarm.sleep(LONG).0);
    }
}
