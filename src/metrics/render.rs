//! The exposition: Prometheus text format 0.0.4 from all recorders together.
//!
//! Invariants: every declared family appears, with help and type, whatever its value, so that a
//! dashboard can tell 0 from missing. A sum that is below 0 for an instant is told as 0.

use super::declared::BUCKETS;
use super::declared::COUNTERS;
use super::declared::Family;
use super::declared::GAUGES;
use super::declared::HISTOGRAMS;
use super::declared::Histogram;
use super::declared::Unit;
use super::declared::first_slot;
use super::process;
use super::process::PROCESS;
use super::process::Process;
use super::recorder::Counters;
use crate::base::phase::Phase;
use crate::base::sync::Arc;
use std::fmt::Write as _;

/// The media type of [`render`]'s text.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics as text.
#[must_use]
pub fn render(all: &[Arc<Counters>], process: &Process, phase: Phase) -> String {
    let mut out = String::with_capacity(16 * 1024);
    for (family, samples) in PROCESS.iter().zip(process::samples(process, phase)) {
        head(&mut out, family, "gauge");
        for (labels, value) in samples {
            line(&mut out, family.name, &labels, &value);
        }
    }
    for (n, family) in COUNTERS.iter().enumerate() {
        head(&mut out, family, "counter");
        for series in 0..family.series() {
            let slot = first_slot(n) + series;
            let sum = all.iter().map(|c| c.counter_at(slot)).fold(0, u64::wrapping_add);
            line(&mut out, family.name, &labels(family, series), &told(family.unit, sum));
        }
    }
    for (n, family) in GAUGES.iter().enumerate() {
        head(&mut out, family, "gauge");
        let sum: i64 = all.iter().map(|c| c.gauge_at(n)).sum();
        line(&mut out, family.name, "", &sum.max(0).to_string());
    }
    for (n, family) in HISTOGRAMS.iter().enumerate() {
        histogram(&mut out, all, n, family);
    }
    out
}

/// Every declared metric: name, type, help.
#[must_use]
pub fn declared() -> Vec<(&'static str, &'static str, &'static str)> {
    let kinds = [(PROCESS, "gauge"), (COUNTERS, "counter"), (GAUGES, "gauge")];
    kinds
        .into_iter()
        .chain([(HISTOGRAMS, "histogram")])
        .flat_map(|(table, kind)| table.iter().map(move |f| (f.name, kind, f.help)))
        .collect()
}

fn histogram(out: &mut String, all: &[Arc<Counters>], n: usize, family: &Family) {
    let Some(which) = [Histogram::DeliveryNanos, Histogram::SweepBatch].get(n).copied() else {
        return;
    };
    head(out, family, "histogram");
    let name = format!("{}_bucket", family.name);
    let mut total = 0_u64;
    for bucket in 0..=BUCKETS {
        let counts = all.iter().map(|c| c.bucket(n, bucket));
        total = counts.fold(total, u64::wrapping_add);
        let bound = match bucket {
            BUCKETS => "+Inf".to_owned(),
            _ => told(family.unit, which.bound(bucket)),
        };
        line(out, &name, &format!("{{le=\"{bound}\"}}"), &total.to_string());
    }
    let sum = all.iter().map(|c| c.sum(n)).fold(0, u64::wrapping_add);
    line(out, &format!("{}_sum", family.name), "", &told(family.unit, sum));
    line(out, &format!("{}_count", family.name), "", &total.to_string());
}

fn head(out: &mut String, family: &Family, kind: &str) {
    let Family { name, help, .. } = family;
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(out: &mut String, name: &str, labels: &str, value: &str) {
    let _ = writeln!(out, "{name}{labels} {value}");
}

fn labels(family: &Family, series: usize) -> String {
    match family.labels {
        [] => String::new(),
        [(name, values)] => {
            format!("{{{name}=\"{}\"}}", values.get(series).copied().unwrap_or(""))
        }
        [(first, ones), (second, twos), ..] => {
            let one = ones.get(series / twos.len()).copied().unwrap_or("");
            let two = twos.get(series % twos.len()).copied().unwrap_or("");
            format!("{{{first}=\"{one}\",{second}=\"{two}\"}}")
        }
    }
}

fn told(unit: Unit, value: u64) -> String {
    match unit {
        Unit::Plain => value.to_string(),
        Unit::Nanos => format!("{}.{:09}", value / 1_000_000_000, value % 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Counter;
    use crate::metrics::Gauge;
    use crate::metrics::Recorder;
    use crate::metrics::RequestKind;
    use crate::metrics::Stage;
    use crate::metrics::StatusClass;

    fn text(recorders: &[Recorder]) -> String {
        let all: Vec<_> = recorders.iter().map(Recorder::counters).collect();
        let process = Process { driver: "epoll".into(), ..Process::default() };
        render(&all, &process, Phase::Serving)
    }

    #[test]
    fn recorders_are_added_up() {
        let (a, b) = (Recorder::new(), Recorder::new());
        a.add(Counter::Requests(RequestKind::Publish, StatusClass::Success), 2);
        b.add(Counter::Requests(RequestKind::Publish, StatusClass::Success), 3);
        a.raise(Gauge::Clients, 1);
        b.lower(Gauge::Clients, 2);
        a.add(Counter::TurnNanos(Stage::Sweep), 1_500_000_000);
        a.observe(Histogram::SweepBatch, 3);
        b.observe(Histogram::SweepBatch, 1 << 40);
        let text = text(&[a, b]);
        for want in [
            "tidegate_requests_total{kind=\"publish\",status=\"2xx\"} 5\n",
            "tidegate_requests_total{kind=\"publish\",status=\"5xx\"} 0\n",
            "tidegate_clients_connected 0\n",
            "tidegate_turn_seconds_total{stage=\"sweep\"} 1.500000000\n",
            "tidegate_sweep_sends_bucket{le=\"2\"} 0\n",
            "tidegate_sweep_sends_bucket{le=\"4\"} 1\n",
            "tidegate_sweep_sends_bucket{le=\"+Inf\"} 2\n",
            "tidegate_sweep_sends_count 2\n",
            "tidegate_phase_info{phase=\"serving\"} 1\n",
            "tidegate_phase_info{phase=\"draining\"} 0\n",
            "tidegate_io_driver_info{driver=\"epoll\",reason=\"\"} 1\n",
        ] {
            assert!(text.contains(want), "missing {want}in\n{text}");
        }
    }

    /// Every line is a comment or `name{labels} number`, and every family is declared once.
    #[test]
    fn the_text_is_well_formed() {
        let text = text(&[Recorder::new()]);
        assert!(text.ends_with('\n'));
        for (name, kind, help) in declared() {
            let head = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name}");
            assert_eq!(text.matches(&head).count(), 1, "{name}");
        }
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let (series, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert_eq!(series.contains('{'), series.ends_with('}'), "{line}");
        }
    }
}
