//! What `tune` says about memory: the budget against the host and its control group.
//!
//! Invariants: weighs the idle sum, since a host that cannot hold its clients at rest is wrong for
//! sure; the sum with every limit reached is shown beside it.

use crate::cli::host::Tree;
use crate::cli::tune::Finding;
use crate::cli::tune::State;
use crate::cli::tune::Want;
use crate::config::budget::Budget;
use crate::config::relations::Host;
use crate::config::units::round_size;

/// The budget for the wanted number of clients and workers.
fn budget(want: &Want) -> Budget {
    let mut config = want.config.clone();
    config.limits.connections_max = usize::try_from(want.clients).ok();
    config.workers.count = Some(want.workers);
    Budget::new(&config, &Host::default())
}

fn finding(name: &'static str, bytes: u64, want: &Want, why: &'static str) -> Finding {
    let budget = budget(want);
    let (idle, most) = (budget.idle_bytes(), budget.most_bytes());
    let state = if bytes >= idle { State::Fine } else { State::Short };
    Finding {
        name,
        state,
        current: round_size(bytes),
        wanted: format!(
            "at least {}; {} with every limit reached",
            round_size(idle),
            round_size(most)
        ),
        why,
        command: "add memory, or lower limits.connections_max; `tidegate check` itemises it"
            .to_owned(),
    }
}

/// Physical memory.
#[must_use]
pub fn host(tree: &Tree, want: &Want) -> Option<Finding> {
    let why = "clients and their kernel sockets must fit while they are idle";
    Some(finding("memory", tree.memory()?, want, why))
}

/// The limit of the control group, which counts the kernel's sockets too.
#[must_use]
pub fn group(tree: &Tree, want: &Want) -> Option<Finding> {
    let bytes = tree.group_least("memory.max", |text| text.parse().ok())?;
    let why = "sockets are charged to the group; beyond its limit the process is killed";
    Some(Finding {
        command: "raise MemoryMax= or the memory limit, or lower limits.connections_max".to_owned(),
        ..finding("memory of the group", bytes, want, why)
    })
}

/// Transparent huge pages.
#[must_use]
pub fn huge_pages(tree: &Tree) -> Option<Finding> {
    let path = "sys/kernel/mm/transparent_hugepage/enabled";
    let text = tree.text(path)?;
    let (_, rest) = text.split_once('[')?;
    let (current, _) = rest.split_once(']')?;
    Some(Finding {
        name: "transparent huge pages",
        state: if current == "always" { State::Short } else { State::Fine },
        current: current.to_owned(),
        wanted: "madvise or never".to_owned(),
        why: "with always, small allocations take pages of 2 MiB and the memory per client grows",
        command: format!("echo madvise > /{path}"),
    })
}
