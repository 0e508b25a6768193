//! What the host says about itself: the files under `/proc` and `/sys`, read below any root.
//!
//! Invariants: reads only; a file that is missing or odd is `None`, never an error, because hosts
//! differ. Tests give a tree of their own as the root.

use crate::config::relations;
use crate::config::units;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// Longest file that is read; the kernel's are far shorter.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A root under which `proc` and `sys` lie.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
}

/// A soft limit and the hard limit above it; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What holds now.
    pub soft: Option<u64>,
    /// What the process may raise it to.
    pub hard: Option<u64>,
}

impl Tree {
    /// This host.
    #[must_use]
    pub fn host() -> Self {
        Self::at(PathBuf::from("/"))
    }

    /// Another tree.
    #[must_use]
    pub fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// The text of a file, by its path below the root, without the line end.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<String> {
        let file = File::open(self.root.join(path.trim_start_matches('/'))).ok()?;
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
        Some(text.trim_end().to_owned())
    }

    /// A file that holds one number.
    #[must_use]
    pub fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.trim().parse().ok()
    }

    /// A limit of this process, by its name in `/proc/self/limits`.
    #[must_use]
    pub fn limit(&self, name: &str) -> Option<Limit> {
        let text = self.text("proc/self/limits")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let mut fields = line.split_whitespace();
        let mut next = || match fields.next()? {
            "unlimited" => Some(None),
            number => number.parse().ok().map(Some),
        };
        Some(Limit { soft: next()?, hard: next()? })
    }

    /// A field of `/proc/self/status`.
    #[must_use]
    pub fn status(&self, name: &str) -> Option<String> {
        let text = self.text("proc/self/status")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().to_owned())
    }

    /// CPUs that the process may run on.
    #[must_use]
    pub fn cpus(&self) -> Vec<usize> {
        let list = self.status("Cpus_allowed_list");
        list.and_then(|list| units::parse_cpus(&list)).unwrap_or_default()
    }

    /// What the configuration is weighed against.
    #[must_use]
    pub fn facts(&self) -> relations::Host {
        let files = self.limit("Max open files");
        // The hard limit is what holds: the server raises the soft one to it when it starts.
        relations::Host { files_max: files.and_then(|files| files.hard), cpus: self.cpus() }
    }

    /// Physical memory in bytes.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        let text = self.text("proc/meminfo")?;
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib.saturating_mul(1024))
    }

    /// The tightest value of a control-group file of this process, from its group up to the root.
    #[must_use]
    pub fn group_least(&self, file: &str, parse: fn(&str) -> Option<u64>) -> Option<u64> {
        let groups = self.text("proc/self/cgroup")?;
        let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
        let mut least = None;
        let mut path = path.trim_end_matches('/');
        loop {
            let value = self.text(&format!("sys/fs/cgroup{path}/{file}"));
            let value = value.and_then(|text| parse(&text));
            least = match (least, value) {
                (Some(a), Some(b)) => Some(u64::min(a, b)),
                (a, b) => a.or(b),
            };
            match path.rfind('/') {
                Some(end) => path = path.get(..end).unwrap_or_default(),
                None => return least,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::tune::fake::Fake;

    #[test]
    fn limits_are_numbers_or_unlimited() {
        let fake = Fake::new("limits_are_numbers");
        let limit = fake.tree().limit("Max open files");
        assert_eq!(limit, Some(Limit { soft: Some(1024), hard: Some(524_288) }));
        let limit = fake.tree().limit("Max locked memory");
        assert_eq!(limit, Some(Limit { soft: None, hard: None }));
        assert_eq!(fake.tree().limit("Max nothing"), None);
    }

    #[test]
    fn what_is_missing_is_none() {
        let tree = Tree::at(PathBuf::from("/nonexistent"));
        assert_eq!(tree.number("proc/sys/fs/nr_open"), None);
        assert_eq!(tree.facts(), relations::Host::default());
        assert_eq!(tree.memory(), None);
        assert_eq!(tree.group_least("memory.max", |text| text.parse().ok()), None);
    }

    #[test]
    fn the_tightest_group_counts() {
        let fake = Fake::new("the_tightest_group");
        fake.write("proc/self/cgroup", "0::/a/b\n");
        fake.write("sys/fs/cgroup/a/b/memory.max", "max\n");
        fake.write("sys/fs/cgroup/a/memory.max", "1000\n");
        fake.write("sys/fs/cgroup/memory.max", "2000\n");
        let least = fake.tree().group_least("memory.max", |text| text.parse().ok());
        assert_eq!(least, Some(1000));
    }
}
