//! What a run found, as numbers with units in their names: for people, for JSON, for a plot.
//!
//! Invariants: a figure that was not measured is absent, never zero. All three forms show the same
//! numbers.

mod plot;
mod table;

use super::args::BenchArgs;
use super::load::outcome::BIN;
use super::load::outcome::Outcome;
use super::load::outcome::histogram;
use super::load::outcome::record;
use super::load::publisher::Published;
use super::load::verdict::Faults;
use super::plan::Plan;
use super::run::Seen;
use anyhow::Context;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::io;
use std::io::Write;

/// A distribution of times, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Times {
    /// How many were measured.
    pub count: u64,
    /// Median.
    pub p50_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// 99.9th percentile.
    pub p999_ms: f64,
    /// Longest.
    pub max_ms: f64,
}

/// Connecting.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Connects {
    /// Subscribers that got a stream.
    pub subscribers: u64,
    /// Those that did not.
    pub refused: u64,
    /// Streams that the server ended.
    pub ended: u64,
    /// Connections per second, between baseline and all.
    pub per_second: Option<f64>,
    /// From connect to the response's head.
    pub times: Option<Times>,
    /// Why the first one was refused or ended.
    pub refusal: Option<String>,
}

/// Publishing.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Publishes {
    /// Events that the plan offered.
    pub offered: u64,
    /// Events that were sent.
    pub sent: u64,
    /// Events that the server accepted.
    pub accepted: u64,
    /// Events sent and not accepted.
    pub refused: u64,
    /// Events due that could not be sent, because the server did not keep up.
    pub unsent: u64,
    /// From due to answered.
    pub answers: Option<Times>,
    /// Why the first one was refused.
    pub refusal: Option<String>,
}

/// Delivering.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Deliveries {
    /// Events received by all subscribers.
    pub delivered: u64,
    /// What they should have received.
    pub expected: u64,
    /// Bytes received.
    pub bytes: u64,
    /// From the first due time (with `--resume`: from the requests) to the last byte.
    pub seconds: f64,
    /// Events per second over that time.
    pub per_second: f64,
    /// Bytes per second over that time.
    pub bytes_per_second: f64,
    /// From due to received.
    pub latency: Option<Times>,
    /// For each event, from due to received by its last subscriber.
    pub last_subscriber: Option<Times>,
}

/// What it cost the server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// CPU time in the measured window.
    pub cpu_seconds: f64,
    /// The same for each delivered event.
    pub cpu_us_per_delivery: Option<f64>,
    /// The same for each accepted publish.
    pub cpu_us_per_publish: Option<f64>,
    /// Memory before anybody connected.
    pub resident_empty: u64,
    /// Memory with `--baseline` subscribers.
    pub resident_baseline: Option<u64>,
    /// Memory with all subscribers connected.
    pub resident_full: u64,
    /// Highest memory from then on.
    pub resident_peak: u64,
    /// Growth from baseline to all, for each subscriber.
    pub bytes_per_subscriber: Option<f64>,
}

/// One slice of the publishes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Slice {
    /// Publishes answered before it.
    pub from: u64,
    /// Publishes in it.
    pub publishes: u64,
    /// Server CPU for each.
    pub cpu_us_per_publish: f64,
    /// Time for each.
    pub us_per_publish: f64,
}

/// Publishes answered while an event was on its way to all subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Probe {
    /// Answers of such publishes.
    pub answers: Times,
    /// Median time of a sweep: from an event's due time to its last subscriber.
    pub sweep_ms: f64,
    /// 99th percentile of the answers over the sweep.
    pub p99_over_sweep: f64,
}

/// Events received in a tenth of a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Moment {
    /// Seconds from the start.
    pub second: f64,
    /// Events per second.
    pub events_per_second: f64,
    /// Bytes per second.
    pub bytes_per_second: f64,
}

/// The report of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Connecting.
    pub connects: Connects,
    /// Publishing.
    pub publishes: Publishes,
    /// Delivering.
    pub deliveries: Deliveries,
    /// What was wrong.
    pub faults: Faults,
    /// What it cost the server; with `--pid`.
    pub cost: Option<Cost>,
    /// The cost over the run; with `--slices`.
    pub slices: Vec<Slice>,
    /// Answers during sweeps; with `--probe-rate`.
    pub probe: Option<Probe>,
    /// Throughput over time.
    pub series: Vec<Moment>,
    /// Latency in milliseconds at each percentile, for the plot.
    pub distribution: Vec<(f64, f64)>,
}

#[allow(clippy::cast_precision_loss, reason = "figures for people stay far below 2⁵³")]
fn float(count: u64) -> f64 {
    count as f64
}

fn per(amount: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| amount / float(count))
}

fn times(histogram: &Histogram<u64>) -> Option<Times> {
    let at = |quantile| float(histogram.value_at_quantile(quantile)) / 1e3;
    (!histogram.is_empty()).then(|| Times {
        count: histogram.len(),
        p50_ms: at(0.5),
        p99_ms: at(0.99),
        p999_ms: at(0.999),
        max_ms: float(histogram.max()) / 1e3,
    })
}

fn times_of(nanos: impl Iterator<Item = u64>) -> Option<Times> {
    let mut all = histogram();
    nanos.for_each(|nanos| record(&mut all, nanos));
    times(&all)
}

impl Report {
    pub(super) fn new(args: &BenchArgs, plan: &Plan, seen: &Seen, outcome: &Outcome) -> Self {
        let resume = args.resume.is_some();
        let last: Vec<_> = sweeps(plan, seen, outcome).collect();
        let deliveries = deliveries(args, plan, seen, outcome);
        Self {
            connects: connects(seen, outcome),
            publishes: publishes(plan, &seen.published),
            cost: args.pid.map(|_| cost(args, plan, seen)),
            slices: slices(seen),
            probe: probe(seen, &last),
            series: series(seen, outcome),
            distribution: if resume { Vec::new() } else { distribution(&outcome.latency) },
            deliveries,
            faults: outcome.faults,
        }
    }

    /// Whether all that was promised was kept: nobody refused, nothing missing, doubled, or out
    /// of order.
    #[must_use]
    pub fn sound(&self) -> bool {
        let connects = &self.connects;
        self.faults.none() && connects.refused + connects.ended == 0 && self.publishes.refused == 0
    }

    /// Prints the report, and writes the plot.
    ///
    /// # Errors
    /// Standard output is closed, or the plot cannot be written.
    pub fn show(&self, args: &BenchArgs) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        if args.json {
            serde_json::to_writer_pretty(&mut out, self)?;
            writeln!(out)?;
        } else {
            out.write_all(table::render(self).as_bytes())?;
        }
        if let Some(path) = &args.plot {
            std::fs::write(path, plot::render(self))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }
}

/// Due time and last arrival of each event that somebody got.
fn sweeps(plan: &Plan, seen: &Seen, outcome: &Outcome) -> impl Iterator<Item = (u64, u64)> {
    let dues = outcome.last.iter().enumerate().filter_map(|(number, last)| {
        let due = plan.due(seen.start, number as u64)?;
        (*last > 0).then_some((due, *last))
    });
    dues.collect::<Vec<_>>().into_iter()
}

fn connects(seen: &Seen, outcome: &Outcome) -> Connects {
    let seconds = float(seen.connect.1.saturating_sub(seen.connect.0)) / 1e9;
    Connects {
        subscribers: seen.counts.subscribed,
        refused: seen.counts.refused,
        ended: seen.counts.ended,
        per_second: (seconds > 0.0 && seen.connected > 0).then(|| float(seen.connected) / seconds),
        times: times(&outcome.connect),
        refusal: outcome.refusal.clone(),
    }
}

fn publishes(plan: &Plan, published: &[Published]) -> Publishes {
    let sum = |part: fn(&Published) -> u64| published.iter().map(part).sum();
    let answers = published.iter().flat_map(|p| &p.answers);
    Publishes {
        offered: plan.events,
        sent: sum(|p| p.sent),
        accepted: sum(|p| p.accepted),
        refused: sum(|p| p.refused),
        unsent: sum(|p| p.unsent),
        answers: times_of(answers.map(|(due, at)| at.saturating_sub(*due))),
        refusal: published.iter().find_map(|p| p.refusal.clone()),
    }
}

fn deliveries(args: &BenchArgs, plan: &Plan, seen: &Seen, outcome: &Outcome) -> Deliveries {
    let sent: Vec<_> = if args.server_publishes {
        vec![plan.events]
    } else {
        seen.published.iter().map(|p| p.answered).collect()
    };
    let resume = args.resume.is_some();
    let seconds = float(outcome.last_byte.saturating_sub(seen.start)) / 1e9;
    let rate = |amount| if seconds > 0.0 { float(amount) / seconds } else { 0.0 };
    let last = sweeps(plan, seen, outcome).map(|(due, last)| last.saturating_sub(due));
    Deliveries {
        delivered: seen.counts.delivered,
        expected: plan.deliveries(&sent, plan.subscribers),
        bytes: seen.counts.bytes,
        seconds,
        per_second: rate(seen.counts.delivered),
        bytes_per_second: rate(seen.counts.bytes),
        latency: if resume { None } else { times(&outcome.latency) },
        last_subscriber: if resume { None } else { times_of(last) },
    }
}

fn cost(args: &BenchArgs, plan: &Plan, seen: &Seen) -> Cost {
    let cpu = float(seen.after.cpu_nanos.saturating_sub(seen.before.cpu_nanos));
    let accepted = seen.published.iter().map(|p| p.accepted).sum();
    let (from, base) = if args.baseline > 0 {
        (u64::from(args.baseline), seen.baseline.resident)
    } else {
        (0, seen.empty.resident)
    };
    let growth = float(seen.full.resident) - float(base);
    Cost {
        cpu_seconds: cpu / 1e9,
        cpu_us_per_delivery: per(cpu / 1e3, seen.counts.delivered),
        cpu_us_per_publish: per(cpu / 1e3, accepted),
        resident_empty: seen.empty.resident,
        resident_baseline: (args.baseline > 0).then_some(base),
        resident_full: seen.full.resident,
        resident_peak: seen.resident_peak.max(seen.full.resident),
        bytes_per_subscriber: per(growth, u64::from(plan.subscribers).saturating_sub(from)),
    }
}

fn slices(seen: &Seen) -> Vec<Slice> {
    let borders = seen.slices.iter().zip(seen.slices.iter().skip(1));
    borders
        .map(|((from, began, before), (to, ended, after))| {
            let publishes = to.saturating_sub(*from);
            let cpu = float(after.cpu_nanos.saturating_sub(before.cpu_nanos)) / 1e3;
            let time = float(ended.saturating_sub(*began)) / 1e3;
            Slice {
                from: *from,
                publishes,
                cpu_us_per_publish: per(cpu, publishes).unwrap_or(0.0),
                us_per_publish: per(time, publishes).unwrap_or(0.0),
            }
        })
        .collect()
}

fn probe(seen: &Seen, sweeps: &[(u64, u64)]) -> Option<Probe> {
    let probe = seen.probe.as_ref()?;
    let sweep = times_of(sweeps.iter().map(|(due, last)| last.saturating_sub(*due)))?;
    let during = probe.answers.iter().filter(|(due, _)| {
        // Sweeps are in order of their due times, and the latest one begun is the one under way.
        let begun = sweeps.partition_point(|(from, _)| from <= due);
        begun.checked_sub(1).and_then(|at| sweeps.get(at)).is_some_and(|(_, last)| due < last)
    });
    let answers = times_of(during.map(|(due, at)| at.saturating_sub(*due)))?;
    let p99_over_sweep = answers.p99_ms / sweep.p50_ms;
    Some(Probe { answers, sweep_ms: sweep.p50_ms, p99_over_sweep })
}

fn series(seen: &Seen, outcome: &Outcome) -> Vec<Moment> {
    let scale = 1e9 / float(BIN);
    let bins = outcome.bins.iter().filter(|bin| (bin.at + 1) * BIN > seen.start);
    bins.map(|bin| Moment {
        second: (float(bin.at * BIN) - float(seen.start)) / 1e9,
        events_per_second: float(bin.events) * scale,
        bytes_per_second: float(bin.bytes) * scale,
    })
    .collect()
}

/// Latency at percentiles that come ever closer to 100.
fn distribution(latency: &Histogram<u64>) -> Vec<(f64, f64)> {
    let steps = latency
        .iter_quantiles(4)
        .map(|step| (step.quantile_iterated_to() * 100.0, float(step.value_iterated_to()) / 1e3));
    if latency.is_empty() { Vec::new() } else { steps.take(200).collect() }
}

#[cfg(test)]
mod tests;
