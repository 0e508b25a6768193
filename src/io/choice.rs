//! Which driver to run, and why: io_uring where it is to be had, else epoll.
//!
//! Invariants: io_uring is judged by doing: the real ring with the real flags, then the self-test.
//! What stands in its way is named with the remedy, once, in one line.

use std::fs;
use std::io;

use crate::io::selftest;
use crate::io::sys;
use crate::io::uring::Uring;
use crate::io::waker::Waker;

/// What the operator asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// io_uring if it is to be had, else epoll.
    #[default]
    Auto,
    /// io_uring or nothing.
    Uring,
    /// epoll.
    Epoll,
}

/// Which driver it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// io_uring.
    Uring,
    /// epoll.
    Epoll,
}

impl Kind {
    /// As in logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        }
    }
}

/// The driver to run, and the reason to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Which.
    pub kind: Kind,
    /// Why, for one log line.
    pub reason: String,
}

/// Why there is no ring. Each says the cause, then the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// `ENOSYS`.
    #[error(
        "io_uring is missing: the kernel is too old, or seccomp hides it. Allow io_uring_setup, \
         io_uring_enter and io_uring_register, or use --io epoll"
    )]
    Missing,
    /// `EPERM`, and the sysctl says 2.
    #[error(
        "io_uring is disabled on this host: kernel.io_uring_disabled = 2. Set it to 0, or use \
         --io epoll"
    )]
    Disabled,
    /// `EPERM`, and the sysctl says 1.
    #[error(
        "io_uring is limited to CAP_SYS_ADMIN or group {group} (kernel.io_uring_group). Join the \
         group, or use --io epoll"
    )]
    Limited {
        /// `kernel.io_uring_group`.
        group: String,
    },
    /// `EPERM`, and no sysctl says why.
    #[error(
        "io_uring is refused by a seccomp profile or a security module. Allow io_uring_setup, \
         io_uring_enter and io_uring_register in the profile (tuning/ has one), or use --io epoll"
    )]
    Refused,
    /// `ENOMEM`, also after retries.
    #[error(
        "ring memory exceeds RLIMIT_MEMLOCK ({limit}). Set LimitMEMLOCK=infinity, or use --io epoll"
    )]
    Memlock {
        /// The limit, with its unit.
        limit: String,
    },
    /// `EINVAL`: a flag is unknown.
    #[error("kernel {release} is older than 6.1. Upgrade it, or use --io epoll")]
    OldKernel {
        /// As `uname -r`.
        release: String,
    },
    /// The ring works, but sends do not mean what they must.
    #[error("io_uring send self-test failed at {0}. Use --io epoll, and please report the kernel")]
    SelfTest(selftest::Failure),
    /// Anything else.
    #[error("io_uring cannot be set up: errno {errno}. Use --io epoll")]
    Failed {
        /// The kernel's answer.
        errno: i32,
    },
}

impl Unavailable {
    /// Reads what the kernel's refusal means on this host.
    pub(in crate::io) fn classify(error: &io::Error) -> Self {
        let sysctl = |name: &str| {
            let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
            text.trim().to_owned()
        };
        let host = Host {
            disabled: sysctl("io_uring_disabled"),
            group: sysctl("io_uring_group"),
            release: sysctl("osrelease"),
            memlock: sys::memlock_limit(),
        };
        Self::explain(error.raw_os_error().unwrap_or(0), host)
    }

    fn explain(errno: i32, host: Host) -> Self {
        match errno {
            sys::ENOSYS => Self::Missing,
            sys::EPERM => match host.disabled.as_str() {
                "2" => Self::Disabled,
                "1" => Self::Limited { group: host.group },
                _ => Self::Refused,
            },
            sys::ENOMEM => {
                let limit = match host.memlock {
                    Some(bytes) => format!("{} KiB", bytes / 1024),
                    None => "none is set, so the host is out of memory".to_owned(),
                };
                Self::Memlock { limit }
            }
            sys::EINVAL => Self::OldKernel { release: host.release },
            errno => Self::Failed { errno },
        }
    }
}

/// What an errno alone does not say.
#[derive(Clone, Debug, Default)]
struct Host {
    disabled: String,
    group: String,
    release: String,
    memlock: Option<u64>,
}

/// Builds a real ring and runs the send self-test on it. Takes some milliseconds, once.
///
/// # Errors
/// What stands in the way, with the remedy.
pub fn probe_uring() -> Result<(), Unavailable> {
    let waker = Waker::new().map_err(|error| Unavailable::classify(&error))?;
    let mut uring = Uring::new(Vec::new(), &waker)?;
    selftest::run(&mut uring).map_err(Unavailable::SelfTest)
}

/// Resolves what the operator asked for on this host.
///
/// # Errors
/// io_uring was asked for and is not to be had.
pub fn decide(choice: Choice) -> Result<Decision, Unavailable> {
    let decision = |kind, reason: &str| Decision { kind, reason: reason.to_owned() };
    match choice {
        Choice::Epoll => Ok(decision(Kind::Epoll, "as asked for")),
        Choice::Uring => probe_uring().map(|()| decision(Kind::Uring, "as asked for")),
        Choice::Auto => Ok(match probe_uring() {
            Ok(()) => decision(Kind::Uring, "available, send self-test passed"),
            Err(cause) => decision(Kind::Epoll, &cause.to_string()),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_names_its_cause_and_a_remedy() {
        let host = |disabled: &str| Host {
            disabled: disabled.to_owned(),
            group: "977".to_owned(),
            release: "5.15.0".to_owned(),
            memlock: Some(65_536),
        };
        let text = |errno, disabled| Unavailable::explain(errno, host(disabled)).to_string();
        assert!(text(libc::ENOSYS, "0").contains("seccomp hides it"));
        assert!(text(libc::EPERM, "2").contains("io_uring_disabled = 2"));
        assert!(text(libc::EPERM, "1").contains("group 977"));
        assert!(text(libc::EPERM, "0").contains("seccomp profile"));
        assert!(text(libc::EPERM, "").contains("seccomp profile"));
        assert!(text(libc::ENOMEM, "0").contains("64 KiB"));
        assert!(text(libc::EINVAL, "0").contains("5.15.0 is older than 6.1"));
        for errno in [libc::ENOSYS, libc::EPERM, libc::ENOMEM, libc::EINVAL, libc::EIO] {
            assert!(text(errno, "0").contains("--io epoll"), "a remedy for errno {errno}");
        }
    }

    #[test]
    fn epoll_needs_no_probe() {
        assert_eq!(decide(Choice::Epoll).map(|d| d.kind), Ok(Kind::Epoll));
    }
}
