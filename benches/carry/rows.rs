//! What is compared: each row is one kind of work, its cases are who does it, its bars are what
//! Tidegate promises.

use crate::servers::Proxy;
use serde_json::Value;
use std::fmt::Write;

/// One kind of work.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) streams: usize,
    /// Events a second of each stream.
    pub(crate) rate: f64,
    /// Bytes of an event's data.
    pub(crate) size: usize,
    pub(crate) seconds: f64,
    pub(crate) post: bool,
    pub(crate) cases: Vec<(&'static str, Proxy)>,
    /// Figure of one case over that of another, at most.
    bars: Vec<(usize, &'static str, &'static str, f64)>,
}

/// Figures: name, and where the report has it.
const FIGURES: &[(&str, &str)] = &[
    ("CPU/event µs", "cpu_us_per_event"),
    ("RSS/stream B", "bytes_per_stream"),
    ("p50 µs", "p50_us"),
    ("p99 µs", "p99_us"),
    ("events/s", "per_second"),
    ("faults", "faults"),
];

/// Every row.
pub(crate) fn all() -> Vec<Row> {
    vec![
        Row {
            name: "many",
            what: "9,000 upstream streams, one client each, 1 event/s of 100 B",
            streams: 9000,
            rate: 1.0,
            size: 100,
            seconds: 8.0,
            post: false,
            cases: vec![
                ("bare", Proxy::Bare(false)),
                ("bare-poll", Proxy::Bare(true)),
                ("relay-uring", Proxy::Relay("uring")),
                ("fanout-uring", Proxy::Fanout("uring")),
                ("relay-epoll", Proxy::Relay("epoll")),
                ("nginx", Proxy::Nginx),
            ],
            bars: vec![
                (0, "relay-uring", "bare", 1.15),
                (0, "relay-uring", "nginx", 0.8),
                (1, "relay-uring", "nginx", 0.25),
                (0, "fanout-uring", "bare", 1.15),
                (0, "fanout-uring", "nginx", 0.8),
                (1, "fanout-uring", "nginx", 0.25),
            ],
        },
        Row {
            name: "llm",
            what: "2,000 POST streams × 50 chunks/s of 40 B",
            streams: 2000,
            rate: 50.0,
            size: 40,
            seconds: 5.0,
            post: true,
            cases: vec![
                ("bare", Proxy::Bare(false)),
                ("relay-uring", Proxy::Relay("uring")),
                ("relay-delayed", Proxy::RelayDelayed("uring")),
                ("relay-epoll", Proxy::Relay("epoll")),
                ("nginx", Proxy::Nginx),
                ("haproxy", Proxy::Haproxy),
            ],
            bars: vec![
                (0, "relay-uring", "nginx", 0.8),
                (0, "relay-uring", "haproxy", 0.7),
                (0, "relay-delayed", "nginx", 0.8),
                (0, "relay-delayed", "haproxy", 0.7),
                (2, "relay-uring", "nginx", 1.0),
                (2, "relay-uring", "haproxy", 1.0),
            ],
        },
    ]
}

/// One run, as a line.
pub(crate) fn line(report: &Value) -> String {
    let mut out = String::new();
    for (name, field) in FIGURES {
        let _ = write!(out, "  {name} {}", shown(report.get(field).and_then(Value::as_f64)));
    }
    if report.get("opened").and_then(Value::as_bool) == Some(false) {
        let _ = write!(out, "  NOT ALL STREAMS OPENED");
    }
    out
}

impl Row {
    fn median(&self, reports: &[Vec<Value>], label: &str, figure: usize) -> Option<f64> {
        let case = self.cases.iter().position(|(l, _)| *l == label)?;
        let field = FIGURES.get(figure)?.1;
        let values = reports.get(case)?.iter().filter_map(|report| report.get(field)?.as_f64());
        let mut values: Vec<f64> = values.collect();
        values.sort_by(f64::total_cmp);
        let low = values.get(values.len().checked_sub(1)? / 2)?;
        Some(f64::midpoint(*low, *values.get(values.len() / 2)?))
    }

    /// Medians of every case, then each bar with its verdict.
    pub(crate) fn render(&self, reports: &[Vec<Value>]) -> String {
        let mut out = format!("\n| {:<14} |", "median of");
        for (name, _) in FIGURES {
            let _ = write!(out, " {name} |");
        }
        let _ = write!(out, "\n|---|{}\n", "---|".repeat(FIGURES.len()));
        for (label, _) in &self.cases {
            let _ = write!(out, "| {label:<14} |");
            for figure in 0..FIGURES.len() {
                let _ = write!(out, " {} |", shown(self.median(reports, label, figure)));
            }
            out.push('\n');
        }
        for (figure, of, over, bound) in &self.bars {
            let left = self.median(reports, of, *figure);
            let ratio = self.median(reports, over, *figure).and_then(|r| Some(left? / r.max(1e-9)));
            let verdict = match ratio {
                None => "NOT MEASURED",
                Some(ratio) if ratio <= *bound => "reached",
                Some(_) => "NOT REACHED",
            };
            let name = FIGURES.get(*figure).map_or("", |figure| figure.0);
            let _ =
                writeln!(out, "{name}: {of} / {over} = {}, bar ≤ {bound}: {verdict}", shown(ratio));
        }
        out
    }
}

fn shown(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value.abs() >= 1000.0 || value == value.trunc() => format!("{value:.0}"),
        Some(value) => format!("{value:.2}"),
    }
}
