//! The commands of README.md and examples/README.md, run as they stand there, but for the ports:
//! those are free ones.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::channel;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
const KEYS: [(&str, &str); 2] = [
    ("PUBLISHER_KEY", "a publisher key of the test, long enough"),
    ("SUBSCRIBER_KEY", "a subscriber key of the test, long enough"),
];

/// A process that dies with the test; its lines come one by one.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn new(mut command: Command, stderr: bool) -> Self {
        command.stdout(if stderr { Stdio::null() } else { Stdio::piped() });
        command.stderr(if stderr { Stdio::piped() } else { Stdio::null() });
        let mut child = command.envs(KEYS).process_group(0).spawn().unwrap();
        let output: Box<dyn Read + Send> = match child.stderr.take() {
            Some(output) => Box::new(output),
            None => Box::new(child.stdout.take().unwrap()),
        };
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Self { child, lines }
    }

    /// The first line that contains `text`.
    #[track_caller]
    fn line(&self, text: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("no line with {text:?} ({error}), but:\n{}", seen.join("\n")),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The whole group: a shell's children would stay.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
    }
}

/// A server with these arguments on a free port, and where it listens.
fn serve(arguments: &[&str]) -> (Running, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments);
    command.args(["--listen", "127.0.0.1:0", "--admin", "off", "--workers", "1"]);
    listening(command, true)
}

/// A server, and where it says that it listens.
fn listening(command: Command, stderr: bool) -> (Running, String) {
    let server = Running::new(command, stderr);
    let line = server.line("listening on http://");
    let address = line.split("http://").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    (server, address)
}

/// A server that a block of a page starts, in front of this upstream.
fn started(block: &str, upstream: &str) -> (Running, String) {
    let words = block.trim().strip_prefix("tidegate ").unwrap().to_owned();
    let words = words.replace("127.0.0.1:9000", upstream);
    serve(&words.split(' ').collect::<Vec<_>>())
}

/// The `sh` blocks of a page, for a server at `address`.
fn blocks(page: &str, address: &str) -> Vec<String> {
    let text = fs::read_to_string(page).unwrap();
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(|block| block.replace("127.0.0.1:8080", address)).collect()
}

fn shell(script: &str, address: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).env("HUB", format!("http://{address}/.well-known/mercure"));
    command
}

fn output(script: &str, address: &str) -> String {
    let output = shell(script, address).envs(KEYS).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_first_minutes_work() {
    let (_server, address) = serve(&["serve"]);
    let blocks = blocks("README.md", &address);
    let find = |part: &str| blocks.iter().find(|block| block.contains(part)).unwrap();
    let subscriber = Running::new(shell(find("curl -N 'http://"), &address), false);
    // The first comment says that the subscription stands.
    subscriber.line(":");
    let id = output(find("data=hello"), &address);
    assert_eq!(subscriber.line("id: "), format!("id: {id}"));
    assert_eq!(subscriber.line("data: "), "data: hello");
    let late = Running::new(shell(find("lastEventID=earliest"), &address), false);
    assert_eq!(late.line("data: "), "data: hello");
}

#[test]
fn the_first_minutes_of_a_gateway_work() {
    let page = fs::read_to_string("README.md").unwrap();
    assert!(page.contains("`1 open`"));
    let all = blocks("README.md", "127.0.0.1:8080");
    let find = |part: &str| all.iter().find(|block| block.contains(part)).unwrap();
    let script = find("examples/upstream.py").replace("upstream.py", "upstream.py 0");
    let (upstream, at) = listening(shell(&script, ""), false);

    let (_fanout, address) = started(find("tidegate fanout"), &at);
    let curl = find("8080/ticks").replace("127.0.0.1:8080", &address);
    let clients = [(); 2].map(|()| Running::new(shell(&curl, ""), false));
    let seen = clients.each_ref().map(|client| client.line("data: "));
    assert!(seen.iter().all(|line| line.contains("/ticks")), "{seen:?}");
    upstream.line("(1 open)");

    let (_proxy, address) = started(find("tidegate proxy"), &at);
    let curl = find("8080/chat").replace("127.0.0.1:8080", &address);
    let answer = Running::new(shell(&curl, ""), false);
    assert_eq!(answer.line("data: "), "data: Nothing");
    assert!(upstream.line("begin").contains("POST /chat   (2 open)"), "both clients share one");
    drop(answer);
    assert!(upstream.line("end").contains("POST /chat"));
}

#[test]
fn the_token_examples_work() {
    let (_server, address) = serve(&["serve", "--config", "examples/tidegate.toml"]);
    let blocks = blocks("examples/README.md", &address);
    let find = |part: &str| blocks.iter().find(|block| block.contains(part)).unwrap();
    let subscriber = Running::new(shell(find("examples/subscribe.sh orders/1"), &address), false);
    // It does not say when it has connected: what comes before is for nobody, so again.
    let published = (0..100).any(|_| {
        output(find("examples/publish.sh orders/1"), &address);
        let line = subscriber.lines.recv_timeout(Duration::from_millis(300));
        line.is_ok_and(|line| line == "paid")
    });
    assert!(published, "the subscriber saw nothing");
}
