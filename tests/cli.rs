//! The commands through the real binary: output, exit codes, and files that must pass `check`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits with a deadline"
)]

#[allow(dead_code, reason = "shared with tests/clients, which uses more of it")]
#[path = "clients/process.rs"]
mod process;

use process::Process;
use std::fs;
use std::io::Read;
use std::io::Write;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;

const KEY: &str = "!ChangeThisMercureHubJWTSecretKey!";

fn tidegate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate")).args(args).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A folder of this test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn check_prints_what_is_in_effect_and_the_budget() {
    let output = tidegate(&["check"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let text = out(&output);
    assert!(text.contains("listen = \"127.0.0.1:8080\"\n"), "{text}");
    assert!(text.contains("# memory for "), "{text}");
    assert!(text.contains("every limit reached"), "{text}");
    assert_eq!(err(&output), "");
}

#[test]
fn what_check_prints_is_a_configuration_with_the_same_effect() {
    let folder = Folder::new("round");
    let first = tidegate(&["check", "--workers", "3", "--io", "epoll", "--admin", "off"]);
    let file = folder.write("tidegate.toml", &out(&first));
    let second = tidegate(&["check", "--config", &file]);
    assert_eq!(second.status.code(), Some(0), "{}", err(&second));
    assert_eq!(out(&second), out(&first));
}

#[test]
fn a_wrong_configuration_gives_every_error_and_code_2() {
    let folder = Folder::new("wrong");
    let text = "listen = \"0.0.0.0:80\"\n[hub]\nheartbeat = 15\nhistory_event_max = 5\n";
    let file = folder.write("tidegate.toml", text);
    for command in ["serve", "check", "tune"] {
        let output = tidegate(&[command, "--config", &file, "--workers", "0"]);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(out(&output), "");
        let text = err(&output);
        assert!(text.starts_with("tidegate: the configuration has 4 errors\n"), "{text}");
        for part in [
            "line 3: hub.heartbeat = 15: must be a duration from 10ms to 1h, or 0s (off)",
            "line 4: hub.history_event_max = 5: no such key",
            "did you mean hub.history_events_max?",
            "argument: workers = 0: must be a number from 1 to 1024",
            "listen = 0.0.0.0:80: must be a loopback address",
            "remedy: set hub.publisher_key",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}

#[test]
fn a_key_file_is_found_beside_the_configuration_and_never_printed() {
    let folder = Folder::new("keys");
    folder.write("publisher.key", &format!("{KEY}\n"));
    let text = "[hub]\npublisher_key_file = \"publisher.key\"\n";
    let file = folder.write("tidegate.toml", text);
    let output = tidegate(&["check", "--config", &file, "--listen", "0.0.0.0:8080"]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    assert!(out(&output).contains("publisher_key = \"***\"\n"));
    assert!(!out(&output).contains(KEY) && !err(&output).contains(KEY));
    assert!(err(&output).contains("known to everyone"), "{}", err(&output));
}

#[test]
fn usage_errors_have_code_2_and_help_has_0() {
    assert_eq!(tidegate(&["check", "--lisen", "x"]).status.code(), Some(2));
    assert_eq!(tidegate(&["frobnicate"]).status.code(), Some(2));
    let missing = tidegate(&["check", "--config", "no/such/file.toml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(err(&missing).contains("cannot read the configuration file no/such/file.toml"));
    assert!(err(&missing).contains("because: ") && err(&missing).contains("remedy: "));
    let help = tidegate(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    for command in ["serve", "check", "fanout", "proxy", "publish", "subscribe", "bench", "tune"] {
        assert!(out(&help).contains(command));
    }
}

#[test]
fn profiles_and_the_manual_keep_step() {
    for entry in fs::read_dir("tuning/profiles").unwrap() {
        let path = entry.unwrap().path();
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["check", "--config", path.to_str().unwrap()])
            .env("TIDEGATE_PUBLISHER_KEY", "a key of more than thirty-two bytes")
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{}: {}", path.display(), err(&output));
    }
    let manual = fs::read_to_string("docs/OPERATIONS.md").unwrap();
    let keys = out(&tidegate(&["check", "--keys"]));
    let start = manual.find("### Top level").unwrap();
    assert_eq!(&manual[start..], keys, "replace the tables by `tidegate check --keys`");
    let folder = Folder::new("manual");
    folder.write("publisher.key", KEY);
    folder.write("subscriber.key", KEY);
    let example = manual.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let file = folder.write("tidegate.toml", example);
    let output = tidegate(&["check", "--config", &file]);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
}

#[test]
fn tune_says_what_falls_short_and_its_code_tells() {
    let folder = Folder::new("tune");
    folder.write("proc/self/limits", "Max open files 1024 1024 files\n");
    folder.write("proc/sys/kernel/osrelease", "6.12.0\n");
    folder.write("proc/sys/net/core/somaxconn", "128\n");
    let root = folder.0.to_str().unwrap().to_owned();
    let short = tidegate(&["tune", "--root", &root, "--clients", "100"]);
    assert_eq!(short.status.code(), Some(1), "{}", err(&short));
    let text = out(&short);
    assert!(text.contains("ok     open files: 1024 (wanted: at least 612)\n"), "{text}");
    assert!(text.contains("SHORT  net.core.somaxconn: 128 (wanted: at least 8192)\n"), "{text}");
    assert!(text.contains("set: sysctl -w net.core.somaxconn=8192\n"), "{text}");
    folder.write("proc/sys/net/core/somaxconn", "8192\n");
    let fine = tidegate(&["tune", "--root", &root, "--clients", "100"]);
    assert_eq!(fine.status.code(), Some(0), "{}", out(&fine));
    let before = fs::read_to_string(folder.0.join("proc/sys/net/core/somaxconn")).unwrap();
    assert_eq!(before, "8192\n");
}

/// The address after `text` in the server's log.
fn address(server: &mut Process, text: &str) -> String {
    server.await_err(text);
    // A line may arrive in pieces; it is whole when its end is there.
    process::until("the end of the line", || {
        let log = server.err();
        let (line, _) = log.split(text).nth(1)?.split_once('\n')?;
        Some(line.split([' ', '"']).next()?.to_owned())
    })
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(process::PATIENCE)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn signal(server: &Process, name: &str) {
    let status = Command::new("kill").args(["-s", name, &server.id().to_string()]).status();
    assert!(status.unwrap().success());
}

#[test]
fn serve_says_where_it_listens_serves_and_ends_on_sigterm() {
    let args = ["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--workers", "1"];
    let mut server = Process::tidegate(&args);
    let admin = address(&mut server, "admin on http://");
    let listen = address(&mut server, "listening on http://");
    assert!(get(&listen, "/").starts_with("HTTP/1.1 200 "));
    assert!(get(&admin, "/ready").starts_with("HTTP/1.1 200 "));
    signal(&server, "TERM");
    let outcome = server.outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.err);
    assert_eq!(outcome.out, "");
    for part in ["memory for ", "every limit reached", "no hub.publisher_key"] {
        assert!(outcome.err.contains(part), "{part}\n{}", outcome.err);
    }
}

#[test]
fn a_taken_address_is_a_failure_with_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let outcome = process::tidegate(&["serve", "--listen", &address, "--admin", "off"]);
    assert_eq!(outcome.code, Some(1), "{}", outcome.err);
    assert!(outcome.err.contains("tidegate: cannot listen on "), "{}", outcome.err);
    assert!(outcome.err.contains(&address), "{}", outcome.err);
}
