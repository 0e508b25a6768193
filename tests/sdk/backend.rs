//! A backend that behaves like the services of OpenAI and Anthropic, or like any event stream. The
//! request says what it is to do (the model's name, or the parameter `plan`), and the backend
//! remembers what happened when, so that a test measures where the stream comes from.

use crate::process::PATIENCE;
use crate::stream::Stream;
use crate::wire::Wire;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;
use std::time::SystemTime;

/// What one request was, and what became of its answer. The system's clock, because the client, a
/// process of its own, tells its side of the story by the same one.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) head: String,
    /// When each delta was written.
    pub(crate) wrote: Vec<SystemTime>,
    /// When the connection ended, if it did before the answer.
    pub(crate) gone: Option<SystemTime>,
}

impl Exchange {
    /// The value of a header field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(": "));
        fields.find_map(|(n, value)| n.eq_ignore_ascii_case(name).then_some(value))
    }
}

/// What the threads of connections share.
#[derive(Clone)]
struct Shared {
    seen: mpsc::Sender<Exchange>,
    steps: Arc<AtomicUsize>,
    crowd: Arc<AtomicUsize>,
}

/// The backend; it lives as long as the test's process.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    seen: mpsc::Receiver<Exchange>,
    steps: Arc<AtomicUsize>,
}

impl Backend {
    pub(crate) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, seen) = mpsc::channel();
        let steps = Arc::new(AtomicUsize::new(0));
        let crowd = Arc::new(AtomicUsize::new(0));
        let shared = Shared { seen: sender, steps: Arc::clone(&steps), crowd };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = shared.clone();
                let mut wire = Wire::new(stream.unwrap());
                std::thread::spawn(move || while serve(&mut wire, &shared) {});
            }
        });
        Self { address, seen, steps }
    }

    /// Lets a stream that goes by steps write one more delta.
    pub(crate) fn step(&self) {
        self.steps.fetch_add(1, SeqCst);
    }

    /// The next exchange that is over.
    #[track_caller]
    pub(crate) fn exchange(&self) -> Exchange {
        self.seen.recv_timeout(PATIENCE).expect("an exchange that ends")
    }

    /// How many more are over.
    pub(crate) fn more(&self) -> usize {
        self.seen.try_iter().count()
    }
}

/// Serves one request; tells whether the connection can have another.
fn serve(wire: &mut Wire, shared: &Shared) -> bool {
    let Some((head, body)) = wire.request() else { return false };
    let plan = plan(&head, &body);
    let mut words = plan.split(':');
    let what = words.next().unwrap().to_owned();
    let numbers: Vec<usize> = words.map(|word| word.parse().unwrap()).collect();
    let mut answer = Answer {
        stream: Stream::of(&head),
        wire,
        exchange: Exchange { head, wrote: Vec::new(), gone: None },
    };
    let whole = answer.give(&what, &numbers, shared).is_some();
    let exchange = answer.exchange;
    let _ = shared.seen.send(exchange);
    whole
}

/// What the client wants: `model` of a JSON body, or `plan` of the query.
fn plan(head: &str, body: &str) -> String {
    let target = head.split(' ').nth(1).unwrap();
    if let Some((_, plan)) = target.split_once("plan=") {
        return plan.to_owned();
    }
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["model"].as_str().unwrap().to_owned()
}

struct Answer<'a> {
    wire: &'a mut Wire,
    stream: Stream,
    exchange: Exchange,
}

/// `None`: the connection cannot be used any more.
type Step = Option<()>;

impl Answer<'_> {
    fn give(&mut self, what: &str, numbers: &[usize], shared: &Shared) -> Step {
        match (what, numbers) {
            ("status", &[status]) => {
                let answer = self.stream.error(status);
                return self.write(answer.as_bytes());
            }
            ("mute", []) => return self.listen(PATIENCE),
            _ => self.start()?,
        }
        match (what, numbers) {
            // So many, so often.
            ("paced", &[count, gap]) => self.deltas(count, Duration::from_millis(gap as u64))?,
            ("endless", &[gap]) => self.deltas(usize::MAX, Duration::from_millis(gap as u64))?,
            // The next only when the test says so.
            ("stepped", &[count]) => {
                for number in 0..count {
                    self.until(|| shared.steps.load(SeqCst) > number)?;
                    self.delta()?;
                }
            }
            // None but the first before so many streams have begun.
            ("gathered", &[crowd, count]) => {
                self.delta()?;
                shared.crowd.fetch_add(1, SeqCst);
                self.until(|| shared.crowd.load(SeqCst) >= crowd)?;
                self.deltas(count - 1, Duration::from_millis(10))?;
            }
            // So many, and nothing more, not even an end.
            ("silent", &[count]) => {
                self.deltas(count, Duration::ZERO)?;
                return self.listen(PATIENCE);
            }
            // So many, and the connection is gone in the middle of a stream.
            ("cut", &[count]) => {
                self.deltas(count, Duration::from_millis(5))?;
                self.wire.cut();
                return None;
            }
            _ => panic!("no plan {what} {numbers:?}"),
        }
        let last = self.stream.last();
        self.event(&last)?;
        self.write(b"0\r\n\r\n")
    }

    fn start(&mut self) -> Step {
        self.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\
              Cache-Control: no-cache\r\nX-Request-Id: req_1\r\nRequest-Id: req_1\r\n\
              Transfer-Encoding: chunked\r\n\r\n",
        )?;
        let first = self.stream.first();
        self.event(&first)
    }

    fn deltas(&mut self, count: usize, gap: Duration) -> Step {
        for _ in 0..count {
            self.delta()?;
            self.listen(gap)?;
        }
        Some(())
    }

    fn delta(&mut self) -> Step {
        let event = self.stream.delta(self.exchange.wrote.len());
        self.exchange.wrote.push(SystemTime::now());
        self.event(&event)
    }

    fn event(&mut self, text: &str) -> Step {
        self.write(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())
    }

    fn until(&mut self, condition: impl Fn() -> bool) -> Step {
        let start = Instant::now();
        while !condition() {
            assert!(start.elapsed() < PATIENCE, "waited too long at the backend");
            self.listen(Duration::from_millis(1))?;
        }
        Some(())
    }

    fn write(&mut self, bytes: &[u8]) -> Step {
        let wrote = self.wire.write(bytes);
        self.still(wrote)
    }

    /// Waits so long for the connection to end.
    fn listen(&mut self, time: Duration) -> Step {
        let lives = time.is_zero() || self.wire.lives_for(time);
        self.still(lives)
    }

    fn still(&mut self, lives: bool) -> Step {
        if !lives {
            self.exchange.gone = Some(SystemTime::now());
        }
        lives.then_some(())
    }
}
