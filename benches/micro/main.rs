//! Micro-benchmarks of the hot paths: encode, parse, append to a feed, sweep.
//!
//! ```text
//! cargo bench --bench micro                                   wall time, by divan
//! cargo bench --bench micro --no-run                          then, with the path that it prints:
//! valgrind --tool=callgrind --callgrind-out-file=/dev/null \
//!     PATH counted sweep 100                                  instructions, by callgrind
//! ```
//!
//! Instructions do not depend on what else the machine does, so they can be compared between two
//! builds: run `counted NAME 100` and `counted NAME 200`, and a turn costs the difference / 100.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measuring tool: it may end at a surprise, and it talks to people"
)]

mod work;

use divan::Bencher;
use divan::counter::ItemsCount;
use work::Append;
use work::Encode;
use work::Parse;
use work::Sweep;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["counted", name, turns] => counted(name, turns.parse().expect("a number of turns")),
        // `cargo test --benches` runs this without arguments; there is nothing to test.
        [] => println!("use cargo bench --bench micro"),
        _ => divan::main(),
    }
}

fn counted(name: &str, turns: u32) {
    let mut turn: Box<dyn FnMut()> = match name {
        "encode" => {
            let mut work = Encode::new();
            Box::new(move || work.turn())
        }
        "parse" => {
            let mut work = Parse::new();
            Box::new(move || work.turn())
        }
        "append" => {
            let mut work = Append::new();
            Box::new(move || work.turn())
        }
        "sweep" => {
            let mut work = Sweep::new(1000);
            Box::new(move || work.turn())
        }
        _ => panic!("the works are encode, parse, append and sweep"),
    };
    for _ in 0..turns {
        turn();
    }
    println!("{turns} turns of {name}");
}

#[divan::bench]
fn encode(bencher: Bencher<'_, '_>) {
    let mut work = Encode::new();
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| work.turn());
}

#[divan::bench]
fn parse(bencher: Bencher<'_, '_>) {
    let mut work = Parse::new();
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| work.turn());
}

#[divan::bench]
fn append(bencher: Bencher<'_, '_>) {
    let mut work = Append::new();
    bencher.counter(ItemsCount::new(1_u32)).bench_local(|| work.turn());
}

#[divan::bench(args = [100, 5_000, 20_000])]
fn sweep(bencher: Bencher<'_, '_>, clients: u32) {
    let mut work = Sweep::new(clients);
    bencher.counter(ItemsCount::new(clients)).bench_local(|| work.turn());
}
