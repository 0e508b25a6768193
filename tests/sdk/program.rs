//! The programs that `.ci/run` installs below `target/clients`, and what they print.

use crate::process::Outcome;
use crate::process::PATIENCE;
use crate::process::Process;
use crate::process::installed;
use serde_json::Value;
use std::path::Path;
use std::path::PathBuf;
use std::time::Instant;

/// What is installed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    Python,
    Node,
}

impl Program {
    fn path(self) -> String {
        let name = match self {
            Self::Python => "venv/bin/python",
            Self::Node => "node_modules/.bin/node",
        };
        file(name).to_str().unwrap().to_owned()
    }

    /// The program, or `None`: it is not there, which is said aloud.
    pub(crate) fn find(self, test: &str) -> Option<Found> {
        let path = self.path();
        installed(&path, test).then_some(Found { path })
    }
}

/// A file below `target/clients`.
pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("clients").join(name)
}

/// A program that is there.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) path: String,
}

impl Found {
    /// Starts a script of this folder.
    pub(crate) fn start(&self, script: &str, args: &[&str]) -> Process {
        let script = format!("tests/sdk/{script}");
        Process::start(&self.path, &[&[script.as_str()], args].concat(), b"")
    }
}

/// The JSON objects in whole lines.
pub(crate) fn objects(text: &str) -> Vec<Value> {
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What a script printed till its end, which must be a good one.
#[track_caller]
pub(crate) fn results(outcome: &Outcome) -> Vec<Value> {
    assert_eq!(outcome.code, Some(0), "{}\n{}", outcome.out, outcome.err);
    objects(&outcome.out)
}

/// Waits until a script has printed so many objects that pass.
#[track_caller]
pub(crate) fn await_objects(process: &mut Process, count: usize, pass: fn(&Value) -> bool) {
    let start = Instant::now();
    while objects(&process.out()).iter().filter(|object| pass(object)).count() < count {
        let said = (process.out(), process.err());
        assert!(process.is_running(), "ended before object {count}: {said:?}");
        assert!(start.elapsed() < PATIENCE, "waited too long for object {count}: {said:?}");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
