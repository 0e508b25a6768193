//! The server as `/proc` shows it: CPU time and memory of a process and all its descendants.
//!
//! Invariants: read-only. CPU time only grows while the processes live; a descendant that ends
//! takes its time with it, which is why servers are measured between two points with stable
//! workers.

use crate::io::poller::ticks_per_second;
use std::fs;
use std::io;

/// One look at the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of all threads in user and kernel mode, in nanoseconds.
    pub cpu_nanos: u64,
    /// Resident memory, in bytes.
    pub resident: u64,
}

/// A server process to look at.
#[derive(Clone, Debug)]
pub struct Observed {
    processes: Vec<u32>,
}

impl Observed {
    /// The process `pid` and its descendants of this moment.
    ///
    /// # Errors
    /// There is no such process.
    pub fn find(pid: u32) -> io::Result<Self> {
        let parents = parents()?;
        let mut processes = vec![pid];
        let mut at = 0;
        while let Some(parent) = processes.get(at).copied() {
            processes.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
            at += 1;
        }
        let observed = Self { processes };
        observed.look()?;
        Ok(observed)
    }

    /// Looks.
    ///
    /// # Errors
    /// The server has ended.
    pub fn look(&self) -> io::Result<Usage> {
        let mut usage = Usage::default();
        for pid in &self.processes {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
            let ticks = ticks(&stat).ok_or_else(|| io::Error::other("unknown /proc/PID/stat"))?;
            usage.cpu_nanos += ticks * (1_000_000_000 / ticks_per_second());
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            usage.resident += resident(&status).unwrap_or(0);
        }
        Ok(usage)
    }
}

/// Every process with its parent.
fn parents() -> io::Result<Vec<(u32, u32)>> {
    let entries = fs::read_dir("/proc")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids
        .filter_map(|pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            Some((pid, fields(&stat).nth(1)?.parse().ok()?))
        })
        .collect())
}

/// Fields of `/proc/PID/stat` from the state on; the name before it may hold spaces and brackets.
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace()
}

/// utime and stime, fields 14 and 15, where the state is field 3.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = fields(stat).skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_fields_past_a_nasty_name() {
        let stat = "77 (a) b (c) S 5 77 77 0 -1 4 1 2 3 4 130 70 9 9 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(200));
        assert_eq!(fields(stat).nth(1), Some("5"));
        assert_eq!(resident("Name:\tx\nVmRSS:\t  12 kB\n"), Some(12 * 1024));
    }

    #[test]
    fn sees_this_process_work() {
        let observed = Observed::find(std::process::id()).unwrap();
        let before = observed.look().unwrap();
        assert!(before.resident > 100_000);
        let mut sum = 0_u64;
        while observed.look().unwrap().cpu_nanos == before.cpu_nanos {
            sum = sum.wrapping_add(1);
        }
        assert!(Observed::find(u32::MAX).is_err());
    }
}
