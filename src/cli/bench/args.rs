//! The arguments of `tidegate bench`, and how they become a checked plan.

use super::payload::RECORD;
use super::plan::Plan;
use super::template::Url;
use crate::io::poller::descriptors_max;
use crate::io::poller::monotonic_nanos;
use anyhow::Context;
use anyhow::ensure;
use std::net::SocketAddr;
use std::net::ToSocketAddrs;
use std::path::PathBuf;

/// Load an event-stream server and report what it delivers.
#[derive(Clone, Debug, clap::Args)]
pub struct BenchArgs {
    // The help tells the placeholder n in words: clap takes it in braces for a line break.
    /// Where subscribers connect; {topics} is topic=…&topic=…, {topic} the first topic, and n in
    /// braces the subscriber's number.
    #[arg(long, default_value = "http://127.0.0.1:8080/.well-known/mercure?{topics}")]
    pub subscribe_url: String,
    /// Where events are published; may use {topic}.
    #[arg(long, default_value = "http://127.0.0.1:8080/.well-known/mercure")]
    pub publish_url: String,
    /// Body of a publish: {topic}, {data}, {id} (the event's number), {t} (its topic's number).
    #[arg(long, default_value = "topic={topic}&data={data}")]
    pub body: String,
    /// Header field of every request, `Name: value`. Repeatable.
    #[arg(long)]
    pub header: Vec<String>,
    /// Header field of publishes only. Repeatable.
    #[arg(long)]
    pub publish_header: Vec<String>,
    /// Content type of publishes.
    #[arg(long, default_value = "application/x-www-form-urlencoded")]
    pub content_type: String,
    /// Topics of each subscriber; n in braces is its number times --stride. Repeatable.
    #[arg(long, default_value = "/bench")]
    pub topics: Vec<String>,
    /// Topic of publishes; {t} is the event's number modulo --topic-count. [default: first topic]
    #[arg(long)]
    pub publish_topic: Option<String>,
    /// Topics that publishes go round. More than 1: a subscriber gets only the events of the topic
    /// with its number.
    #[arg(long, default_value_t = 1)]
    pub topic_count: u64,
    /// Distance between the numbers of two subscribers.
    #[arg(long, default_value_t = 1)]
    pub stride: u64,
    /// Subscribers.
    #[arg(long, short = 'n', default_value_t = 1000)]
    pub subscribers: u32,
    /// Measure memory per client between this number of subscribers and all of them.
    #[arg(long, default_value_t = 0)]
    pub baseline: u32,
    /// Events per second; 0: as fast as answers come.
    #[arg(long, short = 'r', default_value_t = 10.0)]
    pub rate: f64,
    /// Seconds of publishing.
    #[arg(long, short = 'd', default_value_t = 6.0)]
    pub duration: f64,
    /// Events in all, instead of --duration; 0: connect and idle only.
    #[arg(long)]
    pub events: Option<u64>,
    /// Bytes of an event's data.
    #[arg(long, default_value_t = 100)]
    pub size: usize,
    /// Publisher connections.
    #[arg(long, default_value_t = 1)]
    pub publishers: u32,
    /// Unanswered publishes that a connection may have.
    #[arg(long, default_value_t = 64)]
    pub pipeline: usize,
    /// Subscriber threads of each process.
    #[arg(long, default_value_t = 1)]
    pub threads: u32,
    /// Processes; 0: as many as the limit on open files asks for.
    #[arg(long, default_value_t = 0)]
    pub processes: u32,
    /// Source addresses 127.0.0.1 and up for a server on loopback. [default: one per 1,000]
    #[arg(long)]
    pub sources: Option<u32>,
    /// Connections that each thread opens at once.
    #[arg(long, default_value_t = 128)]
    pub connecting: usize,
    /// Publish this history first; then all subscribers connect and resume before it.
    #[arg(long, value_name = "EVENTS")]
    pub resume: Option<u64>,
    /// `Last-Event-ID` of --resume. [default: the body of the answer to a first publish]
    #[arg(long)]
    pub resume_id: Option<String>,
    /// Also publish at this rate to a topic of nobody, and compare the answers' time with the
    /// sweep.
    #[arg(long, default_value_t = 0.0)]
    pub probe_rate: f64,
    /// Topic of --probe-rate.
    #[arg(long, default_value = "/bench-probe")]
    pub probe_topic: String,
    /// Report the server's cost per publish in this many slices of the run.
    #[arg(long, default_value_t = 0)]
    pub slices: u64,
    /// The server makes the events itself: it is sent one POST with {run}, {events}, {rate},
    /// {size}.
    #[arg(long)]
    pub server_publishes: bool,
    /// Process id of the server, for its CPU time and memory (descendants included).
    #[arg(long)]
    pub pid: Option<u32>,
    /// Seconds of quiet before publishing and before memory is read.
    #[arg(long, default_value_t = 0.5)]
    pub settle: f64,
    /// Seconds without a delivery after which the rest counts as missing.
    #[arg(long, default_value_t = 3.0)]
    pub grace: f64,
    /// Seconds that the run may take in all.
    #[arg(long, default_value_t = 300.0)]
    pub limit: f64,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
    /// Write latency distribution and throughput over time as SVG.
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// No progress line.
    #[arg(long, short)]
    pub quiet: bool,
    /// Be a child process of a run (internal).
    #[arg(long, hide = true)]
    pub member: bool,
}

/// Descriptors of a process that are not subscribers.
const RESERVE: u64 = 64;

impl BenchArgs {
    /// The checked plan.
    ///
    /// # Errors
    /// An argument is out of range, or an URL or template cannot be used.
    pub fn plan(&self) -> anyhow::Result<Plan> {
        self.check()?;
        let subscribe = Url::parse(&self.subscribe_url)?;
        let publish = Url::parse(&self.publish_url)?;
        let subscribe_at = resolve(&subscribe)?;
        let publish_topic = match (&self.publish_topic, self.topics.first()) {
            (Some(topic), _) | (None, Some(topic)) => topic.clone(),
            (None, None) => String::new(),
        };
        let room = descriptors_max().saturating_sub(RESERVE).max(1);
        let needed = u64::from(self.subscribers).div_ceil(room);
        let processes = if self.processes > 0 { self.processes } else { u32::try_from(needed)? };
        let loopback = subscribe_at.ip().is_loopback();
        let sources =
            self.sources.unwrap_or(if loopback { self.subscribers / 1000 + 1 } else { 0 });
        let mut publish_headers = vec![format!("Content-Type: {}", self.content_type)];
        publish_headers.extend(self.header.iter().chain(&self.publish_header).cloned());
        let plan = Plan {
            run: u16::try_from(monotonic_nanos() / 1_000_000 % 0xffff)?,
            subscribe_at,
            subscribe_host: subscribe.authority,
            subscribe_target: subscribe.target,
            topics: self.topics.clone(),
            subscribe_headers: self.header.clone(),
            publish_at: resolve(&publish)?,
            publish_host: publish.authority,
            publish_target: publish.target,
            publish_topic,
            // A server that publishes is sent the body once, with other placeholders.
            body: if self.server_publishes { String::new() } else { self.body.clone() },
            publish_headers,
            subscribers: self.subscribers,
            stride: self.stride,
            topic_count: self.topic_count,
            every_event: self.topic_count == 1,
            events: self.event_count(),
            rate: if self.resume.is_some() { 0.0 } else { self.rate },
            size: self.size.max(RECORD),
            publishers: self.publishers,
            pipeline: self.pipeline,
            threads: self.threads,
            processes: processes.max(1),
            sources: sources.min(65_000),
            connecting_max: self.connecting,
            hold: self.resume.is_some(),
        };
        plan.templates()?;
        Ok(plan)
    }

    fn event_count(&self) -> u64 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`check` has bounded rate and duration"
        )]
        let timed = (self.rate * self.duration).round() as u64;
        self.resume.or(self.events).unwrap_or(timed)
    }

    fn check(&self) -> anyhow::Result<()> {
        let between = |name: &str, value: f64, most: f64| {
            ensure!(
                (0.0..=most).contains(&value),
                "--{name} is {value}, and must lie between 0 and {most}"
            );
            Ok(())
        };
        between("rate", self.rate, 1e7)?;
        between("duration", self.duration, 86_400.0)?;
        between("probe-rate", self.probe_rate, 1e5)?;
        between("settle", self.settle, 3600.0)?;
        between("grace", self.grace, 3600.0)?;
        between("limit", self.limit, 86_400.0)?;
        ensure!(self.threads > 0, "--threads is 0; at least one thread must read");
        ensure!(self.publishers > 0, "--publishers is 0; use --events 0 to publish nothing");
        ensure!(self.pipeline > 0, "--pipeline is 0; 1 waits for each answer");
        ensure!(self.connecting > 0, "--connecting is 0; nobody would ever connect");
        ensure!(
            self.rate > 0.0 || self.events.is_some() || self.resume.is_some(),
            "--rate 0 publishes as fast as answers come; say how many with --events"
        );
        ensure!(
            self.topic_count > 0 && self.stride > 0,
            "--topic-count and --stride are 1 or more"
        );
        ensure!(
            self.topic_count == 1 || self.publishers == 1,
            "--topic-count needs --publishers 1, because order holds on one connection only"
        );
        let highest = u64::from(self.subscribers.saturating_sub(1)).checked_mul(self.stride);
        ensure!(
            self.topic_count == 1 || highest.is_some_and(|highest| highest < self.topic_count),
            "subscribers × --stride is more than --topic-count, so some would get nothing"
        );
        ensure!(self.event_count() < 1 << 32, "more than 2³² events");
        Ok(())
    }
}

fn resolve(url: &Url) -> anyhow::Result<SocketAddr> {
    let name = url.host_and_port();
    let mut found = name.to_socket_addrs().with_context(|| format!("cannot resolve {name}"))?;
    found.next().with_context(|| format!("{name} has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        bench: BenchArgs,
    }

    fn parse(line: &str) -> BenchArgs {
        Line::try_parse_from(format!("bench {line}").split_ascii_whitespace()).unwrap().bench
    }

    #[test]
    fn help_has_no_placeholder_that_clap_takes_for_a_line_break() {
        let command = <Line as clap::CommandFactory>::command();
        for argument in command.get_arguments() {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.contains("{n}"), "{help}");
        }
    }

    #[test]
    fn defaults_make_a_plan() {
        let plan = parse("").plan().unwrap();
        assert_eq!((plan.events, plan.processes, plan.publish_topic.as_str()), (60, 1, "/bench"));
        assert_eq!(plan.subscribe_target, "/.well-known/mercure?{topics}");
    }

    #[test]
    fn many_subscribers_are_spread_over_processes_and_addresses() {
        let room = descriptors_max() - RESERVE;
        let many = u32::try_from(room.min(1_000_000)).unwrap() * 2 + 1;
        let plan = parse(&format!("-n {many}")).plan().unwrap();
        assert!(plan.processes >= 3 && plan.sources == (many / 1000 + 1).min(65_000));
    }

    #[test]
    fn refuses_what_cannot_be_done_and_says_what_to_do() {
        let cause = |line: &str| parse(line).plan().unwrap_err().to_string();
        assert!(cause("--rate 0").contains("--events"));
        assert!(cause("--rate=-1").contains("between 0 and"));
        assert!(cause("--topic-count 10 --publishers 2").contains("--publishers 1"));
        assert!(cause("--topic-count 10 -n 11").contains("--topic-count"));
        assert!(cause("--body topic={topc}").contains("{topc}"));
        assert!(cause("--publish-url https://localhost/").contains("http://"));
    }
}
