//! The report as a picture: throughput over time above, latency by percentile below.
//!
//! Latency has a logarithmic scale, and percentiles come closer to 100 by tenfold steps, so that
//! the tail is not hidden in the last pixel. Written by hand: no library, no font, no script.

use super::Report;
use std::fmt::Write;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 180.0;
const LEFT: f64 = 80.0;
const TOP: f64 = 40.0;

/// The picture as SVG.
pub(super) fn render(report: &Report) -> String {
    let mut out = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 560\" width=\"760\" \
         height=\"560\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n\
         <rect width=\"760\" height=\"560\" fill=\"#fff\"/>\n",
    );
    let throughput: Vec<_> =
        report.series.iter().map(|m| (m.second.max(0.0), m.events_per_second)).collect();
    Chart {
        title: "delivered per second, over the seconds of the run",
        top: TOP,
        across: Scale::linear(throughput.iter().map(|p| p.0)),
        up: Scale::linear(throughput.iter().map(|p| p.1)),
    }
    .draw(&throughput, &mut out);
    let latency: Vec<_> = report.distribution.iter().map(|(p, ms)| (nines(*p), *ms)).collect();
    Chart {
        title: "latency in milliseconds from the due time, by percentile",
        top: TOP + HEIGHT + 90.0,
        across: Scale { low: 0.0, high: 4.0, kind: Kind::Nines },
        up: Scale::logarithmic(latency.iter().map(|p| p.1)),
    }
    .draw(&latency, &mut out);
    out.push_str("</svg>\n");
    out
}

/// 90 % is 1, 99 % is 2, 99.9 % is 3; the scale ends at 4.
fn nines(percentile: f64) -> f64 {
    -(1.0 - percentile / 100.0).max(1e-4).log10()
}

#[derive(Clone, Copy)]
enum Kind {
    Linear,
    Logarithmic,
    Nines,
}

struct Scale {
    low: f64,
    high: f64,
    kind: Kind,
}

impl Scale {
    /// From 0 in four steps of a round number.
    fn linear(values: impl Iterator<Item = f64>) -> Self {
        let (_, high) = bounds(values);
        let step = (high / 4.0).max(1e-3);
        let ten = 10_f64.powf(step.log10().floor());
        let round = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0];
        let factor = round.into_iter().find(|factor| factor * ten >= step).unwrap_or(10.0);
        Self { low: 0.0, high: 4.0 * factor * ten, kind: Kind::Linear }
    }

    fn logarithmic(values: impl Iterator<Item = f64>) -> Self {
        let (low, high) = bounds(values);
        let low = low.max(1e-3).log10().floor();
        let high = high.max(1e-3).log10().ceil().max(low + 1.0);
        Self { low, high, kind: Kind::Logarithmic }
    }

    /// A value's place between 0 and 1.
    fn place(&self, value: f64) -> f64 {
        let value = match self.kind {
            Kind::Logarithmic => value.max(1e-3).log10(),
            Kind::Linear | Kind::Nines => value,
        };
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Places between 0 and 1, with their labels.
    fn ticks(&self) -> Vec<(f64, String)> {
        let steps = match self.kind {
            Kind::Linear => 4.0,
            Kind::Logarithmic | Kind::Nines => self.high - self.low,
        };
        let mut ticks = Vec::new();
        let mut step = 0.0;
        while step <= steps && ticks.len() < 20 {
            let at = self.low + (self.high - self.low) * step / steps;
            let label = match self.kind {
                Kind::Linear => short(at),
                Kind::Logarithmic => short(10_f64.powf(at)),
                Kind::Nines => format!("{} %", short(100.0 - 100.0 * 10_f64.powf(-at))),
            };
            ticks.push((step / steps, label));
            step += 1.0;
        }
        ticks
    }
}

fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values
        .fold(None, |found: Option<(f64, f64)>, value| {
            let (low, high) = found.unwrap_or((value, value));
            Some((low.min(value), high.max(value)))
        })
        .unwrap_or((0.0, 1.0))
}

fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 1e6 => format!("{:.1} M", value / 1e6),
        v if v >= 1e4 => format!("{:.0} k", value / 1e3),
        v if v >= 10.0 || v == 0.0 => {
            let text = format!("{value:.2}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => format!("{value:.3}").trim_end_matches('0').trim_end_matches('.').to_owned(),
    }
}

struct Chart {
    title: &'static str,
    top: f64,
    across: Scale,
    up: Scale,
}

impl Chart {
    fn draw(&self, points: &[(f64, f64)], out: &mut String) {
        let bottom = self.top + HEIGHT;
        // Writing to a string cannot fail.
        let _ = writeln!(out, "<text x=\"{LEFT}\" y=\"{}\">{}</text>", self.top - 12.0, self.title);
        for (place, label) in self.across.ticks() {
            let x = LEFT + WIDTH * place;
            let _ = writeln!(
                out,
                "<path d=\"M{x:.1} {} V{bottom}\" stroke=\"#eee\"/>\
                 <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
                self.top,
                bottom + 18.0
            );
        }
        for (place, label) in self.up.ticks() {
            let y = bottom - HEIGHT * place;
            let _ = writeln!(
                out,
                "<path d=\"M{LEFT} {y:.1} H{}\" stroke=\"#ddd\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT + WIDTH,
                LEFT - 8.0,
                y + 4.0
            );
        }
        let mut path = String::new();
        for (across, up) in points {
            let x = LEFT + WIDTH * self.across.place(*across);
            let y = bottom - HEIGHT * self.up.place(*up);
            let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { 'M' } else { 'L' });
        }
        let _ = writeln!(
            out,
            "<path d=\"{path}\" fill=\"none\" stroke=\"#0b6fa4\" stroke-width=\"1.5\"/>"
        );
    }
}
