//! The coordinator: connects the subscribers, lets the publishers go, watches the server, waits
//! for the last delivery.
//!
//! | step | ends when | what is read |
//! |---|---|---|
//! | history (only `--resume`) | all its publishes are answered | the id to resume after |
//! | connect to `--baseline` | all are connected or refused | memory |
//! | connect the rest | same | memory, connect rate |
//! | publish | all answers are there, or the time is over | CPU at its begin, slices |
//! | deliver | all is delivered, or nothing came for `--grace` | CPU at its end, memory's peak |
//!
//! Invariant: every wait has an end: progress, `--grace` or `--limit`.

use super::args::BenchArgs;
use super::load::board::Counts;
use super::load::publisher::Pace;
use super::load::publisher::Published;
use super::load::publisher::Publisher;
use super::load::swarm::Swarm;
use super::observed::Observed;
use super::observed::Usage;
use super::plan::Plan;
use super::report::Report;
use super::template::Template;
use crate::base::sync::atomic::Ordering::Relaxed;
use crate::io::poller::monotonic_nanos;
use anyhow::Context;
use anyhow::anyhow;
use anyhow::ensure;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

/// Between two looks at counts and server.
const LOOK: Duration = Duration::from_millis(10);
/// Between two progress lines, in looks.
const PROGRESS: u32 = 50;

/// What the coordinator has seen, raw.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Memory with no subscriber, with `--baseline`, with all; and the peak from there on.
    pub(super) empty: Usage,
    pub(super) baseline: Usage,
    pub(super) full: Usage,
    pub(super) resident_peak: u64,
    /// Server at the begin and the end of the measured window.
    pub(super) before: Usage,
    pub(super) after: Usage,
    /// When the first connect and the last one were, in monotonic nanoseconds.
    pub(super) connect: (u64, u64),
    /// Subscribers that were to connect between these two moments.
    pub(super) connected: u64,
    /// When event 0 was due or the requests of `--resume` were sent.
    pub(super) start: u64,
    pub(super) published: Vec<Published>,
    pub(super) probe: Option<Published>,
    /// Answers, moment and usage at the borders of slices.
    pub(super) slices: Vec<(u64, u64, Usage)>,
    pub(super) counts: Counts,
}

struct Run<'a> {
    args: &'a BenchArgs,
    plan: Plan,
    observed: Option<Observed>,
    deadline: u64,
    looks: u32,
    seen: Seen,
}

pub(super) fn run(args: &BenchArgs) -> anyhow::Result<Report> {
    let plan = args.plan()?;
    let observed = args.pid.map(Observed::find).transpose().context("cannot read --pid")?;
    let deadline = monotonic_nanos().saturating_add(nanos(args.limit));
    let mut run = Run { args, plan, observed, deadline, looks: 0, seen: Seen::default() };
    run.seen.empty = run.look()?;
    if args.resume.is_some() {
        run.publish_history()?;
    }
    let mut swarm = Swarm::start(&run.plan)?;
    run.connect(&mut swarm)?;
    let sent =
        if args.resume.is_some() { run.resume(&mut swarm)? } else { run.publish(&mut swarm)? };
    run.seen.after = run.look()?;
    run.seen.counts = swarm.counts();
    let outcome = swarm.finish(&sent)?;
    run.clear_line();
    Ok(Report::new(args, &run.plan, &run.seen, &outcome))
}

fn nanos(seconds: f64) -> u64 {
    u64::try_from(Duration::from_secs_f64(seconds).as_nanos()).unwrap_or(u64::MAX)
}

impl Run<'_> {
    fn look(&self) -> anyhow::Result<Usage> {
        let Some(observed) = &self.observed else { return Ok(Usage::default()) };
        observed.look().context("the server has ended")
    }

    /// Sleeps a moment and shows how far the run is.
    fn pause(&mut self, swarm: &Swarm, doing: &str) {
        thread::park_timeout(LOOK);
        self.looks += 1;
        if self.args.quiet || !self.looks.is_multiple_of(PROGRESS) {
            return;
        }
        let counts = swarm.counts();
        eprint!(
            "\r\x1b[K{doing}: {} subscribers, {} refused, {} ended, {} delivered",
            counts.subscribed, counts.refused, counts.ended, counts.delivered
        );
    }

    fn clear_line(&self) {
        if !self.args.quiet && self.looks >= PROGRESS {
            eprint!("\r\x1b[K");
        }
    }

    fn over(&self) -> bool {
        monotonic_nanos() >= self.deadline
    }

    fn connect(&mut self, swarm: &mut Swarm) -> anyhow::Result<()> {
        let all = u64::from(self.plan.subscribers);
        let baseline = u64::from(self.args.baseline).min(all);
        if baseline > 0 {
            self.connect_to(swarm, baseline)?;
            self.seen.baseline = self.look()?;
        }
        let begin = monotonic_nanos();
        self.connect_to(swarm, all)?;
        self.seen.connected = all - baseline;
        self.seen.connect.0 = begin;
        self.seen.full = self.look()?;
        Ok(())
    }

    fn connect_to(&mut self, swarm: &mut Swarm, subscribers: u64) -> anyhow::Result<()> {
        swarm.allow(subscribers)?;
        loop {
            let counts = swarm.counts();
            let begun = if self.plan.hold { counts.opened } else { counts.subscribed };
            if begun + counts.refused >= subscribers {
                break;
            }
            ensure!(!self.over(), "only {begun} of {subscribers} subscribers got a stream in time");
            self.pause(swarm, "connecting");
        }
        self.seen.connect.1 = monotonic_nanos();
        let settled = monotonic_nanos().saturating_add(nanos(self.args.settle));
        while monotonic_nanos() < settled {
            self.pause(swarm, "settling");
        }
        Ok(())
    }

    /// Publishes what `--resume` reads, and sets the id to resume after.
    fn publish_history(&mut self) -> anyhow::Result<()> {
        let id = if self.args.server_publishes {
            self.order_events()?;
            self.args.resume_id.clone().unwrap_or_else(|| "earliest".into())
        } else {
            // The marker is an event of another run, so it is not counted.
            let marker = Plan { events: 1, run: self.plan.run ^ 1, ..self.plan.clone() };
            let answer = publish_all(&marker)?;
            let id = String::from_utf8_lossy(&answer.body).trim().to_owned();
            let history = Plan { publishers: 1, ..self.plan.clone() };
            self.seen.published.push(publish_all(&history)?);
            self.args.resume_id.clone().unwrap_or(id)
        };
        ensure!(!id.is_empty(), "the server names no id; say where to resume with --resume-id");
        self.plan.publishers = 1;
        self.plan.subscribe_headers.push(format!("Last-Event-ID: {id}"));
        Ok(())
    }

    /// Releases the held subscribers and waits until each has read the history.
    fn resume(&mut self, swarm: &mut Swarm) -> anyhow::Result<Vec<u64>> {
        let sent: Vec<_> = if self.args.server_publishes {
            vec![self.plan.events]
        } else {
            self.seen.published.iter().map(|p| p.answered).collect()
        };
        self.seen.before = self.look()?;
        self.seen.start = monotonic_nanos();
        swarm.release()?;
        self.await_deliveries(swarm, &sent)?;
        Ok(sent)
    }

    fn await_deliveries(&mut self, swarm: &Swarm, sent: &[u64]) -> anyhow::Result<()> {
        let expected = self.plan.deliveries(sent, self.plan.subscribers);
        let (mut most, mut since) = (0, monotonic_nanos());
        loop {
            let delivered = swarm.counts().delivered;
            let usage = self.look()?;
            self.seen.resident_peak = self.seen.resident_peak.max(usage.resident);
            if delivered > most {
                (most, since) = (delivered, monotonic_nanos());
            }
            let quiet = monotonic_nanos().saturating_sub(since);
            if delivered >= expected || quiet > nanos(self.args.grace) || self.over() {
                return Ok(());
            }
            self.pause(swarm, "delivering");
        }
    }

    /// Publishes beside the running swarm; tells how much each connection has published.
    fn publish(&mut self, swarm: &mut Swarm) -> anyhow::Result<Vec<u64>> {
        self.seen.before = self.look()?;
        self.seen.start = monotonic_nanos() + 20_000_000;
        if self.plan.events == 0 {
            return Ok(Vec::new());
        }
        if self.args.server_publishes {
            self.seen.start = self.order_events()?;
            let sent = vec![self.plan.events];
            self.await_deliveries(swarm, &sent)?;
            return Ok(sent);
        }
        let (plan, templates) = (self.plan.clone(), self.plan.templates()?);
        let probe = self.probe_plan();
        let (pace, probe_pace) = (Pace::default(), Pace::default());
        pace.start.store(self.seen.start, Relaxed);
        probe_pace.start.store(self.seen.start, Relaxed);
        thread::scope(|scope| -> anyhow::Result<()> {
            let publishers = (0..plan.publishers).map(|lane| {
                let publisher = Publisher::connect(&plan, &templates, &pace, lane)
                    .with_context(|| format!("cannot reach {}", plan.publish_at))?;
                let name = format!("publisher-{lane}");
                Ok(thread::Builder::new().name(name).spawn_scoped(scope, || publisher.run())?)
            });
            let publishers = publishers.collect::<anyhow::Result<Vec<_>>>()?;
            let probe = probe.as_ref().map(|plan| -> anyhow::Result<_> {
                let publisher = Publisher::connect(plan, &templates, &probe_pace, 0)?;
                let name = "probe".to_owned();
                Ok(thread::Builder::new().name(name).spawn_scoped(scope, || publisher.run())?)
            });
            let probe = probe.transpose()?;
            while !publishers.iter().all(thread::ScopedJoinHandle::is_finished) {
                self.slice(&pace)?;
                if self.over() {
                    pace.stop.store(true, Relaxed);
                }
                self.pause(swarm, "publishing");
            }
            self.slice(&pace)?;
            probe_pace.stop.store(true, Relaxed);
            for publisher in publishers {
                let published = publisher.join().map_err(|_| anyhow!("a publisher panicked"))??;
                self.seen.published.push(published);
            }
            if let Some(probe) = probe {
                let published = probe.join().map_err(|_| anyhow!("the probe panicked"))??;
                self.seen.probe = Some(published);
            }
            Ok(())
        })?;
        let sent: Vec<_> = self.seen.published.iter().map(|p| p.answered).collect();
        self.await_deliveries(swarm, &sent)?;
        Ok(sent)
    }

    fn probe_plan(&self) -> Option<Plan> {
        (self.args.probe_rate > 0.0).then(|| Plan {
            run: self.plan.run ^ 1,
            publish_topic: self.args.probe_topic.clone(),
            topic_count: 1,
            publishers: 1,
            rate: self.args.probe_rate,
            events: u64::MAX >> 32,
            ..self.plan.clone()
        })
    }

    /// Reads the server at the borders of slices.
    fn slice(&mut self, pace: &Pace) -> anyhow::Result<()> {
        if self.args.slices == 0 {
            return Ok(());
        }
        let answered = pace.answered.load(Relaxed);
        let slice = (self.plan.events / self.args.slices).max(1);
        let border = self.seen.slices.last().map_or(0, |(answered, ..)| answered / slice * slice);
        if self.seen.slices.is_empty() || answered >= border + slice {
            let usage = self.look()?;
            self.seen.slices.push((answered, monotonic_nanos(), usage));
        }
        Ok(())
    }

    /// Tells a server that makes the events itself what to make; it answers with the moment at
    /// which event 0 is due.
    fn order_events(&self) -> anyhow::Result<u64> {
        let plan = &self.plan;
        let body = Template::parse(&self.args.body, &["run", "events", "rate", "size"])?;
        let body = body.with(&[
            ("run", &plan.run.to_string()),
            ("events", &plan.events.to_string()),
            ("rate", &plan.rate.to_string()),
            ("size", &plan.size.to_string()),
        ]);
        let mut stream = TcpStream::connect_timeout(&plan.publish_at, Duration::from_secs(10))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(
            stream,
            "POST {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            plan.publish_target,
            plan.publish_host,
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("the server does not answer its plan")?;
        let start = answer.rsplit("\r\n\r\n").next().and_then(|body| body.trim().parse().ok());
        start.context("the server did not answer its plan with a start time")
    }
}

/// Publishes a plan's events on one connection, as fast as answers come.
fn publish_all(plan: &Plan) -> anyhow::Result<Published> {
    let (templates, pace) = (plan.templates()?, Pace::default());
    let publisher = Publisher::connect(plan, &templates, &pace, 0)
        .with_context(|| format!("cannot reach {}", plan.publish_at))?;
    let published = publisher.run()?;
    if let Some(refusal) = &published.refusal {
        return Err(anyhow!("the history cannot be published: {refusal}"));
    }
    Ok(published)
}
