//! What the process says about itself besides what its workers count.
//!
//! Invariants: read at each scrape from `/proc/self`, never cached; what cannot be read is left
//! out, not told as 0.

use super::declared::Family;
use super::declared::Unit;
use crate::base::phase::Phase;

/// Facts that are fixed when the process starts.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// The driver of the data path: `uring` or `epoll`.
    pub driver: String,
    /// Why it was chosen.
    pub driver_reason: String,
    /// When the process started, in milliseconds since the Unix epoch.
    pub start_unix_millis: u64,
    /// How many workers it runs.
    pub workers: usize,
}

/// The metrics of the process, in the order of `samples`.
pub const PROCESS: &[Family] = &[
    info("tidegate_build_info", "The running version; always 1."),
    info("tidegate_io_driver_info", "The driver of the data path, and why; always 1."),
    info("tidegate_phase_info", "1 for the phase that the process is in."),
    info("tidegate_workers_count", "Workers."),
    info("tidegate_process_start_seconds", "When the process started, since the Unix epoch."),
    info("tidegate_process_resident_bytes", "Resident memory of the process."),
    info("tidegate_process_descriptors_open", "File descriptors that the process holds."),
    info("tidegate_process_descriptors_max", "The process's soft limit of file descriptors."),
];

const fn info(name: &'static str, help: &'static str) -> Family {
    Family { name, help, unit: Unit::Plain, labels: &[] }
}

/// One series: its labels as text (empty or `{..}`) and its value as text.
pub(super) type Sample = (String, String);

/// The series of [`PROCESS`], one list for each line of it.
pub(super) fn samples(process: &Process, phase: Phase) -> [Vec<Sample>; PROCESS.len()] {
    let plain = |value: Option<u64>| {
        value.map(|v| (String::new(), v.to_string())).into_iter().collect::<Vec<_>>()
    };
    let version = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    let driver = format!(
        "{{driver=\"{}\",reason=\"{}\"}}",
        escaped(&process.driver),
        escaped(&process.driver_reason)
    );
    let phases = Phase::ALL
        .iter()
        .map(|p| (format!("{{phase=\"{}\"}}", p.name()), u8::from(*p == phase).to_string()))
        .collect();
    let (seconds, millis) = (process.start_unix_millis / 1000, process.start_unix_millis % 1000);
    [
        vec![(version, "1".to_owned())],
        vec![(driver, "1".to_owned())],
        phases,
        plain(u64::try_from(process.workers).ok()),
        vec![(String::new(), format!("{seconds}.{millis:03}"))],
        plain(resident_bytes()),
        plain(descriptors_open()),
        plain(descriptors_max()),
    ]
}

/// A label's value: backslash, quote and line feed are escaped (Prometheus text format 0.0.4).
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kibibytes: u64 = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn descriptors_open() -> Option<u64> {
    // Linux 6.2 and later keep the count as the directory's size; reading 100,000 entries is slow.
    let size = std::fs::metadata("/proc/self/fd").ok()?.len();
    if size > 0 {
        return Some(size);
    }
    u64::try_from(std::fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}

fn descriptors_max() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find(|line| line.starts_with("Max open files"))?;
    line.split_ascii_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_is_read() {
        assert!(resident_bytes().unwrap() > 4096);
        assert!(descriptors_open().unwrap() >= 3);
        assert!(descriptors_max().unwrap() >= 3);
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
