//! The report as a table for people.

use super::Report;
use super::Times;
use super::float;
use std::fmt::Write;

/// The table.
pub(super) fn render(report: &Report) -> String {
    let mut table = Table(String::new());
    connects(report, &mut table);
    publishes(report, &mut table);
    deliveries(report, &mut table);
    server(report, &mut table);
    let verdict = if report.sound() { "sound" } else { "NOT SOUND" };
    table.row("verdict", verdict);
    table.0
}

struct Table(String);

impl Table {
    fn row(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.0, "{name:<28} {value}");
    }

    fn times(&mut self, name: &str, times: Option<Times>) {
        if let Some(t) = times {
            let (p50, p99, p999, max) = (t.p50_ms, t.p99_ms, t.p999_ms, t.max_ms);
            self.row(
                name,
                format_args!("p50 {p50:.2}  p99 {p99:.2}  p99.9 {p999:.2}  max {max:.2} ms"),
            );
        }
    }
}

fn connects(report: &Report, table: &mut Table) {
    let connects = &report.connects;
    table.row("subscribers", connects.subscribers);
    if connects.refused + connects.ended > 0 {
        table.row("  refused, ended", format_args!("{}, {}", connects.refused, connects.ended));
    }
    if let Some(refusal) = &connects.refusal {
        table.row("  first cause", refusal);
    }
    if let Some(rate) = connects.per_second {
        table.row("  connected per second", format_args!("{rate:.0}"));
    }
    table.times("  connect to response", connects.times);
}

fn publishes(report: &Report, table: &mut Table) {
    let publishes = &report.publishes;
    let offered =
        format_args!("{} of {} offered", publishes.accepted, publishes.offered).to_string();
    table.row("publishes accepted", offered);
    if publishes.refused + publishes.unsent > 0 {
        table.row("  refused, unsent", format_args!("{}, {}", publishes.refused, publishes.unsent));
    }
    if let Some(refusal) = &publishes.refusal {
        table.row("  first cause", refusal);
    }
    table.times("  due to answered", publishes.answers);
    for slice in &report.slices {
        table.row(
            &format!("  from {}", slice.from),
            format_args!(
                "{} publishes, {:.3} µs server CPU each, {:.3} µs each",
                slice.publishes, slice.cpu_us_per_publish, slice.us_per_publish
            ),
        );
    }
    if let Some(probe) = &report.probe {
        table.times("  answered during sweeps", Some(probe.answers));
        let ratio = probe.p99_over_sweep * 100.0;
        table.row("  p99 over sweep", format_args!("{ratio:.1} % of {:.2} ms", probe.sweep_ms));
    }
}

fn deliveries(report: &Report, table: &mut Table) {
    let (deliveries, faults) = (&report.deliveries, &report.faults);
    let all = format_args!("{} of {}", deliveries.delivered, deliveries.expected).to_string();
    table.row("delivered", all);
    table.row(
        "  per second",
        format_args!(
            "{:.0} events, {:.1} MB, over {:.2} s",
            deliveries.per_second,
            deliveries.bytes_per_second / 1e6,
            deliveries.seconds
        ),
    );
    table.times("  due to received", deliveries.latency);
    table.times("  to the last subscriber", deliveries.last_subscriber);
    table.row(
        "missing, doubled, disordered",
        format_args!("{}, {}, {}", faults.missing, faults.doubled, faults.out_of_order),
    );
    if faults.foreign > 0 {
        table.row("not asked for", faults.foreign);
    }
}

fn server(report: &Report, table: &mut Table) {
    let Some(cost) = &report.cost else { return };
    table.row("server CPU", format_args!("{:.2} s", cost.cpu_seconds));
    if let Some(each) = cost.cpu_us_per_delivery {
        table.row("  per delivery", format_args!("{each:.3} µs"));
    }
    if let Some(each) = cost.cpu_us_per_publish {
        table.row("  per publish, all included", format_args!("{each:.3} µs"));
    }
    let megabytes = |bytes| float(bytes) / 1e6;
    table.row(
        "server memory",
        format_args!(
            "{:.1} MB empty, {:.1} MB with all, {:.1} MB at most",
            megabytes(cost.resident_empty),
            megabytes(cost.resident_full),
            megabytes(cost.resident_peak)
        ),
    );
    if let Some(each) = cost.bytes_per_subscriber {
        table.row("  per subscriber", format_args!("{each:.0} B"));
    }
}
