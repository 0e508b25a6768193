//! `tidegate bench` as a user runs it: several processes, a real server, reports as JSON and SVG.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests panic where they fail, and may read the environment"
)]

use std::io::BufRead;
use std::io::BufReader;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;

struct Server {
    process: Child,
    url: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A server on a port of its own, with one worker.
fn serve(io: &str) -> Server {
    let mut process = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["serve", "--listen", "127.0.0.1:0", "--admin", "off", "--workers", "1", "--io", io])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap());
    let mut seen = String::new();
    let url = loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0, "the server did not start:\n{seen}");
        if let Some((_, url)) = line.trim().split_once("listening on ") {
            break url.split_ascii_whitespace().next().unwrap().to_owned();
        }
        seen.push_str(&line);
    };
    // The rest of the log is read so that the server never waits for us.
    std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
    Server { process, url }
}

fn bench(server: &Server, more: &[&str]) -> (bool, serde_json::Value) {
    let hub = format!("{}/.well-known/mercure", server.url);
    let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["bench", "--json", "--quiet", "--settle", "0.1", "--limit", "60"])
        .args([format!("--subscribe-url={hub}?{{topics}}"), format!("--publish-url={hub}")])
        .args(["--pid", &server.process.id().to_string()])
        .args(more)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{text}"));
    (output.status.success(), report)
}

#[test]
fn several_processes_make_one_report() {
    let server = serve("epoll");
    let plot = std::env::temp_dir().join(format!("bench-{}.svg", server.process.id()));
    let path = plot.display().to_string();
    let more =
        ["-n", "60", "--processes", "3", "--threads", "2", "--rate", "200", "--events", "50"];
    let (sound, report) = bench(&server, &[&more[..], &["--plot", &path]].concat());
    assert!(sound, "{report:#}");
    assert_eq!(report["deliveries"]["delivered"], 3000);
    assert_eq!(report["deliveries"]["latency"]["count"], 3000);
    assert_eq!(report["deliveries"]["last_subscriber"]["count"], 50);
    assert!(std::fs::read_to_string(&plot).unwrap().starts_with("<svg"));
    std::fs::remove_file(plot).unwrap();
}

#[test]
fn topics_of_their_own_get_their_own_events() {
    let server = serve("auto");
    let more = [
        "-n",
        "10",
        "--topics",
        "/t/{n}",
        "--publish-topic",
        "/t/{t}",
        "--topic-count",
        "40",
        "--stride",
        "4",
        "--rate",
        "0",
        "--events",
        "400",
        "--slices",
        "4",
    ];
    let (sound, report) = bench(&server, &more);
    assert!(sound, "{report:#}");
    assert_eq!(report["deliveries"]["delivered"], 100);
}

#[test]
fn everyone_resumes_the_whole_history() {
    let server = serve("auto");
    let (sound, report) = bench(&server, &["-n", "20", "--resume", "100"]);
    assert!(sound, "{report:#}");
    assert_eq!(report["deliveries"]["delivered"], 2000);
}

#[test]
fn answers_are_measured_while_events_are_swept() {
    let server = serve("auto");
    let more = ["-n", "50", "--rate", "20", "--duration", "1", "--probe-rate", "500"];
    let (sound, report) = bench(&server, &more);
    assert!(sound, "{report:#}");
    assert_eq!(report["deliveries"]["delivered"], 1000);
}
