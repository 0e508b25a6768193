//! The memory budget: an itemised sum, one line for each consumer.
//!
//! Two sums are given. *Idle*: every client connected and caught up. *Most*: every limit reached
//! and every client stalled at once, which no host sees but which bounds what a host may see.
//! The unit costs of the kernel were measured on Linux 6.18, x86-64. Bodies stand beside the sum:
//! they are read only after the publisher's token has been judged, so publishers bound them.
//!
//! Invariants: each limit that holds memory has a line here.

use crate::config::Config;
use crate::config::form;
use crate::config::gateway::Action;
use crate::config::gateway::Backend;
use crate::config::gateway::Gateway;
use crate::config::gateway::Part;
use crate::config::gateway::PathMatch;
use crate::config::gateway::Rule;
use crate::config::gateway::TextMatch;
use crate::config::gateway::Upstream;
use crate::config::relations::Host;
use crate::config::units::round_size;
use std::collections::BTreeSet;
use std::fmt;

/// Descriptors that are kept for everything but connections: listeners, rings, wakers, admin, logs.
pub const FILES_RESERVED: u64 = 512;

/// Our own memory for one idle client: slot, cursor, timers.
pub const CLIENT_BYTES: u64 = 128;

/// Kernel memory of one accepted IPv4 socket (3,640 B) with an armed hang-up poll (256 B).
pub const SOCKET_BYTES: u64 = 3_896;

/// Send buffer that the kernel holds for a client that never reads, with `TCP_NOTSENT_LOWAT` at
/// 16 KiB.
pub const STALLED_BYTES: u64 = 39_600;

/// Ring memory of one worker: 256 submissions, 4,096 completions.
pub const RING_BYTES: u64 = 80 * 1024;

/// Buffers of one worker that are made at start: receive scratch, send batch, ready queue.
pub const SCRATCH_BYTES: u64 = 512 * 1024;

/// One part in so many of `limits.unsent_bytes_max`: what a worker holds, besides, of answers that
/// their peers do not take.
pub const ANSWERS_SHARE: usize = 8;

/// Pages of history that one worker keeps encoded for clients that resume from near places.
pub const CATCH_UP_BYTES: u64 = 8 << 20;

/// Wire bytes that the slowest worker may be behind before publishes are refused for a while.
pub const BACKLOG_BYTES: u64 = 64 << 20;

/// What a relayed exchange holds past its sockets: 64 KiB each way.
pub const RELAY_BYTES: u64 = 128 * 1024;

/// What a worker's ring receives into ahead of being asked, and what keeps count of it.
pub const AHEAD_BYTES: u64 = (1 << 20) + (32 << 10);

/// Index of one kept event: position, age, topics, id.
pub const EVENT_INDEX_BYTES: u64 = 128;

/// The process itself: code, allocator, control thread.
pub const PROCESS_BYTES: u64 = 16 << 20;

/// Clients assumed where neither the configuration nor the host sets a bound.
const CLIENTS_UNBOUNDED: u64 = 1_000_000;

/// One consumer of memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who.
    pub name: &'static str,
    /// How many of them.
    pub count: u64,
    /// Bytes of each.
    pub each_bytes: u64,
    /// Whether they are held while every client is idle and caught up.
    pub idle: bool,
    /// What it is for, and which key bounds it.
    pub why: &'static str,
}

impl Line {
    /// Bytes of all of them.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.count.saturating_mul(self.each_bytes)
    }
}

/// The itemised sum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Clients it is made for.
    pub clients: u64,
    /// Workers it is made for.
    pub workers: u64,
    /// Bytes that one publish under way may hold besides.
    pub body_bytes: u64,
    /// The consumers.
    pub lines: Vec<Line>,
}

/// Connections that the server takes: the key, else what the host's limit of open files leaves.
#[must_use]
pub fn connections(config: &Config, host: &Host) -> u64 {
    let files = host.files_max.map(|files| files.saturating_sub(FILES_RESERVED).max(1));
    let key = config.limits.connections_max.map(wide);
    key.or(files).unwrap_or(CLIENTS_UNBOUNDED)
}

/// Workers that the server starts: the key, else one for each CPU given or allowed.
#[must_use]
pub fn workers(config: &Config, host: &Host) -> usize {
    let cpus = config.workers.cpus.as_ref().unwrap_or(&host.cpus);
    config.workers.count.unwrap_or(cpus.len()).max(1)
}

fn wide(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// What routes, upstreams and backends hold besides the hub; nothing where there are none.
fn gateway(config: &Config, clients: u64, workers: u64) -> Vec<Line> {
    let line = |name, count, each_bytes, idle, why| Line { name, count, each_bytes, idle, why };
    let Gateway { backends, upstreams, routes, .. } = &config.gateway;
    let mut lines = Vec::new();
    // Keys differ, so each stands for all upstreams together.
    let sum = |of: fn(&Upstream, u64) -> u64| {
        upstreams.iter().fold(0u64, |sum, one| sum.saturating_add(of(one, channels(one, clients))))
    };
    if !upstreams.is_empty() {
        // [[upstream]] history_total_bytes_max of each.
        let history = sum(|one, _| wide(one.history_total_bytes_max));
        lines.push(line("upstreams", 1, history, true, "events kept of all [[upstream]]"));
        // [[upstream]] history_events_max of each channel.
        let index = sum(|one, channels| channels.saturating_mul(wide(one.history_events_max)));
        let why = "position, age and id of each";
        lines.push(line("upstream index", index, EVENT_INDEX_BYTES, false, why));
        // [[upstream]] event_bytes_max of each channel.
        let events = sum(|one, channels| channels.saturating_mul(wide(one.event_bytes_max)));
        lines.push(line("upstream events", 1, events, false, "of one event, each channel"));
    }
    let proxied = |rule: &Rule| matches!(rule.action, Action::Proxy(_));
    if routes.iter().flat_map(|route| &route.rules).any(proxied) {
        // limits.connections_max bounds it: a stream has a client.
        let why = "both ways, of stalled streams";
        lines.push(line("relays", clients, RELAY_BYTES, false, why));
    }
    let patterns = patterns(config);
    if patterns > 0 {
        // Each is held twice, to be run from either end.
        let why = "of matches, compiled, at the most";
        lines.push(line("patterns", patterns, wide(2 * form::PATTERN_SIZE_MAX), false, why));
        let why = "to run them, each worker";
        let caches = patterns.saturating_mul(workers);
        lines.push(line("pattern caches", caches, wide(2 * form::PATTERN_CACHE_MAX), false, why));
    }
    if !backends.is_empty() {
        let why = "received ahead by the io_uring driver";
        lines.push(line("receive ring", workers, AHEAD_BYTES, true, why));
    }
    // [[backend]] idle_connections_max, to each endpoint from each worker.
    let kept =
        |one: &Backend| wide(one.endpoints.len()).saturating_mul(wide(one.idle_connections_max));
    let kept = backends.iter().fold(0u64, |sum, one| sum.saturating_add(kept(one)));
    if kept > 0 {
        let each = CLIENT_BYTES + SOCKET_BYTES;
        let why = "kept for the next request";
        lines.push(line("idle backends", kept.saturating_mul(workers), each, true, why));
    }
    lines
}

/// Different regular expressions, which the router compiles once each for paths and for values.
fn patterns(config: &Config) -> u64 {
    let rules = config.gateway.routes.iter().flat_map(|route| &route.rules);
    let (mut paths, mut values) = (BTreeSet::new(), BTreeSet::new());
    for of in rules.flat_map(|rule| &rule.matches) {
        if let PathMatch::Regex(pattern) = &of.path {
            paths.insert(pattern);
        }
        values.extend(of.headers.iter().chain(&of.query).filter_map(|one| match &one.value {
            TextMatch::Regex(pattern) => Some(pattern),
            TextMatch::Exact(_) => None,
        }));
    }
    wide(paths.len() + values.len())
}

/// Channels of an upstream: one where no request makes a difference, else what its key allows and
/// clients can ask for.
fn channels(upstream: &Upstream, clients: u64) -> u64 {
    let variable = |part: &Part| matches!(part, Part::Variable(_));
    let one =
        upstream.public && upstream.headers.is_empty() && !upstream.target.iter().any(variable);
    let each = if upstream.multiplex { wide(upstream.channels_per_client_max) } else { 1 };
    if one { 1 } else { wide(upstream.channels_max).min(clients.saturating_mul(each)) }
}

impl Budget {
    /// The budget of a configuration on a host.
    #[must_use]
    pub fn new(config: &Config, host: &Host) -> Self {
        let clients = connections(config, host);
        let workers = wide(workers(config, host));
        let line = |name, count, each_bytes, idle, why| Line { name, count, each_bytes, idle, why };
        let hub = &config.hub;
        let logs = 1 + wide(config.gateway.upstreams.len());
        let mut lines = vec![
            // Code and tables do not depend on the number of clients.
            line("process", 1, PROCESS_BYTES, true, "code, allocator, control thread"),
            // limits.connections_max bounds it; a client without a topic of its own has no more.
            line("clients", clients, CLIENT_BYTES, true, "slot, cursor and timers of each"),
            // Charged to the memory cgroup, not to the process's RSS.
            line("kernel sockets", clients, SOCKET_BYTES, true, "socket, file and armed poll"),
            // Charged to RLIMIT_MEMLOCK.
            line("rings", workers, RING_BYTES, true, "256 submissions, 4,096 completions"),
            // Made once, at start: the send path allocates nothing.
            line("scratch", workers, SCRATCH_BYTES, true, "receive buffer, send batch, queues"),
            // hub.history_bytes_max: one channel, shared by all workers.
            line(
                "history",
                1,
                wide(hub.history_bytes_max),
                true,
                "events kept, with their bookkeeping",
            ),
            // hub.history_events_max: what makes a resume cost what it returns.
            line(
                "history index",
                wide(hub.history_events_max),
                EVENT_INDEX_BYTES,
                true,
                "position, age, id and topics of each",
            ),
            // A log is shared: what left the history stays until the slowest worker has read it.
            line("backlog", logs, BACKLOG_BYTES, false, "events not yet read by a worker"),
            // limits.unsent_bytes_max: feeds whose clients lag.
            line(
                "feeds",
                workers,
                wide(config.limits.unsent_bytes_max),
                false,
                "bytes held for clients that lag",
            ),
            // A share of limits.unsent_bytes_max: who pipelines requests and does not read.
            line(
                "answers",
                workers,
                wide(config.limits.unsent_bytes_max / ANSWERS_SHARE),
                false,
                "held for peers that do not read",
            ),
            // limits.head_bytes_max, for at most limits.head_timeout.
            line(
                "request heads",
                clients,
                wide(config.limits.head_bytes_max),
                false,
                "of connections that send one",
            ),
            // A reconnect storm reads the same pages, so they are built once.
            line("catch-up", workers, CATCH_UP_BYTES, false, "pages for clients that resume"),
            // TCP_NOTSENT_LOWAT keeps this from the kernel's 3.9 MB.
            line("send buffers", clients, STALLED_BYTES, false, "kernel, for clients that stall"),
        ];
        lines.extend(gateway(config, clients, workers));
        Self { clients, workers, body_bytes: wide(config.limits.body_bytes_max), lines }
    }

    /// Bytes with every client idle and caught up.
    #[must_use]
    pub fn idle_bytes(&self) -> u64 {
        let idle = self.lines.iter().filter(|line| line.idle);
        idle.fold(0, |sum, line| sum.saturating_add(line.bytes()))
    }

    /// Bytes with every limit reached.
    #[must_use]
    pub fn most_bytes(&self) -> u64 {
        self.lines.iter().fold(0, |sum, line| sum.saturating_add(line.bytes()))
    }

    /// One line for the log.
    #[must_use]
    pub fn summary(&self) -> String {
        format!(
            "{} clients on {} workers: {} idle, {} with every limit reached",
            self.clients,
            self.workers,
            round_size(self.idle_bytes()),
            round_size(self.most_bytes()),
        )
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "memory for {} clients on {} workers", self.clients, self.workers)?;
        for line in &self.lines {
            let Line { name, count, each_bytes, idle, why } = line;
            let (total, each) = (round_size(line.bytes()), round_size(*each_bytes));
            let when = if *idle { "" } else { " (at the limit)" };
            writeln!(f, "  {name:<15} {total:>10} = {count:>9} x {each:<10} {why}{when}")?;
        }
        writeln!(f, "  {:<15} {:>10}   all clients idle", "sum", round_size(self.idle_bytes()))?;
        writeln!(f, "  {:<15} {:>10}   every limit reached", "sum", round_size(self.most_bytes()))?;
        let body = round_size(self.body_bytes);
        write!(f, "  besides, each publish under way holds up to {body}; its token is judged first")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host { files_max: Some(20_512), cpus: vec![0, 1] }
    }

    #[test]
    fn the_host_bounds_what_the_configuration_leaves_open() {
        let mut config = Config::default();
        assert_eq!(connections(&config, &host()), 20_000);
        assert_eq!(workers(&config, &host()), 2);
        config.limits.connections_max = Some(500);
        config.workers.cpus = Some(vec![3]);
        assert_eq!(connections(&config, &host()), 500);
        assert_eq!(workers(&config, &host()), 1);
        config.workers.count = Some(4);
        assert_eq!(workers(&config, &host()), 4);
        assert_eq!(workers(&Config::default(), &Host::default()), 1);
    }

    #[test]
    fn every_limit_that_holds_memory_moves_the_sum() {
        let base = Budget::new(&Config::default(), &host());
        let changes: [fn(&mut Config); 5] = [
            |c| c.limits.head_bytes_max += 1 << 10,
            |c| c.limits.connections_max = Some(30_000),
            |c| c.limits.unsent_bytes_max += 1 << 20,
            |c| c.hub.history_bytes_max += 1 << 20,
            |c| c.hub.history_events_max += 1000,
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut config = Config::default();
            change(&mut config);
            let budget = Budget::new(&config, &host());
            assert!(budget.most_bytes() > base.most_bytes(), "change {index}");
        }
        assert!(base.idle_bytes() < base.most_bytes());
    }

    fn gateway() -> Config {
        let mut config = Config::default();
        let mut upstream = Upstream::named("a");
        upstream.target = vec![Part::Text("/a".into())];
        config.gateway.upstreams = vec![upstream];
        let text = "[[route]]\nbackend = \"http://127.0.0.1:1\"\n";
        let proxy = crate::config::toml::load(text, &[], &crate::config::gateway::Nothing);
        let proxy = proxy.unwrap().gateway;
        config.gateway = Gateway { upstreams: config.gateway.upstreams, ..proxy };
        config
    }

    #[test]
    fn upstreams_and_backends_have_their_lines() {
        let base = Budget::new(&gateway(), &host());
        let names = |budget: &Budget| budget.lines.iter().map(|line| line.name).collect::<Vec<_>>();
        for name in [
            "upstreams",
            "upstream index",
            "upstream events",
            "relays",
            "receive ring",
            "idle backends",
        ] {
            assert!(names(&base).contains(&name), "{name}");
            assert!(!names(&Budget::new(&Config::default(), &host())).contains(&name), "{name}");
        }
        let changes: [fn(&mut Config); 5] = [
            |c| c.gateway.upstreams[0].history_total_bytes_max += 1 << 20,
            |c| c.gateway.upstreams[0].history_events_max += 1000,
            |c| c.gateway.upstreams[0].event_bytes_max += 1 << 10,
            |c| c.gateway.upstreams[0].channels_max += 1,
            |c| c.gateway.backends[0].idle_connections_max += 1,
        ];
        for (index, change) in changes.iter().enumerate() {
            let mut config = gateway();
            change(&mut config);
            let budget = Budget::new(&config, &host());
            assert!(budget.most_bytes() > base.most_bytes(), "change {index}");
        }
        let mut config = gateway();
        config.gateway.upstreams[0].public = true;
        let one = Budget::new(&config, &host());
        assert!(one.most_bytes() < base.most_bytes(), "everyone shares one channel");
        assert!(one.to_string().lines().all(|line| line.len() <= 100), "{one}");
    }

    #[test]
    fn each_different_expression_counts() {
        let pattern = |text: &str| PathMatch::Regex(text.to_owned());
        let mut config = gateway();
        let rule = config.gateway.routes[0].rules[0].clone();
        for text in ["/a.*", "/b.*", "/a.*"] {
            let mut rule = rule.clone();
            rule.matches[0].path = pattern(text);
            config.gateway.routes[0].rules.push(rule);
        }
        let budget = Budget::new(&config, &host());
        let count = |name| budget.lines.iter().find(|line| line.name == name).unwrap().count;
        assert_eq!((count("patterns"), count("pattern caches")), (2, 4));
    }

    #[test]
    fn the_table_names_every_line_and_both_sums() {
        let budget = Budget::new(&Config::default(), &host());
        let text = budget.to_string();
        for line in &budget.lines {
            assert!(text.contains(line.name), "{text}");
        }
        assert!(text.contains("20000 clients on 2 workers"), "{text}");
        assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        assert!(budget.summary().contains("every limit reached"));
    }
}
