//! All subscribers, in threads of this process or of child processes.
//!
//! A child is this program again, told to be a member: it reads its plan and then commands as JSON
//! lines on standard input, and writes counts and at last its outcome as JSON lines on standard
//! output. So a limit on files per process limits nothing.
//!
//! Invariants: thread `i` of all `processes × threads` owns the subscribers `i` modulo that number,
//! so nobody hands out numbers. A child ends when its input ends: none survives its parent.

use super::board::Board;
use super::board::Counts;
use super::outcome::Outcome;
use super::outcome::Parcel;
use super::subscriber::Crowd;
use crate::base::sync::Arc;
use crate::cli::bench::plan::Plan;
use anyhow::Context;
use anyhow::anyhow;
use serde::Deserialize;
use serde::Serialize;
use std::io;
use std::io::BufRead;
use std::io::Write;
use std::process::Child;
use std::process::ChildStdin;
use std::process::Command;
use std::process::Stdio;
use std::sync::OnceLock;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

/// How often a child reports its counts.
const REPORT: Duration = Duration::from_millis(20);

/// What a parent says to a child.
#[derive(Debug, Serialize, Deserialize)]
enum Order {
    Plan { plan: Box<Plan>, process: u32 },
    Allow(u64),
    Release,
    Stop(Vec<u64>),
}

/// What a child says to its parent.
#[derive(Debug, Serialize, Deserialize)]
enum Report {
    Counts(Counts),
    Outcome(Box<Parcel>),
}

/// The threads of one process.
#[derive(Debug)]
struct Local {
    board: Arc<Board>,
    sent: Arc<OnceLock<Vec<u64>>>,
    threads: Vec<JoinHandle<anyhow::Result<Outcome>>>,
}

impl Local {
    fn start(plan: &Plan, process: u32) -> anyhow::Result<Self> {
        let board = Arc::new(Board::default());
        let sent = Arc::new(OnceLock::new());
        let plan = Arc::new(plan.clone());
        let templates = Arc::new(plan.templates()?);
        let step = plan.threads * plan.processes;
        let threads = (0..plan.threads).map(|thread| {
            let first = process * plan.threads + thread;
            let (board, sent) = (Arc::clone(&board), Arc::clone(&sent));
            let (plan, templates) = (Arc::clone(&plan), Arc::clone(&templates));
            thread::Builder::new().name(format!("subscribers-{first}")).spawn(move || {
                let crowd = Crowd::new(&plan, &templates, &board, (first, step))?;
                Ok(crowd.run(|| sent.get().cloned().unwrap_or_default())?)
            })
        });
        let threads = threads.collect::<io::Result<_>>().context("cannot start a thread")?;
        Ok(Self { board, sent, threads })
    }

    fn finish(self, sent: Vec<u64>) -> anyhow::Result<Outcome> {
        self.sent.get_or_init(|| sent);
        self.board.stop();
        let mut all = Outcome::default();
        for thread in self.threads {
            all.merge(thread.join().map_err(|_| anyhow!("a subscriber thread panicked"))??);
        }
        Ok(all)
    }
}

#[derive(Debug)]
struct Offspring {
    process: Child,
    orders: ChildStdin,
    board: Arc<Board>,
    reader: JoinHandle<anyhow::Result<Outcome>>,
}

impl Offspring {
    fn start(plan: &Plan, process: u32) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut child = Command::new(program)
            .args(["bench", "--member"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start a child process")?;
        let orders = child.stdin.take().context("the child has no input")?;
        let reports = child.stdout.take().context("the child has no output")?;
        let board = Arc::new(Board::default());
        let mirror = Arc::clone(&board);
        let name = format!("child-{process}");
        let reader = thread::Builder::new().name(name).spawn(move || {
            for line in io::BufReader::new(reports).lines() {
                match serde_json::from_str(&line?)? {
                    Report::Counts(counts) => mirror.mirror(counts),
                    Report::Outcome(parcel) => return Ok(Outcome::from(*parcel)),
                }
            }
            Err(anyhow!("a child process ended without an outcome"))
        })?;
        let mut offspring = Self { process: child, orders, board, reader };
        offspring.order(&Order::Plan { plan: Box::new(plan.clone()), process })?;
        Ok(offspring)
    }

    fn order(&mut self, order: &Order) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.orders.write_all(&line).context("a child process has ended")
    }

    fn finish(mut self, sent: &[u64]) -> anyhow::Result<Outcome> {
        self.order(&Order::Stop(sent.to_vec()))?;
        let outcome = self.reader.join().map_err(|_| anyhow!("a reader thread panicked"))?;
        self.process.wait()?;
        outcome
    }
}

/// All subscribers of a run.
#[derive(Debug)]
pub struct Swarm {
    local: Option<Local>,
    offspring: Vec<Offspring>,
}

impl Swarm {
    /// Starts threads or child processes; nobody connects yet.
    ///
    /// # Errors
    /// A thread or process cannot be started.
    pub fn start(plan: &Plan) -> anyhow::Result<Self> {
        if plan.processes <= 1 {
            return Ok(Self { local: Some(Local::start(plan, 0)?), offspring: Vec::new() });
        }
        let offspring = (0..plan.processes).map(|process| Offspring::start(plan, process));
        Ok(Self { local: None, offspring: offspring.collect::<anyhow::Result<_>>()? })
    }

    fn order(&mut self, order: &Order) -> anyhow::Result<()> {
        if let Some(local) = &self.local {
            obey(&local.board, order);
        }
        self.offspring.iter_mut().try_for_each(|child| child.order(order))
    }

    /// Lets the first `subscribers` connect.
    ///
    /// # Errors
    /// A child process has ended.
    pub fn allow(&mut self, subscribers: u64) -> anyhow::Result<()> {
        self.order(&Order::Allow(subscribers))
    }

    /// Lets held subscribers send their requests.
    ///
    /// # Errors
    /// A child process has ended.
    pub fn release(&mut self) -> anyhow::Result<()> {
        self.order(&Order::Release)
    }

    /// Counts so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut all = Counts::default();
        let local = self.local.iter().map(|local| &local.board);
        for board in local.chain(self.offspring.iter().map(|child| &child.board)) {
            all.add(board.counts());
        }
        all
    }

    /// Ends the run and collects what was seen. `sent`: events of each publisher connection.
    ///
    /// # Errors
    /// A thread or child process failed.
    pub fn finish(self, sent: &[u64]) -> anyhow::Result<Outcome> {
        let mut all = Outcome::default();
        if let Some(local) = self.local {
            all.merge(local.finish(sent.to_vec())?);
        }
        for child in self.offspring {
            all.merge(child.finish(sent)?);
        }
        Ok(all)
    }
}

fn obey(board: &Board, order: &Order) {
    match order {
        Order::Allow(subscribers) => board.allow(*subscribers),
        Order::Release => board.release(),
        Order::Plan { .. } | Order::Stop(_) => {}
    }
}

/// The life of a child process: plan, commands, outcome.
///
/// # Errors
/// The parent has ended or talks nonsense, or a thread failed.
pub fn member() -> anyhow::Result<()> {
    let mut first = String::new();
    io::stdin().read_line(&mut first)?;
    let Order::Plan { plan, process } = serde_json::from_str(&first)? else {
        return Err(anyhow!("the first line must be a plan"));
    };
    let local = Local::start(&plan, process)?;
    let board = Arc::clone(&local.board);
    let listener = thread::Builder::new().name("orders".into()).spawn(move || {
        for line in io::stdin().lines() {
            match serde_json::from_str(&line?)? {
                Order::Stop(sent) => return Ok(sent),
                order => obey(&board, &order),
            }
        }
        Err(anyhow!("the parent has ended"))
    })?;
    while !listener.is_finished() {
        say(&Report::Counts(local.board.counts()))?;
        thread::park_timeout(REPORT);
    }
    let sent = listener.join().map_err(|_| anyhow!("the listener panicked"))??;
    say(&Report::Outcome(Box::new(Parcel::from(local.finish(sent)?))))
}

fn say(report: &Report) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(report)?;
    line.push(b'\n');
    let mut out = io::stdout().lock();
    out.write_all(&line)?;
    Ok(out.flush()?)
}
