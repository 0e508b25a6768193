//! The comparison: the same work for the bare send loop, Tidegate, Nchan and axum, one after the
//! other, several rounds interleaved, each server on one core and the load on another.
//!
//! ```text
//! cargo bench --bench compare                       every row, three rounds
//! cargo bench --bench compare -- --row paced5 --rounds 5
//! cargo bench --bench compare -- --list
//! ```
//!
//! Absolute times belong to the machine and the hour; the ratios of medians are what counts, and
//! even those are reported, never gated on: a timing does not fail a test. Peers that are not
//! installed are skipped loudly.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measuring tool: it may end at a surprise, and it talks to people"
)]

mod axum_peer;
mod figures;
#[path = "../limit/ring.rs"]
mod ring;
mod rows;
#[path = "../limit/server.rs"]
mod server;
mod servers;

use figures::Table;
use rows::Row;

/// How the comparison is run.
struct Options {
    rows: Vec<String>,
    rounds: usize,
    server_core: String,
    load_core: String,
    /// Directory for the reports of single runs.
    keep: Option<String>,
    only: Option<String>,
}

impl Options {
    fn parse(arguments: &[String]) -> Self {
        let values = |name: &str| -> Vec<String> {
            let at = arguments.iter().zip(arguments.iter().skip(1));
            at.filter(|(a, _)| *a == name).map(|(_, value)| value.clone()).collect()
        };
        let one = |name: &str, or: &str| values(name).pop().unwrap_or_else(|| or.to_owned());
        Self {
            rows: values("--row"),
            rounds: one("--rounds", "3").parse().expect("--rounds takes a number"),
            server_core: one("--server-core", "0"),
            load_core: one("--load-core", "1"),
            keep: values("--keep").pop(),
            only: values("--only").pop(),
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rest = || arguments.get(2..).unwrap_or_default().to_vec();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        // This program is also the small servers it compares with.
        ["be", "limit", ..] => server::run(&server::Options::parse(&rest())),
        ["be", "axum", port] => axum_peer::run(port.parse().unwrap()),
        // `cargo test --benches` runs this without arguments; there is nothing to test.
        [] => println!("use cargo bench --bench compare"),
        _ if arguments.iter().any(|a| a == "--list") => list(),
        _ => compare(&Options::parse(&arguments)),
    }
}

fn list() {
    for row in rows::all() {
        println!("{:<10} {}", row.name, row.what);
    }
}

fn compare(options: &Options) {
    let chosen = |row: &Row| options.rows.is_empty() || options.rows.iter().any(|n| n == row.name);
    for row in rows::all().into_iter().filter(chosen) {
        println!("\n## {}: {}", row.name, row.what);
        let mut table = Table::new(&row);
        for round in 0..options.rounds {
            for (at, case) in row.cases.iter().enumerate() {
                if options.only.as_ref().is_some_and(|only| !case.label.contains(only.as_str())) {
                    continue;
                }
                match servers::measure(case, &options.server_core, &options.load_core) {
                    Ok(report) => {
                        println!("  {}", table.line(&row, round, at, &report));
                        if let Some(keep) = &options.keep {
                            let name = format!("{keep}/{}-{}-{round}.json", row.name, case.label);
                            std::fs::write(&name, report.to_string()).expect("--keep DIR exists");
                        }
                        table.add(at, report);
                    }
                    Err(cause) => println!("  SKIPPED {}: {cause}", case.label),
                }
            }
        }
        print!("{}", table.render(&row));
    }
}
