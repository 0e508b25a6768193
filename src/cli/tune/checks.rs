//! What `tune` looks at: limits of the process, kernel, sysctls, CPUs.
//!
//! Invariants: each check reads through the `Tree` and gives at most one finding; what a host does
//! not have (no connection tracking, no frequency control) gives none. The reasons are repeated,
//! with more room, in `tuning/`.

use crate::cli::host::Tree;
use crate::cli::tune::Finding;
use crate::cli::tune::State;
use crate::cli::tune::Want;
use crate::cli::tune::memory;
use crate::config::Io;
use crate::config::budget::RING_BYTES;
use crate::config::budget::STALLED_BYTES;
use crate::config::units;

/// Bit of `CAP_IPC_LOCK` in the effective set: its holder is not bound by the memlock limit.
const CAP_IPC_LOCK: u32 = 14;

/// Oldest kernel whose io_uring has what the driver needs (`DEFER_TASKRUN`).
const KERNEL_MIN: (u32, u32) = (6, 1);

/// Connections that a listener asks the kernel to queue.
const BACKLOG: u64 = 8192;

/// All findings, in the order in which an operator would set things.
#[must_use]
pub fn all(tree: &Tree, want: &Want) -> Vec<Finding> {
    let mut findings = vec![files(tree, want), kernel(tree, want)];
    if want.config.io != Io::Epoll {
        findings.extend([uring(tree), seccomp(tree), locked(tree, want)].into_iter().flatten());
    }
    findings.extend(sysctls(want).iter().filter_map(|sysctl| sysctl.find(tree)));
    findings.extend(tcp_memory(tree, want));
    findings.extend(memory::host(tree, want));
    findings.extend(memory::group(tree, want));
    findings.extend(memory::huge_pages(tree));
    findings.extend(quota(tree, want));
    findings.extend(governor(tree, want));
    findings
}

fn state(fine: bool) -> State {
    if fine { State::Fine } else { State::Short }
}

fn files(tree: &Tree, want: &Want) -> Finding {
    let files = want.files();
    let limit = tree.limit("Max open files");
    // The server raises its soft limit to the hard one when it starts.
    let (state, current) = match limit.map(|limit| limit.hard) {
        None => (State::Unknown, "not readable".to_owned()),
        Some(None) => (State::Fine, "unlimited".to_owned()),
        Some(Some(hard)) => (state(hard >= files), hard.to_string()),
    };
    Finding {
        name: "open files",
        state,
        current,
        wanted: format!("at least {files}"),
        why: "each client takes a descriptor; at the limit new clients are turned away",
        command: format!("LimitNOFILE={files} in the unit, or: ulimit -Hn {files}"),
    }
}

fn kernel(tree: &Tree, want: &Want) -> Finding {
    let (major, minor) = KERNEL_MIN;
    let release = tree.text("proc/sys/kernel/osrelease");
    let version = release.as_deref().and_then(|release| {
        let mut parts = release.split(['.', '-']).map(str::parse::<u32>);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    });
    let fits = |version| version >= KERNEL_MIN || want.config.io == Io::Epoll;
    Finding {
        name: "kernel",
        state: version.map_or(State::Unknown, |version| state(fits(version))),
        current: release.unwrap_or_else(|| "not readable".to_owned()),
        wanted: format!("{major}.{minor} or newer"),
        why: "older kernels lack io_uring features that the send path needs; epoll is used there",
        command: "install a newer kernel, or settle for io = \"epoll\"".to_owned(),
    }
}

fn uring(tree: &Tree) -> Option<Finding> {
    // Kernels before 6.6 have no such sysctl, and no such switch.
    let value = tree.number("proc/sys/kernel/io_uring_disabled")?;
    Some(Finding {
        name: "kernel.io_uring_disabled",
        state: state(value == 0),
        current: value.to_string(),
        wanted: "0".to_owned(),
        why: "1 keeps io_uring for CAP_SYS_ADMIN and the group in kernel.io_uring_group, 2 takes \
              it from everyone; epoll is used then",
        command: "sysctl -w kernel.io_uring_disabled=0".to_owned(),
    })
}

fn seccomp(tree: &Tree) -> Option<Finding> {
    let mode = tree.status("Seccomp")?;
    (mode != "0").then(|| Finding {
        name: "seccomp",
        state: State::Unknown,
        current: "a filter is active".to_owned(),
        wanted: "io_uring_setup, io_uring_enter and io_uring_register allowed".to_owned(),
        why: "many container runtimes refuse io_uring; whether this one does shows at start",
        command: "tidegate serve --io uring says; allow the three calls in the runtime's profile"
            .to_owned(),
    })
}

fn locked(tree: &Tree, want: &Want) -> Option<Finding> {
    let workers = u64::try_from(want.workers).unwrap_or(u64::MAX);
    // The charge of a process that has just ended is released late, so two must fit.
    let bytes = workers.saturating_mul(RING_BYTES).saturating_mul(2);
    let soft = tree.limit("Max locked memory")?.soft;
    let exempt = tree
        .status("CapEff")
        .and_then(|caps| u64::from_str_radix(&caps, 16).ok())
        .is_some_and(|caps| caps >> CAP_IPC_LOCK & 1 == 1);
    let current = match soft {
        _ if exempt => "no limit (CAP_IPC_LOCK)".to_owned(),
        None => "unlimited".to_owned(),
        Some(soft) => units::round_size(soft),
    };
    Some(Finding {
        name: "locked memory",
        state: state(exempt || soft.is_none_or(|soft| soft >= bytes)),
        current,
        wanted: format!("at least {}", units::round_size(bytes)),
        why: "ring memory counts against it, and that of a process which has just ended still does",
        command: "LimitMEMLOCK=infinity in the unit, or: ulimit -l unlimited".to_owned(),
    })
}

/// A sysctl with one number.
struct Sysctl {
    name: &'static str,
    want: Bound,
    why: &'static str,
}

enum Bound {
    Least(u64),
    Exactly(u64),
}

fn sysctls(want: &Want) -> Vec<Sysctl> {
    let row = |name, want, why| Sysctl { name, want, why };
    vec![
        row(
            "fs.nr_open",
            Bound::Least(want.files()),
            "no process may raise its limit of open files above it",
        ),
        row(
            "fs.file-max",
            Bound::Least(want.files().saturating_mul(2)),
            "open files of the whole host; the server needs a part of them",
        ),
        row(
            "net.core.somaxconn",
            Bound::Least(BACKLOG),
            "cuts the listener's queue; when all clients reconnect at once, connects beyond it \
             are dropped and retried after a second",
        ),
        row(
            "net.ipv4.tcp_max_syn_backlog",
            Bound::Least(BACKLOG),
            "handshakes that may be under way; a reconnect storm needs as many as the queue",
        ),
        row(
            "net.ipv4.tcp_syncookies",
            Bound::Least(1),
            "keeps a full handshake queue from refusing clients",
        ),
        row(
            "net.ipv4.tcp_slow_start_after_idle",
            Bound::Exactly(0),
            "an event after a pause would start with a small window, and a large one would take \
             several round trips",
        ),
        row(
            "net.netfilter.nf_conntrack_max",
            Bound::Least(want.clients.saturating_mul(2)),
            "where connection tracking is loaded, each client takes an entry, and a full table \
             drops packets",
        ),
    ]
}

impl Sysctl {
    fn find(&self, tree: &Tree) -> Option<Finding> {
        let value = tree.number(&format!("proc/sys/{}", self.name.replace('.', "/")))?;
        let (fine, wanted, target) = match self.want {
            Bound::Least(least) => (value >= least, format!("at least {least}"), least),
            Bound::Exactly(exact) => (value == exact, exact.to_string(), exact),
        };
        Some(Finding {
            name: self.name,
            state: state(fine),
            current: value.to_string(),
            wanted,
            why: self.why,
            command: format!("sysctl -w {}={target}", self.name),
        })
    }
}

/// Buffers of all TCP sockets, in pages of 4 KiB: a tenth of the clients may stall at once.
fn tcp_memory(tree: &Tree, want: &Want) -> Option<Finding> {
    let text = tree.text("proc/sys/net/ipv4/tcp_mem")?;
    let most: u64 = text.split_whitespace().nth(2)?.parse().ok()?;
    let pages = (want.clients / 10).saturating_mul(STALLED_BYTES) / 4096;
    Some(Finding {
        name: "net.ipv4.tcp_mem",
        state: state(most >= pages),
        current: format!("at most {most} pages"),
        wanted: format!("at least {pages} pages"),
        why: "kernel memory for TCP buffers; beyond it the kernel drops data of all connections",
        command: format!(
            "sysctl -w net.ipv4.tcp_mem='{} {} {pages}'",
            pages / 2,
            pages.saturating_mul(3) / 4
        ),
    })
}

/// CPU time that the control group allows, in thousandths of a CPU.
fn quota(tree: &Tree, want: &Want) -> Option<Finding> {
    let parse = |text: &str| {
        let (quota, period) = text.split_once(' ')?;
        let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
        quota.saturating_mul(1000).checked_div(period)
    };
    let thousandths = tree.group_least("cpu.max", parse)?;
    let wanted = u64::try_from(want.workers).unwrap_or(u64::MAX).saturating_mul(1000);
    Some(Finding {
        name: "CPU quota",
        state: state(thousandths >= wanted),
        current: format!("{}.{:03} CPUs", thousandths / 1000, thousandths % 1000),
        wanted: format!("at least {} CPUs, or none", want.workers),
        why: "a worker that has used up its quota stands still with all of its clients",
        command: format!(
            "raise CPUQuota= or the CPU limit, or set workers = {}",
            thousandths / 1000
        )
        .replace("workers = 0", "workers = 1"),
    })
}

/// Frequency control of the CPUs that the workers run on.
fn governor(tree: &Tree, want: &Want) -> Option<Finding> {
    let cpus = want.config.workers.cpus.clone().unwrap_or_else(|| tree.cpus());
    let governors = cpus.iter().filter_map(|cpu| {
        tree.text(&format!("sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"))
    });
    let mut governors: Vec<_> = governors.collect();
    governors.sort_unstable();
    governors.dedup();
    (!governors.is_empty()).then(|| Finding {
        name: "CPU governor",
        state: state(governors == ["performance"]),
        current: governors.join(", "),
        wanted: "performance".to_owned(),
        why: "a worker sleeps between events; a CPU that slows down meanwhile adds to every first \
              delivery",
        command: "cpupower frequency-set -g performance".to_owned(),
    })
}
