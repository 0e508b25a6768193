//! The stage: a source, its worker's part played by the test, virtual time.
//!
//! It asserts what holds in every play: one attempt at a time, no step that the state forbids.

use super::*;
use crate::base::chance::Chance;

/// An event as the sink saw it: type, own id, data.
pub(super) type Seen = (String, Option<String>, String);

/// A sink that is full as often as the test says.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) seen: Vec<Seen>,
    /// Refuse every n-th offer; 0: never.
    pub(super) full_every: usize,
    offers: usize,
    /// Gaps told, each with the events that came before it.
    pub(super) gaps: Vec<usize>,
}

impl Sink for Store {
    fn event(&mut self, arrival: &Arrival<'_>) -> Result<(), Full> {
        self.offers += 1;
        if self.full_every != 0 && self.offers.is_multiple_of(self.full_every) {
            return Err(Full);
        }
        let Arrival { kind, id, data } = *arrival;
        self.seen.push((kind.to_owned(), id.map(str::to_owned), data.to_owned()));
        Ok(())
    }

    fn gap(&mut self) -> Result<(), Full> {
        self.offers += 1;
        if self.full_every != 0 && self.offers.is_multiple_of(self.full_every) {
            return Err(Full);
        }
        self.gaps.push(self.seen.len());
        Ok(())
    }
}

/// A source on its stage.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) source: Source,
    pub(super) store: Store,
    pub(super) now: Moment,
    pub(super) chance: Chance,
    pub(super) notices: Vec<Notice>,
    /// The request of the connection that is open, or was last.
    pub(super) request: String,
    /// A connection is being made or open.
    connection: bool,
}

impl Stage {
    pub(super) fn new(definition: &Upstream, seed: Option<&str>) -> Self {
        let now = Moment::from_millis(1000);
        Self {
            source: Source::new(tap_of(definition, None, seed), now),
            store: Store::default(),
            now,
            chance: Chance::new(5),
            notices: Vec::new(),
            request: String::new(),
            connection: false,
        }
    }

    /// Calls the source, resumes it while it is paused, and notes what the step does.
    pub(super) fn act(
        &mut self,
        call: impl FnOnce(&mut Source, &mut Outside<'_>, &mut Store) -> Step,
    ) -> Step {
        let mut outside = Outside {
            now: self.now,
            unix_millis: 0,
            chance: &mut self.chance,
            notices: &mut self.notices,
        };
        let mut step = call(&mut self.source, &mut outside, &mut self.store);
        while step == Step::Paused {
            assert!(self.source.is_paused() && self.source.deadline().is_none());
            step = self.source.resume(&mut outside, &mut self.store);
        }
        match step {
            Step::Connect => {
                assert!(!self.connection, "one attempt at a time");
                self.connection = true;
            }
            Step::Close | Step::Refused { .. } => self.connection = false,
            Step::Wait | Step::Paused => {}
        }
        step
    }

    /// Sleeps until the deadline and past it; how long that took, in milliseconds.
    pub(super) fn wait(&mut self) -> (u64, Step) {
        let until = self.source.deadline().expect("something to wait for").max(self.now);
        if until > self.now {
            let early = Moment::from_nanos(until.nanos() - 1);
            self.now = self.now.max(early);
            assert_eq!(self.act(|source, outside, _| source.due(outside)), Step::Wait);
        }
        let waited = until.since(self.now).as_millis();
        self.now = until;
        let step = self.act(|source, outside, _| source.due(outside));
        (u64::try_from(waited).unwrap(), step)
    }

    /// Waits, connects, and takes the request. How long the wait was.
    pub(super) fn connect(&mut self) -> Duration {
        let from = self.now;
        assert_eq!(self.wait().1, Step::Connect);
        let mut out = Vec::new();
        let now = self.now;
        assert_eq!(self.act(|source, _, _| source.connected(now, &mut out)), Step::Wait);
        self.request = String::from_utf8(out).unwrap();
        self.now.since(from)
    }

    pub(super) fn receive(&mut self, bytes: impl AsRef<[u8]>) -> Step {
        self.act(|source, outside, store| source.receive(bytes.as_ref(), outside, store))
    }

    pub(super) fn end(&mut self, orderly: bool) -> Step {
        self.act(|source, outside, _| source.ended(orderly, outside))
    }

    pub(super) fn fail(&mut self, cause: Cause) -> Step {
        self.act(|source, outside, _| source.failed(cause, outside))
    }

    pub(super) fn pass(&mut self, by: Duration) {
        self.now = self.now.after(by);
    }

    /// The id that the last request asked to go on after.
    pub(super) fn asked_after(&self) -> Option<&str> {
        self.request.lines().find_map(|line| line.strip_prefix("Last-Event-ID: "))
    }

    pub(super) fn target(&self) -> &str {
        self.request.split(' ').nth(1).unwrap_or_default()
    }

    /// The news since the last call.
    pub(super) fn news(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }
}

/// A draw below `bound`.
pub(super) fn below(chance: &mut Chance, bound: usize) -> usize {
    usize::try_from(chance.below(bound as u64)).unwrap()
}

/// An event that the store should have seen.
pub(super) fn seen(id: Option<&str>, data: &str) -> Seen {
    ("message".into(), id.map(Into::into), data.into())
}

/// The head of an event stream.
pub(super) const OPEN: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";

/// A body in the three ways of framing it: until the close, sized, chunked in pieces of `piece`.
pub(super) fn framed(body: &[u8], how: usize, piece: usize) -> Vec<u8> {
    let head = OPEN.strip_suffix("\r\n").unwrap();
    let mut out = head.as_bytes().to_vec();
    match how {
        0 => {
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(body);
        }
        1 => {
            out.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
            out.extend_from_slice(body);
        }
        _ => {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            for part in body.chunks(piece) {
                out.extend_from_slice(format!("{:x};x=y\r\n", part.len()).as_bytes());
                out.extend_from_slice(part);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"0\r\nx-trailer: 1\r\n\r\n");
        }
    }
    out
}

/// A response without a body.
pub(super) fn answer(status: u16, fields: &str) -> String {
    format!("HTTP/1.1 {status} X\r\n{fields}\r\n")
}
