//! Child processes with deadlines: none outlives its test, and each tells what it printed.

use std::io::Read;
use std::io::Write;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

/// How long anything may take; generous, because test machines are shared.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Polls until there is an answer, or fails the test.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = attempt() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited too long: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What a process did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A running process, killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    out: Pipe,
    err: Pipe,
}

struct Pipe {
    lines: mpsc::Receiver<Vec<u8>>,
    seen: Vec<u8>,
}

impl Pipe {
    fn new(mut stream: impl Read + Send + 'static) -> Self {
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let mut block = [0; 4096];
            while let Ok(count @ 1..) = stream.read(&mut block) {
                if sender.send(block[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self { lines, seen: Vec::new() }
    }

    fn text(&mut self) -> String {
        self.seen.extend(self.lines.try_iter().flatten());
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    fn rest(&mut self) -> String {
        self.seen.extend(self.lines.iter().flatten());
        String::from_utf8_lossy(&self.seen).into_owned()
    }
}

impl Process {
    /// Starts a program with this input.
    pub(crate) fn start(program: &str, args: &[&str], input: &[u8]) -> Self {
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {program}: {e}"));
        // A child that ends without reading its input is no failure.
        let _ = child.stdin.take().unwrap().write_all(input);
        let out = Pipe::new(child.stdout.take().unwrap());
        let err = Pipe::new(child.stderr.take().unwrap());
        Self { child, out, err }
    }

    /// The project's own binary.
    pub(crate) fn tidegate(args: &[&str]) -> Self {
        Self::start(env!("CARGO_BIN_EXE_tidegate"), args, b"")
    }

    /// Standard output so far.
    pub(crate) fn out(&mut self) -> String {
        self.out.text()
    }

    /// Standard error so far.
    pub(crate) fn err(&mut self) -> String {
        self.err.text()
    }

    /// Whether it has not ended.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until standard output holds `text`.
    #[track_caller]
    pub(crate) fn await_out(&mut self, text: &str) {
        self.wait(text, Self::out);
    }

    /// Waits until standard error holds `text`.
    #[track_caller]
    pub(crate) fn await_err(&mut self, text: &str) {
        self.wait(text, Self::err);
    }

    #[track_caller]
    fn wait(&mut self, text: &str, printed: fn(&mut Self) -> String) {
        let start = Instant::now();
        loop {
            let ended = !self.is_running();
            if printed(self).contains(text) {
                return;
            }
            let (out, err) = (self.out(), self.err());
            assert!(!ended, "ended without `{text}`\n{out}\n{err}");
            assert!(start.elapsed() < PATIENCE, "waited too long for `{text}`\n{out}\n{err}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its process id.
    #[allow(dead_code, reason = "for tests/cli.rs, which shares this file and sends signals")]
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn outcome(mut self) -> Outcome {
        let status = until("the end of a process", || self.child.try_wait().unwrap());
        let (out, err) = (self.out.rest(), self.err.rest());
        Outcome { code: status.code(), out, err }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the project's own binary to its end.
#[track_caller]
pub(crate) fn tidegate(args: &[&str]) -> Outcome {
    Process::tidegate(args).outcome()
}

/// Whether a program is installed; says loudly when it is not. (Not with `eprintln!`, which the
/// test harness swallows when the test passes.)
pub(crate) fn installed(program: &str, test: &str) -> bool {
    let script = format!("command -v {program}");
    let found = Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).status().unwrap();
    if !found.success() {
        let _ = writeln!(std::io::stderr(), "SKIPPED {test}: `{program}` is not installed");
    }
    found.success()
}
