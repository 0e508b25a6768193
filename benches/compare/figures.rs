//! Medians, ratios, verdicts.

use crate::rows::Bar;
use crate::rows::Row;
use serde_json::Value;
use std::fmt::Write;

/// The reports of a row, by case.
pub(crate) struct Table(Vec<Vec<Value>>);

impl Table {
    pub(crate) fn new(row: &Row) -> Self {
        Self(row.cases.iter().map(|_| Vec::new()).collect())
    }

    pub(crate) fn add(&mut self, case: usize, report: Value) {
        if let Some(reports) = self.0.get_mut(case) {
            reports.push(report);
        }
    }

    /// One run, as a line.
    pub(crate) fn line(&self, row: &Row, round: usize, case: usize, report: &Value) -> String {
        let label = row.cases.get(case).map_or("", |case| case.label);
        let mut out = format!("round {} {label:<16}", round + 1);
        for figure in &row.figures {
            let _ = write!(out, "  {} {}", figure.name, shown((figure.read)(report)));
        }
        if let Some(cause) = report.pointer("/connects/refusal").and_then(Value::as_str) {
            let _ = write!(out, "  first cause: {cause}");
        }
        if let Some(cause) = report.pointer("/publishes/refusal").and_then(Value::as_str) {
            let _ = write!(out, "  publish refused: {cause}");
        }
        out
    }

    fn median(&self, row: &Row, label: &str, figure: usize) -> Option<f64> {
        let case = row.cases.iter().position(|case| case.label == label)?;
        let read = row.figures.get(figure)?.read;
        let mut values: Vec<f64> = self.0.get(case)?.iter().filter_map(read).collect();
        values.sort_by(f64::total_cmp);
        let (low, high) =
            (values.get(values.len().checked_sub(1)? / 2)?, values.get(values.len() / 2)?);
        Some(f64::midpoint(*low, *high))
    }

    /// Medians of every case, then each bar with its verdict.
    pub(crate) fn render(&self, row: &Row) -> String {
        let mut out = format!("\n| {:<16} |", "median of");
        for figure in &row.figures {
            let _ = write!(out, " {} |", figure.name);
        }
        let _ = write!(out, "\n|---|{}\n", "---|".repeat(row.figures.len()));
        for case in &row.cases {
            let _ = write!(out, "| {:<16} |", case.label);
            for figure in 0..row.figures.len() {
                let _ = write!(out, " {} |", shown(self.median(row, case.label, figure)));
            }
            out.push('\n');
        }
        for bar in &row.bars {
            let _ = writeln!(out, "{}", self.judge(row, bar));
        }
        out
    }

    fn judge(&self, row: &Row, bar: &Bar) -> String {
        let name = row.figures.get(bar.figure).map_or("", |figure| figure.name);
        let left = self.median(row, bar.of, bar.figure);
        let value = match bar.over {
            None => left,
            Some(over) => self.median(row, over, bar.figure).and_then(|r| Some(left? / r)),
        };
        let over = bar.over.map_or(String::new(), |over| format!(" / {over}"));
        let sign = if bar.at_most { "≤" } else { "≥" };
        let verdict = match value {
            None => "NOT MEASURED",
            Some(value) if (value <= bar.bound) == bar.at_most || value == bar.bound => "reached",
            Some(_) => "NOT REACHED",
        };
        format!("{name}: {}{over} = {}, bar {sign} {}: {verdict}", bar.of, shown(value), bar.bound)
    }
}

fn shown(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value.abs() >= 1e6 => format!("{:.2} M", value / 1e6),
        Some(value) if value.abs() >= 1000.0 => format!("{value:.0}"),
        Some(value) if value == value.trunc() => format!("{value:.0}"),
        Some(value) => format!("{value:.3}"),
    }
}
