//! Support for tests of the real program: a server process, raw peers, event streams, tokens.
//!
//! Rules: port 0, never a fixed one; a deadline on every wait, never a sleep as proof; bytes in
//! hand; the server's log is printed when a test fails.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "support of tests: it may panic, wait, and read the clock; not every test uses all"
)]

pub mod authority;
pub mod body;
pub mod call;
pub mod origin;
pub mod peer;
pub mod server;
pub mod socket;
pub mod stream;
pub mod tape;
pub mod token;

use std::sync::OnceLock;
use std::time::Duration;
use std::time::Instant;

/// How long a test waits for what must come. Far above what is needed, for loaded machines.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// Which kernel driver the server under test runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    Uring,
    Epoll,
}

impl Io {
    pub fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }

    /// Whether this machine has it. Asked of the kernel and not of the server, so that a server
    /// that wrongly refuses io_uring fails its tests instead of skipping them.
    fn is_to_be_had(self) -> bool {
        static URING: OnceLock<Option<String>> = OnceLock::new();
        match self {
            Self::Epoll => true,
            Self::Uring => {
                let ring = || io_uring::IoUring::new(8).err().map(|e| e.to_string());
                match URING.get_or_init(ring) {
                    None => true,
                    Some(cause) => {
                        // Not eprintln: the test harness would hide it.
                        let line = format!("SKIPPED on uring: no ring to be had ({cause})\n");
                        std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
                        false
                    }
                }
            }
        }
    }
}

/// Runs a scenario on one driver, or says loudly that it cannot.
pub fn on(io: Io, scenario: impl FnOnce(Io)) {
    if io.is_to_be_had() {
        scenario(io);
    }
}

/// Makes two tests of each scenario, one per driver.
#[macro_export]
macro_rules! on_both_drivers {
    ($($scenario:ident),* $(,)?) => {
        $(mod $scenario {
            #[test]
            fn uring() {
                $crate::common::on($crate::common::Io::Uring, super::$scenario);
            }
            #[test]
            fn epoll() {
                $crate::common::on($crate::common::Io::Epoll, super::$scenario);
            }
        })*
    };
}

/// Asks until the answer is there, or fails with what was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "in vain for {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Fails the test if an operation takes longer than `limit`.
#[track_caller]
pub fn within<T>(limit: Duration, what: &str, act: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = act();
    let took = start.elapsed();
    assert!(took <= limit, "{what} took {took:?}, more than {limit:?}");
    value
}
