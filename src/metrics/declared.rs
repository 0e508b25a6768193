//! The declared metrics: one line of a table each, with name, help and labels.
//!
//! Invariants: a name is `tidegate_<noun>_<unit>`, with `_total` for counters. Time is counted in
//! nanoseconds and told in seconds. A variant's labels are exactly those of its table line.

#![allow(clippy::indexing_slicing, reason = "the tables' offsets are computed at compile time")]

use super::labels::AcceptFailure;
use super::labels::CloseReason;
use super::labels::ConnectResult;
use super::labels::Direction;
use super::labels::GapReason;
use super::labels::LagAction;
use super::labels::Outcome;
use super::labels::RefuseReason;
use super::labels::RelayEnd;
use super::labels::RequestKind;
use super::labels::Stage;
use super::labels::StatusClass;
use super::labels::UpstreamFailure;

/// In which unit a value is recorded, and so how it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Told as recorded.
    Plain,
    /// Recorded in nanoseconds, told in seconds.
    Nanos,
}

/// A label of a family: its name and all values.
pub type Label = (&'static str, &'static [&'static str]);

/// One declared metric.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name in the exposition.
    pub name: &'static str,
    /// What it says, in one sentence.
    pub help: &'static str,
    /// How values are told.
    pub unit: Unit,
    /// Its labels; the series are their product.
    pub labels: &'static [Label],
}

impl Family {
    /// How many series it has.
    #[must_use]
    pub const fn series(&self) -> usize {
        match self.labels {
            [] => 1,
            [(_, values)] => values.len(),
            [(_, first), (_, second), ..] => first.len() * second.len(),
        }
    }
}

/// Declares the counters: variant with its label sets, name, help, unit.
macro_rules! counters {
    ($(
        $variant:ident $(($($set:ident $field:ident),+))? $name:literal $help:literal $unit:ident;
    )*) => {
        /// What only ever grows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Counter {
            $(#[doc = $help] $variant $(($($set),+))?,)*
        }

        /// The counters' table.
        pub const COUNTERS: &[Family] = &[$(Family {
            name: $name,
            help: $help,
            unit: Unit::$unit,
            labels: &[$($(($set::NAME, $set::TEXTS)),+)?],
        },)*];

        #[derive(Clone, Copy)]
        #[allow(clippy::enum_variant_names, reason = "the names of the counters")]
        enum Place { $($variant,)* }

        impl Counter {
            /// The family's place in the table, and the series' place in the family.
            #[inline]
            const fn place(self) -> (usize, usize) {
                match self {
                    $(Self::$variant $(($($field),+))? => {
                        let series = 0;
                        $($(let series = series * $set::ALL.len() + $field.index();)+)?
                        (Place::$variant as usize, series)
                    })*
                }
            }
        }
    };
}

counters! {
    Accepted "tidegate_connections_accepted_total"
        "Connections accepted, those refused afterwards included." Plain;
    Refused(RefuseReason reason) "tidegate_connections_refused_total"
        "Connections closed right after accept, by the limit that was reached." Plain;
    AcceptFailed(AcceptFailure cause) "tidegate_accept_failures_total"
        "Accepts that the kernel failed, by cause." Plain;
    Closed(CloseReason reason) "tidegate_connections_closed_total"
        "Connections ended after they were let in, by reason." Plain;
    Requests(RequestKind kind, StatusClass status) "tidegate_requests_total"
        "Requests answered, by kind and class of status." Plain;
    Published "tidegate_events_published_total"
        "Events appended to a hub." Plain;
    PublishedBytes "tidegate_published_bytes_total"
        "Bytes of published events in wire form." Plain;
    Routed "tidegate_feed_appends_total"
        "Appends of an event to a feed." Plain;
    Sends "tidegate_sends_total"
        "Sends to subscribers; one send may carry many events." Plain;
    SentBytes "tidegate_sent_bytes_total"
        "Bytes of event streams that the kernel took." Plain;
    Shorts "tidegate_sends_short_total"
        "Sends that the kernel did not take whole." Plain;
    Starved "tidegate_sends_starved_total"
        "Sends of which a socket with room took nothing: the kernel is short of memory." Plain;
    CatchUpPages "tidegate_catch_up_pages_total"
        "Pages of history made for clients that resume; shared by those from the same place." Plain;
    CatchUpBytes "tidegate_catch_up_bytes_total"
        "Bytes of those pages." Plain;
    Resumes "tidegate_resumes_total"
        "Subscribers that asked for history." Plain;
    Gaps(GapReason reason) "tidegate_gaps_total"
        "Gaps announced to clients, by reason." Plain;
    Lagged(LagAction policy) "tidegate_lag_actions_total"
        "Clients past their lag limit, by what was done." Plain;
    Heartbeats "tidegate_heartbeats_total"
        "Comments sent to silent clients." Plain;
    SoftRefusals "tidegate_soft_refusals_total"
        "Event streams refused softly: 200, a reconnection time, and the end." Plain;
    UpstreamEvents "tidegate_upstream_events_total"
        "Events taken in from upstream streams." Plain;
    UpstreamBytes "tidegate_upstream_bytes_total"
        "Bytes of upstream streams, heads and framing of bodies included." Plain;
    UpstreamConnects(ConnectResult result) "tidegate_upstream_connects_total"
        "Connections tried for upstream streams, by result." Plain;
    UpstreamReconnects "tidegate_upstream_reconnects_total"
        "Upstream streams asked for again after they had ended or failed." Plain;
    UpstreamFailures(UpstreamFailure cause) "tidegate_upstream_failures_total"
        "Upstream streams that failed or ended, by cause." Plain;
    RelayEnds(RelayEnd reason) "tidegate_relay_ends_total"
        "Exchanges with a backend that ended, by reason." Plain;
    RelayBytes(Direction direction) "tidegate_relay_bytes_total"
        "Bytes passed on between clients and backends, heads and framing included." Plain;
    BackendConnects(ConnectResult result) "tidegate_backend_connects_total"
        "Connections tried for exchanges with a backend, by result." Plain;
    BackendReused "tidegate_backend_reused_total"
        "Exchanges that began on a kept connection to a backend." Plain;
    BackendRetries "tidegate_backend_retries_total"
        "Further attempts of an exchange, after one that gave no answer." Plain;
    BackendProbes(Outcome result) "tidegate_backend_probes_total"
        "Health probes of backends' endpoints, by result." Plain;
    BackendLookups(Outcome result) "tidegate_backend_lookups_total"
        "Lookups of backends' names, by result." Plain;
    Turns "tidegate_turns_total"
        "Turns of the workers." Plain;
    TurnNanos(Stage stage) "tidegate_turn_seconds_total"
        "Time of the workers, by stage of the turn." Nanos;
}

/// Declares the gauges: variant, name, help.
macro_rules! gauges {
    ($($variant:ident $name:literal $help:literal;)*) => {
        /// What goes up and down; the sum over all recorders is told.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Gauge { $(#[doc = $help] $variant,)* }

        /// The gauges' table.
        pub const GAUGES: &[Family] =
            &[$(Family { name: $name, help: $help, unit: Unit::Plain, labels: &[] },)*];
    };
}

gauges! {
    Connections "tidegate_connections_open" "Connections open.";
    Clients "tidegate_clients_connected" "Subscribers connected.";
    Feeds "tidegate_feeds_open" "Feeds, summed over the workers.";
    Topics "tidegate_topics_subscribed"
        "Exact topics that some feed follows, summed over the workers.";
    UnsentBytes "tidegate_unsent_bytes" "Bytes held because some client has not taken them yet.";
    HistoryEvents "tidegate_history_events" "Events in the history.";
    HistoryBytes "tidegate_history_bytes"
        "Bytes of the history: events in wire form, about 300 for each.";
    LogLag "tidegate_log_lag_bytes"
        "Bytes that the slowest worker is behind, in the log where that is most.";
    DrainLeft "tidegate_drain_clients" "Subscribers still to be closed by the drain; else 0.";
    Upstreams "tidegate_upstreams_open" "Upstream streams that are wanted, connected or not.";
    Relays "tidegate_relays_open" "Exchanges with a backend under way.";
    BackendIdle "tidegate_backend_idle_connections" "Connections to backends kept for reuse.";
    BackendEndpoints "tidegate_backend_endpoints"
        "Endpoints of backends: addresses that are known.";
    BackendEndpointsOut "tidegate_backend_endpoints_out"
        "Endpoints that get no requests: found unhealthy by probes, or left alone after failures.";
}

/// Declares the histograms: variant, name, help, unit, and log2 of the first bound.
macro_rules! histograms {
    ($($variant:ident $name:literal $help:literal $unit:ident $first:literal;)*) => {
        /// How values are spread.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Histogram { $(#[doc = $help] $variant,)* }

        /// The histograms' table.
        pub const HISTOGRAMS: &[Family] =
            &[$(Family { name: $name, help: $help, unit: Unit::$unit, labels: &[] },)*];

        const FIRST: &[u32] = &[$($first,)*];
    };
}

histograms! {
    DeliveryNanos "tidegate_delivery_seconds"
        "From the append of an event to the flush that handed it to the kernel, one per flush."
        Nanos 14;
    SweepBatch "tidegate_sweep_sends" "Sends of one flush." Plain 0;
}

/// Buckets of a histogram, the unbounded one not counted.
pub(super) const BUCKETS: usize = 22;

impl Histogram {
    /// The bucket of a value: the first whose bound is not below it, [`BUCKETS`] if none.
    #[inline]
    #[must_use]
    pub(super) fn bucket(self, value: u64) -> usize {
        let bits = u64::BITS - value.saturating_sub(1).leading_zeros();
        (bits.saturating_sub(self.first()) as usize).min(BUCKETS)
    }

    /// The bound of a bucket.
    #[must_use]
    pub(super) fn bound(self, bucket: usize) -> u64 {
        let shift = self.first() + u32::try_from(bucket).unwrap_or(u32::MAX / 2);
        1_u64.checked_shl(shift).unwrap_or(u64::MAX)
    }

    fn first(self) -> u32 {
        FIRST[self as usize]
    }
}

/// Where each counter's series begin, and their sum at the end.
const OFFSETS: [usize; COUNTERS.len() + 1] = offsets();

/// Series of all counters.
pub(super) const COUNTER_SERIES: usize = OFFSETS[COUNTERS.len()];

const fn offsets() -> [usize; COUNTERS.len() + 1] {
    let mut all = [0; COUNTERS.len() + 1];
    let mut n = 0;
    while n < COUNTERS.len() {
        all[n + 1] = all[n] + COUNTERS[n].series();
        n += 1;
    }
    all
}

impl Counter {
    /// The counter's place among all series.
    #[inline]
    #[must_use]
    pub(super) fn slot(self) -> usize {
        let (family, series) = self.place();
        OFFSETS[family] + series
    }
}

/// The first series of the counter in line `family` of the table.
pub(super) fn first_slot(family: usize) -> usize {
    OFFSETS[family]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_do_not_overlap() {
        let mut slots = Vec::new();
        slots.push(Counter::Accepted.slot());
        slots.extend(RefuseReason::ALL.iter().map(|r| Counter::Refused(*r).slot()));
        slots.extend(AcceptFailure::ALL.iter().map(|r| Counter::AcceptFailed(*r).slot()));
        slots.extend(CloseReason::ALL.iter().map(|r| Counter::Closed(*r).slot()));
        for kind in RequestKind::ALL {
            slots.extend(StatusClass::ALL.iter().map(|s| Counter::Requests(*kind, *s).slot()));
        }
        slots.push(Counter::Published.slot());
        assert_eq!(slots, (0..slots.len()).collect::<Vec<_>>());
        assert_eq!(Counter::TurnNanos(Stage::Sleep).slot(), COUNTER_SERIES - 1);
    }

    #[test]
    fn names_keep_the_rule() {
        for (n, family) in COUNTERS.iter().chain(GAUGES).chain(HISTOGRAMS).enumerate() {
            assert!(family.name.starts_with("tidegate_"), "{}", family.name);
            assert_eq!(n < COUNTERS.len(), family.name.ends_with("_total"), "{}", family.name);
            assert!(family.help.ends_with('.'), "{}", family.name);
        }
    }

    #[test]
    fn a_value_falls_into_the_bucket_whose_bound_holds_it() {
        for histogram in [Histogram::DeliveryNanos, Histogram::SweepBatch] {
            for bucket in 0..BUCKETS {
                let bound = histogram.bound(bucket);
                assert_eq!(histogram.bucket(bound), bucket);
                assert_eq!(histogram.bucket(bound + 1), bucket + 1);
            }
            assert_eq!(histogram.bucket(0), 0);
            assert_eq!(histogram.bucket(u64::MAX), BUCKETS);
        }
    }
}
