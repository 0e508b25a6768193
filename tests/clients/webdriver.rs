//! A browser, driven over the WebDriver protocol (plain HTTP and JSON) through chromedriver.

use crate::process::PATIENCE;
use crate::process::Process;
use crate::process::until;
use crate::server::Folder;
use crate::server::ask;
use serde_json::Value;
use serde_json::json;
use std::net::SocketAddr;
use std::time::Instant;

/// No network of its own, no first-run pages, nothing shared with another run.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// A running browser; it goes with the value.
pub(crate) struct Browser {
    driver: SocketAddr,
    session: String,
    _process: Process,
    _profile: Folder,
}

impl Browser {
    pub(crate) fn start() -> Self {
        let serve = || Process::start("chromedriver", &["--port=0"], b"");
        let mut process = serve();
        let port = until("chromedriver's port", || {
            let out = process.out();
            if let Some((_, after)) = out.split_once("started successfully on port ") {
                return after.split_once('.')?.0.parse().ok();
            }
            // It takes a port on one family and then the same on the other, where it may be gone.
            if !process.is_running() {
                let said = process.err();
                assert!(said.contains("Address already in use"), "chromedriver ended: {said}");
                process = serve();
            }
            None
        });
        let driver = SocketAddr::from(([127, 0, 0, 1], port));
        let profile = Folder::new();
        let mut args: Vec<String> = FLAGS.iter().map(ToString::to_string).collect();
        args.push(format!("--user-data-dir={}", profile.0.display()));
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": args },
        } } });
        let created = call(driver, "POST", "/session", &wanted);
        let session = created["sessionId"].as_str().unwrap().to_owned();
        Self { driver, session, _process: process, _profile: profile }
    }

    /// Opens a page and waits until it is loaded.
    pub(crate) fn open(&self, url: &str) {
        self.command("url", &json!({ "url": url }));
    }

    /// Runs the body of a function in the page and gives what it returns.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until a function's body gives something true, and gives that.
    #[track_caller]
    pub(crate) fn wait(&self, script: &str) -> Value {
        let start = Instant::now();
        loop {
            let value = self.run(script);
            let nothing = matches!(value, Value::Null | Value::Bool(false));
            if !nothing && value != json!("") && value != json!(0) {
                return value;
            }
            assert!(start.elapsed() < PATIENCE, "waited too long: {script}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn command(&self, command: &str, body: &Value) -> Value {
        call(self.driver, "POST", &format!("/session/{}/{command}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let target = format!("/session/{}", self.session);
        let _ = ask(self.driver, "DELETE", &target, "", "");
    }
}

#[track_caller]
fn call(driver: SocketAddr, method: &str, target: &str, body: &Value) -> Value {
    let headers = "Content-Type: application/json; charset=utf-8\r\n";
    let (status, answer) = ask(driver, method, target, headers, &body.to_string()).unwrap();
    let mut answer: Value = serde_json::from_str(&answer).unwrap_or_else(|e| {
        panic!("{method} {target}: {status}, {e}: {answer}");
    });
    assert_eq!(status, 200, "{method} {target}: {answer}");
    answer["value"].take()
}
