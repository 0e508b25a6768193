//! A fake host for tests: a folder with the files that `tune` reads, all as wanted.
//!
//! Invariants: each fake has a folder of its own, removed with it.

use crate::cli::host::Tree;
use std::fs;
use std::path::PathBuf;

/// A folder that looks like the root of a host.
#[derive(Debug)]
pub struct Fake {
    root: PathBuf,
}

impl Fake {
    /// A host where 500,000 clients would find nothing short.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("tidegate-{}-{name}", std::process::id()));
        let fake = Self { root };
        fake.write(
            "proc/self/limits",
            "Limit                     Soft Limit           Hard Limit           Units     \n\
             Max open files            1024                 524288               files     \n\
             Max locked memory         unlimited            unlimited            bytes     \n",
        );
        fake.write(
            "proc/self/status",
            "Name:\ttidegate\nSeccomp:\t0\nCapEff:\t0000000000000000\nCpus_allowed_list:\t0-1\n",
        );
        fake.write("proc/self/cgroup", "0::/\n");
        fake.write("proc/meminfo", "MemTotal:       16000000 kB\n");
        fake.write("proc/sys/kernel/osrelease", "6.18.44-test\n");
        fake.write("proc/sys/kernel/io_uring_disabled", "0\n");
        for (name, value) in [
            ("fs/nr_open", "1048576"),
            ("fs/file-max", "2466177"),
            ("net/core/somaxconn", "8192"),
            ("net/ipv4/tcp_max_syn_backlog", "8192"),
            ("net/ipv4/tcp_syncookies", "1"),
            ("net/ipv4/tcp_slow_start_after_idle", "0"),
            ("net/ipv4/tcp_mem", "287901\t383868\t575802"),
        ] {
            fake.write(&format!("proc/sys/{name}"), value);
        }
        let pages = "sys/kernel/mm/transparent_hugepage/enabled";
        fake.write(pages, "always [madvise] never\n");
        fake
    }

    /// Replaces a file.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Reads it as a host.
    #[must_use]
    pub fn tree(&self) -> Tree {
        Tree::at(self.root.clone())
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}
