//! Names of backends to addresses, again and again: one task for each name.
//!
//! Invariants:
//! 1. All first lookups start at once, and nothing waits for them but requests to their backends.
//! 2. A name is looked up again when its TTL or its interval ends, the earlier one, a little before
//!    at random; never within a second. After failures the pause doubles up to the interval.
//! 3. A failure takes no address away.

mod resolver;
#[cfg(test)]
mod tests;

pub(super) use resolver::Resolver;

use super::desk::Desk;
use crate::backend::Wanted;
use crate::base::chance::Chance;
use crate::metrics::Counter;
use crate::metrics::Outcome;
use crate::metrics::log::Throttle;
use std::fmt::Display;
use std::rc::Rc;
use std::time::Duration;

/// The least pause between two lookups of a name, whatever its TTL.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause after a failure.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// For one lookup, all name servers, search domains and attempts included.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two warnings about one name.
const WARN_INTERVAL: Duration = Duration::from_secs(300);

/// Starts a task for each name that is wanted.
pub(super) fn start(desk: &Rc<Desk>, resolver: &Rc<Resolver>, chance: &mut Chance) {
    for wanted in desk.backends.wanted() {
        let (desk, resolver) = (Rc::clone(desk), Rc::clone(resolver));
        tokio::task::spawn_local(follow(wanted, desk, resolver, Chance::new(chance.next())));
    }
}

/// Looks one name up for ever.
async fn follow(wanted: Wanted, desk: Rc<Desk>, resolver: Rc<Resolver>, mut chance: Chance) {
    let Wanted { host, interval } = wanted;
    let mut throttle = Throttle::new(WARN_INTERVAL);
    let mut failures = 0;
    loop {
        let found = match tokio::time::timeout(LOOKUP_TIMEOUT, resolver.find(&host)).await {
            Ok(found) => found,
            Err(_) => Err(format!("no answer within {} s", LOOKUP_TIMEOUT.as_secs())),
        };
        let pause = match found {
            Ok(answer) => {
                desk.recorder.add(Counter::BackendLookups(Outcome::Success), 1);
                desk.looked_up(&host, Ok(&answer.addresses));
                if failures > 0 {
                    let fields: [(&str, &dyn Display); 2] =
                        [("name", &host), ("failures", &failures)];
                    desk.log.info("lookup_recovered", &fields);
                }
                failures = 0;
                answer.ttl.min(interval)
            }
            Err(cause) => {
                desk.recorder.add(Counter::BackendLookups(Outcome::Failure), 1);
                desk.looked_up(&host, Err(&cause));
                failures += 1;
                let remedy = "check the name and the name server; known addresses stay in use";
                let fields: [(&str, &dyn Display); 3] =
                    [("name", &host), ("cause", &cause), ("remedy", &remedy)];
                let now = desk.clock.now();
                desk.log.warn_rarely(&mut throttle, now, "lookup_failed", &fields);
                backoff(failures, interval)
            }
        };
        tokio::time::sleep(early(pause, &mut chance)).await;
    }
}

/// The pause after so many failures in a row.
fn backoff(failures: u32, interval: Duration) -> Duration {
    let doubled = PAUSE_MIN.saturating_mul(1 << failures.saturating_sub(1).min(10));
    doubled.min(BACKOFF_MAX).min(interval)
}

/// A pause within its bounds, up to a tenth shorter, so that names are not asked for in step.
fn early(pause: Duration, chance: &mut Chance) -> Duration {
    let tenth = u64::try_from((pause / 10).as_millis()).unwrap_or(u64::MAX);
    let earlier = Duration::from_millis(chance.below(tenth.saturating_add(1)));
    pause.saturating_sub(earlier).max(PAUSE_MIN)
}
