//! Ids that a client claimed to have from an upstream, and that led nowhere.
//!
//! Invariants: who reads the channel is told that events may be missing, at the place where the
//! stream without that id begins. Nobody is told what another client claimed.

use super::Worker;
use crate::base::sync::Arc;
use crate::base::time::{Clock, Moment};
use crate::hub::gap::{Gap, Reason};
use crate::io::Driver;
use crate::log::Draft;
use crate::metrics::{Counter, GapReason};
use crate::upstream::Tap;

impl<D: Driver, C: Clock> Worker<D, C> {
    /// The upstream is asked without the id that a client brought.
    pub(super) fn tell_unseeded(&mut self, tap: &Arc<Tap>, now: Moment) {
        let unix_millis = self.calendar.unix_millis(now, &self.clock);
        let Some(group) = self.site.groups().get(tap.group() + 1) else { return };
        let kind = group.terms.gap_kind.as_deref();
        let draft = Draft { topics: [tap.topic().clone()].into(), private: false, id: None };
        let told = group.channel.append(draft, unix_millis, |id, out| {
            Gap { reason: Reason::Unknown, from: None, to: id }.encode(kind, out);
            if kind.is_none() {
                out.push(b'\n');
            }
        });
        self.recorder.add(Counter::Gaps(GapReason::UnknownId), 1);
        let told = if told.is_ok() { "yes" } else { "no: the log is full" };
        let (name, number) = (&tap.family().definition.name, tap.number());
        let fields: [(&str, &dyn std::fmt::Display); 3] =
            [("name", name), ("tap", &number), ("told", &told)];
        self.log.debug("upstream_unseeded", &fields);
    }
}
