//! What a source tells who reads it: its events, and that some may be missing, where an id that a
//! client claimed to have from the upstream led nowhere.
//!
//! Invariants: a gap is told at the place in the channel where the stream without that id begins.
//! Nobody is told what another client claimed.

use super::Worker;
use crate::base::sync::Arc;
use crate::base::time::Clock;
use crate::hub::gap::{Gap, Reason};
use crate::io::Driver;
use crate::log::Draft;
use crate::metrics::Counter;
use crate::session::Group;
use crate::upstream::{Arrival, Full, Inlet, Sink, Tap, Vain};
use std::fmt::Display;

/// Takes what a source brings into the log of its family.
pub(super) struct Mouth<'a> {
    inlet: Inlet<'a>,
    group: &'a Group,
    tap: &'a Tap,
    unix_millis: u64,
    gaps: u64,
}

impl<'a> Mouth<'a> {
    pub(super) fn new(group: &'a Group, tap: &'a Tap, unix_millis: u64) -> Self {
        let inlet = Inlet::new(&group.channel, tap, unix_millis);
        Self { inlet, group, tap, unix_millis, gaps: 0 }
    }

    /// Gaps that were told.
    pub(super) fn gaps(&self) -> u64 {
        self.gaps
    }
}

impl Sink for Mouth<'_> {
    fn event(&mut self, arrival: &Arrival<'_>) -> Result<(), Full> {
        self.inlet.event(arrival)
    }

    fn gap(&mut self) -> Result<(), Full> {
        let kind = self.group.terms.gap_kind.as_deref();
        let topics = [self.tap.topic().clone()].into();
        let draft = Draft { topics, private: false, id: None };
        let told = self.group.channel.append(draft, self.unix_millis, |id, out| {
            Gap { reason: Reason::Unknown, from: None, to: id }.encode(kind, out);
            if kind.is_none() {
                out.push(b'\n');
            }
        });
        self.gaps += u64::from(told.is_ok());
        told.map(|_| ()).map_err(|_| Full)
    }
}

impl<D: Driver, C: Clock> Worker<D, C> {
    /// The upstream is asked without the id that a client brought.
    pub(super) fn tell_unseeded(&mut self, tap: &Arc<Tap>, vain: Vain) {
        let cause: &dyn Display = match &vain {
            Vain::Answer(cause) => {
                self.recorder.add(Counter::UpstreamFailures(cause.label()), 1);
                cause
            }
            Vain::Silence => {
                self.recorder.add(Counter::UpstreamReconnects, 1);
                &"it brought nothing to others"
            }
            // Each was told.
            Vain::Tries => &"no stream came of it",
        };
        let (name, number) = (&tap.family().definition.name, tap.number());
        let fields: [(&str, &dyn Display); 3] =
            [("name", name), ("tap", &number), ("cause", cause)];
        self.log.debug("upstream_unseeded", &fields);
    }
}
