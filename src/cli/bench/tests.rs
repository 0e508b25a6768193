//! The whole tool against a small server that does wrong what it is told to do wrong.

use super::args::BenchArgs;
use super::report::Report;
use super::run;
use crate::base::sync::AppendLock;
use crate::base::sync::Arc;
use clap::Parser;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::thread;

/// For the publish of this number: which of the events so far are sent to every subscriber.
type Script = fn(usize) -> Vec<usize>;

#[derive(Default)]
struct Hub {
    subscribers: Vec<TcpStream>,
    events: Vec<Vec<u8>>,
}

/// A server that follows the script. It serves until the test process ends.
fn serve(script: Script) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let hub = Arc::new(AppendLock::new(Hub::default()));
    let accept = move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let hub = Arc::clone(&hub);
            thread::Builder::new().spawn(move || converse(stream, &hub, script)).unwrap();
        }
    };
    thread::Builder::new().spawn(accept).unwrap();
    format!("http://{address}/")
}

/// Reads one request: its first line, and its body.
fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let (mut first, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            return Some((first, body));
        }
        if first.is_empty() {
            first = line;
        }
    }
}

fn converse(mut stream: TcpStream, hub: &AppendLock<Hub>, script: Script) {
    stream.set_nodelay(true).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some((first, body)) = request(&mut reader) {
        if first.starts_with("GET /refuse") {
            let _ = stream.write_all(b"HTTP/1.1 503 Full\r\nContent-Length: 0\r\n\r\n");
        } else if first.starts_with("GET") {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n: hi\n\n").unwrap();
            hub.lock().unwrap().subscribers.push(stream.try_clone().unwrap());
        } else {
            let mut hub = hub.lock().unwrap();
            let number = hub.events.len();
            hub.events.push([b"data: ".as_slice(), &body, b"\n\n"].concat());
            let bytes: Vec<u8> =
                script(number).into_iter().flat_map(|at| hub.events[at].clone()).collect();
            for subscriber in &mut hub.subscribers {
                // In two pieces, so that records are cut.
                let (begin, end) = bytes.split_at(bytes.len() / 3);
                let _ = subscriber.write_all(begin);
                let _ = subscriber.write_all(end);
            }
            drop(hub);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nid").unwrap();
        }
    }
}

#[derive(Parser)]
#[command(args_override_self = true)]
struct Line {
    #[command(flatten)]
    bench: BenchArgs,
}

fn measure(url: &str, more: &str) -> Report {
    let line = format!(
        "bench --subscribe-url {url} --publish-url {url} --body {{data}} -n 4 --events 20 \
         --rate 1000 --settle 0.05 --grace 0.5 --limit 60 --quiet {more}"
    );
    let args = Line::try_parse_from(line.split_ascii_whitespace()).unwrap().bench;
    run::run(&args).unwrap()
}

#[test]
fn an_honest_server_is_sound() {
    let url = serve(|number| vec![number]);
    let report = measure(&url, &format!("--threads 2 --pid {}", std::process::id()));
    assert!(report.sound(), "{report:?}");
    assert_eq!(report.deliveries.delivered, 80);
    assert_eq!(report.publishes.accepted, 20);
    assert_eq!(report.deliveries.latency.unwrap().count, 80);
    assert_eq!(report.deliveries.last_subscriber.unwrap().count, 20);
    assert!(report.cost.is_some());
}

#[test]
fn planted_faults_are_found() {
    let url = serve(|number| match number {
        3 => vec![],
        5 => vec![5, 5],
        7 => vec![],
        8 => vec![8, 7],
        _ => vec![number],
    });
    let report = measure(&url, "");
    let faults = report.faults;
    assert_eq!(
        (faults.missing, faults.doubled, faults.out_of_order, faults.foreign),
        (4, 4, 4, 0),
        "each of 4 subscribers misses one, has one twice and one late"
    );
    assert!(!report.sound());
}

#[test]
fn several_publishers_are_judged_by_lane() {
    let url = serve(|number| vec![number]);
    let report = measure(&url, "--publishers 3");
    assert!(report.sound(), "{report:?}");
    assert_eq!(report.deliveries.delivered, 80);
}

/// A server that stalls hides nothing: the events behind the stall count from their due times.
#[test]
fn a_stall_shows_in_the_latency() {
    let url = serve(|number| {
        if number == 5 {
            thread::park_timeout(std::time::Duration::from_millis(300));
        }
        vec![number]
    });
    let report = measure(&url, "--pipeline 1 --duration 10 --rate 100");
    let latency = report.deliveries.latency.unwrap();
    assert!(report.faults.none());
    assert!(latency.max_ms >= 200.0, "{latency:?}");
    assert!(latency.p50_ms >= 50.0, "the events behind the stall were late too: {latency:?}");
}

#[test]
fn a_resume_reads_the_history() {
    let url = serve(|number| vec![number]);
    // This server keeps no history: all of it must be reported missing, not ignored.
    let report = measure(&url, "--resume 5");
    assert_eq!(report.faults.missing, 20);
    assert_eq!(report.publishes.accepted, 5);
}

#[test]
fn a_refusal_is_reported_with_its_cause() {
    let url = serve(|number| vec![number]);
    let report = measure(&format!("{url}refuse"), "");
    assert_eq!(report.connects.refused, 4);
    assert_eq!(report.connects.refusal.as_deref(), Some("HTTP/1.1 503 Full"));
    assert!(!report.sound());
}
