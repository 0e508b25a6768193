//! The works that are timed and counted. Each turn leaves its work ready for the next.

use std::hint::black_box;
use tidegate::base::map::Hasher;
use tidegate::base::sync::Arc;
use tidegate::config::LagPolicy;
use tidegate::feed::Announce;
use tidegate::feed::BATCH;
use tidegate::feed::Batch;
use tidegate::feed::Fanout;
use tidegate::feed::FanoutLimits;
use tidegate::feed::Gap;
use tidegate::feed::NEVER;
use tidegate::feed::Newcomer;
use tidegate::feed::Until;
use tidegate::http;
use tidegate::http::h1;
use tidegate::log::Bell;
use tidegate::log::Channel;
use tidegate::log::Draft;
use tidegate::log::Grants;
use tidegate::log::Limits;
use tidegate::log::Reader;
use tidegate::log::Selector;
use tidegate::log::Subscription;
use tidegate::log::Topic;
use tidegate::sse;

const DATA: &str = "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz\
                    0123456789abcdefghijklmnopqr";
const _: () = assert!(DATA.len() == 100);

/// One event of 100 bytes to its wire form.
pub(crate) struct Encode(Vec<u8>);

impl Encode {
    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(1024))
    }

    pub(crate) fn turn(&mut self) {
        self.0.clear();
        encode("urn:tide:0123456789abcdef:1", &mut self.0);
        black_box(&self.0);
    }
}

fn encode(id: &str, out: &mut Vec<u8>) {
    let fields = sse::EventFields { id, data: black_box(DATA), ..Default::default() };
    sse::encode(&fields, out).unwrap();
}

/// One publish as a client sends it: head, sized body, end.
pub(crate) struct Parse {
    request: Vec<u8>,
    decoder: h1::Decoder,
    limits: http::Limits,
}

impl Parse {
    pub(crate) fn new() -> Self {
        let body = format!("topic=%2Fnews&data={DATA}");
        let request = format!(
            "POST /.well-known/mercure HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\
             User-Agent: publisher/1.0\r\nAccept: */*\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Self {
            request: request.into_bytes(),
            decoder: h1::Decoder::default(),
            limits: http::Limits::default(),
        }
    }

    pub(crate) fn turn(&mut self) {
        let mut input = black_box(self.request.as_slice());
        loop {
            match self.decoder.decode(&mut input, &self.limits).unwrap() {
                h1::Item::End => break,
                item => drop(black_box(item)),
            }
        }
        assert!(input.is_empty());
    }
}

/// Nobody lags here, so there is nothing to announce.
struct Silent;

impl Announce for Silent {
    fn gap(&self, _: Gap, _: u64) -> Vec<u8> {
        Vec::new()
    }
}

struct Worker {
    channel: Channel,
    reader: Reader,
    fanout: Fanout,
    topic: Topic,
    batch: Batch,
}

impl Worker {
    fn new(clients: u32) -> Self {
        let hasher = Hasher::new(1);
        let limits = Limits {
            events_max: 1000,
            bytes_max: 1 << 20,
            age_max_millis: 0,
            backlog_bytes_max: 1 << 30,
            per_topic: None,
        };
        let channel = Channel::new(limits, 1, hasher.clone());
        let bell = Arc::new(Bell::new(Box::new(|| {})));
        let (reader, tail) = channel.reader(&bell);
        let limits = FanoutLimits {
            lag_bytes_max: 1 << 20,
            lag_policy: LagPolicy::Close,
            unsent_bytes_max: 1 << 28,
            page_bytes: 1 << 16,
            pages_bytes_max: 1 << 20,
        };
        let mut fanout = Fanout::new(limits, &hasher);
        fanout.start(tail);
        let topic = Topic::new("/news", &hasher);
        for socket in 0..clients {
            let selectors = vec![Selector::Exact(topic.clone())];
            let newcomer = Newcomer {
                socket: i32::try_from(socket).unwrap(),
                tag: socket,
                subscription: Subscription::new(selectors, Grants::default()),
                after: tail,
                told: 0,
                head: b"HTTP/1.1 200 OK\r\n\r\n".to_vec(),
                until: (NEVER, Until::Age),
            };
            fanout.subscribe(newcomer, 0);
        }
        let mut worker = Self { channel, reader, fanout, topic, batch: Batch::new() };
        worker.sweep();
        worker
    }

    /// The event enters the log and the feed.
    fn append(&mut self) {
        let topics = Box::new([self.topic.clone()]);
        let draft = Draft { topics, private: false, id: None };
        self.channel.append(draft, 0, encode).unwrap();
        self.fanout.route(&mut self.reader, usize::MAX, &Silent);
    }

    /// Every ready client is sent everything; the kernel takes all of it.
    fn sweep(&mut self) {
        while self.fanout.ready() > 0 {
            self.batch.clear();
            self.fanout.gather(BATCH, usize::MAX, &mut self.batch);
            for (index, _) in &self.batch {
                black_box(self.fanout.range(*index));
            }
            self.fanout.settle(&self.batch, &[], 1);
        }
    }
}

/// One event of 100 bytes into the log and one feed, and out again to its single client, so that
/// the feed does not grow.
pub(crate) struct Append(Worker);

impl Append {
    pub(crate) fn new() -> Self {
        Self(Worker::new(1))
    }

    pub(crate) fn turn(&mut self) {
        self.0.append();
        self.0.sweep();
    }
}

/// One event of 100 bytes to all clients of a feed, without the kernel.
pub(crate) struct Sweep(Worker);

impl Sweep {
    pub(crate) fn new(clients: u32) -> Self {
        Self(Worker::new(clients))
    }

    pub(crate) fn turn(&mut self) {
        self.0.append();
        self.0.sweep();
    }
}
