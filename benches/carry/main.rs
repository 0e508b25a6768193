//! Carrying streams: the same work for the bare relay loop, Tidegate, nginx and HAProxy, one after
//! the other, several rounds interleaved, the proxy on one core and the load on another.
//!
//! ```text
//! cargo bench --bench carry                       every row, three rounds
//! cargo bench --bench carry -- --row llm --rounds 5
//! cargo bench --bench carry -- --row many --streams 2000
//! ```
//!
//! Absolute times belong to the machine and the hour; the ratios of medians are what counts, and
//! even those are reported, never gated on. Proxies that are not installed are skipped loudly.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measuring tool: it may end at a surprise, and it talks to people"
)]

mod load;
mod relay;
mod rows;
mod servers;

use rows::Row;
use serde_json::Value;
use std::process::Command;
use std::process::Stdio;

struct Options {
    rows: Vec<String>,
    rounds: usize,
    streams: Option<usize>,
    rate: Option<f64>,
    only: Option<String>,
    proxy_core: String,
    load_core: String,
}

impl Options {
    fn parse(arguments: &[String]) -> Self {
        let all = |name: &str| -> Vec<String> {
            let pairs = arguments.iter().zip(arguments.iter().skip(1));
            pairs.filter(|(a, _)| *a == name).map(|(_, value)| value.clone()).collect()
        };
        let one = |name: &str| all(name).pop();
        Self {
            rows: all("--row"),
            rounds: one("--rounds").map_or(3, |n| n.parse().expect("--rounds takes a number")),
            streams: one("--streams").map(|n| n.parse().expect("--streams takes a number")),
            rate: one("--rate").map(|n| n.parse().expect("--rate takes a number")),
            only: one("--only"),
            proxy_core: one("--proxy-core").unwrap_or_else(|| "0".to_owned()),
            load_core: one("--load-core").unwrap_or_else(|| "1".to_owned()),
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        // This program is also what it compares with, and the load.
        ["be", "relay", port, upstream, recv] => {
            relay::run(port.parse().unwrap(), upstream.parse().unwrap(), *recv == "poll");
        }
        ["be", "load", proxy, upstream, pid, streams, rate, size, seconds, method] => {
            let report = load::run(load::Options {
                proxy: proxy.parse().unwrap(),
                upstream: upstream.parse().unwrap(),
                pid: pid.parse().unwrap(),
                streams: streams.parse().unwrap(),
                rate: rate.parse().unwrap(),
                size: size.parse().unwrap(),
                seconds: seconds.parse().unwrap(),
                post: *method == "POST",
            });
            println!("{report}");
        }
        // `cargo test --benches` runs this without arguments; there is nothing to test.
        [] if std::env::args().all(|a| a != "--bench") => println!("use cargo bench --bench carry"),
        _ => compare(&Options::parse(&arguments)),
    }
}

fn compare(options: &Options) {
    let chosen = |row: &Row| options.rows.is_empty() || options.rows.iter().any(|n| n == row.name);
    for mut row in rows::all().into_iter().filter(chosen) {
        row.streams = options.streams.unwrap_or(row.streams);
        row.rate = options.rate.unwrap_or(row.rate);
        println!("\n## {}: {} ({} streams)", row.name, row.what, row.streams);
        let mut reports: Vec<Vec<Value>> = row.cases.iter().map(|_| Vec::new()).collect();
        for round in 0..options.rounds {
            for ((label, proxy), reports) in row.cases.iter().zip(&mut reports) {
                let chosen = |only: &String| only.split(',').any(|part| label.contains(part));
                if options.only.as_ref().is_some_and(|only| !chosen(only)) {
                    continue;
                }
                match measure(&row, *proxy, options) {
                    Ok(report) => {
                        println!("  round {} {label:<16} {}", round + 1, rows::line(&report));
                        reports.push(report);
                    }
                    Err(cause) => println!("  SKIPPED {label}: {cause}"),
                }
            }
        }
        print!("{}", row.render(&reports));
    }
}

fn measure(row: &Row, proxy: servers::Proxy, options: &Options) -> Result<Value, String> {
    let (port, upstream) = (servers::free_port(), servers::free_port());
    let running = servers::start(proxy, port, upstream, &options.proxy_core)?;
    let me = std::env::current_exe().map_err(|e| e.to_string())?;
    let output = Command::new("taskset")
        .args(["-c", &options.load_core])
        .arg(me)
        .args(["be", "load", &port.to_string(), &upstream.to_string()])
        .args([running.pid().to_string(), row.streams.to_string(), row.rate.to_string()])
        .args([row.size.to_string(), row.seconds.to_string()])
        .arg(if row.post { "POST" } else { "GET" })
        .stderr(Stdio::piped())
        .output()
        .map_err(|e| format!("taskset: {e}"))?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
