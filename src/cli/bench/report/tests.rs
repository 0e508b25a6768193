//! Tests of the report: figures from planted observations.

use super::*;
use crate::cli::bench::load::outcome::Bin;
use crate::cli::bench::observed::Usage;
use crate::cli::bench::plan::tests::plan;
use clap::Parser;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    bench: BenchArgs,
}

fn args(line: &str) -> BenchArgs {
    Line::try_parse_from(format!("bench {line}").split_ascii_whitespace()).unwrap().bench
}

const MS: u64 = 1_000_000;
const START: u64 = 1_000_000 * MS;

/// 10 subscribers, 10 events at 10 a second, each 2 ms late and 5 ms at the last subscriber.
fn observed() -> (Seen, Outcome) {
    let mut outcome = Outcome { last_byte: START + 1000 * MS, ..Outcome::default() };
    for number in 0..10 {
        outcome.last.push(START + number * 100 * MS + 5 * MS);
        (0..10).for_each(|_| record(&mut outcome.latency, 2 * MS));
        outcome.add_bin(Bin { at: START / BIN + number, events: 10, bytes: 1000 });
    }
    let published = Published { sent: 10, answered: 10, accepted: 10, ..Published::default() };
    let counts = crate::cli::bench::load::board::Counts {
        opened: 10,
        subscribed: 10,
        delivered: 100,
        bytes: 10_000,
        ..Default::default()
    };
    let usage = |cpu_nanos, resident| Usage { cpu_nanos, resident };
    let seen = Seen {
        empty: usage(0, 1000),
        baseline: usage(0, 2000),
        full: usage(0, 6000),
        before: usage(7_000_000, 0),
        after: usage(7_500_000, 0),
        start: START,
        published: vec![published],
        counts,
        connected: 8,
        connect: (0, 1_000_000_000),
        ..Seen::default()
    };
    (seen, outcome)
}

fn small_plan() -> Plan {
    Plan { events: 10, ..plan() }
}

#[test]
fn figures_follow_from_what_was_seen() {
    let (seen, outcome) = observed();
    let report = Report::new(&args("--pid 1 --baseline 2"), &small_plan(), &seen, &outcome);
    assert!(report.sound());
    let deliveries = &report.deliveries;
    assert_eq!((deliveries.delivered, deliveries.expected), (100, 100));
    assert!((deliveries.per_second - 100.0).abs() < 1e-9);
    assert!((deliveries.latency.unwrap().p50_ms - 2.0).abs() < 0.01);
    assert!((deliveries.last_subscriber.unwrap().max_ms - 5.0).abs() < 0.01);
    let cost = report.cost.as_ref().unwrap();
    assert_eq!(cost.cpu_us_per_delivery, Some(5.0));
    assert_eq!(cost.bytes_per_subscriber, Some(500.0));
    assert_eq!(report.connects.per_second, Some(8.0));
    assert_eq!(report.series.len(), 10);
    let table = table::render(&report);
    assert!(table.contains("5.000 µs") && table.contains("verdict"), "{table}");
}

#[test]
fn a_fault_is_not_sound() {
    let (seen, mut outcome) = observed();
    outcome.faults.missing = 1;
    let report = Report::new(&args(""), &small_plan(), &seen, &outcome);
    assert!(!report.sound() && report.cost.is_none());
    assert!(table::render(&report).contains("NOT SOUND"));
}

/// Of three probes only the one that was due during a sweep counts.
#[test]
fn probes_count_during_sweeps_only() {
    let (mut seen, outcome) = observed();
    let answers = [(START + 2 * MS, 1), (START + 50 * MS, 2), (START + 103 * MS, 3)];
    let answers = answers.map(|(due, after)| (due, due + after * MS)).to_vec();
    seen.probe = Some(Published { answers, ..Published::default() });
    let probe = Report::new(&args(""), &small_plan(), &seen, &outcome).probe.unwrap();
    assert_eq!(probe.answers.count, 2);
    assert!((probe.sweep_ms - 5.0).abs() < 0.01 && (probe.p99_over_sweep - 0.6).abs() < 0.01);
}

#[test]
fn slices_show_the_cost_of_each_part() {
    let (mut seen, outcome) = observed();
    let usage = |cpu_nanos| Usage { cpu_nanos, resident: 0 };
    seen.slices =
        vec![(0, 0, usage(0)), (100, 1_000_000, usage(500_000)), (300, 2_000_000, usage(700_000))];
    let slices = Report::new(&args(""), &small_plan(), &seen, &outcome).slices;
    let costs: Vec<_> = slices.iter().map(|s| (s.publishes, s.cpu_us_per_publish)).collect();
    assert_eq!(costs, [(100, 5.0), (200, 1.0)]);
}

#[test]
fn the_plot_is_a_picture_of_both() {
    let (seen, outcome) = observed();
    let picture = plot::render(&Report::new(&args(""), &small_plan(), &seen, &outcome));
    assert!(picture.starts_with("<svg") && picture.ends_with("</svg>\n"));
    assert!(picture.contains("99.9 %") && picture.matches("stroke-width").count() == 2);
    let nothing = Report::new(&args(""), &small_plan(), &Seen::default(), &Outcome::default());
    assert!(!plot::render(&nothing).contains("NaN"));
}
