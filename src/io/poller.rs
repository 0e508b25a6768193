//! A client-side poller for the load generator: epoll, level-triggered, with nanosecond waits, and
//! the monotonic clock that several processes share.
//!
//! Not a driver: the server never uses it. It exists because the load generator opens tens of
//! thousands of connections, must cost less than the server it measures, and may not bring a
//! second door to `libc`.
//!
//! # Safety
//! Safe code cannot call epoll or read a clock by its raw number. Invariants:
//! 1. Every pointer given to the kernel comes from a reference or a vector that outlives the call,
//!    with its true length.
//! 2. The epoll descriptor is owned: it is open for as long as the poller lives.
//! 3. Descriptors to watch are borrowed from their owners; the kernel drops a watch by itself when
//!    its descriptor closes.

use std::io;
use std::os::fd::AsFd;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// Something to read.
    Read,
    /// Something to read, or room to write.
    Both,
}

/// A descriptor that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The key given to [`Poller::add`].
    pub key: u64,
    /// There is something to read, or the connection has ended or failed.
    pub readable: bool,
    /// There is room to write, or the connection has failed.
    pub writable: bool,
}

/// Watches many descriptors.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poller").field("epoll", &self.epoll).finish_non_exhaustive()
    }
}

impl Poller {
    /// A poller that reports up to `batch` descriptors per wait.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn new(batch: usize) -> io::Result<Self> {
        // SAFETY: (1) no pointer is passed.
        let raw = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: (2) the kernel has just given us this descriptor, and nobody else owns it.
        let epoll = unsafe { OwnedFd::from_raw_fd(raw) };
        let events = vec![libc::epoll_event { events: 0, u64: 0 }; batch.max(1)];
        Ok(Self { epoll, events })
    }

    /// Watches a descriptor under `key`.
    ///
    /// # Errors
    /// The kernel refused it.
    pub fn add(&self, fd: &impl AsFd, key: u64, want: Want) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, key, want)
    }

    /// Changes what is waited for.
    ///
    /// # Errors
    /// The descriptor was not added.
    pub fn change(&self, fd: &impl AsFd, key: u64, want: Want) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, key, want)
    }

    fn control(&self, how: i32, fd: &impl AsFd, key: u64, want: Want) -> io::Result<()> {
        let mask = match want {
            Want::Read => libc::EPOLLIN,
            Want::Both => libc::EPOLLIN | libc::EPOLLOUT,
        };
        let mut event = libc::epoll_event { events: mask.cast_unsigned(), u64: key };
        let fd = fd.as_fd().as_raw_fd();
        // SAFETY: (1) (3) the event outlives the call; the kernel copies it.
        let done = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), how, fd, &raw mut event) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Waits up to `wait` and appends what is ready. An interrupted wait finds nothing.
    ///
    /// # Errors
    /// The poller itself is broken.
    pub fn wait(&mut self, wait: Duration, out: &mut Vec<Found>) -> io::Result<()> {
        let wait = libc::timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let room = i32::try_from(self.events.len()).unwrap_or(i32::MAX);
        let (epoll, events) = (self.epoll.as_raw_fd(), self.events.as_mut_ptr());
        let no_mask = std::ptr::null();
        // SAFETY: (1) `events` holds `room` entries, and both it and `wait` outlive the call.
        let count = unsafe { libc::epoll_pwait2(epoll, events, room, &raw const wait, no_mask) };
        let Ok(count) = usize::try_from(count) else {
            let cause = io::Error::last_os_error();
            return if cause.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(cause) };
        };
        const GONE: i32 = libc::EPOLLERR | libc::EPOLLHUP;
        let has = |bits: u32, mask: i32| bits & mask.cast_unsigned() != 0;
        out.extend(self.events.iter().take(count).map(|event| Found {
            key: event.u64,
            readable: has(event.events, libc::EPOLLIN | GONE),
            writable: has(event.events, libc::EPOLLOUT | GONE),
        }));
        Ok(())
    }
}

/// Nanoseconds of the system's monotonic clock: one scale for all processes of this host, so that
/// a due time written by one can be compared by another.
#[must_use]
pub fn monotonic_nanos() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: (1) `now` outlives the call. It cannot fail: this clock always exists.
    let _ = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let whole = u64::try_from(now.tv_sec).unwrap_or(0).saturating_mul(1_000_000_000);
    whole.saturating_add(u64::try_from(now.tv_nsec).unwrap_or(0))
}

/// Whether a non-blocking connect has merely begun.
#[must_use]
pub fn in_progress(cause: &io::Error) -> bool {
    cause.raw_os_error() == Some(libc::EINPROGRESS)
}

/// Descriptors that this process may have open.
#[must_use]
pub fn descriptors_max() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: (1) `limit` outlives the call.
    let done = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    if done < 0 { 1024 } else { limit.rlim_cur }
}

/// Clock ticks per second, the unit of CPU times in `/proc`.
#[must_use]
pub fn ticks_per_second() -> u64 {
    // SAFETY: (1) no pointer is passed.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).ok().filter(|ticks| *ticks > 0).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    #[test]
    fn finds_what_is_readable_and_keeps_saying_so() {
        let (mut near, far) = UnixStream::pair().unwrap();
        let mut poller = Poller::new(4).unwrap();
        poller.add(&far, 7, Want::Read).unwrap();
        let mut found = Vec::new();
        poller.wait(Duration::ZERO, &mut found).unwrap();
        assert!(found.is_empty());
        near.write_all(b"x").unwrap();
        for _ in 0..2 {
            found.clear();
            poller.wait(Duration::from_secs(5), &mut found).unwrap();
            assert_eq!(found, [Found { key: 7, readable: true, writable: false }]);
        }
        poller.change(&far, 8, Want::Both).unwrap();
        found.clear();
        poller.wait(Duration::from_secs(5), &mut found).unwrap();
        assert_eq!(found, [Found { key: 8, readable: true, writable: true }]);
    }

    #[test]
    fn the_clock_moves_on() {
        let before = monotonic_nanos();
        while monotonic_nanos() == before {}
        assert!(monotonic_nanos() > before && ticks_per_second() > 0);
    }
}
