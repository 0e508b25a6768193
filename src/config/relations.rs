//! Relations between keys: what must hold (errors) and what had better hold (warnings).
//!
//! Invariants: errors depend on the configuration alone; what depends on the host is a warning,
//! because a configuration is often checked on another host than it runs on. A relation is judged
//! only where its keys are right by themselves: one mistake is one error.

use crate::config::Config;
use crate::config::budget;
use crate::config::error::Cause;
use crate::config::error::Place;
use crate::config::error::Problem;
use crate::config::error::Warning;
use crate::config::units;

/// The key of the reference hub's examples, known to everyone.
const DEVELOPMENT_KEY: &str = "!ChangeThisMercureHubJWTSecretKey!";

/// What the host allows, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Open files that the process may have; `None`: unknown or unlimited.
    pub files_max: Option<u64>,
    /// CPUs that the process may run on, ascending; empty: unknown.
    pub cpus: Vec<usize>,
}

/// Adds a problem for each relation that does not hold.
pub fn check(config: &Config, problems: &mut Vec<Problem>) {
    // A wrong value stands at its default in `config`, so relations say nothing true about it.
    // A prefix, because a secret has several keys: `hub.publisher_key_file` is one.
    let wrong: Vec<String> = problems.iter().map(|problem| problem.key.clone()).collect();
    let right = |key: &str| !wrong.iter().any(|wrong| wrong.starts_with(key));
    let mut relation = |holds: bool, keys: [&str; 2], value: String, bound: &str, remedy: &str| {
        let [key, other] = keys;
        if !holds && right(key) && right(other) {
            problems.push(Problem {
                key: key.to_owned(),
                value,
                place: Place::Default,
                cause: Cause::Relation { bound: bound.to_owned(), remedy: remedy.to_owned() },
            });
        }
    };
    let size = |bytes: usize| units::show_size(u64::try_from(bytes).unwrap_or(u64::MAX));
    let (limits, hub) = (&config.limits, &config.hub);
    relation(
        config.listen.ip().is_loopback() || hub.publisher_key.is_some(),
        ["listen", "hub.publisher_key"],
        config.listen.to_string(),
        "must be a loopback address while there is no hub.publisher_key: nothing would tell \
         publishers from others",
        "set hub.publisher_key (or hub.publisher_key_file), or listen on 127.0.0.1 or [::1]",
    );
    relation(
        hub.anonymous || hub.subscriber_key.is_some(),
        ["hub.anonymous", "hub.subscriber_key"],
        hub.anonymous.to_string(),
        "must be true while there is no hub.subscriber_key: nobody could subscribe",
        "set hub.subscriber_key, or remove hub.anonymous",
    );
    relation(
        config.admin.is_none_or(|admin| admin.port() == 0 || !overlap(admin, config.listen)),
        ["admin", "listen"],
        config.admin.map(|admin| admin.to_string()).unwrap_or_default(),
        "must differ from listen",
        "give admin another port, or set it to \"off\"",
    );
    relation(
        limits.target_bytes_max <= limits.head_bytes_max,
        ["limits.target_bytes_max", "limits.head_bytes_max"],
        size(limits.target_bytes_max),
        "must not exceed limits.head_bytes_max, since the target is a part of the head",
        "lower it, or raise limits.head_bytes_max",
    );
    relation(
        limits.body_bytes_max <= hub.lag_bytes_max,
        ["limits.body_bytes_max", "hub.lag_bytes_max"],
        size(limits.body_bytes_max),
        "must not exceed hub.lag_bytes_max: one event would put every client past its lag",
        "lower it, or raise hub.lag_bytes_max",
    );
    relation(
        hub.lag_bytes_max <= limits.unsent_bytes_max,
        ["hub.lag_bytes_max", "limits.unsent_bytes_max"],
        size(hub.lag_bytes_max),
        "must not exceed limits.unsent_bytes_max, which all lagging clients of a worker share",
        "lower it, or raise limits.unsent_bytes_max",
    );
}

/// Whether two listeners would want the same port of the same address.
fn overlap(a: std::net::SocketAddr, b: std::net::SocketAddr) -> bool {
    let same = a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() == b.port() && same
}

/// What works but is likely not wanted, here on this host.
#[must_use]
pub fn warnings(config: &Config, host: &Host) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut warn = |when: bool, key, matter: String, remedy: &str| {
        if when {
            warnings.push(Warning { key, matter, remedy: remedy.to_owned() });
        }
    };
    let (limits, hub) = (&config.limits, &config.hub);
    if let (Some(wanted), Some(files)) = (limits.connections_max, host.files_max) {
        let room = files.saturating_sub(budget::FILES_RESERVED);
        warn(
            u64::try_from(wanted).unwrap_or(u64::MAX) > room,
            "limits.connections_max",
            format!("{wanted} connections do not fit into the limit of {files} open files"),
            "raise it (LimitNOFILE=, ulimit -n), or lower the key",
        );
    }
    let open = |cpu: &&usize| !host.cpus.is_empty() && !host.cpus.contains(cpu);
    let missing: Vec<usize> = config.workers.cpus.iter().flatten().filter(open).copied().collect();
    warn(
        !missing.is_empty(),
        "cpus",
        format!("the process may not run on CPU {}", units::show_cpus(&missing)),
        "take CPUs from `taskset -cp $$`, or widen CPUAffinity= or the cpuset",
    );
    let cpus = config.workers.cpus.as_ref().map_or(host.cpus.len(), Vec::len);
    let count = config.workers.count.unwrap_or(0);
    warn(
        cpus > 0 && count > cpus,
        "workers",
        format!("{count} workers share {cpus} CPUs and wait for each other"),
        "lower workers, or add CPUs",
    );
    warn(
        config.admin.is_some_and(|admin| !admin.ip().is_loopback()),
        "admin",
        "metrics and health are served to everyone who reaches the address".to_owned(),
        "listen on loopback, or keep the address on a private network",
    );
    let known = |key: &Option<crate::base::redact::Secret>| {
        key.as_ref().is_some_and(|key| key.reveal() == DEVELOPMENT_KEY)
    };
    warn(
        known(&hub.publisher_key) || known(&hub.subscriber_key),
        "hub.publisher_key",
        "the development key of the Mercure examples is known to everyone".to_owned(),
        "use a key of your own before others can reach the hub",
    );
    warn(
        hub.publisher_key.is_some() && hub.subscriber_key.is_none(),
        "hub.subscriber_key",
        "without it nobody receives private events".to_owned(),
        "set it if you publish private events",
    );
    warn(
        hub.topic_bytes_max > limits.target_bytes_max,
        "hub.topic_bytes_max",
        "a topic longer than limits.target_bytes_max can be published but not selected".to_owned(),
        "lower it, or raise limits.target_bytes_max",
    );
    warnings
}
